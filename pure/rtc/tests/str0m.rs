//! A whole conversation with str0m, an independent WebRTC peer: offer and answer, ICE, DTLS, SRTP both ways, over a link in memory and
//! in virtual time.

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
mod str0m_peer {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use ::str0m::change::SdpAnswer;
    use ::str0m::media::{Direction, MediaKind, Mid};
    use ::str0m::net::{Protocol, Receive};
    use ::str0m::{Candidate, Event, Input, Output, Rtc};
    use media::Micros;
    use rtc::dtls::{Certificate, Role};
    use rtc::sdp::{Offer, Outgoing, Purpose, Terms};
    use rtc::session::{Event as Ours, Options, Protection, Session};
    use rtc::srtp::Profile;
    use rtc::{Path, ice};
    use rtp::sdp::Source;

    const OUR_SSRC: u32 = 0x1234_5678;

    struct Talk {
        start: Instant,
        elapsed: Duration,
        peer: Rtc,
        peer_connected: bool,
        peer_heard: Vec<Vec<u8>>,
        session: Session,
        events: Vec<Ours>,
        path: Path,
        mid: Mid,
        random: fastrand::Rng,
        loss: f64,
    }

    impl Talk {
        fn new(purpose: Purpose, role: Role, profiles: &[Profile], loss: f64) -> Self {
            let path = Path {
                protocol: rtc::Protocol::Udp,
                local: "192.0.2.1:8000".parse().unwrap(),
                remote: "198.51.100.7:4000".parse().unwrap(),
            };
            let start = Instant::now();
            let provider = ::str0m::crypto::from_feature_flags();
            let mut peer = Rtc::builder().set_crypto_provider(Arc::new(provider)).build(start);
            peer.add_local_candidate(Candidate::host(path.remote, "udp").unwrap());
            let mut change = peer.sdp_api();
            let direction =
                if purpose == Purpose::Publish { Direction::SendOnly } else { Direction::RecvOnly };
            let mid = change.add_media(MediaKind::Audio, direction, None, None, None);
            let (offer, pending) = change.apply().unwrap();

            let offer = Offer::parse(offer.to_sdp_string().as_bytes(), purpose).unwrap();
            let certificate = Arc::new(Certificate::generate("oxcast").unwrap());
            let terms = Terms {
                server: "Oxcast".into(),
                name: "test".into(),
                stream: "live/livestream".into(),
                id: "1".into(),
                ice: ice::Credentials { ufrag: "oursours".into(), password: "0123456789abcdef".repeat(2) },
                fingerprint: certificate.fingerprint(),
                role,
                candidates: vec![ice::Candidate {
                    protocol: path.protocol,
                    address: path.local.ip().to_string(),
                    port: path.local.port(),
                }],
                audio: vec!["opus".into()],
                video: vec!["H264".into()],
                nack: true,
                rtx: false,
                extensions: vec![rtp::sdp::TRANSPORT_CC.into(), rtc::sdp::MID.into()],
                sources: vec![Outgoing {
                    retransmission_ssrc: None,
                    kind: "audio".into(),
                    source: Source {
                        ssrc: OUR_SSRC,
                        cname: Some("us".into()),
                        msid: Some(("live".into(), "audio".into())),
                    },
                }],
            };
            let answer = offer.answer(&terms).unwrap();
            assert_eq!(answer.role, role);
            let text = answer.description.to_string();
            peer.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&text).unwrap()).unwrap();

            let options = Options {
                ice: ice::Options {
                    local: terms.ice,
                    remote_ufrag: offer.remote_ufrag.clone(),
                    strict_role: true,
                    timeout: Micros::from_secs(30),
                    checks: None,
                },
                role: answer.role,
                certificate,
                fingerprints: offer.fingerprints,
                profiles: profiles.to_vec(),
                protection: Protection::Srtp,
            };
            Self {
                start,
                elapsed: Duration::ZERO,
                peer,
                peer_connected: false,
                peer_heard: Vec::new(),
                session: Session::new(Micros::ZERO, options),
                events: Vec::new(),
                path,
                mid,
                random: fastrand::Rng::with_seed(1),
                loss,
            }
        }

        fn now(&self) -> Micros {
            Micros(self.elapsed.as_micros() as i64)
        }

        /// Lets both talk for a while; each step takes 5 ms.
        fn run(&mut self, time: Duration) {
            let end = self.elapsed + time;
            while self.elapsed < end {
                self.elapsed += Duration::from_millis(5);
                let now = self.start + self.elapsed;
                self.peer.handle_input(Input::Timeout(now)).unwrap();
                self.drain();
                if self.session.poll_timeout().is_some_and(|at| at <= self.now()) {
                    let now = self.now();
                    self.session.timeout(now);
                }
                while let Some(transmit) = self.session.poll_transmit() {
                    assert_eq!(transmit.path, self.path);
                    self.send(&transmit.data);
                }
                self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
            }
        }

        fn send(&mut self, datagram: &[u8]) {
            if self.random.f64() < self.loss {
                return;
            }
            let Path { local, remote, .. } = self.path;
            let receive = Receive::new(Protocol::Udp, local, remote, datagram).unwrap();
            self.peer.handle_input(Input::Receive(self.start + self.elapsed, receive)).unwrap();
            self.drain();
        }

        /// What the peer has to say.
        fn drain(&mut self) {
            loop {
                match self.peer.poll_output().unwrap() {
                    Output::Timeout(_) => break,
                    Output::Transmit(datagram) => {
                        if self.random.f64() >= self.loss {
                            let now = self.now();
                            self.session.receive(now, self.path, &datagram.contents);
                        }
                    }
                    Output::Event(Event::Connected) => self.peer_connected = true,
                    Output::Event(Event::MediaData(data)) => self.peer_heard.push(data.data.to_vec()),
                    Output::Event(_) => {}
                }
            }
        }
    }

    fn opus(n: u16) -> Vec<u8> {
        vec![0xfc, n as u8, (n >> 8) as u8, 7, 7, 7]
    }

    fn publish(role: Role, profiles: &[Profile], loss: f64) {
        let mut talk = Talk::new(Purpose::Publish, role, profiles, loss);
        talk.run(Duration::from_secs(if loss > 0.0 { 12 } else { 3 }));
        assert!(talk.peer_connected && talk.session.is_connected(), "{:?}", talk.events);
        for n in 0..200 {
            let now = talk.start + talk.elapsed;
            let writer = talk.peer.writer(talk.mid).unwrap();
            let pt = writer.payload_params().next().unwrap().pt();
            let time = ::str0m::media::MediaTime::from(talk.elapsed);
            writer.write(pt, now, time, opus(n)).unwrap();
            talk.run(Duration::from_millis(20));
        }
        talk.run(Duration::from_secs(1));
        let payloads = talk.events.iter().filter_map(|event| match event {
            Ours::Rtp(packet) => Some(packet),
            _ => None,
        });
        let heard = payloads.filter(|packet| packet.ends_with(&[7, 7, 7])).count();
        assert!(heard >= if loss > 0.0 { 100 } else { 200 }, "heard {heard}, {:?}", talk.session.refused());
        assert!(talk.events.iter().any(|event| matches!(event, Ours::Rtcp(_))));
        assert_eq!(talk.session.refused().forged, 0);
    }

    fn play(role: Role, profiles: &[Profile]) {
        let mut talk = Talk::new(Purpose::Play, role, profiles, 0.0);
        talk.run(Duration::from_secs(3));
        assert!(talk.peer_connected && talk.session.is_connected(), "{:?}", talk.events);
        for n in 0..200u16 {
            let mut packet = vec![0x80, 111];
            packet.extend((65_500u16).wrapping_add(n).to_be_bytes());
            packet.extend((u32::from(n) * 960).to_be_bytes());
            packet.extend(OUR_SSRC.to_be_bytes());
            packet.extend(opus(n));
            talk.session.protect_rtp(&mut packet).unwrap();
            talk.send(&packet);
            talk.run(Duration::from_millis(20));
        }
        talk.run(Duration::from_secs(1));
        assert!(talk.peer_heard.len() >= 190, "heard {}", talk.peer_heard.len());
        assert!(talk.peer_heard.iter().all(|data| data.ends_with(&[7, 7, 7])));
    }

    #[test]
    fn publishes_to_us_as_dtls_client() {
        publish(Role::Server, &Profile::ALL, 0.0);
    }

    #[test]
    fn publishes_to_us_as_dtls_server() {
        publish(Role::Client, &Profile::ALL, 0.0);
    }

    #[test]
    fn publishes_over_a_bad_link() {
        publish(Role::Server, &Profile::ALL, 0.2);
    }

    #[test]
    fn plays_with_every_profile() {
        for profile in [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80] {
            play(Role::Server, &[profile]);
        }
        play(Role::Client, &Profile::ALL);
    }
}
