//! Which indices have come already (RFC 3711 §3.3.2): a window of 64 × `WORDS` bits that slides with the newest one.

/// The window. Fresh, it accepts any first index.
#[derive(Clone, Debug)]
pub(crate) struct Window<const WORDS: usize> {
    newest: Option<u64>,
    /// The bit of index i is bit i mod 64 of word i / 64 mod WORDS.
    bits: [u64; WORDS],
}

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Self { newest: None, bits: [0; WORDS] }
    }
}

impl<const WORDS: usize> Window<WORDS> {
    /// Whether the index has not come, and is not too old to tell.
    pub(crate) fn is_fresh(&self, index: u64) -> bool {
        let Some(newest) = self.newest else { return true };
        if index > newest {
            return true;
        }
        let oldest_word = (newest / 64).saturating_sub(WORDS as u64 - 1);
        index / 64 >= oldest_word && self.word(index).is_some_and(|word| word >> (index % 64) & 1 == 0)
    }

    /// The index has come, and is genuine.
    pub(crate) fn accept(&mut self, index: u64) {
        let newest = *self.newest.get_or_insert(index);
        if index > newest {
            let steps = (index / 64 - newest / 64).min(WORDS as u64);
            for step in 0..steps {
                if let Some(word) = self.bits.get_mut(((index / 64 - step) % WORDS as u64) as usize) {
                    *word = 0;
                }
            }
            self.newest = Some(index);
        }
        if let Some(word) = self.bits.get_mut((index / 64 % WORDS as u64) as usize) {
            *word |= 1 << (index % 64);
        }
    }

    fn word(&self, index: u64) -> Option<u64> {
        self.bits.get((index / 64 % WORDS as u64) as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_passes_twice_and_nothing_recent_is_refused(steps in proptest::collection::vec(0u64..600, 1..300)) {
            let mut window = Window::<4>::default();
            let (mut seen, mut base) = (HashSet::new(), 1000);
            let mut newest = 0;
            for step in steps {
                base += step / 20;
                let index = base + step % 200;
                let fresh = window.is_fresh(index);
                prop_assert!(!(fresh && seen.contains(&index)));
                // One word of the window is partly ahead.
                if index + 64 * 3 > newest {
                    prop_assert_eq!(fresh, !seen.contains(&index));
                }
                if fresh {
                    window.accept(index);
                    seen.insert(index);
                    newest = newest.max(index);
                }
            }
        }
    }

    #[test]
    fn a_jump_forgets_all() {
        let mut window = Window::<2>::default();
        (0..128).for_each(|index| window.accept(index));
        window.accept(1 << 40);
        assert!(!window.is_fresh(127) && !window.is_fresh(1 << 40));
        assert!(window.is_fresh((1 << 40) - 3) && window.is_fresh((1 << 40) + 1));
    }
}
