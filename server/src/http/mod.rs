//! What all HTTP ports share: the front that reads requests, the headers that every answer has, what a request says about
//! vhosts, and static files. Live streams and the API are guests here and live elsewhere.

pub mod front;
pub mod headers;
pub mod request;

pub use front::Front;
pub use headers::finish;
