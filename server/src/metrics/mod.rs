//! Metrics for Prometheus: SRS's, under the names that its dashboards know, and our own. Nothing is counted here: others count, and a page is
//! written from their counts when somebody asks. docs/ref/metrics.md tells what each metric means.

mod own;
mod page;
mod srs;
#[cfg(test)]
pub mod tests;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::Samples;
use crate::breaker::Breaker;
use crate::config::{Config, Exporter};
use crate::forward;
use crate::gate::Gate;
use crate::log;
use crate::net::{Door, Loads};
use crate::process::Identity;
use crate::protocol::hls;
use crate::session::Roll;
use crate::store;
use crate::task::Tasks;
use crate::trace::Tracer;

use page::Page;

/// Who has counted.
pub struct Sources {
    /// Clients and streams.
    pub roll: Arc<Roll>,
    /// Refusals.
    pub gate: Arc<Gate>,
    /// Who this server is.
    pub identity: Arc<Identity>,
    /// The process.
    pub samples: Arc<Samples>,
    /// Connections.
    pub door: Arc<Door>,
    /// The cores, once they run.
    pub loads: OnceLock<Loads>,
    /// The overload level.
    pub breaker: Arc<Breaker>,
    /// HLS.
    pub hls: Arc<hls::Figures>,
    /// What object storage counts.
    pub storage: Arc<store::Figures>,
    /// The log.
    pub log: log::Meter,
    /// Traces.
    pub tracer: Arc<Tracer>,
    /// Copies for other servers.
    pub forward: Arc<forward::Figures>,
    /// Programs that the server has started.
    pub tasks: Tasks,
}

impl Sources {
    /// The cores run, and this busy they are.
    pub fn watch(&self, loads: Loads) {
        // A second call has the same to tell.
        let _ = self.loads.set(loads);
    }

    fn page(&self, settings: &Exporter) -> String {
        let mut page = Page::default();
        let census = self.roll.census();
        srs::write(&mut page, settings, self, &census);
        own::write(&mut page, self, &census);
        page.end()
    }
}

/// A page as the answer to a request.
pub fn answer(sources: &Sources, settings: &Exporter) -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], sources.page(settings)).into_response()
}

/// The port of the exporter, if there is to be one.
pub fn router(sources: Arc<Sources>, config: &Config) -> Router {
    let Some(settings) = config.exporter.clone() else { return Router::new() };
    sources.roll.limit_names(settings.streams_limit as usize);
    Router::new().route("/metrics", get(async move || answer(&sources, &settings)))
}
