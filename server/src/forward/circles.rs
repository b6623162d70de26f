//! Circles: streams that would come back to this server, as they are or under ever new names.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use hub::StreamKey;
use parking_lot::Mutex;
use rtmp::Url;

use super::connect::Ends;
use crate::config::{Config, DEFAULT_VHOST, Endpoint, Tls};

/// See the module.
#[derive(Default)]
pub(super) struct Circles {
    ports: Mutex<Ports>,
    /// Our ends of connections to ourselves.
    home: Mutex<HashSet<SocketAddr>>,
}

/// Where this server takes streams.
#[derive(Default)]
struct Ports {
    rtmp: HashSet<u16>,
    whip: HashSet<u16>,
}

/// A connection that is known here as long as this is kept.
pub(super) struct Known {
    circles: Arc<Circles>,
    local: Option<SocketAddr>,
}

impl Circles {
    /// Learns where this server listens.
    pub(super) fn learn(&self, config: &Config) {
        let secure = config.rtmps.iter().flat_map(|rtmps| &rtmps.listen);
        let rtmp = config.listen.iter().chain(secure);
        let api = config.http_api.iter().flat_map(|api| api.listen.iter().chain(listen(&api.https)));
        let web = config.http_server.iter().flat_map(|web| web.listen.iter().chain(listen(&web.https)));
        let port = |endpoint: &Endpoint| endpoint.port;
        *self.ports.lock() =
            Ports { rtmp: rtmp.map(port).collect(), whip: api.chain(web).map(port).collect() };
    }

    /// A connection for this stream, whose publisher is at `publisher`, is about to be used. `None` if it would bring a stream back under its
    /// own name, or take one that has come from here already.
    pub(super) fn enter_rtmp(
        self: &Arc<Self>,
        ends: Ends,
        key: &StreamKey,
        url: &Url,
        publisher: SocketAddr,
    ) -> Option<Known> {
        let is_home = ends.is_home() && self.ports.lock().rtmp.contains(&ends.peer.port());
        let vhost = if url.vhost == url.host { DEFAULT_VHOST } else { &url.vhost };
        let is_itself = (&url.app, &url.stream, vhost) == (&key.app, &key.stream, &key.vhost);
        self.enter(ends, is_home, is_itself, publisher)
    }

    /// The same for a connection to a server of WHIP.
    pub(super) fn enter_whip(
        self: &Arc<Self>,
        ends: Ends,
        key: &StreamKey,
        url: &reqwest::Url,
        publisher: SocketAddr,
    ) -> Option<Known> {
        let is_home = ends.is_home() && self.ports.lock().whip.contains(&ends.peer.port());
        // As our own endpoint reads it.
        let told = |name| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
        let app = told("app").unwrap_or("live".into());
        let stream = told("stream").unwrap_or("livestream".into());
        let vhost = told("vhost").unwrap_or(DEFAULT_VHOST.into());
        let is_itself = (&*app, &*stream, &*vhost) == (&*key.app, &*key.stream, &*key.vhost);
        self.enter(ends, is_home, is_itself, publisher)
    }

    fn enter(
        self: &Arc<Self>,
        ends: Ends,
        is_home: bool,
        is_itself: bool,
        publisher: SocketAddr,
    ) -> Option<Known> {
        if !is_home {
            return Some(Known { circles: self.clone(), local: None });
        }
        let mut home = self.home.lock();
        if is_itself || home.contains(&plain(publisher)) {
            return None;
        }
        let local = plain(ends.local);
        home.insert(local);
        Some(Known { circles: self.clone(), local: Some(local) })
    }
}

fn listen(tls: &Option<Tls>) -> &[Endpoint] {
    tls.as_ref().map_or(&[], |tls| &tls.listen)
}

/// The same address, however a socket spells it.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(local) = self.local {
            self.circles.home.lock().remove(&local);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_known() {
        let circles = Arc::<Circles>::default();
        circles.ports.lock().rtmp.insert(1935);
        circles.ports.lock().whip.insert(1985);
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let ends = |peer| Ends { local: at("127.0.0.1:50000"), peer: at(peer) };
        let key = StreamKey { vhost: DEFAULT_VHOST.into(), app: "live".into(), stream: "a".into() };
        let enter =
            |peer, url, publisher| circles.enter_rtmp(ends(peer), &key, &Url::parse(url), at(publisher));
        let home = "127.0.0.1:1935";
        assert!(enter(home, "rtmp://127.0.0.1/live/a", "192.0.2.1:9").is_none(), "itself");
        assert!(enter("192.0.2.7:1935", "rtmp://192.0.2.7/live/a", "192.0.2.1:9").is_some(), "elsewhere");
        assert!(
            enter("127.0.0.1:1936", "rtmp://127.0.0.1:1936/live/a", "192.0.2.1:9").is_some(),
            "a neighbour"
        );
        let first = enter(home, "rtmp://127.0.0.1/live/b", "192.0.2.1:9");
        assert!(first.is_some(), "another name");
        assert!(
            enter(home, "rtmp://127.0.0.1/live/c", "[::ffff:127.0.0.1]:50000").is_none(),
            "a second turn"
        );
        drop(first);
        assert!(enter(home, "rtmp://127.0.0.1/live/c", "127.0.0.1:50000").is_some());
        assert!(enter(home, "rtmp://127.0.0.1/live/a?vhost=v", "192.0.2.1:9").is_some(), "another vhost");

        let enter = |url: &str, publisher| {
            let url = url.parse::<reqwest::Url>().unwrap();
            circles.enter_whip(ends("127.0.0.1:1985"), &key, &url, at(publisher))
        };
        let whip = "http://127.0.0.1:1985/rtc/v1/whip/";
        assert!(enter(&format!("{whip}?stream=a"), "192.0.2.1:9").is_none(), "itself");
        let first = enter(&format!("{whip}?app=live&stream=b"), "192.0.2.1:9");
        assert!(first.is_some(), "another name");
        assert!(enter(&format!("{whip}?stream=c"), "127.0.0.1:50000").is_none(), "a second turn");
    }
}
