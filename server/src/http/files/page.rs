//! The page at `/` while `http_server.dir` has none of its own: the server works, and these are its addresses.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::config::{Config, Vhost};
use crate::gate::Gate;

/// See the module.
pub(super) struct Page {
    gate: Arc<Gate>,
    /// Behind the host in RTMP addresses.
    rtmp_port: String,
}

const STYLE: &str = "body{font:1rem/1.5 sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}\
    code{background:#8882;padding:.1em .3em;overflow-wrap:anywhere}:root{color-scheme:light dark}";

impl Page {
    pub(super) fn new(config: &Config, gate: Arc<Gate>) -> Self {
        let port = config.listen.first().map_or(1935, |endpoint| endpoint.port);
        Self { gate, rtmp_port: if port == 1935 { String::new() } else { format!(":{port}") } }
    }

    /// For a client that asks for this vhost and has called this host, with its port.
    pub(super) fn show(&self, asked: &str, host: Option<&str>) -> Response {
        let text = match self.gate.vhost(asked) {
            Ok(vhost) => self.tell(&vhost, host.unwrap_or("localhost")),
            Err(refused) => format!("<p>{}.\n", escape(&refused.to_string())),
        };
        let name = crate::SIGNATURE;
        let page = format!(
            "<!doctype html>\n<html lang=en><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width\"><title>{name}</title><style>{STYLE}</style>\n\
             <h1>{name} works</h1>\n{text}\
             <p>An <code>index.html</code> in the folder of <code>http_server</code> takes the place of this page.\n"
        );
        let headers =
            [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
        (StatusCode::OK, headers, page).into_response()
    }

    fn tell(&self, vhost: &Vhost, host: &str) -> String {
        let port = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let name = port.map_or(host, |(name, _)| name);
        let rtmp = escape(&format!("rtmp://{name}{}/live/livestream", self.rtmp_port));
        let http = |template: &str| {
            let path = template.replace("[vhost]", &vhost.name);
            let path = path.replace("[app]", "live").replace("[stream]", "livestream");
            format!("<li><code>{}</code>\n", escape(&format!("http://{host}/{path}")))
        };
        let live = vhost.http_remux.as_ref().and_then(|remux| Some(http(remux.mount.split_once('/')?.1)));
        let hls = vhost.hls.as_ref().map(|hls| http(&hls.m3u8_file));
        format!(
            "<p>Publish a stream, with OBS or FFmpeg, to <code>{rtmp}</code>.\n\
             <p>Play it from\n<ul>\n<li><code>{rtmp}</code>\n{}{}</ul>\n",
            live.unwrap_or_default(),
            hls.unwrap_or_default()
        )
    }
}

/// What clients and operators write, as text of a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
