//! Loading of `dash { }`.

use super::{Block, Reader, hls};
use crate::config::{Dash, Hls, SegmentStorage};

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
        let is_low = self.switch(block, "dash_low_latency");
        let chunk = self.duration(block, "dash_chunk");
        if is_low && (!hls::PARTS.contains(&chunk) || chunk > fragment) {
            let (least, most) = (hls::PARTS.start().as_secs_f64(), hls::PARTS.end().as_secs_f64());
            let message = format!("`dash_chunk` must be {least} to {most} s, and no longer than a segment");
            self.problems.push(self.value(block, "dash_chunk").problem(self.files, 0, message));
        }
        Some(Dash {
            fragment,
            storage: match self.one_of(block, "dash_storage", &["disk", "ram"], 0) {
                1 => SegmentStorage::Ram,
                _ => SegmentStorage::Disk,
            },
            low: is_low.then_some(chunk),
            chunk: None,
            update_period: self.duration(block, "dash_update_period"),
            window: usize::try_from(segments).unwrap_or(1).max(1),
            path: self.path(block, "dash_path"),
            mpd_file: self.text(block, "dash_mpd_file"),
            cleanup: self.switch(block, "dash_cleanup"),
            dispose: Some(self.duration(block, "dash_dispose")).filter(|time| !time.is_zero()),
        })
    }
}

/// HLS and DASH of a vhost share their chunks, which are to be as long as both of them can use. Parts of HLS have to be as long as is told, chunks of DASH
/// only no longer.
pub(super) fn share_chunks(hls: &mut Option<Hls>, dash: &mut Option<Dash>) {
    let part = hls.as_ref().and_then(Hls::part);
    let low = dash.as_ref().and_then(|dash| dash.low);
    let chunk = part.or(low);
    if let Some(fmp4) = hls.as_mut().and_then(|hls| hls.fmp4.as_mut()) {
        fmp4.chunk = chunk;
    }
    if let Some(dash) = dash {
        dash.chunk = chunk;
    }
}
