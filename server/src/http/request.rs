//! What a request says: which vhost it is for, and the parameters of its query.

use axum::http::{Request, Uri, header};
use percent_encoding::percent_decode_str;

use crate::session;

/// What a request says of itself to the gate, whatever it asks for.
pub fn told<B>(request: &Request<B>) -> session::Request {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = header(header::AUTHORIZATION).and_then(|text| text.split_once(' '));
    session::Request {
        param: request.uri().query().map(|query| format!("?{query}")).unwrap_or_default(),
        page_url: header(header::REFERER).unwrap_or_default().to_owned(),
        bearer: bearer
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().to_owned()),
        ..session::Request::default()
    }
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

fn without_port(host: &str) -> &str {
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
    fn the_vhost_of_a_request() {
        let request = |uri: &str, host: &str| Request::get(uri).header("host", host).body(()).unwrap();
        assert_eq!(vhost(&request("/x?vhost=a.com&domain=b.com", "c.com")), "a.com");
        assert_eq!(vhost(&request("/x?domain=b.com", "c.com")), "b.com");
        assert_eq!(vhost(&request("/x", "c.com:8080")), "c.com");
        assert_eq!(vhost(&request("/x", "[::1]:8080")), "::1");
    }
}
