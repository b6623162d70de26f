//! The results as Markdown: one line per row of the plan, medians over its runs, ratios to the floor.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::driver::Run;
use crate::plan::{Cores, Load, Row, Server, Storage};
use crate::stats::HlsReport;

/// Runs by the name of their row.
pub type Runs = BTreeMap<String, Vec<Run>>;

const HEAD: &str = "\
| server | load | CPU, cores | user + system | × floor 33 | × floor 350 | × HLS off | core 0 busy | generator | p50 ms | p99 ms | gap ms | kbit/s min / median | RSS MiB | PSS MiB | lost | faults | runs |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

const RTC_HEAD: &str = "\
| load | CPU, cores | user + system | µs per packet | packets/s | core 0 busy | generator | p50 ms | p99 ms | gap ms | kbit/s min / median | RSS MiB | PSS MiB | packets lost | lost | runs |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

/// The table of all `rows` about WebRTC that have runs, in their order; empty when there are none.
pub fn render_rtc(rows: &[Row], runs: &Runs) -> String {
    let found = |row: &Row| runs.get(&row.to_string()).filter(|found| !found.is_empty());
    let lines = rows.iter().filter(|row| row.load.rtc().is_some());
    let lines: String = lines.filter_map(|row| Some(rtc_line(row, found(row)?))).collect();
    if lines.is_empty() { lines } else { format!("{RTC_HEAD}{lines}") }
}

/// Packets per second that the row is about: those to players, or those of publishers, of whose streams the players
/// get every packet.
fn packet_rate(row: &Row, run: &Run) -> f64 {
    let rate = run.play.rtp.unwrap_or_default().packets as f64 / run.play.seconds;
    match row.load {
        Load::RtcPublish(count) => rate / run.play.live as f64 * count as f64,
        _ => rate,
    }
}

fn rtc_line(row: &Row, found: &[Run]) -> String {
    let of = |field: &dyn Fn(&Run) -> f64| Run::median(found, field);
    let both = if row.cores == Cores::Both { " (2 cores)" } else { "" };
    let mut out = format!("| {}{both} | {:.3} ", row.load, of(&|run| run.cpu));
    let mut add = |cell: String| write!(out, "| {cell} ").unwrap_or_default();
    add(format!("{:.3} + {:.3}", of(&|run| run.user), of(&|run| run.system)));
    add(format!("{:.2}", of(&|run| run.cpu * 1e6 / packet_rate(row, run))));
    add(format!("{:.0}", of(&|run| packet_rate(row, run))));
    add(format!("{:.2}", of(&|run| run.core)));
    add(format!("{:.2}", of(&|run| run.generator)));
    add(format!("{:.2}", of(&|run| run.play.latency_ms.p50)));
    add(format!("{:.2}", of(&|run| run.play.latency_ms.p99)));
    add(format!("{:.0}", of(&|run| run.play.gap_ms)));
    add(format!("{:.0} / {:.0}", of(&|run| run.play.kbps.min), of(&|run| run.play.kbps.median)));
    add(format!("{:.1}", of(&|run| run.rss)));
    add(format!("{:.1}", of(&|run| run.pss)));
    let missing = |run: &Run| run.play.rtp.unwrap_or_default().lost;
    add(found.iter().map(missing).max().unwrap_or_default().to_string());
    add(found.iter().map(Run::lost).max().unwrap_or_default().to_string());
    add(found.len().to_string());
    out + "|\n"
}

/// The table of all other `rows` that have runs, in their order.
pub fn render(rows: &[Row], runs: &Runs) -> String {
    let mut out = HEAD.to_owned();
    for row in rows.iter().filter(|row| row.load.rtc().is_none()) {
        if let Some(found) = runs.get(&row.to_string()).filter(|found| !found.is_empty()) {
            out += &line(row, found, runs);
        }
    }
    out
}

fn line(row: &Row, found: &[Run], runs: &Runs) -> String {
    let of = |field: fn(&Run) -> f64| Run::median(found, field);
    let cpu = of(|run| run.cpu);
    let both = if row.cores == Cores::Both { " (2 cores)" } else { "" };
    let mut out = format!("| {}{both} | {} | {cpu:.3} ", title(row.server), row.load);
    let mut add = |cell: String| write!(out, "| {cell} ").unwrap_or_default();
    add(format!("{:.3} + {:.3}", of(|run| run.user), of(|run| run.system)));
    add(floors(cpu, 33, row, runs));
    add(floors(cpu, 350, row, runs));
    add(hls_off(cpu, row, runs));
    add(format!("{:.2}", of(|run| run.core)));
    add(format!("{:.2}", of(|run| run.generator)));
    if let Load::Poll(_) | Load::Fetch(_) | Load::Low(_) = row.load {
        let of = |field: fn(&HlsReport) -> f64| Run::median(found, |run| run.hls.as_ref().map_or(0.0, field));
        add(format!("{:.1}", of(|hls| hls.poll_ms.p50)));
        add(format!("{:.1}", of(|hls| hls.poll_ms.p99)));
        add(String::new());
        add(format!("{:.0} / {:.0}", of(|hls| hls.kbps.min), of(|hls| hls.kbps.median)));
    } else {
        add(format!("{:.1}", of(|run| run.play.latency_ms.p50)));
        add(format!("{:.1}", of(|run| run.play.latency_ms.p99)));
        add(format!("{:.0}", of(|run| run.play.gap_ms)));
        add(format!("{:.0} / {:.0}", of(|run| run.play.kbps.min), of(|run| run.play.kbps.median)));
    }
    add(format!("{:.1}", of(|run| run.rss)));
    add(format!("{:.1}", of(|run| run.pss)));
    add(found.iter().map(Run::lost).max().unwrap_or_default().to_string());
    add(found.iter().map(Run::faults).max().unwrap_or_default().to_string());
    add(found.len().to_string());
    out + "|\n"
}

fn title(server: Server) -> String {
    match server {
        Server::Oxcast(None) => "oxcast, adaptive".to_owned(),
        Server::Oxcast(Some(latency)) => format!("oxcast, mw_latency {latency}"),
        Server::Nginx => "nginx-rtmp".to_owned(),
        Server::Floor(interval) => format!("floor {interval}"),
    }
}

/// `cpu` in multiples of what the floor with `interval` costs for as many players.
fn floors(cpu: f64, interval: u32, row: &Row, runs: &Runs) -> String {
    let (Load::Rtmp(players) | Load::Flv(players) | Load::Ts(players) | Load::Raw(players)) = row.load else {
        return String::new();
    };
    ratio(cpu, Row { server: Server::Floor(interval), load: Load::Raw(players), cores: Cores::One }, runs)
}

/// `cpu` in multiples of what the same server spends on the same publishers without HLS.
fn hls_off(cpu: f64, row: &Row, runs: &Runs) -> String {
    let Load::Segment(studio, _) = row.load else { return String::new() };
    ratio(cpu, Row { load: Load::Segment(studio, Storage::Off), ..*row }, runs)
}

/// `cpu` in multiples of that of the row `base`; empty when it has no runs.
fn ratio(cpu: f64, base: Row, runs: &Runs) -> String {
    let base = runs.get(&base.to_string()).map(|found| Run::median(found, |run| run.cpu));
    base.filter(|&base| base > 0.0).map_or_else(String::new, |base| format!("{:.2}", cpu / base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Studio, rows};
    use crate::stats::{Latency, PlayReport, RtpReport};

    const STUDIO: Studio = Studio { publishers: 500, publisher_kbps: 500 };

    fn run(cpu: f64) -> Run {
        let play = PlayReport { players: 100, live: 99, disconnects: 2, ..PlayReport::default() };
        Run { cpu, user: 0.0, system: cpu, core: cpu, generator: 0.1, rss: 5.0, pss: 4.0, play, hls: None }
    }

    /// The cells of the first line that starts with `start`.
    fn cells(runs: &Runs, start: &str) -> Vec<String> {
        let table = render(&rows(STUDIO), runs);
        let line = table.lines().find(|line| line.starts_with(start)).unwrap();
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        assert_eq!(cells.len(), HEAD.lines().next().unwrap().split('|').count());
        cells
    }

    #[test]
    fn a_line_holds_medians_and_ratios() {
        let mut runs = Runs::new();
        runs.insert("nginx-rtmp-100".into(), vec![run(0.3), run(0.9), run(0.2)]);
        runs.insert("floor-33-raw-100".into(), vec![run(0.15)]);
        let cells = cells(&runs, "| nginx-rtmp");
        assert_eq!(cells[2..8], ["rtmp-100", "0.300", "0.000 + 0.300", "2.00", "", ""]);
        assert_eq!(cells[16..19], ["3", "0", "3"]);
    }

    #[test]
    fn packets_are_priced() {
        let rtp = Some(RtpReport { packets: 40_000, lost: 3, late: 0 });
        let play = PlayReport { players: 10, live: 10, seconds: 2.0, rtp, ..PlayReport::default() };
        let mut runs = Runs::new();
        runs.insert("oxcast-adaptive-rtc-publish-200".into(), vec![Run { play: play.clone(), ..run(0.2) }]);
        runs.insert("oxcast-adaptive-rtc-play-100-from-rtc".into(), vec![Run { play, ..run(0.2) }]);
        let table = render_rtc(&rows(STUDIO), &runs);
        let heads: Vec<_> = table.lines().map(|line| line.split('|').count()).collect();
        assert_eq!(heads, [18; 4]);
        assert!(
            table.contains("| rtc-play-100-from-rtc | 0.200 | 0.000 + 0.200 | 10.00 | 20000 |"),
            "{table}"
        );
        assert!(table.contains("| rtc-publish-200 | 0.200 | 0.000 + 0.200 | 0.50 | 400000 |"), "{table}");
        assert!(!render(&rows(STUDIO), &runs).contains("rtc"));
    }

    #[test]
    fn segmenting_is_compared_with_the_same_server_without() {
        let mut runs = Runs::new();
        runs.insert("nginx-hls-off-500x500".into(), vec![run(0.1)]);
        runs.insert("oxcast-adaptive-hls-off-500x500".into(), vec![run(0.2)]);
        runs.insert("oxcast-adaptive-hls-ram-500x500".into(), vec![run(0.28)]);
        assert_eq!(cells(&runs, "| oxcast, adaptive | hls-ram-500x500")[5..8], ["", "", "1.40"]);
    }

    #[test]
    fn hls_players_show_the_time_of_their_answers() {
        let mut runs = Runs::new();
        let faults = [("a playlist answers 500".to_owned(), 4)].into();
        let poll_ms = Latency { p50: 0.4, p99: 1.2, ..Latency::default() };
        let hls = HlsReport { players: 9, live: 8, poll_ms, faults, ..HlsReport::default() };
        let polled = Run { play: PlayReport::default(), hls: Some(hls), ..run(0.1) };
        assert_eq!(polled.complaints(), "4 × a playlist answers 500");
        runs.insert("oxcast-adaptive-hls-poll-1000".into(), vec![polled]);
        let cells = cells(&runs, "| oxcast");
        assert_eq!(cells[10..13], ["0.4", "1.2", ""]);
        assert_eq!(cells[16..18], ["1", "4"]);
    }
}
