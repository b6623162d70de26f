//! What is configured for those who watch the server from outside.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::Endpoint;

/// Metrics for Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// Endpoints, at least one.
    pub listen: Vec<Endpoint>,
    /// `label` of `srs_build_info`; may be empty.
    pub label: String,
    /// `tag` of `srs_build_info`; may be empty.
    pub tag: String,
    /// Streams that have metrics of their own, at most.
    pub streams_limit: u32,
}

/// OpenTelemetry traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Where spans are posted to.
    pub endpoint: Url,
    /// `service.name`.
    pub service_name: String,
    /// The share of sessions that are traced, 0 to 1.
    pub sample: f64,
    /// Authorities that vouch for the collector; the system's, if it is none.
    pub tls_ca: Option<PathBuf>,
}

/// Reports to a management server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Time between two reports, at least 1 s.
    pub interval: Duration,
    /// Where they are posted to, without a query.
    pub url: Url,
    /// `device_id`; may be empty.
    pub device_id: String,
    /// `ip`; found, if it is none.
    pub ip: Option<String>,
    /// Add the summaries of the API.
    pub summaries: bool,
    /// Add the endpoints.
    pub ports: bool,
    /// Authorities that vouch for the receiver; the system's, if it is none.
    pub tls_ca: Option<PathBuf>,
}
