//! The load generator: makes the test stream, publishes it, plays it.

use std::process::ExitCode;

use bench::stats::Line;
use bench::{media, net, play, poll, publish, rtc_play, rtc_publish};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    about = "Load generator for RTMP, HTTP-FLV, HTTP-TS, HLS and WebRTC: one process, one thread, thousands of players"
)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make the test stream with ffmpeg
    Media(media::Recipe),
    /// Publish an FLV file in real time, with time stamps inside
    Publish(publish::Options),
    /// Play with many players and report as JSON
    Play(play::Options),
    /// Poll HLS playlists with many players and report as JSON
    Hls(poll::Options),
    /// Play over WebRTC (WHEP) with many players and report as JSON
    RtcPlay(rtc_play::Options),
    /// Publish an FLV file's pictures and an Ogg file of Opus over WebRTC (WHIP), with time stamps inside
    RtcPublish(rtc_publish::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oxload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: &Action) -> bench::Result<()> {
    net::raise_file_limit()?;
    let mut say = |line: &Line| println!("{}", serde_json::json!(line));
    match action {
        Action::Media(recipe) => media::make(recipe),
        Action::Publish(options) => publish::run(options, &mut say),
        Action::Play(options) => play::run(options, &mut say),
        Action::Hls(options) => poll::run(options, &mut say),
        Action::RtcPlay(options) => rtc_play::run(options, &mut say),
        Action::RtcPublish(options) => rtc_publish::run(options, &mut say),
    }
}
