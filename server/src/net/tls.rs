//! TLS for listeners.

use std::io;
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

/// An acceptor for the certificate chain and the key in the PEM files of `tls`; the error names the file. Where nobody has named any, and
/// there are none at the usual place, a certificate signed by itself does until the server ends.
pub fn acceptor(tls: &Tls) -> io::Result<TlsAcceptor> {
    let (chain, key) = match usual_and_missing(tls) {
        true => make()?,
        false => read(&tls.cert, &tls.key)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| bad(&tls.cert, &e))?;
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

fn make() -> io::Result<Pair> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    warn!(
        "there is no ./conf/server.crt: TLS goes on with a certificate signed by itself, which browsers do not trust"
    );
    Ok((vec![made.cert.der().clone()], PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into()))
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
