//! What those who watch the server from outside are given.

use super::{Block, Reader};
use crate::config::Exporter;

impl<'a> Reader<'a> {
    pub(super) fn exporter(&mut self, block: Block<'a>) -> Option<Exporter> {
        self.switch(block, "enabled").then(|| Exporter {
            listen: self.endpoints(block, "listen"),
            label: self.text(block, "label"),
            tag: self.text(block, "tag"),
            streams_limit: self.count(block, "streams_limit").unwrap_or(0),
        })
    }
}
