//! The server's end of a session: who connects, what they publish or play, and the answers.
//!
//! Decisions are not made here: `connect`, `publish` and `play` become events that the caller accepts or rejects, and nothing of the
//! client is read until it has. Media for players does not pass through here; the fan-out lays it by a [`MediaWriter`].

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use bytes::Bytes;
use formats::amf0::{Properties, Value};
use media::Micros;

use crate::chunk::{MAX_MESSAGE, MediaWriter};
use crate::command::{CLIENT_ID, Command, UserControl, event};
use crate::link::Link;
use crate::message::{Media, Message, kind};
use crate::{Error, Url, handshake};

/// What a server session is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Where the random bytes of the handshake come from.
    pub seed: u64,
    /// The longest message of a publisher, in bytes. Before a publish is accepted, messages are limited to 256 KiB.
    pub max_message: u32,
    /// How long each of handshake, `connect`, and `publish` or `play` may take.
    pub opening_timeout: Micros,
    /// How long a client may stay without a stream after it has ended one.
    pub republish_timeout: Micros,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            max_message: MAX_MESSAGE,
            opening_timeout: Micros::from_secs(30),
            republish_timeout: Micros::from_secs(180),
        }
    }
}

/// What a client does. `Connect`, `Publish` and `Play` wait for an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A proxy in front tells the address of the client.
    ProxyAddress(Ipv4Addr),
    /// Answer with [`Server::accept_connect`] or [`Server::reject_connect`].
    Connect(Box<Connect>),
    /// Answer with [`Server::accept_publish`] or [`Server::reject_publish`].
    Publish(Box<Publish>),
    /// Answer with [`Server::accept_play`], [`Server::reject_play`] or [`Server::redirect_play`].
    Play(Box<Play>),
    /// A message of the publisher.
    Media(Media),
    /// The publisher has ended the stream; the client may publish or play again.
    Unpublish,
    /// The player has ended the stream; the client may publish or play again.
    Stop,
    /// The player pauses (`true`) or goes on.
    Pause(bool),
    /// The player wants audio or not.
    ReceiveAudio(bool),
    /// The player wants video or not.
    ReceiveVideo(bool),
    /// The client's buffer, in milliseconds.
    BufferLength(u32),
}

/// The `connect` command (§7.2.1.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// The application as told; [`Url::app`] of `target` is the one to use.
    pub app: String,
    /// The address that the client connected to, as told.
    pub tc_url: String,
    /// The page around the player, or empty.
    pub page_url: String,
    /// The player, or empty.
    pub swf_url: String,
    /// The client's software.
    pub flash_ver: String,
    /// 0 for AMF0, 3 for AMF3.
    pub object_encoding: f64,
    /// The properties of Enhanced RTMP that the client told: `fourCcList`, `videoFourCcInfoMap`, `audioFourCcInfoMap`, `capsEx`.
    /// Accepting the connection tells them back, since a relay forwards whatever comes.
    pub enhanced: Properties,
    /// The object that another server tells about itself, or nothing.
    pub extra: Properties,
    /// What `tc_url` means.
    pub target: Url,
}

/// The answer to `connect`.
#[derive(Clone, Copy, Debug)]
pub struct ConnectReply<'a> {
    /// Our chunk size from now on, in bytes.
    pub chunk_size: u32,
    /// The window by which the client shall acknowledge, in bytes; 0 does not tell one.
    pub out_ack_size: u32,
    /// The window by which we acknowledge even if the client tells none, in bytes; 0 leaves it to the client.
    pub in_ack_size: u32,
    /// What the client is told about us.
    pub server: ServerIdentity<'a>,
}

/// What `data` of the connect result tells about the server; players ignore it, edges of SRS read it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerIdentity<'a> {
    /// Name and version.
    pub signature: &'a str,
    /// Name and version, longer.
    pub name: &'a str,
    /// The licence.
    pub license: &'a str,
    /// The home page.
    pub url: &'a str,
    /// The version.
    pub version: &'a str,
    /// The authors.
    pub authors: &'a str,
    /// The local address of the socket.
    pub ip: &'a str,
    /// The process id.
    pub pid: u32,
    /// The id of the connection.
    pub id: &'a str,
}

/// How a publisher announced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishKind {
    /// `releaseStream` or `FCPublish` first: OBS, FFmpeg, librtmp.
    Fmle,
    /// `createStream`, then `FCPublish`.
    Haivision,
    /// Neither.
    Flash,
}

/// What the publisher wants done with the stream; a live server only hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishMode {
    /// Live only.
    Live,
    /// Also recorded.
    Record,
    /// Also appended to a record.
    Append,
}

/// The `publish` command (§7.2.2.6).
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The stream.
    pub url: Url,
    /// How it was announced.
    pub kind: PublishKind,
    /// What is wanted.
    pub mode: PublishMode,
}

/// The `play` command (§7.2.2.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Play {
    /// The stream.
    pub url: Url,
    /// Where to start, as told: -2 for live or else recorded, -1 for live only.
    pub start: f64,
    /// How much media time to play, in milliseconds; `None` for all.
    pub duration_ms: Option<u32>,
    /// Whether this play replaces earlier ones.
    pub reset: bool,
}

/// One client.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    link: Link,
    stage: Stage,
    /// The time of the last call that told one.
    now: Micros,
    deadline: Option<Deadline>,
    tc_url: String,
    events: VecDeque<Event>,
    /// What the client sent while a decision is outstanding.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Micros,
    patience: Micros,
}

#[derive(Debug)]
enum Stage {
    Handshake(Box<handshake::Server>),
    Connect,
    ConnectAsked { transaction: f64, object_encoding: f64, enhanced: Properties },
    Identify(Identify),
    PublishAsked(PublishKind),
    Publishing(PublishKind),
    PlayAsked,
    Playing,
    Closed,
}

/// What a client without a stream has said so far.
#[derive(Debug, Default)]
struct Identify {
    streams_created: u8,
    announced: Option<Announced>,
}

/// A publisher has announced itself by `releaseStream` or `FCPublish`.
#[derive(Debug)]
struct Announced {
    kind: PublishKind,
    name: String,
}

/// The only message stream there is.
const STREAM: u32 = 1;
/// The first one and three nested ones.
const MAX_CREATE_STREAM: u8 = 4;
/// Commands are short; an honest `connect` stays below 4 KiB.
const MAX_COMMAND: u32 = 256 * 1024;
const MAX_HELD: usize = 1024 * 1024;
const MAX_TC_URL: usize = 4096;
const PEER_BANDWIDTH: u32 = 2_500_000;
const DYNAMIC: u8 = 2;

impl Server {
    /// A session at the start of a connection.
    pub fn new(now: Micros, options: ServerOptions) -> Self {
        Self {
            options,
            link: Link::new(MAX_COMMAND),
            stage: Stage::Handshake(Box::new(handshake::Server::new(options.seed))),
            now,
            deadline: Some(Deadline { at: now + options.opening_timeout, patience: options.opening_timeout }),
            tc_url: String::new(),
            events: VecDeque::new(),
            held: Vec::new(),
        }
    }

    /// Takes what came from the socket. While [`is_deciding`](Self::is_deciding), bytes are only held, up to 1 MiB; the caller had
    /// better not read the socket then.
    ///
    /// Errors: the client breaks the protocol. The session is over; what waits to be sent may still be sent.
    pub fn receive(&mut self, now: Micros, bytes: &[u8]) -> Result<(), Error> {
        self.now = now;
        let result = self.process(bytes);
        if result.is_err() {
            self.shut();
        }
        self.link.count(bytes.len());
        result
    }

    /// The next thing that the client did.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() && !matches!(self.stage, Stage::Publishing(_)) {
            // Thousands of idle players keep no room for events.
            self.events = VecDeque::new();
        }
        event
    }

    /// What to send to the client, before any media that is laid after it.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.link.take()
    }

    /// When to call [`timeout`](Self::timeout). `None` while a decision is outstanding, and while publishing or playing.
    pub fn poll_timeout(&self) -> Option<Micros> {
        self.deadline.map(|deadline| deadline.at)
    }

    /// Time has passed.
    ///
    /// Errors: [`Error::Timeout`] when the client has let its deadline pass; the session is over then.
    pub fn timeout(&mut self, now: Micros) -> Result<(), Error> {
        self.now = now;
        let Some(deadline) = self.deadline.filter(|deadline| now >= deadline.at) else {
            return Ok(());
        };
        let awaited = match self.stage {
            Stage::Handshake(_) => "handshake",
            Stage::Connect => "connect",
            _ => "publish or play",
        };
        self.shut();
        Err(Error::Timeout { awaited, seconds: deadline.patience.millis() / 1000 })
    }

    /// A request of the client waits for its answer.
    pub fn is_deciding(&self) -> bool {
        matches!(self.stage, Stage::ConnectAsked { .. } | Stage::PublishAsked(_) | Stage::PlayAsked)
    }

    /// Bytes held while a decision is outstanding; beyond 1 MiB, [`receive`](Self::receive) fails.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The session is over: an error, a rejection, or [`close`](Self::close). Send what waits, then close the connection.
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// A writer for the media of this player, which sees `base` (milliseconds) as zero.
    pub fn media_writer(&self, base: u32) -> MediaWriter {
        MediaWriter::new(self.link.chunk_size(), base)
    }

    /// Accepts `connect`: window, bandwidth, chunk size, result, `onBWDone`.
    ///
    /// Errors: [`Error::Unasked`], and those of [`receive`](Self::receive) for what the client has sent meanwhile.
    pub fn accept_connect(&mut self, reply: ConnectReply<'_>) -> Result<(), Error> {
        let Stage::ConnectAsked { transaction, object_encoding, enhanced } = &mut self.stage else {
            return Err(Error::Unasked { answer: "accept_connect" });
        };
        let (transaction, object_encoding) = (*transaction, *object_encoding);
        let mut properties: Properties = vec![
            ("fmsVer".into(), "FMS/3,5,3,888".into()),
            ("capabilities".into(), 127.0.into()),
            ("mode".into(), 1.0.into()),
        ];
        properties.append(enhanced);

        if reply.out_ack_size > 0 {
            self.link.control(kind::WINDOW_SIZE, &reply.out_ack_size.to_be_bytes());
        }
        let [a, b, c, d] = PEER_BANDWIDTH.to_be_bytes();
        self.link.control(kind::PEER_BANDWIDTH, &[a, b, c, d, DYNAMIC]);
        self.link.set_chunk_size(reply.chunk_size);
        self.link.force_window(reply.in_ack_size);
        let server = reply.server;
        let data = Value::ecma_array([
            ("version", "3,5,3,888".into()),
            ("srs_sig", server.signature.into()),
            ("srs_server", server.name.into()),
            ("srs_license", server.license.into()),
            ("srs_url", server.url.into()),
            ("srs_version", server.version.into()),
            ("srs_authors", server.authors.into()),
            ("srs_server_ip", server.ip.into()),
            ("srs_pid", f64::from(server.pid).into()),
            ("srs_id", server.id.into()),
        ]);
        let information = Value::object([
            ("level", "status".into()),
            ("code", "NetConnection.Connect.Success".into()),
            ("description", "Connection succeeded".into()),
            ("objectEncoding", object_encoding.into()),
            ("data", data),
        ]);
        self.link.command(0, &["_result".into(), transaction.into(), Value::Object(properties), information]);
        self.link.command(0, &["onBWDone".into(), 0.0.into(), Value::Null]);
        self.identify(self.options.opening_timeout);
        self.resume()
    }

    /// Rejects `connect`; the session is over.
    ///
    /// Errors: [`Error::Unasked`].
    pub fn reject_connect(&mut self, description: &str) -> Result<(), Error> {
        if !matches!(self.stage, Stage::ConnectAsked { .. }) {
            return Err(Error::Unasked { answer: "reject_connect" });
        }
        self.close("NetConnection.Connect.Rejected", description);
        Ok(())
    }

    /// Accepts `publish`; media events follow.
    ///
    /// Errors: as of [`accept_connect`](Self::accept_connect).
    pub fn accept_publish(&mut self) -> Result<(), Error> {
        let Stage::PublishAsked(kind) = self.stage else {
            return Err(Error::Unasked { answer: "accept_publish" });
        };
        self.send_status("status", "NetStream.Publish.Start", "Started publishing stream.");
        self.link.reader.set_max_message(self.options.max_message);
        self.stage = Stage::Publishing(kind);
        self.resume()
    }

    /// Rejects `publish` with a code such as `NetStream.Publish.BadName`; the session is over.
    ///
    /// Errors: [`Error::Unasked`].
    pub fn reject_publish(&mut self, code: &str, description: &str) -> Result<(), Error> {
        if !matches!(self.stage, Stage::PublishAsked(_)) {
            return Err(Error::Unasked { answer: "reject_publish" });
        }
        self.close(code, description);
        Ok(())
    }

    /// Accepts `play`: the stream begins, and media may follow what [`poll_transmit`](Self::poll_transmit) gives.
    ///
    /// Errors: as of [`accept_connect`](Self::accept_connect).
    pub fn accept_play(&mut self) -> Result<(), Error> {
        if !matches!(self.stage, Stage::PlayAsked) {
            return Err(Error::Unasked { answer: "accept_play" });
        }
        self.send_stream_begin();
        for (code, description) in [
            ("NetStream.Play.Reset", "Playing and resetting stream."),
            ("NetStream.Play.Start", "Started playing stream."),
        ] {
            self.status_with("status", code, description, [("details", "stream".into())]);
        }
        self.link.data(STREAM, &["|RtmpSampleAccess".into(), true.into(), true.into()]);
        self.stage = Stage::Playing;
        self.resume()
    }

    /// Rejects `play` with a code such as `NetStream.Play.StreamNotFound`; the session is over.
    ///
    /// Errors: [`Error::Unasked`].
    pub fn reject_play(&mut self, code: &str, description: &str) -> Result<(), Error> {
        if !matches!(self.stage, Stage::PlayAsked) {
            return Err(Error::Unasked { answer: "reject_play" });
        }
        self.close(code, description);
        Ok(())
    }

    /// Sends the player to another server, as a cluster's origin does; the session is over. Give the client a few seconds
    /// to go before closing the connection.
    ///
    /// Errors: [`Error::Unasked`].
    pub fn redirect_play(&mut self, to: &Url) -> Result<(), Error> {
        if !matches!(self.stage, Stage::PlayAsked) {
            return Err(Error::Unasked { answer: "redirect_play" });
        }
        let ex = Value::object([
            ("code", 302.0.into()),
            ("redirect", to.app_address().into()),
            ("redirect2", to.to_string().into()),
        ]);
        let description = "The stream is on another server";
        self.status_with("error", "NetConnection.Connect.Rejected", description, [("ex", ex)]);
        self.shut();
        Ok(())
    }

    /// Tells the player that the stream ends in good order, such as after the duration it asked for; the session is over.
    pub fn end_play(&mut self, code: &str, description: &str) {
        self.send_stream_eof();
        self.send_status("status", code, description);
        self.shut();
    }

    /// Tells the client why it is sent away; the session is over.
    pub fn close(&mut self, code: &str, description: &str) {
        self.send_status("error", code, description);
        self.shut();
    }

    /// Tells a status (§7.2.2) of level `status`, `warning` or `error`.
    pub fn send_status(&mut self, level: &str, code: &str, description: &str) {
        self.status_with(level, code, description, []);
    }

    /// Tells the player that the stream begins, or goes on.
    pub fn send_stream_begin(&mut self) {
        self.link.user_control(event::STREAM_BEGIN, STREAM, None);
    }

    /// Tells the player that nothing comes until the next begin.
    pub fn send_stream_eof(&mut self) {
        self.link.user_control(event::STREAM_EOF, STREAM, None);
    }

    fn status_with<const N: usize>(
        &mut self,
        level: &str,
        code: &str,
        description: &str,
        more: [(&str, Value); N],
    ) {
        let mut info: Properties = vec![
            ("level".into(), level.into()),
            ("code".into(), code.into()),
            ("description".into(), description.into()),
        ];
        info.extend(more.map(|(name, value)| (name.to_owned(), value)));
        info.push(("clientid".into(), CLIENT_ID.into()));
        self.link.command(STREAM, &["onStatus".into(), 0.0.into(), Value::Null, Value::Object(info)]);
    }

    fn shut(&mut self) {
        self.stage = Stage::Closed;
        self.deadline = None;
        self.held = Vec::new();
    }

    /// Goes (back) to waiting for `publish` or `play`.
    fn identify(&mut self, patience: Micros) {
        self.stage = Stage::Identify(Identify::default());
        self.wait(patience);
    }

    fn wait(&mut self, patience: Micros) {
        self.deadline = Some(Deadline { at: self.now + patience, patience });
    }

    /// Goes on with what the client sent while a decision was outstanding.
    fn resume(&mut self) -> Result<(), Error> {
        let held = std::mem::take(&mut self.held);
        let result = self.process(&held);
        if result.is_err() {
            self.shut();
        }
        result
    }

    fn process(&mut self, mut input: &[u8]) -> Result<(), Error> {
        loop {
            if self.is_deciding() {
                if self.held.len() + input.len() > MAX_HELD {
                    return Err(Error::Impatient { max: MAX_HELD });
                }
                self.held.extend_from_slice(input);
                return Ok(());
            }
            match &mut self.stage {
                Stage::Closed => return Ok(()),
                Stage::Handshake(handshake) => {
                    let done = handshake.receive(self.now, &mut input, &mut self.link.out)?;
                    self.events.extend(handshake.take_proxied().map(Event::ProxyAddress));
                    if !done {
                        return Ok(());
                    }
                    self.stage = Stage::Connect;
                    self.wait(self.options.opening_timeout);
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
            return self.command(&command);
        }
        if let Some(control) = UserControl::parse(&message) {
            if let UserControl { event: event::SET_BUFFER_LENGTH, second: Some(millis), .. } = control {
                self.events.push_back(Event::BufferLength(millis));
            }
            return Ok(());
        }
        if let Stage::Publishing(_) = self.stage {
            self.events.extend(Media::of(message).map(Event::Media));
        }
        Ok(())
    }

    fn command(&mut self, command: &Command) -> Result<(), Error> {
        match (&mut self.stage, command.name.as_str()) {
            (Stage::Connect, "connect") => return self.connect(command),
            (Stage::Connect, _) => {}

            (Stage::Identify(identify), "createStream") => {
                identify.streams_created += 1;
                if identify.streams_created > MAX_CREATE_STREAM {
                    return Err(Error::NestedCreateStream { max: MAX_CREATE_STREAM });
                }
                self.result(command, f64::from(STREAM).into());
            }
            (Stage::Identify(identify), "releaseStream" | "FCPublish") => {
                identify.announce(command);
                self.result(command, Value::Undefined);
            }
            (Stage::Identify(_), "FCUnpublish") => self.result(command, Value::Undefined),
            (Stage::Identify(identify), "publish") => {
                let announced = identify.announced.take();
                return self.publish(command, announced);
            }
            (Stage::Identify(_), "play") => return self.play(command),

            (Stage::Publishing(PublishKind::Flash), "releaseStream" | "FCPublish" | "FCUnpublish") => {
                self.result(command, Value::Undefined);
            }
            (Stage::Publishing(_), "releaseStream" | "FCPublish" | "FCUnpublish") => {
                self.fc_status("onFCUnpublish", "NetStream.Unpublish.Success", "Stop publishing stream.");
                self.result(command, Value::Undefined);
                self.unpublish();
            }
            (Stage::Publishing(_), "deleteStream" | "closeStream") => self.unpublish(),

            (Stage::Playing, "deleteStream" | "closeStream") => self.stop(),
            (Stage::Playing, "play") => {
                self.stop();
                return self.play(command);
            }
            (Stage::Playing, "pause") => {
                let paused = command.argument(0).and_then(Value::as_bool).unwrap_or(true);
                self.pause(paused);
            }
            (Stage::Playing, "seek") => {
                self.send_status("status", "NetStream.Seek.Notify", "Live streams go on where they are.");
            }
            (Stage::Playing, "receiveAudio") => {
                let wanted = command.argument(0).and_then(Value::as_bool).unwrap_or(true);
                self.events.push_back(Event::ReceiveAudio(wanted));
                self.result(command, Value::Null);
            }
            (Stage::Playing, "receiveVideo") => {
                let wanted = command.argument(0).and_then(Value::as_bool).unwrap_or(true);
                self.events.push_back(Event::ReceiveVideo(wanted));
                self.result(command, Value::Null);
            }

            // FFmpeg asks every player's server, and complains about anything but a number.
            (_, "getStreamLength") => self.result(command, 0.0.into()),
            // Answers to what we never ask, and calls that only want to be answered (`_checkbw`).
            (_, "_result" | "_error" | "onStatus") => {}
            _ => self.result(command, Value::Null),
        }
        Ok(())
    }

    /// `_result` with `value`, if the command wants an answer.
    fn result(&mut self, command: &Command, value: Value) {
        if command.transaction > 0.0 {
            self.link.command(0, &["_result".into(), command.transaction.into(), Value::Null, value]);
        }
    }

    fn connect(&mut self, command: &Command) -> Result<(), Error> {
        let tc_url = command.text("tcUrl");
        if tc_url.is_empty() || tc_url.len() > MAX_TC_URL {
            return Err(Error::Argument { command: "connect", argument: "tcUrl" });
        }
        let enhanced: Properties = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), command.property(name)?.clone())))
            .collect();
        let connect = Connect {
            app: command.text("app"),
            page_url: command.text("pageUrl"),
            swf_url: command.text("swfUrl"),
            flash_ver: command.text("flashVer"),
            object_encoding: command.property("objectEncoding").and_then(Value::as_f64).unwrap_or(0.0),
            extra: command.argument(0).and_then(Value::properties).unwrap_or_default().to_vec(),
            target: Url::of_app(&tc_url),
            enhanced: enhanced.clone(),
            tc_url: tc_url.clone(),
        };
        self.stage = Stage::ConnectAsked {
            transaction: command.transaction,
            object_encoding: connect.object_encoding,
            enhanced,
        };
        self.tc_url = tc_url;
        self.ask(Event::Connect(Box::new(connect)));
        Ok(())
    }

    fn publish(&mut self, command: &Command, announced: Option<Announced>) -> Result<(), Error> {
        let name = command.argument(0).and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.or(announced.as_ref().map(|announced| announced.name.as_str()));
        let name = name.ok_or(Error::Argument { command: "publish", argument: "stream name" })?;
        let url = Url::of_stream(&self.tc_url, name);
        let kind = announced.as_ref().map_or(PublishKind::Flash, |announced| announced.kind);
        let mode = match command.argument(1).and_then(Value::as_str) {
            Some("record") => PublishMode::Record,
            Some("append") => PublishMode::Append,
            _ => PublishMode::Live,
        };
        if kind != PublishKind::Flash {
            self.fc_status("onFCPublish", "NetStream.Publish.Start", "Started publishing stream.");
        }
        self.stage = Stage::PublishAsked(kind);
        self.ask(Event::Publish(Box::new(Publish { url, kind, mode })));
        Ok(())
    }

    fn play(&mut self, command: &Command) -> Result<(), Error> {
        let name = command.argument(0).and_then(Value::as_str);
        let name = name.ok_or(Error::Argument { command: "play", argument: "stream name" })?;
        let duration = command.argument(2).and_then(Value::as_f64).filter(|&millis| millis > 0.0);
        let play = Play {
            url: Url::of_stream(&self.tc_url, name),
            start: command.argument(1).and_then(Value::as_f64).unwrap_or(-2.0),
            duration_ms: duration.map(|millis| millis as u32),
            reset: command.argument(3).and_then(Value::as_bool).unwrap_or(true),
        };
        self.stage = Stage::PlayAsked;
        self.ask(Event::Play(Box::new(play)));
        Ok(())
    }

    /// The time for deciding is ours, not the client's.
    fn ask(&mut self, event: Event) {
        self.deadline = None;
        self.events.push_back(event);
    }

    fn unpublish(&mut self) {
        self.send_status("status", "NetStream.Unpublish.Success", "Stop publishing stream.");
        self.events.push_back(Event::Unpublish);
        self.identify(self.options.republish_timeout);
    }

    fn stop(&mut self) {
        self.events.push_back(Event::Stop);
        self.identify(self.options.republish_timeout);
    }

    fn pause(&mut self, paused: bool) {
        if paused {
            self.send_status("status", "NetStream.Pause.Notify", "Paused stream.");
            self.send_stream_eof();
        } else {
            self.send_status("status", "NetStream.Unpause.Notify", "Unpaused stream.");
            self.send_stream_begin();
        }
        self.events.push_back(Event::Pause(paused));
    }

    fn fc_status(&mut self, name: &str, code: &str, description: &str) {
        let info = Value::object([("code", code.into()), ("description", description.into())]);
        self.link.command(STREAM, &[name.into(), 0.0.into(), Value::Null, info]);
    }
}

impl Identify {
    fn announce(&mut self, command: &Command) {
        let name = command.argument(0).and_then(Value::as_str).unwrap_or_default();
        let kind = if self.streams_created == 0 { PublishKind::Fmle } else { PublishKind::Haivision };
        let announced = self.announced.get_or_insert_with(|| Announced { kind, name: String::new() });
        if !name.is_empty() {
            announced.name = name.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, ClientOptions, Role};

    #[test]
    fn an_idle_player_is_small() {
        let url = Url::parse("rtmp://example.com/live/livestream?token=0123456789abcdef");
        let mut client = Client::new(Micros::ZERO, ClientOptions::new(url, Role::Play));
        let mut server = Server::new(Micros::ZERO, ServerOptions::default());
        while let Some(bytes) = client.poll_transmit() {
            server.receive(Micros::ZERO, &bytes).unwrap();
            while let Some(event) = server.poll_event() {
                match event {
                    Event::Connect(_) => server.accept_connect(ConnectReply {
                        chunk_size: 60_000,
                        out_ack_size: 2_500_000,
                        in_ack_size: 0,
                        server: ServerIdentity::default(),
                    }),
                    Event::Play(_) => server.accept_play(),
                    _ => Ok(()),
                }
                .unwrap();
            }
            while let Some(bytes) = server.poll_transmit() {
                client.receive(Micros::ZERO, &bytes).unwrap();
            }
        }
        assert!(matches!(server.stage, Stage::Playing));
        let heap = server.tc_url.capacity()
            + server.events.capacity() * size_of::<Event>()
            + server.held.capacity()
            + server.link.footprint();
        assert!(size_of::<Server>() + heap < 1536, "{} + {heap}", size_of::<Server>());
    }
}
