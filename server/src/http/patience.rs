//! Patience with peers that do not read, while hyper writes: it has none of its own, and would wait for ever.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

/// A stream whose writes fail when the peer takes nothing for some time.
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Made when the peer was slow for the first time.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Something waits for the peer, and the alarm is set.
    waits: bool,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, alarm: None, waits: false }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// What comes of an attempt to write.
    fn judge<T>(&mut self, cx: &mut Context<'_>, tried: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.waits = false;
            return tried;
        }
        let until = Instant::now() + self.limit;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if !std::mem::replace(&mut self.waits, true) {
            alarm.as_mut().reset(until);
        }
        alarm.as_mut().poll(cx).map(|()| {
            let reason = format!("the peer took nothing for {} s", self.limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, reason))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.judge(cx, tried)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.judge(cx, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.stream).poll_flush(cx);
        this.judge(cx, tried)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.judge(cx, tried)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn who_takes_a_little_now_and_then_is_waited_for() {
        let limit = Duration::from_millis(400);
        let (mut peer, stream) = duplex(10);
        let mut stream = Patient::new(stream, limit);
        let reader = tokio::spawn(async move {
            for _ in 0..6 {
                sleep(limit / 4).await;
                peer.read_exact(&mut [0; 5]).await.unwrap();
            }
            peer
        });
        let start = Instant::now();
        stream.write_all(&[7; 40]).await.unwrap();
        assert!(start.elapsed() > limit, "it has taken longer than the limit");
        let _peer = reader.await.unwrap();
        let start = Instant::now();
        let failed = stream.write_all(&[7; 30]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= limit);
    }
}
