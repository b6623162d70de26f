//! The packager: follows every published stream whose vhost wants HLS, and has its segments written on a thread that may wait for disks
//! (`follow` says how).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use formats::hls::{Piece, Segmenter};
use hub::{Broadcast, StreamKey, Subscription};
use media::Stamped;
use tracing::warn;

use super::shelf::Shelf;
use super::stream::{Order, Stream};
use crate::config::{Hls, Vhost};
use crate::follow::{self, Follower, Output, Publisher};
use crate::form;

/// A hand on the packager's thread.
pub type Packager = Follower<Packaging>;

/// What is packaged goes to the shelf.
pub struct Packaging {
    pub(super) shelf: Arc<Shelf>,
}

/// Streams whose segments stay for ever (`hls_dispose 0`) are remembered for so long after their publisher left.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3600);

impl Output for Packaging {
    const NAME: &'static str = "hls";
    type Settings = Hls;
    type Unit = Piece;
    /// What is added to the length of segments, in microseconds.
    type Link = Arc<AtomicI64>;
    type Stream = Packaged;

    fn settings(&self, _key: &StreamKey, vhost: &Vhost) -> Option<Hls> {
        vhost.hls.clone().filter(|hls| hls.fmp4.is_none())
    }

    fn subscribe(&self, broadcast: &Arc<Broadcast>, hls: &Hls) -> (Subscription<Piece>, Arc<AtomicI64>) {
        let correction = Arc::<AtomicI64>::default();
        (broadcast.subscribe(|| form::segments(hls, correction.clone())), correction)
    }

    fn retire(&self, broadcast: &Broadcast) {
        // The next segmenter is to cut as is wanted then.
        broadcast.retire::<Segmenter>();
    }

    fn open(&self, key: &StreamKey, hls: &Arc<Hls>) -> Result<Packaged, String> {
        Ok(Packaged { stream: Stream::new(key, hls, &self.shelf)?, publisher: None })
    }
}

/// A stream with its publisher.
pub struct Packaged {
    stream: Stream,
    publisher: Option<Publisher>,
}

impl follow::Stream for Packaged {
    type Unit = Piece;
    type Link = Arc<AtomicI64>;

    fn turn(self, now: Self) -> Self {
        Self { stream: self.stream.turn(now.stream), publisher: self.publisher }
    }

    fn begin(&mut self, correction: Arc<AtomicI64>, publisher: Publisher) {
        self.stream.begin(correction);
        self.publisher = Some(publisher);
    }

    fn renew(&mut self, publisher: Publisher) {
        // Its pieces begin with a discontinuity of their own.
        self.stream.renew();
        self.publisher = Some(publisher);
    }

    fn lose(&mut self, pieces: u64) {
        warn!("hls: the disk is too slow for {}, {pieces} pieces are lost", self.stream.key());
        self.stream.shelf().figures.pieces_lost.fetch_add(pieces, Relaxed);
        self.stream.lose();
    }

    fn take(&mut self, piece: Stamped<Piece>) {
        let order = self.stream.take(piece.unit);
        obey(order, self.publisher.as_ref());
    }

    /// What is half done stays so: the next publisher begins with a segment of its own, and so says its first piece.
    fn leave(&mut self) {
        self.stream.leave();
        self.publisher = None;
    }

    fn rest(&self) -> Duration {
        self.stream.hls().dispose.unwrap_or(REMEMBERED)
    }

    fn end(mut self, files_stay: bool) {
        match self.stream.hls().dispose {
            Some(_) if !files_stay => self.stream.dispose(),
            _ => self.stream.forget(),
        }
    }
}

/// Does what a stream wants done.
pub(super) fn obey(order: Order, publisher: Option<&Publisher>) {
    match order {
        Order::Continue => {}
        Order::Tell(segment) => {
            if let Some(reporter) = publisher.and_then(Publisher::reporter) {
                reporter.segment(&segment);
            }
        }
        Order::Disconnect => {
            if let Some(publisher) = publisher {
                publisher.session().kick("HLS cannot be written and `hls_on_error` says disconnect");
            }
        }
    }
}
