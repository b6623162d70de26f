//! Where published streams are copied to, as configured, and how the addresses of servers that take them are read.

use std::path::PathBuf;

use reqwest::Url;

use crate::naming;

/// Copies of published streams for other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Who gets one.
    pub destinations: Vec<Destination>,
    /// The service that names them instead, for each stream.
    pub backend: Option<Url>,
    /// Authorities that vouch for servers and for the service; those of the system if none.
    pub tls_ca: Option<PathBuf>,
}

/// Who gets a copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A server of RTMP, which gets the stream under its own name.
    Server {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The whole address of a stream by RTMP or RTMPS; with `[vhost]`, `[app]` and `[stream]`.
    Rtmp(String),
    /// The endpoint of a server of WHIP: `whip://` or `whips://`, or as `http://` and `https://`, which mean the same; with the placeholders.
    Whip(String),
}

/// RTMP's.
const PORT: u16 = 1935;

impl Destination {
    /// Reads `host[:port]`, or an address with a scheme. `None` for what is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Self::server(text) };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let has_stream = rest.split(['?', '#']).next().and_then(|path| path.split_once('/'));
        let has_stream = has_stream.is_some_and(|(_, path)| !path.trim_matches('/').is_empty());
        match scheme.to_ascii_lowercase().as_str() {
            "rtmp" | "rtmps" if !host.is_empty() && has_stream => Some(Self::Rtmp(text.to_owned())),
            "whip" | "whips" | "http" | "https" => {
                let some = |name: &str| matches!(name, "vhost" | "app" | "stream").then(|| "x".into());
                endpoint(&naming::fill(text, some)).map(|_| Self::Whip(text.to_owned()))
            }
            _ => None,
        }
    }

    fn server(text: &str) -> Option<Self> {
        let port = |port: &str| port.parse().ok().filter(|port| *port > 0);
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, PORT),
            Some((host, rest)) => (host, port(rest.strip_prefix(':')?)?),
            None if text.matches(':').count() > 1 => (text, PORT),
            None => match text.split_once(':') {
                Some((host, told)) => (host, port(told)?),
                None => (text, PORT),
            },
        };
        let is_name = !host.is_empty() && !host.contains(['/', '?', '#', '@', '[', ']']);
        is_name.then(|| Self::Server { host: host.to_owned(), port })
    }
}

/// The endpoint of WHIP that an address means: `whip` and `whips` are other names of `http` and `https`. `None` if it means none.
pub fn endpoint(address: &str) -> Option<Url> {
    let (scheme, rest) = address.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "whip" | "http" => "http",
        "whips" | "https" => "https",
        _ => return None,
    };
    // An empty host is none, though a parser of URLs takes the next part of the address for it.
    let authority = rest.split(['/', '\\', '?', '#']).next()?;
    authority.rsplit('@').next().filter(|host| !host.is_empty())?;
    let mut url = Url::parse(&format!("{scheme}://{rest}")).ok()?;
    url.set_fragment(None);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_addresses_are_told_apart() {
        let server = |host: &str, port| Some(Destination::Server { host: host.into(), port });
        for (text, want) in [
            ("127.0.0.1:19350", server("127.0.0.1", 19_350)),
            ("a.com", server("a.com", 1935)),
            ("[::1]:1936", server("::1", 1936)),
            ("[::1]", server("::1", 1935)),
            ("fe80::1", server("fe80::1", 1935)),
            ("a.com:0", None),
            ("a.com:rtmp", None),
            ("a.com/live", None),
            ("", None),
            ("rtmp://a.com", None),
            ("rtmp://a.com/", None),
            ("rtmp:///live/x", None),
            ("ftp://a.com/live/x", None),
        ] {
            assert_eq!(Destination::parse(text), want, "{text}");
        }
        for text in ["rtmp://a.com/live/[stream]?key=1", "RTMPS://a.com:443/app/x"] {
            assert_eq!(Destination::parse(text), Some(Destination::Rtmp(text.into())));
        }
        for text in [
            "whip://a.com/rtc/v1/whip/?app=[app]&stream=[stream]",
            "WHIPS://token@[::1]:8443/x",
            "https://[vhost]/whip/[stream]",
            "http://127.0.0.1:1985/rtc/v1/whip/",
        ] {
            assert_eq!(Destination::parse(text), Some(Destination::Whip(text.into())));
        }
        for text in ["whip://", "whip:///x", "https://a b/", "whips://:80/x", "whep://a.com/x"] {
            assert_eq!(Destination::parse(text), None, "{text}");
        }
    }
}
