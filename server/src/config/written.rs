//! What is written in a configuration, directive by directive, and how it differs from what was written before: for people who want to know
//! what a reload will do. What the differences mean for running parts is not decided here.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::Url;

use super::directives::{self, Directive, Kind, Reload};
use super::environment::Environment;
use super::tree::Node;
use crate::caller;

/// Every directive that is written, by its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(BTreeMap<Place, Line>);

/// Where a directive stands: the blocks around it with their names, then itself.
type Place = Vec<String>;

#[derive(Clone, PartialEq, Eq)]
struct Line {
    row: &'static Directive,
    /// Its words, or those of all its repetitions.
    text: String,
}

/// Without what is secret, since configurations get printed.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.row, self.text.clone()))
    }
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The directive, or the vhost as a whole: `vhost a.com { hls { hls_fragment } }`.
    pub place: String,
    /// What was written; none if nothing was.
    pub before: Option<String>,
    /// What is written now.
    pub after: Option<String>,
    /// When it counts.
    pub reload: Reload,
}

impl Written {
    /// Of a tree whose spellings are those of today. What the environment says is not of interest, since it wins and does not change.
    pub(super) fn of(nodes: &[Node], env: &Environment) -> Self {
        let mut written = Self::default();
        written.block(nodes, "", &[], env);
        written
    }

    fn block(&mut self, nodes: &[Node], path: &str, place: &[String], env: &Environment) {
        let mut seen: Vec<&str> = Vec::new();
        for node in nodes {
            let name = node.name.text.as_str();
            let Some(row) = directives::child(path, name) else { continue };
            let words = || node.args.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
            // Of what does not repeat, the first counts.
            if !row.kind.repeats() && seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let mut here = place.to_vec();
            if row.kind == Kind::Options {
                here.push(name.to_owned());
                let options = node.block().iter().map(|option| {
                    let words = option.args.iter().map(|word| word.text.as_str());
                    std::iter::once(option.name.text.as_str()).chain(words).collect::<Vec<_>>().join(" ")
                });
                self.note(&here, row, options.collect::<Vec<_>>().join("; "));
            } else if row.kind.is_block() {
                here.push(if node.args.is_empty() { name.to_owned() } else { format!("{name} {}", words()) });
                self.note(&here, row, String::new());
                self.block(node.block(), row.path, &here, env);
            } else if !row.variables().iter().any(|variable| env.value(variable).is_some()) {
                here.push(name.to_owned());
                self.note(&here, row, words());
            }
        }
    }

    fn note(&mut self, place: &[String], row: &'static Directive, text: String) {
        let line = self.0.entry(place.to_vec()).or_insert_with(|| Line { row, text: String::new() });
        if !line.text.is_empty() {
            line.text.push_str("; ");
        }
        line.text.push_str(&text);
    }

    /// What is written and says something else than the default: its place, its words, and the default.
    pub fn beside_defaults(&self) -> Vec<(String, String, &'static str)> {
        let says = |line: &&Line| is_value(line.row) && line.text != line.row.default;
        let lines = self.0.iter().filter(|(_, line)| says(line));
        lines
            .map(|(place, line)| (spelt(place), shown(line.row, line.text.clone()), line.row.default))
            .collect()
    }

    /// What is different in `after`, by place. Vhosts that come or go are told as a whole.
    pub fn changes(&self, after: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let places: std::collections::BTreeSet<_> = self.0.keys().chain(after.0.keys()).collect();
        for place in places {
            let (old, new) = (self.0.get(place), after.0.get(place));
            let Some(line) = new.or(old) else { continue };
            let vhost = place.first().filter(|first| first.starts_with("vhost ")).map(std::slice::from_ref);
            let is_whole =
                vhost.is_some_and(|vhost| self.0.contains_key(vhost) != after.0.contains_key(vhost));
            if old == new || is_whole && place.len() > 1 {
                continue;
            }
            // A block says nothing by itself; and what is written out may be what goes without saying.
            let said = |line: Option<&Line>| line.map(|line| line.text.clone());
            let meant = |line: Option<&Line>| said(line).unwrap_or_else(|| of_default(place, line));
            if !is_whole && (!is_value(line.row) || meant(old) == meant(new)) {
                continue;
            }
            changes.push(Change {
                place: spelt(place),
                before: said(old).map(|text| shown(line.row, text)),
                after: said(new).map(|text| shown(line.row, text)),
                reload: if is_whole { Reload::Push } else { line.row.reload },
            });
        }
        changes
    }
}

/// It says something by itself.
fn is_value(row: &Directive) -> bool {
    !row.kind.is_block() || row.kind == Kind::Options
}

/// What counts where nothing is written.
fn of_default(place: &[String], line: Option<&Line>) -> String {
    let path: Vec<_> = place.iter().map(|word| word.split(' ').next().unwrap_or_default()).collect();
    let row = line.map(|line| line.row).or_else(|| directives::find(&path.join(".")));
    row.map_or_else(String::new, |row| row.default.to_owned())
}

/// `vhost a.com { hls { hls_fragment } }`
fn spelt(place: &[String]) -> String {
    place.join(" { ") + &" }".repeat(place.len().saturating_sub(1))
}

/// What may be seen of a value.
fn shown(row: &Directive, text: String) -> String {
    let is_secret = row.path == "http_api.auth.user"
        || ["password", "secret", "passphrase", "token", "access_key"]
            .iter()
            .any(|word| row.name().contains(word));
    if is_secret && !text.is_empty() {
        return "***".into();
    }
    if !text.contains("://") {
        return text;
    }
    // The last part of such an address is the key of the stream.
    if row.path == "vhost.forward.destination" {
        let plain = |word: &str| match word.split_once("://") {
            Some((scheme, rest)) => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                // What stands before the host proves who we are.
                format!("{scheme}://{}/***", host.rsplit('@').next().unwrap_or_default())
            }
            None => word.to_owned(),
        };
        return text.split(' ').map(plain).collect::<Vec<_>>().join(" ");
    }
    // Services may be called by addresses with a password or a secret query.
    let plain = |word: &str| match Url::parse(word) {
        Ok(url) if url.has_authority() => caller::shown(&url),
        _ => word.to_owned(),
    };
    text.split(' ').map(plain).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, before, after, reload } = self;
        match (before.as_deref(), after.as_deref()) {
            (None, Some("")) => write!(f, "{place}: added")?,
            (Some(""), None) => write!(f, "{place}: removed")?,
            (before, after) => {
                let or_default = |text: Option<&str>| text.unwrap_or("(default)").to_owned();
                write!(f, "{place}: {} -> {}", or_default(before), or_default(after))?;
            }
        }
        match reload {
            Reload::No => f.write_str(", at the next start"),
            Reload::Live => f.write_str(", for what comes from now on"),
            Reload::Push => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment};

    fn changes(before: &str, after: &str) -> Vec<String> {
        let env = Environment::from_iter([("SRS_PITHY_PRINT_MS", "1")]);
        let of =
            |text: &str| Config::parse("x", text.as_bytes(), &env).unwrap_or_else(|e| panic!("{e}")).written;
        of(before).changes(&of(after)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_different_is_told_where_it_stands() {
        let before = "listen 1935; max_connections 100; pithy_print_ms 5; pid a.pid;
            vhost a.com { play { gop_cache on; atc on; } hls { enabled on; hls_fragment 10; } }
            vhost b.com { }";
        let after = "listen 1935 1936; pithy_print_ms 6; pid b.pid;
            vhost c.com { hls { enabled on; } }
            vhost a.com { play { gop_cache off; } hls { enabled on; hls_fragment 5; hls_window 60; } }";
        let want = [
            "listen: 1935 -> 1935 1936",
            "max_connections: 100 -> (default)",
            "pid: a.pid -> b.pid, at the next start",
            "vhost a.com { hls { hls_fragment } }: 10 -> 5",
            "vhost a.com { play { atc } }: on -> (default), for what comes from now on",
            "vhost a.com { play { gop_cache } }: on -> off",
            "vhost b.com: removed",
            "vhost c.com: added",
        ];
        assert_eq!(changes(before, after), want);
    }

    #[test]
    fn order_and_defaults_are_no_differences() {
        let before = "listen 1935; vhost a.com { min_latency off; } vhost b.com { enabled on; }";
        let after = "# Nothing new.\nvhost b.com { play { gop_cache on; } } vhost a.com { } listen 1935;";
        assert_eq!(changes(before, after), <[String; 0]>::default());
    }

    #[test]
    fn addresses_show_no_secrets() {
        let hooks =
            |url: &str| format!("listen 1; vhost v {{ http_hooks {{ enabled on; on_play {url}; }} }}");
        let told =
            changes(&hooks("http://a.com/x"), &hooks("http://me:hidden@b.com/y?key=hidden http://c.com/"));
        assert_eq!(
            told,
            [
                "vhost v { http_hooks { on_play } }: http://a.com/x -> http://b.com/y http://c.com/, for what comes from now on"
            ]
        );
    }

    #[test]
    fn secrets_stay_secret() {
        let auth = |password: &str| {
            format!(
                "listen 1; http_api {{ enabled on; auth {{ enabled on; username a; password {password}; }} }} vhost v {{ }}"
            )
        };
        let told = changes(&auth("first"), &auth("second"));
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("*** -> ***"), "{told:?}");
    }
}
