//! The hub as its users see it: publishers, joiners, slow readers, republish.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use hub::{Broadcast, Busy, Hub, Publication, Reader, Relay, Rules, StreamKey, Taken};
use media::{Frame, Kind, Micros, Place, Remux, Stamped, TrackId, Tracks, Unit};

/// A unit that says which frame it came from.
#[derive(Clone, Debug, PartialEq)]
struct Named(String, usize);

impl Unit for Named {
    fn size(&self) -> usize {
        self.1
    }
}

/// A form whose only init unit is the metadata.
struct Plain;

impl Remux for Plain {
    type Unit = Named;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Named>>) {
        if let Some(metadata) = &tracks.metadata {
            let unit = Named(format!("init {}", String::from_utf8_lossy(metadata)), 1);
            out.push(Stamped { time: Micros::ZERO, place: Place::Init { slot: 0 }, unit });
        }
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Named>>) {
        let unit = Named(String::from_utf8_lossy(&frame.data).into_owned(), frame.data.len());
        let place = Place::Media { track: frame.track, key: frame.key && frame.track.kind == Kind::Video };
        out.push(Stamped { time: frame.dts, place, unit });
    }
}

fn key(stream: &str) -> StreamKey {
    StreamKey { vhost: StreamKey::DEFAULT_VHOST.into(), app: "live".into(), stream: stream.into() }
}

fn frame(track: TrackId, key: bool, ms: i64, name: &str) -> Frame {
    let dts = Micros::from_millis(ms);
    Frame { track, dts, pts: dts, key, data: Bytes::copy_from_slice(name.as_bytes()) }
}

/// A stream with its publisher, and a relay over it.
struct Scene {
    _hub: Hub,
    broadcast: Arc<Broadcast>,
    publication: Option<Publication>,
    relay: Relay<Named>,
    now: Micros,
}

impl Scene {
    fn new(rules: Rules, queue: Micros) -> Self {
        let hub = Hub::default();
        let broadcast = hub.open(&key("one"), &rules);
        let publication = broadcast.publish().ok();
        let relay = Relay::new(broadcast.subscribe(|| Plain), rules, queue);
        Self { _hub: hub, broadcast, publication, relay, now: Micros::ZERO }
    }

    fn tracks(&mut self, metadata: &'static str) {
        let mut tracks = Tracks::default();
        tracks.metadata = Some(Bytes::from_static(metadata.as_bytes()));
        self.publication.as_mut().unwrap().tracks(tracks);
    }

    fn video(&mut self, key: bool, ms: i64, name: &str) {
        self.publication.as_mut().unwrap().write(&frame(TrackId::VIDEO, key, ms, name));
    }

    fn audio(&mut self, ms: i64, name: &str) {
        self.publication.as_mut().unwrap().write(&frame(TrackId::AUDIO, true, ms, name));
    }

    /// Pulls all there is, as the driver of a core would.
    fn pull(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.relay.poll_pull(&mut cx, 1, self.now).is_ready()
    }
}

fn take(reader: &mut Reader<Named>) -> Vec<String> {
    let mut units = Vec::new();
    while reader.take(usize::MAX, &mut units) == Taken::Units {}
    units.into_iter().map(|unit| unit.unit.0).collect()
}

const QUEUE: Micros = Micros::from_secs(30);

#[test]
fn one_publisher_at_a_time_and_streams_are_forgotten() {
    let hub = Hub::default();
    let broadcast = hub.open(&key("one"), &Rules::default());
    let first = broadcast.publish().unwrap();
    assert_eq!(broadcast.publish().err(), Some(Busy));
    drop(first);
    assert!(!broadcast.is_live());
    drop(broadcast.publish().unwrap());
    assert!(hub.find(&key("one")).is_some());
    drop(broadcast);
    assert!(hub.find(&key("one")).is_none() && hub.live().is_empty());
}

#[test]
fn a_joiner_starts_with_init_and_the_newest_keyframe() {
    let mut scene = Scene::new(Rules::default(), QUEUE);
    scene.tracks("m");
    for (n, key) in [true, false, true, false].into_iter().enumerate() {
        scene.video(key, n as i64 * 40, &format!("v{n}"));
        scene.audio(n as i64 * 40 + 5, &format!("a{n}"));
    }
    scene.pull();
    let mut units = Vec::new();
    scene.relay.reader().take(usize::MAX, &mut units);
    let names: Vec<_> = units.iter().map(|u| u.unit.0.as_str()).collect();
    assert_eq!(names, ["init m", "v2", "a2", "v3", "a3"]);
    assert_eq!(units[0].time, units[1].time, "init units have the time of what follows");
}

#[test]
fn a_form_that_starts_late_is_fed_from_the_gop_cache() {
    let hub = Hub::default();
    let broadcast = hub.open(&key("one"), &Rules::default());
    let mut publication = broadcast.publish().unwrap();
    for (n, key) in [true, false, true, false].into_iter().enumerate() {
        publication.write(&frame(TrackId::VIDEO, key, n as i64, &format!("v{n}")));
    }
    assert!(!publication.frames_wanted());
    let relay = Relay::new(broadcast.subscribe(|| Plain), Rules::default(), QUEUE);
    assert!(publication.frames_wanted());
    assert!(relay.poll_pull(&mut Context::from_waker(Waker::noop()), 1, Micros::ZERO).is_ready());
    assert_eq!(take(&mut relay.reader()), ["v2", "v3"]);
}

#[test]
fn without_a_gop_cache_video_waits_for_a_keyframe_and_audio_does_not() {
    let mut scene = Scene::new(Rules { gop_cache: false, ..Rules::default() }, QUEUE);
    scene.video(true, 0, "v0");
    scene.pull();
    let mut reader = scene.relay.reader();
    assert!(take(&mut reader).is_empty() && !reader.may_ride());
    scene.video(false, 40, "v1");
    scene.audio(45, "a1");
    scene.pull();
    assert_eq!(take(&mut reader), ["a1"]);
    scene.video(true, 80, "v2");
    scene.video(false, 120, "v3");
    scene.pull();
    assert_eq!(take(&mut reader), ["v2", "v3"]);
    assert!(reader.may_ride());
}

#[test]
fn a_slow_reader_skips_to_the_newest_keyframe_and_holds_no_more_than_the_queue() {
    let mut scene = Scene::new(Rules::default(), Micros::from_secs(2));
    scene.tracks("m");
    scene.video(true, 0, "v0");
    scene.pull();
    let mut reader = scene.relay.reader();
    assert_eq!(take(&mut reader), ["init m", "v0"]);
    for n in 1..=100 {
        scene.video(n % 25 == 0, n * 40, &format!("v{n}"));
        scene.now = Micros::from_millis(n * 40);
        scene.pull();
    }
    assert_eq!(take(&mut reader), ["init m", "v100"]);
    assert_eq!(reader.take_skipped(), 99);
    assert_eq!(reader.take_skipped(), 0);
}

#[test]
fn a_reader_within_the_queue_misses_nothing_over_many_gops() {
    let mut scene = Scene::new(Rules::default(), Micros::from_secs(5));
    scene.video(true, 0, "v0");
    scene.pull();
    let mut reader = scene.relay.reader();
    let mut got = take(&mut reader);
    for n in 1..=100 {
        scene.video(n % 25 == 0, n * 40, &format!("v{n}"));
        scene.now = Micros::from_millis(n * 40);
        scene.pull();
    }
    got.extend(take(&mut reader));
    assert_eq!(got, (0..=100).map(|n| format!("v{n}")).collect::<Vec<_>>());
    assert_eq!(reader.take_skipped(), 0);
}

#[test]
fn riders_hold_nothing_until_they_are_put_down() {
    let mut scene = Scene::new(Rules::default(), QUEUE);
    scene.video(true, 0, "v0");
    scene.pull();
    let mut reader = scene.relay.reader();
    take(&mut reader);
    let ticket = reader.ride();
    scene.video(true, 40, "v1");
    scene.pull();
    let at = scene.relay.head() - 1;
    scene.relay.put_down(&ticket, at);
    scene.video(true, 80, "v2");
    scene.pull();
    assert_eq!(take(&mut reader), ["v1", "v2"]);
}

#[test]
fn republish_keeps_readers_and_forgets_what_the_first_publisher_said() {
    let mut scene = Scene::new(Rules::default(), QUEUE);
    scene.tracks("one");
    scene.video(true, 0, "v0");
    scene.pull();
    let mut reader = scene.relay.reader();
    assert_eq!(take(&mut reader), ["init one", "v0"]);
    let before = scene.relay.publisher();
    scene.publication = None;
    assert!(scene.pull(), "the end wakes the relay");
    assert_eq!((scene.relay.publisher().0, before.0), (false, true));
    assert!(take(&mut scene.relay.reader()).is_empty(), "a joiner finds nothing of the past");

    scene.publication = Some(scene.broadcast.publish().unwrap());
    scene.tracks("two");
    scene.video(true, 40, "v1");
    scene.pull();
    assert_ne!(scene.relay.publisher(), before);
    assert_eq!(take(&mut reader), ["init two", "v1"]);
    assert_eq!(take(&mut scene.relay.reader()), ["init two", "v1"]);
}

#[test]
fn a_publisher_without_keyframes_takes_bounded_memory() {
    let mut scene = Scene::new(Rules { gop_max_frames: 50, ..Rules::default() }, Micros::from_secs(1));
    scene.video(true, 0, "v0");
    scene.pull();
    for n in 1..1000 {
        scene.video(false, n * 40, "x");
        scene.now = Micros::from_millis(n * 40);
        scene.pull();
    }
    assert!(take(&mut scene.relay.reader()).is_empty(), "no picture to start from");
}

#[test]
fn a_core_that_hangs_loses_units_and_knows_how_many() {
    let mut scene = Scene::new(Rules { gop_cache: false, ..Rules::default() }, QUEUE);
    scene.video(true, 0, "v0");
    scene.pull();
    assert_eq!(scene.relay.take_missed(), 0);
    for n in 1..=10_000 {
        scene.video(true, n, "v");
    }
    scene.pull();
    assert_eq!(scene.relay.take_missed(), 10_000);
    assert_eq!(scene.relay.take_missed(), 0);
    scene.video(true, 10_001, "v10001");
    let mut reader = scene.relay.reader();
    scene.pull();
    assert_eq!(take(&mut reader), ["v10001"]);
}

/// Counts how often it is rung.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_relay_is_woken_once_for_as_many_units_as_it_waits_for() {
    let mut scene = Scene::new(Rules::default(), QUEUE);
    while scene.pull() {}
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(scene.relay.poll_pull(&mut cx, 2, Micros::ZERO).is_pending());
    scene.audio(0, "a0");
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert!(scene.relay.poll_pull(&mut cx, 2, Micros::ZERO).is_pending(), "one is not two");
    scene.audio(1, "a1");
    assert_eq!(scene.relay.poll_pull(&mut cx, 2, Micros::ZERO), Poll::Ready(0..2));
}

#[test]
fn the_last_reader_rings_the_driver() {
    let scene = Scene::new(Rules::default(), QUEUE);
    let (first, second) = (scene.relay.reader(), scene.relay.reader());
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(!scene.relay.is_unread(&mut cx));
    drop(first);
    assert_eq!(bell.0.load(Ordering::Relaxed), 0);
    drop(second);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert!(scene.relay.is_unread(&mut cx));
}

#[test]
fn readers_in_another_thread_see_every_unit_in_order() {
    let hub = Hub::default();
    let broadcast = hub.open(&key("one"), &Rules::default());
    let mut publication = broadcast.publish().unwrap();
    let subscription = broadcast.subscribe(|| Plain);
    let reading = std::thread::spawn(move || {
        let relay = Relay::new(subscription, Rules::default(), QUEUE);
        let mut reader = relay.reader();
        let mut got = Vec::new();
        while got.last().is_none_or(|last| last != "v4999") {
            wait(poll_fn(|cx| relay.poll_pull(cx, 1, Micros::ZERO)));
            got.extend(take(&mut reader));
        }
        got
    });
    for n in 0..5000 {
        publication.write(&frame(TrackId::VIDEO, n % 100 == 0, n, &format!("v{n}")));
    }
    let got = reading.join().unwrap();
    let numbers: Vec<i64> = got.iter().map(|name| name[1..].parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "a gap");
}

#[test]
fn a_form_without_readers_is_made_anew_for_the_next_publisher() {
    let mut scene = Scene::new(Rules::default(), QUEUE);
    let made = AtomicUsize::new(0);
    let read = |broadcast: &Arc<Broadcast>| {
        broadcast.subscribe(|| {
            made.fetch_add(1, Ordering::Relaxed);
            Sound
        })
    };
    let reader = read(&scene.broadcast);
    scene.publication = None;
    // It was read when the publisher left, and is not when the next one comes.
    drop(reader);
    scene.publication = scene.broadcast.publish().ok();
    let _reader = read(&scene.broadcast);
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

/// A form of which joiners get the last second.
struct Sound;

impl Remux for Sound {
    type Unit = Named;

    fn tracks(&mut self, _: &Tracks, _: &mut Vec<Stamped<Named>>) {}

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Named>>) {
        let unit = Named(String::from_utf8_lossy(&frame.data).into_owned(), frame.data.len());
        out.push(Stamped { time: frame.dts, place: Place::Media { track: frame.track, key: true }, unit });
    }

    fn history(&self) -> Micros {
        Micros::from_secs(1)
    }
}

#[test]
fn a_form_with_a_history_gives_it_to_the_first_who_comes_and_to_the_next() {
    let hub = Hub::default();
    let rules = Rules { gop_cache: false, ..Rules::default() };
    let broadcast = hub.open(&key("one"), &rules);
    let mut publication = broadcast.publish().unwrap();
    broadcast.keep(|| Sound);
    let mut write = |n: i64| publication.write(&frame(TrackId::AUDIO, true, n * 100, &format!("a{n}")));
    (0..300).for_each(&mut write);
    let relay = Relay::new(broadcast.subscribe(|| Sound), rules, QUEUE);
    let pull = || relay.poll_pull(&mut Context::from_waker(Waker::noop()), 1, Micros::ZERO).is_ready();
    assert!(pull());
    let names = |from, to| (from..to).map(|n| format!("a{n}")).collect::<Vec<_>>();
    let mut first = relay.reader();
    assert_eq!(take(&mut first), names(289, 300));
    (300..310).for_each(&mut write);
    assert!(pull());
    assert_eq!((take(&mut first), take(&mut relay.reader())), (names(300, 310), names(299, 310)));
}

#[test]
fn a_reader_that_sleeps_over_heavy_units_costs_no_memory_without_bound() {
    let hub = Hub::default();
    let broadcast = hub.open(&key("one"), &Rules { gop_cache: false, ..Rules::default() });
    let mut publication = broadcast.publish().unwrap();
    let mut subscription = broadcast.subscribe(|| Plain);
    let (mut init, mut units) = (Vec::new(), Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(subscription.poll_pull(&mut cx, 1, &mut init, &mut units).is_ready());
    let heavy = Bytes::from(vec![b'x'; 1 << 20]);
    for n in 0..100 {
        let dts = Micros::from_millis(n);
        publication.write(&Frame { track: TrackId::VIDEO, dts, pts: dts, key: false, data: heavy.clone() });
    }
    let Poll::Ready(pulled) = subscription.poll_pull(&mut cx, 1, &mut init, &mut units) else { panic!() };
    assert!(pulled.anew && pulled.missed > 30, "{pulled:?}");
    assert!(units.len() < 70, "{}", units.len());
}

#[test]
fn who_records_gets_all_since_the_subscription_and_who_watches_does_not() {
    let hub = Hub::default();
    let broadcast = hub.open(&key("one"), &Rules::default());
    let (mut watches, mut records) = (broadcast.subscribe(|| Plain), broadcast.subscribe(|| Plain).whole());
    let mut publication = broadcast.publish().unwrap();
    let mut tracks = Tracks::default();
    tracks.metadata = Some(Bytes::from_static(b"m"));
    publication.tracks(tracks);
    for n in 0..6 {
        publication.write(&frame(TrackId::VIDEO, n % 3 == 0, n, &n.to_string()));
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut pull = |subscription: &mut hub::Subscription<Named>| {
        let (mut init, mut units) = (Vec::new(), Vec::new());
        assert!(subscription.poll_pull(&mut cx, 1, &mut init, &mut units).is_ready());
        init.into_iter().chain(units).map(|unit| unit.unit.0).collect::<Vec<_>>()
    };
    assert_eq!(pull(&mut watches), ["init m", "3", "4", "5"]);
    assert_eq!(pull(&mut records), ["init m", "0", "1", "2", "3", "4", "5"]);
    publication.write(&frame(TrackId::VIDEO, true, 6, "6"));
    assert_eq!([pull(&mut watches), pull(&mut records)], [["6"], ["6"]]);
}

/// Runs a future on this thread, sleeping in between.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
