//! How HTTP says that the gate refuses.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::gate::Refused;

/// The status that says it.
pub fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::NoVhost(_) => StatusCode::NOT_FOUND,
        Refused::Busy(_) => StatusCode::CONFLICT,
        Refused::Unproved(_) => StatusCode::UNAUTHORIZED,
        Refused::Denied(_) => StatusCode::FORBIDDEN,
        Refused::Unable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What goes with a status: which proof is wanted (RFC 6750 §3), or when to come again.
pub fn header(status: StatusCode) -> Option<(HeaderName, HeaderValue)> {
    match status {
        StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, HeaderValue::from_static("10"))),
        _ => None,
    }
}

/// A refusal in words.
pub fn respond(refused: &Refused) -> Response {
    let status = status(refused);
    let mut response = (status, format!("{refused}\n")).into_response();
    response.headers_mut().extend(header(status));
    response
}
