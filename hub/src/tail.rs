//! The tail of a stream: the newest units of a form, numbered, with the place where a late joiner starts.

use std::collections::VecDeque;

use media::{Micros, Place, Stamped, Unit};

use crate::Rules;
use crate::gop::MAX_BYTES;

/// The newest init unit of each slot, in rising order of slots.
pub(crate) type InitSet<U> = Vec<Stamped<U>>;

/// See the module. Both the lane that all cores share and the relay of one core are made of it.
pub(crate) struct Tail<U> {
    units: VecDeque<Stamped<U>>,
    first: u64,
    /// The newest key unit, while it is kept.
    key: Option<u64>,
    /// What was needed before that unit.
    key_init: InitSet<U>,
    /// What is needed now.
    init: InitSet<U>,
    /// Bytes since `key`.
    gop_bytes: usize,
    /// Bytes in all.
    bytes: usize,
    /// The time of the newest unit, kept or not.
    now: Micros,
    rules: Rules,
    /// See [`media::Remux::history`].
    history: Micros,
}

impl<U: Unit> Tail<U> {
    pub(crate) fn new(rules: Rules, history: Micros) -> Self {
        Self {
            units: VecDeque::new(),
            first: 0,
            key: None,
            key_init: Vec::new(),
            init: Vec::new(),
            gop_bytes: 0,
            bytes: 0,
            now: Micros::ZERO,
            rules,
            history,
        }
    }

    /// How much of the past a joiner is given where every unit is key.
    pub(crate) fn history(&self) -> Micros {
        self.history
    }

    /// The number of the oldest unit kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next unit will have.
    pub(crate) fn head(&self) -> u64 {
        self.first + self.units.len() as u64
    }

    /// The time of the newest unit.
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    /// Bytes of all units kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Stamped<U>> {
        self.units.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The units from `number` on.
    pub(crate) fn since(&self, number: u64) -> impl Iterator<Item = &Stamped<U>> {
        self.units.range(number.saturating_sub(self.first).min(self.units.len() as u64) as usize..)
    }

    /// Where a joiner starts, and what it needs first.
    pub(crate) fn entry(&self) -> (u64, &InitSet<U>) {
        match self.key {
            Some(key) => (key, &self.key_init),
            None => (self.head(), &self.init),
        }
    }

    /// A joiner finds a key unit here.
    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub(crate) fn set_rules(&mut self, rules: &Rules) {
        self.rules = rules.clone();
        if !self.keeps_past() {
            self.key = None;
        }
    }

    pub(crate) fn push(&mut self, unit: Stamped<U>) {
        match unit.place {
            Place::Init { .. } => put(&mut self.init, &unit),
            Place::Media { key: true, .. }
                if self.keeps_past() && (self.history == Micros::ZERO || self.key.is_none()) =>
            {
                self.key = Some(self.head());
                self.key_init.clone_from(&self.init);
                self.gop_bytes = 0;
            }
            Place::Media { .. } => {}
        }
        self.gop_bytes += unit.unit.size();
        self.bytes += unit.unit.size();
        self.now = unit.time;
        self.units.push_back(unit);
        self.forget_history();
        // Sound alone is bounded by its time and by its bytes.
        let limit = if self.history == Micros::ZERO { self.rules.gop_max_frames as u64 } else { 0 };
        if self.key.is_some_and(|k| limit > 0 && self.head() - k > limit) || self.gop_bytes > MAX_BYTES {
            self.key = None;
        }
    }

    fn keeps_past(&self) -> bool {
        self.rules.gop_cache || self.history > Micros::ZERO
    }

    /// Lets joiners start later when the units at the start have become older than the history.
    fn forget_history(&mut self) {
        if self.history == Micros::ZERO {
            return;
        }
        let oldest = self.now - self.history;
        while let Some(key) = self.key
            && key + 1 < self.head()
            && let Some(unit) = self.get(key).filter(|unit| unit.time < oldest)
        {
            self.gop_bytes -= unit.unit.size();
            self.key = Some(key + 1);
        }
    }

    /// Drops what is older than `keep`, but never what a joiner needs.
    pub(crate) fn trim(&mut self, keep: u64) {
        let keep = keep.min(self.key.unwrap_or(u64::MAX));
        while self.first < keep
            && let Some(unit) = self.units.pop_front()
        {
            self.first += 1;
            self.bytes -= unit.unit.size();
        }
    }

    /// Drops the oldest unit, unless a joiner needs it or there is none.
    pub(crate) fn trim_one(&mut self) -> bool {
        let first = self.first;
        self.trim(first + 1);
        self.first > first
    }

    /// The publisher is gone: a joiner finds nothing. Those who still read keep their place.
    pub(crate) fn forget(&mut self) {
        self.key = None;
        self.key_init.clear();
        self.init.clear();
    }
}

fn put<U: Clone>(set: &mut InitSet<U>, unit: &Stamped<U>) {
    let slot = |s: &Stamped<U>| match s.place {
        Place::Init { slot } => Some(slot),
        Place::Media { .. } => None,
    };
    match set.binary_search_by_key(&slot(unit), slot) {
        Ok(at) => set[at] = unit.clone(),
        Err(at) => set.insert(at, unit.clone()),
    }
}
