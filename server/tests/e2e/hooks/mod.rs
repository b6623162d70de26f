//! Callbacks: what services are told of clients of every protocol, what becomes of those whom they refuse, and services that are slow, lie or are dead.

mod clients;
mod failures;
mod rules;
mod service;

use service::Service;

use crate::harness::{Server, Setup, free_port};

/// A block of callbacks: each of `events` goes to `/yes`, but those of `special` to their own paths.
fn hooks(service: &Service, special: &[(&str, &str)], more: &str) -> String {
    let events = ["on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop", "on_hls"];
    let lines = events.iter().map(|event| {
        let path = special.iter().find(|(name, _)| name == event).map_or("yes", |(_, path)| path);
        let urls: Vec<_> = path.split(' ').map(|path| service.url(path)).collect();
        format!("{event} {};", urls.join(" "))
    });
    format!("http_hooks {{ enabled on; {} {more} }}", lines.collect::<String>())
}

/// A server for all protocols with this in its vhost.
fn server(vhost: &str) -> Server {
    let port = free_port();
    Server::with(Setup {
        top: &format!(
            "server_id vid-hooks01; rtc_server {{ enabled on; listen {port}; candidate 127.0.0.1; }}"
        ),
        vhost: &format!(
            "rtc {{ enabled on; rtmp_to_rtc on; }} hls {{ enabled on; hls_fragment 1; hls_window 6; }} {vhost}"
        ),
        ..Setup::default()
    })
}
