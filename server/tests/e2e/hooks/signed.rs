//! Signed addresses, made as docs/ref/security.md shows it: by a shell with openssl.

use std::process::Command;

use rtmp::Role;

use super::{open, server};
use crate::http::{self, Flv};
use crate::webrtc::peer;

const BLOCK: &str = "signed_url { enabled on; secret b1946ac92492d2347c6235b4d2611184; leeway 0; }";

/// The query that lets somebody in, as the shell of the document makes it.
fn query(role: &str, path: &str, seconds: i64, ip: &str) -> String {
    let document = include_str!("../../../../docs/ref/security.md");
    let script = document.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let script =
        script.replace("play", role).replace("/live/cam1", path).replace("3600", &seconds.to_string());
    let script =
        if ip.is_empty() { script } else { script.replace("|$expires\"", &format!("|$expires|{ip}\"")) };
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    told.trim().split_once('?').unwrap().1.to_owned()
}

#[test]
fn a_signature_opens_one_stream_for_some_time() {
    let server = server(BLOCK);
    let publish = query("publish", "/live/a", 60, "");
    let play = query("play", "/live/a", 60, "");
    let _publisher = open(&server, &format!("a?{publish}"), Role::Publish).unwrap();
    open(&server, &format!("a?{play}"), Role::Play).unwrap();
    assert_eq!(Flv::open(server.http, &format!("/live/a.flv?{play}")).status(), 200);
    peer::Call::new(&server, "a").saying(&play).play();

    let wrong = "NetStream.Publish.Denied: the signature is wrong";
    assert_eq!(open(&server, &format!("b?{publish}"), Role::Publish).err().as_deref(), Some(wrong));
    assert_eq!(open(&server, &format!("b?{play}"), Role::Publish).err().as_deref(), Some(wrong));
    let late = query("play", "/live/a", -5, "");
    let status = |query: &str| {
        let reply = http::get(server.http, &format!("/live/a.flv?{query}")).unwrap();
        (reply.status, String::from_utf8(reply.body).unwrap())
    };
    assert_eq!(status(&late), (401, "the address has expired\n".into()));
    assert_eq!(status(""), (401, "the address is not signed: `expires` is missing\n".into()));
    assert_eq!(status(&play.replace("sign=", "sign=f")).0, 401);
    let refused = peer::Call::new(&server, "a").saying(&late).open(false).err().expect("no refusal");
    assert_eq!(refused.status, 401);
    let sign = play.split("sign=").nth(1).unwrap();
    assert!(!server.log().all().iter().any(|line| line.contains(sign)), "a signature in the log");
}

#[test]
fn a_signature_may_be_for_one_address() {
    let server = server(&BLOCK.replace("leeway", "bind_ip on; leeway"));
    let play =
        |ip: &str| open(&server, &format!("a?{}", query("play", "/live/a", 60, ip)), Role::Play).map(drop);
    assert_eq!(play("127.0.0.1"), Ok(()));
    assert!(play("127.0.0.2").is_err());
    assert!(play("").is_err());
}
