//! Ogg: the packets of the one stream in a file (RFC 3533). For Opus the first two are headers (RFC 7845), the
//! others are what RTP carries.

const HEADER: usize = 27;
const OPUS_HEADERS: usize = 2;

/// All packets of `file` in order.
///
/// # Errors
/// When it does not consist of whole Ogg pages.
pub fn packets(file: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let (mut packets, mut packet, mut rest) = (Vec::new(), Vec::new(), file);
    while !rest.is_empty() {
        let header = rest.get(..HEADER).filter(|header| header.starts_with(b"OggS")).ok_or("no Ogg page")?;
        let segments = usize::from(header[HEADER - 1]);
        let table = rest.get(HEADER..HEADER + segments).ok_or("an Ogg page is cut short")?;
        let mut at = HEADER + segments;
        for &length in table {
            let end = at + usize::from(length);
            packet.extend_from_slice(rest.get(at..end).ok_or("an Ogg page is cut short")?);
            // A packet goes on as long as its segments are full.
            if length < 255 {
                packets.push(std::mem::take(&mut packet));
            }
            at = end;
        }
        rest = &rest[at..];
    }
    Ok(packets)
}

/// The sound in an Ogg file of Opus.
///
/// # Errors
/// When it is no Ogg file, or holds no Opus.
pub fn opus(file: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut packets = packets(file)?;
    if packets.len() <= OPUS_HEADERS || !packets[0].starts_with(b"OpusHead") {
        return Err("no Opus in the Ogg file");
    }
    Ok(packets.split_off(OPUS_HEADERS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Packets on pages of so many segments.
    fn file(packets: &[Vec<u8>], segments: usize) -> Vec<u8> {
        let mut pieces: Vec<&[u8]> = Vec::new();
        for packet in packets {
            let mut rest = packet.as_slice();
            while rest.len() >= 255 {
                let (piece, more) = rest.split_at(255);
                pieces.push(piece);
                rest = more;
            }
            pieces.push(rest);
        }
        let page = |pieces: &[&[u8]]| {
            let mut page = [b"OggS".as_slice(), &[0; 22], &[pieces.len() as u8]].concat();
            page.extend(pieces.iter().map(|piece| piece.len() as u8));
            page.extend(pieces.concat());
            page
        };
        pieces.chunks(segments).flat_map(page).collect()
    }

    #[test]
    fn headers_are_no_sound() {
        let packets = [b"OpusHead".to_vec(), b"OpusTags".to_vec(), vec![1], vec![2]];
        assert_eq!(opus(&file(&packets, 2)).unwrap(), [vec![1], vec![2]]);
        assert!(opus(&file(&packets[1..], 2)).is_err());
    }

    proptest! {
        #[test]
        fn any_page_size_gives_the_same_packets(
            sizes in proptest::collection::vec(0usize..600, 0..10),
            segments in 1usize..20,
        ) {
            let wanted: Vec<_> = sizes.iter().map(|&size| vec![size as u8; size]).collect();
            prop_assert_eq!(packets(&file(&wanted, segments)).unwrap(), wanted);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = packets(&[b"OggS".as_slice(), &bytes].concat());
            let _ = opus(&bytes);
        }
    }
}
