//! Connections that go on as something else: a handler that answers with 101 leaves here what is done with the connection then.
//! hyper has a way of its own for that, which would not tell the front when the connection ends.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection behind its 101.
pub struct Upgraded {
    /// The socket.
    pub stream: Box<dyn Io>,
    /// What was read behind the request.
    pub early: Bytes,
}

/// What bytes come from and go to.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for S {}

/// Serves a connection to its end, on the core that has it.
type Serve = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Handlers find one among the extensions of each request.
#[derive(Clone, Default)]
pub struct Upgrade(Arc<Mutex<Option<Serve>>>);

impl Upgrade {
    /// Has the connection served like this as soon as the answer to this request, which is 101, is out.
    pub fn go_on<F: Future<Output = ()> + 'static>(
        &self,
        serve: impl FnOnce(Upgraded) -> F + Send + 'static,
    ) {
        *self.0.lock() = Some(Box::new(|upgraded| Box::pin(serve(upgraded))));
    }

    /// What is to be done with the connection, if anything.
    pub(super) fn take(&self) -> Option<Serve> {
        self.0.lock().take()
    }
}
