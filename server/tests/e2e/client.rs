//! An RTMP client of our own: the pure session of the `rtmp` crate on a blocking socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ::media::Micros;
use rtmp::{ClientEvent, ClientOptions, Media, MediaKind, Role, Url};

use crate::harness::{SOON, Server};

/// See the module.
pub struct Client {
    tcp: TcpStream,
    session: rtmp::Client,
    start: Instant,
    open: bool,
}

impl Client {
    /// Connects to `at`, and asks for the stream at `url`.
    pub fn open(at: SocketAddr, url: &str, role: Role) -> Self {
        let tcp = TcpStream::connect(at).unwrap();
        tcp.set_nodelay(true).unwrap();
        let session = rtmp::Client::new(Micros::ZERO, ClientOptions::new(Url::parse(url), role));
        let mut client = Self { tcp, session, start: Instant::now(), open: true };
        client.flush();
        client
    }

    /// Publishes `live/stream`; the server has accepted.
    #[track_caller]
    pub fn publish(server: &Server, stream: &str) -> Self {
        Self::started(server, stream, Role::Publish)
    }

    /// Plays `live/stream`; the server has accepted.
    #[track_caller]
    pub fn play(server: &Server, stream: &str) -> Self {
        Self::started(server, stream, Role::Play)
    }

    #[track_caller]
    fn started(server: &Server, stream: &str, role: Role) -> Self {
        let mut client = Self::open(server.rtmp, &server.rtmp_url(stream), role);
        client.start();
        client
    }

    /// Waits until the stream has started.
    #[track_caller]
    pub fn start(&mut self) {
        loop {
            match self.event() {
                Some(ClientEvent::Started) => return,
                Some(ClientEvent::Status { .. }) => {}
                other => panic!("{other:?} in place of the start"),
            }
        }
    }

    /// Waits until the server refuses: code and description.
    #[track_caller]
    pub fn refused(&mut self) -> (String, String) {
        loop {
            match self.event() {
                Some(ClientEvent::Rejected { code, description, .. }) => return (code, description),
                Some(ClientEvent::Status { .. }) => {}
                other => panic!("{other:?} in place of a refusal"),
            }
        }
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.tcp.local_addr().unwrap()
    }

    /// Sends a message of the stream; `time` in milliseconds.
    #[track_caller]
    pub fn send(&mut self, kind: MediaKind, time: u32, payload: &[u8]) {
        self.queue(kind, time, payload);
        self.flush();
    }

    /// The same, without writing to the socket yet.
    #[track_caller]
    pub fn queue(&mut self, kind: MediaKind, time: u32, payload: &[u8]) {
        assert!(self.session.send(kind, time, payload), "the stream has not started, or is over");
    }

    /// Writes what is queued.
    pub fn flush(&mut self) {
        while let Some(bytes) = self.session.poll_transmit() {
            if self.tcp.write_all(&bytes).is_err() {
                self.open = false;
            }
        }
    }

    /// Ends the stream in good order, and the connection.
    pub fn stop(mut self) {
        self.session.stop();
        self.flush();
    }

    /// The next event; `None` when the server has closed the connection.
    #[track_caller]
    pub fn event(&mut self) -> Option<ClientEvent> {
        self.event_within(SOON).unwrap_or_else(|| panic!("nothing comes over RTMP"))
    }

    /// The next event of this time, if any comes; within it `None` when the server has closed the connection.
    pub fn event_within(&mut self, limit: Duration) -> Option<Option<ClientEvent>> {
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(event) = self.session.poll_event() {
                return Some(Some(event));
            }
            if !self.open {
                return Some(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.tcp.set_read_timeout(Some(left)).unwrap();
            match self.tcp.read(&mut buffer) {
                Ok(0) => self.open = false,
                Ok(n) => {
                    let now = Micros(self.start.elapsed().as_micros() as i64);
                    self.session
                        .receive(now, &buffer[..n])
                        .unwrap_or_else(|e| panic!("the server errs: {e}"));
                    self.flush();
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => self.open = false,
            }
        }
    }

    /// The next media message; `None` when the server has ended the stream or closed the connection.
    #[track_caller]
    pub fn media(&mut self) -> Option<Media> {
        loop {
            match self.event()? {
                ClientEvent::Media(media) => return Some(media),
                ClientEvent::Ended => return None,
                _ => {}
            }
        }
    }

    /// The next message of pictures or sound, headers included.
    #[track_caller]
    pub fn av(&mut self) -> Media {
        loop {
            let media = self.media().unwrap_or_else(|| panic!("the stream has ended"));
            if media.kind != MediaKind::Data {
                return media;
            }
        }
    }

    /// Waits until the server closes the connection.
    #[track_caller]
    pub fn closed(&mut self) {
        while self.event().is_some() {}
    }

    /// The socket, for those who misbehave.
    pub fn socket(&self) -> &TcpStream {
        &self.tcp
    }
}
