//! Bodies of responses that are looked at while they are taken.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// A body that tells the length of each piece, in bytes, when it is taken.
pub struct Observed<F> {
    body: Body,
    tell: F,
}

impl<F: FnMut(usize) + Unpin> Observed<F> {
    /// The same body, whose pieces `tell` hears of.
    pub fn new(body: Body, tell: F) -> Self {
        Self { body, tell }
    }
}

impl<F: FnMut(usize) + Unpin> HttpBody for Observed<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            (self.tell)(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
