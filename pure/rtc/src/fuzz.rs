//! Bodies of the fuzz targets, called by the shims in `fuzz/` and by the tests: bytes in, no panic out.

use std::sync::{Arc, OnceLock};

use media::codec::{Codec, h264, opus};
use media::{ByteReader, Micros};

use crate::dtls::{self, Certificate, Fingerprint, Role};
use crate::sdp::{MAX_CANDIDATES, MID, Offer, Offered, Outgoing, Proposal, Purpose, Terms, offered};
use crate::session::{Options, Protection};
use crate::srtp::{self, Profile, Receiver, Sender};
use crate::{Outlet, Path, Protocol, Session, frame, ice, stun};

const PASSWORD: &str = "0123456789abcdef0123456789abcdef";

/// STUN messages, and datagrams framed for TCP: any cut gives the same ones. The first byte chooses the cut.
pub fn stun(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    if let Ok(message) = stun::Message::parse(data) {
        let _ = message.verify(PASSWORD.as_bytes());
    }
    let _ = ice::local_ufrag(data);
    let read = |piece: usize| {
        let mut reader = frame::Reader::new(1500);
        let mut datagrams = Vec::new();
        for mut piece in data.chunks(piece.max(1)) {
            loop {
                match reader.read(&mut piece) {
                    Ok(Some(datagram)) => datagrams.push(datagram),
                    Ok(None) => break,
                    Err(error) => return (datagrams, Some(error)),
                }
            }
        }
        (datagrams, None)
    };
    assert_eq!(read(usize::from(cut)), read(data.len()));
}

/// Both ends of DTLS before there are keys, datagram by datagram; each is one byte of time and two of length away from the next.
pub fn dtls(data: &[u8]) {
    for role in [Role::Client, Role::Server] {
        let Ok(mut end) = dtls::start(Micros::ZERO, dtls::Options::new(role, certificate())) else { return };
        let mut now = Micros::ZERO;
        let mut reader = ByteReader::new(data);
        while let Some((wait, datagram)) = next(&mut reader) {
            now += Micros::from_millis(i64::from(wait));
            let _ = end.receive(now, datagram);
            end.timeout(now);
            while end.poll_transmit().is_some() {}
        }
        assert!(std::iter::from_fn(|| end.poll_event()).count() <= 1);
    }
    let _ = dtls::Certificate::from_der(data.to_vec(), data);
    let _ = str::from_utf8(data).map(Fingerprint::parse);
}

/// SRTP of all profiles: what is protected opens again once, what is not does not.
pub fn srtp(data: &[u8]) {
    for profile in Profile::ALL {
        let (key, salt) = profile.key_lengths();
        let (key, salt) = (vec![7; key], vec![9; salt]);
        let ends = (Sender::new(profile, &key, &salt), Receiver::new(profile, &key, &salt));
        let (Ok(mut sender), Ok(mut receiver)) = ends else { return };
        let mut reader = ByteReader::new(data);
        while let Some((_, datagram)) = next(&mut reader) {
            let _ = receiver.open_rtp(&mut datagram.to_vec());
            let _ = receiver.open_rtcp(&mut datagram.to_vec());
            let mut packet = datagram.to_vec();
            if sender.protect_rtp(&mut packet).is_ok() {
                assert!(packet.len() <= datagram.len() + srtp::MAX_OVERHEAD);
                let sealed = packet.clone();
                // It may be too old, or of too many streams.
                if receiver.open_rtp(&mut packet).is_ok() {
                    assert_eq!(packet, datagram);
                    assert!(receiver.open_rtp(&mut sealed.clone()).is_err());
                }
            }
            let mut packet = datagram.to_vec();
            if sender.protect_rtcp(&mut packet).is_ok() && receiver.open_rtcp(&mut packet).is_ok() {
                assert_eq!(packet, datagram);
            }
        }
    }
}

/// A session that gets datagrams over several paths, proved or not. Odd waits stand for genuine checks before the datagram.
pub fn session(data: &[u8]) {
    for protection in [Protection::Srtp, Protection::None] {
        let options = Options {
            ice: ice::Options {
                local: credentials(),
                remote_ufrag: "theirs".into(),
                strict_role: true,
                timeout: Micros::from_secs(30),
                checks: None,
            },
            role: Role::Server,
            certificate: certificate(),
            fingerprints: Vec::new(),
            profiles: Profile::ALL.to_vec(),
            protection,
        };
        let mut session = Session::new(Micros::ZERO, options);
        let mut now = Micros::ZERO;
        let mut reader = ByteReader::new(data);
        while let Some((wait, datagram)) = next(&mut reader) {
            now += Micros::from_millis(i64::from(wait) * 16);
            let path = Path {
                protocol: Protocol::Udp,
                local: ([192, 0, 2, 1], 8000).into(),
                remote: ([198, 51, 100, 7], 4000 + u16::from(wait >> 5)).into(),
            };
            if wait & 1 == 1 {
                let mut check = stun::Writer::binding(stun::Class::Request, [wait; 12])
                    .username(b"ours:theirs")
                    .priority(1);
                if wait & 2 == 2 {
                    check = check.use_candidate();
                }
                session.receive(now, path, &check.finish(Some(PASSWORD.as_bytes())));
            }
            session.receive(now, path, datagram);
            session.timeout(now);
            while session.poll_transmit().is_some() {}
            let _ = session.protect_rtp(&mut datagram.to_vec());
            let _ = session.protect_rtcp(&mut datagram.to_vec());
        }
        session.close();
        while session.poll_event().is_some() {}
        assert_eq!(session.poll_timeout(), None);
    }
}

/// Offers of publishers and players; an answer can be read again.
pub fn offer(data: &[u8]) {
    let source = |kind: &str| Outgoing {
        kind: kind.into(),
        source: rtp::sdp::Source { ssrc: 1, ..Default::default() },
        retransmission_ssrc: Some(2),
    };
    let Some(fingerprint) =
        Fingerprint::parse("sha-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D")
    else {
        return;
    };
    let terms = Terms {
        server: "s".into(),
        name: "n".into(),
        stream: "live/livestream".into(),
        id: "1".into(),
        ice: credentials(),
        fingerprint,
        role: Role::Server,
        candidates: vec![ice::Candidate { protocol: Protocol::Tcp, address: "192.0.2.1".into(), port: 8000 }],
        audio: vec!["opus".into()],
        video: vec!["H264".into(), "AV1".into()],
        nack: true,
        rtx: true,
        extensions: vec![MID.into()],
        sources: vec![source("audio"), source("video")],
    };
    for purpose in [Purpose::Publish, Purpose::Play] {
        let Ok(answer) = Offer::parse(data, purpose).and_then(|offer| offer.answer(&terms)) else { continue };
        let text = answer.description.to_string();
        let again = rtp::sdp::Description::parse(text.as_bytes());
        assert!(again.is_ok_and(|again| again.media.len() == answer.description.media.len()), "{text}");
    }
}

/// Answers to an offer of ours; the first byte chooses what was offered.
pub fn answer(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let proposal = proposal(choice);
    let description = proposal.description();
    assert!(rtp::sdp::Description::parse(description.to_string().as_bytes()).is_ok());
    let Ok(accepted) = proposal.accept(data) else { return };
    let taken = accepted.sections.len();
    assert!(taken > 0 && taken + accepted.rejected.len() == proposal.tracks.len());
    assert!(!accepted.fingerprints.is_empty() && accepted.candidates.len() <= MAX_CANDIDATES);
    let outlet = Outlet::new(&accepted.sections, || (1, 1));
    outlet.bye(&mut Vec::new());
}

/// A session of ours that controls, and an outlet that hears what the server says. Odd waits stand for genuine answers to the last check before the
/// datagram.
pub fn client(data: &[u8]) {
    let local = ([192, 0, 2, 1], 4000).into();
    let remote = ice::Credentials { ufrag: "theirs".into(), password: PASSWORD.into() };
    let candidates = vec![([198, 51, 100, 7], 4000).into(), ([198, 51, 100, 7], 4001).into()];
    let checks = ice::Checks { remote, local, candidates, tie_breaker: 7 };
    let options = Options {
        ice: ice::Options {
            local: credentials(),
            remote_ufrag: "theirs".into(),
            strict_role: true,
            timeout: Micros::from_secs(30),
            checks: Some(checks),
        },
        role: Role::Client,
        certificate: certificate(),
        fingerprints: Vec::new(),
        profiles: Profile::ALL.to_vec(),
        protection: Protection::None,
    };
    let mut session = Session::new(Micros::ZERO, options);
    let mut outlet = Outlet::new(&[], || (1, 1));
    let (mut now, mut asked) = (Micros::ZERO, None);
    let mut reader = ByteReader::new(data);
    while let Some((wait, datagram)) = next(&mut reader) {
        now += Micros::from_millis(i64::from(wait) * 16);
        session.timeout(now);
        let port = 4000 + u16::from(wait >> 5);
        let path = Path { protocol: Protocol::Udp, local, remote: ([198, 51, 100, 7], port).into() };
        for _ in 0..64 {
            let Some(transmit) = session.poll_transmit() else { break };
            if let Ok(check) = stun::Message::parse(&transmit.data) {
                asked = Some((transmit.path, check.id));
            }
        }
        if let (1, Some((path, id))) = (wait & 1, asked) {
            let answer = stun::Writer::binding(stun::Class::Success, id).mapped(path.local);
            session.receive(now, path, &answer.finish(Some(PASSWORD.as_bytes())));
        }
        session.receive(now, path, datagram);
        outlet.control(now, datagram, None, |_| {});
        let _ = session.protect_rtp(&mut datagram.to_vec());
    }
    session.close();
    while session.poll_event().is_some() {}
    assert_eq!(session.poll_timeout(), None);
}

/// An offer of sound, pictures or both.
fn proposal(choice: u8) -> Proposal {
    let track = |kind: &str, ssrc, codec| Offered {
        outgoing: Outgoing {
            kind: kind.into(),
            source: rtp::sdp::Source { ssrc, ..Default::default() },
            retransmission_ssrc: (kind == "video").then_some(ssrc + 1),
        },
        formats: offered(&codec),
    };
    let pictures = if choice & 4 == 4 { Codec::Vp8 } else { Codec::H264(h264::Config::default()) };
    let sound = (choice & 1 == 0).then(|| track("audio", 1, Codec::Opus(opus::Config::default())));
    let pictures = (choice & 2 == 0).then(|| track("video", 2, pictures));
    Proposal {
        server: "s".into(),
        id: "1".into(),
        ice: credentials(),
        fingerprint: certificate().fingerprint(),
        candidates: Vec::new(),
        tracks: sound.into_iter().chain(pictures).collect(),
    }
}

/// The next datagram of a script, with the byte before it.
fn next<'a>(reader: &mut ByteReader<'a>) -> Option<(u8, &'a [u8])> {
    let wait = reader.u8().ok()?;
    let length = usize::from(reader.u16().ok()?).min(reader.left());
    Some((wait, reader.take(length).ok()?))
}

fn credentials() -> ice::Credentials {
    ice::Credentials { ufrag: "ours".into(), password: PASSWORD.into() }
}

fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    #[allow(clippy::expect_used, reason = "without a certificate there is nothing to fuzz")]
    CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate("oxcast").expect("a certificate"))).clone()
}
