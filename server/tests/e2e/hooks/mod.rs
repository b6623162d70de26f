//! Who may: callbacks, with what services are told of clients of every protocol, and services that refuse, are slow, lie or are dead; rules by address and
//! page; tokens and signed addresses; limits.

mod clients;
mod failures;
mod limits;
mod rules;
mod service;
mod signed;
mod tokens;

pub use service::Service;

use rtmp::{ClientEvent, Role};

use crate::client::Client;
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

/// Opens a stream over RTMP: the client, or what it is told in place of a start.
fn open(server: &Server, stream: &str, role: Role) -> Result<Client, String> {
    let mut client = Client::open(server.rtmp, &server.rtmp_url(stream), role);
    let mut begun = false;
    loop {
        match client.event() {
            Some(ClientEvent::Started) => return Ok(client),
            Some(ClientEvent::Status { code, .. }) => begun |= code.ends_with(".Start"),
            Some(ClientEvent::Rejected { code, description, .. }) => {
                assert!(!begun, "refused after the start: {code}");
                return Err(format!("{code}: {description}"));
            }
            other => panic!("{other:?} in place of an answer"),
        }
    }
}
