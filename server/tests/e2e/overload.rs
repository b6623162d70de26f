//! Overload: what is left undone first, so that those who are there go on.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::client::Client;
use crate::harness::{SOON, Server, Setup, until};
use crate::http::{self, Flv};
use crate::media::{Camera, Player};

/// More than no load at all is overload here.
const TOUCHY: &str = "circuit_breaker { high_pulse 0; critical_pulse 0; dying_threshold 0; dying_pulse 1; }";

#[test]
fn an_overloaded_server_takes_no_further_players() {
    let server = Server::with(Setup { top: TOUCHY, ..Setup::default() });
    let mut camera = Camera::new(Client::publish(&server, "s"));
    camera.run_to(1);
    // It may be overloaded by now, and not in the next second.
    let mut first = until("a player", SOON, || {
        Some(Flv::ask(server.http, "/live/s.flv", &[])).filter(|player| player.status() == 200)
    });
    assert_eq!(first.picture().0, 0);
    let (over, api) = (AtomicBool::new(false), server.api);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                let _ = http::get(api, "/api/v1/summaries");
            }
        });
        server.logged(&["overload: Normal -> Dying"]);
        let refused = until("a player is refused", SOON, || {
            Some(Flv::ask(server.http, "/live/s.flv", &[])).filter(|player| player.status() == 503)
        });
        assert!(refused.head().contains("503 Service Unavailable"), "{}", refused.head());
        server.logged(&["[WARN]", "client refused: the server is overloaded", "peer=127.0.0.1"]);
        // Publishers come in, and who is there goes on.
        Camera::new(Client::publish(&server, "second")).run_to(1);
        camera.run_to(20);
        first.pictures_up_to(19);
        over.store(true, Relaxed);
    });
    // When it is over, it is over. (To ask again and again would be load enough.)
    server.logged(&["overload: Dying -> Normal"]);
    let mut late = until("players come in again", SOON, || {
        Some(Flv::ask(server.http, "/live/s.flv", &[])).filter(|player| player.status() == 200)
    });
    late.picture();
}
