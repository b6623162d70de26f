//! Who may publish and play: `security`, `refer`, `http_hooks`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;

use super::{Block, Reader};
use crate::config::report::Problem;
use crate::config::tree::Node;
use crate::config::{Hooks, Refer, Rule, Security};

/// Less would refuse everybody on a network that hesitates once.
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);

impl<'a> Reader<'a> {
    pub(super) fn security(&mut self, block: Block<'a>) -> Option<Security> {
        let security = Security { deny: self.rules(block, "deny"), allow: self.rules(block, "allow") };
        self.switch(block, "enabled").then_some(security)
    }

    /// `allow` or `deny`, each followed by `publish` or `play` and by whom it is about.
    fn rules(&mut self, block: Block<'a>, name: &str) -> Vec<Rule> {
        let lines = block.nodes.iter().filter(|node| node.name.text == name);
        lines.filter_map(|line| self.rule(line)).collect()
    }

    fn rule(&mut self, line: &Node) -> Option<Rule> {
        let (role, from) = (line.args.first(), line.args.get(1));
        let publish = match role.map(|word| word.text.as_str()) {
            Some("publish") => true,
            Some("play") => false,
            _ => {
                self.odd_rule(line, 0, "a rule is about `publish` or `play`");
                return None;
            }
        };
        let from = match from.map(|word| word.text.as_str()) {
            Some("all") => None,
            Some(text) => match network(text) {
                Some(net) => Some(net),
                None => {
                    self.odd_rule(line, 1, &format!("`{text}` is no address and no network"));
                    return None;
                }
            },
            None => {
                self.odd_rule(line, 0, "a rule says for whom it is");
                return None;
            }
        };
        if line.args.len() > 2 {
            self.odd_rule(line, 2, "one rule is about one network");
        }
        Some(Rule { publish, from })
    }

    /// A rule that nobody can follow would leave a door open, so that it is no warning.
    fn odd_rule(&mut self, line: &Node, index: usize, message: &str) {
        let span = line.args.get(index).unwrap_or(&line.name).span;
        let problem = Problem::new(message).at(self.files.place(span));
        self.problems.push(problem.help("write it like `allow play all;` or `deny publish 192.0.2.0/24;`"));
    }

    pub(super) fn refer(&mut self, block: Block<'a>) -> Option<Refer> {
        let domains = |name| self.value(block, name).words.iter().map(|&word| word.to_owned()).collect();
        let refer = Refer { all: domains("all"), publish: domains("publish"), play: domains("play") };
        self.switch(block, "enabled").then_some(refer)
    }

    pub(super) fn hooks(&mut self, block: Block<'a>, hls: Block<'a>) -> Option<Hooks> {
        let hooks = Hooks {
            on_connect: self.urls(block, "on_connect"),
            on_close: self.urls(block, "on_close"),
            on_publish: self.urls(block, "on_publish"),
            on_unpublish: self.urls(block, "on_unpublish"),
            on_play: self.urls(block, "on_play"),
            on_stop: self.urls(block, "on_stop"),
            on_hls: self.urls(block, "on_hls"),
            on_hls_notify: self.patterns(block, "on_hls_notify"),
            hls_nb_notify: usize::try_from(self.int(&self.value(hls, "hls_nb_notify"))).unwrap_or(0),
            timeout: self.patience(block),
            tls_ca: Some(self.path(block, "tls_ca")).filter(|path| !path.as_os_str().is_empty()),
        };
        self.switch(block, "enabled").then_some(hooks)
    }

    /// The `timeout` of a block that calls services.
    fn patience(&mut self, block: Block<'a>) -> Duration {
        let time = self.duration(block, "timeout");
        if time < LEAST_TIMEOUT {
            let message = format!("`timeout` must be at least {LEAST_TIMEOUT:?}: that counts");
            self.warn(self.value(block, "timeout").problem(self.files, 0, message));
        }
        time.max(LEAST_TIMEOUT)
    }

    /// Proxies in front of this server, whose word about the addresses of clients counts.
    pub(super) fn proxies(&mut self, block: Block<'a>) -> Vec<IpNet> {
        let value = self.value(block, "trusted_proxies");
        let mut proxies = Vec::new();
        for (index, text) in value.words.iter().enumerate() {
            match network(text) {
                Some(net) => proxies.push(net),
                None => {
                    let message = format!("`{text}` is no address and no network");
                    let problem = value.problem(self.files, index, message);
                    self.problems.push(problem.help("write it like `trusted_proxies 127.0.0.1 10.0.0.0/8;`"));
                }
            }
        }
        proxies
    }

    fn urls(&mut self, block: Block<'a>, name: &str) -> Vec<Url> {
        let value = self.value(block, name);
        let mut urls = Vec::new();
        for (index, text) in value.words.iter().enumerate() {
            match Url::parse(text) {
                Ok(url) if is_called(&url) => urls.push(url),
                _ => {
                    let problem = value.problem(self.files, index, format!("`{text}` is no address to call"));
                    self.problems.push(problem.help("write it like http://127.0.0.1:8085/api/v1/streams"));
                }
            }
        }
        urls
    }

    /// Addresses with placeholders; they must be addresses whatever these stand for.
    fn patterns(&mut self, block: Block<'a>, name: &str) -> Vec<String> {
        let value = self.value(block, name);
        for (index, text) in value.words.iter().enumerate() {
            if !Url::parse(&text.replace(['[', ']'], "")).is_ok_and(|url| is_called(&url)) {
                let problem = value.problem(self.files, index, format!("`{text}` is no address to call"));
                self.problems
                    .push(problem.help("write it like http://127.0.0.1:8085/hls/[app]/[stream]/[ts_url]"));
            }
        }
        value.words.iter().map(|&word| word.to_owned()).collect()
    }
}

fn is_called(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// An address, or a network like `192.0.2.0/24`.
fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
