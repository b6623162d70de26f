//! The HTTP API in the shapes of SRS: what the server is, how the machine does, who is connected, and how to end that.
//! It reads figures that others keep and changes nothing but by [`Roll::kick`](crate::session::Roll::kick).
//! Listening does not belong here.

mod audit;
mod call;
mod clusters;
mod dvrs;
mod echo;
mod events;
mod forwards;
mod health;
mod index;
mod lists;
mod machine;
mod openapi;
mod raw;
mod samples;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Extract;
use axum::response::Response;
use axum::routing::any;
use serde_json::{Value, json};

use crate::config::Config;
use crate::dvr::Catalogue;
use crate::forward::Forwarders;
use crate::gate::Gate;
use crate::http::finish;
use crate::metrics;
use crate::process::Identity;
use crate::reload::Reloads;
use crate::session::Roll;
use crate::task::Tasks;

use call::Call;
pub use call::text;
pub use index::built;
pub use machine::summary;
pub use samples::{Samples, run_samplers};

/// What the API reads.
#[derive(Clone)]
pub struct State {
    /// The configuration.
    pub config: Arc<Config>,
    /// Who is connected.
    pub roll: Arc<Roll>,
    /// The vhosts as they stand.
    pub gate: Arc<Gate>,
    /// Who this server is.
    pub identity: Arc<Identity>,
    /// Figures of the machine; see [`run_samplers`].
    pub samples: Arc<Samples>,
    /// How a reload is asked for.
    pub reloads: Reloads,
    /// What metrics are made of.
    pub metrics: Arc<metrics::Sources>,
    /// Copies for other servers.
    pub forwarders: Forwarders,
    /// Programs that the server starts.
    pub tasks: Tasks,
    /// Which recordings there are.
    pub recordings: Catalogue,
}

/// The API on a port of its own. Paths that it does not know are answered by the index above them, with code 0.
pub fn router(state: State) -> Router {
    let config = state.config.clone();
    let routes = routes().route("/", any(index::root)).fallback(index::root);
    finish(routes.with_state(state), &config)
}

/// The API on the stream port: all of it below `/api/` where both share their endpoints, else the version and a description. Whoever adds
/// the rest of the port has to [`finish`] it.
pub fn stream_port_router(state: State) -> Router {
    let routes = if state.config.api_shares_http_server() {
        routes()
    } else {
        Router::new()
            .route("/api/v1/versions", any(index::versions))
            .route(openapi::PATH, any(openapi::beside_streams))
    };
    routes.with_state(state)
}

fn routes() -> Router<State> {
    let mut routes = Router::new()
        .route("/metrics", any(metrics))
        .route("/api/v1/versions", any(index::versions))
        .route("/api/v1/authors", any(index::authors))
        .route("/api/v1/features", any(index::features))
        .route("/api/v1/raw", any(raw::raw))
        .route("/api/v1/clusters", any(clusters::clusters))
        .route("/api/v1/events", any(events::events))
        .route("/api/v1/forwards", any(forwards::forwards))
        .route("/api/v1/dvrs", any(dvrs::dvrs))
        .route("/api/v1/tasks", any(tasks::tasks))
        .route(openapi::PATH, any(openapi::openapi))
        .route("/api/v1/tests/requests", any(echo::requests))
        .route("/api/v1/tests/errors", any(echo::errors))
        .route(echo::REDIRECTS, any(echo::redirects))
        .route("/api/v1/summaries", any(machine::summaries))
        .route("/api/v1/rusages", any(machine::rusages))
        .route("/api/v1/self_proc_stats", any(machine::self_proc_stats))
        .route("/api/v1/system_proc_stats", any(machine::system_proc_stats))
        .route("/api/v1/meminfos", any(machine::meminfos));
    // SRS redirects to the form with the slash, and loses the body of a POST on the way.
    for end in ["", "/", "/{*rest}"] {
        routes = routes
            .route(&format!("/api{end}"), any(index::api))
            .route(&format!("/api/v1{end}"), any(index::v1))
            .route(&format!("/api/v1/vhosts{end}"), any(lists::vhosts))
            .route(&format!("/api/v1/streams{end}"), any(lists::streams))
            .route(&format!("/api/v1/clients{end}"), any(lists::clients));
    }
    routes
}

/// The same as on the port of the exporter.
async fn metrics(Extract(state): Extract<State>, call: Call) -> Response {
    match &state.config.exporter {
        Some(settings) => metrics::answer(&state.metrics, settings),
        None => call.reply(&Failure::ExporterDisabled.answer()),
    }
}

impl State {
    /// Success: what every answer says, and `value` under `key`.
    fn success(&self, key: &str, value: Value) -> Value {
        let Identity { server, service, pid, .. } = &*self.identity;
        json!({ "code": 0, "server": server, "service": service, "pid": pid.to_string(), key: value })
    }

    /// Success, with nothing more to say.
    fn done(&self) -> Value {
        let Identity { server, service, pid, .. } = &*self.identity;
        json!({ "code": 0, "server": server, "service": service, "pid": pid.to_string() })
    }
}

/// Failures by SRS's number.
#[derive(Clone, Copy)]
enum Failure {
    Test = 100,
    NoSuchRpc = 1060,
    RawDisabled = 1061,
    ExporterDisabled = 1090,
    NoVhost = 2014,
    NoStream = 2048,
    NoClient = 2049,
    BadCallback = 4058,
}

impl Failure {
    fn answer(self) -> Value {
        let message = match self {
            Self::Test => "you have asked for an error",
            Self::NoSuchRpc => "`rpc` may be raw, reload or reload-fetch",
            Self::RawDisabled => "this is off: see `http_api { raw_api { … } }` in the configuration",
            Self::ExporterDisabled => "this is off: see `exporter { … }` in the configuration",
            Self::NoVhost => "no vhost has this id; see /api/v1/vhosts/",
            Self::NoStream => "no stream has this id; see /api/v1/streams/",
            Self::NoClient => "no client has this id; see /api/v1/clients/",
            Self::BadCallback => "the callback may consist of letters, digits, `_`, `-` and `.`",
        };
        json!({ "code": self as i32, "message": message })
    }
}
