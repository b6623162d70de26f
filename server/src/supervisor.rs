//! What a service manager is told, in the way of systemd's `sd_notify`: that the server is ready, reloads or stops, and that it is alive.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};

use crate::config::Environment;
use crate::net::Loads;

/// See the module. Does nothing where there is no service manager.
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    /// It restarts a server that is silent for this long.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one of this process, by the variables that it has set; or, for who takes over, of the process before.
    pub fn of_process(env: &Environment, takes_over: bool) -> Self {
        let socket = env.value("NOTIFY_SOCKET").and_then(|name| {
            connect(name).inspect_err(|e| warn!("NOTIFY_SOCKET {name} cannot be used: {e}")).ok()
        });
        let is_meant =
            takes_over || env.value("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = env.value("WATCHDOG_USEC").and_then(|micros| micros.parse().ok());
        let watchdog = micros.filter(|micros| is_meant && *micros > 0).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// The server serves.
    pub fn tell_ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// The configuration is read again; [`Supervisor::tell_ready`] ends it.
    pub fn tell_reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the configuration again"));
    }

    /// The server is about to end.
    pub fn tell_stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Another process goes on.
    pub fn tell_successor(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// Tells that the server is alive, as long as each core is. Runs for ever, or not at all.
    pub async fn reassure(&self, loads: Loads) {
        let (Some(_), Some(patience)) = (&self.socket, self.watchdog) else { return };
        let mut looks = interval(patience / 2);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Vec::new();
        loop {
            looks.tick().await;
            let now = loads.beats();
            let hangs = before.iter().zip(&now).position(|(before, now)| before == now);
            match hangs.filter(|_| patience > Self::BEAT * 4) {
                Some(core) => error!("core {core} hangs, the service manager is not told that all is well"),
                None => self.tell("WATCHDOG=1"),
            }
            before = now;
        }
    }

    /// How often a core shows that it lives, with some patience.
    const BEAT: Duration = Duration::from_millis(250);

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(e) = socket.send(state.as_bytes())
        {
            warn!("the service manager cannot be told: {e}");
        }
    }
}

/// A name that begins with `@` is none of the file system.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // It must never hold the server up.
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_manager_nobody_is_told() {
        let nobody = Supervisor::of_process(&Environment::default(), false);
        nobody.tell_ready();
        assert!(nobody.socket.is_none() && nobody.watchdog.is_none());
    }

    #[test]
    fn abstract_names_and_the_watchdog_of_others() {
        let name = format!("oxcast-test-{}", std::process::id());
        let heard = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let variables = [
            ("NOTIFY_SOCKET", format!("@{name}")),
            ("WATCHDOG_USEC", "5".into()),
            ("WATCHDOG_PID", "1".into()),
        ];
        let supervisor = Supervisor::of_process(&variables.into_iter().collect(), false);
        assert_eq!(supervisor.watchdog, None);
        supervisor.tell_reloading();
        let mut buffer = [0; 200];
        let n = heard.recv(&mut buffer).unwrap();
        assert!(buffer[..n].starts_with(b"RELOADING=1\nMONOTONIC_USEC="));
    }
}
