//! End to end: the real binary on real sockets, watched by ffmpeg and by clients of our own. One module per
//! scenario; what they share is in `harness` (the server), `tools` (ffmpeg), `client`, `peer`, `http`, `dialogue`, `media` and
//! `schema`.

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
mod http;
mod kinds;
mod limits;
mod media;
mod mounts;
mod peer;
mod playback;
mod players;
mod process;
mod republish;
mod schema;
mod semantics;
mod slow;
mod tools;
mod vhosts;
mod watching;
mod websockets;
