//! Offers and answers through the router, without sockets.

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use rtp::sdp::Description;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::Environment;
use crate::gate::Publishing;
use crate::session::{self, Roll};

struct Server {
    service: Service,
    roll: Arc<Roll>,
    router: Router,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

const ON: &str = "rtc_server { enabled on; candidate 192.0.2.1; tcp { enabled on; } protocol all; } \
                  vhost __defaultVhost__ { rtc { enabled on; } } vhost bridge { rtc { enabled on; rtmp_to_rtc on; } } \
                  vhost off { enabled off; } vhost dark { }";

impl Server {
    fn new(text: &str) -> Self {
        let text = format!("listen 1935; {text}");
        let config = Config::parse("x.conf", text.as_bytes(), &Environment::default()).unwrap();
        let (config, roll) = (Arc::new(config), Arc::new(Roll::default()));
        let service = Service {
            gate: Arc::new(Gate::new(config.clone(), roll.clone())),
            rtc: Arc::new(crate::protocol::webrtc::Service::new(Arc::default(), 1, Arc::default(), None).0),
            certificate: Arc::new(Certificate::generate("test").unwrap()),
            ports: Ports { udp: 8000, tcp: Some(8001) },
            identity: Arc::new(Identity::sample()),
            config,
        };
        Self { router: router(service.clone()), service, roll }
    }

    async fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(uri).header("host", "localhost:1985");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = Session::new("203.0.113.9:5000".parse().unwrap());
        let request = request.extension(peer).body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn post(&self, uri: &str, body: &str) -> Answer {
        self.send("POST", uri, &[("content-type", "application/sdp")], body).await
    }

    async fn json(&self, what: &str, stream: &str, sdp: &str) -> Answer {
        let body = json!({ "sdp": sdp, "streamurl": stream, "api": null, "clientip": null }).to_string();
        self.send("POST", &format!("/rtc/v1/{what}"), &[], &body).await
    }

    /// An RTMP publisher of `live/s`.
    async fn rtmp(&self, vhost: &str) -> Publishing {
        let session = Session::new("203.0.113.1:5000".parse().unwrap());
        let request = session::Request {
            vhost: vhost.into(),
            app: "live".into(),
            stream: "s".into(),
            ..session::Request::default()
        };
        let ask = Ask { session: &session, kind: Kind::FmlePublish, request, visit: None };
        self.service.gate.publish(ask).await.unwrap()
    }

    fn clients(&self) -> Vec<(&'static str, String)> {
        self.roll.clients().iter().map(|c| (c.kind.name(), c.session.peer.ip().to_string())).collect()
    }
}

fn offer(direction: &str) -> String {
    let fingerprint = "sha-256 ".to_owned() + &vec!["AB"; 32].join(":");
    let transport = format!(
        "c=IN IP4 0.0.0.0\na=ice-ufrag:ab+d\na=ice-pwd:0123456789012345678901\na=fingerprint:{fingerprint}\n\
         a=setup:actpass\na={direction}\na=rtcp-mux\n"
    );
    let video: String = ["H264", "H265", "AV1", "VP9", "VP8"]
        .iter()
        .zip(96..)
        .map(|(name, pt)| {
            format!("a=rtpmap:{pt} {name}/90000\na=rtcp-fb:{pt} nack\na=rtcp-fb:{pt} nack pli\n")
        })
        .collect();
    format!(
        "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\n{transport}a=mid:0\na=rtpmap:111 opus/48000/2\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100\n{transport}a=mid:1\n{video}a=ssrc:77 cname:me\n"
    )
    .replace('\n', "\r\n")
}

/// The codec of the second section.
fn video(sdp: &str) -> String {
    Description::parse(sdp.as_bytes()).unwrap().media[1].formats[0].encoding.clone()
}

#[tokio::test]
async fn whip_from_offer_to_delete() {
    let server = Server::new(ON);
    for uri in ["/rtc/v1/whip/?app=a/b&stream=s", "/rtc/v1/whip?app=a/b&stream=s"] {
        let answer = server.post(uri, &offer("sendonly")).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (201, "application/sdp"),
            "{}",
            answer.body
        );
        assert_eq!(answer.header("accept-patch"), "application/trickle-ice-sdpfrag");
        let description = Description::parse(answer.body.as_bytes()).unwrap();
        assert!(description.ice_lite && description.media.len() == 2);
        let ufrag = &description.media[0].ice.as_ref().unwrap().ufrag;
        assert_eq!((ufrag.len(), answer.header("etag")), (8, &*format!("\"{ufrag}\"")));
        for line in
            ["s=SRSPublishSession", "a=recvonly", " udp 2130706431 192.0.2.1 8000 typ", " 192.0.2.1 8001 typ"]
        {
            assert!(answer.body.contains(line), "no {line} in\n{}", answer.body);
        }
        assert_eq!(server.clients(), [("rtc-publish", "203.0.113.9".into())]);
        let busy = server.post(uri, &offer("sendonly")).await;
        assert_eq!((busy.status, busy.body.contains("stream busy")), (409, true), "{}", busy.body);
        let location = answer.header("location").to_owned();
        let start = "/rtc/v1/whip/?action=delete&token=";
        assert!(location.starts_with(start) && location.contains("&app=a/b&stream=s&session="), "{location}");
        assert!(location.ends_with(&format!("{ufrag}:ab%2Bd")), "{location}");

        let wrong = location.replace("token=", "token=x");
        assert_eq!(server.send("DELETE", &wrong, &[], "").await.status, 403);
        assert_eq!(server.send("DELETE", "/rtc/v1/whip/?session=x:y", &[], "").await.status, 403);
        assert_eq!(server.clients().len(), 1);
        // On any of the paths, and as often as one likes.
        for path in ["/rtc/v1/whep", "/rtc/v1/whip/"] {
            let gone = server.send("DELETE", &location.replace("/rtc/v1/whip/", path), &[], "").await;
            assert_eq!((gone.status, gone.body.as_str()), (200, ""));
            assert_eq!(server.clients(), []);
        }
    }
}

#[tokio::test]
async fn candidates_of_a_patch_are_taken() {
    let server = Server::new(ON);
    let location = server.post("/rtc/v1/whep/", &offer("recvonly")).await.header("location").to_owned();
    let sdpfrag = [("content-type", "application/trickle-ice-sdpfrag")];
    let known = "a=ice-ufrag:ab+d\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 x 0\r\na=candidate:1 1 udp 1 192.0.2.7 9 typ host\r\n";
    for (headers, body, status) in [
        (&sdpfrag[..], known, 204),
        (&sdpfrag, "a=end-of-candidates\r\n", 204),
        (&sdpfrag, "a=ice-ufrag:other\r\n", 400),
        (&sdpfrag, "a=ice-ufrag:other\r\na=ice-pwd:0123456789012345678901\r\n", 400),
        (
            &sdpfrag,
            "a=ice-ufrag:ot er\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 x 0\r\na=mid:0\r\n",
            400,
        ),
        (&[("content-type", "application/sdp")], known, 415),
        (&[], known, 415),
        (&[sdpfrag[0], ("if-match", "\"other\"")], known, 412),
        (&[sdpfrag[0], ("if-match", "*")], known, 204),
    ] {
        let answer = server.send("PATCH", &location, headers, body).await;
        assert_eq!(answer.status, status, "{headers:?} {body} {}", answer.body);
    }
    let lost = location.replace("session=", "session=x");
    assert_eq!(server.send("PATCH", &lost, &sdpfrag, known).await.status, 404);
}

#[tokio::test]
async fn other_credentials_start_ice_again() {
    let server = Server::new(ON);
    let opened = server.post("/rtc/v1/whep/", &offer("recvonly")).await;
    let location = opened.header("location");
    let fragment = |ufrag: &str| {
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:9876543210987654321098\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
        )
    };
    let kind = ("content-type", "application/trickle-ice-sdpfrag");
    let patch =
        async |tag: &str, body: &str| server.send("PATCH", location, &[kind, ("if-match", tag)], body).await;
    let answer = patch("*", &fragment("them")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, kind.1), "{}", answer.body);
    let tag = answer.header("etag");
    assert_ne!(tag, opened.header("etag"));
    let lines: Vec<_> = answer.body.lines().collect();
    assert_eq!(lines[..2], ["a=ice-lite", &format!("a=ice-ufrag:{}", tag.trim_matches('"'))]);
    assert!(lines[2].starts_with("a=ice-pwd:") && lines[2].len() == 42, "{lines:?}");
    assert_eq!(lines[3..5], ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0"]);
    assert!(
        lines[5].starts_with("a=candidate:0 1 udp ") && lines.last() == Some(&"a=end-of-candidates"),
        "{lines:?}"
    );

    assert_eq!(patch(opened.header("etag"), "").await.status, 412, "the first start is over");
    assert_eq!(patch(tag, &fragment("them")).await.status, 204, "candidates of the new start");
    let mut again = 1;
    while patch("*", &fragment(&format!("them{again}"))).await.status == 200 {
        again += 1;
    }
    assert_eq!((again, patch("*", &fragment("last")).await.status), (64, 429), "memory is bounded");
    assert_eq!(server.send("DELETE", location, &[], "").await.status, 200, "its address stays");
    assert_eq!(patch("*", &fragment("late")).await.status, 404);
    assert!(server.service.rtc.lobby.find(tag.trim_matches('"'), 0).is_none(), "no name stays behind");
}

#[tokio::test]
async fn refusals_say_why_and_leave_nothing_behind() {
    let server = Server::new(ON);
    let (sends, gets) = (offer("sendonly"), offer("recvonly"));
    let long = "x".repeat(MAX_BODY + 1);
    for (uri, body, status, reason) in [
        ("/rtc/v1/whip/", &gets, 400, "recvonly"),
        ("/rtc/v1/whep/", &sends, 400, "sendonly"),
        ("/rtc/v1/whip/?action=play", &sends, 400, "sendonly"),
        ("/rtc/v1/whip/", &"hello".to_owned(), 400, "offer"),
        ("/rtc/v1/whip/", &long, 413, "65536"),
        ("/rtc/v1/whip/", &sends.replace("opus", "speex"), 400, "none of the codecs"),
        ("/rtc/v1/whip/?vhost=dark", &sends, 403, "`rtc { enabled"),
        ("/rtc/v1/whip/?vhost=off", &sends, 404, "vhost off"),
        ("/rtc/v1/whip/?ice-ufrag=abc", &sends, 400, "`ice-ufrag` has 4 to 32"),
        ("/rtc/v1/whip/?ice-ufrag=abc%0d%0ax", &sends, 400, "`ice-ufrag`"),
        ("/rtc/v1/whip/?ice-pwd=abcd", &sends, 400, "`ice-pwd` has 22 to 32"),
        ("/rtc/v1/whip/?eip=a%20b", &sends, 400, "no address"),
        ("/rtc/v1/whip/?encrypt=false", &sends, 403, "`rtc_server { encrypt off; }`"),
        ("/rtc/v1/whep/?dtls=false", &gets, 403, "`rtc_server { encrypt off; }`"),
        ("/rtc/v1/whip/?stream=/", &sends, 400, "no name"),
    ] {
        let answer = server.post(uri, body).await;
        assert_eq!(answer.status, status, "{uri} {}", answer.body);
        assert!(answer.body.contains(reason), "{uri}: {}", answer.body);
        assert_eq!(server.clients(), [], "{uri}");
    }
    let off =
        Server::new("vhost __defaultVhost__ { rtc { enabled on; } }").post("/rtc/v1/whip/", &sends).await;
    assert_eq!((off.status, off.body.contains("`rtc_server { enabled")), (403, true), "{}", off.body);
}

#[tokio::test]
async fn methods_and_types() {
    let server = Server::new(ON);
    for (path, allowed) in [
        ("whip", "POST, PATCH, DELETE, OPTIONS"),
        ("whep/", "POST, PATCH, DELETE, OPTIONS"),
        ("whip-play/", "POST, PATCH, DELETE, OPTIONS"),
        ("play/", "POST, OPTIONS"),
        ("publish", "POST, OPTIONS"),
    ] {
        let uri = format!("/rtc/v1/{path}");
        for method in ["GET", "HEAD", "PUT"] {
            let answer = server.send(method, &uri, &[("origin", "http://a")], "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
        }
        let answer = server.send("GET", &uri, &[("origin", "http://a")], "").await;
        assert_eq!(answer.header("access-control-expose-headers"), "*");
        let answer = server.send("OPTIONS", &uri, &[("origin", "http://a")], "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-methods")), (200, "*"));
    }
    for (kind, status) in [
        (Some("application/sdp"), 201),
        (Some("Text/Plain; charset=utf-8"), 201),
        (None, 201),
        (Some("application/json"), 415),
    ] {
        let headers: Vec<_> = kind.map(|kind| ("content-type", kind)).into_iter().collect();
        let answer = server.send("POST", "/rtc/v1/whip-play/", &headers, &offer("recvonly")).await;
        assert_eq!(answer.status, status, "{kind:?}");
    }
}

#[tokio::test]
async fn servers_of_ice_are_told() {
    let server = Server::new(
        "rtc_server { enabled on; ice_server stun:a.com:3478; ice_server turn:b.com me 'my \"own\"'; } \
         http_server { enabled on; listen 8080; crossdomain off; } vhost __defaultVhost__ { rtc { enabled on; } }",
    );
    let links = [
        "<stun:a.com:3478>; rel=\"ice-server\"",
        "<turn:b.com>; rel=\"ice-server\"; username=\"me\"; credential=\"my \\\"own\\\"\"; credential-type=\"password\"",
    ];
    let told = |answer: &Answer| {
        let all = answer.headers.get_all("link").iter();
        all.map(|link| link.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for path in ["whip", "whep/", "whip-play/"] {
        let answer = server.send("OPTIONS", &format!("/rtc/v1/{path}"), &[], "").await;
        assert_eq!((answer.status, answer.header("accept-post")), (200, "application/sdp"), "{path}");
        assert_eq!(
            (told(&answer), answer.header("allow")),
            (links.map(String::from).to_vec(), "POST, PATCH, DELETE, OPTIONS")
        );
    }
    let answer = server.post("/rtc/v1/whep/", &offer("recvonly")).await;
    assert_eq!((answer.status, told(&answer)), (201, links.map(String::from).to_vec()));
    let answer = Server::new(ON).post("/rtc/v1/whep/", &offer("recvonly")).await;
    assert_eq!((answer.status, told(&answer)), (201, vec![]));
    let answer = server.send("OPTIONS", "/rtc/v1/play/", &[], "").await;
    assert_eq!(
        (answer.status, answer.header("accept-post")),
        (405, ""),
        "as everywhere without `crossdomain`"
    );
}

#[tokio::test]
async fn json_in_the_shapes_of_srs() {
    let server = Server::new(ON);
    let answer = server.json("publish/", "webrtc://localhost/live/s?token=a/b", &offer("sendonly")).await;
    let body = answer.json();
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let keys: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["code", "server", "service", "pid", "sdp", "sessionid"]);
    assert_eq!((&body["code"], &body["pid"]), (&json!(0), &json!("4711")));
    let id = body["sessionid"].as_str().unwrap();
    assert!(id.ends_with(":ab+d") && server.service.rtc.lobby.known(&id[..8]).is_some(), "{id}");
    assert_eq!(video(body["sdp"].as_str().unwrap()), "H264");
    // A player of what WebRTC publishes.
    let body = server.json("play", "webrtc://localhost/live/s", &offer("recvonly")).await.json();
    let sdp = body["sdp"].as_str().unwrap();
    assert!(
        sdp.contains("s=SRSPlaySession") && sdp.contains("a=sendonly") && sdp.contains(" cname:"),
        "{sdp}"
    );

    let body = json!({ "sdp": "x" }).to_string();
    for (what, body, status, reason) in [
        ("play/", "no", 400, "no JSON"),
        ("play/", "[]", 400, "no `sdp`"),
        ("play/", &body, 400, "no `streamurl`"),
        ("play/", &" ".repeat(MAX_BODY + 1), 413, "65536"),
    ] {
        let answer = server.send("POST", &format!("/rtc/v1/{what}"), &[], body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        let json = answer.json();
        assert_eq!(json["code"], 400);
        assert!(json["message"].as_str().unwrap().contains(reason), "{json}");
    }
    let busy = server.json("publish/", "webrtc://localhost/live/s", &offer("sendonly")).await;
    assert_eq!((busy.status, &busy.json()["code"]), (409, &json!(400)));
}

#[tokio::test]
async fn a_stream_from_elsewhere_needs_the_bridge() {
    let server = Server::new(ON);
    let _publishing = (server.rtmp("x").await, server.rtmp("bridge").await);
    let answer = server.json("play/", "webrtc://localhost/live/s", &offer("recvonly")).await;
    assert_eq!((answer.status, answer.body.contains("rtmp_to_rtc")), (403, true), "{}", answer.body);
    let answer = server.json("play/", "webrtc://bridge/live/s", &offer("recvonly")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = server.post("/rtc/v1/whep/?app=live&stream=s&domain=bridge", &offer("recvonly")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[tokio::test]
async fn the_live_stream_decides_on_the_codec() {
    let server = Server::new(ON);
    for (codec, want) in [("", "H264"), ("av1", "AV1"), ("HEVC", "H265"), ("vp9", "VP9"), ("?", "H264")] {
        for (path, direction) in [("whip", "sendonly"), ("whep", "recvonly")] {
            let uri = format!("/rtc/v1/{path}/?codec={codec}&stream={path}-{want}-{}", codec.len());
            let answer = server.post(&uri, &offer(direction)).await;
            assert_eq!((answer.status, video(&answer.body)), (201, want.into()), "{uri}");
        }
    }
    let mut publishing = server.rtmp("bridge").await;
    let mut tracks = media::Tracks::default();
    tracks.set(media::Track {
        id: media::TrackId::VIDEO,
        codec: Codec::Vp8,
        config: Bytes::new(),
        dialect: media::Dialect::default(),
    });
    publishing.tracks(tracks);
    let answer =
        server.post("/rtc/v1/whep/?app=live&stream=s&vhost=bridge&codec=av1", &offer("recvonly")).await;
    assert_eq!(video(&answer.body), "VP8");
}

/// Before the first packet of a publisher, its players are answered with what it has agreed to.
#[tokio::test]
async fn what_is_agreed_is_what_comes() {
    let server = Server::new(ON);
    let publisher = server.post("/rtc/v1/whip/?codec=vp9&stream=s", &offer("sendonly")).await;
    assert_eq!(video(&publisher.body), "VP9");
    let player = async || server.post("/rtc/v1/whep/?stream=s&codec=h264", &offer("recvonly")).await;
    assert_eq!(video(&player().await.body), "VP9");
    assert_eq!(server.send("DELETE", publisher.header("location"), &[], "").await.status, 200);
    assert_eq!(video(&player().await.body), "H264", "it is gone");
}

#[tokio::test]
async fn clients_choose_credentials_and_tell_addresses() {
    let server = Server::new(ON);
    let uri = "/rtc/v1/whep/?ice-ufrag=mine&ice-pwd=0123456789abcdefghijkl&eip=198.51.100.1:99";
    let answer = server.post(uri, &offer("recvonly")).await;
    for line in [
        "a=ice-ufrag:mine",
        "a=ice-pwd:0123456789abcdefghijkl",
        " 198.51.100.1 99 typ",
        " 192.0.2.1 8000 typ",
    ] {
        assert!(answer.body.contains(line), "no {line} in\n{}", answer.body);
    }
    assert_eq!(server.post(uri, &offer("recvonly")).await.status, 409);
    for (headers, ip) in [
        (&[("x-forwarded-for", "198.51.100.2, 10.0.0.1")][..], "198.51.100.2"),
        (&[("x-real-ip", "2001:db8::5")], "2001:db8::5"),
        (&[("x-forwarded-for", "nonsense")], "203.0.113.9"),
    ] {
        let server = Server::new(ON);
        server.send("POST", "/rtc/v1/whep/", headers, &offer("recvonly")).await;
        assert_eq!(server.clients(), [("rtc-play", ip.into())]);
    }
    let server = Server::new(ON);
    let body = json!({ "sdp": offer("recvonly"), "streamurl": "webrtc://a/b/c", "clientip": "198.51.100.3" });
    server.send("POST", "/rtc/v1/play/", &[("x-real-ip", "192.0.2.77")], &body.to_string()).await;
    assert_eq!(server.clients(), [("rtc-play", "198.51.100.3".into())]);
}

#[tokio::test]
async fn less_protection_needs_the_directive() {
    use rtc::session::Protection::{DtlsOnly, None as Nothing, Srtp};
    let open = "rtc_server { enabled on; encrypt off; } vhost __defaultVhost__ { rtc { enabled on; } }";
    for (text, query, want) in [
        (ON, "", Srtp),
        (ON, "&encrypt=true", Srtp),
        (open, "", DtlsOnly),
        (open, "&encrypt=true", Srtp),
        (open, "&encrypt=false", DtlsOnly),
        (open, "&dtls=false", Nothing),
    ] {
        let server = Server::new(text);
        let uri = format!("/rtc/v1/whep/?ice-ufrag=mine{query}");
        assert_eq!(server.post(&uri, &offer("recvonly")).await.status, 201, "{uri}");
        let Some(super::super::lobby::Found::Yours(guest)) = server.service.rtc.lobby.find("mine", 0) else {
            panic!("nobody waits");
        };
        assert_eq!(guest.options.protection, want, "{text} {query}");
    }
}
