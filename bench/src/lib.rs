//! The measuring side of the house: a load generator, the floor program and the driver that compares servers.
//!
//! Everything here speaks RTMP, FLV, HTTP, HLS and MPEG-TS with code of its own, and WebRTC with str0m: a generator that shared the
//! server's parsers would share its mistakes as well. Nothing in the server may import this crate.

pub mod amf;
pub mod avc;
pub mod chunk;
pub mod client;
pub mod driver;
pub mod flv;
pub mod hls;
pub mod http;
pub mod machine;
pub mod media;
pub mod net;
pub mod ogg;
pub mod peer;
pub mod plan;
pub mod play;
pub mod poll;
pub mod process;
pub mod profile;
pub mod publish;
pub mod rtc_play;
pub mod rtc_publish;
pub mod rtp;
pub mod stamp;
pub mod stats;
pub mod table;
pub mod ts;
pub mod url;

/// What the tools of this crate return: any failure ends the run with its text.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
