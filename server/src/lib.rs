//! Oxcast, the server: sockets and policy around the pure protocol crates. The binary only reads its
//! arguments and runs what is here.

mod api;
mod app;
mod breaker;
mod caller;
pub mod cli;
mod command;
pub mod config;
mod control;
mod daemon;
mod events;
mod file_watch;
mod follow;
mod form;
mod forward;
mod gate;
mod heartbeat;
mod http;
mod log;
mod media_port;
mod metrics;
mod naming;
mod net;
mod ports;
mod privileges;
mod process;
mod protocol;
mod quit;
mod reload;
mod room;
mod services;
mod session;
mod sound;
mod status;
mod store;
mod supervisor;
mod task;
mod trace;
mod upgrade;

pub use app::run;
pub use cli::{SIGNATURE, VERSION};
pub use command::{check, reload, upgrade};
#[doc(hidden)]
pub use protocol::http_live::fuzz as fuzz_http;
pub use status::status;
pub use task::become_task;

/// Where the project lives, for those who ask the server about itself.
const HOME: &str = "https://oxcast.dev";

/// Who made it.
const AUTHORS: &str = "The Oxcast authors";
