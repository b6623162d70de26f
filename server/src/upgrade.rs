//! Binary upgrade: a successor, which is the same command with the program file of today, gets the listening sockets, and this process lets its
//! clients finish. The sockets stay what they are, so that nobody is refused in between. Should the successor not come up, nothing has happened.
//!
//! The two talk over a pair of sockets, the successor's end being its standard input: first come the sockets, then the successor says that it is
//! ready, then this process has let go of the pid file and says so.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, id};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::getppid;
use rustix::stdio::dup2_stdin;
use serde::{Deserialize, Serialize};

use crate::config::{Endpoint, Environment};

/// Names the process that hands over. It counts only where that is our parent.
const PREDECESSOR: &str = "OXCAST_PREDECESSOR";

/// A successor has this long to come up, and a predecessor to let go.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many descriptors go with one message; Linux takes 253.
const FDS: usize = 128;

/// A word of one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    /// Sockets that listen at this address.
    Tcp { ip: Option<IpAddr>, port: u16 },
    /// Sockets of WebRTC's media.
    Udp,
    /// These were all of them.
    All,
    /// I serve.
    Ready,
    /// The pid file is yours.
    Yours,
}

/// How this process was started, to do it again.
#[derive(Clone, Debug)]
pub struct Origin {
    program: PathBuf,
    directory: PathBuf,
    arguments: Vec<OsString>,
}

impl Origin {
    /// That of this process; to be asked before the directory changes.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn of_process() -> io::Result<Self> {
        let (program, directory) = (std::env::current_exe()?, std::env::current_dir()?);
        Ok(Self { program, directory, arguments: std::env::args_os().collect() })
    }
}

/// Sockets on their way, by what they are.
#[derive(Default)]
pub struct Heritage {
    /// Listening sockets.
    pub tcp: BTreeMap<Endpoint, Vec<TcpListener>>,
    /// WebRTC's sockets, with an address of the port.
    pub udp: Vec<UdpSocket>,
}

/// The process that comes after this one, and serves already.
pub struct Successor {
    line: OwnedFd,
    child: Child,
}

impl Successor {
    /// Starts it, gives it the sockets, and waits until it serves. Blocks for a minute at most.
    ///
    /// # Errors
    /// It does not come up; then it is gone.
    pub fn start(origin: &Origin, heritage: &Heritage) -> io::Result<Self> {
        let (line, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&line, Timeout::Recv, Some(PATIENCE))?;
        let mut command = Command::new(&origin.program);
        let mut arguments = origin.arguments.iter();
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments).current_dir(&origin.directory);
        command.env(PREDECESSOR, id().to_string()).stdin(theirs);
        let mut child = command.spawn()?;
        // Our own copy of their end would keep the line open after theirs is closed.
        drop(command);
        match Self::prepare(&line, heritage) {
            Ok(()) => Ok(Self { line, child }),
            Err(e) => {
                // It may have ended by itself, with a reason in its log.
                let _ = child.kill();
                let status = child.wait()?;
                Err(io::Error::new(e.kind(), format!("the new process has not come up ({status}): {e}")))
            }
        }
    }

    fn prepare(line: &OwnedFd, heritage: &Heritage) -> io::Result<()> {
        for (endpoint, sockets) in &heritage.tcp {
            let word = Word::Tcp { ip: endpoint.ip, port: endpoint.port };
            for some in sockets.chunks(FDS) {
                say(line, word, some)?;
            }
        }
        say(line, Word::Udp, &heritage.udp)?;
        say::<TcpListener>(line, Word::All, &[])?;
        expect(line, Word::Ready)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says that the pid file is its own.
    pub fn take(self) {
        // Who is gone by now needs no pid file.
        let _ = say::<TcpListener>(&self.line, Word::Yours, &[]);
    }
}

/// Seen from the successor: the process before it.
pub struct Predecessor(OwnedFd);

impl Predecessor {
    /// The one that hands over to this process, if one does.
    pub fn of_process(env: &Environment) -> Option<Self> {
        let parent = getppid()?.as_raw_nonzero().to_string();
        if env.value(PREDECESSOR) != Some(&parent) {
            return None;
        }
        let line = io::stdin().as_fd().try_clone_to_owned().ok()?;
        let nothing = std::fs::File::open("/dev/null").ok()?;
        dup2_stdin(&nothing).ok()?;
        set_socket_timeout(&line, Timeout::Recv, Some(PATIENCE)).ok()?;
        Some(Self(line))
    }

    /// Its sockets.
    ///
    /// # Errors
    /// It has ended, or says something else.
    pub fn heritage(&self) -> io::Result<Heritage> {
        let mut heritage = Heritage::default();
        loop {
            let (word, fds) = hear(&self.0)?;
            match word {
                Word::Tcp { ip, port } => {
                    let sockets = heritage.tcp.entry(Endpoint { ip, port }).or_default();
                    sockets.extend(fds.into_iter().map(TcpListener::from));
                }
                Word::Udp => heritage.udp.extend(fds.into_iter().map(UdpSocket::from)),
                Word::All => return Ok(heritage),
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Says that this process serves, and waits until the pid file is its own.
    ///
    /// # Errors
    /// The predecessor has ended meanwhile.
    pub fn replace(self) -> io::Result<()> {
        say::<TcpListener>(&self.0, Word::Ready, &[])?;
        expect(&self.0, Word::Yours)
    }
}

fn say<S: AsFd>(line: &OwnedFd, word: Word, sockets: &[S]) -> io::Result<()> {
    let text = serde_json::to_vec(&word)?;
    let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("too many sockets for one message"));
    }
    sendmsg(line, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn hear(line: &OwnedFd) -> io::Result<(Word, Vec<OwnedFd>)> {
    let mut text = [0; 256];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let got = recvmsg(line, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            fds.extend(some);
        }
    }
    let word = serde_json::from_slice(text.get(..got.bytes).unwrap_or_default())?;
    Ok((word, fds))
}

fn expect(line: &OwnedFd, wanted: Word) -> io::Result<()> {
    let (word, _) = hear(line)?;
    if word == wanted { Ok(()) } else { Err(unexpected(word)) }
}

fn unexpected(word: Word) -> io::Error {
    io::Error::other(format!("{word:?} at the wrong time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_with_their_names() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = Endpoint { ip: Some(address.ip()), port: address.port() };
        let udp = vec![UdpSocket::bind("127.0.0.1:0").unwrap()];
        let heritage = Heritage { tcp: BTreeMap::from([(endpoint, vec![listener])]), udp };
        let successor = std::thread::spawn(move || {
            let predecessor = Predecessor(theirs);
            let heritage = predecessor.heritage().unwrap();
            predecessor.replace().unwrap();
            heritage
        });
        Successor::prepare(&ours, &heritage).unwrap();
        drop(heritage);
        say::<TcpListener>(&ours, Word::Yours, &[]).unwrap();
        let theirs = successor.join().unwrap();
        assert_eq!(theirs.tcp[&endpoint][0].local_addr().unwrap(), address);
        assert_eq!(theirs.udp.len(), 1);
        // It has listened all the time.
        std::net::TcpStream::connect(address).unwrap();
    }

    #[test]
    fn who_is_gone_is_noticed() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        drop(theirs);
        assert!(Successor::prepare(&ours, &Heritage::default()).is_err());
        assert!(Predecessor(ours).heritage().is_err());
    }
}
