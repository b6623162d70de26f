//! Sound from one codec to another: AAC, MP3 and G.711 to Opus for browsers, Opus and G.711 to AAC for everybody else. The hub asks for it once per stream; which
//! library does what is known to `decode` and `encode` only. Always 48 kHz stereo comes out.

mod clock;
mod decode;
mod encode;
mod g711;
mod resample;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hub::{Convert, Recipe};
use media::codec::Codec;
use media::{Dialect, Frame, Kind, Sound, Track, TrackId, Tracks};

use clock::Clock;
use decode::Decode;
use encode::Encode;
use resample::Resampler;

/// Samples per second of all that comes out.
const RATE: u32 = 48_000;

/// One moment of sound: left and right, full scale at 1.
type Pair = [f32; 2];

/// What is to become of a publisher's sound.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Bit/s of Opus, taken into 8,000 to 320,000.
    pub opus_bitrate: u32,
    /// Bit/s of AAC, taken into the same.
    pub aac_bitrate: u32,
    /// The publisher speaks RTMP, so that its players of RTMP and FLV were chosen for what it sends.
    pub speaks_rtmp: bool,
}

/// The converter of a stream.
pub fn converter(wishes: Wishes) -> hub::Converter {
    let within = |rate: u32| rate.clamp(8_000, 320_000);
    let Wishes { opus_bitrate, aac_bitrate, .. } = wishes;
    Arc::new(Wishes { opus_bitrate: within(opus_bitrate), aac_bitrate: within(aac_bitrate), ..wishes })
}

impl Recipe for Wishes {
    fn target(&self, sound: Sound, tracks: &Tracks) -> Sound {
        let Some(source) = tracks.audio() else { return Sound::Any };
        match (sound, &source.codec) {
            (Sound::Opus, Codec::Aac(_) | Codec::Mp3(_) | Codec::G711 { .. }) => Sound::Opus,
            (Sound::Aac, Codec::G711 { .. }) => Sound::Aac,
            (Sound::Flv | Sound::Aac, Codec::Opus(_) | Codec::G711 { .. }) if !self.speaks_rtmp => Sound::Aac,
            _ => Sound::Any,
        }
    }

    fn convert(&self, target: Sound, tracks: &Tracks) -> Option<Box<dyn Convert>> {
        let encoder: Box<dyn Encode> = match target {
            Sound::Opus => Box::new(encode::Opus::new(self.opus_bitrate)?),
            Sound::Aac => Box::new(encode::Aac::new(self.aac_bitrate)?),
            Sound::Any | Sound::Flv => return None,
        };
        let decoder = decode::decoder(tracks.audio()?)?;
        Some(Box::new(Conversion::new(decoder, encoder)))
    }
}

/// The sound of one stream on its way. Only the main audio track is converted; there are no others after it.
struct Conversion {
    decoder: Box<dyn Decode>,
    encoder: Box<dyn Encode>,
    clock: Clock,
    resampler: Option<Resampler>,
    /// What the last frame has become.
    pcm: Vec<Pair>,
    /// The length and the rate of the last good frame.
    last: Option<(usize, u32)>,
    /// At [`RATE`], waiting until a frame is full.
    waiting: Vec<Pair>,
}

impl Conversion {
    fn new(decoder: Box<dyn Decode>, encoder: Box<dyn Encode>) -> Self {
        let clock = Clock::new(encoder.delay());
        Self { decoder, encoder, clock, resampler: None, pcm: Vec::new(), last: None, waiting: Vec::new() }
    }

    /// Decodes a frame into `pcm`, and tells its rate. A broken one is as long as the one before it, and silent.
    fn decode(&mut self, data: &[u8]) -> Option<u32> {
        self.pcm.clear();
        match self.decoder.decode(data, &mut self.pcm) {
            Some(rate) => {
                self.last = Some((self.pcm.len(), rate));
                Some(rate)
            }
            None => {
                let (len, rate) = self.last?;
                self.pcm.clear();
                self.pcm.resize(len, [0.0; 2]);
                Some(rate)
            }
        }
    }

    fn hear(&mut self, frame: &Frame, rate: u32) {
        let turned = self.resampler.as_ref().is_none_or(|resampler| resampler.rate() != rate);
        if turned || self.clock.has_jumped(frame.pts) {
            self.waiting.clear();
            self.resampler = Some(Resampler::new(rate));
            self.clock.start(frame.pts, rate);
        }
        self.clock.hear(frame.pts, self.pcm.len());
        if let Some(resampler) = &mut self.resampler {
            resampler.resample(&self.pcm, &mut self.waiting);
        }
    }

    fn encode(&mut self, out: &mut Vec<Frame>) {
        let n = self.encoder.frame_len();
        let mut done = 0;
        for full in self.waiting.chunks_exact(n) {
            let pts = self.clock.tell(n);
            done += n;
            if let Some(data) = self.encoder.encode(full) {
                out.push(Frame { track: TrackId::AUDIO, dts: pts, pts, key: true, data });
            }
        }
        self.waiting.drain(..done);
    }
}

impl Convert for Conversion {
    fn tracks(&mut self, tracks: &Tracks) -> Tracks {
        let mut all = Tracks::default();
        all.metadata.clone_from(&tracks.metadata);
        for track in tracks.iter().filter(|track| track.id.kind != Kind::Audio) {
            all.set(track.clone());
        }
        let (codec, config) = self.encoder.describe();
        all.set(Track { id: TrackId::AUDIO, codec, config, dialect: Dialect::Standard });
        all
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Frame>) {
        if frame.track.kind != Kind::Audio {
            out.push(frame.clone());
        } else if frame.track == TrackId::AUDIO
            && let Some(rate) = self.decode(&frame.data)
            && !self.pcm.is_empty()
        {
            self.hear(frame, rate);
            self.encode(out);
        }
    }
}
