//! RTMP addresses: from `tcUrl` and stream name to host, vhost, app, stream and parameters, and back.
//!
//! There is no standard for these; the grammar is the one that encoders in the field were configured with. Whether a vhost exists,
//! and what it means, belongs to the configuration.

use std::fmt;
use std::net::IpAddr;

/// Where a stream is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// `rtmp`, `rtmps`, …; in lower case.
    pub schema: String,
    /// The name or address that the client connected to; IPv6 without brackets.
    pub host: String,
    /// The TCP port; 1935 when not told (443 for `rtmps`).
    pub port: u16,
    /// The virtual host that the client asks for: the parameter `vhost` or `domain`, else the host.
    pub vhost: String,
    /// The application; may contain `/`. `__defaultApp__` when not told.
    pub app: String,
    /// The stream; empty in the address of an application.
    pub stream: String,
    /// `?query`, and `#fragment` if any; or empty.
    pub param: String,
}

/// The name of the vhost that stands for all others.
const DEFAULT_VHOST: &str = "__defaultVhost__";
const DEFAULT_APP: &str = "__defaultApp__";
const DEFAULT_PORT: u16 = 1935;

impl Url {
    /// The address of a stream as a session tells it: the `tcUrl` of `connect` and the name of `publish` or `play`, which may
    /// bring its own `?query`. Without a name, the stream is looked for in the application or behind a `/` in the query.
    pub fn of_stream(tc_url: &str, name: &str) -> Self {
        let (name, own) = split_query(name);
        let name = clean(name);
        if name.is_empty() {
            let mut url = Self::of_app(tc_url);
            url.param = join(own, &url.param);
            url.guess_stream();
            return url.finish();
        }
        let tc_url = expand_vhost(tc_url);
        let (address, query) = split_query(&tc_url);
        Self::build(&format!("{address}/{name}"), join(own, query)).finish()
    }

    /// The address of an application: the `tcUrl` of `connect` alone, with an empty stream.
    pub fn of_app(tc_url: &str) -> Self {
        let tc_url = expand_vhost(tc_url);
        let (address, query) = split_query(&tc_url);
        Self::build(&format!("{address}/"), join("", query)).finish()
    }

    /// A stream's whole address, such as a destination in the configuration. The last element of the path is the stream; a
    /// query in the middle (`app?vhost=v/stream`) is moved behind it.
    pub fn parse(url: &str) -> Self {
        let url = expand_vhost(url);
        let (address, query) = split_query(&url);
        match query.rsplit_once('/') {
            Some((query, stream)) => Self::build(&format!("{address}/{stream}"), join("", query)).finish(),
            None => Self::build(address, join("", query)).finish(),
        }
    }

    /// The address that `connect` tells: schema, vhost (or the host, when the vhost is the default one), port and app.
    pub fn tc_url(&self) -> String {
        let host =
            if self.vhost.is_empty() || self.vhost == DEFAULT_VHOST { &self.host } else { &self.vhost };
        self.address_of(host)
    }

    /// The address of the application on its host, as a redirection tells it: `schema://host[:port]/app`.
    pub fn app_address(&self) -> String {
        self.address_of(&self.host)
    }

    /// The name that `publish` and `play` tell: the stream and its parameters.
    pub fn stream_and_param(&self) -> String {
        let query = self.param.trim_start_matches(['?', '&']);
        match (query.is_empty(), query.starts_with('#')) {
            (true, _) => self.stream.clone(),
            (_, true) => format!("{}{query}", self.stream),
            (_, false) => format!("{}?{query}", self.stream),
        }
    }

    /// The same address with the vhost as a parameter, for a server that cannot tell it from the host that we connect to:
    /// the vhost, or the host's name when the vhost is the default one. A vhost already told is left alone.
    pub fn with_vhost_param(mut self) -> Self {
        let told = self.parameter("vhost").is_some();
        let by_name = !self.host.is_empty() && self.host.parse::<IpAddr>().is_err();
        let vhost = match self.vhost.as_str() {
            "" | DEFAULT_VHOST => by_name.then_some(&self.host),
            vhost => (vhost != self.host).then_some(&self.vhost),
        };
        if let Some(vhost) = vhost.filter(|_| !told) {
            self.param = join(&self.param, &format!("?vhost={vhost}"));
        }
        self
    }

    /// The first parameter called `key`. Between a key and its value stands `=` or `,`; between pairs `&`, `&&`, `;` or `,`.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        parameter(&self.param, key)
    }

    fn address_of(&self, host: &str) -> String {
        let schema = if self.schema.is_empty() { "rtmp" } else { &self.schema };
        let mut address = match host.contains(':') {
            true => format!("{schema}://[{host}]"),
            false => format!("{schema}://{host}"),
        };
        if self.port != port_of(schema) {
            address.push_str(&format!(":{}", self.port));
        }
        format!("{address}/{}", self.app)
    }

    /// From `schema://host:port/app/stream` and its parameters; not yet cleaned.
    fn build(address: &str, param: String) -> Self {
        let (schema, rest) = address.split_once("://").unwrap_or(("rtmp", address));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            // More than one colon without brackets is a bare IPv6 address.
            None if authority.matches(':').count() > 1 => (authority, None),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let path = format!("/{path}").replace("/_definst_", "");
        let (app, stream) = path.rsplit_once('/').unwrap_or(("", ""));
        let schema = clean(schema).to_ascii_lowercase();
        Self {
            port: port.and_then(|port| clean(port).parse().ok()).unwrap_or(port_of(&schema)),
            schema,
            host: host.to_owned(),
            vhost: String::new(),
            app: app.to_owned(),
            stream: stream.to_owned(),
            param,
        }
    }

    /// Old clients hide the stream in the application, or behind a slash in the query.
    fn guess_stream(&mut self) {
        if let Some((app, stream)) = self.app.split_once('/') {
            (self.app, self.stream) = (app.to_owned(), stream.to_owned());
        } else if let Some((param, stream)) = self.param.split_once('/') {
            (self.param, self.stream) = (param.to_owned(), stream.to_owned());
        }
    }

    /// Sets the vhost and strips what does not belong into names.
    fn finish(mut self) -> Self {
        self.host = clean(&self.host).replace('/', "");
        let asked = ["vhost", "domain"]
            .into_iter()
            .find_map(|key| parameter(&self.param, key).map(|vhost| clean(vhost).replace('/', "")));
        let default_only = self.param == format!("?vhost={DEFAULT_VHOST}")
            || self.param == format!("?domain={DEFAULT_VHOST}");
        if default_only {
            self.param.clear();
        }
        self.vhost =
            asked.filter(|v| !v.is_empty() && v != DEFAULT_VHOST).unwrap_or_else(|| self.host.clone());
        self.app = clean(&self.app).trim_matches('/').to_owned();
        if self.app.is_empty() {
            self.app = DEFAULT_APP.to_owned();
        }
        self.stream = clean(&self.stream).trim_matches('/').to_owned();
        self
    }
}

/// The whole address: `schema://host[:port]/app/stream?query`.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app_address(), self.stream_and_param())
    }
}

fn port_of(schema: &str) -> u16 {
    if schema == "rtmps" { 443 } else { DEFAULT_PORT }
}

/// `app...vhost...name` is how a vhost is written where `?` is not allowed.
fn expand_vhost(url: &str) -> String {
    url.replace("...vhost...", "?vhost=")
}

/// What stands before the first `?` or `#`, and the rest with it.
fn split_query(text: &str) -> (&str, &str) {
    text.find(['?', '#']).and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// Two queries as one.
fn join(first: &str, second: &str) -> String {
    let (query, fragment) = first.split_once('#').unwrap_or((first, ""));
    let (more, last) = second.split_once('#').unwrap_or((second, ""));
    let [query, more] = [query, more].map(|query| query.trim_matches(['?', '&']));
    let mut param = String::new();
    for (mark, text) in [('?', query), ('?', more), ('#', if fragment.is_empty() { last } else { fragment })]
    {
        if !text.is_empty() {
            param.push(if mark == '?' && !param.is_empty() { '&' } else { mark });
            param.push_str(text);
        }
    }
    param
}

fn parameter<'a>(param: &'a str, key: &str) -> Option<&'a str> {
    param.split(['?', '&', ';', '#']).find_map(|pair| {
        let mut rest = pair;
        loop {
            let (name, value) = match rest.split_once('=') {
                Some(pair) => pair,
                None => rest.split_once(',').unwrap_or((rest, "")),
            };
            // A comma separates pairs only if a pair follows it, and not the padding of base64; else it belongs to the value.
            let is_pair = |next: &str| {
                next.split_once('=').is_some_and(|(_, value)| !value.trim_matches('=').is_empty())
            };
            let next = value.split_once(',').filter(|(_, next)| is_pair(next));
            match next {
                _ if name == key => return Some(next.map_or(value, |(value, _)| value)),
                Some((_, next)) => rest = next,
                None => return None,
            }
        }
    })
}

/// Without the whitespace that slips in when addresses are pasted.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '\r' | '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// vhost, app, stream, param
    fn told(url: &Url) -> [&str; 4] {
        [&url.vhost, &url.app, &url.stream, &url.param]
    }

    #[test]
    fn accepted_spellings() {
        for (url, want) in [
            ("rtmp://1.2.3.4/app/stream", ["1.2.3.4", "app", "stream", ""]),
            ("rtmp://d.com/app/stream", ["d.com", "app", "stream", ""]),
            ("rtmp://1.2.3.4/app?vhost=v/stream", ["v", "app", "stream", "?vhost=v"]),
            ("rtmp://1.2.3.4/app...vhost...v/stream", ["v", "app", "stream", "?vhost=v"]),
            ("rtmp://1.2.3.4/app/stream?vhost=v&token=t", ["v", "app", "stream", "?vhost=v&token=t"]),
            ("rtmp://1.2.3.4/app/stream?domain=v", ["v", "app", "stream", "?domain=v"]),
            ("rtmp://1.2.3.4/a/b/c/stream", ["1.2.3.4", "a/b/c", "stream", ""]),
            ("rtmp://1.2.3.4/app/_definst_/stream", ["1.2.3.4", "app", "stream", ""]),
            ("rtmp://1.2.3.4/app/stream?vhost=__defaultVhost__", ["1.2.3.4", "app", "stream", ""]),
            ("rtmp://d.com/stream", ["d.com", "__defaultApp__", "stream", ""]),
            ("rtmp://d.com/app/stream.v1.flv", ["d.com", "app", "stream.v1.flv", ""]),
            ("rtmp://d.com/app/stream?a=1#frag", ["d.com", "app", "stream", "?a=1#frag"]),
        ] {
            assert_eq!(told(&Url::parse(url)), want, "{url}");
            // The same address as a session tells it: cut at the last slash.
            let (tc_url, stream) = url.rsplit_once('/').unwrap();
            if tc_url != "rtmp://d.com" {
                assert_eq!(told(&Url::of_stream(tc_url, stream)), want, "{tc_url} and {stream}");
            }
        }
    }

    #[test]
    fn sessions_tell_it_in_their_ways() {
        for (tc_url, name, want) in [
            ("rtmp://h/app", "s", ["h", "app", "s", ""]),
            ("rtmp://h/app/", "/s", ["h", "app", "s", ""]),
            ("rtmp://h/app?vhost=v", "s?token=a/b==", ["v", "app", "s", "?token=a/b==&vhost=v"]),
            ("rtmp://h/app?vhost=v/", "s", ["v", "app", "s", "?vhost=v/"]),
            ("rtmp://h/", "app/s", ["h", "app", "s", ""]),
            ("rtmp://h/app/s", "", ["h", "app", "s", ""]),
            ("rtmp://h/a/b/s", "", ["h", "a", "b/s", ""]),
            ("rtmp://h/app?vhost=v/s", "", ["v", "app", "s", "?vhost=v"]),
            ("rtmp://h/app", "", ["h", "app", "", ""]),
            ("rtmp://h/app/_definst_", "s", ["h", "app", "s", ""]),
            (" rtmp://h/ app\r\n", "s \t", ["h", "app", "s", ""]),
            ("rtmp://h/app?vhost=__defaultVhost__", "s", ["h", "app", "s", ""]),
            (
                "rtmp://h/app?vhost=__defaultVhost__",
                "s?t=1",
                ["h", "app", "s", "?t=1&vhost=__defaultVhost__"],
            ),
            ("h/app", "s", ["h", "app", "s", ""]),
            ("", "", ["", "__defaultApp__", "", ""]),
        ] {
            assert_eq!(told(&Url::of_stream(tc_url, name)), want, "{tc_url} and {name}");
        }
        assert_eq!(told(&Url::of_app("rtmp://h/a/b?vhost=v")), ["v", "a/b", "", "?vhost=v"]);
    }

    #[test]
    fn separators() {
        for param in
            ["?vhost=v", "?vhost,v", "?a=1&vhost=v", "?a=1&&vhost=v;b=2", "?a=1;vhost=v", "?a=1,vhost=v"]
        {
            let url = Url::of_stream("rtmp://h/app", &format!("s{param}"));
            assert_eq!(url.vhost, "v", "{param}");
        }
        let url = Url::of_stream("rtmp://h/app", "s?token=a,b==&x");
        assert_eq!(url.parameter("token"), Some("a,b=="));
        assert_eq!(url.parameter("x"), Some(""));
        assert_eq!(url.parameter("y"), None);
    }

    #[test]
    fn hosts_and_ports() {
        for (url, schema, host, port) in [
            ("rtmp://h/app/s", "rtmp", "h", 1935),
            ("RTMP://h:19350/app/s", "rtmp", "h", 19350),
            ("rtmps://h/app/s", "rtmps", "h", 443),
            ("rtmp://user:pass@h:1/app/s", "rtmp", "h", 1),
            ("rtmp://[::1]:1936/app/s", "rtmp", "::1", 1936),
            ("rtmp://[fe80::2]/app/s", "rtmp", "fe80::2", 1935),
            ("rtmp://::1/app/s", "rtmp", "::1", 1935),
            ("rtmp://h:x/app/s", "rtmp", "h", 1935),
        ] {
            let url = Url::parse(url);
            assert_eq!((url.schema.as_str(), url.host.as_str(), url.port), (schema, host, port));
        }
    }

    #[test]
    fn built_for_clients() {
        let url = Url::parse("rtmp://10.0.0.1:19350/a/b/s?vhost=v&token=t");
        assert_eq!(url.tc_url(), "rtmp://v:19350/a/b");
        assert_eq!(url.stream_and_param(), "s?vhost=v&token=t");
        assert_eq!(url.to_string(), "rtmp://10.0.0.1:19350/a/b/s?vhost=v&token=t");
        assert_eq!(url.clone().with_vhost_param(), url);

        let plain = Url::parse("rtmp://10.0.0.1/app/s");
        assert_eq!(plain.tc_url(), "rtmp://10.0.0.1/app");
        let default = Url { vhost: DEFAULT_VHOST.into(), ..plain.clone() };
        assert_eq!(default.tc_url(), "rtmp://10.0.0.1/app");
        assert_eq!(default.with_vhost_param().stream_and_param(), "s");
        let moved = Url { vhost: "v".into(), param: "?t=1".into(), ..plain };
        assert_eq!(moved.with_vhost_param().stream_and_param(), "s?t=1&vhost=v");
        let named = Url { vhost: DEFAULT_VHOST.into(), ..Url::parse("rtmp://d.com/app/s") };
        assert_eq!(named.with_vhost_param().stream_and_param(), "s?vhost=d.com");
        assert_eq!(Url::parse("rtmp://[::1]:1/app/s").to_string(), "rtmp://[::1]:1/app/s");
    }

    proptest! {
        #[test]
        fn any_text_is_an_address(tc_url in "[ a-c/?#&=,;:@.\\[\\]]{0,24}", name in "[ a-c/?#&=,;.]{0,12}") {
            let url = Url::of_stream(&tc_url, &name);
            prop_assert!(!url.app.is_empty());
            prop_assert!(!url.app.starts_with('/') && !url.stream.ends_with('/'));
            let _ = (Url::parse(&tc_url).to_string(), url.with_vhost_param().tc_url());
        }

        #[test]
        fn what_a_client_builds_the_server_reads(app in "[a-z]{1,4}(/[a-z]{1,4})?", stream in "[a-z.]{1,6}",
                                                 query in "[a-z]=[a-z0-9/=]{0,4}(&[a-z]{2}=[0-9])?") {
            let url = Url::of_stream(&format!("rtmp://d.com:1936/{app}"), &format!("{stream}?{query}"));
            prop_assert_eq!(Url::of_stream(&url.tc_url(), &url.stream_and_param()), url);
        }
    }
}
