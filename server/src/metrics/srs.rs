//! The metrics of SRS 5, with its names, types and labels.

use rustix::system::uname;

use super::Sources;
use super::page::Page;
use crate::api;
use crate::config::Exporter;
use crate::session::Census;

/// The release by name, where SRS has the name of a bee.
const RELEASE: &str = "Oxcast";

pub(super) fn write(page: &mut Page, settings: &Exporter, sources: &Sources, census: &Census) {
    let name = uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    page.gauge("srs_node_uname_info", "Labelled system information as provided by the uname system call.")
        .sample(
            &[
                ("sysname", &text(name.sysname())),
                ("nodename", &text(name.nodename())),
                ("release", &text(name.release())),
                ("version", &text(name.version())),
                ("machine", &text(name.machine())),
            ],
            1,
        );
    let identity = &sources.identity;
    page.gauge("srs_build_info", "What this server is: identity, version and build.").sample(
        &[
            ("server", &identity.server),
            ("service", &identity.service),
            ("pid", &identity.pid.to_string()),
            ("build_date", &api::built().0),
            ("major", env!("CARGO_PKG_VERSION_MAJOR")),
            ("version", crate::VERSION),
            ("code", RELEASE),
            ("label", &settings.label),
            ("tag", &settings.tag),
        ],
        1,
    );
    let (vitals, totals) = (sources.samples.vitals(), sources.roll.totals());
    page.gauge("srs_cpu_percent", "Processor time used by the server, in percent of one core.")
        .value(vitals.load * 100.0);
    page.gauge("srs_memory", "Resident memory of the server in KB.").value(vitals.resident / 1024);
    page.counter("srs_send_bytes_total", "Bytes sent to clients of media.").value(totals.sent);
    page.counter("srs_receive_bytes_total", "Bytes received from clients of media.").value(totals.received);
    page.gauge("srs_streams", "Streams in use, also those that only wait for a publisher.")
        .value(census.stream_count);
    page.gauge("srs_clients", "Clients of media.").value(totals.clients);
    let entered: u64 = census.kinds.values().map(|kind| kind.entered).sum();
    page.counter("srs_clients_total", "Clients of media since the start.").value(entered);
    page.counter("srs_clients_errs_total", "Clients of media that ended with an error.").value(census.failed);
}
