//! One peer, from the server's side: STUN, DTLS, SRTP and SRTCP on one flow of datagrams (RFC 7983), put together.
//!
//! What is in the packets belongs to `rtp`; which tracks there are, to SDP. Media to players does not pass through queues here: the
//! player's loop calls [`Session::protect_rtp`] and sends to [`Session::path`] by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use media::Micros;

use crate::dtls::{self, Certificate, Connected, Dtls, Fingerprint, Role};
pub use crate::refused::Refused;
use crate::srtp::{self, Profile, Receiver, Sender};
use crate::{Error, Path, Transmit, ice, stun};

/// Packets that nobody fetches are dropped beyond this.
pub const MAX_EVENTS: usize = 1024;

/// How much of WebRTC's protection there is; less than all of it is for load tests and for looking at packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// DTLS and SRTP.
    Srtp,
    /// DTLS, and RTP in the clear.
    DtlsOnly,
    /// Neither.
    None,
}

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// User names, our password, how long the peer may be silent.
    pub ice: ice::Options,
    /// Who begins DTLS.
    pub role: Role,
    /// Ours.
    pub certificate: Arc<Certificate>,
    /// What SDP tells of the peer's certificate, see [`Fingerprint::vouch`]. Where there is none, any certificate is right.
    pub fingerprints: Vec<Fingerprint>,
    /// SRTP profiles, the preferred first.
    pub profiles: Vec<Profile>,
    /// How much is protected.
    pub protection: Protection,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Media may flow both ways.
    Connected,
    /// An RTP packet of the peer, opened.
    Rtp(Bytes),
    /// A compound RTCP packet of the peer, opened.
    Rtcp(Bytes),
    /// From now on, send over this path; told after [`Event::Connected`] only.
    AddressChanged(Path),
    /// It is over; send what waits, then forget it.
    Closed(Error),
}

/// What a datagram is, by its first bytes (RFC 7983 §7, RFC 5761 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connectivity check.
    Stun,
    /// A handshake.
    Dtls,
    /// Media.
    Rtp,
    /// Reports.
    Rtcp,
}

impl Kind {
    /// The kind of a datagram, if it is any.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        match datagram {
            [0..=3, ..] if stun::is_stun(datagram) => Some(Self::Stun),
            [20..=63, ..] if datagram.len() >= 13 => Some(Self::Dtls),
            [128..=191, 192..=223, ..] if datagram.len() >= 8 => Some(Self::Rtcp),
            [128..=191, ..] if datagram.len() >= 12 => Some(Self::Rtp),
            _ => None,
        }
    }
}

/// One peer.
pub struct Session {
    options: Options,
    agent: ice::Agent,
    /// There from the first proved path on, unless nothing is protected.
    dtls: Option<Box<dyn Dtls>>,
    stage: Stage,
    events: VecDeque<Event>,
    refused: Refused,
}

enum Stage {
    /// No path yet, or no keys yet.
    Opening,
    /// Media flows; without keys in the clear.
    Connected(Option<Box<(Sender, Receiver)>>),
    Closed,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { agent, refused, .. } = self;
        f.debug_struct("Session").field("agent", agent).field("refused", refused).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that waits for the peer's first check.
    pub fn new(now: Micros, options: Options) -> Self {
        Self {
            agent: ice::Agent::new(now, options.ice.clone()),
            options,
            dtls: None,
            stage: Stage::Opening,
            events: VecDeque::new(),
            refused: Refused::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Starts ICE again with these credentials of ours; the keys and the media stay. See [`ice::Agent::restart`].
    pub fn restart(&mut self, local: ice::Credentials, remote_ufrag: &str) {
        self.agent.restart(local, remote_ufrag);
    }

    /// Takes a datagram that came this way. What cannot be used is only counted, see [`refused`](Self::refused).
    pub fn receive(&mut self, now: Micros, path: Path, datagram: &[u8]) {
        if matches!(self.stage, Stage::Closed) {
            return;
        }
        let result = match Kind::of(datagram) {
            None => Err(Error::Stray("an unknown kind of datagram")),
            Some(Kind::Stun) => self.agent.receive(now, path, datagram),
            Some(_) if !self.agent.is_valid(path) => Err(Error::Stray("an unproved path")),
            Some(Kind::Dtls) => match &mut self.dtls {
                Some(dtls) => dtls.receive(now, datagram),
                None => Err(Error::Stray("DTLS in a session without")),
            },
            Some(kind) => self.packet(now, path, kind, datagram),
        };
        if let Err(error) = result {
            *match error {
                Error::Stun(_) | Error::Credentials => &mut self.refused.stun,
                Error::Dtls(_) => &mut self.refused.dtls,
                Error::Authentication => &mut self.refused.forged,
                Error::Replayed => &mut self.refused.replayed,
                _ => &mut self.refused.stray,
            } += 1;
        }
        self.advance(now);
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() && self.events.capacity() > 16 {
            // Thousands of players send hardly anything and keep no room for it.
            self.events = VecDeque::new();
        }
        event
    }

    /// The next datagram to send, other than media.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some(answer) = self.agent.poll_transmit() {
            return Some(answer);
        }
        let path = self.agent.selected()?;
        Some(Transmit { path, data: self.dtls.as_mut()?.poll_transmit()? })
    }

    /// When to call [`timeout`](Self::timeout). `None` once it is over.
    pub fn poll_timeout(&self) -> Option<Micros> {
        match self.stage {
            Stage::Closed => None,
            _ => {
                self.dtls.iter().filter_map(|dtls| dtls.poll_timeout()).chain(self.agent.poll_timeout()).min()
            }
        }
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Micros) {
        if let Err(error) = self.agent.timeout(now) {
            self.end(error);
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.timeout(now);
        }
        self.advance(now);
    }

    /// Where to send media.
    pub fn path(&self) -> Option<Path> {
        self.agent.selected()
    }

    /// The paths over which the peer has proved itself, by which the server finds this session.
    pub fn paths(&self) -> impl Iterator<Item = Path> {
        self.agent.paths()
    }

    /// Whether media may flow.
    pub fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Connected(_))
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// Datagrams that could not be used.
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// Protects an RTP packet in place, to be sent to [`path`](Self::path). Room for [`srtp::MAX_OVERHEAD`] more bytes spares an
    /// allocation. A packet sent again must be the same bytes again.
    ///
    /// Errors: [`Error::Keys`] while not connected, and those of [`Sender::protect_rtp`].
    pub fn protect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        self.protect_rtp_at(packet, 0)
    }

    /// Protects the RTP packet that begins at `start` and ends with the buffer; what stands before it is not touched.
    ///
    /// Errors: as of [`protect_rtp`](Self::protect_rtp); the buffer is as long as before.
    pub fn protect_rtp_at(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Connected(Some(keys)) => keys.0.protect_rtp_at(buffer, start),
            Stage::Connected(None) => Ok(()),
            _ => Err(Error::Keys),
        }
    }

    /// Appends a packet that `write` writes, of RTP or (`control`) a compound one of RTCP, and protects it. Says how many bytes that are; where it cannot be
    /// protected, the buffer stays as it was.
    pub fn lay_out(&mut self, out: &mut Vec<u8>, control: bool, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = out.len();
        let protected = if control {
            let mut packet = Vec::new();
            write(&mut packet);
            self.protect_rtcp(&mut packet).map(|()| out.extend_from_slice(&packet))
        } else {
            write(out);
            self.protect_rtp_at(out, start)
        };
        if protected.is_err() {
            out.truncate(start);
        }
        out.len() - start
    }

    /// Protects a compound RTCP packet in place.
    ///
    /// Errors: as of [`protect_rtp`](Self::protect_rtp).
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Connected(Some(keys)) => keys.0.protect_rtcp(packet),
            Stage::Connected(None) => Ok(()),
            _ => Err(Error::Keys),
        }
    }

    /// Says goodbye; a last datagram may wait to be sent.
    pub fn close(&mut self) {
        self.end(Error::Closed);
    }

    fn packet(&mut self, now: Micros, path: Path, kind: Kind, datagram: &[u8]) -> Result<(), Error> {
        let Stage::Connected(keys) = &mut self.stage else {
            return Err(Error::Stray("media before the session is connected"));
        };
        let mut packet = datagram.to_vec();
        match (kind, keys) {
            (Kind::Rtcp, Some(keys)) => keys.1.open_rtcp(&mut packet)?,
            (_, Some(keys)) => keys.1.open_rtp(&mut packet)?,
            (_, None) => {}
        }
        self.agent.hear(now, path);
        if self.events.len() >= MAX_EVENTS {
            self.refused.overflow += 1;
            return Ok(());
        }
        let packet = Bytes::from(packet);
        self.events.push_back(if kind == Kind::Rtcp { Event::Rtcp(packet) } else { Event::Rtp(packet) });
        Ok(())
    }

    /// Goes on as far as paths and keys allow.
    fn advance(&mut self, now: Micros) {
        if matches!(self.stage, Stage::Closed) {
            return;
        }
        if let Some(path) = self.agent.poll_selected() {
            if self.is_connected() {
                self.events.push_back(Event::AddressChanged(path));
            } else if self.options.protection == Protection::None {
                self.connect(None);
            } else if self.dtls.is_none() {
                let mut options = dtls::Options::new(self.options.role, self.options.certificate.clone());
                options.profiles.clone_from(&self.options.profiles);
                match dtls::start(now, options) {
                    Ok(dtls) => self.dtls = Some(dtls),
                    Err(error) => self.end(error),
                }
            }
        }
        while let Some(event) = self.dtls.as_mut().and_then(|dtls| dtls.poll_event()) {
            match event {
                dtls::Event::Connected(fruits) => match self.keys(&fruits) {
                    Ok(keys) => self.connect(keys),
                    Err(error) => self.end(error),
                },
                dtls::Event::Closed(error) => self.end(error),
            }
        }
    }

    fn keys(&self, fruits: &Connected) -> Result<Option<Box<(Sender, Receiver)>>, Error> {
        let told = &self.options.fingerprints;
        if !told.is_empty() && !Fingerprint::vouch(told, &fruits.certificate) {
            return Err(Error::Fingerprint);
        }
        if self.options.protection == Protection::DtlsOnly {
            return Ok(None);
        }
        let profile = fruits.profile.ok_or(Error::Dtls("no common SRTP profile"))?;
        let we_are_client = self.options.role == Role::Client;
        srtp::split(profile, &fruits.keying, we_are_client).map(|keys| Some(Box::new(keys)))
    }

    fn connect(&mut self, keys: Option<Box<(Sender, Receiver)>>) {
        self.stage = Stage::Connected(keys);
        self.events.push_back(Event::Connected);
    }

    fn end(&mut self, error: Error) {
        if !matches!(self.stage, Stage::Closed) {
            self.stage = Stage::Closed;
            if let Some(dtls) = &mut self.dtls {
                dtls.close();
            }
            self.events.push_back(Event::Closed(error));
        }
    }
}
