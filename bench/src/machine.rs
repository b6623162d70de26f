//! What the numbers were measured on: a few lines of Markdown.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use rustix::system::uname;

/// CPU, memory, kernel, the file system of `folder` and the versions of what takes part.
pub fn describe(oxcast: &Path, folder: &Path) -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let cpu = field("/proc/cpuinfo", "model name");
    let memory =
        field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<u64>().unwrap_or_default() >> 20;
    let kernel = uname().release().to_string_lossy().into_owned();
    format!(
        "- CPU: {cpu}, {cores} cores; memory: {memory} GiB; kernel: Linux {kernel}; files: {}\n\
         - oxcast: {}\n- nginx: {}\n- ffmpeg (test stream only): {}\n",
        file_system(folder),
        version(oxcast, "-v"),
        version(Path::new("nginx"), "-v"),
        version(Path::new("ffmpeg"), "-version"),
    )
}

/// The value behind `name :` in a file of such lines.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// What kind of file system holds `folder`, which HLS is written to.
fn file_system(folder: &Path) -> String {
    let Ok(output) = Command::new("df").arg("--output=fstype").arg(folder).output() else {
        return "unknown".to_owned();
    };
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().nth(1).map_or_else(|| "unknown".to_owned(), |kind| kind.trim().to_owned())
}

/// The first line a program says of itself; nginx says it on standard error.
fn version(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return "absent".to_owned() };
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("unknown").to_owned()
}
