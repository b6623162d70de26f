//! One WebRTC session with a UDP socket of its own: the offer by WHIP or WHEP, and then str0m, a WebRTC library that
//! has nothing in common with the server's. What is played or published is the business of `rtc_play` and `rtc_publish`.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::crypto::{self, CryptoProvider};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::http;
use crate::url::Url;

/// How long an answer to an offer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A browser reports about video every second, and sound rides along.
const REPORT: Duration = Duration::from_secs(1);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It gets a stream, packet by packet.
    Play,
    /// It sends one, frame by frame.
    Publish,
}

/// A session, or the reason why there is none any more.
pub type Outcome<T = ()> = Result<T, String>;

/// See the module.
pub struct Peer {
    socket: UdpSocket,
    local: SocketAddr,
    remote: SocketAddr,
    rtc: Rtc,
    due: Instant,
    audio: Mid,
    video: Mid,
    /// The payload type of H.264 that offer and answer agree upon.
    picture: Option<u8>,
    /// Datagrams that the kernel had no room for.
    pub dropped: u64,
}

/// The cryptography that all peers use.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::from_feature_flags())
}

impl Peer {
    /// Offers a session to `url` and takes the answer; blocks as long as that lasts. The handshake comes later.
    ///
    /// # Errors
    /// When the server refuses, or its answer cannot be understood.
    pub fn open(url: &Url, purpose: Purpose, provider: &Arc<CryptoProvider>) -> crate::Result<Self> {
        let any: SocketAddr = match url.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        // Tells the address of ours that the server can reach; nothing is sent.
        socket.connect(url.address)?;
        let local = socket.local_addr()?;
        let now = Instant::now();
        let mut rtc = Rtc::builder()
            .set_crypto_provider(provider.clone())
            .clear_codecs()
            .enable_opus(true, false)
            .enable_h264(true)
            .set_rtcp_report_interval_audio(REPORT)
            .set_rtcp_report_interval_video(REPORT)
            .set_rtp_mode(purpose == Purpose::Play)
            .build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        let direction = if purpose == Purpose::Play { Direction::RecvOnly } else { Direction::SendOnly };
        let mut change = rtc.sdp_api();
        let mut add = |kind| change.add_media(kind, direction, None, None, None);
        let (audio, video) = (add(MediaKind::Audio), add(MediaKind::Video));
        let (offer, pending) = change.apply().ok_or("there is nothing to offer")?;
        let answer = post(url, &offer.to_sdp_string())?;
        let remote = candidate(&answer).ok_or("the answer has no UDP candidate")?;
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer)?)?;
        socket.connect(remote)?;
        let picture = payload_type(&answer, "H264");
        Ok(Self { socket, local, remote, rtc, due: now, audio, video, picture, dropped: 0 })
    }

    /// The payload type of H.264 that offer and answer agree upon.
    pub fn picture(&self) -> Option<u8> {
        self.picture
    }

    /// Reads a datagram into `buffer`; `None` when there is none.
    ///
    /// # Errors
    /// When nobody listens at the other end.
    pub fn read(&self, buffer: &mut [u8]) -> Outcome<Option<usize>> {
        match self.socket.recv(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes a datagram that was read; `hear` gets what follows from it.
    ///
    /// # Errors
    /// When the session is over.
    pub fn receive(&mut self, datagram: &[u8], hear: impl FnMut(Event)) -> Outcome {
        // What str0m knows at a glance for garbage is no reason to end.
        let Ok(receive) = Receive::new(Protocol::Udp, self.remote, self.local, datagram) else {
            return Ok(());
        };
        self.rtc.handle_input(Input::Receive(Instant::now(), receive)).map_err(|error| error.to_string())?;
        self.drain(hear)
    }

    /// Lets time pass, when something is due by `now`.
    ///
    /// # Errors
    /// As [`Peer::receive`].
    pub fn tick(&mut self, now: Instant, hear: impl FnMut(Event)) -> Outcome {
        if self.due > now {
            return Ok(());
        }
        self.rtc.handle_input(Input::Timeout(now)).map_err(|error| error.to_string())?;
        self.drain(hear)
    }

    /// Sends a frame of this kind, in H.264's byte stream format or of Opus.
    ///
    /// # Errors
    /// When the answer did not agree to the codec, or the session is over.
    pub fn write(&mut self, kind: MediaKind, time: MediaTime, data: &[u8]) -> Outcome {
        let (mid, codec) = match kind {
            MediaKind::Audio => (self.audio, Codec::Opus),
            MediaKind::Video => (self.video, Codec::H264),
        };
        let agreed = (kind == MediaKind::Video).then_some(self.picture).flatten();
        let writer = self.rtc.writer(mid).ok_or("the session has no such media")?;
        let found = writer.payload_params().find(|params| {
            params.spec().codec == codec && agreed.is_none_or(|agreed| *params.pt() == agreed)
        });
        let pt = found.ok_or("the server does not want the codec")?.pt();
        writer.write(pt, Instant::now(), time, data).map_err(|error| error.to_string())?;
        self.drain(|_| {})
    }

    /// Sends what is to be sent, and learns when something is due next.
    fn drain(&mut self, mut hear: impl FnMut(Event)) -> Outcome {
        loop {
            match self.rtc.poll_output().map_err(|error| error.to_string())? {
                Output::Timeout(due) => {
                    self.due = due;
                    break;
                }
                Output::Transmit(transmit) => match self.socket.send(&transmit.contents) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.dropped += 1,
                    Err(error) => return Err(error.to_string()),
                    Ok(_) => {}
                },
                Output::Event(event) => hear(event),
            }
        }
        if self.rtc.is_alive() { Ok(()) } else { Err("the session has ended".into()) }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends an offer; the answer.
fn post(url: &Url, offer: &str) -> crate::Result<String> {
    let mut stream = TcpStream::connect_timeout(&url.address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&http::post(&url.host, &url.path, "application/sdp", offer))?;
    let (mut reader, mut body, mut buffer) = (http::Reader::default(), Vec::new(), [0; 16 << 10]);
    loop {
        let count = stream.read(&mut buffer)?;
        if (count == 0 && reader.ends_with_connection()) || reader.push(&buffer[..count], &mut body)? {
            break;
        }
        if count == 0 {
            return Err("the server hung up before its answer".into());
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    match reader.head().map(|head| head.status) {
        Some(201 | 200) => Ok(body),
        status => Err(format!("the offer is answered with {}: {body}", status.unwrap_or_default()).into()),
    }
}

/// Where the first UDP candidate of an answer is (RFC 8839, section 5.1).
fn candidate(answer: &str) -> Option<SocketAddr> {
    answer.lines().find_map(|line| {
        let mut fields = line.strip_prefix("a=candidate:")?.split_whitespace().skip(2);
        fields.next().filter(|protocol| protocol.eq_ignore_ascii_case("udp"))?;
        let (address, port) = (fields.nth(1)?, fields.next()?);
        Some((address.parse::<std::net::IpAddr>().ok()?, port.parse().ok()?).into())
    })
}

/// The payload type that an answer gives to `encoding`.
fn payload_type(answer: &str, encoding: &str) -> Option<u8> {
    answer.lines().find_map(|line| {
        let (number, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        name.split('/').next().filter(|name| name.eq_ignore_ascii_case(encoding))?;
        number.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_address_and_payload_type() {
        let answer = "v=0\r\na=candidate:1 1 tcp 9 127.0.0.1 9 typ host tcptype passive\r\n\
                      a=candidate:0 1 udp 2130706431 127.0.0.1 8000 typ host\r\n\
                      a=rtpmap:111 opus/48000/2\r\na=rtpmap:106 H264/90000\r\n";
        assert_eq!(candidate(answer), Some(([127, 0, 0, 1], 8000).into()));
        assert_eq!((payload_type(answer, "H264"), payload_type(answer, "AV1")), (Some(106), None));
        assert_eq!(candidate("a=candidate:0 1 udp 5 host.local 8000 typ host"), None);
    }
}
