//! A server that streams are forwarded to: the pure session of the `rtmp` crate on a blocking socket, which looks at all that comes, reads as slowly as it
//! likes, and refuses.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use ::media::Micros;
use bytes::Bytes;
use rtmp::{ConnectReply, Event, Media, Server, ServerIdentity, ServerOptions, Url};

use crate::harness::{SOON, free_port, until};
use crate::media::{Player, Seen, seen};

/// See the module.
pub struct Destination {
    pub at: SocketAddr,
    listener: TcpListener,
}

impl Destination {
    /// On a port of its own.
    pub fn open() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())))
    }

    /// At this address.
    pub fn at(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { at, listener }
    }

    /// The next forwarder that comes, before it is answered.
    #[track_caller]
    pub fn asked(&self) -> Taker {
        let (tcp, _) = until("a forwarder comes", SOON, || self.listener.accept().ok());
        tcp.set_nonblocking(false).unwrap();
        let server = Server::new(Micros::ZERO, ServerOptions::default());
        let mut taker = Taker { tcp, server, url: Url::default(), start: Instant::now() };
        taker.read_until(|event| matches!(event, Event::Publish(_)));
        taker
    }

    /// The next forwarder that comes, and may send.
    #[track_caller]
    pub fn taken(&self) -> Taker {
        let mut taker = self.asked();
        taker.server.accept_publish().unwrap();
        taker.flush();
        taker
    }

    /// Nobody waits to be accepted.
    pub fn is_alone(&self) -> bool {
        self.listener.accept().is_err()
    }
}

/// A connection of a forwarder.
pub struct Taker {
    pub tcp: TcpStream,
    server: Server,
    /// The stream as it was asked for.
    pub url: Url,
    start: Instant,
}

impl Taker {
    /// Refuses the stream.
    pub fn refuse(mut self, code: &str, reason: &str) {
        self.server.reject_publish(code, reason).unwrap();
        self.flush();
    }

    /// The next message; `None` at the end of the stream or of the connection.
    #[track_caller]
    pub fn media(&mut self) -> Option<Media> {
        match self.read_until(|event| matches!(event, Event::Media(_) | Event::Unpublish))? {
            Event::Media(media) => Some(media),
            _ => None,
        }
    }

    #[track_caller]
    fn read_until(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let mut buffer = vec![0; 64 << 10];
        self.tcp.set_read_timeout(Some(SOON)).unwrap();
        loop {
            while let Some(event) = self.server.poll_event() {
                match &event {
                    Event::Connect(_) => self.server.accept_connect(reply()).unwrap(),
                    Event::Publish(publish) => self.url = publish.url.clone(),
                    _ => {}
                }
                self.flush();
                if wanted(&event) {
                    return Some(event);
                }
            }
            let n = match self.tcp.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("nothing comes from the forwarder: {e}"),
            };
            let now = Micros(self.start.elapsed().as_micros() as i64);
            self.server.receive(now, &buffer[..n]).unwrap_or_else(|e| panic!("the forwarder errs: {e}"));
            self.flush();
        }
    }

    fn flush(&mut self) {
        while let Some(bytes) = self.server.poll_transmit() {
            let _ = self.tcp.write_all(&bytes);
        }
    }
}

fn reply() -> ConnectReply<'static> {
    let server = ServerIdentity {
        signature: "a destination",
        name: "a destination",
        license: "",
        url: "",
        version: "1",
        authors: "",
        ip: "127.0.0.1",
        pid: 1,
        id: "x",
    };
    ConnectReply { chunk_size: 60_000, out_ack_size: 0, in_ack_size: 0, server }
}

impl Player for Taker {
    fn next(&mut self) -> Option<(Seen, u32, Bytes)> {
        let Media { kind, timestamp, payload } = self.media()?;
        Some((seen(kind, &payload), timestamp, payload))
    }
}
