//! Who is live: one writer, many readers, no protocol and no runtime.
//!
//! A [`Publication`] writes frames into its [`Broadcast`]. For each form that somebody reads, the frames are remuxed
//! once into a lane; where a form needs another sound than the publisher's, that is converted once for all such forms. Each core that has players follows the lane with one [`Relay`], and the players of that
//! core read the relay without locks. Nothing here waits for a slow reader: it is told to skip instead.

mod broadcast;
mod convert;
mod form;
mod gop;
mod lane;
mod relay;
mod tail;

pub use broadcast::{Bell, Broadcast, Busy, Hub, Publication, Rules, StreamKey};
pub use convert::{Convert, Converter, Recipe};
pub use lane::{Pulled, Subscription};
pub use relay::{Reader, Relay, Taken, Ticket};
