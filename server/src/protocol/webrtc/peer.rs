//! One peer on its core: its transport, and what it is there for. Datagrams come in from the floor; what is to be sent goes into the
//! floor's batch or to the peer's TCP connection.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use media::Micros;
use rtc::session::Event;
use rtc::{Path, Protocol};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::floor::Floor;
use super::lobby::{Guest, Restart, Role};
use super::player::Player;
use super::publisher::Publisher;
use crate::log;
use crate::net::udp::Batch;
use crate::session::Session;

/// Where datagrams for the peer of a TCP connection are queued, already framed.
pub type Line = mpsc::Sender<Bytes>;

/// See the module.
pub struct Peer {
    /// Its place among the peers of the core.
    pub slot: Cell<usize>,
    /// Our first user name.
    pub ufrag: String,
    /// Those since.
    later: RefCell<Vec<String>>,
    /// Its name, its counters and its kick.
    pub session: Arc<Session>,
    state: RefCell<State>,
}

struct State {
    transport: Transport,
    /// None when it is over.
    part: Option<Part>,
}

/// What it is there for.
enum Part {
    Player(Box<Player>),
    Publisher(Box<Publisher>),
}

/// The protected way to a peer.
pub struct Transport {
    /// ICE, DTLS and SRTP.
    pub rtc: rtc::Session,
    lines: Vec<(SocketAddr, Line)>,
    session: Arc<Session>,
}

impl Transport {
    /// Lays out one datagram of media for the peer: `write` appends a packet, of RTP or (`control`) of RTCP, which is protected
    /// then. Without a path it is lost.
    pub fn send(&mut self, batch: &mut Batch, control: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(path) = self.rtc.path() else { return };
        let rtc = &mut self.rtc;
        let mut sent = 0;
        match path.protocol {
            Protocol::Udp => {
                batch.push(path.remote, Some(path.local.ip()), |out| sent = rtc.lay_out(out, control, write));
            }
            Protocol::Tcp => {
                let mut packet = Vec::new();
                sent = rtc.lay_out(&mut packet, control, write);
                if sent > 0 {
                    self.frame(path.remote, &packet);
                }
            }
        }
        self.session.counters.add_sent(sent as u64);
    }

    /// Sends what the transport itself has to say.
    fn flush(&mut self, batch: &mut Batch) {
        while let Some(transmit) = self.rtc.poll_transmit() {
            self.session.counters.add_sent(transmit.data.len() as u64);
            let Path { protocol, local, remote } = transmit.path;
            match protocol {
                Protocol::Udp => batch.push(remote, Some(local.ip()), |out| out.extend(&transmit.data)),
                Protocol::Tcp => self.frame(remote, &transmit.data),
            }
        }
    }

    /// A connection that does not keep up loses packets, as a network does.
    fn frame(&self, remote: SocketAddr, packet: &[u8]) {
        let line = self.lines.iter().find(|(known, _)| *known == remote);
        let (Some((_, line)), Ok(header)) = (line, rtc::frame::header(packet.len())) else { return };
        let mut framed = BytesMut::with_capacity(header.len() + packet.len());
        framed.put_slice(&header);
        framed.put_slice(packet);
        if line.try_send(framed.freeze()).is_err() {
            self.session.counters.add_skipped(1);
        }
    }
}

/// What is at hand while a peer works.
pub struct At<'a> {
    /// The core's part of WebRTC.
    pub floor: &'a Rc<Floor>,
    /// The peer itself.
    pub peer: &'a Rc<Peer>,
    /// The time on the core's clock.
    pub now: Micros,
    /// The same time since 1970.
    pub unix: Micros,
}

impl Peer {
    /// A guest that has come.
    pub fn new(guest: Guest, now: Micros) -> Rc<Self> {
        let Guest { session, options, role, restart } = guest;
        let ufrag = options.ice.local.ufrag.clone();
        let part = match role {
            Role::Player { playing, sections } => Part::Player(Box::new(Player::new(*playing, &sections))),
            Role::Publisher { agreement, publishing, sections } => {
                Part::Publisher(Box::new(Publisher::new(agreement, *publishing, sections)))
            }
        };
        let mut rtc = rtc::Session::new(now, options);
        let later = restart.iter().map(|restart| restart.local.ufrag.clone()).collect();
        if let Some(Restart { local, remote_ufrag }) = restart {
            rtc.restart(local, &remote_ufrag);
        }
        let transport = Transport { rtc, lines: Vec::new(), session: session.clone() };
        let state = RefCell::new(State { transport, part: Some(part) });
        Rc::new(Self { slot: Cell::default(), ufrag, later: RefCell::new(later), session, state })
    }

    /// All names of ours by which its checks may call it.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(self.ufrag.clone()).chain(self.later.borrow().iter().cloned()).collect()
    }

    /// ICE starts again.
    pub fn restart(self: &Rc<Self>, floor: &Rc<Floor>, restart: &Restart) {
        self.later.borrow_mut().push(restart.local.ufrag.clone());
        self.with(floor, |state, _| {
            info!("ICE starts again");
            state.transport.rtc.restart(restart.local.clone(), &restart.remote_ufrag);
        });
    }

    /// A datagram of this peer.
    pub fn receive(self: &Rc<Self>, floor: &Rc<Floor>, path: Path, line: Option<&Line>, datagram: &[u8]) {
        self.session.counters.add_received(datagram.len() as u64);
        self.with(floor, |state, at| {
            let transport = &mut state.transport;
            if let Some(line) = line
                && !transport.lines.iter().any(|(known, _)| *known == path.remote)
            {
                transport.lines.retain(|(_, line)| !line.is_closed());
                transport.lines.push((path.remote, line.clone()));
            }
            transport.rtc.receive(at.now, path, datagram);
        });
    }

    /// A TCP connection of the peer has ended.
    pub fn lose(self: &Rc<Self>, floor: &Rc<Floor>, remote: SocketAddr) {
        self.with(floor, |state, _| {
            state.transport.lines.retain(|(known, _)| *known != remote);
            let path = state.transport.rtc.path();
            if path.is_some_and(|path| path.protocol == Protocol::Tcp && path.remote == remote) {
                info!("the TCP connection has ended");
                state.transport.rtc.close();
            }
        });
    }

    /// Time has passed.
    pub fn timeout(self: &Rc<Self>, floor: &Rc<Floor>) {
        self.with(floor, |state, at| state.transport.rtc.timeout(at.now));
    }

    /// Ends it for this reason.
    pub fn end(self: &Rc<Self>, floor: &Rc<Floor>, reason: &str) {
        self.with(floor, |state, _| {
            info!("closed: {reason}");
            state.transport.rtc.close();
        });
    }

    /// The ways over which it has proved itself.
    pub fn paths(&self) -> Vec<Path> {
        self.state.borrow().transport.rtc.paths().collect()
    }

    /// Has the player work, if it is one and media may flow.
    pub fn play(&self, work: impl FnOnce(&mut Player, &mut Transport)) {
        let State { transport, part, .. } = &mut *self.state.borrow_mut();
        if let (Some(Part::Player(player)), true) = (part, transport.rtc.is_connected()) {
            work(player, transport);
        }
    }

    /// Changes it, and sees to all that follows from the change.
    fn with(self: &Rc<Self>, floor: &Rc<Floor>, change: impl FnOnce(&mut State, &At<'_>)) {
        let _entered = log::span(self.session.cid).entered();
        let at = At { floor, peer: self, now: floor.now(), unix: floor.unix() };
        let (due, part) = {
            let state = &mut *self.state.borrow_mut();
            if state.part.is_none() {
                return;
            }
            change(state, &at);
            let batch = &mut *floor.batch.borrow_mut();
            let over = state.work(&at, batch);
            state.transport.flush(batch);
            if batch.is_full() {
                floor.send(batch);
            }
            (state.due(), state.part.take_if(|_| over))
        };
        match part {
            Some(part) => {
                floor.leave(self);
                drop(part);
            }
            None => floor.wake_at(self, due),
        }
    }
}

impl State {
    /// Goes on with what has happened; `true` when it is over.
    fn work(&mut self, at: &At<'_>, batch: &mut Batch) -> bool {
        let Some(part) = &mut self.part else { return true };
        while let Some(event) = self.transport.rtc.poll_event() {
            match (event, &mut *part) {
                (Event::Connected, part) => {
                    let path = self.transport.rtc.path();
                    if let Some(Path { protocol, remote, .. }) = path {
                        info!("connected over {protocol:?}, peer={remote}");
                    }
                    match part {
                        Part::Player(player) => player.start(at),
                        Part::Publisher(publisher) => publisher.start(at),
                    }
                }
                (Event::AddressChanged(path), _) => info!("the peer has moved to {}", path.remote),
                (Event::Rtp(packet), Part::Publisher(publisher)) => {
                    at.floor.copy(&packet, batch);
                    publisher.receive(at, packet);
                }
                (Event::Rtp(_), Part::Player(_)) => {}
                (Event::Rtcp(packet), Part::Player(player)) => {
                    at.floor.copy(&packet, batch);
                    player.control(at, &packet, &mut self.transport, batch);
                }
                (Event::Rtcp(packet), Part::Publisher(publisher)) => {
                    at.floor.copy(&packet, batch);
                    publisher.control(at, &packet);
                }
                (Event::Closed(error), _) => {
                    match error {
                        rtc::Error::Closed => info!("the session has ended"),
                        rtc::Error::ClosedByPeer => info!("the session has ended: the peer left"),
                        error => warn!("the session has ended: {error}, peer={}", at.peer.session.peer),
                    }
                    let refused = self.transport.rtc.refused();
                    if !refused.is_nothing() {
                        info!("refused meanwhile: {refused}, peer={}", at.peer.session.peer);
                    }
                    return true;
                }
            }
        }
        if self.transport.rtc.is_connected() {
            match part {
                Part::Player(player) => player.report(at, &mut self.transport, batch),
                Part::Publisher(publisher) => publisher.work(at, &mut self.transport, batch),
            }
        }
        false
    }

    /// When it wants to be called without another datagram.
    fn due(&self) -> Option<Micros> {
        let part = match self.part.as_ref()? {
            Part::Player(player) => player.due(),
            Part::Publisher(publisher) => publisher.due(),
        };
        self.transport.rtc.poll_timeout().into_iter().chain(part).min()
    }
}
