//! Who may publish and play: `security`, `refer`, `http_hooks`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;

use super::{Block, Reader};
use crate::config::report::Problem;
use crate::config::tree::Node;
use crate::config::{Hooks, Limits, Most, Refer, Rule, Secret, Security, SignedUrl, Token};

/// Less would refuse everybody on a network that hesitates once.
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);

/// Whoever has the keys shall have some peace.
const LEAST_REFRESH: Duration = Duration::from_secs(10);

/// A keyframe alone is no excess.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// 128 bits, if it is random text.
const GOOD_SECRET: usize = 22;

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

    pub(super) fn urls(&mut self, block: Block<'a>, name: &str) -> Vec<Url> {
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

impl<'a> Reader<'a> {
    pub(super) fn token(&mut self, block: Block<'a>) -> Option<Token> {
        let file = |path: PathBuf| Some(path).filter(|path| !path.as_os_str().is_empty());
        let word = |text: String| Some(text).filter(|text| !text.is_empty());
        let token = Token {
            secret: word(self.text(block, "secret")).map(Secret),
            public_key: file(self.path(block, "public_key")),
            jwks: self.urls(block, "jwks").pop(),
            jwks_refresh: self.duration(block, "jwks_refresh").max(LEAST_REFRESH),
            tls_ca: file(self.path(block, "tls_ca")),
            issuer: word(self.text(block, "issuer")),
            audience: word(self.text(block, "audience")),
            leeway: self.duration(block, "leeway"),
            publish: self.switch(block, "publish"),
            play: self.switch(block, "play"),
            ends_session: self.switch(block, "end_on_expiry"),
        };
        if !self.switch(block, "enabled") {
            return None;
        }
        if token.secret.is_none() && token.public_key.is_none() && token.jwks.is_none() {
            let message = "`token` is on without a key: nobody could be admitted";
            let problem = self.value(block, "enabled").problem(self.files, 0, message);
            self.problems.push(problem.help("write `secret …;`, `public_key FILE;` or `jwks URL;`"));
        }
        self.check_secret(block, token.secret.as_ref());
        Some(token)
    }

    pub(super) fn signed_url(&mut self, block: Block<'a>) -> Option<SignedUrl> {
        let signed = SignedUrl {
            secret: Secret(self.text(block, "secret")),
            bind_ip: self.switch(block, "bind_ip"),
            leeway: self.duration(block, "leeway"),
            publish: self.switch(block, "publish"),
            play: self.switch(block, "play"),
        };
        if !self.switch(block, "enabled") {
            return None;
        }
        if signed.secret.0.is_empty() {
            let message = "`signed_url` is on without a `secret`: anybody could sign";
            let problem = self.value(block, "enabled").problem(self.files, 0, message);
            self.problems.push(problem.help("write `secret …;`"));
        } else {
            self.check_secret(block, Some(&signed.secret));
        }
        Some(signed)
    }

    /// What is guessed in an afternoon is no secret.
    fn check_secret(&mut self, block: Block<'a>, secret: Option<&Secret>) {
        if secret.is_some_and(|secret| secret.0.len() < GOOD_SECRET) {
            let block = block.path.rsplit('.').next().unwrap_or_default();
            let message = format!(
                "the `secret` of `{block}` is shorter than {GOOD_SECRET} characters: it can be guessed"
            );
            self.warn(Problem::new(message).help("make one with `openssl rand -hex 32`"));
        }
    }

    pub(super) fn limits(&mut self, block: Block<'a>) -> Limits {
        let mut most = |prefix: &str| Most {
            connections: self.count(block, &format!("{prefix}connections")),
            streams: self.count(block, &format!("{prefix}streams")),
            players: self.count(block, &format!("{prefix}players")),
        };
        let limits = Limits {
            all: most(""),
            ip: most("ip_"),
            bitrate: self.count(block, "bitrate").map(|kbit| u64::from(kbit) * 1000),
            bitrate_grace: self.duration(block, "bitrate_grace").max(LEAST_GRACE),
        };
        if self.switch(block, "enabled") { limits } else { Limits::default() }
    }
}

fn is_called(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// An address, or a network like `192.0.2.0/24`.
fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment};

    fn read(block: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let text = format!("listen 1935; vhost v {{ {block} }}");
        let env = Environment::from_iter(variables.iter().copied());
        Config::parse("test", text.as_bytes(), &env).map_err(|e| e.to_string())
    }

    #[test]
    fn what_lets_nobody_or_anybody_in_is_refused() {
        for (block, reason) in [
            ("token { enabled on; }", "without a key"),
            ("token { enabled on; jwks nowhere; }", "no address to call"),
            ("signed_url { enabled on; }", "anybody could sign"),
            ("http_hooks { enabled on; on_publish here; }", "no address to call"),
            ("http_hooks { enabled on; on_publish ftp://a/b; }", "no address to call"),
            ("http_hooks { enabled on; on_dvr http://a/b; }", "recording"),
            ("security { trusted_proxies proxy; }", "no address and no network"),
        ] {
            let error = read(block, &[]).err().unwrap_or_default();
            assert!(error.contains(reason), "{block}: {error}");
        }
    }

    #[test]
    fn secrets_are_told_by_variables_and_shown_by_nobody() {
        let config = read("token { enabled on; }", &[("SRS_VHOST_TOKEN_SECRET", "abcdef-geheim")]).unwrap();
        assert_eq!(config.vhosts[0].token.as_ref().unwrap().secret.as_ref().unwrap().0, "abcdef-geheim");
        assert!(
            config.warnings.iter().any(|w| w.to_string().contains("shorter than 22")),
            "{:?}",
            config.warnings
        );
        assert!(!format!("{:?}", config.vhosts).contains("geheim"));
    }

    #[test]
    fn limits_are_none_unless_they_are_on() {
        let limits = |switch: &str| {
            let config =
                read(&format!("limits {{ {switch} players 5; ip_streams 2; bitrate 800; }}"), &[]).unwrap();
            let limits = &config.vhosts[0].limits;
            (limits.all.players, limits.ip.streams, limits.bitrate)
        };
        assert_eq!(limits("enabled on;"), (Some(5), Some(2), Some(800_000)));
        assert_eq!(limits(""), (None, None, None));
    }
}
