//! One line: `[YYYY-MM-DD hh:mm:ss.mmm][LEVEL][pid][cid] message key=value …`; warnings and errors have `[errno]` after
//! the context id.

use std::fmt::{self, Debug, Write};
use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::json;
use crate::config::LogFormat;
use crate::session::Cid;

/// The longest line in bytes, its end included.
pub(super) const MAX: usize = 8192;

/// What is the same in all lines.
#[derive(Clone)]
pub(super) struct Style {
    pub(super) zone: TimeZone,
    pub(super) pid: u32,
    pub(super) format: LogFormat,
}

/// A finished line.
pub(super) struct Line {
    pub(super) level: Level,
    /// Ends with a line feed and has no other control character.
    pub(super) text: String,
    /// Terminals may colour it.
    pub(super) colours: bool,
}

impl Style {
    /// The line of an event.
    pub(super) fn line(&self, event: &Event<'_>, cid: Cid) -> Line {
        let level = *event.metadata().level();
        if self.format == LogFormat::Json {
            return Line { level, text: json::event(self, event, cid), colours: false };
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut out = self.head(level, cid, fields.errno);
        let _ = out.write_str(&fields.message);
        if level == Level::ERROR && fields.errno != 0 {
            let _ = write!(out, " ({})", errno_text(fields.errno));
        }
        let _ = out.write_str(&fields.rest);
        Line { level, text: out.end(), colours: true }
    }

    /// A line that stems from no event.
    pub(super) fn own(&self, level: Level, cid: Cid, message: fmt::Arguments<'_>) -> Line {
        if self.format == LogFormat::Json {
            let text = json::own(self, level, cid, message.to_string());
            return Line { level, text, colours: false };
        }
        let mut out = self.head(level, cid, 0);
        let _ = out.write_fmt(message);
        Line { level, text: out.end(), colours: true }
    }

    fn head(&self, level: Level, cid: Cid, errno: i32) -> Text {
        let now = Timestamp::now().to_zoned(self.zone.clone()).datetime();
        let mut out = Text(String::with_capacity(192));
        let _ = write!(
            out,
            "[{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}][{level}][{}][{cid}]",
            now.year(),
            now.month(),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            now.millisecond(),
            self.pid
        );
        if level <= Level::WARN {
            let _ = write!(out, "[{errno}]");
        }
        let _ = out.write_char(' ');
        out
    }
}

/// As `strerror` says it.
pub(super) fn errno_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.rsplit_once(" (os error") {
        Some((name, _)) => name.to_owned(),
        None => text,
    }
}

/// A line in the making: escapes what could be taken for another line or command the terminal, and stops at [`MAX`].
#[derive(Default)]
struct Text(String);

impl Text {
    const CUT: &str = "…\n";

    fn end(mut self) -> String {
        if self.0.len() + 1 > MAX {
            let mut end = MAX - Self::CUT.len();
            while !self.0.is_char_boundary(end) {
                end -= 1;
            }
            self.0.truncate(end);
            self.0.push_str(Self::CUT);
        } else {
            self.0.push('\n');
        }
        self.0
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() < MAX && !text.contains(is_unsafe) {
            self.0.push_str(text);
            return if self.0.len() > MAX { Err(fmt::Error) } else { Ok(()) };
        }
        for char in text.chars() {
            if is_unsafe(char) {
                self.0.extend(char.escape_default());
            } else {
                self.0.push(char);
            }
            if self.0.len() > MAX {
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

fn is_unsafe(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

/// The fields of an event, sorted out: the head needs the errno before the message.
#[derive(Default)]
struct Fields {
    errno: i32,
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "errno" => self.errno = i32::try_from(value).unwrap_or(0),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut out = Text::default();
        let _ = match field.name() {
            "message" => write!(out, "{value:?}"),
            name => write!(out, " {name}={value:?}"),
        };
        let place = if field.name() == "message" { &mut self.message } else { &mut self.rest };
        place.push_str(&out.0);
    }
}
