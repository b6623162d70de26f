//! One core's part of WebRTC: its socket of the port that all cores share, its peers, and their deadlines. A datagram of a peer that another
//! core has is handed over to that core.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use media::Micros;
use rtc::session::Kind;
use rtc::{Path, Protocol};
use slab::Slab;
use tokio::sync::{Notify, mpsc, watch};
use tracing::{Instrument, debug, error};

use super::Service;
use super::lobby::{Found, Restart};
use super::peer::{Line, Peer};
use crate::breaker::Level;
use crate::log;
use crate::net::Core;
use crate::net::udp::{Batch, Socket};

/// What one core tells another.
pub enum Message {
    /// A datagram of a peer of yours came to me.
    Datagram {
        /// How it came.
        path: Path,
        /// The way back, if it came over TCP.
        line: Option<Line>,
        /// What came.
        data: Bytes,
        /// The core to which it came.
        from: usize,
    },
    /// A peer of the other core, which gets this, has proved itself over this way.
    Proved {
        /// How its datagrams come.
        key: (Protocol, SocketAddr),
        /// The core that has the peer.
        core: usize,
    },
    /// ICE of a peer of yours starts again.
    Restart {
        /// Its first name.
        ufrag: String,
        /// With what.
        restart: Restart,
    },
    /// A TCP connection of a peer of yours has ended.
    Lost(SocketAddr),
}

/// Messages that wait for a core; more are lost, as in a network.
pub const INBOX: usize = 4096;

/// Addresses of peers of other cores that are remembered at most.
const MAX_STRANGERS: usize = 65_536;

/// See the module.
pub struct Floor {
    /// The core.
    pub core: Rc<Core>,
    /// What is to be sent.
    pub batch: RefCell<Batch>,
    service: Arc<Service>,
    socket: Socket,
    port: u16,
    peers: RefCell<Slab<Rc<Peer>>>,
    /// Peers of this core by our user name.
    names: RefCell<HashMap<String, Rc<Peer>>>,
    /// Peers by their address: a check has proved those of this core, those of others are a guess.
    ways: RefCell<HashMap<(Protocol, SocketAddr), Way>>,
    strangers: Cell<usize>,
    agenda: RefCell<Agenda>,
    /// Set when the port is closed.
    over: watch::Sender<bool>,
    /// The time since 1970 when the core's clock was zero.
    epoch: Micros,
}

enum Way {
    Here(Rc<Peer>),
    Core(usize),
}

/// When which peer wants to be called.
#[derive(Default)]
struct Agenda {
    due: HashMap<usize, Micros>,
    order: BTreeSet<(Micros, usize)>,
    changed: Rc<Notify>,
}

impl Floor {
    /// This core's part; serves until the core stops.
    pub fn open(
        core: Rc<Core>,
        service: Arc<Service>,
        socket: UdpSocket,
        inbox: mpsc::Receiver<Message>,
    ) -> io::Result<Rc<Self>> {
        let socket = Socket::new(socket)?;
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let floor = Rc::new(Self {
            epoch: Micros(i64::try_from(unix.as_micros()).unwrap_or_default()) - core.now(),
            port: socket.address().port(),
            core,
            batch: RefCell::default(),
            service,
            socket,
            peers: RefCell::default(),
            names: RefCell::default(),
            ways: RefCell::default(),
            strangers: Cell::default(),
            agenda: RefCell::default(),
            over: watch::Sender::new(false),
        });
        let mut over = floor.over.subscribe();
        let work = [
            tokio::task::spawn_local(floor.clone().run_socket()),
            tokio::task::spawn_local(floor.clone().run_inbox(inbox)),
            tokio::task::spawn_local(floor.clone().run_agenda()),
        ];
        tokio::task::spawn_local(async move {
            let _ = over.wait_for(|over| *over).await;
            work.iter().for_each(tokio::task::JoinHandle::abort);
        });
        Ok(floor)
    }

    /// Closes the port once the last session that was answered with it is over: new ones have another.
    pub fn retire(self: &Rc<Self>) {
        let floor = self.clone();
        tokio::task::spawn_local(async move {
            while !floor.service.lobby.is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            floor.over.send_replace(true);
        });
    }

    /// The time on the core's clock.
    pub fn now(&self) -> Micros {
        self.core.now()
    }

    /// The time since 1970.
    pub fn unix(&self) -> Micros {
        self.epoch + self.now()
    }

    /// How overloaded the server is.
    pub fn overload(&self) -> Level {
        self.service.breaker.level()
    }

    /// Sends what is in the batch.
    pub fn send(&self, batch: &mut Batch) {
        batch.flush(&self.socket);
    }

    /// The same, of the floor's own batch.
    pub fn flush(&self) {
        self.send(&mut self.batch.borrow_mut());
    }

    /// Copies an opened packet to the black hole, if there is one.
    pub fn copy(&self, packet: &[u8], batch: &mut Batch) {
        if let Some(to) = self.service.black_hole {
            batch.push(to, None, |out| out.extend_from_slice(packet));
        }
    }

    async fn run_socket(self: Rc<Self>) {
        loop {
            let received = poll_fn(|cx| {
                self.socket.poll_receive(cx, |datagram| {
                    let ip = datagram.local.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                    let local = SocketAddr::new(ip, self.port);
                    let path = Path { protocol: Protocol::Udp, local, remote: datagram.peer };
                    self.receive(path, None, datagram.data);
                })
            });
            if let Err(e) = received.await {
                error!("WebRTC socket: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            self.flush();
            tokio::task::yield_now().await;
        }
    }

    async fn run_inbox(self: Rc<Self>, mut inbox: mpsc::Receiver<Message>) {
        while let Some(message) = inbox.recv().await {
            self.hear(message);
            while let Ok(message) = inbox.try_recv() {
                self.hear(message);
            }
            self.flush();
        }
    }

    fn hear(self: &Rc<Self>, message: Message) {
        match message {
            Message::Datagram { path, line, data, from } => {
                let Some(peer) = self.peer_of(path, &data) else { return };
                self.serve(&peer, path, line.as_ref(), &data);
                if Kind::of(&data) == Some(Kind::Stun) && peer.paths().contains(&path) {
                    let key = (path.protocol, path.remote);
                    self.service.tell(from, Message::Proved { key, core: self.core.index });
                }
            }
            Message::Proved { key, core } => self.remember(key, core),
            Message::Restart { ufrag, restart } => {
                let peer = self.names.borrow().get(&ufrag).cloned();
                if let Some(peer) = peer {
                    peer.restart(self, &restart);
                    self.names.borrow_mut().insert(restart.local.ufrag, peer);
                }
            }
            Message::Lost(remote) => self.lose(remote),
        }
    }

    async fn run_agenda(self: Rc<Self>) {
        let changed = self.agenda.borrow().changed.clone();
        loop {
            let now = self.now();
            let due: Vec<_> =
                self.agenda.borrow().order.range(..=(now, usize::MAX)).map(|(_, slot)| *slot).collect();
            for slot in due {
                self.agenda.borrow_mut().set(slot, None);
                let peer = self.peers.borrow().get(slot).cloned();
                if let Some(peer) = peer {
                    peer.timeout(&self);
                }
            }
            self.flush();
            let next = self.agenda.borrow().order.first().map(|(time, _)| *time);
            // Some milliseconds more or less do not matter, fewer wake-ups do.
            let pause = next.map_or(1_000_000, |next| (next - self.now()).0.clamp(2_000, 1_000_000));
            tokio::select! {
                () = tokio::time::sleep(Duration::from_micros(pause.unsigned_abs())) => {}
                () = changed.notified() => {}
            }
        }
    }

    /// Has a peer called at `due`.
    pub fn wake_at(&self, peer: &Peer, due: Option<Micros>) {
        self.agenda.borrow_mut().set(peer.slot.get(), due);
    }

    /// A datagram came this way.
    pub fn receive(self: &Rc<Self>, path: Path, line: Option<&Line>, datagram: &[u8]) {
        match self.find(path, datagram) {
            Some(Way::Here(peer)) => self.serve(&peer, path, line, datagram),
            Some(Way::Core(core)) => {
                let data = Bytes::copy_from_slice(datagram);
                let (line, from) = (line.cloned(), self.core.index);
                self.service.tell(core, Message::Datagram { path, line, data, from });
            }
            None => debug!("a datagram of nobody known, peer={}", path.remote),
        }
    }

    /// A TCP connection has ended.
    pub fn lose(self: &Rc<Self>, remote: SocketAddr) {
        let way = self.ways.borrow_mut().remove(&(Protocol::Tcp, remote));
        match way {
            Some(Way::Here(peer)) => peer.lose(self, remote),
            Some(Way::Core(core)) => {
                self.strangers.set(self.strangers.get() - 1);
                self.service.tell(core, Message::Lost(remote));
            }
            None => {}
        }
        self.flush();
    }

    /// Whose datagram it is. A check names its session; everything else is known by its address.
    fn find(self: &Rc<Self>, path: Path, datagram: &[u8]) -> Option<Way> {
        let key = (path.protocol, path.remote);
        if Kind::of(datagram) != Some(Kind::Stun) {
            return self.ways.borrow().get(&key).map(Way::copy);
        }
        let ufrag = rtc::ice::local_ufrag(datagram)?;
        if let Some(peer) = self.names.borrow().get(&ufrag) {
            return Some(Way::Here(peer.clone()));
        }
        match self.service.lobby.find(&ufrag, self.core.index)? {
            Found::Yours(guest) => {
                let peer = Peer::new(*guest, self.now());
                self.enter(peer.clone());
                Some(Way::Here(peer))
            }
            // Where the peer's other datagrams belong is believed when that core has seen a proof.
            Found::Core(core) => Some(Way::Core(core)),
        }
    }

    /// The peer of a datagram that was handed over.
    fn peer_of(&self, path: Path, datagram: &[u8]) -> Option<Rc<Peer>> {
        if Kind::of(datagram) == Some(Kind::Stun) {
            return self.names.borrow().get(&rtc::ice::local_ufrag(datagram)?).cloned();
        }
        match self.ways.borrow().get(&(path.protocol, path.remote))? {
            Way::Here(peer) => Some(peer.clone()),
            Way::Core(_) => None,
        }
    }

    fn remember(&self, key: (Protocol, SocketAddr), core: usize) {
        let mut ways = self.ways.borrow_mut();
        if self.strangers.get() >= MAX_STRANGERS {
            ways.retain(|_, way| matches!(way, Way::Here(_)));
            self.strangers.set(0);
        }
        match ways.insert(key, Way::Core(core)) {
            Some(Way::Core(_)) => {}
            _ => self.strangers.set(self.strangers.get() + 1),
        }
    }

    fn enter(self: &Rc<Self>, peer: Rc<Peer>) {
        let slot = self.peers.borrow_mut().insert(peer.clone());
        peer.slot.set(slot);
        for name in peer.names() {
            self.names.borrow_mut().insert(name, peer.clone());
        }
        let (floor, span) = (self.clone(), log::span(peer.session.cid));
        let kick = async move {
            let reason = peer.session.kicked().await;
            peer.end(&floor, &reason);
            floor.flush();
        };
        tokio::task::spawn_local(kick.instrument(span));
    }

    fn serve(self: &Rc<Self>, peer: &Rc<Peer>, path: Path, line: Option<&Line>, datagram: &[u8]) {
        peer.receive(self, path, line, datagram);
        if Kind::of(datagram) == Some(Kind::Stun) {
            let mut ways = self.ways.borrow_mut();
            for path in peer.paths() {
                if let Some(Way::Core(_)) = ways.insert((path.protocol, path.remote), Way::Here(peer.clone()))
                {
                    self.strangers.set(self.strangers.get() - 1);
                }
            }
        }
    }

    /// A peer is over.
    pub fn leave(&self, peer: &Rc<Peer>) {
        let slot = peer.slot.get();
        self.agenda.borrow_mut().set(slot, None);
        for name in peer.names() {
            self.names.borrow_mut().remove(&name);
        }
        self.ways.borrow_mut().retain(|_, way| !matches!(way, Way::Here(known) if Rc::ptr_eq(known, peer)));
        if self.peers.borrow().get(slot).is_some_and(|known| Rc::ptr_eq(known, peer)) {
            self.peers.borrow_mut().remove(slot);
        }
        self.service.lobby.leave(&peer.ufrag);
        // Ends the task that waits for it.
        peer.session.kick("the session is over");
    }
}

impl Way {
    fn copy(&self) -> Self {
        match self {
            Self::Here(peer) => Self::Here(peer.clone()),
            Self::Core(core) => Self::Core(*core),
        }
    }
}

impl Agenda {
    fn set(&mut self, slot: usize, due: Option<Micros>) {
        let before = match due {
            Some(due) => self.due.insert(slot, due),
            None => self.due.remove(&slot),
        };
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, slot));
        }
        if let Some(due) = due {
            self.order.insert((due, slot));
            if self.order.first() == Some(&(due, slot)) {
                self.changed.notify_one();
            }
        }
    }
}
