//! The configuration: SRS's file format, command line variables and defaults, read once into an immutable
//! [`Config`]. Everything that reads a configuration file or an `SRS_` variable belongs here; everything
//! that acts on a setting does not.
//!
//! The way of a file: [`lexer`] → [`tree`] (with includes) → [`legacy`] spellings → `check` → `load`.

mod access;
pub mod auth;
mod check;
mod dash;
pub mod directives;
mod dvr;
mod environment;
mod forward;
mod hls;
pub mod legacy;
pub mod lexer;
mod load;
mod observe;
mod report;
mod storage;
pub mod task;
pub mod tree;
mod value;
mod written;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use access::{Hooks, Limits, Most, Refer, Rule, Secret, Security, SignedUrl, Token};
pub use auth::{Area, Auth, Credentials};
pub use dash::Dash;
pub use dvr::{Dvr, DvrPlan};
pub use environment::Environment;
pub use forward::{Destination, Forward, endpoint};
pub use hls::{Hls, HlsFmp4, HlsKeys, HlsOnError, HlsSessions, HlsVariants, SegmentStorage};
pub use load::Source;
pub use observe::{Exporter, Heartbeat, Traces};
pub use report::{Error, Place, Problem};
pub use storage::{Provider, Storage, StorageUrl};
pub use value::Endpoint;
pub use written::{Change, Written};

/// Everything that is configured. Made by [`Config::load`], never changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// RTMP endpoints; empty only without a file or with RTMPS alone.
    pub listen: Vec<Endpoint>,
    /// RTMP over TLS, if it is on.
    pub rtmps: Option<Tls>,
    /// RTMP chunk size of vhosts that set none, in bytes, at least 1.
    pub chunk_size: u32,
    /// TCP connections served at once, at least 1.
    pub max_connections: u32,
    /// Lock file with the process id.
    pub pid: PathBuf,
    /// Name of this server; none makes one up and keeps it beside [`Self::pid`].
    pub server_id: Option<String>,
    /// The log.
    pub log: Log,
    /// Least time between two status lines of a connection.
    pub pithy_print: Duration,
    /// Directory to change to.
    pub work_dir: PathBuf,
    /// Run in the background.
    pub daemon: bool,
    /// Stop when the parent process is another one.
    pub asprocess: bool,
    /// Reload when the file changes.
    pub auto_reload: bool,
    /// How to stop without cutting anybody off.
    pub grace: Grace,
    /// Overload levels, if they are watched.
    pub breaker: Option<Breaker>,
    /// Management API, if it is on.
    pub http_api: Option<HttpApi>,
    /// HTTP streaming and files, if they are on.
    pub http_server: Option<HttpServer>,
    /// WebRTC, if it is on.
    pub rtc_server: Option<RtcServer>,
    /// Who the server is to be, once it has what only root can have.
    pub user: Option<User>,
    /// Traces, if they are on.
    pub traces: Option<Traces>,
    /// Reports to a management server, if they are on.
    pub heartbeat: Option<Heartbeat>,
    /// Metrics, if they are on.
    pub exporter: Option<Exporter>,
    /// Figures of the machine.
    pub stats: Stats,
    /// What started programs print.
    pub task_log: task::TaskLog,
    /// Vhosts in file order, each name once; see [`Config::vhost`].
    pub vhosts: Vec<Arc<Vhost>>,
    /// What was tolerated, to be logged at start.
    pub warnings: Vec<Problem>,
    /// All of it as it stands in the file.
    pub written: Written,
}

/// A user of the system, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub name: String,
    /// The group; the user's own, if there is none.
    pub group: Option<String>,
}

/// Graceful quit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grace {
    /// Wait before the listeners close, so that balancers learn of it.
    pub start_wait: Duration,
    /// Wait after the last client left.
    pub final_wait: Duration,
    /// SIGTERM means it, too.
    pub force: bool,
    /// Who has not left by then is cut off; none waits for ever.
    pub limit: Option<Duration>,
}

/// Overload levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Busy.
    pub high: Threshold,
    /// Busier.
    pub critical: Threshold,
    /// Too busy to go on like this.
    pub dying: Threshold,
    /// From which level on no further players are let in.
    pub shed_players: Shed,
}

/// When something is left undone for overload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// Never.
    Never,
    /// At the second level.
    Critical,
    /// At the last one.
    Dying,
}

/// When an overload level begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Percent of a processor core.
    pub percent: u32,
    /// Seconds: how long high and critical last after the last busy one, and how long it takes to be dying. 0 has no such level.
    pub pulse: u32,
}

/// Endpoints with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Endpoints, at least one.
    pub listen: Vec<Endpoint>,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Certificate chain, PEM.
    pub cert: PathBuf,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where it goes.
    pub tank: Tank,
    /// The least level logged.
    pub level: Level,
    /// The file, if it goes to a file.
    pub file: PathBuf,
    /// UTC instead of local time.
    pub utc: bool,
    /// How lines look.
    pub format: LogFormat,
    /// When the file is put aside; never, if there is no such rule.
    pub rotation: Option<Rotation>,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// As in SRS.
    Text,
    /// A JSON object each.
    Json,
}

/// When the file of the log is put aside for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes that it does not get larger than, at least [`Rotation::LEAST`].
    pub max_size: u64,
    /// Older files that are kept.
    pub max_files: u32,
}

impl Rotation {
    /// What is written at once has to fit into a file.
    pub const LEAST: u64 = 64 << 10;
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tank {
    /// Standard output.
    Console,
    /// [`Log::file`].
    File,
}

/// Levels of the log by their usual names (SRS's old `verbose`, `info`, `trace` are `Trace`, `Debug`, `Info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Trace,
    /// For developers.
    Debug,
    /// The default.
    Info,
    /// What looks wrong.
    Warn,
    /// What is wrong.
    Error,
    /// Nothing at all; an unknown word means this.
    Off,
}

/// Management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpApi {
    /// Endpoints, at least one.
    pub listen: Vec<Endpoint>,
    /// The same over TLS.
    pub https: Option<Tls>,
    /// Shown by the API only; [`HttpServer::crossdomain`] decides.
    pub crossdomain: bool,
    /// Offer `/api/v1/raw`.
    pub raw: bool,
    /// Reload for whoever asks there.
    pub allow_reload: bool,
    /// Who may use it; everybody, if it is none.
    pub auth: Option<Auth>,
}

/// HTTP streaming and files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServer {
    /// Endpoints, at least one.
    pub listen: Vec<Endpoint>,
    /// The same over TLS.
    pub https: Option<Tls>,
    /// Directory of static files.
    pub dir: PathBuf,
    /// Whether CORS headers are sent on all HTTP services.
    pub crossdomain: bool,
}

/// WebRTC, as far as it is the same for all vhosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcServer {
    /// UDP port of the media, never 0.
    pub listen: u16,
    /// TCP port of the media, never 0; none listens on no TCP port.
    pub tcp: Option<u16>,
    /// Transports offered to clients.
    pub protocol: RtcProtocol,
    /// The address offered to clients, a port may follow; none finds it.
    pub candidate: Option<String>,
    /// Where [`Self::candidate`] is none, offer the addresses of the network interfaces.
    pub auto_detect: bool,
    /// Which of these.
    pub ip_family: IpFamily,
    /// Offer the host by which the client called.
    pub api_as_candidates: bool,
    /// If that host is a name, offer its address.
    pub resolve_api_domain: bool,
    /// If that host is a name, offer the name.
    pub keep_api_domain: bool,
    /// Prove to be with a P-256 certificate, or with one of RSA.
    pub ecdsa: bool,
    /// Encrypt the media of all clients.
    pub encrypt: bool,
    /// Servers that clients may use to reach us.
    pub ice_servers: Vec<IceServer>,
    /// Where copies of decrypted packets go.
    pub black_hole: Option<SocketAddr>,
}

/// A STUN or TURN server of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:…`, `stuns:…`, `turn:…` or `turns:…` (RFC 7064, RFC 7065).
    pub url: String,
    /// User name and credential, where it asks for them.
    pub login: Option<(String, String)>,
}

/// Transports offered to WebRTC clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcProtocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// Both.
    All,
}

/// Kinds of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Both.
    All,
}

/// Figures of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Whether they are collected.
    pub enabled: bool,
    /// Index of the server's own address among the local ones, IPv4 first.
    pub network: usize,
    /// Block devices to count; none are counted if empty.
    pub disk: Vec<String>,
}

/// Settings for one host name.
#[derive(Clone, Debug, PartialEq)]
pub struct Vhost {
    /// Host name, or [`DEFAULT_VHOST`].
    pub name: String,
    /// Off: clients are refused.
    pub enabled: bool,
    /// Pass each packet on at once.
    pub min_latency: bool,
    /// TCP_NODELAY on client sockets.
    pub tcp_nodelay: bool,
    /// RTMP chunk size in bytes, at least 1.
    pub chunk_size: u32,
    /// Bytes after which a publisher that never asks is acknowledged; none waits to be asked.
    pub in_ack_size: Option<u32>,
    /// Acknowledgement window asked of clients in bytes; none asks for none.
    pub out_ack_size: Option<u32>,
    /// Players.
    pub play: Play,
    /// Publishers.
    pub publish: Publish,
    /// Live streams over HTTP, if they are on.
    pub http_remux: Option<HttpRemux>,
    /// A folder on the HTTP server, if there is one.
    pub http_static: Option<HttpStatic>,
    /// Recording, if it is on.
    pub dvr: Option<Dvr>,
    /// HLS, if it is made.
    pub hls: Option<Hls>,
    /// How HLS players are counted and admitted, whoever made the playlist.
    pub hls_sessions: HlsSessions,
    /// DASH, if it is made.
    pub dash: Option<Dash>,
    /// HDS, if it is made.
    pub hds: Option<Hds>,
    /// Object storage, if it is used.
    pub storage: Option<Arc<Storage>>,
    /// WebRTC.
    pub rtc: Rtc,
    /// Rules by address, if there are any.
    pub security: Option<Security>,
    /// Proxies in front of this server, whose word about the addresses of clients counts.
    pub proxies: Vec<IpNet>,
    /// Pages that may send clients, if not all may.
    pub refer: Option<Refer>,
    /// Tokens, if clients need any.
    pub token: Option<Token>,
    /// Signed addresses, if clients need them.
    pub signed_url: Option<SignedUrl>,
    /// How much it serves.
    pub limits: Limits,
    /// Callbacks, if they are on.
    pub hooks: Option<Arc<Hooks>>,
    /// Copies for other servers, if there are any.
    pub forward: Option<Arc<Forward>>,
    /// Inputs that are pulled.
    pub ingests: Vec<task::Ingest>,
    /// Streams that are transcoded.
    pub transcodes: Vec<task::Transcode>,
    /// Commands per stream, if they are on.
    pub exec: Option<task::Exec>,
}

/// Players of a vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct Play {
    /// Keep the last group of pictures.
    pub gop_cache: bool,
    /// Most packets in that cache; none has no limit.
    pub gop_cache_max_frames: Option<u32>,
    /// A player further behind skips ahead.
    pub queue_length: Duration,
    /// Correction of timestamps.
    pub time_jitter: Jitter,
    /// Keep the publisher's absolute timestamps.
    pub atc: bool,
    /// Switch `atc` on when the metadata asks for it.
    pub atc_auto: bool,
    /// Order audio and video to one rising timeline.
    pub mix_correct: bool,
    /// How long packets are gathered; none if not set, then the server adapts.
    pub mw_latency: Option<Duration>,
    /// How many packets are gathered, at most 128; none if not set, then the server adapts.
    pub mw_msgs: Option<u32>,
    /// Least time between two packets.
    pub send_min_interval: Duration,
    /// Do not repeat unchanged sequence headers.
    pub reduce_sequence_header: bool,
}

/// Correction of timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Monotonic and from zero.
    Full,
    /// From zero.
    Zero,
    /// None.
    Off,
}

/// Publishers of a vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Merged read.
    pub mr: bool,
    /// How long packets are gathered then.
    pub mr_latency: Duration,
    /// Time limit for the first packet.
    pub first_packet_timeout: Duration,
    /// Time limit between later packets.
    pub normal_timeout: Duration,
    /// Drop a publisher that has had no player for this long; none never does.
    pub kickoff_for_idle: Option<Duration>,
    /// Read the picture size out of the SPS.
    pub parse_sps: bool,
    /// Guess Annex B before length-prefixed NAL units.
    pub try_annexb_first: bool,
}

/// Live streams over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRemux {
    /// Address with `[vhost]`, `[app]`, `[stream]`, ending in the format.
    pub mount: String,
    /// What the body is.
    pub format: HttpFormat,
    /// How much sound a new player of [`HttpFormat::Aac`] or [`HttpFormat::Mp3`] gets at once.
    pub fast_cache: Duration,
    /// Drop packets of a kind the header says is absent.
    pub drop_if_not_match: bool,
    /// The header says there is audio.
    pub has_audio: bool,
    /// The header says there is video.
    pub has_video: bool,
    /// Find both out from the stream instead.
    pub guess_has_av: bool,
}

/// Formats of live streams over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpFormat {
    /// FLV.
    Flv,
    /// MPEG-TS.
    Ts,
    /// AAC with ADTS headers.
    Aac,
    /// MP3.
    Mp3,
}

/// A folder on the HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpStatic {
    /// Address prefix with `[vhost]`; the part before the first slash is a host.
    pub mount: String,
    /// The folder; `[vhost]` is replaced already.
    pub dir: PathBuf,
}

/// HDS of a vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hds {
    /// Length of a fragment.
    pub fragment: Duration,
    /// Fragments older than this are deleted.
    pub window: Duration,
    /// Base folder.
    pub path: PathBuf,
}

/// WebRTC of a vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtc {
    /// It is allowed.
    pub enabled: bool,
    /// Lost packets are asked for and sent again.
    pub nack: bool,
    /// Arrival times are fed back to publishers.
    pub twcc: bool,
    /// A session without a sign of life for this long is over; at least 1 s.
    pub stun_timeout: Duration,
    /// A client that believes to be controlled is told that it is not.
    pub stun_strict_check: bool,
    /// Who begins DTLS when the client leaves it to us.
    pub dtls_role: DtlsRole,
    /// Packets of this payload type are dropped, for tests; 0 drops none.
    pub drop_for_pt: u8,
    /// Other streams are offered, too.
    pub rtmp_to_rtc: bool,
    /// With their B-frames.
    pub keep_bframe: bool,
    /// With their H.264 SEI units.
    pub keep_avc_nalu_sei: bool,
    /// Bit/s of the sound made for that.
    pub opus_bitrate: u32,
    /// WebRTC streams are offered to all other players, too.
    pub rtc_to_rtmp: bool,
    /// Keyframes are asked for this often then.
    pub pli_for_rtmp: Duration,
    /// Bit/s of the sound made for that.
    pub aac_bitrate: u32,
}

/// Our part in DTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// The client begins.
    Passive,
    /// We begin.
    Active,
}

/// Name of the vhost that serves host names without a block of their own.
pub const DEFAULT_VHOST: &str = hub::StreamKey::DEFAULT_VHOST;

impl Config {
    /// The vhost that serves clients who ask for `name`: the one of that name, else the default one. None if
    /// they must be refused, because there is neither or because it is off.
    pub fn vhost(&self, name: &str) -> Option<&Arc<Vhost>> {
        let of = |name: &str| self.vhosts.iter().find(|vhost| vhost.name == name);
        of(name).or_else(|| of(DEFAULT_VHOST)).filter(|vhost| vhost.enabled)
    }

    /// Whether the API is served on the endpoints of the HTTP server.
    pub fn api_shares_http_server(&self) -> bool {
        matches!((&self.http_api, &self.http_server), (Some(api), Some(http)) if api.listen == http.listen)
    }

    /// Whether this machine can do what is asked; `open_files` is the process's limit of open files and
    /// `addresses` the number of local IP addresses.
    ///
    /// # Errors
    /// What the machine lacks.
    pub fn check_machine(&self, open_files: u64, addresses: usize) -> Result<(), Box<Error>> {
        let mut problems = Vec::new();
        let wanted = u64::from(self.max_connections) + RESERVED_FILES;
        if wanted >= open_files {
            let message = format!(
                "`max_connections {}` needs more than {wanted} open files, the limit is {open_files}",
                self.max_connections
            );
            let enough = (u64::from(self.max_connections) * 10).max(10_000);
            problems.push(Problem::new(message).help(format!("raise it with `ulimit -HSn {enough}`")));
        }
        if self.stats.network > 0 && self.stats.network >= addresses {
            let network = self.stats.network;
            let message =
                format!("`stats {{ network {network} }}`: there are only {addresses} local addresses");
            problems.push(Problem::new(message).help("they are counted from 0"));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::many(problems)) }
    }
}

/// Files a server needs besides its connections.
const RESERVED_FILES: u64 = 128;

/// Reads any bytes as a configuration; must never panic.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    match Config::parse("fuzz.conf", data, &Environment::default()) {
        Ok(config) => {
            config.vhost("x");
            config.warnings.iter().for_each(|warning| drop(warning.to_string()));
        }
        Err(error) => drop(error.to_string()),
    }
}
