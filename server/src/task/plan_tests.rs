//! What command lines come out of configurations and of what clients call themselves.

use std::sync::Arc;

use super::*;
use crate::config::Environment;
use crate::gate::Passes;
use crate::task::Mode;
use crate::task::figures::Figures;
use crate::task::journal::Journals;
use crate::task::outputs::Outputs;

fn desk(text: &str) -> Desk {
    let config = Config::parse("test", text.as_bytes(), &Environment::default()).unwrap();
    Desk {
        config: arc_swap::ArcSwap::from_pointee(config),
        passes: Arc::<Passes>::default(),
        outputs: Outputs::default(),
        journals: Journals::start().unwrap(),
        figures: Figures::default(),
        mode: tokio::sync::watch::Sender::new(Mode::Serving),
        turns: Default::default(),
    }
}

fn facts(app: &str, stream: &str) -> Arc<Facts> {
    let key = StreamKey { vhost: "v.com".into(), app: app.into(), stream: stream.into() };
    Arc::new(Facts {
        key,
        port: 1936,
        param: "?id=7".into(),
        tc_url: "rtmp://h/live".into(),
        swf_url: "s.swf".into(),
        page_url: "http://p/".into(),
    })
}

/// A command line, without the secrets of passes and what they are told with.
fn line(prepared: &Prepared) -> String {
    let plain = |word: &String| match word.find("oxcast_pass=") {
        Some(at) => format!("{}PASS", &word[..at]),
        None => word.clone(),
    };
    prepared.invocation.words.iter().map(plain).collect::<Vec<_>>().join(" ")
}

fn transcoded(stream: &Arc<Facts>, listen: &str, output: &str) -> Result<String, String> {
    let engine = format!("engine ld {{ enabled on; vcodec copy; acodec copy; output {output}; }}");
    let desk = desk(&format!("{listen} vhost v.com {{ transcode {{ enabled on; ffmpeg ff; {engine} }} }}"));
    let config = desk.config.load_full();
    let transcode = &config.vhosts[0].transcodes[0];
    let engine = Box::new(transcode.engines[0].clone());
    let work = Work::Transcode { stream: stream.clone(), program: transcode.ffmpeg.clone(), engine };
    let prepared = Plan { kind: Kind::Transcode, name: String::new(), work }.prepare(&desk)?;
    assert_eq!(prepared.log.as_deref(), Some(Path::new("./objs/ffmpeg-encoder-v.com-live-a-ld.log")));
    Ok(line(&prepared))
}

#[test]
fn a_transcoder_plays_from_this_server() {
    let listen = "listen 1935 1936;";
    let middle = "-vcodec copy -acodec copy -f flv -y";
    let stream = facts("live", "a");
    for (listen, output, want) in [
        (
            listen,
            "rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]",
            "ff -f flv -i rtmp://127.0.0.1:1936/live?vhost=v.com/a?PASS {} rtmp://127.0.0.1:1936/live?vhost=v.com/a_ld?PASS",
        ),
        // Nobody else is given a pass.
        (
            listen,
            "rtmp://cdn.com/[app]/[stream][param]",
            "ff -f flv -i rtmp://127.0.0.1:1936/live?vhost=v.com/a?PASS {} rtmp://cdn.com/live/a?id=7",
        ),
        (
            listen,
            "./html/[vhost]/[app]-[stream].flv",
            "ff -f flv -i rtmp://127.0.0.1:1936/live?vhost=v.com/a?PASS {} ./html/v.com/live-a.flv",
        ),
        (
            "listen 192.0.2.7:1940;",
            "o.flv",
            "ff -f flv -i rtmp://192.0.2.7:1940/live?vhost=v.com/a?PASS {} o.flv",
        ),
        ("listen [::]:1940;", "o.flv", "ff -f flv -i rtmp://[::1]:1940/live?vhost=v.com/a?PASS {} o.flv"),
    ] {
        assert_eq!(transcoded(&stream, listen, output).unwrap(), want.replace("{}", middle), "{output}");
    }
    let refused = |listen, output| transcoded(&stream, listen, output).unwrap_err();
    assert!(
        refused("listen 1936;", "rtmp://localhost:1936/[app]?vhost=[vhost]/[stream]").contains("own input")
    );
}

#[test]
fn names_do_not_reach_where_they_should_not() {
    let refused = |app: &str, stream: &str, output: &str| {
        transcoded(&facts(app, stream), "listen 1936;", output).unwrap_err()
    };
    for (app, stream) in [("live", "../a"), ("..", "a"), ("live", "a b"), ("live", "a?x"), ("live", ".a")] {
        assert!(refused(app, stream, "x.flv").contains("can be no part"), "{app}/{stream}");
    }
    assert!(refused("live", "-a", "[stream]").contains("cannot stand"));
    let mut facts = Arc::into_inner(facts("live", "a")).unwrap();
    facts.param = "?x/../../../y".into();
    assert!(transcoded(&Arc::new(facts), "listen 1936;", "./x[param].flv").is_err());
}

#[test]
fn inputs_are_published_here() {
    let ingest = "input { url a.flv; } ffmpeg ff;";
    let desk = desk(&format!(
        "listen 1940; vhost __defaultVhost__ {{
            ingest one {{ enabled on; {ingest} engine {{ output rtmp://127.0.0.1:[port]/live?vhost=[vhost]/cam; }} }}
            ingest two {{ {ingest} }}
            ingest {{ enabled on; {ingest} engine hd {{ output rtmp://x/y/z; }} engine {{ output rtmp://x/y/w; }} }}
        }}
        vhost off.com {{ enabled off; ingest {{ enabled on; {ingest} engine {{ output o; }} }} }}"
    ));
    let plans = ingests(&desk.config.load());
    let names: Vec<_> = plans.iter().map(|plan| &*plan.name).collect();
    assert_eq!(names, ["__defaultVhost__/one", "__defaultVhost__/hd", "__defaultVhost__ #2"]);
    let prepared = plans[0].prepare(&desk).unwrap();
    let want = "ff -loglevel info -re -stream_loop -1 -i a.flv -vcodec copy -acodec copy -f flv -y rtmp://127.0.0.1:1940/live/cam?PASS";
    assert_eq!(line(&prepared), want);
    assert_eq!(
        prepared.log.as_deref(),
        Some(Path::new("./objs/ffmpeg-ingest-__defaultVhost__-live-cam.log"))
    );
    assert!(line(&plans[1].prepare(&desk).unwrap()).ends_with("-y rtmp://x/y/z"));
}

#[test]
fn commands_get_what_is_known() {
    let run = |stream: &Arc<Facts>, command: &str| {
        let desk = desk(&format!("listen 1936; vhost v.com {{ exec {{ enabled on; publish {command}; }} }}"));
        let exec = desk.config.load().vhosts[0].exec.clone().unwrap();
        let plan = commands(&exec.publish, stream, "publish").remove(0);
        assert_eq!(plan.name, format!("{} publish", stream.key));
        plan.prepare(&desk).map(|prepared| {
            let Invocation { stdout, stderr, .. } = &prepared.invocation;
            (line(&prepared), stdout.clone().unwrap_or_default(), stderr.clone().unwrap_or_default())
        })
    };
    let none = String::new;
    let stream = facts("live", "a");
    for (command, want) in [
        ("x [vhost] [port] [app] [stream] [param] [engine]", "x v.com 1936 live a ?id=7 [engine]"),
        (
            "x [url] [tcUrl] [swfUrl] [pageUrl]",
            "x rtmp://127.0.0.1:1936/live?vhost=v.com/a?PASS rtmp://h/live s.swf http://p/",
        ),
    ] {
        assert_eq!(run(&stream, command).unwrap(), (want.into(), none(), none()), "{command}");
    }
    assert_eq!(
        run(&stream, "x >[stream].out 2>[app].err").unwrap(),
        ("x".into(), "a.out".into(), "live.err".into())
    );
    assert!(run(&facts("live", "-rf"), "rm [stream]").is_err());
    assert_eq!(run(&facts("live", "-rf"), "x -n[stream]").unwrap().0, "x -n-rf");
    assert!(run(&facts("live", "../a"), "x [stream]").is_err());
    let words = run(&facts("a/b/c", "d"), "x [url]").unwrap().0;
    assert_eq!(words, "x rtmp://127.0.0.1:1936/a/b/c/d?vhost=v.com&PASS");
}

#[test]
fn scopes_cover_what_they_name() {
    let key = &facts("live", "a").key;
    assert!(["", "live", "live/a"].iter().all(|scope| covers(scope, key)));
    assert!(!["liv", "live/b", "a", "live/", "/live"].iter().any(|scope| covers(scope, key)));
}

#[test]
fn addresses_of_this_server_are_known() {
    let desk = desk("listen 1935 1936; vhost v.com { } vhost __defaultVhost__ { }");
    let of = |url: &str| own(&desk.config.load(), url).map(|key| key.to_string());
    for (url, want) in [
        ("rtmp://127.0.0.1/live/a", Some("/live/a")),
        ("rtmp://127.0.0.1:1936/live?vhost=v.com/a", Some("v.com/live/a")),
        ("rtmp://localhost/live/a?x=1", Some("/live/a")),
        ("rtmp://v.com/live/a", Some("v.com/live/a")),
        ("rtmp://[::1]:1935/live/a", Some("/live/a")),
        ("rtmp://127.0.0.1:1937/live/a", None),
        ("rtmp://198.51.100.7/live/a", None),
        ("rtmp://elsewhere.com/live/a", None),
        ("rtmps://127.0.0.1:1935/live/a", None),
        ("/tmp/a.flv", None),
    ] {
        assert_eq!(of(url).as_deref(), want, "{url}");
    }
}
