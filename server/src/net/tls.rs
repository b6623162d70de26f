//! TLS for listeners.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::conn::Stream;

/// An acceptor for the certificate chain and key in these PEM files; the error names the file.
pub fn acceptor(cert: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let bad = |path: &Path, e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).map_err(|e| bad(cert, &e))?;
    if chain.is_empty() {
        return Err(bad(cert, &"no certificate in it"));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, &e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|e| bad(cert, &e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
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
