//! An RTMP client that says what it is told to say: for manners that the client of the `rtmp` crate does not have, and
//! for bad ones.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ::media::Micros;
use formats::amf0::{self, Value};
use rtmp::chunk::{MediaWriter, Reader, Writer};
use rtmp::message::kind;
use rtmp::{Media, MediaKind, Message, handshake};

use crate::harness::{SOON, Server};
use crate::media::{Player, Seen, seen};

/// See the module.
pub struct Peer {
    pub tcp: TcpStream,
    reader: Reader,
    writer: Writer,
    media: MediaWriter,
    inbox: VecDeque<Message>,
    transaction: f64,
}

/// What a server says with a command.
#[derive(Clone, Debug)]
pub struct Told {
    pub transaction: f64,
    pub values: Vec<Value>,
}

impl Told {
    /// A property of the information object.
    pub fn info(&self, name: &str) -> &str {
        self.values.iter().filter_map(|v| v.property(name)).find_map(Value::as_str).unwrap_or_default()
    }
}

impl Peer {
    /// A connection whose handshake is done.
    pub fn shake(at: SocketAddr) -> Self {
        let mut tcp = TcpStream::connect(at).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(SOON)).unwrap();
        let mut out = Vec::new();
        let mut shake = handshake::Client::new(7, Micros::ZERO, &mut out);
        let mut buffer = [0; 4096];
        let mut done = false;
        let (reader, writer) = (Reader::new(1 << 24), Writer::default());
        let media = MediaWriter::new(writer.chunk_size(), 0);
        while !done {
            tcp.write_all(&out).unwrap();
            out.clear();
            let n = tcp.read(&mut buffer).unwrap();
            assert!(n > 0, "closed in the handshake");
            let mut input = &buffer[..n];
            done = shake.receive(&mut input, &mut out).unwrap();
            assert!(input.is_empty(), "the server speaks first");
        }
        tcp.write_all(&out).unwrap();
        Self { tcp, reader, writer, media, inbox: VecDeque::new(), transaction: 0.0 }
    }

    /// A connection to the application `live`.
    #[track_caller]
    pub fn connect(server: &Server) -> Self {
        let mut peer = Self::shake(server.rtmp);
        let object = Value::object([
            ("app", "live".into()),
            ("tcUrl", format!("rtmp://{}/live", server.rtmp).as_str().into()),
            ("objectEncoding", 0.0.into()),
        ]);
        peer.call(0, "connect", &[object]);
        assert_eq!(peer.answered().info("code"), "NetConnection.Connect.Success");
        peer
    }

    /// Asks for a stream; the message stream's id.
    #[track_caller]
    pub fn create_stream(&mut self) -> u32 {
        self.call(0, "createStream", &[Value::Null]);
        self.answered().values.iter().rev().find_map(Value::as_f64).unwrap() as u32
    }

    /// Publishes as Flash does.
    #[track_caller]
    pub fn publish(&mut self, name: &str) {
        let stream = self.create_stream();
        self.call(stream, "publish", &[Value::Null, name.into(), "live".into()]);
        self.status("NetStream.Publish.Start");
    }

    /// Plays.
    #[track_caller]
    pub fn play(&mut self, name: &str) -> u32 {
        let stream = self.create_stream();
        self.call(stream, "play", &[Value::Null, name.into()]);
        self.status("NetStream.Play.Start");
        stream
    }

    /// Calls a command; `values` are the command object and the arguments.
    pub fn call(&mut self, stream: u32, name: &str, values: &[Value]) {
        self.transaction += 1.0;
        let transaction = self.transaction;
        let mut body = Vec::new();
        [name.into(), transaction.into()].iter().chain(values).for_each(|value| value.encode(&mut body));
        self.message(kind::COMMAND_AMF0, stream, &body);
    }

    /// Sends a message on chunk stream 3.
    pub fn message(&mut self, kind: u8, stream: u32, body: &[u8]) {
        let mut out = Vec::new();
        self.writer.write(3, kind, stream, body, &mut out);
        self.raw(&out);
    }

    /// Sends media.
    pub fn send(&mut self, kind: MediaKind, time: u32, payload: &[u8]) {
        let mut out = Vec::new();
        self.media.write(kind, time, payload, &[], &mut out);
        self.raw(&out);
    }

    /// Sends bytes; a server that has closed meanwhile is noticed when reading.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.tcp.write_all(bytes);
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.tcp.local_addr().unwrap()
    }

    /// The next message; `None` when the server has closed the connection.
    #[track_caller]
    pub fn next_message(&mut self) -> Option<Message> {
        self.message_within(SOON).unwrap_or_else(|| panic!("nothing comes over RTMP"))
    }

    /// The next message of this time, if any comes; within it `None` when the server has closed the connection.
    pub fn message_within(&mut self, limit: Duration) -> Option<Option<Message>> {
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Some(Some(message));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.tcp.set_read_timeout(Some(left)).unwrap();
            let n = match self.tcp.read(&mut buffer) {
                Ok(0) => return Some(None),
                Ok(n) => n,
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
                Err(_) => return Some(None),
            };
            let mut input = &buffer[..n];
            while let Some(message) = self.reader.read(&mut input).unwrap() {
                self.inbox.push_back(message);
            }
        }
    }

    /// The next command of this name, passing over all else.
    #[track_caller]
    pub fn told(&mut self, name: &str) -> Told {
        loop {
            let message = self.next_message().unwrap_or_else(|| panic!("closed in place of {name}"));
            if message.kind == kind::COMMAND_AMF0 {
                let mut values = amf0::decode(&message.payload).unwrap();
                let told = values.remove(0).as_str().unwrap_or_default().to_owned();
                let transaction = values.remove(0).as_f64().unwrap_or_default();
                if told == name {
                    return Told { transaction, values };
                }
            }
        }
    }

    /// The answer to the last call.
    #[track_caller]
    pub fn answered(&mut self) -> Told {
        loop {
            let told = self.told("_result");
            if told.transaction == self.transaction {
                return told;
            }
        }
    }

    /// Waits for this status.
    #[track_caller]
    pub fn status(&mut self, code: &str) -> Told {
        loop {
            let told = self.told("onStatus");
            if told.info("code") == code {
                return told;
            }
            assert_ne!(told.info("level"), "error", "{told:?} in place of {code}");
        }
    }

    /// Waits until the server closes the connection.
    #[track_caller]
    pub fn closed(&mut self) {
        while self.next_message().is_some() {}
    }
}

impl Player for Peer {
    fn next(&mut self) -> Option<(Seen, u32, bytes::Bytes)> {
        loop {
            let Message { kind, timestamp, payload, .. } = self.next_message()?;
            let kind = MediaKind::ALL.into_iter().find(|k| k.message_type() == kind);
            if let Some(kind) = kind {
                let Media { kind, timestamp, payload } = Media { kind, timestamp, payload };
                return Some((seen(kind, &payload), timestamp, payload));
            }
        }
    }
}
