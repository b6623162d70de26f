//! What all HTTP ports share: the front that reads requests, the guard of the API, the headers that every answer has, what a
//! request says about vhosts, how a refusal is said, how a connection becomes a WebSocket, bodies in pieces, static files, and the pages inside the program. Live streams and the API are guests here and live elsewhere.

pub mod feed;
pub mod files;
pub mod front;
pub mod guard;
pub mod handshake;
pub mod headers;
pub mod http2;
pub mod observed;
pub mod pages;
mod patience;
pub mod pieces;
pub mod refusal;
pub mod request;
pub mod upgrade;

/// What is spoken on ports of HTTP under TLS (ALPN), the preferred first.
pub const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

pub use files::Files;
pub use front::Front;
pub use guard::{Guard, Who};
pub use headers::finish;
