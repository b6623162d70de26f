//! `forward`: who gets copies of published streams.

use super::{Block, Reader};
use crate::config::{Destination, Forward};

impl<'a> Reader<'a> {
    pub(super) fn forward(&mut self, block: Block<'a>, publish: Block<'a>) -> Option<Forward> {
        let value = self.value(block, "destination");
        let mut destinations: Vec<Destination> = Vec::new();
        for (index, text) in value.words.iter().enumerate() {
            match Destination::parse(text) {
                Some(destination) if !destinations.contains(&destination) => destinations.push(destination),
                Some(_) => {
                    let message = format!("`{text}` is there already: it gets one copy");
                    self.warn(value.problem(self.files, index, message));
                }
                None => {
                    let problem =
                        value.problem(self.files, index, format!("`{text}` is nobody to forward to"));
                    let help = "write `host`, `host:port`, rtmp://host/app/stream or whips://host/endpoint";
                    self.problems.push(problem.help(help));
                }
            }
        }
        let mut backend = self.urls(block, "backend");
        backend.truncate(1);
        let tls_ca = Some(self.path(block, "tls_ca")).filter(|path| !path.as_os_str().is_empty());
        let forward = Forward { destinations, backend: backend.pop(), tls_ca };
        if !self.switch(block, "enabled") {
            return None;
        }
        let idle = self.value(publish, "kickoff_for_idle");
        if !self.duration(publish, "kickoff_for_idle").is_zero() {
            let message = "`forward` and `kickoff_for_idle` cannot be in one vhost: who is only forwarded has no players";
            let problem = idle.problem(self.files, 0, message);
            self.problems.push(problem.help("remove one of them"));
        }
        Some(forward)
    }
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
    fn destinations_are_read_and_nonsense_is_refused() {
        let config = read("forward { enabled on; destination a.com b.com:1936 a.com; }", &[]).unwrap();
        assert_eq!(config.vhosts[0].forward.as_ref().unwrap().destinations.len(), 2);
        assert!(config.warnings.iter().any(|warning| warning.to_string().contains("already")));
        assert!(read("forward { destination a.com; }", &[]).unwrap().vhosts[0].forward.is_none());
        let error = read("forward { enabled on; destination rtmp://a.com; }", &[]).unwrap_err();
        assert!(error.contains("nobody to forward to"), "{error}");
        let error = read("forward { enabled on; backend nowhere; }", &[]).unwrap_err();
        assert!(error.contains("no address to call"), "{error}");
    }

    #[test]
    fn variables_are_those_of_late_7_0() {
        let on = ("SRS_VHOST_FORWARD_ENABLED", "on");
        let backend = ("SRS_VHOST_FORWARD_BACKEND", "http://a.com/forward");
        let config = read("forward { destination b; }", &[on, backend]).unwrap();
        let forward = config.vhosts[0].forward.as_ref().unwrap();
        assert_eq!(forward.backend.as_ref().unwrap().as_str(), backend.1);
    }

    #[test]
    fn who_is_only_forwarded_is_not_sent_away_for_want_of_players() {
        let both = |switch: &str| {
            read(
                &format!("forward {{ enabled {switch}; destination a; }} publish {{ kickoff_for_idle 5; }}"),
                &[],
            )
        };
        let error = both("on").unwrap_err();
        assert!(error.contains("kickoff_for_idle"), "{error}");
        assert!(both("off").is_ok());
    }
}
