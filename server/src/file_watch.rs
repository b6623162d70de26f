//! Looks after the configuration file, and has it reloaded when it changes (`inotify_auto_reload`). The folder is watched, not the file: editors and
//! Kubernetes put another file in its place, the latter by a link called `..data` beside it.

use std::ffi::{CStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::reload::Reloads;

/// A change comes in many steps; this long after the first one they are over.
const SETTLED: Duration = Duration::from_millis(300);
/// No more than one reload in so much time.
const REST: Duration = Duration::from_secs(3);

/// Asks for a reload whenever the file at this absolute path has changed, on a thread of its own, for ever.
///
/// # Errors
/// The system refuses to watch.
pub fn start(path: &Path, reloads: Reloads) -> io::Result<()> {
    let events = inotify::init(CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MODIFY;
    inotify::add_watch(&events, path.parent().unwrap_or(Path::new("/")), flags)?;
    let name = path.file_name().unwrap_or_default().to_owned();
    thread::Builder::new().name("config".into()).spawn(move || run(&events, &name, &reloads))?;
    Ok(())
}

fn run(events: &OwnedFd, name: &OsString, reloads: &Reloads) {
    let mut room = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut room);
    let is_ours = |event: &inotify::Event<'_>| {
        let told = event.file_name().map(CStr::to_bytes).unwrap_or_default();
        told == name.as_bytes() || told == b"..data"
    };
    while let Ok(event) = reader.next() {
        if is_ours(&event) {
            thread::sleep(SETTLED);
            // What comes during the rest is found when it is over.
            while !reader.is_buffer_empty() && reader.next().is_ok() {}
            reloads.ask("a change of the file");
            thread::sleep(REST);
        }
    }
}
