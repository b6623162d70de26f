//! HTTP clients of our own: one that asks and reads the answer, and one that plays FLV.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use formats::flv::{FileHeader, Item, Reader, TagKind};

use crate::harness::SOON;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The head as it came.
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// What a header of this name says.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// GET.
pub fn get(at: SocketAddr, path: &str) -> io::Result<Reply> {
    request(at, "GET", path, &[])
}

/// A request of its own connection.
pub fn request(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
    exchange(at, head_of(at, method, path, headers).as_bytes())
}

/// POST, with a body of this kind.
pub fn post(at: SocketAddr, path: &str, kind: &str, body: &[u8]) -> io::Result<Reply> {
    let length = body.len().to_string();
    let head = head_of(at, "POST", path, &[("Content-Type", kind), ("Content-Length", &length)]);
    exchange(at, &[head.as_bytes(), body].concat())
}

fn exchange(at: SocketAddr, request: &[u8]) -> io::Result<Reply> {
    let mut tcp = TcpStream::connect(at)?;
    tcp.set_read_timeout(Some(SOON))?;
    tcp.write_all(request)?;
    let mut body = Body::default();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = tcp.read(&mut buffer)?;
        body.receive(&buffer[..n], &mut bytes);
        if n == 0 || body.is_over() {
            break;
        }
    }
    let head = body.head.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Reply { status: status(&head), head, body: bytes })
}

fn head_of(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {at}\r\n"));
    }
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head + "\r\n"
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// A response as it is read.
#[derive(Default)]
struct Body {
    head: Option<String>,
    raw: Vec<u8>,
    /// Bytes left of a body of known length.
    left: Option<usize>,
    chunked: bool,
    /// The chunk of length zero has come.
    terminated: bool,
}

impl Body {
    fn is_over(&self) -> bool {
        self.terminated || self.left == Some(0)
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.raw.extend_from_slice(bytes);
        if self.head.is_none() {
            let Some(end) = self.raw.windows(4).position(|w| w == b"\r\n\r\n") else { return };
            let head = String::from_utf8(self.raw.drain(..end + 4).collect()).unwrap();
            let low = head.to_ascii_lowercase();
            self.chunked = low.contains("transfer-encoding: chunked");
            self.left =
                low.split("content-length: ").nth(1).map(|t| t.lines().next().unwrap().parse().unwrap());
            self.head = Some(head);
        }
        if !self.chunked {
            let n = self.left.unwrap_or(usize::MAX).min(self.raw.len());
            out.extend(self.raw.drain(..n));
            self.left = self.left.map(|left| left - n);
            return;
        }
        while !self.terminated {
            let Some(line) = self.raw.windows(2).position(|w| w == b"\r\n") else { return };
            let size = std::str::from_utf8(&self.raw[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("chunk size {size:?}"));
            if self.raw.len() < line + 2 + size + 2 {
                return;
            }
            assert_eq!(&self.raw[line + 2 + size..line + 4 + size], b"\r\n", "behind a chunk");
            out.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
            self.raw.drain(..line + 4 + size);
            self.terminated = size == 0;
        }
    }
}

/// An FLV player.
pub struct Flv {
    tcp: TcpStream,
    body: Body,
    reader: Reader,
    items: VecDeque<Item>,
    ended: bool,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub kind: TagKind,
    pub time: u32,
    pub body: Bytes,
}

impl Flv {
    /// Plays; the head of the answer has been read, and its status is 200.
    pub fn open(at: SocketAddr, path: &str) -> Self {
        let player = Self::ask(at, path, &[]);
        assert_eq!(player.status(), 200, "{}", player.head());
        player
    }

    /// Asks to play; the head of the answer has been read.
    pub fn ask(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut tcp = TcpStream::connect(at).unwrap();
        tcp.write_all(head_of(at, "GET", path, headers).as_bytes()).unwrap();
        let (body, reader, items) = (Body::default(), Reader::new(), VecDeque::new());
        let mut player = Self { tcp, body, reader, items, ended: false };
        while player.body.head.is_none() {
            player.read(SOON);
            assert!(!player.ended || player.body.head.is_some(), "closed without an answer");
        }
        player
    }

    /// The status.
    pub fn status(&self) -> u16 {
        status(self.head())
    }

    /// The head of the answer.
    pub fn head(&self) -> &str {
        self.body.head.as_deref().unwrap_or_default()
    }

    /// Whether the body has ended as it should: with the last chunk.
    pub fn ended_cleanly(&self) -> bool {
        self.body.terminated
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.tcp.local_addr().unwrap()
    }

    /// The next item; `None` at the end.
    #[track_caller]
    pub fn item(&mut self) -> Option<Item> {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(item);
            }
            if self.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing comes over HTTP-FLV");
            self.read(left);
        }
    }

    /// The file header, which must come first.
    #[track_caller]
    pub fn header(&mut self) -> FileHeader {
        match self.item() {
            Some(Item::Header(header)) => header,
            other => panic!("{other:?} in place of the header"),
        }
    }

    /// The next tag; `None` at the end.
    #[track_caller]
    pub fn tag(&mut self) -> Option<Tag> {
        loop {
            match self.item()? {
                Item::Header(_) => {}
                Item::Tag { kind, timestamp, body } => return Some(Tag { kind, time: timestamp, body }),
            }
        }
    }

    /// All tags to the end.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Tag> {
        std::iter::from_fn(|| self.tag()).collect()
    }

    fn read(&mut self, limit: Duration) {
        self.tcp.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = vec![0; 64 << 10];
        let n = match self.tcp.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return,
            Err(_) => 0,
        };
        let mut out = Vec::new();
        self.body.receive(&buffer[..n], &mut out);
        self.ended |= n == 0 || self.body.is_over();
        if self.body.head.as_deref().is_some_and(|head| status(head) == 200) {
            self.reader.receive(&out);
            while let Some(item) = self.reader.poll_item().unwrap() {
                self.items.push_back(item);
            }
        }
    }
}
