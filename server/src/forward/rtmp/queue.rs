//! What a destination is still to get, and what it may get again: units from the keyframe on that was being sent when a connection breaks. Bounded by
//! time and by bytes; what is too much is left out from one keyframe to another.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use formats::flv::Tag;
use media::{Micros, Place, Stamped, Unit};

/// What was given to the socket so long ago has arrived, or the connection is known to be broken.
const HOLD: Duration = Duration::from_secs(2);

/// However long the queue may be in time.
const MAX_BYTES: usize = 64 << 20;

/// See the module.
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// The number of the first entry; they are counted from the start.
    first: u64,
    /// The number of the next one to be given.
    next: u64,
    /// The numbers of entries where a destination may start.
    keys: VecDeque<u64>,
    bytes: usize,
    /// What a destination needs before the first entry, by slot.
    init: Vec<Stamped<Tag>>,
    /// It is to be given before the next entry.
    begins: bool,
    /// How much may wait.
    limit: Micros,
    dropped: u64,
}

struct Entry {
    unit: Stamped<Tag>,
    given: Option<Instant>,
}

impl Queue {
    /// An empty queue; `limit` is how much media may wait.
    pub(super) fn new(limit: Micros) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            next: 0,
            keys: VecDeque::new(),
            bytes: 0,
            init: Vec::new(),
            begins: true,
            limit,
            dropped: 0,
        }
    }

    /// So much media may wait from now on.
    pub(super) fn set_limit(&mut self, limit: Micros) {
        self.limit = limit;
    }

    /// Media units that were left out since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Nothing waits to be given.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.head()
    }

    /// It has nothing to start with.
    pub(super) fn lacks_key(&self) -> bool {
        self.keys.is_empty()
    }

    /// What follows does not follow what came before: `missed` units are lost, and `init` is needed before the next one.
    pub(super) fn restart(&mut self, init: &mut Vec<Stamped<Tag>>, missed: u64) {
        self.dropped += missed + self.waiting_media(self.head());
        self.forget_to(self.head());
        init.drain(..).for_each(|unit| put(&mut self.init, unit));
        self.begins = true;
    }

    /// Takes what is new.
    pub(super) fn push(&mut self, unit: Stamped<Tag>) {
        if self.entries.is_empty() && self.keys.is_empty() && !unit.is_key() {
            match unit.place {
                Place::Init { .. } => {
                    put(&mut self.init, unit);
                    self.begins = true;
                }
                // It needs a keyframe first; there was one if something was left out.
                Place::Media { .. } => self.dropped += u64::from(self.first > 0),
            }
            return;
        }
        if unit.is_key() {
            self.keys.push_back(self.head());
        }
        self.bytes += unit.unit.size();
        self.entries.push_back(Entry { unit, given: None });
        self.bound();
    }

    /// The next units, with what is needed before them.
    pub(super) fn take(&mut self, now: Instant, out: &mut Vec<Stamped<Tag>>) -> bool {
        let at = (self.next - self.first) as usize;
        let Some(entry) = self.entries.get_mut(at) else { return false };
        if std::mem::take(&mut self.begins) {
            let time = entry.unit.time;
            out.extend(self.init.iter().map(|unit| Stamped { time, ..unit.clone() }));
        }
        entry.given = Some(now);
        out.push(entry.unit.clone());
        self.next += 1;
        self.retire(now);
        true
    }

    /// The connection is gone: what it may not have delivered is given again, from a keyframe on.
    pub(super) fn rewind(&mut self) {
        match self.keys.front().copied() {
            Some(key) => {
                // It only differs from the first where the past was too long to be kept.
                if key > self.next {
                    self.dropped += self.waiting_media(key);
                }
                self.forget_to(key);
                self.next = self.first;
            }
            None => {
                self.dropped += self.waiting_media(self.head());
                self.forget_to(self.head());
            }
        }
        self.begins = true;
    }

    fn head(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Forgets groups of pictures that have arrived.
    fn retire(&mut self, now: Instant) {
        while let Some(&key) = self.keys.get(1)
            && key < self.next
            && let Some(given) = self.entries.get((key - self.first) as usize).and_then(|entry| entry.given)
            && now.duration_since(given) >= HOLD
        {
            self.forget_to(key);
        }
    }

    /// Keeps within time and bytes: first the past goes, then what waits, up to the newest keyframe.
    fn bound(&mut self) {
        let newest = self.entries.back().map_or(Micros::ZERO, |entry| entry.unit.time);
        let span = |number: u64| {
            let entry = self.entries.get((number - self.first) as usize);
            entry.map_or(Micros::ZERO, |entry| newest - entry.unit.time)
        };
        let hold = Micros(HOLD.as_micros() as i64);
        if self.bytes > MAX_BYTES || (self.next > self.first && span(self.first) > self.limit + hold) {
            let unneeded = self.keys.iter().copied().take_while(|key| *key <= self.next).last();
            // Not even this group of pictures can be given again.
            let unneeded = unneeded.filter(|key| *key > self.first).unwrap_or(self.next);
            self.forget_to(unneeded);
        }
        let late = self.bytes > MAX_BYTES || self.waits() > self.limit;
        if late && let Some(&key) = self.keys.back().filter(|key| **key > self.next) {
            self.dropped += self.waiting_media(key);
            self.skip_to(key);
        } else if late && self.waits() > self.limit + self.limit || self.bytes > MAX_BYTES {
            self.dropped += self.waiting_media(self.head());
            self.skip_to(self.head());
        }
    }

    fn waits(&self) -> Micros {
        let time = |entry: Option<&Entry>| entry.map_or(Micros::ZERO, |entry| entry.unit.time);
        let next = self.entries.get((self.next - self.first) as usize);
        if next.is_none() { Micros::ZERO } else { time(self.entries.back()) - time(next) }
    }

    /// Leaves out what waits before this number.
    fn skip_to(&mut self, number: u64) {
        let between = self.entries.range((self.next - self.first) as usize..(number - self.first) as usize);
        self.begins |= between.into_iter().any(|entry| entry.unit.is_init());
        self.forget_to(number);
        self.next = self.first;
    }

    fn waiting_media(&self, to: u64) -> u64 {
        let to = (to - self.first) as usize;
        let from = ((self.next - self.first) as usize).min(to);
        self.entries.range(from..to).filter(|entry| !entry.unit.is_init()).count() as u64
    }

    /// Drops all entries before this number, and keeps what is needed of them.
    fn forget_to(&mut self, number: u64) {
        while self.first < number
            && let Some(Entry { unit, .. }) = self.entries.pop_front()
        {
            self.first += 1;
            self.bytes -= unit.unit.size();
            if unit.is_init() {
                put(&mut self.init, unit);
            }
        }
        self.next = self.next.max(self.first);
        while self.keys.front().is_some_and(|key| *key < self.first) {
            self.keys.pop_front();
        }
    }
}

fn put(set: &mut Vec<Stamped<Tag>>, unit: Stamped<Tag>) {
    let slot = |unit: &Stamped<Tag>| match unit.place {
        Place::Init { slot } => Some(slot),
        Place::Media { .. } => None,
    };
    match set.binary_search_by_key(&slot(&unit), slot) {
        Ok(at) => set[at] = unit,
        Err(at) => set.insert(at, unit),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use formats::flv::{Header, TagKind};
    use media::TrackId;

    use super::*;

    fn tag(body: String) -> Tag {
        Tag { kind: TagKind::Video, header: Header::default(), body: Bytes::from(body) }
    }

    fn picture(ms: i64, key: bool) -> Stamped<Tag> {
        let place = Place::Media { track: TrackId::VIDEO, key };
        let unit = tag(format!("{}{ms}", if key { "k" } else { "p" }));
        Stamped { time: Micros::from_millis(ms), place, unit }
    }

    fn header(name: &str) -> Stamped<Tag> {
        Stamped { time: Micros::ZERO, place: Place::Init { slot: 1 }, unit: tag(name.into()) }
    }

    /// All that can be given, at this time.
    fn given(queue: &mut Queue, now: Instant) -> String {
        let mut out = Vec::new();
        while queue.take(now, &mut out) {}
        let names = out.iter().map(|unit| String::from_utf8_lossy(&unit.unit.body).into_owned());
        names.collect::<Vec<_>>().join(" ")
    }

    fn queue() -> Queue {
        Queue::new(Micros::from_secs(10))
    }

    #[test]
    fn a_destination_begins_with_headers_and_a_keyframe() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.restart(&mut vec![header("h")], 0);
        queue.push(picture(0, false));
        assert!(queue.lacks_key() && queue.is_done());
        queue.push(picture(40, true));
        queue.push(picture(80, false));
        assert_eq!(given(&mut queue, now), "h k40 p80");
        queue.push(header("h2"));
        queue.push(picture(120, false));
        assert_eq!(given(&mut queue, now), "h2 p120");
        assert_eq!(queue.take_dropped(), 0);
    }

    #[test]
    fn a_cut_repeats_what_may_be_lost_and_leaves_out_nothing() {
        let (mut queue, start) = (queue(), Instant::now());
        queue.restart(&mut vec![header("h")], 0);
        for n in 0..10 {
            queue.push(picture(n * 500, n % 2 == 0));
            let now = start + Duration::from_millis(n as u64 * 500);
            given(&mut queue, now);
        }
        queue.push(picture(5000, true));
        queue.rewind();
        // What was given two seconds before has arrived.
        let now = start + Duration::from_secs(5);
        assert_eq!(given(&mut queue, now), "h k2000 p2500 k3000 p3500 k4000 p4500 k5000");
        assert_eq!(queue.take_dropped(), 0);
    }

    #[test]
    fn a_slow_destination_skips_to_the_newest_keyframe() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.restart(&mut vec![header("h")], 0);
        queue.push(picture(0, true));
        assert_eq!(given(&mut queue, now), "h k0");
        for n in 1..=12 {
            queue.push(picture(n * 1000, n % 4 == 0));
            if n == 6 {
                queue.push(header("h2"));
            }
        }
        assert_eq!(given(&mut queue, now), "h2 k12000");
        assert_eq!(queue.take_dropped(), 11);
    }

    #[test]
    fn a_group_longer_than_the_queue_is_left_out_to_the_next_one() {
        let (mut queue, now) = (queue(), Instant::now());
        for n in 0..40 {
            queue.push(picture(n * 1000, n == 0));
        }
        assert_eq!(given(&mut queue, now), "");
        queue.push(picture(40_000, true));
        assert_eq!(given(&mut queue, now), "k40000");
        assert_eq!(queue.take_dropped(), 40);
    }

    #[test]
    fn a_past_that_is_too_long_is_not_kept() {
        let (mut queue, now) = (queue(), Instant::now());
        for n in 0..60 {
            queue.push(picture(n * 1000, n == 0));
            assert!(!given(&mut queue, now).is_empty());
        }
        assert!(queue.entries.len() < 15, "{}", queue.entries.len());
        queue.push(picture(60_000, false));
        queue.rewind();
        assert_eq!(given(&mut queue, now), "");
        queue.push(picture(61_000, true));
        assert_eq!(given(&mut queue, now), "k61000");
        assert_eq!(queue.take_dropped(), 1);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut queue = Queue::new(Micros::from_secs(3600));
        let body = Bytes::from(vec![0; 1 << 20]);
        for n in 0..200 {
            let mut unit = picture(n, n % 10 == 0);
            unit.unit.body = body.clone();
            queue.push(unit);
            assert!(queue.bytes <= MAX_BYTES + (1 << 20));
        }
        assert!(queue.take_dropped() > 100 && !queue.lacks_key());
    }
}
