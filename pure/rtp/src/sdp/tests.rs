//! Descriptions in the shapes of real peers, there and back.

use bytes::Bytes;
use media::codec::{Codec, aac, h264, h265, opus};
use media::{Dialect, Track, TrackId};
use proptest::prelude::*;

use super::*;
use crate::unpack::Encoding;

const DIGEST: &str =
    "A1:B2:C3:D4:E5:F6:07:18:29:3A:4B:5C:6D:7E:8F:90:A1:B2:C3:D4:E5:F6:07:18:29:3A:4B:5C:6D:7E:8F:90";

/// Lines of text as they travel, with `DIGEST` filled in.
fn lines(text: &str) -> Vec<u8> {
    text.trim()
        .lines()
        .map(|line| format!("{}\r\n", line.trim().replace("DIGEST", DIGEST)))
        .collect::<String>()
        .into()
}

/// A browser of the Chromium family that publishes: one transport, many payload types, SSRC lines with RTX.
const CHROME: &str = "
    v=0
    o=- 5011731400430051336 2 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0 1
    a=extmap-allow-mixed
    a=msid-semantic: WMS e1d2
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=ice-ufrag:Yh4d
    a=ice-pwd:8kjd93jdkalkjsd93jdasdlk
    a=ice-options:trickle
    a=fingerprint:sha-256 DIGEST
    a=setup:actpass
    a=mid:0
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=sendonly
    a=msid:e1d2 a7b8
    a=rtcp-mux
    a=rtpmap:111 opus/48000/2
    a=rtcp-fb:111 transport-cc
    a=fmtp:111 minptime=10;useinbandfec=1
    a=rtpmap:63 red/48000/2
    a=fmtp:63 111/111
    a=rtpmap:9 G722/8000
    a=rtpmap:0 PCMU/8000
    a=rtpmap:8 PCMA/8000
    a=rtpmap:13 CN/8000
    a=ssrc:3000000001 cname:nAmE
    a=ssrc:3000000001 msid:e1d2 a7b8
    m=video 9 UDP/TLS/RTP/SAVPF 102 103 106 107
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0 network-id 1
    a=candidate:2 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active generation 0
    a=ice-ufrag:Yh4d
    a=ice-pwd:8kjd93jdkalkjsd93jdasdlk
    a=fingerprint:sha-256 DIGEST
    a=setup:actpass
    a=mid:1
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=sendonly
    a=msid:e1d2 c9d0
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:102 H264/90000
    a=rtcp-fb:102 goog-remb
    a=rtcp-fb:102 transport-cc
    a=rtcp-fb:102 ccm fir
    a=rtcp-fb:102 nack
    a=rtcp-fb:102 nack pli
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
    a=rtpmap:103 rtx/90000
    a=fmtp:103 apt=102
    a=rtpmap:106 H264/90000
    a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=640c1f
    a=rtpmap:107 rtx/90000
    a=fmtp:107 apt=106
    a=ssrc-group:FID 1000000001 1000000002
    a=ssrc:1000000001 cname:nAmE
    a=ssrc:1000000001 msid:e1d2 c9d0
    a=ssrc:1000000002 cname:nAmE
    a=ssrc:1000000002 msid:e1d2 c9d0";

/// A browser of the Gecko family that plays: the fingerprint on the session, directions of extensions, no SSRC.
const FIREFOX: &str = "
    v=0
    o=mozilla...THIS_IS_SDPARTA-99.0 7012345678901234567 0 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=sendrecv
    a=fingerprint:sha-256 DIGEST
    a=group:BUNDLE 0 1
    a=ice-options:trickle
    a=msid-semantic:WMS *
    m=video 9 UDP/TLS/RTP/SAVPF 120 126
    c=IN IP4 0.0.0.0
    a=recvonly
    a=extmap:4/recvonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1
    a=fmtp:120 max-fs=12288;max-fr=60
    a=ice-pwd:00112233445566778899aabbccddeeff
    a=ice-ufrag:01234567
    a=mid:0
    a=rtcp-fb:120 nack
    a=rtcp-fb:126 nack
    a=rtcp-fb:* nack pli
    a=rtcp-mux
    a=rtpmap:120 VP8/90000
    a=rtpmap:126 H264/90000
    a=setup:actpass
    m=audio 0 UDP/TLS/RTP/SAVPF 109
    c=IN IP4 0.0.0.0
    a=bundle-only
    a=recvonly
    a=mid:1
    a=rtpmap:109 opus/48000/2
    a=rtcp-mux";

/// An encoder over libdatachannel, as OBS: LF only, `msid` as a source attribute alone, spaces in parameters.
const OBS: &str = "v=0\no=rtc 1234567890 0 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1\na=group:LS 0 1\n\
    a=msid-semantic:WMS *\na=ice-options:ice2,trickle\na=fingerprint:sha-256 AA:BB\n\
    m=audio 55555 UDP/TLS/RTP/SAVPF 111\nc=IN IP6 2001:db8::1\na=mid:0\na=sendonly\na=ssrc:11 cname:x\na=ssrc:11 msid:s s-audio\n\
    a=msid:s s-audio\na=rtcp-mux\na=rtpmap:111 opus/48000/2\na=fmtp:111 minptime=10; maxaveragebitrate=96000; stereo=1\n\
    a=setup:actpass\na=ice-ufrag:u\na=ice-pwd:p\na=candidate:1 1 UDP 2122317823 2001:db8::1 55555 typ host\na=end-of-candidates\n\
    m=video 55555 UDP/TLS/RTP/SAVPF 96\nc=IN IP6 2001:db8::1\na=mid:1\na=sendonly\na=ssrc:12 cname:x\na=rtcp-mux\n\
    a=rtpmap:96 H264/90000\na=rtcp-fb:96 nack\na=rtcp-fb:96 nack pli\n\
    a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\na=setup:actpass\n";

/// GStreamer: parameter sets out of band and SSRC as a parameter; a data channel that is refused.
const GSTREAMER: &str = "
    v=0
    o=- 4123456789012345678 0 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=ice-options:trickle
    a=group:BUNDLE video0
    m=video 9 UDP/TLS/RTP/SAVPF 96
    c=IN IP4 0.0.0.0
    a=setup:actpass
    a=ice-ufrag:abcdefgh
    a=ice-pwd:abcdefghijklmnopqrstuvwxyz012345
    a=rtcp-mux
    a=rtcp-rsize
    a=sendonly
    a=rtpmap:96 H264/90000
    a=rtcp-fb:96 nack pli
    a=framerate:30
    a=fmtp:96 packetization-mode=1;profile-level-id=42c01f;sprop-parameter-sets=Z0LAHw==,aM48gA==
    a=ssrc:42 msid:user1@host webrtctransceiver0
    a=ssrc:42 cname:user1@host
    a=mid:video0
    a=fingerprint:sha-256 DIGEST
    m=application 0 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=mid:data
    a=sctp-port:5000";

/// An RTSP server over FFmpeg's muxer.
const FFMPEG_RTSP: &str = "
    v=0
    o=- 0 0 IN IP4 127.0.0.1
    s=No Name
    c=IN IP4 239.1.2.3/32
    t=0 0
    a=tool:libavformat
    a=control:*
    m=video 0 RTP/AVP 96
    b=AS:1000
    a=rtpmap:96 H265/90000
    a=fmtp:96 sprop-vps=QAE=; sprop-sps=QgE=; sprop-pps=RAE=
    a=control:streamid=0
    m=audio 0 RTP/AVP 97
    a=rtpmap:97 MPEG4-GENERIC/44100/2
    a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1210
    a=control:streamid=1
    m=audio 0 RTP/AVP 8";

fn read(text: &str) -> Description {
    let read = Description::parse(&lines(text)).unwrap();
    let again = Description::parse(read.to_string().as_bytes()).unwrap();
    // What a section inherits is written into it.
    assert_eq!(again, read);
    read
}

#[test]
fn chrome_publishes() {
    let offer = read(CHROME);
    assert_eq!(
        (&offer.id[..], offer.version, &offer.bundle[..]),
        ("5011731400430051336", 2, &["0".into(), "1".into()][..])
    );
    let [audio, video] = &offer.media[..] else { panic!() };
    assert_eq!((&audio.kind[..], audio.direction, audio.formats.len()), ("audio", Direction::SendOnly, 6));
    let opus = audio.format(111).unwrap();
    assert!(opus.is("OPUS"));
    assert_eq!((opus.rate, opus.channels, opus.parameter("useinbandfec")), (48_000, Some(2), Some("1")));
    assert_eq!(audio.format(63).unwrap().parameters, [("111/111".into(), String::new())]);
    let ice = audio.ice.as_ref().unwrap();
    assert_eq!((&ice.ufrag[..], ice.pwd.len(), audio.setup), ("Yh4d", 24, Some(Setup::ActPass)));
    assert_eq!(audio.fingerprints, [("sha-256".into(), DIGEST.into())]);
    assert_eq!(video.extension(TRANSPORT_CC), Some(3));
    assert_eq!(video.retransmission(102).unwrap().payload_type, 103);
    let baseline = video.format(102).unwrap();
    let want = H264Parameters {
        profile_level_id: [0x42, 0xe0, 0x1f],
        packetization_mode: 1,
        level_asymmetry_allowed: true,
    };
    assert_eq!(baseline.h264(), Some(want));
    assert!(
        baseline.has_feedback("nack pli") && baseline.has_feedback("nack") && !baseline.has_feedback("fir")
    );
    assert_eq!(video.source_groups, [("FID".into(), vec![1_000_000_001, 1_000_000_002])]);
    assert_eq!(video.sources[1].msid, Some(("e1d2".into(), "c9d0".into())));
    let kinds: Vec<_> = video.candidates.iter().map(|c| (c.transport, c.port)).collect();
    assert_eq!(kinds, [(Transport::Udp, 50_000), (Transport::TcpActive, 9)]);
    assert!(audio.rtcp_mux && !audio.rtcp_rsize && video.rtcp_rsize);
}

#[test]
fn firefox_plays() {
    let offer = read(FIREFOX);
    let [video, audio] = &offer.media[..] else { panic!() };
    assert_eq!((video.direction, video.fingerprints.len()), (Direction::RecvOnly, 1));
    assert_eq!(audio.fingerprints, video.fingerprints);
    assert!(
        video.format(120).unwrap().has_feedback("nack pli")
            && video.format(126).unwrap().has_feedback("nack pli")
    );
    assert!(audio.bundle_only && !audio.is_rejected());
    assert_eq!(video.extensions[0].direction, Some(Direction::RecvOnly));
}

#[test]
fn obs_publishes_with_bare_line_feeds() {
    let offer = Description::parse(OBS.as_bytes()).unwrap();
    let [audio, video] = &offer.media[..] else { panic!() };
    assert_eq!(offer.bundle, ["0", "1"], "other groups are not taken for it");
    assert_eq!(audio.format(111).unwrap().parameter("stereo"), Some("1"));
    assert_eq!(audio.address, Some("2001:db8::1".parse().unwrap()));
    assert!(audio.end_of_candidates);
    assert_eq!((video.msid.as_ref(), video.sources[0].ssrc), (None, 12));
}

#[test]
fn gstreamer_publishes() {
    let offer = read(GSTREAMER);
    let [video, data] = &offer.media[..] else { panic!() };
    assert!(data.is_rejected() && data.formats.is_empty());
    let sets = video.formats[0].parameter_sets();
    assert_eq!(sets, [&[0x67, 0x42, 0xc0, 0x1f][..], &[0x68, 0xce, 0x3c, 0x80]]);
}

#[test]
fn an_rtsp_stream() {
    let stream = read(FFMPEG_RTSP);
    assert_eq!((stream.control.as_deref(), stream.address), (Some("*"), Some("239.1.2.3".parse().unwrap())));
    let [video, audio, g711] = &stream.media[..] else { panic!() };
    assert_eq!(video.control.as_deref(), Some("streamid=0"));
    assert_eq!(video.formats[0].parameter_sets(), [&[0x40, 1][..], &[0x42, 1], &[0x44, 1]]);
    assert_eq!(audio.formats[0].audio_config().as_deref(), Some(&[0x12, 0x10][..]));
    assert_eq!(
        (g711.control.as_deref(), g711.formats[0].rate),
        (None, 8000),
        "the session's control is not the section's"
    );
    assert!(g711.formats[0].is("PCMA"));
}

#[test]
fn a_described_track_reads_as_what_it_is() {
    let describe = |codec, config: &'static [u8]| {
        let config = Bytes::from_static(config);
        Format::of(&Track { id: TrackId::VIDEO, codec, config, dialect: Dialect::Standard }, 96)
    };
    let set = |unit: &'static [u8]| vec![Bytes::from_static(unit)];
    let (sps, pps) = (set(&[0x67, 0x42, 0xc0, 0x1f]), set(&[0x68, 0xce]));
    let sets = [&sps[..], &pps].concat();
    let config =
        h264::Config { profile: 0x42, constraints: 0xc0, level: 0x1f, sps, pps, ..Default::default() };
    let format = describe(Codec::H264(config), &[]).unwrap();
    assert_eq!(format.parameter("profile-level-id"), Some("42c01f"));
    assert_eq!(format.h264().map(|h264| h264.packetization_mode), Some(1));
    assert_eq!(Encoding::of(&format), Some(Encoding::H264 { sets }));
    let config = h265::Config { sps: set(&[0x42, 1]), pps: set(&[0x44, 1]), ..Default::default() };
    let format = describe(Codec::H265(config), &[]).unwrap();
    assert_eq!(
        Encoding::of(&format),
        Some(Encoding::H265 { sets: [set(&[0x42, 1]), set(&[0x44, 1])].concat() })
    );
    let aac = aac::Config { sample_rate: 44_100, channels: 2, ..Default::default() };
    let format = describe(Codec::Aac(aac), &[0x12, 0x10]).unwrap();
    let config = Bytes::from_static(&[0x12, 0x10]);
    assert_eq!(Encoding::of(&format), Some(Encoding::Aac { config, size_bits: 13, index_bits: 3 }));
    assert_eq!((format.rate, format.channels), (44_100, Some(2)));
    let plain = [Codec::Vp8, Codec::Opus(opus::Config::default()), Codec::G711 { mu_law: true }];
    let found = plain.map(|codec| Encoding::of(&describe(codec, &[]).unwrap()));
    assert_eq!(found, [Some(Encoding::Vp8), Some(Encoding::Opus), Some(Encoding::G711 { mu_law: true })]);
    assert_eq!(describe(Codec::Speex, &[]), None);
}

#[test]
fn candidates() {
    let text = "candidate:842163049 1 udp 1677729535 203.0.113.5 46154 typ srflx raddr 10.0.0.1 rport 46154 generation 0";
    let candidate: Candidate = text.parse().unwrap();
    assert_eq!((candidate.kind, candidate.port), (CandidateKind::ServerReflexive, 46_154));
    let named: Candidate = "0 1 UDP 5 4b1d-77.local 9 typ host".parse().unwrap();
    assert_eq!(named.address, "4b1d-77.local");
    let tcp: Candidate = "0 1 tcp 5 192.0.2.1 8000 typ host tcptype passive".parse().unwrap();
    assert_eq!(tcp.to_string(), "0 1 tcp 5 192.0.2.1 8000 typ host tcptype passive");
    for wrong in [
        "",
        "0 1 udp 5 192.0.2.1 70000 typ host",
        "0 1 sctp 5 a 1 typ host",
        "0 1 udp 5 a 1 typ x",
        "0 1 udp 5 a 1",
    ] {
        assert_eq!(wrong.parse::<Candidate>(), Err(NotACandidate), "{wrong}");
    }
}

#[test]
fn nothing_from_outside_begins_a_line() {
    let evil = "x\r\na=evil:1".to_owned();
    let media = Media {
        kind: "video".into(),
        protocol: "UDP/TLS/RTP/SAVPF".into(),
        mid: Some(evil.clone()),
        sources: vec![Source {
            ssrc: 1,
            cname: Some(evil.clone()),
            msid: Some((evil.clone(), evil.clone())),
        }],
        ..Media::default()
    };
    let answer = Description {
        name: evil.clone(),
        user: evil.clone(),
        msid_semantic: Some(evil),
        media: vec![media],
        ..Description::default()
    };
    assert!(!answer.to_string().lines().any(|line| line.starts_with("a=evil")));
}

#[test]
fn an_answer_reads_as_written() {
    let video = Media {
        kind: "video".into(),
        port: 9,
        protocol: "UDP/TLS/RTP/SAVPF".into(),
        formats: vec![Format::new(102, "H264", 90_000, None)],
        mid: Some("0".into()),
        direction: Direction::RecvOnly,
        rtcp_mux: true,
        setup: Some(Setup::Passive),
        candidates: vec!["0 1 udp 2130706431 192.0.2.1 8000 typ host".parse().unwrap()],
        ..Media::default()
    };
    let answer = Description {
        user: "Oxcast/1.0".into(),
        id: "7".into(),
        version: 2,
        name: "Session".into(),
        ice_lite: true,
        bundle: vec!["0".into()],
        media: vec![video],
        ..Description::default()
    };
    let text = answer.to_string();
    let want = "v=0\r\no=Oxcast/1.0 7 2 IN IP4 0.0.0.0\r\ns=Session\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=setup:passive\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
        a=rtpmap:102 H264/90000\r\na=candidate:0 1 udp 2130706431 192.0.2.1 8000 typ host generation 0\r\n";
    assert_eq!(text, want);
}

#[test]
fn reading_does_not_make_it_larger() {
    let head = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    let types = "102 ".repeat(1000);
    let lines = "a=rtcp-fb:* nack\r\na=fmtp:102 a=b\r\na=ssrc:7\r\n".repeat(1000);
    let section = format!("m=video 9 RTP/AVP {}\r\n{lines}", types.trim());
    let read = Description::parse(format!("{head}{section}").as_bytes()).unwrap();
    let [media] = &read.media[..] else { panic!() };
    assert_eq!((media.formats.len(), media.sources.len()), (1, 1));
    assert!(media.formats[0].feedback.len() < 100 && media.formats[0].parameters.len() < 100);
    let sections = "m=video 9 RTP/AVP 96\r\n".repeat(100);
    assert!(Description::parse(format!("{head}{sections}").as_bytes()).is_err());
}

#[test]
fn refuses_what_is_no_description() {
    for text in ["", "hello", "v=1\r\n", "v=0\r\nm=video\r\n", "v=0\r\nm=video x RTP/AVP 0\r\n"] {
        assert!(matches!(Description::parse(text.as_bytes()), Err(crate::Error::Description(_))), "{text:?}");
    }
}

proptest! {
    #[test]
    fn damaged_descriptions(which in 0usize..5, at: prop::sample::Index, with: Vec<u8>, drop in 0usize..20) {
        let text = [CHROME, FIREFOX, OBS, GSTREAMER, FFMPEG_RTSP][which];
        let mut bytes = lines(text);
        let at = at.index(bytes.len());
        let end = (at + drop).min(bytes.len());
        bytes.splice(at..end, with);
        crate::fuzz::sdp(&bytes);
    }
}
