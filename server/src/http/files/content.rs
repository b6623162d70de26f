//! The bytes of an answer, as tower-http's file service takes them: it sees to conditions, ranges, HEAD and the body.

use std::fs::File;
use std::future::{Ready, ready};
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, ReadBuf, Take};
use tower::ServiceExt;
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, File as Readable, Metadata};

use super::{kind, range};

/// Some bytes of our own, then a file from an offset to the end that it had when it was opened: what is written to it meanwhile
/// is for later requests.
#[derive(Clone, Debug)]
pub(super) struct Content {
    extension: String,
    head: Bytes,
    file: Arc<File>,
    /// Where the file is sent from.
    offset: u64,
    /// How much of it is sent.
    rest: u64,
    modified: SystemTime,
}

impl Content {
    /// A file as it is; the extension tells its type.
    pub(super) fn whole(file: File, extension: String) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let (rest, modified) = (metadata.len(), metadata.modified()?);
        Ok(Self { extension, head: Bytes::new(), file: Arc::new(file), offset: 0, rest, modified })
    }

    /// The same file from this offset on, and `head` before it.
    pub(super) fn spliced(self, head: Bytes, offset: u64) -> Self {
        Self { head, offset, rest: self.rest.saturating_sub(offset), ..self }
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.head.len() as u64 + self.rest
    }

    /// The answer to a GET or HEAD.
    pub(super) async fn answer(self, request: &Request<()>) -> Response {
        let mut headers = request.headers().clone();
        headers.remove(header::RANGE);
        let unless_changed = headers.remove(header::IF_RANGE);
        if let Some(range) = range::wanted(request, self.size()) {
            let mut headers = headers.clone();
            headers.insert(header::RANGE, range);
            let part = self.clone().call(request, headers).await;
            let is_same = |known: HeaderValue| {
                [header::ETAG, header::LAST_MODIFIED].iter().any(|n| part.headers().get(n) == Some(&known))
            };
            // Who goes on with what he has wants everything if it has changed (RFC 9110 §13.1.5).
            if unless_changed.is_none_or(is_same) {
                return part;
            }
        }
        self.call(request, headers).await
    }

    async fn call(self, request: &Request<()>, headers: HeaderMap) -> Response {
        // The service sees no more of the path than what tells the type.
        let uri = format!("/file.{}", self.extension);
        let mut inner =
            Request::builder().method(request.method()).uri(uri).body(Body::empty()).unwrap_or_default();
        *inner.headers_mut() = headers;
        let extension = self.extension.clone();
        let Ok(response) = ServeDir::with_backend("", self).oneshot(inner).await;
        kind::label(response.map(Body::new), &extension)
    }
}

/// Whatever path the service makes up, this is what stands there.
impl Backend for Content {
    type File = Reading;
    type Metadata = Stat;
    type OpenFuture = Ready<io::Result<Reading>>;
    type MetadataFuture = Ready<io::Result<Stat>>;

    fn open(&self, _: PathBuf) -> Self::OpenFuture {
        ready(Reading::new(self.clone()))
    }

    fn metadata(&self, _: PathBuf) -> Self::MetadataFuture {
        ready(Ok(self.stat()))
    }
}

/// Size and time.
#[derive(Debug)]
pub(super) struct Stat {
    size: u64,
    modified: SystemTime,
}

impl Content {
    fn stat(&self) -> Stat {
        Stat { size: self.size(), modified: self.modified }
    }
}

impl Metadata for Stat {
    fn is_dir(&self) -> bool {
        false
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Ok(self.modified)
    }

    fn len(&self) -> u64 {
        self.size
    }
}

/// Content that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    content: Content,
    /// What is left of the head.
    head: Bytes,
    /// What is left of the file.
    file: Take<tokio::fs::File>,
}

impl Reading {
    fn new(content: Content) -> io::Result<Self> {
        let mut file = content.file.try_clone()?;
        file.seek(SeekFrom::Start(content.offset))?;
        let file = tokio::fs::File::from_std(file).take(content.rest);
        Ok(Self { head: content.head.clone(), file, content })
    }
}

impl Readable for Reading {
    type Metadata = Stat;
    type MetadataFuture<'a> = Ready<io::Result<Stat>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.content.stat()))
    }
}

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.file).poll_read(cx, buf);
        }
        let now = self.head.len().min(buf.remaining());
        buf.put_slice(&self.head.split_to(now));
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for Reading {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let SeekFrom::Start(to) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let in_head = to.min(self.content.head.len() as u64);
        let in_file = to - in_head;
        self.head = self.content.head.slice(in_head as usize..);
        let rest = self.content.rest.saturating_sub(in_file);
        self.file.set_limit(rest);
        let at = SeekFrom::Start(self.content.offset + in_file);
        Pin::new(self.file.get_mut()).start_seek(at)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(self.file.get_mut()).poll_complete(cx)
    }
}
