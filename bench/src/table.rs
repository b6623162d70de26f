//! The results as Markdown: one line per row of the plan, medians over its runs, ratios to the floor.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::driver::Run;
use crate::plan::{Cores, Load, Row, Server, rows};

/// Runs by the name of their row.
pub type Runs = BTreeMap<String, Vec<Run>>;

const HEAD: &str = "\
| server | load | CPU, cores | user + system | × floor 33 | × floor 350 | core 0 busy | generator | p50 ms | p99 ms | gap ms | kbit/s min / median | RSS MiB | PSS MiB | lost | runs |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

/// The table of all rows that have runs, in the order of the plan.
pub fn render(runs: &Runs) -> String {
    let mut out = HEAD.to_owned();
    for row in rows() {
        if let Some(found) = runs.get(&row.to_string()).filter(|found| !found.is_empty()) {
            out += &line(&row, found, runs);
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
    add(ratio(cpu, 33, row, runs));
    add(ratio(cpu, 350, row, runs));
    add(format!("{:.2}", of(|run| run.core)));
    add(format!("{:.2}", of(|run| run.generator)));
    add(format!("{:.1}", of(|run| run.play.latency_ms.p50)));
    add(format!("{:.1}", of(|run| run.play.latency_ms.p99)));
    add(format!("{:.0}", of(|run| run.play.gap_ms)));
    add(format!("{:.0} / {:.0}", of(|run| run.play.kbps.min), of(|run| run.play.kbps.median)));
    add(format!("{:.1}", of(|run| run.rss)));
    add(format!("{:.1}", of(|run| run.pss)));
    let lost = |run: &Run| run.play.players - run.play.live + run.play.disconnects;
    add(found.iter().map(lost).max().unwrap_or_default().to_string());
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
fn ratio(cpu: f64, interval: u32, row: &Row, runs: &Runs) -> String {
    let (Load::Rtmp(players) | Load::Flv(players) | Load::Raw(players)) = row.load else {
        return String::new();
    };
    let floor = Row { server: Server::Floor(interval), load: Load::Raw(players), cores: Cores::One };
    let floor = runs.get(&floor.to_string()).map(|found| Run::median(found, |run| run.cpu));
    floor.filter(|&floor| floor > 0.0).map_or_else(String::new, |floor| format!("{:.2}", cpu / floor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::PlayReport;

    fn run(cpu: f64) -> Run {
        let play = PlayReport { players: 100, live: 99, disconnects: 2, ..PlayReport::default() };
        Run { cpu, user: 0.0, system: cpu, core: cpu, generator: 0.1, rss: 5.0, pss: 4.0, play }
    }

    #[test]
    fn a_line_holds_medians_and_ratios() {
        let mut runs = Runs::new();
        runs.insert("nginx-rtmp-100".into(), vec![run(0.3), run(0.9), run(0.2)]);
        runs.insert("floor-33-raw-100".into(), vec![run(0.15)]);
        let table = render(&runs);
        let nginx = table.lines().find(|line| line.starts_with("| nginx-rtmp")).unwrap();
        let cells: Vec<_> = nginx.split('|').map(str::trim).collect();
        assert_eq!(cells[2..7], ["rtmp-100", "0.300", "0.000 + 0.300", "2.00", ""]);
        assert_eq!(cells[15..17], ["3", "3"]);
        assert_eq!(cells.len(), HEAD.lines().next().unwrap().split('|').count());
    }
}
