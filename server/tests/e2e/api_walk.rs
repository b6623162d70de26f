//! A walk through the whole HTTP API of a server at work: each answer has the shape that SRS's clients rely on, and tells what the
//! clients themselves have counted.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtmp::{ClientEvent, MediaKind};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{Server, Setup, until};
use crate::http::{self, Reply};
use crate::media::{GOP, STEP, picture, picture_header, sound, sound_header};
use crate::openapi;
use crate::schema::{check, check_text};

/// Answers that have the common fields, and what else they have.
const COMMON: &[(&str, &str)] = &[
    ("/", ROOT),
    ("/no/such/path", ROOT),
    ("/api", API),
    ("/api/", API),
    ("/api/v2/", API),
    ("/api/v1", V1),
    ("/api/v1/", V1),
    ("/api/v1/perf", V1),
    ("/api/v1/tcmalloc", V1),
    ("/api/v1/versions", "data {major int, minor int, revision int, version str}"),
    ("/api/v1/summaries", SUMMARIES),
    (
        "/api/v1/rusages",
        "data {ok true, sample_time int, ru_utime int, ru_stime int, ru_maxrss int, ru_ixrss int, ru_idrss int, ru_isrss int, \
         ru_minflt int, ru_majflt int, ru_nswap int, ru_inblock int, ru_oublock int, ru_msgsnd int, ru_msgrcv int, \
         ru_nsignals int, ru_nvcsw int, ru_nivcsw int}",
    ),
    (
        "/api/v1/self_proc_stats",
        "data {ok true, sample_time int, percent float, pid int, comm str, state str, ppid int, pgrp int, session int, tty_nr int, \
         tpgid int, flags int, minflt int, cminflt int, majflt int, cmajflt int, utime int, stime int, cutime int, cstime int, \
         priority int, nice int, num_threads int, itrealvalue int, starttime int, vsize int, rss int, rsslim int, startcode int, \
         endcode int, startstack int, kstkesp int, kstkeip int, signal int, blocked int, sigignore int, sigcatch int, wchan int, \
         nswap int, cnswap int, exit_signal int, processor int, rt_priority int, policy int, delayacct_blkio_ticks int, \
         guest_time int, cguest_time int}",
    ),
    (
        "/api/v1/system_proc_stats",
        "data {ok true, sample_time int, percent float, user int, nice int, sys int, idle int, iowait int, irq int, softirq int, \
         steal int, guest int}",
    ),
    (
        "/api/v1/meminfos",
        "data {ok true, sample_time int, percent_ram float, percent_swap float, MemActive int, RealInUse int, NotInUse int, \
         MemTotal int, MemFree int, Buffers int, Cached int, SwapTotal int, SwapFree int}",
    ),
    ("/api/v1/authors", "data {license str, contributors str}"),
    (
        "/api/v1/features",
        "data {options str, options2 str, build str, build2 str, features {ssl bool, hls bool, hds bool, callback bool, api bool, \
         httpd bool, dvr bool, transcode bool, ingest bool, stat bool, caster bool, complex_send bool, tcp_nodelay bool, \
         so_sendbuf bool, mr bool}}",
    ),
    (
        "/api/v1/tests/requests",
        "data {uri str, path '/api/v1/tests/requests', METHOD 'GET', headers {sigature str, version str, link str, time int}}",
    ),
];

const ROOT: &str = "urls {api str, rtc {v1 {play str, publish str, nack str}}}";
const API: &str = "urls {v1 str}";
const V1: &str = "urls {versions str, summaries str, rusages str, self_proc_stats str, system_proc_stats str, meminfos str, \
    authors str, features str, requests str, vhosts str, streams str, clients str, raw str, clusters str, perf str, tcmalloc str, \
    tests {requests str, errors str, redirects str, \"[vhost]\" str}}";
const SUMMARIES: &str = "data {ok true, now_ms int, self {version str, pid int, ppid int, argv str, cwd str, mem_kbyte int, \
    mem_percent float, cpu_percent float, srs_uptime int}, system {cpu_percent float, disk_read_KBps int, disk_write_KBps int, \
    disk_busy_percent float, mem_ram_kbyte int, mem_ram_percent float, mem_swap_kbyte int, mem_swap_percent float, cpus int, \
    cpus_online int, uptime float, ilde_time float, load_1m float, load_5m float, load_15m float, net_sample_time int, \
    net_recv_bytes int, net_send_bytes int, net_recvi_bytes int, net_sendi_bytes int, srs_sample_time int, srs_recv_bytes int, \
    srs_send_bytes int, conn_sys int, conn_sys_et int, conn_sys_tw int, conn_sys_udp int, conn_srs int}}";

/// Answers without the common fields.
const BARE: &[(&str, &str)] = &[
    (
        "/api/v1/raw?rpc=raw",
        "{code 0, http_api {enabled true, listen str, crossdomain true, raw_api {enabled true, allow_reload false, \
         allow_query false, allow_update false}}}",
    ),
    ("/api/v1/raw?rpc=reload-fetch", "{code 0, data {err 0, msg 'Success', state 0, rid ''}}"),
    ("/api/v1/raw?rpc=reload", "{code 1061, message str}"),
    ("/api/v1/raw?rpc=update", "{code 1060, message str}"),
    ("/api/v1/raw", "{code 1060, message str}"),
    ("/api/v1/clusters", "{code 0, data {query {ip '', vhost '', app '', stream ''}, origin null}}"),
    (
        "/api/v1/clusters?ip=198.51.100.7&vhost=a.test&app=live&stream=a&coworker=203.0.113.9:1985",
        "{code 0, data {query {ip '198.51.100.7', vhost 'a.test', app 'live', stream 'a'}, origin {ip '203.0.113.9', port int, \
         vhost '__defaultVhost__', api str, routers [str]}}}",
    ),
    ("/api/v1/tests/errors", "{code 100, message str}"),
    ("/api/v1/vhosts/vid-0000000", "{code 2014, message str}"),
    ("/api/v1/streams/vid-0000000", "{code 2048, message str}"),
    ("/api/v1/clients/00000000", "{code 2049, message str}"),
];

/// The lists, what one is called there, and its shape.
const LISTS: &[(&str, &str, &str)] =
    &[("vhosts", "vhost", VHOST), ("streams", "stream", STREAM), ("clients", "client", CLIENT)];

const VHOST: &str = "{id str, name str, enabled true, clients int, streams int, send_bytes int, recv_bytes int, \
    kbps {recv_30s int, send_30s int}, hls {enabled bool, fragment? float}}";
const STREAM: &str = "{id str, name str, vhost str, app str, tcUrl str, url str, live_ms int, clients int, frames int, \
    send_bytes int, recv_bytes int, kbps {recv_30s int, send_30s int}, publish {active bool, cid? str}, \
    video {codec 'H264'|'HEVC'|'AV1'|'VP6'|'Other', profile str, level str, width int, height int}|null, \
    audio {codec 'AAC'|'MP3'|'Opus'|'Other', sample_rate int, channel int, profile str}|null}";
const CLIENT: &str = "{id str, vhost str, stream str, ip '127.0.0.1', pageUrl str, swfUrl str, tcUrl str, url str, name str, \
    type 'rtmp-play'|'flv-play'|'fmle-publish', publish bool, alive float, send_bytes int, recv_bytes int, skipped int, \
    kbps {recv_30s int, send_30s int}}";

const IDS: &str = "code 0, server str, service str, pid str";

/// Asks each endpoint, plainly and by JSONP, and looks at the answer.
fn walk(server: &Server) {
    for (path, rest) in COMMON {
        look(server, path, &format!("{{{IDS}, {rest}}}"));
    }
    for (path, shape) in BARE {
        look(server, path, shape);
    }
    for (list, one, shape) in LISTS {
        let all =
            look(server, &format!("/api/v1/{list}/?count=100"), &format!("{{{IDS}, {list} [{shape}]}}"));
        let ids: Vec<_> =
            all[list].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert!(!ids.is_empty() && ids.is_sorted(), "{list}: {ids:?}");
        for id in ids {
            let found = look(server, &format!("/api/v1/{list}/{id}"), &format!("{{{IDS}, {one} {shape}}}"));
            assert_eq!(found[one]["id"], id);
        }
        let refused = http::request(server.api, "PUT", &format!("/api/v1/{list}/"), &[]).unwrap();
        assert_eq!((refused.status, &*refused.body), (405, &b"Method Not Allowed"[..]), "{list}");
    }
    let redirect = http::get(server.api, "/api/v1/tests/redirects").unwrap();
    assert_eq!((redirect.status, &*redirect.body), (301, &b"Redirect to /api/v1/tests/errors"[..]));
    for nobody in ["", "00000000", "not-an-id"] {
        let answer = http::request(server.api, "DELETE", &format!("/api/v1/clients/{nobody}"), &[]).unwrap();
        check(nobody, &json_of(&answer, "application/json"), "{code 2049, message str}");
    }
}

/// One endpoint.
#[track_caller]
fn look(server: &Server, path: &str, shape: &str) -> Value {
    let plain = json_of(&http::get(server.api, path).unwrap(), "application/json");
    check(path, &plain, shape);
    openapi::check(server, path, &plain);
    let callback = if path.contains('?') { "&callback=look.at_1" } else { "?callback=look.at_1" };
    let mut reply = http::get(server.api, &format!("{path}{callback}")).unwrap();
    let script = String::from_utf8(reply.body).unwrap();
    let json = script.strip_prefix("look.at_1(").and_then(|rest| rest.strip_suffix(')'));
    reply.body = json.unwrap_or_else(|| panic!("{path}: {script}")).into();
    check(path, &json_of(&reply, "text/javascript"), shape);
    plain
}

#[track_caller]
fn json_of(reply: &Reply, content_type: &str) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.head);
    let head = reply.head.to_ascii_lowercase();
    for line in [
        format!("content-type: {content_type}\r\n"),
        "server: oxcast/".to_owned(),
        "content-length: ".to_owned(),
    ] {
        assert!(head.contains(&line), "no {line:?} in {head}");
    }
    let text = std::str::from_utf8(&reply.body).unwrap();
    check_text("", text);
    serde_json::from_str(text).unwrap()
}

/// A client at work on a thread of its own, and what it has counted.
struct Worker {
    stream: &'static str,
    kind: &'static str,
    since: Instant,
    count: Arc<Count>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Count {
    bytes: AtomicU64,
    pictures: AtomicU64,
    /// The test is over.
    stop: AtomicBool,
}

impl Worker {
    fn start(stream: &'static str, kind: &'static str, work: impl FnOnce(&Count) + Send + 'static) -> Self {
        let count = Arc::<Count>::default();
        let thread = std::thread::spawn({
            let count = count.clone();
            move || work(&count)
        });
        Self { stream, kind, since: Instant::now(), count, thread: Some(thread) }
    }

    /// Publishes pictures of this size, and sound, until it is disconnected.
    fn publish(server: &Server, stream: &'static str, size: usize) -> Self {
        let mut client = Client::publish(server, stream);
        client.send(MediaKind::Video, 0, &picture_header());
        client.send(MediaKind::Audio, 0, &sound_header());
        Self::start(stream, "fmle-publish", move |count| {
            let start = Instant::now();
            for number in 0.. {
                let due = start + Duration::from_millis((number * STEP).into());
                while let Some(event) = client.event_within(due.saturating_duration_since(Instant::now())) {
                    match event {
                        // It is told the end before the connection is closed.
                        Some(ClientEvent::Ended) => return client.closed(),
                        Some(_) => {}
                        None => return,
                    }
                }
                if count.stop.load(Relaxed) {
                    return;
                }
                let (picture, sound) = (picture(number, number % GOP == 0, size), sound(number));
                client.send(MediaKind::Video, number * STEP, &picture);
                client.send(MediaKind::Audio, number * STEP, &sound);
                count.bytes.fetch_add((picture.len() + sound.len()) as u64, Relaxed);
                count.pictures.fetch_add(1, Relaxed);
            }
        })
    }

    fn play_rtmp(server: &Server, stream: &'static str) -> Self {
        let mut client = Client::play(server, stream);
        Self::start(stream, "rtmp-play", move |count| {
            while !count.stop.load(Relaxed) {
                match client.event_within(Duration::from_millis(200)) {
                    Some(Some(ClientEvent::Media(media))) => {
                        count.bytes.fetch_add(media.payload.len() as u64, Relaxed);
                    }
                    Some(None) => return,
                    _ => {}
                }
            }
        })
    }

    fn play_flv(server: &Server, stream: &'static str) -> Self {
        let mut tcp = TcpStream::connect(server.http).unwrap();
        tcp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        write!(tcp, "GET /live/{stream}.flv HTTP/1.1\r\nHost: {}\r\n\r\n", server.http).unwrap();
        Self::start(stream, "flv-play", move |count| {
            let mut buffer = vec![0; 64 << 10];
            while !count.stop.load(Relaxed) {
                match tcp.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(n) => drop(count.bytes.fetch_add(n as u64, Relaxed)),
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => return,
                }
            }
        })
    }

    fn publishes(&self) -> bool {
        self.kind == "fmle-publish"
    }

    fn bytes(&self) -> u64 {
        self.count.bytes.load(Relaxed)
    }

    /// Bytes in kbit/s, since `before` were counted at `then`.
    fn kbps(&self, (then, before): (Instant, u64)) -> f64 {
        (self.bytes() - before) as f64 * 8.0 / 1000.0 / then.elapsed().as_secs_f64()
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.count.stop.store(true, Relaxed);
        let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!failed || std::thread::panicking(), "{} of {} failed", self.kind, self.stream);
    }
}

/// `told` is within 5 % of `counted`.
#[track_caller]
fn agrees(what: &str, told: &Value, counted: f64) {
    let number = told.as_f64().unwrap_or_else(|| panic!("{what}: {told}"));
    assert!(
        (number - counted).abs() <= counted * 0.05,
        "{what}: the API tells {told}, the clients counted {counted}"
    );
}

/// Milliseconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Bytes received by the interface `lo`, and by all.
fn network() -> (u64, u64) {
    let all = procfs::net::dev_status().unwrap();
    (all.get("lo").map_or(0, |lo| lo.recv_bytes), all.values().map(|device| device.recv_bytes).sum())
}

/// What the kernel has said now and then, to be compared with what the API says that it has said.
#[derive(Default)]
struct Diary {
    /// When, and the bytes received by `lo`, and by all interfaces.
    network: Vec<(i64, (u64, u64))>,
    /// The sample times of CPU figures, the ticks that the process had used, and the percent.
    cpu: Vec<(i64, u64, f64)>,
}

impl Diary {
    fn note(&mut self, server: &Server) {
        self.network.push((now(), network()));
        let process = server.ask("/api/v1/self_proc_stats")["data"].take();
        let at = process["sample_time"].as_i64().unwrap();
        if self.cpu.last().is_none_or(|last| last.0 < at) {
            let ticks = process["utime"].as_u64().unwrap() + process["stime"].as_u64().unwrap();
            self.cpu.push((at, ticks, process["percent"].as_f64().unwrap()));
        }
    }

    /// 1.00 is one core, all threads together.
    fn check_cpu(&self) {
        let per_second = procfs::ticks_per_second() as f64;
        let mut checked = 0;
        for pair in self.cpu.windows(2) {
            let [(then, before, _), (at, ticks, percent)] = pair else { unreachable!() };
            let seconds = (at - then) as f64 / 1000.0;
            // A sample that we have not seen lies between them.
            if seconds > 1.5 {
                continue;
            }
            let want = (ticks - before) as f64 / per_second / seconds;
            assert!(
                (percent - want).abs() <= 0.02 + want * 0.05,
                "{percent} of a core, not {want}: {:?}",
                self.cpu
            );
            checked += 1;
        }
        assert!(checked > 5, "{:?}", self.cpu);
        assert!(self.cpu.iter().any(|(.., percent)| *percent > 0.0), "work is free: {:?}", self.cpu);
    }

    fn check_network(&self, system: &Value) {
        let at = system["net_sample_time"].as_i64().unwrap();
        let of = |name: &str| system[name].as_u64().unwrap();
        let before = self.network.iter().rfind(|(time, _)| *time <= at).unwrap().1;
        let after = self.network.iter().find(|(time, _)| *time > at).map_or_else(network, |found| found.1);
        let told = of("net_recvi_bytes");
        assert!(told >= before.0, "{told} bytes are less than the {} of lo", before.0);
        let told = told + of("net_recv_bytes");
        assert!(told <= after.1, "{told} bytes are more than the {} of all interfaces", after.1);
    }
}

#[test]
fn each_answer_under_load_has_its_shape_and_tells_the_truth() {
    let server = Server::with(Setup { api: "raw_api { enabled on; }", ..Setup::default() });
    let workers = [
        Worker::publish(&server, "a", 8000),
        Worker::publish(&server, "b", 2000),
        Worker::play_rtmp(&server, "a"),
        Worker::play_flv(&server, "a"),
        Worker::play_flv(&server, "a"),
        // Players over RTMP stay when their publisher leaves.
        Worker::play_rtmp(&server, "b"),
    ];
    server.has_clients(workers.len());
    let seated = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    // Behind the burst with which players begin.
    let before = workers.each_ref().map(|worker| (Instant::now(), worker.bytes()));
    assert!(
        server.clients().iter().all(|c| c["kbps"] == json!({ "recv_30s": 0, "send_30s": 0 })),
        "before a window is over"
    );

    let mut diary = Diary::default();
    let mut walks = 0;
    // A window is 30 s, and is looked at every three seconds.
    while seated.elapsed() < Duration::from_secs(34) {
        diary.note(&server);
        walk(&server);
        walks += 1;
        std::thread::sleep(Duration::from_millis(600));
    }
    assert!(walks > 10, "too slow for what follows");

    diary.check_cpu();
    for (worker, before) in workers.iter().zip(before) {
        tells_the_truth_about_a_client(&server, worker, worker.kbps(before));
    }
    let sum = |publishes: bool, stream: &str, of: &dyn Fn(usize) -> f64| -> f64 {
        let these = workers.iter().enumerate();
        let these =
            these.filter(|(_, w)| w.publishes() == publishes && (stream.is_empty() || w.stream == stream));
        these.map(|(at, _)| of(at)).sum()
    };
    let bytes = |at: usize| workers[at].bytes() as f64;
    let kbps = |at: usize| workers[at].kbps(before[at]);
    let check_sums = |what: &str, told: &Value, stream: &str| {
        agrees(&format!("recv_bytes of {what}"), &told["recv_bytes"], sum(true, stream, &bytes));
        agrees(&format!("send_bytes of {what}"), &told["send_bytes"], sum(false, stream, &bytes));
        agrees(&format!("recv_30s of {what}"), &told["kbps"]["recv_30s"], sum(true, stream, &kbps));
        agrees(&format!("send_30s of {what}"), &told["kbps"]["send_30s"], sum(false, stream, &kbps));
    };
    for (stream, clients, publisher) in [("a", 4, &workers[0]), ("b", 2, &workers[1])] {
        let told = server.stream(stream).unwrap();
        assert_eq!(
            (&told["clients"], &told["publish"]["active"]),
            (&json!(clients), &json!(true)),
            "{told:#}"
        );
        assert_eq!(
            (&told["name"], &told["url"], &told["tcUrl"]),
            (
                &json!(stream),
                &json!(format!("/live/{stream}")),
                &json!(format!("rtmp://{}/live", server.rtmp))
            )
        );
        assert_eq!(
            (&told["video"], &told["audio"]),
            (
                &json!({ "codec": "H264", "profile": "High", "level": "3.1", "width": 1280, "height": 720 }),
                &json!({ "codec": "AAC", "sample_rate": 44100, "channel": 2, "profile": "LC" })
            )
        );
        assert!((told["live_ms"].as_i64().unwrap() - now()).abs() < 5000, "{told:#}");
        agrees("frames", &told["frames"], publisher.count.pictures.load(Relaxed) as f64);
        check_sums(stream, &told, stream);
    }
    let vhosts = server.ask("/api/v1/vhosts/");
    let [vhost] = &vhosts["vhosts"].as_array().unwrap()[..] else { panic!("{vhosts:#}") };
    assert_eq!(
        (&vhost["clients"], &vhost["streams"], &vhost["name"]),
        (&json!(6), &json!(2), &json!("__defaultVhost__"))
    );
    check_sums("the vhost", vhost, "");
    let summaries = server.ask("/api/v1/summaries")["data"].take();
    agrees("srs_recv_bytes", &summaries["system"]["srs_recv_bytes"], sum(true, "", &bytes));
    agrees("srs_send_bytes", &summaries["system"]["srs_send_bytes"], sum(false, "", &bytes));
    diary.check_network(&summaries["system"]);
    tells_the_truth_about_the_machine(&server, &summaries, seated);

    // The console ends clients like this; the publisher is disconnected, and nobody else is.
    let cid = server.stream("b").unwrap()["publish"]["cid"].as_str().unwrap().to_owned();
    let kick = http::get(server.api, &format!("/api/v1/clients/{cid}?callback=cb&method=DELETE")).unwrap();
    assert!(kick.body.starts_with(b"cb({\"code\":0,"));
    until("the publisher is disconnected", Duration::from_secs(5), || workers[1].has_ended().then_some(()));
    server.has_clients(workers.len() - 1);
    assert_eq!(workers.iter().filter(|worker| worker.has_ended()).count(), 1);
    let left = server.stream("b").unwrap();
    assert_eq!(left["publish"], json!({ "active": false, "cid": cid }));
    assert_eq!((&left["clients"], &left["video"], &left["audio"]), (&json!(1), &Value::Null, &Value::Null));
    walk(&server);
}

#[test]
fn each_endpoint_and_each_field_is_documented() {
    let docs = include_str!("../../../docs/ref/api.md");
    let of_common = COMMON.iter().map(|(path, rest)| (*path, format!("{{{rest}}}")));
    let of_lists =
        LISTS.iter().map(|(list, one, shape)| (*list, format!("{{{list} [{shape}], {one} {shape}}}")));
    let of_bare = BARE.iter().map(|(path, shape)| (path.split('?').next().unwrap(), (*shape).to_owned()));
    let invented = ["path", "v2", "vid-0000000", "00000000"];
    for (path, shape) in of_common.chain(of_lists).chain(of_bare) {
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap();
        assert!(docs.contains(last) || invented.contains(&last), "{path} is not in api.md");
        for name in crate::schema::names(&shape) {
            // The kernel's columns are in proc(5), the key of a host is no field.
            if path != "/api/v1/self_proc_stats" && name != "[vhost]" {
                let is_there =
                    docs.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
                assert!(is_there, "{name} of {path} is not in api.md");
            }
        }
    }
}

fn tells_the_truth_about_a_client(server: &Server, worker: &Worker, kbps: f64) {
    let Worker { stream, kind, .. } = worker;
    let clients = server.clients();
    let mine = |c: &&Value| c["type"] == *kind && c["url"] == format!("/live/{stream}");
    let found: Vec<_> = clients.iter().filter(mine).collect();
    assert!(!found.is_empty(), "no {kind} of {stream} in {clients:#?}");
    for client in found {
        let (bytes, rate) =
            if worker.publishes() { ("recv_bytes", "recv_30s") } else { ("send_bytes", "send_30s") };
        agrees(&format!("{bytes} of {kind} {stream}"), &client[bytes], worker.bytes() as f64);
        agrees(&format!("{rate} of {kind} {stream}"), &client["kbps"][rate], kbps);
        agrees("alive", &client["alive"], worker.since.elapsed().as_secs_f64());
        let name = if *kind == "flv-play" { format!("{stream}.flv") } else { (*stream).to_owned() };
        assert_eq!((&client["name"], &client["publish"]), (&json!(name), &json!(worker.publishes())));
        assert_eq!(client["skipped"], 0, "{client:#}");
    }
}

fn tells_the_truth_about_the_machine(server: &Server, summaries: &Value, seated: Instant) {
    let (own, system) = (&summaries["self"], &summaries["system"]);
    let me = procfs::process::Process::new(server.id() as i32).unwrap();
    let status = me.status().unwrap();
    assert_eq!((&own["pid"], &own["ppid"]), (&json!(server.id()), &json!(std::process::id())));
    agrees("mem_kbyte", &own["mem_kbyte"], status.vmhwm.unwrap() as f64);
    let uptime = own["srs_uptime"].as_u64().unwrap();
    assert!((seated.elapsed().as_secs()..seated.elapsed().as_secs() + 15).contains(&uptime), "{uptime}");
    assert_eq!(own["cwd"], json!(server.dir.canonicalize().unwrap()));
    assert!(own["argv"].as_str().unwrap().ends_with(" -c oxcast.conf"), "{own:#}");
    assert!((summaries["now_ms"].as_i64().unwrap() - now()).abs() < 5000);

    use procfs::prelude::*;
    let memory = procfs::Meminfo::current().unwrap();
    assert_eq!(system["mem_ram_kbyte"], memory.mem_total / 1024);
    assert_eq!(system["mem_swap_kbyte"], memory.swap_total / 1024);
    let share = own["mem_kbyte"].as_f64().unwrap() / system["mem_ram_kbyte"].as_f64().unwrap();
    assert_eq!(own["mem_percent"], (share * 100.0).round() / 100.0);
    for name in ["mem_ram_percent", "mem_swap_percent", "cpu_percent", "disk_busy_percent"] {
        assert!((0.0..=1.0).contains(&system[name].as_f64().unwrap()), "{name}: {system:#}");
    }
    let uptime = procfs::Uptime::current().unwrap().uptime;
    assert!((uptime - 20.0..=uptime).contains(&system["uptime"].as_f64().unwrap()));
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    assert!(
        system["cpus_online"].as_u64() >= Some(cpus)
            && system["cpus"].as_u64() >= system["cpus_online"].as_u64()
    );
    assert_eq!(system["conn_srs"], 6);
    // Two ends of six connections, and the listeners.
    assert!(
        system["conn_sys_et"].as_u64() >= Some(12) && system["conn_sys"].as_u64() >= Some(12),
        "{system:#}"
    );
}
