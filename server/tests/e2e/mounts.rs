//! Which path is which stream: vhosts, templates, applications of several levels, names in any script.

use rtmp::Role;

use crate::client::Client;
use crate::harness::{Server, Setup};
use crate::http::{self, Flv};
use crate::media::{Camera, Player};

/// A camera that publishes to `path` of a vhost, and has sent `pictures`, by which players know it.
fn camera(server: &Server, vhost: &str, path: &str, pictures: u32) -> Camera {
    let url = format!("rtmp://{}/{path}?vhost={vhost}", server.rtmp);
    let mut client = Client::open(server.rtmp, &url, Role::Publish);
    client.start();
    let mut camera = Camera::new(client);
    camera.run_to(pictures);
    camera
}

/// Plays, and demands the stream that has sent so many pictures.
#[track_caller]
fn plays(server: &Server, path: &str, host: &str, pictures: u32) {
    let mut player = Flv::ask(server.http, path, &[("Host", host)]);
    assert_eq!(player.status(), 200, "{path} at {host}: {}", player.head());
    assert_eq!(player.pictures_up_to(pictures - 1).len() as u32, pictures, "{path} at {host}");
}

#[track_caller]
fn is_absent(server: &Server, path: &str, host: &str) {
    let reply = http::request(server.http, "GET", path, &[("Host", host)]).unwrap();
    assert_eq!(reply.status, 404, "{path} at {host}");
}

#[test]
fn the_vhost_of_a_request() {
    const VHOSTS: &str = "
        vhost a.com { http_remux { enabled on; } }
        vhost b.com { http_remux { enabled on; } }
        vhost c.com { }
        vhost __defaultVhost__ { http_remux { enabled on; } }";
    let server = Server::with(Setup { vhosts: VHOSTS, ..Setup::default() });
    let _cameras = [
        camera(&server, "a.com", "live/x", 2),
        camera(&server, "b.com", "live/x", 3),
        camera(&server, "c.com", "live/x", 4),
        camera(&server, "__defaultVhost__", "live/x", 5),
    ];
    plays(&server, "/live/x.flv", "a.com", 2);
    plays(&server, "/live/x.flv", "a.com:8080", 2);
    plays(&server, "/live/x.flv", "b.com", 3);
    plays(&server, "/live/x.flv?vhost=b.com", "a.com", 3);
    plays(&server, "/live/x.flv?domain=b.com&token=1", "a.com", 3);
    plays(&server, "/live/x.flv?token=1;vhost=a.com", "b.com", 2);
    plays(&server, "/live/x.flv?vhost=__defaultVhost__", "a.com", 5);
    for host in ["unknown.com", "127.0.0.1:8080", "[::1]:8080", "localhost"] {
        plays(&server, "/live/x.flv", host, 5);
    }
    is_absent(&server, "/live/x.flv", "c.com");
}

#[test]
fn without_a_default_vhost_unknown_hosts_get_nothing() {
    let vhosts = "vhost a.com { http_remux { enabled on; } } vhost off.com { enabled off; http_remux { enabled on; } }";
    let server = Server::with(Setup { vhosts, ..Setup::default() });
    let _camera = camera(&server, "a.com", "live/x", 2);
    plays(&server, "/live/x.flv", "a.com", 2);
    is_absent(&server, "/live/x.flv", "b.com");
    is_absent(&server, "/live/x.flv", "off.com");
}

#[test]
fn applications_of_several_levels() {
    let server = Server::start();
    let _cameras = [camera(&server, "127.0.0.1", "a/b/c/cam", 2), camera(&server, "127.0.0.1", "a/cam", 3)];
    plays(&server, "/a/b/c/cam.flv", "h", 2);
    plays(&server, "/a/cam.flv", "h", 3);
    is_absent(&server, "/cam.flv", "h");
}

#[test]
fn other_templates() {
    for (mount, here, elsewhere) in [
        ("/[app]/[stream]/live.flv", "/live/x/live.flv", "/live/x.flv"),
        ("/tv/[stream].flv", "/tv/x.flv", "/live/x.flv"),
        ("[vhost]/[app]-[stream].flv", "/live-x.flv", "/live/x.flv"),
        ("[vhost]/pre/[app]/[stream].flv", "/pre/live/x.flv", "/live/x.flv"),
    ] {
        let vhosts = format!("vhost __defaultVhost__ {{ http_remux {{ enabled on; mount {mount}; }} }}");
        let server = Server::with(Setup { vhosts: &vhosts, ..Setup::default() });
        let _camera = camera(&server, "127.0.0.1", "live/x", 3);
        server.took("x", 3);
        plays(&server, here, "h", 3);
        is_absent(&server, elsewhere, "h");
    }
}

#[test]
fn a_template_for_one_host() {
    let vhosts = "vhost __defaultVhost__ { http_remux { enabled on; mount tv.com/[app]/[stream].flv; } }";
    let server = Server::with(Setup { vhosts, ..Setup::default() });
    let _camera = camera(&server, "127.0.0.1", "live/x", 3);
    plays(&server, "/live/x.flv", "tv.com", 3);
    plays(&server, "/live/x.flv?vhost=tv.com", "h", 3);
    is_absent(&server, "/live/x.flv", "h");
}

#[test]
fn names_are_percent_encoded() {
    let server = Server::start();
    let names = [
        ("caméra-1", "cam%C3%A9ra-1"),
        ("カメラ", "%E3%82%AB%E3%83%A1%E3%83%A9"),
        ("a.b", "a.b"),
        ("100%", "100%25"),
        ("x+y", "x+y"),
        ("it's", "it%27s"),
    ];
    for (pictures, (name, encoded)) in (2..).zip(names) {
        let _camera = camera(&server, "127.0.0.1", &format!("live/{name}"), pictures);
        plays(&server, &format!("/live/{encoded}.flv"), "h", pictures);
        plays(&server, &format!("/l%69ve/{encoded}%2eflv"), "h", pictures);
    }
    // Not UTF-8.
    is_absent(&server, "/live/%ff%fe.flv", "h");
}
