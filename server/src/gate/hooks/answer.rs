//! What the answer to a callback means. Yes is `0`, or an object with the code 0; anything else is no.

use std::sync::Arc;

use serde_json::Value;

use super::figures::Outcome;
use crate::caller::{Answer, Failure};
use crate::config::Destination;
use crate::log::masked;

/// So many destinations may be named for one stream.
const MOST_DESTINATIONS: usize = 64;

/// Answers are read up to here; longer ones mean no.
pub(super) const LIMIT: usize = 64 << 10;

/// What of a service's own words a client is told.
const MAX_WORDS: usize = 200;

/// A service has not said yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// It has said no: its code, and its words if there are any.
    Said { code: i64, words: Option<String> },
    /// What it has said means nothing.
    Nonsense(String),
    /// It says that it cannot answer now.
    Unable(String),
    /// It does not answer at all.
    Unreachable(String),
}

impl No {
    /// For the counters.
    pub(super) fn outcome(&self) -> Outcome {
        if matches!(self, Self::Said { .. }) { Outcome::No } else { Outcome::Failed }
    }

    /// For the client, who need not know our services.
    pub(super) fn for_client(&self, event: &str) -> String {
        match self {
            Self::Said { code, words: Some(words) } => format!("{event} refuses: {words} (code {code})"),
            Self::Said { code, words: None } => format!("{event} refuses with code {code}"),
            Self::Nonsense(_) => format!("{event}: the answer of the service means nothing"),
            Self::Unable(_) => format!("{event}: the service is in trouble"),
            Self::Unreachable(_) => format!("{event}: the service does not answer"),
        }
    }

    /// For the log.
    pub(super) fn for_log(&self) -> String {
        match self {
            Self::Said { code, words } => {
                format!("it says no, code={code}, {}", words.as_deref().unwrap_or_default())
            }
            Self::Nonsense(reason) | Self::Unable(reason) | Self::Unreachable(reason) => reason.clone(),
        }
    }
}

/// What came back means yes, or why not.
pub(super) fn read(answer: Result<Answer, Failure>) -> Result<(), No> {
    read_value(answer).map(drop)
}

/// What came back means yes and names destinations (`data.urls`), or why not. No destination at all is an answer, too.
pub(super) fn read_destinations(answer: Result<Answer, Failure>) -> Result<Arc<[Destination]>, No> {
    let value = read_value(answer)?;
    let Some(urls) = value.pointer("/data/urls").and_then(Value::as_array) else {
        return Err(No::Nonsense("an answer without `data.urls`".into()));
    };
    let urls = urls.iter().filter(|url| url.as_str() != Some(""));
    let destinations = urls.map(|url| {
        let found = url.as_str().filter(|url| url.contains("://")).and_then(Destination::parse);
        found.ok_or_else(|| No::Nonsense(format!("`{}` is nobody to forward to", masked(&url.to_string()))))
    });
    let destinations = destinations.collect::<Result<Arc<[_]>, _>>()?;
    match destinations.len() {
        0..=MOST_DESTINATIONS => Ok(destinations),
        n => Err(No::Nonsense(format!("{n} destinations, and {MOST_DESTINATIONS} are the most"))),
    }
}

/// What came back, if it means yes.
fn read_value(answer: Result<Answer, Failure>) -> Result<Value, No> {
    let Answer { status, body, is_cut } = answer.map_err(|failure| match failure {
        Failure::Unusable(reason) => No::Nonsense(reason),
        failure => No::Unreachable(failure.to_string()),
    })?;
    match status {
        200 | 201 => {}
        429 | 500.. => return Err(No::Unable(format!("status {status}"))),
        status => return Err(No::Nonsense(format!("status {status}"))),
    }
    if is_cut {
        return Err(No::Nonsense(format!("an answer of more than {LIMIT} bytes")));
    }
    let nonsense = |reason: &str| No::Nonsense(reason.to_owned());
    if body.trim_ascii().is_empty() {
        return Err(nonsense("an empty answer"));
    }
    let value: Value = serde_json::from_slice(&body).map_err(|_| nonsense("an answer that is no JSON"))?;
    match &value {
        Value::Number(code) if code.as_i64() == Some(0) => Ok(value),
        Value::Number(code) if code.is_i64() => Err(said(code.as_i64(), None)),
        Value::Object(fields) => match fields.get("code").and_then(Value::as_i64) {
            Some(0) => Ok(value),
            None => Err(nonsense("an answer without an integer `code`")),
            code => {
                let words =
                    ["message", "msg", "reason", "error"].iter().find_map(|name| fields.get(*name)?.as_str());
                Err(said(code, words))
            }
        },
        _ => Err(nonsense("an answer that is neither 0 nor an object")),
    }
}

fn said(code: Option<i64>, words: Option<&str>) -> No {
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect::<String>();
    No::Said {
        code: code.unwrap_or_default(),
        words: words.map(plain).filter(|text| !text.trim().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<(), No> {
        read(Ok(Answer { status, body: body.into(), is_cut: false }))
    }

    #[test]
    fn yes_is_zero() {
        for body in ["0", "0\n", " 0 ", "{\"code\":0}", "\n{ \"code\" : 0, \"data\": null }\r\n"] {
            assert_eq!(answered(200, body), Ok(()), "{body:?}");
            assert_eq!(answered(201, body), Ok(()), "{body:?}");
            assert!(answered(204, body).is_err() && answered(302, body).is_err());
        }
    }

    #[test]
    fn anything_else_is_no() {
        for body in [
            "",
            " ",
            "ok",
            "00",
            "true",
            "null",
            "[]",
            "\"0\"",
            "{}",
            "{\"code\":\"0\"}",
            "{\"code\":0",
            "0.0",
            "<html>",
        ] {
            assert!(matches!(answered(200, body), Err(No::Nonsense(_))), "{body:?}");
        }
        assert_eq!(answered(200, "1"), Err(No::Said { code: 1, words: None }));
        let no = answered(200, "{\"code\":-7,\"msg\":\"you\\u0000 owe us\"}").unwrap_err();
        assert_eq!(no.for_client("on_publish"), "on_publish refuses: you owe us (code -7)");
        for status in [500, 503, 429] {
            assert!(matches!(answered(status, "0"), Err(No::Unable(_))), "{status}");
        }
        let long = read(Ok(Answer { status: 200, body: b"0".to_vec(), is_cut: true }));
        assert!(matches!(long, Err(No::Nonsense(_))));
        let late = read(Err(Failure::TimedOut(std::time::Duration::from_secs(1)))).unwrap_err();
        assert_eq!(late.for_client("on_play"), "on_play: the service does not answer");
        assert_eq!(late.for_log(), "no answer within 1s");
    }

    #[test]
    fn destinations_are_addresses() {
        let read =
            |body: &str| read_destinations(Ok(Answer { status: 200, body: body.into(), is_cut: false }));
        let rtmp = |url: &str| Destination::Rtmp(url.into());
        let two = r#"{"code":0,"data":{"urls":["rtmp://198.51.100.20/site/cam1","","rtmps://a.com/copy/cam1?key=1"]}}"#;
        assert_eq!(
            &*read(two).unwrap(),
            [rtmp("rtmp://198.51.100.20/site/cam1"), rtmp("rtmps://a.com/copy/cam1?key=1")]
        );
        assert_eq!(read(r#"{"code":0,"data":{"urls":[]}}"#).unwrap().len(), 0);
        for bad in [
            "0",
            r#"{"code":0}"#,
            r#"{"code":0,"data":null}"#,
            r#"{"code":0,"data":{"urls":"rtmp://a/b/c"}}"#,
            r#"{"code":0,"data":{"urls":[7]}}"#,
            r#"{"code":0,"data":{"urls":["a.com"]}}"#,
        ] {
            assert!(matches!(read(bad), Err(No::Nonsense(_))), "{bad}");
        }
        assert!(matches!(read(r#"{"code":7,"data":{"urls":[]}}"#), Err(No::Said { code: 7, .. })));
        let many = format!(r#"{{"code":0,"data":{{"urls":[{}]}}}}"#, vec!["\"rtmp://a/b/c\""; 65].join(","));
        assert!(read(&many).is_err());
    }
}
