//! Sockets and cores: a runtime per core, listeners, connections, and the one way in which media reaches many
//! players. Nothing here knows a protocol; a protocol tells its bytes through [`Wire`].

pub mod conn;
pub mod core;
pub mod delivery;
pub mod fan;
pub mod framing;
pub mod limits;
pub mod listen;
pub mod outbox;
pub mod pace;
pub mod relays;
pub mod tls;
pub mod udp;

pub use conn::{Conn, Input};
pub use core::{Core, Cores, Loads};
pub use delivery::Delivery;
pub use fan::{AnyFan, Fan, Wire};
pub use framing::Framing;
pub use listen::{Door, Listener};
pub use outbox::Outbox;
pub use pace::Pace;
pub use relays::{Followed, Following};
