//! One DTLS 1.2 association, either end: which message comes when, and flights that are sent again until they are answered
//! (RFC 6347 §4.2.4).
//!
//! Neither cookies nor resumption nor renegotiation: ICE has proved the address already, and every session is new.

use std::collections::VecDeque;
use std::mem;

use media::{ByteReader, Micros};
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::assembly::{Assembly, Fragment, Whole};
use super::certificate::PublicKey;
use super::message::{
    self, ClientHello, Extensions, ServerHello, ServerKeyExchange, VERSION, group, kind, scheme, suite,
};
use super::record::{self, Keys, Record, content};
use super::secrets::Secrets;
use super::{Connected, Dtls, Event, Options, Role};
use crate::Error;
use crate::srtp::{Profile, Window};

/// How often a flight is sent again because the peer repeats itself, over the whole life.
const MAX_REPEATS: u32 = 32;
/// A peer that repeats a flight of several datagrams gets ours once.
const REPEAT_PAUSE: Micros = Micros::from_millis(20);
const MAX_RESEND_AFTER: Micros = Micros::from_secs(3);
/// Encrypted records that overtake the messages from which their keys come.
const MAX_EARLY: usize = 4;
/// The longest of them, in bytes: `Finished` takes 61.
const MAX_EARLY_LENGTH: usize = 256;
const HANDSHAKE_HEADER: usize = 12;
/// A fragment shorter than this is not worth its header.
const MIN_FRAGMENT: usize = 64;
/// Answers that nobody fetches are forgotten beyond this.
const MAX_DATAGRAMS: usize = 32;

const FATAL: u8 = 2;
const WARNING: u8 = 1;

mod alert {
    pub(super) const CLOSE_NOTIFY: u8 = 0;
    pub(super) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(super) const HANDSHAKE_FAILURE: u8 = 40;
    pub(super) const BAD_CERTIFICATE: u8 = 42;
    pub(super) const ILLEGAL_PARAMETER: u8 = 47;
    pub(super) const DECODE_ERROR: u8 = 50;
    pub(super) const DECRYPT_ERROR: u8 = 51;
    pub(super) const PROTOCOL_VERSION: u8 = 70;
    pub(super) const INTERNAL_ERROR: u8 = 80;
}

/// Why the handshake fails: what the peer is told, and what the log is told.
#[derive(Debug)]
struct Fault(u8, &'static str);

const TRUNCATED: fn(media::Truncated) -> Fault = |_| Fault(alert::DECODE_ERROR, "a message ends early");
const NO_RANDOM: Fault = Fault(alert::INTERNAL_ERROR, "no random bytes");
const NO_SIGNATURE: Fault = Fault(alert::INTERNAL_ERROR, "our key does not sign");

/// See [`Dtls`].
pub struct Connection {
    options: Options,
    phase: Phase,
    assembly: Assembly,
    /// All messages so far, as if each had come in one piece. Empty once connected.
    transcript: Vec<u8>,
    next_message: u16,
    flight: Vec<Item>,
    resend: Option<Resend>,
    sent: Micros,
    repeats: u32,
    deadline: Option<Micros>,
    /// Sequence numbers of the two epochs.
    sequences: [u64; 2],
    keys: Option<Keys>,
    window: Window<1>,
    early: Vec<Vec<u8>>,
    datagrams: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    peer_certificate: Vec<u8>,
    profile: Option<Profile>,
}

#[derive(Debug)]
struct Resend {
    at: Micros,
    after: Micros,
}

/// A part of a flight.
enum Item {
    Message { epoch: u16, sequence: u16, kind: u8, body: Vec<u8> },
    ChangeCipherSpec,
}

/// What is awaited.
enum Phase {
    ClientHello,
    ClientCertificate(Exchange),
    ClientKeyExchange(Exchange),
    CertificateVerify(Secrets),
    ClientFinished(Secrets),
    ServerHello { hello: ClientHello },
    ServerFlight(Box<ServerFlight>),
    ServerFinished(Secrets),
    Connected,
    Closed,
}

/// Our half of the key exchange.
struct Exchange {
    private: EphemeralPrivateKey,
    /// Of the client, of the server.
    randoms: ([u8; 32], [u8; 32]),
    extended_master_secret: bool,
}

/// What the server has said so far, between its hello and the end of its flight.
struct ServerFlight {
    randoms: ([u8; 32], [u8; 32]),
    extended_master_secret: bool,
    exchange: Option<(u16, Vec<u8>)>,
    /// The schemes in which it wants our certificate proved, if it wants it.
    requested: Option<Vec<u16>>,
}

impl Connection {
    /// An end of a new association.
    ///
    /// Errors: [`Error::Certificate`] when the system has no random bytes.
    pub fn new(now: Micros, options: Options) -> Result<Self, Error> {
        let role = options.role;
        let mut connection = Self {
            deadline: Some(now + options.timeout),
            options,
            phase: Phase::ClientHello,
            assembly: Assembly::default(),
            transcript: Vec::new(),
            next_message: 0,
            flight: Vec::new(),
            resend: None,
            sent: now,
            repeats: 0,
            sequences: [0; 2],
            keys: None,
            window: Window::default(),
            early: Vec::new(),
            datagrams: VecDeque::new(),
            events: VecDeque::new(),
            peer_certificate: Vec::new(),
            profile: None,
        };
        if role == Role::Client {
            connection.greet(now).map_err(|Fault(_, reason)| Error::Certificate(reason))?;
        }
        Ok(connection)
    }

    fn greet(&mut self, now: Micros) -> Result<(), Fault> {
        let hello = ClientHello {
            version: VERSION,
            random: random()?,
            cookie: Vec::new(),
            suites: vec![suite::ECDHE_ECDSA_AES_128_GCM_SHA256, suite::ECDHE_RSA_AES_128_GCM_SHA256],
            extensions: Extensions {
                groups: Some(group::ALL.to_vec()),
                schemes: Some(scheme::ALL.to_vec()),
                versions: None,
                srtp: self.options.profiles.iter().map(|profile| profile.id()).collect(),
                extended_master_secret: true,
                renegotiation: true,
                point_formats: true,
            },
        };
        self.say(0, kind::CLIENT_HELLO, hello.write());
        self.phase = Phase::ServerHello { hello };
        self.send_flight(now, true)
    }

    /// Takes one record. What cannot be genuine is ignored.
    fn record(&mut self, now: Micros, record: &Record<'_>, repeated: &mut bool) -> Result<(), Fault> {
        let decrypted;
        let body = match (record.epoch, &self.keys) {
            (0, _) => record.body,
            (1, Some(keys)) if self.window.is_fresh(record.sequence) => {
                let Some(body) = keys.open(record) else { return Ok(()) };
                self.window.accept(record.sequence);
                decrypted = body;
                &decrypted
            }
            _ => return Ok(()),
        };
        match record.content {
            content::HANDSHAKE => self.fragments(now, record.epoch, body, repeated),
            // In the clear, anybody can say anything once there are keys.
            content::ALERT if record.epoch == 1 || self.keys.is_none() => {
                match body {
                    [_, alert::CLOSE_NOTIFY, ..] => self.end(Error::ClosedByPeer),
                    [FATAL, description, ..] => self.end(Error::Alert(*description)),
                    _ => {}
                }
                Ok(())
            }
            // The epoch of a record says all that ChangeCipherSpec could, and of application data we want none.
            _ => Ok(()),
        }
    }

    fn fragments(&mut self, now: Micros, epoch: u16, body: &[u8], repeated: &mut bool) -> Result<(), Fault> {
        let mut reader = ByteReader::new(body);
        while reader.left() > 0 {
            let Ok(fragment) = read_fragment(&mut reader, epoch) else { return Ok(()) };
            if self.assembly.is_past(fragment.sequence) {
                *repeated = true;
            } else if !matches!(self.phase, Phase::Connected) {
                self.assembly.add(fragment);
            }
            while let Some(whole) = self.assembly.take() {
                self.step(now, whole)?;
            }
        }
        Ok(())
    }

    /// The next message of the peer, in order.
    fn step(&mut self, now: Micros, whole: Whole) -> Result<(), Fault> {
        if whole.epoch != u16::from(whole.kind == kind::FINISHED) {
            return Err(Fault(alert::UNEXPECTED_MESSAGE, "a message in the wrong epoch"));
        }
        let Whole { kind, sequence, body, .. } = whole;
        // What these two prove is all that came before them.
        if !matches!(kind, kind::CERTIFICATE_VERIFY | kind::FINISHED) {
            self.remember(kind, sequence, &body);
        }
        self.phase = match (mem::replace(&mut self.phase, Phase::Closed), kind) {
            (Phase::ClientHello, kind::CLIENT_HELLO) => self.client_hello(now, &body)?,
            (Phase::ClientCertificate(exchange), kind::CERTIFICATE) => {
                self.certificate(&body)?;
                Phase::ClientKeyExchange(exchange)
            }
            (Phase::ClientKeyExchange(exchange), kind::CLIENT_KEY_EXCHANGE) => {
                let public = message::read_client_key_exchange(&body).map_err(TRUNCATED)?;
                Phase::CertificateVerify(self.agree(exchange, public)?)
            }
            (Phase::CertificateVerify(secrets), kind::CERTIFICATE_VERIFY) => {
                let (scheme, signature) = message::read_certificate_verify(&body).map_err(TRUNCATED)?;
                self.verify(scheme, &self.transcript, signature)?;
                self.remember(kind, sequence, &body);
                Phase::ClientFinished(secrets)
            }
            (Phase::ClientFinished(secrets), kind::FINISHED) => {
                self.finished(&secrets, Role::Client, &body)?;
                self.remember(kind, sequence, &body);
                self.flight.clear();
                self.finish(&secrets);
                self.send_flight(now, false)?;
                self.connect(&secrets)
            }
            (Phase::ServerHello { hello }, kind::HELLO_VERIFY_REQUEST) => {
                self.hello_verify_request(now, hello, &body)?
            }
            (Phase::ServerHello { hello }, kind::SERVER_HELLO) => self.server_hello(&hello, &body)?,
            (Phase::ServerFlight(flight), kind) => self.server_flight(now, flight, kind, &body)?,
            (Phase::ServerFinished(secrets), kind::FINISHED) => {
                self.finished(&secrets, Role::Server, &body)?;
                self.flight.clear();
                self.connect(&secrets)
            }
            _ => return Err(Fault(alert::UNEXPECTED_MESSAGE, "a message out of order")),
        };
        Ok(())
    }

    fn client_hello(&mut self, now: Micros, body: &[u8]) -> Result<Phase, Fault> {
        let hello = ClientHello::read(body).map_err(TRUNCATED)?;
        if !hello.takes_our_version() {
            return Err(Fault(alert::PROTOCOL_VERSION, "the peer does not take DTLS 1.2"));
        }
        let certificate = self.options.certificate.clone();
        let suite = match certificate.is_rsa() {
            true => suite::ECDHE_RSA_AES_128_GCM_SHA256,
            false => suite::ECDHE_ECDSA_AES_128_GCM_SHA256,
        };
        if !hello.suites.contains(&suite) {
            return Err(Fault(alert::HANDSHAKE_FAILURE, "no common cipher suite"));
        }
        let offered = hello.extensions.groups.unwrap_or_else(|| vec![group::P256]);
        let group = offered.into_iter().find(|offered| group::ALL.contains(offered));
        let group = group.ok_or(Fault(alert::HANDSHAKE_FAILURE, "no common group"))?;
        let schemes = hello.extensions.schemes.unwrap_or_else(|| scheme::ALL.to_vec());
        let scheme = certificate.scheme(&schemes);
        let scheme = scheme.ok_or(Fault(alert::HANDSHAKE_FAILURE, "no common signature scheme"))?;
        let offered = &hello.extensions.srtp;
        self.profile = self.options.profiles.iter().copied().find(|profile| offered.contains(&profile.id()));

        let (private, public) = key_pair(group)?;
        let exchange = Exchange {
            private,
            randoms: (hello.random, random()?),
            extended_master_secret: hello.extensions.extended_master_secret,
        };
        let signed = signed_parameters(&exchange.randoms, group, &public);
        let signature = certificate.sign(scheme, &signed).ok_or(NO_SIGNATURE)?;
        let answer = ServerHello {
            version: VERSION,
            random: exchange.randoms.1,
            suite,
            extensions: Extensions {
                groups: None,
                schemes: None,
                versions: None,
                srtp: self.profile.map(Profile::id).into_iter().collect(),
                extended_master_secret: exchange.extended_master_secret,
                renegotiation: hello.extensions.renegotiation,
                point_formats: hello.extensions.point_formats,
            },
        };
        self.say(0, kind::SERVER_HELLO, answer.write());
        self.say(0, kind::CERTIFICATE, message::write_certificate(certificate.der()));
        let key_exchange = ServerKeyExchange { group, public, scheme, signature };
        self.say(0, kind::SERVER_KEY_EXCHANGE, key_exchange.write());
        self.say(0, kind::CERTIFICATE_REQUEST, message::write_certificate_request());
        self.say(0, kind::SERVER_HELLO_DONE, Vec::new());
        self.send_flight(now, true)?;
        Ok(Phase::ClientCertificate(exchange))
    }

    fn hello_verify_request(
        &mut self,
        now: Micros,
        mut hello: ClientHello,
        body: &[u8],
    ) -> Result<Phase, Fault> {
        if !hello.cookie.is_empty() {
            return Err(Fault(alert::UNEXPECTED_MESSAGE, "a second cookie"));
        }
        hello.cookie = message::read_hello_verify_request(body).map_err(TRUNCATED)?;
        // Neither the request nor the hello before it counts (RFC 6347 §4.2.1).
        self.transcript.clear();
        self.flight.clear();
        self.say(0, kind::CLIENT_HELLO, hello.write());
        self.send_flight(now, true)?;
        Ok(Phase::ServerHello { hello })
    }

    fn server_hello(&mut self, hello: &ClientHello, body: &[u8]) -> Result<Phase, Fault> {
        let answer = ServerHello::read(body).map_err(TRUNCATED)?;
        if answer.version != VERSION {
            return Err(Fault(alert::PROTOCOL_VERSION, "the peer does not take DTLS 1.2"));
        }
        if !hello.suites.contains(&answer.suite) {
            return Err(Fault(alert::ILLEGAL_PARAMETER, "a cipher suite that was not offered"));
        }
        if let Some(id) = answer.extensions.srtp.first() {
            let profile = self.options.profiles.iter().find(|profile| profile.id() == *id);
            self.profile = profile.copied();
            if self.profile.is_none() {
                return Err(Fault(alert::ILLEGAL_PARAMETER, "an SRTP profile that was not offered"));
            }
        }
        Ok(Phase::ServerFlight(Box::new(ServerFlight {
            randoms: (hello.random, answer.random),
            extended_master_secret: answer.extensions.extended_master_secret,
            exchange: None,
            requested: None,
        })))
    }

    fn server_flight(
        &mut self,
        now: Micros,
        mut flight: Box<ServerFlight>,
        kind: u8,
        body: &[u8],
    ) -> Result<Phase, Fault> {
        match (kind, &flight.exchange) {
            (kind::CERTIFICATE, None) if self.peer_certificate.is_empty() => self.certificate(body)?,
            (kind::SERVER_KEY_EXCHANGE, None) => {
                let exchange = ServerKeyExchange::read(body)
                    .ok_or(Fault(alert::DECODE_ERROR, "a key exchange that we do not have"))?;
                let signed = signed_parameters(&flight.randoms, exchange.group, &exchange.public);
                self.verify(exchange.scheme, &signed, &exchange.signature)?;
                flight.exchange = Some((exchange.group, exchange.public));
            }
            (kind::CERTIFICATE_REQUEST, Some(_)) if flight.requested.is_none() => {
                flight.requested = Some(message::read_certificate_request(body).map_err(TRUNCATED)?);
            }
            (kind::SERVER_HELLO_DONE, Some(_)) => return self.answer_server(now, *flight),
            _ => return Err(Fault(alert::UNEXPECTED_MESSAGE, "a message out of order")),
        }
        Ok(Phase::ServerFlight(flight))
    }

    /// The client's last flight.
    fn answer_server(&mut self, now: Micros, flight: ServerFlight) -> Result<Phase, Fault> {
        let (group, their_public) = flight.exchange.unwrap_or_default();
        let (private, public) = key_pair(group)?;
        let certificate = self.options.certificate.clone();
        self.flight.clear();
        if flight.requested.is_some() {
            self.say(0, kind::CERTIFICATE, message::write_certificate(certificate.der()));
        }
        self.say(0, kind::CLIENT_KEY_EXCHANGE, message::write_client_key_exchange(&public));
        let (randoms, extended_master_secret) = (flight.randoms, flight.extended_master_secret);
        let secrets = self.agree(Exchange { private, randoms, extended_master_secret }, &their_public)?;
        if let Some(accepted) = flight.requested {
            let scheme = certificate.scheme(&accepted);
            let scheme = scheme.ok_or(Fault(alert::HANDSHAKE_FAILURE, "no common signature scheme"))?;
            let signature = certificate.sign(scheme, &self.transcript).ok_or(NO_SIGNATURE)?;
            self.say(0, kind::CERTIFICATE_VERIFY, message::write_certificate_verify(scheme, &signature));
        }
        self.finish(&secrets);
        self.send_flight(now, true)?;
        Ok(Phase::ServerFinished(secrets))
    }

    fn certificate(&mut self, body: &[u8]) -> Result<(), Fault> {
        let der = message::read_certificate(body).map_err(TRUNCATED)?;
        self.peer_certificate = der.ok_or(Fault(alert::HANDSHAKE_FAILURE, "the peer has no certificate"))?;
        Ok(())
    }

    /// Whether the peer, by its certificate, has signed this.
    fn verify(&self, scheme: u16, signed: &[u8], signature: &[u8]) -> Result<(), Fault> {
        let key = PublicKey::of(&self.peer_certificate)
            .ok_or(Fault(alert::BAD_CERTIFICATE, "a certificate that we cannot read"))?;
        if !key.verify(scheme, signed, signature) {
            return Err(Fault(alert::DECRYPT_ERROR, "the peer does not own its certificate"));
        }
        Ok(())
    }

    /// Both halves of the key exchange are known.
    fn agree(&mut self, exchange: Exchange, public: &[u8]) -> Result<Secrets, Fault> {
        let Exchange { private, randoms, extended_master_secret } = exchange;
        let public = UnparsedPublicKey::new(private.algorithm(), public);
        let handshake = extended_master_secret.then_some(self.transcript.as_slice());
        let secrets = agreement::agree_ephemeral(private, &public, |premaster| {
            Secrets::new(premaster, randoms, handshake)
        });
        let secrets = secrets.map_err(|_| Fault(alert::ILLEGAL_PARAMETER, "a public key that is none"))?;
        self.keys = secrets.keys(self.options.role);
        Ok(secrets)
    }

    fn finished(&self, secrets: &Secrets, of: Role, body: &[u8]) -> Result<(), Fault> {
        // It came encrypted and authenticated, so that a comparison that takes its time tells nobody anything.
        if body != secrets.finished(of, &self.transcript) {
            return Err(Fault(alert::DECRYPT_ERROR, "the peer has seen another handshake"));
        }
        Ok(())
    }

    /// Adds our last messages to the flight.
    fn finish(&mut self, secrets: &Secrets) {
        let data = secrets.finished(self.options.role, &self.transcript);
        self.flight.push(Item::ChangeCipherSpec);
        self.say(1, kind::FINISHED, data.to_vec());
    }

    fn connect(&mut self, secrets: &Secrets) -> Phase {
        (self.deadline, self.resend) = (None, None);
        self.transcript = Vec::new();
        self.early = Vec::new();
        let keying = self.profile.map(|profile| secrets.export_srtp(profile.keying_length()));
        self.events.push_back(Event::Connected(Box::new(Connected {
            profile: self.profile,
            keying: keying.unwrap_or_default(),
            certificate: mem::take(&mut self.peer_certificate),
        })));
        Phase::Connected
    }

    /// Adds a message of ours to the flight and to what both have seen.
    fn say(&mut self, epoch: u16, kind: u8, body: Vec<u8>) {
        let sequence = self.next_message;
        self.next_message = sequence.wrapping_add(1);
        self.remember(kind, sequence, &body);
        self.flight.push(Item::Message { epoch, sequence, kind, body });
    }

    fn remember(&mut self, kind: u8, sequence: u16, body: &[u8]) {
        let header = fragment_header(kind, body.len(), sequence, 0, body.len());
        self.transcript.extend_from_slice(&header);
        self.transcript.extend_from_slice(body);
    }

    /// Sends the flight, for the first time or again; `awaits` an answer or not.
    fn send_flight(&mut self, now: Micros, awaits: bool) -> Result<(), Fault> {
        self.sent = now;
        let after = self.options.first_resend;
        self.resend = awaits.then_some(Resend { at: now + after, after });
        self.lay_flight().ok_or(Fault(alert::INTERNAL_ERROR, "the flight cannot be written"))
    }

    /// Cuts the flight into datagrams.
    fn lay_flight(&mut self) -> Option<()> {
        let (mtu, keys) = (self.options.mtu.clamp(256, 16_000), self.keys.as_ref());
        let mut datagram = Vec::with_capacity(mtu);
        let mut done = Vec::new();
        for item in &self.flight {
            let Item::Message { epoch, sequence, kind, body } = item else {
                if mtu - datagram.len() < record::HEADER + 1 {
                    done.push(mem::take(&mut datagram));
                }
                let number = next(&mut self.sequences, 0)?;
                record::write(&mut datagram, content::CHANGE_CIPHER_SPEC, 0, number, &[1], None)?;
                continue;
            };
            let expansion = if *epoch == 0 { 0 } else { record::EXPANSION };
            let overhead = record::HEADER + HANDSHAKE_HEADER + expansion;
            let (mut rest, mut offset) = (body.as_slice(), 0);
            loop {
                let mut room = (mtu - datagram.len()).saturating_sub(overhead);
                if room < rest.len().min(MIN_FRAGMENT) || mtu - datagram.len() < overhead {
                    done.push(mem::take(&mut datagram));
                    room = mtu - overhead;
                }
                let (piece, behind) = rest.split_at_checked(room).unwrap_or((rest, &[]));
                let mut fragment =
                    fragment_header(*kind, body.len(), *sequence, offset, piece.len()).to_vec();
                fragment.extend_from_slice(piece);
                let number = next(&mut self.sequences, *epoch)?;
                record::write(&mut datagram, content::HANDSHAKE, *epoch, number, &fragment, keys)?;
                (rest, offset) = (behind, offset + piece.len());
                if rest.is_empty() {
                    break;
                }
            }
        }
        done.push(datagram);
        done.into_iter().filter(|datagram| !datagram.is_empty()).for_each(|datagram| self.queue(datagram));
        Some(())
    }

    fn queue(&mut self, datagram: Vec<u8>) {
        if self.datagrams.len() < MAX_DATAGRAMS {
            self.datagrams.push_back(datagram);
        }
    }

    fn alert(&mut self, level: u8, description: u8) {
        let epoch = u16::from(matches!(self.phase, Phase::Connected));
        let mut datagram = Vec::new();
        let written = next(&mut self.sequences, epoch).and_then(|number| {
            let body = [level, description];
            record::write(&mut datagram, content::ALERT, epoch, number, &body, self.keys.as_ref())
        });
        if written.is_some() {
            self.queue(datagram);
        }
    }

    fn end(&mut self, error: Error) {
        if !self.is_closed() {
            self.phase = Phase::Closed;
            (self.deadline, self.resend) = (None, None);
            (self.transcript, self.flight, self.early) = (Vec::new(), Vec::new(), Vec::new());
            self.assembly = Assembly::default();
            self.events.push_back(Event::Closed(error));
        }
    }

    fn fail(&mut self, Fault(description, reason): Fault) {
        // The phase was taken out of its place while the message was read.
        self.phase = Phase::ClientHello;
        self.alert(FATAL, description);
        self.end(Error::Dtls(reason));
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn records(&mut self, now: Micros, datagram: &[u8]) -> Result<(), Error> {
        let mut reader = ByteReader::new(datagram);
        let mut repeated = false;
        while reader.left() > 0 && !self.is_closed() {
            let at = reader.position();
            let record = match Record::read(&mut reader) {
                Some(record) => record,
                None if at == 0 => return Err(Error::Dtls("a datagram that holds no record")),
                // What came before it counts.
                None => break,
            };
            if record.epoch == 1 && self.keys.is_none() {
                let raw = datagram.get(at..reader.position()).unwrap_or_default();
                if self.early.len() < MAX_EARLY && raw.len() <= MAX_EARLY_LENGTH {
                    self.early.push(raw.to_vec());
                }
                continue;
            }
            if let Err(fault) = self.record(now, &record, &mut repeated) {
                self.fail(fault);
            }
        }
        let pause = now - self.sent < REPEAT_PAUSE;
        if repeated && !pause && !self.flight.is_empty() && self.repeats < MAX_REPEATS {
            self.repeats += 1;
            self.sent = now;
            if self.lay_flight().is_none() {
                self.end(Error::Dtls("the flight cannot be written"));
            }
        }
        Ok(())
    }
}

impl Dtls for Connection {
    fn receive(&mut self, now: Micros, datagram: &[u8]) -> Result<(), Error> {
        let result = self.records(now, datagram);
        if self.keys.is_some() {
            for record in mem::take(&mut self.early) {
                self.records(now, &record)?;
            }
        }
        result
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Micros> {
        let resend = self.resend.as_ref().map(|resend| resend.at);
        resend.into_iter().chain(self.deadline).min()
    }

    fn timeout(&mut self, now: Micros) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            let seconds = self.options.timeout.millis() / 1000;
            self.end(Error::Timeout { awaited: "end of the DTLS handshake", seconds });
        }
        if let Some(resend) = self.resend.as_mut().filter(|resend| now >= resend.at) {
            resend.after = (resend.after + resend.after).min(MAX_RESEND_AFTER);
            resend.at = now + resend.after;
            self.sent = now;
            if self.lay_flight().is_none() {
                self.end(Error::Dtls("the flight cannot be written"));
            }
        }
    }

    fn close(&mut self) {
        if !self.is_closed() {
            self.alert(WARNING, alert::CLOSE_NOTIFY);
            self.end(Error::Closed);
        }
    }
}

fn next(sequences: &mut [u64; 2], epoch: u16) -> Option<u64> {
    let sequence = sequences.get_mut(usize::from(epoch))?;
    *sequence += 1;
    Some(*sequence - 1)
}

fn random() -> Result<[u8; 32], Fault> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NO_RANDOM)?;
    Ok(bytes)
}

fn key_pair(group: u16) -> Result<(EphemeralPrivateKey, Vec<u8>), Fault> {
    let algorithm = match group {
        group::X25519 => &agreement::X25519,
        group::P256 => &agreement::ECDH_P256,
        group::P384 => &agreement::ECDH_P384,
        _ => return Err(Fault(alert::ILLEGAL_PARAMETER, "a group that was not offered")),
    };
    let private = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).map_err(|_| NO_RANDOM)?;
    let public = private.compute_public_key().map_err(|_| NO_RANDOM)?.as_ref().to_vec();
    Ok((private, public))
}

fn signed_parameters(randoms: &([u8; 32], [u8; 32]), group: u16, public: &[u8]) -> Vec<u8> {
    [&randoms.0[..], &randoms.1, &ServerKeyExchange::parameters(group, public)].concat()
}

fn fragment_header(
    kind: u8,
    length: usize,
    sequence: u16,
    offset: usize,
    piece: usize,
) -> [u8; HANDSHAKE_HEADER] {
    let [_, l2, l1, l0] = (length as u32).to_be_bytes();
    let [_, o2, o1, o0] = (offset as u32).to_be_bytes();
    let [_, p2, p1, p0] = (piece as u32).to_be_bytes();
    let [s1, s0] = sequence.to_be_bytes();
    [kind, l2, l1, l0, s1, s0, o2, o1, o0, p2, p1, p0]
}

fn read_fragment<'a>(reader: &mut ByteReader<'a>, epoch: u16) -> Result<Fragment<'a>, media::Truncated> {
    let kind = reader.u8()?;
    let length = reader.u24()? as usize;
    let sequence = reader.u16()?;
    let offset = reader.u24()? as usize;
    let piece = reader.u24()? as usize;
    Ok(Fragment { kind, sequence, length, offset, data: reader.take(piece)?, epoch })
}

#[cfg(test)]
mod tests;
