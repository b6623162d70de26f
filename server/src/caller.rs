//! Requests that the server makes to others: callbacks, and the keys of tokens. They run on a thread of their own over kept connections, so that no
//! core ever waits for a service. What is asked, and what an answer means, does not belong here.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

/// A service that is there takes a connection within this time.
const CONNECT: Duration = Duration::from_secs(5);

/// Web servers close idle connections, many of them after 5 s; a request must not meet that.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections that are kept for each service.
const KEPT: usize = 32;

/// A hand on the thread.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    runtime: Handle,
    /// By the file of the authorities.
    clients: Mutex<HashMap<Option<PathBuf>, Client>>,
    /// Dropped with the last hand, which ends the thread.
    _stop: oneshot::Sender<()>,
}

/// A request to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Where to.
    pub url: &'a Url,
    /// JSON to be posted; without it, GET.
    pub body: Option<&'a str>,
    /// How long it may take, up to the last byte of the answer.
    pub timeout: Duration,
    /// Authorities that vouch for the service; those of the system if there is no file.
    pub tls_ca: Option<&'a Path>,
    /// Bytes of the answer that are read, at most.
    pub limit: usize,
    /// Whose trace it belongs to (W3C Trace Context), if it is about a client.
    pub traceparent: Option<&'a str>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, or its start.
    pub body: Vec<u8>,
    /// There was more of it.
    pub is_cut: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// There is no connection, or it broke.
    #[error("{0}")]
    Broken(String),
    /// The configuration makes no sense here.
    #[error("{0}")]
    Unusable(String),
}

impl Caller {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be none.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("caller".into()).spawn(move || {
            // Nothing is ever sent: it ends when the sender is gone.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self(Arc::new(Inner { runtime: handle, clients: Mutex::default(), _stop: stop })))
    }

    /// Has the thread do some work, which goes on to its end even if nobody waits for it.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.runtime.spawn(work)
    }

    /// Waits for some work from a thread that may wait.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.0.runtime.block_on(work)
    }

    /// Makes a request; to be called from work of this thread.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let client = self.client(call.tls_ca).map_err(Failure::Unusable)?;
        let request = match call.body {
            Some(body) => client
                .request(Method::POST, call.url.clone())
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_owned()),
            None => client.request(Method::GET, call.url.clone()),
        };
        let request = match call.traceparent {
            Some(trace) => request.header("traceparent", trace),
            None => request,
        };
        let failed = |e: reqwest::Error| match e.is_timeout() && !e.is_connect() {
            true => Failure::TimedOut(call.timeout),
            false => Failure::Broken(told(e)),
        };
        let mut response = request.timeout(call.timeout).send().await.map_err(failed)?;
        let mut answer = Answer { status: response.status().as_u16(), body: Vec::new(), is_cut: false };
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            let room = call.limit - answer.body.len();
            answer.body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
            if piece.len() > room {
                answer.is_cut = true;
                break;
            }
        }
        Ok(answer)
    }

    fn client(&self, tls_ca: Option<&Path>) -> Result<Client, String> {
        let mut clients = self.0.clients.lock();
        if let Some(client) = clients.get(&tls_ca.map(Path::to_owned)) {
            return Ok(client.clone());
        }
        let client = build(tls_ca)?;
        clients.insert(tls_ca.map(Path::to_owned), client.clone());
        Ok(client)
    }
}

fn build(tls_ca: Option<&Path>) -> Result<Client, String> {
    Client::builder()
        .tls_backend_preconfigured(tls(tls_ca)?)
        .user_agent(crate::SIGNATURE)
        .http1_only()
        // Who is asked is configured, and neither a service nor the environment changes it.
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(KEPT)
        .tcp_nodelay(true)
        .build()
        .map_err(told)
}

/// How others prove who they are: by the authorities in the file, those of the system if there is none. Reads files.
///
/// # Errors
/// The file is not there, or has no certificate in it.
pub fn tls(tls_ca: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|e| e.to_string())?;
    Ok(config.with_root_certificates(authorities(tls_ca)?).with_no_client_auth())
}

/// The certificates that vouch for services.
fn authorities(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            warn!("this machine trusts no authority: calls by https will fail without `tls_ca`");
        }
        store.add_parsable_certificates(found.certs);
        return Ok(store);
    };
    let bad = |e: &dyn std::fmt::Display| format!("tls_ca {}: {e}", file.display());
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|e| bad(&e))?;
    if certificates.is_empty() {
        return Err(bad(&"no certificate in it"));
    }
    for certificate in certificates {
        store.add(certificate).map_err(|e| bad(&e))?;
    }
    Ok(store)
}

/// An error with its causes and without the address, which may have a secret in it.
fn told(e: reqwest::Error) -> String {
    let e = e.without_url();
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = e.source();
    }
    text
}

/// An address as a log may show it: without name, password and query.
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // These fail for addresses without a host, which have neither.
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.into()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A service that answers one request with these bytes, and then says no more.
    fn service(answer: &'static [u8]) -> (Url, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://u:pw@{}/a?key=x", listener.local_addr().unwrap()).parse().unwrap();
        let heard = std::thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            let mut heard = vec![0; 4096];
            let n = tcp.read(&mut heard).unwrap();
            tcp.write_all(answer).unwrap();
            // Until the client leaves.
            while tcp.read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
            String::from_utf8_lossy(&heard[..n]).into_owned()
        });
        (url, heard)
    }

    fn call(url: &Url, timeout: Duration) -> Result<Answer, Failure> {
        let (caller, url) = (Caller::start().unwrap(), url.clone());
        let work = caller.clone();
        let call = caller.spawn(async move {
            let (tls_ca, limit) = (Some(Path::new("/nowhere")), 5);
            let call = Call { url: &url, body: Some("{}"), timeout, tls_ca, limit, traceparent: None };
            match work.call(call).await {
                Err(Failure::Unusable(_)) => work.call(Call { tls_ca: None, ..call }).await,
                _ => unreachable!("there is no such file"),
            }
        });
        caller.wait(call).unwrap()
    }

    #[test]
    fn answers_are_read_up_to_the_limit() {
        let (url, heard) = service(b"HTTP/1.1 418 X\r\nContent-Length: 10\r\n\r\n0123456789");
        let answer = call(&url, Duration::from_secs(9)).unwrap();
        assert_eq!((answer.status, &answer.body[..], answer.is_cut), (418, &b"01234"[..], true));
        let heard = heard.join().unwrap();
        assert!(heard.starts_with("POST /a?key=x HTTP/1.1\r\n") && heard.ends_with("\r\n\r\n{}"), "{heard}");
        assert!(heard.contains("content-type: application/json\r\n"), "{heard}");
    }

    #[test]
    fn silence_and_lies_are_failures() {
        let (url, _) = service(b"");
        let limit = Duration::from_millis(50);
        assert!(matches!(call(&url, limit), Err(Failure::TimedOut(told)) if told == limit));
        let (url, _) = service(b"SSH-2.0\r\n\r\n");
        let error = call(&url, Duration::from_secs(9)).unwrap_err();
        assert!(matches!(error, Failure::Broken(_)) && !error.to_string().contains("key=x"), "{error}");
    }

    #[test]
    fn logs_show_no_secrets() {
        let url = "https://me:pw@a.com:8443/x/y?token=t#f".parse().unwrap();
        assert_eq!(shown(&url), "https://a.com:8443/x/y");
    }
}
