//! HDS, Adobe's HTTP Dynamic Streaming: how FLV tags become fragments, and the two small files that tell a player of them. What the
//! files are called and where they are kept is not known here.
//!
//! Spec: "Adobe Flash Video File Format 10.1" annex C, and "Flash Media Manifest File Format" 1.0.

mod bootstrap;
mod fragmenter;
mod manifest;

pub use bootstrap::Window;
pub use fragmenter::{Fragment, Fragmenter, Tags};
pub use manifest::manifest;
