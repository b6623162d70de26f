//! Tokens: which are good, for what, and for how long.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData};
use rtmp::Role;
use serde_json::{Value, json};

use super::service::Service;
use super::{open, server};
use crate::harness::{SOON, Server, directory, until};
use crate::http::{self, Flv};
use crate::media::Camera;
use crate::tape::Tape;
use crate::tools::usual_clip;
use crate::viewer::{PACED, variant};
use crate::webrtc::peer;

const SECRET: &str = "a secret of enough letters";

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn hmac(secret: &str) -> EncodingKey {
    EncodingKey::from_secret(secret.as_bytes()).unwrap()
}

fn sign(algorithm: Algorithm, key: &EncodingKey, kid: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}

/// A token that is good for a minute, with more claims or others.
fn token(claims: &Value) -> String {
    let mut all = json!({"exp": now() + 60});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    sign(Algorithm::HS256, &hmac(SECRET), None, &all)
}

fn block(more: &str) -> String {
    format!("token {{ enabled on; secret \"{SECRET}\"; leeway 0; {more} }}")
}

/// What a publisher with this token is told.
fn publishes(server: &Server, token: &str) -> Result<(), String> {
    open(server, &format!("a?token={token}"), Role::Publish).map(drop)
}

#[test]
fn a_token_opens_every_protocol() {
    let server = server(&block(""));
    let good = token(&json!({"publish": ["live/*"], "play": "live/a"}));
    let needed = "a token is needed";
    assert_eq!(open(&server, "a", Role::Publish).err(), Some(format!("NetStream.Publish.Denied: {needed}")));
    assert_eq!(open(&server, "a", Role::Play).err(), Some(format!("NetStream.Play.Failed: {needed}")));
    let reply = http::get(server.http, "/live/a.flv").unwrap();
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")));
    for publishes in [true, false] {
        let refused = peer::Call::new(&server, "a").open(publishes).err().expect("no refusal");
        assert_eq!((refused.status, &refused.body[..]), (401, needed.as_bytes()));
    }
    assert!(server.clients().is_empty());

    let mut publisher = open(&server, &format!("a?jwt={good}"), Role::Publish).unwrap();
    let tape = Tape::of(&usual_clip());
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, 2900, 0);
    open(&server, &format!("a?token={good}"), Role::Play).unwrap().av();
    assert_eq!(Flv::open(server.http, &format!("/live/a.flv?token={good}")).status(), 200);
    let bearer = format!("bearer {good}");
    assert_eq!(Flv::ask(server.http, "/live/a.flv", &[("Authorization", &bearer)]).status(), 200);
    let master = until("a playlist", PACED, || {
        let reply = http::get(server.http, &format!("/live/a.m3u8?token={good}")).unwrap();
        (reply.status == 200).then(|| String::from_utf8(reply.body).unwrap())
    });
    let list = variant(&master).unwrap();
    assert_eq!(http::get(server.http, list).unwrap().status, 200);
    let id = list.split("hls_ctx=").nth(1).unwrap().split('&').next().unwrap();
    assert_eq!(http::get(server.http, &format!("/live/a-0.ts?hls_ctx={id}")).unwrap().status, 200);
    assert_eq!(http::get(server.http, "/live/a-0.ts").unwrap().status, 401);
    peer::Call::new(&server, "a").saying(&format!("token={good}")).play();
    peer::Call::new(&server, "b").saying(&format!("token={good}")).publish().connected();

    let log = server.log().all();
    assert!(log.iter().any(|line| line.contains("token=***")), "{log:#?}");
    let body = good.split('.').nth(1).unwrap();
    assert!(!log.iter().any(|line| line.contains(body)), "a token in the log");
}

#[test]
fn bad_tokens_are_told_why() {
    let server = server(&block("issuer me; audience oxcast;"));
    let fine = json!({"publish": "*", "iss": "me", "aud": ["x", "oxcast"]});
    let but = |name: &str, value: Value| {
        let mut claims = fine.clone();
        claims[name] = value;
        token(&claims)
    };
    assert_eq!(publishes(&server, &token(&fine)), Ok(()));
    let other = hmac("another secret of enough letters");
    let mut claims = fine.clone();
    claims["exp"] = json!(now() + 60);
    let unsigned = {
        let [head, body] =
            [json!({"alg": "none"}), claims.clone()].map(|v| URL_SAFE_NO_PAD.encode(v.to_string()));
        format!("{head}.{body}.")
    };
    for (token, reason) in [
        (sign(Algorithm::HS256, &other, None, &claims), "the token has a wrong signature"),
        (unsigned, "the token is no JWT, or its algorithm is not known"),
        ("abc".into(), "the token is no JWT, or its algorithm is not known"),
        ("a".repeat(9000), "the token is too long"),
        (but("exp", json!(now() - 5)), "the token has expired"),
        (but("exp", Value::Null), "the token makes no sense"),
        (but("nbf", json!(now() + 50)), "the token is not good yet"),
        (but("iss", json!("you")), "the token has another issuer"),
        (but("aud", json!("y")), "the token is for another audience"),
        (but("aud", Value::Null), "the token lacks a claim: exp, or iss and aud where they are asked for"),
        (but("publish", json!("other/*")), "the token does not allow to publish live/a"),
        (but("vhost", json!("a.com")), "the token does not allow to publish live/a"),
    ] {
        assert_eq!(publishes(&server, &token), Err(format!("NetStream.Publish.Denied: {reason}")));
    }
    let play = but("publish", Value::Array(Vec::new()));
    assert_eq!(http::get(server.http, &format!("/live/a.flv?token={play}")).unwrap().status, 403);
}

#[test]
fn keys_of_every_kind() {
    let dir = directory();
    let claims = json!({"exp": now() + 60, "publish": "*"});
    for (name, kind, algorithms) in [
        ("rsa", &PKCS_RSA_SHA256, [Algorithm::RS256, Algorithm::PS256].as_slice()),
        ("ec", &PKCS_ECDSA_P256_SHA256, &[Algorithm::ES256]),
        ("ed", &PKCS_ED25519, &[Algorithm::EdDSA]),
    ] {
        let key = KeyPair::generate_for(kind).unwrap();
        let (file, private) = (dir.join(name), key.serialize_pem());
        std::fs::write(&file, key.public_key_pem()).unwrap();
        let server = server(&format!("token {{ enabled on; public_key {}; play off; }}", file.display()));
        for algorithm in algorithms {
            let key = match name {
                "rsa" => EncodingKey::from_rsa_pem(private.as_bytes()),
                "ec" => EncodingKey::from_ec_pem(private.as_bytes()),
                _ => EncodingKey::from_ed_pem(private.as_bytes()),
            };
            let token = sign(*algorithm, &key.unwrap(), None, &claims);
            assert_eq!(publishes(&server, &token), Ok(()), "{algorithm:?}");
        }
        // A public key is no secret, so it must not be taken for one.
        let confused = hmac(&key.public_key_pem());
        let refused = publishes(&server, &sign(Algorithm::HS256, &confused, None, &claims)).unwrap_err();
        assert!(refused.contains("a key that is not known"), "{refused}");
        assert_eq!(Flv::open(server.http, "/live/a.flv").status(), 200, "players need none");
    }
}

#[test]
fn a_session_ends_with_its_token() {
    let server = server(&block(""));
    // The player first: when the publisher has gone, there is nothing to be sent away from.
    let until = |claim: &str, exp| token(&json!({claim: "*", "exp": exp}));
    let (first, second) = (now() + 2, now() + 4);
    let publisher = format!("a?token={}", until("publish", second));
    let publisher = open(&server, &publisher, Role::Publish).unwrap();
    let mut camera = Camera::new(publisher);
    camera.run_to(20);
    let mut player = Flv::open(server.http, &format!("/live/a.flv?token={}", until("play", first)));
    player.header();
    player.rest();
    assert!(now() > first - 1);
    camera.client.closed();
    assert!(now() > second - 1);
    server.logged_times(&["client finished: its token has expired"], 2);

    let patient = self::server(&block("end_on_expiry off;"));
    let short = token(&json!({"publish": "*", "exp": now() + 1}));
    let mut client = open(&patient, &format!("a?token={short}"), Role::Publish).unwrap();
    assert!(client.event_within(Duration::from_secs(2)).is_none(), "ended");
}

/// A set with the public part of an EC key.
fn set(kid: &str, key: &KeyPair) -> String {
    let point = key.der_bytes();
    let [x, y] = [&point[1..33], &point[33..65]].map(|part| URL_SAFE_NO_PAD.encode(part));
    let useless = json!({"kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(SECRET)});
    json!({"keys": [useless, {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": x, "y": y}]})
        .to_string()
}

#[test]
fn keys_from_a_set_come_and_go() {
    let file = directory().join("jwks.json");
    let [old, new] = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    std::fs::write(&file, set("old", &old)).unwrap();
    let service = Service::start();
    let url = service.url(&format!("file{}", file.display()));
    let server = server(&format!("token {{ enabled on; jwks {url}; jwks_refresh 3600; }}"));
    let claims = json!({"exp": now() + 60, "publish": "*"});
    let token = |kid: &str, key: &KeyPair| {
        sign(
            Algorithm::ES256,
            &EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap(),
            Some(kid),
            &claims,
        )
    };
    for _ in 0..3 {
        assert_eq!(publishes(&server, &token("old", &old)), Ok(()));
    }
    assert!(publishes(&server, &token("old", &new)).is_err());
    let shared = hmac(SECRET);
    assert!(publishes(&server, &sign(Algorithm::HS256, &shared, Some("old"), &claims)).is_err());
    assert_eq!(service.calls().len(), 1, "what is known is not asked for");

    std::fs::write(&file, set("new", &new)).unwrap();
    until("the new key is found", SOON, || publishes(&server, &token("new", &new)).ok());
    assert!(publishes(&server, &token("old", &old)).is_err(), "a key that is gone");
    drop(service);
    assert_eq!(publishes(&server, &token("new", &new)), Ok(()), "without the service");
}

#[test]
fn without_keys_nobody_comes_in() {
    let server = server("token { enabled on; jwks http://127.0.0.1:9/jwks; }");
    let refused = publishes(&server, &token(&json!({"publish": "*"}))).unwrap_err();
    assert_eq!(refused, "NetStream.Publish.Denied: the keys of tokens cannot be fetched");
    assert_eq!(
        http::get(server.http, &format!("/live/a.flv?token={}", token(&json!({})))).unwrap().status,
        503
    );
}
