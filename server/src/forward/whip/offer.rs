//! What we offer a server of WHIP: the tracks of a stream as far as WebRTC can carry them, and our side of the session.

use std::net::IpAddr;
use std::sync::Arc;

use media::codec::{Codec, opus};
use media::{Kind, Tracks};
use rtc::dtls::Certificate;
use rtc::sdp::{Offered, Outgoing, Proposal, offered};
use rtc::{Protocol, ice};

use crate::net::udp::{Port, Socket};
use crate::session::random_name;

/// Our side of a session that has not begun.
pub(super) struct Own {
    pub(super) socket: Socket,
    pub(super) credentials: ice::Credentials,
    pub(super) certificate: Arc<Certificate>,
}

impl Own {
    /// A socket at any port, and secrets that nobody can guess.
    pub(super) fn new() -> Result<Self, String> {
        let socket = Port::bind(None, 0).and_then(|port| Socket::new(port.socket()?));
        let random = |length| ice::random(length).map_err(|e| e.to_string());
        Ok(Self {
            socket: socket.map_err(|e| format!("UDP: {e}"))?,
            credentials: ice::Credentials { ufrag: random(8)?, password: random(32)? },
            certificate: Arc::new(Certificate::generate("oxcast").map_err(|e| e.to_string())?),
        })
    }

    /// The offer of these tracks, from this address of ours.
    pub(super) fn proposal(&self, tracks: &[Offered], ip: IpAddr) -> Proposal {
        let port = self.socket.address().port();
        let candidate = ice::Candidate { protocol: Protocol::Udp, address: ip.to_string(), port };
        Proposal {
            server: crate::SIGNATURE.into(),
            id: fastrand::u32(1..).to_string(),
            ice: self.credentials.clone(),
            fingerprint: self.certificate.fingerprint(),
            candidates: vec![candidate],
            tracks: tracks.to_vec(),
        }
    }
}

/// The tracks to be offered: of these kinds, which have been seen. Sound is Opus, unless it comes as its publisher `packed` it.
pub(super) fn tracks(streams: &Tracks, seen: &[Kind], packed: bool) -> Vec<Offered> {
    let name = String::from_utf8_lossy(&random_name::<16>()).into_owned();
    let ssrc = fastrand::u32(1..u32::MAX - 3);
    let track = |kind: &str, formats, ssrc, retransmission| Offered {
        outgoing: Outgoing::new(kind, &name, ssrc, retransmission),
        formats,
    };
    let own = streams.audio().filter(|_| packed).map(|audio| audio.codec.clone());
    let sound = own.unwrap_or_else(|| Codec::Opus(opus::Config::default()));
    let sound = seen.contains(&Kind::Audio).then(|| track("audio", offered(&sound), ssrc, None));
    let pictures = streams.video().filter(|_| seen.contains(&Kind::Video));
    let pictures = pictures.map(|video| track("video", offered(&video.codec), ssrc + 1, Some(ssrc + 2)));
    sound.into_iter().chain(pictures).filter(|track| !track.formats.is_empty()).collect()
}
