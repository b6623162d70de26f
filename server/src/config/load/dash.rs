//! Loading of `dash { }`.

use super::{Block, Reader, hls};
use crate::config::Dash;

impl<'a> Reader<'a> {
    pub(super) fn dash(&mut self, block: Block<'a>) -> Option<Dash> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let fragment = self.duration(block, "dash_fragment");
        if fragment < hls::LEAST_FRAGMENT {
            let message = format!("`dash_fragment` must be at least {} s", hls::LEAST_FRAGMENT.as_secs_f64());
            self.problems.push(self.value(block, "dash_fragment").problem(self.files, 0, message));
        }
        let window = self.value(block, "dash_window_size");
        let segments = self.int(&window);
        if segments < 1 {
            self.problems.push(window.problem(self.files, 0, "`dash_window_size` must be at least 1"));
        }
        Some(Dash {
            fragment,
            update_period: self.duration(block, "dash_update_period"),
            window: usize::try_from(segments).unwrap_or(1).max(1),
            path: self.path(block, "dash_path"),
            mpd_file: self.text(block, "dash_mpd_file"),
            cleanup: self.switch(block, "dash_cleanup"),
            dispose: Some(self.duration(block, "dash_dispose")).filter(|time| !time.is_zero()),
        })
    }
}
