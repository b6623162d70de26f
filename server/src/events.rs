//! What happens, for those who want to know at once: who comes and goes, what operators do, how the server fares. Whoever has something to tell
//! calls [`Events::tell`], which never waits; whoever listens follows at his own pace, as far as the past is kept. How it is told
//! over HTTP does not belong here (`api/events.rs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hub::StreamKey;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;

/// So many events can be asked for later. A listener who falls further behind has lost some.
const KEPT: usize = 4096;

/// So many may listen at once.
const LISTENERS: usize = 64;

/// Something that has happened.
#[derive(Clone, Debug)]
pub struct Event {
    kind: &'static str,
    stream: Option<String>,
    data: Map<String, Value>,
}

impl Event {
    /// An event of this kind; docs/ref/api.md lists those that there are.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, stream: None, data: Map::new() }
    }

    /// It is about this stream.
    pub fn of(mut self, stream: &StreamKey) -> Self {
        let name = stream.to_string();
        self.data.insert("stream".into(), name.clone().into());
        self.stream = Some(name);
        self
    }

    /// With a fact.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.into(), value.into());
        self
    }
}

/// An event as listeners get it.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Its number. Later events have greater ones, also after a restart of the server.
    pub id: u64,
    /// What kind of event it is.
    pub kind: &'static str,
    /// The stream that it is about, as in the API.
    pub stream: Option<String>,
    /// All of it, as JSON.
    pub json: String,
}

/// See the module.
#[derive(Debug)]
pub struct Events {
    past: Mutex<Past>,
    /// The number that the next event will have.
    next: watch::Sender<u64>,
    listening: AtomicUsize,
}

#[derive(Debug)]
struct Past {
    told: VecDeque<Arc<Told>>,
    next: u64,
    over: bool,
}

impl Default for Events {
    fn default() -> Self {
        // Those of an earlier run have smaller ones, and are known to be gone.
        let next = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(1);
        Self {
            past: Mutex::new(Past { told: VecDeque::new(), next, over: false }),
            next: watch::Sender::new(next),
            listening: AtomicUsize::new(0),
        }
    }
}

impl Events {
    /// Tells everybody who listens, now or later.
    pub fn tell(&self, event: Event) {
        let Event { kind, stream, data } = event;
        let time = Timestamp::now().as_millisecond();
        let data = Value::Object(data).to_string();
        let more = if data == "{}" { "}" } else { data.get(1..).unwrap_or_default() };
        let comma = if more == "}" { "" } else { "," };
        let past = &mut *self.past.lock();
        let id = past.next;
        let json = format!(r#"{{"id":{id},"time_ms":{time},"type":"{kind}"{comma}{more}"#);
        past.told.push_back(Arc::new(Told { id, kind, stream, json }));
        if past.told.len() > KEPT {
            past.told.pop_front();
        }
        past.next += 1;
        self.next.send_replace(past.next);
    }

    /// Listens: to what comes, or to what came after the event of this number. None if too many do.
    pub fn follow(self: &Arc<Self>, after: Option<u64>) -> Option<Listener> {
        let news = self.next.subscribe();
        let past = self.past.lock();
        let at = after.map_or(past.next, |id| id.saturating_add(1));
        // Who knows of events that have not happened has them from another server.
        let at = if at > past.next { 0 } else { at };
        drop(past);
        let listener = Listener { events: self.clone(), news, at };
        (self.listening.fetch_add(1, Relaxed) < LISTENERS).then_some(listener)
    }

    /// Tells those who listen that this is the end: the server does not wait for them.
    pub fn close(&self) {
        self.past.lock().over = true;
        self.next.send_modify(|_| {});
    }
}

/// What a listener hears.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// An event.
    Told(Arc<Told>),
    /// Events that are not kept any more came before the next one; all that is known is asked for elsewhere.
    Missed,
    /// Nothing more.
    Over,
}

/// Somebody who listens; dropping it makes room for others.
#[derive(Debug)]
pub struct Listener {
    events: Arc<Events>,
    news: watch::Receiver<u64>,
    /// The number of the next event to hear.
    at: u64,
}

impl Listener {
    /// The next event. May be dropped and called again at any time.
    pub async fn next(&mut self) -> News {
        loop {
            self.news.mark_unchanged();
            if let Some(news) = self.look() {
                return news;
            }
            if self.news.changed().await.is_err() {
                return News::Over;
            }
        }
    }

    fn look(&mut self) -> Option<News> {
        let past = self.events.past.lock();
        let first = past.next - past.told.len() as u64;
        if self.at < first {
            self.at = first;
            return Some(News::Missed);
        }
        let told = usize::try_from(self.at - first).ok().and_then(|at| past.told.get(at)).cloned();
        match told {
            Some(told) => {
                self.at += 1;
                Some(News::Told(told))
            }
            None => past.over.then_some(News::Over),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.events.listening.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn hear(listener: &mut Listener) -> Option<News> {
        listener.next().now_or_never()
    }

    fn number(news: Option<News>) -> u64 {
        match news {
            Some(News::Told(told)) => told.id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn listeners_hear_what_comes_and_what_came() {
        let events = Arc::<Events>::default();
        let mut first = events.follow(None).unwrap();
        assert_eq!(hear(&mut first), None);
        let key = StreamKey { vhost: "a.test".into(), app: "live".into(), stream: "\"x\"".into() };
        events.tell(Event::new("publish").of(&key).with("n", 1));
        events.tell(Event::new("quit"));
        let id = number(hear(&mut first));
        let Some(News::Told(second)) = hear(&mut first) else { panic!() };
        assert_eq!((second.id, hear(&mut first)), (id + 1, None));
        let json: Value = serde_json::from_str(&second.json).unwrap();
        assert_eq!(
            (&json["id"], &json["type"], json.as_object().unwrap().len()),
            (&(id + 1).into(), &"quit".into(), 3)
        );

        let Some(News::Told(told)) = hear(&mut events.follow(Some(id - 1)).unwrap()) else { panic!() };
        let json: Value = serde_json::from_str(&told.json).unwrap();
        assert_eq!(
            (&json["stream"], &json["n"], told.kind),
            (&"a.test/live/\"x\"".into(), &1.into(), "publish")
        );
        assert_eq!(number(hear(&mut events.follow(Some(id)).unwrap())), id + 1);
        assert_eq!(hear(&mut events.follow(Some(id + 1)).unwrap()), None);
        // Of an earlier run, and of another server.
        for unknown in [5, id + 100] {
            let mut late = events.follow(Some(unknown)).unwrap();
            assert_eq!(hear(&mut late), Some(News::Missed));
            assert_eq!(number(hear(&mut late)), id);
        }
        events.close();
        assert_eq!(hear(&mut first), Some(News::Over));
        assert_eq!(hear(&mut events.follow(None).unwrap()), Some(News::Over));
    }

    #[test]
    fn who_is_too_slow_is_told_and_nothing_grows() {
        let events = Arc::<Events>::default();
        let mut slow = events.follow(None).unwrap();
        (0..KEPT).for_each(|_| events.tell(Event::new("play")));
        let first = number(hear(&mut slow));
        (0..10).for_each(|_| events.tell(Event::new("play")));
        assert_eq!(hear(&mut slow), Some(News::Missed));
        assert_eq!(number(hear(&mut slow)), first + 10);
        assert_eq!(events.past.lock().told.len(), KEPT);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let events = Arc::<Events>::default();
        let mut all: Vec<_> = (0..LISTENERS).map_while(|_| events.follow(None)).collect();
        assert!(all.len() == LISTENERS && events.follow(None).is_none());
        all.pop();
        assert!(events.follow(None).is_some());
    }

    #[tokio::test]
    async fn a_listener_is_woken() {
        let events = Arc::<Events>::default();
        let mut listener = events.follow(None).unwrap();
        let hearing = tokio::spawn(async move { listener.next().await });
        tokio::task::yield_now().await;
        events.tell(Event::new("publish"));
        assert!(matches!(hearing.await, Ok(News::Told(told)) if told.kind == "publish"));
    }
}
