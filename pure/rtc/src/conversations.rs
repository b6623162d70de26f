//! Conversations of a session with a small client made of the same parts, in virtual time: who may speak when, whose address changes,
//! whose certificate is wrong, who is silent.

use std::sync::Arc;

use bytes::Bytes;
use media::Micros;
use proptest::prelude::*;

use crate::dtls::{self, Certificate, Dtls, Role};
use crate::session::{Event, MAX_EVENTS, Options, Protection, Session};
use crate::srtp::{self, Profile, Receiver, Sender};
use crate::stun::{Class, Message, Writer};
use crate::{Error, Path, Protocol, fuzz, ice};

const PASSWORD: &str = "0123456789abcdef0123456789abcdef";

fn path(port: u16) -> Path {
    let (local, remote) = (([192, 0, 2, 1], 8000).into(), ([198, 51, 100, 7], port).into());
    Path { protocol: Protocol::Udp, local, remote }
}

fn check() -> Vec<u8> {
    let writer = Writer::binding(Class::Request, [1; 12]).username(b"ours:theirs").use_candidate();
    writer.finish(Some(PASSWORD.as_bytes()))
}

fn packet(sequence: u16) -> Vec<u8> {
    let [high, low] = sequence.to_be_bytes();
    vec![0x80, 111, high, low, 0, 0, 0, 1, 0, 0, 0, 5, 1, 2, 3]
}

/// A session, its client, and everything the session told.
struct Talk {
    now: Micros,
    session: Session,
    client: Box<dyn Dtls>,
    client_role: Role,
    client_keys: Option<(Sender, Receiver)>,
    events: Vec<Event>,
}

impl Talk {
    fn new(client_role: Role, change: impl FnOnce(&mut Options)) -> Self {
        let role = if client_role == Role::Client { Role::Server } else { Role::Client };
        let theirs = Arc::new(Certificate::generate("client").unwrap());
        let mut options = Options {
            ice: ice::Options {
                local: ice::Credentials { ufrag: "ours".into(), password: PASSWORD.into() },
                remote_ufrag: "theirs".into(),
                strict_role: true,
                timeout: Micros::from_secs(30),
                checks: None,
            },
            role,
            certificate: Arc::new(Certificate::generate("oxcast").unwrap()),
            fingerprints: vec![theirs.fingerprint()],
            profiles: Profile::ALL.to_vec(),
            protection: Protection::Srtp,
        };
        change(&mut options);
        Self {
            now: Micros::ZERO,
            session: Session::new(Micros::ZERO, options),
            client: dtls::start(Micros::ZERO, dtls::Options::new(client_role, theirs)).unwrap(),
            client_role,
            client_keys: None,
            events: Vec::new(),
        }
    }

    fn connected(client_role: Role) -> Self {
        let mut talk = Self::new(client_role, |_| {});
        talk.session.receive(talk.now, path(1), &check());
        talk.flush();
        assert_eq!(talk.told(), [Event::Connected]);
        talk
    }

    /// What waits on either side arrives at once; the client uses its first address.
    fn flush(&mut self) {
        for _ in 0..8 {
            while let Some(datagram) = self.client.poll_transmit() {
                self.session.receive(self.now, path(1), &datagram);
            }
            while let Some(transmit) = self.session.poll_transmit() {
                match Message::parse(&transmit.data) {
                    Ok(answer) => assert_eq!(answer.mapped, Some(transmit.path.remote)),
                    Err(_) => self.client.receive(self.now, &transmit.data).unwrap(),
                }
            }
            if let Some(dtls::Event::Connected(fruits)) = self.client.poll_event()
                && let Some(profile) = fruits.profile
            {
                let is_client = self.client_role == Role::Client;
                self.client_keys = srtp::split(profile, &fruits.keying, is_client).ok();
            }
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
    }

    fn told(&mut self) -> Vec<Event> {
        self.flush();
        std::mem::take(&mut self.events)
    }

    /// The client sends a packet from a port.
    fn send(&mut self, sequence: u16, port: u16) -> Vec<u8> {
        let mut sealed = packet(sequence);
        self.client_keys.as_mut().unwrap().0.protect_rtp(&mut sealed).unwrap();
        self.session.receive(self.now, path(port), &sealed);
        sealed
    }
}

#[test]
fn media_flows_both_ways_in_both_roles() {
    for role in [Role::Client, Role::Server] {
        let mut talk = Talk::connected(role);
        talk.send(1, 1);
        let mut report = vec![0x80, 201, 0, 1, 0, 0, 0, 5];
        talk.client_keys.as_mut().unwrap().0.protect_rtcp(&mut report).unwrap();
        talk.session.receive(talk.now, path(1), &report);
        let report = Bytes::from_static(&[0x80, 201, 0, 1, 0, 0, 0, 5]);
        assert_eq!(talk.told(), [Event::Rtp(packet(1).into()), Event::Rtcp(report)]);

        let mut down = packet(9);
        talk.session.protect_rtp(&mut down).unwrap();
        talk.client_keys.as_mut().unwrap().1.open_rtp(&mut down).unwrap();
        assert_eq!(down, packet(9));
        assert_eq!(talk.session.path(), Some(path(1)));
    }
}

#[test]
fn nothing_flows_before_its_time() {
    let mut talk = Talk::new(Role::Client, |_| {});
    assert_eq!(talk.session.protect_rtp(&mut packet(1)), Err(Error::Keys));
    // No path is proved: neither DTLS nor media is heard.
    talk.session.receive(talk.now, path(1), &talk.client.poll_transmit().unwrap());
    talk.session.receive(talk.now, path(1), &packet(1));
    assert_eq!((talk.session.poll_transmit(), talk.session.refused().stray), (None, 2));
    talk.session.receive(talk.now, path(1), &check());
    talk.session.receive(talk.now, path(1), &packet(1));
    assert_eq!(talk.session.refused().stray, 3);
    // The client's first message is lost; it comes again.
    talk.now = Micros::from_millis(100);
    talk.client.timeout(talk.now);
    assert_eq!(talk.told(), [Event::Connected]);
}

#[test]
fn bad_packets_are_counted_and_nothing_else() {
    let mut talk = Talk::connected(Role::Client);
    let sealed = talk.send(1, 1);
    talk.session.receive(talk.now, path(1), &sealed);
    let mut forged = talk.send(2, 1);
    forged[3] = 3;
    talk.session.receive(talk.now, path(1), &forged);
    talk.send(4, 2);
    talk.session.receive(talk.now, path(1), b"GET / HTTP/1.1");
    let mut guess = check();
    guess[30] ^= 1;
    talk.session.receive(talk.now, path(3), &guess);
    let refused = talk.session.refused();
    assert_eq!((refused.replayed, refused.forged, refused.stray, refused.stun), (1, 1, 2, 1));
    assert_eq!(talk.told(), [Event::Rtp(packet(1).into()), Event::Rtp(packet(2).into())]);
}

#[test]
fn a_new_address_is_adopted_when_it_is_proved() {
    let mut talk = Talk::connected(Role::Client);
    talk.send(1, 2);
    assert_eq!(talk.told(), []);
    talk.session.receive(talk.now, path(2), &check());
    talk.send(2, 2);
    assert_eq!(talk.told(), [Event::AddressChanged(path(2)), Event::Rtp(packet(2).into())]);
    assert_eq!(talk.session.path(), Some(path(2)));
    assert_eq!(talk.session.paths().count(), 2);
}

#[test]
fn a_wrong_certificate_ends_it() {
    let mut talk = Talk::new(Role::Client, |options| {
        options.fingerprints = vec![Certificate::generate("another").unwrap().fingerprint()];
    });
    talk.session.receive(talk.now, path(1), &check());
    assert_eq!(talk.told(), [Event::Closed(Error::Fingerprint)]);
    assert!(talk.session.is_closed() && talk.session.poll_timeout().is_none());
}

#[test]
fn silence_ends_it() {
    let mut talk = Talk::connected(Role::Client);
    talk.now = Micros::from_secs(20);
    talk.send(1, 1);
    assert_eq!(talk.session.poll_timeout(), Some(Micros::from_secs(50)));
    talk.session.timeout(Micros::from_secs(50));
    talk.events.clear();
    talk.events.extend(std::iter::from_fn(|| talk.session.poll_event()));
    let error = Error::Timeout { awaited: "sign of life", seconds: 30 };
    assert_eq!(talk.events, [Event::Rtp(packet(1).into()), Event::Closed(error)]);
}

#[test]
fn either_side_may_say_goodbye() {
    let mut talk = Talk::connected(Role::Client);
    talk.client.close();
    assert_eq!(talk.told(), [Event::Closed(Error::ClosedByPeer)]);
    let mut talk = Talk::connected(Role::Client);
    talk.session.close();
    let goodbye = talk.session.poll_transmit().unwrap();
    talk.client.receive(talk.now, &goodbye.data).unwrap();
    assert_eq!(talk.client.poll_event(), Some(dtls::Event::Closed(Error::ClosedByPeer)));
    assert_eq!(talk.told(), [Event::Closed(Error::Closed)]);
}

#[test]
fn less_protection_for_measurements() {
    let mut talk = Talk::new(Role::Client, |options| options.protection = Protection::None);
    talk.session.receive(talk.now, path(1), &check());
    talk.session.receive(talk.now, path(1), &packet(1));
    assert_eq!(talk.told(), [Event::Connected, Event::Rtp(packet(1).into())]);
    let mut down = packet(2);
    talk.session.protect_rtp(&mut down).unwrap();
    assert_eq!(down, packet(2));

    let mut talk = Talk::new(Role::Client, |options| options.protection = Protection::DtlsOnly);
    talk.session.receive(talk.now, path(1), &check());
    assert_eq!(talk.told(), [Event::Connected]);
    talk.session.receive(talk.now, path(1), &packet(1));
    assert_eq!(talk.told(), [Event::Rtp(packet(1).into())]);
}

#[test]
fn what_nobody_fetches_is_bounded() {
    let mut talk = Talk::connected(Role::Client);
    for sequence in 0..2000 {
        talk.send(sequence, 1);
    }
    assert_eq!(talk.told().len(), MAX_EVENTS);
    assert_eq!(talk.session.refused().overflow, 2000 - MAX_EVENTS as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_never_panics(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz::stun(&data);
        fuzz::dtls(&data);
        fuzz::srtp(&data);
        fuzz::session(&data);
        fuzz::offer(&data);
        fuzz::answer(&data);
        fuzz::client(&data);
    }
}

/// A client that controls and a server, over a network that loses what it is told to lose.
struct Pair {
    now: Micros,
    client: Session,
    server: Session,
    told: [Vec<Event>; 2],
}

impl Pair {
    /// The server is at the last of these ports; at the others there is nobody.
    fn new(client_role: Role, ports: &[u16]) -> Self {
        let [ours, theirs] =
            ["a", "b"].map(|name| ice::Credentials { ufrag: name.into(), password: PASSWORD.into() });
        let certificates = ["client", "server"].map(|name| Arc::new(Certificate::generate(name).unwrap()));
        let local = ([198, 51, 100, 7], 1).into();
        let candidates = ports.iter().map(|port| ([192, 0, 2, 1], *port).into()).collect();
        let checks = ice::Checks { remote: theirs.clone(), local, candidates, tie_breaker: 7 };
        let session = |local: &ice::Credentials, remote: &ice::Credentials, checks, role, own: usize| {
            let ice = ice::Options {
                local: local.clone(),
                remote_ufrag: remote.ufrag.clone(),
                strict_role: true,
                timeout: Micros::from_secs(30),
                checks,
            };
            let options = Options {
                ice,
                role,
                certificate: certificates[own].clone(),
                fingerprints: vec![certificates[1 - own].fingerprint()],
                profiles: Profile::ALL.to_vec(),
                protection: Protection::Srtp,
            };
            Session::new(Micros::ZERO, options)
        };
        let server_role = if client_role == Role::Client { Role::Server } else { Role::Client };
        let client = session(&ours, &theirs, Some(checks), client_role, 0);
        let server = session(&theirs, &ours, None, server_role, 1);
        Self { now: Micros::ZERO, client, server, told: Default::default() }
    }

    /// Time passes up to here; datagrams are lost where `lost` says so, by number.
    fn run(&mut self, until: Micros, mut lost: impl FnMut(u32) -> bool) {
        let mut sent = 0;
        let mut passes = || {
            sent += 1;
            !lost(sent)
        };
        loop {
            loop {
                let (to_server, to_client) = (self.client.poll_transmit(), self.server.poll_transmit());
                if to_server.is_none() && to_client.is_none() {
                    break;
                }
                let back = |path: Path| Path { local: path.remote, remote: path.local, ..path };
                if let Some(datagram) = to_server.filter(|d| d.path.remote.port() == 8000 && passes()) {
                    self.server.receive(self.now, back(datagram.path), &datagram.data);
                }
                if let Some(datagram) = to_client.filter(|_| passes()) {
                    self.client.receive(self.now, back(datagram.path), &datagram.data);
                }
            }
            self.told[0].extend(std::iter::from_fn(|| self.client.poll_event()));
            self.told[1].extend(std::iter::from_fn(|| self.server.poll_event()));
            let next = [self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.client.timeout(self.now);
            self.server.timeout(self.now);
        }
        self.now = until;
    }
}

#[test]
fn a_client_that_controls_finds_the_server_and_sends_to_it() {
    for role in [Role::Client, Role::Server] {
        let mut pair = Pair::new(role, &[1, 2, 8000]);
        pair.run(Micros::from_secs(1), |_| false);
        assert_eq!(pair.told, [vec![Event::Connected], vec![Event::Connected]]);
        assert_eq!(pair.client.path().unwrap().remote.port(), 8000);
        let mut sealed = packet(1);
        pair.client.protect_rtp(&mut sealed).unwrap();
        let path = pair.server.path().unwrap();
        pair.server.receive(pair.now, path, &sealed);
        assert_eq!(pair.server.poll_event(), Some(Event::Rtp(packet(1).into())));
        // It asks on, so that neither side takes the other for gone.
        pair.told = Default::default();
        pair.run(Micros::from_secs(90), |_| false);
        assert_eq!(pair.told, [vec![], vec![]]);
        assert!(pair.client.is_connected() && pair.server.is_connected());
    }
}

#[test]
fn a_client_that_controls_gets_through_losses_and_notices_the_end() {
    let mut pair = Pair::new(Role::Client, &[8000]);
    pair.run(Micros::from_secs(20), |n| n % 4 == 0);
    assert!(pair.client.is_connected() && pair.server.is_connected());
    pair.told = Default::default();
    pair.run(Micros::from_secs(60), |_| true);
    assert!(matches!(pair.told[0][..], [Event::Closed(Error::Timeout { .. })]), "{:?}", pair.told);
}

#[test]
fn nobody_else_is_believed() {
    let mut pair = Pair::new(Role::Client, &[8000]);
    pair.client.timeout(Micros::ZERO);
    let asked = pair.client.poll_transmit().unwrap();
    let id = Message::parse(&asked.data).unwrap().id;
    let forged =
        Writer::binding(Class::Success, id).mapped(asked.path.local).finish(Some(b"another password"));
    pair.client.receive(Micros(1), asked.path, &forged);
    let unasked = Writer::binding(Class::Success, [9; 12]).finish(Some(PASSWORD.as_bytes()));
    pair.client.receive(Micros(1), asked.path, &unasked);
    assert_eq!((pair.client.path(), pair.client.refused().stun), (None, 2));
}

/// A server behind a network address translator tells addresses that nobody reaches, and is known by where its checks come from.
#[test]
fn a_server_is_found_by_its_own_checks() {
    let mut pair = Pair::new(Role::Client, &[1]);
    pair.run(Micros::from_millis(100), |_| false);
    assert_eq!(pair.client.path(), None);
    let (local, remote) = (([198, 51, 100, 7], 1).into(), ([192, 0, 2, 1], 8000).into());
    let path = Path { protocol: Protocol::Udp, local, remote };
    let check = Writer::binding(Class::Request, [5; 12])
        .username(b"a:b")
        .role(crate::stun::Role::Controlled(1))
        .priority(1)
        .finish(Some(PASSWORD.as_bytes()));
    pair.client.receive(pair.now, path, &check);
    pair.run(Micros::from_secs(1), |_| false);
    assert_eq!(pair.told, [vec![Event::Connected], vec![Event::Connected]]);
    assert_eq!(pair.client.path(), Some(path));
}

/// Only answers are consent: media and checks of a peer that does not answer any more count for nothing (RFC 7675 §5.1).
#[test]
fn consent_is_an_answer() {
    let mut pair = Pair::new(Role::Client, &[8000]);
    pair.run(Micros::from_secs(1), |_| false);
    let path = pair.client.path().unwrap();
    for second in 2..32 {
        let now = Micros::from_secs(second);
        let mut report = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
        pair.server.protect_rtcp(&mut report).unwrap();
        pair.client.timeout(now);
        pair.client.receive(now, path, &report);
        while pair.client.poll_transmit().is_some() {}
    }
    let told: Vec<_> = std::iter::from_fn(|| pair.client.poll_event()).collect();
    assert!(matches!(told.last(), Some(Event::Closed(Error::Timeout { .. }))), "{told:?}");
}
