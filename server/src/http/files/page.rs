//! The page at `/` while `http_server.dir` has none of its own: the server works, and these are its addresses.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::config::{Config, Vhost};
use crate::gate::Gate;
use crate::http::pages;

/// See the module.
pub(super) struct Page {
    gate: Arc<Gate>,
    /// Behind the host in RTMP addresses.
    rtmp_port: String,
    /// Where pages ask, if it is not where they would ask anyway.
    api_port: Option<u16>,
}

/// That of the other pages, if they are in the program.
const SHEET: &str = "assets/oxcast.css";

const STYLE: &str = "<style>body{font:1rem/1.5 sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}\
    code{background:#8882;padding:.1em .3em;overflow-wrap:anywhere}:root{color-scheme:light dark}</style>";

/// The ways from here: the page, its name, and what it is for.
const LINKS: &[(&str, &str, &str)] = &[
    ("players/srs_player.html", "Player", "FLV, TS, HLS, DASH and MP4"),
    ("players/rtc_player.html", "RTC player", "WebRTC, a fraction of a second behind"),
    ("players/rtc_publisher.html", "RTC publisher", "camera, screen and microphone"),
    ("players/whep.html", "WHEP", "plays by the standard"),
    ("players/whip.html", "WHIP", "publishes by the standard"),
    ("demos/index.html", "Calls", "of two, or of a room"),
    ("console/index.html", "Console", "streams, clients, load"),
];

impl Page {
    pub(super) fn new(config: &Config, gate: Arc<Gate>) -> Self {
        let port = config.listen.first().map_or(1935, |endpoint| endpoint.port);
        let rtmp_port = if port == 1935 { String::new() } else { format!(":{port}") };
        let api = config.http_api.as_ref().and_then(|api| api.listen.first());
        let api_port = api.map(|endpoint| endpoint.port).filter(|port| *port != 1985);
        Self { gate, rtmp_port, api_port }
    }

    /// For a client that asks for this vhost and has called this host, with its port.
    pub(super) fn show(&self, asked: &str, host: Option<&str>) -> Response {
        let text = match self.gate.vhost(asked) {
            Ok(vhost) => self.tell(&vhost, host.unwrap_or("localhost")),
            Err(refused) => format!("<p>{}.\n", escape(&refused.to_string())),
        };
        let name = crate::SIGNATURE;
        let has_pages = pages::exists(SHEET);
        let style = if has_pages {
            format!("<link rel=stylesheet href={SHEET}><link rel=icon href=favicon.svg>")
        } else {
            STYLE.to_owned()
        };
        let links = if has_pages { self.links() } else { String::new() };
        let page = format!(
            "<!doctype html>\n<html lang=en><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width\"><title>{name}</title>{style}\n\
             <main>\n<h1>{name} works</h1>\n{text}{links}\
             <p class=note>An <code>index.html</code> in the folder of <code>http_server</code> takes the place of this page.\n\
             </main>\n"
        );
        let headers =
            [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
        (StatusCode::OK, headers, page).into_response()
    }

    /// To the pages in the program.
    fn links(&self) -> String {
        let mut links = String::from("<ul class=links>\n");
        for (path, name, purpose) in LINKS.iter().filter(|(path, ..)| pages::exists(path)) {
            let parameter = if path.starts_with("console") { "port" } else { "api" };
            let asks = !path.ends_with("srs_player.html");
            let query = self.api_port.filter(|_| asks).map(|port| format!("?{parameter}={port}"));
            let query = query.unwrap_or_default();
            links += &format!("<li><a href=\"{path}{query}\"><strong>{name}</strong> {purpose}</a>\n");
        }
        links + "</ul>\n"
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
