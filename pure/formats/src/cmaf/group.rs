//! Chunks gathered into segments: where one segment ends and the next begins. Each reader has its own lengths, and all of them share the
//! chunks.

use media::Micros;

use super::{Chunk, ROUNDING};

/// How long segments shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupingOptions {
    /// A segment ends before the first keyframe that comes when it is so long.
    pub target: Micros,
    /// A segment ends before any chunk when it is so long, whatever the chunk begins with.
    pub overflow: Micros,
}

/// What a chunk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// The open segment, if there is one, is complete where it stands, and this chunk opens the next one.
    Opens {
        /// The new segment does not follow the one before, or is the first.
        discontinuity: bool,
    },
    /// It belongs to the open segment.
    Joins,
    /// It is to be left out: there is no segment that it could be part of, and it cannot begin one.
    Skipped,
}

/// Decides for each chunk in turn.
#[derive(Clone, Debug)]
pub struct Grouping {
    options: GroupingOptions,
    /// Where the open segment begins.
    open: Option<Micros>,
    discontinuity: bool,
}

impl Grouping {
    /// Before the first chunk.
    pub fn new(options: GroupingOptions) -> Self {
        Self { options, open: None, discontinuity: true }
    }

    /// The next chunk.
    pub fn chunk(&mut self, chunk: &Chunk) -> Join {
        if chunk.discontinuity {
            self.restart();
        }
        let opens = match self.open {
            None => chunk.independent,
            Some(start) => {
                let length = if chunk.independent { self.options.target } else { self.options.overflow };
                chunk.start - start >= length - ROUNDING && chunk.start > start
            }
        };
        match (opens, self.open) {
            (true, _) => {
                self.open = Some(chunk.start);
                Join::Opens { discontinuity: std::mem::take(&mut self.discontinuity) }
            }
            (false, Some(_)) => Join::Joins,
            (false, None) => Join::Skipped,
        }
    }

    /// What comes next does not follow what was: chunks were missed, or the publisher has left. The open segment is over, complete or not; the
    /// next one begins with a keyframe.
    pub fn restart(&mut self) {
        self.open = None;
        self.discontinuity = true;
    }

    /// Where the open segment begins.
    pub fn open(&self) -> Option<Micros> {
        self.open
    }
}
