//! How often programs were started and have failed, by kind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::plan::Kind;

/// See the module.
#[derive(Default)]
pub struct Figures([Counts; Kind::ALL.len()]);

#[derive(Default)]
struct Counts {
    starts: AtomicU64,
    failures: AtomicU64,
}

impl Figures {
    pub(super) fn started(&self, kind: Kind) {
        self.of(kind).starts.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, kind: Kind) {
        self.of(kind).failures.fetch_add(1, Relaxed);
    }

    /// Programs started, the first time and again.
    pub fn starts(&self, kind: Kind) -> u64 {
        self.of(kind).starts.load(Relaxed)
    }

    /// Programs that ended with an error, or could not be started.
    pub fn failures(&self, kind: Kind) -> u64 {
        self.of(kind).failures.load(Relaxed)
    }

    fn of(&self, kind: Kind) -> &Counts {
        let [ingest, transcode, exec] = &self.0;
        match kind {
            Kind::Ingest => ingest,
            Kind::Transcode => transcode,
            Kind::Exec => exec,
        }
    }
}
