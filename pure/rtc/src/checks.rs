//! The checks of a side that controls (RFC 8445 §7): each of the peer's addresses is asked until one answers, that one is nominated, and asked again and again to
//! see that it still wants to be sent to (RFC 7675).
//!
//! Which of the ways is used is decided by [`crate::ice`], which this is a part of.

use std::net::SocketAddr;

use media::Micros;

use crate::ice::{Credentials, MAX_PATHS};
use crate::stun::{Class, Message, Role, Writer};
use crate::{Path, Protocol};

/// A check that is not answered is sent again after this, and then ever more seldom.
const FIRST: Micros = Micros::from_millis(50);
const LONGEST: Micros = Micros::from_millis(1600);
/// How often the way that is used is asked.
const CONSENT: Micros = Micros::from_millis(2500);
/// Of each way, so many questions may be answered late.
const OPEN: usize = 8;
/// Priority of a peer-reflexive candidate of component 1 (RFC 8445 §5.1.2.1).
const PRIORITY: u32 = (110 << 24) + (65_535 << 8) + 255;

/// What is needed to send checks.
#[derive(Clone, Debug)]
pub struct Checks {
    /// The peer's, as SDP tells them.
    pub remote: Credentials,
    /// The socket's own address.
    pub local: SocketAddr,
    /// The peer's addresses, the preferred first; those beyond [`MAX_PATHS`] are not asked.
    pub candidates: Vec<SocketAddr>,
    /// Random: decides who controls if both want to, and names questions.
    pub tie_breaker: u64,
}

/// The checks of one session.
#[derive(Debug)]
pub(crate) struct Checker {
    options: Checks,
    username: String,
    ways: Vec<Way>,
    asked: u32,
    nominated: Option<Path>,
}

/// One address of the peer.
#[derive(Debug)]
struct Way {
    path: Path,
    due: Micros,
    pause: Micros,
    /// Questions that may still be answered, and whether they nominate.
    open: Vec<([u8; 12], bool)>,
}

impl Way {
    fn new(path: Path, due: Micros) -> Self {
        Self { path, due, pause: FIRST, open: Vec::new() }
    }
}

impl Checker {
    pub(crate) fn new(now: Micros, options: Checks, local_ufrag: &str) -> Self {
        let username = format!("{}:{local_ufrag}", options.remote.ufrag);
        let way = |(n, &remote): (usize, &SocketAddr)| {
            let path = Path { protocol: Protocol::Udp, local: options.local, remote };
            // One after the other (RFC 8445 §14.2).
            Way::new(path, now + Micros::from_millis(20 * n as i64))
        };
        let ways = options.candidates.iter().take(MAX_PATHS).enumerate().map(way).collect();
        Self { options, username, ways, asked: 0, nominated: None }
    }

    /// When the next question is due.
    pub(crate) fn due(&self) -> Option<Micros> {
        self.ways.iter().filter(|way| self.is_asked(way)).map(|way| way.due).min()
    }

    /// Questions that are due.
    pub(crate) fn ask(&mut self, now: Micros, mut send: impl FnMut(Path, Vec<u8>)) {
        let Self { options, username, ways, asked, nominated } = self;
        for way in ways.iter_mut().filter(|way| way.due <= now) {
            let nominates = *nominated == Some(way.path);
            if nominated.is_some() && !nominates {
                continue;
            }
            *asked = asked.wrapping_add(1);
            let mut id = [0; 12];
            let (tie, number) = (options.tie_breaker.to_be_bytes(), asked.to_be_bytes());
            for (to, from) in id.iter_mut().zip(tie.into_iter().chain(number)) {
                *to = from;
            }
            let question = Writer::binding(Class::Request, id)
                .username(username.as_bytes())
                .role(Role::Controlling(options.tie_breaker))
                .priority(PRIORITY);
            let question = if nominates { question.use_candidate() } else { question };
            send(way.path, question.finish(Some(options.remote.password.as_bytes())));
            if way.open.len() >= OPEN {
                way.open.remove(0);
            }
            way.open.push((id, nominates));
            way.due = now + way.pause;
            way.pause = Micros((way.pause.0 * 2).min(LONGEST.0));
        }
    }

    /// An answer: whether it is genuine. The first way that answers is nominated.
    pub(crate) fn answered(&mut self, now: Micros, path: Path, answer: &Message<'_>) -> bool {
        let Some(way) = self.ways.iter_mut().find(|way| way.path == path) else { return false };
        let Some(at) = way.open.iter().position(|(id, _)| *id == answer.id) else { return false };
        if !answer.verify(self.options.remote.password.as_bytes()) {
            return false;
        }
        let (_, nominates) = way.open.swap_remove(at);
        if answer.class != Class::Success {
            // It is asked again in its turn; a peer that is not there yet may be there then.
            return true;
        }
        if nominates {
            (way.due, way.pause) = (now + CONSENT, FIRST);
        } else if self.nominated.is_none() {
            (way.due, way.pause) = (now, FIRST);
            self.nominated = Some(path);
        }
        true
    }

    /// This is the way that is used.
    pub(crate) fn is_nominated(&self, path: Path) -> bool {
        self.nominated == Some(path)
    }

    /// The peer has proved itself over this way: it is asked at once, also if SDP did not tell of it (RFC 8445 §7.3.1.4).
    pub(crate) fn trigger(&mut self, now: Micros, path: Path) {
        if self.nominated.is_some() {
            return;
        }
        let known = self.ways.len();
        match self.ways.iter_mut().find(|way| way.path == path) {
            // It has been asked, or is just about to be.
            Some(way) if !way.open.is_empty() => {}
            Some(way) => way.due = now,
            None if known < 2 * MAX_PATHS => self.ways.push(Way::new(path, now)),
            None => {}
        }
    }

    fn is_asked(&self, way: &Way) -> bool {
        self.nominated.is_none_or(|path| path == way.path)
    }
}
