//! Figures of the process and the machine, read from the kernel now and then by one task. How often is SRS's choice, so
//! that rates mean the same. How they are shown does not belong here.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::resource::{UsageWho, getrusage};
use parking_lot::Mutex;
use procfs::prelude::*;
use procfs::process::Process as ProcProcess;
use procfs::{KernelStats, LoadAverage, Meminfo, Uptime};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::MissedTickBehavior;

use crate::gate::Gate;
use crate::session::Roll;

/// The newest figures.
#[derive(Debug, Default)]
pub struct Samples(Mutex<Figures>);

/// All figures; each is absent until it was read once.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) process: Option<Sample<Process>>,
    pub(super) processors: Option<Sample<Processors>>,
    pub(super) usage: Option<Sample<Usage>>,
    pub(super) memory: Option<Sample<Memory>>,
    pub(super) disk: Option<Sample<Disk>>,
    pub(super) platform: Option<Sample<Platform>>,
    pub(super) network: Option<Sample<Network>>,
    pub(super) sockets: Option<Sample<Sockets>>,
    /// Files that the process has open.
    open_files: Option<Sample<u64>>,
}

/// How the process does, in the units of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vitals {
    /// All threads together; 1 is one core.
    pub load: f64,
    /// Seconds of processor time since the start.
    pub busy: f64,
    /// Bytes of memory: resident, and with all that is only mapped.
    pub resident: u64,
    /// See above.
    pub mapped: u64,
    /// Threads.
    pub threads: u64,
    /// Files, sockets included.
    pub open_files: u64,
}

impl Figures {
    /// Each has been read.
    pub(super) fn are_complete(&self) -> bool {
        self.process.is_some()
            && self.processors.is_some()
            && self.usage.is_some()
            && self.memory.is_some()
            && self.disk.is_some()
            && self.platform.is_some()
            && self.network.is_some()
            && self.sockets.is_some()
    }
}

/// What was read, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample<T> {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    pub(super) value: T,
}

/// `/proc/self/stat`, by the names of its columns.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Process {
    /// All threads together; 1 is one core.
    pub(super) percent: f64,
    #[serde(flatten)]
    pub(super) columns: Map<String, Value>,
}

impl Default for Process {
    fn default() -> Self {
        let zero = |name| if matches!(name, "comm" | "state") { "".into() } else { 0.into() };
        let columns = COLUMNS.iter().map(|&name| (name.to_owned(), zero(name))).collect();
        Self { percent: 0.0, columns }
    }
}

/// The first line of `/proc/stat`, in ticks.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Processors {
    /// 1 is the whole machine.
    pub(super) percent: f64,
    user: u64,
    nice: u64,
    sys: u64,
    idle: u64,
    iowait: u64,
    irq: u64,
    softirq: u64,
    steal: u64,
    guest: u64,
}

impl Processors {
    /// Guest time is contained in user time.
    fn busy_and_total(&self) -> (u64, u64) {
        let busy = self.user + self.nice + self.sys + self.irq + self.softirq + self.steal;
        (busy, busy + self.idle + self.iowait)
    }
}

/// `getrusage`: seconds, KB, and counts.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Usage {
    ru_utime: i64,
    ru_stime: i64,
    pub(super) ru_maxrss: i64,
    ru_ixrss: i64,
    ru_idrss: i64,
    ru_isrss: i64,
    ru_minflt: i64,
    ru_majflt: i64,
    ru_nswap: i64,
    ru_inblock: i64,
    ru_oublock: i64,
    ru_msgsnd: i64,
    ru_msgrcv: i64,
    ru_nsignals: i64,
    ru_nvcsw: i64,
    ru_nivcsw: i64,
}

/// Memory of the machine; shares of 1, and KB.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Memory {
    pub(super) percent_ram: f64,
    pub(super) percent_swap: f64,
    #[serde(rename = "MemActive")]
    active: u64,
    #[serde(rename = "RealInUse")]
    in_use: u64,
    #[serde(rename = "NotInUse")]
    not_in_use: u64,
    #[serde(rename = "MemTotal")]
    pub(super) total: u64,
    #[serde(rename = "MemFree")]
    free: u64,
    #[serde(rename = "Buffers")]
    buffers: u64,
    #[serde(rename = "Cached")]
    cached: u64,
    #[serde(rename = "SwapTotal")]
    pub(super) swap_total: u64,
    #[serde(rename = "SwapFree")]
    swap_free: u64,
}

/// Disks.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// KB/s of the machine.
    pub(super) read: u64,
    /// KB/s of the machine.
    pub(super) written: u64,
    /// Share of time in which the configured devices were busy, on average.
    pub(super) busy: f64,
}

/// The machine as such.
#[derive(Clone, Debug, Default)]
pub(super) struct Platform {
    /// Seconds since it started.
    pub(super) uptime: f64,
    /// Seconds without work, of all processors together.
    pub(super) idle: f64,
    /// Over 1, 5 and 15 minutes.
    pub(super) load: [f64; 3],
    /// Processors that it has, and those in use.
    pub(super) cpus: (u64, u64),
}

/// Bytes that network interfaces have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Network {
    /// Received and sent by those with a public address.
    pub(super) public: (u64, u64),
    /// Received and sent by those with private addresses only, `lo` among them.
    pub(super) private: (u64, u64),
}

/// Sockets of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    pub(super) tcp: u64,
    pub(super) established: u64,
    pub(super) time_wait: u64,
    pub(super) udp: u64,
}

impl Samples {
    /// All that is known.
    pub(super) fn figures(&self) -> Figures {
        self.0.lock().clone()
    }

    /// How the process does.
    pub fn vitals(&self) -> Vitals {
        let figures = self.0.lock();
        let Some(Sample { value: process, .. }) = &figures.process else { return Vitals::default() };
        let column = |name: &str| process.columns.get(name).and_then(Value::as_u64).unwrap_or(0);
        let ticks = column("utime") + column("stime");
        Vitals {
            load: process.percent,
            busy: ticks as f64 / procfs::ticks_per_second() as f64,
            resident: column("rss") * procfs::page_size(),
            mapped: column("vsize"),
            threads: column("num_threads"),
            open_files: figures.open_files.as_ref().map_or(0, |files| files.value),
        }
    }
}

/// Keeps `samples` and the bit rates of `roll` up to date, for ever. Reads for well below a millisecond
/// each second. With `stats.enabled off`, most is read at the start only, and rates stay 0.
pub async fn run_samplers(gate: Arc<Gate>, roll: Arc<Roll>, samples: Arc<Samples>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut meter = Meter::default();
    for second in 0u64.. {
        every.tick().await;
        let config = gate.config();
        let all = config.stats.enabled;
        if meter.disks != config.stats.disk {
            meter.disks.clone_from(&config.stats.disk);
        }
        meter.read(&samples, |period| is_due(all, period, second));
        if all && is_due(all, 3, second) {
            roll.sample_rates(Instant::now());
        }
    }
}

/// Whether what is read every `period` seconds is read in this second: all of it at first, and later, unless `all` is wanted, only
/// what is read each second.
fn is_due(all: bool, period: u64, second: u64) -> bool {
    second == 0 || period == 1 || (all && second.is_multiple_of(period))
}

/// Reads, and remembers what rates are made of.
#[derive(Default)]
struct Meter {
    disks: Vec<String>,
    process: Option<(Instant, u64)>,
    processors: Option<(u64, u64)>,
    disk: Option<(Instant, DiskCounts)>,
}

/// What disks have done since the machine started: KB, KB, and milliseconds in which they were busy.
#[derive(Clone, Copy)]
struct DiskCounts {
    read: u64,
    written: u64,
    /// Of the configured devices that exist, together.
    busy: u64,
    devices: usize,
}

impl Meter {
    /// Reads what is due; `due` is asked with the period in seconds. A figure that cannot be read keeps its old value.
    fn read(&mut self, samples: &Samples, due: impl Fn(u64) -> bool) {
        // Nobody else writes, and those who ask need not wait for the kernel.
        let mut figures = samples.figures();
        if due(1) {
            keep(&mut figures.process, self.process());
            keep(&mut figures.processors, self.processors());
        }
        if due(3) {
            keep(&mut figures.usage, usage());
        }
        if due(6) {
            keep(&mut figures.memory, memory());
            keep(&mut figures.disk, self.disk());
            keep(&mut figures.open_files, open_files());
        }
        if due(9) {
            keep(&mut figures.platform, platform());
            keep(&mut figures.network, network());
            keep(&mut figures.sockets, sockets());
        }
        *samples.0.lock() = figures;
    }

    fn process(&mut self) -> io::Result<Process> {
        let stat = ProcProcess::myself().and_then(|process| process.stat()).map_err(io::Error::other)?;
        let (now, ticks) = (Instant::now(), stat.utime + stat.stime);
        let before = self.process.replace((now, ticks));
        let percent = before.map_or(0.0, |(then, before)| {
            let seconds = ticks.saturating_sub(before) as f64 / procfs::ticks_per_second() as f64;
            rate(seconds, now - then)
        });
        let comm = format!("({})", stat.comm);
        let mut columns = Process::default().columns;
        let mut all = serde_json::to_value(stat)?;
        columns.iter_mut().for_each(|(name, value)| *value = all[name.as_str()].take());
        columns.insert("comm".into(), comm.into());
        Ok(Process { percent, columns })
    }

    fn processors(&mut self) -> io::Result<Processors> {
        let time = KernelStats::current().map_err(io::Error::other)?.total;
        let mut read = Processors {
            percent: 0.0,
            user: time.user,
            nice: time.nice,
            sys: time.system,
            idle: time.idle,
            iowait: time.iowait.unwrap_or(0),
            irq: time.irq.unwrap_or(0),
            softirq: time.softirq.unwrap_or(0),
            steal: time.steal.unwrap_or(0),
            guest: time.guest.unwrap_or(0),
        };
        let (busy, total) = read.busy_and_total();
        if let Some((busy_before, total_before)) = self.processors.replace((busy, total)) {
            read.percent = share(busy.saturating_sub(busy_before), total.saturating_sub(total_before));
        }
        Ok(read)
    }

    fn disk(&mut self) -> io::Result<Disk> {
        let now = Instant::now();
        let counts = self.disk_counts()?;
        let Some((then, before)) = self.disk.replace((now, counts)) else { return Ok(Disk::default()) };
        let elapsed = now - then;
        let per_second = |now: u64, before: u64| rate(now.saturating_sub(before) as f64, elapsed);
        // A device may have been unplugged.
        let devices = counts.devices.min(before.devices).max(1) as f64;
        Ok(Disk {
            read: per_second(counts.read, before.read) as u64,
            written: per_second(counts.written, before.written) as u64,
            busy: (per_second(counts.busy, before.busy) / 1000.0 / devices).min(1.0),
        })
    }

    fn disk_counts(&self) -> io::Result<DiskCounts> {
        let vmstat = procfs::vmstat().map_err(io::Error::other)?;
        let paged = |name: &str| vmstat.get(name).and_then(|&kb| u64::try_from(kb).ok()).unwrap_or(0);
        let mut counts = DiskCounts { read: paged("pgpgin"), written: paged("pgpgout"), busy: 0, devices: 0 };
        if !self.disks.is_empty() {
            let all = procfs::diskstats().map_err(io::Error::other)?;
            for disk in all.iter().filter(|disk| self.disks.contains(&disk.name)) {
                counts.busy += disk.time_in_progress;
                counts.devices += 1;
            }
        }
        Ok(counts)
    }
}

/// Columns of `/proc/self/stat`. Those further back tell where things lie in memory, and no client of SRS's API knows them.
const COLUMNS: [&str; 44] = [
    "pid",
    "comm",
    "state",
    "ppid",
    "pgrp",
    "session",
    "tty_nr",
    "tpgid",
    "flags",
    "minflt",
    "cminflt",
    "majflt",
    "cmajflt",
    "utime",
    "stime",
    "cutime",
    "cstime",
    "priority",
    "nice",
    "num_threads",
    "itrealvalue",
    "starttime",
    "vsize",
    "rss",
    "rsslim",
    "startcode",
    "endcode",
    "startstack",
    "kstkesp",
    "kstkeip",
    "signal",
    "blocked",
    "sigignore",
    "sigcatch",
    "wchan",
    "nswap",
    "cnswap",
    "exit_signal",
    "processor",
    "rt_priority",
    "policy",
    "delayacct_blkio_ticks",
    "guest_time",
    "cguest_time",
];

fn keep<T>(place: &mut Option<Sample<T>>, read: io::Result<T>) {
    match read {
        Ok(value) => *place = Some(Sample { at: Timestamp::now().as_millisecond(), value }),
        Err(error) => tracing::debug!("a figure of the machine cannot be read: {error}"),
    }
}

fn rate(amount: f64, time: Duration) -> f64 {
    amount / time.as_secs_f64().max(0.001)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn usage() -> io::Result<Usage> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    // The kernel's own maximum goes back to before `exec`, and may be that of whoever started us.
    let status = ProcProcess::myself().and_then(|me| me.status()).map_err(io::Error::other)?;
    let peak = status.vmhwm.and_then(|kb| i64::try_from(kb).ok());
    Ok(Usage {
        ru_utime: usage.user_time().tv_sec(),
        ru_stime: usage.system_time().tv_sec(),
        ru_maxrss: peak.unwrap_or(usage.max_rss()),
        ru_ixrss: usage.shared_integral(),
        ru_idrss: usage.unshared_data_integral(),
        ru_isrss: usage.unshared_stack_integral(),
        ru_minflt: usage.minor_page_faults(),
        ru_majflt: usage.major_page_faults(),
        ru_nswap: usage.full_swaps(),
        ru_inblock: usage.block_reads(),
        ru_oublock: usage.block_writes(),
        ru_msgsnd: usage.ipc_sends(),
        ru_msgrcv: usage.ipc_receives(),
        ru_nsignals: usage.signals(),
        ru_nvcsw: usage.voluntary_context_switches(),
        ru_nivcsw: usage.involuntary_context_switches(),
    })
}

/// Counted entry by entry: older kernels tell no number.
fn open_files() -> io::Result<u64> {
    // The folder itself is one of them.
    Ok(fs::read_dir("/proc/self/fd")?.count().saturating_sub(1) as u64)
}

fn memory() -> io::Result<Memory> {
    let info = Meminfo::current().map_err(io::Error::other)?;
    let kb = |bytes: u64| bytes / 1024;
    let (total, free, buffers, cached) =
        (kb(info.mem_total), kb(info.mem_free), kb(info.buffers), kb(info.cached));
    let (swap_total, swap_free) = (kb(info.swap_total), kb(info.swap_free));
    let active = total.saturating_sub(free);
    let in_use = active.saturating_sub(buffers + cached);
    Ok(Memory {
        percent_ram: share(in_use, total),
        percent_swap: share(swap_total.saturating_sub(swap_free), swap_total),
        active,
        in_use,
        not_in_use: total.saturating_sub(in_use),
        total,
        free,
        buffers,
        cached,
        swap_total,
        swap_free,
    })
}

fn platform() -> io::Result<Platform> {
    let uptime = Uptime::current().map_err(io::Error::other)?;
    let load = LoadAverage::current().map_err(io::Error::other)?;
    let cpus =
        |which| fs::read_to_string(format!("/sys/devices/system/cpu/{which}")).map(|list| count(&list));
    Ok(Platform {
        uptime: uptime.uptime,
        idle: uptime.idle,
        load: [load.one, load.five, load.fifteen].map(f64::from),
        cpus: (cpus("present")?, cpus("online")?),
    })
}

/// How many numbers a list of the kernel like `0-3,6` has.
fn count(list: &str) -> u64 {
    list.trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)? + 1)
        })
        .sum()
}

fn network() -> io::Result<Network> {
    let devices = procfs::net::dev_status().map_err(io::Error::other)?;
    let mut network = Network::default();
    let mut addresses: Vec<(String, bool)> = Vec::new();
    for interface in getifaddrs()? {
        if let Some(ip) = address(&interface) {
            let public = !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK) && is_public(ip);
            addresses.push((interface.interface_name, public));
        }
    }
    for (name, device) in &devices {
        let mut public = addresses.iter().filter(|(of, _)| of == name).map(|(_, public)| *public).peekable();
        if public.peek().is_none() {
            continue;
        }
        let place = if public.any(|p| p) { &mut network.public } else { &mut network.private };
        place.0 += device.recv_bytes;
        place.1 += device.sent_bytes;
    }
    Ok(network)
}

/// The IP address of an interface; an interface with several is told several times.
pub(super) fn address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

/// The whole internet may know this address.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()),
        IpAddr::V6(ip) => {
            !(ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified())
        }
    }
}

fn sockets() -> io::Result<Sockets> {
    let v4 = fs::read_to_string("/proc/net/sockstat")?;
    // Absent without IPv6.
    let v6 = fs::read_to_string("/proc/net/sockstat6").unwrap_or_default();
    let snmp = fs::read_to_string("/proc/net/snmp")?;
    Ok(Sockets {
        tcp: value(&v4, "TCP:", "alloc") + value(&v4, "TCP:", "tw"),
        established: established(&snmp),
        time_wait: value(&v4, "TCP:", "tw"),
        udp: value(&v4, "UDP:", "inuse") + value(&v6, "UDP6:", "inuse"),
    })
}

/// What follows the word `name` in the line that starts with `label`; 0 if there is none.
fn value(text: &str, label: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(label)).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != name);
    words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// `CurrEstab` of the two lines `Tcp:`, names and values.
fn established(snmp: &str) -> u64 {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    names.zip(values).find(|(name, _)| *name == "CurrEstab").and_then(|(_, v)| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_figures() {
        let samples = Samples::default();
        let mut meter = Meter::default();
        meter.read(&samples, |period| period == 1);
        assert!(!samples.figures().are_complete());
        meter.read(&samples, |_| true);
        let figures = samples.figures();
        assert!(figures.are_complete());
        let memory = figures.memory.unwrap().value;
        assert!(memory.total > 0 && (0.0..=1.0).contains(&memory.percent_ram));
        assert_eq!(memory.in_use + memory.not_in_use, memory.total);
        let platform = figures.platform.unwrap().value;
        assert!(platform.cpus.0 >= platform.cpus.1 && platform.cpus.1 > 0 && platform.uptime > 0.0);
        assert_eq!(figures.process.unwrap().value.columns["pid"], std::process::id());
        assert!(figures.usage.unwrap().value.ru_maxrss > 0);
    }

    #[test]
    fn work_shows_as_percent() {
        let samples = Samples::default();
        let mut meter = Meter::default();
        meter.read(&samples, |period| period == 1);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            std::hint::black_box(start.elapsed());
        }
        meter.read(&samples, |period| period == 1);
        let figures = samples.figures();
        assert!(figures.process.unwrap().value.percent > 0.1);
        let machine = figures.processors.unwrap().value.percent;
        assert!(machine > 0.0 && machine <= 1.0, "{machine}");
    }

    #[test]
    fn work_of_all_threads_counts() {
        let samples = Samples::default();
        let mut meter = Meter::default();
        let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        meter.read(&samples, |period| period == 1);
        let (start, before) = (Instant::now(), cpu());
        let work = || while start.elapsed() < Duration::from_millis(600) {};
        std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(work))));
        let (passed, after) = (start.elapsed(), cpu());
        meter.read(&samples, |period| period == 1);
        let seconds = (after.tv_sec - before.tv_sec) as f64 + (after.tv_nsec - before.tv_nsec) as f64 / 1e9;
        let want = seconds / passed.as_secs_f64();
        let percent = samples.figures().process.unwrap().value.percent;
        // The kernel counts in hundredths of a second, and other tests run in this process.
        assert!((percent - want).abs() < 0.1 + want * 0.1, "{percent}, not {want}");
    }

    #[test]
    fn columns_are_those_of_the_kernel() {
        let samples = Samples::default();
        Meter::default().read(&samples, |period| period == 1);
        let columns = samples.figures().process.unwrap().value.columns;
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (comm, rest) = stat.rsplit_once(')').unwrap();
        assert_eq!(columns["comm"], comm.split_once(' ').unwrap().1.to_owned() + ")");
        let rest: Vec<_> = rest.split_whitespace().collect();
        let steady =
            ["ppid", "pgrp", "session", "starttime", "startcode", "exit_signal", "policy", "nice", "flags"];
        for (name, text) in columns.iter().skip(2).zip(&rest) {
            assert!(!name.1.is_null(), "{} is missing", name.0);
            if steady.contains(&name.0.as_str()) {
                assert_eq!(name.1.to_string(), **text, "{}", name.0);
            }
        }
    }

    #[test]
    fn what_is_read_when() {
        let read = |all, second| [1, 3, 6, 9].map(|period| is_due(all, period, second));
        assert_eq!([read(true, 0), read(false, 0)], [[true; 4]; 2]);
        assert_eq!(read(true, 3), [true, true, false, false]);
        assert_eq!(read(true, 6), [true, true, true, false]);
        assert_eq!(read(true, 18), [true; 4]);
        assert_eq!([read(false, 3), read(false, 18)], [[true, false, false, false]; 2]);
    }

    #[test]
    fn configured_disks_are_watched() {
        // Those of this machine, if it has any, and one that it has not.
        let disks = procfs::diskstats().unwrap_or_default().into_iter().map(|disk| disk.name);
        let disks: Vec<_> = disks.chain(["none0".to_owned()]).collect();
        let meter = Meter { disks: disks.clone(), ..Meter::default() };
        let counts = meter.disk_counts().unwrap();
        assert_eq!(counts.devices, disks.len() - 1);
        assert_eq!(Meter::default().disk_counts().unwrap().busy, 0);
        let mut meter = meter;
        let samples = Samples::default();
        meter.read(&samples, |period| period == 6);
        // As if they had been busy for half of the last second.
        let before = DiskCounts { busy: counts.busy.saturating_sub(500 * counts.devices as u64), ..counts };
        meter.disk = Some((Instant::now() - Duration::from_secs(1), before));
        meter.read(&samples, |period| period == 6);
        let busy = samples.figures().disk.unwrap().value.busy;
        assert!(counts.devices == 0 || (0.3..=1.0).contains(&busy), "{busy}");
    }

    #[test]
    fn lists_of_processors() {
        assert_eq!([count("0-3,6\n"), count("0"), count("0-1,4-5"), count("")], [5, 1, 4, 0]);
    }

    #[test]
    fn socket_tables() {
        let text = "sockets: used 292\nTCP: inuse 5 orphan 0 tw 3 alloc 8 mem 1\nUDP: inuse 4 mem 2\nUDPLITE: inuse 0\n";
        assert_eq!(
            (value(text, "TCP:", "alloc"), value(text, "TCP:", "tw"), value(text, "UDP:", "inuse")),
            (8, 3, 4)
        );
        assert_eq!(value(text, "RAW:", "inuse"), 0);
        let snmp = "Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens CurrEstab\nTcp: 200 7 12\n";
        assert_eq!((established(snmp), established("")), (12, 0));
    }

    #[test]
    fn public_and_private_addresses() {
        let public = |ip: &str| is_public(ip.parse().unwrap());
        assert!(public("203.0.113.9") && public("2001:db8::1"));
        assert!(!public("10.1.2.3") && !public("192.168.0.1") && !public("127.0.0.1") && !public("fe80::1"));
    }
}
