//! Datagrams over TCP (RFC 4571, as RFC 6544 §10.1 asks): each goes behind its length in two bytes.

use crate::Error;

/// How many bytes [`header`] puts before a datagram.
pub const HEADER: usize = 2;

/// What goes before a datagram of this length.
///
/// Errors: [`Error::Frame`] beyond 65,535 bytes.
pub fn header(length: usize) -> Result<[u8; HEADER], Error> {
    let max = usize::from(u16::MAX);
    u16::try_from(length).map(u16::to_be_bytes).map_err(|_| Error::Frame { length, max })
}

/// Cuts a byte stream into datagrams. Holds at most one of them, incomplete.
#[derive(Debug)]
pub struct Reader {
    max: usize,
    held: Vec<u8>,
}

impl Reader {
    /// A reader at the start of a connection that accepts datagrams of up to `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { max, held: Vec::new() }
    }

    /// The next datagram, if `input` completes one; `input` moves behind what was read. An empty datagram is one, too.
    ///
    /// Errors: [`Error::Frame`]; the connection is of no more use.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let wanted = match self.held.first_chunk::<HEADER>() {
                None => HEADER,
                Some(&length) => {
                    let length = usize::from(u16::from_be_bytes(length));
                    if length > self.max {
                        return Err(Error::Frame { length, max: self.max });
                    }
                    if self.held.len() == HEADER + length {
                        self.held.drain(..HEADER);
                        return Ok(Some(std::mem::take(&mut self.held)));
                    }
                    HEADER + length
                }
            };
            if input.is_empty() {
                return Ok(None);
            }
            let take = input.len().min(wanted - self.held.len());
            let (piece, rest) = input.split_at_checked(take).unwrap_or((input, &[]));
            self.held.reserve_exact(wanted - self.held.len());
            self.held.extend_from_slice(piece);
            *input = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cut_gives_the_same_datagrams(
            datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..10),
            cuts in proptest::collection::vec(1usize..9, 1..20),
        ) {
            let mut stream = Vec::new();
            for datagram in &datagrams {
                stream.extend(header(datagram.len()).unwrap());
                stream.extend(datagram);
            }
            let (mut reader, mut read, mut rest) = (Reader::new(50), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (mut piece, behind) = rest.split_at((*cut).min(rest.len()));
                rest = behind;
                while let Some(datagram) = reader.read(&mut piece).unwrap() {
                    read.push(datagram);
                }
            }
            prop_assert_eq!(read, datagrams);
        }
    }

    #[test]
    fn too_long_is_an_error() {
        let mut reader = Reader::new(1500);
        assert_eq!(reader.read(&mut &[5, 0xdd, 1][..]), Err(Error::Frame { length: 1501, max: 1500 }));
        assert!(header(65_536).is_err());
    }
}
