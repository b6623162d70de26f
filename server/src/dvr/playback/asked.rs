//! What a query asks for: a range of time, or the stream with a delay.

use axum::http::Uri;
use media::Micros;

use crate::dvr::moment;
use crate::http::request::parameter;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What was recorded between two moments, in microseconds since 1970; until now if there is no end.
    Range {
        /// The beginning.
        from: Micros,
        /// The end.
        to: Option<Micros>,
    },
    /// The stream of so long ago.
    Delay(Micros),
}

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// A time that is none.
    #[error(transparent)]
    Moment(#[from] moment::NoMoment),
    /// A range that is none.
    #[error("`to` is not after `from`")]
    Backwards,
    /// An end without a beginning.
    #[error("`from` is missing")]
    NoBeginning,
    /// A delay that is none.
    #[error("`delay` is a number of seconds, from 1 to 2592000")]
    Delay,
    /// Two things at once.
    #[error("either `delay`, or `from` and `to`")]
    Both,
}

/// The longest delay, in seconds: thirty days.
const LONGEST: f64 = 2_592_000.0;

impl Asked {
    /// Whether a query asks for something that is recorded, however it does.
    pub fn is_in(uri: &Uri) -> bool {
        ["from", "to", "delay"].iter().any(|name| parameter(uri, name).is_some())
    }

    /// What a query asks for, if it asks for something that is recorded.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(uri: &Uri) -> Result<Option<Self>, BadQuery> {
        let time = |name| parameter(uri, name).map(|text| moment::moment(&text)).transpose();
        let (from, to, delay) = (time("from")?, time("to")?, parameter(uri, "delay"));
        Ok(match (from, to, delay) {
            (None, None, None) => None,
            (None, None, Some(delay)) => {
                let seconds = delay.parse::<f64>().ok().filter(|delay| (1.0..=LONGEST).contains(delay));
                Some(Self::Delay(Micros((seconds.ok_or(BadQuery::Delay)? * 1e6) as i64)))
            }
            (_, _, Some(_)) => return Err(BadQuery::Both),
            (None, Some(_), None) => return Err(BadQuery::NoBeginning),
            (Some(from), to, None) if to.is_some_and(|to| to <= from) => return Err(BadQuery::Backwards),
            (Some(from), to, None) => Some(Self::Range { from, to }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let asked = |query: &str| {
            let uri: Uri = format!("/live/a.flv?{query}").parse().unwrap();
            assert_eq!(Asked::is_in(&uri), !matches!(Asked::of(&uri), Ok(None)), "{query}");
            Asked::of(&uri)
        };
        let secs = Micros::from_secs;
        assert_eq!(asked("vhost=a&from="), Ok(None));
        assert_eq!(asked("from=10&to=12"), Ok(Some(Asked::Range { from: secs(10), to: Some(secs(12)) })));
        assert_eq!(
            asked("from=1970-01-01T00:00:10%2B00:00"),
            Ok(Some(Asked::Range { from: secs(10), to: None }))
        );
        assert_eq!(asked("token=x&delay=1.5"), Ok(Some(Asked::Delay(Micros(1_500_000)))));
        assert_eq!(asked("from=12&to=12"), Err(BadQuery::Backwards));
        assert_eq!(asked("to=12"), Err(BadQuery::NoBeginning));
        assert_eq!(asked("from=1&delay=3"), Err(BadQuery::Both));
        for delay in ["0", "-5", "x", "1e9", "NaN", "inf"] {
            assert_eq!(asked(&format!("delay={delay}")), Err(BadQuery::Delay));
        }
        assert!(matches!(asked("from=yesterday"), Err(BadQuery::Moment(_))));
    }
}
