//! Who may use what `http_api.auth` guards: whoever says a configured name with its password (RFC 7617), or a token (RFC 6750). How a
//! refusal looks does not belong here.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use axum::http::{HeaderValue, Request, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;

use crate::config::{Area, Auth, Config};

/// See the module. Has no `Debug`, since it knows the secrets.
#[derive(Clone)]
pub struct Guard(Option<Arc<Secrets>>);

struct Secrets {
    /// Names, and each with its password as they come over the wire.
    users: Vec<(Arc<str>, String)>,
    tokens: Vec<String>,
    scope: Vec<Area>,
}

/// Who asks, as far as it has been proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// Somebody who need not prove anything.
    #[default]
    Anybody,
    /// Who knows the password of this name.
    User(Arc<str>),
    /// Who knows a token.
    Token,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::User(name) => f.write_str(&name.escape_debug().to_string()),
            Self::Token => f.write_str("a token"),
        }
    }
}

impl Guard {
    /// The guard of this configuration (`http_api.auth`).
    pub fn new(config: &Config) -> Self {
        let auth = config.http_api.as_ref().and_then(|api| api.auth.as_ref());
        Self(auth.map(|auth| Arc::new(Secrets::new(auth))))
    }

    /// Who asks, if he may: the request is for nothing that is guarded, or says a secret.
    pub fn admit<B>(&self, request: &Request<B>) -> Option<Who> {
        match &self.0 {
            Some(secrets) if secrets.guard(request.uri().path()) => secrets.recognise(request),
            _ => Some(Who::Anybody),
        }
    }

    /// What strangers are asked for, as values of `WWW-Authenticate`. Without a realm, browsers would not ask their user.
    pub fn challenges(&self) -> impl Iterator<Item = HeaderValue> {
        let secrets = self.0.as_deref();
        let basic = secrets.filter(|secrets| !secrets.users.is_empty());
        let bearer = secrets.filter(|secrets| !secrets.tokens.is_empty());
        let basic = basic.map(|_| HeaderValue::from_static(r#"Basic realm="oxcast""#));
        basic.into_iter().chain(bearer.map(|_| HeaderValue::from_static(r#"Bearer realm="oxcast""#)))
    }
}

impl Secrets {
    fn new(Auth { users, tokens, scope }: &Auth) -> Self {
        let user = |user: &crate::config::Credentials| {
            (user.username.as_str().into(), format!("{}:{}", user.username, user.password))
        };
        Self { users: users.iter().map(user).collect(), tokens: tokens.clone(), scope: scope.clone() }
    }

    fn guard(&self, path: &str) -> bool {
        let path = percent_decode_str(path).decode_utf8_lossy();
        self.scope.iter().any(|area| area.has(&path))
    }

    /// Goes over all secrets, whether one fits or not, so that the time tells nothing.
    fn recognise<B>(&self, request: &Request<B>) -> Option<Who> {
        let (scheme, said) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        let said = said.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            let fits = self
                .tokens
                .iter()
                .fold(false, |fits, token| fits | is_same(said.as_bytes(), token.as_bytes()));
            return fits.then_some(Who::Token);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = BASE64.decode(said).ok()?;
        self.users.iter().fold(None, |who, (name, secret)| match is_same(&pair, secret.as_bytes()) {
            true => Some(Who::User(name.clone())),
            false => who,
        })
    }
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
        let admits = |authorization: &str| guard.admit(&with("/api/v1/versions", authorization)).is_some();
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
    fn what_is_guarded_is_for_the_scope_to_say() {
        let guard_of =
            |scope: &str| guard(&format!("auth {{ enabled on; username a; password b; {scope} }}"));
        let open = |scope: &str| {
            let paths = [
                "/%61pi/v1",
                "/live/%61pi/x.flv",
                "/rtc/v1/%77hip/",
                "/sig/v1/rtc",
                "/console/",
                "/metrics",
                "/",
            ];
            let guard = guard_of(scope);
            paths.map(|path| guard.admit(&with(path, "")).is_some())
        };
        assert_eq!(open(""), [false, false, false, false, false, false, true]);
        assert_eq!(open("scope srs;"), [false, false, true, true, true, true, true]);
        assert_eq!(open("scope api metrics;"), [false, false, true, true, true, false, true]);
        assert_eq!(open("scope rtc;"), [true, true, false, true, true, true, true]);
        assert!(guard_of("").admit(&with("/x?next=/api/", "")).is_some(), "a query is no path");
    }

    #[test]
    fn several_names_and_tokens() {
        let guard = guard("auth { enabled on; user ops one; user \"dev\" two; token t0k3n other; }");
        let who = |authorization: &str| guard.admit(&with("/api/v1/versions", authorization));
        assert_eq!(who(&basic("ops:one")), Some(Who::User("ops".into())));
        assert_eq!(who(&basic("dev:two")), Some(Who::User("dev".into())));
        assert_eq!((who("Bearer t0k3n"), who("bearer  other")), (Some(Who::Token), Some(Who::Token)));
        for header in
            [&basic("ops:two"), &basic("t0k3n"), "Bearer ", "Bearer t0k3", "Bearer ops:one", "Basic t0k3n"]
        {
            assert_eq!(who(header), None, "{header}");
        }
        let challenges: Vec<_> = guard.challenges().collect();
        assert_eq!(challenges, [r#"Basic realm="oxcast""#, r#"Bearer realm="oxcast""#]);
    }

    #[test]
    fn without_credentials_everybody_may_pass() {
        assert_eq!(guard("").admit(&with("/api/v1/clients/", "")), Some(Who::Anybody));
        let off = guard("auth { enabled off; username a; password b; }");
        assert_eq!(off.admit(&with("/api/v1/clients/", "")), Some(Who::Anybody));
    }
}
