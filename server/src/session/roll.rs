//! The roll: all clients of media, the streams they use and the vhosts these belong to.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use hub::{Broadcast, StreamKey};
use parking_lot::Mutex;
use serde_json::json;

use super::census::Past;
use super::{Cid, Counters, Flow, Health, Kbps, Kind, Rate, Request, Session, random_vid};
use crate::events::{Event, Events};
use crate::trace::Context;

/// See the module.
#[derive(Default)]
pub struct Roll {
    pub(super) lists: Mutex<Lists>,
    /// Bytes of all clients that have left.
    departed: Counters,
    /// Clients that ended with an error.
    failed: AtomicU64,
    events: Arc<Events>,
}

#[derive(Default)]
pub(super) struct Lists {
    vhosts: BTreeMap<String, Arc<Vhost>>,
    pub(super) streams: BTreeMap<StreamKey, Arc<Stream>>,
    pub(super) clients: BTreeMap<Cid, Arc<Client>>,
    pub(super) past: Past,
    /// Ids that were told of streams that are not there yet.
    promised: HashMap<StreamKey, Weak<str>>,
}

/// A vhost that has seen a client since the start.
pub struct Vhost {
    /// `vid-…`
    pub id: String,
    /// As configured.
    pub name: String,
    departed: Counters,
    rate: Rate,
}

/// A stream that somebody uses.
pub struct Stream {
    /// `vid-…`; a stream that was gone and came back has a new one.
    pub id: Arc<str>,
    /// Its vhost.
    pub vhost: Arc<Vhost>,
    /// Its key.
    pub key: StreamKey,
    /// The name that its first client used.
    pub name: String,
    /// The tcUrl of its first client.
    pub tc_url: String,
    /// Whether metrics tell of it by name; see [`census`](super::census).
    pub(super) named: bool,
    /// Video frames received, and how many of them were keyframes.
    frames: AtomicU64,
    keyframes: AtomicU64,
    /// The frames of earlier publishers.
    frames_before: AtomicU64,
    broadcast: Mutex<Weak<Broadcast>>,
    /// The last publisher's, whose trace is that of the stream.
    trace: Mutex<Option<Context>>,
    /// Changed under the lock of the lists only.
    clients: AtomicUsize,
    publisher: Mutex<Option<(Cid, bool)>>,
    /// Of the last publisher.
    health: Mutex<Arc<Health>>,
    pub(super) departed: Counters,
    rate: Rate,
}

impl Stream {
    /// Counts a video frame.
    pub fn count_frame(&self, key: bool) {
        self.frames.fetch_add(1, Relaxed);
        if key {
            self.keyframes.fetch_add(1, Relaxed);
        }
    }

    /// Video frames received from the publisher.
    pub fn frames(&self) -> u64 {
        self.frames.load(Relaxed).saturating_sub(self.frames_before.load(Relaxed))
    }

    /// Video frames and keyframes received from all its publishers.
    pub(super) fn all_frames(&self) -> (u64, u64) {
        (self.frames.load(Relaxed), self.keyframes.load(Relaxed))
    }

    /// The broadcast behind it.
    pub fn broadcast(&self) -> Option<Arc<Broadcast>> {
        self.broadcast.lock().upgrade()
    }

    /// The last publisher in traces.
    pub fn trace(&self) -> Option<Context> {
        *self.trace.lock()
    }

    /// The last publisher, and whether it publishes now.
    pub fn publisher(&self) -> Option<(Cid, bool)> {
        *self.publisher.lock()
    }

    /// How the media of its last publisher does.
    pub fn health(&self) -> Arc<Health> {
        self.health.lock().clone()
    }

    /// The rate of its last window.
    pub fn kbps(&self) -> Kbps {
        self.rate.kbps()
    }
}

impl Vhost {
    /// The rate of its last window.
    pub fn kbps(&self) -> Kbps {
        self.rate.kbps()
    }
}

/// A client as it asked to be seated.
pub struct Client {
    /// The connection.
    pub session: Arc<Session>,
    /// What it does.
    pub kind: Kind,
    /// What it uses.
    pub stream: Arc<Stream>,
    /// What it asked for.
    pub request: Arc<Request>,
    /// When it was seated.
    pub since: Instant,
    rate: Rate,
    before: Flow,
}

impl Client {
    /// What has come and gone since it was seated.
    pub fn flow(&self) -> Flow {
        self.session.counters.flow().since(self.before)
    }

    /// Bytes received and sent since it was seated.
    pub fn bytes(&self) -> (u64, u64) {
        let Flow { received, sent, .. } = self.flow();
        (received, sent)
    }

    /// The rate of its last window.
    pub fn kbps(&self) -> Kbps {
        self.rate.kbps()
    }

    /// An event about it. What it said may be secret and is not told.
    pub fn event(&self, what: &'static str) -> Event {
        let Session { cid, peer, .. } = &*self.session;
        let client = json!({ "id": cid.as_str(), "type": self.kind.name(), "ip": peer.ip() });
        Event::new(what).of(&self.stream.key).with("stream_id", &*self.stream.id).with("client", client)
    }
}

/// What is to be entered for a new client.
pub struct Entry<'a> {
    /// The connection.
    pub session: &'a Arc<Session>,
    /// What it does.
    pub kind: Kind,
    /// The stream.
    pub broadcast: &'a Arc<Broadcast>,
    /// What it asked for.
    pub request: Arc<Request>,
}

/// A client's place on the roll; dropping it leaves.
pub struct Seat {
    client: Arc<Client>,
    roll: Arc<Roll>,
}

impl Seat {
    /// The client who sits here.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roll.leave(&self.client);
    }
}

/// Figures of a stream or a vhost at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients, publishers included.
    pub clients: u64,
    /// Streams being published.
    pub streams: u64,
    /// Bytes received since the entry was made.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

impl Roll {
    /// Enters a client. It stays on the roll as long as the seat is kept.
    pub fn seat(self: &Arc<Self>, entry: Entry<'_>) -> Seat {
        let key = entry.broadcast.key();
        let mut lists = self.lists.lock();
        let vhost = lists.vhosts.entry(key.vhost.clone()).or_insert_with(|| {
            Arc::new(Vhost {
                id: random_vid(),
                name: key.vhost.clone(),
                departed: Counters::default(),
                rate: Rate::default(),
            })
        });
        let vhost = vhost.clone();
        let Lists { streams, past, promised, .. } = &mut *lists;
        past.enter(entry.kind);
        entry.session.entered.store(true, Relaxed);
        let stream = streams.entry(key.clone()).or_insert_with(|| {
            let promised = promised.remove(key).and_then(|id| id.upgrade());
            Arc::new(Stream {
                id: promised.unwrap_or_else(|| random_vid().into()),
                vhost,
                key: key.clone(),
                name: entry.request.name().to_owned(),
                tc_url: entry.request.tc_url.clone(),
                named: past.name(),
                frames: AtomicU64::new(0),
                keyframes: AtomicU64::new(0),
                frames_before: AtomicU64::new(0),
                broadcast: Mutex::default(),
                trace: Mutex::default(),
                clients: AtomicUsize::new(0),
                publisher: Mutex::new(None),
                health: Mutex::default(),
                departed: Counters::default(),
                rate: Rate::default(),
            })
        });
        let stream = stream.clone();
        stream.clients.fetch_add(1, Relaxed);
        // Its last client may be about to leave, and the broadcast have ended already.
        *stream.broadcast.lock() = Arc::downgrade(entry.broadcast);
        if entry.kind.is_publish() {
            *stream.publisher.lock() = Some((entry.session.cid, true));
            *stream.health.lock() = Arc::default();
            *stream.trace.lock() = Some(entry.session.trace());
            stream.frames_before.store(stream.frames.load(Relaxed), Relaxed);
        }
        let client = Arc::new(Client {
            session: entry.session.clone(),
            kind: entry.kind,
            stream,
            request: entry.request,
            since: Instant::now(),
            rate: Rate::default(),
            before: entry.session.counters.flow(),
        });
        lists.clients.insert(entry.session.cid, client.clone());
        drop(lists);
        let what = if entry.kind.is_publish() { "publish" } else { "play" };
        self.events.tell(client.event(what));
        Seat { client, roll: self.clone() }
    }

    /// The id of the stream of this key: its own, or the one that it will have if somebody is seated while this is kept.
    pub fn stream_id(&self, key: &StreamKey) -> Arc<str> {
        let mut lists = self.lists.lock();
        let promised = || lists.promised.get(key)?.upgrade();
        if let Some(id) = lists.streams.get(key).map(|stream| stream.id.clone()).or_else(promised) {
            return id;
        }
        let id: Arc<str> = random_vid().into();
        lists.promised.retain(|_, id| id.strong_count() > 0);
        lists.promised.insert(key.clone(), Arc::downgrade(&id));
        id
    }

    fn leave(&self, client: &Arc<Client>) {
        let mut lists = self.lists.lock();
        lists.clients.remove(&client.session.cid);
        let stream = &client.stream;
        let flow = client.flow();
        [&stream.departed, &stream.vhost.departed, &self.departed].iter().for_each(|d| d.add(&flow));
        lists.past.leave(client.kind, flow);
        if client.kind.is_publish()
            && let Some((cid, active)) = &mut *stream.publisher.lock()
            // A successor may sit there already.
            && *cid == client.session.cid
        {
            *active = false;
        }
        if stream.clients.fetch_sub(1, Relaxed) == 1 {
            lists.streams.remove(&stream.key);
            lists.past.forget(stream);
        }
        drop(lists);
        let what = if client.kind.is_publish() { "unpublish" } else { "stop" };
        let alive = u64::try_from(client.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut event = client.event(what).with("alive_ms", alive);
        event = event.with("recv_bytes", flow.received).with("send_bytes", flow.sent);
        if let Some(reason) = client.session.kick_reason() {
            event = event.with("kicked", reason);
        }
        self.events.tell(event);
    }

    /// What happens.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Sends a client away, and tells who wanted that (`by`).
    pub fn kick(&self, client: &Client, reason: &str, by: &str) {
        self.events.tell(client.event("kick").with("reason", reason).with("by", by));
        client.session.kick(reason);
    }

    /// The session of a client has ended with an error. Of others, who never got in, nothing is counted.
    pub fn count_failure(&self, session: &Session) {
        if session.entered.load(Relaxed) {
            self.failed.fetch_add(1, Relaxed);
        }
    }

    /// Clients that ended with an error.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// All clients, by id.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.lists.lock().clients.values().cloned().collect()
    }

    /// The client of this id.
    pub fn client(&self, cid: Cid) -> Option<Arc<Client>> {
        self.lists.lock().clients.get(&cid).cloned()
    }

    /// The clients of this stream, by id.
    pub fn clients_of(&self, stream: &Arc<Stream>) -> Vec<Arc<Client>> {
        let lists = self.lists.lock();
        lists.clients.values().filter(|client| Arc::ptr_eq(&client.stream, stream)).cloned().collect()
    }

    /// The client that publishes the stream of this key now.
    pub fn publisher(&self, key: &StreamKey) -> Option<Arc<Client>> {
        let lists = self.lists.lock();
        let (cid, active) = lists.streams.get(key)?.publisher()?;
        lists.clients.get(&cid).filter(|_| active).cloned()
    }

    /// All streams with their figures, by id.
    pub fn streams(&self) -> Vec<(Arc<Stream>, Totals)> {
        let lists = self.lists.lock();
        let sums = lists.sums(|client| Arc::as_ptr(&client.stream));
        let mut all: Vec<_> =
            lists.streams.values().map(|s| (s.clone(), sums.of(Arc::as_ptr(s), &s.departed))).collect();
        all.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        all
    }

    /// All vhosts with their figures, by id.
    pub fn vhosts(&self) -> Vec<(Arc<Vhost>, Totals)> {
        let lists = self.lists.lock();
        let sums = lists.sums(|client| Arc::as_ptr(&client.stream.vhost));
        let mut all: Vec<_> =
            lists.vhosts.values().map(|v| (v.clone(), sums.of(Arc::as_ptr(v), &v.departed))).collect();
        all.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        all
    }

    /// The figures of the whole server.
    pub fn totals(&self) -> Totals {
        self.lists.lock().sums(|_| ()).of((), &self.departed)
    }

    /// How many clients play this stream.
    pub fn players(&self, stream: &Arc<Stream>) -> usize {
        let lists = self.lists.lock();
        lists.clients.values().filter(|c| Arc::ptr_eq(&c.stream, stream) && !c.kind.is_publish()).count()
    }

    /// Brings all rates up to date; to be called every few seconds.
    pub fn sample_rates(&self, now: Instant) {
        for client in self.clients() {
            let (received, sent) = client.bytes();
            client.rate.sample(now, received, sent);
        }
        for (stream, totals) in self.streams() {
            stream.rate.sample(now, totals.received, totals.sent);
        }
        for (vhost, totals) in self.vhosts() {
            vhost.rate.sample(now, totals.received, totals.sent);
        }
    }
}

impl Lists {
    /// Adds up the clients that have the same key, in one pass: thousands of clients meet hundreds of streams here.
    fn sums<K: Eq + Hash>(&self, key: impl Fn(&Client) -> K) -> Sums<K> {
        let mut sums = HashMap::<K, Totals>::new();
        for client in self.clients.values() {
            let (received, sent) = client.bytes();
            let sum = sums.entry(key(client)).or_default();
            sum.clients += 1;
            sum.streams += u64::from(client.kind.is_publish());
            sum.received += received;
            sum.sent += sent;
        }
        Sums(sums)
    }
}

struct Sums<K>(HashMap<K, Totals>);

impl<K: Eq + Hash> Sums<K> {
    /// The sum for a key, with what the departed have left.
    fn of(&self, key: K, departed: &Counters) -> Totals {
        let mut totals = self.0.get(&key).copied().unwrap_or_default();
        totals.received += departed.received();
        totals.sent += departed.sent();
        totals
    }
}

#[cfg(test)]
mod tests {
    use hub::{Hub, Rules};

    use super::*;

    fn key(vhost: &str, stream: &str) -> StreamKey {
        StreamKey { vhost: vhost.into(), app: "live".into(), stream: stream.into() }
    }

    fn enter(roll: &Arc<Roll>, broadcast: &Arc<Broadcast>, kind: Kind) -> Seat {
        let session = Session::new("127.0.0.1:1".parse().unwrap());
        // What was read before the seat does not count.
        session.counters.add_received(500);
        let request = Arc::new(Request { stream: "s".into(), ..Request::default() });
        let seat = roll.seat(Entry { session: &session, kind, broadcast, request });
        session.counters.add_received(1000);
        session.counters.add_sent(10);
        seat
    }

    #[test]
    fn figures_add_up_and_outlive_clients() {
        let (roll, hub) = (Arc::<Roll>::default(), Hub::default());
        let a = hub.open(&key("v", "a"), &Rules::default());
        let b = hub.open(&key("v", "b"), &Rules::default());
        let publisher = enter(&roll, &a, Kind::FmlePublish);
        let player = enter(&roll, &a, Kind::RtmpPlay);
        let other = enter(&roll, &b, Kind::FlvPlay);
        let of = |stream: &Arc<Broadcast>| {
            let found = roll.streams().into_iter().find(|(s, _)| s.key == *stream.key());
            found.map(|(_, t)| (t.clients, t.streams, t.received, t.sent))
        };
        assert_eq!((of(&a), of(&b)), (Some((2, 1, 2000, 20)), Some((1, 0, 1000, 10))));
        drop(player);
        assert_eq!(of(&a), Some((1, 1, 2000, 20)));
        drop((publisher, other));
        assert_eq!((of(&a), of(&b)), (None, None));
        let all = Totals { clients: 0, streams: 0, received: 3000, sent: 30 };
        assert_eq!((roll.totals(), roll.vhosts()[0].1), (all, all));
    }

    #[test]
    fn a_stream_follows_its_newest_broadcast() {
        let (roll, hub) = (Arc::<Roll>::default(), Hub::default());
        let first = hub.open(&key("v", "a"), &Rules::default());
        let leaving = enter(&roll, &first, Kind::FmlePublish);
        drop(first);
        let second = hub.open(&key("v", "a"), &Rules::default());
        let seat = enter(&roll, &second, Kind::FmlePublish);
        drop(leaving);
        assert!(seat.client().stream.broadcast().is_some_and(|b| Arc::ptr_eq(&b, &second)));
    }
}
