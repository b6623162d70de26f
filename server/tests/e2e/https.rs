//! Streams and the API over TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Running;
use crate::harness::{SOON, Server, Setup, directory, free_port};
use crate::players::publish_clip_for_ever;
use crate::tools::{self, LIMIT, ffmpeg, usual_clip};

/// A certificate of `localhost` and its key, in a directory.
pub fn pems() -> PathBuf {
    let pems = directory();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(pems.join("cert.pem"), certificate.cert.pem()).unwrap();
    fs::write(pems.join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    pems
}

/// An `https` block that listens there with this certificate.
pub fn block(port: u16, pems: &Path) -> String {
    let pems = pems.display();
    format!("https {{ enabled on; listen 127.0.0.1:{port}; cert {pems}/cert.pem; key {pems}/key.pem; }}")
}

/// What curl gets.
pub fn curl(arguments: &[&str]) -> Running {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20"]).args(arguments);
    let mut curl = Running::start("curl", &mut command);
    curl.wait(SOON * 2);
    curl
}

#[test]
fn streams_and_the_api_over_tls() {
    let (pems, [streams, api]) = (pems(), [(); 2].map(|()| free_port()));
    let (http, rules) = (block(streams, &pems), block(api, &pems));
    let server = Server::with(Setup {
        http: &http,
        api: &rules,
        vhost: "hls { enabled on; hls_fragment 1; hls_path ./html; }",
        ..Setup::default()
    });
    let _publisher = publish_clip_for_ever(&server, &usual_clip(), "a");

    // The certificate is the one of the file, so that who trusts it needs no excuse.
    let trusted = pems.join("cert.pem").display().to_string();
    let versions = format!("https://localhost:{api}/api/v1/versions");
    let seen = curl(&["--cacert", &trusted, &versions]);
    assert!(seen.out.all().join("").contains("\"code\":0"), "{:?} {:?}", seen.out.all(), seen.err.all());
    assert!(curl(&[&versions]).err.all().join("").contains("certificate"), "nobody else trusts it");

    let url = format!("https://localhost:{streams}/live/a.flv");
    let out = server.dir.join("out.flv");
    let play = ["-tls_verify", "0", "-i", &url, "-c", "copy", "-t", "2", out.to_str().unwrap()];
    tools::start(ffmpeg(), &play).succeed(LIMIT);
    assert!(tools::of(&tools::packets(ffmpeg(), out.to_str().unwrap()), 0).len() >= 45);

    let url = format!("https://localhost:{streams}/live/a.m3u8");
    let seen = curl(&["-k", "--retry", "20", "--retry-delay", "1", "--retry-all-errors", "-f", &url]);
    assert_eq!(seen.out.all().first().map(String::as_str), Some("#EXTM3U"), "{:?}", seen.err.all());

    // Who speaks plain HTTP there is told from who speaks TLS.
    assert!(!curl(&[&format!("http://127.0.0.1:{streams}/")]).err.all().is_empty());
    server.logged(&["[WARN]", "TLS handshake", "peer=127.0.0.1"]);
}

#[test]
fn one_port_for_both_and_a_certificate_of_its_own() {
    let tls = free_port();
    let https = format!("https {{ enabled on; listen 127.0.0.1:{tls}; }}");
    let server = Server::with(Setup { http: &https, api: &https, one_port: true, ..Setup::default() });
    server.logged(&[
        "[WARN]",
        "there is no ./conf/server.crt",
        "signed by itself",
        "it is kept in ./conf/server.crt",
    ]);
    // Who has looked at it once can trust it from then on: it is the same after a restart.
    let kept = server.dir.join("conf/server.crt");
    let trusted = kept.to_str().unwrap();
    let seen = curl(&["--cacert", trusted, &format!("https://localhost:{tls}/api/v1/versions")]);
    assert!(seen.out.all().join("").contains("\"code\":0"), "{:?} {:?}", seen.out.all(), seen.err.all());
    let mode = fs::metadata(server.dir.join("conf/server.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
