//! Streams in several qualities: which playlists stand together in a master playlist. Each stream enters itself when it has a playlist; the text
//! is made when somebody asks, so that it lists what is live then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use formats::hls::{self, Edge};
use hub::StreamKey;
use parking_lot::RwLock;

use super::shelf::{Listed, Shelf};

/// The master playlists, by their places.
#[derive(Default)]
pub(super) struct Masters(RwLock<HashMap<String, Master>>);

struct Master {
    /// What players are admitted to.
    whole: Arc<StreamKey>,
    /// By their rank.
    variants: BTreeMap<usize, Variant>,
    /// The text that was written last.
    written: String,
}

/// A quality.
#[derive(Clone)]
pub(super) struct Variant {
    pub(super) stream: Arc<StreamKey>,
    /// The place of its playlist.
    pub(super) place: String,
    /// The way to it from the master playlist.
    pub(super) uri: String,
}

/// What is left of a master playlist.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Some quality, or it was never in it.
    Some,
    /// Nothing.
    Nothing,
}

impl Shelf {
    /// Enters a quality, whose playlist is there.
    pub(super) fn join(&self, master: &str, whole: &Arc<StreamKey>, rank: usize, variant: Variant) {
        let mut masters = self.masters.0.write();
        let new = || Master { whole: whole.clone(), variants: BTreeMap::new(), written: String::new() };
        masters.entry(master.to_owned()).or_insert_with(new).variants.insert(rank, variant);
    }

    /// Takes a quality out.
    pub(super) fn quit(&self, master: &str, stream: &Arc<StreamKey>) -> Rest {
        let mut masters = self.masters.0.write();
        let Some(there) = masters.get_mut(master) else { return Rest::Some };
        there.variants.retain(|_, variant| !Arc::ptr_eq(&variant.stream, stream));
        if !there.variants.is_empty() {
            return Rest::Some;
        }
        masters.remove(master);
        Rest::Nothing
    }

    /// What players of this master playlist are admitted to, if there is one.
    pub(super) fn whole(&self, master: &str) -> Option<Arc<StreamKey>> {
        self.masters.0.read().get(master).map(|master| master.whole.clone())
    }

    /// Who was admitted to this master playlist may have that playlist.
    pub(super) fn leads_to(&self, master: &str, playlist: &str) -> bool {
        self.has(master, |variant| variant.place == playlist)
    }

    /// Who was admitted to this master playlist may have what is of that stream.
    pub(super) fn is_of(&self, master: &str, stream: &StreamKey) -> bool {
        self.has(master, |variant| *variant.stream == *stream)
    }

    fn has(&self, master: &str, is_it: impl Fn(&Variant) -> bool) -> bool {
        self.masters.0.read().get(master).is_some_and(|master| master.variants.values().any(is_it))
    }

    /// The text, with `query` in each address. None if there is nothing to list.
    pub(super) fn master(&self, master: &str, query: &str) -> Option<String> {
        self.text(self.masters.0.read().get(master)?, query)
    }

    /// The text for those who read files, if it is another one than was written last.
    pub(super) fn changed_master(&self, master: &str) -> Option<String> {
        let masters = self.masters.0.read();
        let master = masters.get(master)?;
        self.text(master, "").filter(|text| *text != master.written)
    }

    /// That is what was written.
    pub(super) fn master_is_written(&self, master: &str, text: &str) {
        if let Some(master) = self.masters.0.write().get_mut(master) {
            text.clone_into(&mut master.written);
        }
    }

    /// What is live; if nothing is, what was.
    fn text(&self, master: &Master, query: &str) -> Option<String> {
        let uri = |uri: &str| match query {
            "" => uri.to_owned(),
            query => format!("{uri}?{query}"),
        };
        let all =
            master.variants.values().filter_map(|variant| Some((uri(&variant.uri), self.listed(variant)?)));
        let mut all: Vec<(String, Arc<Listed>)> = all.collect();
        if all.iter().any(|(_, listed)| listed.live) {
            all.retain(|(_, listed)| listed.live);
        }
        let variants =
            all.iter().map(|(uri, listed)| hls::Variant { uri, about: &listed.about, rate: listed.rate });
        (!all.is_empty()).then(|| hls::master(variants))
    }

    fn listed(&self, variant: &Variant) -> Option<Arc<Listed>> {
        self.playlist(&variant.place).map(|playlist| playlist.borrow().clone())
    }

    /// How far the other qualities have come that are live with low latency: the places of their playlists, and their live edges.
    pub(super) fn edges(&self, master: &str, but: &StreamKey) -> Vec<(String, Edge)> {
        let others: Vec<Variant> = match self.masters.0.read().get(master) {
            Some(master) => master.variants.values().filter(|other| *other.stream != *but).cloned().collect(),
            None => return Vec::new(),
        };
        let edge = |other: Variant| {
            let listed = self.listed(&other).filter(|listed| listed.live)?;
            Some((other.place, listed.low.as_ref()?.edge))
        };
        others.into_iter().filter_map(edge).collect()
    }
}
