//! Who hears what, without sockets; and participants over a pipe, for what takes time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::hall::{Hall, Seat};
use super::mailbox::{self, Mailbox, Post};
use super::message::Said;
use super::participant::Participant;
use super::{LIMITS, Limits};
use crate::session::Session;

fn hall(rooms: usize, people: usize) -> Arc<Hall> {
    Arc::new(Hall::new(Limits { rooms, people, ..LIMITS }))
}

/// Somebody with a mailbox, in a room.
struct Guest {
    seat: Option<Seat>,
    post: Post,
    mailbox: Mailbox,
}

impl Guest {
    fn join(hall: &Arc<Hall>, room: &str, display: &str) -> Result<Self, String> {
        let (post, mailbox) = mailbox::open();
        let seat = hall.join(Some("t"), room, display, &post).map_err(|refused| refused.to_string())?;
        Ok(Self { seat: Some(seat), post, mailbox })
    }

    /// Says something in its own name.
    fn say(&self, msg: Value) {
        let seat = self.seat.as_ref().unwrap();
        let mut all = json!({ "tid": "t", "msg": { "room": seat.room, "display": seat.display } });
        all["msg"].as_object_mut().unwrap().extend(msg.as_object().unwrap().clone());
        let text = all.to_string();
        let said = Said::parse(&text).unwrap();
        seat.act(said.tid.as_deref(), &said.action);
    }

    fn heard(&mut self) -> Vec<Value> {
        self.mailbox.take().iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }
}

/// `alice bob*`: those with a star are publishing.
fn people(text: &str) -> Value {
    let person =
        |name: &str| json!({ "display": name.trim_end_matches('*'), "publishing": name.ends_with('*') });
    text.split_whitespace().map(person).collect()
}

fn reply(action: &str, room: &str, participants: &str) -> Value {
    let msg = json!({ "action": action, "room": room, "participants": people(participants) });
    json!({ "tid": "t", "code": 0, "msg": msg })
}

fn notice(event: &str, room: &str, peer: &str, participants: &str) -> Value {
    let (peer, participants) = (people(peer)[0].clone(), people(participants));
    json!({ "msg": { "action": "notify", "event": event, "room": room, "peer": peer, "participants": participants } })
}

#[test]
fn a_room_from_the_first_to_the_last() {
    let hall = hall(9, 9);
    let mut alice = Guest::join(&hall, "tea", "alice").unwrap();
    assert_eq!(alice.heard(), [reply("join", "tea", "alice")]);
    alice.say(json!({ "action": "publish" }));
    assert_eq!(alice.heard(), [reply("publish", "tea", "alice*")]);

    let mut bob = Guest::join(&hall, "tea", "bob").unwrap();
    assert_eq!(bob.heard(), [reply("join", "tea", "alice* bob")]);
    assert_eq!(alice.heard(), [notice("join", "tea", "bob", "alice* bob")]);

    let data = json!({ "list": [1, 2.50, null], "big": 12_345_678_901_234_567_890_u64 });
    bob.say(json!({ "action": "control", "call": "wave", "data": data }));
    assert_eq!(bob.heard(), [reply("control", "tea", "alice* bob")]);
    let mut wave = notice("control", "tea", "bob", "alice* bob");
    wave["msg"]["call"] = json!("wave");
    wave["msg"]["data"] = data;
    assert_eq!(alice.heard(), [wave]);

    bob.say(json!({ "action": "control", "call": "alive" }));
    assert_eq!(bob.heard(), [reply("control", "tea", "alice* bob")]);
    assert!(alice.heard().is_empty());

    let seat = alice.seat.take().unwrap();
    seat.leave(Some("t"), &alice.post);
    assert_eq!(alice.heard(), [reply("leave", "tea", "bob")]);
    assert_eq!(bob.heard(), [notice("leave", "tea", "alice*", "bob")]);
    drop(bob.seat.take());
    assert_eq!((bob.heard(), hall.count("tea")), (vec![], 0));
}

#[test]
fn rooms_hear_nothing_of_each_other() {
    let hall = hall(9, 9);
    let mut alice = Guest::join(&hall, "tea", "alice").unwrap();
    alice.heard();
    let mut other = Guest::join(&hall, "coffee", "alice").unwrap();
    assert_eq!(other.heard(), [reply("join", "coffee", "alice")]);
    other.say(json!({ "action": "publish" }));
    drop(other);
    assert!(alice.heard().is_empty());
}

#[test]
fn a_name_is_free_again_when_its_owner_is_gone() {
    let hall = hall(9, 9);
    let mut first = Guest::join(&hall, "tea", "alice").unwrap();
    assert_eq!(Guest::join(&hall, "tea", "alice").err().as_deref(), Some("alice is in this room already"));
    assert_eq!(first.heard(), [reply("join", "tea", "alice")], "nobody has come");
    let seat = first.seat.take().unwrap();
    seat.leave(None, &first.post);
    let second = Guest::join(&hall, "tea", "alice").unwrap();
    drop(first);
    assert_eq!(hall.count("tea"), 1, "the newcomer stays");
    drop(second);
}

#[test]
fn rooms_and_people_are_limited() {
    let hall = hall(2, 2);
    let tea: Vec<_> = ["a", "b"].map(|name| Guest::join(&hall, "tea", name).unwrap()).into();
    let refused = |room| Guest::join(&hall, room, "c").err().unwrap();
    assert!(refused("tea").contains("2 in this room"), "{}", refused("tea"));
    let coffee = Guest::join(&hall, "coffee", "c").unwrap();
    assert!(refused("milk").contains("2 rooms"), "{}", refused("milk"));
    drop(coffee);
    Guest::join(&hall, "milk", "c").unwrap();
    drop(tea);
    Guest::join(&hall, "tea", "c").unwrap();
}

#[test]
fn who_does_not_read_overflows_and_the_others_do_not() {
    let hall = hall(9, 9);
    let mut alice = Guest::join(&hall, "tea", "alice").unwrap();
    let (bob, mut carol) =
        (Guest::join(&hall, "tea", "bob").unwrap(), Guest::join(&hall, "tea", "carol").unwrap());
    for size in [1, 10_000] {
        let (times, text) = (mailbox::MESSAGES.min(mailbox::BYTES / size) + 20, "x".repeat(size));
        let lazy = Guest::join(&hall, "tea", "lazy").unwrap();
        for _ in 0..times {
            assert!(!carol.mailbox.is_overflown());
            bob.say(json!({ "action": "control", "data": text }));
            alice.heard();
            carol.heard();
        }
        assert!(lazy.mailbox.is_overflown(), "after {times} messages of {size} bytes");
        assert!(!carol.mailbox.is_overflown() && !alice.mailbox.is_overflown());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let parse = |text: &str| Said::parse(text).map(drop).map_err(|(tid, refused)| (tid, refused.to_string()));
    let with = |msg: &str| parse(&format!(r#"{{"tid":"7","msg":{msg}}}"#));
    assert_eq!(with(r#"{"action":"join","room":"a-B_9","display":"x"}"#), Ok(()));
    for (msg, reason) in [
        (r#"{"action":"join","room":"tea"}"#, "missing field `display`"),
        (r#"{"action":"join","room":"t a","display":"x"}"#, "`room` has 1 to 64"),
        (r#"{"action":"join","room":"tea","display":""}"#, "`display` has 1 to 64"),
        (r#"{"action":"join","room":"tea","display":"é"}"#, "`display` has 1 to 64"),
        (r#"{"action":"dance","room":"tea","display":"x"}"#, "`action` is join"),
        (r#"{"action":1,"room":"tea","display":"x"}"#, "makes no sense"),
        ("[]", "makes no sense"),
        ("null", "no `msg`"),
    ] {
        let (tid, said) = with(msg).unwrap_err();
        assert!(said.contains(reason) && tid.as_deref() == Some("7"), "{msg}: {said}, {tid:?}");
    }
    let long = format!(r#"{{"action":"join","room":"{}","display":"x"}}"#, "r".repeat(65));
    assert!(with(&long).is_err());
    for text in ["", "x", "{}", "[]", r#"{"tid":1}"#, r#"{"msg":{}"#, "\u{0}"] {
        assert_eq!(parse(text).unwrap_err().0, None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}", at in 0usize..80, with in ".{0,3}") {
        drop(Said::parse(&text));
        let mut message = r#"{"tid":"1","msg":{"action":"control","room":"tea","display":"alice","data":{"a":[1]}}}"#.to_owned();
        message.insert_str(at, &with);
        drop(Said::parse(&message));
    }
}

type Page = WebSocketStream<DuplexStream>;

/// A page that speaks with a participant; and the latter's end.
async fn page(hall: &Arc<Hall>) -> (Page, tokio::task::JoinHandle<()>) {
    let (ours, theirs) = duplex(4 << 10);
    let session = Session::new(([127, 0, 0, 1], 1).into());
    let serving = tokio::task::spawn_local(
        Participant::new(hall.clone(), session).serve(Box::new(theirs), Bytes::new()),
    );
    (WebSocketStream::from_raw_socket(ours, Role::Client, None).await, serving)
}

fn joins(display: &str) -> Message {
    let msg = json!({ "action": "join", "room": "tea", "display": display });
    Message::Text(json!({ "tid": "1", "msg": msg }).to_string().into())
}

/// How the page is told goodbye.
async fn goodbye(page: &mut Page) -> (u16, String) {
    loop {
        match page.next().await {
            Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
            Some(Ok(_)) => {}
            other => panic!("{other:?} in place of a goodbye"),
        }
    }
}

const SOON: Duration = Duration::from_secs(10);

async fn run(work: impl Future<Output = ()>) {
    let local = tokio::task::LocalSet::new();
    timeout(SOON, local.run_until(work)).await.unwrap();
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let silence = Duration::from_millis(1100);
    let hall = Arc::new(Hall::new(Limits { silence, ..LIMITS }));
    run(async {
        let (mut silent, ended) = page(&hall).await;
        let (mut pinging, _) = page(&hall).await;
        silent.send(joins("silent")).await.unwrap();
        pinging.send(joins("pinging")).await.unwrap();
        let pings = async {
            for _ in 0..16 {
                pinging.send(Message::Ping(Bytes::new())).await.unwrap();
                tokio::time::sleep(silence / 8).await;
            }
        };
        let ((), (code, reason)) = tokio::join!(pings, goodbye(&mut silent));
        assert_eq!((code, reason.contains("nothing was heard")), (1008, true), "{reason}");
        drop(silent);
        ended.await.unwrap();
        assert_eq!(hall.count("tea"), 1);
    })
    .await;
}

#[tokio::test]
async fn who_only_talks_nonsense_is_sent_away() {
    let hall = hall(9, 9);
    run(async {
        let (mut page, _) = page(&hall).await;
        page.send(joins("alice")).await.unwrap();
        for _ in 0..LIMITS.faults {
            page.send(Message::Text(Utf8Bytes::from_static("?"))).await.unwrap();
        }
        assert_eq!(goodbye(&mut page).await, (1008, "its messages make no sense".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn who_talks_without_a_breath_is_sent_away() {
    let hall = hall(9, 9);
    run(async {
        let (mut page, _) = page(&hall).await;
        for _ in 0..=LIMITS.chatter {
            page.feed(Message::Ping(Bytes::new())).await.unwrap();
        }
        page.flush().await.unwrap();
        assert_eq!(goodbye(&mut page).await, (1008, "it says more than the others can hear".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_room() {
    let hall = hall(9, 9);
    run(async {
        let (mut page, ended) = page(&hall).await;
        page.send(joins("alice")).await.unwrap();
        assert!(page.next().await.unwrap().unwrap().to_text().unwrap().contains("participants"));
        assert_eq!(hall.count("tea"), 1);
        page.get_mut().shutdown().await.unwrap();
        drop(page);
        ended.await.unwrap();
        assert_eq!(hall.count("tea"), 0);
    })
    .await;
}
