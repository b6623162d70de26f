//! The client's end of a session: what forwards, edges and tests use to publish to a server or play from it.
//!
//! One client publishes or plays one stream. Reconnecting, and following a redirection, belongs to the caller.

use std::collections::VecDeque;

use bytes::Bytes;
use formats::amf0::{Properties, Value};
use media::Micros;

use crate::chunk::{MAX_MESSAGE, MediaWriter};
use crate::command::{Command, UserControl, event};
use crate::link::Link;
use crate::message::{Media, MediaKind, Message, kind};
use crate::{Error, Url, handshake};

/// What the client wants of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To play the stream.
    Play,
    /// To publish the stream.
    Publish,
}

/// What a client session is told at its start.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where the random bytes of the handshake come from.
    pub seed: u64,
    /// The stream. `connect` tells [`Url::tc_url`], `publish` and `play` tell [`Url::stream_and_param`].
    pub url: Url,
    /// What to do with it.
    pub role: Role,
    /// `pageUrl` of `connect`.
    pub page_url: String,
    /// `swfUrl` of `connect`.
    pub swf_url: String,
    /// Further properties of the `connect` object, such as those of Enhanced RTMP.
    pub properties: Properties,
    /// What we tell the server about ourselves, as the third argument of `connect`; nothing when empty.
    pub extra: Properties,
    /// Our chunk size in bytes.
    pub chunk_size: u32,
    /// The longest message accepted from the server, in bytes.
    pub max_message: u32,
    /// How long it may take from the start until the stream has started.
    pub timeout: Micros,
}

impl ClientOptions {
    /// Options for `role` on `url`, the rest by default.
    pub fn new(url: Url, role: Role) -> Self {
        Self {
            seed: 0,
            url,
            role,
            page_url: String::new(),
            swf_url: String::new(),
            properties: Vec::new(),
            extra: Vec::new(),
            chunk_size: 60_000,
            max_message: MAX_MESSAGE,
            timeout: Micros::from_secs(30),
        }
    }
}

/// What the server does.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The server has accepted: a publisher may send, a player gets media.
    Started,
    /// A message of the stream.
    Media(Media),
    /// The server tells something about the stream.
    Status {
        /// `status`, `warning` or `error`.
        level: String,
        /// Such as `NetStream.Play.Start`.
        code: String,
        /// For people.
        description: String,
    },
    /// The server has refused before the stream started; the session is over.
    Rejected {
        /// Such as `NetStream.Publish.BadName`.
        code: String,
        /// For people.
        description: String,
        /// Where to go instead, if the server says so: a stream's address, or that of an application.
        redirect: Option<String>,
    },
    /// The stream has ended; the session is over.
    Ended,
}

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    link: Link,
    stage: Stage,
    deadline: Micros,
    events: VecDeque<ClientEvent>,
}

#[derive(Debug)]
enum Stage {
    Handshake(Box<handshake::Client>),
    /// `connect` is sent.
    Connecting,
    /// `createStream` is sent.
    Creating,
    /// `publish` or `play` is sent.
    Starting {
        stream: u32,
    },
    Running {
        stream: u32,
        writer: MediaWriter,
    },
    Over,
}

/// Transactions by use.
mod transaction {
    pub(super) const CONNECT: f64 = 1.0;
    pub(super) const RELEASE_STREAM: f64 = 2.0;
    pub(super) const FC_PUBLISH: f64 = 3.0;
    pub(super) const CREATE_STREAM: f64 = 4.0;
    pub(super) const START: f64 = 5.0;
    pub(super) const FC_UNPUBLISH: f64 = 6.0;
}

const FLASH_VERSION: &str = "WIN 15,0,0,239";
const WINDOW: u32 = 2_500_000;
/// The player's buffer that we tell, in milliseconds.
const BUFFER_LENGTH: u32 = 1000;

impl Client {
    /// A session on a fresh connection; the first bytes wait to be sent.
    pub fn new(now: Micros, options: ClientOptions) -> Self {
        let mut link = Link::new(options.max_message);
        let handshake = handshake::Client::new(options.seed, now, &mut link.out);
        Self {
            deadline: now + options.timeout,
            options,
            link,
            stage: Stage::Handshake(Box::new(handshake)),
            events: VecDeque::new(),
        }
    }

    /// Takes what came from the socket.
    ///
    /// Errors: the server breaks the protocol. The session is over.
    pub fn receive(&mut self, _now: Micros, bytes: &[u8]) -> Result<(), Error> {
        let result = self.process(bytes);
        if result.is_err() {
            self.stage = Stage::Over;
        }
        self.link.count(bytes.len());
        result
    }

    /// The next thing that the server did.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// What to send to the server.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.link.take()
    }

    /// When to call [`timeout`](Self::timeout); `None` once the stream has started.
    pub fn poll_timeout(&self) -> Option<Micros> {
        (!matches!(self.stage, Stage::Running { .. } | Stage::Over)).then_some(self.deadline)
    }

    /// Time has passed.
    ///
    /// Errors: [`Error::Timeout`] when the stream has not started in time; the session is over then.
    pub fn timeout(&mut self, now: Micros) -> Result<(), Error> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let awaited = match self.stage {
            Stage::Handshake(_) => "handshake",
            Stage::Connecting => "answer to connect",
            Stage::Creating => "answer to createStream",
            _ => "start of the stream",
        };
        self.stage = Stage::Over;
        Err(Error::Timeout { awaited, seconds: self.options.timeout.millis() / 1000 })
    }

    /// The session is over.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Sends one message of the stream; `timestamp` in milliseconds. `false`, and nothing is sent, unless this is a publisher
    /// whose stream has started.
    pub fn send(&mut self, kind: MediaKind, timestamp: u32, payload: &[u8]) -> bool {
        self.send_parts(kind, timestamp, payload, &[])
    }

    /// The same for a payload of two pieces.
    pub fn send_parts(&mut self, kind: MediaKind, timestamp: u32, head: &[u8], rest: &[u8]) -> bool {
        match &mut self.stage {
            Stage::Running { writer, .. } if self.options.role == Role::Publish => {
                writer.write(kind, timestamp, head, rest, &mut self.link.out);
                true
            }
            _ => false,
        }
    }

    /// Ends the stream in good order; send what waits, then close the connection.
    pub fn stop(&mut self) {
        if let Stage::Starting { stream } | Stage::Running { stream, .. } = self.stage {
            if self.options.role == Role::Publish {
                self.call("FCUnpublish", transaction::FC_UNPUBLISH);
            }
            let id = f64::from(stream).into();
            self.link.command(0, &["deleteStream".into(), 0.0.into(), Value::Null, id]);
        }
        self.stage = Stage::Over;
    }

    fn process(&mut self, mut input: &[u8]) -> Result<(), Error> {
        loop {
            match &mut self.stage {
                Stage::Over => return Ok(()),
                Stage::Handshake(handshake) => {
                    if !handshake.receive(&mut input, &mut self.link.out)? {
                        return Ok(());
                    }
                    self.connect();
                    self.stage = Stage::Connecting;
                }
                _ => match self.link.read(&mut input)? {
                    Some(message) => self.message(message)?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn message(&mut self, message: Message) -> Result<(), Error> {
        if let Some(command) = Command::parse(&message)? {
            self.command(&command);
            return Ok(());
        }
        if let Some(control) = UserControl::parse(&message) {
            if control.event == event::STREAM_EOF && matches!(self.stage, Stage::Running { .. }) {
                self.end();
            }
            return Ok(());
        }
        if self.options.role == Role::Play
            && let Some(media) = Media::of(message)
        {
            // Some servers begin with media and say nothing.
            if media.kind != MediaKind::Data {
                self.start();
            }
            if let Stage::Running { .. } = self.stage {
                self.events.push_back(ClientEvent::Media(media));
            }
        }
        Ok(())
    }

    fn connect(&mut self) {
        let url = &self.options.url;
        let text = |text: &str| Value::from(text);
        let mut object: Properties = [
            ("app", text(&url.app)),
            ("flashVer", text(FLASH_VERSION)),
            ("swfUrl", text(&self.options.swf_url)),
            ("tcUrl", url.tc_url().into()),
            ("fpad", false.into()),
            ("capabilities", 239.0.into()),
            ("audioCodecs", 3575.0.into()),
            ("videoCodecs", 252.0.into()),
            ("videoFunction", 1.0.into()),
            ("pageUrl", text(&self.options.page_url)),
            ("objectEncoding", 0.0.into()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        object.append(&mut self.options.properties);
        let mut values = vec!["connect".into(), transaction::CONNECT.into(), Value::Object(object)];
        if !self.options.extra.is_empty() {
            values.push(Value::Object(std::mem::take(&mut self.options.extra)));
        }
        self.link.command(0, &values);
        self.link.control(kind::WINDOW_SIZE, &WINDOW.to_be_bytes());
    }

    fn create_stream(&mut self) {
        self.link.set_chunk_size(self.options.chunk_size);
        if self.options.role == Role::Publish {
            self.call("releaseStream", transaction::RELEASE_STREAM);
            self.call("FCPublish", transaction::FC_PUBLISH);
        }
        let transaction = transaction::CREATE_STREAM.into();
        self.link.command(0, &["createStream".into(), transaction, Value::Null]);
        self.stage = Stage::Creating;
    }

    fn open(&mut self, stream: u32) {
        let name = self.options.url.stream_and_param().into();
        let transaction = transaction::START.into();
        match self.options.role {
            Role::Publish => {
                let values = ["publish".into(), transaction, Value::Null, name, "live".into()];
                self.link.command(stream, &values);
            }
            Role::Play => {
                self.link.command(stream, &["play".into(), transaction, Value::Null, name]);
                self.link.user_control(event::SET_BUFFER_LENGTH, stream, Some(BUFFER_LENGTH));
            }
        }
        self.stage = Stage::Starting { stream };
    }

    fn command(&mut self, command: &Command) {
        match (&self.stage, command.name.as_str()) {
            (Stage::Connecting, "_result") if command.transaction == transaction::CONNECT => {
                self.create_stream();
            }
            (Stage::Creating, "_result") if command.transaction == transaction::CREATE_STREAM => {
                let id = command.argument(0).and_then(Value::as_f64).unwrap_or(1.0);
                self.open(id as u32);
            }
            (Stage::Connecting | Stage::Creating | Stage::Starting { .. }, "_error")
                if [transaction::CONNECT, transaction::CREATE_STREAM, transaction::START]
                    .contains(&command.transaction) =>
            {
                self.reject(command);
            }
            (_, "onStatus") => self.status(command),
            (_, "close") => self.end(),
            _ => {}
        }
    }

    fn status(&mut self, command: &Command) {
        let text = |name: &str| {
            let value = command.argument(0).and_then(|info| info.property(name));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (level, code) = (text("level"), text("code"));
        let running = matches!(self.stage, Stage::Running { .. });
        if level == "error" && !running {
            self.reject(command);
            return;
        }
        let starts = match self.options.role {
            Role::Play => code == "NetStream.Play.Start",
            Role::Publish => code == "NetStream.Publish.Start",
        };
        let ends = level == "error"
            || matches!(
                code.as_str(),
                "NetStream.Play.Stop"
                    | "NetStream.Play.Complete"
                    | "NetStream.Play.UnpublishNotify"
                    | "NetStream.Unpublish.Success"
            );
        self.events.push_back(ClientEvent::Status { level, code, description: text("description") });
        if starts {
            self.start();
        } else if ends && running {
            self.end();
        }
    }

    fn start(&mut self) {
        if let Stage::Starting { stream } = self.stage {
            let writer = MediaWriter::new(self.link.chunk_size(), 0).on_stream(stream);
            self.stage = Stage::Running { stream, writer };
            self.events.push_back(ClientEvent::Started);
        }
    }

    fn reject(&mut self, command: &Command) {
        let info = command.argument(0);
        let text = |value: Option<&Value>, name: &str| {
            value.and_then(|value| value.property(name)).and_then(Value::as_str).map(str::to_owned)
        };
        let ex = info.and_then(|info| info.property("ex"));
        self.events.push_back(ClientEvent::Rejected {
            code: text(info, "code").unwrap_or_default(),
            description: text(info, "description").unwrap_or_default(),
            redirect: text(ex, "redirect2").or_else(|| text(ex, "redirect")),
        });
        self.stage = Stage::Over;
    }

    fn end(&mut self) {
        self.events.push_back(ClientEvent::Ended);
        self.stage = Stage::Over;
    }

    /// A call with the stream's name as its only argument.
    fn call(&mut self, name: &str, transaction: f64) {
        let stream = self.options.url.stream_and_param().into();
        self.link.command(0, &[name.into(), transaction.into(), Value::Null, stream]);
    }
}
