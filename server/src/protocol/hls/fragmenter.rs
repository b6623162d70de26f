//! The packager of those vhosts whose HLS is fragmented MP4: it reads the chunks that HLS and DASH share. With low latency it is woken for each of
//! them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use formats::cmaf::Piece;
use hub::{Broadcast, StreamKey, Subscription};
use media::Stamped;
use tracing::warn;

use super::packager::{REMEMBERED, obey};
use super::shelf::Shelf;
use super::stream::Stream;
use crate::config::{Hls, Vhost};
use crate::follow::{self, Follower, Output, Pace, Publisher};
use crate::form;

/// A hand on the thread of the fragmenter.
pub type Fragmenter = Follower<Fragmenting>;

/// What is made goes to the shelf.
pub struct Fragmenting {
    pub(super) shelf: Arc<Shelf>,
}

impl Output for Fragmenting {
    const NAME: &'static str = "hls-fmp4";
    type Settings = Hls;
    type Unit = Piece;
    type Link = ();
    type Stream = Fragmented;

    fn settings(&self, _key: &StreamKey, vhost: &Vhost) -> Option<Hls> {
        vhost.hls.clone().filter(|hls| hls.fmp4.is_some())
    }

    fn subscribe(&self, broadcast: &Arc<Broadcast>, hls: &Hls) -> (Subscription<Piece>, ()) {
        (broadcast.subscribe(|| form::cmaf(hls.chunk())), ())
    }

    /// Others may read the chunks, whose length is that of the first who asked.
    fn retire(&self, _broadcast: &Broadcast) {}

    fn open(&self, key: &StreamKey, hls: &Arc<Hls>) -> Result<Fragmented, String> {
        Ok(Fragmented { stream: Stream::new(key, hls, &self.shelf)?, publisher: None })
    }

    fn pace(&self, hls: &Hls) -> Pace {
        if hls.part().is_some() { Pace::Rung } else { Pace::Beat }
    }
}

/// A stream with its publisher.
pub struct Fragmented {
    stream: Stream,
    publisher: Option<Publisher>,
}

impl follow::Stream for Fragmented {
    type Unit = Piece;
    type Link = ();

    fn turn(mut self, now: Self) -> Self {
        obey(self.stream.cut(), self.publisher.as_ref());
        Self { stream: self.stream.turn(now.stream), publisher: self.publisher }
    }

    fn begin(&mut self, (): (), publisher: Publisher) {
        self.stream.begin(Arc::default());
        self.publisher = Some(publisher);
    }

    fn renew(&mut self, publisher: Publisher) {
        obey(self.stream.cut(), self.publisher.as_ref());
        self.stream.renew();
        self.publisher = Some(publisher);
    }

    fn lose(&mut self, pieces: u64) {
        warn!("hls: the disk is too slow for {}, {pieces} chunks are lost", self.stream.key());
        self.stream.shelf().figures.pieces_lost.fetch_add(pieces, Relaxed);
        obey(self.stream.cut(), self.publisher.as_ref());
        self.stream.lose();
    }

    fn take(&mut self, piece: Stamped<Piece>) {
        match piece.unit {
            Piece::Init(init) => self.stream.init(&init),
            Piece::Chunk(chunk) => {
                if self.stream.is_cut_by(&chunk) {
                    obey(self.stream.cut(), self.publisher.as_ref());
                }
                obey(self.stream.chunk(&chunk), self.publisher.as_ref());
            }
        }
    }

    fn leave(&mut self) {
        obey(self.stream.cut(), self.publisher.as_ref());
        self.stream.leave();
        self.publisher = None;
    }

    fn rest(&self) -> Duration {
        self.stream.hls().dispose.unwrap_or(REMEMBERED)
    }

    fn end(mut self, files_stay: bool) {
        obey(self.stream.cut(), self.publisher.as_ref());
        match self.stream.hls().dispose {
            Some(_) if !files_stay => self.stream.dispose(),
            _ => self.stream.forget(),
        }
    }
}
