//! Runs one row: server on core 0, generator on core 1, CPU and memory read while the load is steady.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::plan::{self, HLS_FRAGMENT, HLS_WINDOW, Load, Origin, Ports, Row, Server, Storage};
use crate::process::{Cpu, Running, busy, core_times, free_port, free_udp_port, memory};
use crate::profile;
use crate::stats::{HlsReport, Line, PlayReport, median};

const GENERATOR_CORE: &str = "1";
/// New players per second.
const RAMP: usize = 500;
/// New WebRTC sessions per second: each begins with a handshake that costs about a millisecond of CPU on either side.
const RTC_RAMP: usize = 100;
/// Longest time from the generator's start to its measured time, beyond the ramp.
const PATIENCE: Duration = Duration::from_secs(30);
/// Players beside a publisher load, each on a stream of its own.
const WITNESSES: usize = 10;
/// Seconds from the first playlist until old segments leave it, and are deleted as new ones come.
const FULL_WINDOW: u32 = HLS_WINDOW + 2 * HLS_FRAGMENT;
/// Seconds for which every stream's playlist is polled once its publishers' cost is measured: long enough to see one
/// that stands still.
const INSPECTION: u32 = 4 * HLS_FRAGMENT;
/// Cut off both ends of the measured time, so that neither the start nor the end of it is read.
const MARGIN: Duration = Duration::from_millis(250);

/// What is needed to run rows.
#[derive(Debug)]
pub struct Driver {
    /// The `oxcast` program.
    pub oxcast: PathBuf,
    /// The `oxload` program.
    pub oxload: PathBuf,
    /// The `floor` program.
    pub floor: PathBuf,
    /// Where each run gets its folder with configuration and logs.
    pub folder: PathBuf,
    /// The test stream.
    pub media: PathBuf,
    /// Its rate, which the floor copies.
    pub kbps: f64,
    /// The test stream of the rows about HLS segmenting.
    pub studio_media: PathBuf,
    /// The sound of WebRTC publishers.
    pub sound: PathBuf,
    /// Measured seconds.
    pub seconds: u32,
    /// Has `perf` look at the server meanwhile, which costs CPU.
    pub profile: bool,
}

/// What one run measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// CPU of the server in cores.
    pub cpu: f64,
    /// Its part in user space.
    pub user: f64,
    /// Its part in the kernel.
    pub system: f64,
    /// How busy core 0 was, with everything that ran on it.
    pub core: f64,
    /// CPU of the generator (players and publishers) in cores.
    pub generator: f64,
    /// Resident memory of the server in MiB.
    pub rss: f64,
    /// Its proportional part of shared pages counted only.
    pub pss: f64,
    /// What the players saw.
    pub play: PlayReport,
    /// What HLS players saw, in the measured time or, where segmenting is measured, behind it.
    #[serde(default)]
    pub hls: Option<HlsReport>,
}

impl Run {
    /// The median of `field` over `runs`.
    pub fn median(runs: &[Self], field: impl Fn(&Self) -> f64) -> f64 {
        median(runs.iter().map(field).collect())
    }

    /// Players that never played or were disconnected.
    pub fn lost(&self) -> usize {
        let hls = self.hls.as_ref().map_or(0, |hls| hls.players - hls.live);
        self.play.players - self.play.live + self.play.disconnects + hls
    }

    /// Wrong bytes: gaps in MPEG-TS, and what was wrong with playlists and segments.
    pub fn faults(&self) -> u64 {
        self.play.ts_gaps + self.hls.iter().flat_map(|hls| hls.faults.values()).sum::<u64>()
    }

    /// The reasons behind [`Run::lost`] and [`Run::faults`], empty when there are none.
    pub fn complaints(&self) -> String {
        let play = self.play.errors.iter().map(|(reason, count)| (reason, *count as u64));
        let hls = self.hls.iter().flat_map(|hls| &hls.faults).map(|(reason, count)| (reason, *count));
        let said: Vec<_> = play.chain(hls).map(|(reason, count)| format!("{count} × {reason}")).collect();
        said.join(", ")
    }
}

impl Driver {
    /// Runs `row` once.
    ///
    /// # Errors
    /// When a program is missing, fails or takes too long; nothing is left running.
    pub fn measure(&self, row: &Row) -> Result<Run> {
        let folder = self.folder.join(row.to_string());
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        // Declared before the server, so that it goes after it.
        let _html = Html::create(folder.join("html"))?;
        let ports =
            Ports { rtmp: free_port()?, http: free_port()?, api: free_port()?, rtc: free_udp_port()? };
        let mut server = self.serve(row, ports, &folder)?;
        for port in ports_of(row.load, ports) {
            server.wait_for(SocketAddr::from(([127, 0, 0, 1], port)))?;
        }
        let publisher = self.publish(row, ports, &folder)?;
        let (action, arguments, settle) = play_arguments(row.load, ports, self.seconds);
        let mut players = self.generate(action, &arguments, &folder)?;
        let lines = lines(&mut players)?;
        expect_ready(&lines, PATIENCE + Duration::from_secs(settle.into()))?;
        let generators: Vec<u32> = publisher.iter().map(Running::id).chain([players.id()]).collect();
        let perf = self.profile.then(|| self.watch(server.id(), &folder)).transpose()?;
        let mut run = self.read_steady(server.id(), &generators)?;
        if let Some(mut perf) = perf {
            perf.wait(PATIENCE)?;
        }
        match lines.recv_timeout(PATIENCE)? {
            Line::Play(play) => run.play = play,
            Line::Hls(hls) => run.hls = Some(hls),
            _ => return Err("no report of the players".into()),
        }
        if let Load::Segment(_, Storage::Disk | Storage::Mp4 | Storage::Ram) = row.load {
            run.hls = Some(self.inspect(row.load.publishers(), ports, &folder)?);
        }
        Ok(run)
    }

    /// Has `perf` sample the process `server` for most of the measured time, into the row's folder.
    fn watch(&self, server: u32, folder: &Path) -> Result<Running> {
        let seconds = self.seconds.saturating_sub(1).max(1);
        let frequency = profile::FREQUENCY;
        let arguments =
            split(&format!("record -q -F {frequency} -p {server} -o perf.data -- sleep {seconds}"));
        let log = folder.join("perf.log");
        Running::start(Path::new("perf"), &arguments, GENERATOR_CORE, folder, &log, false)
    }

    /// Polls the playlist of each of the `streams` and looks into their new segments.
    fn inspect(&self, streams: usize, ports: Ports, folder: &Path) -> Result<HlsReport> {
        let url = format!("--url http://127.0.0.1:{}/live/livestream.m3u8", ports.http);
        let who = format!("--count {streams} --streams {} --sample {streams}", suffixes(streams));
        let how =
            format!("--fetch --ramp {RAMP} --interval {HLS_FRAGMENT} --settle 0 --seconds {INSPECTION}");
        let mut players = self.generate("hls", &split(&format!("{url} {who} {how}")), folder)?;
        let lines = lines(&mut players)?;
        expect_ready(&lines, PATIENCE + Duration::from_secs((streams / RAMP) as u64))?;
        match lines.recv_timeout(PATIENCE)? {
            Line::Hls(report) => Ok(report),
            other => Err(format!("no report of the HLS players: {other:?}").into()),
        }
    }

    /// Starts the row's server in `folder`.
    fn serve(&self, row: &Row, ports: Ports, folder: &Path) -> Result<Running> {
        let conf = folder.join("server.conf");
        let path = conf.display().to_string();
        let (program, arguments) = match row.server {
            Server::Oxcast(latency) => {
                fs::write(&conf, plan::oxcast_conf(latency, row.load, ports, folder))?;
                (self.oxcast.as_path(), vec!["-c".to_owned(), path])
            }
            Server::Nginx => {
                fs::write(&conf, plan::nginx_conf(row.load, ports, folder))?;
                fs::create_dir_all(folder.join("scratch"))?;
                (
                    Path::new("nginx"),
                    vec!["-p".to_owned(), folder.display().to_string(), "-c".to_owned(), path],
                )
            }
            Server::Floor(interval) => {
                let arguments =
                    format!("--listen 127.0.0.1:{} --kbps {} --interval {interval}", ports.rtmp, self.kbps);
                (self.floor.as_path(), split(&arguments))
            }
        };
        Running::start(program, &arguments, row.cores.list(), folder, &folder.join("server.log"), false)
    }

    /// Starts the row's publishers and waits until all are accepted; the floor needs none.
    fn publish(&self, row: &Row, ports: Ports, folder: &Path) -> Result<Option<Running>> {
        let count = row.load.publishers();
        if count == 0 {
            return Ok(None);
        }
        let media = if let Load::Segment(..) = row.load { &self.studio_media } else { &self.media };
        let (action, url) = match row.load.rtc() {
            Some(Origin::Rtc) => ("rtc-publish", offers("whip", ports)),
            _ => ("publish", format!("rtmp://127.0.0.1:{}/live/livestream", ports.rtmp)),
        };
        let mut arguments = split(&format!("--count {count} --url {url} --file"));
        arguments.push(media.display().to_string());
        if action == "rtc-publish" {
            arguments.extend(["--sound".to_owned(), self.sound.display().to_string()]);
        }
        let mut publisher = self.generate(action, &arguments, folder)?;
        expect_ready(&lines(&mut publisher)?, PATIENCE)?;
        Ok(Some(publisher))
    }

    fn generate(&self, action: &str, arguments: &[String], folder: &Path) -> Result<Running> {
        let arguments = [&[action.to_owned()], arguments].concat();
        let log = folder.join(format!("{action}.log"));
        Running::start(&self.oxload, &arguments, GENERATOR_CORE, folder, &log, true)
    }

    /// Reads CPU at both ends of the measured time, and memory at its end.
    fn read_steady(&self, server: u32, generators: &[u32]) -> Result<Run> {
        thread::sleep(MARGIN);
        let generator = || generators.iter().map(|&id| Cpu::of(id).map(|cpu| cpu.total)).sum::<Result<f64>>();
        let (begin, cpu, core, load) = (Instant::now(), Cpu::of(server)?, core_times(0)?, generator()?);
        thread::sleep(Duration::from_secs(self.seconds.into()).saturating_sub(MARGIN * 2));
        let seconds = begin.elapsed().as_secs_f64();
        let cpu = Cpu::of(server)?.since(cpu, seconds);
        let core = busy(core, core_times(0)?);
        let generator = (generator()? - load) / seconds;
        let (rss, pss) = memory(server)?;
        let Cpu { total, user, system } = cpu;
        let play = PlayReport::default();
        Ok(Run { cpu: total, user, system, core, generator, rss, pss, play, hls: None })
    }
}

/// The folder that HLS is written to and served from: new and empty, and deleted when this is dropped.
struct Html(PathBuf);

impl Html {
    fn create(path: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(&path)?,
        }
        Ok(Self(path))
    }
}

impl Drop for Html {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted, or complained about, by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The ports that must be open before a load begins.
fn ports_of(load: Load, ports: Ports) -> Vec<u16> {
    match load {
        Load::Flv(_) | Load::Ts(_) | Load::Poll(_) | Load::Fetch(_) | Load::Low(_) => {
            vec![ports.rtmp, ports.http]
        }
        _ if load.rtc().is_some() => vec![ports.rtmp, ports.api],
        _ => vec![ports.rtmp],
    }
}

/// Where WebRTC sessions are offered to, by WHIP or WHEP (`what`).
fn offers(what: &str, ports: Ports) -> String {
    format!("http://127.0.0.1:{}/rtc/v1/{what}/?app=live&stream=livestream", ports.api)
}

/// What the generator of players is told: its action, its arguments; and how many seconds they may take beyond what
/// connecting takes.
fn play_arguments(load: Load, ports: Ports, seconds: u32) -> (&'static str, Vec<String>, u32) {
    let Ports { rtmp, http, .. } = ports;
    let live = |extension| format!("http://127.0.0.1:{http}/live/livestream.{extension}");
    let source = format!("--rtmp rtmp://127.0.0.1:{rtmp}/live/livestream");
    let hls = format!("--url {} --interval {HLS_FRAGMENT}", live("m3u8"));
    let witnesses = |source| format!("{source} --streams {}", suffixes(load.publishers()));
    let whep = format!("--url {}", offers("whep", ports));
    let ramp = if load.rtc().is_some() { RTC_RAMP } else { RAMP };
    let (action, source, count) = match load {
        Load::Rtmp(count) => ("play", source, count),
        Load::Publish(_) | Load::Segment(..) => ("play", witnesses(source), WITNESSES),
        Load::Flv(count) => ("play", format!("--flv {}", live("flv")), count),
        Load::Ts(count) => ("play", format!("--ts {}", live("ts")), count),
        Load::Raw(count) => ("play", format!("--raw 127.0.0.1:{rtmp}"), count),
        Load::Poll(count) => ("hls", hls, count),
        Load::Fetch(count) => ("hls", format!("{hls} --fetch"), count),
        Load::Low(count) => ("hls", format!("{hls} --low"), count),
        Load::RtcPlay(count, _) => ("rtc-play", whep, count),
        Load::RtcPublish(_) => ("rtc-play", witnesses(whep), WITNESSES),
        Load::RtcLatency(_) => ("rtc-play", whep, WITNESSES),
    };
    let settle = if load.storage() == Storage::Off { 3 } else { FULL_WINDOW };
    let how = format!("--count {count} --ramp {ramp} --settle {settle} --seconds {seconds}");
    (action, split(&format!("{source} {how}")), settle + (count / ramp) as u32)
}

/// How many suffixed names the streams of so many publishers have; a single one's has none.
fn suffixes(publishers: usize) -> usize {
    if publishers > 1 { publishers } else { 0 }
}

fn split(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The lines a generator prints, read on a thread so that waiting for them can end.
fn lines(generator: &mut Running) -> Result<Receiver<Line>> {
    let output = generator.output().ok_or("the generator's output is gone")?;
    let (sender, receiver) = mpsc::channel();
    let forward = move |output: ChildStdout| {
        for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
            let Ok(line) = serde_json::from_str(&line) else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    };
    thread::spawn(move || forward(output));
    Ok(receiver)
}

fn expect_ready(lines: &Receiver<Line>, patience: Duration) -> Result<()> {
    match lines.recv_timeout(patience) {
        Ok(Line::Ready) => Ok(()),
        Ok(other) => Err(format!("the generator gave up: {other:?}").into()),
        Err(error) => Err(format!("the generator did not get ready: {error}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Studio;

    const PORTS: Ports = Ports { rtmp: 1, http: 2, api: 3, rtc: 4 };

    #[test]
    fn players_find_the_streams_of_their_publishers() {
        let arguments = |load| play_arguments(load, PORTS, 5).1.join(" ");
        let studio = |publishers| Load::Segment(Studio { publishers, publisher_kbps: 9 }, Storage::Ram);
        assert!(
            arguments(studio(500)).starts_with("--rtmp rtmp://127.0.0.1:1/live/livestream --streams 500 ")
        );
        assert!(arguments(studio(1)).contains("--streams 0 "));
        assert!(arguments(Load::Ts(7)).starts_with("--ts http://127.0.0.1:2/live/livestream.ts --count 7 "));
        let whep = "--url http://127.0.0.1:3/rtc/v1/whep/?app=live&stream=livestream";
        assert!(arguments(Load::RtcPublish(200)).starts_with(&format!("{whep} --streams 200 --count 10 ")));
        assert!(arguments(Load::Fetch(7)).contains("livestream.m3u8 --interval 2 --fetch --count 7 "));
    }

    #[test]
    fn hls_is_measured_once_its_window_is_full() {
        let settle = |load| play_arguments(load, PORTS, 5).2;
        assert_eq!((settle(Load::Rtmp(1000)), settle(Load::Poll(1000))), (5, 18));
    }

    #[test]
    fn the_folder_of_segments_is_new_and_does_not_stay() {
        let path = std::env::temp_dir().join(format!("bench-html-{}", std::process::id()));
        fs::create_dir_all(path.join("old")).unwrap();
        let html = Html::create(path.clone()).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        drop(html);
        assert!(!path.exists());
    }
}
