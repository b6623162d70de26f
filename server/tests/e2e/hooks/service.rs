//! A web service that is called back: a process of its own, which is this test program once more. It tells each call on its standard output,
//! and answers as the path asks: most services say yes, some say no, some lie, and some say nothing at all.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::serve::Listener;
use axum::{Router, body::to_bytes};
use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::child::Running;
use crate::harness::{SOON, free_port};

/// What the process is told: `ADDRESS` or `ADDRESS CERTIFICATE KEY`.
const TOLD: &str = "HOOK_SERVICE";

/// A call as the service has seen it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub body: Value,
    /// The body, letter by letter.
    pub text: String,
    /// The head has it.
    pub authorization: String,
    /// So it has this.
    pub traceparent: String,
}

impl Call {
    /// `on_publish` and the like.
    pub fn action(&self) -> &str {
        self.body["action"].as_str().unwrap_or_default()
    }
}

/// See the module.
pub struct Service {
    pub at: SocketAddr,
    running: Running,
    tls: Option<String>,
}

impl Service {
    /// A service on a port of its own.
    pub fn start() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())))
    }

    /// The same at this address.
    pub fn at(at: SocketAddr) -> Self {
        Self::open(at, None)
    }

    /// A service by https, for `localhost`, with this certificate and key.
    pub fn secure(certificate: &str, key: &str) -> Self {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Self::open(at, Some(format!("{certificate} {key}")))
    }

    fn open(at: SocketAddr, tls: Option<String>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "hooks::service::serve", "--ignored", "--nocapture"]);
        command.env(TOLD, format!("{at} {}", tls.as_deref().unwrap_or_default()));
        let running = Running::start("the service", &mut command);
        let serves = |lines: &[String]| lines.iter().any(|line| line.contains("serves")).then_some(());
        assert!(
            running.out.wait(SOON, serves).is_some(),
            "the service does not start: {:?}",
            running.err.all()
        );
        Self { at, running, tls }
    }

    /// The address of a path that answers in its own way; see [`answer`].
    pub fn url(&self, path: &str) -> String {
        match self.tls {
            None => format!("http://{}/{path}", self.at),
            Some(_) => format!("https://localhost:{}/{path}", self.at.port()),
        }
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        calls(&self.running.out.all())
    }

    /// The actions so far, of calls with this in their path.
    pub fn actions(&self, path: &str) -> Vec<String> {
        self.calls()
            .iter()
            .filter(|call| call.path.contains(path))
            .map(|call| call.action().to_owned())
            .collect()
    }

    /// Waits until the service was called so many times for this action; the last of these calls.
    #[track_caller]
    pub fn called(&self, action: &str, times: usize) -> Call {
        self.called_with(&format!("{action}, {times} times"), |calls| {
            calls.iter().filter(|call| call.action() == action).nth(times - 1).cloned()
        })
    }

    /// Waits until something is found in the calls.
    #[track_caller]
    pub fn called_with<T>(&self, what: &str, mut found: impl FnMut(&[Call]) -> Option<T>) -> T {
        let result = self.running.out.wait(SOON, |lines| found(&calls(lines)));
        result.unwrap_or_else(|| panic!("the service was not called for {what}: {:#?}", self.calls()))
    }
}

fn calls(lines: &[String]) -> Vec<Call> {
    let read = |line: &String| {
        let told: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let body = serde_json::from_str(&text("text")).unwrap_or_default();
        let (method, path, authorization) = (text("method"), text("path"), text("authorization"));
        let (text, traceparent) = (text("text"), text("traceparent"));
        Some(Call { method, path, body, text, authorization, traceparent })
    };
    lines.iter().filter_map(read).collect()
}

/// Not a test: what the process does.
#[test]
#[ignore = "the service itself, which tests start"]
fn serve() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let told: Vec<&str> = told.split_whitespace().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let at: SocketAddr = told[0].parse().unwrap();
        let tcp = TcpListener::bind(at).await.unwrap();
        let counts = Arc::<Mutex<HashMap<String, u32>>>::default();
        let router = Router::new().fallback(move |request| record(request, counts.clone()));
        println!("\nserves at {at}");
        match told.get(1..) {
            Some([certificate, key]) => {
                axum::serve(Secure { tcp, acceptor: acceptor(certificate, key) }, router).await
            }
            _ => axum::serve(tcp, router).await,
        }
        .unwrap();
    });
}

async fn record(request: Request, counts: Arc<Mutex<HashMap<String, u32>>>) -> Response {
    let (head, body) = request.into_parts();
    let text = to_bytes(body, 1 << 20).await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_default();
    let path = head.uri.path_and_query().unwrap().to_string();
    let header = |name| head.headers.get(name).map_or("", |v| v.to_str().unwrap());
    let (authorization, traceparent) = (header("authorization"), header("traceparent"));
    println!(
        "{}",
        json!({
            "method": head.method.as_str(), "path": path, "text": text, "authorization": authorization,
            "traceparent": traceparent,
        })
    );
    let count = {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(path.clone()).or_default();
        *count += 1;
        *count
    };
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    answer(&path, &body, count).await
}

/// What the first word of a path means.
async fn answer(path: &str, body: &Value, count: u32) -> Response {
    let mut words = path.trim_start_matches('/').split(['/', '?']);
    let (way, more) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let yes = || "{\"code\":0,\"data\":null}\n".into_response();
    match way {
        "zero" => "0\n".into_response(),
        "no" => "{\"code\":403,\"msg\":\"not today\"}".into_response(),
        // Who brings `token=good` may.
        "judge" => match body["param"].as_str().is_some_and(|param| param.contains("token=good")) {
            true => yes(),
            false => "{\"code\":1}".into_response(),
        },
        "slow" => {
            tokio::time::sleep(Duration::from_millis(more.parse().unwrap())).await;
            yes()
        }
        // What a file holds.
        "file" => match std::fs::read(path.strip_prefix("/file").unwrap()) {
            Ok(content) => content.into_response(),
            Err(e) => (StatusCode::NOT_FOUND, e.to_string()).into_response(),
        },
        // Fails so often, then works.
        "flaky" if count <= more.parse().unwrap() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        "500" => (StatusCode::INTERNAL_SERVER_ERROR, "0").into_response(),
        "garbage" => "<html>It works!</html>".into_response(),
        "empty" => "".into_response(),
        "redirect" => Redirect::temporary("/yes").into_response(),
        // Closes the connection.
        "close" => std::panic::resume_unwind(Box::new("closed")),
        "silent" => std::future::pending().await,
        "huge" => {
            let endless = futures_util::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096]))
            });
            Body::from_stream(endless).into_response()
        }
        _ => yes(),
    }
}

/// TLS for axum.
struct Secure {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((tcp, peer)) = self.tcp.accept().await else { continue };
            if let Ok(tls) = self.acceptor.accept(tcp).await {
                return (tls, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}
