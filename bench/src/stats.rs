//! What the generator reports, as JSON lines that the driver reads back, and the arithmetic behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A line on the generator's standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line {
    /// All connections stand and have settled: the measured seconds begin.
    Ready,
    /// What players saw in the measured seconds.
    Play(PlayReport),
    /// What HLS players saw in the measured seconds.
    Hls(HlsReport),
    /// What publishers did until they stopped.
    Publish(PublishReport),
}

/// What players saw in the measured seconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PlayReport {
    /// Players asked for.
    pub players: usize,
    /// Players that received media by the end of the opening time.
    pub live: usize,
    /// Players that were live and lost their connection.
    pub disconnects: usize,
    /// Reasons of failures and how often each occurred.
    pub errors: BTreeMap<String, usize>,
    /// Length of the measured time in seconds.
    pub seconds: f64,
    /// Bytes received by all players in that time.
    pub bytes: u64,
    /// Rate per player in kbit/s: the lowest shows starvation.
    pub kbps: Spread,
    /// Players that were parsed; the following fields speak of them alone.
    pub sampled: usize,
    /// Messages or tags received by all sampled players.
    pub messages: u64,
    /// Video frames per sampled player.
    pub frames: Spread,
    /// From the publisher's stamp to our reading it, in milliseconds.
    pub latency_ms: Latency,
    /// The longest time between two video frames of one player, in milliseconds.
    pub gap_ms: f64,
    /// Video frames whose timestamp was lower than the one before.
    pub backward: u64,
    /// MPEG-TS packets, from players of that alone.
    #[serde(default)]
    pub ts_packets: u64,
    /// MPEG-TS packets whose continuity counter did not follow the one before.
    #[serde(default)]
    pub ts_gaps: u64,
    /// What WebRTC players counted; nothing of others.
    #[serde(default)]
    pub rtp: Option<RtpReport>,
    /// The longest time the generator itself was busy without looking at its sockets, in milliseconds.
    pub stall_ms: f64,
    /// CPU the generator used in the measured time, in cores.
    pub cpu: f64,
}

/// What the RTP headers told all WebRTC players in the measured seconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct RtpReport {
    /// Packets received.
    pub packets: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// Packets that came after one with a higher number.
    pub late: u64,
}

/// What HLS players saw in the measured seconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HlsReport {
    /// Players asked for.
    pub players: usize,
    /// Players that have a playlist with segments.
    pub live: usize,
    /// What was wrong since the start, and how often each occurred.
    pub faults: BTreeMap<String, u64>,
    /// Length of the measured time in seconds.
    pub seconds: f64,
    /// Playlists received in that time, each of them checked.
    pub polls: u64,
    /// Segments received in that time.
    pub segments: u64,
    /// Segments that were looked into since the start.
    pub checked: u64,
    /// Bytes received by all players in that time.
    pub bytes: u64,
    /// Rate per player in kbit/s.
    pub kbps: Spread,
    /// Connections opened in that time; none when the server keeps them alive.
    pub connections: u64,
    /// Polls put off because an answer was still under way.
    pub late: u64,
    /// From the request of a playlist to the end of its answer, in milliseconds.
    pub poll_ms: Latency,
    /// The same of segments.
    pub segment_ms: Latency,
    /// How many segments a player's playlist went on by in the measured time.
    pub advance: Spread,
    /// The longest time the generator itself was busy without looking at its sockets, in milliseconds.
    pub stall_ms: f64,
    /// CPU the generator used in the measured time, in cores.
    pub cpu: f64,
}

/// What publishers did until they stopped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PublishReport {
    /// Publishers asked for.
    pub publishers: usize,
    /// Publishers that were accepted.
    pub live: usize,
    /// Reasons of failures and how often each occurred.
    pub errors: BTreeMap<String, usize>,
    /// Seconds since the start.
    pub seconds: f64,
    /// Bytes of media sent.
    pub bytes: u64,
    /// Video frames sent.
    pub frames: u64,
    /// How late the latest message was sent because the generator was busy, in milliseconds.
    pub late_ms: f64,
    /// CPU the generator used since the start, in cores.
    pub cpu: f64,
}

/// The lowest, middle and highest of some figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; all zero when there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self {
            min: values.first().copied().unwrap_or_default(),
            median: percentile(&values, 50.0),
            max: values.last().copied().unwrap_or_default(),
        }
    }
}

/// Percentiles of latency in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of all frames arrived within this time.
    pub p50: f64,
    /// 90 of 100 frames.
    pub p90: f64,
    /// 99 of 100 frames.
    pub p99: f64,
    /// The slowest frame.
    pub max: f64,
}

impl Latency {
    /// The percentiles of `values` in milliseconds; all zero when there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |percent| percentile(&values, percent);
        Self { p50: at(50.0), p90: at(90.0), p99: at(99.0), max: at(100.0) }
    }
}

/// The smallest of the sorted `values` that is not below `percent` of them (nearest rank); zero when there are none.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or_default()
}

/// The middle of `values`, the mean of the two middle ones when their number is even; zero when there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<_> = (1..=200).map(f64::from).collect();
        assert_eq!(Latency::of(values.clone()), Latency { p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 });
        assert_eq!(percentile(&values, 0.0), 1.0);
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    #[test]
    fn medians_do_not_need_order() {
        assert_eq!(median(vec![9.0, 1.0, 4.0]), 4.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
    }

    #[test]
    fn a_report_survives_its_line() {
        let report = PlayReport { players: 7, gap_ms: 1.5, ..PlayReport::default() };
        let line = serde_json::to_string(&Line::Play(report)).unwrap();
        let Line::Play(read) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert_eq!((read.players, read.gap_ms), (7, 1.5));
    }
}
