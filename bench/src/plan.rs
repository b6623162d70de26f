//! What is compared with what: the rows of the table, and the configuration each server gets.

use std::fmt;
use std::path::Path;

use clap::Args;

/// Length of an HLS segment in seconds.
pub const HLS_FRAGMENT: u32 = 2;
/// Length of an HLS playlist in seconds.
pub const HLS_WINDOW: u32 = 12;

/// A server under test and how it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Ours; `mw_latency` in milliseconds, or none to let it adapt.
    Oxcast(Option<u32>),
    /// nginx with the RTMP module.
    Nginx,
    /// The floor program with a batch every so many milliseconds.
    Floor(u32),
}

/// What is done to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// One publisher, so many RTMP players.
    Rtmp(usize),
    /// One publisher, so many HTTP-FLV players.
    Flv(usize),
    /// One publisher, so many HTTP-TS players.
    Ts(usize),
    /// So many publishers, and ten players that measure latency.
    Publish(usize),
    /// So many publishers whose streams are cut into HLS segments, and ten RTMP players that measure latency.
    Segment(Studio, Storage),
    /// One publisher, so many HLS players that poll the playlist every two seconds.
    Poll(usize),
    /// The same, and they fetch each new segment.
    Fetch(usize),
    /// One publisher, so many players of Low-Latency HLS that always wait for the next part, and fetch it.
    Low(usize),
    /// So many players of the floor.
    Raw(usize),
    /// One publisher, so many WebRTC players.
    RtcPlay(usize, Origin),
    /// So many WebRTC publishers, and ten WebRTC players that measure latency.
    RtcPublish(usize),
    /// One publisher, and ten WebRTC players that measure latency.
    RtcLatency(Origin),
}

/// How the stream of WebRTC players comes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By RTMP with AAC, which the server makes into Opus once.
    Rtmp,
    /// By WebRTC with Opus.
    Rtc,
}

/// The publishers of HLS segmenting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Studio {
    /// Publishers of the rows about HLS segmenting
    #[arg(long, global = true, default_value_t = 500)]
    pub publishers: usize,
    /// The rate of each of them in kbit/s
    #[arg(long, global = true, default_value_t = 500)]
    pub publisher_kbps: u32,
}

/// Where HLS segments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// There are none: what the others are compared with.
    Off,
    /// Files.
    Disk,
    /// Files of fragmented MP4 (oxcast only).
    Mp4,
    /// The server's memory, by `hls_storage ram` (oxcast only).
    Ram,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Who serves.
    pub server: Server,
    /// What it serves.
    pub load: Load,
    /// Cores the server may use: the first only, or both.
    pub cores: Cores,
}

/// Cores the server may use; the generator always has core 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// Core 0.
    One,
    /// Cores 0 and 1, the latter shared with the generator.
    Both,
}

impl Cores {
    /// As `taskset -c` takes them.
    pub fn list(self) -> &'static str {
        match self {
            Self::One => "0",
            Self::Both => "0,1",
        }
    }
}

/// All rows, in the order of the table.
pub fn rows(studio: Studio) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |server, load| rows.push(Row { server, load, cores: Cores::One });
    for players in [100, 500, 1000, 2000] {
        for interval in [33, 350] {
            add(Server::Floor(interval), Load::Raw(players));
        }
        add(Server::Nginx, Load::Rtmp(players));
        for latency in [None, Some(33), Some(350)] {
            add(Server::Oxcast(latency), Load::Rtmp(players));
        }
    }
    add(Server::Oxcast(Some(350)), Load::Flv(2000));
    add(Server::Oxcast(Some(350)), Load::Ts(2000));
    add(Server::Nginx, Load::Publish(200));
    add(Server::Oxcast(None), Load::Publish(200));
    for storage in [Storage::Off, Storage::Disk] {
        add(Server::Nginx, Load::Segment(studio, storage));
    }
    for storage in [Storage::Off, Storage::Disk, Storage::Mp4, Storage::Ram] {
        add(Server::Oxcast(None), Load::Segment(studio, storage));
    }
    for load in [Load::Poll(1000), Load::Fetch(1000)] {
        add(Server::Nginx, load);
        add(Server::Oxcast(None), load);
    }
    add(Server::Oxcast(None), Load::Low(1000));
    for players in [100, 300, 600] {
        for origin in [Origin::Rtmp, Origin::Rtc] {
            add(Server::Oxcast(None), Load::RtcPlay(players, origin));
        }
    }
    add(Server::Oxcast(None), Load::RtcPublish(200));
    for origin in [Origin::Rtmp, Origin::Rtc] {
        add(Server::Oxcast(None), Load::RtcLatency(origin));
    }
    for load in [Load::Rtmp(2000), Load::RtcPlay(300, Origin::Rtmp)] {
        rows.push(Row { server: Server::Oxcast(None), load, cores: Cores::Both });
    }
    rows
}

impl Load {
    /// Publishers there are.
    pub fn publishers(self) -> usize {
        match self {
            Self::Publish(count)
            | Self::RtcPublish(count)
            | Self::Segment(Studio { publishers: count, .. }, _) => count,
            Self::Raw(_) => 0,
            _ => 1,
        }
    }

    /// How its streams come to the server, when it is about WebRTC.
    pub fn rtc(self) -> Option<Origin> {
        match self {
            Self::RtcPlay(_, origin) | Self::RtcLatency(origin) => Some(origin),
            Self::RtcPublish(_) => Some(Origin::Rtc),
            _ => None,
        }
    }

    /// Where the server puts HLS segments.
    pub fn storage(self) -> Storage {
        match self {
            Self::Segment(_, storage) => storage,
            Self::Poll(_) | Self::Fetch(_) | Self::Low(_) => Storage::Disk,
            _ => Storage::Off,
        }
    }
}

impl fmt::Display for Row {
    /// The name by which a row is chosen, such as `oxcast-33-rtmp-1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.server, self.load)?;
        if self.cores == Cores::Both { f.write_str("-2cores") } else { Ok(()) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oxcast(None) => f.write_str("oxcast-adaptive"),
            Self::Oxcast(Some(latency)) => write!(f, "oxcast-{latency}"),
            Self::Nginx => f.write_str("nginx"),
            Self::Floor(interval) => write!(f, "floor-{interval}"),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtmp(count) => write!(f, "rtmp-{count}"),
            Self::Flv(count) => write!(f, "flv-{count}"),
            Self::Ts(count) => write!(f, "ts-{count}"),
            Self::Publish(count) => write!(f, "publish-{count}"),
            Self::Segment(Studio { publishers, publisher_kbps }, storage) => {
                write!(f, "hls-{storage}-{publishers}x{publisher_kbps}")
            }
            Self::Poll(count) => write!(f, "hls-poll-{count}"),
            Self::Fetch(count) => write!(f, "hls-fetch-{count}"),
            Self::Low(count) => write!(f, "hls-low-{count}"),
            Self::Raw(count) => write!(f, "raw-{count}"),
            Self::RtcPlay(count, origin) => write!(f, "rtc-play-{count}-from-{origin}"),
            Self::RtcPublish(count) => write!(f, "rtc-publish-{count}"),
            Self::RtcLatency(origin) => write!(f, "rtc-latency-from-{origin}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Rtmp { "rtmp" } else { "rtc" })
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Disk => "disk",
            Self::Mp4 => "mp4",
            Self::Ram => "ram",
        })
    }
}

/// Ports of one run.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// RTMP, or the floor's own.
    pub rtmp: u16,
    /// HTTP-FLV, HTTP-TS and HLS.
    pub http: u16,
    /// HTTP API, and the offers of WebRTC.
    pub api: u16,
    /// WebRTC's media, UDP.
    pub rtc: u16,
}

/// The configuration of oxcast, in SRS's grammar; it writes into `folder` only, HLS into `folder/html`.
///
/// A fixed latency comes with `mw_msgs 0`: by SRS's rule a merged write otherwise waits for nine messages as well, which
/// takes longer than 33 ms.
pub fn oxcast_conf(latency: Option<u32>, load: Load, ports: Ports, folder: &Path) -> String {
    let Ports { rtmp, http, api, rtc } = ports;
    let folder = folder.display();
    let mut vhost = String::new();
    let mut add = |line: String| vhost += &format!("    {line}\n");
    let mut media = String::new();
    if load.rtc().is_some() {
        media = format!("rtc_server {{ enabled on; listen {rtc}; candidate 127.0.0.1; }}\n");
        add("rtc { enabled on; rtmp_to_rtc on; }".to_owned());
    }
    let form = if let Load::Ts(_) = load { "ts" } else { "flv" };
    add(format!("http_remux {{ enabled on; mount [vhost]/[app]/[stream].{form}; }}"));
    if let Some(latency) = latency {
        add(format!("play {{ mw_latency {latency}; mw_msgs 0; }}"));
    }
    let storage = load.storage();
    if storage != Storage::Off {
        let more = match (storage, load) {
            (Storage::Ram, _) => " hls_storage ram;",
            (Storage::Mp4, _) => " hls_use_fmp4 on;",
            (_, Load::Low(_)) => " hls_low_latency on;",
            _ => "",
        };
        let lengths = format!("hls_fragment {HLS_FRAGMENT}; hls_window {HLS_WINDOW};");
        add(format!("hls {{ enabled on; {lengths} hls_path {folder}/html;{more} }}"));
    }
    format!(
        "listen {rtmp};
max_connections 10000;
daemon off;
srs_log_tank console;
srs_log_level warn;
pid {folder}/oxcast.pid;
http_server {{ enabled on; listen {http}; dir {folder}/html; }}
http_api {{ enabled on; listen {api}; }}
{media}vhost __defaultVhost__ {{
{vhost}}}
"
    )
}

/// The configuration of nginx: the module's defaults, one process, no access log; HLS goes into `folder/html/live`.
pub fn nginx_conf(load: Load, ports: Ports, folder: &Path) -> String {
    let Ports { rtmp, http, .. } = ports;
    let folder = folder.display();
    let (mut hls, mut web) = (String::new(), String::new());
    if load.storage() != Storage::Off {
        let lengths = format!("hls_fragment {HLS_FRAGMENT}s; hls_playlist_length {HLS_WINDOW}s;");
        hls = format!(" hls on; hls_path {folder}/html/live; {lengths}");
        let scratch: Vec<_> = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {folder}/scratch/{name};\n"))
            .into();
        web = format!(
            "http {{
    access_log off;
{}    server {{ listen 127.0.0.1:{http}; root {folder}/html; }}
}}
",
            scratch.concat()
        );
    }
    format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{rtmp};
        application live {{ live on;{hls} }}
    }}
}}
{web}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PORTS: Ports = Ports { rtmp: 1, http: 2, api: 3, rtc: 4 };
    const STUDIO: Studio = Studio { publishers: 20, publisher_kbps: 500 };

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let rows = rows(STUDIO);
        let names: HashSet<_> = rows.iter().map(Row::to_string).collect();
        assert_eq!(names.len(), rows.len());
        for name in [
            "oxcast-adaptive-rtmp-2000-2cores",
            "nginx-publish-200",
            "floor-33-raw-100",
            "oxcast-350-ts-2000",
            "oxcast-adaptive-hls-ram-20x500",
            "nginx-hls-fetch-1000",
            "oxcast-adaptive-hls-low-1000",
            "oxcast-adaptive-hls-mp4-20x500",
            "oxcast-adaptive-rtc-play-300-from-rtmp-2cores",
            "oxcast-adaptive-rtc-latency-from-rtc",
        ] {
            assert!(names.contains(name), "{name}");
        }
    }

    fn oxcast(latency: Option<u32>, load: Load) -> String {
        let conf = oxcast_conf(latency, load, PORTS, Path::new("/x"));
        assert_eq!(conf.matches('{').count(), conf.matches('}').count());
        conf
    }

    #[test]
    fn only_a_fixed_latency_is_configured() {
        assert!(oxcast(Some(33), Load::Rtmp(1)).contains("mw_latency 33;"));
        assert!(!oxcast(None, Load::Rtmp(1)).contains("play"));
    }

    #[test]
    fn webrtc_is_on_where_it_is_played_or_published() {
        for load in [Load::RtcPlay(1, Origin::Rtmp), Load::RtcPublish(2), Load::RtcLatency(Origin::Rtc)] {
            assert!(oxcast(None, load).contains("rtc_server { enabled on; listen 4; candidate 127.0.0.1; }"));
        }
        assert!(!oxcast(None, Load::Rtmp(1)).contains("rtc"));
    }

    #[test]
    fn hls_is_on_where_segments_go_somewhere() {
        let segment = |storage| oxcast(None, Load::Segment(STUDIO, storage));
        assert!(!segment(Storage::Off).contains("hls"));
        assert!(segment(Storage::Ram).contains("hls_storage ram;"));
        let disk = segment(Storage::Disk);
        assert!(disk.contains("hls { enabled on; hls_fragment 2; hls_window 12; hls_path /x/html; }"));
        assert_eq!(disk, oxcast(None, Load::Fetch(5)));
        assert!(segment(Storage::Mp4).contains("hls_use_fmp4 on;"));
        assert!(oxcast(None, Load::Low(5)).contains("hls_low_latency on;"));
        let ts = oxcast(None, Load::Ts(1));
        assert!(ts.contains("[stream].ts;") && !ts.contains("hls"), "both would serve .ts");
        assert!(nginx_conf(Load::Poll(1), PORTS, Path::new("/x")).contains("hls on;"));
        assert!(!nginx_conf(Load::Publish(1), PORTS, Path::new("/x")).contains("http"));
    }
}
