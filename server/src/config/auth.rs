//! Who may use the API (`http_api.auth`): names with passwords, tokens, and what they are asked for.

use std::fmt;

/// Who may use the API, and what they have to prove it for.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// Names with their passwords; with the tokens, at least one.
    pub users: Vec<Credentials>,
    /// What `Authorization: Bearer` may say.
    pub tokens: Vec<String>,
    /// What is guarded, at least one.
    pub scope: Vec<Area>,
}

/// A name with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// A part of what is served over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Every path with `/api/` in it, which is what SRS guards.
    Api,
    /// Offers of WebRTC: `/rtc/v1/`.
    Rtc,
    /// The signalling of calls: `/sig/v1/`.
    Signalling,
    /// The console: `/console/`.
    Console,
    /// The exporter: `/metrics`.
    Metrics,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Api, Self::Rtc, Self::Signalling, Self::Console, Self::Metrics];

    /// The areas that a word of `scope` stands for; none if there is no such word.
    pub fn named(word: &str) -> &'static [Self] {
        match word {
            "all" => &Self::ALL,
            "srs" | "api" => &[Self::Api],
            "rtc" => &[Self::Rtc],
            "sig" => &[Self::Signalling],
            "console" => &[Self::Console],
            "metrics" => &[Self::Metrics],
            _ => &[],
        }
    }

    /// It has this path (decoded, without a query). `.` and empty elements do not count, as files do not know them.
    pub fn has(self, path: &str) -> bool {
        let mut elements = path.split('/').filter(|element| !matches!(*element, "" | "."));
        let mut next = || elements.next().unwrap_or_default();
        match self {
            // Anywhere in the path: live streams and files are no exception.
            Self::Api => path.contains("/api/") || path.ends_with("/api"),
            Self::Rtc => (next(), next()) == ("rtc", "v1"),
            Self::Signalling => (next(), next()) == ("sig", "v1"),
            Self::Console => next() == "console",
            Self::Metrics => (next(), next()) == ("metrics", ""),
        }
    }
}

/// Without what is secret, since configurations get printed.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("users", &self.users)
            .field("tokens", &self.tokens.len())
            .field("scope", &self.scope)
            .finish()
    }
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn areas(path: &str) -> Vec<Area> {
        Area::ALL.into_iter().filter(|area| area.has(path)).collect()
    }

    #[test]
    fn paths_and_their_areas() {
        for path in ["/api/", "/api", "/api/v1/x", "/live/api/cam.flv", "//api/v1"] {
            assert_eq!(areas(path), [Area::Api], "{path}");
        }
        for path in ["/rtc/v1/whip/", "//rtc/v1/play", "/./rtc/v1/publish/"] {
            assert_eq!(areas(path), [Area::Rtc], "{path}");
        }
        assert_eq!(areas("/sig/v1/rtc"), [Area::Signalling]);
        for path in ["/console", "/console/en_index.html", "/./console/", "//console/x.js"] {
            assert_eq!(areas(path), [Area::Console], "{path}");
        }
        for path in ["/metrics", "/metrics/"] {
            assert_eq!(areas(path), [Area::Metrics], "{path}");
        }
        for path in
            ["/", "/live/apis/x.flv", "/apis", "/rtc/cam.flv", "/metrics/cam.flv", "/live/console/x.flv"]
        {
            assert_eq!(areas(path), [], "{path}");
        }
    }
}
