//! The API from outside: every answer against the tables of fields that SRS's clients rely on.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use media::codec::{Codec, aac, h264};
use media::{Dialect, Track, TrackId, Tracks};
use tower::ServiceExt;

use super::*;
use crate::config::Environment;
use crate::config::directives::{self, Status};
use crate::gate::{Ask, Playing, Publishing};
use crate::reload::Reloads;
use crate::session::{self, Kind, Session};

fn sample(state: &State) -> impl Future<Output = ()> + use<> {
    run_samplers(state.gate.clone(), state.roll.clone(), state.samples.clone())
}

/// A server without sockets.
struct Server {
    state: State,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(
            (self.status, self.header("content-type")),
            (StatusCode::OK, "application/json"),
            "{}",
            self.body
        );
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    fn new() -> Self {
        Self::with(
            "listen 1935; http_api { enabled on; } http_server { enabled on; } vhost __defaultVhost__ { } vhost x.test { }",
        )
    }

    /// With these blocks besides the usual.
    fn beside(blocks: &str) -> Self {
        Self::with(&format!("listen 1935; {blocks} vhost __defaultVhost__ {{ }}"))
    }

    fn with(config: &str) -> Self {
        let config = Config::parse("test.conf", config.as_bytes(), &Environment::default()).unwrap();
        let (config, roll) = (Arc::new(config), Arc::new(Roll::default()));
        let gate = Arc::new(Gate::new(config.clone(), roll.clone()));
        let identity = Arc::new(Identity::sample());
        let (reloads, _) = Reloads::new();
        let metrics = crate::metrics::tests::sources(&gate, &roll, &identity);
        let samples = metrics.samples.clone();
        let tasks = metrics.tasks.clone();
        let forwarders = Forwarders::start(&config, Arc::default()).unwrap();
        let recordings = Catalogue::default();
        let state =
            State { config, roll, gate, identity, samples, reloads, metrics, tasks, forwarders, recordings };
        Self { router: router(state.clone()), state }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn ask(&self, method: &str, uri: &str) -> Answer {
        self.send(Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()).await
    }

    async fn get(&self, uri: &str) -> Value {
        let json = self.ask("GET", uri).await.json();
        let is_plain = ["/api/v1/raw", "/api/v1/clusters"].iter().any(|path| uri.starts_with(path));
        if json["code"] == 0 && !is_plain {
            check(&json, "code int, server str, service str, pid str");
            assert_eq!((&json["server"], &json["pid"]), (&json!("vid-3k81z07"), &json!("4711")));
        }
        json
    }

    /// A publisher and a player of `stream`.
    async fn live(&self, vhost: &str, stream: &str) -> (Publishing, Playing) {
        let (publisher, player) = (session(), session());
        let ask = |session, kind, name: &str| Ask {
            session,
            kind,
            request: session::Request {
                vhost: vhost.into(),
                app: "live".into(),
                stream: stream.into(),
                name: name.into(),
                page_url: "http://a/page".into(),
                tc_url: "rtmp://h/live".into(),
                ..session::Request::default()
            },
            visit: None,
        };
        let publishing = self.state.gate.publish(ask(&publisher, Kind::FmlePublish, stream)).await.unwrap();
        publisher.counters.add_received(4_000_000);
        let name = format!("{stream}.flv");
        let playing = self.state.gate.play(ask(&player, Kind::FlvPlay, &name)).await.unwrap();
        player.counters.add_sent(8_000_000);
        (publishing, playing)
    }

    /// Somebody who plays.
    fn player(&self) -> Arc<Session> {
        let clients = self.state.roll.clients();
        clients.iter().find(|client| !client.kind.is_publish()).unwrap().session.clone()
    }
}

fn session() -> Arc<Session> {
    Session::new("203.0.113.9:1234".parse().unwrap())
}

/// Checks that `value` has the fields of `schema`, `name type` with commas between. A name may be a path with dots.
fn check(value: &Value, schema: &str) {
    for field in schema.split(',') {
        let (path, kind) = field.trim().split_once(' ').unwrap();
        let found = path.split('.').fold(value, |value, name| &value[name]);
        let fits = match kind {
            "int" => found.is_i64() || found.is_u64(),
            "float" => found.is_f64(),
            "str" => found.is_string(),
            "bool" => found.is_boolean(),
            "null" => found.is_null(),
            other => panic!("no type {other}"),
        };
        assert!(fits, "{path} is not {kind} but {found} in {value}");
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn indexes() {
    let server = Server::new();
    check(
        &server.get("/").await,
        "urls.api str, urls.rtc.v1.play str, urls.rtc.v1.publish str, urls.rtc.v1.nack str",
    );
    check(&server.get("/api/").await, "urls.v1 str");
    let v1 = server.get("/api/v1/").await;
    assert_eq!(
        keys(&v1["urls"]).join(" "),
        "versions summaries rusages self_proc_stats system_proc_stats meminfos authors features requests vhosts streams clients \
         raw clusters perf tcmalloc tests"
    );
    assert_eq!(keys(&v1["urls"]["tests"]), ["requests", "errors", "redirects", "[vhost]"]);
    // Some keys are nothing but keys in a default SRS, too.
    for key in keys(&v1["urls"]) {
        let is_there = server.ask("GET", &format!("/api/v1/{key}")).await.json()["urls"] != v1["urls"];
        assert_eq!(is_there, !["requests", "perf", "tcmalloc", "tests"].contains(&key), "{key}");
    }
    for (path, same_as) in [
        ("/foo", "/"),
        ("/foo/bar", "/"),
        ("/api", "/api/"),
        ("/api/foo", "/api/"),
        ("/api/v1", "/api/v1/"),
        ("/api/v1/foo/bar", "/api/v1/"),
        ("/api/v1/versions/x", "/api/v1/"),
        ("/api/v1/tests/x", "/api/v1/"),
        ("/api/v1/tcmalloc?page=summary", "/api/v1/"),
        ("/api/v1/streams", "/api/v1/streams/"),
    ] {
        assert_eq!(server.get(path).await, server.get(same_as).await, "{path}");
    }
}

#[tokio::test]
async fn versions_on_both_ports() {
    let mut server = Server::new();
    let answer = server.ask("POST", "/api/v1/versions").await;
    let number = |text: &str| text.parse::<u32>().unwrap();
    let [major, minor, revision] =
        [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")]
            .map(number);
    let want = format!(
        r#"{{"code":0,"server":"vid-3k81z07","service":"7t2m90a4","pid":"4711","data":{{"major":{major},"minor":{minor},"revision":{revision},"version":"{major}.{minor}.{revision}"}}}}"#
    );
    assert_eq!(answer.body, want);
    assert_eq!(answer.header("server"), crate::SIGNATURE);
    assert_eq!(answer.header("content-length"), want.len().to_string());
    server.router = stream_port_router(server.state.clone());
    assert_eq!(server.ask("GET", "/api/v1/versions").await.body, want);
    assert_eq!(server.ask("GET", "/api/v1/streams/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_shared_port_has_the_api_but_not_the_root() {
    let mut server = Server::with(
        "listen 1935; http_api { enabled on; listen 8080; } http_server { enabled on; listen 8080; } vhost __defaultVhost__ { }",
    );
    server.router = stream_port_router(server.state.clone());
    check(&server.get("/api/v1/clients/").await, "code int");
    assert_eq!(server.ask("GET", "/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.ask("GET", "/live/x.ts").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn figures_of_the_machine() {
    let server = Server::new();
    let before = server.get("/api/v1/summaries").await;
    assert_eq!(before["data"]["ok"], false);
    let sampling = tokio::spawn(sample(&server.state));
    while server.get("/api/v1/summaries").await["data"]["ok"] == false {
        tokio::task::yield_now().await;
    }
    sampling.abort();

    let summary = server.get("/api/v1/summaries").await["data"].take();
    let own = "version str, pid int, ppid int, argv str, cwd str, mem_kbyte int, mem_percent float, cpu_percent float, srs_uptime int";
    let system = "cpu_percent float, disk_read_KBps int, disk_write_KBps int, disk_busy_percent float, mem_ram_kbyte int, \
        mem_ram_percent float, mem_swap_kbyte int, mem_swap_percent float, cpus int, cpus_online int, uptime float, ilde_time float, \
        load_1m float, load_5m float, load_15m float, net_sample_time int, net_recv_bytes int, net_send_bytes int, \
        net_recvi_bytes int, net_sendi_bytes int, srs_sample_time int, srs_recv_bytes int, srs_send_bytes int, conn_sys int, \
        conn_sys_et int, conn_sys_tw int, conn_sys_udp int, conn_srs int";
    check(&summary, "ok bool, now_ms int");
    check(&summary["self"], own);
    check(&summary["system"], system);
    // The same fields are there before the first sample.
    check(&before["data"]["self"], own);
    check(&before["data"]["system"], system);
    assert_eq!(summary["self"]["argv"], "oxcast -c x.conf");

    let sampled = "ok bool, sample_time int";
    let rusage = server.get("/api/v1/rusages").await["data"].take();
    check(&rusage, sampled);
    check(
        &rusage,
        "ru_utime int, ru_stime int, ru_maxrss int, ru_ixrss int, ru_idrss int, ru_isrss int, ru_minflt int, ru_majflt int, \
         ru_nswap int, ru_inblock int, ru_oublock int, ru_msgsnd int, ru_msgrcv int, ru_nsignals int, ru_nvcsw int, ru_nivcsw int",
    );
    let stat = server.get("/api/v1/self_proc_stats").await["data"].take();
    check(&stat, sampled);
    check(
        &stat,
        "percent float, pid int, comm str, state str, ppid int, pgrp int, session int, tty_nr int, tpgid int, flags int, minflt int, \
         cminflt int, majflt int, cmajflt int, utime int, stime int, cutime int, cstime int, priority int, nice int, \
         num_threads int, itrealvalue int, starttime int, vsize int, rss int, rsslim int, startcode int, endcode int, startstack int, \
         kstkesp int, kstkeip int, signal int, blocked int, sigignore int, sigcatch int, wchan int, nswap int, cnswap int, \
         exit_signal int, processor int, rt_priority int, policy int, delayacct_blkio_ticks int, guest_time int, cguest_time int",
    );
    assert_eq!(keys(&stat).last(), Some(&"cguest_time"));
    assert!(stat["comm"].as_str().unwrap().starts_with('('));
    let system = server.get("/api/v1/system_proc_stats").await["data"].take();
    check(&system, sampled);
    check(
        &system,
        "percent float, user int, nice int, sys int, idle int, iowait int, irq int, softirq int, steal int, guest int",
    );
    let memory = server.get("/api/v1/meminfos").await["data"].take();
    check(&memory, sampled);
    check(
        &memory,
        "percent_ram float, percent_swap float, MemActive int, RealInUse int, NotInUse int, MemTotal int, MemFree int, Buffers int, \
         Cached int, SwapTotal int, SwapFree int",
    );
}

#[tokio::test]
async fn before_the_first_samples_all_fields_are_there() {
    let (before, after) = (Server::new(), Server::new());
    let sampling = tokio::spawn(sample(&after.state));
    while after.get("/api/v1/summaries").await["data"]["ok"] == false {
        tokio::task::yield_now().await;
    }
    sampling.abort();
    for path in ["rusages", "self_proc_stats", "system_proc_stats", "meminfos"] {
        let [before, after] =
            [before.get(&format!("/api/v1/{path}")).await, after.get(&format!("/api/v1/{path}")).await];
        assert_eq!((&before["data"]["ok"], &after["data"]["ok"]), (&json!(false), &json!(true)));
        assert_eq!(keys(&before["data"]), keys(&after["data"]), "{path}");
    }
}

#[tokio::test]
async fn what_it_is() {
    let server = Server::new();
    check(&server.get("/api/v1/authors").await, "data.license str, data.contributors str");
    let features = server.get("/api/v1/features").await["data"].take();
    check(&features, "options str, options2 str, build str, build2 str");
    assert!(features["build2"].as_str().unwrap().parse::<i64>().unwrap() > 1_700_000_000);
    check(
        &features["features"],
        "ssl bool, hls bool, hds bool, callback bool, api bool, httpd bool, dvr bool, transcode bool, ingest bool, stat bool, \
         caster bool, complex_send bool, tcp_nodelay bool, so_sendbuf bool, mr bool",
    );
    // What the configuration refuses is not there, and the other way round.
    for (name, path) in [("hls", "vhost.hls"), ("dvr", "vhost.dvr"), ("callback", "vhost.http_hooks")] {
        let built = directives::find(path).unwrap().status == Status::Built;
        assert_eq!(features["features"][name], built, "{name}");
    }
}

#[tokio::test]
async fn raw() {
    let off = Server::new();
    let on = Server::beside(
        "http_api { enabled on; listen 127.0.0.1:85; crossdomain off; raw_api { enabled on; } }",
    );
    let settings = |enabled, listen: &str, crossdomain, raw| {
        let raw_api =
            json!({ "enabled": raw, "allow_reload": false, "allow_query": false, "allow_update": false });
        let api =
            json!({ "enabled": enabled, "listen": listen, "crossdomain": crossdomain, "raw_api": raw_api });
        json!({ "code": 0, "http_api": api })
    };
    assert_eq!(off.get("/api/v1/raw?rpc=raw").await, settings(true, "1985", true, false));
    assert_eq!(on.get("/api/v1/raw?rpc=raw").await, settings(true, "127.0.0.1:85", false, true));
    let text = off.ask("GET", "/api/v1/raw?rpc=raw").await.body;
    assert!(text.starts_with(
        r#"{"code":0,"http_api":{"enabled":true,"listen":"1985","crossdomain":true,"raw_api":{"#
    ));

    for query in ["", "?rpc=", "?rpc=query", "?rpc=update", "?rpc=reload", "?rpc=reload-fetch", "?RPC=raw"] {
        let refused = off.get(&format!("/api/v1/raw{query}")).await;
        assert_eq!((keys(&refused), &refused["code"]), (vec!["code", "message"], &json!(1061)), "{query}");
    }
    for (query, code) in
        [("", 1060), ("rpc=", 1060), ("rpc=query", 1060), ("rpc=update", 1060), ("rpc=reload", 1061)]
    {
        let refused = on.get(&format!("/api/v1/raw?{query}")).await;
        assert_eq!((keys(&refused), &refused["code"]), (vec!["code", "message"], &json!(code)), "{query}");
    }
    let fetched = on.ask("POST", "/api/v1/raw?rpc=reload-fetch").await.body;
    assert_eq!(fetched, r#"{"code":0,"data":{"err":0,"msg":"Success","state":0,"rid":""}}"#);
}

#[tokio::test]
async fn clusters() {
    let server = Server::with(
        "listen 1936; http_api { enabled on; listen 2985; } vhost __defaultVhost__ { } vhost x.test { } vhost off.test { enabled off; }",
    );
    let asked = "ip=198.51.100.7&vhost=x.test&app=live&stream=cam1&coworker=203.0.113.9:85";
    let ask = async |query: &str| server.ask("POST", &format!("/api/v1/clusters?{query}")).await.body;
    let query = r#"{"ip":"198.51.100.7","vhost":"x.test","app":"live","stream":"cam1"}"#;
    let nobody = format!(r#"{{"code":0,"data":{{"query":{query},"origin":null}}}}"#);
    assert_eq!(ask(asked).await, nobody);

    let (publishing, _playing) = server.live("x.test", "cam1").await;
    let _other = server.live("", "cam2").await;
    let origin = r#"{"ip":"203.0.113.9","port":1936,"vhost":"x.test","api":"203.0.113.9:2985","routers":["203.0.113.9:2985"]}"#;
    assert_eq!(ask(asked).await, format!(r#"{{"code":0,"data":{{"query":{query},"origin":{origin}}}}}"#));
    let origin = async |query: &str| -> Value {
        serde_json::from_str::<Value>(&ask(query).await).unwrap()["data"]["origin"].take()
    };
    for stranger in ["cam2", "cam", "CAM1", ""] {
        assert_eq!(origin(&format!("vhost=x.test&app=live&stream={stranger}")).await, Value::Null);
    }
    assert_eq!(origin("vhost=off.test&app=live&stream=cam1").await, Value::Null);
    assert_eq!(origin("").await, Value::Null);
    // A vhost that is not configured is the default one.
    let other = origin("vhost=unknown.test&app=live&stream=cam2&coworker=[2001:db8::1]:1985").await;
    assert_eq!((&other["vhost"], &other["ip"]), (&json!("__defaultVhost__"), &json!("2001:db8::1")));
    assert_eq!(other["routers"], json!(["[2001:db8::1]:2985"]));
    // Without a coworker, the machine's own address has to do.
    let own = origin("app=live&stream=cam2").await;
    let own_ip = own["ip"].as_str().unwrap();
    assert!(!own_ip.is_empty() && own_ip != "0.0.0.0", "{own}");

    // Who only plays, or has stopped to publish, is no origin.
    drop(publishing);
    assert_eq!(ask(asked).await, nobody);
}

#[tokio::test]
async fn an_origin_that_listens_on_one_address() {
    let server = Server::with(
        "listen 192.0.2.5:1935; http_api { enabled on; listen 192.0.2.6:1985; } vhost __defaultVhost__ { }",
    );
    let _live = server.live("", "cam1").await;
    let answer = server.get("/api/v1/clusters?app=live&stream=cam1&coworker=203.0.113.9:1985").await;
    let origin = &answer["data"]["origin"];
    assert_eq!((&origin["ip"], &origin["api"]), (&json!("192.0.2.5"), &json!("192.0.2.6:1985")));

    let server = Server::with("listen 127.0.0.1:1935; vhost __defaultVhost__ { }");
    let _live = server.live("", "cam1").await;
    let answer = server.get("/api/v1/clusters?app=live&stream=cam1&coworker=203.0.113.9:1985").await;
    let origin = &answer["data"]["origin"];
    assert_eq!((&origin["ip"], &origin["api"]), (&json!("203.0.113.9"), &json!("203.0.113.9:1985")));
}

#[tokio::test]
async fn answers_for_testers() {
    let server = Server::new();
    let request = Request::post("/api/v1/tests/requests?a=b").header("Host", "media.test:1985");
    let answer = server.send(request.body(Body::from("x")).unwrap()).await.json();
    check(&answer, "code int, server str, service str, pid str, data.headers.time int");
    let data = &answer["data"];
    assert_eq!(keys(data), ["uri", "path", "METHOD", "headers"]);
    assert_eq!(keys(&data["headers"]), ["sigature", "version", "link", "time"]);
    let path = "/api/v1/tests/requests";
    assert_eq!(
        (&data["uri"], &data["path"], &data["METHOD"]),
        (&json!(format!("http://media.test{path}")), &json!(path), &json!("POST"))
    );
    let jsonp = server.ask("GET", "/api/v1/tests/requests?callback=cb&method=PUT&vhost=v.test").await.body;
    assert!(jsonp.starts_with("cb({") && jsonp.contains(r#""METHOD":"PUT""#), "{jsonp}");
    assert!(jsonp.contains(r#""uri":"http://v.test/api/v1/tests/requests""#), "{jsonp}");

    let request = Request::get("/api/v1/tests/errors").header("Host", "error.srs.com:1985");
    for request in [request, Request::put("/api/v1/tests/errors")] {
        let error = server.send(request.body(Body::empty()).unwrap()).await.json();
        assert_eq!((keys(&error), &error["code"]), (vec!["code", "message"], &json!(100)));
    }
    for query in ["", "?callback=cb&x=1"] {
        let answer = server.ask("GET", &format!("/api/v1/tests/redirects{query}")).await;
        let location = format!("/api/v1/tests/errors{query}");
        assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
        assert_eq!(
            (answer.header("location"), answer.header("content-type")),
            (&*location, "text/plain; charset=utf-8")
        );
        assert_eq!(answer.body, format!("Redirect to {location}"));
    }
}

#[tokio::test]
async fn strangers_are_asked_who_they_are() {
    let blocks = "http_api { enabled on; auth { enabled on; username admin; password s3cret; } } http_server { enabled on; }";
    let mut server = Server::beside(blocks);
    let ask = async |server: &Server, method: &str, uri: &str, pair: &str| {
        let mut request = Request::builder().method(method).uri(uri).header("Origin", "http://a");
        if !pair.is_empty() {
            request = request.header("Authorization", format!("Basic {}", BASE64.encode(pair)));
        }
        server.send(request.body(Body::empty()).unwrap()).await
    };
    for port in ["API", "stream"] {
        for (method, uri) in [
            ("GET", "/api/v1/versions"),
            ("POST", "/api/v1/versions"),
            ("GET", "/api/v1/versions?callback=cb"),
            ("GET", "/api/v1/clients/x?callback=cb&method=DELETE"),
            ("DELETE", "/api/v1/clients/x"),
            ("GET", "/live/api/cam.flv"),
            ("GET", "/api"),
            ("GET", "/console/"),
            ("GET", "/metrics"),
            ("POST", "/rtc/v1/play/"),
            ("GET", "/sig/v1/rtc"),
        ] {
            for pair in ["", "admin:wrong", "admin:s3cret:"] {
                let answer = ask(&server, method, uri, pair).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{port}: {method} {uri} {pair}");
                assert_eq!(answer.header("www-authenticate"), r#"Basic realm="oxcast""#);
                assert_eq!(answer.header("access-control-allow-origin"), "*");
                assert!(!answer.body.is_empty() && !answer.body.starts_with("cb("), "{}", answer.body);
            }
            assert_ne!(ask(&server, method, uri, "admin:s3cret").await.status, StatusCode::UNAUTHORIZED);
        }
        let options = ask(&server, "OPTIONS", "/api/v1/clients/", "").await;
        assert_eq!((options.status, options.header("access-control-allow-headers")), (StatusCode::OK, "*"));
        assert_ne!(ask(&server, "GET", "/", "").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&server, "GET", "/api/v1/versions", "admin:s3cret").await.json()["code"], 0);
        server.router = finish(stream_port_router(server.state.clone()), &server.state.config);
    }
}

#[tokio::test]
async fn vhosts() {
    let server = Server::new();
    assert_eq!(server.get("/api/v1/vhosts/").await["vhosts"], json!([]));
    let live = (server.live("x.test", "a").await, server.live("other.test", "b").await);
    let all = server.get("/api/v1/vhosts/").await["vhosts"].take();
    assert_eq!(all.as_array().unwrap().len(), 2);
    for vhost in all.as_array().unwrap() {
        check(
            vhost,
            "id str, name str, enabled bool, clients int, streams int, send_bytes int, recv_bytes int, kbps.recv_30s int, \
             kbps.send_30s int, hls.enabled bool",
        );
        assert_eq!(
            (&vhost["clients"], &vhost["streams"], &vhost["enabled"]),
            (&json!(2), &json!(1), &json!(true))
        );
        assert_eq!((&vhost["recv_bytes"], &vhost["send_bytes"]), (&json!(4_000_000), &json!(8_000_000)));
    }
    let mut names: Vec<_> = all.as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["__defaultVhost__", "x.test"]);
    drop(live);
    let id = all[1]["id"].as_str().unwrap();
    let one = server.get(&format!("/api/v1/vhosts/{id}")).await["vhost"].take();
    assert_eq!((&one["id"], &one["clients"], &one["recv_bytes"]), (&json!(id), &json!(0), &json!(4_000_000)));
    assert_eq!(one["hls"], json!({ "enabled": false }));
    let unknown = server.get("/api/v1/vhosts/vid-0000000").await;
    assert_eq!(unknown["code"], 2014);
    check(&unknown, "message str");
}

#[tokio::test]
async fn vhosts_tell_how_long_segments_are() {
    let server = Server::with(
        "listen 1935; vhost a.test { hls { enabled on; hls_fragment 2.5; } } vhost b.test { hls { enabled off; hls_fragment 3; } }",
    );
    let _live = (server.live("a.test", "x").await, server.live("b.test", "x").await);
    let text = server.ask("GET", "/api/v1/vhosts/").await.body;
    assert!(text.contains(r#""hls":{"enabled":true,"fragment":2.50}}"#), "{text}");
    assert!(text.contains(r#""hls":{"enabled":false}}"#), "{text}");
}

#[tokio::test]
async fn streams() {
    let server = Server::new();
    let (mut publishing, playing) = server.live("x.test", "cam1").await;
    let stream = server.get("/api/v1/streams/").await["streams"][0].take();
    check(
        &stream,
        "id str, name str, vhost str, app str, tcUrl str, url str, live_ms int, clients int, frames int, send_bytes int, \
         recv_bytes int, kbps.recv_30s int, kbps.send_30s int, publish.active bool, publish.cid str, video null, audio null",
    );
    assert_eq!(keys(&stream)[..4], ["id", "name", "vhost", "app"]);
    assert_eq!((&stream["url"], &stream["clients"]), (&json!("x.test/live/cam1"), &json!(2)));
    let vhosts = server.get("/api/v1/vhosts/").await;
    assert_eq!(stream["vhost"], vhosts["vhosts"][0]["id"]);

    publishing.tracks(h264_and_aac());
    server.state.roll.sample_rates(std::time::Instant::now() + std::time::Duration::from_secs(30));
    let id = stream["id"].as_str().unwrap();
    let stream = server.get(&format!("/api/v1/streams/{id}")).await["stream"].take();
    let video = json!({ "codec": "H264", "profile": "High", "level": "3.1", "width": 1280, "height": 720 });
    let audio = json!({ "codec": "AAC", "sample_rate": 48000, "channel": 2, "profile": "LC" });
    assert_eq!((&stream["video"], &stream["audio"]), (&video, &audio));
    let kbps = |name: &str| stream["kbps"][name].as_i64().unwrap();
    // The window is a little longer than 30 s, as it began with the stream.
    assert!(
        (1060..=1066).contains(&kbps("recv_30s")) && (2120..=2133).contains(&kbps("send_30s")),
        "{stream}"
    );

    drop(publishing);
    let stream = server.get(&format!("/api/v1/streams/{id}")).await["stream"].take();
    check(&stream, "publish.active bool, publish.cid str, video null, audio null");
    assert_eq!((&stream["publish"]["active"], &stream["clients"]), (&json!(false), &json!(1)));
    drop(playing);
    assert_eq!(server.get(&format!("/api/v1/streams/{id}")).await["code"], 2048);
    assert_eq!(server.get("/api/v1/streams/").await["streams"], json!([]));
}

fn h264_and_aac() -> Tracks {
    let video =
        h264::Config { profile: 100, level: 31, width: Some(1280), height: Some(720), ..Default::default() };
    let audio = aac::Config {
        object_type: 2,
        core_rate: 48_000,
        sample_rate: 48_000,
        channels: 2,
        ..aac::Config::default()
    };
    let mut tracks = Tracks::default();
    for (id, codec) in [(TrackId::VIDEO, Codec::H264(video)), (TrackId::AUDIO, Codec::Aac(audio))] {
        tracks.set(Track { id, codec, config: bytes::Bytes::new(), dialect: Dialect::Standard });
    }
    tracks
}

#[tokio::test]
async fn clients() {
    let server = Server::new();
    let _live = server.live("", "cam1").await;
    let all = server.get("/api/v1/clients/").await["clients"].take();
    let stream = server.get("/api/v1/streams/").await["streams"][0].take();
    for client in all.as_array().unwrap() {
        check(
            client,
            "id str, vhost str, stream str, ip str, pageUrl str, swfUrl str, tcUrl str, url str, name str, type str, publish bool, \
             alive float, send_bytes int, recv_bytes int, skipped int, kbps.recv_30s int, kbps.send_30s int",
        );
        assert_eq!((&client["stream"], &client["vhost"]), (&stream["id"], &stream["vhost"]));
        assert_eq!((&client["ip"], &client["url"]), (&json!("203.0.113.9"), &json!("/live/cam1")));
        let (name, kind) = (client["name"].as_str().unwrap(), client["type"].as_str().unwrap());
        let want =
            if client["publish"] == true { ("cam1", "fmle-publish") } else { ("cam1.flv", "flv-play") };
        assert_eq!((name, kind), want);
        let id = client["id"].as_str().unwrap();
        assert_eq!(server.get(&format!("/api/v1/clients/{id}")).await["client"]["id"], id);
        if client["publish"] == true {
            assert_eq!(stream["publish"], json!({ "active": true, "cid": id }));
        }
    }
    for (method, path) in [("GET", "zzzzzzzz"), ("GET", "a/b"), ("DELETE", "zzzzzzzz"), ("DELETE", "")] {
        let answer = server.ask(method, &format!("/api/v1/clients/{path}")).await.json();
        assert_eq!(answer["code"], 2049, "{method} {path}");
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = Server::new();
    let mut live = Vec::new();
    for n in 0..12 {
        live.push(server.live("", &format!("s{n}")).await);
    }
    for list in ["streams", "clients"] {
        let ids = async |query: &str| -> Vec<String> {
            let all = server.get(&format!("/api/v1/{list}/{query}")).await[list].take();
            all.as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
        };
        let all = ids("?count=100").await;
        assert_eq!(all.len(), if list == "streams" { 12 } else { 24 });
        assert!(all.is_sorted());
        assert_eq!(ids("").await, all[..10]);
        assert_eq!(ids("?start=0&count=2").await, all[..10]);
        assert_eq!(ids("?start=3&count=11").await, all[3..all.len().min(14)]);
        assert_eq!(ids("?start=-1").await, all[..10]);
        assert!(ids("?start=24").await.is_empty());
    }
}

#[tokio::test]
async fn a_kick_ends_the_session() {
    let server = Server::new();
    let _live = server.live("", "cam1").await;
    let session = server.player();
    let answer = server.ask("DELETE", &format!("/api/v1/clients/{}", session.cid)).await.json();
    assert_eq!(keys(&answer), ["code", "server", "service", "pid"]);
    assert_eq!(answer["code"], 0);
    assert!(session.kicked().await.contains("API"));
}

#[tokio::test]
async fn jsonp() {
    let server = Server::new();
    let plain = server.ask("GET", "/api/v1/versions").await;
    let answer = server.ask("GET", "/api/v1/versions?callback=JSON_p.cb-1").await;
    assert_eq!(answer.body, format!("JSON_p.cb-1({})", plain.body));
    assert_eq!(answer.header("content-type"), "text/javascript");
    for evil in ["alert(1)", "a%20b", "%3Cscript%3E", "%C3%A4"] {
        let answer = server.ask("GET", &format!("/api/v1/versions?callback={evil}")).await.json();
        assert_eq!(answer["code"], 4058, "{evil}");
    }

    let _live = server.live("", "cam1").await;
    let session = server.player();
    // Without a callback, `method` means nothing.
    let path = format!("/api/v1/clients/{}?method=DELETE", session.cid);
    assert!(server.get(&path).await["client"].is_object());
    let answer = server.ask("GET", &format!("{path}&callback=cb")).await;
    assert!(
        answer.body.starts_with(r#"cb({"code":0,"#) && !answer.body.contains("client"),
        "{}",
        answer.body
    );
    assert!(session.kicked().await.contains("API"));
    let answer = server.ask("GET", "/api/v1/streams/?callback=cb&method=PUT").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn methods_that_make_no_sense() {
    let server = Server::new();
    let _live = server.live("", "cam1").await;
    let first = async |list: &str| {
        let all = server.get(&format!("/api/v1/{list}/")).await;
        format!("{list}/{}", all[list][0]["id"].as_str().unwrap())
    };
    let (vhost, stream, client) = (first("vhosts").await, first("streams").await, first("clients").await);
    for (method, path, allowed) in [
        ("DELETE", "vhosts/", "GET"),
        ("POST", &*vhost, "GET"),
        ("PUT", &*stream, "GET, DELETE"),
        ("DELETE", &*format!("{stream}/health"), "GET"),
        ("POST", "events", "GET"),
        ("DELETE", "tasks", "GET"),
        ("POST", "dvrs", "GET"),
        ("DELETE", "streams/", "GET"),
        ("PUT", "streams/", "GET"),
        ("POST", "clients/", "GET, DELETE"),
        ("PATCH", "clients/", "GET, DELETE"),
        ("PUT", &*client, "GET, DELETE"),
    ] {
        let answer = server.ask(method, &format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(answer.header("allow"), allowed, "{method} {path}");
        assert_eq!(
            (answer.body.as_str(), answer.header("content-type")),
            ("Method Not Allowed", "text/plain; charset=utf-8")
        );
    }
    // Who is not there is not there for any method.
    for (path, code) in [("vhosts/x", 2014), ("streams/x", 2048), ("clients/x", 2049)] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = server.ask(method, &format!("/api/v1/{path}")).await.json();
            assert_eq!(
                (keys(&answer), &answer["code"]),
                (vec!["code", "message"], &json!(code)),
                "{method} {path}"
            );
        }
    }
    let head = server.ask("HEAD", "/api/v1/clients/").await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    assert!(head.header("content-length").parse::<u32>().unwrap() > 100);
}

#[tokio::test]
async fn cors() {
    let on = Server::new();
    let off =
        Server::with("listen 1935; http_server { enabled on; crossdomain off; } vhost __defaultVhost__ { }");
    let request = |method: &str| {
        let request = Request::builder().method(method).uri("/api/v1/clients/").header("Origin", "http://a");
        request.body(Body::empty()).unwrap()
    };
    for method in ["GET", "OPTIONS"] {
        let answer = on.send(request(method)).await;
        assert_eq!(answer.status, StatusCode::OK);
        for (name, value) in [
            ("allow-origin", "*"),
            ("allow-headers", "*"),
            ("allow-methods", "*"),
            ("expose-headers", "*"),
            ("allow-credentials", "false"),
        ] {
            assert_eq!(answer.header(&format!("access-control-{name}")), value);
        }
        assert_eq!(off.send(request(method)).await.header("access-control-allow-origin"), "");
    }
    assert_eq!(on.ask("GET", "/api/v1/clients/").await.header("access-control-allow-origin"), "");
    let options = on.ask("OPTIONS", "/any/where").await;
    assert_eq!(
        (options.status, options.header("content-length"), options.body.as_str()),
        (StatusCode::OK, "0", "")
    );
    let options = off.ask("OPTIONS", "/any/where").await;
    assert_eq!((options.status, options.body.as_str()), (StatusCode::METHOD_NOT_ALLOWED, ""));
}

#[tokio::test]
async fn paths_that_climb() {
    let server = Server::new();
    for path in ["/api/../etc", "/..", "/api/v1/versions?x=../y"] {
        assert_eq!(server.ask("GET", path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}
