//! The lite side of ICE (RFC 8445 §2.5): answers the peer's connectivity checks and learns from them which way to send.
//!
//! We have host candidates only; as a server we never send checks, and are controlled. As the client of another server we control ([`Checks`]), and only its
//! answers to our checks count as its consent to be sent to (RFC 7675 §5.1). Which session a first check belongs to is found by the server, by the user name of [`local_ufrag`].

use std::collections::VecDeque;
use std::net::SocketAddr;

use media::Micros;
use ring::rand::{SecureRandom, SystemRandom};
use rtp::sdp::{CandidateKind, Transport};

use crate::checks::Checker;
pub use crate::checks::Checks;
use crate::stun::{self, Class, Message, Role, Writer};
use crate::{Error, Path, Protocol, Transmit};

/// How many ways to the peer are remembered.
pub const MAX_PATHS: usize = 8;
/// Answers that nobody fetches are forgotten beyond this.
const MAX_ANSWERS: usize = 16;
/// The selected way gives place to another one when it was silent this long; peers check at least every 5 s (RFC 7675).
const SILENCE: Micros = Micros::from_secs(6);

/// Name and password of one side.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `ice-ufrag`.
    pub ufrag: String,
    /// `ice-pwd`.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// What an agent is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Ours.
    pub local: Credentials,
    /// `ice-ufrag` of the peer. Its password is of no use to an agent that sends no checks.
    pub remote_ufrag: String,
    /// Whether a peer that believes to be controlled gets 487 so that it changes its mind, or is served.
    pub strict_role: bool,
    /// How long the peer may be silent.
    pub timeout: Micros,
    /// We control, and send checks.
    pub checks: Option<Checks>,
}

/// One peer's connectivity.
#[derive(Debug)]
pub struct Agent {
    options: Options,
    username: String,
    /// What ICE is to go on with once the peer proves it: our credentials, and both user names.
    next: Option<(Credentials, String)>,
    paths: Vec<Known>,
    selected: Option<Path>,
    /// The last genuine word of the peer.
    heard: Micros,
    /// The session has just begun, and nothing has come yet.
    fresh: bool,
    answers: VecDeque<Transmit>,
    changed: bool,
    checker: Option<Checker>,
}

/// A way over which the peer has proved its credentials.
#[derive(Debug)]
struct Known {
    path: Path,
    heard: Micros,
    nominated: bool,
}

impl Agent {
    /// An agent that waits for the first check.
    pub fn new(now: Micros, options: Options) -> Self {
        let username = format!("{}:{}", options.local.ufrag, options.remote_ufrag);
        let checks = options.checks.clone();
        let checker = checks.map(|checks| Checker::new(now, checks, &options.local.ufrag));
        Self {
            options,
            username,
            checker,
            next: None,
            paths: Vec::new(),
            selected: None,
            heard: now,
            fresh: true,
            answers: VecDeque::new(),
            changed: false,
        }
    }

    /// Starts ICE again (RFC 8445 §9): everything goes on as before until the first check with the new credentials, which chooses the way.
    pub fn restart(&mut self, local: Credentials, remote_ufrag: &str) {
        let username = format!("{}:{remote_ufrag}", local.ufrag);
        self.next = Some((local, username));
    }

    /// Takes a STUN datagram and answers it if it wants an answer.
    ///
    /// Errors: [`Error::Stun`], [`Error::Credentials`]; the datagram has changed nothing, though an answer may tell why.
    pub fn receive(&mut self, now: Micros, path: Path, datagram: &[u8]) -> Result<(), Error> {
        let message = Message::parse(datagram)?;
        if message.method != stun::BINDING {
            return Err(Error::Stun("a method other than binding"));
        }
        match message.class {
            Class::Request => self.check(now, path, &message),
            // A keep-alive, which proves nothing.
            Class::Indication => Ok(()),
            Class::Success | Class::Failure => {
                let Some(checker) = &mut self.checker else {
                    return Err(Error::Stun("an answer to nothing"));
                };
                if !checker.answered(now, path, &message) {
                    return Err(Error::Stun("an answer to nothing"));
                }
                if message.class == Class::Success {
                    let nominated = checker.is_nominated(path);
                    (self.heard, self.fresh) = (now, false);
                    self.learn(now, path, nominated);
                }
                Ok(())
            }
        }
    }

    /// A genuine packet of the peer, other than a check, has come this way.
    pub fn hear(&mut self, now: Micros, path: Path) {
        if self.checker.is_none() {
            self.heard = now;
        }
        if let Some(known) = self.paths.iter_mut().find(|known| known.path == path) {
            known.heard = now;
        }
    }

    /// Whether the peer has proved its credentials over this way.
    pub fn is_valid(&self, path: Path) -> bool {
        self.paths.iter().any(|known| known.path == path)
    }

    /// The ways over which the peer has proved its credentials.
    pub fn paths(&self) -> impl Iterator<Item = Path> {
        self.paths.iter().map(|known| known.path)
    }

    /// The way to send.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// The way to send, if it is another one than at the last call.
    pub fn poll_selected(&mut self) -> Option<Path> {
        std::mem::take(&mut self.changed).then_some(self.selected).flatten()
    }

    /// The next answer.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.answers.pop_front()
    }

    /// When to call [`timeout`](Self::timeout).
    pub fn poll_timeout(&self) -> Option<Micros> {
        let due = self.checker.as_ref().and_then(Checker::due);
        Some(due.map_or(self.heard + self.options.timeout, |due| due.min(self.heard + self.options.timeout)))
    }

    /// Time has passed.
    ///
    /// Errors: [`Error::Timeout`] when the peer was silent too long.
    pub fn timeout(&mut self, now: Micros) -> Result<(), Error> {
        if let Some(checker) = &mut self.checker {
            let answers = &mut self.answers;
            checker.ask(now, |path, data| {
                if answers.len() < MAX_ANSWERS {
                    answers.push_back(Transmit { path, data });
                }
            });
        }
        if now - self.heard < self.options.timeout {
            return Ok(());
        }
        let awaited = match (self.fresh, &self.checker) {
            (true, None) => "connectivity check",
            (false, None) => "sign of life",
            (_, Some(_)) => "answer to our connectivity checks",
        };
        Err(Error::Timeout { awaited, seconds: self.options.timeout.millis() / 1000 })
    }

    fn check(&mut self, now: Micros, path: Path, message: &Message<'_>) -> Result<(), Error> {
        // RFC 8489 §9.1.3.
        let (Some(username), true) = (message.username, message.has_integrity()) else {
            self.refuse(path, message, 400, "Bad Request");
            return Err(Error::Credentials);
        };
        let proves = |(local, name): &mut (Credentials, String)| {
            username == name.as_bytes() && message.verify(local.password.as_bytes())
        };
        if let Some((local, name)) = self.next.take_if(proves) {
            (self.options.local, self.username, self.selected) = (local, name, None);
        }
        let password = self.options.local.password.as_bytes();
        if username != self.username.as_bytes() || !message.verify(password) {
            self.refuse(path, message, 401, "Unauthorized");
            return Err(Error::Credentials);
        }
        if !message.unknown.is_empty() {
            let answer = Writer::binding(Class::Failure, message.id).error(420, "Unknown Attribute");
            self.answer(path, answer.unknown(&message.unknown), true);
            return Err(Error::Stun("an attribute that must be understood and is not"));
        }
        // The roles are fixed, so a peer that believes in others has to change its mind (RFC 8445 §7.3.1.1).
        if self.checker.is_some() && matches!(message.role, Some(Role::Controlling(_))) {
            self.answer(path, Writer::binding(Class::Failure, message.id).error(487, "Role Conflict"), true);
            return Err(Error::Stun("the peer wants to control, too"));
        }
        let is_controlled = self.checker.is_none();
        if is_controlled && self.options.strict_role && matches!(message.role, Some(Role::Controlled(_))) {
            self.answer(path, Writer::binding(Class::Failure, message.id).error(487, "Role Conflict"), true);
            return Err(Error::Stun("the peer believes that we control"));
        }
        // A socket for both families shows IPv4 peers as mapped ones.
        let seen = SocketAddr::new(path.remote.ip().to_canonical(), path.remote.port());
        self.answer(path, Writer::binding(Class::Success, message.id).mapped(seen), true);
        match &mut self.checker {
            Some(checker) => {
                checker.trigger(now, path);
                // Who controls chooses by itself.
                let nominated = checker.is_nominated(path);
                self.learn(now, path, nominated);
            }
            None => {
                (self.heard, self.fresh) = (now, false);
                self.learn(now, path, message.use_candidate);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, path: Path, message: &Message<'_>, code: u16, reason: &str) {
        self.answer(path, Writer::binding(Class::Failure, message.id).error(code, reason), false);
    }

    fn answer(&mut self, path: Path, answer: Writer, signed: bool) {
        let password = signed.then_some(self.options.local.password.as_bytes());
        let data = answer.finish(password);
        if self.answers.len() >= MAX_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(Transmit { path, data });
    }

    /// A genuine check came this way. The peer chooses by nominating; a way that it nominates with every check, as aggressive
    /// peers do, is chosen at the first one only, or else all of them would take turns.
    fn learn(&mut self, now: Micros, path: Path, nominated: bool) {
        let newly_nominated = match self.paths.iter_mut().find(|known| known.path == path) {
            Some(known) => {
                known.heard = now;
                let before = std::mem::replace(&mut known.nominated, nominated);
                nominated && !before
            }
            None => {
                self.make_room();
                self.paths.push(Known { path, heard: now, nominated });
                nominated
            }
        };
        let current = self.selected.and_then(|path| self.paths.iter().find(|known| known.path == path));
        let silent = current.is_none_or(|current| now - current.heard >= SILENCE);
        if (newly_nominated || silent) && self.selected != Some(path) {
            self.selected = Some(path);
            self.changed = true;
        }
    }

    /// Forgets the way that has been silent longest.
    fn make_room(&mut self) {
        let others = self.paths.iter().enumerate().filter(|(_, known)| Some(known.path) != self.selected);
        let oldest = others.min_by_key(|(_, known)| known.heard).map(|(at, _)| at);
        if let (true, Some(oldest)) = (self.paths.len() >= MAX_PATHS, oldest) {
            self.paths.swap_remove(oldest);
        }
    }
}

/// Our user name in a connectivity check, by which the server finds the session; not yet to be believed.
pub fn local_ufrag(datagram: &[u8]) -> Option<String> {
    let message = Message::parse(datagram).ok().filter(|message| message.class == Class::Request)?;
    let name = std::str::from_utf8(message.username?).ok()?;
    name.split_once(':').map(|(ours, _)| ours.to_owned())
}

/// Lower-case letters and digits that nobody can guess, as many as that: for names and passwords.
///
/// Errors: [`Error::Random`].
pub fn random(length: usize) -> Result<String, Error> {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0; 64];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
        // Bytes beyond the last multiple of 36 would favour some characters.
        let fair = bytes.iter().filter(|byte| **byte < 252);
        let fair = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 36)).copied());
        text.extend(fair.take(length - text.len()).map(char::from));
    }
    Ok(text)
}

/// One of our addresses, as the peer is told it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// UDP, or TCP to be connected to.
    pub protocol: Protocol,
    /// An IP address or a name.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// Our addresses as SDP tells them (RFC 8839 §5.1, RFC 6544 §4.5): the first is preferred, and UDP before TCP.
pub fn described(candidates: &[Candidate]) -> Vec<rtp::sdp::Candidate> {
    let describe = |(n, candidate): (usize, &Candidate)| {
        let order = n.min(8191) as u32;
        let (transport, local_preference) = match candidate.protocol {
            Protocol::Udp => (Transport::Udp, 65_535 - order),
            // A passive host candidate has the direction preference 2 (RFC 6544 §4.2).
            Protocol::Tcp => (Transport::TcpPassive, (2 << 13) + 8191 - order),
        };
        rtp::sdp::Candidate {
            foundation: n.to_string(),
            component: 1,
            transport,
            priority: (126 << 24) + (local_preference << 8) + 255,
            address: candidate.address.clone(),
            port: candidate.port,
            kind: CandidateKind::Host,
        }
    };
    candidates.iter().enumerate().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "0123456789abcdef0123456789abcdef";

    fn path(port: u16) -> Path {
        Path {
            protocol: Protocol::Udp,
            local: "192.0.2.1:8000".parse().unwrap(),
            remote: ([198, 51, 100, 7], port).into(),
        }
    }

    fn agent() -> Agent {
        let local = Credentials { ufrag: "ours".into(), password: PASSWORD.into() };
        let options = Options {
            local,
            remote_ufrag: "theirs".into(),
            strict_role: true,
            timeout: Micros::from_secs(30),
            checks: None,
        };
        Agent::new(Micros::ZERO, options)
    }

    fn check(nominated: bool) -> Vec<u8> {
        let writer = Writer::binding(Class::Request, [3; 12])
            .username(b"ours:theirs")
            .role(Role::Controlling(1))
            .priority(5);
        if nominated { writer.use_candidate() } else { writer }.finish(Some(PASSWORD.as_bytes()))
    }

    fn answer(agent: &mut Agent) -> (Path, Class, Option<u16>, Option<std::net::SocketAddr>, bool) {
        let transmit = agent.poll_transmit().unwrap();
        let message = Message::parse(&transmit.data).unwrap();
        assert_eq!(message.id, [3; 12]);
        (transmit.path, message.class, message.error, message.mapped, message.verify(PASSWORD.as_bytes()))
    }

    #[test]
    fn random_text_is_as_long_as_asked() {
        let texts: Vec<_> = (0..50).map(|_| random(32).unwrap()).collect();
        assert!(texts.iter().all(|t| t.len() == 32 && t.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert!(texts.iter().all(|t| texts.iter().filter(|other| *other == t).count() == 1));
        assert_eq!(random(9).unwrap().len(), 9);
    }

    #[test]
    fn answers_with_what_it_saw() {
        let mut agent = agent();
        assert_eq!(agent.receive(Micros(1), path(1), &check(false)), Ok(()));
        assert_eq!(answer(&mut agent), (path(1), Class::Success, None, Some(path(1).remote), true));
        assert_eq!(agent.poll_selected(), Some(path(1)));
        assert_eq!(agent.poll_selected(), None);
        assert!(agent.is_valid(path(1)) && !agent.is_valid(path(2)));
    }

    #[test]
    fn refuses_strangers() {
        let binding = || Writer::binding(Class::Request, [3; 12]);
        let cases = [
            (binding().finish(None), 400),
            (binding().finish(Some(PASSWORD.as_bytes())), 400),
            (binding().username(b"ours:theirs").finish(None), 400),
            (binding().username(b"theirs:ours").finish(Some(PASSWORD.as_bytes())), 401),
            (binding().username(b"ours:theirs").finish(Some(b"guess")), 401),
        ];
        for (datagram, code) in cases {
            let mut agent = agent();
            assert_eq!(agent.receive(Micros(1), path(1), &datagram), Err(Error::Credentials));
            assert_eq!(answer(&mut agent), (path(1), Class::Failure, Some(code), None, false));
            assert_eq!((agent.selected(), agent.is_valid(path(1))), (None, false));
        }
    }

    #[test]
    fn tells_a_controlled_peer_to_control() {
        let datagram = Writer::binding(Class::Request, [3; 12])
            .username(b"ours:theirs")
            .role(Role::Controlled(1))
            .finish(Some(PASSWORD.as_bytes()));
        let mut agent = agent();
        assert!(agent.receive(Micros(1), path(1), &datagram).is_err());
        assert_eq!(answer(&mut agent), (path(1), Class::Failure, Some(487), None, true));
        agent.options.strict_role = false;
        assert_eq!(agent.receive(Micros(1), path(1), &datagram), Ok(()));
        assert_eq!(answer(&mut agent).1, Class::Success);
    }

    #[test]
    fn follows_the_nomination() {
        let mut agent = agent();
        for (time, port, nominated, selected) in [
            (0, 1, false, 1),
            (1, 2, false, 1),
            (2, 2, true, 2),
            // Aggressive nomination of both: the newer one stays.
            (3, 1, true, 1),
            (4, 2, true, 1),
            (5, 1, true, 1),
            // A way that was given up is taken up again.
            (6, 2, false, 1),
            (7, 2, true, 2),
            // A new address after silence of the old one, without nomination.
            (9, 3, false, 2),
            (13, 3, false, 3),
        ] {
            agent.receive(Micros::from_secs(time), path(port), &check(nominated)).unwrap();
            if (time, port, nominated) == (6, 2, false) {
                agent.paths.iter().for_each(|known| assert!(known.path != path(2) || !known.nominated));
            }
            assert_eq!(agent.selected(), Some(path(selected)), "at {time} s");
        }
    }

    #[test]
    fn starts_again_when_the_peer_proves_it() {
        let mut agent = agent();
        agent.receive(Micros(1), path(1), &check(true)).unwrap();
        assert_eq!(agent.poll_selected(), Some(path(1)));
        let local = Credentials { ufrag: "anew".into(), password: "fedcba9876543210fedcba9876543210".into() };
        agent.restart(local.clone(), "them");
        let again = |name: &[u8], password: &str| {
            let check = Writer::binding(Class::Request, [3; 12]).username(name).role(Role::Controlling(1));
            check.finish(Some(password.as_bytes()))
        };
        // Neither the new name with the old password, nor the other way round.
        assert!(agent.receive(Micros(2), path(2), &again(b"anew:them", PASSWORD)).is_err());
        assert!(agent.receive(Micros(2), path(2), &again(b"ours:theirs", &local.password)).is_err());
        assert_eq!(agent.receive(Micros(3), path(1), &check(true)), Ok(()), "the old start counts still");
        assert_eq!((agent.selected(), agent.poll_selected()), (Some(path(1)), None));
        agent.answers.clear();

        assert_eq!(agent.receive(Micros(4), path(2), &again(b"anew:them", &local.password)), Ok(()));
        assert!(
            Message::parse(&agent.poll_transmit().unwrap().data).unwrap().verify(local.password.as_bytes())
        );
        assert_eq!(agent.poll_selected(), Some(path(2)), "without a nomination");
        assert!(agent.is_valid(path(1)), "media may be on its way there");
        assert!(agent.receive(Micros(5), path(1), &check(true)).is_err(), "the old start is over");
    }

    #[test]
    fn silence_ends_it() {
        let mut agent = agent();
        assert_eq!(agent.poll_timeout(), Some(Micros::from_secs(30)));
        agent.receive(Micros::from_secs(10), path(1), &check(true)).unwrap();
        agent.hear(Micros::from_secs(20), path(1));
        assert_eq!(agent.timeout(Micros::from_secs(49)), Ok(()));
        let error = Error::Timeout { awaited: "sign of life", seconds: 30 };
        assert_eq!(agent.timeout(Micros::from_secs(50)), Err(error));
    }

    #[test]
    fn paths_and_answers_are_bounded() {
        let mut agent = agent();
        for port in 1..100 {
            agent.receive(Micros(i64::from(port)), path(port), &check(port == 1)).unwrap();
        }
        assert_eq!((agent.paths.len(), agent.answers.len()), (MAX_PATHS, MAX_ANSWERS));
        assert_eq!(agent.selected(), Some(path(1)));
        assert!(agent.is_valid(path(1)) && agent.is_valid(path(99)));
    }

    #[test]
    fn finds_the_session_of_a_check() {
        assert_eq!(local_ufrag(&check(true)), Some("ours".into()));
        assert_eq!(local_ufrag(b"GET / HTTP/1.1"), None);
    }

    #[test]
    fn describes_candidates() {
        let candidate = |protocol, address: &str, port| Candidate { protocol, address: address.into(), port };
        let described = described(&[
            candidate(Protocol::Udp, "192.0.2.1", 8000),
            candidate(Protocol::Tcp, "media.example.com", 8001),
        ]);
        assert_eq!(
            described.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "0 1 udp 2130706431 192.0.2.1 8000 typ host generation 0",
                "1 1 tcp 2120220415 media.example.com 8001 typ host tcptype passive",
            ]
        );
    }
}
