//! Basic authentication (RFC 7617): who asks for a path with `/api/` in it must know the configured name and password. How a
//! refusal looks does not belong here.

use std::hint::black_box;

use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;

use crate::config::{Config, Credentials};

/// See the module. Has no `Debug`, since it knows the password.
#[derive(Clone)]
pub struct Guard {
    /// Name and password as they come over the wire; without them everybody may pass.
    secret: Option<String>,
}

impl Guard {
    /// The guard of this configuration (`http_api.auth`).
    pub fn new(config: &Config) -> Self {
        let auth = config.http_api.as_ref().and_then(|api| api.auth.as_ref());
        Self { secret: auth.map(|Credentials { username, password }| format!("{username}:{password}")) }
    }

    /// The request asks for nothing that is guarded, or says the name and the password.
    pub fn admits<B>(&self, request: &Request<B>) -> bool {
        let Some(secret) = &self.secret else { return true };
        !is_guarded(request.uri().path())
            || said(request).is_some_and(|said| is_same(&said, secret.as_bytes()))
    }
}

/// The rule of SRS, which looks for the text anywhere in the path; live streams and files are no exception.
fn is_guarded(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    path.contains("/api/") || path.ends_with("/api")
}

/// What the request says about its sender: `name:password`.
fn said<B>(request: &Request<B>) -> Option<Vec<u8>> {
    let (scheme, pair) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    BASE64.decode(pair.trim()).ok()
}

/// Compares in a time that only the length of `given` decides, so that nobody learns a password letter by letter.
fn is_same(given: &[u8], secret: &[u8]) -> bool {
    let difference = given
        .iter()
        .zip(secret.iter().cycle())
        .fold(0, |sum, (given, secret)| black_box(sum | given ^ secret));
    (difference == 0) & (given.len() == secret.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn guard(auth: &str) -> Guard {
        let text = format!("listen 1935; http_api {{ enabled on; {auth} }} vhost __defaultVhost__ {{ }}");
        Guard::new(&Config::parse("x", text.as_bytes(), &Environment::default()).unwrap())
    }

    fn with(path: &str, authorization: &str) -> Request<()> {
        let request = Request::get(path);
        let request =
            if authorization.is_empty() { request } else { request.header("Authorization", authorization) };
        request.body(()).unwrap()
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64.encode(pair))
    }

    #[test]
    fn name_and_password_must_be_right() {
        let guard = guard("auth { enabled on; username admin; password s3cret; }");
        let admits = |authorization: &str| guard.admits(&with("/api/v1/versions", authorization));
        assert!(admits(&basic("admin:s3cret")));
        assert!(admits(&basic("admin:s3cret").replace("Basic", "basic")));
        for pair in [
            "admin:s3cre",
            "admin:s3cret2",
            "admin:s3creT",
            "admin:",
            "admin",
            ":s3cret",
            "admin:s3cret:",
            "root:s3cret",
            "admin:s3cretadmin:s3cret",
            ":",
            "",
        ] {
            assert!(!admits(&basic(pair)), "{pair}");
        }
        for header in ["", "Basic", "Basic ", "Bearer YWRtaW46czNjcmV0", "Basic ????", "YWRtaW46czNjcmV0"] {
            assert!(!admits(header), "{header}");
        }
    }

    #[test]
    fn paths_with_api_are_guarded() {
        let guard = guard("auth { enabled on; username admin; password s3cret; }");
        for path in [
            "/api/",
            "/api",
            "/api/v1/x?a=b",
            "/live/api/cam.flv",
            "//api/v1",
            "/%61pi/v1",
            "/live/%61pi/x.flv",
        ] {
            assert!(!guard.admits(&with(path, "")), "{path}");
        }
        for path in
            ["/", "/rtc/v1/play/", "/metrics", "/console/", "/live/apis/x.flv", "/apis", "/x?next=/api/"]
        {
            assert!(guard.admits(&with(path, "")), "{path}");
        }
    }

    #[test]
    fn without_credentials_everybody_may_pass() {
        assert!(guard("").admits(&with("/api/v1/clients/", "")));
        assert!(guard("auth { enabled off; username a; password b; }").admits(&with("/api/v1/clients/", "")));
    }
}
