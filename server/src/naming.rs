//! File names with placeholders: `[app]/[stream]-[seq].ts` and the like. What a client calls its stream becomes part of a
//! path here, and only here, so here is decided what may.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::{Component, Path};

use hub::StreamKey;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What the placeholders stand for. A placeholder without a value stays as it is.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    /// `[vhost]`, `[app]` and `[stream]`.
    pub key: &'a StreamKey,
    /// `[seq]`
    pub seq: Option<u64>,
    /// `[duration]`, in milliseconds.
    pub duration: Option<i64>,
    /// `[timestamp]`
    pub timestamp: Option<i64>,
    /// `[2006]`, `[01]`, `[02]`, `[15]`, `[04]`, `[05]` and `[999]`.
    pub time: Option<&'a Zoned>,
}

impl<'a> Names<'a> {
    /// The stream alone.
    pub fn of(key: &'a StreamKey) -> Self {
        Self { key, seq: None, duration: None, timestamp: None, time: None }
    }

    /// `template` with its placeholders replaced.
    pub fn fill(&self, template: &str) -> String {
        fill(template, |name| self.value(name))
    }

    /// What a placeholder stands for.
    pub fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        let date = |number: i16, width: usize| Some(Cow::Owned(format!("{number:0width$}")));
        match name {
            "vhost" => Some(Cow::Borrowed(&self.key.vhost)),
            "app" => Some(Cow::Borrowed(&self.key.app)),
            "stream" => Some(Cow::Borrowed(&self.key.stream)),
            "seq" => Some(self.seq?.to_string().into()),
            "duration" => Some(self.duration?.to_string().into()),
            "timestamp" => Some(self.timestamp?.to_string().into()),
            "2006" => date(self.time?.year(), 4),
            "01" => date(self.time?.month().into(), 2),
            "02" => date(self.time?.day().into(), 2),
            "15" => date(self.time?.hour().into(), 2),
            "04" => date(self.time?.minute().into(), 2),
            "05" => date(self.time?.second().into(), 2),
            "999" => date(self.time?.millisecond(), 3),
            _ => None,
        }
    }
}

/// `template` with those placeholders replaced that have a value.
pub fn fill<'a>(template: &str, value: impl Fn(&str) -> Option<Cow<'a, str>>) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, name, after)) = next(rest) {
        out.push_str(before);
        match value(name) {
            Some(value) => out.push_str(&value),
            // Writing to a string cannot fail.
            None => drop(write!(out, "[{name}]")),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What stands before the next pair of brackets, in them, and behind.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let open = text.find('[')?;
    let (before, rest) = (text.get(..open)?, text.get(open + 1..)?);
    let (name, after) = rest.split_once(']')?;
    Some((before, name, after))
}

/// A time of day for file names.
pub fn time_of_day(at: Timestamp, utc: bool) -> Zoned {
    at.to_zoned(if utc { TimeZone::UTC } else { TimeZone::system() })
}

/// The stream's names can stand in a path below a folder of ours: no element climbs, is hidden, is longer than file systems take, or
/// holds what no file name should.
pub fn is_safe(key: &StreamKey) -> bool {
    let fits = |element: &str| {
        let odd = |c: char| c.is_control() || matches!(c, '\\' | '[' | ']');
        !element.is_empty() && element.len() <= 150 && !element.starts_with('.') && !element.contains(odd)
    };
    [&key.app, &key.stream].into_iter().all(|name| name.len() <= 500 && name.split('/').all(fits))
}

/// What stands in the path of a URI as it is (RFC 3986 §3.3).
pub const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@')
    .remove(b'=')
    .remove(b'+')
    .remove(b',');

/// A filled name that stays below the folder that it is put into.
pub fn stays_inside(name: &str) -> bool {
    !name.is_empty()
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(app: &str, stream: &str) -> StreamKey {
        StreamKey { vhost: "a.com".into(), app: app.into(), stream: stream.into() }
    }

    #[test]
    fn every_placeholder() {
        let key = key("live/x", "cam[seq]");
        let time = jiff::civil::date(2026, 3, 4).at(5, 6, 7, 89_000_000).to_zoned(TimeZone::UTC).unwrap();
        let names = Names {
            key: &key,
            seq: Some(12),
            duration: Some(9960),
            timestamp: Some(1_700_000_000_123),
            time: Some(&time),
        };
        let filled = names.fill("[vhost]/[app]/[stream]-[seq]-[duration]-[timestamp].ts");
        assert_eq!(filled, "a.com/live/x/cam[seq]-12-9960-1700000000123.ts", "values are not filled again");
        assert_eq!(names.fill("[2006]/[01]/[02]/[15].[04].[05].[999]"), "2026/03/04/05.06.07.089");
        assert_eq!(names.fill("x[other][y"), "x[other][y");
        assert_eq!(Names::of(&key).fill("[app]-[seq]-[01]"), "live/x-[seq]-[01]");
    }

    #[test]
    fn names_that_climb_or_hide_are_not_safe() {
        for (app, stream) in [("live", "cam"), ("live/a/b", "käm 1"), ("live", "a/b"), ("live", "a..b")] {
            assert!(is_safe(&key(app, stream)), "{app} {stream}");
        }
        for (app, stream) in [
            ("..", "cam"),
            ("live/../..", "cam"),
            ("live", "../../etc/passwd"),
            ("live", ".htaccess"),
            ("", "cam"),
            ("/live", "cam"),
            ("live//x", "cam"),
            ("live", "a\0b"),
            ("live", "a\nb"),
            ("live", "a\\b"),
            ("live", "[duration]"),
            ("live", &"x".repeat(151)),
        ] {
            assert!(!is_safe(&key(app, stream)), "{app} {stream}");
        }
        assert!(stays_inside("live/cam-1.ts") && stays_inside("./live/cam"));
        assert!(!stays_inside("../x") && !stays_inside("/x") && !stays_inside(""));
    }
}
