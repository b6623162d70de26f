//! HLS: `vhost.hls`.

use std::time::Duration;

use super::{Block, Reader};
use crate::config::{Hls, HlsFmp4, HlsKeys, HlsOnError, HlsSessions, HlsVariants, SegmentStorage};

/// Below this, playlists would change faster than players ask for them.
pub(super) const LEAST_FRAGMENT: Duration = Duration::from_millis(100);
/// Shorter parts would be requests without end, longer ones no low latency.
pub(super) const PARTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(2);
/// Playlists shorter than this would end the sessions of players that only pause for breath.
const LEAST_HLS_SESSION: Duration = Duration::from_secs(10);

impl<'a> Reader<'a> {
    pub(super) fn hls_sessions(&mut self, block: Block<'a>) -> HlsSessions {
        HlsSessions {
            ctx: self.switch(block, "hls_ctx"),
            ts_ctx: self.switch(block, "hls_ts_ctx"),
            relative: self.switch(block, "hls_master_m3u8_path_relative"),
            timeout: (self.duration(block, "hls_window") * 2).max(LEAST_HLS_SESSION),
        }
    }

    pub(super) fn hls(&mut self, block: Block<'a>, utc: bool) -> Option<Hls> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let fragment = self.duration(block, "hls_fragment");
        if fragment < LEAST_FRAGMENT {
            let message = format!("`hls_fragment` must be at least {} s", LEAST_FRAGMENT.as_secs_f64());
            self.problems.push(self.value(block, "hls_fragment").problem(self.files, 0, message));
        }
        let acodec = self.one_of(block, "hls_acodec", &["aac", "mp3", "an"], 0);
        let vcodec = self.one_of(block, "hls_vcodec", &["h264", "h265", "vn"], 0);
        if (acodec, vcodec) == (2, 2) {
            let message = "`hls_acodec an` and `hls_vcodec vn` leave nothing to put into segments";
            self.problems.push(self.value(block, "hls_vcodec").problem(self.files, 0, message));
        }
        let fmp4 = self.fmp4(block);
        let segments = if fmp4.is_some() { "hls_fmp4_file" } else { "hls_ts_file" };
        let file = self.value(block, segments);
        if !["[seq]", "[timestamp]", "[999]"].iter().any(|number| file.text().contains(number)) {
            let problem = file.problem(self.files, 0, "segments overwrite each other");
            self.problems.push(problem.help(format!("put `[seq]` or `[timestamp]` into `{segments}`")));
        }
        let keys = self.keys(block);
        if keys.is_some() && fmp4.as_ref().is_some_and(|fmp4| fmp4.part.is_some()) {
            let message = "`hls_low_latency` and `hls_keys` do not go together: parts are not encrypted";
            self.problems.push(self.value(block, "hls_keys").problem(self.files, 0, message));
        }
        Some(Hls {
            fragment,
            target_ratio: self.ratio(block, "hls_td_ratio"),
            overflow_ratio: self.ratio(block, "hls_aof_ratio"),
            window: self.duration(block, "hls_window"),
            on_error: match self.one_of(block, "hls_on_error", &["ignore", "continue", "disconnect"], 2) {
                0 => HlsOnError::Ignore,
                1 => HlsOnError::Continue,
                _ => HlsOnError::Disconnect,
            },
            storage: match self.one_of(block, "hls_storage", &["disk", "ram"], 0) {
                1 => SegmentStorage::Ram,
                _ => SegmentStorage::Disk,
            },
            path: self.path(block, "hls_path"),
            m3u8_file: self.text(block, "hls_m3u8_file"),
            ts_file: self.text(block, "hls_ts_file"),
            entry_prefix: self.text(block, "hls_entry_prefix"),
            audio: acodec != 2,
            video: vcodec != 2,
            cleanup: self.switch(block, "hls_cleanup"),
            dispose: Some(self.duration(block, "hls_dispose")).filter(|time| !time.is_zero()),
            wait_keyframe: self.switch(block, "hls_wait_keyframe"),
            ts_floor: self.switch(block, "hls_ts_floor"),
            dts_directly: self.switch(block, "hls_dts_directly"),
            utc,
            recover: self.switch(block, "hls_recover"),
            keys,
            fmp4,
            variants: self.variants(block),
        })
    }

    fn variants(&mut self, block: Block<'a>) -> Option<HlsVariants> {
        let value = self.value(block, "hls_variants");
        let streams: Vec<String> = value.words.iter().map(|&word| word.to_owned()).collect();
        if streams.is_empty() {
            return None;
        }
        for (at, name) in streams.iter().enumerate() {
            if name.matches("[stream]").count() != 1 {
                let problem = value.problem(self.files, at, format!("`{name}` must have `[stream]` once"));
                let help =
                    "it stands for the name of the whole: `[stream]_720p` is `cam_720p`, a quality of `cam`";
                self.problems.push(problem.help(help));
            } else if streams.iter().take(at).any(|before| before == name) {
                self.problems.push(value.problem(self.files, at, format!("`{name}` is there already")));
            }
        }
        let file = self.value(block, "hls_master_file");
        if !file.text().contains("[stream]") {
            let problem = file.problem(self.files, 0, "master playlists overwrite each other");
            self.problems.push(problem.help("put `[stream]` into `hls_master_file`"));
        }
        if !file.text().ends_with(".m3u8") || file.text() == self.value(block, "hls_m3u8_file").text() {
            let message = "`hls_master_file` must end with `.m3u8`, and be another file than `hls_m3u8_file`";
            self.problems.push(file.problem(self.files, 0, message));
        }
        Some(HlsVariants { streams, file: self.text(block, "hls_master_file") })
    }

    fn fmp4(&mut self, block: Block<'a>) -> Option<HlsFmp4> {
        let is_low = self.switch(block, "hls_low_latency");
        if !self.switch(block, "hls_use_fmp4") && !is_low {
            return None;
        }
        let part = self.duration(block, "hls_part");
        if is_low && !PARTS.contains(&part) {
            let (least, most) = (PARTS.start().as_secs_f64(), PARTS.end().as_secs_f64());
            let message = format!("`hls_part` must be {least} to {most} s");
            self.problems.push(self.value(block, "hls_part").problem(self.files, 0, message));
        }
        let file = self.value(block, "hls_fmp4_file");
        if is_low && file.text().contains("[duration]") {
            let message =
                "with `hls_low_latency`, parts have their names before the segment has a `[duration]`";
            self.problems.push(file.problem(self.files, 0, message));
        }
        Some(HlsFmp4 {
            file: self.text(block, "hls_fmp4_file"),
            init_file: self.text(block, "hls_init_file"),
            part: is_low.then_some(part),
            chunk: None,
        })
    }

    fn keys(&mut self, block: Block<'a>) -> Option<HlsKeys> {
        if !self.switch(block, "hls_keys") {
            return None;
        }
        let segments = self.value(block, "hls_fragments_per_key");
        let number = self.int(&segments);
        if number < 1 {
            let message = "`hls_fragments_per_key` must be at least 1";
            self.problems.push(segments.problem(self.files, 0, message));
        }
        let file = self.value(block, "hls_key_file");
        if !file.text().contains("[seq]") {
            let problem = file.problem(self.files, 0, "keys overwrite each other");
            self.problems.push(problem.help("put `[seq]` into `hls_key_file`"));
        }
        let path = match self.text(block, "hls_key_file_path").is_empty() {
            true => "hls_path",
            false => "hls_key_file_path",
        };
        Some(HlsKeys {
            segments: number.max(1).unsigned_abs(),
            file: self.text(block, "hls_key_file"),
            path: self.path(block, path),
            url: self.text(block, "hls_key_url"),
        })
    }
}
