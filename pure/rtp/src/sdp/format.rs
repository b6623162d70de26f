//! One payload type of a section: what it carries, its parameters and its feedback.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use media::Track;
use media::codec::Codec;

use crate::pack::VIDEO_RATE;

/// A payload type with its `rtpmap`, `fmtp` and `rtcp-fb` lines (RFC 8866 §6.6, §6.15; RFC 4585 §4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// The number in packets.
    pub payload_type: u8,
    /// The name of the encoding as written, such as `H264` or `opus`; empty when nothing maps it.
    pub encoding: String,
    /// Ticks per second.
    pub rate: u32,
    /// Channels, where the map tells them.
    pub channels: Option<u8>,
    /// The parameters in order; the value is empty for those without one.
    pub parameters: Vec<(String, String)>,
    /// The feedback it takes, such as `nack pli`.
    pub feedback: Vec<String>,
}

impl Format {
    /// Without parameters and feedback.
    pub fn new(payload_type: u8, encoding: &str, rate: u32, channels: Option<u8>) -> Self {
        Self { payload_type, encoding: encoding.to_owned(), rate, channels, ..Self::default() }
    }

    /// How a track that [`crate::pack`] packs is described, with its parameters; `None` for codecs without a payload format.
    pub fn of(track: &Track, payload_type: u8) -> Option<Self> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let joined =
            |sets: &[Bytes]| sets.iter().map(|set| STANDARD.encode(set)).collect::<Vec<_>>().join(",");
        let (encoding, rate, channels, parameters) = match &track.codec {
            Codec::H264(config) => {
                let profile = hex(&[config.profile, config.constraints, config.level]);
                let sets = joined(&[&config.sps[..], &config.pps].concat());
                let mode = ("packetization-mode", "1".to_owned());
                let list = vec![mode, ("profile-level-id", profile), ("sprop-parameter-sets", sets)];
                ("H264", VIDEO_RATE, None, list)
            }
            Codec::H265(config) => {
                let lists =
                    [("sprop-vps", &config.vps), ("sprop-sps", &config.sps), ("sprop-pps", &config.pps)];
                ("H265", VIDEO_RATE, None, lists.map(|(name, sets)| (name, joined(sets))).to_vec())
            }
            Codec::Vp8 => ("VP8", VIDEO_RATE, None, vec![]),
            Codec::Vp9(config) => ("VP9", VIDEO_RATE, None, vec![("profile-id", config.profile.to_string())]),
            Codec::Av1(config) => ("AV1", VIDEO_RATE, None, vec![("profile", config.profile.to_string())]),
            Codec::Opus(config) if config.channels == 2 => {
                ("opus", 48_000, Some(2), vec![("sprop-stereo", "1".to_owned())])
            }
            Codec::Opus(_) => ("opus", 48_000, Some(2), vec![]),
            Codec::G711 { mu_law: true } => ("PCMU", 8000, None, vec![]),
            Codec::G711 { mu_law: false } => ("PCMA", 8000, None, vec![]),
            Codec::Aac(config) => {
                let mode = [("profile-level-id", "1"), ("mode", "AAC-hbr"), ("sizelength", "13")];
                let rest = [("indexlength", "3"), ("indexdeltalength", "3")];
                let fixed = mode.into_iter().chain(rest).map(|(name, value)| (name, value.to_owned()));
                let list = fixed.chain([("config", hex(&track.config))]).collect();
                ("MPEG4-GENERIC", config.sample_rate, Some(config.channels.max(1)), list)
            }
            _ => return None,
        };
        let filled = parameters.into_iter().filter(|(_, value)| !value.is_empty());
        let parameters = filled.map(|(name, value)| (name.to_owned(), value)).collect();
        Some(Self { parameters, ..Self::new(payload_type, encoding, rate, channels) })
    }

    /// It has this encoding, in any case of letters.
    pub fn is(&self, encoding: &str) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding)
    }

    /// The value of a parameter, by its name in any case of letters.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// This feedback is taken.
    pub fn has_feedback(&self, kind: &str) -> bool {
        self.feedback.iter().any(|feedback| feedback == kind)
    }

    /// The parameters of H.264, with the defaults of RFC 6184 §8.1.
    pub fn h264(&self) -> Option<H264Parameters> {
        self.is("H264").then(|| H264Parameters {
            profile_level_id: self.parameter("profile-level-id").and_then(hex24).unwrap_or([0x42, 0, 0x0a]),
            packetization_mode: self.number("packetization-mode").unwrap_or(0),
            level_asymmetry_allowed: self.number("level-asymmetry-allowed") == Some(1),
        })
    }

    /// The parameter sets that came out of band: `sprop-parameter-sets` of H.264, or `sprop-vps`, `-sps`, `-pps` of H.265 (RFC 6184 §8.1, RFC
    /// 7798 §7.1). What is not Base64 is left out.
    pub fn parameter_sets(&self) -> Vec<Bytes> {
        let names = ["sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"];
        let values = names.iter().filter_map(|name| self.parameter(name));
        let units = values.flat_map(|value| value.split(','));
        units
            .filter_map(|unit| STANDARD.decode(unit.trim()).ok())
            .filter(|unit| !unit.is_empty())
            .map(Bytes::from)
            .collect()
    }

    /// The AudioSpecificConfig of MPEG4-GENERIC (`config`, RFC 3640 §4.1).
    pub fn audio_config(&self) -> Option<Bytes> {
        let text = self.parameter("config")?.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |pair: &[u8; 2]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
        text.as_chunks().0.iter().map(byte).collect()
    }

    fn number(&self, name: &str) -> Option<u8> {
        self.parameter(name)?.parse().ok()
    }

    /// The parameters as an `fmtp` line has them.
    pub(super) fn parameter_line(&self) -> String {
        let pair = |(key, value): &(String, String)| match value.is_empty() {
            true => key.clone(),
            false => format!("{key}={value}"),
        };
        self.parameters.iter().map(pair).collect::<Vec<_>>().join(";")
    }
}

/// What two ends must agree on for H.264 (RFC 6184 §8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Parameters {
    /// `profile_idc`, the constraint flags, `level_idc`.
    pub profile_level_id: [u8; 3],
    /// 0 single units only, 1 with aggregates and fragments, 2 interleaved.
    pub packetization_mode: u8,
    /// The level may differ between the directions.
    pub level_asymmetry_allowed: bool,
}

fn hex24(text: &str) -> Option<[u8; 3]> {
    let number = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 6)?;
    let [_, a, b, c] = number.to_be_bytes();
    Some([a, b, c])
}
