//! Session descriptions (RFC 8866) as WebRTC and RTSP use them: what each media section says, in types. The grammar itself is in the crate
//! `sdp-types`; who offers what and which answer fits is decided by the sessions.

mod candidate;
mod format;
mod read;
mod write;

use std::net::IpAddr;

pub use candidate::{Candidate, CandidateKind, NotACandidate, Transport};
pub use format::{Format, H264Parameters};

/// An offer, an answer, or the description of an RTSP stream. `parse` reads one, `Display` writes one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The user of the `o=` line; `-` is written when it is empty.
    pub user: String,
    /// The id of the session, a decimal number.
    pub id: String,
    /// The version of this description.
    pub version: u64,
    /// The `s=` line; `-` is written when it is empty.
    pub name: String,
    /// The session's address (`c=`), for sections that have none.
    pub address: Option<IpAddr>,
    /// The sender is an ICE-lite implementation (RFC 8839 §5.3).
    pub ice_lite: bool,
    /// The mids that share a transport (RFC 9143); empty without such a group.
    pub bundle: Vec<String>,
    /// The value of `a=msid-semantic`, such as `WMS *`.
    pub msid_semantic: Option<String>,
    /// The control URL of the whole (RFC 7826 §D.1.1).
    pub control: Option<String>,
    /// The sections in order.
    pub media: Vec<Media>,
}

/// One media section. What the session level says for all of them (ICE, DTLS, direction) is repeated in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `application`, …
    pub kind: String,
    /// The port; 0 rejects the section unless it is `bundle_only`.
    pub port: u16,
    /// Such as `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// The section's own address.
    pub address: Option<IpAddr>,
    /// The formats in order of preference; empty for sections that are not RTP.
    pub formats: Vec<Format>,
    /// Its name in groups.
    pub mid: Option<String>,
    /// Port 0 stands for the transport of the group (RFC 9143 §6).
    pub bundle_only: bool,
    /// Which way media flows, seen from who wrote the description.
    pub direction: Direction,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// RTCP of reduced size is fine (RFC 5506).
    pub rtcp_rsize: bool,
    /// Header extensions by id (RFC 8285 §5).
    pub extensions: Vec<Extension>,
    /// The stream and the track (RFC 8830); the track may be empty.
    pub msid: Option<(String, String)>,
    /// Sources with their attributes (RFC 5576).
    pub sources: Vec<Source>,
    /// Groups of sources: semantics such as `FID` or `SIM`, and SSRCs (RFC 5576 §4.2).
    pub source_groups: Vec<(String, Vec<u32>)>,
    /// ICE credentials.
    pub ice: Option<Ice>,
    /// The hash function and the digest of the DTLS certificate in the writing of RFC 8122.
    pub fingerprints: Vec<(String, String)>,
    /// The DTLS role.
    pub setup: Option<Setup>,
    /// ICE candidates.
    pub candidates: Vec<Candidate>,
    /// There will be no more candidates (RFC 8840 §8.2).
    pub end_of_candidates: bool,
    /// The control URL of the section (RFC 7826 §D.1.1).
    pub control: Option<String>,
    /// The duration of a packet in milliseconds.
    pub ptime: Option<u32>,
}

impl Media {
    /// The section is refused, or was.
    pub fn is_rejected(&self) -> bool {
        self.port == 0 && !self.bundle_only
    }

    /// The format with this payload type.
    pub fn format(&self, payload_type: u8) -> Option<&Format> {
        self.formats.iter().find(|format| format.payload_type == payload_type)
    }

    /// The id that stands for a header extension.
    pub fn extension(&self, uri: &str) -> Option<u8> {
        self.extensions.iter().find(|extension| extension.uri == uri).map(|extension| extension.id)
    }

    /// The format that carries retransmissions of this one (RFC 4588 §8.1).
    pub fn retransmission(&self, payload_type: u8) -> Option<&Format> {
        let of = payload_type.to_string();
        self.formats.iter().find(|format| format.is("rtx") && format.parameter("apt") == Some(&of))
    }
}

/// The transport-wide sequence number of a packet (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
pub const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Which way media flows (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways, which is meant when nothing is said.
    #[default]
    SendRecv,
    /// Only from who says it.
    SendOnly,
    /// Only to who says it.
    RecvOnly,
    /// None.
    Inactive,
}

impl Direction {
    const NAMES: [(Self, &str); 4] = [
        (Self::SendRecv, "sendrecv"),
        (Self::SendOnly, "sendonly"),
        (Self::RecvOnly, "recvonly"),
        (Self::Inactive, "inactive"),
    ];
}

/// The DTLS role (RFC 8842 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Starts the handshake.
    Active,
    /// Waits for it.
    Passive,
    /// Either: the answer decides.
    ActPass,
}

impl Setup {
    const NAMES: [(Self, &str); 3] =
        [(Self::Active, "active"), (Self::Passive, "passive"), (Self::ActPass, "actpass")];
}

/// A mapped header extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The id in packets.
    pub id: u8,
    /// The direction, where one is given.
    pub direction: Option<Direction>,
    /// What it means.
    pub uri: String,
}

/// ICE credentials (RFC 8839 §5.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ice {
    /// The user fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

/// What is said about one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The source.
    pub ssrc: u32,
    /// Its canonical name.
    pub cname: Option<String>,
    /// The stream and the track that it belongs to; the track may be empty.
    pub msid: Option<(String, String)>,
}

#[cfg(test)]
mod tests;
