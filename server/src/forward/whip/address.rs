//! The address of an endpoint of WHIP: what is asked there, what proves who we are, and how much of it a log may show.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub::StreamKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

use crate::config::{DEFAULT_VHOST, endpoint};
use crate::naming::Names;

/// What stands in an address as it is; the names of streams are their publishers' choice.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A part of a path that is as long may be a key.
const KEY: usize = 16;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Address {
    /// `http` or `https`, without user and password.
    pub(in crate::forward) url: Url,
    /// The header `Authorization`: what stands before `@` is a token, or a user and a password.
    pub(super) authorization: Option<String>,
}

impl Address {
    /// The address for this stream.
    ///
    /// # Errors
    /// With this stream's names it is none.
    pub(in crate::forward) fn fill(text: &str, key: &StreamKey) -> Result<Self, String> {
        let encoded = |name: &str| utf8_percent_encode(name, PLAIN).to_string();
        // Hosts are not encoded, and vhosts stand there.
        let vhost = key.vhost.clone();
        let names = StreamKey { vhost, app: encoded(&key.app), stream: encoded(&key.stream) };
        let url = endpoint(&Names::of(&names).fill(text));
        let mut url =
            url.ok_or_else(|| format!("no address to forward {key} to can be made of its names"))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = decoded(url.username());
        let authorization = match url.password().map(decoded) {
            Some(password) => Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))),
            None => Some(format!("Bearer {user}")).filter(|_| !user.is_empty()),
        };
        // These fail for addresses without a host only.
        let _ = (url.set_username(""), url.set_password(None));
        Ok(Self { url, authorization })
    }

    /// Without what may be secret: query, and long parts of the path that are not of the stream.
    pub(in crate::forward) fn shown(&self, key: &StreamKey) -> String {
        let url = &self.url;
        let part = |part: &str| {
            let own = [&key.stream, &key.app, &key.vhost].iter().any(|name| *name == part);
            if own || part.len() < KEY || part == DEFAULT_VHOST { part.to_owned() } else { "***".to_owned() }
        };
        let path: Vec<_> = url.path().split('/').map(part).collect();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = if url.scheme() == "https" { "whips" } else { "whip" };
        let more = if url.query().is_some() { "?***" } else { "" };
        format!("{scheme}://{}{port}{}{more}", url.host_str().unwrap_or_default(), path.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stream: &str) -> StreamKey {
        StreamKey { vhost: "v.com".into(), app: "live".into(), stream: stream.into() }
    }

    fn address(text: &str) -> Address {
        Address::fill(text, &key("a")).unwrap()
    }

    #[test]
    fn names_are_filled_in_and_change_nothing_else() {
        let url = |text| address(text).url.to_string();
        assert_eq!(url("whip://h:1985/w?app=[app]&stream=[stream]"), "http://h:1985/w?app=live&stream=a");
        assert_eq!(url("whips://[vhost]/[app]/[stream]"), "https://v.com/live/a");
        let odd = Address::fill("https://h/w?stream=[stream]&k=1", &key("x&k=2#@é/y")).unwrap();
        assert_eq!(odd.url.as_str(), "https://h/w?stream=x%26k%3D2%23%40%C3%A9/y&k=1");
        assert!(Address::fill("whip://[stream].com:x/", &key("a")).is_err());
    }

    #[test]
    fn what_stands_before_the_host_proves_who_we_are() {
        let token = address("whips://a%20b@h/w");
        assert_eq!(token.authorization.as_deref(), Some("Bearer a b"));
        assert_eq!(token.url.as_str(), "https://h/w");
        assert_eq!(address("whip://me:pw@h/").authorization.as_deref(), Some("Basic bWU6cHc="));
        assert_eq!(address("whip://h/").authorization, None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = |text| address(text).shown(&key("a"));
        assert_eq!(shown("whips://token@h:8443/w?stream=a"), "whips://h:8443/w?***");
        assert_eq!(shown("https://h/0123456789abcdef0123/webRTC/publish"), "whips://h/***/webRTC/publish");
        assert_eq!(shown("http://h/[stream]"), "whip://h/a");
    }
}
