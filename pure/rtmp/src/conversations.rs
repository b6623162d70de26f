//! Conversations between the two ends of a session, and between our server and clients made by hand.

use formats::amf0::{self, Value};
use media::Micros;
use proptest::prelude::*;

use crate::chunk::{Reader, Writer};
use crate::command::{self, Command, UserControl};
use crate::message::{Media, MediaKind, Message, kind};
use crate::*;

const T0: Micros = Micros::from_secs(1000);
const TC_URL: &str = "rtmp://example.com/live";

fn reply() -> ConnectReply<'static> {
    ConnectReply {
        chunk_size: 4096,
        out_ack_size: 2_500_000,
        in_ack_size: 0,
        server: ServerIdentity { signature: "SIG", pid: 7, id: "abc", ..Default::default() },
    }
}

fn after(seconds: i64) -> Micros {
    T0 + Micros::from_secs(seconds)
}

/// What a message says, in a few words.
fn describe(message: &Message) -> String {
    if let Ok(Some(command)) = Command::parse(message) {
        let name = format!("{} {}", command.name, command.transaction);
        let code = command.argument(0).and_then(|info| info.property("code")).and_then(Value::as_str);
        return match (code, command.argument(0)) {
            (Some(code), _) => format!("{name} {code}"),
            (None, Some(Value::Number(number))) => format!("{name} {number}"),
            (None, Some(other)) => format!("{name} {other:?}"),
            (None, None) => name,
        };
    }
    if let Some(UserControl { event, value, .. }) = UserControl::parse(message) {
        return format!("event {event} {value}");
    }
    match message.kind {
        kind::DATA_AMF0 => format!("data {:?}", amf0::decode(&message.payload).unwrap()),
        kind => format!("{kind} {:?}", &message.payload[..]),
    }
}

/// A client made by hand: it lays bytes as told, and writes down what comes back.
struct Hand {
    server: Server,
    writer: Writer,
    reader: Reader,
    answers: Vec<u8>,
}

impl Hand {
    /// After the handshake.
    fn new() -> Self {
        let mut hand = Self {
            server: Server::new(T0, ServerOptions::default()),
            writer: Writer::default(),
            reader: Reader::new(1 << 20),
            answers: Vec::new(),
        };
        let hello = [&[3][..], &[0; 3072]].concat();
        hand.server.receive(T0, &hello).unwrap();
        assert_eq!(hand.server.poll_transmit().unwrap().len(), 3073);
        hand
    }

    /// After `connect` was accepted.
    fn connected() -> Self {
        let mut hand = Self::new();
        hand.connect(TC_URL);
        assert!(matches!(hand.server.poll_event(), Some(Event::Connect(_))));
        hand.server.accept_connect(reply()).unwrap();
        hand.hear();
        hand
    }

    fn connect(&mut self, tc_url: &str) {
        let object = Value::object([("app", "live".into()), ("tcUrl", tc_url.into())]);
        self.say("connect", 1.0, &[object]).unwrap();
    }

    /// After a publish of the Flash kind was accepted.
    fn publishing() -> Self {
        let mut hand = Self::connected();
        hand.say("createStream", 2.0, &[Value::Null]).unwrap();
        hand.say("publish", 3.0, &[Value::Null, "s".into(), "live".into()]).unwrap();
        assert!(matches!(hand.server.poll_event(), Some(Event::Publish(_))));
        hand.server.accept_publish().unwrap();
        hand.hear();
        hand
    }

    /// After a play was accepted.
    fn playing() -> Self {
        let mut hand = Self::connected();
        hand.say("play", 3.0, &[Value::Null, "s".into()]).unwrap();
        assert!(matches!(hand.server.poll_event(), Some(Event::Play(_))));
        hand.server.accept_play().unwrap();
        hand.hear();
        hand
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        self.writer.write(3, kind, 1, body, &mut bytes);
        self.server.receive(T0, &bytes)
    }

    fn say(&mut self, name: &str, transaction: f64, values: &[Value]) -> Result<(), Error> {
        let body = command::encode(&[&[name.into(), transaction.into()], values].concat());
        self.send(kind::COMMAND_AMF0, &body)
    }

    fn call(&mut self, name: &str, transaction: f64) {
        self.say(name, transaction, &[Value::Null, "s".into()]).unwrap();
    }

    fn hear_messages(&mut self) -> Vec<Message> {
        while let Some(bytes) = self.server.poll_transmit() {
            self.answers.extend_from_slice(&bytes);
        }
        let mut input = &self.answers[..];
        let mut messages = Vec::new();
        while let Some(message) = self.reader.read(&mut input).unwrap() {
            messages.push(message);
        }
        self.answers.clear();
        messages
    }

    fn hear(&mut self) -> Vec<String> {
        self.hear_messages().iter().map(describe).collect()
    }

    fn publish_event(&mut self) -> Publish {
        match self.server.poll_event() {
            Some(Event::Publish(publish)) => *publish,
            other => panic!("{other:?}"),
        }
    }

    fn play_event(&mut self) -> Play {
        match self.server.poll_event() {
            Some(Event::Play(play)) => *play,
            other => panic!("{other:?}"),
        }
    }
}

const PUBLISH_START: &str = "onStatus 0 NetStream.Publish.Start";
const UNPUBLISHED: &str = "onStatus 0 NetStream.Unpublish.Success";
const ON_FC_PUBLISH: &str = "onFCPublish 0 NetStream.Publish.Start";

#[test]
fn connect_is_answered_in_order() {
    let mut hand = Hand::new();
    let list = Value::StrictArray(vec!["hvc1".into(), "av01".into()]);
    let object = Value::object([
        ("app", "live".into()),
        ("tcUrl", "rtmp://example.com/live?vhost=v".into()),
        ("pageUrl", "http://page".into()),
        ("objectEncoding", 3.0.into()),
        ("fourCcList", list.clone()),
        ("capsEx", 2.0.into()),
    ]);
    let extra = Value::object([("srs_id", "x".into())]);
    hand.say("connect", 1.0, &[object, extra]).unwrap();
    assert!(hand.server.is_deciding() && hand.server.poll_timeout().is_none());
    let Some(Event::Connect(connect)) = hand.server.poll_event() else { panic!() };
    assert_eq!((connect.page_url.as_str(), connect.object_encoding), ("http://page", 3.0));
    assert_eq!((connect.target.vhost.as_str(), connect.target.app.as_str()), ("v", "live"));
    assert_eq!(connect.extra, [("srs_id".to_owned(), "x".into())]);

    hand.server.accept_connect(reply()).unwrap();
    let messages = hand.hear_messages();
    let words: Vec<_> = messages.iter().map(describe).collect();
    // Set Chunk Size takes effect in the reader, between the bandwidth and the result.
    assert_eq!(
        words,
        [
            "5 [0, 38, 37, 160]",
            "6 [0, 38, 37, 160, 2]",
            "_result 1 NetConnection.Connect.Success",
            "onBWDone 0"
        ]
    );
    assert_eq!(hand.reader.chunk_size(), 4096);
    let result = amf0::decode(&messages[2].payload).unwrap();
    assert_eq!(result[2].property("fmsVer"), Some(&"FMS/3,5,3,888".into()));
    assert_eq!(result[2].property("fourCcList"), Some(&list));
    assert_eq!(result[2].property("capsEx"), Some(&2.0.into()));
    assert_eq!(result[3].property("objectEncoding"), Some(&3.0.into()));
    let data = result[3].property("data").unwrap();
    assert_eq!(data.property("srs_sig"), Some(&"SIG".into()));
    assert_eq!(data.property("srs_pid"), Some(&7.0.into()));
}

#[test]
fn connect_is_refused_without_an_address_and_on_demand() {
    let mut hand = Hand::new();
    let error = hand.say("connect", 1.0, &[Value::object([])]).unwrap_err();
    assert_eq!(error, Error::Argument { command: "connect", argument: "tcUrl" });
    assert!(hand.server.is_closed());

    let mut hand = Hand::new();
    hand.connect(TC_URL);
    hand.server.reject_connect("no").unwrap();
    assert_eq!(hand.hear(), ["onStatus 0 NetConnection.Connect.Rejected"]);
    assert!(hand.server.is_closed());
    assert_eq!(hand.server.reject_connect("no"), Err(Error::Unasked { answer: "reject_connect" }));
}

#[test]
fn a_third_argument_that_is_no_object_does_no_harm() {
    for odd in [Value::Null, "x".into(), Value::StrictArray(vec![])] {
        let mut hand = Hand::new();
        hand.say("connect", 1.0, &[Value::object([("tcUrl", TC_URL.into())]), odd]).unwrap();
        assert!(matches!(hand.server.poll_event(), Some(Event::Connect(_))));
    }
    // Nor does one that cannot be read at all.
    let mut hand = Hand::new();
    let mut body =
        command::encode(&["connect".into(), 1.0.into(), Value::object([("tcUrl", TC_URL.into())])]);
    body.extend_from_slice(&[0x11, 0x0a, 0x0b]);
    hand.send(kind::COMMAND_AMF0, &body).unwrap();
    assert!(matches!(hand.server.poll_event(), Some(Event::Connect(_))));
}

#[test]
fn publish_like_obs() {
    let mut hand = Hand::connected();
    hand.call("releaseStream", 2.0);
    hand.call("FCPublish", 3.0);
    hand.say("createStream", 4.0, &[Value::Null]).unwrap();
    hand.say("_checkbw", 5.0, &[Value::Null]).unwrap();
    assert_eq!(hand.hear(), ["_result 2 Undefined", "_result 3 Undefined", "_result 4 1", "_result 5 Null"]);
    hand.say("publish", 6.0, &[Value::Null, "s?token=t".into(), "record".into()]).unwrap();
    let publish = hand.publish_event();
    assert_eq!((publish.kind, publish.mode), (PublishKind::Fmle, PublishMode::Record));
    assert_eq!((publish.url.stream.as_str(), publish.url.param.as_str()), ("s", "?token=t"));
    assert_eq!(hand.hear(), [ON_FC_PUBLISH], "nothing more before the decision");
    hand.server.accept_publish().unwrap();
    assert_eq!(hand.hear(), [PUBLISH_START]);
    assert_eq!(hand.server.poll_timeout(), None);

    hand.call("FCUnpublish", 7.0);
    assert_eq!(
        hand.hear(),
        ["onFCUnpublish 0 NetStream.Unpublish.Success", "_result 7 Undefined", UNPUBLISHED]
    );
    assert_eq!(hand.server.poll_event(), Some(Event::Unpublish));
    assert_eq!(hand.server.poll_timeout(), Some(after(180)));

    // The connection may be used again.
    hand.say("deleteStream", 0.0, &[Value::Null, 1.0.into()]).unwrap();
    hand.call("FCPublish", 8.0);
    hand.say("createStream", 9.0, &[Value::Null]).unwrap();
    hand.call("publish", 10.0);
    assert_eq!(hand.publish_event().kind, PublishKind::Fmle);
    assert_eq!(hand.hear(), ["_result 8 Undefined", "_result 9 1", ON_FC_PUBLISH]);
}

#[test]
fn publish_like_haivision() {
    let mut hand = Hand::connected();
    hand.say("createStream", 2.0, &[Value::Null]).unwrap();
    hand.call("FCPublish", 3.0);
    hand.call("publish", 4.0);
    assert_eq!(hand.publish_event().kind, PublishKind::Haivision);
    hand.server.accept_publish().unwrap();
    assert_eq!(hand.hear(), ["_result 2 1", "_result 3 Undefined", ON_FC_PUBLISH, PUBLISH_START]);
    hand.say("closeStream", 0.0, &[Value::Null]).unwrap();
    assert_eq!(hand.server.poll_event(), Some(Event::Unpublish));
}

#[test]
fn publish_like_flash() {
    let mut hand = Hand::publishing();
    for (transaction, name) in [(5.0, "releaseStream"), (6.0, "FCPublish"), (0.0, "FCUnpublish")] {
        hand.call(name, transaction);
    }
    assert_eq!(hand.server.poll_event(), None, "commands of FMLE do not end it");
    hand.send(kind::VIDEO, &[0x17]).unwrap();
    assert!(matches!(hand.server.poll_event(), Some(Event::Media(_))));
    hand.say("deleteStream", 0.0, &[Value::Null, 1.0.into()]).unwrap();
    assert_eq!(hand.server.poll_event(), Some(Event::Unpublish));
    assert_eq!(hand.hear(), ["_result 5 Undefined", "_result 6 Undefined", UNPUBLISHED]);
}

#[test]
fn a_refused_publisher_never_sees_the_start() {
    let mut hand = Hand::connected();
    hand.say("createStream", 2.0, &[Value::Null]).unwrap();
    hand.call("publish", 3.0);
    hand.server.reject_publish("NetStream.Publish.BadName", "busy").unwrap();
    assert_eq!(hand.hear(), ["_result 2 1", "onStatus 0 NetStream.Publish.BadName"]);
    assert!(hand.server.is_closed());
    hand.send(kind::VIDEO, &[0x17]).unwrap();
    assert!(matches!(hand.server.poll_event(), Some(Event::Publish(_))));
    assert_eq!(hand.server.poll_event(), None);
}

#[test]
fn five_nested_create_streams_are_refused() {
    let mut hand = Hand::connected();
    for transaction in 2..6 {
        hand.say("createStream", transaction.into(), &[Value::Null]).unwrap();
    }
    let outcome = hand.say("createStream", 6.0, &[Value::Null]);
    assert_eq!(outcome, Err(Error::NestedCreateStream { max: 4 }));
    assert_eq!(hand.hear(), ["_result 2 1", "_result 3 1", "_result 4 1", "_result 5 1"]);
}

#[test]
fn the_stream_may_be_named_in_the_application_or_by_fc_publish_alone() {
    let mut hand = Hand::new();
    hand.connect("rtmp://example.com/live/movie?vhost=v");
    hand.server.accept_connect(reply()).unwrap();
    hand.server.poll_event();
    hand.say("play", 2.0, &[Value::Null, "".into()]).unwrap();
    let url = hand.play_event().url;
    assert_eq!((url.vhost.as_str(), url.app.as_str(), url.stream.as_str()), ("v", "live", "movie"));

    let mut hand = Hand::connected();
    hand.call("FCPublish", 2.0);
    hand.say("publish", 3.0, &[Value::Null, Value::Null]).unwrap();
    assert_eq!(hand.publish_event().url.stream, "s");
    let outcome = Hand::connected().say("publish", 3.0, &[Value::Null]);
    assert_eq!(outcome, Err(Error::Argument { command: "publish", argument: "stream name" }));
}

#[test]
fn play_and_its_commands() {
    let mut hand = Hand::connected();
    hand.say("createStream", 2.0, &[Value::Null]).unwrap();
    hand.say("getStreamLength", 3.0, &[Value::Null, "s".into()]).unwrap();
    let arguments = [Value::Null, "s?k=v".into(), (-2.0).into(), 5000.0.into(), 1.0.into()];
    hand.say("play", 4.0, &arguments).unwrap();
    let play = hand.play_event();
    assert_eq!((play.start, play.duration_ms, play.reset), (-2.0, Some(5000), true));
    assert_eq!(play.url.param, "?k=v");
    assert_eq!(hand.hear(), ["_result 2 1", "_result 3 0"]);
    hand.server.accept_play().unwrap();
    let messages = hand.hear_messages();
    assert_eq!(
        messages.iter().map(describe).collect::<Vec<_>>(),
        [
            "event 0 1",
            "onStatus 0 NetStream.Play.Reset",
            "onStatus 0 NetStream.Play.Start",
            "data [String(\"|RtmpSampleAccess\"), Boolean(true), Boolean(true)]",
        ]
    );
    let start = amf0::decode(&messages[2].payload).unwrap();
    assert_eq!(start[3].property("details"), Some(&"stream".into()));
    assert_eq!(start[3].property("clientid"), Some(&"ASAICiss".into()));

    hand.say("pause", 0.0, &[Value::Null, true.into(), 0.0.into()]).unwrap();
    hand.say("pause", 0.0, &[Value::Null, false.into(), 0.0.into()]).unwrap();
    hand.say("seek", 0.0, &[Value::Null, 1000.0.into()]).unwrap();
    hand.say("receiveAudio", 0.0, &[Value::Null, false.into()]).unwrap();
    hand.say("receiveVideo", 9.0, &[Value::Null, true.into()]).unwrap();
    hand.send(kind::USER_CONTROL, &[0, 3, 0, 0, 0, 1, 0, 0, 11, 184]).unwrap();
    hand.send(kind::USER_CONTROL, &[0x1a]).unwrap();
    hand.send(kind::VIDEO, &[0x17]).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| hand.server.poll_event()).collect();
    assert_eq!(
        events,
        [
            Event::Pause(true),
            Event::Pause(false),
            Event::ReceiveAudio(false),
            Event::ReceiveVideo(true),
            Event::BufferLength(3000)
        ]
    );
    assert_eq!(
        hand.hear(),
        [
            "onStatus 0 NetStream.Pause.Notify",
            "event 1 1",
            "onStatus 0 NetStream.Unpause.Notify",
            "event 0 1",
            "onStatus 0 NetStream.Seek.Notify",
            "_result 9 Null",
        ]
    );

    // Another play replaces the first; JW player pauses by closing the stream.
    hand.call("play", 0.0);
    assert_eq!(hand.server.poll_event(), Some(Event::Stop));
    assert!(matches!(hand.server.poll_event(), Some(Event::Play(_))));
    hand.server.accept_play().unwrap();
    hand.call("closeStream", 0.0);
    assert_eq!(hand.server.poll_event(), Some(Event::Stop));
    assert_eq!(hand.server.poll_timeout(), Some(after(180)));
}

#[test]
fn play_is_refused_redirected_ended() {
    let ask = || {
        let mut hand = Hand::connected();
        hand.call("play", 2.0);
        hand
    };
    let mut hand = ask();
    hand.server.reject_play("NetStream.Play.StreamNotFound", "no such stream").unwrap();
    assert_eq!(hand.hear(), ["onStatus 0 NetStream.Play.StreamNotFound"]);

    let mut hand = ask();
    hand.server.redirect_play(&Url::parse("rtmp://10.0.0.9:1936/live/s")).unwrap();
    let messages = hand.hear_messages();
    let values = amf0::decode(&messages[0].payload).unwrap();
    let ex = values[3].property("ex").unwrap();
    assert_eq!(ex.property("redirect"), Some(&"rtmp://10.0.0.9:1936/live".into()));
    assert_eq!(ex.property("redirect2"), Some(&"rtmp://10.0.0.9:1936/live/s".into()));

    let mut hand = Hand::playing();
    hand.server.end_play("NetStream.Play.Complete", "done");
    assert_eq!(hand.hear(), ["event 1 1", "onStatus 0 NetStream.Play.Complete"]);
    assert!(hand.server.is_closed());
}

#[test]
fn commands_during_a_decision_wait_for_it() {
    let mut hand = Hand::connected();
    hand.call("play", 2.0);
    hand.say("pause", 0.0, &[Value::Null, true.into()]).unwrap();
    assert!(matches!(hand.server.poll_event(), Some(Event::Play(_))));
    assert_eq!((hand.server.poll_event(), hand.hear()), (None, vec![]));
    hand.server.accept_play().unwrap();
    assert_eq!(hand.server.poll_event(), Some(Event::Pause(true)));
    assert_eq!(hand.hear().last().map(String::as_str), Some("event 1 1"));

    let mut hand = Hand::connected();
    hand.call("play", 2.0);
    hand.server.receive(T0, &vec![0; 1 << 20]).unwrap();
    assert_eq!(hand.server.receive(T0, &[0]), Err(Error::Impatient { max: 1 << 20 }));
}

#[test]
fn media_of_a_publisher() {
    let mut hand = Hand::publishing();
    let metadata = command::encode(&["onMetaData".into(), Value::Date { millis: 1.0, zone: 0 }]);
    let wrapped = [command::encode(&["@setDataFrame".into()]), metadata.clone()].concat();
    hand.send(kind::DATA_AMF0, &wrapped).unwrap();
    hand.send(kind::DATA_AMF0, &metadata).unwrap();
    hand.send(kind::DATA_AMF3, &metadata).unwrap();
    hand.send(kind::DATA_AMF0, &[0, 0, 0, 9]).unwrap();
    hand.send(kind::AUDIO, &[0xaf, 1]).unwrap();
    hand.send(kind::VIDEO, &[0xff]).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| hand.server.poll_event()).collect();
    let media =
        |kind, payload: &[u8]| Event::Media(Media { kind, timestamp: 0, payload: payload.to_vec().into() });
    let data = media(MediaKind::Data, &metadata);
    let rest = [media(MediaKind::Audio, &[0xaf, 1]), media(MediaKind::Video, &[0xff])];
    assert_eq!(events, [[data.clone(), data.clone()].as_slice(), &[data], &rest].concat());
}

#[test]
fn commands_in_amf3_form() {
    let mut hand = Hand::connected();
    let body = command::encode(&["createStream".into(), 2.0.into(), Value::Null]);
    hand.send(kind::COMMAND_AMF3, &[&[0], &body[..]].concat()).unwrap();
    hand.send(kind::COMMAND_AMF3, &body).unwrap();
    assert_eq!(hand.hear(), ["_result 2 1", "_result 2 1"]);
    assert!(matches!(hand.send(kind::COMMAND_AMF0, &[0x11, 2]), Err(Error::Amf(_))));
}

#[test]
fn pings_and_acknowledgements() {
    let mut hand = Hand::playing();
    hand.send(kind::USER_CONTROL, &[0, 6, 1, 2, 3, 4]).unwrap();
    assert_eq!(hand.hear(), ["event 7 16909060"]);
    // librtmp's ping: a fresh chunk stream 2 that opens with format 1.
    let mut fresh = Hand::connected();
    let ping = [0x42, 0, 0, 0, 0, 0, 6, 4, 0, 6, 0, 0, 0, 9];
    fresh.server.receive(T0, &ping).unwrap();
    assert_eq!(fresh.hear(), ["event 7 9"]);

    hand.send(kind::ACKNOWLEDGEMENT, &[0, 0, 0, 1]).unwrap();
    hand.send(kind::WINDOW_SIZE, &[0, 0, 0, 0]).unwrap();
    assert!(hand.hear().is_empty(), "no window, no acknowledgement");
    hand.send(kind::WINDOW_SIZE, &[0, 0, 0x80, 0]).unwrap();
    hand.hear();
    let mut told = Vec::new();
    for _ in 0..40 {
        hand.send(kind::AUDIO, &[0; 1000]).unwrap();
        told.extend(hand.hear_messages().into_iter().filter(|m| m.kind == kind::ACKNOWLEDGEMENT));
    }
    let sums: Vec<u32> = told.iter().map(|m| u32::from_be_bytes(m.payload[..].try_into().unwrap())).collect();
    assert_eq!(sums.len(), 2);
    assert!((0x4000..0x4800).contains(&(sums[1] - sums[0])), "{sums:?}");
}

#[test]
fn acknowledgements_on_our_own_account() {
    let mut hand = Hand::new();
    hand.connect(TC_URL);
    hand.server.accept_connect(ConnectReply { in_ack_size: 1000, out_ack_size: 0, ..reply() }).unwrap();
    let words = hand.hear();
    assert!(words[0].starts_with("6 "), "no window is told: {words:?}");
    hand.send(kind::AUDIO, &[0; 600]).unwrap();
    assert!(hand.hear()[0].starts_with("3 "));
}

#[test]
fn silence_is_not_waited_for_without_end() {
    let mut server = Server::new(T0, ServerOptions::default());
    assert_eq!(server.poll_timeout(), Some(after(30)));
    assert_eq!(server.timeout(after(29)), Ok(()));
    server.receive(after(29), &[&[3][..], &[0; 3072]].concat()).unwrap();
    assert_eq!(server.poll_timeout(), Some(after(59)));
    assert_eq!(server.timeout(after(59)), Err(Error::Timeout { awaited: "connect", seconds: 30 }));
    assert!(server.is_closed() && server.poll_timeout().is_none());

    let mut hand = Hand::connected();
    let outcome = hand.server.timeout(after(30));
    assert_eq!(outcome, Err(Error::Timeout { awaited: "publish or play", seconds: 30 }));
    let mut hand = Hand::playing();
    assert_eq!(hand.server.timeout(after(1_000_000)), Ok(()));
    hand.call("closeStream", 0.0);
    let outcome = hand.server.timeout(after(1_000_180));
    assert_eq!(outcome, Err(Error::Timeout { awaited: "publish or play", seconds: 180 }));
}

#[test]
fn commands_are_short_and_media_is_not() {
    let long = vec![0; 300 * 1024];
    let mut hand = Hand::connected();
    assert!(matches!(hand.send(kind::VIDEO, &long), Err(Error::MessageTooLarge { .. })));
    let mut hand = Hand::publishing();
    hand.send(kind::VIDEO, &long).unwrap();
    assert!(matches!(hand.server.poll_event(), Some(Event::Media(_))));
}

/// A server and a client joined by wires that cut the bytes.
struct Pair {
    server: Server,
    client: Client,
    said: Vec<ClientEvent>,
    heard: Vec<Event>,
}

impl Pair {
    fn new(url: &str, role: Role) -> Self {
        let options = ClientOptions { chunk_size: 200, seed: 5, ..ClientOptions::new(Url::parse(url), role) };
        Self {
            server: Server::new(T0, ServerOptions { seed: 9, ..Default::default() }),
            client: Client::new(T0, options),
            said: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Lets both talk until neither has anything to say; the server accepts everything but what `refuse` names.
    fn run(&mut self, cut: usize, refuse: &str) {
        loop {
            let (up, down) = (self.client.poll_transmit(), self.server.poll_transmit());
            if up.is_none() && down.is_none() {
                return;
            }
            for piece in up.unwrap_or_default().chunks(cut) {
                self.server.receive(T0, piece).unwrap();
                while let Some(event) = self.server.poll_event() {
                    match &event {
                        Event::Connect(_) if refuse == "connect" => self.server.reject_connect("no"),
                        Event::Connect(_) => self.server.accept_connect(reply()),
                        Event::Publish(_) if refuse == "publish" => {
                            self.server.reject_publish("NetStream.Publish.BadName", "busy")
                        }
                        Event::Publish(_) => self.server.accept_publish(),
                        Event::Play(_) if refuse == "redirect" => {
                            self.server.redirect_play(&Url::parse("rtmp://other/live/s?k=v"))
                        }
                        Event::Play(_) => self.server.accept_play(),
                        _ => Ok(()),
                    }
                    .unwrap();
                    self.heard.push(event);
                }
            }
            for piece in down.unwrap_or_default().chunks(cut) {
                self.client.receive(T0, piece).unwrap();
                self.said.extend(std::iter::from_fn(|| self.client.poll_event()));
            }
        }
    }
}

#[test]
fn our_client_publishes_to_our_server() {
    for cut in [1, 13, 100_000] {
        let mut pair = Pair::new("rtmp://example.com:1936/a/b/s?token=t", Role::Publish);
        assert!(!pair.client.send(MediaKind::Audio, 0, &[1]), "not started yet");
        pair.run(cut, "");
        assert_eq!(pair.said.last(), Some(&ClientEvent::Started));
        let Event::Publish(publish) = &pair.heard[1] else { panic!("{:?}", pair.heard) };
        assert_eq!(publish.url.to_string(), "rtmp://example.com:1936/a/b/s?token=t");
        assert_eq!((publish.kind, pair.client.poll_timeout()), (PublishKind::Fmle, None));

        pair.heard.clear();
        let times = [0, 40, 80, 0xff_ffff, 0x100_0020, 0x7fff_ffff, 10];
        for time in times {
            assert!(pair.client.send(MediaKind::Video, time, &[7; 1000]));
        }
        pair.run(cut, "");
        let heard: Vec<_> = pair
            .heard
            .iter()
            .map(|event| match event {
                Event::Media(media) => (media.timestamp, media.payload.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(heard, times.map(|time| (time, 1000)));

        pair.client.stop();
        pair.run(cut, "");
        assert!(pair.heard.contains(&Event::Unpublish) && pair.client.is_over());
    }
}

#[test]
fn our_client_plays_from_our_server() {
    for cut in [1, 13, 100_000] {
        let mut pair = Pair::new("rtmp://example.com/live/s", Role::Play);
        pair.run(cut, "");
        assert!(pair.said.contains(&ClientEvent::Started));
        assert!(pair.heard.contains(&Event::BufferLength(1000)));
        let mut writer = pair.server.media_writer(1000);
        let mut bytes = Vec::new();
        for time in [1000, 1040, 1000 + 0xff_ffff, 1000 + 0x100_0010] {
            writer.write(MediaKind::Video, time, &[1], &[7; 9000], &mut bytes);
        }
        pair.said.clear();
        bytes.chunks(cut.min(5000)).for_each(|piece| pair.client.receive(T0, piece).unwrap());
        let times: Vec<_> = std::iter::from_fn(|| pair.client.poll_event())
            .map(|event| match event {
                ClientEvent::Media(media) => (media.timestamp, media.payload.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(times, [(0, 9001), (40, 9001), (0xff_ffff, 9001), (0x100_0010, 9001)]);

        pair.server.end_play("NetStream.Play.Complete", "done");
        pair.run(cut, "");
        assert_eq!(pair.said.last(), Some(&ClientEvent::Ended));
    }
}

#[test]
fn our_client_hears_refusals() {
    let refusal = |role, refuse| {
        let mut pair = Pair::new("rtmp://example.com/live/s", role);
        pair.run(1000, refuse);
        assert!(pair.client.is_over());
        match pair.said.last() {
            Some(ClientEvent::Rejected { code, redirect, .. }) => (code.clone(), redirect.clone()),
            other => panic!("{other:?}"),
        }
    };
    let rejected = "NetConnection.Connect.Rejected".to_owned();
    assert_eq!(refusal(Role::Publish, "connect"), (rejected.clone(), None));
    assert_eq!(refusal(Role::Publish, "publish"), ("NetStream.Publish.BadName".into(), None));
    let elsewhere = Some("rtmp://other/live/s?k=v".to_owned());
    assert_eq!(refusal(Role::Play, "redirect"), (rejected, elsewhere));
}

#[test]
fn our_client_does_not_wait_without_end() {
    let options = ClientOptions::new(Url::parse("rtmp://h/a/s"), Role::Play);
    let mut client = Client::new(T0, ClientOptions { timeout: Micros::from_secs(5), ..options });
    assert_eq!(client.timeout(after(4)), Ok(()));
    assert_eq!(client.timeout(after(5)), Err(Error::Timeout { awaited: "handshake", seconds: 5 }));
    assert!(client.is_over());
}

/// What a client says from its first byte on: the session of OBS, or of a player, with media and changes of the chunk size.
fn monologue(publisher: bool) -> Vec<u8> {
    let mut bytes = [&[0xf3, 0, 4, 10, 0, 0, 1, 3][..], &[0; 3072]].concat();
    let mut writer = Writer::default();
    let mut say = |writer: &Writer, name: &str, values: &[Value]| {
        let body = command::encode(&[&[name.into(), 2.0.into()], values].concat());
        writer.write(3, kind::COMMAND_AMF0, 0, &body, &mut bytes);
    };
    say(&writer, "connect", &[Value::object([("tcUrl", TC_URL.into())])]);
    if publisher {
        say(&writer, "FCPublish", &[Value::Null, "s".into()]);
    }
    say(&writer, "createStream", &[Value::Null]);
    let name = if publisher { "publish" } else { "play" };
    say(&writer, name, &[Value::Null, "s".into()]);
    for size in [300u32, 128, 5000] {
        writer.write(2, kind::SET_CHUNK_SIZE, 0, &size.to_be_bytes(), &mut bytes);
        writer.set_chunk_size(size);
        let mut media = chunk::MediaWriter::new(size, 0);
        for time in [0, 0xff_ffff - size, 0x100_0000, 0x100_0005] {
            media.write(MediaKind::Video, time, &[0x17], &[9; 700], &mut bytes);
            writer.write(2, kind::USER_CONTROL, 0, &[0, 6, 0, 0, 0, 1], &mut bytes);
        }
    }
    let body = command::encode(&["closeStream".into(), 0.0.into(), Value::Null]);
    writer.write(3, kind::COMMAND_AMF0, 0, &body, &mut bytes);
    bytes
}

/// The events and answers of a server that hears `bytes` in pieces and accepts everything.
fn listen<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<u8>) {
    let mut server = Server::new(T0, ServerOptions::default());
    let (mut events, mut answers) = (Vec::new(), Vec::new());
    for piece in pieces {
        server.receive(T0, piece).unwrap();
        while let Some(event) = server.poll_event() {
            match event {
                Event::Connect(_) => server.accept_connect(reply()).unwrap(),
                Event::Publish(_) => server.accept_publish().unwrap(),
                Event::Play(_) => server.accept_play().unwrap(),
                _ => {}
            }
            events.push(event);
        }
        answers.extend(server.poll_transmit().unwrap_or_default());
    }
    (events, answers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_cut_of_a_session_is_the_same_session(publisher in any::<bool>(),
                                                cuts in prop::collection::vec(1usize..1500, 1..8)) {
        let bytes = monologue(publisher);
        let (mut rest, mut pieces) = (bytes.as_slice(), Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let whole = listen(std::iter::once(bytes.as_slice()));
        prop_assert_eq!(whole.0.len(), if publisher { 3 + 12 + 1 } else { 4 });
        prop_assert_eq!(listen(pieces.into_iter()), whole);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..24], 0..800)) {
        fuzz::server(&bytes);
    }

    #[test]
    fn garbled_sessions_never_panic(publisher in any::<bool>(), at in 3080usize..6000, byte in any::<u8>()) {
        let mut bytes = monologue(publisher);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        fuzz::server(&bytes[7 + 3073..]);
    }
}
