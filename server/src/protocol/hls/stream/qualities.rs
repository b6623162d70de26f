//! A stream that is one of several qualities: its entries in master playlists, in memory and as files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use formats::hls::Report;
use hub::StreamKey;

use super::super::masters::{Rest, Variant};
use super::super::{shelf, store};
use super::{Stream, way};
use crate::config::{Hls, SegmentStorage};
use crate::naming::{self, Names};
use crate::store::Output;

/// A master playlist that the stream is to be in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entered {
    whole: Arc<StreamKey>,
    /// The master playlist below the folder.
    file: String,
    rank: usize,
    /// The way from it to the playlist.
    uri: String,
}

impl Entered {
    fn place(&self) -> String {
        shelf::place(&self.whole.vhost, &self.file)
    }
}

/// The master playlists of a stream whose own playlist is this.
pub(super) fn of(key: &StreamKey, hls: &Hls, m3u8: &str) -> Vec<Entered> {
    let Some(variants) = &hls.variants else { return Vec::new() };
    let enter = |(rank, whole): (usize, &str)| {
        let whole = StreamKey { stream: whole.to_owned(), ..key.clone() };
        let file = Names::of(&whole).fill(&variants.file);
        let is_fine = naming::is_safe(&whole) && naming::stays_inside(&file);
        let uri = way(&file, m3u8);
        is_fine.then(|| Entered { whole: Arc::new(whole), file, rank, uri })
    };
    variants.wholes(&key.stream).filter_map(enter).collect()
}

impl Stream {
    /// Has the master playlists list this stream as it is now.
    pub(super) fn tell_masters(&mut self) {
        for entered in self.entered.clone() {
            let place = entered.place();
            let variant =
                Variant { stream: self.key.clone(), place: self.playlist_place(), uri: entered.uri.clone() };
            self.shelf.join(&place, &entered.whole, entered.rank, variant);
            self.write_master(&entered);
        }
    }

    fn write_master(&mut self, entered: &Entered) {
        let place = entered.place();
        let Some(text) = self.shelf.changed_master(&place) else { return };
        let written = match self.storage {
            SegmentStorage::Disk => store::replace(&self.path(&entered.file), &text),
            SegmentStorage::Ram => Ok(()),
        };
        match written {
            Ok(()) => self.shelf.master_is_written(&place, &text),
            // It is tried again with the next segment.
            Err(e) => {
                self.shelf.figures.failures.fetch_add(1, Ordering::Relaxed);
                self.warn(&e);
            }
        }
        self.shelf.store.listed(&entered.whole, Output::Hls, &entered.file, || Bytes::from(text));
    }

    /// Takes this stream out of the master playlists; those that are empty then are deleted, if files are to be.
    pub(super) fn quit_masters(&mut self, and_files: bool) {
        for entered in self.entered.clone() {
            let rest = self.shelf.quit(&entered.place(), &self.key);
            match rest {
                _ if !and_files => {}
                Rest::Some => self.write_master(&entered),
                Rest::Nothing => {
                    self.shelf.store.removed(&entered.whole, Output::Hls, &entered.file);
                    if self.hls.storage == SegmentStorage::Disk {
                        store::remove_replaced(&self.path(&entered.file));
                    }
                }
            }
        }
    }

    /// With low latency, what players who want to change to another quality need to know of it.
    pub(super) fn report_others(&mut self) {
        if self.entered.is_empty() || self.hls.part().is_none() {
            return;
        }
        let mut reports = Vec::new();
        for (place, edge) in
            self.entered.iter().flat_map(|entered| self.shelf.edges(&entered.place(), &self.key))
        {
            let uri = way(&self.m3u8, shelf::path(&self.key.vhost, &place));
            reports.push(Report { uri, edge });
        }
        self.window.report(reports);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_between_files() {
        for (from, to, want) in [
            ("live/cam/master.m3u8", "live/cam_hd.m3u8", "../cam_hd.m3u8"),
            ("live/cam.m3u8", "live/cam hd.m3u8", "cam%20hd.m3u8"),
            ("a/b/c.m3u8", "x/d.ts", "../../x/d.ts"),
            ("c.m3u8", "x/a..b?.ts", "x/a.%2Eb%3F.ts"),
        ] {
            assert_eq!(way(from, to), want);
        }
    }
}
