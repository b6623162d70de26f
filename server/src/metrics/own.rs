//! Metrics that SRS does not have. Whoever counts something new adds a function here; labels have values of a known number, streams by name
//! excepted, which `streams_limit` bounds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use media::Micros;
use rustix::process::{Resource, getrlimit};

use super::Sources;
use super::page::{Label, Page};
use crate::gate::Snapshot;
use crate::session::{Census, KindFigures, StreamFigures};
use crate::task::Kind;

pub(super) fn write(page: &mut Page, sources: &Sources, census: &Census) {
    clients(page, census);
    webrtc(page, census);
    streams(page, census);
    door(page, sources);
    load(page, sources);
    hls(page, sources);
    forward(page, sources);
    storage(page, sources);
    callbacks(page, sources);
    log(page, sources);
    traces(page, sources);
    tasks(page, sources);
    process(page, sources);
}

fn clients(page: &mut Page, census: &Census) {
    let mut each = |name, help, figure: fn(&KindFigures) -> u64, rises| {
        let mut family = if rises { page.counter(name, help) } else { page.gauge(name, help) };
        for (kind, figures) in &census.kinds {
            family.sample(&[("kind", kind.name())], figure(figures));
        }
    };
    each("oxcast_clients", "Clients of media by what they do.", |kind| kind.clients, false);
    each("oxcast_clients_total", "Clients of media since the start.", |kind| kind.entered, true);
    each("oxcast_receive_bytes_total", "Bytes received from clients.", |kind| kind.flow.received, true);
    each("oxcast_send_bytes_total", "Bytes sent to clients.", |kind| kind.flow.sent, true);
    each(
        "oxcast_skipped_units_total",
        "Media units that slow players missed.",
        |kind| kind.flow.skipped,
        true,
    );
}

/// By the kinds of which packets are counted.
fn webrtc(page: &mut Page, census: &Census) {
    let kinds: Vec<_> = census.kinds.iter().filter(|(kind, _)| kind.is_rtc()).collect();
    let mut nacked = page
        .counter("oxcast_rtc_nacked_packets_total", "Packets that receivers have asked for again (NACK).");
    kinds.iter().for_each(|(kind, figures)| nacked.sample(&[("kind", kind.name())], figures.flow.nacked));
    type Figure = fn(&KindFigures) -> Option<(f64, f64)>;
    let mut each = |name, help, figure: Figure| {
        let mut family = page.gauge(name, help);
        for (kind, figures) in &kinds {
            let Some((mean, worst)) = figure(figures).filter(|_| figures.reception.sessions > 0) else {
                continue;
            };
            family.sample(&[("kind", kind.name()), ("of", "mean")], mean);
            family.sample(&[("kind", kind.name()), ("of", "worst")], worst);
        }
    };
    each("oxcast_rtc_loss_ratio", "Share of packets lost lately.", |kind| Some(kind.reception.loss));
    each("oxcast_rtc_jitter_seconds", "Interarrival jitter.", |kind| Some(both(kind.reception.jitter)));
    each("oxcast_rtc_round_trip_seconds", "Round trip between the server and its clients.", |kind| {
        kind.reception.round_trip.map(both)
    });
}

/// In seconds.
fn both((mean, worst): (Micros, Micros)) -> (f64, f64) {
    (mean.0 as f64 / 1e6, worst.0 as f64 / 1e6)
}

/// What stands in place of the names of streams that are not told of by name.
const REST: &str = "(rest)";

fn streams(page: &mut Page, census: &Census) {
    let mut each = |name, help, figure: fn(&StreamFigures) -> u64, rises| {
        let mut family = if rises { page.counter(name, help) } else { page.gauge(name, help) };
        for (stream, figures) in &census.streams {
            let key = &stream.key;
            let labels: [Label<'_>; 3] = [("vhost", &key.vhost), ("app", &key.app), ("stream", &key.stream)];
            family.sample(&labels, figure(figures));
        }
        family.sample(&[("stream", REST)], figure(&census.rest));
    };
    each(
        "oxcast_stream_clients",
        "Clients of a stream, publisher and players.",
        |stream| stream.clients,
        false,
    );
    each("oxcast_stream_publishers", "Publishers of a stream.", |stream| stream.publishers, false);
    each(
        "oxcast_stream_receive_bytes_total",
        "Bytes received for a stream.",
        |stream| stream.flow.received,
        true,
    );
    each(
        "oxcast_stream_send_bytes_total",
        "Bytes of a stream sent to clients.",
        |stream| stream.flow.sent,
        true,
    );
    each("oxcast_stream_frames_total", "Video frames received of a stream.", |stream| stream.frames, true);
    each("oxcast_stream_keyframes_total", "Keyframes received of a stream.", |stream| stream.keyframes, true);
    each(
        "oxcast_stream_skipped_units_total",
        "Media units that slow players of a stream missed.",
        |stream| stream.flow.skipped,
        true,
    );
    page.gauge("oxcast_streams_unnamed", "Streams in use that are told of as \"(rest)\".")
        .value(census.rest_count);
}

fn door(page: &mut Page, sources: &Sources) {
    let mut refusals =
        page.counter("oxcast_refusals_total", "Clients that were not admitted, by what they wanted and why.");
    for ((action, reason), count) in sources.gate.refusals().counts() {
        refusals.sample(&[("action", action), ("reason", reason)], count);
    }
    let door = &sources.door;
    page.gauge("oxcast_connections", "TCP connections, whatever they are for.").value(door.inside());
    page.gauge("oxcast_connections_limit", "TCP connections that are served at once (max_connections).")
        .value(door.limit());
    page.counter("oxcast_connections_refused_total", "TCP connections that came over the limit.")
        .value(door.refused());
}

fn load(page: &mut Page, sources: &Sources) {
    let mut loads = page.gauge("oxcast_core_load_ratio", "How busy a core was in the last second.");
    for (core, percent) in sources.loads.get().iter().flat_map(|loads| loads.all()).enumerate() {
        loads.sample(&[("core", &core.to_string())], f64::from(percent) / 100.0);
    }
    page.gauge("oxcast_overload_level", "Overload: 0 none, 1 high, 2 critical, 3 dying.")
        .value(sources.breaker.level() as u8);
}

fn hls(page: &mut Page, sources: &Sources) {
    let hls = &sources.hls;
    page.counter("oxcast_hls_segments_total", "HLS segments made.").value(hls.segments.load(Relaxed));
    page.counter("oxcast_hls_failures_total", "HLS segments and playlists that could not be written.")
        .value(hls.failures.load(Relaxed));
    page.counter(
        "oxcast_hls_pieces_lost_total",
        "Pieces of HLS segments dropped because the disk did not keep up.",
    )
    .value(hls.pieces_lost.load(Relaxed));
}

/// Copies for other servers.
fn forward(page: &mut Page, sources: &Sources) {
    let figures = &sources.forward;
    let mut each = |name, help, figure: &AtomicU64, rises| {
        let family = if rises { page.counter(name, help) } else { page.gauge(name, help) };
        family.value(figure.load(Relaxed));
    };
    each(
        "oxcast_forwarders",
        "Destinations that published streams are copied to.",
        &figures.forwarders,
        false,
    );
    each("oxcast_forwarders_connected", "Those that take their stream.", &figures.connected, false);
    each(
        "oxcast_forward_connections_total",
        "Times that a destination took a stream.",
        &figures.connections,
        true,
    );
    each(
        "oxcast_forward_failures_total",
        "Times that one did not, or that its connection broke.",
        &figures.failures,
        true,
    );
    each("oxcast_forward_bytes_total", "Bytes sent to destinations.", &figures.bytes, true);
    each(
        "oxcast_forward_dropped_units_total",
        "Media units that slow destinations missed.",
        &figures.dropped,
        true,
    );
}

/// Calls of web services, by event.
fn storage(page: &mut Page, sources: &Sources) {
    let storage = &sources.storage;
    let mut rises = |name, help, figure: &AtomicU64| page.counter(name, help).value(figure.load(Relaxed));
    rises("oxcast_storage_uploaded_total", "Files put into object storage.", &storage.uploaded);
    rises("oxcast_storage_uploaded_bytes_total", "Bytes of these files.", &storage.bytes);
    rises("oxcast_storage_deleted_total", "Objects deleted.", &storage.deleted);
    rises("oxcast_storage_failures_total", "Requests to object storage that failed.", &storage.failures);
    rises("oxcast_storage_lost_total", "Files that were given up.", &storage.lost);
    rises(
        "oxcast_storage_superseded_total",
        "Files that were deleted, or replaced, before they could be put into object storage.",
        &storage.superseded,
    );
    let mut stands = |name, help, figure: &AtomicU64| page.gauge(name, help).value(figure.load(Relaxed));
    stands("oxcast_storage_spool_jobs", "Steps that wait for object storage.", &storage.spool_jobs);
    stands("oxcast_storage_spool_bytes", "Bytes that wait in spools.", &storage.spool_bytes);
    stands("oxcast_storage_down", "Object storages that do not answer.", &storage.down);
}

fn callbacks(page: &mut Page, sources: &Sources) {
    let figures: Vec<_> = sources.gate.figures().snapshot().collect();
    let mut each = |name, help, figure: fn(&Snapshot) -> u64, rises| {
        let mut family = if rises { page.counter(name, help) } else { page.gauge(name, help) };
        for (action, figures) in &figures {
            family.sample(&[("event", action.name())], figure(figures));
        }
    };
    each("oxcast_callbacks_total", "Calls of web services.", |call| call.calls, true);
    each("oxcast_callbacks_refused_total", "Calls that were answered by no.", |call| call.refusals, true);
    each(
        "oxcast_callbacks_failed_total",
        "Calls without an answer that means anything.",
        |call| call.failures,
        true,
    );
    each("oxcast_callbacks_retried_total", "Calls that were made again.", |call| call.retries, true);
    each("oxcast_callbacks_dropped_total", "Notices that were given up.", |call| call.dropped, true);
    each("oxcast_callbacks_waiting", "Notices that wait for their turn.", |call| call.waiting, false);
    let mut seconds = page.counter("oxcast_callbacks_seconds_total", "What calls took together.");
    for (action, figures) in &figures {
        seconds.sample(&[("event", action.name())], figures.latency.as_secs_f64());
    }
}

fn log(page: &mut Page, sources: &Sources) {
    let mut lines = page.counter("oxcast_log_lines_total", "Lines logged, by level.");
    for (level, count) in sources.log.lines() {
        lines.sample(&[("level", &level.as_str().to_ascii_lowercase())], count);
    }
    page.counter("oxcast_log_lines_lost_total", "Lines lost because the log did not keep up.")
        .value(sources.log.lost());
}

fn traces(page: &mut Page, sources: &Sources) {
    let tracer = &sources.tracer;
    page.counter("oxcast_trace_spans_sent_total", "Spans that the collector has taken.").value(tracer.sent());
    page.counter("oxcast_trace_spans_lost_total", "Spans that it has not taken, or that were too many.")
        .value(tracer.lost());
}

/// Programs that the server has started.
fn tasks(page: &mut Page, sources: &Sources) {
    let (tasks, reports) = (&sources.tasks, sources.tasks.reports());
    let mut family = page.gauge("oxcast_tasks", "Programs that are kept running, by kind and state.");
    for kind in Kind::ALL {
        let all = reports.iter().filter(|report| report.kind == kind);
        let running = all.clone().filter(|report| report.pid.is_some()).count();
        family.sample(&[("kind", kind.name()), ("state", "running")], running);
        family.sample(&[("kind", kind.name()), ("state", "waiting")], all.count() - running);
    }
    let mut family = page.counter("oxcast_task_starts_total", "Programs started, the first time and again.");
    Kind::ALL.iter().for_each(|kind| family.sample(&[("kind", kind.name())], tasks.figures().starts(*kind)));
    let mut family = page.counter("oxcast_task_failures_total", "Programs that ended with an error.");
    Kind::ALL
        .iter()
        .for_each(|kind| family.sample(&[("kind", kind.name())], tasks.figures().failures(*kind)));
}

/// Under the names that all exporters have.
fn process(page: &mut Page, sources: &Sources) {
    let vitals = sources.samples.vitals();
    page.counter("process_cpu_seconds_total", "Processor time used.").value(vitals.busy);
    page.gauge("process_resident_memory_bytes", "Resident memory.").value(vitals.resident);
    page.gauge("process_virtual_memory_bytes", "Mapped memory.").value(vitals.mapped);
    page.gauge("process_threads", "Threads.").value(vitals.threads);
    page.gauge("process_open_fds", "Open files, sockets included.").value(vitals.open_files);
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "Files that may be open.").value(limit);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = now.saturating_sub(sources.identity.start.elapsed());
    page.gauge("process_start_time_seconds", "When the server started, since 1970.").value(start.as_secs());
}
