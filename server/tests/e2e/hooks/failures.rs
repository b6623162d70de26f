//! Services that refuse, lie, are slow or dead; and clients that do not wait for them.

use std::time::{Duration, Instant};

use rtmp::{ClientEvent, Role};

use super::service::Service;
use super::{hooks, server};
use crate::client::Client;
use crate::harness::{Server, directory, until};
use crate::http;
use crate::webrtc::peer;

fn open(server: &Server, stream: &str, role: Role) -> Client {
    Client::open(server.rtmp, &server.rtmp_url(stream), role)
}

/// What a publisher is told, none of which may be the start of its stream.
#[track_caller]
fn refusal(mut client: Client) -> (String, String) {
    loop {
        match client.event() {
            Some(ClientEvent::Rejected { code, description, .. }) => {
                client.closed();
                return (code, description);
            }
            Some(ClientEvent::Status { code, .. }) => assert!(!code.ends_with(".Start"), "{code}"),
            other => panic!("{other:?} in place of a refusal"),
        }
    }
}

#[test]
fn a_refused_publisher_never_starts() {
    let service = Service::start();
    let special = [("on_publish", "no"), ("on_play", "judge")];
    let server = server(&hooks(&service, &special, ""));
    let (code, reason) = refusal(open(&server, "a?token=bad", Role::Publish));
    assert_eq!(code, "NetStream.Publish.Denied");
    assert_eq!(reason, "on_publish refuses: not today (code 403)");
    server.logged(&["on_publish at", &service.url("no"), "it says no, code=403, not today"]);
    service.called("on_close", 1);
    let refused = peer::Call::new(&server, "a").open(true).err().expect("no refusal over WHIP");
    assert_eq!((refused.status, &refused.body[..]), (403, &b"on_publish refuses: not today (code 403)"[..]));

    let (code, reason) = refusal(open(&server, "a?token=bad", Role::Play));
    assert_eq!((&code[..], &reason[..]), ("NetStream.Play.Failed", "on_play refuses with code 1"));
    assert_eq!(http::get(server.http, "/live/a.flv?token=bad").unwrap().status, 403);
    let refused =
        peer::Call::new(&server, "a").saying("token=bad").open(false).err().expect("no refusal over WHEP");
    assert_eq!(refused.status, 403);
    service.called("on_close", 2);
    open(&server, "a?token=good", Role::Play).start();
    service.called("on_stop", 1);
    let want = [
        ["on_connect", "on_publish", "on_close"].as_slice(),
        &["on_publish"],
        &["on_connect", "on_play", "on_close"],
        &["on_play"; 2],
    ];
    assert_eq!(service.actions("")[..9], want.concat());
    assert!(server.clients().is_empty());
}

#[test]
fn a_name_of_one_s_own_opens_no_playlist() {
    let service = Service::start();
    let server = server(&hooks(&service, &[("on_play", "judge")], "").replace("hls_fragment 1", ""));
    let mut publisher = open(&server, "a", Role::Publish);
    publisher.start();
    let tape = crate::tape::Tape::of(&crate::tools::usual_clip());
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, 2900, 0);
    let path = |more: &str| format!("/live/a.m3u8?hls_ctx=madeup01{more}");
    until("a playlist", crate::viewer::PACED, || {
        http::get(server.http, &path("")).ok().filter(|reply| reply.status == 403)
    });
    for _ in 0..3 {
        assert_eq!(http::get(server.http, &path("")).unwrap().status, 403);
        assert_eq!(http::get(server.http, "/live/a-0.ts?hls_ctx=madeup01").unwrap().status, 403);
    }
    assert_eq!(http::get(server.http, &path("&token=good")).unwrap().status, 200);
    assert_eq!(http::get(server.http, "/live/a-0.ts?hls_ctx=madeup01").unwrap().status, 200);
}

#[test]
fn services_that_lie_are_not_believed() {
    let service = Service::start();
    let timeout = "timeout 0.5;";
    for (path, logged) in [
        ("500", "status 500"),
        ("garbage", "no JSON"),
        ("empty", "an empty answer"),
        ("redirect", "status 307"),
        ("huge", "more than 65536 bytes"),
        ("silent", "no answer within 500ms"),
        ("close", "connection closed"),
        ("yes no", "code=403"),
    ] {
        let path = path.replace(' ', "?secret=s3cret ");
        let server = server(&hooks(&service, &[("on_publish", &format!("{path}?secret=s3cret"))], timeout));
        let (code, reason) = refusal(open(&server, "a", Role::Publish));
        assert_eq!(code, "NetStream.Publish.Denied", "{path}");
        assert!(reason.starts_with("on_publish"), "{reason}");
        server.logged(&["on_publish at http://", logged]);
        let log = server.log().all();
        assert!(!log.iter().any(|line| line.contains("s3cret")), "{log:#?}");
        assert_eq!(server.stream("a"), None);
    }
    let good = server(
        &hooks(&service, &[("on_publish", "zero yes zero")], timeout).replace("http://", "http://me:s3cret@"),
    );
    open(&good, "a", Role::Publish).start();
    assert_eq!(service.called("on_unpublish", 1).authorization, "Basic bWU6czNjcmV0");
    assert!(!good.log().all().iter().any(|line| line.contains("s3cret")));
}

#[test]
fn a_client_that_leaves_is_not_waited_for() {
    let service = Service::start();
    let server = server(&hooks(&service, &[("on_publish", "slow/1500")], ""));
    let start = Instant::now();
    drop(open(&server, "a", Role::Publish));
    // It may be gone before it has asked at all.
    let mut impatient = open(&server, "a", Role::Publish);
    until("the service is asked", Duration::from_secs(1), || {
        let event = impatient.event_within(Duration::from_millis(50));
        assert!(event.is_none(), "before the service has answered: {event:?}");
        service.actions("").contains(&"on_publish".to_owned()).then_some(())
    });
    drop(impatient);
    server.logged(&["client disconnect peer"]);
    assert!(start.elapsed() < Duration::from_millis(1400), "{:?}", start.elapsed());
    // The service has said yes meanwhile.
    service.called("on_unpublish", 1);
    assert!(start.elapsed() > Duration::from_millis(1400), "{:?}", start.elapsed());
    let publish = service.called("on_publish", 1);
    let unpublish = service.called("on_unpublish", 1);
    assert_eq!(publish.body["client_id"], unpublish.body["client_id"]);
    assert_eq!(server.stream("a"), None);
}

#[test]
fn what_a_dead_service_missed_it_is_told_later_in_order() {
    let service = Service::start();
    let at = service.at;
    let server = server(&hooks(&service, &[], "timeout 2;"));
    let mut publisher = open(&server, "a", Role::Publish);
    publisher.start();
    let mut players: Vec<_> = (0..20).map(|_| open(&server, "a", Role::Play)).collect();
    players.iter_mut().for_each(Client::start);
    drop(service);
    let start = Instant::now();
    publisher.stop();
    players.into_iter().for_each(Client::stop);
    server.has_clients(0);
    assert!(start.elapsed() < Duration::from_secs(1), "who leaves waits for nobody: {:?}", start.elapsed());
    server.logged(&["Connection refused", "it is told again until it answers"]);
    let service = Service::at(at);
    let ends = until("all ends", Duration::from_secs(20), || {
        let calls = service.calls();
        (calls.len() >= 42).then_some(calls)
    });
    assert_eq!(ends.len(), 42, "{:#?}", service.actions(""));
    let of = |action: &str| ends.iter().filter(|call| call.action() == action).collect::<Vec<_>>();
    assert_eq!([of("on_unpublish").len(), of("on_stop").len(), of("on_close").len()], [1, 20, 21]);
    for close in of("on_close") {
        let end = ends.iter().find(|call| call.body["client_id"] == close.body["client_id"]).unwrap();
        assert_ne!(end.action(), "on_close", "the stream ends before the connection");
    }
}

#[test]
fn the_next_publisher_comes_after_the_end_of_the_last() {
    let service = Service::start();
    // Ends are taken slowly, and starts at once.
    let server = server(&hooks(&service, &[("on_unpublish", "slow/700")], ""));
    let mut ids = Vec::new();
    for times in 1..=2 {
        let mut publisher = open(&server, "a", Role::Publish);
        publisher.start();
        ids.push(service.called("on_publish", times).body["client_id"].clone());
        publisher.stop();
        server.has_clients(0);
    }
    service.called("on_unpublish", 2);
    let calls = service.calls();
    let said: Vec<_> = calls.iter().filter(|call| call.action().contains("publish")).collect();
    let said: Vec<_> = said.iter().map(|call| (call.action(), call.body["client_id"].clone())).collect();
    let of = |action, id: usize| (action, ids[id].clone());
    assert_eq!(
        said,
        [of("on_publish", 0), of("on_unpublish", 0), of("on_publish", 1), of("on_unpublish", 1)]
    );
}

#[test]
fn a_service_in_trouble_is_told_again() {
    let service = Service::start();
    let server = server(&hooks(&service, &[("on_stop", "flaky/2"), ("on_unpublish", "garbage")], ""));
    let mut player = open(&server, "a", Role::Play);
    player.start();
    player.stop();
    service.called("on_stop", 3);
    service.called("on_close", 1);
    assert_eq!(service.actions("flaky"), ["on_stop"; 3]);
    let mut publisher = open(&server, "a", Role::Publish);
    publisher.start();
    publisher.stop();
    service.called("on_close", 2);
    assert_eq!(service.actions("garbage"), ["on_unpublish"], "nonsense is not asked for again");
}

#[test]
fn services_by_https_are_verified() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = directory();
    let (certificate, key) = (dir.join("a.crt"), dir.join("a.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let service = Service::secure(certificate, key);
    let trusted = server(&hooks(&service, &[], &format!("tls_ca {certificate};")));
    open(&trusted, "a", Role::Publish).start();
    service.called("on_unpublish", 1);
    let distrusted = server(&hooks(&service, &[], ""));
    let (_, reason) = refusal(open(&distrusted, "a", Role::Publish));
    assert_eq!(reason, "on_connect: the service does not answer");
    distrusted.logged(&["on_connect at https://localhost", "certificate"]);
}
