//! The client's side of an RTMP connection, without its socket: handshake, the commands up to `play` or `publish`,
//! acknowledgements and pings. Bytes in, bytes and events out.
//!
//! Simple handshake only (RTMP 1.0, section 5.2); every answer is waited for, as ffmpeg does.

use crate::amf::{self, Value};
use crate::chunk::{self, Message};
use crate::url::Url;

/// Size of the chunks we send, in bytes: what OBS uses.
pub const CHUNK_SIZE: usize = 4096;
/// Chunk stream that carries what is published.
pub const MEDIA_LANE: u8 = 6;

const PROTOCOL_LANE: u8 = 2;
const COMMAND_LANE: u8 = 3;
const HANDSHAKE: usize = 1536;
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

/// What the connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Ask for a stream.
    Play,
    /// Send a stream.
    Publish,
}

/// What the server's bytes meant.
#[derive(Debug)]
pub enum Event {
    /// Playing or publishing was accepted.
    Accepted,
    /// An audio (8), video (9) or data (18) message.
    Media(Message),
}

enum State {
    Handshake(Vec<u8>),
    Commands,
    Accepted,
}

/// One client connection.
pub struct Client {
    role: Role,
    url: Url,
    state: State,
    reader: chunk::Reader,
    messages: Vec<Message>,
    stream: u32,
    acks: Acks,
}

impl Client {
    /// A connection to `url` in `role`; what is to be sent first is appended to `out`.
    pub fn open(url: Url, role: Role, out: &mut Vec<u8>) -> Self {
        out.push(3);
        out.resize(out.len() + HANDSHAKE, 0);
        Self {
            role,
            url,
            state: State::Handshake(Vec::new()),
            reader: chunk::Reader::default(),
            messages: Vec::new(),
            stream: 0,
            acks: Acks::default(),
        }
    }

    /// Takes the server's next bytes; appends answers to `out` and what they meant to `events`.
    ///
    /// # Errors
    /// With the reason when the server refuses or speaks no RTMP.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Result<(), String> {
        self.acks.count(bytes.len(), out);
        let State::Handshake(pending) = &mut self.state else { return self.chunks(bytes, out, events) };
        pending.extend_from_slice(bytes);
        let Some((answer, rest)) = pending.split_at_checked(1 + 2 * HANDSHAKE) else { return Ok(()) };
        if answer[0] != 3 {
            return Err(format!("RTMP version {} is offered", answer[0]));
        }
        out.extend_from_slice(&answer[1..=HANDSHAKE]);
        let rest = rest.to_vec();
        self.state = State::Commands;
        self.connect(out);
        self.chunks(&rest, out, events)
    }

    /// The message stream the server gave us.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Gives up parsing; what remains is to count bytes and acknowledge them.
    pub fn into_acks(self) -> Acks {
        self.acks
    }

    fn chunks(&mut self, bytes: &[u8], out: &mut Vec<u8>, events: &mut Vec<Event>) -> Result<(), String> {
        let mut messages = std::mem::take(&mut self.messages);
        self.reader.push(bytes, &mut messages)?;
        for message in messages.drain(..) {
            match message.kind {
                4 => answer_ping(&message.body, out),
                5 => self.acks.set_window(&message.body),
                8 | 9 | 18 => events.push(Event::Media(message)),
                20 => self.command(&message.body, out, events)?,
                _ => {}
            }
        }
        self.messages = messages;
        Ok(())
    }

    fn command(&mut self, body: &[u8], out: &mut Vec<u8>, events: &mut Vec<Event>) -> Result<(), String> {
        let values = amf::decode(body).ok_or("a malformed command")?;
        let name = values.first().and_then(Value::as_text).unwrap_or_default();
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or_default();
        let information = values.iter().rev().find(|value| value.field("code").is_some());
        let code = information.and_then(|value| value.field("code")).unwrap_or_default();
        let refused = information.and_then(|value| value.field("level")) == Some("error");
        match name {
            "_result" if transaction == CONNECT => self.create_stream(out),
            "_result" if transaction == CREATE_STREAM => {
                self.stream =
                    values.last().and_then(Value::as_number).ok_or("createStream gives no stream")? as u32;
                self.ask(out);
            }
            "_error" if transaction == CONNECT || transaction == CREATE_STREAM => {
                return Err(format!("the server refuses: {code}"));
            }
            "onStatus" if refused => return Err(format!("the server refuses: {code}")),
            "onStatus" if matches!(code, "NetStream.Play.Start" | "NetStream.Publish.Start") => {
                if matches!(self.state, State::Commands) {
                    self.state = State::Accepted;
                    events.push(Event::Accepted);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn connect(&self, out: &mut Vec<u8>) {
        let app = self.url.app_and_stream().0;
        let mut fields = vec![
            ("app".to_owned(), Value::text(app)),
            ("flashVer".to_owned(), Value::text("FMLE/3.0 (compatible; oxload)")),
            ("tcUrl".to_owned(), Value::Text(format!("rtmp://{}/{app}", self.url.host))),
        ];
        if self.role == Role::Publish {
            fields.insert(1, ("type".to_owned(), Value::text("nonprivate")));
        }
        let size = (CHUNK_SIZE as u32).to_be_bytes().to_vec();
        let size = Message { kind: chunk::SET_CHUNK_SIZE, time: 0, stream: 0, body: size };
        chunk::write(out, PROTOCOL_LANE, CHUNK_SIZE, &size);
        command(out, 0, &[Value::text("connect"), Value::Number(CONNECT), Value::Object(fields)]);
    }

    fn create_stream(&self, out: &mut Vec<u8>) {
        if self.role == Role::Publish {
            let name = self.url.app_and_stream().1;
            for (transaction, verb) in [(2.0, "releaseStream"), (3.0, "FCPublish")] {
                command(
                    out,
                    0,
                    &[Value::text(verb), Value::Number(transaction), Value::Null, Value::text(name)],
                );
            }
        }
        command(out, 0, &[Value::text("createStream"), Value::Number(CREATE_STREAM), Value::Null]);
    }

    fn ask(&self, out: &mut Vec<u8>) {
        let name = Value::text(self.url.app_and_stream().1);
        let (verb, transaction) = (|verb| Value::text(verb), Value::Number(5.0));
        match self.role {
            Role::Publish => {
                command(
                    out,
                    self.stream,
                    &[verb("publish"), transaction, Value::Null, name, Value::text("live")],
                );
            }
            Role::Play => {
                command(out, self.stream, &[verb("play"), transaction, Value::Null, name]);
                let buffer = [&[0, 3][..], &self.stream.to_be_bytes(), &1000u32.to_be_bytes()].concat();
                control(out, 4, buffer);
            }
        }
    }
}

/// Counts received bytes and acknowledges them when half of the server's window is full (RTMP 1.0, section 5.4.3).
pub struct Acks {
    window: u64,
    received: u64,
    acknowledged: u64,
}

impl Default for Acks {
    fn default() -> Self {
        Self { window: 2_500_000, received: 0, acknowledged: 0 }
    }
}

impl Acks {
    /// Counts `length` bytes; appends an acknowledgement to `out` when one is due.
    pub fn count(&mut self, length: usize, out: &mut Vec<u8>) {
        self.received += length as u64;
        if (self.received - self.acknowledged) * 2 >= self.window {
            self.acknowledged = self.received;
            control(out, 3, (self.received as u32).to_be_bytes().to_vec());
        }
    }

    fn set_window(&mut self, body: &[u8]) {
        if let Some(window) = body.first_chunk().copied().map(u32::from_be_bytes).filter(|&window| window > 0)
        {
            self.window = window.into();
        }
    }
}

fn answer_ping(body: &[u8], out: &mut Vec<u8>) {
    if let [0, 6, time @ ..] = body {
        control(out, 4, [&[0, 7], time].concat());
    }
}

fn control(out: &mut Vec<u8>, kind: u8, body: Vec<u8>) {
    chunk::write(out, PROTOCOL_LANE, CHUNK_SIZE, &Message { kind, time: 0, stream: 0, body });
}

fn command(out: &mut Vec<u8>, stream: u32, values: &[Value]) {
    let message = Message { kind: 20, time: 0, stream, body: amf::encode(values) };
    chunk::write(out, COMMAND_LANE, CHUNK_SIZE, &message);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server would answer, wrapped in its default chunks of 128 bytes.
    fn answer(values: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        let message = Message { kind: 20, time: 0, stream: 0, body: amf::encode(values) };
        chunk::write(&mut out, COMMAND_LANE, 128, &message);
        out
    }

    fn status(code: &str, level: &str) -> Vec<u8> {
        let fields = vec![("level".into(), Value::text(level)), ("code".into(), Value::text(code))];
        answer(&[Value::text("onStatus"), Value::Number(0.0), Value::Null, Value::Object(fields)])
    }

    /// The names of the commands in what a client sent behind its handshake.
    fn commands(sent: &[u8]) -> Vec<String> {
        let (mut reader, mut messages) = (chunk::Reader::default(), Vec::new());
        reader.push(sent, &mut messages).unwrap();
        let commands = messages.iter().filter(|message| message.kind == 20);
        commands.map(|message| amf::decode(&message.body).unwrap()[0].as_text().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_player_says_its_commands_in_order() {
        let url = Url::parse("rtmp://127.0.0.1/live/livestream", "rtmp", 1935).unwrap();
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let mut client = Client::open(url, Role::Play, &mut out);
        assert_eq!(out.len(), 1537);
        client.receive(&vec![3; 1 + 2 * HANDSHAKE], &mut out, &mut events).unwrap();
        let result = answer(&[Value::text("_result"), Value::Number(CONNECT), Value::Null]);
        client.receive(&result, &mut out, &mut events).unwrap();
        let stream = [Value::text("_result"), Value::Number(CREATE_STREAM), Value::Null, Value::Number(7.0)];
        client.receive(&answer(&stream), &mut out, &mut events).unwrap();
        assert!(events.is_empty());
        client.receive(&status("NetStream.Play.Start", "status"), &mut out, &mut events).unwrap();
        assert!(matches!(events.as_slice(), [Event::Accepted]));
        assert_eq!(client.stream(), 7);
        assert_eq!(commands(&out[1537 + HANDSHAKE..]), ["connect", "createStream", "play"]);
        let refusal = client.receive(&status("NetStream.Play.Failed", "error"), &mut out, &mut events);
        assert!(refusal.unwrap_err().contains("NetStream.Play.Failed"));
    }

    #[test]
    fn half_a_window_is_acknowledged() {
        let (mut acks, mut out) = (Acks::default(), Vec::new());
        acks.set_window(&1000u32.to_be_bytes());
        acks.count(499, &mut out);
        assert!(out.is_empty());
        acks.count(1, &mut out);
        assert_eq!(out[out.len() - 4..], 500u32.to_be_bytes());
    }
}
