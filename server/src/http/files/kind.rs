//! What a file is, told by its extension, and what its headers say of that.

use std::ffi::OsStr;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// The extension of a name in small letters; empty if there is none of plain letters and digits. Fragments of HDS have none, and count as `f4f`;
/// files of DASH have the same for video and audio, and count as `cmfv` and `cmfa`.
pub(super) fn extension(name: &OsStr) -> String {
    if is_fragment(name.to_str().unwrap_or_default()) {
        return "f4f".to_owned();
    }
    if let Some(track) = name.to_str().and_then(track) {
        return track.to_owned();
    }
    let extension = std::path::Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
    let is_plain = extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain { extension.to_ascii_lowercase() } else { String::new() }
}

/// `audio-12-7200.m4s`, `video-init.mp4`
fn track(name: &str) -> Option<&'static str> {
    let (track, rest) = name.split_once('-')?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    let is_segment = |numbers: &str| !numbers.is_empty() && numbers.bytes().all(is_digit);
    let is_ours = match rest.strip_suffix(".m4s") {
        Some(number) => is_segment(number),
        None => rest.starts_with("init") && rest.ends_with(".mp4"),
    };
    match track {
        "audio" if is_ours => Some("cmfa"),
        "video" if is_ours => Some("cmfv"),
        _ => None,
    }
}

/// `camSeg1-Frag12`
fn is_fragment(name: &str) -> bool {
    name.rsplit_once("Seg1-Frag").is_some_and(|(stream, number)| {
        !stream.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Corrects the type that tower-http has guessed, and tells that playlists do not keep.
pub(super) fn label(mut response: Response, extension: &str) -> Response {
    if !matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) {
        return response;
    }
    let headers = response.headers_mut();
    if let Some(kind) = headers.get_mut(header::CONTENT_TYPE) {
        *kind = of(extension).unwrap_or_else(|| with_charset(kind, extension));
    }
    if is_playlist(extension) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

/// Types that SRS's players expect, where the usual tables say something else or nothing.
fn of(extension: &str) -> Option<HeaderValue> {
    Some(HeaderValue::from_static(match extension {
        "ts" => "video/MP2T",
        "flv" | "fhv" => "video/x-flv",
        "m4s" => "video/iso.segment",
        "mp4v" | "cmfv" => "video/mp4",
        "cmfa" => "audio/mp4",
        "3gpp" => "video/3gpp",
        "aac" => "audio/x-aac",
        "m4a" => "audio/x-m4a",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "f4m" => "application/f4m+xml",
        "f4f" => "video/f4f",
        "abst" => "application/octet-stream",
        "rss" => "application/rss+xml",
        "rar" => "application/x-rar-compressed",
        _ => return None,
    }))
}

/// Text is UTF-8, but for what says so itself.
fn with_charset(kind: &HeaderValue, extension: &str) -> HeaderValue {
    let says = kind.to_str().unwrap_or_default();
    if !says.starts_with("text/") || matches!(extension, "html" | "htm" | "xml") {
        return kind.clone();
    }
    HeaderValue::try_from(format!("{says}; charset=utf-8")).unwrap_or_else(|_| kind.clone())
}

fn is_playlist(extension: &str) -> bool {
    matches!(extension, "m3u8" | "mpd" | "f4m" | "abst")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        let of = |name: &str| extension(OsStr::new(name));
        assert_eq!(of("a.b.TS"), "ts");
        assert_eq!(of("a"), "");
        assert_eq!(of("a."), "");
        assert_eq!(of("a.é"), "");
        assert_eq!(of("a.b c"), "");
        assert_eq!(of("a.bSeg1-Frag12"), "f4f");
        assert_eq!(of("a.bSeg1-Frag"), "");
        assert_eq!(of("audio-12-34.m4s"), "cmfa");
        assert_eq!(of("video-init-2.mp4"), "cmfv");
        assert_eq!(of("audio-.m4s"), "m4s");
        assert_eq!(of("my-video-1.m4s"), "m4s");
    }
}
