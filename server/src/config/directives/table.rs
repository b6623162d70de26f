//! Every directive the parser knows, one row each: SRS 5 in the order of its manual, what 6 and 7 added,
//! and our own. Rows only; what a row means is said in the parent module.

use super::{Directive, Env, Kind, Reload, Status, Status::Built, Status::NoEffect, Status::NotBuilt};

const CASTER: Status = NotBuilt("stream casters");
const CLOUD: Status = NotBuilt("cloud logging and tracing");
const CLUSTER: Status = NotBuilt("edge and origin clusters");
const MERGED: Status = NotBuilt(
    "start codes in RTP packets, which no standard knows: NAL units are aggregated as RFC 6184 says",
);
const RTC_CLOCK: Status = NotBuilt("WebRTC clock rates from the SDP");
const RTSP: Status = NotBuilt("RTSP playback");
const SRT: Status = NotBuilt("SRT");
const VERSION: Status = NotBuilt("asking a vendor for new versions: this server tells nobody that it runs");

macro_rules! table {
    ($($path:literal, $kind:ident, $default:literal, $env:ident, $reload:ident, $status:expr, $about:literal
        $(, since $since:literal)? $(, like $sample:literal)?;)*) => {
        &[$(Directive {
            path: $path,
            kind: Kind::$kind,
            default: $default,
            env: Env::$env,
            reload: Reload::$reload,
            status: $status,
            about: $about,
            since: table!(@first $($since)? "5.0"),
            sample: table!(@first $($sample)? $default),
        }),*]
    };
    (@first $first:literal $($rest:literal)?) => { $first };
}

/// The table: path, kind, default, variable, reload, status, effect.
#[rustfmt::skip]
pub static TABLE: &[Directive] = table! {
    // Process and RTMP.
    "listen", Endpoints, "", Variable, Push, Built, "RTMP endpoints, one or more; required unless `rtmps` is on", like "1935";
    "chunk_size", Int, "60000", Variable, Live, Built, "RTMP chunk size announced by the server, sensibly 128 to 65536 bytes; a vhost may set its own";
    "max_connections", Int, "1000", Variable, Push, Built, "TCP connections (RTMP and HTTP) served at once; more are closed on accept";
    "pid", Path, "./objs/srs.pid", Variable, No, Built, "lock file that holds the process id; one running server per file";
    "server_id", Text, "", Variable, No, Built, "name of this server in the API; without it an id is made once and kept beside the pid file", like "oxcast-1";
    "daemon", NotOff, "on", Variable, No, Built, "run in the background; without a configuration file the default is `off`";
    "work_dir", Path, "./", Variable, No, Built, "directory to change to after the configuration is read";
    "user", Words, "", Variable, No, Built, "the user, and perhaps the group, that the server becomes when it has its ports, log and pid file; it has to be started as root", since "ours", like "oxcast oxcast";
    "asprocess", On, "off", Variable, No, Built, "stop when the parent process changes";
    "empty_ip_ok", NotOff, "on", Variable, Live, NoEffect, "about clients without an address; on Linux each accepted client has one";
    "in_docker", On, "off", Variable, No, Built, "say that this is a container, where that is not seen by itself: the log goes to the console unless `srs_log_tank` says otherwise, and `daemon` counts as off";
    "disable_daemon_for_docker", NotOff, "on", Variable, No, Built, "stay in the foreground inside a container, whatever `daemon` says";
    "inotify_auto_reload", On, "off", Variable, No, Built, "reload when the configuration file changes";
    "auto_reload_for_docker", NotOff, "on", Variable, No, Built, "the same, inside a container";
    "grace_start_wait", IntMs, "2300", Variable, Live, Built, "graceful quit: wait before the listeners close";
    "grace_final_wait", IntMs, "3200", Variable, Live, Built, "graceful quit: wait after the last client left";
    "force_grace_quit", On, "off", Variable, Live, Built, "treat SIGTERM like SIGQUIT";
    "grace_limit", FloatS, "0", Variable, Live, Built, "graceful quit: cut off who is left after this long; 0 waits for ever", since "ours";
    "tcmalloc_release_rate", Float, "0.8", Variable, No, NoEffect, "tuned the memory allocator of SRS builds with gperftools";
    "query_latest_version", NotOff, "off", Variable, No, VERSION, "ask now and then whether a newer version exists";
    "first_wait_for_qlv", IntS, "300", Variable, No, NoEffect, "wait before the first such question, which is never asked";
    "is_full", On, "off", None, Live, Built, "marks `full.conf`, which no server may run with: `on` refuses to start", like "on";
    // Log.
    "srs_log_tank", Text, "file", Variable, Live, Built, "where the log goes: `console`, anything else is the file";
    "srs_log_level", Text, "trace", Variable, Live, Built, "least level logged, old names: verbose, info, trace, warn, error";
    "srs_log_level_v2", Text, "", Variable, Live, Built, "the same with usual names, wins over `srs_log_level`: trace, debug, info, warn, error", like "info";
    "srs_log_file", Path, "./objs/srs.log", Variable, Live, Built, "log file";
    "srs_log_format", Text, "text", Variable, Live, Built, "how lines look: `text` as in SRS, or `json`, an object each", since "ours", like "json";
    "srs_log_max_size", Text, "0", Variable, Live, Built, "a log file that would get larger is put aside: bytes, or with `k`, `m`, `g`; 0 leaves that to others", since "ours", like "100m";
    "srs_log_max_files", Int, "5", Variable, Live, Built, "how many of those put aside are kept, as `.1` (the newest), `.2` and so on", since "ours";
    "utc_time", On, "off", Variable, Live, Built, "UTC instead of local time in the log";
    "pithy_print_ms", IntMs, "10000", Variable, Push, Built, "time between two status lines of a kind of clients";
    "ff_log_dir", Path, "./objs", Variable, Live, Built, "directory for what started programs print; `/dev/null` for nowhere";
    "ff_log_level", Text, "info", Variable, Live, Built, "log level of ffmpeg processes that pull inputs";
    "ff_log_max_size", Text, "8m", Variable, Live, Built, "size at which such a log is put aside as `NAME.log.1` (the one before that is deleted): bytes, or a number with `k`, `m` or `g` behind it, 0 for never", since "ours";

    "rtmps", Block, "", None, Push, Built, "RTMP over TLS", since "7.0";
    "rtmps.enabled", On, "off", Variable, Push, Built, "listen for RTMPS", since "7.0";
    "rtmps.listen", Endpoints, "1443", Variable, Push, Built, "endpoints", since "7.0";
    "rtmps.key", Path, "./conf/server.key", Variable, Push, Built, "private key, PEM", since "7.0";
    "rtmps.cert", Path, "./conf/server.crt", Variable, Push, Built, "certificate chain, PEM", since "7.0";

    "http_api", Block, "", None, Push, Built, "management API over HTTP";
    "http_api.enabled", On, "off", Variable, Push, Built, "serve the API";
    "http_api.listen", Endpoints, "1985", Variable, Push, Built, "endpoints; where they equal those of `http_server`, both share them";
    "http_api.crossdomain", NotOff, "on", Variable, Push, Built, "shown by the API only; `http_server.crossdomain` decides";
    "http_api.raw_api", Block, "", None, Push, Built, "commands that act on the server";
    "http_api.raw_api.enabled", On, "off", Variable, Push, Built, "offer `/api/v1/raw`";
    "http_api.raw_api.allow_reload", On, "off", Variable, Push, Built, "allow `rpc=reload`";
    "http_api.raw_api.allow_query", Any, "off", None, No, NoEffect, "relic of SRS 3";
    "http_api.raw_api.allow_update", Any, "off", None, No, NoEffect, "relic of SRS 3";
    "http_api.auth", Block, "", None, Push, Built, "authentication of the API";
    "http_api.auth.enabled", On, "off", Variable, Push, Built, "ask for name and password, or a token";
    "http_api.auth.username", Text, "", Variable, Push, Built, "expected name", like "admin";
    "http_api.auth.password", Text, "", Variable, Push, Built, "expected password, without `:`", like "secret";
    "http_api.auth.user", Lines, "", None, Push, Built, "one more name and its password; repeatable (ours)", like "ops secret2";
    "http_api.auth.token", Words, "", Variable, Push, Built, "what `Authorization: Bearer` may say in place of a name and a password (ours)", like "a1b2c3";
    "http_api.auth.scope", Words, "all", Variable, Push, Built, "what is guarded: `all`, `srs` (paths with `/api/`), or some of `api`, `rtc`, `sig`, `console`, `metrics` (ours)";
    "http_api.https", Block, "", None, Push, Built, "the API over TLS";
    "http_api.https.enabled", On, "off", Variable, Push, Built, "listen for HTTPS";
    "http_api.https.listen", Endpoint, "1990", Variable, Push, Built, "endpoint";
    "http_api.https.key", Path, "./conf/server.key", Variable, Push, Built, "private key, PEM";
    "http_api.https.cert", Path, "./conf/server.crt", Variable, Push, Built, "certificate chain, PEM";

    "http_server", Block, "", None, Push, Built, "HTTP streaming and static files";
    "http_server.enabled", On, "off", Variable, Push, Built, "serve HTTP";
    "http_server.listen", Endpoints, "8080", Variable, Push, Built, "endpoints";
    "http_server.dir", Path, "./objs/nginx/html", Variable, Push, Built, "directory of static files";
    "http_server.crossdomain", NotOff, "on", Variable, Push, Built, "send CORS headers on all HTTP services";
    "http_server.https", Block, "", None, Push, Built, "HTTP streaming over TLS";
    "http_server.https.enabled", On, "off", Variable, Push, Built, "listen for HTTPS";
    "http_server.https.listen", Endpoint, "8088", Variable, Push, Built, "endpoint";
    "http_server.https.key", Path, "./conf/server.key", Variable, Push, Built, "private key, PEM";
    "http_server.https.cert", Path, "./conf/server.crt", Variable, Push, Built, "certificate chain, PEM";

    "srt_server", Block, "", None, No, SRT, "SRT listener";
    "srt_server.enabled", On, "off", Variable, No, SRT, "listen for SRT";
    "srt_server.listen", Int, "10080", Variable, No, SRT, "UDP port";
    "srt_server.maxbw", Int, "-1", Variable, No, SRT, "greatest bandwidth used for sending, bytes per second; -1 has no limit";
    "srt_server.mss", Int, "1500", Variable, No, SRT, "greatest packet size in bytes";
    "srt_server.connect_timeout", IntMs, "3000", Variable, No, SRT, "time limit of the handshake";
    "srt_server.peer_idle_timeout", IntMs, "10000", Variable, No, SRT, "close when nothing arrives for this long", since "6.0";
    "srt_server.default_app", Text, "live", Variable, Live, SRT, "application when the stream id names none";
    "srt_server.default_streamid", Text, "#!::r=live/livestream,m=request", Variable, Live, SRT, "stream id of clients that send none", since "7.0";
    "srt_server.peerlatency", IntMs, "0", Variable, No, SRT, "latency asked of the other side's receiver";
    "srt_server.recvlatency", IntMs, "120", Variable, No, SRT, "latency of our own receiver";
    "srt_server.latency", IntMs, "120", Variable, No, SRT, "sets both latencies; the two above win";
    "srt_server.tsbpdmode", NotOff, "on", Variable, No, SRT, "deliver by timestamp";
    "srt_server.tlpktdrop", NotOff, "on", Variable, No, SRT, "drop packets that come too late";
    "srt_server.sendbuf", Int, "12058624", Variable, No, SRT, "send buffer in bytes";
    "srt_server.recvbuf", Int, "12058624", Variable, No, SRT, "receive buffer in bytes";
    "srt_server.payloadsize", Int, "1316", Variable, No, SRT, "payload of a packet in bytes";
    "srt_server.passphrase", Text, "", Variable, No, SRT, "shared secret of 10 to 79 characters; without it nothing is encrypted", like "ten-or-more-characters";
    "srt_server.pbkeylen", Int, "0", Variable, No, SRT, "length of the AES key: 0, 16, 24 or 32 bytes";
    "srt_server.sei_filter", Any, "on", Variable, No, NoEffect, "accepted by SRS, never read";
    "srt_server.mix_correct", Any, "", None, No, NoEffect, "accepted by SRS, never read", like "off";

    "rtc_server", Block, "", None, Push, Built, "WebRTC service";
    "rtc_server.enabled", On, "off", Variable, Push, Built, "serve WebRTC";
    "rtc_server.listen", Int, "8000", Variable, Push, Built, "UDP port of the media";
    "rtc_server.protocol", Text, "udp", Variable, Live, Built, "transports offered: udp, tcp or all";
    "rtc_server.candidate", Text, "*", Variable, Live, Built, "address offered to clients, `:port` may follow; `*` finds it, `$NAME` takes it from a variable";
    "rtc_server.use_auto_detect_network_ip", NotOff, "on", Variable, Live, Built, "offer the addresses of the network interfaces";
    "rtc_server.ip_family", Text, "ipv4", Variable, Live, Built, "which of them: ipv4, ipv6 or all";
    "rtc_server.api_as_candidates", NotOff, "on", Variable, Live, Built, "offer the host by which the client reached the API";
    "rtc_server.resolve_api_domain", NotOff, "on", Variable, Live, Built, "resolve that host to an address first";
    "rtc_server.keep_api_domain", On, "off", Variable, Live, Built, "offer that host by name as well";
    "rtc_server.ecdsa", NotOff, "on", Variable, No, Built, "kind of DTLS certificate: P-256, or RSA (`off`)";
    "rtc_server.encrypt", NotOff, "on", Variable, Live, Built, "encrypt the media; while it is on, clients cannot ask for less";
    "rtc_server.reuseport", Int, "1", Variable, No, Built, "sockets bound to the port; each core has one anyway, whatever is written";
    "rtc_server.merge_nalus", On, "off", Variable, Live, MERGED, "join NAL units to one packet from RTMP to WebRTC";
    "rtc_server.dir", Any, "", None, No, NoEffect, "accepted by SRS, never read", like "./objs";
    "rtc_server.ice_server", Lines, "", None, Live, Built, "STUN or TURN server that WHIP and WHEP clients are told of (`Link`): `stun:host:port`, or `turn:host:port` with user name and credential; repeatable", like "stun:stun.example.com:3478";
    "rtc_server.tcp", Block, "", None, Push, Built, "WebRTC over TCP";
    "rtc_server.tcp.enabled", On, "off", Variable, Push, Built, "listen on TCP";
    "rtc_server.tcp.listen", Int, "8000", Variable, Push, Built, "TCP port of the media";
    "rtc_server.black_hole", Block, "", None, No, Built, "copies of decrypted packets, for debugging";
    "rtc_server.black_hole.enabled", On, "off", Variable, No, Built, "send copies";
    "rtc_server.black_hole.addr", Text, "", Variable, No, Built, "UDP address they go to", like "127.0.0.1:10000";

    "rtsp_server", Block, "", None, No, RTSP, "RTSP playback", since "7.0";
    "rtsp_server.enabled", On, "off", Variable, No, RTSP, "listen for RTSP", since "7.0";
    "rtsp_server.listen", Endpoints, "554", Variable, No, RTSP, "endpoints", since "7.0";

    "stream_caster", Blocks, "", None, No, CASTER, "turns another input into RTMP; one block per kind";
    "stream_caster.enabled", On, "off", None, No, CASTER, "start this caster";
    "stream_caster.caster", Text, "", None, No, CASTER, "kind of input: mpegts_over_udp, flv or gb28181", like "mpegts_over_udp";
    "stream_caster.output", Text, "", None, No, CASTER, "RTMP address of the result", like "rtmp://127.0.0.1/live/livestream";
    "stream_caster.listen", Int, "", None, No, CASTER, "UDP or TCP port", like "8935";
    "stream_caster.sip", Block, "", None, No, CASTER, "SIP side of gb28181";
    "stream_caster.sip.enabled", NotOff, "on", None, No, CASTER, "run the embedded SIP server";
    "stream_caster.sip.listen", Int, "5060", None, No, CASTER, "TCP port";
    "stream_caster.sip.timeout", FloatS, "60", None, No, CASTER, "drop a silent device after this time";
    "stream_caster.sip.reinvite", FloatS, "5", None, No, CASTER, "wait before inviting a device again";
    "stream_caster.sip.candidate", Text, "*", None, No, CASTER, "media address told to devices; `*` finds it";

    "threads", Block, "", None, No, NoEffect, "thread pool of SRS";
    "threads.interval", IntS, "5", Variable, No, NoEffect, "period of its status line";

    "circuit_breaker", Block, "", None, Push, Built, "sheds load when the processor is busy";
    "circuit_breaker.enabled", NotOff, "on", Variable, Push, Built, "watch the processor";
    "circuit_breaker.high_threshold", Int, "90", Variable, Push, Built, "percent of processor time that is high";
    "circuit_breaker.high_pulse", Int, "2", Variable, Push, Built, "quiet seconds to leave that level";
    "circuit_breaker.critical_threshold", Int, "95", Variable, Push, Built, "percent that is critical";
    "circuit_breaker.critical_pulse", Int, "1", Variable, Push, Built, "quiet seconds to leave that level";
    "circuit_breaker.dying_threshold", Int, "99", Variable, Push, Built, "percent at which packets are dropped";
    "circuit_breaker.dying_pulse", Int, "5", Variable, Push, Built, "busy seconds to enter that level";
    "circuit_breaker.shed_players", Text, "dying", Variable, Push, Built, "refuse further players, so that those who are there see something: off, or from `critical` or `dying` on", since "ours";

    "tencentcloud_cls", Block, "", None, No, CLOUD, "statistics for a cloud log service";
    "tencentcloud_cls.enabled", On, "off", Variable, No, CLOUD, "send them";
    "tencentcloud_cls.label", Text, "", Variable, No, CLOUD, "label on each record", like "cn-beijing";
    "tencentcloud_cls.tag", Text, "", Variable, No, CLOUD, "tag on each record", like "cn-edge";
    "tencentcloud_cls.secret_id", Text, "", Variable, No, CLOUD, "credential", like "id";
    "tencentcloud_cls.secret_key", Text, "", Variable, No, CLOUD, "credential", like "key";
    "tencentcloud_cls.endpoint", Text, "", Variable, No, CLOUD, "host of the service", like "cls.example.com";
    "tencentcloud_cls.topic_id", Text, "", Variable, No, CLOUD, "topic written to", like "topic";
    "tencentcloud_cls.debug_logging", On, "off", Variable, No, CLOUD, "log each upload";
    "tencentcloud_cls.stat_heartbeat", NotOff, "on", Variable, No, CLOUD, "send figures of the server";
    "tencentcloud_cls.heartbeat_ratio", Int, "1", Variable, No, CLOUD, "every this many times 5 seconds";
    "tencentcloud_cls.stat_streams", NotOff, "on", Variable, No, CLOUD, "send figures of each stream";
    "tencentcloud_cls.streams_ratio", Int, "1", Variable, No, CLOUD, "every this many times 5 seconds";
    "tencentcloud_apm", Block, "", None, No, CLOUD, "traces for a cloud service";
    "tencentcloud_apm.enabled", On, "off", Variable, No, CLOUD, "send them";
    "tencentcloud_apm.team", Text, "", Variable, No, CLOUD, "business system", like "team";
    "tencentcloud_apm.token", Text, "", Variable, No, CLOUD, "credential", like "token";
    "tencentcloud_apm.endpoint", Text, "", Variable, No, CLOUD, "host and port of the collector", like "apm.example.com:55681";
    "tencentcloud_apm.service_name", Text, "srs-server", Variable, No, CLOUD, "service named in traces";
    "tencentcloud_apm.debug_logging", On, "off", Variable, No, CLOUD, "log each upload";

    "exporter", Block, "", None, Live, Built, "metrics for Prometheus";
    "exporter.enabled", On, "off", Variable, Live, Built, "serve `/metrics`, there and on the port of the API";
    "exporter.listen", Endpoint, "9972", Variable, Live, Built, "endpoint";
    "exporter.label", Text, "", Variable, Live, Built, "label on `srs_build_info`", like "cn-beijing";
    "exporter.tag", Text, "", Variable, Live, Built, "tag on `srs_build_info`", like "cn-edge";
    "exporter.streams_limit", Int, "200", Variable, Live, Built, "streams that have metrics of their own; those that come when there are so many are summed up", since "ours";

    "traces", Block, "", None, No, Built, "OpenTelemetry traces, over OTLP/HTTP", since "ours";
    "traces.enabled", On, "off", Variable, No, Built, "send them", since "ours";
    "traces.endpoint", Text, "http://127.0.0.1:4318", Variable, No, Built, "the collector; `/v1/traces` is added unless there is a path", since "ours";
    "traces.service_name", Text, "oxcast", Variable, No, Built, "`service.name` of the traces", since "ours";
    "traces.sample", Float, "1", Variable, No, Built, "share of the publishers and players that are traced, 0 to 1", since "ours";
    "traces.tls_ca", Path, "", Variable, No, Built, "authorities that vouch for the collector, PEM; those of the system if none", since "ours", like "./conf/ca.pem";

    "heartbeat", Block, "", None, Live, Built, "regular report to a management server";
    "heartbeat.enabled", On, "off", Variable, Live, Built, "send it";
    "heartbeat.interval", IntS, "10", Variable, Live, Built, "period";
    "heartbeat.url", Text, "http://127.0.0.1:8085/api/v1/servers", Variable, Live, Built, "receiver; a query is left out";
    "heartbeat.device_id", Text, "", Variable, Live, Built, "name of this server in the report", like "my-server";
    "heartbeat.summaries", On, "off", Variable, Live, Built, "add the summaries of the API";
    "heartbeat.ports", On, "off", Variable, Live, Built, "add the endpoints of all services";
    "heartbeat.tls_ca", Path, "", Variable, Live, Built, "authorities that vouch for the receiver, PEM; those of the system if none", since "ours", like "./conf/ca.pem";

    "stats", Block, "", None, Push, Built, "figures of the machine, for the API";
    "stats.enabled", NotOff, "on", None, Push, Built, "collect them";
    "stats.network", Int, "0", None, Live, Built, "which local address is the server's own, counted from 0, IPv4 first";
    "stats.disk", Words, "", None, Push, Built, "block devices to count; without any, disks are not counted", like "sda sdb xvda xvdb";

    "vhost", Blocks, "", None, Push, Built, "settings for one host name; `__defaultVhost__` serves all names without a block";
    "vhost.enabled", NotOff, "on", None, Push, Built, "`off` refuses clients as if there were no such vhost";
    "vhost.min_latency", On, "off", Variable, Push, Built, "pass each packet on at once";
    "vhost.tcp_nodelay", On, "on", Variable, Push, Built, "set TCP_NODELAY on client sockets";
    "vhost.chunk_size", Int, "", Variable, Live, Built, "RTMP chunk size of this vhost, else the global one", like "60000";
    "vhost.in_ack_size", Int, "0", Variable, Live, Built, "bytes after which we acknowledge to publishers that never ask; 0 waits to be asked";
    "vhost.out_ack_size", Int, "2500000", Variable, Live, Built, "acknowledgement window asked of clients, in bytes; 0 asks for none";
    "vhost.bandcheck", Options, "", None, No, NoEffect, "relic of the bandwidth test";

    "vhost.cluster", Block, "", None, Live, CLUSTER, "role of this vhost in a cluster";
    "vhost.cluster.mode", Text, "local", None, No, CLUSTER, "`remote` is an edge, anything else an origin";
    "vhost.cluster.origin", Words, "", None, Live, CLUSTER, "edge: the servers above", like "127.0.0.1:1935 localhost:1935";
    "vhost.cluster.token_traverse", On, "off", None, Live, CLUSTER, "edge: let the origin authorise each client";
    "vhost.cluster.vhost", Text, "[vhost]", None, Live, CLUSTER, "edge: vhost at the origin";
    "vhost.cluster.debug_srs_upnode", NotOff, "on", None, Live, CLUSTER, "edge: tell the origin who connects";
    "vhost.cluster.origin_cluster", On, "off", None, Live, CLUSTER, "origin: find streams at the co-workers and redirect players";
    "vhost.cluster.coworkers", Words, "", None, Live, CLUSTER, "origin: HTTP API addresses of the others", like "127.0.0.1:9091 127.0.0.1:9092";
    "vhost.cluster.protocol", Text, "rtmp", None, Live, CLUSTER, "edge: how to pull: rtmp, flv or flvs";
    "vhost.cluster.follow_client", On, "off", None, Live, CLUSTER, "edge: pull the way the player asked";

    "vhost.forward", Block, "", None, Push, Built, "copies published streams to other servers";
    "vhost.forward.enabled", On, "off", Variable, Push, Built, "do so; not together with `publish { kickoff_for_idle }`";
    "vhost.forward.destination", Words, "", None, Push, Built, "servers that get a copy under the same name, `host[:port]`; or whole addresses, `rtmp://`, `rtmps://`, and of WHIP `whip://`, `whips://`, `http://` or `https://`, with `[vhost]`, `[app]` and `[stream]`", like "127.0.0.1:1936 127.0.0.1:1937";
    "vhost.forward.backend", Text, "", Variable, Push, Built, "callback (`on_forward`) that names the addresses instead when a stream is published; if it does not, nobody publishes", like "http://127.0.0.1:8085/api/v1/forward";
    "vhost.forward.tls_ca", Path, "", None, Push, Built, "PEM file of the authorities that vouch for servers of RTMPS and of WHIP and for the callback, in place of those of the system", since "ours", like "./conf/ca.crt";

    "vhost.play", Block, "", None, Push, Built, "players";
    "vhost.play.gop_cache", NotOff, "on", Variable, Push, Built, "keep the last group of pictures, so that players start at once";
    "vhost.play.gop_cache_max_frames", Int, "2500", Variable, Push, Built, "drop that cache when it holds more packets; 0 has no limit";
    "vhost.play.queue_length", IntS, "30", Variable, Push, Built, "a player further behind than this skips ahead";
    "vhost.play.time_jitter", Text, "full", Variable, Live, Built, "correction of timestamps: full (monotonic, from zero), zero (from zero) or off";
    "vhost.play.atc", On, "off", Variable, Live, Built, "keep the publisher's absolute timestamps";
    "vhost.play.mix_correct", On, "off", Variable, Live, Built, "order audio and video to one rising timeline";
    "vhost.play.atc_auto", On, "off", Variable, Live, Built, "switch `atc` on when the metadata says `bravo_atc`";
    "vhost.play.mw_latency", IntMs, "", Variable, Push, Built, "packets are gathered this long before they are sent; when not set, the server adapts to the load (SRS: 350)", like "350";
    "vhost.play.mw_msgs", Int, "", Variable, Push, Built, "or until so many are there, at most 128; when not set, the server adapts (SRS: 8)", like "8";
    "vhost.play.send_min_interval", FloatMs, "0", Variable, Push, Built, "least time between two packets";
    "vhost.play.reduce_sequence_header", On, "off", Variable, Live, Built, "do not repeat unchanged sequence headers and metadata";

    "vhost.publish", Block, "", None, Push, Built, "publishers";
    "vhost.publish.mr", On, "off", Variable, Push, Built, "gather packets before they are read";
    "vhost.publish.mr_latency", IntMs, "350", Variable, Push, Built, "for this long";
    "vhost.publish.firstpkt_timeout", IntMs, "20000", Variable, Push, Built, "time limit for the first packet";
    "vhost.publish.normal_timeout", IntMs, "5000", Variable, Push, Built, "time limit between later packets";
    "vhost.publish.parse_sps", NotOff, "on", Variable, Live, Built, "read the picture size out of the SPS, for the API";
    "vhost.publish.try_annexb_first", NotOff, "on", Variable, Live, Built, "guess Annex B before length-prefixed NAL units";
    "vhost.publish.kickoff_for_idle", FloatS, "0", Variable, Push, Built, "drop a publisher that has had no player for this long; 0 never does";

    "vhost.refer", Block, "", None, Live, Built, "checks the page a client was opened from";
    "vhost.refer.enabled", On, "off", None, Live, Built, "check";
    "vhost.refer.all", Words, "", None, Live, Built, "domains allowed to connect", like "github.com github.io";
    "vhost.refer.publish", Words, "", None, Live, Built, "domains allowed to publish", like "github.com github.io";
    "vhost.refer.play", Words, "", None, Live, Built, "domains allowed to play", like "github.com github.io";

    "vhost.security", Block, "", None, Live, Built, "who may publish and play, by address";
    "vhost.security.enabled", On, "off", None, Live, Built, "apply the rules";
    "vhost.security.allow", Lines, "", None, Live, Built, "`publish` or `play`, then `all`, an address or a network; repeatable", like "play all";
    "vhost.security.deny", Lines, "", None, Live, Built, "the same; wins over `allow`", like "publish all";
    "vhost.security.trusted_proxies", Words, "", None, Live, Built, "proxies whose `X-Forwarded-For` counts for these rules, for `limits` and for `signed_url`; needs no `enabled` (ours)", like "127.0.0.1 10.0.0.0/8";

    "vhost.limits", Block, "", None, Live, Built, "how much is served at once (ours); 0 has no limit";
    "vhost.limits.enabled", On, "off", None, Live, Built, "hold to it";
    "vhost.limits.connections", Int, "0", None, Live, Built, "publishers and players of the vhost";
    "vhost.limits.streams", Int, "0", None, Live, Built, "its publishers";
    "vhost.limits.players", Int, "0", None, Live, Built, "its players";
    "vhost.limits.ip_connections", Int, "0", None, Live, Built, "publishers and players from one address; of IPv6, from one /64";
    "vhost.limits.ip_streams", Int, "0", None, Live, Built, "publishers from there";
    "vhost.limits.ip_players", Int, "0", None, Live, Built, "players from there";
    "vhost.limits.bitrate", Int, "0", None, Push, Built, "kbit/s that a publisher may send; more ends it";
    "vhost.limits.bitrate_grace", FloatS, "10", None, Push, Built, "after it has sent twice as much for so long, or less for longer";

    "vhost.token", Block, "", None, Live, Built, "tokens (JWT) that clients show (ours)";
    "vhost.token.enabled", On, "off", None, Live, Built, "ask for them";
    "vhost.token.secret", Text, "", Variable, Live, Built, "key of tokens signed by HMAC: HS256, HS384, HS512", like "b1946ac92492d2347c6235b4d2611184";
    "vhost.token.public_key", Path, "", Variable, Live, Built, "PEM file with the public key of other tokens: RSA, EC or Ed25519", like "./conf/token.pem";
    "vhost.token.jwks", Text, "", Variable, Live, Built, "address of a set of public keys, which are known by `kid`", like "https://example.com/.well-known/jwks.json";
    "vhost.token.jwks_refresh", FloatS, "300", None, Live, Built, "fetch the set anew after this, at least 10";
    "vhost.token.tls_ca", Path, "", None, Live, Built, "PEM file of the authorities that vouch for its server, in place of those of the system", like "./conf/ca.crt";
    "vhost.token.issuer", Text, "", None, Live, Built, "what `iss` must be; empty is anything", like "https://example.com/";
    "vhost.token.audience", Text, "", None, Live, Built, "what `aud` must be or hold; empty is anything", like "oxcast";
    "vhost.token.leeway", FloatS, "10", None, Live, Built, "how far clocks may be apart";
    "vhost.token.publish", NotOff, "on", None, Live, Built, "publishers need one";
    "vhost.token.play", NotOff, "on", None, Live, Built, "players need one";
    "vhost.token.end_on_expiry", NotOff, "on", None, Live, Built, "a session ends when its token expires";

    "vhost.signed_url", Block, "", None, Live, Built, "addresses that are signed and expire (ours)";
    "vhost.signed_url.enabled", On, "off", None, Live, Built, "ask for them";
    "vhost.signed_url.secret", Text, "", Variable, Live, Built, "key of the signature (HMAC-SHA256)", like "b1946ac92492d2347c6235b4d2611184";
    "vhost.signed_url.bind_ip", On, "off", None, Live, Built, "the address of the client is signed, too";
    "vhost.signed_url.leeway", FloatS, "10", None, Live, Built, "how far clocks may be apart";
    "vhost.signed_url.publish", NotOff, "on", None, Live, Built, "publishers need one";
    "vhost.signed_url.play", NotOff, "on", None, Live, Built, "players need one";

    "vhost.storage", Block, "", None, Push, Built, "copies of recordings and segments in object storage, and how long they are kept (ours)";
    "vhost.storage.enabled", On, "off", Variable, Push, Built, "keep them there";
    "vhost.storage.url", Text, "", Variable, Push, Built, "where: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`; `[vhost]` may stand in the prefix; without one nothing is uploaded, and what is said of keeping holds for the local files", like "s3://bucket/live";
    "vhost.storage.endpoint", Text, "", Variable, Push, Built, "address of a storage that is not the vendor's own, such as MinIO", like "https://minio.example.com:9000";
    "vhost.storage.region", Text, "", Variable, Push, Built, "region of S3, else `AWS_REGION`, else us-east-1", like "eu-central-1";
    "vhost.storage.access_key", Text, "", Variable, Push, Built, "access key of S3 or account of Azure, else what the vendor's own variables say (`AWS_ACCESS_KEY_ID`, `AZURE_STORAGE_ACCOUNT_NAME`)", like "oxcast";
    "vhost.storage.secret_key", Text, "", Variable, Push, Built, "its secret, else `AWS_SECRET_ACCESS_KEY` or `AZURE_STORAGE_ACCOUNT_KEY`; better told by a variable than by the file", like "b1946ac92492d2347c6235b4d2611184";
    "vhost.storage.credentials", Path, "", Variable, Push, Built, "service account of Google, a file of JSON, else `GOOGLE_APPLICATION_CREDENTIALS`", like "./conf/google.json";
    "vhost.storage.outputs", Words, "hls dash hds dvr", None, Push, Built, "which: some of these";
    "vhost.storage.mode", Text, "copy", Variable, Push, Built, "`copy`, or `move`, which deletes a local file when it is uploaded and nobody plays from it any more";
    "vhost.storage.spool", Path, "./objs/storage", Variable, Push, Built, "folder for what waits to be uploaded, also over a restart";
    "vhost.storage.spool_max", Text, "1g", Variable, Push, Built, "the most that segments and playlists take there: bytes, or with `k`, `m`, `g`";
    "vhost.storage.retention_days", Float, "0", Variable, Push, Built, "recordings, and segments that nobody deletes, are deleted after so many days, here and there; 0 never does";
    "vhost.storage.retention_count", Int, "0", Variable, Push, Built, "only the newest of each stream are kept, so many of each output; 0 keeps all";

    "vhost.http_static", Block, "", None, Push, Built, "a folder on the HTTP server";
    "vhost.http_static.enabled", On, "off", Variable, Push, Built, "serve it";
    "vhost.http_static.mount", Text, "[vhost]/", Variable, Push, Built, "address prefix";
    "vhost.http_static.dir", Path, "./objs/nginx/html", Variable, Push, Built, "folder";

    "vhost.http_remux", Block, "", None, Live, Built, "live streams over HTTP; at most one block";
    "vhost.http_remux.enabled", On, "off", Variable, Live, Built, "offer them";
    "vhost.http_remux.mount", Text, "[vhost]/[app]/[stream].flv", Variable, Live, Built, "address; its ending chooses the format: `.flv`, `.ts`, `.aac` or `.mp3`";
    "vhost.http_remux.fast_cache", FloatS, "0", Variable, Live, Built, "audio sent at once when a player joins; mp3 and aac only";
    "vhost.http_remux.drop_if_not_match", NotOff, "on", Variable, Live, Built, "drop packets of a kind the header says is absent";
    "vhost.http_remux.has_audio", NotOff, "on", Variable, Live, Built, "the header says there is audio";
    "vhost.http_remux.has_video", NotOff, "on", Variable, Live, Built, "the header says there is video";
    "vhost.http_remux.guess_has_av", NotOff, "on", Variable, Live, Built, "find both out from the stream instead";

    "vhost.http_hooks", Block, "", None, Live, Built, "HTTP callbacks";
    "vhost.http_hooks.enabled", On, "off", Variable, Live, Built, "call them";
    "vhost.http_hooks.timeout", FloatS, "30", None, Live, Built, "how long a call may take (ours)";
    "vhost.http_hooks.tls_ca", Path, "", None, Live, Built, "PEM file of the authorities that vouch for https services, in place of those of the system (ours)", like "./conf/ca.crt";
    "vhost.http_hooks.on_connect", Words, "", Variable, Live, Built, "a client connected; may refuse it", like "http://127.0.0.1:8085/api/v1/clients";
    "vhost.http_hooks.on_close", Words, "", Variable, Live, Built, "a client left", like "http://127.0.0.1:8085/api/v1/clients";
    "vhost.http_hooks.on_publish", Words, "", Variable, Live, Built, "a stream starts; may refuse it", like "http://127.0.0.1:8085/api/v1/streams";
    "vhost.http_hooks.on_unpublish", Words, "", Variable, Live, Built, "a stream ended", like "http://127.0.0.1:8085/api/v1/streams";
    "vhost.http_hooks.on_play", Words, "", Variable, Live, Built, "a player starts; may refuse it", like "http://127.0.0.1:8085/api/v1/sessions";
    "vhost.http_hooks.on_stop", Words, "", Variable, Live, Built, "a player stopped", like "http://127.0.0.1:8085/api/v1/sessions";
    "vhost.http_hooks.on_dvr", Words, "", Variable, Live, Built, "a recording is complete", like "http://127.0.0.1:8085/api/v1/dvrs";
    "vhost.http_hooks.on_hls", Words, "", Variable, Live, Built, "a segment is complete", like "http://127.0.0.1:8085/api/v1/hls";
    "vhost.http_hooks.on_hls_notify", Words, "", Variable, Live, Built, "GET after each segment", like "http://127.0.0.1:8085/api/v1/hls/[app]/[stream]/[ts_url][param]";

    "vhost.exec", Block, "", None, Push, Built, "commands that run for streams";
    "vhost.exec.enabled", On, "off", None, Push, Built, "run them";
    "vhost.exec.publish", Lines, "", None, Push, Built, "command and arguments, run while a stream is published and again when it ends; repeatable", like "./objs/ffmpeg/bin/ffmpeg -f flv -i [url] -c copy -y ./[stream].flv";
    "vhost.exec.unpublish", Lines, "", None, Live, Built, "command and arguments, run once when a publisher has left; repeatable", since "ours", like "./objs/upload.sh ./[stream].flv";
    "vhost.exec.play", Lines, "", None, Live, Built, "command and arguments, run once when a player has come; repeatable", since "ours", like "./objs/count.sh [stream] come";
    "vhost.exec.stop", Lines, "", None, Live, Built, "command and arguments, run once when a player has left; repeatable", since "ours", like "./objs/count.sh [stream] left";

    "vhost.dash", Block, "", None, Push, Built, "MPEG-DASH";
    "vhost.dash.enabled", On, "off", Variable, Push, Built, "write it";
    "vhost.dash.dash_fragment", FloatS, "10", Variable, Push, Built, "length of a segment";
    "vhost.dash.dash_update_period", FloatS, "5", Variable, Push, Built, "how often players fetch the manifest";
    "vhost.dash.dash_timeshift", FloatS, "300", Variable, Push, NoEffect, "logged by SRS; the list is as long as `dash_window_size` says";
    "vhost.dash.dash_path", Path, "./objs/nginx/html", Variable, Push, Built, "base folder";
    "vhost.dash.dash_mpd_file", Path, "[app]/[stream].mpd", Variable, Push, Built, "manifest below it";
    "vhost.dash.dash_window_size", Int, "5", Variable, Push, Built, "segments listed";
    "vhost.dash.dash_cleanup", NotOff, "on", Variable, Push, Built, "delete old segments";
    "vhost.dash.dash_dispose", IntS, "0", Variable, Push, Built, "delete everything when no data comes for this long; 0 never does (SRS 6: 120)";
    "vhost.dash.dash_low_latency", On, "off", Variable, Push, Built, "low latency: segments can be fetched while they grow", since "ours";
    "vhost.dash.dash_chunk", FloatS, "0.3", Variable, Push, Built, "the longest chunk in that case; with `hls_low_latency`, `hls_part` counts", since "ours";
    "vhost.dash.dash_storage", Text, "disk", None, Push, Built, "where files are kept: `disk`, or `ram`, which writes none", since "ours";

    "vhost.hls", Block, "", None, Push, Built, "HLS";
    "vhost.hls.enabled", On, "off", Variable, Push, Built, "write it";
    "vhost.hls.hls_fragment", FloatS, "10", Variable, Push, Built, "length of a segment";
    "vhost.hls.hls_td_ratio", Float, "1.0", Variable, Push, Built, "target duration, as a multiple of it";
    "vhost.hls.hls_aof_ratio", Float, "2.1", Variable, Push, Built, "cut without a keyframe beyond this multiple";
    "vhost.hls.hls_window", FloatS, "60", Variable, Push, Built, "length of the playlist";
    "vhost.hls.hls_on_error", Text, "continue", Variable, Push, Built, "on an error: ignore, continue, or disconnect the publisher";
    "vhost.hls.hls_path", Path, "./objs/nginx/html", Variable, Push, Built, "base folder";
    "vhost.hls.hls_m3u8_file", Path, "[app]/[stream].m3u8", Variable, Push, Built, "playlist below it";
    "vhost.hls.hls_ts_file", Path, "[app]/[stream]-[seq].ts", Variable, Push, Built, "segments below it";
    "vhost.hls.hls_use_fmp4", On, "off", Variable, Push, Built, "fragmented MP4 instead of TS", since "7.0";
    "vhost.hls.hls_fmp4_file", Path, "[app]/[stream]-[seq].m4s", Variable, Push, Built, "segments in that case", since "7.0";
    "vhost.hls.hls_init_file", Path, "[app]/[stream]/init.mp4", Variable, Push, Built, "initialisation segment in that case", since "7.0";
    "vhost.hls.hls_low_latency", On, "off", Variable, Push, Built, "low latency: parts of segments as they come; implies `hls_use_fmp4`", since "ours";
    "vhost.hls.hls_part", FloatS, "0.3", Variable, Push, Built, "the longest part in that case; players stay three parts behind the encoder", since "ours";
    "vhost.hls.hls_variants", Words, "", None, Push, Built, "streams that are one stream in several qualities; `[stream]` stands for the name of the whole", since "ours", like "[stream]_720p [stream]_480p";
    "vhost.hls.hls_master_file", Path, "[app]/[stream]/master.m3u8", None, Push, Built, "their master playlist below `hls_path`", since "ours";
    "vhost.hls.hls_recover", NotOff, "on", Variable, Push, Built, "continue an existing playlist", since "7.0";
    "vhost.hls.hls_master_m3u8_path_relative", On, "off", Variable, Push, Built, "relative address in the session playlist", since "7.0";
    "vhost.hls.hls_entry_prefix", Text, "", Variable, Push, Built, "put before each segment's address", like "http://your-server";
    "vhost.hls.hls_acodec", Text, "aac", Variable, Push, Built, "audio assumed at first: aac, mp3 or an (none)";
    "vhost.hls.hls_vcodec", Text, "h264", Variable, Push, Built, "video assumed at first: h264, h265 or vn (none)";
    "vhost.hls.hls_cleanup", NotOff, "on", Variable, Push, Built, "delete segments that left the playlist";
    "vhost.hls.hls_dispose", IntS, "120", Variable, Push, Built, "delete everything when no data comes for this long; 0 never does";
    "vhost.hls.hls_wait_keyframe", NotOff, "on", Variable, Push, Built, "cut at keyframes only";
    "vhost.hls.hls_ts_floor", On, "off", Variable, Push, Built, "`[timestamp]` counts fragments";
    "vhost.hls.hls_nb_notify", Int, "64", Variable, Live, Built, "bytes read of the answer to on_hls_notify";
    "vhost.hls.hls_ctx", NotOff, "on", Variable, Live, Built, "give each player a session id";
    "vhost.hls.hls_ts_ctx", NotOff, "on", Variable, Live, Built, "put it on segment addresses too";
    "vhost.hls.hls_keys", NotOff, "off", Variable, Push, Built, "encrypt with AES-128";
    "vhost.hls.hls_fragments_per_key", Int, "5", Variable, Push, Built, "segments per key";
    "vhost.hls.hls_key_file", Path, "[app]/[stream]-[seq].key", Variable, Push, Built, "key file";
    "vhost.hls.hls_key_file_path", Path, "", Variable, Push, Built, "where keys are written, else `hls_path`", like "./objs/nginx/html";
    "vhost.hls.hls_key_url", Text, "", Variable, Push, Built, "put before each key's address, in front of its query if it has one", like "https://localhost:8080";
    "vhost.hls.hls_dts_directly", NotOff, "on", Variable, Push, Built, "take audio times from RTMP as they are";
    "vhost.hls.hls_storage", Text, "disk", None, Push, Built, "where segments are kept: `disk`, or `ram`, which writes no file (SRS no longer has it)";
    "vhost.hls.hls_mount", Any, "", None, No, NoEffect, "relic of HLS in memory", like "[vhost]/[app]/[stream].m3u8";

    "vhost.hds", Block, "", None, Push, Built, "Adobe HDS";
    "vhost.hds.enabled", On, "off", Variable, Push, Built, "write it";
    "vhost.hds.hds_fragment", FloatS, "10", Variable, Push, Built, "length of a fragment";
    "vhost.hds.hds_window", FloatS, "60", Variable, Push, Built, "older fragments are deleted";
    "vhost.hds.hds_path", Path, "./objs/nginx/html", Variable, Push, Built, "base folder";

    "vhost.dvr", Block, "", None, Push, Built, "recording";
    "vhost.dvr.enabled", On, "off", Variable, Push, Built, "record published streams";
    "vhost.dvr.dvr_apply", Words, "all", None, Push, Built, "which: all, or a list of app/stream";
    "vhost.dvr.dvr_plan", Text, "session", Variable, Push, Built, "one file per publish (session) or cut by time (segment)";
    "vhost.dvr.dvr_path", Path, "./objs/nginx/html/[app]/[stream].[timestamp].flv", Variable, Push, Built, "file; `.mp4` writes MP4, `.flv` FLV, anything else is a folder";
    "vhost.dvr.dvr_duration", IntS, "30", Variable, Push, Built, "segment plan: length of a file";
    "vhost.dvr.dvr_wait_keyframe", NotOff, "on", Variable, Push, Built, "begin and cut at keyframes only";
    "vhost.dvr.time_jitter", Text, "full", Variable, Push, Built, "correction of timestamps: full, zero or off";
    "vhost.dvr.playback", On, "off", None, Live, Built, "recordings can be played by time, and streams with a delay", since "ours";

    "vhost.ingest", Blocks, "", None, Push, Built, "an input pulled with ffmpeg and published here; repeatable with different ids";
    "vhost.ingest.enabled", On, "off", None, Push, Built, "pull it";
    "vhost.ingest.input", Block, "", None, Push, Built, "what to pull";
    "vhost.ingest.input.type", Text, "file", None, Push, Built, "`file`, `stream`, or `list`: files one after the other, listed as ffmpeg's concat wants it";
    "vhost.ingest.input.url", Text, "", None, Push, Built, "path or address", like "./doc/source.flv";
    "vhost.ingest.input.loop", NotOff, "on", None, Push, Built, "a file or a list begins again at its end, with timestamps that go on; `off` starts ffmpeg again instead, as SRS does", since "ours";
    "vhost.ingest.ffmpeg", Path, "", None, Push, Built, "the ffmpeg program", like "./objs/ffmpeg/bin/ffmpeg";
    "vhost.ingest.engine", Blocks, "", None, Push, Built, "how to encode; off copies. Takes all directives of a `transcode` engine";
    "vhost.ingest.engine.enabled", On, "off", None, Push, Built, "encode";
    "vhost.ingest.engine.output", Text, "", None, Push, Built, "RTMP address of the result", like "rtmp://127.0.0.1:[port]/live?vhost=[vhost]/livestream";

    "vhost.transcode", Blocks, "", None, Push, Built, "transcodes streams with ffmpeg: all, those of an app, or one app/stream; repeatable";
    "vhost.transcode.enabled", On, "off", None, Push, Built, "use this block";
    "vhost.transcode.ffmpeg", Path, "", None, Push, Built, "the ffmpeg program", like "./objs/ffmpeg/bin/ffmpeg";
    "vhost.transcode.engine", Blocks, "", None, Push, Built, "one output";
    "vhost.transcode.engine.enabled", On, "off", None, Push, Built, "use this engine";
    "vhost.transcode.engine.perfile", Options, "", None, Push, Built, "options before the input, such as `re` or `rtsp_transport tcp`";
    "vhost.transcode.engine.iformat", Text, "flv", None, Push, Built, "input format, `off` leaves it out";
    "vhost.transcode.engine.vfilter", Options, "", None, Push, Built, "options after the input, such as `i`, `vf` or `filter_complex`";
    "vhost.transcode.engine.vcodec", Text, "", None, Push, Built, "an encoder such as libx264, libx265 or png; copy, or vn (none)", like "libx264";
    "vhost.transcode.engine.vbitrate", Int, "0", None, Push, Built, "video kbit/s, 0 as the source";
    "vhost.transcode.engine.vfps", Float, "0", None, Push, Built, "pictures per second, 0 as the source";
    "vhost.transcode.engine.vwidth", Int, "0", None, Push, Built, "width, 0 as the source";
    "vhost.transcode.engine.vheight", Int, "0", None, Push, Built, "height, 0 as the source";
    "vhost.transcode.engine.vthreads", Int, "1", None, Push, Built, "threads of the encoder";
    "vhost.transcode.engine.vprofile", Text, "", None, Push, Built, "x264 profile", like "main";
    "vhost.transcode.engine.vpreset", Text, "", None, Push, Built, "x264 preset", like "medium";
    "vhost.transcode.engine.vparams", Options, "", None, Push, Built, "more video options, such as `t`, `coder`, `b_strategy`, `bf`, `refs`";
    "vhost.transcode.engine.acodec", Text, "", None, Push, Built, "an audio encoder, copy or an (none)", like "libfdk_aac";
    "vhost.transcode.engine.abitrate", Int, "0", None, Push, Built, "audio kbit/s, 0 as the source";
    "vhost.transcode.engine.asample_rate", Int, "0", None, Push, Built, "audio samples per second, 0 as the source";
    "vhost.transcode.engine.achannels", Int, "0", None, Push, Built, "audio channels: 1 or 2, 0 as the source";
    "vhost.transcode.engine.aparams", Options, "", None, Push, Built, "more audio options, such as `profile:a` or `bsf:a`";
    "vhost.transcode.engine.oformat", Text, "flv", None, Push, Built, "output format, `off` leaves it out";
    "vhost.transcode.engine.output", Text, "", None, Push, Built, "where the result goes", like "rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]";

    "vhost.rtc", Block, "", None, Live, Built, "WebRTC on this vhost";
    "vhost.rtc.enabled", On, "off", Variable, Live, Built, "allow it";
    "vhost.rtc.nack", NotOff, "on", Variable, Live, Built, "send lost packets again";
    "vhost.rtc.nack_no_copy", NotOff, "on", Variable, Live, Built, "keep packets for that without copying; they are never copied, whatever is written";
    "vhost.rtc.twcc", NotOff, "on", Variable, Live, Built, "transport-wide congestion feedback";
    "vhost.rtc.stun_timeout", IntS, "30", Variable, Live, Built, "end a session without STUN for this long";
    "vhost.rtc.stun_strict_check", On, "off", Variable, Live, Built, "check STUN strictly";
    "vhost.rtc.dtls_role", Text, "passive", Variable, Live, Built, "passive or active, when the client leaves it open";
    "vhost.rtc.dtls_version", Text, "auto", Variable, Live, Built, "auto or dtls1.2, which is what is spoken; dtls1.0 is refused";
    "vhost.rtc.drop_for_pt", Int, "0", Variable, Live, Built, "debugging: drop packets of this payload type";
    "vhost.rtc.rtmp_to_rtc", On, "off", Variable, Live, Built, "offer RTMP streams over WebRTC";
    "vhost.rtc.keep_bframe", On, "off", Variable, Live, Built, "with their B-frames";
    "vhost.rtc.keep_avc_nalu_sei", NotOff, "on", Variable, Live, Built, "with their H.264 SEI units";
    "vhost.rtc.opus_bitrate", Int, "48000", Variable, Live, Built, "audio bit/s towards WebRTC, 8000 to 320000";
    "vhost.rtc.rtc_to_rtmp", On, "off", Variable, Live, Built, "offer WebRTC streams over RTMP";
    "vhost.rtc.pli_for_rtmp", FloatS, "6", Variable, Live, Built, "ask for a keyframe this often, 0.5 to 30";
    "vhost.rtc.aac_bitrate", Int, "48000", Variable, Live, Built, "audio bit/s towards RTMP, 8000 to 320000";
    "vhost.rtc.init_rate_from_sdp", On, "off", Variable, Live, RTC_CLOCK, "take the first clock rate from the SDP", since "7.0";

    "vhost.rtsp", Block, "", None, Live, RTSP, "RTSP on this vhost", since "7.0";
    "vhost.rtsp.enabled", On, "off", Variable, Live, RTSP, "allow it", since "7.0";
    "vhost.rtsp.rtmp_to_rtsp", NotOff, "on", Variable, Live, RTSP, "offer RTMP streams over RTSP", since "7.0";

    "vhost.srt", Block, "", None, Live, SRT, "SRT on this vhost";
    "vhost.srt.enabled", On, "off", Variable, Live, SRT, "allow it";
    "vhost.srt.srt_to_rtmp", On, "on", Variable, Live, SRT, "offer SRT streams over RTMP";

    // At the top or in any block.
    "include", Words, "", None, Live, Built, "reads other files in at this place, in any block; relative to the working directory, else to the including file", like "./conf/include.vhost.conf";
};
