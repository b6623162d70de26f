//! What is configured for those who watch the server from outside.

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
