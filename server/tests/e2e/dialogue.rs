//! A connection on which a test says and hears HTTP and WebSocket byte by byte: for what well-behaved clients never say,
//! and for looking at answers as they come.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::SOON;

/// See the module.
pub struct Dialogue {
    tcp: TcpStream,
    heard: Vec<u8>,
    /// Bytes heard since the start, heads included.
    pub total: u64,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub version: String,
    pub status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ');
        let (version, status) = (words.next().unwrap_or_default(), words.next().and_then(|s| s.parse().ok()));
        let fields = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("header {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Self {
            version: version.to_owned(),
            status: status.unwrap_or_else(|| panic!("status line {first:?}")),
            fields: fields.collect(),
        }
    }

    /// A header; `name` in lower case. It may be there only once.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "{name} a second time");
        first
    }

    /// All values of a header; `name` in lower case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The names of headers that start like this.
    pub fn names(&self, start: &str) -> Vec<&str> {
        let mut names: Vec<_> =
            self.fields.iter().map(|(n, _)| n.as_str()).filter(|n| n.starts_with(start)).collect();
        names.sort_unstable();
        names
    }
}

impl Dialogue {
    /// Connects.
    pub fn open(at: SocketAddr) -> Self {
        let tcp = TcpStream::connect(at).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { tcp, heard: Vec::new(), total: 0 }
    }

    /// Connects and says this.
    pub fn start(at: SocketAddr, text: &str) -> Self {
        let mut dialogue = Self::open(at);
        dialogue.say(text);
        dialogue
    }

    /// A complete HTTP/1.1 request with these lines behind its first one.
    pub fn ask(at: SocketAddr, first: &str, lines: &[&str]) -> Self {
        Self::start(at, &request(first, lines))
    }

    /// Says it; a server that has closed already may stop us.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.tcp.write_all(bytes.as_ref()));
    }

    /// Says that nothing more will be said.
    pub fn hush(&self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.tcp.local_addr().unwrap()
    }

    /// Hears more; false at the end.
    fn hear(&mut self, limit: Duration) -> bool {
        self.tcp.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = vec![0; 64 << 10];
        match self.tcp.read(&mut buffer) {
            Ok(n) => {
                self.heard.extend_from_slice(&buffer[..n]);
                self.total += n as u64;
                n > 0
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("nothing comes within {limit:?}; before: {:?}", String::from_utf8_lossy(&self.heard))
            }
            Err(_) => false,
        }
    }

    /// So many bytes.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.heard.len() < count {
            assert!(self.hear(SOON), "closed where {count} bytes should come: {:?}", self.heard);
        }
        self.heard.drain(..count).collect()
    }

    /// Everything up to and with `end`.
    #[track_caller]
    fn up_to(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.heard.windows(end.len()).position(|w| w == end) {
                return self.heard.drain(..at + end.len()).collect();
            }
            let before = String::from_utf8_lossy(&self.heard).into_owned();
            assert!(self.hear(SOON), "closed before {:?}; heard: {before:?}", String::from_utf8_lossy(end));
        }
    }

    /// The head of an answer.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        Head::parse(&String::from_utf8(self.up_to(b"\r\n\r\n")).unwrap())
    }

    /// An answer whose length is in its head.
    #[track_caller]
    pub fn answer(&mut self) -> (Head, String) {
        let head = self.head();
        let length =
            head.field("content-length").unwrap_or_else(|| panic!("no length: {head:?}")).parse().unwrap();
        let body = self.bytes(length);
        (head, String::from_utf8(body).unwrap())
    }

    /// One chunk of a body; empty is the last.
    #[track_caller]
    pub fn chunk(&mut self) -> Vec<u8> {
        let line = String::from_utf8(self.up_to(b"\r\n")).unwrap();
        let size =
            usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
        let chunk = self.bytes(size);
        assert_eq!(self.bytes(2), b"\r\n", "behind a chunk");
        chunk
    }

    /// All chunks to the last one, which must come.
    #[track_caller]
    pub fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            match self.chunk() {
                chunk if chunk.is_empty() => return body,
                chunk => body.extend(chunk),
            }
        }
    }

    /// A WebSocket message: opcode and payload. A server never masks, and ours never cuts messages in pieces.
    #[track_caller]
    pub fn message(&mut self) -> (u8, Vec<u8>) {
        let [first, length] = self.bytes(2)[..] else { unreachable!() };
        assert_eq!(first & 0xf0, 0x80, "a message in pieces, or with reserved bits");
        let length = match length {
            126 => u64::from(u16::from_be_bytes(self.bytes(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.bytes(8).try_into().unwrap()),
            length => u64::from(length),
        };
        assert!(length < 1 << 40, "masked, or too long: {length:#x}");
        (first & 0x0f, self.bytes(length as usize))
    }

    /// The next control message: opcode and payload.
    #[track_caller]
    pub fn control(&mut self) -> (u8, Vec<u8>) {
        loop {
            let message = self.message();
            if message.0 >= 8 {
                return message;
            }
        }
    }

    /// Says a WebSocket message.
    pub fn tell(&mut self, opcode: u8, payload: &[u8]) {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            short @ ..126 => frame.push(0x80 | short as u8),
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(mask.into_iter().chain(masked));
        self.say(frame);
    }

    /// Everything until the server closes, which it must do within this time.
    #[track_caller]
    pub fn rest_within(&mut self, limit: Duration) -> Vec<u8> {
        let deadline = Instant::now() + limit;
        while self.hear(deadline.saturating_duration_since(Instant::now())) {}
        std::mem::take(&mut self.heard)
    }

    /// Everything until the server closes, which it must do soon.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        self.rest_within(SOON)
    }
}

/// A request of HTTP/1.1; `first` is the method and the path.
pub fn request(first: &str, lines: &[&str]) -> String {
    let host = if lines.iter().any(|line| line.starts_with("Host:")) { "" } else { "Host: 127.0.0.1\r\n" };
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{first} HTTP/1.1\r\n{host}{lines}\r\n")
}
