//! One line as a JSON object: `time`, `level`, `pid`, `cid`, `message`, and as far as there are any `fields`, `errno` and `error`.

use std::fmt::{Debug, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::line::{MAX, Style, errno_text};
use crate::session::Cid;

/// What is behind a message and its fields at most.
const TAIL: usize = 256;

/// The line of an event.
pub(super) fn event(style: &Style, event: &Event<'_>, cid: Cid) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    line(style, *event.metadata().level(), cid, &fields)
}

/// A line that stems from no event.
pub(super) fn own(style: &Style, level: Level, cid: Cid, message: String) -> String {
    line(style, level, cid, &Fields { message, ..Fields::default() })
}

fn line(style: &Style, level: Level, cid: Cid, fields: &Fields) -> String {
    let now = Timestamp::now().to_zoned(style.zone.clone());
    let zone = if style.zone == TimeZone::UTC { "Z" } else { "%:z" };
    let time = now.strftime(&format!("%Y-%m-%dT%H:%M:%S%.3f{zone}")).to_string();
    let mut out = String::with_capacity(256);
    // Writing to a string does not fail.
    let _ =
        write!(out, r#"{{"time":"{time}","level":"{level}","pid":{},"cid":"{cid}","message":"#, style.pid);
    let mut cut = !quote(&mut out, &fields.message, MAX - TAIL);
    let mut open = r#","fields":{"#;
    for (name, value) in &fields.rest {
        let before = out.len();
        out.push_str(open);
        let _ = write!(out, r#""{name}":"#);
        let whole = match value {
            Value::Plain(text) => {
                out.push_str(text);
                out.len() <= MAX - TAIL
            }
            Value::Text(text) => quote(&mut out, text, MAX - TAIL),
        };
        if whole {
            open = ",";
        } else {
            out.truncate(before);
            cut = true;
        }
    }
    if open == "," {
        out.push('}');
    }
    if fields.errno != 0 {
        let _ = write!(out, r#","errno":{}"#, fields.errno);
        out.push_str(r#","error":"#);
        quote(&mut out, &errno_text(fields.errno), MAX);
    }
    if cut {
        out.push_str(r#","cut":true"#);
    }
    out.push_str("}\n");
    out
}

/// Adds a text as a JSON string, as much of it as there is room for up to `limit`; whether that was all.
fn quote(out: &mut String, text: &str, limit: usize) -> bool {
    out.push('"');
    let mut whole = true;
    for char in text.chars() {
        // An escape takes twelve bytes at most.
        if out.len() + 12 > limit {
            whole = false;
            break;
        }
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // JSON allows some of these, but terminals obey them.
            char if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    whole
}

/// The fields of an event, sorted out.
#[derive(Default)]
struct Fields {
    errno: i32,
    message: String,
    rest: Vec<(&'static str, Value)>,
}

enum Value {
    /// JSON already.
    Plain(String),
    Text(String),
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "errno" => self.errno = i32::try_from(value).unwrap_or(0),
            name => self.rest.push((name, Value::Plain(value.to_string()))),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.rest.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // What is no number has no form in JSON.
        let value = if value.is_finite() { value.to_string() } else { "null".into() };
        self.rest.push((field.name(), Value::Plain(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.rest.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field.name(), format!("{value:?}"));
    }
}

impl Fields {
    fn text(&mut self, name: &'static str, value: String) {
        match name {
            "message" => self.message = value,
            name => self.rest.push((name, Value::Text(value))),
        }
    }
}
