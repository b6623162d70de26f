//! What a request says: which vhost it is for, and the parameters of its query.

use std::net::IpAddr;

use axum::http::{HeaderMap, Request, Uri, header};
use percent_encoding::percent_decode_str;

use crate::session;

/// What a request says of itself to the gate, whatever it asks for.
pub fn told<B>(request: &Request<B>) -> session::Request {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = header(header::AUTHORIZATION).and_then(|text| text.split_once(' '));
    session::Request {
        param: request.uri().query().map(|query| format!("?{query}")).unwrap_or_default(),
        page_url: header(header::REFERER).unwrap_or_default().to_owned(),
        forwarded: forwarded(request.headers()),
        bearer: bearer
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().to_owned()),
        ..session::Request::default()
    }
}

/// Where the client is, as proxies tell it: the first of `X-Forwarded-For`, else `X-Real-IP`.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let first = header("x-forwarded-for").and_then(|list| list.split(',').next());
    let told =
        first.map(str::trim).filter(|ip| !ip.is_empty()).or_else(|| header("x-real-ip").map(str::trim))?;
    // Some proxies add the port.
    told.parse().ok().or_else(|| told.rsplit_once(':')?.0.trim_matches(['[', ']']).parse().ok())
}

/// The vhost that a request asks for: the parameter `vhost`, else `domain`, else the host without its port.
pub fn vhost<B>(request: &Request<B>) -> String {
    let uri = request.uri();
    let named = || host(request).map(without_port).unwrap_or_default().trim_matches(['[', ']']).to_owned();
    parameter(uri, "vhost").or_else(|| parameter(uri, "domain")).unwrap_or_else(named)
}

/// The host and port that the client called, as it wrote them.
pub fn host<B>(request: &Request<B>) -> Option<&str> {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    host.or(request.uri().authority().map(|a| a.as_str()))
}

/// A host as a client wrote it, without its port.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A parameter of the query, decoded; none if it is empty.
pub fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split(['&', ';']);
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name)?.1;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_behind_proxies() {
        for (header, text, told) in [
            ("X-Forwarded-For", "192.0.2.1, 10.0.0.1", "192.0.2.1"),
            ("X-Forwarded-For", " 2001:db8::1 ", "2001:db8::1"),
            ("X-Real-IP", "192.0.2.1:4711", "192.0.2.1"),
            ("X-Real-IP", "[2001:db8::1]:4711", "2001:db8::1"),
            ("X-Forwarded-For", "a b\" c, 10.0.0.1", ""),
            ("X-Forwarded-For", "", ""),
        ] {
            let request = Request::get("/").header(header, text).body(()).unwrap();
            let forwarded = super::told(&request).forwarded.map(|ip| ip.to_string());
            assert_eq!(forwarded.unwrap_or_default(), told, "{header}: {text}");
        }
    }

    #[test]
    fn the_vhost_of_a_request() {
        let request = |uri: &str, host: &str| Request::get(uri).header("host", host).body(()).unwrap();
        assert_eq!(vhost(&request("/x?vhost=a.com&domain=b.com", "c.com")), "a.com");
        assert_eq!(vhost(&request("/x?domain=b.com", "c.com")), "b.com");
        assert_eq!(vhost(&request("/x", "c.com:8080")), "c.com");
        assert_eq!(vhost(&request("/x", "[::1]:8080")), "::1");
    }
}
