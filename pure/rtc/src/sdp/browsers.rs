//! Offers in the shapes in which browsers and others make them, and what we answer. Only the lines that make a shape are here.

use super::*;

const DIGEST: &str =
    "AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

/// An offer of the lines of this text, without their indent; `DIGEST` stands for the fingerprint.
fn offer(text: &str, purpose: Purpose) -> Offer {
    let text: String = text.trim().lines().map(|line| format!("{}\r\n", line.trim())).collect();
    Offer::parse(text.replace("DIGEST", DIGEST).as_bytes(), purpose).unwrap()
}

fn terms() -> Terms {
    let outgoing = |kind: &str, ssrc| Outgoing {
        kind: kind.into(),
        source: Source { ssrc, cname: Some("us".into()), msid: Some(("live/s".into(), kind.into())) },
        retransmission_ssrc: (kind == "video").then_some(ssrc + 100),
    };
    Terms {
        server: "Oxcast".into(),
        name: "s".into(),
        stream: "live/s".into(),
        id: "42".into(),
        ice: ice::Credentials { ufrag: "ours".into(), password: "secret".repeat(5) },
        fingerprint: Fingerprint::parse(&format!("sha-256 {DIGEST}")).unwrap(),
        role: Role::Server,
        candidates: Vec::new(),
        audio: vec!["opus".into()],
        video: vec!["H264".into()],
        nack: true,
        rtx: true,
        extensions: vec![TRANSPORT_CC.into()],
        sources: vec![outgoing("audio", 1), outgoing("video", 2)],
    }
}

fn packet(payload_type: u8, ssrc: u32, mid: Option<(u8, &str)>) -> Vec<u8> {
    let elements: Vec<_> = mid.iter().map(|(id, mid)| (*id, mid.as_bytes())).collect();
    let mut bytes = Vec::new();
    rtp::Header { payload_type, ssrc, extensions: &elements, ..rtp::Header::default() }.write(&mut bytes);
    bytes.push(7);
    bytes
}

/// The one section to which a packet belongs.
fn belongs(answer: &Answer, packet: &[u8]) -> Option<String> {
    let packet = Packet::parse(packet).unwrap();
    let mut sections = answer.sections.iter().filter(|section| section.has(&packet));
    let first = sections.next().map(|section| section.mid.clone());
    assert_eq!(sections.next(), None);
    first
}

const CHROME: &str = "
    v=0
    o=- 4611731400430051336 2 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0 1 2
    a=extmap-allow-mixed
    a=msid-semantic: WMS stream
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=candidate:1 1 udp 2113937151 2a1f6c3e-0000-4000-8000-1234567890ab.local 51234 typ host generation 0 network-cost 999
    a=ice-ufrag:theirs
    a=ice-pwd:0123456789012345678901
    a=ice-options:trickle
    a=fingerprint:sha-256 DIGEST
    a=setup:actpass
    a=mid:0
    a=sctp-port:5000
    a=max-message-size:262144
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=ice-ufrag:theirs
    a=ice-pwd:0123456789012345678901
    a=ice-options:trickle
    a=fingerprint:sha-256 DIGEST
    a=setup:actpass
    a=mid:1
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
    a=sendrecv
    a=msid:stream sound
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:111 opus/48000/2
    a=rtcp-fb:111 transport-cc
    a=fmtp:111 minptime=10;useinbandfec=1
    a=rtpmap:63 red/48000/2
    a=fmtp:63 111/111
    a=ssrc:1001 cname:them
    a=ssrc:1001 msid:stream sound
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 107 108 114 115
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=ice-ufrag:theirs
    a=ice-pwd:0123456789012345678901
    a=ice-options:trickle
    a=fingerprint:sha-256 DIGEST
    a=setup:actpass
    a=mid:2
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
    a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
    a=sendrecv
    a=msid:stream picture
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:96 VP8/90000
    a=rtcp-fb:96 nack
    a=rtpmap:97 rtx/90000
    a=fmtp:97 apt=96
    a=rtpmap:103 H264/90000
    a=rtcp-fb:103 nack
    a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
    a=rtpmap:104 rtx/90000
    a=fmtp:104 apt=103
    a=rtpmap:107 H264/90000
    a=rtcp-fb:107 goog-remb
    a=rtcp-fb:107 transport-cc
    a=rtcp-fb:107 ccm fir
    a=rtcp-fb:107 nack
    a=rtcp-fb:107 nack pli
    a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
    a=rtpmap:108 rtx/90000
    a=fmtp:108 apt=107
    a=rtpmap:114 red/90000
    a=rtpmap:115 ulpfec/90000
    a=ssrc-group:FID 2001 2002
    a=ssrc-group:FEC-FR 2001 2003
    a=ssrc:2001 cname:them
    a=ssrc:2001 msid:stream picture
    a=ssrc:2002 cname:them
    a=ssrc:2002 msid:stream picture
    a=ssrc:2003 cname:them
    a=end-of-candidates";

#[test]
fn chrome_publishes_beside_a_data_channel() {
    let offer = offer(CHROME, Purpose::Publish);
    assert_eq!((offer.remote_ufrag.as_str(), offer.fingerprints.len()), ("theirs", 1));
    let answer = offer.answer(&terms()).unwrap();
    let [audio, video] = &answer.sections[..] else { panic!("{answer:?}") };
    assert_eq!((audio.format.payload_type, audio.retransmission), (111, None));
    assert_eq!(audio.incoming.iter().map(|source| source.ssrc).collect::<Vec<_>>(), [1001]);
    // Neither what retransmits nor what repairs is media.
    assert_eq!(video.incoming.iter().map(|source| source.ssrc).collect::<Vec<_>>(), [2001]);
    assert_eq!(video.format.payload_type, 107);
    assert_eq!(video.retransmission, Some(Retransmission { payload_type: 108, ssrc: Some(2002) }));
    assert_eq!((video.extension(TRANSPORT_CC), video.extension(MID)), (Some(3), None));
    for (payload_type, ssrc, mid) in [
        (111, 1001, Some("1")),
        (107, 2001, Some("2")),
        (108, 2002, Some("2")),
        (108, 2001, None),
        (107, 1001, None),
        (96, 2001, None),
    ] {
        assert_eq!(belongs(&answer, &packet(payload_type, ssrc, None)).as_deref(), mid, "{payload_type}");
    }
    assert_eq!(answer.description.media.iter().map(|media| media.port).collect::<Vec<_>>(), [0, 9, 9]);
    let text = answer.description.to_string();
    for line in [
        "a=group:BUNDLE 1 2",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "m=video 9 UDP/TLS/RTP/SAVPF 107 108",
        "a=rtpmap:108 rtx/90000",
        "a=fmtp:108 apt=107",
        "a=recvonly",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} is not in\n{text}");
    }
    for word in ["ssrc", "sctp-port", "allow-mixed", "trickle", "sendrecv"] {
        assert!(!text.contains(word), "{word} is in\n{text}");
    }
}

#[test]
fn chrome_plays_with_retransmissions() {
    let answer = offer(CHROME, Purpose::Play).answer(&terms()).unwrap();
    let [audio, video] = &answer.sections[..] else { panic!("{answer:?}") };
    assert_eq!((audio.retransmission, &audio.incoming, &video.incoming), (None, &vec![], &vec![]));
    assert_eq!(video.retransmission, Some(Retransmission { payload_type: 108, ssrc: Some(102) }));
    let text = answer.description.to_string();
    let sources = "a=ssrc-group:FID 2 102\r\na=ssrc:2 cname:us\r\na=ssrc:2 msid:live/s video\r\n\
                   a=ssrc:102 cname:us\r\na=ssrc:102 msid:live/s video\r\n";
    assert!(text.contains(sources) && text.contains("a=ssrc:1 cname:us\r\n"), "{text}");
    assert!(text.contains("a=rtcp-fb:107 nack\r\n") && !text.contains("rtcp-fb:108"));
}

#[test]
fn retransmissions_are_agreed_only_where_all_is_there_for_them() {
    let mut poor = terms();
    poor.sources.iter_mut().for_each(|source| source.retransmission_ssrc = None);
    for (purpose, terms) in [
        (Purpose::Publish, Terms { rtx: false, ..terms() }),
        (Purpose::Publish, Terms { nack: false, ..terms() }),
        (Purpose::Play, poor),
    ] {
        let answer = offer(CHROME, purpose).answer(&terms).unwrap();
        assert!(answer.sections.iter().all(|section| section.retransmission.is_none()));
        assert!(!answer.description.to_string().contains("rtx"));
    }
    let other = CHROME.replace("apt=107", "apt=96").replace("FID", "SIM");
    let answer = offer(&other, Purpose::Publish).answer(&terms()).unwrap();
    assert_eq!(answer.sections[1].retransmission, None);
    let untold = CHROME.replace("FID", "SIM");
    let answer = offer(&untold, Purpose::Publish).answer(&terms()).unwrap();
    assert_eq!(answer.sections[1].retransmission, Some(Retransmission { payload_type: 108, ssrc: None }));
    assert_eq!(belongs(&answer, &packet(108, 9, None)).as_deref(), Some("2"));
}

/// Transport for the session, sections that are nothing without the bundle, extensions of one direction, layers by `rid`.
#[test]
fn firefox() {
    let text = "
        v=0
        o=mozilla...THIS_IS_SDPARTA-99.0 5185342313342242862 0 IN IP4 0.0.0.0
        s=-
        t=0 0
        a=fingerprint:sha-256 DIGEST
        a=group:BUNDLE 0 1
        a=ice-options:trickle
        a=msid-semantic:WMS *
        m=audio 9 UDP/TLS/RTP/SAVPF 109
        c=IN IP4 0.0.0.0
        a=sendonly
        a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level
        a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
        a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1
        a=ice-pwd:0123456789012345678901
        a=ice-ufrag:theirs
        a=mid:0
        a=msid:{a} {b}
        a=rtcp-mux
        a=rtpmap:109 opus/48000/2
        a=setup:actpass
        a=ssrc:11 cname:{c}
        m=video 0 UDP/TLS/RTP/SAVPF 126 127 97
        c=IN IP4 0.0.0.0
        a=bundle-only
        a=sendonly
        a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
        a=extmap:7/sendonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1
        a=fmtp:127 apt=126
        a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1
        a=mid:1
        a=msid:{a} {d}
        a=rid:hi send
        a=rid:lo send
        a=simulcast:send hi;lo
        a=rtcp-fb:126 nack
        a=rtcp-fb:126 nack pli
        a=rtcp-fb:126 transport-cc
        a=rtpmap:126 H264/90000
        a=rtpmap:127 rtx/90000
        a=rtpmap:97 H264/90000
        a=ssrc:21 cname:{c}
        a=ssrc:22 cname:{c}
        a=ssrc-group:FID 21 22";
    let answer = offer(text, Purpose::Publish).answer(&terms()).unwrap();
    let [_, video] = &answer.sections[..] else { panic!("{answer:?}") };
    assert_eq!(video.format.payload_type, 126);
    assert_eq!(video.retransmission, Some(Retransmission { payload_type: 127, ssrc: Some(22) }));
    let text = answer.description.to_string();
    assert!(text.contains("a=extmap:7/recvonly http") && text.contains("a=group:BUNDLE 0 1\r\n"), "{text}");
    for word in ["simulcast", "rid", "csrc", "bundle-only"] {
        assert!(!text.contains(word), "{word} is in\n{text}");
    }
}

/// No sources at all, as of Safari, of GStreamer's webrtcbin and of simulcast by `rid`: two sections of one kind are told apart by
/// their mids, and sound from pictures by payload types.
#[test]
fn safari_tells_no_sources() {
    let video = |mid: u8| {
        format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 98 99
            c=IN IP4 0.0.0.0
            a=ice-ufrag:theirs
            a=ice-pwd:0123456789012345678901
            a=fingerprint:sha-256 DIGEST
            a=setup:actpass
            a=mid:{mid}
            a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid
            a=sendonly
            a=rtcp-mux
            a=rtpmap:98 H264/90000
            a=rtcp-fb:98 nack
            a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f
            a=rtpmap:99 rtx/90000
            a=fmtp:99 apt=98
            "
        )
    };
    let text = format!(
        "v=0
        o=- 1 2 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0 1 2
        {}{}m=audio 9 UDP/TLS/RTP/SAVPF 111
        a=mid:2
        a=sendonly
        a=rtcp-mux
        a=rtpmap:111 opus/48000/2",
        video(0),
        video(1)
    );
    let answer = offer(&text, Purpose::Publish).answer(&terms()).unwrap();
    assert_eq!(
        answer.sections.iter().map(|s| s.extension(MID)).collect::<Vec<_>>(),
        [Some(9), Some(9), None]
    );
    assert!(answer.sections.iter().all(|section| section.incoming.is_empty()));
    for (payload_type, ssrc, mid) in [(98, 5, "0"), (98, 6, "1"), (99, 7, "1")] {
        assert_eq!(belongs(&answer, &packet(payload_type, ssrc, Some((9, mid)))).as_deref(), Some(mid));
    }
    assert_eq!(belongs(&answer, &packet(111, 8, None)).as_deref(), Some("2"));
    assert_eq!(belongs(&answer, &packet(98, 8, Some((9, "2")))), None);
    // Players need no mid: we tell them our sources.
    let answer = offer(&text.replace("sendonly", "recvonly"), Purpose::Play).answer(&terms()).unwrap();
    assert!(!answer.description.to_string().contains(MID));
    // There is one picture only, so that the second section stays empty.
    assert_eq!(answer.sections.iter().map(|section| section.mid.as_str()).collect::<Vec<_>>(), ["0", "2"]);
}

/// libdatachannel, on which OBS builds: transport for the session, a second group, no extensions.
#[test]
fn obs() {
    let text = "
        v=0
        o=rtc 3767197920 0 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0 1
        a=group:LS 0 1
        a=msid-semantic:WMS *
        a=setup:actpass
        a=ice-ufrag:theirs
        a=ice-pwd:0123456789012345678901
        a=ice-options:ice2,trickle
        a=fingerprint:sha-256 DIGEST
        m=audio 9 UDP/TLS/RTP/SAVPF 111
        c=IN IP4 0.0.0.0
        a=mid:0
        a=sendonly
        a=ssrc:31 cname:obs
        a=ssrc:31 msid:obs obs-audio
        a=msid:obs obs-audio
        a=rtcp-mux
        a=rtpmap:111 opus/48000/2
        a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1
        m=video 9 UDP/TLS/RTP/SAVPF 96
        c=IN IP4 0.0.0.0
        a=mid:1
        a=sendonly
        a=ssrc:32 cname:obs
        a=ssrc:32 msid:obs obs-video
        a=msid:obs obs-video
        a=rtcp-mux
        a=rtpmap:96 H264/90000
        a=rtcp-fb:96 nack
        a=rtcp-fb:96 nack pli
        a=rtcp-fb:96 goog-remb
        a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1";
    let answer = offer(text, Purpose::Publish).answer(&terms()).unwrap();
    let [audio, video] = &answer.sections[..] else { panic!("{answer:?}") };
    assert_eq!((audio.incoming[0].ssrc, video.incoming[0].ssrc, video.retransmission), (31, 32, None));
    assert_eq!(answer.role, Role::Server);
    assert!(answer.description.to_string().contains("a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n"));
}

/// Names as mids, the profile without a constrained one, transport in the first section only, no rtcp-mux where there is a bundle.
#[test]
fn gstreamer_and_pion() {
    let text = "
        v=0
        o=- 1 0 IN IP4 0.0.0.0
        s=-
        t=0 0
        a=ice-options:trickle
        a=group:BUNDLE video0 audio1
        m=video 9 UDP/TLS/RTP/SAVPF 96 97
        c=IN IP4 0.0.0.0
        a=setup:actpass
        a=ice-ufrag:theirs
        a=ice-pwd:0123456789012345678901
        a=rtcp-mux
        a=rtcp-rsize
        a=sendrecv
        a=rtpmap:96 H264/90000
        a=rtcp-fb:96 nack
        a=rtcp-fb:96 nack pli
        a=fmtp:96 packetization-mode=1;profile-level-id=42c01f;level-asymmetry-allowed=1
        a=rtpmap:97 rtx/90000
        a=fmtp:97 apt=96
        a=mid:video0
        a=fingerprint:sha-256 DIGEST
        m=audio 0 UDP/TLS/RTP/SAVPF 98
        c=IN IP4 0.0.0.0
        a=bundle-only
        a=sendrecv
        a=rtpmap:98 OPUS/48000/2
        a=mid:audio1
        m=video 9 UDP/TLS/RTP/SAVPF 96
        a=mid:outside
        a=rtcp-mux
        a=rtpmap:96 H264/90000";
    for purpose in [Purpose::Publish, Purpose::Play] {
        let answer = offer(text, purpose).answer(&terms()).unwrap();
        assert_eq!(answer.description.bundle, ["video0", "audio1"]);
        assert_eq!(answer.sections[0].retransmission.map(|it| it.payload_type), Some(97));
        // What is not in the bundle would need a transport of its own.
        assert_eq!(answer.description.media.iter().map(|media| media.port).collect::<Vec<_>>(), [9, 9, 0]);
    }
}

/// Layers by their sources, as older browsers tell them: the first with its retransmission is what we take.
#[test]
fn of_a_simulcast_the_first_layer() {
    let text = CHROME.replace(
        "a=ssrc-group:FID 2001 2002",
        "a=ssrc-group:SIM 2001 2011
         a=ssrc-group:FID 2011 2012
         a=ssrc-group:FID 2001 2002
         a=ssrc:2011 cname:them
         a=ssrc:2012 cname:them",
    );
    let answer = offer(&text, Purpose::Publish).answer(&terms()).unwrap();
    let video = &answer.sections[1];
    assert_eq!(video.incoming.iter().map(|source| source.ssrc).collect::<Vec<_>>(), [2001]);
    assert_eq!(video.retransmission.and_then(|it| it.ssrc), Some(2002));
}

/// A small encoder that tells neither sources nor feedback nor extensions: it is taken, and nothing is asked of it that it does not know.
#[test]
fn the_least_that_an_offer_can_be() {
    let text = "
        v=0
        o=- 1 1 IN IP4 0.0.0.0
        s=-
        t=0 0
        a=group:BUNDLE v
        m=video 9 UDP/TLS/RTP/SAVPF 96
        c=IN IP4 0.0.0.0
        a=mid:v
        a=sendonly
        a=ice-ufrag:theirs
        a=ice-pwd:0123456789012345678901
        a=fingerprint:sha-256 DIGEST
        a=setup:active
        a=rtcp-mux
        a=rtpmap:96 H264/90000";
    let answer = offer(text, Purpose::Publish).answer(&terms()).unwrap();
    let [video] = &answer.sections[..] else { panic!("{answer:?}") };
    assert_eq!((video.format.payload_type, video.retransmission.is_some()), (96, false));
    assert!(video.incoming.is_empty() && video.format.feedback.is_empty(), "{video:?}");
    let text = answer.description.to_string();
    assert!(text.contains("a=setup:passive\r\n") && text.contains("a=recvonly\r\n"), "{text}");
    assert!(!text.contains("rtcp-fb") && !text.contains("extmap"), "{text}");
    assert_eq!(belongs(&answer, &packet(96, 5, None)).as_deref(), Some("v"));
}
