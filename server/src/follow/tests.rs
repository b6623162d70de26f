//! A follower with an output that only says what happens to it.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use hub::{Hub, Publication, Rules};
use media::{Frame, Micros, Place, Remux, TrackId, Tracks};

use super::*;
use crate::config::{Config, Environment};
use crate::session::{Entry, Kind, Roll};

#[derive(Clone)]
struct Letter(Bytes);

impl Unit for Letter {
    fn size(&self) -> usize {
        self.0.len()
    }
}

struct Letters;

impl Remux for Letters {
    type Unit = Letter;

    fn tracks(&mut self, _tracks: &Tracks, _out: &mut Vec<Stamped<Letter>>) {}

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Letter>>) {
        let place = Place::Media { track: frame.track, key: frame.key };
        out.push(Stamped { time: frame.dts, place, unit: Letter(frame.data.clone()) });
    }
}

/// Says what happens, with the number of seconds that the settings have.
struct Loud(Sender<String>, Pace);

struct Told(u64, Sender<String>);

impl Told {
    fn tell(&self, what: &str) {
        self.1.send(format!("{} {what}", self.0)).unwrap();
    }
}

impl Output for Loud {
    const NAME: &'static str = "loud";
    type Settings = u64;
    type Unit = Letter;
    type Link = ();
    type Stream = Told;

    fn settings(&self, _key: &StreamKey, vhost: &Vhost) -> Option<u64> {
        vhost.hls.as_ref().map(|hls| hls.fragment.as_secs())
    }

    fn subscribe(&self, broadcast: &Arc<Broadcast>, _settings: &u64) -> (Subscription<Letter>, ()) {
        (broadcast.subscribe(|| Letters), ())
    }

    fn retire(&self, broadcast: &Broadcast) {
        broadcast.retire::<Letters>();
    }

    fn open(&self, key: &StreamKey, settings: &Arc<u64>) -> Result<Told, String> {
        if key.stream == "bad" { Err("no".into()) } else { Ok(Told(**settings, self.0.clone())) }
    }

    fn pace(&self, _settings: &u64) -> Pace {
        self.1
    }
}

impl Stream for Told {
    type Unit = Letter;
    type Link = ();

    fn turn(self, now: Self) -> Self {
        self.tell("turns");
        now
    }

    fn begin(&mut self, (): (), publisher: Publisher) {
        self.tell(&format!("begins {}", publisher.session().peer.port()));
    }

    fn renew(&mut self, publisher: Publisher) {
        self.tell(&format!("renews {}", publisher.session().peer.port()));
    }

    fn lose(&mut self, units: u64) {
        self.tell(&format!("loses {units}"));
    }

    fn take(&mut self, unit: Stamped<Letter>) {
        self.tell(&String::from_utf8_lossy(&unit.unit.0));
    }

    fn leave(&mut self) {
        self.tell("leaves");
    }

    fn rest(&self) -> Duration {
        if self.0 == 9 { Duration::from_secs(60) } else { Duration::ZERO }
    }

    fn end(self, files_stay: bool) {
        self.tell(if files_stay { "ends, files stay" } else { "ends" });
    }
}

struct Scene {
    hub: Hub,
    follower: Follower<Loud>,
    told: Receiver<String>,
}

impl Scene {
    fn new(pace: Pace) -> Self {
        let (sender, told) = channel();
        Self { hub: Hub::default(), follower: Follower::start(Loud(sender, pace)).unwrap(), told }
    }

    fn publish(&self, stream: &str, port: u16, seconds: u64) -> (Publication, Published) {
        let key = StreamKey { vhost: "a".into(), app: "live".into(), stream: stream.into() };
        let broadcast = self.hub.open(&key, &Rules::default());
        let publication = broadcast.publish().unwrap();
        let session = Session::new(SocketAddr::from(([127, 0, 0, 1], port)));
        let (kind, request) = (Kind::FmlePublish, Arc::default());
        let entry = Entry { session: &session, kind, broadcast: &broadcast, request };
        let client = Arc::<Roll>::default().seat(entry).client().clone();
        let (vhost, reporter, forward_to) = (vhost(seconds), None, None);
        let published = Published { broadcast, vhost, session, client, reporter, forward_to };
        self.follower.published(&published);
        (publication, published)
    }

    #[track_caller]
    fn expect(&self, what: &[&str]) {
        for what in what {
            assert_eq!(self.told.recv_timeout(Duration::from_secs(10)).as_deref(), Ok(*what));
        }
    }
}

fn vhost(seconds: u64) -> Arc<Vhost> {
    let enabled = if seconds > 0 { "on" } else { "off" };
    let text = format!("listen 1; vhost a {{ hls {{ enabled {enabled}; hls_fragment {seconds}; }} }}");
    Config::parse("test", text.as_bytes(), &Environment::default()).unwrap().vhosts[0].clone()
}

fn write(publication: &mut Publication, letters: &str) {
    for letter in letters.chars() {
        let (dts, data) = (Micros::ZERO, Bytes::from(letter.to_string()));
        publication.write(&Frame { track: TrackId::VIDEO, dts, pts: dts, key: letter == 'a', data });
    }
}

#[test]
fn publishers_come_and_go() {
    for pace in [Pace::Beat, Pace::Rung] {
        let scene = Scene::new(pace);
        let (mut first, _) = scene.publish("x", 1, 2);
        scene.expect(&["2 begins 1"]);
        write(&mut first, "ab");
        scene.expect(&["2 a", "2 b"]);
        write(&mut first, "c");
        drop(first);
        scene.expect(&["2 c", "2 leaves", "2 ends"]);
        let (mut second, _) = scene.publish("x", 2, 2);
        write(&mut second, "a");
        scene.expect(&["2 begins 2", "2 a"]);
        assert!(scene.told.try_recv().is_err());
    }
}

#[test]
fn one_publisher_follows_another_at_once() {
    let scene = Scene::new(Pace::Beat);
    let (mut first, _) = scene.publish("x", 1, 2);
    write(&mut first, "ab");
    scene.expect(&["2 begins 1", "2 a", "2 b"]);
    write(&mut first, "cd");
    drop(first);
    // Before the next beat, most of the time; where it is not, the test says nothing, and nothing wrong.
    let (mut second, _) = scene.publish("x", 2, 2);
    write(&mut second, "a");
    scene.expect(&["2 c", "2 d"]);
    let next = scene.told.recv_timeout(Duration::from_secs(10)).unwrap();
    match &*next {
        "2 renews 2" => scene.expect(&["2 a"]),
        "2 leaves" => scene.expect(&["2 ends", "2 begins 2", "2 a"]),
        other => panic!("{other}"),
    }
}

#[test]
fn settings_turn() {
    for pace in [Pace::Beat, Pace::Rung] {
        let scene = Scene::new(pace);
        let (mut publication, mut published) = scene.publish("x", 1, 2);
        write(&mut publication, "ab");
        scene.expect(&["2 begins 1", "2 a", "2 b"]);
        let mut turn = |seconds| {
            published.vhost = vhost(seconds);
            scene.follower.turned(&published);
        };
        turn(2);
        write(&mut publication, "c");
        turn(9);
        // The new form is fed from the GOP cache: what follows begins with a keyframe.
        scene.expect(&["2 c", "2 turns", "9 begins 1", "9 a", "9 b", "9 c"]);
        write(&mut publication, "d");
        turn(0);
        scene.expect(&["9 d"]);
        write(&mut publication, "e");
        // It rests, and a publisher would find it; so does a reload.
        turn(2);
        scene.expect(&["9 turns", "2 begins 1", "2 a", "2 b", "2 c", "2 d", "2 e"]);
        turn(0);
        scene.expect(&["2 ends"]);
    }
}

#[test]
fn a_stop_takes_what_has_come() {
    for (keeps, end) in [(false, "2 ends"), (true, "2 ends, files stay")] {
        let scene = Scene::new(Pace::Beat);
        let (mut publication, _) = scene.publish("x", 1, 2);
        let _bad = scene.publish("bad", 2, 2);
        scene.expect(&["2 begins 1"]);
        write(&mut publication, "ab");
        let followers = Followers::default().with(&scene.follower);
        if keeps {
            followers.hand_over();
        }
        followers.stop();
        scene.expect(&["2 a", "2 b", end]);
    }
}

#[test]
fn a_thread_that_is_too_late_begins_at_a_keyframe() {
    let scene = Scene::new(Pace::Beat);
    let (mut publication, _) = scene.publish("x", 1, 2);
    write(&mut publication, "a");
    scene.expect(&["2 begins 1", "2 a"]);
    let letters = "a".to_owned() + &"b".repeat(20_000) + "ac";
    write(&mut publication, &letters);
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "2 c") {
        told.push(scene.told.recv_timeout(Duration::from_secs(10)).unwrap());
    }
    let lost = told.iter().position(|what| what.starts_with("2 loses")).unwrap();
    assert_eq!(told[lost + 1], "2 a");
}
