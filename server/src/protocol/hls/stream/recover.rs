//! After a restart of the server: what the playlist among the files lists is taken over, and numbers go on from there.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use formats::hls::{Entry, Listed};
use percent_encoding::percent_decode_str;
use tracing::{info, warn};

use super::super::keys::Key;
use super::super::shelf::{self, Type};
use super::super::store;
use super::fragments::Map;
use super::{Kept, Stream};
use crate::config::SegmentStorage;
use crate::naming;

/// A playlist of ours is not larger than this, nor is an init segment.
const MAX: u64 = 8 << 20;

impl Stream {
    /// Goes on with what is listed among the files, if there is something (`hls_recover`). What is damaged or of others is left alone.
    pub(super) fn recover(&mut self) {
        if !self.hls.recover || self.hls.storage != SegmentStorage::Disk || self.seq > 0 {
            return;
        }
        let path = self.path(&self.m3u8);
        let text = match store::read(&path, MAX) {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(e) => return warn!("hls: {e}; its segments are not taken over"),
        };
        let listed = std::str::from_utf8(&text).map_err(|_| "it is no text".to_owned());
        let listed = listed.and_then(|text| Listed::read(text).map_err(|foreign| foreign.to_string()));
        let mut listed = match listed {
            Ok(listed) => listed,
            Err(why) => return warn!("hls: {}: {why}; its segments are not taken over", path.display()),
        };
        self.seq = listed.entries.last().map_or(0, |last| last.seq + 1);
        let all = listed.entries.len();
        let mut from = 0;
        for (at, entry) in listed.entries.iter().enumerate() {
            match self.find(entry) {
                Some(kept) => self.kept.push_back(kept),
                // Those before it are of no use without it: numbers have no gap.
                None => {
                    self.kept.clear();
                    from = at + 1;
                }
            }
        }
        let lost = listed.entries.drain(..from).filter(|entry| entry.discontinuity).count();
        listed.discontinuities += lost as u64;
        info!("hls: {} goes on at segment {}, {} of {all} are there", self.key, self.seq, self.kept.len());
        for kept in &self.kept {
            self.shelf.put(
                kept.place.clone(),
                shelf::Segment::File(kept.path.clone()),
                self.kind(),
                &self.key,
            );
            let key =
                kept.key.as_ref().map(|key| (&key.place, Bytes::copy_from_slice(&key.bytes), Type::Key));
            let map = kept.map.as_ref().map(|map| (&map.place, map.bytes.clone(), Type::Mp4));
            for (place, bytes, kind) in key.into_iter().chain(map) {
                self.shelf.put(place.clone(), shelf::Segment::Ram([bytes].into()), kind, &self.key);
            }
        }
        self.listed_in_file = true;
        self.window.resume(listed);
        self.show();
    }

    /// Where a segment is that was listed, with its key and its init segment; nothing if something of it is missing.
    fn find(&self, entry: &Entry) -> Option<Kept> {
        let ending = |name: &str| name.rsplit_once('.').map(|(_, ending)| ending.to_owned());
        let relative = self.file_at(&entry.uri, &self.hls.entry_prefix)?;
        if ending(&relative) != ending(self.hls.segment_file()) {
            return None;
        }
        let path = self.path(&relative);
        let is_there = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() > 0);
        let before = self.kept.back();
        let key = match &entry.key {
            None => None,
            Some(key) => {
                let known = before.and_then(|before| before.key.clone()).filter(|known| known.uri == key.uri);
                Some(known.or_else(|| self.find_key(entry.seq, &key.uri))?)
            }
        };
        let map = match &entry.map {
            None => None,
            Some(uri) => {
                let known = before.and_then(|before| before.map.clone()).filter(|known| known.uri == *uri);
                Some(known.or_else(|| self.find_map(uri))?)
            }
        };
        let place = shelf::place(&self.key.vhost, &relative);
        (is_there && map.is_some() == self.fragments.is_some()).then_some(Kept {
            place,
            path,
            size: 0,
            in_file: true,
            key,
            map,
        })
    }

    fn find_key(&self, seq: u64, uri: &Arc<str>) -> Option<Arc<Key>> {
        let keys = self.hls.keys.as_ref();
        let prefix = keys.map_or("", |keys| keys.url.split('?').next().unwrap_or_default());
        let relative = self.file_at(uri, prefix)?;
        let file = keys.map_or(&self.hls.path, |keys| &keys.path).join(&relative);
        let bytes = store::read(&file, MAX).ok()??.try_into().ok()?;
        let place = shelf::place(&self.key.vhost, &relative);
        Some(Arc::new(Key { bytes, seq, place, uri: uri.clone(), file: Some(file) }))
    }

    fn find_map(&self, uri: &Arc<str>) -> Option<Arc<Map>> {
        let relative = self.file_at(uri, &self.hls.entry_prefix)?;
        let file = self.path(&relative);
        let bytes = store::read(&file, MAX).ok()??.into();
        let place = shelf::place(&self.key.vhost, &relative);
        Some(Arc::new(Map { bytes, place, uri: uri.clone(), file: Some(file) }))
    }

    /// The file below its folder that an address in the playlist means.
    fn file_at(&self, uri: &str, prefix: &str) -> Option<String> {
        let uri = uri.split('?').next()?;
        let decoded = |path: &str| percent_decode_str(path).decode_utf8().ok().map(|path| path.into_owned());
        let relative = if prefix.is_empty() {
            let mut folder = Path::new(&self.m3u8).parent().unwrap_or(Path::new("")).to_owned();
            let mut rest = uri;
            while let Some(more) = rest.strip_prefix("../") {
                folder.pop().then_some(())?;
                rest = more;
            }
            folder.join(decoded(rest)?).to_str()?.to_owned()
        } else {
            decoded(uri.strip_prefix(prefix.trim_end_matches('/'))?.strip_prefix('/')?)?
        };
        naming::stays_inside(&relative).then_some(relative)
    }
}
