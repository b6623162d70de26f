//! A WebRTC peer that we did not write: str0m, on a UDP socket and a thread of its own. It publishes the [`Footage`] by WHIP or plays by
//! WHEP, and keeps account of what came and went.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, KeyframeRequestKind, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RawPacket;
use str0m::rtp::rtcp::Rtcp;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::footage::{Footage, RATE, SOUND_RATE, annex_b};
use crate::harness::{SOON, Server, until};
use crate::http::{self, Reply};

/// The clocks of sound and pictures have nothing to do with each other; only reports bring them together.
const SOUND_START: u64 = 7_777_777;

/// A keyframe is asked for again after this.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a peer is about to ask for.
pub struct Call<'a> {
    at: SocketAddr,
    stream: &'a str,
    more: String,
    checks: Duration,
    ours: IpAddr,
    offer: Edit,
    answer: Edit,
}

/// What becomes of a description on its way.
type Edit = fn(&str) -> String;

/// What a peer has seen. Packets of sound count with those of pictures, those sent again do not.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// ICE and DTLS have come to their end.
    pub connected: bool,
    /// The server has ended it, or str0m has given up.
    pub over: bool,
    /// Whole pictures, in order.
    pub pictures: Vec<Picture>,
    /// Frames of sound.
    pub sounds: u32,
    /// RTP packets.
    pub packets: u32,
    /// RTP packets that were sent again, as RFC 4588 has them.
    pub again: u32,
    /// What was asked for again: a player has asked, a publisher was asked.
    pub nacks: u32,
    /// Keyframes that a publisher was asked for.
    pub keyframes: u32,
}

/// A picture as a player sees it, or as a publisher has sent it.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// Its number in the footage.
    pub number: u32,
    pub key: bool,
    /// Nothing is missing between the one before and this one.
    pub contiguous: bool,
    /// Its time in ticks of 90 kHz.
    pub ticks: u64,
    pub at: Instant,
}

/// See the module. Dropping it kills it.
pub struct Peer {
    seen: Arc<Mutex<Seen>>,
    killed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    at: SocketAddr,
    /// What ends the session, as the server has told it.
    pub location: String,
    /// Our end.
    pub local: SocketAddr,
}

impl<'a> Call<'a> {
    /// A call for a stream, straight to the server.
    pub fn new(server: &Server, stream: &'a str) -> Self {
        let (more, checks) = (String::new(), Duration::from_secs(3));
        let ours = Ipv4Addr::LOCALHOST.into();
        Self { at: server.api, stream, more, checks, ours, offer: str::to_owned, answer: str::to_owned }
    }

    /// Media goes by this address.
    pub fn via(mut self, relay: SocketAddr) -> Self {
        self.more += &format!("&eip={relay}");
        self
    }

    /// Says more in the query.
    pub fn saying(mut self, query: &str) -> Self {
        self.more += &format!("&{query}");
        self
    }

    /// Connectivity is checked this often.
    pub fn checked(mut self, every: Duration) -> Self {
        self.checks = every;
        self
    }

    /// Media comes and goes by this address of ours.
    pub fn from(mut self, ours: IpAddr) -> Self {
        self.ours = ours;
        self
    }

    /// The server gets another offer than that of the peer.
    pub fn offering(mut self, edit: Edit) -> Self {
        self.offer = edit;
        self
    }

    /// The peer gets another answer than that of the server.
    pub fn answered(mut self, edit: Edit) -> Self {
        self.answer = edit;
        self
    }

    /// Publishes by WHIP; the server has answered.
    #[track_caller]
    pub fn publish(self) -> Peer {
        self.open(true).unwrap_or_else(|reply| panic!("{reply:?}"))
    }

    /// Plays by WHEP; the server has answered.
    #[track_caller]
    pub fn play(self) -> Peer {
        self.open(false).unwrap_or_else(|reply| panic!("{reply:?}"))
    }

    /// Publishes or plays; what the server says if it refuses.
    pub fn open(self, publishes: bool) -> Result<Peer, Box<Reply>> {
        let mut config = RtcConfig::new().clear_codecs().enable_opus(true, false).enable_h264(true);
        config.set_max_stun_rto(self.checks);
        let mut rtc = config.enable_raw_packets(true).build(Instant::now());
        let socket = UdpSocket::bind((self.ours, 0)).unwrap();
        let local = socket.local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        let direction = if publishes { Direction::SendOnly } else { Direction::RecvOnly };
        let mut changes = rtc.sdp_api();
        let mut add = |kind| changes.add_media(kind, direction, None, None, None);
        let (sound, pictures) = (add(MediaKind::Audio), add(MediaKind::Video));
        let (offer, pending) = changes.apply().unwrap();
        let offer = (self.offer)(&offer.to_sdp_string());
        let what = if publishes { "whip" } else { "whep" };
        let path = format!("/rtc/v1/{what}/?app=live&stream={}{}", self.stream, self.more);
        let reply = http::post(self.at, &path, "application/sdp", offer.as_bytes()).unwrap();
        if reply.status != 201 {
            return Err(Box::new(reply));
        }
        let location = reply.header("location").expect("no location").to_owned();
        let answer = (self.answer)(std::str::from_utf8(&reply.body).unwrap());
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer).unwrap()).unwrap();
        let (seen, killed) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let camera = publishes.then_some(Camera { sound, pictures, start: None, place: 0, sent: (0, 0) });
        let (again, keyframe) = (BTreeSet::new(), None);
        let actor = Actor { rtc, socket, local, camera, again, keyframe, seen: seen.clone() };
        let over = killed.clone();
        let thread = Some(std::thread::spawn(move || actor.run(&over)));
        Ok(Peer { seen, killed, thread, at: self.at, location, local })
    }
}

impl Peer {
    /// What it has seen until now.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until it has seen this.
    #[track_caller]
    pub fn until(&self, what: &str, found: impl Fn(&Seen) -> bool) -> Seen {
        self.within(SOON * 2, what, found)
    }

    /// The same, for no longer than this.
    #[track_caller]
    pub fn within(&self, limit: Duration, what: &str, found: impl Fn(&Seen) -> bool) -> Seen {
        until(what, limit, || Some(self.seen()).filter(&found))
    }

    /// Waits until it is connected.
    #[track_caller]
    pub fn connected(self) -> Self {
        self.until("connected", |seen| seen.connected);
        self
    }

    /// Ends it without a goodbye.
    pub fn kill(mut self) {
        self.end();
    }

    /// Ends the session in good order: the status of the answer.
    pub fn leave(&self) -> u16 {
        http::request(self.at, "DELETE", &self.location, &[]).unwrap().status
    }

    fn end(&mut self) {
        self.killed.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "the peer has panicked");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Seen {
    /// The numbers of the pictures.
    pub fn numbers(&self) -> Vec<u32> {
        self.pictures.iter().map(|picture| picture.number).collect()
    }

    /// The number of the last picture.
    pub fn last(&self) -> Option<u32> {
        self.pictures.last().map(|picture| picture.number)
    }

    /// Pictures that came after this moment.
    pub fn since(&self, moment: Instant) -> usize {
        self.pictures.iter().filter(|picture| picture.at > moment).count()
    }

    /// The share of pictures that came, of those sent between the first and the last of them.
    pub fn share(&self) -> f64 {
        let numbers = self.numbers();
        let [first, .., last] = numbers[..] else { return 0.0 };
        numbers.len() as f64 / f64::from(last - first + 1)
    }

    /// The longest time between two pictures.
    pub fn pause(&self) -> Duration {
        self.pictures.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default()
    }
}

/// The peer on its thread.
struct Actor {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    /// A publisher's.
    camera: Option<Camera>,
    /// Payload types of what is sent again.
    again: BTreeSet<u8>,
    /// When a keyframe was asked for.
    keyframe: Option<Instant>,
    seen: Arc<Mutex<Seen>>,
}

/// Films the footage in real time.
struct Camera {
    sound: Mid,
    pictures: Mid,
    start: Option<Instant>,
    /// In the clip.
    place: usize,
    /// Frames of sound, and pictures.
    sent: (u32, u32),
}

impl Actor {
    fn run(mut self, over: &AtomicBool) {
        let mut buffer = vec![0; 4000];
        while !over.load(Relaxed) && self.rtc.is_alive() {
            if let Some(camera) = &mut self.camera {
                camera.film(&mut self.rtc, &self.seen);
            }
            let due = loop {
                match self.rtc.poll_output() {
                    Ok(Output::Timeout(due)) => break due,
                    // A socket that nobody has any more tells so at the next sending.
                    Ok(Output::Transmit(out)) => drop(self.socket.send_to(&out.contents, out.destination)),
                    Ok(Output::Event(event)) => self.note(event),
                    Err(error) => {
                        eprintln!("str0m: {error}");
                        self.seen.lock().unwrap().over = true;
                        return;
                    }
                }
            };
            let pause = due.saturating_duration_since(Instant::now());
            let pause = pause.clamp(Duration::from_millis(1), Duration::from_millis(10));
            self.socket.set_read_timeout(Some(pause)).unwrap();
            let received = self.socket.recv_from(&mut buffer);
            let now = Instant::now();
            let input = match &received {
                Ok((length, source)) => match buffer[..*length].try_into() {
                    Ok(contents) => {
                        let (source, destination) = (*source, self.local);
                        Input::Receive(now, Receive { proto: Protocol::Udp, source, destination, contents })
                    }
                    Err(_) => Input::Timeout(now),
                },
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Input::Timeout(now)
                }
                Err(e) => panic!("{e}"),
            };
            if let Err(error) = self.rtc.handle_input(input) {
                eprintln!("str0m: {error}");
            }
        }
        self.seen.lock().unwrap().over |= !self.rtc.is_alive();
    }

    fn note(&mut self, event: Event) {
        let seen = &mut *self.seen.lock().unwrap();
        match event {
            Event::Connected => {
                seen.connected = true;
                let known = self.rtc.codec_config().params().iter().filter_map(|params| params.resend());
                self.again = known.map(|pt: Pt| *pt).collect();
            }
            Event::Closed => seen.over = true,
            Event::MediaData(data) if data.params.spec().codec == Codec::H264 => {
                let (key, contiguous, at) = (data.is_keyframe(), data.contiguous, Instant::now());
                let ticks = data.time.rebase(Frequency::NINETY_KHZ).numer();
                match Footage::get().number(&annex_b(&data.data)) {
                    Some(number) => seen.pictures.push(Picture { number, key, contiguous, ticks, at }),
                    // str0m takes what comes first for a beginning, even if packets before it were lost.
                    None => assert!(!contiguous || seen.pictures.is_empty(), "a foreign picture"),
                }
                let may_ask = self.keyframe.is_none_or(|at| at.elapsed() > PATIENCE);
                if !contiguous && !key && may_ask {
                    self.keyframe = Some(at);
                    let mut writer = self.rtc.writer(data.mid).unwrap();
                    writer.request_keyframe(None, KeyframeRequestKind::Pli).unwrap();
                }
            }
            Event::MediaData(_) => seen.sounds += 1,
            Event::KeyframeRequest(_) => {
                seen.keyframes += 1;
                if let Some(camera) = &mut self.camera {
                    camera.place = Footage::next_key(camera.place);
                }
            }
            Event::RawPacket(raw) => match *raw {
                RawPacket::RtpRx(header, _) | RawPacket::RtpTx(header, _) => {
                    let again = self.again.contains(&header.payload_type);
                    *if again { &mut seen.again } else { &mut seen.packets } += 1;
                }
                RawPacket::RtcpTx(Rtcp::Nack(_)) | RawPacket::RtcpRx(Rtcp::Nack(_)) => seen.nacks += 1,
                _ => {}
            },
            _ => {}
        }
    }
}

impl Camera {
    /// Sends what is due.
    fn film(&mut self, rtc: &mut Rtc, seen: &Mutex<Seen>) {
        if !rtc.is_connected() {
            return;
        }
        let start = *self.start.get_or_insert_with(Instant::now);
        let footage = Footage::get();
        while start.elapsed() >= Duration::from_secs(1) * self.sent.0 / SOUND_RATE {
            let ticks = SOUND_START + u64::from(self.sent.0) * 960;
            let time = MediaTime::new(ticks, Frequency::FORTY_EIGHT_KHZ);
            write(rtc, self.sound, Codec::Opus, time, footage.sound(self.sent.0 as usize).to_vec());
            self.sent.0 += 1;
            seen.lock().unwrap().sounds += 1;
        }
        while start.elapsed() >= Duration::from_secs(1) * self.sent.1 / RATE {
            let (number, ticks) = (self.sent.1, u64::from(self.sent.1) * 3600);
            let (key, at) = (Footage::next_key(self.place) == self.place, Instant::now());
            let picture = footage.picture(self.place, number);
            write(rtc, self.pictures, Codec::H264, MediaTime::from_90khz(ticks), picture);
            (self.sent.1, self.place) = (number + 1, self.place + 1);
            let pictures = &mut seen.lock().unwrap().pictures;
            pictures.push(Picture { number, key, contiguous: true, ticks, at });
        }
    }
}

fn write(rtc: &mut Rtc, mid: Mid, codec: Codec, time: MediaTime, data: Vec<u8>) {
    let writer = rtc.writer(mid).unwrap();
    let params = writer.payload_params().find(|params| params.spec().codec == codec);
    let pt = params.unwrap_or_else(|| panic!("{codec} is not agreed upon")).pt();
    writer.write(pt, Instant::now(), time, data).unwrap();
}
