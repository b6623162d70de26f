//! Encoders: pairs of samples at 48 kHz to frames of a codec.

use bytes::Bytes;
use media::codec::{Codec, aac, opus as head};
use syom::EncodeOptions;

use super::{Pair, RATE};

/// An encoder of one track.
pub(super) trait Encode: Send {
    /// How many samples make a frame.
    fn frame_len(&self) -> usize;

    /// By how many samples what a decoder hears is older than what the frame was made of.
    fn delay(&self) -> usize;

    /// The codec, and its configuration record as containers carry it.
    fn describe(&self) -> (Codec, Bytes);

    /// Encodes [`Encode::frame_len`] samples. `None` when nothing came of it, as for the first frame, which holds the run-up of the encoder.
    fn encode(&mut self, pcm: &[Pair]) -> Option<Bytes>;
}

/// 20 ms.
const OPUS_FRAME: usize = RATE as usize / 50;

/// Opus for browsers.
pub(super) struct Opus {
    encoder: opus::Encoder,
    delay: usize,
    packet: Vec<u8>,
    begun: bool,
}

impl Opus {
    /// `bitrate` in bit/s. `None` if the library will not.
    pub(super) fn new(bitrate: u32) -> Option<Self> {
        let mut encoder = opus::Encoder::new(RATE, opus::Channels::Stereo, opus::Application::Audio).ok()?;
        encoder.set_bitrate(opus::Bitrate::Bits(i32::try_from(bitrate).ok()?)).ok()?;
        let delay = usize::try_from(encoder.get_lookahead().ok()?).ok()?;
        // The largest packet of 20 ms (RFC 6716 §3.4).
        Some(Self { encoder, delay, packet: vec![0; 1276], begun: false })
    }
}

impl Encode for Opus {
    fn frame_len(&self) -> usize {
        OPUS_FRAME
    }

    fn delay(&self) -> usize {
        self.delay
    }

    fn describe(&self) -> (Codec, Bytes) {
        // The run-up is left out already: nothing to skip.
        let config = head::Config { channels: 2, pre_skip: 0, sample_rate: RATE };
        (Codec::Opus(config), Bytes::from_static(b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0"))
    }

    fn encode(&mut self, pcm: &[Pair]) -> Option<Bytes> {
        let n = self.encoder.encode_float(pcm.as_flattened(), &mut self.packet).ok()?;
        let begun = std::mem::replace(&mut self.begun, true);
        begun.then(|| Bytes::copy_from_slice(&self.packet[..n]))
    }
}

/// A frame of AAC-LC.
const AAC_FRAME: usize = 1024;

/// AAC-LC.
pub(super) struct Aac {
    encoder: syom::Encoder,
    left: Vec<f32>,
    right: Vec<f32>,
    begun: bool,
}

impl Aac {
    /// `bitrate` in bit/s. `None` if the library will not.
    pub(super) fn new(bitrate: u32) -> Option<Self> {
        let options = EncodeOptions::raw().with_bitrate_bps(bitrate);
        let encoder = syom::Encoder::new(RATE, 2, &options).ok()?;
        Some(Self { encoder, left: Vec::new(), right: Vec::new(), begun: false })
    }
}

impl Encode for Aac {
    fn frame_len(&self) -> usize {
        AAC_FRAME
    }

    fn delay(&self) -> usize {
        AAC_FRAME
    }

    fn describe(&self) -> (Codec, Bytes) {
        let record = Bytes::copy_from_slice(self.encoder.asc());
        (Codec::Aac(aac::Config::parse(&record).unwrap_or_default()), record)
    }

    fn encode(&mut self, pcm: &[Pair]) -> Option<Bytes> {
        // What is not a number, or beyond full scale, would end the encoder's work for ever.
        let tame = |sample: f32| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
        self.left.clear();
        self.right.clear();
        self.left.extend(pcm.iter().map(|pair| tame(pair[0])));
        self.right.extend(pcm.iter().map(|pair| tame(pair[1])));
        let mut made = None;
        let done = self.encoder.feed(&[&self.left, &self.right], |frame| {
            made = Some(Bytes::copy_from_slice(frame.payload));
            Ok(())
        });
        if done.is_err() {
            let _ = self.encoder.reset();
            return None;
        }
        let begun = std::mem::replace(&mut self.begun, true);
        made.filter(|_| begun)
    }
}
