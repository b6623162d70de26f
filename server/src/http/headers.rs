//! What is the same for every HTTP answer, be it of the API or of the stream port: the server's name, CORS, and the
//! refusal of paths that climb.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, ORIGIN, SERVER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

const CORS: [(&str, &str); 5] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "*"),
    ("access-control-expose-headers", "*"),
    ("access-control-allow-credentials", "false"),
];

/// Gives the answers of `router` these headers. `crossdomain` allows pages from elsewhere to read them, and `OPTIONS` on
/// any path. A URL with `..` is a bad request.
pub fn finish(router: Router, crossdomain: bool) -> Router {
    router.layer(middleware::from_fn_with_state(crossdomain, around))
}

async fn around(State(crossdomain): State<bool>, request: Request, next: Next) -> Response {
    let asks_for_cors = request.headers().get(ORIGIN).is_some_and(|origin| !origin.is_empty());
    let climbs = request.uri().path_and_query().is_some_and(|path| path.as_str().contains(".."));
    let mut response = if request.method() == Method::OPTIONS {
        let status = if crossdomain { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED };
        (status, [(CONTENT_LENGTH, "0")]).into_response()
    } else if climbs {
        (StatusCode::BAD_REQUEST, "a URL must not contain `..`").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(crate::SIGNATURE));
    if crossdomain && asks_for_cors {
        allow_all(headers);
    }
    response
}

fn allow_all(headers: &mut HeaderMap) {
    for (name, value) in CORS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
