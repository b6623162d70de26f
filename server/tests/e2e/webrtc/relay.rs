//! A network between clients and the server, for UDP: it loses, delays, and gives clients another address in the middle as a NAT does.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What becomes of datagrams, either way.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    /// The share that is lost, of 1.
    pub loss: f64,
    /// How long they are on their way.
    pub delay: Duration,
    /// All of them arrive twice.
    pub twice: bool,
    /// Those of DTLS arrive as noise that begins as they did.
    pub spoilt: bool,
}

/// See the module. Ends when it is dropped.
pub struct Relay {
    /// Where clients send to.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    server: SocketAddr,
    weather: Weather,
    chance: fastrand::Rng,
    links: Vec<Link>,
    /// Addresses that clients have had: what comes there is lost without a word, as at a NAT.
    given_up: Vec<Arc<UdpSocket>>,
    on_the_way: VecDeque<Parcel>,
    lost: u32,
}

/// The way of one client.
struct Link {
    client: SocketAddr,
    /// Connected to the server.
    up: Arc<UdpSocket>,
}

struct Parcel {
    due: Instant,
    /// From where.
    socket: Arc<UdpSocket>,
    /// A connected socket needs no address.
    to: Option<SocketAddr>,
    data: Vec<u8>,
}

impl Relay {
    /// A relay to this port of the server. With the same seed, it throws the same dice.
    pub fn new(port: u16, weather: Weather, seed: u64) -> Self {
        let down = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        down.set_nonblocking(true).unwrap();
        let address = down.local_addr().unwrap();
        let state = State {
            server: (Ipv4Addr::LOCALHOST, port).into(),
            weather,
            chance: fastrand::Rng::with_seed(seed),
            links: Vec::new(),
            given_up: Vec::new(),
            on_the_way: VecDeque::new(),
            lost: 0,
        };
        let (state, over) = (Arc::new(Mutex::new(state)), Arc::<AtomicBool>::default());
        let (shared, end) = (state.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Relaxed) {
                let sockets = shared.lock().unwrap().sockets(&down);
                wait(&sockets, shared.lock().unwrap().pause());
                shared.lock().unwrap().work(&down);
            }
        });
        Self { address, state, over, thread: Some(thread) }
    }

    /// Every client comes from another port from now on.
    pub fn rebind(&self) {
        let state = &mut *self.lock();
        for link in &mut state.links {
            state.given_up.push(std::mem::replace(&mut link.up, uplink(state.server)));
        }
    }

    /// The server gets this as if each client had sent it.
    pub fn inject(&self, datagram: &[u8]) {
        for link in &self.lock().links {
            let _ = link.up.send(datagram);
        }
    }

    /// How many datagrams were lost.
    pub fn lost(&self) -> u32 {
        self.lock().lost
    }

    /// The address of its client, as the server sees it.
    pub fn outside(&self) -> SocketAddr {
        self.lock().links[0].up.local_addr().unwrap()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "the relay has panicked");
    }
}

impl State {
    fn sockets(&self, down: &Arc<UdpSocket>) -> Vec<Arc<UdpSocket>> {
        [down].into_iter().chain(self.links.iter().map(|link| &link.up)).cloned().collect()
    }

    /// Until the next parcel is due, or somebody may have changed something.
    fn pause(&self) -> Duration {
        let due = self.on_the_way.front().map(|parcel| parcel.due.saturating_duration_since(Instant::now()));
        due.unwrap_or(Duration::MAX).min(Duration::from_millis(5))
    }

    fn work(&mut self, down: &Arc<UdpSocket>) {
        let mut buffer = vec![0; 4000];
        while let Ok((length, client)) = down.recv_from(&mut buffer) {
            let at = self.links.iter().position(|link| link.client == client).unwrap_or_else(|| {
                self.links.push(Link { client, up: uplink(self.server) });
                self.links.len() - 1
            });
            let socket = self.links[at].up.clone();
            self.take(socket, None, &buffer[..length]);
        }
        for at in 0..self.links.len() {
            let (client, up) = (self.links[at].client, self.links[at].up.clone());
            while let Ok(length) = up.recv(&mut buffer) {
                self.take(down.clone(), Some(client), &buffer[..length]);
            }
        }
        let now = Instant::now();
        while self.on_the_way.front().is_some_and(|parcel| parcel.due <= now) {
            let Parcel { socket, to, data, .. } = self.on_the_way.pop_front().unwrap();
            // Who has gone gets nothing.
            let _ = to.map_or_else(|| socket.send(&data), |to| socket.send_to(&data, to));
        }
    }

    fn take(&mut self, socket: Arc<UdpSocket>, to: Option<SocketAddr>, data: &[u8]) {
        if self.chance.f64() < self.weather.loss {
            self.lost += 1;
            return;
        }
        let (due, mut data) = (Instant::now() + self.weather.delay, data.to_vec());
        if let (true, [20..=63, noise @ ..]) = (self.weather.spoilt, &mut data[..]) {
            self.chance.fill(noise);
        }
        for _ in 0..=u8::from(self.weather.twice) {
            self.on_the_way.push_back(Parcel { due, socket: socket.clone(), to, data: data.clone() });
        }
    }
}

fn uplink(server: SocketAddr) -> Arc<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_nonblocking(true).unwrap();
    Arc::new(socket)
}

/// Until one of them has something, for so long at most.
fn wait(sockets: &[Arc<UdpSocket>], limit: Duration) {
    let mut all: Vec<_> = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
    let _ = poll(&mut all, Some(&limit));
}
