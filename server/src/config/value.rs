//! The value in force for a directive, and how text becomes a number or an endpoint: as the C library
//! reads it, and whether anything was left over. What is done about leftovers is the loader's business.

use std::fmt;
use std::net::IpAddr;

use super::directives::{Directive, Kind};
use super::environment::Environment;
use super::report::{Place, Problem};
use super::tree::{Files, Node, first};

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address; none listens on every address, IPv4 and IPv6 (`::` dual-stack where there is IPv6).
    pub ip: Option<IpAddr>,
    /// TCP port, never 0.
    pub port: u16,
}

/// The words in force for one directive: of the environment, else of the file, else the default.
#[derive(Debug)]
pub(super) struct Value<'a> {
    pub(super) row: &'static Directive,
    pub(super) words: Vec<&'a str>,
    origin: Origin<'a>,
}

#[derive(Debug)]
enum Origin<'a> {
    Default,
    File(&'a Node),
    Variable(String, &'a str),
}

/// A number read from text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number<T> {
    pub(super) value: T,
    /// Whether the text is that number and nothing else.
    pub(super) exact: bool,
}

impl<'a> Value<'a> {
    /// The value of `row`, whose block holds `nodes`.
    pub(super) fn of(row: &'static Directive, nodes: &'a [Node], env: &'a Environment) -> Self {
        if let Some(value) = Self::of_environment(row, env) {
            return value;
        }
        match first(nodes, row.name()) {
            Some(node) if !node.args.is_empty() => {
                let words = node.args.iter().map(|word| word.text.as_str()).collect();
                Self { row, words, origin: Origin::File(node) }
            }
            _ => Self { row, words: row.default.split_whitespace().collect(), origin: Origin::Default },
        }
    }

    /// Its value each time that a block of `nodes` says it; for rows that may be repeated.
    pub(super) fn each(row: &'static Directive, nodes: &'a [Node]) -> impl Iterator<Item = Self> {
        nodes.iter().filter(|node| node.name.text == row.name()).map(move |node| {
            let words = node.args.iter().map(|word| word.text.as_str()).collect();
            Self { row, words, origin: Origin::File(node) }
        })
    }

    /// The value the environment gives to `row`.
    pub(super) fn of_environment(row: &'static Directive, env: &'a Environment) -> Option<Self> {
        row.variables().into_iter().find_map(|name| {
            let text = env.value(&name)?;
            let words = if row.kind.is_list() {
                text.split(' ').filter(|word| !word.is_empty()).collect()
            } else {
                vec![text]
            };
            Some(Self { row, words, origin: Origin::Variable(name, text) })
        })
    }

    /// The first word, or nothing.
    pub(super) fn text(&self) -> &'a str {
        self.words.first().copied().unwrap_or_default()
    }

    /// Whether nobody says it.
    pub(super) fn is_default(&self) -> bool {
        matches!(self.origin, Origin::Default)
    }

    /// Whether the environment says it.
    pub(super) fn is_variable(&self) -> bool {
        matches!(self.origin, Origin::Variable(..))
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self) -> bool {
        self.row.kind.is_on(self.text())
    }

    /// Whether it says the same as the default.
    pub(super) fn equals_default(&self) -> bool {
        let default: Vec<_> = self.row.default.split_whitespace().collect();
        let default_text = default.first().copied().unwrap_or_default();
        match self.row.kind {
            kind if kind.is_switch() => self.is_on() == kind.is_on(default_text),
            Kind::Int | Kind::IntS | Kind::IntMs => int(self.text()).value == int(default_text).value,
            Kind::Float | Kind::FloatS | Kind::FloatMs => {
                float(self.text()).value == float(default_text).value
            }
            kind if kind.is_list() => self.words == default,
            _ => self.text() == default_text,
        }
    }

    /// A problem shown at the word `index`, or at the name of the directive.
    pub(super) fn problem(&self, files: &Files, index: usize, message: impl Into<String>) -> Problem {
        let problem = Problem::new(message);
        match &self.origin {
            Origin::Default => problem,
            Origin::File(node) => problem.at(files.place(node.args.get(index).unwrap_or(&node.name).span)),
            Origin::Variable(name, text) => problem.at(Place {
                origin: "environment".into(),
                line: None,
                column: name.chars().count() + 2,
                width: text.chars().count(),
                source: format!("{name}={text}"),
            }),
        }
    }
}

/// A whole number as `atoi` reads it, limited to 32 bits: blanks, a sign, digits; 0 without digits.
pub(super) fn int(text: &str) -> Number<i64> {
    let (number, exact) = prefix(text, false);
    match number.parse::<i64>() {
        Ok(value) => {
            let held = value.clamp(i32::MIN.into(), i32::MAX.into());
            Number { value: held, exact: exact && held == value }
        }
        Err(_) if number.starts_with('-') && number.len() > 1 => {
            Number { value: i32::MIN.into(), exact: false }
        }
        Err(_) if number.ends_with(|char: char| char.is_ascii_digit()) => {
            Number { value: i32::MAX.into(), exact: false }
        }
        Err(_) => Number { value: 0, exact: false },
    }
}

/// A number as `atof` reads decimals; 0 without digits, never infinite.
pub(super) fn float(text: &str) -> Number<f64> {
    let (number, exact) = prefix(text, true);
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() => Number { value, exact },
        _ => Number { value: 0.0, exact: false },
    }
}

/// `[ip:]port`: the text after the last colon is the port.
///
/// # Errors
/// What is wrong with it.
pub(super) fn endpoint(text: &str) -> Result<(Endpoint, Number<i64>), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, text),
    };
    let number = int(port);
    let port = match u16::try_from(number.value) {
        Ok(port) if port > 0 => port,
        _ => return Err(format!("`{port}` is not a port, which is a number from 1 to 65535")),
    };
    let ip = match host {
        Some(host) => {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Some(bare.parse().map_err(|_| format!("`{host}` is not an IP address"))?)
        }
        None => None,
    };
    Ok((Endpoint { ip, port }, number))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Some(ip) => write!(f, "{ip}:{}", self.port),
            None => write!(f, "{}", self.port),
        }
    }
}

/// The longest start of `text` that is a number, and whether that is all of it.
fn prefix(text: &str, fraction: bool) -> (&str, bool) {
    let text = text.trim_start();
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let sign = |at: usize| usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let mut end = sign(0);
    let mut count = digits(end);
    end += count;
    if fraction {
        if bytes.get(end) == Some(&b'.') && count + digits(end + 1) > 0 {
            count += digits(end + 1);
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) && count > 0 {
            let exponent = end + 1 + sign(end + 1);
            if digits(exponent) > 0 {
                end = exponent + digits(exponent);
            }
        }
    }
    (&text[..end], end == text.len() && count > 0)
}

/// A number of bytes, with `k`, `m` or `g` behind it if it is large.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(number) => (number, text[number.len()..].to_ascii_lowercase()),
        None => (text, String::new()),
    };
    let shift = match unit.as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    number.parse::<u32>().ok().map(|number| u64::from(number) << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            ["0", "512", "64k", "100M", "2g"].map(size),
            [0, 512, 65_536, 104_857_600, 2 << 30].map(Some)
        );
        assert_eq!(["", "k", "1.5m", "-1", "10x", "10kb", "1 m"].map(size), [None; 7]);
    }

    #[test]
    fn whole_numbers_stop_at_the_first_foreign_character() {
        for (text, value, exact) in [
            ("10", 10, true),
            (" -7", -7, true),
            ("+7", 7, true),
            ("10s", 10, false),
            ("9.3", 9, false),
            ("0.5", 0, false),
            ("abc", 0, false),
            ("", 0, false),
            ("-", 0, false),
            ("99999999999", i64::from(i32::MAX), false),
            ("99999999999999999999999", i64::from(i32::MAX), false),
            ("-99999999999999999999999", i64::from(i32::MIN), false),
        ] {
            assert_eq!(int(text), Number { value, exact }, "{text:?}");
        }
    }

    #[test]
    fn fractions_too() {
        for (text, value, exact) in [
            ("2.5", 2.5, true),
            (".5", 0.5, true),
            ("5.", 5.0, true),
            ("-1e3", -1000.0, true),
            ("1e", 1.0, false),
            ("2.5s", 2.5, false),
            (".", 0.0, false),
            ("inf", 0.0, false),
            ("nan", 0.0, false),
            ("1e999", 0.0, false),
            ("é", 0.0, false),
        ] {
            assert_eq!(float(text), Number { value, exact }, "{text:?}");
        }
    }

    #[test]
    fn endpoints_are_an_address_and_a_port() {
        for (text, shown) in [
            ("1935", "1935"),
            ("127.0.0.1:1935", "127.0.0.1:1935"),
            ("[::]:1935", "[::]:1935"),
            ("::1:1935", "[::1]:1935"),
            ("1935/tcp", "1935"),
        ] {
            assert_eq!(endpoint(text).unwrap().0.to_string(), shown);
        }
        for text in ["", "0", "-1", "65536", "x", "host:1935", "[::1]", ":1935", "*:1935", "127.0.0.1:"] {
            assert!(endpoint(text).is_err(), "{text:?}");
        }
    }
}
