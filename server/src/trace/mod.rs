//! Traces: what becomes of a publisher and of its players, from their admission to their end, as OpenTelemetry spans. Where spans go is told in
//! [`export`]; nobody here waits for it.
//!
//! A publisher has a trace of its own, which is that of its stream: `publish`, and in it `admission`, `first frame` and a `forward` for each connection to another server. Each player has one, too: `play`, with
//! `admission` and `first byte`. It links to the stream's, so that one finds the way from one to the other without a trace of thousands of spans.

mod context;
mod export;
mod span;

pub use context::Context;
pub use export::Tracer;
pub use span::{Inside, Journey, Moment, Part};
