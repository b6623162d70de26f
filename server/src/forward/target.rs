//! Targets: what the address of a stream at a destination is, and how much of it a log may show.

use std::path::PathBuf;

use hub::StreamKey;
use rtmp::Url;

use super::whip::Address;
use crate::config::{DEFAULT_VHOST, Destination};
use crate::naming::Names;
use crate::session::Request;

/// A stream at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Where it is.
    pub(super) place: Place,
    /// Authorities that vouch for the server; those of the system if none.
    pub(super) tls_ca: Option<PathBuf>,
    /// Without what may be secret.
    pub(super) shown: String,
}

/// The address of a stream at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// By RTMP or RTMPS.
    Rtmp(Url),
    /// By WHIP.
    Whip(Address),
}

impl Target {
    /// Where a destination gets this stream.
    ///
    /// # Errors
    /// The stream has a name that makes no address there.
    pub(super) fn of(destination: &Destination, key: &StreamKey, request: &Request) -> Result<Self, String> {
        let url = match destination {
            Destination::Whip(text) => {
                let address = Address::fill(text, key)?;
                let shown = address.shown(key);
                return Ok(Self { place: Place::Whip(address), tls_ca: None, shown });
            }
            Destination::Server { host, port } => {
                // A server cannot tell the vhost from its own address.
                let told = Url { vhost: key.vhost.clone(), ..Url::of_stream(&request.tc_url, &key.stream) };
                let param = param(&told, request);
                Url {
                    schema: "rtmp".into(),
                    host: host.clone(),
                    port: *port,
                    vhost: key.vhost.clone(),
                    app: key.app.clone(),
                    stream: key.stream.clone(),
                    param,
                }
            }
            Destination::Rtmp(url) => Url::parse(&Names::of(key).fill(url)).with_vhost_param(),
        };
        let shown = shown(&url, key);
        Ok(Self { place: Place::Rtmp(url), tls_ca: None, shown })
    }

    /// What tells it from others.
    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::Rtmp(url) => url.to_string(),
            Place::Whip(address) => address.url.to_string(),
        }
    }
}

/// It is reached by TLS.
pub(super) fn is_secure(url: &Url) -> bool {
    url.schema == "rtmps"
}

/// The publisher's parameters, and the vhost: its own one, or the name by which the publisher came.
fn param(told: &Url, request: &Request) -> String {
    let param = request.param.trim_start_matches('?');
    let kept = Url { param: format!("?{param}"), ..Url::default() };
    let vhost = match told.vhost.as_str() {
        DEFAULT_VHOST => Some(&told.host).filter(|host| {
            !host.is_empty() && host.parse::<std::net::IpAddr>().is_err() && *host != DEFAULT_VHOST
        }),
        _ => Some(&told.vhost),
    };
    match vhost.filter(|_| kept.parameter("vhost").is_none()) {
        Some(vhost) if param.is_empty() => format!("?vhost={vhost}"),
        Some(vhost) => format!("?{param}&vhost={vhost}"),
        None if param.is_empty() => String::new(),
        None => kept.param,
    }
}

/// The names of streams elsewhere are often their keys, and parameters may be secret.
fn shown(url: &Url, key: &StreamKey) -> String {
    let stream = if url.stream == key.stream { &url.stream } else { "***" };
    format!("{}/{stream}", url.app_address())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(destination: &str, vhost: &str, tc_url: &str, param: &str) -> Target {
        let key = StreamKey { vhost: vhost.into(), app: "live".into(), stream: "a".into() };
        let request = Request { tc_url: tc_url.into(), param: param.into(), ..Request::default() };
        Target::of(&Destination::parse(destination).unwrap(), &key, &request).unwrap()
    }

    fn url(target: &Target) -> &Url {
        match &target.place {
            Place::Rtmp(url) => url,
            Place::Whip(_) => unreachable!("an address of RTMP"),
        }
    }

    #[test]
    fn servers_are_told_the_vhost_and_the_publisher_s_parameters() {
        let url = |vhost, tc_url, param| url(&target("10.0.0.1:1936", vhost, tc_url, param)).clone();
        for (vhost, tc_url, param, want) in [
            (DEFAULT_VHOST, "rtmp://192.0.2.1/live", "", "a"),
            (DEFAULT_VHOST, "rtmp://cast.com/live", "?token=1", "a?token=1&vhost=cast.com"),
            ("v.com", "rtmp://v.com/live", "", "a?vhost=v.com"),
            ("v.com", "rtmp://192.0.2.1/live", "?vhost=v.com&x=1", "a?vhost=v.com&x=1"),
            // As WHIP tells them.
            (DEFAULT_VHOST, "", "x=1", "a?x=1"),
        ] {
            assert_eq!(url(vhost, tc_url, param).stream_and_param(), want, "{vhost} {tc_url} {param}");
        }
        let named = url("v.com", "rtmp://v.com/live", "");
        assert_eq!((named.tc_url().as_str(), named.host.as_str()), ("rtmp://v.com:1936/live", "10.0.0.1"));
        assert_eq!(url(DEFAULT_VHOST, "", "").to_string(), "rtmp://10.0.0.1:1936/live/a");
    }

    #[test]
    fn whole_addresses_are_taken_as_they_are() {
        let target = |destination| target(destination, "v.com", "rtmp://v.com/live", "?token=1");
        let plain = target("rtmp://198.51.100.20/site/cam1?key=1");
        assert_eq!(url(&plain).to_string(), "rtmp://198.51.100.20/site/cam1?key=1");
        let filled = target("rtmps://a.com/[app]/[stream]_copy");
        assert_eq!(url(&filled).to_string(), "rtmps://a.com/live/a_copy");
        assert!(is_secure(url(&filled)) && !is_secure(url(&plain)));
        assert_eq!(url(&target("rtmp://h/x?vhost=w/s")).tc_url(), "rtmp://w/x");
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = |destination| target(destination, "v.com", "rtmp://v.com/live", "?token=1").shown;
        assert_eq!(shown("10.0.0.1"), "rtmp://10.0.0.1/live/a");
        assert_eq!(shown("rtmps://a.com/live2/my-stream-key?x=1"), "rtmps://a.com/live2/***");
    }
}
