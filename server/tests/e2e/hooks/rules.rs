//! `security` and `refer`, over every protocol.

use rtmp::Role;

use super::{open, server};
use crate::client::Client;
use crate::harness::Server;
use crate::http;
use crate::webrtc::peer;

fn publishes(server: &Server) -> Result<(), String> {
    open(server, "a", Role::Publish).map(drop)
}

#[test]
fn rules_by_address_hold_for_every_protocol() {
    let server = server("security { enabled on; deny publish all; deny play 127.0.0.1; }");
    let refused = "NetStream.Publish.Denied: 127.0.0.1 is denied to publish here";
    assert_eq!(publishes(&server), Err(refused.into()));
    let (code, reason) = Client::open(server.rtmp, &server.rtmp_url("a"), Role::Play).refused();
    assert_eq!((&code[..], &reason[..]), ("NetStream.Play.Failed", "127.0.0.1 is denied to play here"));
    // Nobody is let in for what it says of itself.
    let elsewhere = [("X-Forwarded-For", "192.0.2.1")];
    let reply = http::request(server.http, "GET", "/live/a.flv", &elsewhere).unwrap();
    assert_eq!((reply.status, &reply.body[..]), (403, &b"127.0.0.1 is denied to play here\n"[..]));
    for publishes in [true, false] {
        let refused = peer::Call::new(&server, "a").open(publishes).err().expect("no refusal");
        assert_eq!(refused.status, 403);
    }
    assert!(server.clients().is_empty());
    server.logged_times(&["client refused: 127.0.0.1 is denied to"], 5);
}

#[test]
fn a_proxy_that_is_trusted_tells_the_address() {
    let server = server(
        "security { enabled on; allow publish all; allow play 192.0.2.0/24; trusted_proxies 127.0.0.0/8; }",
    );
    let head = |from: &str| {
        let from = [("X-Forwarded-For", from)];
        crate::http::Flv::ask(server.http, "/live/a.flv", &from).status()
    };
    assert_eq!([head("192.0.2.1"), head("192.0.3.1"), head("")], [200, 403, 403]);
    assert_eq!(publishes(&server), Ok(()));
}

#[test]
fn pages_are_known_by_their_whole_domain() {
    let server = server("refer { enabled on; play a.com; }");
    assert_eq!(publishes(&server), Ok(()), "OBS has no page");
    for (page, status) in
        [("http://a.com/", 200), ("https://www.a.com:8443/x", 200), ("http://evila.com/", 403), ("", 403)]
    {
        let flv = crate::http::Flv::ask(server.http, "/live/a.flv", &[("Referer", page)]);
        assert_eq!(flv.status(), status, "{page}");
    }
    let (code, reason) = Client::open(server.rtmp, &server.rtmp_url("a"), Role::Play).refused();
    assert_eq!(code, "NetStream.Play.Failed");
    assert!(reason.contains("page"), "{reason}");
}
