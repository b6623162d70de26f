//! Checked readers over bytes and bits: reading past the end is an error, never a panic.

/// The input ended before the value did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ends early at byte {at}")]
pub struct Truncated {
    /// Where the value would have started, in bytes from the start of the input.
    pub at: usize,
}

/// Reads big-endian integers and slices from a byte slice.
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> ByteReader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.all.get(self.at..).unwrap_or_default()
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.all.len().saturating_sub(self.at)
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Truncated> {
        let end = self.at.checked_add(n).ok_or(Truncated { at: self.at })?;
        let out = self.all.get(self.at..end).ok_or(Truncated { at: self.at })?;
        self.at = end;
        Ok(out)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| Truncated { at })
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Three bytes.
    pub fn u24(&mut self) -> Result<u32, Truncated> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Three bytes, two's complement.
    pub fn i24(&mut self) -> Result<i32, Truncated> {
        Ok(((self.u24()? << 8) as i32) >> 8)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Eight bytes as a floating-point number.
    pub fn f64(&mut self) -> Result<f64, Truncated> {
        Ok(f64::from_be_bytes(self.array()?))
    }
}

/// Reads bits, most significant first, with the Exp-Golomb codes of H.264 and H.265 (ITU-T H.264 §9.1).
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// A reader at the first bit of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bits read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bits are left.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_mul(8).saturating_sub(self.at)
    }

    /// One bit.
    pub fn bit(&mut self) -> Result<bool, Truncated> {
        let byte = self.bytes.get(self.at / 8).ok_or(Truncated { at: self.at / 8 })?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// `n` bits, at most 32, as an unsigned number.
    pub fn bits(&mut self, n: u32) -> Result<u32, Truncated> {
        let mut value = 0u64;
        for _ in 0..n.min(32) {
            value = value << 1 | u64::from(self.bit()?);
        }
        Ok(value as u32)
    }

    /// Skips `n` bits.
    pub fn skip(&mut self, n: usize) -> Result<(), Truncated> {
        if n > self.left() {
            return Err(Truncated { at: self.at / 8 });
        }
        self.at += n;
        Ok(())
    }

    /// Unsigned Exp-Golomb.
    pub fn ue(&mut self) -> Result<u32, Truncated> {
        let start = self.at / 8;
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err(Truncated { at: start });
            }
        }
        let tail = self.bits(zeros)?;
        Ok(((1u64 << zeros) - 1 + u64::from(tail)) as u32)
    }

    /// Signed Exp-Golomb.
    pub fn se(&mut self) -> Result<i32, Truncated> {
        let k = i64::from(self.ue()?);
        Ok((if k % 2 == 0 { -(k / 2) } else { (k + 1) / 2 }) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_checked() {
        let mut r = ByteReader::new(&[1, 2, 3, 0xff, 0xff, 0xfe]);
        assert_eq!(r.u24(), Ok(0x010203));
        assert_eq!(r.i24(), Ok(-2));
        assert_eq!(r.u8(), Err(Truncated { at: 6 }));
        assert_eq!(r.take(usize::MAX), Err(Truncated { at: 6 }));
    }

    #[test]
    fn exp_golomb_of_the_table_in_h264_9_1() {
        // 1 010 011 00100 00101 -> 0 1 2 3 4
        let mut r = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        for want in 0..5 {
            assert_eq!(r.ue(), Ok(want));
        }
        let mut r = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        for want in [0, 1, -1, 2, -2] {
            assert_eq!(r.se(), Ok(want));
        }
        assert!(BitReader::new(&[0; 8]).ue().is_err());
    }
}
