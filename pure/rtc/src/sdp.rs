//! Offer and answer of WebRTC (RFC 8829, RFC 9429) as far as a live server needs them: what an offer must have, which of it is
//! taken, and what the answer says. The text and its types belong to [`rtp::sdp`].
//!
//! One transport for everything (BUNDLE, rtcp-mux), one codec for each section. Of a simulcast the first layer is taken; data channels
//! are rejected.

mod proposal;

use rtp::Packet;
use rtp::sdp::{Description, Direction, Extension, Format, Ice, Media, Setup, Source, TRANSPORT_CC};

use crate::dtls::{Fingerprint, Role};
use crate::{Error, ice};

pub use proposal::{Accepted, MAX_CANDIDATES, Offered, Proposal, offered};

/// The section a packet belongs to, in a header extension (RFC 9143 §15).
pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// When a packet was sent.
pub const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// How many sections an offer may have.
pub const MAX_SECTIONS: usize = 16;

/// What the peer wants of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To send us media.
    Publish,
    /// To get media.
    Play,
}

/// An offer that fits its purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    purpose: Purpose,
    description: Description,
    /// `ice-ufrag` of the peer.
    pub remote_ufrag: String,
    /// The peer's certificate is one of these; none where none is told.
    pub fingerprints: Vec<Fingerprint>,
    setup: Option<Setup>,
}

/// What we are ready to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Our name, for the `o=` line.
    pub server: String,
    /// For the `s=` line.
    pub name: String,
    /// The stream, for `msid-semantic`, such as `live/livestream`.
    pub stream: String,
    /// A decimal number, for the `o=` line.
    pub id: String,
    /// Ours.
    pub ice: ice::Credentials,
    /// Of our certificate.
    pub fingerprint: Fingerprint,
    /// Who begins DTLS when the peer leaves it to us.
    pub role: Role,
    /// Our addresses.
    pub candidates: Vec<ice::Candidate>,
    /// The audio codecs that we take, the preferred first, as in `rtpmap`: `opus`.
    pub audio: Vec<String>,
    /// The video codecs that we take, the preferred first: `H264`, `H265`, `AV1`.
    pub video: Vec<String>,
    /// Lost packets may be asked for, and keyframes.
    pub nack: bool,
    /// They may be sent again in packets of their own (RFC 4588), where the peer offers that and `nack`. Publishers then send
    /// them in no other way.
    pub rtx: bool,
    /// The header extensions that we take, by URI: [`TRANSPORT_CC`], [`MID`], [`ABS_SEND_TIME`].
    pub extensions: Vec<String>,
    /// What a player gets, each to the next section of its kind.
    pub sources: Vec<Outgoing>,
}

/// A track that we send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// `audio` or `video`.
    pub kind: String,
    /// Our SSRC, name, stream and track.
    pub source: Source,
    /// The SSRC of its retransmissions; without, lost packets are sent again as they were.
    pub retransmission_ssrc: Option<u32>,
}

impl Outgoing {
    /// A track of `kind`, `audio` or `video`, in the stream `name`, which is our name as a source as well.
    pub fn new(kind: &str, name: &str, ssrc: u32, retransmission_ssrc: Option<u32>) -> Self {
        let (cname, msid) = (Some(name.to_owned()), Some((name.to_owned(), format!("{name}-{kind}"))));
        Self { kind: kind.to_owned(), source: Source { ssrc, cname, msid }, retransmission_ssrc }
    }
}

/// An answer, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// To be written to the peer.
    pub description: Description,
    /// The sections that carry media, in the order of the offer.
    pub sections: Vec<Section>,
    /// Who begins DTLS.
    pub role: Role,
}

/// A section that carries media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub mid: String,
    /// `audio` or `video`.
    pub kind: String,
    /// The codec with the payload type of the offer.
    pub format: Format,
    /// Header extensions by id.
    pub extensions: Vec<Extension>,
    /// What the peer sends, where it tells: the media itself, neither its retransmissions and repairs nor further layers of a
    /// simulcast. Where it is empty, packets belong here by [`MID`] or by payload type.
    pub incoming: Vec<Source>,
    /// What we send.
    pub outgoing: Option<Source>,
    /// How lost packets are sent again, where it was agreed to do so in packets of their own.
    pub retransmission: Option<Retransmission>,
}

/// How retransmissions are told from the media (RFC 4588 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmission {
    /// Their payload type.
    pub payload_type: u8,
    /// Their SSRC: ours, or that of a publisher where it tells.
    pub ssrc: Option<u32>,
}

impl Section {
    /// The id that stands for a header extension in this section's packets, see [`rtp::Packet::extension`].
    pub fn extension(&self, uri: &str) -> Option<u8> {
        self.extensions.iter().find(|extension| extension.uri == uri).map(|extension| extension.id)
    }

    /// Whether a packet of the peer is media of this section or its retransmission, by what it tells best (RFC 9143 §9.2): the mid,
    /// the source that the offer has told, or else the payload type alone.
    pub fn has(&self, packet: &Packet<'_>) -> bool {
        let by_source = match self.retransmission {
            _ if packet.payload_type == self.format.payload_type => {
                self.incoming.is_empty() || self.incoming.iter().any(|source| source.ssrc == packet.ssrc)
            }
            Some(other) if packet.payload_type == other.payload_type => {
                other.ssrc.is_none_or(|ssrc| ssrc == packet.ssrc)
            }
            _ => return false,
        };
        let mid = self.extension(MID).and_then(|id| packet.mid(id));
        mid.map_or(by_source, |mid| mid == self.mid)
    }
}

impl Offer {
    /// Reads an offer and checks what does not depend on codecs.
    ///
    /// Errors: [`Error::Offer`], which says what is missing.
    pub fn parse(text: &[u8], purpose: Purpose) -> Result<Self, Error> {
        let refuse = |reason: String| Err(Error::Offer(reason));
        let description = Description::parse(text).map_err(|error| Error::Offer(error.to_string()))?;
        if description.bundle.is_empty() {
            return refuse("it has no group:BUNDLE".into());
        }
        let sections = description.media.len();
        if !(1..=MAX_SECTIONS).contains(&sections) {
            return refuse(format!("it has {sections} media sections"));
        }
        if !description.media.iter().any(carries_media) {
            return refuse("it has no audio and no video section".into());
        }
        for (n, media) in description.media.iter().enumerate() {
            let mid = media.mid.as_deref().unwrap_or_default();
            if mid.is_empty() {
                return refuse(format!("section {n} has no mid"));
            }
            if media.is_rejected() || !carries_media(media) {
                continue;
            }
            // A section that is nothing without the bundle may leave to the others what holds for all (RFC 9143 §7.1.3).
            if !media.rtcp_mux && !media.bundle_only {
                return refuse(format!("section {mid} has no rtcp-mux"));
            }
            match (purpose, media.direction) {
                (Purpose::Publish, Direction::RecvOnly) => {
                    return refuse(format!("section {mid} of a publisher is recvonly"));
                }
                (Purpose::Play, Direction::SendOnly) => {
                    return refuse(format!("section {mid} of a player is sendonly"));
                }
                _ => {}
            }
        }
        // All sections share one transport, which the first one that tells of it describes, be it one that we do not take.
        let mut offered = description.media.iter().filter(|media| !media.is_rejected()).peekable();
        if offered.peek().is_none() {
            return refuse("all its sections are rejected".into());
        }
        let ufrag = |media: &Media| media.ice.as_ref().map(|ice| ice.ufrag.clone());
        let transport =
            offered.find_map(|media| Some((media, ufrag(media).filter(|name| !name.is_empty())?)));
        let Some((first, remote_ufrag)) = transport else { return refuse("it has no ice-ufrag".into()) };
        let fingerprint = |(hash, digest): &(String, String)| Fingerprint::parse(&format!("{hash} {digest}"));
        // Where the first does not tell the fingerprint, another one may, and then it counts.
        let rest = [first].into_iter().chain(offered);
        let told = rest.map(|media| &media.fingerprints).find(|told| !told.is_empty());
        let fingerprints: Vec<_> = told.into_iter().flatten().filter_map(fingerprint).collect();
        if fingerprints.is_empty() && told.is_some() {
            return refuse("its fingerprint is of no known kind".into());
        }
        let setup = first.setup;
        Ok(Self { purpose, description, remote_ufrag, fingerprints, setup })
    }

    /// The answer by these terms.
    ///
    /// Errors: [`Error::Offer`] when a publisher's section has no codec that we take, or no section at all carries media.
    pub fn answer(&self, terms: &Terms) -> Result<Answer, Error> {
        let role = match self.setup {
            Some(Setup::Active) | None => Role::Server,
            Some(Setup::Passive) => Role::Client,
            Some(Setup::ActPass) => terms.role,
        };
        let mut answer = Answer {
            description: Description {
                user: terms.server.clone(),
                id: terms.id.clone(),
                version: 2,
                name: terms.name.clone(),
                ice_lite: true,
                msid_semantic: Some(format!("WMS {}", terms.stream)),
                ..Description::default()
            },
            sections: Vec::new(),
            role,
        };
        let mut sources = terms.sources.clone();
        for media in &self.description.media {
            let section = self.section(media, terms, &mut sources)?;
            answer.description.media.push(match &section {
                Some(section) => written(media, section, terms, self.purpose, role),
                None => rejected(media),
            });
            if let Some(section) = section {
                answer.description.bundle.push(section.mid.clone());
                answer.sections.push(section);
            }
        }
        if answer.sections.is_empty() {
            return Err(Error::Offer("none of its sections can carry what there is".into()));
        }
        Ok(answer)
    }

    fn section(
        &self,
        media: &Media,
        terms: &Terms,
        sources: &mut Vec<Outgoing>,
    ) -> Result<Option<Section>, Error> {
        let mid = media.mid.clone().unwrap_or_default();
        let bundled = self.description.bundle.contains(&mid);
        if media.is_rejected() || media.direction == Direction::Inactive || !carries_media(media) || !bundled
        {
            return Ok(None);
        }
        let wanted = if media.kind == "audio" { &terms.audio } else { &terms.video };
        let Some(offered) = wanted.iter().find_map(|codec| choose(media, codec)) else {
            // A player gets the rest; a publisher would send into the void.
            return match self.purpose {
                Purpose::Play => Ok(None),
                Purpose::Publish => Err(Error::Offer(format!(
                    "section {mid} ({}) has none of the codecs {}",
                    media.kind,
                    wanted.join(", ")
                ))),
            };
        };
        let outgoing = match self.purpose {
            Purpose::Publish => None,
            Purpose::Play => match sources.iter().position(|outgoing| outgoing.kind == media.kind) {
                Some(at) => Some(sources.remove(at)),
                None => return Ok(None),
            },
        };
        let incoming = if self.purpose == Purpose::Publish { incoming(media) } else { Vec::new() };
        // Without sources, only their mid tells the packets of two sections of one kind apart.
        let needs_mid = self.purpose == Purpose::Publish && incoming.is_empty();
        let taken = |extension: &&Extension| {
            terms.extensions.contains(&extension.uri) || needs_mid && extension.uri == MID
        };
        let extensions: Vec<_> = media.extensions.iter().filter(taken).map(mirrored).collect();
        let retransmission = media.retransmission(offered.payload_type).and_then(|format| {
            let ssrc = match &outgoing {
                Some(outgoing) => Some(outgoing.retransmission_ssrc?),
                None => incoming.first().and_then(|source| partner(media, source.ssrc)),
            };
            let agreed = terms.rtx && terms.nack && offered.has_feedback("nack");
            agreed.then_some(Retransmission { payload_type: format.payload_type, ssrc })
        });
        let has_transport_cc = extensions.iter().any(|extension| extension.uri == TRANSPORT_CC);
        let feedback = offered.feedback.iter().filter(|kind| match kind.as_str() {
            "nack" | "nack pli" => terms.nack,
            "transport-cc" => has_transport_cc,
            _ => false,
        });
        let format = Format {
            feedback: feedback.cloned().collect(),
            parameters: parameters(offered),
            ..offered.clone()
        };
        let outgoing = outgoing.map(|outgoing| outgoing.source);
        let kind = media.kind.clone();
        Ok(Some(Section { mid, kind, format, extensions, incoming, outgoing, retransmission }))
    }
}

fn carries_media(media: &Media) -> bool {
    media.kind == "audio" || media.kind == "video"
}

/// What a publisher's section tells of its media: of each group, such as `FID`, `FEC-FR` and `SIM`, the first source only.
fn incoming(media: &Media) -> Vec<Source> {
    let follows = |source: &&Source| {
        media.source_groups.iter().any(|(_, group)| group.iter().skip(1).any(|ssrc| *ssrc == source.ssrc))
    };
    media.sources.iter().filter(|source| !follows(source)).cloned().collect()
}

/// The source that retransmits this one.
fn partner(media: &Media, ssrc: u32) -> Option<u32> {
    media.source_groups.iter().find_map(|(semantics, group)| match group[..] {
        [media, partner] if semantics == "FID" && media == ssrc => Some(partner),
        _ => None,
    })
}

/// An extension as the answer has it: what one end only sends, the other only receives.
fn mirrored(extension: &Extension) -> Extension {
    let direction = extension.direction.map(|direction| match direction {
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        other => other,
    });
    Extension { direction, ..extension.clone() }
}

/// The format of a codec. Of H.264 there are many: constrained baseline in the usual packetization is best, since every peer
/// decodes it; then one that tells nothing; then whatever there is.
fn choose<'a>(media: &'a Media, codec: &str) -> Option<&'a Format> {
    let formats = || media.formats.iter().filter(|format| format.is(codec));
    let rank = |format: &&Format| {
        let Some(h264) = format.h264() else { return 0 };
        let regular = h264.packetization_mode == 1 && h264.level_asymmetry_allowed;
        let [profile, constraints, _] = h264.profile_level_id;
        match (regular, profile, constraints) {
            (true, 0x42, 0xe0) => 0,
            (true, ..) => 1,
            _ if format.parameters.is_empty() => 2,
            _ => 3,
        }
    };
    // The first of the best.
    formats().min_by_key(rank)
}

/// Which parameters the answer repeats.
fn parameters(format: &Format) -> Vec<(String, String)> {
    const OPUS: [&str; 4] = ["minptime", "useinbandfec", "stereo", "usedtx"];
    const H264: [&str; 3] = ["level-asymmetry-allowed", "packetization-mode", "profile-level-id"];
    let names: &[&str] = match () {
        () if format.is("opus") => &OPUS,
        () if format.is("H264") => &H264,
        () => return format.parameters.clone(),
    };
    let value = |name: &&str| Some(((*name).to_owned(), format.parameter(name)?.to_owned()));
    names.iter().filter_map(value).collect()
}

fn written(media: &Media, section: &Section, terms: &Terms, purpose: Purpose, role: Role) -> Media {
    let (hash, digest) = {
        let text = terms.fingerprint.to_string();
        let (hash, digest) = text.split_once(' ').unwrap_or_default();
        (hash.to_owned(), digest.to_owned())
    };
    let retransmission = section.retransmission.map(|retransmission| Format {
        parameters: vec![("apt".into(), section.format.payload_type.to_string())],
        ..Format::new(retransmission.payload_type, "rtx", section.format.rate, None)
    });
    // Ours, and the one that retransmits it under the same name.
    let mut sources: Vec<_> = section.outgoing.iter().cloned().collect();
    let mut source_groups = Vec::new();
    if let (Some(source), Some(ssrc)) = (&section.outgoing, section.retransmission.and_then(|it| it.ssrc)) {
        source_groups.push(("FID".into(), vec![source.ssrc, ssrc]));
        sources.push(Source { ssrc, ..source.clone() });
    }
    Media {
        kind: media.kind.clone(),
        port: 9,
        protocol: media.protocol.clone(),
        formats: [section.format.clone()].into_iter().chain(retransmission).collect(),
        mid: Some(section.mid.clone()),
        direction: match purpose {
            Purpose::Publish => Direction::RecvOnly,
            Purpose::Play => Direction::SendOnly,
        },
        rtcp_mux: true,
        rtcp_rsize: true,
        extensions: section.extensions.clone(),
        msid: section.outgoing.as_ref().and_then(|source| source.msid.clone()),
        sources,
        source_groups,
        ice: Some(Ice { ufrag: terms.ice.ufrag.clone(), pwd: terms.ice.password.clone() }),
        fingerprints: vec![(hash, digest)],
        setup: Some(if role == Role::Client { Setup::Active } else { Setup::Passive }),
        candidates: ice::described(&terms.candidates),
        ..Media::default()
    }
}

/// A section that is not taken (RFC 9429 §5.3.1): its port is zero, and it is not in the bundle.
fn rejected(media: &Media) -> Media {
    Media {
        kind: media.kind.clone(),
        port: 0,
        protocol: media.protocol.clone(),
        formats: media.formats.first().cloned().into_iter().collect(),
        mid: media.mid.clone(),
        direction: Direction::Inactive,
        ..Media::default()
    }
}

#[cfg(test)]
mod browsers;

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(direction: &str, change: impl Fn(String) -> String) -> Vec<u8> {
        let certificate = "sha-256 ".to_owned() + &vec!["AB"; 32].join(":");
        let transport = format!(
            "c=IN IP4 0.0.0.0\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\na=fingerprint:{certificate}\n\
             a=setup:actpass\na={direction}\na=rtcp-mux\n"
        );
        change(format!(
            "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 63 111\n{transport}a=mid:0\na=extmap:4 {MID}\n\
             a=rtpmap:63 red/48000/2\na=rtpmap:111 opus/48000/2\na=fmtp:111 minptime=10;useinbandfec=1;x=1\n\
             a=rtcp-fb:111 transport-cc\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96 102 106 39\n{transport}a=mid:1\na=extmap:3 {TRANSPORT_CC}\n\
             a=extmap:4 {MID}\na=rtpmap:96 VP8/90000\na=rtpmap:102 H264/90000\n\
             a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\n\
             a=rtpmap:106 H264/90000\na=rtcp-fb:106 goog-remb\na=rtcp-fb:106 transport-cc\na=rtcp-fb:106 ccm fir\n\
             a=rtcp-fb:106 nack\na=rtcp-fb:106 nack pli\n\
             a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\n\
             a=rtpmap:39 AV1/90000\na=ssrc:77 cname:me\n"
        ))
        .replace('\n', "\r\n")
        .into_bytes()
    }

    fn terms() -> Terms {
        let source = |kind: &str, ssrc| Outgoing {
            kind: kind.into(),
            source: Source { ssrc, cname: Some("us".into()), msid: Some(("live/s".into(), kind.into())) },
            retransmission_ssrc: None,
        };
        Terms {
            server: "Oxcast/1".into(),
            name: "SRSPlaySession".into(),
            stream: "live/s".into(),
            id: "42".into(),
            ice: ice::Credentials { ufrag: "ours".into(), password: "secret".repeat(5) },
            fingerprint: Fingerprint::parse(&("sha-256 ".to_owned() + &vec!["CD"; 32].join(":"))).unwrap(),
            role: Role::Server,
            candidates: vec![ice::Candidate {
                protocol: crate::Protocol::Udp,
                address: "192.0.2.1".into(),
                port: 8000,
            }],
            audio: vec!["opus".into()],
            video: vec!["H264".into()],
            nack: true,
            rtx: false,
            extensions: vec![TRANSPORT_CC.into()],
            sources: vec![source("video", 2), source("audio", 1)],
        }
    }

    #[test]
    fn answers_a_player() {
        let offer = Offer::parse(&offer("recvonly", |text| text), Purpose::Play).unwrap();
        assert_eq!((offer.remote_ufrag.as_str(), offer.fingerprints.len()), ("abcd", 1));
        let answer = offer.answer(&terms()).unwrap();
        assert_eq!(answer.role, Role::Server);
        assert_eq!(answer.sections.iter().map(|s| s.format.payload_type).collect::<Vec<_>>(), [111, 106]);
        let text = answer.description.to_string();
        for line in [
            "o=Oxcast/1 42 2 IN IP4 0.0.0.0",
            "s=SRSPlaySession",
            "a=ice-lite",
            "a=group:BUNDLE 0 1",
            "a=msid-semantic:WMS live/s",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=video 9 UDP/TLS/RTP/SAVPF 106",
            "a=ice-ufrag:ours",
            "a=setup:passive",
            "a=sendonly",
            "a=fmtp:111 minptime=10;useinbandfec=1",
            "a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            "a=rtcp-fb:106 nack pli",
            "a=rtcp-fb:106 transport-cc",
            "a=ssrc:1 cname:us",
            "a=ssrc:2 cname:us",
            "a=candidate:0 1 udp 2130706431 192.0.2.1 8000 typ host generation 0",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} is not in\n{text}");
        }
        for word in ["remb", "ccm", "red", "VP8", "rtcp-fb:111", MID, "recvonly"] {
            assert!(!text.contains(word), "{word} is in\n{text}");
        }
    }

    #[test]
    fn answers_a_publisher() {
        let offer = Offer::parse(&offer("sendonly", |text| text), Purpose::Publish).unwrap();
        let terms = Terms { role: Role::Client, video: vec!["AV1".into(), "H264".into()], ..terms() };
        let answer = offer.answer(&terms).unwrap();
        let [audio, video] = &answer.sections[..] else { panic!("{answer:?}") };
        assert_eq!((audio.format.payload_type, video.format.payload_type), (111, 39));
        assert_eq!((video.incoming[0].ssrc, video.outgoing.as_ref()), (77, None));
        let text = answer.description.to_string();
        assert!(text.contains("a=recvonly\r\n") && text.contains("a=setup:active\r\n"));
    }

    #[test]
    fn a_player_without_the_codec_gets_the_rest() {
        let offer =
            Offer::parse(&offer("recvonly", |text| text.replace("H264", "H265")), Purpose::Play).unwrap();
        let answer = offer.answer(&terms()).unwrap();
        assert_eq!(answer.sections.len(), 1);
        assert_eq!(answer.description.bundle, ["0"]);
        assert_eq!(answer.description.media.iter().map(|media| media.port).collect::<Vec<_>>(), [9, 0]);
    }

    #[test]
    fn says_why_not() {
        let cases: [(&str, &str, &str, &str); 9] = [
            ("sendonly", "a=group:BUNDLE 0 1\n", "", "it has no group:BUNDLE"),
            ("sendonly", "a=rtcp-mux\n", "", "section 0 has no rtcp-mux"),
            ("recvonly", "", "", "section 0 of a publisher is recvonly"),
            ("sendonly", "m=", "m=x", "it has no audio and no video section"),
            ("sendonly", "a=ice-ufrag:abcd\n", "", "it has no ice-ufrag"),
            ("sendonly", "a=mid:1\n", "", "section 1 has no mid"),
            ("sendonly", "sha-256", "md5", "its fingerprint is of no known kind"),
            ("sendonly", "opus", "speex", "section 0 (audio) has none of the codecs opus"),
            ("inactive", "", "", "none of its sections can carry what there is"),
        ];
        for (direction, from, to, reason) in cases {
            let text = offer(direction, |text| if from.is_empty() { text } else { text.replace(from, to) });
            let result = Offer::parse(&text, Purpose::Publish).and_then(|offer| offer.answer(&terms()));
            assert_eq!(result.err(), Some(Error::Offer(reason.into())));
        }
        assert!(Offer::parse(b"hello", Purpose::Play).is_err());
    }

    #[test]
    fn follows_the_role_of_the_peer() {
        for (setup, role) in [("active", Role::Server), ("passive", Role::Client)] {
            let text = offer("sendonly", |text| text.replace("actpass", setup));
            let answer = Offer::parse(&text, Purpose::Publish).unwrap().answer(&terms()).unwrap();
            assert_eq!(answer.role, role);
        }
    }
}
