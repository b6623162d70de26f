//! Mounts: which request paths are live streams (`http_remux.mount`).

use std::sync::Arc;

use axum::http::Request;
use percent_encoding::percent_decode_str;

use super::is_live_method;
use crate::config::{HttpFormat, HttpRemux, Vhost};
use crate::dvr::Asked;
use crate::gate::Gate;
use crate::http::request;

/// The mounts of all vhosts.
#[derive(Default)]
pub(super) struct Mounts(Vec<Mount>);

/// One vhost's mount.
#[derive(Debug)]
struct Mount {
    /// The configured vhost that it belongs to.
    vhost: String,
    /// The host that requests must be for, where the template says so.
    host: Option<String>,
    path: Template,
    format: HttpFormat,
}

/// A stream as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// What the request says: `vhost=`, `domain=`, or the host.
    pub(super) vhost: String,
    /// The application.
    pub(super) app: String,
    /// The stream.
    pub(super) stream: String,
    /// The last element of the path.
    pub(super) file: String,
    /// What the vhost makes of it.
    pub(super) format: HttpFormat,
}

impl Mounts {
    pub(super) fn new(vhosts: &[Arc<Vhost>]) -> Self {
        Self(
            vhosts
                .iter()
                .filter_map(|v| v.http_remux.as_ref().map(|remux| Mount::new(&v.name, remux)))
                .collect(),
        )
    }

    /// The request is for a live stream.
    pub(super) fn is_live<B>(&self, gate: &Gate, request: &Request<B>) -> bool {
        is_live_method(request.method()) && !is_recorded(gate, request) && self.find(gate, request).is_some()
    }

    /// The stream that the request is for.
    pub(super) fn find<B>(&self, gate: &Gate, request: &Request<B>) -> Option<Target> {
        let asked = request::vhost(request);
        let vhost = gate.vhost(&asked).ok()?;
        let mount = self.0.iter().find(|m| m.vhost == vhost.name)?;
        if mount.host.as_ref().is_some_and(|host| *host != asked) {
            return None;
        }
        let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
        let (app, stream) = mount.path.matches(&path)?;
        let file = path.rsplit('/').next().unwrap_or_default().to_owned();
        let app = match app {
            Some(app) => app,
            // A template without [app] names the stream alone; it is found while it is live.
            None => gate.app_of(&vhost, &stream)?,
        };
        Some(Target { vhost: asked, app, stream, file, format: mount.format })
    }
}

/// The request is for what was recorded of a stream.
fn is_recorded<B>(gate: &Gate, request: &Request<B>) -> bool {
    let vhost = || gate.vhost(&request::vhost(request)).ok();
    Asked::is_in(request.uri()) && vhost().is_some_and(|vhost| vhost.plays_recordings())
}

impl Mount {
    fn new(vhost: &str, remux: &HttpRemux) -> Self {
        let template = remux.mount.replace("[vhost]", vhost).replace("__defaultVhost__/", "/");
        let (host, path) = match template.find('/') {
            Some(at) => template.split_at(at),
            None => ("", template.as_str()),
        };
        // The vhost's own name is matched by the look-up of the vhost already.
        let host = (!host.is_empty() && host != vhost).then(|| host.to_owned());
        Self { vhost: vhost.to_owned(), host, path: Template::new(path), format: remux.format }
    }
}

/// A path with `[app]` and `[stream]` in it.
#[derive(Debug, PartialEq, Eq)]
struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    App,
    Stream,
}

impl Template {
    fn new(mut path: &str) -> Self {
        let mut parts = Vec::new();
        while !path.is_empty() {
            let next = [("[app]", Part::App), ("[stream]", Part::Stream)]
                .into_iter()
                .filter_map(|(name, part)| path.find(name).map(|at| (at, name.len(), part)))
                .min_by_key(|(at, ..)| *at);
            let (at, skip) = next.as_ref().map_or((path.len(), 0), |(at, skip, _)| (*at, *skip));
            if at > 0 {
                parts.push(Part::Text(path[..at].to_owned()));
            }
            parts.extend(next.map(|(.., part)| part));
            path = &path[at + skip..];
        }
        Self(parts)
    }

    /// The app, if the template has one, and the stream of a path. An app may have several elements, a stream has one.
    fn matches(&self, path: &str) -> Option<(Option<String>, String)> {
        let mut found = (None, None);
        walk(&self.0, path, &mut found).then_some(())?;
        Some((found.0, found.1?))
    }
}

fn walk(parts: &[Part], path: &str, found: &mut (Option<String>, Option<String>)) -> bool {
    let Some((part, rest)) = parts.split_first() else { return path.is_empty() };
    if let Part::Text(text) = part {
        return path.strip_prefix(text.as_str()).is_some_and(|path| walk(rest, path, found));
    }
    // The longest value first, so that `[stream].flv` takes all of `a.flv.flv` but the end.
    let ends = (1..=path.len()).rev().filter(|&end| path.is_char_boundary(end));
    for end in ends {
        let (value, path) = path.split_at(end);
        let stream = *part == Part::Stream;
        if value.starts_with('/') || value.ends_with('/') || (stream && value.contains('/')) {
            continue;
        }
        if walk(rest, path, found) {
            *(if stream { &mut found.1 } else { &mut found.0 }) = Some(value.to_owned());
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn mount(vhost: &str, template: &str) -> Mount {
        let text = format!("listen 1; vhost x {{ http_remux {{ enabled on; mount {template}; }} }}");
        let config = Config::parse("test", text.as_bytes(), &Environment::default()).unwrap();
        Mount::new(vhost, config.vhosts[0].http_remux.as_ref().unwrap())
    }

    fn matched(template: &str, path: &str) -> Option<(Option<String>, String)> {
        mount("__defaultVhost__", template).path.matches(path)
    }

    fn found(app: &str, stream: &str) -> Option<(Option<String>, String)> {
        Some((Some(app.to_owned()), stream.to_owned()))
    }

    #[test]
    fn the_usual_mount() {
        let usual = "[vhost]/[app]/[stream].flv";
        assert_eq!(matched(usual, "/live/livestream.flv"), found("live", "livestream"));
        assert_eq!(matched(usual, "/a/b/cam.1.flv"), found("a/b", "cam.1"));
        assert_eq!(matched(usual, "/live/x.flv.flv"), found("live", "x.flv"));
        for not in ["/cam.flv", "/live/cam.ts", "/live/.flv", "//cam.flv", "/live/cam.flv/", "/"] {
            assert_eq!(matched(usual, not), None, "{not}");
        }
    }

    #[test]
    fn other_mounts() {
        assert_eq!(matched("/tv/[app]-[stream]/index.flv", "/tv/live-one/index.flv"), found("live", "one"));
        assert_eq!(matched("/[stream].flv", "/one.flv"), Some((None, "one".into())));
        let other = mount("a.com", "b.com/[app]/[stream].flv");
        assert_eq!(other.host.as_deref(), Some("b.com"));
        assert_eq!(mount("a.com", "[vhost]/[app]/[stream].flv").host, None);
    }
}
