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
    }
}
