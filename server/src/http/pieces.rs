//! Answers that are in memory in pieces, as they came, and shared by all who get them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_range_header::{ParsedRanges, parse_range_header};
use hyper::body::{Frame, SizeHint};

/// As much of it as the request asks for.
pub fn answer(pieces: Arc<[Bytes]>, request: &Request) -> Response {
    let whole = pieces.iter().map(Bytes::len).sum::<usize>();
    match range(request).map(|range| range.validate(whole as u64)) {
        Some(Ok(ranges)) if ranges.len() == 1 => {
            let (start, end) = (*ranges[0].start(), *ranges[0].end());
            let told = format!("bytes {start}-{end}/{whole}");
            let body = Pieces::new(pieces, start as usize, end as usize + 1);
            (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, told)], Body::new(body)).into_response()
        }
        Some(Err(_)) => {
            let told = format!("bytes */{whole}");
            (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, told)]).into_response()
        }
        _ => ([(header::ACCEPT_RANGES, "bytes")], Body::new(Pieces::new(pieces, 0, whole))).into_response(),
    }
}

/// The one range that a request asks for.
pub fn range(request: &Request) -> Option<ParsedRanges> {
    let asked = request.headers().get(header::RANGE)?.to_str().ok()?;
    parse_range_header(asked).ok().filter(|asked| asked.ranges.len() == 1)
}

/// A body that shares the pieces with whoever else is being sent them.
struct Pieces {
    list: Arc<[Bytes]>,
    next: usize,
    /// Bytes to pass over, and bytes to send after that.
    skip: usize,
    left: usize,
}

impl Pieces {
    fn new(list: Arc<[Bytes]>, start: usize, end: usize) -> Self {
        Self { list, next: 0, skip: start, left: end - start }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.left > 0
            && let Some(piece) = self.list.get(self.next).cloned()
        {
            self.next += 1;
            let start = self.skip.min(piece.len());
            let end = piece.len().min(start + self.left);
            self.skip -= start;
            self.left -= end - start;
            if start < end {
                return Poll::Ready(Some(Ok(Frame::data(piece.slice(start..end)))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn ranges_of_a_segment_in_pieces() {
        let pieces: Arc<[Bytes]> =
            ["abc", "", "defgh", "ij"].map(|p| Bytes::from_static(p.as_bytes())).into();
        for (range, status, told, text) in [
            ("", 200, "", "abcdefghij"),
            ("bytes=0-0", 206, "bytes 0-0/10", "a"),
            ("bytes=2-8", 206, "bytes 2-8/10", "cdefghi"),
            ("bytes=3-", 206, "bytes 3-9/10", "defghij"),
            ("bytes=-3", 206, "bytes 7-9/10", "hij"),
            ("bytes=10-", 416, "bytes */10", ""),
            ("bytes=x", 200, "", "abcdefghij"),
            ("bytes=0-1,3-4", 200, "", "abcdefghij"),
        ] {
            let mut request = Request::new(Body::empty());
            if !range.is_empty() {
                request.headers_mut().insert(header::RANGE, HeaderValue::from_static(range));
            }
            let response = answer(pieces.clone(), &request);
            let content_range =
                response.headers().get(header::CONTENT_RANGE).map_or("", |v| v.to_str().unwrap());
            assert_eq!((response.status().as_u16(), content_range), (status, told), "{range}");
            assert_eq!(response.body().size_hint().exact(), Some(text.len() as u64), "{range}");
            let body = to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(body, text, "{range}");
        }
    }
}
