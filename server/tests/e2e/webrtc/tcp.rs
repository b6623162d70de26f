//! WebRTC over TCP alone, on a network that loses a fifth. What loss makes of TCP is waiting: a segment that is lost comes a while later, and
//! holds up all behind it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{endpoint, meet};
use crate::harness::{Server, Setup, free_port};

/// How long data is on its way, either way.
const DELAY: Duration = Duration::from_millis(100);
/// What is lost comes so much later: the least time after which TCP sends it again.
const AGAIN: Duration = Duration::from_millis(200);
/// The share of what is lost.
const LOSS: f64 = 0.2;
/// Pieces that are on their way at most.
const ON_THE_WAY: usize = 4096;

/// A network between clients and this port of the server; it ends with the process of the tests. Where clients connect to.
fn relay(port: u16) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            let ways = [(&client, &server), (&server, &client)];
            for (seed, (from, to)) in ways.into_iter().enumerate() {
                to.set_nodelay(true).unwrap();
                carry(from.try_clone().unwrap(), to.try_clone().unwrap(), seed as u64);
            }
        }
    });
    address
}

/// Carries what comes from one to the other, until either ends.
fn carry(mut from: TcpStream, mut to: TcpStream, seed: u64) {
    let (sender, pieces) = sync_channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    std::thread::spawn(move || {
        for (due, piece) in pieces {
            // This is what the network does, and no waiting of a test.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                return;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    std::thread::spawn(move || {
        let (mut chance, mut buffer) = (fastrand::Rng::with_seed(seed), [0; 1400]);
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let lost = if chance.f64() < LOSS { AGAIN } else { Duration::ZERO };
            let due = Instant::now() + DELAY + lost;
            if sender.send((due, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
}

#[test]
fn browsers_meet_over_tcp_that_waits() {
    let [udp, tcp] = [(); 2].map(|()| free_port());
    let relay = relay(tcp);
    let server = Server::with(Setup {
        top: &format!(
            "rtc_server {{ enabled on; listen {udp}; candidate {relay}; tcp {{ enabled on; listen {tcp}; }} protocol tcp; }}"
        ),
        vhost: "rtc { enabled on; }",
        ..Setup::default()
    });
    let (publish, play) = (endpoint(&server, "whip", "talk"), endpoint(&server, "whep", "talk"));
    let seen = meet(&json!({ "publish": publish, "play": play, "seconds": 8 }));
    for side in ["publish", "play"] {
        let pair = &seen[side]["pair"];
        assert_eq!(pair["protocol"], "tcp", "{seen}");
        assert!(pair["currentRoundTripTime"].as_f64() > Some(0.15), "the way is too good: {seen}");
    }
    assert!(seen["frames"].as_u64() > Some(60), "{seen}");
    assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    assert_eq!(seen["deleted"], json!([200, 200]), "{seen}");
}
