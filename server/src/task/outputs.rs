//! Which streams are made by transcoders at this moment: these are not transcoded again, or it would never end.

use std::collections::HashMap;
use std::sync::Arc;

use hub::StreamKey;
use parking_lot::Mutex;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Outputs(Arc<Mutex<HashMap<StreamKey, usize>>>);

/// One of them; dropping it takes it off the list.
pub(super) struct Output {
    outputs: Outputs,
    key: StreamKey,
}

impl Outputs {
    /// Enters one.
    pub(super) fn enter(&self, key: StreamKey) -> Output {
        *self.0.lock().entry(key.clone()).or_default() += 1;
        Output { outputs: self.clone(), key }
    }

    /// Whether a transcoder makes this stream.
    pub(super) fn has(&self, key: &StreamKey) -> bool {
        self.0.lock().contains_key(key)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut outputs = self.outputs.0.lock();
        if let Some(count) = outputs.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                outputs.remove(&self.key);
            }
        }
    }
}
