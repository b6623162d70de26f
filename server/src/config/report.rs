//! What is wrong with a configuration, where, and what to do about it; drawn for a terminal.
//! No parsing and no policy here.

use std::fmt;

/// One thing wrong or noteworthy, with the place it stands at.
///
/// It displays as several lines: the message, the place, the source line with a marker, and the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, one line without a full stop.
    pub message: String,
    /// Where; none if it is about the configuration as a whole.
    pub place: Option<Place>,
    /// What to do about it, zero or more lines.
    pub help: Vec<String>,
}

/// A span of one source line, or the value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File as it was named, or `environment`.
    pub origin: String,
    /// Line counted from 1; none for an environment variable.
    pub line: Option<u32>,
    /// Column of the first marked character, counted from 1.
    pub column: usize,
    /// Marked characters, at least 1.
    pub width: usize,
    /// The whole line, without its line break.
    pub source: String,
}

/// Why a configuration is refused: everything found wrong with it, ordered by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong, at least one.
    pub problems: Vec<Problem>,
    /// SRS's number: 1023 (invalid) or 1042 (a file cannot be opened).
    pub code: u16,
}

impl Problem {
    /// A problem without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, help: Vec::new() }
    }

    /// The same at `place`.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same with one more line of help.
    #[must_use]
    pub fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }

    /// What problems are sorted by: those about everything first, then by file, line and column.
    pub(crate) fn order(&self) -> Option<(String, Option<u32>, usize)> {
        self.place.as_ref().map(|place| (place.origin.clone(), place.line, place.column))
    }

    /// One line for a log: place, message, help.
    pub fn summary(&self) -> String {
        let place = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        let help = if self.help.is_empty() { String::new() } else { format!(" ({})", self.help.join("; ")) };
        format!("{place}{}{help}", self.message)
    }
}

impl Error {
    /// A refusal for one reason, with SRS's general code.
    pub fn one(problem: Problem) -> Box<Self> {
        Self::many(vec![problem])
    }

    /// A refusal for several reasons, with SRS's general code.
    pub fn many(problems: Vec<Problem>) -> Box<Self> {
        Box::new(Self { problems, code: INVALID })
    }

    /// The same, for a file that cannot be opened.
    pub(crate) fn cannot_open(problem: Problem) -> Box<Self> {
        Box::new(Self { problems: vec![problem], code: CANNOT_OPEN })
    }

    /// Status the process exits with, the low byte of the code: 255 or 18.
    pub fn exit_status(&self) -> u8 {
        self.code.to_le_bytes()[0]
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}:{}", self.origin, self.column),
            None => write!(f, "{}", self.origin),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        let line = self.place.as_ref().and_then(|place| place.line).map(|line| line.to_string());
        let number = line.unwrap_or_else(|| " ".to_owned());
        let margin = " ".repeat(number.len());
        if let Some(place) = &self.place {
            let (source, before, width) = window(place);
            write!(f, "\n{margin}--> {place}\n{margin} |\n{number} | {source}\n{margin} | ")?;
            write!(f, "{}{}", " ".repeat(before), "^".repeat(width))?;
        }
        for line in &self.help {
            write!(f, "\n{margin} = {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(SHOWN) {
            writeln!(f, "error: {problem}\n")?;
        }
        let (count, code) = (self.problems.len(), self.code);
        let name = if code == CANNOT_OPEN { "SystemFileOpen" } else { "ConfigInvalid" };
        let plural = if count == 1 { "problem" } else { "problems" };
        let shown = if count > SHOWN { format!(", the first {SHOWN} are shown") } else { String::new() };
        write!(f, "the configuration is refused: {count} {plural}{shown} (SRS code {code}, {name})")
    }
}

impl std::error::Error for Error {}

const INVALID: u16 = 1023;
const CANNOT_OPEN: u16 = 1042;
/// A file in another language would otherwise fill the screen.
const SHOWN: usize = 20;
/// Longest piece of a source line that is shown, and how much of it may stand before the marker.
const LINE: usize = 100;
const LEAD: usize = 60;
const TAB: &str = "    ";

/// The source line as shown, the blanks before the marker, and the length of the marker. Tabs become
/// blanks, control characters a dot, and of a long line only the part around the marker is kept.
fn window(place: &Place) -> (String, usize, usize) {
    let skipped = if place.column > LEAD { place.column - 1 - LEAD / 2 } else { 0 };
    let mut source = if skipped > 0 { "…".to_owned() } else { String::new() };
    let mut shown = source.chars().count();
    let (mut before, mut after) = (None, None);
    for (index, char) in place.source.chars().enumerate().skip(skipped).take(LINE) {
        if index + 1 == place.column {
            before = Some(shown);
        }
        if index + 1 == place.column + place.width {
            after = Some(shown);
        }
        match char {
            '\t' => source.push_str(TAB),
            char if char.is_control() => source.push('.'),
            char => source.push(char),
        }
        shown += if char == '\t' { TAB.len() } else { 1 };
    }
    let before = before.unwrap_or(shown);
    let width = after.unwrap_or(shown).saturating_sub(before).max(1);
    (source.trim_end().to_owned(), before, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source: &str, column: usize, width: usize) -> Place {
        Place { origin: "a.conf".into(), line: Some(12), column, width, source: source.into() }
    }

    #[test]
    fn a_problem_shows_line_marker_and_help() {
        let problem =
            Problem::new("unknown directive `gop`").at(place("\tgop on;", 2, 3)).help("did you mean?");
        assert_eq!(
            problem.to_string(),
            "unknown directive `gop`\n  --> a.conf:12:2\n   |\n12 |     gop on;\n   |     ^^^\n   = did you mean?"
        );
        assert_eq!(problem.summary(), "a.conf:12:2: unknown directive `gop` (did you mean?)");
    }

    #[test]
    fn long_lines_are_cut_around_the_marker() {
        let source = format!("{}here{}", "x".repeat(5_000), "y".repeat(5_000));
        let (shown, before, width) = window(&place(&source, 5_001, 4));
        assert!(shown.chars().count() <= LINE + 1);
        let marked: String = shown.chars().skip(before).take(width).collect();
        assert_eq!(marked, "here");
    }

    #[test]
    fn the_end_says_how_many_and_the_code() {
        let error = Error::many(vec![Problem::new("a"), Problem::new("b")]);
        assert!(error.to_string().ends_with("refused: 2 problems (SRS code 1023, ConfigInvalid)"));
        assert_eq!(error.exit_status(), 255);
        assert_eq!(Error::cannot_open(Problem::new("a")).exit_status(), 18);
    }
}
