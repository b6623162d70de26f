//! What is coded: one module per codec, each parsing only the headers that the server needs to know.

use std::fmt;

use crate::Truncated;

pub mod aac;
pub mod av1;
#[cfg(test)]
mod bit_writer;
pub mod h264;
pub mod h265;
pub mod mp3;
pub mod nalu;
pub mod opus;
pub mod vp9;

/// A codec header that cannot be read, or that this server does not handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The header ended before a value that it promised.
    #[error("{what} ends early at byte {at}")]
    Truncated {
        /// Which header.
        what: &'static str,
        /// Where the missing value would have started.
        at: usize,
    },
    /// A value is reserved, or is refused on purpose.
    #[error("{what}: {field} {value} is not supported")]
    Unsupported {
        /// Which header.
        what: &'static str,
        /// Which field of it.
        field: &'static str,
        /// What it said.
        value: u32,
    },
    /// The payload is not a row of length-prefixed NAL units.
    #[error("NAL unit at byte {at} reaches past the end")]
    Unit {
        /// Where the length of that unit stands.
        at: usize,
    },
    /// More NAL units in one frame than any encoder makes.
    #[error("more than {max} NAL units")]
    TooManyUnits {
        /// The limit.
        max: usize,
    },
}

impl Truncated {
    /// The error that names which header ended early.
    fn of(self, what: &'static str) -> Error {
        Error::Truncated { what, at: self.at }
    }
}

/// A codec with the parameters that its configuration told. Fields are what outputs, the API and logs need.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum Codec {
    /// H.264 / AVC.
    H264(h264::Config),
    /// H.265 / HEVC.
    H265(h265::Config),
    /// AV1.
    Av1(av1::Config),
    /// VP9.
    Vp9(vp9::Config),
    /// VP8.
    Vp8,
    /// AAC of any profile.
    Aac(aac::Config),
    /// Opus.
    Opus(opus::Config),
    /// MPEG-1/2 audio layer III.
    Mp3(mp3::Config),
    /// G.711.
    G711 {
        /// µ-law (`true`) or A-law.
        mu_law: bool,
    },
    /// Speex, 16 kHz mono.
    Speex,
    /// Dolby AC-3.
    Ac3,
    /// Dolby E-AC-3.
    Eac3,
    /// FLAC.
    Flac,
    /// Any other codec of classic FLV, passed through by number (Sorenson H.263, VP6, Nellymoser, PCM, …).
    Flv {
        /// The FLV `CodecID` or `SoundFormat`.
        id: u8,
    },
    /// AMF0 data messages.
    Amf,
}

impl Codec {
    /// The name that the API shows (`H264`, `HEVC`, `AV1`, `AAC`, …).
    pub fn name(&self) -> &'static str {
        match self {
            Self::H264(_) => "H264",
            Self::H265(_) => "HEVC",
            Self::Av1(_) => "AV1",
            Self::Vp9(_) => "VP9",
            Self::Vp8 => "VP8",
            Self::Aac(_) => "AAC",
            Self::Opus(_) => "Opus",
            Self::Mp3(_) => "MP3",
            Self::G711 { mu_law: true } => "PCMU",
            Self::G711 { mu_law: false } => "PCMA",
            Self::Speex => "Speex",
            Self::Ac3 => "AC3",
            Self::Eac3 => "EAC3",
            Self::Flac => "FLAC",
            Self::Flv { id: 4 | 5 } => "VP6",
            Self::Flv { .. } => "Other",
            Self::Amf => "AMF",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
