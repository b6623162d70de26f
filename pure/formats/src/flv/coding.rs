//! The codecs that need more than a number: their FourCC names in enhanced RTMP, and how their sequence headers
//! become a [`Codec`]. How packets are laid out belongs to `demux` and `mux`.

use media::Kind;
use media::codec::{self, Codec, aac, av1, h264, h265, mp3, opus, vp9};

/// A codec without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    H264,
    H265,
    Av1,
    Vp9,
    Vp8,
    Aac,
    Opus,
    Ac3,
    Eac3,
    Flac,
    Mp3,
}

impl Coding {
    const ALL: [Self; 11] = [
        Self::H264,
        Self::H265,
        Self::Av1,
        Self::Vp9,
        Self::Vp8,
        Self::Aac,
        Self::Opus,
        Self::Ac3,
        Self::Eac3,
        Self::Flac,
        Self::Mp3,
    ];

    /// The coding of a codec, unless it belongs to classic FLV alone.
    pub(super) fn of(codec: &Codec) -> Option<Self> {
        Some(match codec {
            Codec::H264(_) => Self::H264,
            Codec::H265(_) => Self::H265,
            Codec::Av1(_) => Self::Av1,
            Codec::Vp9(_) => Self::Vp9,
            Codec::Vp8 => Self::Vp8,
            Codec::Aac(_) => Self::Aac,
            Codec::Opus(_) => Self::Opus,
            Codec::Ac3 => Self::Ac3,
            Codec::Eac3 => Self::Eac3,
            Codec::Flac => Self::Flac,
            Codec::Mp3(_) => Self::Mp3,
            _ => return None,
        })
    }

    /// The coding of this kind with this name.
    pub(super) fn from_fourcc(kind: Kind, fourcc: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.fourcc() == fourcc && c.kind() == kind)
    }

    /// The name in enhanced RTMP.
    pub(super) fn fourcc(self) -> [u8; 4] {
        *match self {
            Self::H264 => b"avc1",
            Self::H265 => b"hvc1",
            Self::Av1 => b"av01",
            Self::Vp9 => b"vp09",
            Self::Vp8 => b"vp08",
            Self::Aac => b"mp4a",
            Self::Opus => b"Opus",
            Self::Ac3 => b"ac-3",
            Self::Eac3 => b"ec-3",
            Self::Flac => b"fLaC",
            Self::Mp3 => b".mp3",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::H264 | Self::H265 | Self::Av1 | Self::Vp9 | Self::Vp8 => Kind::Video,
            _ => Kind::Audio,
        }
    }

    /// Its frames are made of NAL units, and may be shown in another order than decoded.
    pub(super) fn has_units(self) -> bool {
        matches!(self, Self::H264 | Self::H265)
    }

    /// The codec that a sequence header describes.
    pub(super) fn describe(self, record: &[u8]) -> Result<Codec, codec::Error> {
        Ok(match self {
            Self::H264 => Codec::H264(h264::Config::parse(record)?),
            Self::H265 => Codec::H265(h265::Config::parse(record)?),
            Self::Av1 => Codec::Av1(av1::Config::parse(record)?),
            Self::Vp9 => Codec::Vp9(vp9::Config::parse(record)?),
            Self::Aac => Codec::Aac(aac::Config::parse(record)?),
            // The standard allows an empty header for mono and stereo.
            Self::Opus if record.is_empty() => Codec::Opus(opus::Config::default()),
            Self::Opus => Codec::Opus(opus::Config::parse(record)?),
            Self::Mp3 => Codec::Mp3(mp3::Config::parse(record).unwrap_or(UNKNOWN_MP3)),
            Self::Vp8 => Codec::Vp8,
            Self::Ac3 => Codec::Ac3,
            Self::Eac3 => Codec::Eac3,
            Self::Flac => Codec::Flac,
        })
    }

    /// The codec of a stream that starts without a sequence header; `None` for those which cannot.
    pub(super) fn describe_frame(self, frame: &[u8]) -> Option<Codec> {
        match self {
            Self::Opus => Some(Codec::Opus(opus::Config::default())),
            Self::Vp8 | Self::Ac3 | Self::Eac3 | Self::Flac | Self::Mp3 => self.describe(frame).ok(),
            _ => None,
        }
    }
}

/// What an MP3 stream most likely is when its first frame cannot be read.
const UNKNOWN_MP3: mp3::Config = mp3::Config { sample_rate: 44_100, channels: 2, bitrate: None };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_one_kind() {
        for coding in Coding::ALL {
            assert_eq!(Coding::from_fourcc(coding.kind(), coding.fourcc()), Some(coding));
        }
        assert_eq!(Coding::from_fourcc(Kind::Audio, *b"avc1"), None);
        assert_eq!(Coding::from_fourcc(Kind::Video, *b"vvc1"), None);
    }
}
