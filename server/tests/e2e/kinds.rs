//! Which kinds of media an FLV player is promised and gets: `has_audio`, `has_video`, `guess_has_av` and
//! `drop_if_not_match` in all combinations, with all kinds of publishers.

use std::collections::BTreeSet;

use formats::flv::FileHeader;
use rtmp::{MediaKind, Role};

use crate::client::Client;
use crate::harness::{Server, Setup};
use crate::http::Flv;
use crate::media::{Player, Seen, picture, picture_header, sound, sound_header};

/// What a publisher sends.
#[derive(Clone, Copy, Debug)]
struct Sends {
    name: &'static str,
    pictures: bool,
    sound: bool,
    /// Only the sequence header of the sound.
    mute: bool,
}

const PUBLISHERS: [Sends; 4] = [
    Sends { name: "both", pictures: true, sound: true, mute: false },
    Sends { name: "pictures", pictures: true, sound: false, mute: false },
    Sends { name: "sound", pictures: false, sound: true, mute: false },
    Sends { name: "mute", pictures: true, sound: true, mute: true },
];

/// What a vhost says.
#[derive(Clone, Copy, Debug)]
struct Rules {
    has_audio: bool,
    has_video: bool,
    guess: bool,
    drop: bool,
}

impl Rules {
    fn all() -> Vec<Self> {
        let bit = |n: u32, at: u32| n >> at & 1 == 1;
        (0..16)
            .map(|n| Self { has_audio: bit(n, 0), has_video: bit(n, 1), guess: bit(n, 2), drop: bit(n, 3) })
            .collect()
    }

    fn host(self) -> String {
        let Self { has_audio, has_video, guess, drop } = self;
        [has_audio, has_video, guess, drop].map(|on| if on { "on" } else { "off" }).join(".")
    }

    fn config(self) -> String {
        let on = |on| if on { "on" } else { "off" };
        let Self { has_audio, has_video, guess, drop } = self;
        format!(
            "vhost {} {{ http_remux {{ enabled on; has_audio {}; has_video {}; guess_has_av {}; drop_if_not_match {}; }} }}\n",
            self.host(),
            on(has_audio),
            on(has_video),
            on(guess),
            on(drop)
        )
    }

    /// What the file header promises for this publisher.
    fn header(self, sends: Sends) -> FileHeader {
        match self.guess {
            true => FileHeader { audio: sends.sound && !sends.mute, video: sends.pictures },
            false => FileHeader { audio: self.has_audio, video: self.has_video },
        }
    }

    /// What the player of this publisher must see, and nothing else: headers, and whether frames follow.
    fn sees(self, sends: Sends) -> BTreeSet<&'static str> {
        let header = self.header(sends);
        let mut sees = BTreeSet::new();
        if sends.pictures && (header.video || !self.drop) {
            sees.extend(["video header", "picture"]);
        }
        if sends.sound && (header.audio || !self.drop) {
            sees.extend(["audio header", "sound"]);
        }
        if sends.mute {
            sees.remove("sound");
        }
        sees
    }
}

struct Publisher {
    client: Client,
    sends: Sends,
    next: u32,
}

impl Publisher {
    fn start(server: &Server, rules: Rules, sends: Sends) -> Self {
        let url = format!("rtmp://{}/live/{}?vhost={}", server.rtmp, sends.name, rules.host());
        let mut client = Client::open(server.rtmp, &url, Role::Publish);
        client.start();
        if sends.pictures {
            client.send(MediaKind::Video, 0, &picture_header());
        }
        if sends.sound {
            client.send(MediaKind::Audio, 0, &sound_header());
        }
        Self { client, sends, next: 0 }
    }

    fn send(&mut self, count: u32) {
        for number in self.next..self.next + count {
            if self.sends.pictures {
                self.client.queue(MediaKind::Video, number * 40, &picture(number, number == 0, 50));
            }
            if self.sends.sound && !self.sends.mute {
                self.client.queue(MediaKind::Audio, number * 40, &sound(number));
            }
        }
        self.next += count;
        self.client.flush();
    }
}

fn word(seen: Seen) -> Option<&'static str> {
    match seen {
        Seen::Header(MediaKind::Video) => Some("video header"),
        Seen::Header(_) => Some("audio header"),
        Seen::Picture(..) => Some("picture"),
        Seen::Sound(_) => Some("sound"),
        Seen::Data => None,
    }
}

#[test]
fn promises_and_deliveries() {
    let vhosts: String = Rules::all().into_iter().map(Rules::config).collect();
    let server = Server::with(Setup { vhosts: &vhosts, ..Setup::default() });
    for sends in PUBLISHERS {
        let mut all = Vec::new();
        for rules in Rules::all() {
            let publisher = Publisher::start(&server, rules, sends);
            let path = format!("/live/{}.flv?vhost={}", sends.name, rules.host());
            all.push((rules, publisher, Flv::open(server.http, &path)));
        }
        // Sound alone has no keyframes: who is late misses it.
        server.logged_times(&["start play", &format!("/live/{},", sends.name)], all.len());
        all.iter_mut().for_each(|(_, publisher, _)| publisher.send(3));
        for (rules, mut publisher, mut player) in all {
            let told = player.header();
            assert_eq!(told, rules.header(sends), "{rules:?} {sends:?}");
            publisher.send(3);
            publisher.client.stop();
            let sees: BTreeSet<_> =
                std::iter::from_fn(|| player.next()).filter_map(|(seen, ..)| word(seen)).collect();
            assert_eq!(sees, rules.sees(sends), "{rules:?} {sends:?}");
            assert!(player.ended_cleanly());
        }
    }
}

/// A publisher who is gone before the guess is made must not hold the player.
#[test]
fn a_stream_that_ends_before_the_guess() {
    let server = Server::start();
    let mut player = Flv::open(server.http, "/live/mute.flv");
    let rules = Rules { has_audio: true, has_video: true, guess: true, drop: true };
    let url = format!("rtmp://{}/live/mute", server.rtmp);
    let mut client = Client::open(server.rtmp, &url, Role::Publish);
    client.start();
    client.send(MediaKind::Audio, 0, &sound_header());
    client.send(MediaKind::Video, 0, &picture_header());
    client.send(MediaKind::Video, 0, &picture(0, true, 50));
    client.stop();
    assert_eq!(player.header(), rules.header(PUBLISHERS[3]));
    assert_eq!(player.pictures_up_to(0), [(0, 0)]);
    assert_eq!(player.next().map(|(seen, ..)| seen), None);
    assert!(player.ended_cleanly());
}
