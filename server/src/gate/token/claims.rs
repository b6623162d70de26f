//! What a token says that its owner may do.

use serde::Deserialize;

/// The claims that count here; `exp`, `nbf`, `iss` and `aud` are checked before.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    /// Seconds since 1970.
    pub(super) exp: u64,
    /// Streams that may be published.
    #[serde(default)]
    publish: Patterns,
    /// Streams that may be played.
    #[serde(default)]
    play: Patterns,
    /// Vhosts in which that is so; all of them if it is not told.
    vhost: Option<Patterns>,
}

/// One pattern or several; `*` stands for any text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Many(Vec<String>),
}

impl Default for Patterns {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Claims {
    /// Whether they allow to publish or play `stream` (`app/name`) in a vhost.
    pub(super) fn allow(&self, publishes: bool, vhost: &str, stream: &str) -> bool {
        let streams = if publishes { &self.publish } else { &self.play };
        streams.match_any(stream) && self.vhost.as_ref().is_none_or(|vhosts| vhosts.match_any(vhost))
    }
}

impl Patterns {
    fn match_any(&self, text: &str) -> bool {
        match self {
            Self::One(pattern) => matches(pattern, text),
            Self::Many(patterns) => patterns.iter().any(|pattern| matches(pattern, text)),
        }
    }
}

/// In time that grows with both lengths only once each, whatever the pattern is.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = pattern.trim_start_matches('/');
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("live/a", "live/a", true),
            ("/live/a", "live/a", true),
            ("live/a", "live/ab", false),
            ("live/*", "live/a", true),
            ("live/*", "live/x/a", true),
            ("live/*", "liver/a", false),
            ("*", "anything/at all", true),
            ("*/cam-*-hd", "x/cam-7-hd", true),
            ("*/cam-*-hd", "x/cam-hd", false),
            ("a*a", "a", false),
            ("**", "", true),
            ("", "live/a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn claims() {
        let read = |text: &str| serde_json::from_str::<Claims>(text).unwrap();
        let both = read(r#"{"exp":1,"publish":["live/*","x/y"],"play":"*","vhost":"a.com","more":[1]}"#);
        assert!(both.allow(true, "a.com", "x/y") && both.allow(false, "a.com", "z/z"));
        assert!(!both.allow(true, "a.com", "z/z") && !both.allow(false, "b.com", "z/z"));
        let nothing = read(r#"{"exp":1,"sub":"me"}"#);
        assert!(!nothing.allow(true, "v", "a/b") && !nothing.allow(false, "v", "a/b"));
        assert!(serde_json::from_str::<Claims>(r#"{"exp":1,"play":true}"#).is_err());
    }
}
