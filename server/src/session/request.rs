//! What a client asks for, in its own words. What becomes of it is the gate's decision.

use std::fmt;
use std::net::IpAddr;

/// See the module. Names are as the client told them; the gate finds what is configured.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The virtual host.
    pub vhost: String,
    /// The application.
    pub app: String,
    /// The stream.
    pub stream: String,
    /// The name for lists, where it is not that of the stream: players over HTTP ask for a file.
    pub name: String,
    /// The query, as callbacks tell it: with its `?`, but for WHIP and WHEP. May hold secrets.
    pub param: String,
    /// The page that embeds the player; the `Referer` of requests over HTTP.
    pub page_url: String,
    /// The Flash file that plays.
    pub swf_url: String,
    /// From RTMP's `connect`, or built from an HTTP request.
    pub tc_url: String,
    /// What `Authorization: Bearer` says.
    pub bearer: Option<String>,
    /// Where the client is, as proxies tell it. Anybody can tell anything.
    pub forwarded: Option<IpAddr>,
    /// The other end of the connection, where the address of the session is what proxies tell.
    pub connection: Option<IpAddr>,
}

impl Request {
    /// The name for lists.
    pub fn name(&self) -> &str {
        if self.name.is_empty() { &self.stream } else { &self.name }
    }
}

/// Without what may be secret, since requests get printed.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vhost, app, stream, .. } = self;
        f.debug_struct("Request")
            .field("vhost", vhost)
            .field("app", app)
            .field("stream", stream)
            .finish_non_exhaustive()
    }
}
