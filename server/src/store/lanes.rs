//! What waits, in order: the steps of one stream and output one after the other, those of different ones side by side. Here is decided what
//! is not worth doing any more; nothing is done here.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::job::{Job, Lane, What};

/// A step that waits in a spool.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// The folder of the spool.
    pub(super) spool: Arc<Path>,
    pub(super) number: u64,
    pub(super) job: Job,
}

/// See the module.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: HashMap<Lane, Queue>,
    jobs: usize,
    bytes: u64,
}

struct Queue {
    /// The first one is under way if `is_busy`.
    waiting: VecDeque<Waiting>,
    is_busy: bool,
    /// How often the first one has failed.
    attempts: u32,
    /// Not to be tried before.
    due: Instant,
}

/// The first wait after a failure; each next one is twice as long.
const BACK_OFF: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

impl Lanes {
    /// How many steps wait.
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    /// How many bytes wait in spools.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a step. Returns those that are not worth doing any more, perhaps the new one itself.
    pub(super) fn push(&mut self, new: Waiting, now: Instant) -> Vec<Waiting> {
        let queue = self.lanes.entry(new.job.lane.clone()).or_insert_with(|| Queue {
            waiting: VecDeque::new(),
            is_busy: false,
            attempts: 0,
            due: now,
        });
        let first = usize::from(queue.is_busy);
        let mut out = match new.job.what {
            What::List => queue.relist(&new, first),
            What::Remove => queue.cancel(&new, first),
            _ => Vec::new(),
        };
        // A playlist that waits has been uploaded before, maybe.
        let is_its = |old: &Waiting| old.job.what != What::List && old.job.name == new.job.name;
        let is_cancelled = new.job.what == What::Remove && out.iter().any(is_its);
        self.jobs -= out.len();
        self.bytes -= out.iter().map(|old| old.job.bytes).sum::<u64>();
        if is_cancelled {
            out.push(new);
        } else {
            self.jobs += 1;
            self.bytes += new.job.bytes;
            queue.waiting.push_back(new);
        }
        out
    }

    /// The next step that can be done, which is under way from now on. `is_ready` says whether a step can be.
    pub(super) fn next(&mut self, now: Instant, is_ready: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        let mut free = self.lanes.values_mut().filter(|queue| !queue.is_busy && queue.due <= now);
        let queue = free.find(|queue| queue.waiting.front().is_some_and(&is_ready))?;
        queue.is_busy = true;
        queue.waiting.front().cloned()
    }

    /// When the next step that has failed is to be tried again.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let waits = |queue: &&Queue| !queue.is_busy && !queue.waiting.is_empty() && queue.due > now;
        self.lanes.values().filter(waits).map(|queue| queue.due).min()
    }

    /// The step that was under way in this lane is done with.
    pub(super) fn done(&mut self, lane: &Lane, now: Instant) {
        let Some(queue) = self.lanes.get_mut(lane) else { return };
        (queue.is_busy, queue.attempts, queue.due) = (false, 0, now);
        if let Some(done) = queue.waiting.pop_front() {
            self.jobs -= 1;
            self.bytes -= done.job.bytes;
        }
        if queue.waiting.is_empty() {
            self.lanes.remove(lane);
        }
    }

    /// The step that was under way in this lane is to be tried again, later. Returns how often it has failed.
    pub(super) fn failed(&mut self, lane: &Lane, now: Instant) -> u32 {
        let Some(queue) = self.lanes.get_mut(lane) else { return 0 };
        queue.is_busy = false;
        let wait = (BACK_OFF * 2_u32.saturating_pow(queue.attempts.min(16))).min(LONGEST);
        // Not all at once.
        queue.due = now + wait.mul_f64(fastrand::f64().mul_add(0.4, 0.8));
        queue.attempts += 1;
        queue.attempts
    }

    /// The storage of these vhosts answers again: what has failed is tried at once.
    pub(super) fn retry(&mut self, now: Instant, is_of: impl Fn(&str) -> bool) {
        self.lanes.iter_mut().filter(|(lane, _)| is_of(&lane.vhost)).for_each(|(_, queue)| queue.due = now);
    }

    /// Gives up the oldest upload whose bytes lie in the spool, and does not list it: `None` if there is none.
    pub(super) fn give_up(&mut self, spool: &Path) -> Option<Vec<Waiting>> {
        let oldest = self.lanes.iter().flat_map(|(lane, queue)| {
            let waiting = queue.waiting.iter().enumerate().skip(usize::from(queue.is_busy));
            waiting
                .filter(|(_, w)| w.job.what == What::Upload && w.job.bytes > 0 && &*w.spool == spool)
                .map(move |(at, waiting)| (waiting.number, at, lane))
        });
        let (_, at, lane) = oldest.min_by_key(|(number, ..)| *number)?;
        let lane = lane.clone();
        let queue = self.lanes.get_mut(&lane)?;
        let mut out: Vec<_> = queue.waiting.remove(at).into_iter().collect();
        // Playlists before the newest may list it.
        out.extend(queue.drop_lists(usize::from(queue.is_busy), 1));
        self.jobs -= out.len();
        self.bytes -= out.iter().map(|old| old.job.bytes).sum::<u64>();
        Some(out)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Queue {
    /// Of the playlists that wait, the oldest is kept, so that players see progress, and the newest.
    fn relist(&mut self, new: &Waiting, first: usize) -> Vec<Waiting> {
        let same = |old: &Waiting| old.job.what == What::List && old.job.name == new.job.name;
        let mut places: Vec<_> = self
            .waiting
            .iter()
            .enumerate()
            .skip(first)
            .filter(|(_, old)| same(old))
            .map(|(at, _)| at)
            .collect();
        let newest = if places.len() > 1 { places.pop() } else { None };
        newest.and_then(|at| self.waiting.remove(at)).into_iter().collect()
    }

    /// What is deleted need not be uploaded any more.
    fn cancel(&mut self, new: &Waiting, first: usize) -> Vec<Waiting> {
        let same = |old: &Waiting| {
            matches!(old.job.what, What::Upload | What::List | What::Leave) && old.job.name == new.job.name
        };
        let mut out = Vec::new();
        let mut at = first;
        while let Some(old) = self.waiting.get(at) {
            match same(old) {
                true => out.extend(self.waiting.remove(at)),
                false => at += 1,
            }
        }
        if out.iter().any(|old| old.job.what == What::Upload) {
            out.extend(self.drop_lists(first, 1));
        }
        out
    }

    /// Drops all playlists that wait but the newest `kept`.
    fn drop_lists(&mut self, first: usize, kept: usize) -> Vec<Waiting> {
        let mut newest: HashMap<String, usize> = HashMap::new();
        let mut out = Vec::new();
        for at in (first..self.waiting.len()).rev() {
            let Some(old) = self.waiting.get(at).filter(|old| old.job.what == What::List) else { continue };
            let seen = newest.entry(old.job.name.clone()).or_default();
            *seen += 1;
            if *seen > kept {
                out.extend(self.waiting.remove(at));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::Output;
    use super::*;

    struct Bench {
        lanes: Lanes,
        number: u64,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { lanes: Lanes::default(), number: 0, now: Instant::now() }
        }

        fn push_to(&mut self, stream: &str, what: What, name: &str) -> Vec<String> {
            self.number += 1;
            let lane =
                Lane { vhost: "v".into(), app: "live".into(), stream: stream.into(), output: Output::Hls };
            let bytes = if matches!(what, What::Upload | What::List) { 10 } else { 0 };
            let job = Job { lane, name: name.into(), what, local: None, bytes, at: 0 };
            let waiting = Waiting { spool: Path::new("x").into(), number: self.number, job };
            names(&self.lanes.push(waiting, self.now))
        }

        fn push(&mut self, what: What, name: &str) -> Vec<String> {
            self.push_to("cam", what, name)
        }

        fn next(&mut self) -> Option<Waiting> {
            self.lanes.next(self.now, |_| true)
        }

        /// Does everything.
        fn drain(&mut self) -> Vec<String> {
            let mut done = Vec::new();
            while let Some(next) = self.next() {
                self.lanes.done(&next.job.lane, self.now);
                done.extend(names(&[next]));
            }
            assert_eq!((self.lanes.jobs(), self.lanes.bytes()), (0, 0));
            done
        }
    }

    fn names(waiting: &[Waiting]) -> Vec<String> {
        waiting.iter().map(|w| format!("{:?} {} #{}", w.job.what, w.job.name, w.number)).collect()
    }

    #[test]
    fn order_is_kept_within_a_lane_and_lanes_do_not_wait_for_each_other() {
        let mut bench = Bench::new();
        bench.push(What::Upload, "1");
        bench.push(What::List, "m");
        bench.push_to("other", What::Upload, "1");
        let first = [bench.next().unwrap(), bench.next().unwrap()];
        assert!(bench.next().is_none(), "both lanes are busy");
        let cam = first.iter().find(|w| w.job.lane.stream == "cam").unwrap();
        assert_eq!(cam.job.what, What::Upload);
        bench.lanes.done(&cam.job.lane, bench.now);
        assert_eq!(bench.next().unwrap().job.what, What::List);
    }

    #[test]
    fn of_playlists_the_oldest_and_the_newest_are_kept() {
        let mut bench = Bench::new();
        for segment in ["1", "2", "3"] {
            bench.push(What::Upload, segment);
            let out = bench.push(What::List, "m");
            assert_eq!(out.len(), usize::from(segment == "3"), "{out:?}");
        }
        bench.push(What::List, "other");
        let want = ["Upload 1 #1", "List m #2", "Upload 2 #3", "Upload 3 #5", "List m #6", "List other #7"];
        assert_eq!(bench.drain(), want);
    }

    #[test]
    fn what_is_deleted_before_it_was_uploaded_never_is() {
        let mut bench = Bench::new();
        for segment in ["1", "2"] {
            bench.push(What::Upload, segment);
            bench.push(What::List, "m");
        }
        let out = bench.push(What::Remove, "1");
        assert_eq!(out, ["Upload 1 #1", "List m #2", "Remove 1 #5"], "with the playlist that lists it");
        assert_eq!(bench.drain(), ["Upload 2 #3", "List m #4"]);
        bench.push(What::Upload, "3");
        let under_way = bench.next().unwrap();
        assert!(bench.push(What::Remove, "3").is_empty(), "it is on its way: it is deleted afterwards");
        bench.lanes.done(&under_way.job.lane, bench.now);
        assert_eq!(bench.drain(), ["Remove 3 #7"]);
        bench.push(What::List, "m");
        bench.push(What::Remove, "m");
        assert_eq!(bench.drain(), ["Remove m #9"], "a playlist was there before");
    }

    #[test]
    fn failures_wait_longer_and_longer() {
        let mut bench = Bench::new();
        bench.push(What::Upload, "1");
        let mut waits = Vec::new();
        for attempt in 1..=9 {
            let next = bench.next().unwrap();
            assert_eq!(bench.lanes.failed(&next.job.lane, bench.now), attempt);
            assert!(bench.next().is_none());
            let due = bench.lanes.due(bench.now).unwrap();
            waits.push((due - bench.now).as_secs_f64());
            bench.now = due;
        }
        assert!((0.8..=1.2).contains(&waits[0]) && (48.0..=72.0).contains(&waits[8]), "{waits:?}");
        let next = bench.next().unwrap();
        bench.lanes.failed(&next.job.lane, bench.now);
        bench.lanes.retry(bench.now, |vhost| vhost == "v");
        assert_eq!(bench.drain(), ["Upload 1 #1"]);
    }

    #[test]
    fn the_oldest_is_given_up_with_the_playlists_that_list_it() {
        let mut bench = Bench::new();
        bench.push_to("a", What::Upload, "1");
        bench.push(What::Upload, "1");
        bench.push(What::List, "m");
        bench.push(What::Upload, "2");
        bench.push(What::List, "m");
        let spool = Path::new("x");
        assert_eq!(names(&bench.lanes.give_up(spool).unwrap()), ["Upload 1 #1"]);
        assert_eq!(names(&bench.lanes.give_up(spool).unwrap()), ["Upload 1 #2", "List m #3"]);
        assert_eq!(bench.lanes.bytes(), 20);
        assert!(bench.lanes.give_up(Path::new("y")).is_none());
        assert_eq!(bench.drain(), ["Upload 2 #4", "List m #5"]);
    }
}
