//! Decoders: frames of a codec to pairs of samples. The codec libraries are named here and in `encode`, and nowhere else.

use bytes::Bytes;
use media::Track;
use media::codec::Codec;
use syom::{Channel, DecodeOptions};

use super::{Pair, RATE, g711};

/// A decoder of one track.
pub(super) trait Decode: Send {
    /// Decodes one frame, appends its samples and tells their rate in Hz; `None` when the frame is broken.
    fn decode(&mut self, data: &[u8], out: &mut Vec<Pair>) -> Option<u32>;
}

/// A decoder for the track, if its codec is known here.
pub(super) fn decoder(track: &Track) -> Option<Box<dyn Decode>> {
    Some(match &track.codec {
        Codec::Aac(_) => Box::new(Aac::new(track.config.clone())?),
        Codec::Mp3(_) => Box::new(Mp3::new()),
        Codec::Opus(_) => Box::new(Opus::new()?),
        Codec::G711 { mu_law } => Box::new(G711::new(*mu_law, &track.config)),
        _ => return None,
    })
}

/// AAC of the profiles LC, HE and HE v2.
struct Aac {
    config: Bytes,
    decoder: syom::Decoder,
}

impl Aac {
    fn new(config: Bytes) -> Option<Self> {
        // The library would stop after two hours; a stream goes on for ever.
        let options = DecodeOptions::audio().with_max_duration_secs(f64::INFINITY);
        let decoder = syom::Decoder::from_asc(&config, options).ok()?;
        Some(Self { config, decoder })
    }
}

impl Decode for Aac {
    fn decode(&mut self, data: &[u8], out: &mut Vec<Pair>) -> Option<u32> {
        let mut rate = None;
        let done = self.decoder.decode_au(data, |frame| {
            rate = Some(frame.sample_rate);
            mix(frame.planar, frame.meta.labels(), out);
            Ok(())
        });
        if done.is_err() {
            // After an error it refuses to go on.
            self.decoder.reset();
            let _ = self.decoder.set_asc(&self.config);
            return None;
        }
        rate
    }
}

/// Mixes any number of channels to two, as ITU-R BS.775 does; the bass channel is left out.
fn mix(planes: &[&[f32]], labels: impl Iterator<Item = Channel>, out: &mut Vec<Pair>) {
    match planes {
        [] => {}
        [mono] => out.extend(mono.iter().map(|&sample| [sample; 2])),
        [left, right] => out.extend(left.iter().zip(*right).map(|(&left, &right)| [left, right])),
        [first, ..] => {
            const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
            let start = out.len();
            out.resize(start + first.len(), [0.0; 2]);
            let weigh = |label| match label {
                Channel::FrontLeft => [1.0, 0.0],
                Channel::FrontRight => [0.0, 1.0],
                Channel::BackLeft | Channel::SideLeft => [HALF, 0.0],
                Channel::BackRight | Channel::SideRight => [0.0, HALF],
                Channel::Lfe => [0.0, 0.0],
                _ => [HALF, HALF],
            };
            let weights: Vec<Pair> = labels.map(weigh).collect();
            // So that all at full scale is full scale.
            let sum = |side: usize| weights.iter().map(|weight| weight[side]).sum::<f32>();
            let scale = sum(0).max(sum(1)).max(1.0).recip();
            for (plane, [left, right]) in planes.iter().zip(weights) {
                for (pair, sample) in out[start..].iter_mut().zip(*plane) {
                    pair[0] += sample * left * scale;
                    pair[1] += sample * right * scale;
                }
            }
        }
    }
}

/// MPEG audio layer III.
struct Mp3 {
    decoder: nanomp3::Decoder,
    pcm: Box<[f32; nanomp3::MAX_SAMPLES_PER_FRAME]>,
}

impl Mp3 {
    fn new() -> Self {
        Self { decoder: nanomp3::Decoder::new(), pcm: Box::new([0.0; nanomp3::MAX_SAMPLES_PER_FRAME]) }
    }
}

impl Decode for Mp3 {
    fn decode(&mut self, mut data: &[u8], out: &mut Vec<Pair>) -> Option<u32> {
        let mut rate = None;
        while !data.is_empty() {
            let (used, info) = self.decoder.decode(data, &mut self.pcm[..]);
            data = data.get(used.max(1)..).unwrap_or_default();
            let Ok(info) = info else { continue };
            let n = info.samples_produced;
            match info.channels {
                nanomp3::Channels::Mono => out.extend(self.pcm[..n].iter().map(|&sample| [sample; 2])),
                nanomp3::Channels::Stereo => out.extend_from_slice(self.pcm[..2 * n].as_chunks().0),
            }
            rate = Some(info.sample_rate);
        }
        rate
    }
}

/// The longest packet that Opus knows: 120 ms.
const LONGEST_OPUS: usize = RATE as usize * 120 / 1000;

/// Opus.
struct Opus {
    decoder: opus::Decoder,
    pcm: Vec<Pair>,
}

impl Opus {
    fn new() -> Option<Self> {
        let decoder = opus::Decoder::new(RATE, opus::Channels::Stereo).ok()?;
        Some(Self { decoder, pcm: vec![[0.0; 2]; LONGEST_OPUS] })
    }
}

impl Decode for Opus {
    fn decode(&mut self, data: &[u8], out: &mut Vec<Pair>) -> Option<u32> {
        // Without data the library would make up as much as there is room for.
        let data = Some(data).filter(|data| !data.is_empty())?;
        let n = self.decoder.decode_float(data, self.pcm.as_flattened_mut(), false).ok()?;
        out.extend_from_slice(&self.pcm[..n]);
        Some(RATE)
    }
}

/// G.711, 8,000 samples per second.
struct G711 {
    table: &'static [f32; 256],
    stereo: bool,
}

impl G711 {
    /// `config` is the first byte of FLV's audio tags, if there is one; its last bit tells of two channels.
    fn new(mu_law: bool, config: &[u8]) -> Self {
        let table = if mu_law { &g711::MU_LAW } else { &g711::A_LAW };
        Self { table, stereo: matches!(config, [flags] if flags & 1 == 1) }
    }
}

impl Decode for G711 {
    fn decode(&mut self, data: &[u8], out: &mut Vec<Pair>) -> Option<u32> {
        let sample = |code: &u8| self.table[usize::from(*code)];
        if self.stereo {
            out.extend(data.as_chunks::<2>().0.iter().map(|[left, right]| [sample(left), sample(right)]));
        } else {
            out.extend(data.iter().map(|code| [sample(code); 2]));
        }
        (!data.is_empty()).then_some(g711::RATE)
    }
}
