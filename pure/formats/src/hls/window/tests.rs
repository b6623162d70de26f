//! What playlists say while their window moves.

use proptest::prelude::*;

use super::super::Queries;
use super::*;

fn entry(seq: u64, ms: i64, discontinuity: bool) -> Entry {
    let uri = format!("livestream-{seq}.ts");
    Entry { seq, uri, duration: Micros::from_millis(ms), discontinuity, ..Entry::default() }
}

fn window(secs: i64, target: i64) -> Window {
    Window::new(Micros::from_secs(secs), Micros::from_secs(target))
}

fn text(window: &Window) -> String {
    window.playlist().unwrap().as_str().to_owned()
}

fn target(window: &Window) -> String {
    let text = text(window);
    text.lines().find_map(|line| line.strip_prefix("#EXT-X-TARGETDURATION:")).unwrap().to_owned()
}

#[test]
fn a_live_stream() {
    let mut window = window(60, 10);
    assert_eq!(window.playlist(), None);
    window.push(entry(0, 10_000, true));
    window.push(entry(1, 9960, false));
    window.push(Entry { duration: Micros(2_039_500), ..entry(2, 0, true) });
    let want = "\
        #EXTM3U\n\
        #EXT-X-VERSION:3\n\
        #EXT-X-MEDIA-SEQUENCE:0\n\
        #EXT-X-TARGETDURATION:10\n\
        #EXTINF:10.000, no desc\n\
        livestream-0.ts\n\
        #EXTINF:9.960, no desc\n\
        livestream-1.ts\n\
        #EXT-X-DISCONTINUITY\n\
        #EXTINF:2.040, no desc\n\
        livestream-2.ts\n";
    assert_eq!(text(&window), want);
    window.end();
    assert_eq!(text(&window), format!("{want}#EXT-X-ENDLIST\n"));
}

#[test]
fn it_moves_and_counts_what_left() {
    let mut window = window(20, 10);
    for seq in 7..10 {
        assert_eq!(window.push(entry(seq, 10_000, seq == 8)), [], "20 s do not exceed 20 s");
    }
    assert_eq!(window.push(entry(10, 10_000, true)), [entry(7, 10_000, false)]);
    assert!(!text(&window).contains("DISCONTINUITY-SEQUENCE"));
    assert_eq!(window.push(entry(11, 10_000, false)), [entry(8, 10_000, true)]);
    let want = "\
        #EXTM3U\n\
        #EXT-X-VERSION:3\n\
        #EXT-X-MEDIA-SEQUENCE:9\n\
        #EXT-X-TARGETDURATION:10\n\
        #EXT-X-DISCONTINUITY-SEQUENCE:1\n\
        #EXTINF:10.000, no desc\n\
        livestream-9.ts\n\
        #EXT-X-DISCONTINUITY\n\
        #EXTINF:10.000, no desc\n\
        livestream-10.ts\n\
        #EXTINF:10.000, no desc\n\
        livestream-11.ts\n";
    assert_eq!(text(&window), want);
}

#[test]
fn one_long_segment_pushes_all_others_out() {
    let mut window = window(20, 10);
    window.push(entry(0, 10_000, false));
    window.push(entry(1, 10_000, false));
    assert_eq!(window.push(entry(2, 20_001, false)).len(), 2);
    assert_eq!(window.entries().len(), 1);
}

#[test]
fn it_can_be_shortened_while_enough_stays() {
    let mut window = window(60, 2);
    (0..5).for_each(|seq| drop(window.push(entry(seq, 2000, seq == 1))));
    assert_eq!(window.shorten(), Some(entry(0, 2000, false)));
    assert_eq!(window.shorten(), Some(entry(1, 2000, true)));
    assert_eq!(window.shorten(), None, "three of two seconds stay");
    assert!(text(&window).contains("SEQUENCE:2\n") && text(&window).contains("DISCONTINUITY-SEQUENCE:1\n"));
    window.push(entry(5, 2000, false));
    assert_eq!(window.shorten(), Some(entry(2, 2000, false)));
    assert_eq!(Window::new(Micros::ZERO, Micros::ZERO).shorten(), None);
}

#[test]
fn players_never_see_the_target_shrink() {
    let mut window = window(4, 2);
    window.push(entry(0, 2000, true));
    assert_eq!(target(&window), "2");
    window.push(entry(1, 2001, false));
    assert_eq!(target(&window), "3", "never below a segment");
    (2..9).for_each(|seq| drop(window.push(entry(seq, 2000, false))));
    assert_eq!(target(&window), "3");
    window.push(entry(9, 2000, true));
    window.push(entry(10, 2000, false));
    assert_eq!(target(&window), "3", "segments of the old publisher are still listed");
    window.push(entry(11, 2000, false));
    assert_eq!(target(&window), "2");
}

#[test]
fn a_stream_of_an_ended_window_goes_on() {
    let mut window = window(60, 2);
    window.push(entry(0, 2000, true));
    window.end();
    window.push(entry(1, 2000, true));
    assert!(!text(&window).contains("ENDLIST"));
}

#[test]
fn keys_never_slide_out() {
    let mut window = window(3, 2);
    let key = |n: u8| Some(Key { uri: format!("{}.key", n / 2).into(), iv: [n / 2; 16] });
    for n in 0..5 {
        window.push(Entry { key: key(n), ..entry(n.into(), 2000, false) });
    }
    let tag =
        |n| format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{n}.key\",IV=0x{}\n", format!("{n:02}").repeat(16));
    let segment = |n| format!("#EXTINF:2.000, no desc\nlivestream-{n}.ts\n");
    let listed = |text: &str| text.split_once("DURATION:2\n").unwrap().1.to_owned();
    let want = [tag(1), segment(3), tag(2), segment(4)].concat();
    assert_eq!(listed(&text(&window)), want, "of two with one key, the first is gone");
    window.push(entry(5, 2000, false));
    let want = [tag(2), segment(4), "#EXT-X-KEY:METHOD=NONE\n".into(), segment(5)].concat();
    assert_eq!(listed(&text(&window)), want);
    let mut personal = String::new();
    window.playlist().unwrap().render(Queries { media: "", guarded: "x=1" }, &mut personal);
    assert_eq!(listed(&personal), want.replace("2.key", "2.key?x=1"));
}

fn part(n: u64, of: u64) -> Part {
    let uri = format!("s-{of}.{n}.m4s");
    Part { uri, duration: Micros::from_millis(500), independent: n == 0 }
}

/// A window with complete segments of 2 s in 4 parts.
fn low(segments: u64) -> Window {
    let mut window =
        Window::new(Micros::from_secs(60), Micros::from_secs(2)).with_parts(Micros::from_millis(500));
    (0..segments).for_each(|seq| complete(&mut window, seq));
    window
}

fn complete(window: &mut Window, seq: u64) {
    let date = Some(1_792_000_000_123 + 2000 * seq as i64);
    let map = Some("init.mp4".into());
    let entry = Entry { map, independent: true, date, ..entry(seq, 2000, seq == 0) };
    window.open(entry.clone(), part(0, seq).uri);
    (0..4).for_each(|n| window.push_part(part(n, seq), part(n + 1, seq).uri));
    window.push(entry);
}

#[test]
fn parts_of_low_latency() {
    let mut window = low(1);
    window.open(
        Entry { map: Some("init.mp4".into()), date: Some(0), ..entry(1, 0, false) },
        "s-1.0.m4s".into(),
    );
    assert!(text(&window).ends_with("0.ts\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"s-1.0.m4s\"\n"));
    window.push_part(part(0, 1), part(1, 1).uri);
    let want = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500,CAN-SKIP-UNTIL=12.0\n\
        #EXT-X-PART-INF:PART-TARGET=0.500\n\
        #EXT-X-MAP:URI=\"init.mp4\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-10-14T17:46:40.123Z\n\
        #EXT-X-PART:DURATION=0.500000,INDEPENDENT=YES,URI=\"s-0.0.m4s\"\n\
        #EXT-X-PART:DURATION=0.500000,URI=\"s-0.1.m4s\"\n\
        #EXT-X-PART:DURATION=0.500000,URI=\"s-0.2.m4s\"\n\
        #EXT-X-PART:DURATION=0.500000,URI=\"s-0.3.m4s\"\n\
        #EXTINF:2.000, no desc\nlivestream-0.ts\n\
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z\n\
        #EXT-X-PART:DURATION=0.500000,INDEPENDENT=YES,URI=\"s-1.0.m4s\"\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"s-1.1.m4s\"\n";
    assert_eq!(text(&window), want);
    let edge = window.edge();
    assert_eq!(edge, Edge { next: 1, parts: 1, before: 4 });
    for (segment, part, has) in [
        (0, None, true),
        (1, None, false),
        (0, Some(3), true),
        (0, Some(4), true),
        (1, Some(0), true),
        (1, Some(1), false),
        (2, Some(0), false),
    ] {
        assert_eq!(edge.has(segment, part), has, "{segment} {part:?}");
    }
    window.end();
    assert!(!text(&window).contains("HINT"), "nothing follows");
}

#[test]
fn other_qualities_are_reported() {
    let mut window = low(1);
    let report = |uri: &str, next, parts| Report { uri: uri.into(), edge: Edge { next, parts, before: 4 } };
    let reports = [
        report("a.m3u8", 7, 2),
        report("b.m3u8", 7, 0),
        report("c.m3u8?v", 0, 0),
        Report { uri: "d.m3u8".into(), edge: Edge { next: 3, ..Edge::default() } },
    ];
    window.report(reports.into());
    assert!(!text(&window).contains("REPORT"), "the live edge is not shown");
    window.open(entry(1, 0, false), "s-1.0.m4s".into());
    let mut told = String::new();
    window.playlist().unwrap().render(Queries { media: "", guarded: "x=1" }, &mut told);
    let want = "URI=\"s-1.0.m4s\"\n\
        #EXT-X-RENDITION-REPORT:URI=\"a.m3u8?x=1\",LAST-MSN=7,LAST-PART=1\n\
        #EXT-X-RENDITION-REPORT:URI=\"b.m3u8?x=1\",LAST-MSN=6,LAST-PART=3\n\
        #EXT-X-RENDITION-REPORT:URI=\"d.m3u8?x=1\",LAST-MSN=2\n";
    assert!(told.ends_with(want), "{told}");
    assert!(!window.plain().unwrap().as_str().contains("REPORT"));
}

#[test]
fn the_rate_is_of_what_is_listed() {
    let mut window = window(4, 2);
    assert_eq!(window.rate(), None);
    window.push(entry(0, 2000, true));
    assert_eq!(window.rate(), None, "nothing is known of it");
    for (seq, bytes) in [(1, 250_000), (2, 750_000), (3, 500_000), (4, 250_000)] {
        window.push(Entry { bytes, ..entry(seq, 2000, false) });
    }
    assert_eq!(window.rate(), Some(Rate { peak: 3_000_000, average: 2_000_000 }));
    window.push(Entry { bytes: 250_000, ..entry(5, 2000, false) });
    assert_eq!(window.rate(), Some(Rate { peak: 2_000_000, average: 1_333_333 }));
}

#[test]
fn deltas_and_old_parts() {
    assert_eq!(low(6).delta(), None, "12 s can be skipped at most up to there");
    let window = low(9);
    let delta = window.delta().unwrap();
    let delta = delta.as_str();
    assert!(delta.contains("SEQUENCE:0\n") && delta.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n"), "{delta}");
    assert!(
        delta.contains("-3.ts\n") && !delta.contains("-2.ts\n") && delta.contains("EXT-X-MAP"),
        "{delta}"
    );
    let text = text(&window);
    assert!(!text.contains("s-4.0") && text.contains("s-5.0"), "6 s behind the edge: {text}");
    assert_eq!(window.delta().map(|delta| delta.as_str().contains("s-5.0")), Some(true));
}

#[test]
fn init_segments_are_not_encrypted() {
    let mut window = window(60, 2);
    let key = |n: u8| Some(Key { uri: format!("{n}.key").into(), iv: [n; 16] });
    for (seq, map) in [(0, "a.mp4"), (1, "a.mp4"), (2, "b.mp4")] {
        let map = Some(map.into());
        window.push(Entry { map, key: key(1), independent: seq != 1, ..entry(seq, 2000, seq == 2) });
    }
    let text = text(&window);
    let tags: Vec<_> = text
        .lines()
        .filter(|line| {
            ["#EXT-X-MAP", "#EXT-X-KEY", "#EXT-X-DIS", "live"].iter().any(|tag| line.starts_with(tag))
        })
        .map(|line| &line[..17.min(line.len())])
        .collect();
    let want = [
        "#EXT-X-MAP:URI=\"a",
        "#EXT-X-KEY:METHOD",
        "livestream-0.ts",
        "livestream-1.ts",
        "#EXT-X-DISCONTINU",
        "#EXT-X-KEY:METHOD",
        "#EXT-X-MAP:URI=\"b",
        "#EXT-X-KEY:METHOD",
        "livestream-2.ts",
    ];
    assert_eq!(tags, want, "{text}");
    assert!(text.contains("VERSION:6\n") && !text.contains("INDEPENDENT-SEGMENTS"), "{text}");
}

proptest! {}

proptest! {
    #[test]
    fn the_window_is_the_shortest_tail_beyond_its_length(
        length in 0i64..30_000,
        durations in prop::collection::vec((100i64..12_000, any::<bool>()), 1..60),
    ) {
        let mut window = Window::new(Micros::from_millis(length), Micros::from_secs(2));
        let mut listed = Vec::new();
        let mut gone = Vec::new();
        for (seq, (ms, discontinuity)) in durations.into_iter().enumerate() {
            listed.push(entry(seq as u64, ms, discontinuity && seq > 0));
            gone.extend(window.push(entry(seq as u64, ms, discontinuity)));
            let mut sum = 0;
            let oldest = listed.iter().rposition(|e| {
                sum += e.duration.millis();
                sum > length
            });
            let (before, kept) = listed.split_at(oldest.unwrap_or(0));
            prop_assert_eq!(before, &gone);
            prop_assert!(window.entries().eq(kept));
            let text = text(&window);
            prop_assert_eq!(text.matches("\n#EXTINF:").count(), kept.len());
            let removed = before.iter().filter(|e| e.discontinuity).count();
            let tag = format!("#EXT-X-DISCONTINUITY-SEQUENCE:{removed}\n");
            prop_assert_eq!(text.contains(&tag), removed > 0);
            let target: i64 = target(&window).parse().unwrap();
            prop_assert!(kept.iter().all(|e| e.duration <= Micros::from_secs(target)));
        }
    }
}
