//! Response heads of live streams, for players whose socket was taken over from hyper.

use std::fmt::Write;

use axum::http::{HeaderMap, StatusCode, Version, header};

use crate::http::{handshake, refusal};
use crate::net::Framing;

/// A response head.
pub(super) struct Reply(String);

impl Reply {
    /// The head of a live body.
    pub(super) fn live(version: Version, content_type: &str, framing: Framing) -> Self {
        let mut reply = Self::start(version, StatusCode::OK);
        reply.header("Content-Type", content_type);
        reply.header("Cache-Control", "no-cache, no-store");
        if framing == Framing::Chunked {
            reply.header("Transfer-Encoding", "chunked");
        }
        reply
    }

    /// A refusal in words.
    pub(super) fn refusal(version: Version, status: StatusCode, reason: &str) -> Self {
        let mut reply = Self::start(version, status);
        if status == StatusCode::UPGRADE_REQUIRED {
            reply.header("Upgrade", "websocket");
            reply.header("Sec-WebSocket-Version", "13");
        }
        if let Some((name, value)) = refusal::header(status) {
            reply.header(name.as_str(), value.to_str().unwrap_or_default());
        }
        reply.header("Content-Type", "text/plain; charset=utf-8");
        reply.header("Content-Length", &(reason.len() + 1).to_string());
        reply
    }

    /// The answer to a WebSocket handshake with this `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
    pub(super) fn websocket(key: &[u8]) -> Self {
        let mut reply = Self(String::from("HTTP/1.1 101 Switching Protocols\r\n"));
        reply.header("Upgrade", "websocket");
        reply.header("Connection", "Upgrade");
        reply.header("Sec-WebSocket-Accept", &handshake::accept(key));
        reply
    }

    fn start(version: Version, status: StatusCode) -> Self {
        let version = if version == Version::HTTP_10 { "1.0" } else { "1.1" };
        let mut reply = Self(format!("HTTP/{version} {status}\r\n"));
        reply.header("Server", crate::SIGNATURE);
        reply.header("Connection", "close");
        reply
    }

    /// Adds what lets pages of other origins read the answer, if the request comes from a page.
    pub(super) fn with_cors(mut self, crossdomain: bool, request: &HeaderMap) -> Self {
        if crossdomain && request.get(header::ORIGIN).is_some_and(|o| !o.is_empty()) {
            self.header("Access-Control-Allow-Origin", "*");
            self.header("Access-Control-Allow-Methods", "*");
            self.header("Access-Control-Allow-Headers", "*");
            self.header("Access-Control-Expose-Headers", "*");
            self.header("Access-Control-Allow-Credentials", "false");
        }
        self
    }

    fn header(&mut self, name: &str, value: &str) {
        let Ok(()) = write!(self.0, "{name}: {value}\r\n") else { return };
    }

    /// The bytes, with a body behind them.
    pub(super) fn with_body(mut self, body: &str) -> bytes::Bytes {
        self.0.push_str("\r\n");
        self.0.push_str(body);
        self.0.into()
    }
}
