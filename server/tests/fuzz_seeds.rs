//! The fuzz bodies over seeds: real input of every parser, and the same input damaged in many small ways. `make fuzz`
//! searches further; what it finds comes back as a file in `fuzz/seeds`.

use std::fs;
use std::path::Path;

use formats::amf0::Value;
use formats::flv::{FileHeader, Header, Tag, TagKind};
use media::Micros;
use rtmp::{
    Client, ClientOptions, ConnectReply, Event, MediaKind, Role, Server, ServerIdentity, ServerOptions, Url,
};

/// Runs a body over its seeds, the files of `fuzz/seeds/TARGET`, and damaged copies of both.
fn run(target: &str, mut seeds: Vec<Vec<u8>>, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    if let Ok(files) = fs::read_dir(folder) {
        seeds.extend(files.map(|file| fs::read(file.unwrap().path()).unwrap()));
    }
    assert!(seeds.iter().any(|seed| !seed.is_empty()), "no seeds for {target}");
    let mut random = fastrand::Rng::with_seed(1);
    for seed in seeds {
        body(&seed);
        for _ in 0..200 {
            let mut damaged = seed.clone();
            for _ in 0..random.usize(1..4) {
                if damaged.is_empty() {
                    break;
                }
                let at = random.usize(..damaged.len());
                match random.u8(..5) {
                    0 => damaged.truncate(at),
                    1 => damaged[at] = random.u8(..),
                    2 => damaged[at] ^= 1 << random.u8(..8),
                    3 => damaged.insert(at, random.choice([0, 0x7f, 0x80, 0xff]).unwrap()),
                    _ => drop(damaged.drain(at..(at + random.usize(1..8)).min(damaged.len()))),
                }
            }
            body(&damaged);
        }
    }
}

/// What one of our clients sends to a server, from the handshake to its last frame.
fn publisher() -> Vec<u8> {
    let url = Url::parse("rtmp://localhost/live/livestream?token=1");
    let mut client = Client::new(Micros::ZERO, ClientOptions::new(url, Role::Publish));
    let mut server = Server::new(Micros::ZERO, ServerOptions::default());
    let mut said = Vec::new();
    let mut sent = 0;
    for _ in 0..64 {
        while let Some(bytes) = client.poll_transmit() {
            said.extend_from_slice(&bytes);
            server.receive(Micros::ZERO, &bytes).unwrap();
        }
        while let Some(event) = server.poll_event() {
            match event {
                Event::Connect(_) => server.accept_connect(reply()).unwrap(),
                Event::Publish(_) => server.accept_publish().unwrap(),
                _ => {}
            }
        }
        while let Some(bytes) = server.poll_transmit() {
            client.receive(Micros::ZERO, &bytes).unwrap();
        }
        while let Some(event) = client.poll_event() {
            drop(event);
        }
        if client.send(MediaKind::Video, sent * 40, &[&[0x17, 1, 0, 0, 0][..], &[7; 300]].concat()) {
            sent += 1;
        }
    }
    assert!(sent > 3, "the conversation came to media");
    said
}

fn reply() -> ConnectReply<'static> {
    let server = ServerIdentity {
        signature: "s",
        name: "n",
        license: "l",
        url: "u",
        version: "1",
        authors: "a",
        ip: "127.0.0.1",
        pid: 1,
        id: "abcdefgh",
    };
    ConnectReply { chunk_size: 60000, out_ack_size: 2_500_000, in_ack_size: 0, server }
}

#[test]
fn rtmp_sessions() {
    let said = publisher();
    run(
        "handshake",
        vec![said[..3073].to_vec(), [&[0xf3, 0, 4, 1, 2, 3, 4], &said[..1537]].concat()],
        rtmp::fuzz::handshake,
    );
    run("chunk", vec![said[3073..].to_vec()], rtmp::fuzz::chunk);
    run("session", vec![said], rtmp::fuzz::server);
}

#[test]
fn amf0() {
    let mut bytes = Vec::new();
    Value::from("onMetaData").encode(&mut bytes);
    let object =
        Value::object([("width", Value::Number(640.0)), ("audio", Value::Boolean(true)), ("x", Value::Null)]);
    object.encode(&mut bytes);
    run("amf", vec![bytes], formats::fuzz::amf);
}

#[test]
fn flv() {
    let mut bytes = FileHeader { audio: true, video: true }.to_bytes().to_vec();
    let tags: [(TagKind, &[u8]); 5] = [
        (TagKind::Video, &[0x17, 0, 0, 0, 0, 1, 0x42, 0, 0x1e, 0xff, 0xe1, 0, 2, 0x67, 0x42, 1, 0, 1, 0x68]),
        (TagKind::Audio, &[0xaf, 0, 0x12, 0x10]),
        (TagKind::Video, &[0x17, 1, 0, 0, 40, 0, 0, 0, 2, 0x65, 0x88]),
        (TagKind::Audio, &[0xaf, 1, 0x21, 0x10]),
        (TagKind::Video, b"\x91hvc1\0\0\x28\0\0\0\x02\x26\x01"),
    ];
    for (n, (kind, body)) in tags.into_iter().enumerate() {
        let tag = Tag { kind, header: Header::default(), body: bytes::Bytes::from_static(body) };
        tag.write(n as u32 * 40, &mut bytes);
    }
    run("flv", vec![bytes], formats::fuzz::flv);
}

#[test]
fn ts() {
    let script: [&[u8]; 7] = [
        &[0x2b],
        &[2, 0, 13, 1, 100, 0, 31, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68],
        &[2, 5, 2, 0x12, 0x10],
        &[0x96, 4, 0, 0, 0, 0, 40, 0x65, 7, 0, 6],
        &[5, 3, 10, 0, 9, 0, 9, 1, 2, 3],
        &[0, 1, 2, 7, 4, 0xff, 0xfb, 0x90, 0x64],
        &[0x15, 3, 10, 0, 40, 0, 40, 1, 2, 3],
    ];
    run("ts", vec![script.concat()], formats::fuzz::ts);
}

#[test]
fn hls() {
    let mut script = vec![0x1b];
    script.extend([2, 0, 13, 1, 100, 0, 31, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68, 2, 5, 2, 0x12, 0x10]);
    for n in 0..100u8 {
        // 50 ms each, in steps of 1024 µs.
        let time = (u16::from(n) * 49).to_be_bytes();
        let flags = if n % 10 == 0 { 0x16 } else { 0x12 };
        script.extend([flags, 2, 10, time[0], time[1], time[0], time[1], 0x65, 7]);
        script.extend([5, 2, 10, time[0], time[1], time[0], time[1], 1, 2]);
    }
    let playlist = b"#EXTM3U\n#EXTINF:2.000, no desc\na.ts\n#EXTINF:2.000, no desc\nb.ts?x=1\n".to_vec();
    run("hls", vec![script, playlist], formats::fuzz::hls);
}

#[test]
fn codecs() {
    let avcc = [
        1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 9, 0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 5, 1, 0, 2, 0x68,
        0xeb,
    ];
    let seeds = vec![avcc.to_vec(), vec![0x12, 0x10], b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0".to_vec()];
    run("codec", seeds, media::fuzz::codec);
}

#[test]
fn configuration() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf");
    let seeds = fs::read_dir(conf).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    run("config", seeds.collect(), server::config::fuzz);
}

#[test]
fn http_heads() {
    let seeds = [
        "GET /live/livestream.flv HTTP/1.1\r\nHost: localhost:8080\r\nOrigin: http://a.com\r\n\r\n",
        "GET /live/livestream.flv?vhost=a%20b HTTP/1.0\r\n\r\n",
        "GET /live/a.flv HTTP/1.1\r\nHost: [::1]:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n\x0289\x01\x02\x03\x04",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    run("http", seeds.map(|s| s.as_bytes().to_vec()).to_vec(), server::fuzz_http);
}
