//! What those who watch the server from outside are given.

use std::path::PathBuf;

use reqwest::Url;

use super::{Block, Reader};
use crate::config::{Exporter, Heartbeat, Traces, User};

/// Tells the address that heartbeats report, in SRS, too.
const DEVICE_IP: &str = "SRS_DEVICE_IP";

impl<'a> Reader<'a> {
    pub(super) fn exporter(&mut self, block: Block<'a>) -> Option<Exporter> {
        self.switch(block, "enabled").then(|| Exporter {
            listen: self.endpoints(block, "listen"),
            label: self.text(block, "label"),
            tag: self.text(block, "tag"),
            streams_limit: self.count(block, "streams_limit").unwrap_or(0),
        })
    }

    /// The interval is judged even if nothing is sent, as in SRS.
    pub(super) fn heartbeat(&mut self, block: Block<'a>) -> Option<Heartbeat> {
        let interval = self.duration(block, "interval");
        if interval.is_zero() {
            let problem = self.value(block, "interval").problem(self.files, 0, "`interval` is at least 1 s");
            self.problems.push(problem);
        }
        if !self.switch(block, "enabled") {
            return None;
        }
        let mut url = self.url(block, "url")?;
        url.set_query(None);
        Some(Heartbeat {
            interval,
            url,
            device_id: self.text(block, "device_id"),
            ip: self.env.value(DEVICE_IP).map(str::to_owned),
            summaries: self.switch(block, "summaries"),
            ports: self.switch(block, "ports"),
            tls_ca: self.tls_ca(block),
        })
    }

    pub(super) fn traces(&mut self, block: Block<'a>) -> Option<Traces> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let sample = self.value(block, "sample");
        let share = self.float(&sample);
        if !(0.0..=1.0).contains(&share) {
            self.problems.push(sample.problem(self.files, 0, "`sample` is a share, 0 to 1"));
        }
        let mut endpoint = self.url(block, "endpoint")?;
        if endpoint.path() == "/" {
            endpoint.set_path("/v1/traces");
        }
        let service_name = self.text(block, "service_name");
        Some(Traces { endpoint, service_name, sample: share, tls_ca: self.tls_ca(block) })
    }

    pub(super) fn user(&mut self, top: Block<'a>) -> Option<User> {
        let value = self.value(top, "user");
        let mut words = value.words.iter().map(|&word| word.to_owned());
        let user = words.next().map(|name| User { name, group: words.next() });
        if words.next().is_some() {
            self.problems.push(value.problem(self.files, 2, "`user` has a name, and perhaps a group"));
        }
        user
    }

    /// Something to be asked over HTTP.
    fn url(&mut self, block: Block<'a>, name: &str) -> Option<Url> {
        let value = self.value(block, name);
        let url = Url::parse(value.text()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            let message = format!("`{}` is no address of HTTP", value.text());
            let problem = value.problem(self.files, 0, message);
            self.problems.push(problem.help("write `http://host:port/path` or `https://…`"));
        }
        url
    }

    fn tls_ca(&mut self, block: Block<'a>) -> Option<PathBuf> {
        Some(self.path(block, "tls_ca")).filter(|path| !path.as_os_str().is_empty())
    }
}
