//! What the WebRTC publishers of now have agreed to send, until they are gone: a player that comes before the first packet is answered with the
//! codecs that are about to come.

use std::collections::HashMap;
use std::sync::Arc;

use hub::StreamKey;
use parking_lot::Mutex;
use rtc::sdp::Section;

/// See the module.
#[derive(Default)]
pub struct Agreements(Mutex<HashMap<StreamKey, Vec<(String, String)>>>);

/// One of them; it is forgotten when this is dropped.
pub struct Agreement {
    all: Arc<Agreements>,
    key: StreamKey,
}

impl Agreements {
    /// Keeps what the one publisher of a stream has agreed to.
    pub fn keep(self: &Arc<Self>, key: &StreamKey, sections: &[Section]) -> Agreement {
        let codecs = sections.iter().map(|section| (section.kind.clone(), section.format.encoding.clone()));
        self.0.lock().insert(key.clone(), codecs.collect());
        Agreement { all: self.clone(), key: key.clone() }
    }

    /// The codec of its `audio` or `video`, in the words of SDP.
    pub fn codec(&self, key: &StreamKey, kind: &str) -> Option<String> {
        let all = self.0.lock();
        let (_, codec) = all.get(key)?.iter().find(|(known, _)| known == kind)?;
        Some(codec.clone())
    }
}

impl Drop for Agreement {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.key);
    }
}
