//! A moment as people and programs write it in a query: RFC 3339, or seconds since 1970.

use jiff::Timestamp;
use media::Micros;

/// What was written is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time: write 2026-03-01T12:00:00Z, or seconds since 1970")]
pub struct NoMoment(String);

/// The year 9999, in seconds.
const LAST: f64 = 253_402_300_799.0;

/// In microseconds since 1970.
///
/// # Errors
/// When it is no moment.
pub fn moment(text: &str) -> Result<Micros, NoMoment> {
    if let Ok(seconds) = text.parse::<f64>() {
        let is_one = (0.0..=LAST).contains(&seconds);
        return is_one
            .then(|| Micros((seconds * 1e6).round() as i64))
            .ok_or_else(|| NoMoment(text.to_owned()));
    }
    // The plus of a zone is a blank in a query, unless it is escaped.
    let written = match text.rsplit_once(' ') {
        Some((time, zone)) if time.contains('T') => format!("{time}+{zone}"),
        _ => text.to_owned(),
    };
    let moment = written.parse::<Timestamp>().map(|moment| Micros(moment.as_microsecond()));
    moment.ok().filter(|moment| moment.0 >= 0).ok_or_else(|| NoMoment(text.chars().take(80).collect()))
}

/// As RFC 3339 has it, in UTC with milliseconds.
pub fn text(moment: Micros) -> String {
    Timestamp::from_microsecond(moment.0).map(|moment| format!("{moment:.3}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (written, micros) in [
            ("0", 0),
            ("1700000000", 1_700_000_000_000_000),
            ("1700000000.25", 1_700_000_000_250_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
            ("2023-11-15T00:13:20.5+02:00", 1_700_000_000_500_000),
            ("2023-11-15T00:13:20.5 02:00", 1_700_000_000_500_000),
        ] {
            assert_eq!(moment(written), Ok(Micros(micros)), "{written}");
        }
        for no in ["", "now", "-1", "NaN", "inf", "1e99", "2023-11-14", "2023-11-14T22:13:20", "12:00", "1 2"]
        {
            assert_eq!(moment(no), Err(NoMoment(no.into())));
        }
        assert_eq!(text(Micros(1_700_000_000_250_000)), "2023-11-14T22:13:20.250Z");
    }
}
