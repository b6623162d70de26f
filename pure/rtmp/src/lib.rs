//! RTMP without sockets: handshake, chunk stream, commands, and the two ends of a session.
//!
//! [`Server`] and [`Client`] take bytes and time and give bytes, events and deadlines. What a frame is made of belongs to
//! `formats::flv`; who may publish or play belongs to the gate above. Specification: Adobe RTMP 1.0 (December 2012),
//! Enhanced RTMP v2 for the capabilities in `connect`.

pub mod chunk;
mod client;
mod command;
#[cfg(test)]
mod conversations;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod handshake;
mod link;
pub mod message;
mod server;
mod url;

pub use client::{Client, ClientEvent, ClientOptions, Role};
pub use error::Error;
pub use message::{Media, MediaKind, MediaKinds, Message};
pub use server::{
    Connect, ConnectReply, Event, Play, Publish, PublishKind, PublishMode, Server, ServerIdentity,
    ServerOptions,
};
pub use url::Url;
