//! What is compared with what: the rows of the table, and the configuration each server gets.

use std::fmt;
use std::path::Path;

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
    /// So many publishers, and ten players that measure latency.
    Publish(usize),
    /// So many players of the floor.
    Raw(usize),
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
pub fn rows() -> Vec<Row> {
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
    add(Server::Nginx, Load::Publish(200));
    add(Server::Oxcast(None), Load::Publish(200));
    rows.push(Row { server: Server::Oxcast(None), load: Load::Rtmp(2000), cores: Cores::Both });
    rows
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
            Self::Publish(count) => write!(f, "publish-{count}"),
            Self::Raw(count) => write!(f, "raw-{count}"),
        }
    }
}

/// Ports of one run.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// RTMP, or the floor's own.
    pub rtmp: u16,
    /// HTTP-FLV.
    pub http: u16,
    /// HTTP API.
    pub api: u16,
}

/// The configuration of oxcast, in SRS's grammar; it writes into `folder` only.
///
/// A fixed latency comes with `mw_msgs 0`: by SRS's rule a merged write otherwise waits for nine messages as well, which
/// takes longer than 33 ms.
pub fn oxcast_conf(latency: Option<u32>, ports: Ports, folder: &Path) -> String {
    let Ports { rtmp, http, api } = ports;
    let play =
        latency.map_or(String::new(), |latency| format!("\n    play {{ mw_latency {latency}; mw_msgs 0; }}"));
    format!(
        "listen {rtmp};
max_connections 10000;
daemon off;
srs_log_tank console;
srs_log_level warn;
pid {}/oxcast.pid;
http_server {{ enabled on; listen {http}; }}
http_api {{ enabled on; listen {api}; }}
vhost __defaultVhost__ {{
    http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; }}{play}
}}
",
        folder.display()
    )
}

/// The configuration of nginx: the module's defaults, one process, no access log.
pub fn nginx_conf(ports: Ports, folder: &Path) -> String {
    format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
worker_processes 1;
pid {}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{};
        application live {{ live on; }}
    }}
}}
",
        folder.display(),
        ports.rtmp
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let rows = rows();
        let names: HashSet<_> = rows.iter().map(Row::to_string).collect();
        assert_eq!(names.len(), rows.len());
        for name in ["oxcast-adaptive-rtmp-2000-2cores", "nginx-publish-200", "floor-33-raw-100"] {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn only_a_fixed_latency_is_configured() {
        let ports = Ports { rtmp: 1, http: 2, api: 3 };
        assert!(oxcast_conf(Some(33), ports, Path::new("/x")).contains("mw_latency 33;"));
        let adaptive = oxcast_conf(None, ports, Path::new("/x"));
        assert!(!adaptive.contains("play"));
        assert_eq!(adaptive.matches('{').count(), adaptive.matches('}').count());
    }
}
