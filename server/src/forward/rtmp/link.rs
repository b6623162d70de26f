//! A link: a publishing RTMP session on a connection of its own.

use std::io;
use std::time::Duration;

use media::Micros;
use rtmp::{Client, ClientEvent, ClientOptions, MediaKind, Role, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::forward::connect::{DEAD, HANDSHAKE, Stream};

/// So many bytes are laid out for the socket at once.
const BATCH: usize = 64 << 10;

/// See the module.
pub(super) struct Link {
    session: Client,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    input: Vec<u8>,
    start: Instant,
    /// Bytes for the socket, of which so many are sent.
    out: Vec<u8>,
    sent: usize,
    /// When the socket took something for the last time, or there was nothing for it.
    moved: Instant,
    /// TLS keeps something back unless it is told not to.
    unflushed: bool,
    runs: bool,
}

/// Writes some of it, or flushes if there is nothing to be written.
async fn write(writer: &mut WriteHalf<Stream>, rest: &[u8]) -> io::Result<usize> {
    match rest {
        [] => writer.flush().await.map(|()| 0),
        rest => writer.write(rest).await,
    }
}

impl Link {
    /// Begins a session on a connection: `url` is to be published.
    pub(super) fn begin(stream: Stream, url: Url, chunk_size: u32) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let options = ClientOptions {
            seed: fastrand::u64(..),
            chunk_size,
            timeout: Micros(HANDSHAKE.as_micros() as i64),
            ..ClientOptions::new(url, Role::Publish)
        };
        let (start, session) = (Instant::now(), Client::new(Micros::ZERO, options));
        Self {
            session,
            reader,
            writer,
            input: vec![0; 4096],
            start,
            out: Vec::new(),
            sent: 0,
            moved: start,
            unflushed: false,
            runs: false,
        }
    }

    /// The server takes media.
    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    /// There is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() - self.sent < BATCH
    }

    /// Nothing waits for the socket.
    pub(super) fn is_clear(&self) -> bool {
        self.sent == self.out.len() && !self.unflushed
    }

    /// Lays a message out for the socket; `time` in milliseconds.
    pub(super) fn lay(&mut self, kind: MediaKind, time: u32, head: &[u8], rest: &[u8]) {
        self.session.send_parts(kind, time, head, rest);
        self.gather();
    }

    /// Says goodbye.
    pub(super) fn stop(&mut self) {
        self.session.stop();
        self.gather();
    }

    fn gather(&mut self) {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            self.out.shrink_to(4 * BATCH);
        }
        if self.is_clear() {
            self.moved = Instant::now();
        }
        while let Some(bytes) = self.session.poll_transmit() {
            self.out.extend_from_slice(&bytes);
        }
    }

    /// Goes on a bit: reads what has come, or writes what waits; how many bytes were written. May be dropped.
    ///
    /// Errors: why the connection is over.
    pub(super) async fn progress(&mut self) -> Result<u64, String> {
        self.gather();
        let now = Micros(self.start.elapsed().as_micros() as i64);
        self.session.timeout(now).map_err(|e| e.to_string())?;
        if self.moved.elapsed() > DEAD && !self.is_clear() {
            return Err(format!("the server takes nothing for {DEAD:?}"));
        }
        let Self { reader, writer, input, out, sent, unflushed, .. } = self;
        let rest = &out[*sent..];
        let written = tokio::select! {
            written = write(writer, rest), if !rest.is_empty() || *unflushed => written.map_err(|e| e.to_string())?,
            read = reader.read(input) => {
                let n = read.map_err(|e| e.to_string())?;
                return self.receive(n, now).map(|()| 0);
            }
            () = tokio::time::sleep(Duration::from_secs(1)) => return Ok(0),
        };
        *sent += written;
        *unflushed = written > 0;
        self.moved = Instant::now();
        Ok(written as u64)
    }

    fn receive(&mut self, n: usize, now: Micros) -> Result<(), String> {
        if n == 0 {
            return Err("the server has closed the connection".into());
        }
        self.session.receive(now, &self.input[..n]).map_err(|e| e.to_string())?;
        while let Some(event) = self.session.poll_event() {
            match event {
                ClientEvent::Started => self.runs = true,
                ClientEvent::Rejected { code, description, .. } => {
                    return Err(format!("the server refuses: {code} {description}").trim_end().to_owned());
                }
                ClientEvent::Ended => return Err("the server has ended the stream".into()),
                ClientEvent::Media(_) | ClientEvent::Status { .. } => {}
            }
        }
        Ok(())
    }

    /// Closes the connection when it has taken all.
    pub(super) async fn close(mut self) {
        let _ = self.writer.shutdown().await;
    }
}
