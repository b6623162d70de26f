//! What a client wants, as the query of its request and the address of the stream tell it.

use std::net::SocketAddr;

use axum::extract::Request;
use axum::http::{self, StatusCode, Uri};
use rtc::ice::Credentials;
use rtc::sdp::Purpose;
use rtc::session::Protection;

use super::{Refusal, connection};
use crate::http::request;
use crate::protocol::webrtc::candidates::is_address;
use crate::session;

/// How long a client's choice of our credentials may be (RFC 8839 §5.4 allows more).
const UFRAG: std::ops::RangeInclusive<usize> = 4..=32;
const PASSWORD: std::ops::RangeInclusive<usize> = 22..=32;

/// See the module.
pub(super) struct Wish {
    pub(super) purpose: Purpose,
    pub(super) peer: SocketAddr,
    /// For the gate.
    pub(super) request: session::Request,
    /// The host that it called, without the port.
    pub(super) host: String,
    /// The address of ours that it wants to be offered.
    pub(super) candidate: Option<String>,
    /// The video codec that it prefers, in the words of SDP.
    pub(super) codec: Option<&'static str>,
    encrypt: Option<bool>,
    dtls: Option<bool>,
    /// Ours.
    pub(super) credentials: Credentials,
    /// What ends the session.
    pub(super) token: String,
}

/// The address of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) vhost: String,
    pub(super) app: String,
    pub(super) stream: String,
    pub(super) host: String,
    pub(super) tc_url: String,
    /// The query, as callbacks tell it.
    pub(super) param: String,
}

impl Wish {
    /// The wish of this request, whose body or query has named the stream.
    pub(super) fn new<B>(
        asked: &http::Request<B>,
        purpose: Purpose,
        peer: SocketAddr,
        stream: Address,
    ) -> Result<Self, Refusal> {
        let told = |name| request::parameter(asked.uri(), name);
        let Address { vhost, app, stream, host, tc_url, param } = stream;
        if stream.is_empty() {
            return Err(Refusal::bad("the stream has no name"));
        }
        let candidate = told("eip").or_else(|| told("candidate"));
        if let Some(odd) = candidate.as_deref().filter(|text| !is_address(text)) {
            return Err(Refusal::bad(format!("`{}` is no address", odd.escape_debug())));
        }
        let fresh = credentials()?;
        let credentials = Credentials {
            ufrag: chosen(told("ice-ufrag"), "ice-ufrag", UFRAG).unwrap_or(Ok(fresh.ufrag))?,
            password: chosen(told("ice-pwd"), "ice-pwd", PASSWORD).unwrap_or(Ok(fresh.password))?,
        };
        Ok(Self {
            purpose,
            peer,
            request: session::Request {
                vhost,
                app,
                stream,
                tc_url,
                param,
                forwarded: Some(peer.ip()),
                connection: Some(connection(asked).ip()),
                ..request::told(asked)
            },
            host,
            candidate,
            codec: told("codec").map(|name| codec(&name)),
            encrypt: told("encrypt").map(|text| text != "false"),
            dtls: told("dtls").map(|text| text != "false"),
            credentials,
            token: random(9)?,
        })
    }

    /// How much is protected where the configuration says `encrypt`: clients may ask for more than that, never for less. What
    /// publishers send is protected unless they ask for something else.
    pub(super) fn protection(&self, encrypt: bool) -> Result<Protection, Refusal> {
        if encrypt && (self.encrypt == Some(false) || self.dtls == Some(false)) {
            return Err(Refusal::forbidden(
                "`encrypt=false` and `dtls=false` need `rtc_server { encrypt off; }` in the configuration",
            ));
        }
        let by_default = encrypt || self.purpose == Purpose::Publish;
        Ok(match (self.dtls.unwrap_or(true), self.encrypt.unwrap_or(by_default)) {
            (false, _) => Protection::None,
            (true, true) => Protection::Srtp,
            (true, false) => Protection::DtlsOnly,
        })
    }
}

impl Address {
    /// `webrtc://host[:port]/app/stream[?query]`; the application may contain slashes.
    pub(super) fn parse(url: &str) -> Result<Self, Refusal> {
        let odd = || Refusal::bad("`streamurl` is not like webrtc://host/app/stream");
        let uri: Uri = url.trim().parse().map_err(|_| odd())?;
        let authority = uri.authority().ok_or_else(odd)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let (app, stream) = uri.path().trim_matches('/').rsplit_once('/').ok_or_else(odd)?;
        let vhost = request::parameter(&uri, "vhost").or_else(|| request::parameter(&uri, "domain"));
        Ok(Self {
            vhost: vhost.unwrap_or_else(|| host.clone()),
            app: app.trim_matches('/').to_owned(),
            stream: stream.to_owned(),
            tc_url: format!("webrtc://{}/{}", authority, app.trim_matches('/')),
            param: uri.query().map(|query| format!("?{query}")).unwrap_or_default(),
            host,
        })
    }

    /// The stream of a WHIP or WHEP request, which the query names.
    pub(super) fn of(request: &Request) -> Self {
        let told = |name| request::parameter(request.uri(), name);
        let named = |name, default: &str| {
            told(name).map_or(default.to_owned(), |text| text.trim_matches('/').to_owned())
        };
        let host = request::host(request).and_then(|host| host.parse::<Uri>().ok());
        let host = host.as_ref().and_then(Uri::host).unwrap_or_default().trim_matches(['[', ']']);
        Self {
            vhost: request::vhost(request),
            app: named("app", "live"),
            stream: named("stream", "livestream"),
            host: host.to_owned(),
            tc_url: String::new(),
            param: request.uri().query().unwrap_or_default().to_owned(),
        }
    }
}

/// What SDP calls the codec that a player or publisher asks for; SRS takes everything that it does not know for H.264.
fn codec(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "av1" => "AV1",
        "hevc" | "h265" => "H265",
        "vp9" => "VP9",
        "vp8" => "VP8",
        _ => "H264",
    }
}

/// The client's choice, if it made one.
fn chosen(
    text: Option<String>,
    name: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Option<Result<String, Refusal>> {
    let text = text?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    if lengths.contains(&text.len()) && text.bytes().all(plain) {
        return Some(Ok(text));
    }
    let (least, most) = (lengths.start(), lengths.end());
    Some(Err(Refusal::bad(format!("`{name}` has {least} to {most} letters, digits, `+` and `/`"))))
}

/// Names and passwords of ours, as long as those of SRS.
pub(super) fn credentials() -> Result<Credentials, Refusal> {
    Ok(Credentials { ufrag: random(8)?, password: random(32)? })
}

/// Lower-case letters and digits that nobody can guess.
fn random(length: usize) -> Result<String, Refusal> {
    let refuse = |error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error);
    rtc::ice::random(length).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_streams() {
        for (url, want) in [
            ("webrtc://a.com/live/s", ["a.com", "live", "s", "a.com", "webrtc://a.com/live"]),
            ("webrtc://a.com:1985/x/y/s?k=a/b", ["a.com", "x/y", "s", "a.com", "webrtc://a.com:1985/x/y"]),
            ("webrtc://a.com/live/s?vhost=v.com", ["v.com", "live", "s", "a.com", "webrtc://a.com/live"]),
            ("webrtc://[::1]:8/live/s?domain=d", ["d", "live", "s", "::1", "webrtc://[::1]:8/live"]),
        ] {
            let a = Address::parse(url).unwrap();
            assert_eq!([&a.vhost, &a.app, &a.stream, &a.host, &a.tc_url], want, "{url}");
        }
        for bad in ["", "/live/s", "webrtc://a.com/s", "webrtc://a.com", "webrtc:///live/s", "x y"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
