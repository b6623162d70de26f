//! Fuzz bodies of this crate: each takes any bytes and must neither panic nor break what its module promises.

use crate::codec::{aac, av1, h264, h265, mp3, nalu, opus, vp9};

/// Every parser of codec headers, and the walks over NAL units.
pub fn codec(data: &[u8]) {
    // A record that parses must still parse, as itself but wider, once its length size is rewritten.
    if let Ok(config) = h264::Config::parse(data) {
        let wide = h264::Config::parse(&h264::widen(data));
        assert_eq!(wide, Ok(h264::Config { length_size: 4, ..config }));
    }
    if let Ok(config) = h265::Config::parse(data) {
        let wide = h265::Config::parse(&h265::widen(data));
        assert_eq!(wide, Ok(h265::Config { length_size: 4, ..config }));
    }
    let _ = (h264::is_idr(data), h265::is_irap(data));
    // A record that was made of parameter sets must parse.
    let set = [bytes::Bytes::copy_from_slice(data)];
    let made = [
        h264::record(&set, &set).map(|made| h264::Config::parse(&made).is_ok()),
        h265::record(&[], &set, &set).map(|made| h265::Config::parse(&made).is_ok()),
        av1::record(data).map(|made| av1::Config::parse(&made).is_ok()),
    ];
    assert!(made.into_iter().flatten().all(|parses| parses));
    let _ = (aac::Config::parse(data), av1::Config::parse(data), mp3::Config::parse(data));
    let _ = (opus::Config::parse(data), vp9::Config::parse(data));
    for size in [1, 2] {
        if let Ok(wide) = nalu::widen(data, size) {
            assert_eq!(nalu::count(&wide, 4), nalu::count(data, size));
        }
    }
    if let Ok(canonical) = nalu::from_annexb(data) {
        assert_eq!(nalu::count(&canonical, 4), Ok(nalu::annexb(data).count()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codec(data: Vec<u8>) {
            super::codec(&data);
        }

        #[test]
        fn codec_behind_a_known_version(mut data in prop::collection::vec(any::<u8>(), 23..200), version in 0u8..2) {
            data[0] = [1, 0x81][usize::from(version)];
            data[21] |= 3;
            super::codec(&data);
        }
    }
}
