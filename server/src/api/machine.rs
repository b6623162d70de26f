//! How the server and the machine do, from the newest samples.

use std::ffi::OsStr;
use std::os::unix::process::parent_id;

use axum::extract::State as Extract;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::State;
use super::call::Call;
use super::samples::{Sample, Samples};
use crate::process::Identity;
use crate::session::Roll;

pub(super) async fn rusages(Extract(state): Extract<State>, call: Call) -> Response {
    sampled(&state, &call, state.samples.figures().usage)
}

pub(super) async fn self_proc_stats(Extract(state): Extract<State>, call: Call) -> Response {
    sampled(&state, &call, state.samples.figures().process)
}

pub(super) async fn system_proc_stats(Extract(state): Extract<State>, call: Call) -> Response {
    sampled(&state, &call, state.samples.figures().processors)
}

pub(super) async fn meminfos(Extract(state): Extract<State>, call: Call) -> Response {
    sampled(&state, &call, state.samples.figures().memory)
}

/// A sample as it is, with zeros while there is none.
fn sampled<T: Default + Serialize>(state: &State, call: &Call, sample: Option<Sample<T>>) -> Response {
    #[derive(Serialize)]
    struct Data<T> {
        ok: bool,
        sample_time: i64,
        #[serde(flatten)]
        value: T,
    }
    let ok = sample.is_some();
    let Sample { at, value } = sample.unwrap_or_default();
    let data = serde_json::to_value(Data { ok, sample_time: at, value }).unwrap_or_default();
    call.reply(&state.success("data", data))
}

pub(super) async fn summaries(Extract(state): Extract<State>, call: Call) -> Response {
    let summary = summary(&state.samples, &state.roll, &state.identity);
    call.reply(&state.success("data", summary))
}

/// The server and the machine in short.
pub fn summary(samples: &Samples, roll: &Roll, identity: &Identity) -> Value {
    let figures = samples.figures();
    let ok = figures.are_complete();
    let now = Timestamp::now().as_millisecond();
    let process = figures.process.unwrap_or_default().value;
    let processors = figures.processors.unwrap_or_default().value;
    let usage = figures.usage.unwrap_or_default().value;
    let memory = figures.memory.unwrap_or_default().value;
    let disk = figures.disk.unwrap_or_default().value;
    let platform = figures.platform.unwrap_or_default().value;
    let network = figures.network.unwrap_or_default();
    let sockets = figures.sockets.unwrap_or_default().value;
    let media = roll.totals();
    let share_of_ram = usage.ru_maxrss as f64 / memory.total.max(1) as f64;
    json!({
        "ok": ok,
        "now_ms": now,
        "self": {
            "version": crate::VERSION,
            "pid": identity.pid,
            "ppid": parent_id(),
            "argv": identity.argv.join(OsStr::new(" ")).to_string_lossy(),
            "cwd": std::env::current_dir().unwrap_or_default().to_string_lossy(),
            "mem_kbyte": usage.ru_maxrss,
            "mem_percent": if memory.total > 0 { share_of_ram } else { 0.0 },
            "cpu_percent": process.percent,
            "srs_uptime": identity.start.elapsed().as_secs(),
        },
        "system": {
            "cpu_percent": processors.percent,
            "disk_read_KBps": disk.read,
            "disk_write_KBps": disk.written,
            "disk_busy_percent": disk.busy,
            "mem_ram_kbyte": memory.total,
            "mem_ram_percent": memory.percent_ram,
            "mem_swap_kbyte": memory.swap_total,
            "mem_swap_percent": memory.percent_swap,
            "cpus": platform.cpus.0,
            "cpus_online": platform.cpus.1,
            "uptime": platform.uptime,
            "ilde_time": platform.idle,
            "load_1m": platform.load[0],
            "load_5m": platform.load[1],
            "load_15m": platform.load[2],
            "net_sample_time": network.at,
            "net_recv_bytes": network.value.public.0,
            "net_send_bytes": network.value.public.1,
            "net_recvi_bytes": network.value.private.0,
            "net_sendi_bytes": network.value.private.1,
            // The bytes of clients are counted as they flow, so they are those of this moment.
            "srs_sample_time": now,
            "srs_recv_bytes": media.received,
            "srs_send_bytes": media.sent,
            "conn_sys": sockets.tcp,
            "conn_sys_et": sockets.established,
            "conn_sys_tw": sockets.time_wait,
            "conn_sys_udp": sockets.udp,
            "conn_srs": media.clients,
        },
    })
}
