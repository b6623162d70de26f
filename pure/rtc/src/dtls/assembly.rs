//! Handshake messages out of their fragments (RFC 6347 §4.2.3): in order, and with bounded memory whatever comes.

/// The longest message taken, in bytes; a chain of certificates is the longest there is.
pub(super) const MAX_MESSAGE: usize = 16 * 1024;
/// How many messages may be incomplete or early at once; a flight has six.
const AHEAD: u16 = 8;
/// What all of them together may hold, in bytes.
const MAX_HELD: usize = 48 * 1024;

/// One fragment, as a record has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) kind: u8,
    pub(super) sequence: u16,
    /// Of the whole message.
    pub(super) length: usize,
    pub(super) offset: usize,
    pub(super) data: &'a [u8],
    /// The epoch of its record.
    pub(super) epoch: u16,
}

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) kind: u8,
    pub(super) sequence: u16,
    pub(super) epoch: u16,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Assembly {
    next: u16,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    whole: Whole,
    /// One bit for each byte that has come.
    have: Vec<u64>,
    missing: usize,
}

impl Assembly {
    /// Whether a message of this number has been taken already, so that its fragment says: the peer repeats itself.
    pub(super) fn is_past(&self, sequence: u16) -> bool {
        sequence < self.next
    }

    /// Adds a fragment. What does not fit with what came before, or is too much, is ignored: the peer sends it again.
    pub(super) fn add(&mut self, fragment: Fragment<'_>) {
        let end = fragment.offset.saturating_add(fragment.data.len());
        let ahead = fragment.sequence.checked_sub(self.next);
        if fragment.length > MAX_MESSAGE || end > fragment.length || ahead.is_none_or(|ahead| ahead >= AHEAD)
        {
            return;
        }
        let held: usize = self.parts.iter().map(|part| part.whole.body.len()).sum();
        let at = match self.parts.iter().position(|part| part.whole.sequence == fragment.sequence) {
            Some(at) => at,
            None if held + fragment.length > MAX_HELD => return,
            None => {
                self.parts.push(Part {
                    whole: Whole {
                        kind: fragment.kind,
                        sequence: fragment.sequence,
                        epoch: fragment.epoch,
                        body: vec![0; fragment.length],
                    },
                    have: vec![0; fragment.length.div_ceil(64)],
                    missing: fragment.length,
                });
                self.parts.len() - 1
            }
        };
        let Some(part) = self.parts.get_mut(at) else { return };
        let whole = &mut part.whole;
        if (whole.kind, whole.epoch, whole.body.len()) != (fragment.kind, fragment.epoch, fragment.length) {
            return;
        }
        for (at, &byte) in (fragment.offset..).zip(fragment.data) {
            let (Some(place), Some(bits)) = (whole.body.get_mut(at), part.have.get_mut(at / 64)) else {
                return;
            };
            if *bits >> (at % 64) & 1 == 0 {
                *bits |= 1 << (at % 64);
                *place = byte;
                part.missing -= 1;
            }
        }
    }

    /// The next message, if it is whole.
    pub(super) fn take(&mut self) -> Option<Whole> {
        let ready = |part: &Part| part.whole.sequence == self.next && part.missing == 0;
        let at = self.parts.iter().position(ready)?;
        self.next = self.next.checked_add(1)?;
        Some(self.parts.swap_remove(at).whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cut_and_order_gives_the_same_messages(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..9),
            cut in 1usize..100,
            seed: u64,
        ) {
            let mut fragments = Vec::new();
            for (sequence, body) in messages.iter().enumerate() {
                let piece = |(n, data)| Fragment {
                    kind: 1, sequence: sequence as u16, length: body.len(), offset: n * cut, data, epoch: 0,
                };
                fragments.extend(body.chunks(cut).enumerate().map(piece));
                fragments.extend(body.is_empty().then(|| piece((0, &[]))));
            }
            let mut random = fastrand::Rng::with_seed(seed);
            fragments.extend_from_within(..fragments.len() / 2);
            random.shuffle(&mut fragments);
            let (mut assembly, mut read) = (Assembly::default(), Vec::new());
            for fragment in fragments {
                assembly.add(fragment);
                while let Some(whole) = assembly.take() {
                    read.push(whole.body);
                }
            }
            prop_assert_eq!(read, messages);
        }
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut assembly = Assembly::default();
        for sequence in 0..100 {
            for length in [MAX_MESSAGE, MAX_MESSAGE + 1, 1000] {
                assembly.add(Fragment { kind: 1, sequence, length, offset: 5, data: &[1; 10], epoch: 0 });
                assembly.add(Fragment {
                    kind: 1,
                    sequence,
                    length,
                    offset: length,
                    data: &[1; 10],
                    epoch: 0,
                });
            }
        }
        assert!(assembly.parts.iter().map(|part| part.whole.body.len()).sum::<usize>() <= MAX_HELD);
        assert!(assembly.parts.len() <= usize::from(AHEAD));
        assert_eq!(assembly.take(), None);
    }
}
