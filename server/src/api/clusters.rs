//! Where a stream is published: origins of a cluster ask each other, and send their players there.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::State as Extract;
use axum::http::uri::Authority;
use axum::response::Response;
use hub::StreamKey;
use nix::ifaddrs::getifaddrs;
use serde_json::{Value, json};

use super::State;
use super::call::Call;
use super::samples::{address, is_public};

pub(super) async fn clusters(Extract(state): Extract<State>, call: Call) -> Response {
    let said = |name| call.query(name);
    let query =
        json!({ "ip": said("ip"), "vhost": said("vhost"), "app": said("app"), "stream": said("stream") });
    let origin = origin(&state, &call).unwrap_or(Value::Null);
    call.reply(&json!({ "code": 0, "data": { "query": query, "origin": origin } }))
}

/// How to reach this server, if it publishes the stream.
fn origin(state: &State, call: &Call) -> Option<Value> {
    let vhost = state.gate.vhost(call.query("vhost")).ok()?;
    let key = StreamKey {
        vhost: vhost.name.clone(),
        app: call.query("app").to_owned(),
        stream: call.query("stream").to_owned(),
    };
    let streams = state.roll.streams();
    let (stream, _) = streams.iter().find(|(stream, _)| stream.key == key)?;
    stream.publisher().filter(|(_, active)| *active)?;

    let rtmp = state.config.listen.first();
    let configured = rtmp.and_then(|endpoint| endpoint.ip).filter(|ip| is_reachable(*ip));
    let host = configured.map(|ip| ip.to_string()).or_else(|| host(call.query("coworker")));
    let host = host.unwrap_or_else(|| own_address().to_string());
    let api = state.config.http_api.as_ref().and_then(|api| api.listen.first());
    let api_host = api.and_then(|endpoint| endpoint.ip).filter(|ip| !ip.is_unspecified());
    let api_host = api_host.map_or_else(|| host.clone(), |ip| ip.to_string());
    let api = format!("{}:{}", in_url(&api_host), api.map_or(API_PORT, |endpoint| endpoint.port));
    Some(json!({
        "ip": host,
        "port": rtmp.map_or(RTMP_PORT, |endpoint| endpoint.port),
        "vhost": vhost.name,
        "api": api,
        "routers": [api],
    }))
}

const RTMP_PORT: u16 = 1935;
const API_PORT: u16 = 1985;

/// Others can come to this address.
fn is_reachable(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_loopback()
}

/// The host of `host:port`; none if there is none.
fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host().trim_matches(['[', ']']);
    (!host.is_empty()).then(|| host.to_owned())
}

/// A host as it stands before a colon and a port.
fn in_url(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// An address of this machine, the best that there is: public, else private, else its own idea of itself.
fn own_address() -> IpAddr {
    let all = getifaddrs().into_iter().flatten().filter_map(|interface| address(&interface));
    let reachable = all.filter(|ip| is_reachable(*ip));
    reachable.max_by_key(|ip| (is_public(*ip), ip.is_ipv4())).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host("203.0.113.9:1985").as_deref(), Some("203.0.113.9"));
        assert_eq!(host("origin.example.net").as_deref(), Some("origin.example.net"));
        assert_eq!(host("[2001:db8::1]:1985").as_deref(), Some("2001:db8::1"));
        assert_eq!([host(""), host(":1985"), host("a b"), host("/")], [None, None, None, None]);
        assert_eq!([in_url("2001:db8::1"), in_url("a.test")], ["[2001:db8::1]", "a.test"]);
    }

    #[test]
    fn this_machine_has_an_address() {
        assert!(!own_address().is_unspecified());
    }
}
