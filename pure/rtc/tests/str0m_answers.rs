//! The other way round: we are the client of a WHIP server, which is str0m. It answers our offer as a full agent of ICE, in memory and in virtual time.

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
mod str0m_server {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use ::str0m::change::SdpOffer;
    use ::str0m::media::KeyframeRequestKind;
    use ::str0m::net::{Protocol, Receive};
    use ::str0m::{Candidate, Event, Input, Output, Rtc};
    use media::codec::{Codec, h264, opus};
    use media::{Dialect, Frame, Micros, Remux, Track, TrackId, Tracks};
    use rtc::dtls::Certificate;
    use rtc::outlet::Said;
    use rtc::sdp::{Offered, Outgoing, Proposal, offered};
    use rtc::session::{Event as Ours, Options, Protection, Session};
    use rtc::srtp::Profile;
    use rtc::{Outlet, ice};
    use rtp::sdp::Source;
    use rtp::send::History;

    const STEP: Duration = Duration::from_millis(5);

    struct Talk {
        start: Instant,
        elapsed: Duration,
        server: Rtc,
        session: Session,
        outlet: Outlet,
        history: History,
        heard: Vec<(TrackKind, usize)>,
        told: Vec<Ours>,
        keyframes: u32,
        again: u32,
        random: fastrand::Rng,
        loss: f64,
        to_server: Vec<(Duration, Vec<u8>)>,
        ours: SocketAddr,
        theirs: SocketAddr,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum TrackKind {
        Sound,
        Pictures,
    }

    fn codecs() -> [(TrackId, Codec); 2] {
        let h264 = h264::Config { profile: 0x42, constraints: 0xe0, level: 31, ..Default::default() };
        [(TrackId::AUDIO, Codec::Opus(opus::Config::default())), (TrackId::VIDEO, Codec::H264(h264))]
    }

    impl Talk {
        fn new(loss: f64) -> Self {
            let (ours, theirs) = ("192.0.2.1:4000".parse().unwrap(), "198.51.100.7:8000".parse().unwrap());
            let certificate = Arc::new(Certificate::generate("oxcast").unwrap());
            let tracks = codecs().into_iter().zip([("audio", 1, None), ("video", 2, Some(3))]);
            let tracks = tracks.map(|((_, codec), (kind, ssrc, again))| Offered {
                outgoing: Outgoing {
                    kind: kind.into(),
                    source: Source { ssrc, cname: Some("us".into()), msid: Some(("us".into(), kind.into())) },
                    retransmission_ssrc: again,
                },
                formats: offered(&codec),
            });
            let candidate = |address: SocketAddr| ice::Candidate {
                protocol: rtc::Protocol::Udp,
                address: address.ip().to_string(),
                port: address.port(),
            };
            let proposal = Proposal {
                server: "Oxcast".into(),
                id: "1".into(),
                ice: ice::Credentials { ufrag: ice::random(8).unwrap(), password: ice::random(32).unwrap() },
                fingerprint: certificate.fingerprint(),
                candidates: vec![candidate(ours)],
                tracks: tracks.collect(),
            };
            let start = Instant::now();
            let provider = ::str0m::crypto::from_feature_flags();
            let mut server = Rtc::builder().set_crypto_provider(Arc::new(provider)).build(start);
            server.add_local_candidate(Candidate::host(theirs, "udp").unwrap());
            let offer = SdpOffer::from_sdp_string(&proposal.description().to_string()).unwrap();
            let answer = server.sdp_api().accept_offer(offer).unwrap().to_sdp_string();

            let accepted = proposal.accept(answer.as_bytes()).unwrap();
            assert_eq!((accepted.sections.len(), accepted.rejected.len()), (2, 0), "{answer}");
            assert!(accepted.sections[1].retransmission.is_some(), "{answer}");
            let candidates = accepted
                .candidates
                .iter()
                .map(|(host, port)| (host.parse::<std::net::IpAddr>().unwrap(), *port).into());
            let options = Options {
                ice: ice::Options {
                    local: proposal.ice.clone(),
                    remote_ufrag: accepted.ice.ufrag.clone(),
                    strict_role: true,
                    timeout: Micros::from_secs(30),
                    checks: Some(ice::Checks {
                        remote: accepted.ice.clone(),
                        local: ours,
                        candidates: candidates.collect(),
                        tie_breaker: 7,
                    }),
                },
                role: accepted.role,
                certificate,
                fingerprints: accepted.fingerprints.clone(),
                profiles: Profile::ALL.to_vec(),
                protection: Protection::Srtp,
            };
            Self {
                start,
                elapsed: Duration::ZERO,
                server,
                session: Session::new(Micros::ZERO, options),
                outlet: Outlet::new(&accepted.sections, || (65_500, 1)),
                history: History::new(1000),
                heard: Vec::new(),
                told: Vec::new(),
                keyframes: 0,
                again: 0,
                random: fastrand::Rng::with_seed(3),
                loss,
                to_server: Vec::new(),
                ours,
                theirs,
            }
        }

        fn now(&self) -> Micros {
            Micros(self.elapsed.as_micros() as i64)
        }

        fn path(&self) -> rtc::Path {
            rtc::Path { protocol: rtc::Protocol::Udp, local: self.ours, remote: self.theirs }
        }

        /// Lets both talk for a while.
        fn run(&mut self, time: Duration) {
            let end = self.elapsed + time;
            while self.elapsed < end {
                self.elapsed += STEP;
                self.server.handle_input(Input::Timeout(self.start + self.elapsed)).unwrap();
                self.drain();
                if self.session.poll_timeout().is_some_and(|at| at <= self.now()) {
                    let now = self.now();
                    self.session.timeout(now);
                }
                if self.session.is_connected() && self.outlet.due() <= self.now() {
                    let (now, session, out) = (self.now(), &mut self.session, &mut self.to_server);
                    self.outlet.report(now, now, |write| {
                        let mut packet = Vec::new();
                        write(&mut packet);
                        session.protect_rtcp(&mut packet).unwrap();
                        out.push((Duration::ZERO, packet));
                    });
                }
                while let Some(transmit) = self.session.poll_transmit() {
                    assert_eq!(transmit.path.remote, self.theirs);
                    self.to_server.push((Duration::ZERO, transmit.data));
                }
                self.hear();
                for (_, datagram) in std::mem::take(&mut self.to_server) {
                    if self.random.f64() >= self.loss {
                        let receive = Receive::new(Protocol::Udp, self.ours, self.theirs, &datagram).unwrap();
                        let now = self.start + self.elapsed;
                        self.server.handle_input(Input::Receive(now, receive)).unwrap();
                        self.drain();
                    }
                }
            }
        }

        /// What our session has to tell.
        fn hear(&mut self) {
            while let Some(event) = self.session.poll_event() {
                let now = self.now();
                match event {
                    Ours::Rtcp(packet) => {
                        let Self { outlet, session, history, to_server, keyframes, again, .. } = self;
                        outlet.control(now, &packet, Some(history), |said| match said {
                            Said::Again(resent) => {
                                let mut packet = Vec::new();
                                resent.write(&mut packet);
                                session.protect_rtp(&mut packet).unwrap();
                                to_server.push((Duration::ZERO, packet));
                                *again += 1;
                            }
                            Said::Keyframe => *keyframes += 1,
                            Said::Missing(_) | Said::Reception(_) | Said::Asked(..) => {}
                        });
                    }
                    Ours::Connected => {
                        self.outlet.begin(now);
                        self.told.push(Ours::Connected);
                    }
                    other => self.told.push(other),
                }
            }
        }

        /// What the server has to say.
        fn drain(&mut self) {
            loop {
                match self.server.poll_output().unwrap() {
                    Output::Timeout(_) => break,
                    Output::Transmit(datagram) => {
                        if self.random.f64() >= self.loss {
                            let (now, path) = (self.now(), self.path());
                            self.session.receive(now, path, &datagram.contents);
                        }
                    }
                    Output::Event(Event::MediaData(data)) => {
                        let is_sound = data.params.spec().codec.is_audio();
                        let kind = if is_sound { TrackKind::Sound } else { TrackKind::Pictures };
                        self.heard.push((kind, data.data.len()));
                        // It would wait for a keyframe.
                        if !is_sound && self.count(TrackKind::Pictures) == 30 {
                            let mut writer = self.server.writer(data.mid).unwrap();
                            writer.request_keyframe(None, KeyframeRequestKind::Pli).unwrap();
                        }
                    }
                    Output::Event(_) => {}
                }
            }
        }

        /// Sends sound and pictures for so many hundredths of a second.
        fn send(&mut self, count: i64) {
            let mut tracks = Tracks::default();
            for (id, codec) in codecs() {
                tracks.set(Track { id, codec, config: Default::default(), dialect: Dialect::Standard });
            }
            let mut mux = rtp::Mux::new(rtp::MuxOptions::default());
            mux.tracks(&tracks, &mut Vec::new());
            for n in 0..count {
                let time = Micros::from_millis(n * 20);
                let mut frames = vec![(TrackId::AUDIO, vec![0xfc; 100])];
                if n % 2 == 0 {
                    let size = 4000u32;
                    let kind = if n % 50 == 0 { 0x65 } else { 0x41 };
                    // A slice of type P.
                    let mut unit = [&size.to_be_bytes()[..], &[kind, 0b1011_0000]].concat();
                    unit.resize(4 + size as usize, 7);
                    frames.push((TrackId::VIDEO, unit));
                }
                let mut bursts = Vec::new();
                for (track, data) in frames {
                    let frame = Frame { track, dts: time, pts: time, key: n % 50 == 0, data: data.into() };
                    mux.frame(&frame, &mut bursts);
                }
                for burst in bursts {
                    let place = self.history.push(burst.unit.clone());
                    let now = self.now();
                    let Some(packets) = self.outlet.send(now, &burst.unit, place, false) else { continue };
                    for (header, payload) in packets {
                        let mut packet = Vec::new();
                        header.write(&mut packet);
                        payload.write(&mut packet);
                        self.session.protect_rtp(&mut packet).unwrap();
                        self.to_server.push((Duration::ZERO, packet));
                    }
                }
                self.run(Duration::from_millis(20));
            }
        }

        fn count(&self, kind: TrackKind) -> usize {
            self.heard.iter().filter(|(heard, _)| *heard == kind).count()
        }
    }

    #[test]
    fn str0m_takes_what_we_send() {
        let mut talk = Talk::new(0.0);
        talk.run(Duration::from_secs(3));
        assert_eq!(talk.told, [Ours::Connected]);
        talk.send(200);
        talk.run(Duration::from_secs(1));
        let (sounds, pictures) = (talk.count(TrackKind::Sound), talk.count(TrackKind::Pictures));
        assert!(sounds >= 195 && pictures >= 98, "{sounds} sounds, {pictures} pictures");
        assert!(talk.heard.iter().all(|(kind, length)| *kind == TrackKind::Sound || *length > 4000));
        assert_eq!(talk.keyframes, 1);
    }

    #[test]
    fn str0m_gets_again_what_was_lost() {
        let mut talk = Talk::new(0.1);
        talk.run(Duration::from_secs(8));
        assert!(talk.session.is_connected(), "{:?}", talk.told);
        talk.send(300);
        talk.run(Duration::from_secs(2));
        let pictures = talk.count(TrackKind::Pictures);
        // Without that, hardly half of the pictures of three packets were whole.
        assert!(talk.again > 20 && pictures > 130, "{} again, {pictures} pictures", talk.again);
    }

    #[test]
    fn str0m_that_falls_silent_is_noticed() {
        let mut talk = Talk::new(0.0);
        talk.run(Duration::from_secs(3));
        talk.loss = 1.0;
        talk.run(Duration::from_secs(31));
        assert!(
            matches!(talk.told[..], [Ours::Connected, Ours::Closed(rtc::Error::Timeout { .. })]),
            "{:?}",
            talk.told
        );
    }
}
