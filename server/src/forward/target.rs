//! Targets: what the address of a stream at a destination is, and how much of it a log may show.

use std::path::PathBuf;

use hub::StreamKey;
use rtmp::Url;

use crate::config::{DEFAULT_VHOST, Destination};
use crate::naming::Names;
use crate::session::Request;

/// A stream at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its address.
    pub(super) url: Url,
    /// Authorities that vouch for the server; those of the system if none.
    pub(super) tls_ca: Option<PathBuf>,
    /// Without what may be secret.
    pub(super) shown: String,
}

impl Target {
    /// Where a destination gets this stream.
    pub(super) fn of(destination: &Destination, key: &StreamKey, request: &Request) -> Self {
        let url = match destination {
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
        Self { url, tls_ca: None, shown }
    }

    /// It is reached by TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.url.schema == "rtmps"
    }
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
        Target::of(&Destination::parse(destination).unwrap(), &key, &request)
    }

    #[test]
    fn servers_are_told_the_vhost_and_the_publisher_s_parameters() {
        let url = |vhost, tc_url, param| target("10.0.0.1:1936", vhost, tc_url, param).url;
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
        assert_eq!(plain.url.to_string(), "rtmp://198.51.100.20/site/cam1?key=1");
        let filled = target("rtmps://a.com/[app]/[stream]_copy");
        assert_eq!(filled.url.to_string(), "rtmps://a.com/live/a_copy");
        assert!(filled.is_secure() && !plain.is_secure());
        assert_eq!(target("rtmp://h/x?vhost=w/s").url.tc_url(), "rtmp://w/x");
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = |destination| target(destination, "v.com", "rtmp://v.com/live", "?token=1").shown;
        assert_eq!(shown("10.0.0.1"), "rtmp://10.0.0.1/live/a");
        assert_eq!(shown("rtmps://a.com/live2/my-stream-key?x=1"), "rtmps://a.com/live2/***");
    }
}
