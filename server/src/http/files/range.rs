//! Which part of a file a request wants: by the parameters `range` and `bytes`, which players of old used, or by the header.

use std::str::FromStr;

use axum::http::{HeaderValue, Method, Request, header};

use crate::http::request::parameter;

/// The wanted part of `size` bytes as a `Range` header with both ends, or with a start beyond the end if there is no such
/// part; none if everything is wanted. A range that makes no sense and several ranges in one request are passed over, as RFC 9110
/// §14.2 allows, and so is the header of a HEAD.
pub(super) fn wanted(request: &Request<()>, size: u64) -> Option<HeaderValue> {
    let query = |name| read(&parameter(request.uri(), name)?, size);
    let header = || {
        let value = request.headers().get(header::RANGE).filter(|_| request.method() == Method::GET)?;
        let (unit, range) = value.to_str().ok()?.split_once('=')?;
        read(range, size).filter(|_| unit.trim().eq_ignore_ascii_case("bytes"))
    };
    let (first, last) = query("range").or_else(|| query("bytes")).or_else(header)?;
    HeaderValue::try_from(format!("bytes={first}-{last}")).ok()
}

fn read(range: &str, size: u64) -> Option<(u64, u64)> {
    let end = size.checked_sub(1)?;
    let (first, last) = range.trim().split_once('-')?;
    match (first, last) {
        ("", count) => Some((size - number(count)?.min(size), end)),
        (first, "") => number(first).map(|first| (first, end.max(first))),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

fn number(text: &str) -> Option<u64> {
    // FromStr takes a sign, too.
    u64::from_str(text).ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, uri: &str, range: &str) -> Option<String> {
        let request = Request::builder().method(method).uri(uri).header("range", range);
        let value = wanted(&request.body(()).unwrap(), 1000)?;
        Some(value.to_str().unwrap().trim_start_matches("bytes=").to_owned())
    }

    #[test]
    fn the_header() {
        let wanted = |range| of(Method::GET, "/x", range);
        for (range, want) in [
            ("bytes=0-9", "0-9"),
            ("Bytes=5-", "5-999"),
            ("bytes=-5", "995-999"),
            ("bytes=-5000", "0-999"),
            ("bytes= 07-08 ", "7-8"),
            ("bytes=999-5000", "999-5000"),
            ("bytes=1000-", "1000-1000"),
            ("bytes=-0", "1000-999"),
        ] {
            assert_eq!(wanted(range).as_deref(), Some(want), "{range}");
        }
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-5",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2,5-6",
            "items=0-9",
            "bytes=0-99999999999999999999999",
        ] {
            assert_eq!(wanted(range), None, "{range}");
        }
        assert_eq!(of(Method::HEAD, "/x", "bytes=0-9"), None);
    }

    #[test]
    fn the_query_comes_before_the_header() {
        let wanted = |uri| of(Method::GET, uri, "bytes=1-1");
        assert_eq!(wanted("/x?range=2-4").as_deref(), Some("2-4"));
        assert_eq!(wanted("/x?a=1&bytes=2-").as_deref(), Some("2-999"));
        assert_eq!(wanted("/x?range=2-3&bytes=4-5").as_deref(), Some("2-3"));
        for unreadable in ["/x?range=x", "/x?range=", "/x?bytes=3-2", "/x?range=1-2,4-5"] {
            assert_eq!(wanted(unreadable).as_deref(), Some("1-1"), "{unreadable}");
        }
        assert_eq!(of(Method::HEAD, "/x?range=2-4", "").as_deref(), Some("2-4"));
    }
}
