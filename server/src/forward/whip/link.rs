//! A link: a sending WebRTC session on a socket of its own, once a server has answered our offer.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::{Micros, Stamped};
use rtc::outlet::Said;
use rtc::sdp::Accepted;
use rtc::session::{Event, Options, Protection};
use rtc::srtp::Profile;
use rtc::{Outlet, Path, Protocol, ice};
use rtp::Burst;
use rtp::rtcp::Writer;
use rtp::send::History;
use tokio::time::{Instant, sleep_until};

use super::offer::Own;
use crate::forward::connect::find;
use crate::net::udp::{Batch, Socket};

/// Packets that can be sent again; players have as many.
const HISTORY: usize = 1000;

/// A server that answers no check for so long is gone (RFC 7675 §5.1).
const CONSENT: Micros = Micros::from_secs(30);

/// The names of a server that are looked up.
const MAX_NAMES: usize = 4;

/// What a link has to tell.
pub(super) enum News {
    /// Nothing that anybody needs to know.
    None,
    /// Media may flow.
    Connected,
    /// It is over.
    Closed(rtc::Error),
}

/// See the module.
pub(super) struct Link {
    socket: Socket,
    /// Where the socket is bound: at any of our addresses.
    local: SocketAddr,
    rtc: rtc::Session,
    outlet: Outlet,
    history: History,
    batch: Batch,
    start: Instant,
    /// The server has asked for a keyframe.
    keyframe: bool,
    bytes: u64,
}

impl Link {
    /// Begins a session by an answer.
    ///
    /// # Errors
    /// None of the server's addresses can be used.
    pub(super) async fn begin(own: Own, accepted: &Accepted) -> Result<Self, String> {
        let Own { socket, credentials, certificate } = own;
        let local = socket.address();
        let candidates = addresses(&accepted.candidates, local.is_ipv6()).await;
        if candidates.is_empty() && !accepted.candidates.is_empty() {
            return Err("the server's answer names no address that can be reached from here".into());
        }
        let checks =
            ice::Checks { remote: accepted.ice.clone(), local, candidates, tie_breaker: fastrand::u64(..) };
        let options = Options {
            ice: ice::Options {
                local: credentials,
                remote_ufrag: accepted.ice.ufrag.clone(),
                strict_role: true,
                timeout: CONSENT,
                checks: Some(checks),
            },
            role: accepted.role,
            certificate,
            fingerprints: accepted.fingerprints.clone(),
            profiles: Profile::ALL.to_vec(),
            protection: Protection::Srtp,
        };
        let outlet = Outlet::new(&accepted.sections, || (fastrand::u16(..0x8000), fastrand::u32(..)));
        Ok(Self {
            socket,
            local,
            rtc: rtc::Session::new(Micros::ZERO, options),
            outlet,
            history: History::new(HISTORY),
            batch: Batch::default(),
            start: Instant::now(),
            keyframe: false,
            bytes: 0,
        })
    }

    /// Media may flow.
    pub(super) fn is_connected(&self) -> bool {
        self.rtc.is_connected()
    }

    /// The server has asked for a keyframe since the last call.
    pub(super) fn take_keyframe(&mut self) -> bool {
        std::mem::take(&mut self.keyframe)
    }

    /// Bytes sent since the last call.
    pub(super) fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    fn now(&self) -> Micros {
        Micros(self.start.elapsed().as_micros() as i64)
    }

    /// Waits until a datagram has come or something is due, and goes on with it. May be dropped.
    ///
    /// # Errors
    /// The socket cannot be used any more.
    pub(super) async fn progress(&mut self) -> Result<News, String> {
        self.flush();
        let due = self.rtc.poll_timeout().into_iter().chain(Some(self.outlet.due())).min();
        let due = due.unwrap_or_default().0.clamp(0, 3_600_000_000).unsigned_abs();
        let until = self.start + Duration::from_micros(due);
        let Self { socket, local, rtc, start, .. } = self;
        let receive = poll_fn(|cx| {
            socket.poll_receive(cx, |datagram| {
                let now = Micros(start.elapsed().as_micros() as i64);
                // What is answered leaves from where it was asked.
                let ip = datagram.local.unwrap_or(local.ip()).to_canonical();
                let local = SocketAddr::new(ip, local.port());
                let path = Path { protocol: Protocol::Udp, local, remote: datagram.peer };
                rtc.receive(now, path, datagram.data);
            })
        });
        tokio::select! {
            received = receive => drop(received.map_err(|e| format!("UDP: {e}"))?),
            () = sleep_until(until) => {}
        }
        Ok(self.work())
    }

    fn work(&mut self) -> News {
        let (now, unix) = (self.now(), unix());
        if self.rtc.poll_timeout().is_some_and(|due| due <= now) {
            self.rtc.timeout(now);
        }
        let mut news = News::None;
        while let Some(event) = self.rtc.poll_event() {
            match event {
                Event::Connected => {
                    self.outlet.begin(now);
                    news = News::Connected;
                }
                Event::Rtcp(packet) => self.control(unix, &packet),
                Event::Closed(error) => news = News::Closed(error),
                Event::Rtp(_) | Event::AddressChanged(_) => {}
            }
        }
        if self.outlet.due() <= now && self.rtc.is_connected() {
            let Self { rtc, outlet, batch, .. } = self;
            outlet.report(now, unix, |write| send(rtc, batch, true, |out| write(out)));
        }
        self.flush();
        news
    }

    /// What the server says.
    fn control(&mut self, unix: Micros, packet: &[u8]) {
        let Self { rtc, outlet, history, batch, keyframe, .. } = self;
        outlet.control(unix, packet, Some(history), |said| match said {
            Said::Again(again) => send(rtc, batch, false, |out| again.write(out)),
            Said::Keyframe => *keyframe = true,
            Said::Asked(ours, delay) => {
                send(rtc, batch, true, |out| Writer::new(out).delays(ours, &[delay]));
            }
            Said::Missing(_) | Said::Reception(_) => {}
        });
    }

    /// Sends units; those of the past (`hurried`) as fast as they come, a millisecond of the server's time for each.
    pub(super) fn send(&mut self, units: &[Stamped<Burst>], hurried: bool) {
        let now = self.now();
        for (n, unit) in units.iter().enumerate() {
            let place = self.history.push(unit.unit.clone());
            let when = if hurried { now + Micros::from_millis(n as i64) } else { now };
            let Self { rtc, outlet, batch, .. } = self;
            let Some(packets) = outlet.send(when, &unit.unit, place, hurried) else { continue };
            for (header, payload) in packets {
                send(rtc, batch, false, |out| {
                    header.write(out);
                    payload.write(out);
                });
            }
            if self.batch.is_full() {
                self.flush();
            }
        }
        self.flush();
    }

    /// Sends what is laid out, and what the session itself has to say.
    fn flush(&mut self) {
        while let Some(transmit) = self.rtc.poll_transmit() {
            let Path { remote, .. } = transmit.path;
            self.batch.push(remote, from(transmit.path), |out| out.extend(&transmit.data));
        }
        if !self.batch.is_empty() {
            self.bytes += self.batch.flush(&self.socket).bytes;
        }
    }

    /// Says goodbye.
    pub(super) fn close(mut self) {
        let Self { rtc, outlet, batch, .. } = &mut self;
        send(rtc, batch, true, |out| outlet.bye(out));
        rtc.close();
        // What is to be said about the end waits in the session.
        self.flush();
    }
}

/// Lays out a packet that `write` appends, of RTP or (`control`) of RTCP. Without a path or keys it is lost.
fn send(rtc: &mut rtc::Session, batch: &mut Batch, control: bool, write: impl FnOnce(&mut Vec<u8>)) {
    let Some(path) = rtc.path() else { return };
    batch.push(path.remote, from(path), |out| {
        rtc.lay_out(out, control, write);
    });
}

/// Our address of a way, unless the routes are to choose it.
fn from(path: Path) -> Option<IpAddr> {
    Some(path.local.ip()).filter(|ip| !ip.is_unspecified())
}

fn unix() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or_default())
}

/// The addresses that candidates stand for; `dual`: ours is a socket of both families.
async fn addresses(candidates: &[(String, u16)], dual: bool) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    let mut names = 0;
    for (host, port) in candidates {
        match host.parse::<IpAddr>() {
            Ok(ip) => all.push(SocketAddr::new(ip.to_canonical(), *port)),
            // Names of mDNS mean something in the server's own network only.
            Err(_) if !host.ends_with(".local") && names < MAX_NAMES => {
                names += 1;
                all.extend(find(host, *port).await.unwrap_or_default());
            }
            Err(_) => {}
        }
    }
    let is_usable = |address: &SocketAddr| {
        let ip = address.ip();
        !ip.is_unspecified() && !ip.is_multicast() && (dual || ip.is_ipv4())
    };
    all.retain(is_usable);
    all
}
