//! The path of a request as names of folders and a file, and which names nobody may ask for.

use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// The names of a path, decoded once, without empty ones. On disk they may be in any encoding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    all: Vec<OsString>,
    /// The path ends with a slash.
    pub(super) is_folder: bool,
}

/// What stays as it is in a URL (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where certificates are proven (RFC 8615): the one folder with a dot that is public by nature.
const WELL_KNOWN: &[u8] = b".well-known";

impl Names {
    /// None if a name in it is hidden: `.`, `..`, `.git` and the like.
    pub(super) fn read(path: &str) -> Option<Self> {
        let path: Vec<u8> = percent_decode_str(path).collect();
        let mut all = Vec::new();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            if name.starts_with(b".") && !(name == WELL_KNOWN && all.is_empty()) {
                return None;
            }
            all.push(OsString::from_vec(name.to_owned()));
        }
        Some(Self { all, is_folder: path.ends_with(b"/") })
    }

    /// The path with a slash at its end. It has none but single slashes, so that it cannot lead to another host.
    pub(super) fn folder_url(&self) -> String {
        let encode = |name: &OsString| format!("{}/", percent_encode(OsStr::as_bytes(name), RESERVED));
        format!("/{}", self.all.iter().map(encode).collect::<String>())
    }
}

impl Deref for Names {
    type Target = [OsString];

    fn deref(&self) -> &[OsString] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(path: &str) -> Option<String> {
        Names::read(path).map(|names| names.folder_url())
    }

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(names("/"), Some("/".into()));
        assert_eq!(names("/live/a%20b%2fc.ts"), Some("/live/a%20b/c.ts/".into()));
        assert_eq!(names("//evil.com//x"), Some("/evil.com/x/".into()));
        assert_eq!(names("/%252e%252e/x"), Some("/%252e%252e/x/".into()));
        assert_eq!(names("/%ff%fe.ts"), Some("/%FF%FE.ts/".into()));
        assert!(Names::read("/a/").is_some_and(|n| n.is_folder) && !Names::read("/a").unwrap().is_folder);
        assert!(Names::read("/a%2f").unwrap().is_folder);
    }

    #[test]
    fn hidden_names() {
        for path in
            ["/..", "/a/../b", "/%2e%2e/b", "/.%2E", "/.git/config", "/a/.htpasswd", "/.", "/a/..%2fb"]
        {
            assert_eq!(names(path), None, "{path}");
        }
        for path in ["/a..b", "/a.", "/.well-known/acme-challenge/x", "/~/x"] {
            assert!(names(path).is_some(), "{path}");
        }
        assert_eq!(names("/a/.well-known/x"), None);
        assert_eq!(names("/.well-known/.x"), None);
    }

    proptest! {
        #[test]
        fn no_path_climbs(path in "(/|\\.|%2e|%2F|%5c|%00|%25|%c0%ae|[a-c~;%]){0,20}") {
            if let Some(names) = Names::read(&path) {
                for name in names.iter() {
                    let name = name.as_bytes();
                    prop_assert!(!name.is_empty() && name[0] != b'.' && !name.contains(&b'/'));
                }
                let again = Names::read(&names.folder_url()).unwrap();
                prop_assert_eq!(&again[..], &names[..]);
            }
        }
    }
}
