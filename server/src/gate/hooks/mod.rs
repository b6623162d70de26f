//! HTTP callbacks: services that are asked before somebody may connect, publish or play, and told when that has ended or when a segment is complete.
//! Questions are answered while the client waits; notices go through [`post`], where nobody waits for them.

mod answer;
mod event;
mod figures;
mod post;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hub::StreamKey;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, info, warn};

use super::{Ask, Refused};
use crate::caller::{Call, Caller, shown};
use crate::config;
use crate::process::Identity;
use crate::session::{Client, Kind, Request, Session};

use answer::No;
use event::{Body, Subject};
use figures::Outcome;
use post::{Notice, Post};

pub use event::{Action, Segment};
pub use figures::{Figures, Snapshot};

/// So many clients wait for an answer at once.
const MOST_QUESTIONS: usize = 4096;

/// A stream is not begun before its last end has been told, as far as that takes no longer than this.
const TURN: Duration = Duration::from_secs(3);

/// A connection that breaks so soon was closed before the service saw the question.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long the service that names destinations may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// SRS's number of a publisher who fails for want of its answer.
const NOT_FORWARDED: u16 = 1030;

/// How long a fetch for `on_hls_notify` may take.
const FETCH: Duration = Duration::from_secs(10);

/// What stands for a placeholder in an address as it is.
const NAMES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// See the module.
#[derive(Clone)]
pub(super) struct Hooks(Arc<Desk>);

struct Desk {
    caller: Caller,
    identity: Arc<Identity>,
    figures: Arc<Figures>,
    post: Post,
    questions: Arc<Semaphore>,
    /// Streams of which somebody is still to be told that they have ended.
    endings: Mutex<HashMap<StreamKey, watch::Receiver<()>>>,
}

impl Hooks {
    pub(super) fn new(caller: Caller, identity: Arc<Identity>, figures: Arc<Figures>) -> Self {
        let post = Post::new(caller.clone(), figures.clone());
        let questions = Arc::new(Semaphore::new(MOST_QUESTIONS));
        Self(Arc::new(Desk { caller, identity, figures, post, questions, endings: Mutex::default() }))
    }

    /// Asks whether somebody may do what he wants to. A client that leaves meanwhile is not waited for: should the answer be yes, its end is told.
    pub(super) async fn ask(
        &self,
        ask: &Ask<'_>,
        config: &Arc<config::Hooks>,
        key: &StreamKey,
        stream_id: Arc<str>,
    ) -> Result<Act, Refused> {
        let subject = Arc::new(self.subject(&Who::asks(ask), key, stream_id));
        let affair = |action| Affair {
            action,
            session: ask.session.clone(),
            key: key.clone(),
            reporter: Reporter { hooks: self.clone(), config: config.clone(), subject: subject.clone() },
        };
        if let Some(visit) = ask.visit
            && visit.0.get().is_none()
        {
            let (act, answer) = self.put(affair(Action::Connect)).await?;
            // Its end is told even if it is refused, as in SRS.
            let _ = visit.0.set(act);
            answer?;
        }
        let (act, answer) = self.put(affair(Action::begin(ask.kind))).await?;
        answer.map(|()| act)
    }

    /// Puts a question; what ends with the act, and the answer.
    async fn put(&self, affair: Affair) -> Result<(Act, Result<(), Refused>), Refused> {
        if urls(&affair.reporter.config, affair.action).is_empty() {
            return Ok((Act(Some(Box::new(affair))), Ok(())));
        }
        let busy =
            |_| Refused::Unable(format!("{}: too many clients wait for the service", affair.action.name()));
        let place = self.0.questions.clone().try_acquire_owned().map_err(busy)?;
        // A task of its own, which goes on when the client does not: the service may be about to say yes.
        let work = async move {
            let answer = affair.ask().await;
            drop(place);
            // Who was refused has not begun anything; a connection has.
            let has_begun = answer.is_ok() || affair.action == Action::Connect;
            (Act(has_begun.then(|| Box::new(affair))), answer)
        };
        let answered = self.0.caller.spawn(work.instrument(tracing::Span::current())).await;
        answered.map_err(|_| Refused::Unable("the callbacks fail".into()))
    }

    /// What tells services what becomes of a publisher's stream.
    pub(super) fn reporter(&self, config: &Arc<config::Hooks>, client: &Client) -> Reporter {
        let subject = Arc::new(self.subject(&Who::of(client), &client.stream.key, client.stream.id.clone()));
        Reporter { hooks: self.clone(), config: config.clone(), subject }
    }

    /// Asks the service that names the destinations of a publisher's stream.
    pub(super) fn forward_to(
        &self,
        who: &Who<'_>,
        forward: &Arc<config::Forward>,
        key: &StreamKey,
        stream_id: Arc<str>,
    ) -> impl Future<Output = Result<Arc<[config::Destination]>, Refused>> + Send + use<> {
        let (desk, forward) = (self.0.clone(), forward.clone());
        let subject = self.subject(who, key, stream_id);
        let work = async move { desk.forward_to(&subject, &forward).await };
        work.instrument(tracing::Span::current())
    }

    /// Has the thread of the callbacks do some work.
    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.caller.spawn(work)
    }

    fn subject(&self, who: &Who<'_>, key: &StreamKey, stream_id: Arc<str>) -> Subject {
        let Who { session, kind, request } = who;
        let app = &request.app;
        Subject {
            server: self.0.identity.server.clone(),
            service: self.0.identity.service.clone(),
            client: session.cid,
            ip: request.forwarded.unwrap_or(session.peer.ip()).to_canonical().to_string(),
            vhost: key.vhost.clone(),
            app: app.clone(),
            stream: match kind {
                Kind::HlsPlay => request.name().to_owned(),
                _ => request.stream.clone(),
            },
            param: request.param.clone(),
            tc_url: match kind {
                Kind::FlvPlay => format!("rtmp://{}/{app}", key.vhost),
                _ => request.tc_url.clone(),
            },
            page_url: request.page_url.clone(),
            stream_url: key.to_string(),
            stream_id,
            traceparent: session.traceparent().into(),
        }
    }

    /// Delivers what is still to be told, as far as that takes no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        match self.0.post.flush(limit) {
            0 => {}
            left => warn!("callbacks: {left} notices could not be delivered"),
        }
    }
}

impl Desk {
    /// Asks one service. One that closes kept connections just then is asked again.
    async fn ask(&self, body: &Body<'_>, text: &str, url: &Url, config: &config::Hooks) -> Result<(), No> {
        let figure = self.figures.of(body.action);
        let call = Call {
            url,
            body: Some(text),
            timeout: config.timeout,
            tls_ca: config.tls_ca.as_deref(),
            limit: answer::LIMIT,
            traceparent: Some(&body.subject.traceparent),
        };
        let mut again = false;
        loop {
            let start = Instant::now();
            let said = answer::read(self.caller.call(call).await);
            figure.called(said.as_ref().map_or_else(No::outcome, |()| Outcome::Yes), start.elapsed());
            match &said {
                Err(No::Unreachable(_)) if !again && start.elapsed() < AT_ONCE.min(config.timeout) => {
                    again = true;
                    figure.retried();
                }
                _ => return said,
            }
        }
    }

    async fn forward_to(
        &self,
        subject: &Subject,
        forward: &config::Forward,
    ) -> Result<Arc<[config::Destination]>, Refused> {
        let Some(url) = &forward.backend else { return Ok(Arc::default()) };
        let action = Action::Forward;
        let text = Body { action, subject, bytes: (0, 0), segment: None }.json();
        let call = Call {
            url,
            body: Some(&text),
            timeout: PATIENCE,
            tls_ca: forward.tls_ca.as_deref(),
            limit: answer::LIMIT,
            traceparent: Some(&subject.traceparent),
        };
        let start = Instant::now();
        let said = answer::read_destinations(self.caller.call(call).await);
        let outcome = said.as_ref().map_or_else(No::outcome, |_| Outcome::Yes);
        self.figures.of(action).called(outcome, start.elapsed());
        said.map_err(|no| {
            warn!("{} at {}: {}", action.name(), shown(url), no.for_log());
            let told = format!("{} (code {NOT_FORWARDED})", no.for_client(action.name()));
            if matches!(no, No::Said { .. }) { Refused::Denied(told) } else { Refused::Unable(told) }
        })
    }

    /// Waits until those who were to be told the end of this stream have been told: its name means another stream from now on.
    async fn wait_for_turn(&self, key: &StreamKey) {
        let Some(mut ending) = self.endings.lock().get(key).cloned() else { return };
        let told = async { while ending.changed().await.is_ok() {} };
        if tokio::time::timeout(TURN, told).await.is_err() {
            info!("the end of the last publisher of {key} is still to be told");
        }
    }

    /// What is told to all of some services keeps the next publisher waiting.
    fn ending(&self, key: &StreamKey) -> Arc<watch::Sender<()>> {
        let (sender, receiver) = watch::channel(());
        let mut endings = self.endings.lock();
        endings.retain(|_, ending| ending.has_changed().is_ok());
        endings.insert(key.clone(), receiver);
        Arc::new(sender)
    }
}

/// Where an event is told.
fn urls(config: &config::Hooks, action: Action) -> &[Url] {
    match action {
        Action::Connect => &config.on_connect,
        Action::Close => &config.on_close,
        Action::Publish => &config.on_publish,
        Action::Unpublish => &config.on_unpublish,
        Action::Play => &config.on_play,
        Action::Stop => &config.on_stop,
        Action::Hls => &config.on_hls,
        // Its addresses have placeholders, and that of the other one is elsewhere.
        Action::HlsNotify | Action::Forward => &[],
    }
}

/// A client, and what it has asked for.
pub(super) struct Who<'a> {
    session: &'a Session,
    kind: Kind,
    request: &'a Request,
}

impl<'a> Who<'a> {
    /// Who asks.
    pub(super) fn asks(ask: &'a Ask<'_>) -> Self {
        Self { session: ask.session, kind: ask.kind, request: &ask.request }
    }

    /// Who is there already.
    pub(super) fn of(client: &'a Client) -> Self {
        Self { session: &client.session, kind: client.kind, request: &client.request }
    }
}

/// What a client wants to do, or does.
struct Affair {
    action: Action,
    session: Arc<Session>,
    key: StreamKey,
    reporter: Reporter,
}

impl Affair {
    /// Asks all services, one after the other; the first one that does not say yes decides.
    async fn ask(&self) -> Result<(), Refused> {
        let Reporter { hooks: Hooks(desk), config, subject } = &self.reporter;
        let (action, name) = (self.action, self.action.name());
        if action == Action::Publish {
            desk.wait_for_turn(&self.key).await;
        }
        let body = Body { action, subject, bytes: (0, 0), segment: None };
        let text = body.json();
        for url in urls(config, action) {
            if let Err(no) = desk.ask(&body, &text, url, config).await {
                warn!("{name} at {}: {}", shown(url), no.for_log());
                let told = no.for_client(name);
                return Err(match no {
                    No::Said { .. } => Refused::Denied(told),
                    _ => Refused::Unable(told),
                });
            }
        }
        Ok(())
    }
}

/// What a client was allowed to do. Dropping it tells that it has ended.
pub(super) struct Act(Option<Box<Affair>>);

impl Drop for Act {
    fn drop(&mut self) {
        let Some(affair) = self.0.take() else { return };
        let Affair { action, session, key, reporter } = *affair;
        let counters = &session.counters;
        let end = Event {
            action: action.end(),
            bytes: (counters.sent(), counters.received()),
            segment: None,
            ending: (action == Action::Publish).then_some(&key),
        };
        reporter.tell(&end);
    }
}

/// A connection as callbacks know it: `on_connect` when it says what it wants for the first time, `on_close` when this is dropped.
#[derive(Default)]
pub struct Visit(OnceLock<Act>);

/// Tells services what becomes of a stream.
#[derive(Clone)]
pub struct Reporter {
    hooks: Hooks,
    config: Arc<config::Hooks>,
    subject: Arc<Subject>,
}

/// Something to be told.
struct Event<'a> {
    action: Action,
    bytes: (u64, u64),
    segment: Option<&'a Segment>,
    /// The stream that it is the end of.
    ending: Option<&'a StreamKey>,
}

impl Reporter {
    /// A segment is complete.
    pub fn segment(&self, segment: &Segment) {
        self.tell(&Event { action: Action::Hls, bytes: (0, 0), segment: Some(segment), ending: None });
        for pattern in &self.config.on_hls_notify {
            let limit = self.config.hls_nb_notify;
            match self.fetched(pattern, segment) {
                Ok(url) => self.send(Notice { timeout: FETCH, limit, ..self.notice(Action::HlsNotify, url) }),
                Err(e) => warn!("on_hls_notify: {e}"),
            }
        }
    }

    fn tell(&self, event: &Event<'_>) {
        let &Event { action, bytes, segment, ending } = event;
        let urls = urls(&self.config, action);
        if urls.is_empty() {
            return;
        }
        let body = Body { action, subject: &self.subject, bytes, segment }.json();
        let ending = ending.map(|key| self.hooks.0.ending(key));
        for url in urls {
            let (body, _ending) = (Some(body.clone()), ending.clone());
            self.send(Notice { body, _ending, ..self.notice(action, url.clone()) });
        }
    }

    fn notice(&self, action: Action, url: Url) -> Notice {
        Notice {
            action,
            cid: self.subject.client,
            vhost: self.subject.vhost.clone(),
            url,
            body: None,
            timeout: self.config.timeout,
            tls_ca: self.config.tls_ca.clone(),
            limit: answer::LIMIT,
            traceparent: self.subject.traceparent.clone(),
            _ending: None,
        }
    }

    fn send(&self, notice: Notice) {
        self.hooks.0.post.send(notice);
    }

    /// The address to fetch for a segment; its own, if that is one.
    fn fetched(&self, pattern: &str, segment: &Segment) -> Result<Url, String> {
        let odd = |url: &str| format!("`{url}` is no address");
        if segment.url.contains("://") {
            return segment.url.parse().map_err(|_| odd(&segment.url));
        }
        let Subject { server, service, app, stream, param, .. } = &*self.subject;
        let name = |text: &str| utf8_percent_encode(text, NAMES).to_string();
        let filled = pattern
            .replace("[server_id]", server)
            .replace("[service_id]", service)
            .replace("[app]", &name(app))
            .replace("[stream]", &name(stream))
            .replace("[ts_url]", &segment.url)
            .replace("[param]", param);
        filled.parse().map_err(|_| odd(pattern))
    }
}
