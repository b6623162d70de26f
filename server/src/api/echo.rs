//! Answers for those who test a client: their own request, an error, and a redirect.

use axum::extract::{Request, State as Extract};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use super::call::Call;
use super::{Failure, State};
use crate::http::request::vhost;

/// Where [`redirects`] is.
pub(super) const REDIRECTS: &str = "/api/v1/tests/redirects";

/// Where it leads.
const ERRORS: &str = "/api/v1/tests/errors";

pub(super) async fn requests(Extract(state): Extract<State>, call: Call, request: Request) -> Response {
    let path = request.uri().path();
    let data = json!({
        "uri": format!("http://{}{path}", vhost(&request)),
        "path": path,
        "METHOD": call.method.as_str(),
        // What SRS has under this name is about the server, not about the request; its key is spelled like this.
        "headers": {
            "sigature": crate::SIGNATURE,
            "version": crate::VERSION,
            "link": crate::HOME,
            "time": Timestamp::now().as_millisecond(),
        },
    });
    call.reply(&state.success("data", data))
}

pub(super) async fn errors(call: Call) -> Response {
    call.reply(&Failure::Test.answer())
}

pub(super) async fn redirects(request: Request) -> Response {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{ERRORS}{query}");
    let text = format!("Redirect to {location}");
    (StatusCode::MOVED_PERMANENTLY, [(LOCATION, location)], text).into_response()
}
