//! The pages inside the program: players, publishers and calls, as `web/` builds them. How they are answered belongs here; which
//! requests get that far is for `files` to say, and what the pages do is written in `web/`.

#[cfg(test)]
mod tests;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

/// All files; those that are worth it have a compressed sister, `NAME.gz`. Tests have a few of their own, as the pages may not be built.
#[derive(Embed)]
#[cfg_attr(not(test), folder = "../web/dist")]
#[cfg_attr(test, folder = "src/http/pages/sample")]
#[allow_missing = true]
struct Built;

/// What there is under a path.
pub enum Found {
    /// A file.
    Page(Page),
    /// A folder with an index: its address ends with a slash.
    Folder,
    /// It would be there if the pages had been built.
    Unbuilt,
    /// Nothing.
    Neither,
}

/// A file in the program.
pub struct Page {
    name: String,
    file: EmbeddedFile,
}

/// Whether there is a file with this path (without a slash in front).
pub fn exists(path: &str) -> bool {
    Built::get(path).is_some()
}

/// Looks for a path (without a slash in front). One that ends with a slash, or is empty, means the index of the folder.
pub fn find(path: &str) -> Found {
    let is_folder = path.is_empty() || path.ends_with('/');
    let name = if is_folder { format!("{path}index.html") } else { path.to_owned() };
    if name.ends_with(".gz") {
        return Found::Neither;
    }
    match Built::get(&name) {
        Some(file) => Found::Page(Page { name, file }),
        None if !is_folder && exists(&format!("{name}/index.html")) => Found::Folder,
        None if Built::iter().next().is_none() && is_ours(&name) => Found::Unbuilt,
        None => Found::Neither,
    }
}

/// It belongs to the pages that `web/` has.
fn is_ours(name: &str) -> bool {
    matches!(name.split('/').next(), Some("players" | "demos"))
}

impl Page {
    /// The answer to a GET or HEAD.
    pub fn answer(self, request: &Request<()>) -> Response {
        let Self { name, file } = self;
        let small = Some(()).filter(|()| takes_gzip(request.headers()));
        let small = small.and_then(|()| Built::get(&format!("{name}.gz")));
        let is_small = small.is_some();
        let sent = small.unwrap_or(file);
        let tag = etag(&sent);
        let mut headers = HeaderMap::new();
        // Browsers ask each time, so that pages and scripts are always of one version.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let is_known = knows(request.headers(), &tag);
        headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (header::ETAG, tag)));
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(&name)));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(sent.data.len()));
        if is_small {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let body = match request.method() {
            &Method::HEAD => Body::empty(),
            _ => match sent.data {
                std::borrow::Cow::Borrowed(data) => Body::from(Bytes::from_static(data)),
                std::borrow::Cow::Owned(data) => Body::from(data),
            },
        };
        (StatusCode::OK, headers, body).into_response()
    }
}

/// The types of what Vite makes.
fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The tag of these very bytes: the compressed form has another (RFC 9110 §8.8.3).
fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// The client has the bytes with this tag (RFC 9110 §13.1.2).
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    elements(headers, header::IF_NONE_MATCH)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// RFC 9110 §12.5.3.
fn takes_gzip(headers: &HeaderMap) -> bool {
    elements(headers, header::ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

/// The elements of a header that is a list.
fn elements(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
