//! A request as the API reads it, and how the answer is written: JSON with floats of two decimals, as JSONP for those
//! who ask.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

use super::Failure;
use super::audit::Operator;
use crate::session::Session;

/// See the module.
pub(super) struct Call {
    /// What to do: the method, unless a JSONP request names another one (browsers can only GET that way).
    pub(super) method: Method,
    /// Who calls.
    pub(super) by: Operator,
    query: HashMap<String, String>,
}

impl Call {
    /// A part of the query; empty if it is not there.
    pub(super) fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// The page of a list that `start` and `count` ask for. SRS takes no count below 10.
    pub(super) fn page<'a, T>(&self, all: &'a [T]) -> impl Iterator<Item = &'a T> {
        let (start, count) = self.range();
        all.iter().skip(start).take(count)
    }

    /// The same in numbers: how many are passed over, and how many are asked for at most.
    pub(super) fn range(&self) -> (usize, usize) {
        let number = |name| self.query(name).parse::<i64>().unwrap_or(0);
        (number("start").max(0) as usize, number("count").max(10) as usize)
    }

    /// The answer.
    pub(super) fn reply(&self, body: &Value) -> Response {
        let json = text(body);
        match self.query("callback") {
            "" => ([(CONTENT_TYPE, "application/json")], json).into_response(),
            name => ([(CONTENT_TYPE, "text/javascript")], format!("{name}({json})")).into_response(),
        }
    }

    /// The answer to a method that makes no sense here; these do.
    pub(super) fn refuse_method(allowed: &'static str) -> Response {
        (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, allowed)], "Method Not Allowed").into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query =
            Query::<HashMap<String, String>>::try_from_uri(&parts.uri).map(|Query(q)| q).unwrap_or_default();
        let peer = parts.extensions.get::<Arc<Session>>().map(|session| session.peer);
        let by = Operator { who: parts.extensions.get().cloned().unwrap_or_default(), peer };
        let mut call = Self { method: parts.method.clone(), by, query };
        let callback = call.query("callback");
        if !callback.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
            call.query.clear();
            return Err(call.reply(&Failure::BadCallback.answer()));
        }
        if !callback.is_empty() {
            call.method = match call.query("method") {
                "GET" => Method::GET,
                "PUT" => Method::PUT,
                "POST" => Method::POST,
                "DELETE" => Method::DELETE,
                _ => call.method,
            };
        }
        if call.method == Method::HEAD {
            call.method = Method::GET;
        }
        Ok(call)
    }
}

/// JSON as SRS writes it.
pub fn text(value: &Value) -> String {
    let mut out = Vec::with_capacity(512);
    // A value always has a text, and a vector takes it.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut out, TwoDecimals));
    String::from_utf8(out).unwrap_or_default()
}

/// SRS writes all floats like this, and clients compare texts.
struct TwoDecimals;

impl Formatter for TwoDecimals {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn floats_have_two_decimals_and_keys_their_order() {
        let value = json!({ "z": 0.018, "a": 12.0, "n": 3, "s": "a\"b\n", "list": [1.005, null, true] });
        assert_eq!(text(&value), r#"{"z":0.02,"a":12.00,"n":3,"s":"a\"b\n","list":[1.00,null,true]}"#);
    }

    #[test]
    fn pages() {
        let page = |query: &[(&str, &str)]| {
            let query = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let all = (0..30).collect::<Vec<_>>();
            let page: Vec<_> =
                Call { method: Method::GET, by: Operator::default(), query }.page(&all).copied().collect();
            (page.first().copied(), page.len())
        };
        assert_eq!(page(&[]), (Some(0), 10));
        assert_eq!(page(&[("start", "25"), ("count", "20")]), (Some(25), 5));
        assert_eq!(page(&[("start", "-4"), ("count", "3")]), (Some(0), 10));
        assert_eq!(page(&[("start", "2"), ("count", "12")]), (Some(2), 12));
        assert_eq!(page(&[("start", "x"), ("count", "-1")]), (Some(0), 10));
        assert_eq!(page(&[("start", "30")]), (None, 0));
    }
}
