//! Keeps a program running: starts it, watches it, starts it again when it ends, ever later if it fails at once, and ends it. Commands that run
//! once are run here, too.

use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hub::StreamKey;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::child::Child;
use super::plan::Plan;
use super::{Desk, Mode};
use crate::log;

/// How a program is doing.
pub(super) struct Status {
    pub(super) plan: Plan,
    /// Starts after the first.
    pub(super) restarts: AtomicU64,
    pub(super) state: Mutex<State>,
}

/// What a program does at this moment.
pub(super) struct State {
    /// Its process, if it runs.
    pub(super) pid: Option<u32>,
    /// Since when.
    pub(super) since: Instant,
    /// Why it ended the last time.
    pub(super) reason: String,
    /// The stream that it is to publish, and who is told that it does not any more.
    publishes: Option<(StreamKey, Arc<Notify>)>,
}

impl Status {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        let state = State { pid: None, since: Instant::now(), reason: String::new(), publishes: None };
        Arc::new(Self { plan, restarts: AtomicU64::new(0), state: Mutex::new(state) })
    }

    /// The publisher of a stream has left. If that was this program, it should end soon by itself.
    pub(super) fn lose(&self, key: &StreamKey) {
        if let Some((_, lost)) = self.state.lock().publishes.as_ref().filter(|(of, _)| of == key) {
            lost.notify_one();
        }
    }

    fn set(&self, pid: Option<u32>, reason: Option<&str>) {
        let mut state = self.state.lock();
        (state.pid, state.since) = (pid, Instant::now());
        if let Some(reason) = reason {
            reason.clone_into(&mut state.reason);
        }
    }
}

/// How long to wait before a program is started again.
struct Patience(Duration);

impl Patience {
    /// As long as SRS always waits.
    const LEAST: Duration = Duration::from_secs(3);
    const MOST: Duration = Duration::from_secs(60);
    /// Who has run for so long has not failed at once.
    const WELL: Duration = Duration::from_secs(30);

    fn after(&mut self, ran: Duration, success: bool) -> Duration {
        if success || ran >= Self::WELL {
            self.0 = Self::LEAST;
        }
        let wait = self.0;
        if !success {
            self.0 = (wait * 2).min(Self::MOST);
        }
        wait
    }
}

/// A program whose stream has ended has so long to end as well.
const HANGS: Duration = Duration::from_secs(5);

/// Keeps a program running until `stop` says so, or is dropped.
pub(super) async fn keep(desk: Arc<Desk>, status: Arc<Status>, stop: watch::Receiver<bool>) {
    let turn = desk.turn(&status.plan);
    let mut ending = Ending { stop, mode: desk.mode.subscribe() };
    // The one before it may still be about to end.
    let _turn = tokio::select! {
        turn = turn.lock_owned() => turn,
        () = ending.asked() => return,
    };
    let mut patience = Patience(Patience::LEAST);
    loop {
        let begin = Instant::now();
        let (success, reason) = match run(&desk, &status, &mut ending).await {
            Ok(Some(end)) => end,
            Ok(None) => return,
            Err(reason) => (false, reason),
        };
        let (kind, name) = (status.plan.kind.name(), &status.plan.name);
        status.set(None, Some(&reason));
        if *desk.mode.borrow() != Mode::Serving {
            return info!("{kind} {name}: {reason}");
        }
        let wait = patience.after(begin.elapsed(), success);
        let ran = begin.elapsed();
        match success {
            true => info!("{kind} {name}: {reason}, after {ran:.1?}; again in {wait:?}"),
            false => {
                desk.figures.failed(status.plan.kind);
                warn!("{kind} {name}: {reason}, after {ran:.1?}; again in {wait:?}");
            }
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = ending.asked() => return,
        }
        status.restarts.fetch_add(1, Relaxed);
    }
}

/// Runs a command once, unless the server ends.
pub(super) async fn run_once(desk: Arc<Desk>, plan: Plan) {
    // Nobody stops it but the end of the server.
    let (_stop, stop) = watch::channel(false);
    let mut ending = Ending { stop, mode: desk.mode.subscribe() };
    let status = Status::new(plan);
    let (kind, name) = (status.plan.kind.name(), &status.plan.name);
    let failed = |reason: String| {
        desk.figures.failed(status.plan.kind);
        warn!("{kind} {name}: {reason}");
    };
    match run(&desk, &status, &mut ending).await {
        Ok(Some((true, _)) | None) => {}
        Ok(Some((false, reason))) | Err(reason) => failed(reason),
    }
}

/// Who may ask for an end.
struct Ending {
    stop: watch::Receiver<bool>,
    mode: watch::Receiver<Mode>,
}

impl Ending {
    async fn asked(&mut self) {
        // Whoever drops the other end means the same.
        tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => {}
            _ = self.mode.wait_for(|mode| *mode == Mode::Ending) => {}
        }
    }
}

/// One run: whether it went well, and how it ended; none if it was ended from here.
async fn run(desk: &Desk, status: &Status, ending: &mut Ending) -> Result<Option<(bool, String)>, String> {
    let (kind, name) = (status.plan.kind, &status.plan.name);
    let prepared = status.plan.prepare(desk)?;
    let limit = desk.config.load().task_log.max_size;
    let journal = desk.journals.open(prepared.log.clone(), limit);
    let command = log::masked(&prepared.invocation.words.join(" ")).into_owned();
    journal.note(format!("== {}: {command}", jiff::Zoned::now().strftime("%F %T")));
    let last = journal.last();
    let child = Child::start(&prepared.invocation, journal).map_err(|e| e.to_string())?;
    desk.figures.started(kind);
    status.set(Some(child.pid()), None);
    let log = prepared.log.as_ref().map(|log| format!(", log={}", log.display())).unwrap_or_default();
    info!("{} {name}: started, pid={}{log}: {command}", kind.name(), child.pid());
    let lost = Arc::<Notify>::default();
    status.state.lock().publishes = prepared.publishes.clone().map(|key| (key, lost.clone()));
    // A camera that says nothing has its stream end for silence, while ffmpeg goes on waiting.
    let hangs = async {
        lost.notified().await;
        sleep(HANGS).await;
    };
    let why = tokio::select! {
        biased;
        () = ending.asked() => Why::Asked,
        () = child.ended() => Why::Itself,
        () = hangs => Why::Hangs,
    };
    let pid = child.pid();
    let ended = child.end().await;
    Ok(match why {
        Why::Asked => {
            info!("{} {name}: ended, pid={pid}", kind.name());
            None
        }
        Why::Itself => Some(end(ended, &last.lock())),
        Why::Hangs => Some((false, "its stream has ended, and it did not: its input hangs".into())),
    })
}

/// Why a run ends.
enum Why {
    Asked,
    Itself,
    Hangs,
}

/// In words for the log.
fn end(status: Option<ExitStatus>, last: &str) -> (bool, String) {
    let success = status.is_some_and(|status| status.success());
    let how = match status {
        Some(status) if success => format!("ended ({status})"),
        Some(status) => format!("failed ({status})"),
        None => "is gone".into(),
    };
    // What went well has nothing to explain.
    let reason = if last.is_empty() || success { how } else { format!("{how}: {last}") };
    (success, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_at_once_is_started_ever_later() {
        let seconds = Duration::from_secs;
        let mut patience = Patience(Patience::LEAST);
        let waits: Vec<_> = (0..7).map(|_| patience.after(seconds(1), false).as_secs()).collect();
        assert_eq!(waits, [3, 6, 12, 24, 48, 60, 60]);
        assert_eq!(patience.after(seconds(40), false), seconds(3), "it ran well");
        assert_eq!(patience.after(seconds(1), false), seconds(6));
        assert_eq!(patience.after(seconds(0), true), seconds(3), "it did what it was to do");
        assert_eq!(patience.after(seconds(0), true), seconds(3));
    }
}
