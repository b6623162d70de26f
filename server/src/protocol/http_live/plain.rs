//! Bodies of which every player gets the same bytes: MPEG-TS, AAC and MP3.

use std::marker::PhantomData;

use formats::{es, ts};
use media::{Stamped, Unit};

use crate::net;

/// A unit that is its own bytes.
pub(super) trait Plain: Unit {
    /// Lays them out.
    fn write(&self, out: &mut Vec<u8>);
}

impl Plain for ts::Burst {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

impl Plain for es::Chunk {
    fn write(&self, out: &mut Vec<u8>) {
        es::Chunk::write(self, out);
    }
}

/// One player's body.
pub(super) struct Wire<U>(PhantomData<U>);

impl<U> Default for Wire<U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<U> Clone for Wire<U> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<U: Plain> net::Wire for Wire<U> {
    type Unit = U;
    type Image = Vec<u8>;

    fn lay(&mut self, unit: &Stamped<U>, out: &mut Vec<u8>) {
        unit.unit.write(out);
    }

    fn begin(&self, image: &mut Vec<u8>) {
        image.clear();
        image.shrink_to(1 << 20);
    }

    fn draw(&mut self, unit: &Stamped<U>, image: &mut Vec<u8>) {
        unit.unit.write(image);
    }

    fn share<'i>(&mut self, image: &'i mut Vec<u8>) -> Option<&'i [u8]> {
        Some(image)
    }
}
