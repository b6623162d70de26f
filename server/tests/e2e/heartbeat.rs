//! The heartbeat, heard by a receiver that takes it, one that does not answer, and one behind TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::harness::{SOON, Server, Setup, directory, free_port, until};

/// One report: the head of the request, and its body.
struct Report {
    head: String,
    body: Value,
    text: String,
}

/// Reads one request.
fn read(mut tcp: impl Read) -> Option<Report> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.to_ascii_lowercase().split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
            if body.len() >= length {
                let body_json = serde_json::from_str(body).ok()?;
                return Some(Report { head: head.into(), body: body_json, text: body.into() });
            }
        }
        match tcp.read(&mut buffer) {
            Ok(n @ 1..) => bytes.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}

/// A receiver that answers each report with a status.
fn receiver(status: u16) -> (SocketAddr, Receiver<(Instant, Report)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let tcp = tcp.unwrap();
            while let Some(report) = read(&tcp) {
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nno\n");
                if (&tcp).write_all(answer.as_bytes()).is_err()
                    || told.send((Instant::now(), report)).is_err()
                {
                    return;
                }
            }
        }
    });
    (at, heard)
}

fn server(settings: &str, more: &str) -> Server {
    let top = format!("heartbeat {{ enabled on; {settings} }} {more}");
    Server::with(Setup { top: &top, ..Setup::default() })
}

#[test]
fn reports_say_who_and_where() {
    // What the receiver answers is of no interest.
    let (at, heard) = receiver(500);
    let rtc = free_port();
    let server = server(
        &format!(
            "interval 1; url http://{at}/api/v1/servers?secret=x; device_id edge-07; summaries on; ports on;"
        ),
        &format!("rtc_server {{ enabled on; listen {rtc}; tcp {{ enabled on; listen {rtc}; }} }}"),
    );
    let (first, Report { head, body, text }) = heard.recv_timeout(SOON).unwrap();
    assert!(head.starts_with("POST /api/v1/servers HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    let versions = server.ask("/api/v1/versions");
    assert_eq!(body["device_id"], "edge-07");
    for field in ["server", "service", "pid"] {
        assert_eq!(body[field], versions[field], "{field}");
    }
    assert!(body["ip"].as_str().unwrap().parse::<std::net::IpAddr>().is_ok());
    assert_eq!(body["rtmp"], serde_json::json!([server.rtmp.to_string()]));
    assert_eq!(body["http"], serde_json::json!([server.http.to_string()]));
    assert_eq!(body["api"], serde_json::json!([server.api.to_string()]));
    assert_eq!(
        body["rtc"],
        serde_json::json!([format!("udp://0.0.0.0:{rtc}"), format!("tcp://0.0.0.0:{rtc}")])
    );
    assert!(body.get("srt").is_none());
    assert!(text.starts_with("{\"device_id\":\"edge-07\",\"ip\":"), "{text}");
    // The same as the API tells.
    let summary = server.ask("/api/v1/summaries")["data"].clone();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let data = &body["summaries"]["data"];
    assert_eq!((keys(data), keys(&data["self"])), (keys(&summary), keys(&summary["self"])));
    assert_eq!(data["self"]["pid"], server.id());
    let (second, _) = heard.recv_timeout(SOON).unwrap();
    let apart = second - first;
    // The first one had to find the way.
    assert!(apart.as_millis() >= 500, "{apart:?}");
}

#[test]
fn only_what_is_asked_for_is_told() {
    let (at, heard) = receiver(200);
    let _server = server(&format!("interval 9.3; url http://{at}/;"), "");
    let (_, Report { body, .. }) = heard.recv_timeout(SOON).unwrap();
    let keys: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["device_id", "ip", "server", "service", "pid"]);
    assert_eq!(body["device_id"], "");
}

#[test]
fn a_receiver_that_says_nothing_or_is_not_there_holds_nobody_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = listener.local_addr().unwrap();
    let held: JoinHandle<Vec<TcpStream>> =
        std::thread::spawn(move || listener.incoming().take(1).flatten().collect());
    let mut waits = server(&format!("interval 1; url http://{silent}/;"), "");
    let held = held.join().unwrap();
    assert_eq!(waits.ask("/api/v1/versions")["code"], 0);
    waits.stop();
    drop(held);
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut fails = server(&format!("interval 1; url http://{nobody}/x?secret=y;"), "");
    let line = fails.logged(&["[WARN]", "heartbeat: http://", "/x:"]);
    assert!(!line.contains("secret"), "{line}");
    fails.stop();
}

#[test]
fn over_tls_the_receiver_is_checked() {
    let pems = directory();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(pems.join("cert.pem"), made.cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    let tls = Arc::new(tls.unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let stream = StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), tcp.unwrap());
            if told.send(read(stream)).is_err() {
                return;
            }
        }
    });
    let url = format!("interval 1; url https://localhost:{port}/tls;");
    let stranger = server(&url, "");
    stranger.logged(&["[WARN]", "heartbeat: https://localhost", "certificate"]);
    drop(stranger);
    assert!(heard.try_iter().all(|report| report.is_none()), "nothing is told to who is not known");
    let _friend = server(&format!("{url} tls_ca {}/cert.pem; device_id friend;", pems.display()), "");
    let report = until("a report", SOON, || heard.try_recv().ok().flatten());
    assert!(report.head.starts_with("POST /tls HTTP/1.1\r\n"), "{}", report.head);
    assert_eq!(report.body["device_id"], "friend");
}
