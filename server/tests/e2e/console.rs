//! SRS's console page, as far as the API can tell: a real browser asks by JSONP from another origin, and ends a publisher.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::child::Running;
use crate::harness::{Server, Setup};
use crate::http::Flv;
use crate::players::publish_for_ever;
use crate::tools::LIMIT;

/// What an operator sees who looks around and then ends the publisher of a stream.
fn operate(server: &Server, stream: &str, screenshot: &str, credentials: &str) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let screenshot = Path::new(env!("CARGO_TARGET_TMPDIR")).join(screenshot);
    let mut command = Command::new("node");
    command.current_dir(directory).args(["console.mjs", &format!("http://{}", server.api), stream]);
    command.arg(&screenshot).args(Some(credentials).filter(|pair| !pair.is_empty()));
    let mut browser = Running::start("node console.mjs", &mut command);
    browser.succeed(Duration::from_secs(90));
    assert!(screenshot.exists());
    let line = browser.out.all().pop().unwrap_or_default();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
}

#[test]
fn the_console_looks_around_and_ends_a_publisher() {
    let server = Server::start();
    let mut publisher = publish_for_ever(&server, "page");
    let _other = publish_for_ever(&server, "other");
    let _player = Flv::open(server.http, "/live/page.flv");
    server.has_clients(3);
    let seen = operate(&server, "page", "console.png", "");
    assert_eq!((&seen["errors"], &seen["failed"]), (&json!([]), &Value::Null), "{seen:#}");

    let identity = server.ask("/api/v1/versions");
    for name in ["versions", "summaries", "vhosts", "streams", "clients", "vhost", "stream", "client", "kick"]
    {
        let answer = &seen[name];
        assert_eq!(
            [&answer["code"], &answer["server"], &answer["service"], &answer["pid"]],
            [&json!(0), &identity["server"], &identity["service"], &identity["pid"]],
            "{name}"
        );
    }
    assert_eq!(seen["versions"]["data"]["version"], identity["data"]["version"]);
    assert_eq!(seen["summaries"]["data"]["self"]["pid"], server.id());
    let streams = seen["streams"]["streams"].as_array().unwrap();
    assert_eq!((streams.len(), seen["clients"]["clients"].as_array().unwrap().len()), (2, 3));
    let stream = &seen["stream"]["stream"];
    let names = ["name", "video", "audio"].map(|name| &stream[name]);
    assert_eq!(
        (names[0], &names[1]["codec"], &names[1]["width"]),
        (&json!("page"), &json!("H264"), &json!(320))
    );
    assert_eq!(names[2]["codec"], "AAC");
    assert_eq!(seen["client"]["client"]["id"], stream["publish"]["cid"]);
    assert_eq!(seen["client"]["client"]["publish"], true);
    assert_eq!(seen["vhost"]["vhost"]["id"], stream["vhost"]);
    assert_eq!(seen["raw"]["http_api"]["listen"], server.api.to_string());
    assert_eq!(seen["raw"]["http_api"]["raw_api"]["enabled"], false);
    assert_eq!(seen["after"]["code"], 2049);
    let text = seen["text"].as_str().unwrap();
    for shown in ["/live/page", "/live/other", "320x180", "fmle-publish", "flv-play", "is disconnected"] {
        assert!(text.contains(shown), "{shown} is not on the page: {text}");
    }

    // It is really gone, and told so; the other one is still there.
    let status = publisher.wait(LIMIT);
    assert!(!status.success(), "ffmpeg believes that all was well");
    let cid = stream["publish"]["cid"].as_str().unwrap();
    server.logged(&["kicked off through the API", cid]);
    assert_eq!(server.stream("other").unwrap()["publish"]["active"], true);
    assert_ne!(server.stream("page").map(|stream| stream["publish"]["active"].clone()), Some(json!(true)));
}

#[test]
fn a_browser_that_is_asked_for_a_password() {
    let api = "auth { enabled on; username admin; password s3cret; } raw_api { enabled on; }";
    let server = Server::with(Setup { api, ..Setup::default() });
    let clip = crate::tools::usual_clip();
    let arguments = ["-re", "-stream_loop", "-1", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv"];
    let url = server.rtmp_url("page");
    let mut publisher = crate::tools::start(crate::tools::ffmpeg(), &[&arguments[..], &[&url]].concat());
    server.logged(&["start publish stream=/live/page"]);
    // The tracks are known a little later.
    let _player = Flv::open(server.http, "/live/page.flv").tag();
    let seen = operate(&server, "page", "console-password.png", "admin:s3cret");
    assert_eq!(seen["failed"], Value::Null, "{seen:#}");
    assert_eq!((&seen["kick"]["code"], &seen["after"]["code"]), (&json!(0), &json!(2049)));
    assert_eq!(seen["raw"]["http_api"]["raw_api"]["enabled"], true);
    assert!(!publisher.wait(LIMIT).success());

    let stranger = operate(&server, "page", "console-stranger.png", "admin:guess");
    assert!(stranger["failed"].as_str().unwrap().contains("did not load"), "{stranger:#}");
}
