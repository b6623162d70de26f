//! The two kinds of address the generator dials: `rtmp://host[:port]/app/stream` and `http://host[:port]/path`.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::Result;

/// An address taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `host:port` as given, for the `Host` header and `tcUrl`.
    pub host: String,
    /// Where to connect.
    pub address: SocketAddr,
    /// Everything after the host, with its leading slash.
    pub path: String,
}

impl Url {
    /// Takes `text` apart; `scheme` (such as `rtmp`) must match and `port` is used when none is given.
    ///
    /// # Errors
    /// When the scheme differs, the path is empty or the host has no address.
    pub fn parse(text: &str, scheme: &str, port: u16) -> Result<Self> {
        let rest = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        let rest = rest.ok_or_else(|| format!("{text}: not an {scheme}:// address"))?;
        let (host, path) = rest.split_once('/').ok_or_else(|| format!("{text}: no path"))?;
        let dialled = if host.contains(':') { host.to_owned() } else { format!("{host}:{port}") };
        let address = dialled.to_socket_addrs()?.next().ok_or_else(|| format!("{host}: no address"))?;
        Ok(Self { host: host.to_owned(), address, path: format!("/{path}") })
    }

    /// Application and stream name of an RTMP path; the stream is what follows the last slash.
    pub fn app_and_stream(&self) -> (&str, &str) {
        self.path[1..].rsplit_once('/').unwrap_or(("", &self.path[1..]))
    }

    /// The same address with `suffix` behind the stream name, before a file extension if there is one.
    #[must_use]
    pub fn suffixed(&self, suffix: &str) -> Self {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let (stem, extension) = match name.split_once('.') {
            Some((stem, extension)) => (stem, format!(".{extension}")),
            None => (name, String::new()),
        };
        Self { path: format!("{folder}/{stem}{suffix}{extension}"), ..self.clone() }
    }

    /// The address that `reference` means in a document at this one; another host is taken for the same.
    #[must_use]
    pub fn joined(&self, reference: &str) -> Self {
        let absolute =
            reference.split_once("://").map(|(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        let path = match absolute {
            Some(path) => path.to_owned(),
            None if reference.starts_with('/') => reference.to_owned(),
            None => {
                let document = self.path.split('?').next().unwrap_or_default();
                let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{reference}")
            }
        };
        Self { path, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rtmp_address_comes_apart() {
        let url = Url::parse("rtmp://127.0.0.1/live/a/livestream", "rtmp", 1935).unwrap();
        assert_eq!(url.address.port(), 1935);
        assert_eq!(url.app_and_stream(), ("live/a", "livestream"));
        assert_eq!(url.suffixed("_7").app_and_stream().1, "livestream_7");
    }

    #[test]
    fn a_suffix_goes_before_the_extension() {
        let url = Url::parse("http://127.0.0.1:8080/live/livestream.flv", "http", 80).unwrap();
        assert_eq!(url.suffixed("_0").path, "/live/livestream_0.flv");
        assert!(Url::parse("rtmp://127.0.0.1/live/x", "http", 80).is_err());
    }

    #[test]
    fn references_are_relative_to_the_folder() {
        let url = Url::parse("http://127.0.0.1:8080/live/a.m3u8?token=x/y", "http", 80).unwrap();
        for (reference, path) in [
            ("a-1.ts?hls_ctx=z", "/live/a-1.ts?hls_ctx=z"),
            ("/live/a.m3u8?hls_ctx=z", "/live/a.m3u8?hls_ctx=z"),
            ("http://cdn:81/x/a.ts", "/x/a.ts"),
            ("http://cdn", "/"),
        ] {
            assert_eq!(url.joined(reference).path, path);
        }
    }
}
