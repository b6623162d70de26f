//! Graceful quit: nobody new comes in, nobody is cut off.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rtmp::Role;
use rustix::process::Signal;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, directory, free_port, ready, until};
use crate::http::Flv;
use crate::media::{Camera, Player};

/// A server that may end.
struct Mortal {
    running: Running,
    dir: PathBuf,
    rtmp: SocketAddr,
    http: SocketAddr,
    api: SocketAddr,
}

impl Mortal {
    fn start(top: &str) -> Self {
        let [rtmp, http, api] = [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let dir = directory();
        let config = format!(
            "listen {rtmp}; daemon off; pid ./oxcast.pid; srs_log_tank console;
            http_server {{ enabled on; listen {http}; dir ./html; }}
            http_api {{ enabled on; listen {api}; }}
            {top}
            vhost __defaultVhost__ {{ http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; }} }}"
        );
        Self { running: ready(&dir, &config), dir, rtmp, http, api }
    }

    fn camera(&self) -> Camera {
        self.client(Role::Publish, Camera::new)
    }

    fn client<T>(&self, role: Role, then: impl FnOnce(Client) -> T) -> T {
        let mut client = Client::open(self.rtmp, &format!("rtmp://{}/live/a", self.rtmp), role);
        client.start();
        then(client)
    }

    fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits for a line of the log.
    #[track_caller]
    fn says(&self, text: &str) -> String {
        let out = &self.running.out;
        let found = out.wait(SOON, |lines| lines.iter().find(|line| line.contains(text)).cloned());
        found.unwrap_or_else(|| panic!("not {text:?} in {:#?}", out.all()))
    }

    /// Waits until nobody listens any more.
    #[track_caller]
    fn closes(&self) {
        for at in [self.rtmp, self.http, self.api] {
            until("the port is closed", SOON, || {
                TcpStream::connect(at).err().filter(|e| e.kind() == ErrorKind::ConnectionRefused)
            });
        }
    }

    /// Waits for the end, which is a good one.
    #[track_caller]
    fn ends(&mut self) {
        let status = self.running.wait(SOON);
        let lines = self.running.out.all();
        assert_eq!(status.code(), Some(0), "{lines:#?}");
        assert!(lines.last().unwrap().contains("has stopped"), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("[ERROR]")), "{lines:#?}");
        assert_eq!(self.running.err.all(), Vec::<String>::new());
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// Waits until the server closes a connection that has got nothing to read.
#[track_caller]
fn closed(mut tcp: &TcpStream) {
    tcp.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(tcp.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn everybody_is_served_to_the_end() {
    const PLAYERS: usize = 200;
    let mut server = Mortal::start("grace_start_wait 300; grace_final_wait 200;");
    let mut camera = server.camera();
    camera.run_to(1);
    let mut players: Vec<_> = (0..PLAYERS).map(|_| Flv::open(server.http, "/live/a.flv")).collect();
    let mut rtmp = server.client(Role::Play, |client| client);
    for player in &mut players {
        assert_eq!(player.picture(), (0, true, 0));
    }
    assert_eq!(rtmp.picture(), (0, true, 0));
    let silent = TcpStream::connect(server.http).unwrap();
    let kept = TcpStream::connect(server.api).unwrap();
    (&kept).write_all(b"GET /api/v1/versions HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!((&kept).read(&mut [0; 4096]).unwrap() > 100);

    server.signal(Signal::QUIT);
    server.says("SIGQUIT: stopping when the clients have left");
    // At first, newcomers are still served.
    let mut late = Flv::open(server.http, "/live/a.flv");
    late.picture();
    players.push(late);
    let line = server.says("the listeners are closed, connections left: ");
    let left: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((PLAYERS + 3..=PLAYERS + 5).contains(&left), "{line}");
    server.closes();
    // Those without a request are not waited for.
    closed(&silent);
    closed(&kept);

    camera.run_to(50);
    for player in &mut players {
        let last = player.pictures_up_to(49).last().copied();
        assert_eq!(last, Some((49, 49 * 40)));
    }
    rtmp.pictures_up_to(49);
    // The ports are free for a successor meanwhile.
    let listener = std::net::TcpListener::bind(server.rtmp).unwrap();
    drop(listener);

    camera.client.stop();
    for player in &mut players {
        // Sound comes behind the last picture.
        assert!(player.rest().len() <= 1);
        assert!(player.ended_cleanly());
    }
    // An RTMP player would wait for another publisher, but none can come.
    rtmp.closed();
    server.says("all clients have left, ending in 200ms");
    let since = Instant::now();
    server.ends();
    assert!(since.elapsed() >= Duration::from_millis(150), "{:?}", since.elapsed());
}

#[test]
fn a_player_without_a_publisher_is_not_waited_for() {
    let mut server = Mortal::start("grace_start_wait 10; grace_final_wait 10;");
    let mut early = server.client(Role::Play, |client| client);
    server.signal(Signal::QUIT);
    early.closed();
    server.says("client finished: the server is about to stop, and nobody publishes this stream");
    server.ends();
}

#[test]
fn nobody_there_nobody_waited_for() {
    let mut server = Mortal::start("grace_start_wait 10; grace_final_wait 10;");
    server.signal(Signal::QUIT);
    server.says("the listeners are closed, connections left: 0");
    server.ends();
}

#[test]
fn a_second_signal_does_not_wait() {
    for impatient in [Signal::TERM, Signal::INT] {
        let mut server = Mortal::start("grace_start_wait 10;");
        let mut camera = server.camera();
        camera.run_to(1);
        let mut player = Flv::open(server.http, "/live/a.flv");
        player.picture();
        server.signal(Signal::QUIT);
        server.says("the listeners are closed, connections left: 2");
        // These do no harm, then and at any time.
        server.signal(Signal::QUIT);
        server.says("SIGQUIT: stopping already");
        server.signal(Signal::HUP);
        server.says("[WARN]");
        server.says("reload: refused, nothing has changed: the server is about to stop");
        server.signal(Signal::USR2);
        server.says("upgrade: refused: the server is about to stop");
        server.signal(Signal::USR1);
        server.says("the log is reopened");
        camera.run_to(2);
        assert_eq!(player.picture().0, 1);
        server.signal(impatient);
        player.rest();
        let name = if impatient == Signal::TERM { "SIGTERM" } else { "SIGINT" };
        server.says(&format!("{name}: stopping, connections cut: 2"));
        server.ends();
    }
}

#[test]
fn nor_does_it_wait_for_the_waits() {
    let mut server = Mortal::start("grace_start_wait 60000;");
    server.signal(Signal::QUIT);
    server.says("new clients are served for another 60s");
    server.signal(Signal::TERM);
    server.ends();

    let mut server = Mortal::start("grace_start_wait 10; grace_final_wait 60000;");
    server.signal(Signal::QUIT);
    server.says("all clients have left, ending in 60s");
    server.signal(Signal::INT);
    server.ends();
}

#[test]
fn sigterm_may_be_made_to_wait() {
    let mut server = Mortal::start("force_grace_quit on; grace_start_wait 10;");
    let mut camera = server.camera();
    camera.run_to(1);
    server.signal(Signal::TERM);
    server.says("SIGTERM: stopping when the clients have left");
    server.says("the listeners are closed, connections left: 1");
    // Kubernetes sends it behind a hook that has asked already.
    server.signal(Signal::TERM);
    server.says("SIGTERM: stopping already; SIGINT does not wait for clients");
    server.signal(Signal::INT);
    camera.client.closed();
    server.ends();
}
