//! Protocols: each turns sockets into pure sessions and back. A protocol knows the gate and `net`, and no other
//! protocol.

pub mod dash;
pub mod hds;
pub mod hls;
pub mod http_live;
pub mod playback;
pub mod rtmp;
pub mod webrtc;
