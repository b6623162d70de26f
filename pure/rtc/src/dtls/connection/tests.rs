//! One end against a peer that is made by hand: what it must refuse, ignore and bear. Conversations of two honest ends are in
//! `dtls::tests`, those with OpenSSL in `tests/openssl.rs`.

use std::sync::Arc;

use super::*;
use crate::dtls::Certificate;

const NOW: Micros = Micros::ZERO;

fn end(role: Role, certificate: Certificate) -> Connection {
    Connection::new(NOW, Options::new(role, Arc::new(certificate))).unwrap()
}

fn honest(role: Role) -> Connection {
    end(role, Certificate::generate("oxcast").unwrap())
}

/// A certificate with the key of another one.
fn stolen() -> Certificate {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let victim = Certificate::generate("victim").unwrap();
    Certificate::from_der(victim.der().to_vec(), key.serialized_der()).unwrap()
}

/// A message in the clear, cut into datagrams of pieces of this length.
fn clear(kind: u8, sequence: u16, body: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let write = |(n, data): (usize, &[u8])| {
        let mut fragment = fragment_header(kind, body.len(), sequence, n * piece, data.len()).to_vec();
        fragment.extend_from_slice(data);
        let mut datagram = Vec::new();
        record::write(&mut datagram, content::HANDSHAKE, 0, n as u64, &fragment, None).unwrap();
        datagram
    };
    body.chunks(piece).enumerate().map(write).collect()
}

fn say(end: &mut Connection, kind: u8, sequence: u16, body: &[u8]) {
    clear(kind, sequence, body, 1000).iter().for_each(|datagram| end.receive(NOW, datagram).unwrap());
}

fn hello() -> ClientHello {
    ClientHello {
        version: VERSION,
        random: [7; 32],
        cookie: Vec::new(),
        suites: vec![0x1a1a, 0x1301, suite::ECDHE_ECDSA_AES_128_GCM_SHA256],
        extensions: Extensions { srtp: vec![7], extended_master_secret: true, ..Extensions::default() },
    }
}

fn sent(end: &mut Connection) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| end.poll_transmit()).collect()
}

/// Level and description of the alert that is sent last.
fn alert_of(end: &mut Connection) -> Option<[u8; 2]> {
    sent(end).last().and_then(|datagram| match datagram[..] {
        [content::ALERT, .., level, description] => Some([level, description]),
        _ => None,
    })
}

/// Lets both talk until they are silent.
fn talk(client: &mut Connection, server: &mut Connection) {
    for _ in 0..4 {
        for (from, to) in [(0, 1), (1, 0)] {
            let pair = [&mut *client, &mut *server];
            while let Some(datagram) = pair[from].poll_transmit() {
                pair[to].receive(NOW, &datagram).unwrap();
            }
        }
    }
}

fn connected() -> (Connection, Connection) {
    let (mut client, mut server) = (honest(Role::Client), honest(Role::Server));
    talk(&mut client, &mut server);
    for end in [&mut client, &mut server] {
        assert!(matches!(end.poll_event(), Some(Event::Connected(_))));
    }
    (client, server)
}

/// As browsers that know of DTLS 1.3 say hello: with suites, groups and a long key share that we do not know, in several
/// datagrams, which come in any order.
#[test]
fn a_hello_that_prefers_the_next_version_is_answered_in_ours() {
    let hello_of = |versions: &[u16]| {
        let mut more = Vec::new();
        put_extension(&mut more, 0x2a2a, &[]);
        let list: Vec<u8> = versions.iter().flat_map(|version| version.to_be_bytes()).collect();
        put_extension(&mut more, 43, &[&[list.len() as u8], &list[..]].concat());
        put_extension(&mut more, 10, &[0, 8, 0x3a, 0x3a, 0x11, 0xec, 0, 29, 0, 23]);
        put_extension(&mut more, 13, &[0, 6, 4, 3, 8, 4, 4, 1]);
        put_extension(&mut more, 51, &[9; 1216]);
        put_extension(&mut more, 14, &[0, 2, 0, 7, 0]);
        // Extensions are the last of a hello, behind their length.
        let mut body = ClientHello { extensions: Extensions::default(), ..hello() }.write();
        assert_eq!(body.split_off(body.len() - 2), [0, 0]);
        body.extend((more.len() as u16).to_be_bytes());
        [body, more].concat()
    };
    let mut server = honest(Role::Server);
    let pieces = clear(kind::CLIENT_HELLO, 0, &hello_of(&[0x4a4a, 0xfefc, 0xfefd]), 500);
    assert!(pieces.len() > 2);
    for datagram in pieces.iter().rev() {
        assert_eq!(sent(&mut server).len(), 0);
        server.receive(NOW, datagram).unwrap();
    }
    let flight = sent(&mut server);
    let answer = ServerHello::read(&flight[0][record::HEADER + HANDSHAKE_HEADER..]).unwrap();
    assert_eq!((answer.version, answer.suite), (VERSION, suite::ECDHE_ECDSA_AES_128_GCM_SHA256));
    assert_eq!((answer.extensions.srtp, server.poll_event()), (vec![7], None));

    let mut server = honest(Role::Server);
    say(&mut server, kind::CLIENT_HELLO, 0, &hello_of(&[0xfefc]));
    assert_eq!(alert_of(&mut server), Some([FATAL, alert::PROTOCOL_VERSION]));
    assert_eq!(server.poll_event(), Some(Event::Closed(Error::Dtls("the peer does not take DTLS 1.2"))));
}

fn put_extension(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

#[test]
fn older_versions_are_refused_by_both_ends() {
    for (version, fits) in [(0xfefd, true), (0xfefc, true), (0xfeff, false), (0x0303, false)] {
        let mut server = honest(Role::Server);
        say(&mut server, kind::CLIENT_HELLO, 0, &ClientHello { version, ..hello() }.write());
        assert_eq!(server.poll_event().is_none(), fits, "{version:x}");
    }
    let mut client = honest(Role::Client);
    let suite = suite::ECDHE_ECDSA_AES_128_GCM_SHA256;
    let answer = ServerHello { version: 0xfeff, random: [1; 32], suite, extensions: Extensions::default() };
    say(&mut client, kind::SERVER_HELLO, 0, &answer.write());
    assert_eq!(alert_of(&mut client), Some([FATAL, alert::PROTOCOL_VERSION]));
}

#[test]
fn what_we_do_not_have_is_refused() {
    let groups = |groups: &[u16]| Extensions { groups: Some(groups.to_vec()), ..Extensions::default() };
    let schemes = Extensions { schemes: Some(vec![0x0201, 0x0203]), ..Extensions::default() };
    for (hello, reason) in [
        (
            ClientHello { suites: vec![suite::ECDHE_RSA_AES_128_GCM_SHA256, 0xc009], ..hello() },
            "no common cipher suite",
        ),
        (ClientHello { extensions: groups(&[25, 0x11ec]), ..hello() }, "no common group"),
        (ClientHello { extensions: schemes, ..hello() }, "no common signature scheme"),
    ] {
        let mut server = honest(Role::Server);
        say(&mut server, kind::CLIENT_HELLO, 0, &hello.write());
        assert_eq!(alert_of(&mut server), Some([FATAL, alert::HANDSHAKE_FAILURE]));
        assert_eq!(server.poll_event(), Some(Event::Closed(Error::Dtls(reason))));
    }
    let mut server = honest(Role::Server);
    say(&mut server, kind::CLIENT_HELLO, 0, &ClientHello { extensions: groups(&[24]), ..hello() }.write());
    assert_eq!(server.poll_event(), None, "P-384 alone is fine");
}

/// Old peers do not know of the extended master secret (RFC 7627); both ends agree on either kind.
#[test]
fn peers_without_the_extended_master_secret_are_served() {
    for extended in [false, true] {
        let (mut client, mut server) = (honest(Role::Client), honest(Role::Server));
        let Phase::ServerHello { mut hello } = mem::replace(&mut client.phase, Phase::Closed) else {
            panic!()
        };
        hello.extensions.extended_master_secret = extended;
        (client.transcript, client.flight, client.next_message) = (Vec::new(), Vec::new(), 0);
        client.datagrams.clear();
        client.say(0, kind::CLIENT_HELLO, hello.write());
        client.phase = Phase::ServerHello { hello };
        client.send_flight(NOW, true).unwrap();
        let hello = client.datagrams[0].clone();
        assert_eq!(hello.windows(4).any(|four| four == [0, 23, 0, 0]), extended);
        talk(&mut client, &mut server);
        let [Some(Event::Connected(ours)), Some(Event::Connected(theirs))] =
            [&mut client, &mut server].map(|end| end.poll_event())
        else {
            panic!("not connected")
        };
        assert_eq!(ours.keying, theirs.keying);
    }
}

/// A certificate is public: only its key makes it the peer's own.
#[test]
fn nobody_passes_with_the_certificate_of_another() {
    const LIE: Event = Event::Closed(Error::Dtls("the peer does not own its certificate"));
    let (mut client, mut server) = (end(Role::Client, stolen()), honest(Role::Server));
    talk(&mut client, &mut server);
    assert_eq!(server.poll_event(), Some(LIE));
    // In the clear, nobody can tell the client so: it has keys already, and waits for its time-out.
    assert_eq!(client.poll_event(), None);

    let (mut client, mut server) = (honest(Role::Client), end(Role::Server, stolen()));
    talk(&mut client, &mut server);
    assert_eq!(client.poll_event(), Some(LIE));
    assert_eq!(server.poll_event(), Some(Event::Closed(Error::Alert(alert::DECRYPT_ERROR))));
}

/// The client's signature covers all that was said, so that nobody between both can choose the weaker profile for them.
#[test]
fn a_changed_hello_is_noticed() {
    let (mut client, mut server) = (honest(Role::Client), honest(Role::Server));
    let datagram = client.poll_transmit().unwrap();
    let mut hello = ClientHello::read(&datagram[record::HEADER + HANDSHAKE_HEADER..]).unwrap();
    assert_eq!(hello.extensions.srtp.first(), Some(&7));
    hello.extensions.srtp = vec![1];
    say(&mut server, kind::CLIENT_HELLO, 0, &hello.write());
    talk(&mut client, &mut server);
    let error = Error::Dtls("the peer does not own its certificate");
    assert_eq!(server.poll_event(), Some(Event::Closed(error)));
    assert_eq!(client.poll_event(), None);
}

#[test]
fn no_message_can_be_left_out() {
    let public = message::write_client_key_exchange(&key_pair(group::P256).unwrap().1);
    let certificate = message::write_certificate(Certificate::generate("x").unwrap().der());
    let out_of_order = "a message out of order";
    type Said<'a> = &'a [(u8, &'a [u8])];
    let cases: [(Said<'_>, &str); 4] = [
        (&[(kind::CERTIFICATE, &[0, 0, 0])], "the peer has no certificate"),
        (&[(kind::CLIENT_KEY_EXCHANGE, &public)], out_of_order),
        (
            &[
                (kind::CERTIFICATE, &certificate),
                (kind::CLIENT_KEY_EXCHANGE, &public),
                (kind::CLIENT_KEY_EXCHANGE, &public),
            ],
            out_of_order,
        ),
        (&[(kind::FINISHED, &[0; 12])], "a message in the wrong epoch"),
    ];
    for (messages, reason) in cases {
        let mut server = honest(Role::Server);
        say(&mut server, kind::CLIENT_HELLO, 0, &hello().write());
        for (sequence, (kind, body)) in (1..).zip(messages) {
            say(&mut server, *kind, sequence, body);
        }
        assert_eq!(server.poll_event(), Some(Event::Closed(Error::Dtls(reason))));
    }
}

/// Neither end lets itself be drawn into another handshake, even by its own genuine peer.
#[test]
fn renegotiation_is_ignored() {
    let (mut client, mut server) = connected();
    for sequence in [0, 3, server.next_message, server.next_message + 20] {
        for (of_client, kind, body) in [(true, kind::CLIENT_HELLO, hello().write()), (false, 0, Vec::new())] {
            let (from, to) = if of_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let mut fragment = fragment_header(kind, body.len(), sequence, 0, body.len()).to_vec();
            fragment.extend_from_slice(&body);
            let number = next(&mut from.sequences, 1).unwrap();
            let mut datagram = Vec::new();
            record::write(&mut datagram, content::HANDSHAKE, 1, number, &fragment, from.keys.as_ref())
                .unwrap();
            to.receive(NOW, &datagram).unwrap();
            assert!(matches!(to.phase, Phase::Connected));
            assert_eq!((to.poll_event(), sent(to).len()), (None, 0));
        }
    }
    assert!(client.transcript.is_empty() && server.transcript.is_empty());
}

/// A flight that comes again and again, from the peer or from somebody who has recorded it, costs a bounded number of answers.
#[test]
fn replays_are_answered_seldom() {
    let (mut client, mut server) = (honest(Role::Client), honest(Role::Server));
    sent(&mut client).iter().for_each(|datagram| server.receive(NOW, datagram).unwrap());
    sent(&mut server).iter().for_each(|datagram| client.receive(NOW, datagram).unwrap());
    let flight = sent(&mut client);
    flight.iter().for_each(|datagram| server.receive(NOW, datagram).unwrap());
    assert!(matches!(server.poll_event(), Some(Event::Connected(_))));
    let length: usize = sent(&mut server).iter().map(Vec::len).sum();
    let mut answers = 0;
    for n in 1..1000 {
        let now = Micros::from_millis(n * 25);
        flight.iter().for_each(|datagram| server.receive(now, datagram).unwrap());
        answers += sent(&mut server).iter().map(Vec::len).sum::<usize>();
    }
    assert_eq!((answers, server.poll_event()), (MAX_REPEATS as usize * length, None));
}

#[test]
fn records_that_come_too_early_are_few_and_short() {
    let mut server = honest(Role::Server);
    let mut datagram = Vec::new();
    for length in [61, 5000, 61, 257, 61, 61, 61] {
        datagram.extend_from_slice(&[content::HANDSHAKE, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0]);
        datagram.extend_from_slice(&(length as u16).to_be_bytes());
        datagram.extend(vec![0; length]);
    }
    server.receive(NOW, &datagram).unwrap();
    assert_eq!(server.early.iter().map(Vec::len).collect::<Vec<_>>(), [record::HEADER + 61; MAX_EARLY]);
}

#[test]
fn what_comes_behind_a_record_is_passed_over() {
    let mut server = honest(Role::Server);
    let mut datagram = clear(kind::CLIENT_HELLO, 0, &hello().write(), 1000).concat();
    datagram.extend_from_slice(b"rubbish");
    assert_eq!(server.receive(NOW, &datagram), Ok(()));
    assert!(server.poll_transmit().is_some());
    assert!(server.receive(NOW, b"rubbish behind nothing").is_err());
}

/// A chain of big certificates fits, whatever it is cut into; of it, the first counts.
#[test]
fn long_chains_are_read() {
    let own = Certificate::generate("x").unwrap();
    let mut list = Vec::new();
    for der in [own.der(), &[1; 2500], &[2; 2500], &[3; 2500], &[4; 2500]] {
        list.extend_from_slice(&(der.len() as u32).to_be_bytes()[1..]);
        list.extend_from_slice(der);
    }
    let body = [&(list.len() as u32).to_be_bytes()[1..], &list].concat();
    let mut server = honest(Role::Server);
    say(&mut server, kind::CLIENT_HELLO, 0, &hello().write());
    for datagram in clear(kind::CERTIFICATE, 1, &body, 200).iter().rev() {
        server.receive(NOW, datagram).unwrap();
    }
    assert_eq!(server.peer_certificate, own.der());
    assert!(matches!(server.phase, Phase::ClientKeyExchange(_)));
}
