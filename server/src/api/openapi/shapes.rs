//! How answers look, as JSON Schema: every object has the keys that are named and no others; those with `?` may be absent.

use serde_json::{Map, Value, json};

/// An object of these keys.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, shape) in fields {
        match name.strip_suffix('?') {
            Some(name) => drop(properties.insert(name.to_owned(), shape)),
            None => {
                required.push(name.to_owned());
                properties.insert(name.to_owned(), shape);
            }
        }
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// An object of these keys, all of one shape.
fn all(names: &str, shape: fn() -> Value) -> Value {
    let properties: Map<_, _> = names.split_whitespace().map(|name| (name.to_owned(), shape())).collect();
    let required: Vec<_> = properties.keys().cloned().collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// An object with the keys of both.
fn joined(mut one: Value, other: Value) -> Value {
    for part in ["properties", "required"] {
        match (&mut one[part], other[part].clone()) {
            (Value::Object(to), Value::Object(from)) => to.extend(from),
            (Value::Array(to), Value::Array(from)) => to.extend(from),
            _ => {}
        }
    }
    one
}

fn int() -> Value {
    json!({ "type": "integer" })
}

fn float() -> Value {
    json!({ "type": "number" })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn switch() -> Value {
    json!({ "type": "boolean" })
}

fn constant(value: impl Into<Value>) -> Value {
    json!({ "const": value.into() })
}

fn or_null(shape: Value) -> Value {
    json!({ "anyOf": [shape, { "type": "null" }] })
}

fn kbps() -> Value {
    all("recv_30s send_30s", int)
}

/// What every success says first.
pub(super) fn done() -> Value {
    object([("code", constant(0)), ("server", text()), ("service", text()), ("pid", text())])
}

/// Success, with something under a key.
pub(super) fn success(key: &str, shape: Value) -> Value {
    joined(done(), object([(key, shape)]))
}

/// Failure by this number.
pub(super) fn failure(code: u16) -> Value {
    object([("code", constant(code)), ("message", text())])
}

/// This, or the failure of this number.
pub(super) fn either(success: Value, code: u16) -> Value {
    json!({ "oneOf": [success, failure(code)] })
}

/// A program that the server keeps running.
pub(super) fn task() -> Value {
    let kinds = json!({ "enum": ["ingest", "transcode", "exec"] });
    let states = json!({ "enum": ["running", "waiting"] });
    let fixed = object([
        ("kind", kinds),
        ("state", states),
        ("pid", or_null(int())),
        ("since", float()),
        ("restarts", int()),
    ]);
    joined(fixed, all("name vhost stream reason", text))
}

/// Paths that take nothing: what they are for, and their answers.
pub(super) fn plain() -> Vec<(&'static str, &'static str, Value)> {
    let sampled =
        |more: Value| success("data", joined(object([("ok", switch()), ("sample_time", int())]), more));
    let rtc = object([("v1", all("play publish nack", text))]);
    let tests = all("requests errors redirects [vhost]", text);
    let urls = all(
        "versions summaries rusages self_proc_stats system_proc_stats meminfos authors features requests vhosts streams clients \
         raw clusters perf tcmalloc",
        text,
    );
    let version = joined(all("major minor revision", int), object([("version", text())]));
    let features = all(
        "ssl hls hds callback api httpd dvr transcode ingest stat caster complex_send tcp_nodelay so_sendbuf mr",
        switch,
    );
    let features = joined(all("options options2 build build2", text), object([("features", features)]));
    let processors =
        joined(object([("percent", float())]), all("user nice sys idle iowait irq softirq steal guest", int));
    let memory = joined(
        all("percent_ram percent_swap", float),
        all("MemActive RealInUse NotInUse MemTotal MemFree Buffers Cached SwapTotal SwapFree", int),
    );
    let usage = all(
        "ru_utime ru_stime ru_maxrss ru_ixrss ru_idrss ru_isrss ru_minflt ru_majflt ru_nswap ru_inblock ru_oublock ru_msgsnd \
         ru_msgrcv ru_nsignals ru_nvcsw ru_nivcsw",
        int,
    );
    let process = joined(
        object([("percent", float()), ("comm", text()), ("state", text())]),
        all(
            "pid ppid pgrp session tty_nr tpgid flags minflt cminflt majflt cmajflt utime stime cutime cstime priority nice \
             num_threads itrealvalue starttime vsize rss rsslim startcode endcode startstack kstkesp kstkeip signal blocked \
             sigignore sigcatch wchan nswap cnswap exit_signal processor rt_priority policy delayacct_blkio_ticks guest_time \
             cguest_time",
            int,
        ),
    );
    let about = joined(all("sigature version link", text), object([("time", int())]));
    let request = joined(all("uri path METHOD", text), object([("headers", about)]));
    vec![
        ("/api/", "Index", success("urls", all("v1", text))),
        ("/api/v1/", "Index", success("urls", joined(urls, object([("tests", tests)])))),
        ("/", "Index; on a port that is shared with streams, the web root", {
            success("urls", object([("api", text()), ("rtc", rtc)]))
        }),
        ("/api/v1/versions", "The version", success("data", version)),
        ("/api/v1/authors", "Who made it", success("data", all("license contributors", text))),
        ("/api/v1/features", "What it can do", success("data", features)),
        ("/api/v1/summaries", "The server and the machine", success("data", summaries())),
        ("/api/v1/rusages", "Resources", sampled(usage)),
        ("/api/v1/self_proc_stats", "The process", sampled(process)),
        ("/api/v1/system_proc_stats", "Processors", sampled(processors)),
        ("/api/v1/meminfos", "Memory", sampled(memory)),
        ("/api/v1/tests/requests", "An echo", success("data", request)),
        ("/api/v1/tests/errors", "An error", failure(100)),
    ]
}

fn summaries() -> Value {
    let own = joined(
        all("version argv cwd", text),
        joined(all("pid ppid mem_kbyte srs_uptime", int), all("mem_percent cpu_percent", float)),
    );
    let system = joined(
        all(
            "disk_read_KBps disk_write_KBps mem_ram_kbyte mem_swap_kbyte cpus cpus_online net_sample_time net_recv_bytes \
             net_send_bytes net_recvi_bytes net_sendi_bytes srs_sample_time srs_recv_bytes srs_send_bytes conn_sys conn_sys_et \
             conn_sys_tw conn_sys_udp conn_srs",
            int,
        ),
        all(
            "cpu_percent disk_busy_percent mem_ram_percent mem_swap_percent uptime ilde_time load_1m load_5m load_15m",
            float,
        ),
    );
    object([("ok", switch()), ("now_ms", int()), ("self", own), ("system", system)])
}

/// The lists: their names, what one is called, the failure if it is not there, and its shape.
pub(super) fn lists() -> [(&'static str, &'static str, u16, Value); 3] {
    [
        ("vhosts", "vhost", 2014, vhost()),
        ("streams", "stream", 2048, stream()),
        ("clients", "client", 2049, client()),
    ]
}

fn vhost() -> Value {
    let hls = object([("enabled", switch()), ("fragment?", float())]);
    joined(
        joined(all("id name", text), all("clients streams send_bytes recv_bytes", int)),
        object([("enabled", switch()), ("kbps", kbps()), ("hls", hls)]),
    )
}

fn stream() -> Value {
    let video = joined(all("codec profile level", text), all("width height", int));
    let audio = joined(all("codec profile", text), all("sample_rate channel", int));
    joined(
        joined(
            all("id name vhost app tcUrl url", text),
            all("live_ms clients frames send_bytes recv_bytes", int),
        ),
        object([
            ("kbps", kbps()),
            ("publish", object([("active", switch()), ("cid?", text())])),
            ("video", or_null(video)),
            ("audio", or_null(audio)),
        ]),
    )
}

fn client() -> Value {
    let reception =
        object([("loss", float()), ("lost", int()), ("jitter_ms", float()), ("rtt_ms", or_null(float()))]);
    joined(
        joined(
            all("id vhost stream ip pageUrl swfUrl tcUrl url name type", text),
            all("send_bytes recv_bytes skipped", int),
        ),
        object([("publish", switch()), ("alive", float()), ("kbps", kbps()), ("reception?", reception)]),
    )
}

/// How many were sent away.
pub(super) fn kicked() -> Value {
    all("publishers players", int)
}

/// How a stream does.
pub(super) fn health() -> Value {
    let line = || {
        object([
            ("codec", or_null(text())),
            ("frames", int()),
            ("fps", all("last_1s last_30s", float)),
            ("kbps", all("last_1s last_30s", int)),
            ("last_frame_ms", or_null(int())),
            ("longest_gap_ms", all("last_30s ever", int)),
            ("jumps", int()),
        ])
    };
    let interval = object([("keyframe_interval_ms", or_null(all("last longest", int)))]);
    let output =
        object([("type", text()), ("clients", int()), ("lag_ms", all("mean most", int)), ("skipped", int())]);
    object([
        ("id", text()),
        ("url", text()),
        ("active", switch()),
        ("age_ms", or_null(int())),
        ("last_frame_ms", or_null(int())),
        ("skew_ms", or_null(int())),
        ("video", or_null(joined(line(), interval))),
        ("audio", or_null(line())),
        ("outputs", json!({ "type": "array", "items": output })),
    ])
}

/// A copy for another server.
pub(super) fn forward() -> Value {
    let names = all("id vhost app stream publisher destination", text);
    let figures = all("alive_ms connections failures send_bytes dropped", int);
    let states = json!({ "enum": ["connecting", "forwarding", "waiting", "loop"] });
    joined(joined(names, figures), object([("state", states), ("error", or_null(text()))]))
}

/// A recording.
pub(super) fn recording() -> Value {
    let names = all("id vhost app stream file", text);
    let figures = all("begin_ms duration_ms bytes", int);
    let formats = json!({ "enum": ["flv", "mp4"] });
    let play = object([("flv", text()), ("hls", text())]);
    let rest =
        object([("format", formats), ("begin", text()), ("recording", switch()), ("play", or_null(play))]);
    joined(joined(names, figures), rest)
}

/// What the raw API answers, by `rpc`.
pub(super) fn raw() -> Value {
    let rules = all("enabled allow_reload allow_query allow_update", switch);
    let settings =
        joined(all("enabled crossdomain", switch), object([("listen", text()), ("raw_api", rules)]));
    let fetched = joined(all("err state", int), all("msg rid", text));
    json!({ "oneOf": [
        object([("code", constant(0)), ("http_api", settings)]),
        object([("code", constant(0)), ("data", fetched)]),
        object([("code", constant(0))]),
        failure(1060),
        failure(1061),
    ] })
}

/// Where a stream is published.
pub(super) fn clusters() -> Value {
    let routers = json!({ "type": "array", "items": text() });
    let origin = joined(all("ip vhost api", text), object([("port", int()), ("routers", routers)]));
    let data = object([("query", all("ip vhost app stream", text)), ("origin", or_null(origin))]);
    object([("code", constant(0)), ("data", data)])
}

/// An offer in SRS's way.
pub(super) fn offer() -> Value {
    let words = all("sdp streamurl", text);
    let mut offer =
        joined(words, object([("clientip?", or_null(text())), ("api?", text()), ("tid?", text())]));
    offer["additionalProperties"] = true.into();
    offer
}

/// The answer to such an offer.
pub(super) fn answer() -> Value {
    joined(done(), all("sdp sessionid", text))
}
