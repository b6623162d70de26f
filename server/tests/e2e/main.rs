//! End to end: the real binary on real sockets, watched by ffmpeg and by clients of our own. One module per
//! scenario; what they share is in `harness` (the server), `tools` (ffmpeg), `client`, `peer`, `http` and `media`.

mod attacks;
mod audio;
mod child;
mod client;
mod clock;
mod codecs;
mod harness;
mod http;
mod limits;
mod media;
mod peer;
mod playback;
mod process;
mod republish;
mod requests;
mod slow;
mod tools;
mod vhosts;
mod watching;
