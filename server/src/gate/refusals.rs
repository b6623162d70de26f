//! How many were refused, by what they wanted and why.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::Refused;
use crate::session::Kind;

/// See the module.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Refusals {
    pub(super) fn count(&self, kind: Kind, refused: &Refused) {
        let action = if kind.is_publish() { "publish" } else { "play" };
        *self.0.lock().entry((action, refused.reason())).or_default() += 1;
    }

    /// What they wanted (`publish`, `play`), why it was refused, and how often.
    pub fn counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.0.lock().clone()
    }
}
