//! End to end: the real binary on real sockets, watched by ffmpeg and by clients of our own. One module per
//! scenario; what they share is in `harness` (the server), `tools` (ffmpeg), `client`, `peer`, `http`, `dialogue`, `media`,
//! `tape` and `viewer` (streams that decoders like, and a player of HLS), and `schema`.

mod api_access;
mod api_walk;
mod attacks;
mod audio;
mod browser;
mod child;
mod client;
mod clock;
mod codecs;
mod console;
mod daemon;
mod dialogue;
mod drain;
mod figures;
mod files;
mod harness;
mod hls;
mod hls_disk;
mod hls_players;
mod hls_sessions;
mod http;
mod http_abuse;
mod http_audio;
mod http_ts;
mod kinds;
mod limits;
mod media;
mod mounts;
mod peer;
mod playback;
mod players;
mod process;
mod republish;
mod samples;
mod schema;
mod semantics;
mod slow;
mod tape;
mod tools;
mod ts;
mod vhosts;
mod viewer;
mod watching;
mod websockets;
