//! Secrets stay out of the log: clients show them in queries, and lines tell queries.

use std::borrow::Cow;

/// Parameters whose values nobody shall read.
const NAMES: [&str; 13] = [
    "oxcast_pass",
    "token",
    "access_token",
    "jwt",
    "sign",
    "signature",
    "secret",
    "password",
    "passwd",
    "pass",
    "pwd",
    "key",
    "auth",
];

/// The text with stars in place of what is secret in the queries in it.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = secret(rest) {
        out.push_str(before);
        out.push_str("***");
        rest = behind;
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(out + rest)
}

/// What stands before and behind the next secret.
fn secret(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find('=')?;
        let name = text.get(..at)?.rsplit(['?', '&', ';', '/', ' ', ',']).next().unwrap_or_default();
        let (before, value) = text.split_at_checked(at + 1)?;
        let length = value.find(['&', ';', ' ', ',', '#', '?']).unwrap_or(value.len());
        if length > 0 && NAMES.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            return Some((before, value.get(length..)?));
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        for (text, shown) in [
            ("/live/a.flv", "/live/a.flv"),
            ("/live/a.flv?token=abc.def-ghi", "/live/a.flv?token=***"),
            ("?vhost=a.com&Token=abc&x=1", "?vhost=a.com&Token=***&x=1"),
            ("rtmp://h/live?key=x&sign=00ff;expires=9", "rtmp://h/live?key=***&sign=***;expires=9"),
            ("rtmp://h/live?token=x/y", "rtmp://h/live?token=***"),
            ("?hls_ctx=abc&tokens=1&stream=token", "?hls_ctx=abc&tokens=1&stream=token"),
            ("?token=", "?token="),
            ("token=abc", "token=***"),
            ("?a=token=abc", "?a=token=abc"),
            ("?secret=ä&jwt=ö", "?secret=***&jwt=***"),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }
}
