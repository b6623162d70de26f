//! Virtual hosts: how clients name them, and what those see who name one that is not served.

use rtmp::Role;

use crate::client::Client;
use crate::harness::{Server, Setup};
use crate::http::Flv;
use crate::media::{Camera, Player};

const VHOSTS: &str = "
    vhost a.test { http_remux { enabled on; } }
    vhost off.test { enabled off; http_remux { enabled on; } }
";

fn server() -> Server {
    Server::with(Setup { vhosts: VHOSTS, ..Setup::default() })
}

/// The ways to say `live/x` of `a.test`.
fn spellings(server: &Server) -> [String; 7] {
    let (at, port) = (server.rtmp, server.rtmp.port());
    [
        format!("rtmp://a.test:{port}/live/x"),
        format!("rtmp://{at}/live/x?vhost=a.test"),
        format!("rtmp://{at}/live/x?domain=a.test"),
        format!("rtmp://{at}/live?vhost=a.test/x"),
        format!("rtmp://{at}/live...vhost...a.test/x"),
        format!("rtmp://{at}/live/x?token=secret&vhost=a.test"),
        format!("rtmp://a.test:{port}/live/x?token=other"),
    ]
}

#[test]
fn all_spellings_name_the_same_stream() {
    let server = server();
    for publish in spellings(&server) {
        let mut publisher = Client::open(server.rtmp, &publish, Role::Publish);
        publisher.start();
        let stream = server.stream("x").unwrap_or_else(|| panic!("{publish}"));
        assert_eq!((&stream["url"], &stream["app"]), (&"a.test/live/x".into(), &"live".into()), "{publish}");
        let mut camera = Camera::new(publisher);
        camera.run_to(2);
        for play in spellings(&server) {
            let mut player = Client::open(server.rtmp, &play, Role::Play);
            player.start();
            assert_eq!(player.picture(), (0, true, 0), "published as {publish}, played as {play}");
        }
        let host = [("Host", "a.test:8080")];
        for (path, headers) in [
            ("/live/x.flv", &host[..]),
            ("/live/x.flv?vhost=a.test", &[]),
            ("/live/x.flv?token=third&domain=a.test", &[]),
        ] {
            assert_eq!(Flv::ask(server.http, path, headers).picture(), (0, true, 0), "{path}");
        }
        drop(camera);
        server.has_clients(0);
    }
    server.logged(&["client identified", "stream=x", "param=?token=***&vhost=a.test"]);
}

#[test]
fn unknown_and_disabled_vhosts_are_refused() {
    let server = server();
    for vhost in ["b.test", "off.test"] {
        let url = format!("rtmp://{}/live/x?vhost={vhost}", server.rtmp);
        for (role, code) in
            [(Role::Publish, "NetStream.Publish.Denied"), (Role::Play, "NetStream.Play.StreamNotFound")]
        {
            let mut client = Client::open(server.rtmp, &url, role);
            let (told, description) = client.refused();
            assert_eq!(told, code, "{url}");
            assert!(description.contains(vhost), "{description}");
            client.closed();
            server.logged(&["[WARN]", "client refused", vhost, &format!("peer={}", client.local())]);
        }
        let refused = Flv::ask(server.http, &format!("/live/x.flv?vhost={vhost}"), &[]);
        assert_eq!(refused.status(), 404);
    }
    server.has_clients(0);
}

#[test]
fn the_same_name_in_two_vhosts_is_two_streams() {
    let vhosts = "vhost a.test { } vhost __defaultVhost__ { }";
    let server = Server::with(Setup { vhosts, ..Setup::default() });
    let url = |vhost: &str| format!("rtmp://{}/live/x?vhost={vhost}", server.rtmp);
    let mut cameras = ["a.test", "b.test"].map(|vhost| {
        let mut client = Client::open(server.rtmp, &url(vhost), Role::Publish);
        client.start();
        Camera::new(client)
    });
    cameras[0].run_to(12);
    cameras[1].run_to(2);
    for (vhost, first) in [("a.test", 10), ("b.test", 0), ("c.test", 0)] {
        let mut player = Client::open(server.rtmp, &url(vhost), Role::Play);
        player.start();
        assert_eq!(player.picture().0, first, "{vhost}");
    }
}
