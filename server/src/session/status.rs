//! Status lines: now and then, the log tells how one client of each kind is doing. SRS's operators grep for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::roll::Client;
use super::{Cid, Kind, Roll};
use crate::log;

/// What the lines of a kind begin with, in SRS's words.
fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::FmlePublish | Kind::FlashPublish | Kind::HaivisionPublish => "<- CPB",
        Kind::RtmpPlay => "-> PLA",
        Kind::FlvPlay => "-> HTS",
        Kind::HlsPlay => "-> HLS",
        Kind::RtcPlay => "-> RTC",
        Kind::RtcPublish => "<- RTC",
    }
}

/// Logs a line for one client of each kind `every` so often, each time for the next one. Runs for ever.
pub async fn tell(roll: Arc<Roll>, every: impl Fn() -> Duration) {
    let mut before = (Instant::now(), HashMap::new());
    for turn in 0usize.. {
        tokio::time::sleep(every().max(Duration::from_millis(100))).await;
        let clients = roll.clients();
        let now = Instant::now();
        let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for client in &clients {
            kinds.entry(mark(client.kind)).or_default().push(client);
        }
        for (mark, kind) in kinds {
            let client = kind[turn % kind.len()];
            let line = line(mark, client, before.1.get(&client.session.cid), now - before.0);
            log::span(client.session.cid).in_scope(|| info!("{line}"));
        }
        before = (now, clients.iter().map(|c| (c.session.cid, c.bytes())).collect::<HashMap<Cid, _>>());
    }
}

/// The rates are those since the last line, of the last 30 s, and since the client came.
fn line(mark: &str, client: &Client, before: Option<&(u64, u64)>, passed: Duration) -> String {
    let (received, sent) = client.bytes();
    let alive = client.since.elapsed();
    let kbps =
        |bytes: u64, time: Duration| (bytes as f64 * 8.0 / 1000.0 / time.as_secs_f64().max(0.001)) as u64;
    let (was_received, was_sent) = before.copied().unwrap_or_default();
    let since = if before.is_some() { passed } else { alive };
    let window = client.kbps();
    format!(
        "{mark} time={}, okbps={},{},{}, ikbps={},{},{}, skipped={}",
        alive.as_millis(),
        kbps(sent - was_sent, since),
        window.sent,
        kbps(sent, alive),
        kbps(received - was_received, since),
        window.received,
        kbps(received, alive),
        client.session.counters.skipped(),
    )
}
