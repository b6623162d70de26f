//! TLS for listeners.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::conn::Stream;
use crate::config::Tls;

/// An acceptor that speaks `protocols` (ALPN) where a client names some, for the certificate chain and the key in the PEM files of `tls`; the error names the file. Where nobody has named any, and
/// there are none at the usual place, a certificate signed by itself is made and kept there.
pub fn acceptor(tls: &Tls, protocols: &[&str]) -> io::Result<TlsAcceptor> {
    let (chain, key) = match usual_and_missing(tls) {
        true => make(tls)?,
        false => read(&tls.cert, &tls.key)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| bad(&tls.cert, &e))?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn bad(path: &Path, e: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {e}", path.display()))
}

fn read(cert: &Path, key: &Path) -> io::Result<Pair> {
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).map_err(|e| bad(cert, &e))?;
    if chain.is_empty() {
        return Err(bad(cert, &"no certificate in it"));
    }
    Ok((chain, PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, &e))?))
}

/// SRS comes with a pair of files there, so that its users have nothing to do for a trial.
fn usual_and_missing(tls: &Tls) -> bool {
    let is = |path: &Path, usual: &str| path == Path::new(usual) && !path.exists();
    is(&tls.cert, "./conf/server.crt") && is(&tls.key, "./conf/server.key")
}

fn make(tls: &Tls) -> io::Result<Pair> {
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned(), own];
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let kept =
        match keep(&tls.cert, cert.as_bytes(), 0o644).and_then(|()| keep(&tls.key, key.as_bytes(), 0o600)) {
            Ok(()) => format!("it is kept in {}", tls.cert.display()),
            Err(e) => format!("it is gone with this process ({e})"),
        };
    warn!(
        "there is no {}: TLS goes on with a certificate signed by itself, which browsers do not trust; {kept}",
        tls.cert.display()
    );
    Ok((vec![made.cert.der().clone()], PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into()))
}

/// Writes a file that is not there yet.
fn keep(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text)
}

/// A peer that says it wants TLS has this long to prove it.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Shakes hands with a peer. Bytes are not held back to wait for more, since media comes in pieces that are large enough.
pub async fn handshake(acceptor: &TlsAcceptor, tcp: TcpStream) -> io::Result<Stream> {
    let shaken = timeout(HANDSHAKE, acceptor.accept(tcp)).await;
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("not done after {} s", HANDSHAKE.as_secs()));
    Ok(Stream::Tls(Box::new(shaken.map_err(late)??)))
}
