//! Offers and answers by HTTP: SRS's JSON API, WHIP (RFC 9725) and WHEP. An offer is read, weighed and admitted here; the session waits
//! in the lobby then. Media does not belong here.
//!
//! Refusals are 400 for offers and parameters that make no sense, 403 for what the configuration or the gate forbids, 404 for
//! vhosts that are not served, 409 for streams and names that are taken. SRS tells the reason in its log only.

mod json;
#[cfg(test)]
mod tests;
mod whip;
mod wish;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{self, StatusCode};
use axum::middleware;
use axum::routing::any;
use hub::{Broadcast, StreamKey};
use media::Micros;
use media::codec::Codec;
use rtc::dtls::{self, Certificate};
use rtc::ice;
use rtc::sdp::{Answer, MID, Offer, Outgoing, Purpose, Terms};
use rtc::srtp::Profile;
use rtp::sdp::TRANSPORT_CC;
use tracing::{Span, info, warn};

use super::candidates::{self, Ports};
use super::lobby::{Guest, Known, NoRoom, Role};
use crate::config::{Config, DtlsRole, Vhost};
use crate::gate::{Ask, Gate, Refused};
use crate::http::{finish, refusal, request};
use crate::process::Identity;
use crate::session::{Cid, Kind, Session};
use wish::Wish;

/// An offer is not longer than this.
const MAX_BODY: usize = 64 << 10;

/// What a publisher may send, the preferred first.
const PUBLISHED_VIDEO: [&str; 5] = ["H264", "H265", "AV1", "VP9", "VP8"];
const PUBLISHED_AUDIO: [&str; 3] = ["opus", "PCMU", "PCMA"];

/// What offers are answered with.
#[derive(Clone)]
pub struct Service {
    /// The configuration.
    pub config: Arc<Config>,
    /// Who admits.
    pub gate: Arc<Gate>,
    /// Where admitted sessions wait, and how their cores are told.
    pub rtc: Arc<super::Service>,
    /// What we prove to be.
    pub certificate: Arc<Certificate>,
    /// Where we listen.
    pub ports: Ports,
    /// Who this server is.
    pub identity: Arc<Identity>,
}

/// `/rtc/v1/…`, with and without a slash at the end, [finished](finish).
pub fn router(service: Service) -> Router {
    let config = service.config.clone();
    let mut routes = Router::new();
    for end in ["", "/"] {
        routes = routes
            .route(&format!("/rtc/v1/play{end}"), any(json::play))
            .route(&format!("/rtc/v1/publish{end}"), any(json::publish))
            .route(&format!("/rtc/v1/whip{end}"), any(whip::whip))
            .route(&format!("/rtc/v1/whip-play{end}"), any(whip::whep))
            .route(&format!("/rtc/v1/whep{end}"), any(whip::whep));
    }
    let told = middleware::from_fn_with_state(service.clone(), whip::options);
    finish(routes.with_state(service), &config).layer(told)
}

/// Why there is no answer.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Display) -> Self {
        Self { status, reason: reason.to_string() }
    }

    fn bad(reason: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    fn forbidden(reason: impl Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, reason)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::new(refusal::status(&refused), refused)
    }
}

/// A session that waits in the lobby.
struct Admitted {
    known: Known,
    answer: String,
}

impl Service {
    /// Answers the offer of a client, or says why not; the log tells either. A refusal leaves nothing behind.
    async fn admit(&self, cid: Cid, wish: &Wish, offer: &[u8]) -> Result<Admitted, Refusal> {
        let offer = Offer::parse(offer, wish.purpose).map_err(Refusal::bad)?;
        let vhost = self.gate.vhost(&wish.request.vhost)?;
        let server = self.config.rtc_server.as_ref().filter(|_| vhost.rtc.enabled).ok_or_else(|| {
            let name = if self.config.rtc_server.is_none() { "rtc_server" } else { "rtc" };
            Refusal::forbidden(format!("WebRTC is off: see `{name} {{ enabled … }}` in the configuration"))
        })?;
        if self.rtc.lobby.known(&wish.credentials.ufrag).is_some() {
            return Err(Refusal::new(StatusCode::CONFLICT, "another session has this ice-ufrag"));
        }
        let protection = wish.protection(server.encrypt)?;
        let candidates = candidates::find(server, self.ports, wish.candidate.as_deref(), &wish.host).await;
        let terms = self.terms(wish, &vhost, candidates);
        let session = Session::named(cid, wish.peer);
        let kind = if wish.purpose == Purpose::Play { Kind::RtcPlay } else { Kind::RtcPublish };
        let ask = Ask { session: &session, kind, request: wish.request.clone(), visit: None };
        let (answer, role, key) = match wish.purpose {
            Purpose::Play => {
                self.check_bridge(wish, &vhost)?;
                let playing = Box::new(self.gate.play(ask).await?);
                let broadcast = &playing.broadcast;
                let agreed = |kind| self.rtc.agreements.codec(broadcast.key(), kind);
                let terms = Terms {
                    audio: played_audio(broadcast, agreed("audio")),
                    video: vec![played_video(broadcast, agreed("video"), wish.codec)],
                    ..terms
                };
                let answer = offer.answer(&terms).map_err(Refusal::bad)?;
                let (sections, key) = (answer.sections.clone(), playing.broadcast.key().clone());
                (answer, Role::Player { playing, sections }, key)
            }
            // The stream begins as soon as it is admitted, so that nothing may go wrong afterwards.
            Purpose::Publish => {
                let answer = offer.answer(&terms).map_err(Refusal::bad)?;
                let publishing = Box::new(self.gate.publish(ask).await?);
                let (sections, key) = (answer.sections.clone(), publishing.broadcast().key().clone());
                let agreement = self.rtc.agreements.keep(&key, &sections);
                (answer, Role::Publisher { agreement, publishing, sections }, key)
            }
        };
        let Answer { description, role: dtls_role, .. } = answer;
        let username = format!("{}:{}", wish.credentials.ufrag, offer.remote_ufrag);
        let latest = username.clone();
        let known = Known { session: session.clone(), username, latest, token: wish.token.clone() };
        let options = rtc::session::Options {
            ice: ice::Options {
                local: wish.credentials.clone(),
                remote_ufrag: offer.remote_ufrag,
                strict_role: vhost.rtc.stun_strict_check,
                checks: None,
                timeout: Micros(i64::try_from(vhost.rtc.stun_timeout.as_micros()).unwrap_or(i64::MAX)),
            },
            role: dtls_role,
            certificate: self.certificate.clone(),
            fingerprints: offer.fingerprints,
            profiles: Profile::ALL.to_vec(),
            protection,
        };
        let guest = Guest { session, options, role, restart: None };
        let patience = vhost.rtc.stun_timeout;
        self.rtc.lobby.wait(&wish.credentials.ufrag, known.clone(), guest, patience).map_err(|no_room| {
            let status = match no_room {
                NoRoom::Taken => StatusCode::CONFLICT,
                NoRoom::Full => StatusCode::SERVICE_UNAVAILABLE,
            };
            Refusal::new(status, no_room.to_string())
        })?;
        let (verb, kind) = match wish.purpose {
            Purpose::Play => ("play", "rtc-play"),
            Purpose::Publish => ("publish", "rtc-publish"),
        };
        info!("start {verb} stream={key}, type={kind}, username={}, peer={}", known.username, wish.peer);
        Ok(Admitted { known, answer: description.to_string() })
    }

    /// What somebody else publishes is there for WebRTC only if the vhost says so.
    fn check_bridge(&self, wish: &Wish, vhost: &Vhost) -> Result<(), Refusal> {
        let (app, stream) = (wish.request.app.clone(), wish.request.stream.clone());
        let key = StreamKey { vhost: vhost.name.clone(), app, stream };
        match self.gate.publisher_of(&key) {
            Some(publisher) if publisher.kind != Kind::RtcPublish && !vhost.rtc.rtmp_to_rtc => {
                Err(Refusal::forbidden(format!(
                    "{key} is not published by WebRTC ({}), and `rtc {{ rtmp_to_rtc … }}` is off",
                    publisher.kind.name()
                )))
            }
            _ => Ok(()),
        }
    }

    /// What we are ready to do for a publisher; for a player, the codecs are those of the stream.
    fn terms(&self, wish: &Wish, vhost: &Vhost, candidates: Vec<ice::Candidate>) -> Terms {
        let publishes = wish.purpose == Purpose::Publish;
        let mut video: Vec<String> = PUBLISHED_VIDEO.map(str::to_owned).into();
        video.sort_by_key(|name| wish.codec != Some(name.as_str()));
        let taken = [(vhost.rtc.twcc, TRANSPORT_CC), (true, MID)];
        let extensions = taken.into_iter().filter(|(taken, _)| publishes && *taken);
        Terms {
            server: crate::SIGNATURE.into(),
            name: if publishes { "SRSPublishSession" } else { "SRSPlaySession" }.into(),
            stream: format!("{}/{}", wish.request.app, wish.request.stream),
            id: fastrand::u32(1..).to_string(),
            ice: wish.credentials.clone(),
            fingerprint: self.certificate.fingerprint(),
            role: match vhost.rtc.dtls_role {
                DtlsRole::Passive => dtls::Role::Server,
                DtlsRole::Active => dtls::Role::Client,
            },
            candidates,
            audio: PUBLISHED_AUDIO.map(str::to_owned).into(),
            video,
            nack: vhost.rtc.nack,
            rtx: vhost.rtc.nack,
            extensions: extensions.map(|(_, uri)| uri.to_owned()).collect(),
            sources: if publishes { Vec::new() } else { sources(vhost) },
        }
    }
}

/// One track of each kind.
fn sources(vhost: &Vhost) -> Vec<Outgoing> {
    let name = String::from_utf8_lossy(&crate::session::random_name::<16>()).into_owned();
    let ssrc = fastrand::u32(1..u32::MAX - 2);
    let again = vhost.rtc.nack.then_some(ssrc + 2);
    vec![Outgoing::new("audio", &name, ssrc, None), Outgoing::new("video", &name, ssrc + 1, again)]
}

/// The sound of a stream in the words of SDP; before it comes, what its publisher has agreed to. Where that is no WebRTC client, whatever is not
/// Opus is made into Opus.
fn played_audio(broadcast: &Broadcast, agreed: Option<String>) -> Vec<String> {
    let tracks = broadcast.tracks();
    let audio = tracks.audio().filter(|_| broadcast.is_live());
    let own = match audio.map(|track| &track.codec) {
        Some(Codec::G711 { mu_law: true }) if agreed.is_some() => Some("PCMU".to_owned()),
        Some(Codec::G711 { mu_law: false }) if agreed.is_some() => Some("PCMA".to_owned()),
        Some(_) => None,
        None => agreed,
    };
    own.into_iter().chain(["opus".to_owned()]).collect()
}

/// The pictures of a stream in the words of SDP; before they come, what their publisher has agreed to, or what the player expects.
fn played_video(broadcast: &Broadcast, agreed: Option<String>, expected: Option<&'static str>) -> String {
    let tracks = broadcast.tracks();
    let video = tracks.video().filter(|_| broadcast.is_live());
    let own = match video.map(|track| &track.codec) {
        Some(Codec::H264(_)) => "H264",
        Some(Codec::H265(_)) => "H265",
        Some(Codec::Av1(_)) => "AV1",
        Some(Codec::Vp9(_)) => "VP9",
        Some(Codec::Vp8) => "VP8",
        _ => return agreed.unwrap_or_else(|| expected.unwrap_or("H264").to_owned()),
    };
    own.to_owned()
}

/// What a body says, if it is not too long.
async fn read(body: Body) -> Result<Bytes, Refusal> {
    let limit = |_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "an offer has at most 65536 bytes");
    to_bytes(body, MAX_BODY).await.map_err(limit)
}

/// Where the client is: what proxies tell, else the other end of the connection.
fn client(request: &Request) -> SocketAddr {
    let peer = connection(request);
    request::told(request).forwarded.map_or(peer, |ip| SocketAddr::new(ip, peer.port()))
}

/// The other end of the connection.
fn connection<B>(request: &http::Request<B>) -> SocketAddr {
    let session = request.extensions().get::<Arc<Session>>();
    session.map_or_else(|| ([0, 0, 0, 0], 0).into(), |session| session.peer)
}

/// Tells the log of a refusal.
fn tell(span: &Span, refusal: &Refusal, peer: SocketAddr) {
    span.in_scope(|| warn!("client refused: {}, peer={peer}", refusal.reason));
}
