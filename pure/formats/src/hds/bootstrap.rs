//! The bootstrap: which fragments there are, and when each begins.

use std::collections::VecDeque;

use media::Micros;

/// The fragments that players are told of.
#[derive(Clone, Debug)]
pub struct Window {
    length: Micros,
    entries: VecDeque<Entry>,
    /// The number of the next fragment.
    next: u32,
    /// Counts the changes.
    version: u32,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u32,
    start: Micros,
    duration: Micros,
}

/// Ticks in a second: the times in these boxes are those of FLV tags.
const TIMESCALE: u32 = 1000;

/// There is one segment, and its number is this.
const SEGMENT: u32 = 1;

/// What a player is told of the number of fragments in a segment that grows.
const UNKNOWN: u32 = u32::MAX;

impl Window {
    /// An empty window that lists at least `length` of media (`hds_window`). The first fragment of a stream is number 1.
    pub fn new(length: Micros) -> Self {
        let length = length.max(Micros::ZERO);
        Self { length, entries: VecDeque::new(), next: 1, version: 0, ended: false }
    }

    /// Lists so much from the next fragment on.
    pub fn resize(&mut self, length: Micros) {
        self.length = length.max(Micros::ZERO);
    }

    /// The number that the next fragment gets.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// The numbers of the fragments that are listed, oldest first.
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = u32> {
        self.entries.iter().map(|entry| entry.number)
    }

    /// Lists a new fragment. Returns the numbers of those that fell out: what is listed without the oldest fragment never exceeds the
    /// length.
    pub fn push(&mut self, start: Micros, duration: Micros) -> Vec<u32> {
        self.entries.push_back(Entry { number: self.next, start, duration });
        self.next = self.next.saturating_add(1);
        self.version = self.version.wrapping_add(1);
        self.ended = false;
        let mut sum = self.entries.iter().fold(Micros::ZERO, |sum, entry| sum + entry.duration);
        let mut out = Vec::new();
        while let Some(oldest) = self.entries.front()
            && sum - oldest.duration > self.length
            && let Some(oldest) = self.entries.pop_front()
        {
            sum = sum - oldest.duration;
            out.push(oldest.number);
        }
        out
    }

    /// No fragment will follow, until another is pushed.
    pub fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.version = self.version.wrapping_add(1);
        }
    }

    /// The bootstrap info box (§C.2.1); `None` before the first fragment.
    pub fn bootstrap(&self) -> Option<Vec<u8>> {
        let newest = self.entries.back()?;
        let now = millis(newest.start + newest.duration);
        Some(boxed(*b"abst", |out| {
            out.extend_from_slice(&self.version.to_be_bytes());
            // Profile "named", and whether it is live; an update is always whole.
            out.push(if self.ended { 0 } else { 0x20 });
            out.extend_from_slice(&TIMESCALE.to_be_bytes());
            out.extend_from_slice(&now.to_be_bytes());
            out.extend_from_slice(&0_u64.to_be_bytes());
            // No movie identifier, servers, qualities, DRM data, or metadata.
            out.extend_from_slice(&[0; 5]);
            out.push(1);
            out.extend(self.segments(newest.number));
            out.push(1);
            out.extend(self.fragments());
        }))
    }

    /// The segment run table (§C.2.1.1).
    fn segments(&self, newest: u32) -> Vec<u8> {
        boxed(*b"asrt", |out| {
            out.push(0);
            out.extend_from_slice(&1_u32.to_be_bytes());
            out.extend_from_slice(&SEGMENT.to_be_bytes());
            let fragments = if self.ended { newest } else { UNKNOWN };
            out.extend_from_slice(&fragments.to_be_bytes());
        })
    }

    /// The fragment run table (§C.2.1.2): a run for each fragment, since no two need to be of one length.
    fn fragments(&self) -> Vec<u8> {
        boxed(*b"afrt", |out| {
            out.extend_from_slice(&TIMESCALE.to_be_bytes());
            out.push(0);
            let runs = self.entries.len() as u32 + u32::from(self.ended);
            out.extend_from_slice(&runs.to_be_bytes());
            for Entry { number, start, duration } in &self.entries {
                out.extend_from_slice(&number.to_be_bytes());
                out.extend_from_slice(&millis(*start).to_be_bytes());
                let length = millis(*start + *duration).saturating_sub(millis(*start)).max(1);
                out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            }
            if self.ended {
                // A run of no length, and why: the end of the presentation.
                out.extend_from_slice(&[0; 4 + 8 + 4 + 1]);
            }
        })
    }
}

fn millis(time: Micros) -> u64 {
    u64::try_from(time.millis()).unwrap_or(0)
}

/// A full box of version 0 without flags (§1.3).
fn boxed(name: [u8; 4], fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend_from_slice(&name);
    out.extend_from_slice(&[0; 4]);
    fill(&mut out);
    let size = u32::try_from(out.len()).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(field) = out.first_chunk_mut() {
        *field = size;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: i64) -> Micros {
        Micros::from_secs(secs)
    }

    #[test]
    fn every_byte_of_a_bootstrap() {
        let mut window = Window::new(secs(60));
        assert_eq!(window.bootstrap(), None);
        window.push(secs(0), Micros::from_millis(10_020));
        window.push(Micros::from_millis(10_020), Micros(2_999_900));
        let want: &[&[u8]] = &[
            &[0, 0, 0, 0x7a],
            b"abst\0\0\0\0",
            // Version of the information, live, timescale, current time 13,019, no SMPTE offset.
            &[0, 0, 0, 2, 0x20, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0, 0, 0x32, 0xdb, 0, 0, 0, 0, 0, 0, 0, 0],
            // Movie, servers, qualities, DRM, metadata; one segment run table.
            &[0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0x19],
            b"asrt\0\0\0\0",
            &[0, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
            // One fragment run table.
            &[1],
            &[0, 0, 0, 0x35],
            b"afrt\0\0\0\0",
            &[0, 0, 3, 0xe8, 0, 0, 0, 0, 2],
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x27, 0x24],
            &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x27, 0x24, 0, 0, 0x0b, 0xb7],
        ];
        let want = want.concat();
        assert_eq!(want.len(), 0x7a);
        assert_eq!(window.bootstrap().unwrap(), want);
    }

    #[test]
    fn the_window_moves_and_ends() {
        let mut window = Window::new(secs(20));
        let out: Vec<_> = (0..5).map(|n| window.push(secs(n * 10), secs(10))).collect();
        assert_eq!(out, [vec![], vec![], vec![], vec![1], vec![2]]);
        assert_eq!(window.numbers().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(window.next(), 6);
        let live = window.bootstrap().unwrap();
        window.end();
        let ended = window.bootstrap().unwrap();
        assert_eq!(ended.len(), live.len() + 17, "a run that tells the end");
        assert!(ended.ends_with(&[0; 17]));
        assert_eq!((live[16], ended[16]), (0x20, 0));
        let per_segment = |bytes: &[u8]| bytes[64..68].to_vec();
        assert_eq!(per_segment(&live), [0xff; 4]);
        assert_eq!(per_segment(&ended), [0, 0, 0, 5]);
        assert!(live[15] < ended[15], "the version rises");
        window.push(secs(60), secs(10));
        assert_eq!(window.bootstrap().unwrap()[16], 0x20, "another publisher");
    }
}
