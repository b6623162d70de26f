//! A body that is made while it is taken: who makes it waits for the client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Pieces that wait for a client.
const PIECES: usize = 1;

/// What the client has not taken yet.
struct Feed(mpsc::Receiver<io::Result<Bytes>>);

/// A body, and where its pieces go. It ends when that is dropped, and breaks off with an error.
pub fn feed() -> (mpsc::Sender<io::Result<Bytes>>, Body) {
    let (pieces, feed) = mpsc::channel(PIECES);
    (pieces, Body::new(Feed(feed)))
}

impl HttpBody for Feed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
