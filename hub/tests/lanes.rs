//! How forms are fed: with sound converted once for all that need it, by the publisher itself, or with frames; and how the publisher learns
//! what is wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use bytes::Bytes;
use hub::{Broadcast, Convert, Converter, Hub, Publication, Recipe, Relay, Rules, StreamKey, Taken};
use media::codec::{Codec, aac, opus};
use media::{Dialect, Frame, Kind, Micros, Place, Remux, Sound, Stamped, Track, TrackId, Tracks, Unit};

#[derive(Clone, Debug, PartialEq)]
struct Named(String);

impl Unit for Named {
    fn size(&self) -> usize {
        self.0.len()
    }
}

/// A form of its own type for each `N`, which takes AAC (`N` below 10), Opus (below 20), what FLV takes (30 to 39) or anything.
struct Form<const N: u8>;

impl<const N: u8> Remux for Form<N> {
    type Unit = Named;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Named>>) {
        if let Some(track) = tracks.audio() {
            let unit = Named(format!("init {}", track.codec.name()));
            out.push(Stamped { time: Micros::ZERO, place: Place::Init { slot: 0 }, unit });
        }
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Named>>) {
        out.push(unit(frame.track, frame.key, frame.dts, &String::from_utf8_lossy(&frame.data)));
    }

    fn sound(&self) -> Sound {
        match N {
            0..10 => Sound::Aac,
            10..20 => Sound::Opus,
            30..40 => Sound::Flv,
            _ => Sound::Any,
        }
    }
}

fn unit(track: TrackId, key: bool, time: Micros, name: &str) -> Stamped<Named> {
    let key = key && track.kind == Kind::Video;
    Stamped { time, place: Place::Media { track, key }, unit: Named(name.into()) }
}

/// Says which conversion made it: `a1` of the first conversion is `a1/1`.
struct Numbered(usize, Arc<Counts>);

/// What the conversions have done.
#[derive(Default)]
struct Counts {
    made: AtomicUsize,
    alive: AtomicUsize,
    frames: AtomicUsize,
}

impl Counts {
    fn seen(&self) -> [usize; 3] {
        [&self.made, &self.alive, &self.frames].map(|n| n.load(Ordering::Relaxed))
    }

    /// From AAC to Opus only.
    fn converter(self: &Arc<Self>) -> Converter {
        let counts = self.clone();
        Arc::new(move |sound, tracks: &Tracks| {
            let needed = sound == Sound::Opus && matches!(tracks.audio()?.codec, Codec::Aac(_));
            needed.then(|| {
                counts.alive.fetch_add(1, Ordering::Relaxed);
                let number = counts.made.fetch_add(1, Ordering::Relaxed) + 1;
                Box::new(Numbered(number, counts.clone())) as Box<dyn Convert>
            })
        })
    }
}

impl Convert for Numbered {
    fn tracks(&mut self, tracks: &Tracks) -> Tracks {
        let mut tracks = tracks.clone();
        tracks.set(track(opus()));
        tracks
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Frame>) {
        self.1.frames.fetch_add(1, Ordering::Relaxed);
        let mut frame = frame.clone();
        if frame.track.kind == Kind::Audio {
            frame.data = format!("{}/{}", String::from_utf8_lossy(&frame.data), self.0).into();
        }
        out.push(frame);
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.1.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

fn opus() -> Codec {
    Codec::Opus(opus::Config::default())
}

fn aac() -> Codec {
    Codec::Aac(aac::Config::default())
}

fn track(codec: Codec) -> Track {
    Track { id: TrackId::AUDIO, codec, config: Bytes::new(), dialect: Dialect::Standard }
}

fn tracks(codec: Codec) -> Tracks {
    let mut tracks = Tracks::default();
    tracks.set(track(codec));
    tracks
}

struct Scene {
    _hub: Hub,
    broadcast: Arc<Broadcast>,
    publication: Publication,
    counts: Arc<Counts>,
}

impl Scene {
    fn new() -> Self {
        let hub = Hub::default();
        let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: "s".into() };
        let broadcast = hub.open(&key, &Rules::default());
        let mut publication = broadcast.publish().unwrap();
        let counts = Arc::new(Counts::default());
        publication.convert_with(counts.converter());
        Self { _hub: hub, broadcast, publication, counts }
    }

    fn video(&mut self, key: bool, ms: i64, name: &str) {
        self.write(TrackId::VIDEO, key, ms, name);
    }

    fn audio(&mut self, ms: i64, name: &str) {
        self.write(TrackId::AUDIO, true, ms, name);
    }

    fn write(&mut self, track: TrackId, key: bool, ms: i64, name: &str) {
        let dts = Micros::from_millis(ms);
        let data = Bytes::copy_from_slice(name.as_bytes());
        self.publication.write(&Frame { track, dts, pts: dts, key, data });
    }

    fn join<const N: u8>(&self) -> Relay<Named> {
        Relay::new(self.broadcast.subscribe(|| Form::<N>), Rules::default(), Micros::from_secs(30))
    }
}

/// What a joiner of now gets.
fn heard(relay: &Relay<Named>) -> Vec<String> {
    let _ = relay.poll_pull(&mut Context::from_waker(Waker::noop()), 1, Micros::ZERO);
    let (mut units, mut reader) = (Vec::new(), relay.reader());
    while reader.take(usize::MAX, &mut units) == Taken::Units {}
    units.into_iter().map(|unit| unit.unit.0).collect()
}

#[test]
fn forms_of_one_sound_share_one_conversion() {
    let mut scene = Scene::new();
    scene.publication.tracks(tracks(aac()));
    let first = scene.join::<10>();
    scene.video(true, 0, "v0");
    scene.audio(0, "a0");
    let second = scene.join::<11>();
    let (plain, any) = (scene.join::<0>(), scene.join::<20>());
    scene.audio(20, "a1");
    for relay in [&first, &second] {
        assert_eq!(heard(relay), ["init Opus", "v0", "a0/1", "a1/1"]);
    }
    for relay in [&plain, &any] {
        assert_eq!(heard(relay), ["init AAC", "v0", "a0", "a1"]);
    }
    assert_eq!(scene.counts.seen(), [1, 1, 3], "each frame once");
}

/// Feeds FLV with what Opus is fed with.
struct Shared(Converter);

impl Recipe for Shared {
    fn target(&self, sound: Sound, _tracks: &Tracks) -> Sound {
        if sound == Sound::Flv { Sound::Opus } else { sound }
    }

    fn convert(&self, target: Sound, tracks: &Tracks) -> Option<Box<dyn Convert>> {
        self.0.convert(target, tracks)
    }
}

#[test]
fn sounds_with_one_target_share_one_conversion() {
    let mut scene = Scene::new();
    scene.publication.convert_with(Arc::new(Shared(scene.counts.converter())));
    scene.publication.tracks(tracks(aac()));
    let first = scene.join::<10>();
    scene.video(true, 0, "v0");
    scene.audio(0, "a0");
    let second = scene.join::<30>();
    scene.publication.tracks(tracks(aac()));
    scene.audio(20, "a1");
    assert_eq!((heard(&first).pop(), heard(&second).pop()), (Some("a1/1".into()), Some("a1/1".into())));
    assert_eq!(scene.counts.seen(), [1, 1, 3], "each frame once");
    drop(first);
    scene.audio(6_000, "a2");
    scene.audio(17_000, "a3");
    assert_eq!(heard(&second).pop().unwrap(), "a3/1");
    drop(second);
    scene.audio(18_000, "a4");
    scene.audio(29_000, "a5");
    assert_eq!(scene.counts.seen()[..2], [1, 0], "it goes with the last of them");
}

#[test]
fn a_late_joiner_has_sound_with_the_picture() {
    let mut scene = Scene::new();
    scene.publication.tracks(tracks(aac()));
    scene.audio(0, "before");
    scene.video(true, 40, "v0");
    scene.audio(40, "a0");
    assert_eq!(scene.counts.seen(), [0, 0, 0], "nobody needs it");
    let relay = scene.join::<10>();
    scene.audio(60, "a1");
    assert_eq!(heard(&relay), ["init Opus", "v0", "a0/1", "a1/1"]);
}

#[test]
fn a_long_past_is_not_worked_up() {
    let mut scene = Scene::new();
    scene.publication.tracks(tracks(aac()));
    scene.video(true, 0, "v0");
    for n in 0..200 {
        scene.audio(n * 100, &format!("a{n}"));
        scene.video(false, n * 100, "v");
    }
    let heard = heard(&scene.join::<10>());
    let sound: Vec<_> = heard.iter().filter(|name| name.starts_with('a')).collect();
    assert_eq!((sound[0].as_str(), sound.len()), ("a99/1", 101));
    assert_eq!(heard.iter().filter(|name| name.starts_with('v')).count(), 201, "all pictures");
}

#[test]
fn what_nobody_needs_is_not_converted() {
    let mut scene = Scene::new();
    scene.publication.tracks(tracks(opus()));
    let (browser, plain) = (scene.join::<10>(), scene.join::<0>());
    scene.video(true, 0, "v0");
    scene.audio(0, "a0");
    assert_eq!(
        (heard(&browser), heard(&plain)),
        (heard(&plain), vec!["init Opus".into(), "v0".into(), "a0".into()])
    );
    assert_eq!(scene.counts.seen(), [0, 0, 0]);
}

#[test]
fn a_conversion_ends_with_the_last_form_after_its_grace() {
    let mut scene = Scene::new();
    scene.publication.tracks(tracks(aac()));
    let (first, second) = (scene.join::<10>(), scene.join::<11>());
    scene.audio(0, "a0");
    drop(first);
    scene.audio(5_000, "a1");
    drop(second);
    for ms in [6_000, 12_000, 15_900] {
        scene.audio(ms, "a");
        assert_eq!(scene.counts.seen()[..2], [1, 1], "{ms}");
    }
    scene.audio(16_000, "a");
    assert_eq!(scene.counts.seen()[..2], [1, 0]);
    let _again = scene.join::<10>();
    assert_eq!(scene.counts.seen()[..2], [2, 1]);
}

#[test]
fn a_conversion_is_made_anew_when_the_sound_changes_and_only_then() {
    let mut scene = Scene::new();
    let relay = scene.join::<10>();
    scene.audio(0, "early");
    scene.publication.tracks(tracks(aac()));
    scene.video(true, 0, "v0");
    scene.audio(0, "a0");
    let mut more = tracks(aac());
    more.metadata = Some(Bytes::from_static(b"m"));
    scene.publication.tracks(more);
    scene.audio(20, "a1");
    assert_eq!(scene.counts.seen()[..2], [1, 1]);
    let mut other = track(aac());
    other.config = Bytes::from_static(b"other");
    let mut changed = Tracks::default();
    changed.set(other);
    scene.publication.tracks(changed);
    scene.audio(40, "a2");
    assert_eq!(scene.counts.seen()[..2], [2, 1]);
    let late = scene.join::<11>();
    let media = |relay| heard(relay).into_iter().filter(|name| !name.starts_with("init")).collect::<Vec<_>>();
    assert_eq!(media(&late), ["v0", "a0/1", "a1/1", "a2/2"], "what was converted stays so");
    assert_eq!(media(&relay), ["v0", "a0/1", "a1/1", "a2/2"]);
    scene.publication.tracks(tracks(opus()));
    scene.audio(60, "a3");
    assert_eq!(scene.counts.seen()[..2], [2, 0]);
    assert_eq!(heard(&relay).last().unwrap(), "a3");
}

#[test]
fn a_conversion_ends_with_its_publisher_and_the_next_begins_one() {
    let mut scene = Scene::new();
    scene.publication.tracks(tracks(aac()));
    let relay = scene.join::<10>();
    scene.video(true, 0, "v0");
    let Scene { broadcast, publication, counts, .. } = &mut scene;
    // A publication may be replaced only when the one before is gone.
    let spare = Hub::default().open(broadcast.key(), &Rules::default()).publish().unwrap();
    drop(std::mem::replace(publication, spare));
    assert_eq!(counts.seen()[..2], [1, 0]);
    *publication = broadcast.publish().unwrap();
    publication.convert_with(counts.converter());
    publication.tracks(tracks(aac()));
    assert_eq!(counts.seen()[..2], [2, 1]);
    scene.video(true, 0, "v1");
    scene.audio(0, "a1");
    assert_eq!(heard(&relay), ["init Opus", "v1", "a1/2"]);
}

/// Units as a publisher would have received them.
fn burst(key: bool, ms: i64, name: &str) -> Vec<Stamped<Named>> {
    vec![unit(TrackId::VIDEO, key, Micros::from_millis(ms), name)]
}

#[test]
fn a_native_form_is_fed_with_units_and_not_with_frames() {
    let mut scene = Scene::new();
    scene.publication.feed_natively::<Form<10>>();
    scene.publication.tracks(tracks(aac()));
    let frames = scene.join::<0>();
    scene.video(true, 0, "v0");
    let mut lost = burst(true, 0, "lost");
    scene.publication.write_native::<Form<10>>(&mut lost);
    assert!(lost.is_empty() && !scene.publication.native_wanted());
    let native = scene.join::<10>();
    assert!(scene.publication.native_wanted());
    assert_eq!(heard(&native), ["init AAC"], "neither the past nor another sound");
    scene.publication.write_native::<Form<10>>(&mut burst(true, 40, "n1"));
    scene.video(false, 40, "v1");
    assert_eq!(heard(&native), ["init AAC", "n1"]);
    assert_eq!(heard(&frames), ["init AAC", "v0", "v1"]);
    assert_eq!(scene.counts.seen(), [0, 0, 0]);
}

#[test]
fn a_reader_who_waited_is_fed_natively_too() {
    let hub = Hub::default();
    let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: "s".into() };
    let broadcast = hub.open(&key, &Rules::default());
    let native = Relay::new(broadcast.subscribe(|| Form::<10>), Rules::default(), Micros::from_secs(30));
    let mut publication = broadcast.publish().unwrap();
    publication.feed_natively::<Form<10>>();
    assert!(publication.native_wanted() && !publication.frames_wanted());
    publication.write_native::<Form<10>>(&mut burst(true, 0, "n0"));
    assert_eq!(heard(&native), ["n0"]);
    drop(publication);
    // The next publisher has frames.
    let mut publication = broadcast.publish().unwrap();
    let frame = Frame {
        track: TrackId::VIDEO,
        dts: Micros::ZERO,
        pts: Micros::ZERO,
        key: true,
        data: Bytes::from_static(b"v"),
    };
    publication.write(&frame);
    assert!(publication.frames_wanted() && !publication.native_wanted());
    assert_eq!(heard(&native), ["v"]);
}

#[test]
fn native_and_other_forms_are_wanted_until_their_grace_is_over() {
    let mut scene = Scene::new();
    scene.publication.feed_natively::<Form<10>>();
    let (native, frames) = (scene.join::<10>(), scene.join::<0>());
    scene.video(true, 0, "v0");
    drop((native, frames));
    for ms in [1_000, 10_900] {
        scene.video(false, ms, "v");
        scene.publication.write_native::<Form<10>>(&mut burst(false, ms, "n"));
        assert!(scene.publication.frames_wanted() && scene.publication.native_wanted());
    }
    scene.video(false, 11_000, "v");
    scene.publication.write_native::<Form<10>>(&mut burst(false, 11_000, "n"));
    assert!(!scene.publication.frames_wanted() && !scene.publication.native_wanted());
    // The publisher has stopped making frames, so that what was kept is of no use.
    let late = scene.join::<0>();
    assert!(heard(&late).is_empty());
    scene.video(false, 60_000, "without its keyframe");
    assert!(heard(&late).is_empty());
    scene.video(true, 60_040, "v1");
    assert_eq!(heard(&late), ["v1"]);
}

#[test]
fn the_bell_rings_when_something_becomes_wanted() {
    let mut scene = Scene::new();
    let rung = Arc::new(AtomicUsize::new(0));
    let bell = rung.clone();
    scene.publication.on_want(Arc::new(move || {
        bell.fetch_add(1, Ordering::Relaxed);
    }));
    let rings = || rung.swap(0, Ordering::Relaxed);
    let first = scene.join::<0>();
    assert_eq!(rings(), 1, "frames are wanted");
    let second = scene.join::<0>();
    assert_eq!(rings(), 0, "they were already");
    drop((first, second));
    let _third = scene.join::<0>();
    assert_eq!(rings(), 1, "somebody is back");
    scene.broadcast.keep(|| Form::<1>);
    assert_eq!(rings(), 1, "it is to be made though nobody reads it");
    scene.broadcast.want_keyframe();
    scene.broadcast.want_keyframe();
    assert_eq!(rings(), 1, "until the publisher has looked");
    assert!(scene.publication.keyframe_wanted() && !scene.publication.keyframe_wanted());
    scene.broadcast.want_keyframe();
    assert_eq!(rings(), 1);
    let broadcast = scene.broadcast.clone();
    drop(scene);
    assert!(broadcast.publish().is_ok_and(|next| next.keyframe_wanted()));
    broadcast.want_keyframe();
    assert_eq!(rings(), 0, "it is of the publisher before");
}
