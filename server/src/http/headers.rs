//! What is the same for every HTTP answer, be it of the API or of the stream port: the server's name, CORS, and the
//! refusal of paths that climb and of strangers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, ORIGIN, SERVER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::Guard;
use crate::config::Config;
use crate::session::Session;

const CORS: [(&str, &str); 5] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "*"),
    ("access-control-expose-headers", "*"),
    ("access-control-allow-credentials", "false"),
];

/// What the configuration says about all answers.
struct Manners {
    crossdomain: bool,
    guard: Guard,
}

/// Gives the answers of `router` these headers. With `http_server.crossdomain`, pages from elsewhere may read them, and use
/// `OPTIONS` on any path. A URL with `..` is a bad request. What `http_api.auth` guards needs a name and a password, or a
/// token; handlers find [`Who`](super::Who) among the extensions of the request.
pub fn finish(router: Router, config: &Config) -> Router {
    let crossdomain = config.http_server.as_ref().is_none_or(|http| http.crossdomain);
    let manners = Manners { crossdomain, guard: Guard::new(config) };
    router.layer(middleware::from_fn_with_state(Arc::new(manners), around))
}

async fn around(State(manners): State<Arc<Manners>>, mut request: Request, next: Next) -> Response {
    let Manners { crossdomain, guard } = &*manners;
    let asks_for_cors = request.headers().get(ORIGIN).is_some_and(|origin| !origin.is_empty());
    let climbs = request.uri().path_and_query().is_some_and(|path| path.as_str().contains(".."));
    let mut response = if request.method() == Method::OPTIONS {
        let status = if *crossdomain { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED };
        (status, [(CONTENT_LENGTH, "0")]).into_response()
    } else if climbs {
        (StatusCode::BAD_REQUEST, "a URL must not contain `..`").into_response()
    } else if let Some(who) = guard.admit(&request) {
        request.extensions_mut().insert(who);
        next.run(request).await
    } else {
        ask_who(&request, guard)
    };
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(crate::SIGNATURE));
    if *crossdomain && asks_for_cors {
        allow_all(headers);
    }
    response
}

/// Asks for a name and a password, or a token.
fn ask_who(request: &Request, guard: &Guard) -> Response {
    if request.headers().contains_key(AUTHORIZATION)
        && let Some(session) = request.extensions().get::<Arc<Session>>()
    {
        tracing::warn!("client refused: wrong name or password, peer={}", session.peer);
    }
    let mut response = (StatusCode::UNAUTHORIZED, "this path needs a name and a password").into_response();
    response.headers_mut().extend(guard.challenges().map(|challenge| (WWW_AUTHENTICATE, challenge)));
    response
}

fn allow_all(headers: &mut HeaderMap) {
    for (name, value) in CORS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
