//! The one list of directives. The validator, the typed loader, `conf/full.conf` and `docs/ref/config.md`
//! all go by it, so that none of them can know a directive the others do not. No parsing here.

mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use table::TABLE;

/// One row: what is known about a directive, wherever it is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Directive {
    /// Names of the blocks around it and its own, joined by dots: `vhost.play.gop_cache`.
    pub path: &'static str,
    /// What may follow the name.
    pub kind: Kind,
    /// The value in force when nothing is written, as text; empty when there is none.
    pub default: &'static str,
    /// Whether an environment variable may set it.
    pub env: Env,
    /// When a changed value counts.
    pub reload: Reload,
    /// Whether it does anything here.
    pub status: Status,
    /// What it is for, one line.
    pub about: &'static str,
    /// The oldest SRS that knows it.
    pub since: &'static str,
    /// A value for examples.
    pub sample: &'static str,
}

/// What may follow the name of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block that is written once.
    Block,
    /// A block that may be repeated and may have a name.
    Blocks,
    /// A block of free-form options, whose names are not checked.
    Options,
    /// A switch that is on only if the text is exactly `on`.
    On,
    /// A switch that is off only if the text is exactly `off`.
    NotOff,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Whole seconds.
    IntS,
    /// Seconds with a fraction.
    FloatS,
    /// Whole milliseconds.
    IntMs,
    /// Milliseconds with a fraction.
    FloatMs,
    /// One word.
    Text,
    /// One path.
    Path,
    /// One or more words.
    Words,
    /// Several words; each repetition counts.
    Lines,
    /// One `[ip:]port`.
    Endpoint,
    /// One or more `[ip:]port`.
    Endpoints,
    /// Accepted and never read.
    Any,
}

/// Whether an environment variable may set a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Env {
    /// There is a variable; see [`Directive::variables`].
    Variable,
    /// There is none.
    None,
}

/// When a value counts that is changed by a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Not before the next start.
    No,
    /// For sessions, requests and files from then on.
    Live,
    /// At once, also for running streams and open ports.
    Push,
}

/// Whether a directive does anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Built,
    /// The feature in words; asking for it is refused.
    NotBuilt(&'static str),
    /// Accepted with a warning, and does nothing.
    NoEffect,
}

impl Directive {
    /// Its own name, without the blocks around it.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Path of the block it belongs in; empty at the top of the file.
    pub fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// The environment variables that set it, the one that wins first.
    pub fn variables(&self) -> Vec<String> {
        let plain = format!("SRS_{}", self.path.replace('.', "_").to_uppercase());
        match (self.env, self.path) {
            (Env::None, _) => Vec::new(),
            (_, "chunk_size") => vec!["SRS_VHOST_CHUNK_SIZE".into()],
            (_, "vhost.srt.srt_to_rtmp") => vec![plain, "SRS_VHOST_SRT_TO_RTMP".into()],
            (_, path) if path.starts_with("srs_") => vec![plain, path.to_uppercase()],
            _ => vec![plain],
        }
    }
}

impl Kind {
    /// Whether it is written with `{ }`.
    pub fn is_block(self) -> bool {
        matches!(self, Kind::Block | Kind::Blocks | Kind::Options)
    }

    /// Whether it may be written more than once in one place.
    pub fn repeats(self) -> bool {
        matches!(self, Kind::Blocks | Kind::Lines)
    }

    /// Whether it takes more than one word.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Words | Kind::Lines | Kind::Endpoints | Kind::Any)
    }

    /// Whether it is one of the two switches.
    pub fn is_switch(self) -> bool {
        matches!(self, Kind::On | Kind::NotOff)
    }

    /// Whether `text` turns a switch of this kind on.
    pub fn is_on(self, text: &str) -> bool {
        match self {
            Kind::NotOff => text != "off",
            _ => text == "on",
        }
    }
}

/// The row at `path`.
pub fn find(path: &str) -> Option<&'static Directive> {
    static INDEX: LazyLock<HashMap<&str, &Directive>> =
        LazyLock::new(|| TABLE.iter().map(|row| (row.path, row)).collect());
    INDEX.get(path).copied()
}

/// The row of `name` written in the block at path `block`.
pub fn child(block: &str, name: &str) -> Option<&'static Directive> {
    match block {
        "" if name.contains('.') => None,
        "" => find(name),
        _ => find(&format!("{block}.{name}"))
            .or_else(|| (block == INGEST_ENGINE).then(|| child(TRANSCODE_ENGINE, name))?),
    }
}

/// The rows valid in the block at path `block`.
pub fn children(block: &str) -> impl Iterator<Item = &'static Directive> {
    let borrowed = if block == INGEST_ENGINE { TRANSCODE_ENGINE } else { block };
    TABLE.iter().filter(move |row| row.parent() == block || row.parent() == borrowed)
}

/// How the block at `path` is written, for messages: `vhost { play { … } }`.
pub fn inside(path: &str) -> String {
    let depth = path.matches('.').count();
    format!("{} {{ … }}{}", path.replace('.', " { "), " }".repeat(depth))
}

/// An engine of an ingest takes everything an engine of a transcoder does.
const INGEST_ENGINE: &str = "vhost.ingest.engine";
const TRANSCODE_ENGINE: &str = "vhost.transcode.engine";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unique_and_their_blocks_exist() {
        let mut seen = std::collections::HashSet::new();
        for row in TABLE {
            assert!(seen.insert(row.path), "{} twice", row.path);
            if !row.parent().is_empty() {
                let block = find(row.parent()).unwrap_or_else(|| panic!("{} has no block", row.path));
                assert!(block.kind.is_block(), "{} is no block", block.path);
                assert!(seen.contains(block.path), "{} comes before its block", row.path);
            }
        }
    }

    #[test]
    fn what_is_not_built_has_nothing_built_inside() {
        for row in TABLE.iter().filter(|row| !row.parent().is_empty()) {
            if find(row.parent()).unwrap().status != Status::Built {
                assert_ne!(row.status, Status::Built, "{}", row.path);
            }
        }
    }

    #[test]
    fn variables_follow_the_rule_and_its_exceptions() {
        let of = |path| find(path).unwrap().variables();
        assert_eq!(of("listen"), ["SRS_LISTEN"]);
        assert_eq!(of("http_api.listen"), ["SRS_HTTP_API_LISTEN"]);
        assert_eq!(of("vhost.hls.hls_fragment"), ["SRS_VHOST_HLS_HLS_FRAGMENT"]);
        assert_eq!(of("srs_log_tank"), ["SRS_SRS_LOG_TANK", "SRS_LOG_TANK"]);
        assert_eq!(of("chunk_size"), ["SRS_VHOST_CHUNK_SIZE"]);
        assert!(of("vhost.enabled").is_empty());
        assert_eq!(of("vhost.forward.enabled"), ["SRS_VHOST_FORWARD_ENABLED"]);
        assert!(of("vhost.forward.destination").is_empty());
        assert!(of("stats.network").is_empty());
        assert!(of("is_full").is_empty());
    }

    #[test]
    fn an_ingest_engine_borrows_from_the_transcode_engine() {
        assert_eq!(child(INGEST_ENGINE, "vcodec").unwrap().path, "vhost.transcode.engine.vcodec");
        assert_eq!(child(INGEST_ENGINE, "output").unwrap().path, "vhost.ingest.engine.output");
        assert!(child("vhost.ingest", "vcodec").is_none());
        assert!(child("", "vhost.play").is_none());
    }

    #[test]
    fn nesting_is_written_with_braces() {
        assert_eq!(inside("vhost.play"), "vhost { play { … } }");
        assert_eq!(inside("http_api"), "http_api { … }");
    }
}
