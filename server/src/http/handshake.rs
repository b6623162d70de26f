//! The handshake of a WebSocket (RFC 6455 §4.2), for whoever speaks it on an HTTP port. What is said afterwards does not belong here.

use axum::http::{HeaderMap, HeaderName, Request, StatusCode, Version, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};

/// The request wants to go on as a WebSocket.
pub fn is_asked_for<B>(request: &Request<B>) -> bool {
    request.version() >= Version::HTTP_11 && has_token(request.headers(), &header::UPGRADE, "websocket")
}

/// Reads the handshake: the `Sec-WebSocket-Key`, or the status and the reason of a refusal.
pub fn read(headers: &HeaderMap) -> Result<&[u8], (StatusCode, &'static str)> {
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err((StatusCode::BAD_REQUEST, "a WebSocket handshake without `Connection: Upgrade`"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "a WebSocket handshake of another version than 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().trim_ascii());
    key.filter(|key| BASE64.decode(key).is_ok_and(|key| key.len() == 16))
        .ok_or((StatusCode::BAD_REQUEST, "a WebSocket handshake without a valid Sec-WebSocket-Key"))
}

/// The `Sec-WebSocket-Accept` for this `Sec-WebSocket-Key` (§4.2.2).
pub fn accept(key: &[u8]) -> String {
    const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    BASE64.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes() {
        let told = |lines: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
            read(&headers).map(<[u8]>::to_vec).map_err(|(status, _)| status.as_u16())
        };
        let upgrade = ("connection", "keep-alive, Upgrade");
        let version = ("sec-websocket-version", "13");
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(told(&[upgrade, version, key]), Ok(key.1.as_bytes().to_vec()));
        assert_eq!(told(&[version, key]), Err(400));
        assert_eq!(told(&[upgrade, version]), Err(400));
        assert_eq!(told(&[upgrade, version, ("sec-websocket-key", "c2hvcnQ=")]), Err(400));
        assert_eq!(told(&[upgrade, key]), Err(426));
        assert_eq!(told(&[upgrade, ("sec-websocket-version", "8"), key]), Err(426));
    }

    #[test]
    fn the_handshake_of_rfc_6455_1_3() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
