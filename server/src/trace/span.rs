//! Spans while they last, and the journey of a client, which is made of them.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tracing::info;

use super::{Context, Tracer};
use crate::session::{Client, Flow, Kind, Request, Session};

/// Something that is known of a span.
pub(super) type Attribute = (&'static str, Value);

/// What is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
}

/// A span that is over.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) name: &'static str,
    pub(super) context: Context,
    pub(super) parent: Option<Context>,
    pub(super) link: Option<Context>,
    /// Somebody from outside has caused it.
    pub(super) outside: bool,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<Attribute>,
    /// It went wrong; the reason.
    pub(super) error: Option<String>,
}

/// A span that has begun. Only [`Open::end`] tells of it.
struct Open {
    tracer: Arc<Tracer>,
    span: Span,
}

impl Open {
    fn new(tracer: &Arc<Tracer>, name: &'static str, context: Context, parent: Option<Context>) -> Self {
        let now = SystemTime::now();
        let span = Span {
            name,
            context,
            parent,
            link: None,
            outside: parent.is_none(),
            start: now,
            end: now,
            attributes: Vec::new(),
            error: None,
        };
        Self { tracer: tracer.clone(), span }
    }

    /// It is over.
    fn end(mut self) {
        self.span.end = SystemTime::now();
        self.tracer.send(self.span);
    }

    fn fail(mut self, reason: &str) {
        self.span.error = Some(reason.to_owned());
        self.end();
    }
}

/// Something that every client waits for once. If it never comes, nobody is told.
pub struct Moment(Open);

impl Moment {
    /// It has come.
    pub fn come(self) {
        self.0.end();
    }
}

/// What the server does for a publisher meanwhile, as a part of its trace. Only its end tells of it.
pub struct Part(Open);

impl Part {
    /// A part of a client's trace, if that is recorded.
    pub(super) fn begin(tracer: &Arc<Tracer>, session: &Session, name: &'static str) -> Option<Self> {
        let trace = session.trace();
        session.is_traced().then(|| Self(Open::new(tracer, name, trace.child(), Some(trace))))
    }

    /// Something is known of it.
    pub fn note(&mut self, name: &'static str, text: &str) {
        self.0.span.attributes.push((name, Value::Text(text.to_owned())));
    }

    /// It is over.
    pub fn end(self) {
        self.0.end();
    }

    /// It went wrong.
    pub fn fail(self, reason: &str) {
        self.0.fail(reason);
    }
}

/// A client at the gate.
pub struct Journey {
    session: Open,
    admission: Open,
}

impl Journey {
    /// The journey of a client that comes to the gate, if it is to be traced.
    pub fn begin(tracer: &Arc<Tracer>, session: &Session, kind: Kind, request: &Request) -> Option<Self> {
        if !tracer.wants(session.trace()) {
            return None;
        }
        session.mark_traced();
        info!("traced as {}", session.traceparent());
        let name = if kind.is_publish() { "publish" } else { "play" };
        let mut open = Open::new(tracer, name, session.trace(), None);
        let text = |text: &str| Value::Text(text.to_owned());
        open.span.attributes = vec![
            ("oxcast.cid", text(session.cid.as_str())),
            ("oxcast.kind", text(kind.name())),
            ("oxcast.vhost", text(&request.vhost)),
            ("oxcast.app", text(&request.app)),
            ("oxcast.stream", text(&request.stream)),
            ("client.address", Value::Text(session.peer.ip().to_string())),
            ("client.port", Value::Number(session.peer.port().into())),
        ];
        let admission = child(&open, "admission");
        Some(Self { session: open, admission })
    }

    /// It is not admitted.
    pub fn refuse(self, reason: &str) {
        self.admission.fail(reason);
        self.session.fail(reason);
    }

    /// It is inside, and waits for `moment`.
    pub fn admit(self, client: &Arc<Client>, moment: &'static str) -> Inside {
        self.admission.end();
        let moment = Mutex::new(Some(Moment(child(&self.session, moment))));
        Inside(Some(Box::new(Stay { session: self.session, client: client.clone(), moment })))
    }
}

/// A part of a span.
fn child(of: &Open, name: &'static str) -> Open {
    let context = of.span.context;
    Open::new(&of.tracer, name, context.child(), Some(context))
}

/// The journey of a client inside; dropping it ends the journey. Clients that are not traced have none.
#[derive(Default)]
pub struct Inside(Option<Box<Stay>>);

struct Stay {
    session: Open,
    client: Arc<Client>,
    moment: Mutex<Option<Moment>>,
}

impl Inside {
    /// What the client waits for; once.
    pub fn moment(&self) -> Option<Moment> {
        self.0.as_ref()?.moment.lock().take()
    }

    /// What the client waits for has come. Costs nothing where nobody is traced.
    pub fn arrive(&mut self) {
        if let Some(moment) = self.0.as_mut().and_then(|stay| stay.moment.get_mut().take()) {
            moment.come();
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let Some(stay) = self.0.take() else { return };
        let Stay { mut session, client, .. } = *stay;
        let Flow { received, sent, skipped, nacked } = client.flow();
        session.span.attributes.extend([
            ("oxcast.received_bytes", Value::Number(received)),
            ("oxcast.sent_bytes", Value::Number(sent)),
            ("oxcast.skipped_units", Value::Number(skipped)),
            ("oxcast.nacked_packets", Value::Number(nacked)),
        ]);
        if !client.kind.is_publish() {
            // The publisher may have come after its player, so that this is known now at the earliest.
            session.span.link = client.stream.trace();
        }
        session.end();
    }
}
