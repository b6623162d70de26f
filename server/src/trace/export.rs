//! Spans on their way to a collector: through a bounded queue to a task of the caller's thread, which posts them in batches as OTLP over HTTP, in JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use super::span::{Attribute, Span, Value};
use super::{Context, Journey, Part};
use crate::caller::{self, Call, Caller};
use crate::config::Traces;
use crate::process::Identity;
use crate::session::{Kind, Request, Session};

/// Spans that may wait.
const QUEUE: usize = 8192;

/// Spans that are posted at once.
const BATCH: usize = 512;

/// How long the first span of a batch waits for others.
const WAIT: Duration = Duration::from_secs(1);

/// How long a post may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A batch that is not taken is posted again after these times, and then given up.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// What becomes of spans: nothing, unless traces are on.
#[derive(Default)]
pub struct Tracer {
    outlet: Option<mpsc::Sender<Span>>,
    share: f64,
    sent: AtomicU64,
    lost: AtomicU64,
    closing: Notify,
}

/// The other end of a tracer.
pub struct Exporter {
    settings: Traces,
    resource: Json,
    spans: mpsc::Receiver<Span>,
    tracer: Arc<Tracer>,
}

impl Tracer {
    /// A tracer, and what is to be run for it.
    pub fn start(settings: Traces, identity: &Identity) -> (Arc<Self>, Exporter) {
        let (outlet, spans) = mpsc::channel(QUEUE);
        let tracer = Arc::new(Self { outlet: Some(outlet), share: settings.sample, ..Self::default() });
        let resource = resource(&settings, identity);
        (tracer.clone(), Exporter { settings, resource, spans, tracer })
    }

    /// The journey of a client that comes to the gate, if it is to be traced.
    pub fn begin(self: &Arc<Self>, session: &Session, kind: Kind, request: &Request) -> Option<Journey> {
        Journey::begin(self, session, kind, request)
    }

    /// What the server does for a client, as a part of its trace, if that is recorded.
    pub fn part(self: &Arc<Self>, session: &Session, name: &'static str) -> Option<Part> {
        Part::begin(self, session, name)
    }

    /// Spans that a collector has taken.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Spans that were lost, because there were too many or nobody took them.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Has what waits sent, and no more accepted: the server ends.
    pub fn close(&self) {
        self.closing.notify_one();
    }

    pub(super) fn wants(&self, trace: Context) -> bool {
        self.outlet.is_some() && trace.is_among(self.share)
    }

    pub(super) fn send(&self, span: Span) {
        if self.outlet.as_ref().is_some_and(|outlet| outlet.try_send(span).is_err()) {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Exporter {
    /// Posts spans until the tracer is closed; to be run by the caller's thread.
    pub async fn run(mut self, caller: Caller) {
        let (mut failing, tracer) = (false, self.tracer.clone());
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                () = self.gather(&mut batch) => {}
                () = tracer.closing.notified() => self.spans.close(),
            }
            while batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            let spans = batch.len() as u64;
            let counter = match self.post(&caller, &batch, &mut failing).await {
                true => &self.tracer.sent,
                false => &self.tracer.lost,
            };
            counter.fetch_add(spans, Relaxed);
        }
    }

    /// Waits for the next batch.
    async fn gather(&mut self, batch: &mut Vec<Span>) {
        batch.extend(self.spans.recv().await);
        let until = Instant::now() + WAIT;
        while !batch.is_empty()
            && batch.len() < BATCH
            && let Ok(Some(span)) = timeout_at(until, self.spans.recv()).await
        {
            batch.push(span);
        }
    }

    /// Posts a batch until it is taken; whether it was.
    async fn post(&self, caller: &Caller, batch: &[Span], failing: &mut bool) -> bool {
        let body = self.body(batch).to_string();
        let Traces { endpoint, tls_ca, .. } = &self.settings;
        let (to, tls_ca) = (caller::shown(endpoint), tls_ca.as_deref());
        for pause in AGAIN.into_iter().map(Some).chain([None]) {
            let call = Call {
                url: endpoint,
                body: Some(&body),
                timeout: PATIENCE,
                tls_ca,
                limit: 4096,
                traceparent: None,
            };
            let (why, is_final) = match caller.call(call).await {
                Ok(answer) if answer.status / 100 == 2 => {
                    *failing = false;
                    return true;
                }
                // Only these are worth another try.
                Ok(answer) => {
                    (format!("answers {}", answer.status), !matches!(answer.status, 429 | 502..=504))
                }
                Err(e) => (e.to_string(), false),
            };
            if !std::mem::replace(failing, true) {
                warn!("traces: {to}: {why}");
            }
            let Some(pause) = pause.filter(|_| !is_final && !self.spans.is_closed()) else { break };
            sleep(pause).await;
        }
        debug!("traces: {} spans are lost", batch.len());
        false
    }

    fn body(&self, batch: &[Span]) -> Json {
        let spans: Vec<_> = batch.iter().map(encode).collect();
        let scope = json!({ "name": "oxcast", "version": crate::VERSION });
        json!({
            "resourceSpans": [{
                "resource": self.resource,
                "scopeSpans": [{ "scope": scope, "spans": spans }],
            }],
        })
    }
}

fn resource(settings: &Traces, identity: &Identity) -> Json {
    let text = |key, text: &str| attribute(&(key, Value::Text(text.to_owned())));
    let host = rustix::system::uname();
    json!({ "attributes": [
        text("service.name", &settings.service_name),
        text("service.version", crate::VERSION),
        text("service.instance.id", &identity.server),
        text("host.name", &host.nodename().to_string_lossy()),
        attribute(&("process.pid", Value::Number(identity.pid.into()))),
    ] })
}

/// By the rules of Protobuf's JSON: numbers of 64 bits are texts.
fn attribute((key, value): &Attribute) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
    };
    json!({ "key": key, "value": value })
}

fn encode(span: &Span) -> Json {
    const INTERNAL: u8 = 1;
    const SERVER: u8 = 2;
    const ERROR: u8 = 2;
    let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let mut encoded = json!({
        "traceId": span.context.trace_id(),
        "spanId": span.context.span_id(),
        "name": span.name,
        "kind": if span.outside { SERVER } else { INTERNAL },
        "startTimeUnixNano": nanos(span.start),
        "endTimeUnixNano": nanos(span.end),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<_>>(),
    });
    if let Some(parent) = span.parent {
        encoded["parentSpanId"] = parent.span_id().into();
    }
    if let Some(link) = span.link {
        encoded["links"] = json!([{ "traceId": link.trace_id(), "spanId": link.span_id() }]);
    }
    if let Some(error) = &span.error {
        encoded["status"] = json!({ "code": ERROR, "message": error });
    }
    encoded
}
