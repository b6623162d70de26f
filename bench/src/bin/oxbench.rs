//! The driver of `make bench`: runs the rows of the plan, keeps what they measured, writes the table.

use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use bench::driver::{Driver, Run};
use bench::media::{self, Media, Recipe};
use bench::plan::{Load, Origin, Row, Server, Studio, rows};
use bench::table::{Runs, render, render_rtc};
use bench::{Result, machine, net, profile};
use clap::{Parser, Subcommand};

/// The rate of the test stream that all rows share but those about HLS segmenting.
const KBPS: u32 = 1000;
/// The length of all test streams.
const STREAM_SECONDS: u32 = 60;

#[derive(Parser)]
#[command(
    about = "Compares oxcast with nginx-rtmp and with the floor; one core serves, the other makes the load"
)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Where results, logs and the test stream are kept
    #[arg(long, global = true, default_value = "target/bench")]
    dir: PathBuf,
    /// The server [default: beside this program]
    #[arg(long, global = true)]
    oxcast: Option<PathBuf>,
    #[command(flatten)]
    studio: Studio,
}

#[derive(Subcommand)]
enum Action {
    /// Run the rows that the patterns choose (all without patterns), then write the table
    Run {
        /// Names of rows, or parts of the names of several
        patterns: Vec<String>,
        /// Runs of each row, of which the medians count
        #[arg(long, default_value_t = 3)]
        repeat: u32,
        /// Measured seconds of each run
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// Run rows once with `perf` looking at the server, and say where its time goes; no results are kept
    Profile {
        /// Names of rows, or parts of the names of several
        #[arg(required = true)]
        patterns: Vec<String>,
        /// Measured seconds
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// Print the names of all rows
    List,
    /// Write the table again from the kept results
    Report,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oxbench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let beside = std::env::current_exe()?.with_file_name("oxcast");
    // Servers start in a folder of their own, so the path must not depend on ours.
    let oxcast = absolute(arguments.oxcast.clone().unwrap_or(beside))?;
    let kept = arguments.dir.join("runs.json");
    let rows = rows(arguments.studio);
    match &arguments.action {
        Action::List => rows.iter().for_each(|row| println!("{row}")),
        Action::Report => report(&rows, &load(&kept)?, &oxcast, &arguments.dir)?,
        Action::Run { patterns, repeat, seconds } => {
            let chosen = choose(&rows, patterns, &oxcast);
            let driver = prepare(arguments, &chosen, &oxcast, *seconds)?;
            let runs = measure(&driver, &chosen, *repeat, &kept)?;
            report(&rows, &runs, &oxcast, &arguments.dir)?;
        }
        Action::Profile { patterns, seconds } => {
            let chosen = choose(&rows, patterns, &oxcast);
            let driver = Driver { profile: true, ..prepare(arguments, &chosen, &oxcast, *seconds)? };
            for row in chosen {
                let Run { cpu, user, system, .. } = driver.measure(&row)?;
                let data = driver.folder.join(row.to_string()).join("perf.data");
                let shares = profile::describe(&data)?;
                println!("{row}: {cpu:.3} cores ({user:.3} + {system:.3})\n\n{shares}");
            }
        }
    }
    Ok(())
}

/// Makes the test streams that the rows need, and all that is needed to run them.
fn prepare(arguments: &Arguments, chosen: &[Row], oxcast: &Path, seconds: u32) -> Result<Driver> {
    net::raise_file_limit()?;
    fs::create_dir_all(&arguments.dir)?;
    let here = std::env::current_exe()?;
    let (media, kbps) = test_stream(&arguments.dir, KBPS)?;
    let studios = chosen.iter().any(|row| matches!(row.load, Load::Segment(..)));
    let studio_kbps = if studios { arguments.studio.publisher_kbps } else { KBPS };
    let studio_media = test_stream(&arguments.dir, studio_kbps)?.0;
    let sound = absolute(arguments.dir.join("sound.ogg"))?;
    if !sound.exists() && chosen.iter().any(|row| row.load.rtc() == Some(Origin::Rtc)) {
        media::make_opus(&sound, STREAM_SECONDS)?;
    }
    Ok(Driver {
        oxcast: oxcast.to_owned(),
        oxload: here.with_file_name("oxload"),
        floor: here.with_file_name("floor"),
        folder: arguments.dir.clone(),
        media,
        kbps,
        studio_media,
        sound,
        seconds: seconds.max(2),
        profile: false,
    })
}

/// Those of `all` that `patterns` choose, without those of a server that is not there. A pattern that is a row's whole
/// name chooses that row alone.
fn choose(all: &[Row], patterns: &[String], oxcast: &Path) -> Vec<Row> {
    let names: Vec<_> = all.iter().map(Row::to_string).collect();
    let matches = |name: &String| {
        patterns.is_empty()
            || patterns
                .iter()
                .any(|pattern| if names.contains(pattern) { name == pattern } else { name.contains(pattern) })
    };
    let mut rows = all.to_vec();
    rows.retain(|row| matches(&row.to_string()));
    if !oxcast.exists() {
        eprintln!("oxbench: {} is absent, its rows are left out", oxcast.display());
        rows.retain(|row| !matches!(row.server, Server::Oxcast(_)));
    }
    rows
}

/// Runs all rows, then all again: what disturbs the machine for a while does not hit one row alone.
fn measure(driver: &Driver, rows: &[Row], repeat: u32, kept: &Path) -> Result<Runs> {
    let mut runs = load(kept).unwrap_or_default();
    rows.iter().for_each(|row| drop(runs.remove(&row.to_string())));
    for round in 1..=repeat {
        for row in rows {
            match driver.measure(row) {
                Ok(run) => {
                    let Run { cpu, core, generator, .. } = &run;
                    eprintln!(
                        "{round}/{repeat} {row}: {cpu:.3} cores, generator {generator:.2}, core 0 busy {core:.2}"
                    );
                    let complaints = run.complaints();
                    if !complaints.is_empty() {
                        eprintln!("{round}/{repeat} {row}: {complaints}");
                    }
                    runs.entry(row.to_string()).or_default().push(run);
                    fs::write(kept, serde_json::to_vec(&runs)?)?;
                }
                Err(error) => eprintln!("{round}/{repeat} {row}: failed: {error}"),
            }
        }
    }
    Ok(runs)
}

fn load(kept: &Path) -> Result<Runs> {
    let bytes = fs::read(kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// The test stream of about `kbps` in `folder`, made when it is not there yet, and its exact rate in kbit/s.
fn test_stream(folder: &Path, kbps: u32) -> Result<(PathBuf, f64)> {
    let name = if kbps == KBPS { "media.flv".to_owned() } else { format!("media-{kbps}.flv") };
    let out = folder.join(name);
    if !out.exists() {
        media::make(&Recipe { out: out.clone(), seconds: STREAM_SECONDS, kbps, fps: 30, gop: 60 })?;
    }
    let kbps = Media::load(&out)?.kbps;
    Ok((out.canonicalize()?, kbps))
}

fn report(rows: &[Row], runs: &Runs, oxcast: &Path, folder: &Path) -> Result<()> {
    let machine = machine::describe(oxcast, folder);
    let text = format!("{machine}\n{}\n{}", render(rows, runs), render_rtc(rows, runs));
    print!("{text}");
    fs::write(folder.join("report.md"), text)?;
    Ok(())
}
