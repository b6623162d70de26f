//! The fuzz bodies over seeds: real input of every parser, and the same input damaged in many small ways. `make fuzz`
//! searches further; what it finds comes back as a file in `fuzz/seeds`.

use std::fs;
use std::path::Path;

use formats::amf0::Value;
use formats::flv::{FileHeader, Header, Tag, TagKind};
use media::codec::{Codec, h264};
use media::{Dialect, Micros, Track, TrackId};
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

/// Datagrams as a script, each behind a byte of time and its length.
fn script(datagrams: &[(u8, &[u8])]) -> Vec<u8> {
    let line = |(wait, datagram): &(u8, &[u8])| {
        [&[*wait][..], &(datagram.len() as u16).to_be_bytes(), datagram].concat()
    };
    datagrams.iter().flat_map(line).collect()
}

#[test]
fn webrtc() {
    use rtc::stun::{Class, Writer};
    let certificate = std::sync::Arc::new(rtc::dtls::Certificate::generate("seed").unwrap());
    let options = rtc::dtls::Options::new(rtc::dtls::Role::Client, certificate);
    let hello = rtc::dtls::start(Micros::ZERO, options).unwrap().poll_transmit().unwrap();
    let check =
        Writer::binding(Class::Request, [7; 12]).username(b"ours:theirs").priority(5).software("seed");
    let check = check.mapped(([192, 0, 2, 1], 8000).into()).finish(Some(b"0123456789abcdef0123456789abcdef"));
    let framed = [&[3][..], &rtc::frame::header(check.len()).unwrap(), &check].concat();
    run("stun", vec![[&[3][..], &check].concat(), framed], rtc::fuzz::stun);
    run("dtls", vec![script(&[(1, &hello), (200, &hello)])], rtc::fuzz::dtls);
    let packet = [0x90, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 1, 2, 3];
    let report = [0x80, 201, 0, 1, 0, 0, 0, 5];
    let media: [(u8, &[u8]); 3] = [(0, &packet), (0, &report), (0, &packet)];
    run("srtp", vec![script(&media)], rtc::fuzz::srtp);
    let opening: [(u8, &[u8]); 3] = [(3, &check), (2, &hello), (33, &hello)];
    run("webrtc", vec![script(&[&opening[..], &media].concat())], rtc::fuzz::session);
    let words: [(u8, &[u8]); 4] = [(9, &check), (1, &report), (133, &packet), (201, &report)];
    run("webrtc_client", vec![script(&words)], rtc::fuzz::client);
}

#[test]
fn offers() {
    let transport = "c=IN IP4 0.0.0.0\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\na=setup:actpass\n\
        a=fingerprint:sha-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D\na=rtcp-mux\n";
    let offer = format!(
        "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1\nm=audio 9 UDP/TLS/RTP/SAVPF 111\n{transport}\
         a=mid:0\na=rtpmap:111 opus/48000/2\na=fmtp:111 minptime=10\nm=video 9 UDP/TLS/RTP/SAVPF 102\n{transport}\
         a=mid:1\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\na=rtpmap:102 H264/90000\na=rtcp-fb:102 nack pli\n\
         a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\na=ssrc:5 cname:me\n"
    );
    let text = offer.replace('\n', "\r\n");
    run("offer", vec![text.clone().into_bytes()], rtc::fuzz::offer);
    let answer = text.replace("actpass", "passive").replace("a=ssrc:5 cname:me", "a=recvonly");
    let answer = format!("{answer}a=candidate:0 1 udp 2130706431 192.0.2.1 8000 typ host\r\n");
    run("answer", vec![format!("\0{answer}").into_bytes()], rtc::fuzz::answer);
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
fn mp4() {
    let video = [1, 100, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 100, 0, 31, 1, 0, 1, 0x68];
    let codec = Codec::H264(h264::Config::parse(&video).unwrap());
    let (id, config, dialect) = (TrackId::VIDEO, bytes::Bytes::copy_from_slice(&video), Dialect::Standard);
    let track = formats::mp4::Description::of(&Track { id, codec, config, dialect }).unwrap();
    let mut file = formats::mp4::recording(&[&track]).to_vec();
    for n in 0..4 {
        let sample =
            |duration| formats::mp4::Sample { duration, size: 4, offset: n as i32 * 90, sync: n == 0 };
        file.extend(formats::mp4::fragment(
            n,
            1,
            u64::from(n) * 7200,
            &[sample(3600), sample(3600 + n)],
            [&[7; 8][..]],
        ));
    }
    run("mp4", vec![file], formats::fuzz::mp4);
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
fn rtp_packets() {
    let extended = [
        0xb1, 0xe0, 0, 7, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0xbe, 0xde, 0, 2, 0x10, 0xaa, 0, 0x51, 1, 2,
        0xf0, 9, 0xee, 0xef, 0, 2,
    ];
    let two_byte = [0x90, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0, 0, 1, 9, 2, 1, 2, 7, 7];
    run("rtp", vec![extended.to_vec(), two_byte.to_vec()], rtp::fuzz::packet);

    let mut compound = Vec::new();
    let mut writer = rtp::rtcp::Writer::new(&mut compound);
    let report = rtp::rtcp::Report { ssrc: 2, highest: 70_000, lost: -1, ..Default::default() };
    writer.sender_report(1, &rtp::rtcp::SenderInfo::default(), &[report, report]);
    writer.description(1, "somebody");
    writer.nack(1, 2, &[3, 5, 19, 20, 65_535]);
    let mut arrivals = rtp::rtcp::Arrivals::new(65_534, Micros(640_000));
    for step in [1, 2, 3, 9, 40] {
        arrivals.push(step, Micros(640_000 + step as i64 * 9000));
    }
    writer.twcc(1, 2, 3, &arrivals);
    writer.pli(1, 2);
    writer.fir(1, 2, 3);
    writer.remb(1, 3_000_000, &[2]);
    writer.reference_time(1, rtp::clock::Ntp(5));
    writer.delays(1, &[rtp::rtcp::Dlrr { ssrc: 2, last_rr: 3, delay: 4 }]);
    writer.bye(&[1]);
    run("rtcp", vec![compound], rtp::fuzz::rtcp);
}

#[test]
fn rtp_payloads() {
    // Which format; then packets: their marker and length, a step of sequence number and timestamp, the payload.
    let packets = |which: u8, payloads: &[(bool, &[u8])]| {
        let mut script = vec![which];
        for (marker, payload) in payloads {
            let step = 1 | u8::from(script.len() > 1 && *marker) << 2;
            script.extend([u8::from(*marker) << 7 | payload.len() as u8, step]);
            script.extend_from_slice(payload);
        }
        script
    };
    let seeds = vec![
        packets(
            0,
            &[
                (false, &[0x78, 0, 5, 0x67, 0x42, 0xc0, 0x1f, 0xd9, 0, 3, 0x68, 0xce, 0x3c]),
                (false, &[0x7c, 0x85, 0x88, 1]),
                (false, &[0x7c, 5, 2]),
                (true, &[0x7c, 0x45, 3]),
                (true, &[0x41, 0x9a, 1]),
            ],
        ),
        packets(1, &[(false, &[0x62, 1, 0x93, 0x80, 1]), (true, &[0x62, 1, 0x53, 2]), (true, &[2, 1, 0x80])]),
        packets(2, &[(false, &[0x90, 0xf0, 0x81, 2, 3, 4, 0, 9]), (true, &[0, 7]), (true, &[0x10, 1])]),
        packets(
            3,
            &[
                (true, &[0xae, 5, 0, 1, 0x18, 1, 64, 0, 64, 2, 4, 1, 8, 1, 2, 0x82, 0x49, 0x83, 0x42, 0]),
                (true, &[0xdc, 0x80, 6, 3, 4, 7, 7]),
            ],
        ),
        packets(
            4,
            &[
                (true, &[0x28, 5, 8, 0, 0, 0, 1, 0x30, 0x10, 9]),
                (false, &[0x50, 0x30, 0x30]),
                (true, &[0x90, 2]),
            ],
        ),
        packets(6, &[(true, &[0, 32, 0, 16, 0, 24, 1, 2, 3, 4, 5]), (true, &[0, 16, 0, 48, 1, 2, 3])]),
    ];
    run("unpack", seeds, rtp::fuzz::unpack);
    let frame = |which: u8, frame: &[u8]| [&[which, 1], frame].concat();
    let large = [&[0, 0, 0, 200, 0x65][..], &[0x88; 199]].concat();
    let seeds = vec![
        frame(0, &[&[0, 0, 0, 2, 6, 1, 0, 0, 0, 2, 9, 0xf0][..], &large].concat()),
        frame(1, &[&[0, 0, 0, 3, 0x4e, 1, 5][..], &large].concat()),
        frame(2, &[0x10; 150]),
        frame(3, &[0x82; 150]),
        frame(4, &[&[0x12, 0, 0x0a, 3, 0, 0, 0, 0x32, 0x82, 1][..], &[0x10; 130]].concat()),
        frame(5, &[7; 150]),
    ];
    run("pack", seeds, rtp::fuzz::pack);
}

#[test]
fn session_descriptions() {
    let offer = "v=0\r\no=- 5011731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic: WMS e1\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host\r\n\
        a=ice-ufrag:Yh4d\r\na=ice-pwd:8kjd93jdkalkjsd93jdasdlk\r\na=fingerprint:sha-256 A1:B2\r\na=setup:actpass\r\na=mid:0\r\n\
        a=extmap:3/sendonly urn:x\r\na=sendonly\r\na=msid:e1 c9\r\na=rtcp-mux\r\na=rtpmap:102 H264/90000\r\na=rtcp-fb:* nack pli\r\n\
        a=fmtp:102 packetization-mode=1;profile-level-id=42e01f;sprop-parameter-sets=Z0LAHw==,aM48gA==\r\na=rtpmap:103 rtx/90000\r\n\
        a=fmtp:103 apt=102\r\na=ssrc-group:FID 1 2\r\na=ssrc:1 cname:x\r\na=ssrc:1 msid:e1 c9\r\n";
    let rtsp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 239.1.2.3/32\nt=0 0\na=control:*\nm=audio 0 RTP/AVP 97 8\n\
        a=rtpmap:97 MPEG4-GENERIC/44100/2\na=fmtp:97 mode=AAC-hbr; sizelength=13;config=1210\na=control:t=1\na=ptime:20\n";
    run("sdp", vec![offer.as_bytes().to_vec(), rtsp.as_bytes().to_vec()], rtp::fuzz::sdp);
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
