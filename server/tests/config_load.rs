//! What a configuration means: SRS's defaults and rules, what is forgiven with a warning, what is refused
//! and how the refusal reads.

use std::path::Path;
use std::time::Duration;

use server::config::{
    Area, Config, DEFAULT_VHOST, DtlsRole, Environment, Error, HlsOnError, IpFamily, Jitter, Level,
    LogFormat, RtcProtocol, SegmentStorage, Source, Tank, Tls,
};

const VHOST: &str = "vhost __defaultVhost__ { }";

fn with(text: &str, env: &[(&str, &str)]) -> Result<Config, Box<Error>> {
    Config::parse("a.conf", text.as_bytes(), &env.iter().copied().collect())
}

fn read(text: &str) -> Config {
    with(text, &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    with(text, &[]).expect_err(text).to_string()
}

/// A configuration that is complete but for `text`.
fn around(text: &str) -> Config {
    read(&format!("listen 1935;\n{VHOST}\n{text}"))
}

/// The default vhost with `text` inside.
fn inside(text: &str) -> Config {
    read(&format!("listen 1935;\nvhost __defaultVhost__ {{\n{text}\n}}"))
}

fn warnings(config: &Config) -> Vec<String> {
    config.warnings.iter().map(|warning| warning.message.clone()).collect()
}

#[track_caller]
fn assert_warns(config: &Config, text: &str) {
    let warnings = warnings(config);
    assert!(warnings.iter().any(|warning| warning.contains(text)), "no `{text}` in {warnings:#?}");
}

#[track_caller]
fn assert_refused(text: &str, parts: &[&str]) {
    let error = refused(text);
    for part in parts {
        assert!(error.contains(part), "no `{part}` in\n{error}");
    }
}

#[test]
fn defaults_are_those_of_srs() {
    let config = read(&format!("listen 1935; {VHOST}"));
    assert_eq!(config.warnings, []);
    assert_eq!((config.chunk_size, config.max_connections), (60_000, 1_000));
    assert_eq!(config.pid.to_str(), Some("./objs/srs.pid"));
    assert_eq!((config.log.tank, config.log.level, config.log.utc), (Tank::File, Level::Info, false));
    assert_eq!(config.pithy_print, Duration::from_secs(10));
    assert!(config.stats.enabled);
    assert!(config.http_api.is_none() && config.http_server.is_none() && config.rtmps.is_none());
    let vhost = config.vhost("any.host").unwrap();
    assert_eq!((vhost.chunk_size, vhost.in_ack_size, vhost.out_ack_size), (60_000, None, Some(2_500_000)));
    assert!(!vhost.min_latency && vhost.tcp_nodelay && vhost.http_remux.is_none());
    let play = &vhost.play;
    assert!(play.gop_cache && !play.atc && !play.mix_correct && !play.reduce_sequence_header);
    assert_eq!((play.gop_cache_max_frames, play.queue_length), (Some(2_500), Duration::from_secs(30)));
    assert_eq!((play.time_jitter, play.mw_latency, play.mw_msgs), (Jitter::Full, None, None));
    let publish = &vhost.publish;
    assert_eq!(publish.first_packet_timeout, Duration::from_secs(20));
    assert_eq!(publish.normal_timeout, Duration::from_secs(5));
    assert_eq!((publish.mr, publish.kickoff_for_idle), (false, None));
    assert!(publish.parse_sps && publish.try_annexb_first);
}

#[test]
fn blocks_have_their_defaults_when_they_are_on() {
    let config = around("http_api { enabled on; } http_server { enabled on; } rtmps { enabled on; }");
    assert_eq!(config.http_api.as_ref().unwrap().listen[0].to_string(), "1985");
    let http = config.http_server.as_ref().unwrap();
    assert_eq!(
        (http.listen[0].port, http.dir.to_str(), http.crossdomain),
        (8080, Some("./objs/nginx/html"), true)
    );
    let rtmps = config.rtmps.as_ref().unwrap();
    assert_eq!((rtmps.listen[0].port, rtmps.key.to_str()), (1443, Some("./conf/server.key")));
    assert!(!config.api_shares_http_server());
    let config = around("http_api { enabled on; listen 8080; } http_server { enabled on; }");
    assert!(config.api_shares_http_server());
    let config = inside("http_remux { enabled on; }");
    let remux = config.vhost("").unwrap().http_remux.as_ref().unwrap();
    assert_eq!(remux.mount, "[vhost]/[app]/[stream].flv");
    assert!(remux.has_audio && remux.has_video && remux.guess_has_av && remux.drop_if_not_match);
}

#[test]
fn https_shares_ports_as_http_does() {
    let ports = |tls: &Option<Tls>| tls.as_ref().map(|tls| tls.listen[0].port);
    let of = |text: &str| {
        let config = around(text);
        let (http, api) = (config.http_server.unwrap(), config.http_api.unwrap());
        (ports(&http.https), ports(&api.https))
    };
    let apart =
        "http_server { enabled on; https { enabled on; } } http_api { enabled on; https { enabled on; } }";
    assert_eq!(of(apart), (Some(8088), Some(1990)));
    let shared = "http_server { enabled on; https { enabled on; } } http_api { enabled on; listen 8080; }";
    assert_eq!(of(shared), (Some(8088), Some(8088)));
    let half = "listen 1935; http_server { enabled on; https { enabled on; } } http_api { enabled on; listen 8080; https { enabled on; listen 1990; } }";
    assert_refused(half, &["shares that of HTTPS", "^"]);
    assert_refused(
        "listen 1935; http_api { https { enabled on; } }",
        &["`https` is on and `http_api` is off"],
    );
}

#[test]
fn the_built_in_configuration_serves_rtmp_http_and_the_api() {
    let config = Config::load(&Source::BuiltIn, &Environment::default()).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.listen[0].port, 1935);
    assert_eq!(config.http_server.as_ref().unwrap().listen[0].port, 8080);
    assert_eq!(config.http_api.as_ref().unwrap().listen[0].port, 1985);
    assert_eq!(config.log.tank, Tank::Console);
    assert!(config.vhost("x").unwrap().http_remux.is_some());
    let env = [("SRS_LISTEN", "1936 1937")].into_iter().collect();
    let ports: Vec<_> =
        Config::load(&Source::BuiltIn, &env).unwrap().listen.iter().map(|endpoint| endpoint.port).collect();
    assert_eq!(ports, [1936, 1937]);
}

#[test]
fn without_a_file_only_variables_count() {
    let load = |env: &[(&str, &str)]| Config::load(&Source::EnvOnly, &env.iter().copied().collect()).unwrap();
    let config = load(&[]);
    assert!(config.listen.is_empty() && config.http_api.is_none());
    assert_eq!(config.log.tank, Tank::Console);
    assert_eq!(config.vhosts.len(), 1);
    let config = load(&[
        ("SRS_LISTEN", "1935"),
        ("SRS_HTTP_API_ENABLED", "on"),
        ("SRS_LOG_TANK", "file"),
        ("SRS_VHOST_HTTP_REMUX_ENABLED", "on"),
    ]);
    assert_eq!((config.listen[0].port, config.log.tank), (1935, Tank::File));
    assert!(config.http_api.is_some() && config.vhosts[0].http_remux.is_some());
}

#[test]
fn variables_win_over_the_file_in_all_vhosts_and_empty_ones_are_unset() {
    let text = "listen 1935; chunk_size 4096; srs_log_tank file; \
                vhost a { play { gop_cache on; } } vhost b { chunk_size 512; }";
    let config = with(text, &[("SRS_VHOST_PLAY_GOP_CACHE", "off"), ("SRS_LISTEN", "")]).unwrap();
    assert!(config.vhosts.iter().all(|vhost| !vhost.play.gop_cache));
    assert_eq!(config.listen[0].port, 1935);
    assert_eq!((config.vhosts[0].chunk_size, config.vhosts[1].chunk_size), (4096, 512));
    let config = with(text, &[("SRS_VHOST_CHUNK_SIZE", "1000"), ("SRS_CHUNK_SIZE", "2000")]).unwrap();
    assert_eq!((config.chunk_size, config.vhosts[1].chunk_size), (1000, 1000));
    let doubled = [("SRS_SRS_LOG_TANK", "console"), ("SRS_LOG_TANK", "file")];
    assert_eq!(with(text, &doubled).unwrap().log.tank, Tank::Console);
}

#[test]
fn a_bad_variable_is_shown_by_name() {
    let error = with("listen 1935;", &[("SRS_LISTEN", "1935 x:1")]).unwrap_err().to_string();
    assert!(error.contains("--> environment"), "{error}");
    assert!(error.contains("  | SRS_LISTEN=1935 x:1\n  |            ^^^^^^^^"), "{error}");
    let config =
        with(&format!("listen 1935; {VHOST}"), &[("SRS_HTTP_SERVR_ENABLED", "on"), ("SRS_PORT_80_TCP", "x")]);
    let config = config.unwrap();
    assert_warns(&config, "`SRS_HTTP_SERVR_ENABLED` is not known");
    assert_eq!(config.warnings[0].help, ["did you mean `SRS_HTTP_SERVER_ENABLED`?"]);
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn a_vhost_is_found_by_name_else_the_default_one_serves() {
    let config =
        read("listen 1; vhost a { enabled off; } vhost __defaultVhost__ { tcp_nodelay off; } vhost b { }");
    assert!(config.vhost("a").is_none());
    assert_eq!(config.vhost("b").unwrap().name, "b");
    assert_eq!(config.vhost("c").unwrap().name, DEFAULT_VHOST);
    // What a block leaves out has the built-in default, not that of the default vhost.
    assert!(config.vhost("b").unwrap().tcp_nodelay);
    let config = read("listen 1; vhost b { }");
    assert!(config.vhost("c").is_none());
    assert_warns(&read("listen 1;"), "no vhost");
}

#[test]
fn switches_are_exact() {
    let config = inside("tcp_nodelay true; play { gop_cache 0; atc ON; }");
    let vhost = config.vhost("").unwrap();
    assert!(!vhost.tcp_nodelay && vhost.play.gop_cache && !vhost.play.atc);
    assert_warns(&config, "`true` is neither on nor off: `off` counts");
    assert_warns(&config, "`0` is neither on nor off: `on` counts");
    assert_warns(&config, "`ON` is neither on nor off: `off` counts");
}

#[test]
fn numbers_are_read_as_c_reads_them() {
    let config = inside(
        "play { queue_length 10s; mw_latency 0; mw_msgs 200; send_min_interval 10.5; gop_cache_max_frames 0; }
         publish { kickoff_for_idle 0.5; normal_timeout -5; firstpkt_timeout x; }",
    );
    let vhost = config.vhost("").unwrap();
    assert_eq!(vhost.play.queue_length, Duration::from_secs(10));
    assert_eq!(vhost.play.mw_latency, Some(Duration::ZERO));
    assert_eq!(vhost.play.mw_msgs, Some(128));
    assert_eq!(vhost.play.send_min_interval, Duration::from_micros(10_500));
    assert_eq!(vhost.play.gop_cache_max_frames, None);
    assert_eq!(vhost.publish.kickoff_for_idle, Some(Duration::from_millis(500)));
    assert_eq!((vhost.publish.normal_timeout, vhost.publish.first_packet_timeout), Default::default());
    assert_warns(&config, "`10s` is not a plain number for `queue_length`: 10 counts");
    assert_warns(&config, "`200` is too many: 128 counts");
    assert_warns(&config, "`-5` is less than no time: 0 counts");
    assert_warns(&config, "`x` is not a plain number for `firstpkt_timeout`: 0 counts");
    assert_eq!(config.warnings.len(), 4);
    assert_warns(&around("chunk_size 100;"), "between 128 and 65536: 100 counts");
    assert_eq!(around("chunk_size 100;").chunk_size, 100);
    assert_warns(&around("max_connections 99999999999;"), "2147483647 counts");
}

#[test]
fn of_a_repeated_directive_the_first_counts() {
    let config = read(
        "listen 1935;\nlisten 1936;\nvhost a { }\nvhost a { enabled off; }\nvhost b { play { } play { } }",
    );
    assert_eq!((config.listen.len(), config.listen[0].port), (1, 1935));
    assert!(config.vhost("a").is_some());
    assert_eq!(config.vhosts.len(), 2);
    assert_warns(&config, "`listen` is repeated: the first, on line 1, counts");
    assert_warns(&config, "`vhost a` is repeated: the first, on line 3, counts");
    assert_warns(&config, "`play` is repeated");
    assert_eq!(config.warnings.len(), 3);
}

#[test]
fn words_too_many_and_blocks_without_braces_are_warned_about() {
    let config = around("pid a b;\nhttp_api;\nwork_dir;\nstats x { }\nserver_id me { listen 1; }");
    assert_eq!(config.pid.to_str(), Some("a"));
    assert_eq!(config.work_dir.to_str(), Some("./"));
    assert_eq!(config.server_id.as_deref(), Some("me"));
    assert_warns(&config, "`a` counts, the rest is ignored");
    assert_warns(&config, "without `{ }` it says nothing");
    assert_warns(&config, "the default, ./, counts");
    assert_warns(&config, "takes no words before its block");
    assert_warns(&config, "the block after it is ignored");
    assert_warns(&read("listen 1; vhost { } vhost a b { }"), "without a name is never used");
}

#[test]
fn an_endpoint_that_another_covers_is_left_out() {
    let shown = |listen: &str| -> Vec<String> {
        let config = read(&format!("listen {listen}; {VHOST}"));
        config.listen.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown("1935 [::]:1935 127.0.0.1:1935 1936"), ["1935", "1936"]);
    assert_eq!(shown("[::]:1935 1935"), ["1935"]);
    assert_eq!(shown("0.0.0.0:1935 [::]:1935"), ["0.0.0.0:1935", "[::]:1935"]);
    assert_eq!(shown("1935 1935"), ["1935"]);
    assert_eq!(shown("1935\n  1936"), ["1935", "1936"]);
}

#[test]
fn the_log_level_has_two_namings() {
    let level = |text: &str| around(text).log.level;
    assert_eq!(level("srs_log_level verbose;"), Level::Trace);
    assert_eq!(level("srs_log_level trace;"), Level::Info);
    assert_eq!(level("srs_log_level trace; srs_log_level_v2 trace;"), Level::Trace);
    assert_eq!(level("srs_log_level_v2 debug;"), Level::Debug);
    assert_eq!(level("srs_log_level loud;"), Level::Off);
    assert_eq!(around("in_docker on;").log.tank, Tank::Console);
    assert_eq!(around("in_docker on; srs_log_tank file;").log.tank, Tank::File);
}

#[test]
fn old_spellings_still_work() {
    let config = read(
        "listen 1935; http_stream { enabled on; listen 8081; }
         vhost __defaultVhost__ {
             gop_cache off; queue_length 10; mr { enabled on; latency 200; }
             publish_1stpkt_timeout 1000; publish_normal_timeout 2000; refer { enabled off; }
         }",
    );
    assert_eq!(config.http_server.as_ref().unwrap().listen[0].port, 8081);
    let vhost = config.vhost("").unwrap();
    assert!(!vhost.play.gop_cache && vhost.publish.mr);
    assert_eq!(vhost.play.queue_length, Duration::from_secs(10));
    assert_eq!(vhost.publish.mr_latency, Duration::from_millis(200));
    assert_eq!(vhost.publish.first_packet_timeout, Duration::from_secs(1));
    assert_warns(&config, "`gop_cache` is an old spelling");
    assert_eq!(config.warnings.len(), 6);
}

#[test]
fn unknown_and_misplaced_names_are_all_shown_with_the_nearest_name() {
    let text =
        "listen 1935;\nmax_connection 10;\ngop_cache off;\nvhost a {\n\tplay { gop_cach on; zzzzzz 1; }\n}\n";
    let error = refused(text);
    for part in [
        "error: unknown directive `max_connection`\n --> a.conf:2:1\n  |\n2 | max_connection 10;\n  | ^^^^^^^^^^^^^^\n  \
         = did you mean `max_connections`?",
        "`gop_cache` does not belong here",
        "= `gop_cache` belongs in `vhost { play { … } }`",
        "unknown directive `gop_cach` in `vhost { play { … } }`",
        "5 |     play { gop_cach on; zzzzzz 1; }\n  |            ^^^^^^^^",
        "did you mean `gop_cache`?",
        "unknown directive `zzzzzz`",
        "refused: 4 problems (SRS code 1023, ConfigInvalid)",
    ] {
        assert!(error.contains(part), "no `{part}` in\n{error}");
    }
    assert_refused("listen 1; vhost a { listen 1935; }", &["does not belong in `vhost { … }`"]);
    assert_refused("listen 1; gop_cahce on;", &["did you mean `gop_cache`, in `vhost { play { … } }`?"]);
    assert_refused("listen 1; enabled on;", &["`enabled` does not belong here"]);
    assert_refused("worker_processes 1;", &["unknown directive `worker_processes`"]);
}

#[test]
fn a_forgotten_semicolon_is_found() {
    assert_refused(
        &format!("listen 1935\nmax_connections 1000;\n{VHOST}"),
        &[
            "missing `;` after `1935`",
            "1 | listen 1935\n  |        ^^^^",
            "`max_connections` on line 2 is one more word for `listen`",
        ],
    );
    assert_refused("listen 1;\npid a\nvhost b {\n}", &["missing `;` after `a`", "2 | pid a"]);
    assert_refused(
        "listen 1; vhost a {\n play { gop_cache off\n queue_length 10; } }",
        &["missing `;` after `off`"],
    );
    assert_refused("listen 1; vhost a {\n tcp_nodelay on\n}", &["missing `;` after `tcp_nodelay on`"]);
    // Quoted, or on the same line, it is just a word.
    assert!(with(&format!("listen 1935;\npid\n'listen' ; {VHOST}"), &[]).is_ok());
}

#[test]
fn what_is_not_built_is_refused_by_name_when_asked_for() {
    for (text, name) in [
        ("srt_server { enabled on; }", "`srt_server` is not built yet (SRT)"),
        ("rtc_server { enabled on; merge_nalus on; }", "`merge_nalus` is not built yet"),
        ("query_latest_version on;", "`query_latest_version` is not built yet"),
        ("query_latest_version yes;", "`query_latest_version` is not built yet"),
        ("vhost a { cluster { mode remote; } }", "`mode` is not built yet"),
        ("vhost a { mode remote; }", "`mode` is not built yet"),
        ("stream_caster { enabled off; } stream_caster { enabled on; }", "`stream_caster` is not built yet"),
        ("stream_caster { enabled on; caster flv; }", "`stream_caster` is not built yet"),
    ] {
        assert_refused(&format!("listen 1935; {text}"), &[name, "^"]);
    }
    let error = refused("listen 1935;\nvhost a {}\nsrt_server {\n        enabled on;\n        listen 1;\n}");
    assert!(error.contains("4 |         enabled on;\n  |                 ^^"), "{error}");
    assert!(error.contains("write `enabled off;`") && error.contains("1 problem "), "{error}");
    let error = refused("listen 1935; query_latest_version on;");
    assert!(
        error.contains("tells nobody that it runs") && error.contains("write `off`, or remove it"),
        "{error}"
    );
}

#[test]
fn what_asks_for_nothing_loads() {
    for text in [
        "vhost a { hls { hls_path x; hls_fragment 2; } dvr { enabled off; dvr_plan segment; } }",
        "vhost a { enabled off; cluster { mode remote; } }",
        "vhost a { hls { enabled on; hls_keys off; hls_nb_notify 64; hls_acodec an; } }",
        "rtc_server { enabled off; listen 9000; tcp { enabled on; } }",
        "stream_caster { enabled off; caster flv; sip { enabled on; } }",
        "daemon off; asprocess off; grace_start_wait 23; grace_final_wait 32; ff_log_dir ./objs;",
        "vhost a { cluster { mode local; origin_cluster off; debug_srs_upnode off; } }",
        "auto_reload_for_docker off; disable_daemon_for_docker off; in_docker off;",
        "circuit_breaker { enabled off; high_threshold 80; }",
        "vhost a { ingest x { enabled off; engine { vcodec copy; perfile { re; } } } }",
        "vhost a { http_remux { enabled off; mount x.ts; } }",
    ] {
        let config = around(text);
        assert_eq!(warnings(&config), Vec::<String>::new(), "{text}");
    }
    assert_warns(&around("tcmalloc_release_rate 0.5;"), "`tcmalloc_release_rate` has no effect");
    assert_warns(&around("threads { interval 3; }"), "`threads` has no effect");
    assert_warns(
        &around("query_latest_version off; first_wait_for_qlv 60;"),
        "`first_wait_for_qlv` has no effect",
    );
    assert_warns(&inside("bandcheck { key x; anything { goes; } }"), "`bandcheck` has no effect");
}

#[test]
fn variables_may_not_ask_for_what_is_not_built_either() {
    let text = format!("listen 1935; {VHOST}");
    let error = with(&text, &[("SRS_SRT_SERVER_ENABLED", "on")]).unwrap_err().to_string();
    assert!(error.contains("`srt_server` is not built yet"), "{error}");
    assert!(error.contains("SRS_SRT_SERVER_ENABLED=on"), "{error}");
    let quiet =
        [("SRS_DAEMON", "off"), ("SRS_VHOST_DASH_ENABLED", "off"), ("SRS_VHOST_DASH_DASH_FRAGMENT", "2")];
    assert_eq!(with(&text, &quiet).unwrap().warnings, []);
    // A variable that says off takes back what the file asks for.
    let asked = "listen 1935; srt_server { enabled on; } vhost __defaultVhost__ { }";
    assert!(with(asked, &[("SRS_SRT_SERVER_ENABLED", "off")]).is_ok());
    assert!(with(asked, &[]).is_err());
}

#[test]
fn a_daemon_is_the_default_of_files_outside_of_containers() {
    let text = format!("listen 1935; {VHOST}");
    let container = || Environment::default().in_container();
    let daemon =
        |text: &str, env: &Environment| Config::parse("a.conf", text.as_bytes(), env).unwrap().daemon;
    assert!(daemon(&text, &Environment::default()));
    assert!(!daemon(&format!("daemon off; {text}"), &Environment::default()));
    assert!(
        !daemon(&text, &container()) && !daemon(&format!("in_docker on; {text}"), &Environment::default())
    );
    assert!(daemon(&format!("disable_daemon_for_docker off; {text}"), &container()));
    for source in [Source::BuiltIn, Source::EnvOnly] {
        assert!(!Config::load(&source, &Environment::default()).unwrap().daemon);
    }
    let config = Config::parse("a.conf", text.as_bytes(), &container()).unwrap();
    assert_eq!(config.log.tank, Tank::Console);
    assert_refused(&format!("asprocess on; {text}"), &["`asprocess` follows the parent", "daemon off;"]);
    assert!(read(&format!("asprocess on; daemon off; {text}")).asprocess);
}

#[test]
fn hls_is_read_whole() {
    let hls = |text: &str| inside(&format!("hls {{ enabled on; {text} }}")).vhosts[0].hls.clone().unwrap();
    let plain = hls("");
    assert_eq!(
        (plain.fragment.as_secs(), plain.window.as_secs(), plain.dispose),
        (10, 60, Some(Duration::from_secs(120)))
    );
    assert!(plain.audio && plain.video && plain.cleanup && plain.wait_keyframe && plain.dts_directly);
    let other = hls("hls_fragment 0.5; hls_dispose 0; hls_vcodec vn; hls_on_error ignore; hls_storage ram;");
    assert_eq!((other.fragment.as_millis(), other.dispose, other.video), (500, None, false));
    assert_eq!((other.on_error, other.storage), (HlsOnError::Ignore, SegmentStorage::Ram));
    assert_refused(
        "listen 1; vhost a { hls { enabled on; } http_remux { enabled on; mount [vhost]/[app]/[stream].ts; } }",
        &["cannot be in one vhost"],
    );
    assert_refused("listen 1; vhost a { hls { enabled on; hls_fragment 0; } }", &["at least 0.1 s"]);
    assert_refused("listen 1; vhost a { hls { enabled on; hls_ts_file a.ts; } }", &["overwrite each other"]);
    assert_refused("listen 1; vhost a { http_remux { enabled on; mount /a.mkv; } }", &["does not end in"]);
    assert_warns(&inside("hls { enabled on; hls_acodec opus; }"), "`opus` is not one of aac, mp3, an");
}

#[test]
fn webrtc_is_read_whole() {
    assert!(around("rtc_server { listen 9000; }").rtc_server.is_none());
    let server = around("rtc_server { enabled on; }").rtc_server.unwrap();
    assert_eq!((server.listen, server.tcp, server.protocol), (8000, None, RtcProtocol::Udp));
    assert_eq!((server.candidate.as_deref(), server.ip_family), (None, IpFamily::V4));
    assert!(server.auto_detect && server.api_as_candidates && server.resolve_api_domain && server.encrypt);
    assert!(!server.keep_api_domain && server.black_hole.is_none() && server.ice_servers.is_empty());
    let rtc = inside("").vhost("").unwrap().rtc.clone();
    assert!(!rtc.enabled && rtc.nack && rtc.twcc && !rtc.stun_strict_check && rtc.keep_avc_nalu_sei);
    assert!(!rtc.rtmp_to_rtc && !rtc.rtc_to_rtmp && !rtc.keep_bframe);
    assert_eq!((rtc.stun_timeout, rtc.pli_for_rtmp), (Duration::from_secs(30), Duration::from_secs(6)));
    assert_eq!((rtc.dtls_role, rtc.drop_for_pt), (DtlsRole::Passive, 0));
    assert_eq!((rtc.opus_bitrate, rtc.aac_bitrate), (48_000, 48_000));

    let server = around(
        "rtc_server { enabled on; listen 9000; tcp { enabled on; listen 9001; } protocol tcp; candidate a.com:7;
         ip_family any; black_hole { enabled on; addr 127.0.0.1:10000; } reuseport 4;
         ice_server stun:a.com; ice_server turn:a.com:3478?transport=tcp me \"my secret\"; }",
    );
    assert_eq!(server.warnings, []);
    let server = server.rtc_server.unwrap();
    assert_eq!((server.listen, server.tcp, server.protocol), (9000, Some(9001), RtcProtocol::Tcp));
    assert_eq!((server.candidate.as_deref(), server.ip_family), (Some("a.com:7"), IpFamily::All));
    assert_eq!(server.black_hole, Some(([127, 0, 0, 1], 10_000).into()));
    let [stun, turn] = &server.ice_servers[..] else { panic!("{:?}", server.ice_servers) };
    assert_eq!((stun.url.as_str(), &stun.login), ("stun:a.com", &None));
    assert_eq!(turn.url, "turn:a.com:3478?transport=tcp");
    assert_eq!(turn.login, Some(("me".into(), "my secret".into())));
}

#[test]
fn what_webrtc_forgives_and_what_not() {
    for (text, warning) in [
        ("rtc_server { enabled on; protocol tcp; }", "`udp` counts"),
        ("rtc_server { enabled on; black_hole { enabled on; } }", "nothing is copied"),
        ("vhost a { rtc { opus_bitrate 7999; } }", "48000 counts"),
        ("vhost a { rtc { aac_bitrate 320001; } }", "48000 counts"),
        ("vhost a { rtc { pli_for_rtmp 31; } }", "6 counts"),
        ("vhost a { rtc { pli_for_rtmp nan; } }", "6 counts"),
        ("vhost a { rtc { drop_for_pt 128; } }", "nothing is dropped"),
        ("vhost a { rtc { stun_timeout 0; } }", "1 counts"),
        ("vhost a { rtc { enabled on; dtls_version tls; } }", "`auto` counts"),
        ("vhost a { rtc { dtls_role both; } }", "`passive` counts"),
    ] {
        assert_warns(&around(text), warning);
    }
    for (text, part) in [
        ("rtc_server { enabled on; listen 0; }", "`0` is no port"),
        ("rtc_server { enabled on; tcp { enabled on; listen 70000; } }", "`70000` is no port"),
        ("rtc_server { enabled on; candidate http://a.com; }", "no address to offer"),
        ("rtc_server { enabled on; ice_server turn:a.com; }", "no server of STUN or TURN"),
        ("rtc_server { enabled on; ice_server http://a.com; }", "no server of STUN or TURN"),
        ("rtc_server { enabled on; ice_server stun:a.com me; }", "no server of STUN or TURN"),
        ("vhost a { rtc { enabled on; dtls_version dtls1.0; } }", "DTLS 1.0 is not spoken"),
    ] {
        assert_refused(&format!("listen 1935; {VHOST} {text}"), &[part, "^"]);
    }
}

#[test]
fn the_candidate_may_stand_in_a_variable() {
    let text = format!("listen 1935; {VHOST} rtc_server {{ enabled on; candidate $A; }}");
    let candidate =
        |env: &[(&str, &str)]| with(&text, env).unwrap().rtc_server.unwrap().candidate.unwrap_or_default();
    for (env, want) in [
        (&[][..], ""),
        (&[("A", "192.0.2.1")], "192.0.2.1"),
        (&[("A", "*")], ""),
        (&[("SRS_RTC_SERVER_CANDIDATE", "192.0.2.2"), ("A", "192.0.2.1")], "192.0.2.2"),
        (&[("SRS_RTC_SERVER_CANDIDATE", "$B"), ("B", "192.0.2.3")], "192.0.2.3"),
        (&[("SRS_RTC_SERVER_CANDIDATE", "$B"), ("A", "192.0.2.1")], "192.0.2.1"),
    ] {
        assert_eq!(candidate(env), want, "{env:?}");
    }
}

#[test]
fn api_credentials_are_whole_and_stay_secret() {
    let api =
        |auth: &str| format!("listen 1; {VHOST} http_api {{ enabled on; auth {{ enabled on; {auth} }} }}");
    assert_refused(&api("username a;"), &["without a `password`"]);
    let refused = refused(&api("username a; password sec:ret;"));
    assert!(refused.contains("must not contain `:`") && refused.contains("password *******;"), "{refused}");
    let config = read(&api("username a; password secret;"));
    assert!(!format!("{config:?}").contains("secret"));

    let config = read(&api("user a secret1; user b secret2; token secret3 secret4; scope api metrics;"));
    let auth = config.http_api.as_ref().unwrap().auth.as_ref().unwrap();
    let names: Vec<_> = auth.users.iter().map(|user| user.username.as_str()).collect();
    assert_eq!(
        (names, auth.tokens.len(), &auth.scope[..]),
        (vec!["a", "b"], 2, &[Area::Api, Area::Metrics][..])
    );
    assert!(!format!("{config:?}").contains("secret"));
    assert_refused(&api("user a s; scope everything;"), &["`everything` is nothing that can be guarded"]);
    let error = with(&api("user a:b s3cret;"), &[]).unwrap_err().to_string();
    assert!(error.contains("`user` takes a name") && !error.contains("s3cret"), "{error}");
}

#[test]
fn those_who_watch_from_outside_are_read_whole() {
    let config = around(
        "exporter { enabled on; label a; streams_limit 7; }
        heartbeat { enabled on; interval 9.3; url https://h.test/x?secret=1; ports on; tls_ca ./ca.pem; }
        traces { enabled on; endpoint http://c.test:4318; sample 0.25; } user www www-data;
        srs_log_format json; srs_log_max_size 1m; srs_log_max_files 3;",
    );
    let exporter = config.exporter.unwrap();
    assert_eq!((exporter.listen[0].port, &*exporter.label, exporter.streams_limit), (9972, "a", 7));
    let heartbeat = config.heartbeat.unwrap();
    assert_eq!((heartbeat.interval.as_secs(), heartbeat.url.as_str()), (9, "https://h.test/x"));
    assert!(heartbeat.ports && !heartbeat.summaries && heartbeat.ip.is_none());
    assert_eq!(heartbeat.tls_ca.as_deref(), Some(Path::new("./ca.pem")));
    let traces = config.traces.unwrap();
    assert_eq!((traces.endpoint.as_str(), traces.sample), ("http://c.test:4318/v1/traces", 0.25));
    let user = config.user.unwrap();
    assert_eq!((&*user.name, user.group.as_deref()), ("www", Some("www-data")));
    let rotation = config.log.rotation.unwrap();
    assert_eq!((config.log.format, rotation.max_size, rotation.max_files), (LogFormat::Json, 1 << 20, 3));
    assert!(read("listen 1; heartbeat { enabled on; }").exporter.is_none());
    let ip =
        with("listen 1; heartbeat { enabled on; } vhost a { }", &[("SRS_DEVICE_IP", "192.0.2.1")]).unwrap();
    assert_eq!(ip.heartbeat.unwrap().ip.as_deref(), Some("192.0.2.1"));
}

#[test]
fn what_those_who_watch_cannot_be_told() {
    // Even if it is off, as in SRS.
    assert_refused("listen 1; heartbeat { interval 0.3; } vhost a { }", &["`interval` is at least 1 s"]);
    assert_refused(
        "listen 1; heartbeat { enabled on; url ftp://x/; } vhost a { }",
        &["`ftp://x/` is no address of HTTP"],
    );
    assert_refused("listen 1; traces { enabled on; sample 2; } vhost a { }", &["`sample` is a share"]);
    assert_refused("listen 1; srs_log_max_size 10x; vhost a { }", &["`10x` is no size"]);
    assert_refused("listen 1; user a b c; vhost a { }", &["`user` has a name"]);
    let small = around("srs_log_max_size 1k;");
    assert_warns(&small, "65536 counts");
    assert_eq!(small.log.rotation.unwrap().max_size, 65_536);
}

#[test]
fn bad_values_are_refused_where_srs_refuses_them() {
    assert_refused("", &["is empty"]);
    assert_refused("pid x;", &["nothing says where to listen", "listen 1935;"]);
    assert_refused(
        "listen localhost:1935;",
        &["`localhost` is not an IP address", "1 | listen localhost:1935;"],
    );
    assert_refused("listen 0;", &["`0` is not a port"]);
    assert_refused("listen x;", &["`x` is not a port"]);
    assert_refused("listen 1; max_connections 0;", &["must be at least 1"]);
    assert_refused("listen 1; stats { network -1; }", &["counts addresses from 0"]);
    assert_refused("listen 1; vhost a { http_remux { } http_remux { } }", &["at most one `http_remux`"]);
    assert_refused("listen 1; is_full on;", &["`is_full`"]);
    assert!(with(&format!("rtmps {{ enabled on; }} {VHOST}"), &[]).is_ok());
    assert_refused("listen x; max_connections 0;", &["2 problems"]);
}

#[test]
fn the_machine_must_be_able_to() {
    let config = around("max_connections 1000; stats { network 1; }");
    assert!(config.check_machine(1_129, 2).is_ok());
    let error = config.check_machine(1_128, 1).unwrap_err();
    assert_eq!(error.problems.len(), 2);
    assert!(error.to_string().contains("ulimit -HSn 10000"));
    assert!(around("").check_machine(10_000, 0).is_ok());
}

#[test]
fn a_missing_file_has_the_code_of_srs() {
    let error = Config::load(&Source::File("/no/such.conf".into()), &Environment::default()).unwrap_err();
    assert_eq!((error.code, error.exit_status()), (1023, 255));
    assert!(error.to_string().contains("there is no configuration file `/no/such.conf`"));
}

mod garbage {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_panics(data in prop::collection::vec(any::<u8>(), 0..400)) {
            server::config::fuzz(&data);
        }

        #[test]
        fn nor_do_words_in_any_order(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
            server::config::fuzz(words.concat().as_bytes());
        }
    }

    const WORDS: &[&str] = &[
        "listen ",
        "1935",
        " 99999999999999999999",
        ";",
        "{",
        "}",
        "\n",
        "\r",
        "\t",
        "#",
        "'",
        "\"",
        "\"\"",
        "vhost ",
        "play",
        "enabled ",
        "on",
        "off",
        "include ",
        "forward ",
        "refer ",
        "mr ",
        "http_remux ",
        "hls ",
        "cluster",
        "mode ",
        "rtc ",
        "aac ",
        "é",
        "\u{fffd}",
        "[::]:",
        "-1",
        "1e99",
        "ingest ",
        "engine ",
        "perfile ",
        "transcode ",
        "stats ",
        "network ",
        "is_full ",
        "rtmp ",
        "chunk_size ",
        "bandcheck ",
    ];
}
