//! The census: what metrics tell of clients and streams. Their counters only ever rise, so what clients and streams leave behind when they
//! go is kept here, in sums; and however many streams there are, only so many are told of by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use media::Micros;

use super::roll::{Roll, Stream};
use super::{Flow, Kind, Reception};

/// What there is to tell at this moment.
#[derive(Default)]
pub struct Census {
    /// Clients by what they do, all kinds.
    pub kinds: BTreeMap<Kind, KindFigures>,
    /// Streams that are told of by name.
    pub streams: Vec<(Arc<Stream>, StreamFigures)>,
    /// All other streams together, those that have gone included.
    pub rest: StreamFigures,
    /// How many these are.
    pub rest_count: u64,
    /// Stream entries, also those with players only.
    pub stream_count: u64,
    /// Clients that ended with an error.
    pub failed: u64,
}

/// Clients of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KindFigures {
    /// Clients of now.
    pub clients: u64,
    /// Clients since the start.
    pub entered: u64,
    /// What has come and gone, of those who have left, too.
    pub flow: Flow,
    /// How packets arrive at the clients of now, where that is known.
    pub reception: Receptions,
}

/// How packets arrive in several sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Receptions {
    /// Sessions of which it is known.
    pub sessions: u64,
    /// The share of packets lost lately, 0 to 1: on average, and the worst.
    pub loss: (f64, f64),
    /// Interarrival jitter: on average, and the worst.
    pub jitter: (Micros, Micros),
    /// The round trip: on average, and the worst, of those of which it was measured.
    pub round_trip: Option<(Micros, Micros)>,
}

/// A stream, or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamFigures {
    /// Clients, publishers included.
    pub clients: u64,
    /// Publishers.
    pub publishers: u64,
    /// What has come and gone since the entry was made.
    pub flow: Flow,
    /// Video frames received.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
}

/// What has gone.
pub(super) struct Past {
    /// Clients since the start, and what those who have left took and gave.
    kinds: BTreeMap<Kind, (u64, Flow)>,
    /// Streams that are told of by name at most, and now.
    limit: usize,
    named: usize,
    /// The others that have gone.
    rest: StreamFigures,
}

impl Default for Past {
    fn default() -> Self {
        let kinds = Kind::ALL.into_iter().map(|kind| (kind, Default::default())).collect();
        Self { kinds, limit: 0, named: 0, rest: StreamFigures::default() }
    }
}

impl Past {
    /// A client has come.
    pub(super) fn enter(&mut self, kind: Kind) {
        self.kinds.entry(kind).or_default().0 += 1;
    }

    /// A client has gone.
    pub(super) fn leave(&mut self, kind: Kind, flow: Flow) {
        self.kinds.entry(kind).or_default().1 += flow;
    }

    /// Whether one more stream is told of by name. That is decided once: a stream that changed sides would make both its own counters and those
    /// of the rest jump.
    pub(super) fn name(&mut self) -> bool {
        let named = self.named < self.limit;
        self.named += usize::from(named);
        named
    }

    /// A stream has gone.
    pub(super) fn forget(&mut self, stream: &Stream) {
        if stream.named {
            self.named -= 1;
            return;
        }
        self.rest.flow += stream.departed.flow();
        let (frames, keyframes) = stream.all_frames();
        self.rest.frames += frames;
        self.rest.keyframes += keyframes;
    }
}

impl Roll {
    /// Has no more than so many streams told of by name, of those that come from now on.
    pub fn limit_names(&self, limit: usize) {
        self.lists.lock().past.limit = limit;
    }

    /// What there is to tell, in one pass over all clients.
    pub fn census(&self) -> Census {
        let lists = self.lists.lock();
        let mut streams: BTreeMap<*const Stream, StreamFigures> = BTreeMap::new();
        let past = |(&kind, &(entered, flow)): (&Kind, &(u64, Flow))| {
            (kind, (KindFigures { entered, flow, ..KindFigures::default() }, Vec::new()))
        };
        let mut kinds: BTreeMap<_, _> = lists.past.kinds.iter().map(past).collect();
        for client in lists.clients.values() {
            let flow = client.flow();
            let (figures, receptions) = kinds.entry(client.kind).or_default();
            figures.clients += 1;
            figures.flow += flow;
            receptions.extend(client.session.counters.reception());
            let stream = streams.entry(Arc::as_ptr(&client.stream)).or_default();
            stream.clients += 1;
            stream.publishers += u64::from(client.kind.is_publish());
            stream.flow += flow;
        }
        let mut census = Census {
            rest: lists.past.rest,
            stream_count: lists.streams.len() as u64,
            failed: self.failed(),
            ..Census::default()
        };
        for stream in lists.streams.values() {
            let mut figures = streams.get(&Arc::as_ptr(stream)).copied().unwrap_or_default();
            figures.flow += stream.departed.flow();
            (figures.frames, figures.keyframes) = stream.all_frames();
            if stream.named {
                census.streams.push((stream.clone(), figures));
            } else {
                census.rest += figures;
                census.rest_count += 1;
            }
        }
        drop(lists);
        census.kinds = kinds
            .into_iter()
            .map(|(kind, (figures, all))| (kind, KindFigures { reception: Receptions::of(&all), ..figures }))
            .collect();
        census
    }
}

impl std::ops::AddAssign for StreamFigures {
    fn add_assign(&mut self, other: Self) {
        self.clients += other.clients;
        self.publishers += other.publishers;
        self.flow += other.flow;
        self.frames += other.frames;
        self.keyframes += other.keyframes;
    }
}

impl Receptions {
    fn of(all: &[Reception]) -> Self {
        let count = all.len().max(1);
        let micros = |times: &[Micros]| {
            let sum: i64 = times.iter().map(|time| time.0).sum();
            let worst = times.iter().max().copied().unwrap_or_default();
            (Micros(sum / times.len().max(1) as i64), worst)
        };
        let jitter: Vec<_> = all.iter().map(|reception| reception.jitter).collect();
        let trips: Vec<_> = all.iter().filter_map(|reception| reception.round_trip).collect();
        let losses = all.iter().map(|reception| reception.loss);
        Self {
            sessions: all.len() as u64,
            loss: (losses.clone().sum::<f64>() / count as f64, losses.fold(0.0, f64::max)),
            jitter: micros(&jitter),
            round_trip: (!trips.is_empty()).then(|| micros(&trips)),
        }
    }
}

#[cfg(test)]
mod tests {
    use hub::{Hub, Rules, StreamKey};

    use super::super::roll::{Entry, Seat};
    use super::super::{Request, Session};
    use super::*;

    fn enter(roll: &Arc<Roll>, hub: &Hub, stream: &str, kind: Kind) -> Seat {
        let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: stream.into() };
        let broadcast = hub.open(&key, &Rules::default());
        let session = Session::new("127.0.0.1:1".parse().unwrap());
        let seat = roll.seat(Entry {
            session: &session,
            kind,
            broadcast: &broadcast,
            request: Arc::new(Request::default()),
        });
        session.counters.add_received(1000);
        session.counters.add_skipped(1);
        seat
    }

    #[test]
    fn what_has_gone_is_counted_still() {
        let (roll, hub) = (Arc::<Roll>::default(), Hub::default());
        roll.limit_names(1);
        let a = enter(&roll, &hub, "a", Kind::FmlePublish);
        let b = enter(&roll, &hub, "b", Kind::FmlePublish);
        b.client().stream.count_frame(true);
        b.client().stream.count_frame(false);
        let rest = |census: &Census| (census.rest.flow.received, census.rest.frames, census.rest.keyframes);
        let census = roll.census();
        assert_eq!((census.streams.len(), census.rest_count, rest(&census)), (1, 1, (1000, 2, 1)));
        // The one without a name does not get the place of another.
        drop(a);
        let census = roll.census();
        assert_eq!((census.streams.len(), census.rest_count, rest(&census)), (0, 1, (1000, 2, 1)));
        drop(b);
        let c = enter(&roll, &hub, "b", Kind::FmlePublish);
        let census = roll.census();
        assert_eq!((census.streams[0].0.key.stream.as_str(), rest(&census)), ("b", (1000, 2, 1)));
        let publishers = census.kinds[&Kind::FmlePublish];
        assert_eq!((publishers.clients, publishers.entered, publishers.flow.received), (1, 3, 3000));
        assert_eq!(publishers.flow.skipped, 3);
        assert_eq!(census.kinds.len(), Kind::ALL.len());
        drop(c);
    }

    #[test]
    fn only_clients_fail() {
        let (roll, hub) = (Arc::<Roll>::default(), Hub::default());
        let seat = enter(&roll, &hub, "a", Kind::RtmpPlay);
        roll.count_failure(&seat.client().session);
        roll.count_failure(&Session::new("127.0.0.1:1".parse().unwrap()));
        assert_eq!(roll.census().failed, 1);
    }

    #[test]
    fn receptions_are_averaged_and_the_worst_is_seen() {
        let reception = |loss, jitter, trip: Option<i64>| Reception {
            loss,
            lost: 0,
            jitter: Micros(jitter),
            round_trip: trip.map(Micros),
        };
        let all = Receptions::of(&[reception(0.1, 10, None), reception(0.3, 30, Some(50))]);
        assert!((all.loss.0 - 0.2).abs() < 1e-9 && all.loss.1 == 0.3);
        assert_eq!(all.jitter, (Micros(20), Micros(30)));
        assert_eq!((all.round_trip, all.sessions), (Some((Micros(50), Micros(50))), 2));
        assert_eq!(Receptions::of(&[]), Receptions::default());
    }
}
