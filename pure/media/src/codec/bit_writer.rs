//! Writes bits, for the tests of this folder: they make parameter sets by the syntax tables of the standards.

use super::nalu;

pub(super) struct BitWriter {
    head: Vec<u8>,
    bits: Vec<bool>,
}

impl BitWriter {
    /// Whole bytes come first.
    pub(super) fn new(head: &[u8]) -> Self {
        Self { head: head.to_vec(), bits: Vec::new() }
    }

    pub(super) fn bits(&mut self, value: u32, n: u32) -> &mut Self {
        self.bits.extend((0..n).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    pub(super) fn ue(&mut self, value: u32) -> &mut Self {
        let width = (value + 1).ilog2();
        self.bits(0, width).bits(value + 1, width + 1)
    }

    pub(super) fn se(&mut self, value: i32) -> &mut Self {
        self.ue(if value > 0 { value as u32 * 2 - 1 } else { value.unsigned_abs() * 2 })
    }

    /// Without the stop bit: padded with zeros only.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        for byte in self.bits.chunks(8) {
            let bits = byte.iter().enumerate();
            out.push(bits.fold(0, |n, (at, bit)| n | u8::from(*bit) << (7 - at)));
        }
        out
    }

    /// A NAL unit: with the stop bit and emulation prevention.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.bits(1, 1);
        let mut out = Vec::new();
        for byte in self.plain() {
            if byte <= 3 && out.ends_with(&[0, 0]) {
                out.push(3);
            }
            out.push(byte);
        }
        assert_eq!(nalu::unescape(&out), self.plain());
        out
    }
}
