//! An offer of ours, as the client of a WHIP server (RFC 9725 §4.2) makes one for what it sends, and what is left of it in the answer.

use media::codec::Codec;
use rtp::sdp::{Candidate, Description, Direction, Format, Ice, Media, Setup, Transport};

use super::{Outgoing, Retransmission, Section};
use crate::dtls::{Fingerprint, Role};
use crate::{Error, ice};

/// The first payload type that is free for everybody (RFC 3551 §6).
const DYNAMIC: u8 = 96;

/// Of an answer, so many addresses are looked at.
pub const MAX_CANDIDATES: usize = 16;

/// What we would like to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Our name, for the `o=` line.
    pub server: String,
    /// A decimal number, for the `o=` line.
    pub id: String,
    /// Ours.
    pub ice: ice::Credentials,
    /// Of our certificate.
    pub fingerprint: Fingerprint,
    /// Our addresses.
    pub candidates: Vec<ice::Candidate>,
    /// The tracks, at most one of each kind.
    pub tracks: Vec<Offered>,
}

/// A track that we would like to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    /// Where it comes from.
    pub outgoing: Outgoing,
    /// The ways to describe what is the same in each of them, the truest first; payload types are given by [`Proposal`].
    pub formats: Vec<Format>,
}

/// What a server takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The tracks that it takes.
    pub sections: Vec<Section>,
    /// The kinds that it does not.
    pub rejected: Vec<String>,
    /// Who begins DTLS.
    pub role: Role,
    /// Its user name and password.
    pub ice: ice::Credentials,
    /// Its certificate is one of these.
    pub fingerprints: Vec<Fingerprint>,
    /// Its addresses (or names) and ports by UDP, the preferred first; none where it waits for ours, or will tell of itself by a check.
    pub candidates: Vec<(String, u16)>,
}

/// How a codec is offered to servers of WebRTC; nothing for those that it does not have. Of H.264 constrained baseline is offered besides the profile of the
/// stream: servers that look closely know no other, and pass on what comes.
pub fn offered(codec: &Codec) -> Vec<Format> {
    const VIDEO: u32 = 90_000;
    let format = |name: &str, parameters: &[(&str, String)]| {
        let feedback = ["nack", "nack pli", "ccm fir"].map(str::to_owned).into();
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Format { parameters, feedback, ..Format::new(0, name, VIDEO, None) }
    };
    let h264 = |profile: u32| {
        let parameters = [
            ("level-asymmetry-allowed", "1".to_owned()),
            ("packetization-mode", "1".to_owned()),
            ("profile-level-id", format!("{profile:06x}")),
        ];
        format("H264", &parameters)
    };
    match codec {
        Codec::H264(config) => {
            let own = u32::from_be_bytes([0, config.profile, config.constraints, config.level]);
            let mut formats = vec![h264(own)];
            if own >> 8 != 0x42e0 {
                formats.push(h264(0x42_e01f));
            }
            formats
        }
        Codec::H265(_) => vec![format("H265", &[])],
        Codec::Av1(config) => vec![format("AV1", &[("profile", config.profile.to_string())])],
        Codec::Vp9(config) => vec![format("VP9", &[("profile-id", config.profile.to_string())])],
        Codec::Vp8 => vec![format("VP8", &[])],
        Codec::Opus(_) => {
            let parameters = ["minptime=10", "useinbandfec=1", "stereo=1", "sprop-stereo=1"];
            let pair = |text: &&str| text.split_once('=').map(|(name, value)| (name.into(), value.into()));
            let parameters = parameters.iter().filter_map(pair).collect();
            vec![Format { parameters, ..Format::new(0, "opus", 48_000, Some(2)) }]
        }
        Codec::G711 { mu_law: true } => vec![Format::new(0, "PCMU", 8000, None)],
        Codec::G711 { mu_law: false } => vec![Format::new(0, "PCMA", 8000, None)],
        _ => Vec::new(),
    }
}

impl Proposal {
    /// The offer.
    pub fn description(&self) -> Description {
        let mut next = DYNAMIC;
        let media: Vec<_> =
            self.tracks.iter().enumerate().map(|(n, track)| self.media(n, track, &mut next)).collect();
        Description {
            user: self.server.clone(),
            id: self.id.clone(),
            version: 1,
            bundle: media.iter().filter_map(|media| media.mid.clone()).collect(),
            msid_semantic: Some("WMS *".into()),
            media,
            ..Description::default()
        }
    }

    fn media(&self, n: usize, track: &Offered, next: &mut u8) -> Media {
        let text = self.fingerprint.to_string();
        let (hash, digest) = text.split_once(' ').unwrap_or_default();
        let Outgoing { kind, source, retransmission_ssrc } = &track.outgoing;
        let mut number = || std::mem::replace(next, next.saturating_add(1));
        let mut formats = Vec::new();
        for format in &track.formats {
            let payload_type = number();
            formats.push(Format { payload_type, ..format.clone() });
            if retransmission_ssrc.is_some() {
                let parameters = vec![("apt".to_owned(), payload_type.to_string())];
                formats.push(Format { parameters, ..Format::new(number(), "rtx", format.rate, None) });
            }
        }
        let again = retransmission_ssrc.map(|ssrc| super::Source { ssrc, ..source.clone() });
        let group = retransmission_ssrc.map(|ssrc| ("FID".to_owned(), vec![source.ssrc, ssrc]));
        Media {
            kind: kind.clone(),
            port: 9,
            protocol: "UDP/TLS/RTP/SAVPF".into(),
            formats,
            mid: Some(n.to_string()),
            direction: Direction::SendOnly,
            rtcp_mux: true,
            rtcp_rsize: true,
            msid: source.msid.clone(),
            sources: [source.clone()].into_iter().chain(again).collect(),
            source_groups: group.into_iter().collect(),
            ice: Some(Ice { ufrag: self.ice.ufrag.clone(), pwd: self.ice.password.clone() }),
            fingerprints: vec![(hash.to_owned(), digest.to_owned())],
            setup: Some(Setup::ActPass),
            candidates: ice::described(&self.candidates),
            end_of_candidates: true,
            ..Media::default()
        }
    }

    /// Reads the answer to [`description`](Self::description).
    ///
    /// Errors: [`Error::Answer`], which says what is wrong with it.
    pub fn accept(&self, text: &[u8]) -> Result<Accepted, Error> {
        let refuse = |reason: &str| Err(Error::Answer(reason.to_owned()));
        let answer = Description::parse(text).map_err(|error| Error::Answer(error.to_string()))?;
        if answer.media.len() != self.tracks.len() {
            let (told, asked) = (answer.media.len(), self.tracks.len());
            return refuse(&format!("it has {told} media sections, the offer has {asked}"));
        }
        let (mut sections, mut rejected, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (n, (track, media)) in self.tracks.iter().zip(&answer.media).enumerate() {
            let Outgoing { kind, .. } = &track.outgoing;
            if media.kind != *kind {
                return refuse(&format!("section {n} is of {}, that of the offer of {kind}", media.kind));
            }
            // Sections that do not share the one transport there is are of no use.
            let is_bundled =
                taken.is_empty() || media.mid.as_ref().is_some_and(|mid| answer.bundle.contains(mid));
            match section(n, track, media).filter(|_| is_bundled) {
                Some(section) => {
                    sections.push(section);
                    taken.push(media);
                }
                None => rejected.push(kind.clone()),
            }
        }
        let Some(first) = taken.first() else {
            let told = |track: &Offered| track.formats.first().map(|format| format.encoding.clone());
            let offered: Vec<_> = self.tracks.iter().filter_map(told).collect();
            return refuse(&format!("it takes none of {}", offered.join(", ")));
        };
        let ice = taken.iter().find_map(|media| media.ice.as_ref());
        let Some(ice) = ice.filter(|ice| !ice.ufrag.is_empty() && !ice.pwd.is_empty()) else {
            return refuse("it has no ice-ufrag and ice-pwd");
        };
        let told = taken.iter().map(|media| &media.fingerprints).find(|told| !told.is_empty());
        let fingerprint = |(hash, digest): &(String, String)| Fingerprint::parse(&format!("{hash} {digest}"));
        let fingerprints: Vec<_> = told.into_iter().flatten().filter_map(fingerprint).collect();
        if fingerprints.is_empty() {
            return refuse("it has no fingerprint of a known kind");
        }
        let role = match first.setup {
            Some(Setup::Active) => Role::Server,
            // Who leaves it open answers what we begin.
            _ => Role::Client,
        };
        let ice = ice::Credentials { ufrag: ice.ufrag.clone(), password: ice.pwd.clone() };
        Ok(Accepted { sections, rejected, role, ice, fingerprints, candidates: candidates(&taken) })
    }
}

/// What an answer takes of a track.
fn section(n: usize, track: &Offered, media: &Media) -> Option<Section> {
    if media.is_rejected() || matches!(media.direction, Direction::SendOnly | Direction::Inactive) {
        return None;
    }
    let of_offer = |format: &&Format| track.formats.iter().any(|offered| format.is(&offered.encoding));
    // In the other mode of H.264 no frame may be cut into packets.
    let is_cut = |format: &&Format| {
        format.parameter("packetization-mode").is_none_or(|mode| mode == "1") || !format.is("H264")
    };
    let format = media.formats.iter().filter(of_offer).find(is_cut)?;
    let retransmission = media.retransmission(format.payload_type);
    let retransmission = retransmission
        .zip(track.outgoing.retransmission_ssrc)
        .map(|(format, ssrc)| Retransmission { payload_type: format.payload_type, ssrc: Some(ssrc) });
    Some(Section {
        mid: n.to_string(),
        kind: media.kind.clone(),
        format: format.clone(),
        extensions: Vec::new(),
        incoming: Vec::new(),
        outgoing: Some(track.outgoing.source.clone()),
        retransmission,
    })
}

fn candidates(taken: &[&Media]) -> Vec<(String, u16)> {
    let is_usable = |candidate: &&Candidate| {
        candidate.transport == Transport::Udp && candidate.component == 1 && candidate.port != 0
    };
    let mut all: Vec<_> =
        taken.iter().flat_map(|media| &media.candidates).filter(is_usable).take(256).collect();
    all.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
    let mut ways: Vec<(String, u16)> = Vec::new();
    for candidate in all {
        let way = (candidate.address.clone(), candidate.port);
        if ways.len() < MAX_CANDIDATES && !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use rtp::sdp::Source;

    use super::*;
    use crate::sdp::{Offer, Purpose, Terms};
    use crate::{Protocol, sdp};

    fn fingerprint(byte: &str) -> Fingerprint {
        Fingerprint::parse(&format!("sha-256 {}", vec![byte; 32].join(":"))).unwrap()
    }

    fn proposal() -> Proposal {
        let outgoing = |kind: &str, ssrc, retransmission_ssrc| Outgoing {
            kind: kind.into(),
            source: Source { ssrc, cname: Some("us".into()), msid: Some(("us".into(), kind.into())) },
            retransmission_ssrc,
        };
        let h264 = media::codec::h264::Config { profile: 100, level: 31, ..Default::default() };
        Proposal {
            server: "Oxcast/1".into(),
            id: "42".into(),
            ice: ice::Credentials { ufrag: "ours".into(), password: "secret".repeat(5) },
            fingerprint: fingerprint("AB"),
            candidates: vec![ice::Candidate {
                protocol: Protocol::Udp,
                address: "192.0.2.1".into(),
                port: 4000,
            }],
            tracks: vec![
                Offered {
                    outgoing: outgoing("audio", 1, None),
                    formats: offered(&Codec::Opus(Default::default())),
                },
                Offered { outgoing: outgoing("video", 2, Some(3)), formats: offered(&Codec::H264(h264)) },
            ],
        }
    }

    /// Our own answer to it.
    fn answer(change: impl Fn(&mut Terms)) -> String {
        let mut terms = Terms {
            server: "s".into(),
            name: "n".into(),
            stream: "live/s".into(),
            id: "1".into(),
            ice: ice::Credentials { ufrag: "theirs".into(), password: "hidden".repeat(5) },
            fingerprint: fingerprint("CD"),
            role: Role::Server,
            candidates: vec![ice::Candidate {
                protocol: Protocol::Udp,
                address: "198.51.100.1".into(),
                port: 8000,
            }],
            audio: vec!["opus".into()],
            video: vec!["H264".into()],
            nack: true,
            rtx: true,
            extensions: vec![sdp::MID.into()],
            sources: vec![],
        };
        change(&mut terms);
        let offer = proposal().description().to_string();
        let offer = Offer::parse(offer.as_bytes(), Purpose::Publish).unwrap();
        offer.answer(&terms).unwrap().description.to_string()
    }

    fn refused(answer: &str) -> String {
        proposal().accept(answer.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_answer_of_our_own_is_read() {
        let accepted = proposal().accept(answer(|_| {}).as_bytes()).unwrap();
        assert_eq!(accepted.role, Role::Client);
        assert_eq!(accepted.ice.ufrag, "theirs");
        assert_eq!(accepted.fingerprints, [fingerprint("CD")]);
        assert_eq!(accepted.candidates, [("198.51.100.1".to_owned(), 8000)]);
        let [sound, pictures] = &accepted.sections[..] else { panic!("{accepted:?}") };
        assert_eq!((sound.format.payload_type, sound.retransmission), (96, None));
        // Our answers prefer constrained baseline, which is offered behind the profile of the stream.
        assert_eq!(pictures.format.payload_type, 99);
        let again = Retransmission { payload_type: 100, ssrc: Some(3) };
        assert_eq!(pictures.retransmission, Some(again));
        assert_eq!(pictures.outgoing.as_ref().unwrap().ssrc, 2);
        let active = proposal().accept(answer(|terms| terms.role = Role::Client).as_bytes()).unwrap();
        assert_eq!(active.role, Role::Server);
    }

    #[test]
    fn what_is_not_taken_is_told() {
        let whole = answer(|_| {});
        let without_sound = whole.replace("m=audio 9", "m=audio 0");
        let accepted = proposal().accept(without_sound.as_bytes()).unwrap();
        assert_eq!((accepted.rejected, accepted.sections.len()), (vec!["audio".to_owned()], 1));
        let unbundled = whole.replace("BUNDLE 0 1", "BUNDLE 0");
        assert_eq!(proposal().accept(unbundled.as_bytes()).unwrap().rejected, ["video"]);
        let inactive = whole.replace("a=recvonly", "a=inactive");
        assert!(refused(&inactive).contains("it takes none of opus, H264"), "{}", refused(&inactive));
        let uncut = whole.replace("packetization-mode=1", "packetization-mode=0");
        assert_eq!(proposal().accept(uncut.as_bytes()).unwrap().rejected, ["video"]);
        let plain = answer(|terms| terms.nack = false);
        assert_eq!(proposal().accept(plain.as_bytes()).unwrap().sections[1].retransmission, None);
    }

    #[test]
    fn nonsense_is_refused() {
        let whole = answer(|_| {});
        for (answer, reason) in [
            (String::new(), "the answer cannot be used"),
            (whole.split("m=video").next().unwrap().to_owned(), "1 media sections, the offer has 2"),
            (whole.replace("m=video", "m=application"), "section 1 is of application"),
            (whole.replace("a=ice-pwd:", "a=x:"), "no ice-ufrag and ice-pwd"),
            (whole.replace("a=fingerprint:", "a=x:"), "no fingerprint"),
        ] {
            assert!(refused(&answer).contains(reason), "{}", refused(&answer));
        }
    }
}
