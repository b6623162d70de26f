//! Runs one row: server on core 0, generator on core 1, CPU and memory read while the load is steady.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::plan::{self, Load, Ports, Row, Server};
use crate::process::{Cpu, Running, busy, core_times, free_port, memory};
use crate::stats::{Line, PlayReport, median};

const GENERATOR_CORE: &str = "1";
/// New players per second.
const RAMP: usize = 500;
/// Longest time from the generator's start to its measured time, beyond the ramp.
const PATIENCE: Duration = Duration::from_secs(30);
/// Players beside a publisher load, each on a stream of its own.
const WITNESSES: usize = 10;
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
    /// Measured seconds.
    pub seconds: u32,
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
}

impl Run {
    /// The median of `field` over `runs`.
    pub fn median(runs: &[Self], field: impl Fn(&Self) -> f64) -> f64 {
        median(runs.iter().map(field).collect())
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
        let ports = Ports { rtmp: free_port()?, http: free_port()?, api: free_port()? };
        let mut server = self.serve(row, ports, &folder)?;
        let entry = if let Load::Flv(_) = row.load { ports.http } else { ports.rtmp };
        server.wait_for(SocketAddr::from(([127, 0, 0, 1], ports.rtmp)))?;
        let publisher = self.publish(row, ports, &folder)?;
        let mut players = self.generate("play", &play_arguments(row, entry, self.seconds), &folder)?;
        let lines = lines(&mut players)?;
        let (Load::Rtmp(count) | Load::Flv(count) | Load::Raw(count) | Load::Publish(count)) = row.load;
        expect_ready(&lines, PATIENCE + Duration::from_secs((count / RAMP) as u64))?;
        let generators: Vec<u32> = publisher.iter().map(Running::id).chain([players.id()]).collect();
        let reading = self.read_steady(server.id(), &generators)?;
        let Line::Play(play) = lines.recv_timeout(PATIENCE)? else {
            return Err("no report of the players".into());
        };
        Ok(Run { play, ..reading })
    }

    /// Starts the row's server in `folder`.
    fn serve(&self, row: &Row, ports: Ports, folder: &Path) -> Result<Running> {
        let conf = folder.join("server.conf");
        let path = conf.display().to_string();
        let (program, arguments) = match row.server {
            Server::Oxcast(latency) => {
                fs::write(&conf, plan::oxcast_conf(latency, ports, folder))?;
                fs::create_dir_all(folder.join("objs/nginx/html"))?;
                (self.oxcast.as_path(), vec!["-c".to_owned(), path])
            }
            Server::Nginx => {
                fs::write(&conf, plan::nginx_conf(ports, folder))?;
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
        let count = match row.load {
            Load::Raw(_) => return Ok(None),
            Load::Publish(count) => count,
            Load::Rtmp(_) | Load::Flv(_) => 1,
        };
        let url = format!("--count {count} --url rtmp://127.0.0.1:{}/live/livestream --file", ports.rtmp);
        let mut arguments = split(&url);
        arguments.push(self.media.display().to_string());
        let mut publisher = self.generate("publish", &arguments, folder)?;
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
        Ok(Run { cpu: total, user, system, core, generator, rss, pss, play: PlayReport::default() })
    }
}

fn play_arguments(row: &Row, port: u16, seconds: u32) -> Vec<String> {
    let rtmp = format!("--rtmp rtmp://127.0.0.1:{port}/live/livestream");
    let (source, count) = match row.load {
        Load::Rtmp(count) => (rtmp, count),
        Load::Publish(count) => (format!("{rtmp} --streams {count}"), WITNESSES),
        Load::Flv(count) => (format!("--flv http://127.0.0.1:{port}/live/livestream.flv"), count),
        Load::Raw(count) => (format!("--raw 127.0.0.1:{port}"), count),
    };
    split(&format!("{source} --count {count} --ramp {RAMP} --seconds {seconds}"))
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
