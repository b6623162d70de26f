//! The page at `/` while `http_server.dir` has none of its own: the server works, and these are its addresses.

use std::fmt::Write;
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
    dir: String,
}

const STYLE: &str = "body{font:1rem/1.5 sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}\
    code{background:#8882;padding:.1em .3em;overflow-wrap:anywhere}:root{color-scheme:light dark}";

impl Page {
    pub(super) fn new(config: &Config, gate: Arc<Gate>) -> Self {
        let port = config.listen.first().map_or(1935, |endpoint| endpoint.port);
        let rtmp_port = if port == 1935 { String::new() } else { format!(":{port}") };
        let dir = config.http_server.as_ref().map(|server| server.dir.display().to_string());
        Self { gate, rtmp_port, dir: dir.unwrap_or_default() }
    }

    /// For a client that asks for this vhost and has called this host, with its port.
    pub(super) fn show(&self, asked: &str, host: Option<&str>) -> Response {
        let mut text = String::new();
        match self.gate.vhost(asked) {
            Ok(vhost) => self.tell(&vhost, host.unwrap_or("localhost"), &mut text),
            Err(refused) => _ = write!(text, "<p>{}.", escape(&refused.to_string())),
        }
        let (name, dir) = (crate::SIGNATURE, escape(&self.dir));
        let page = format!(
            "<!doctype html>\n<html lang=en><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width\"><title>{name}</title><style>{STYLE}</style>\n\
             <h1>{name} works</h1>\n{text}\n\
             <p>Put an <code>index.html</code> into <code>{dir}</code>, and it stands here in place of this page.\n"
        );
        let headers =
            [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
        (StatusCode::OK, headers, page).into_response()
    }

    fn tell(&self, vhost: &Vhost, host: &str, text: &mut String) {
        let name =
            host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(n, _)| n);
        let rtmp = format!("rtmp://{name}{}/live/livestream", self.rtmp_port);
        let fill = |template: &str| {
            let filled = template.replace("[vhost]", &vhost.name);
            filled.replace("[app]", "live").replace("[stream]", "livestream")
        };
        let live = vhost.http_remux.as_ref().and_then(|remux| Some(fill(remux.mount.split_once('/')?.1)));
        let hls = vhost.hls.as_ref().map(|hls| fill(&hls.m3u8_file));
        let http = live.into_iter().chain(hls).map(|path| format!("http://{host}/{path}"));
        let item = |url: String| format!("<li><code>{}</code>\n", escape(&url));
        let players: String = std::iter::once(rtmp.clone()).chain(http).map(item).collect();
        let rtmp = escape(&rtmp);
        let told = write!(
            text,
            "<p>Publish a stream, with OBS or FFmpeg, to <code>{rtmp}</code>.\n<p>Play it from\n<ul>\n{players}</ul>"
        );
        debug_assert!(told.is_ok(), "a string takes everything");
    }
}

/// What clients and operators write, as text of a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
