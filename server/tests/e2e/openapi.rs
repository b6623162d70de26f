//! The description of the API (`/api/v1/openapi.json`) tells the truth: what the walk through the API gets is what it promises, and
//! schemathesis, which we did not write, finds nothing that it does not tell.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, Server, Setup, free_port};
use crate::http::{self, Flv};
use crate::media::Camera;

const PATH: &str = "/api/v1/openapi.json";

/// The answer of GET to `path` is what the description says, if it says anything about the path.
#[track_caller]
pub fn check(server: &Server, path: &str, answer: &Value) {
    // It is the same for all servers, and takes a while to read.
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    let description = DESCRIPTION.get_or_init(|| server.ask(PATH));
    if let Some(schema) = schema(description, "get", path) {
        fits(schema, answer).unwrap_or_else(|e| panic!("{path}: {e}\n{answer}"));
    }
}

/// What the description says about the answer to a method on a path.
fn schema<'a>(description: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let path = path.split('?').next()?;
    let is = |template: &str| {
        let (mut names, mut words) = (template.split('/'), path.split('/'));
        names
            .by_ref()
            .zip(words.by_ref())
            .all(|(name, word)| name == word || (name == "{id}" && !word.is_empty()))
            && template.split('/').count() == path.split('/').count()
    };
    let (_, item) = description["paths"].as_object()?.iter().find(|(template, _)| is(template))?;
    item.get(method)?["responses"]["200"]["content"]["application/json"].get("schema")
}

/// As much of JSON Schema as the description uses.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    for (word, said) in schema.as_object().unwrap() {
        let all = || said.as_array().unwrap().iter().map(|schema| fits(schema, value));
        let good = match word.as_str() {
            "const" => said == value,
            "anyOf" => all().any(|fits| fits.is_ok()),
            "oneOf" => all().filter(Result::is_ok).count() == 1,
            "type" => match said.as_str().unwrap() {
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("{other}"),
            },
            "required" => {
                said.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, schema) in said.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        fits(schema, value).map_err(|e| format!(".{name}{e}"))?;
                    }
                }
                true
            }
            "items" => {
                value.as_array().unwrap().iter().try_for_each(|value| fits(said, value)).map(|()| true)?
            }
            "additionalProperties" => value.as_object().is_none_or(|object| {
                object.keys().all(|name| schema["properties"].get(name).is_some()) || said == true
            }),
            other => panic!("{other}"),
        };
        if !good {
            return Err(format!(": {word} is {said}, and the value {value}"));
        }
    }
    Ok(())
}

#[test]
fn schemas_are_strict() {
    let schema = serde_json::json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"],
        "additionalProperties": false });
    let fits = |text: &str| fits(&schema, &serde_json::from_str(text).unwrap());
    assert_eq!(fits(r#"{"a":1}"#), Ok(()));
    for wrong in [r#"{"a":1,"b":2}"#, "{}", r#"{"a":1.5}"#, "[]"] {
        fits(wrong).unwrap_err();
    }
}

#[test]
fn what_is_described_is_what_is_served() {
    let server = with_rtc(Setup { api: "raw_api { enabled on; }", ..Setup::default() });
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(30);
    let _players = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    server.has_clients(3);
    server.took("a", 30);
    let description = server.ask(PATH);
    assert_eq!(description["openapi"], "3.1.0");
    let stream = server.stream("a").unwrap()["id"].as_str().unwrap().to_owned();
    let client = server.clients()[0]["id"].as_str().unwrap().to_owned();
    for (path, item) in description["paths"].as_object().unwrap() {
        // Some are not answered with JSON, or not at all at once.
        if item["get"]["responses"]["200"]["content"].get("application/json").is_none() || path == "/metrics"
        {
            continue;
        }
        let id = if path.contains("clients") { &client } else { &stream };
        for path in [path.replace("{id}", id), path.replace("{id}", "00000000")] {
            let answer = server.ask(&path);
            assert!(schema(&description, "get", &path).is_some(), "{path}");
            check(&server, &path, &answer);
        }
    }
    // What has a method of its own is refused others.
    for path in ["/api/v1/openapi.json", "/api/v1/events", "/api/v1/streams/"] {
        assert_eq!(http::request(server.api, "PUT", path, &[]).unwrap().status, 405, "{path}");
    }
    let end =
        http::request(server.api, "DELETE", &format!("/api/v1/streams/{stream}?players=true"), &[]).unwrap();
    let answer: Value = serde_json::from_slice(&end.body).unwrap();
    let promised = schema(&description, "delete", &format!("/api/v1/streams/{stream}")).unwrap();
    fits(promised, &answer).unwrap();
    server.has_clients(0);
}

/// Asks for the head of an answer, which may have no end.
fn status(at: SocketAddr, path: &str) -> u16 {
    http::request(at, "HEAD", path, &[]).unwrap().status
}

/// A server with WebRTC.
fn with_rtc(setup: Setup<'_>) -> Server {
    let top = format!("rtc_server {{ enabled on; listen {}; }} {}", free_port(), setup.top);
    Server::with(Setup { top: &top, ..setup })
}

#[test]
fn the_stream_port_describes_what_it_serves() {
    let server = with_rtc(Setup::default());
    let reply = http::get(server.http, PATH).unwrap();
    let description: Value = serde_json::from_slice(&reply.body).unwrap();
    let paths: Vec<_> = description["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(paths[..2], ["/api/v1/versions", PATH]);
    assert!(paths.contains(&"/rtc/v1/whip/") && paths.contains(&"/sig/v1/rtc"), "{paths:?}");
    assert_eq!(status(server.http, "/api/v1/summaries"), 404);
    assert_eq!(status(server.http, "/sig/v1/rtc"), 426);
}

#[test]
fn one_port_serves_all_that_is_described() {
    let server = with_rtc(Setup { one_port: true, ..Setup::default() });
    let _camera = Client::publish(&server, "a");
    server.has_clients(1);
    let id = server.stream("a").unwrap()["id"].as_str().unwrap().to_owned();
    let description = server.ask(PATH);
    let described = description["paths"].as_object().unwrap();
    for path in ["/api/v1/events", "/api/v1/streams/{id}/health", "/api/v1/summaries", PATH] {
        assert!(described.contains_key(path), "{path}");
        assert_eq!(status(server.http, &path.replace("{id}", &id)), 200, "{path}");
    }
    let health = server.ask(&format!("/api/v1/streams/{id}/health"));
    assert_eq!(health["health"]["id"], id.as_str());
    let offer = http::post(server.http, "/rtc/v1/whip/?stream=b", "application/json", b"{}");
    assert_eq!(offer.unwrap().status, 415);
}

/// schemathesis, as `tools/install test` installs it. The file of that name would not do: it knows where it was installed, and folders move.
fn schemathesis() -> Command {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/py/bin/python");
    assert!(python.exists(), "no {}: `tools/install test` installs it", python.display());
    let mut command = Command::new(python);
    command.args(["-m", "schemathesis.cli"]);
    command
}

#[test]
fn schemathesis_finds_nothing() {
    let port = free_port();
    let top = format!(
        "rtc_server {{ enabled on; listen {port}; }} exporter {{ enabled on; listen {}; }}",
        free_port()
    );
    let vhost = "publish { firstpkt_timeout 60000; normal_timeout 60000; } rtc { enabled on; }";
    let server = Server::with(Setup { top: &top, vhost, api: "raw_api { enabled on; }", ..Setup::default() });
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(30);
    let _players = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let mut command = schemathesis();
    command.current_dir(&server.dir).env("SCHEMATHESIS_HOOKS", scripts.join("schemathesis_hooks.py"));
    command.args(["run", &format!("http://{}{PATH}", server.api)]);
    command.args(["--phases", "coverage,fuzzing", "--max-examples", "5", "--no-shrink"]);
    // Python 3.11's parser, which Hypothesis uses, is not made for several threads.
    command.args(["--workers", "1", "--request-timeout", "10", "--seed", "1"]);
    let checks = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ];
    command.args(["--checks", &checks.join(",")]);
    // It has no end, which schemathesis would wait for.
    command.args(["--exclude-path", "/api/v1/events"]);
    let mut run = Running::start("schemathesis", &mut command);
    // It takes 10 s of a core.
    let status = run.wait(SOON * 12);
    let said = [run.out.all(), run.err.all()].concat();
    assert!(status.success(), "{}", said.join("\n"));
}
