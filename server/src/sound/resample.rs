//! From any rate to 48 kHz: a windowed sinc of which each output sample takes the phase where it falls. An output sample has
//! the time of the input around it, so that nothing is delayed but the answer.

use std::f64::consts::PI;

use super::{Pair, RATE};

/// Phases between two input samples; between phases it is a straight line, about 100 dB below the signal.
const PHASES: usize = 256;
/// Input samples on each side of an output sample, when the rate rises.
const REACH: usize = 16;
/// What passes, as a part of the lower rate's band.
const PASS: f64 = 0.94;

/// See the module.
pub(super) struct Resampler {
    rate: u32,
    /// Input samples on each side.
    reach: usize,
    /// `PHASES + 1` rows of `2 * reach` weights.
    weights: Vec<f32>,
    /// Input that is needed still; its first sample is number `first - reach` of the input.
    past: Vec<Pair>,
    first: u64,
    /// The number of the next output sample.
    next: u64,
}

impl Resampler {
    /// From `rate` samples per second.
    pub(super) fn new(rate: u32) -> Self {
        let rate = rate.max(1);
        if rate == RATE {
            return Self { rate, reach: 0, weights: Vec::new(), past: Vec::new(), first: 0, next: 0 };
        }
        let shrink = (f64::from(rate) / f64::from(RATE)).clamp(1.0, 8.0);
        let reach = (REACH as f64 * shrink).ceil() as usize;
        let weights = (0..=PHASES).flat_map(|phase| row(phase, reach, PASS / shrink)).collect();
        Self { rate, reach, weights, past: vec![[0.0; 2]; reach], first: 0, next: 0 }
    }

    /// Samples per second that it takes.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes what follows, and appends what can be told of it.
    pub(super) fn resample(&mut self, pcm: &[Pair], out: &mut Vec<Pair>) {
        if self.rate == RATE {
            out.extend_from_slice(pcm);
            return;
        }
        self.past.extend_from_slice(pcm);
        let (rate, taps) = (u64::from(self.rate), 2 * self.reach);
        loop {
            // Between which two input samples it falls: this one and the next.
            let at = self.next * rate / u64::from(RATE);
            let start = (at - self.first + 1) as usize;
            let Some(around) = self.past.get(start..start + taps) else { break };
            let between = (self.next * rate % u64::from(RATE)) as f64 / f64::from(RATE) * PHASES as f64;
            let (phase, rest) = (between as usize, between.fract() as f32);
            let rows = &self.weights[phase * taps..(phase + 2) * taps];
            let (low, high) = rows.split_at(taps);
            let mut sum = [0.0f32; 2];
            for ((low, high), pair) in low.iter().zip(high).zip(around) {
                let weight = low + (high - low) * rest;
                sum[0] += weight * pair[0];
                sum[1] += weight * pair[1];
            }
            out.push(sum);
            self.next += 1;
        }
        let done =
            ((self.next * rate / u64::from(RATE)).saturating_sub(self.first) as usize).min(self.past.len());
        self.past.drain(..done);
        self.first += done as u64;
    }
}

/// The weights of the samples around a place `phase / PHASES` after the middle one; they add up to 1.
fn row(phase: usize, reach: usize, pass: f64) -> impl Iterator<Item = f32> {
    let weight = move |tap: usize| {
        let x = tap as f64 + 1.0 - reach as f64 - phase as f64 / PHASES as f64;
        let sinc = if x == 0.0 { 1.0 } else { (PI * x * pass).sin() / (PI * x * pass) };
        // Blackman.
        let w = (x / reach as f64).clamp(-1.0, 1.0) * PI;
        sinc * (0.42 + 0.5 * w.cos() + 0.08 * (2.0 * w).cos())
    };
    let sum: f64 = (0..2 * reach).map(weight).sum();
    (0..2 * reach).map(move |tap| (weight(tap) / sum) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hz: f64, n: usize) -> Vec<Pair> {
        let at = |i: usize| (2.0 * PI * hz * i as f64 / f64::from(rate)).sin() as f32 * 0.5;
        (0..n).map(|i| [at(i), -at(i)]).collect()
    }

    #[test]
    fn a_tone_stays_where_it_is_in_time_and_pitch() {
        for rate in [8_000, 11_025, 22_050, 32_000, 44_100, 44_123, 48_000, 96_000] {
            let (input, mut resampler, mut out) =
                (tone(rate, 440.0, rate as usize), Resampler::new(rate), vec![]);
            // In pieces of odd lengths.
            input.chunks(997).for_each(|piece| resampler.resample(piece, &mut out));
            assert!((47_800..=48_000).contains(&out.len()), "{rate}: {}", out.len());
            let want = tone(RATE, 440.0, out.len());
            for n in 200..out.len() {
                let off = (out[n][0] - want[n][0]).abs().max((out[n][1] - want[n][1]).abs());
                assert!(off < 0.002, "{rate}: sample {n} is off by {off}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_goes() {
        let mut out = Vec::new();
        Resampler::new(96_000).resample(&tone(96_000, 30_000.0, 9600), &mut out);
        assert!(out[100..].iter().all(|pair| pair[0].abs() < 0.01));
    }
}
