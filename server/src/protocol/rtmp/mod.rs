//! RTMP and RTMPS: accepted connections to sessions of the `rtmp` crate.

mod link;
mod play;
mod publish;
mod wire;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use ::rtmp::{Connect, ConnectReply, Event, ServerIdentity, Url};
use tracing::{Instrument, info, warn};

use crate::config::Config;
use crate::gate::{Gate, Refused, Visit};
use crate::log;
use crate::net::listen::Pass;
use crate::net::{Conn, Core};
use crate::process::Identity;
use crate::session::{Request, Session};

use link::{Ended, Link};

/// What all RTMP connections share.
pub struct Service {
    /// The door.
    pub gate: Arc<Gate>,
    /// The global settings.
    pub config: Arc<Config>,
    /// Who we are, for `connect`.
    pub identity: Arc<Identity>,
}

/// Serves one connection to its end.
pub async fn serve(core: Rc<Core>, service: Arc<Service>, conn: Conn, pass: Pass) {
    let span = log::span(conn.session.cid);
    serve_logged(core, service, conn, pass).instrument(span).await;
}

async fn serve_logged(core: Rc<Core>, service: Arc<Service>, conn: Conn, pass: Pass) {
    let session = conn.session.clone();
    info!("RTMP client ip={}:{}", session.peer.ip(), session.peer.port());
    let local = conn.local.ip();
    let link = Link::new(core, conn);
    let mut client =
        Client { service, session, link, local, proxied: None, connect: None, visit: Visit::default() };
    // Boxed so that the task of a connection is no larger than what it does needs.
    let ended = Box::pin(client.run(&pass)).await;
    let Err(ended) = ended else { return };
    match &ended {
        Ended::Left => info!("client disconnect peer"),
        Ended::Kicked(reason) => info!("client finished: {reason}"),
        Ended::Refused(reason) => warn!("client refused: {reason}, peer={}", client.session.peer),
        ended => {
            client.service.gate.count_failure(&client.session);
            warn!("serve error: {ended}, peer={}", client.session.peer);
        }
    }
    if let Ended::Kicked(reason) | Ended::Silent(reason) = &ended
        && !client.link.server.is_closed()
    {
        client.link.server.close("NetConnection.Connect.Closed", reason);
    }
    Box::pin(client.link.bid_farewell(&ended)).await;
}

/// One connection.
struct Client {
    service: Arc<Service>,
    session: Arc<Session>,
    link: Link,
    local: IpAddr,
    /// Where it is, as a proxy tells it.
    proxied: Option<IpAddr>,
    connect: Option<Box<Connect>>,
    /// The connection, for callbacks.
    visit: Visit,
}

impl Client {
    async fn run(&mut self, pass: &Pass) -> Result<(), Ended> {
        loop {
            match self.event().await? {
                Event::ProxyAddress(ip) => {
                    info!("RTMP proxy tells client ip={ip}");
                    self.proxied = Some(ip.into());
                }
                Event::Connect(connect) if pass.full => {
                    drop(connect);
                    let limit = self.service.config.max_connections;
                    let reason = format!("the server is full: max_connections {limit} reached");
                    self.link.server.reject_connect(&reason)?;
                    return Err(Ended::Refused(reason));
                }
                Event::Connect(connect) => self.accept(connect)?,
                Event::Publish(publish) => self.publish(*publish).await?,
                Event::Play(play) => self.play(*play).await?,
                _ => {}
            }
        }
    }

    /// The next event, unless somebody kicks the client first.
    async fn event(&mut self) -> Result<Event, Ended> {
        tokio::select! {
            biased;
            reason = self.session.kicked() => Err(Ended::Kicked(reason)),
            event = self.link.event() => event,
        }
    }

    fn accept(&mut self, connect: Box<Connect>) -> Result<(), Ended> {
        info!(
            "connect app, tcUrl={}, pageUrl={}, swfUrl={}, vhost={}, app={}",
            log::masked(&connect.tc_url),
            log::masked(&connect.page_url),
            log::masked(&connect.swf_url),
            connect.target.vhost,
            connect.target.app
        );
        // A vhost that is not known here may still be told with the stream; the gate decides then.
        let vhost = self.service.gate.vhost(&connect.target.vhost).ok();
        let vhost = vhost.as_deref();
        self.link.server.accept_connect(ConnectReply {
            chunk_size: vhost.map_or(self.service.config.chunk_size, |v| v.chunk_size),
            out_ack_size: vhost.and_then(|v| v.out_ack_size).unwrap_or(0),
            in_ack_size: vhost.and_then(|v| v.in_ack_size).unwrap_or(0),
            server: ServerIdentity {
                signature: crate::SIGNATURE,
                name: crate::SIGNATURE,
                license: "MIT",
                url: crate::HOME,
                version: crate::VERSION,
                authors: crate::AUTHORS,
                ip: &self.local.to_string(),
                pid: self.service.identity.pid,
                id: self.session.cid.as_str(),
            },
        })?;
        self.connect = Some(connect);
        Ok(())
    }

    /// What it asks for.
    fn request(&self, url: &Url) -> Request {
        let of =
            |told: fn(&Connect) -> &String| self.connect.as_deref().map(told).cloned().unwrap_or_default();
        Request {
            vhost: url.vhost.clone(),
            app: url.app.clone(),
            stream: url.stream.clone(),
            param: url.param.clone(),
            page_url: of(|connect| &connect.page_url),
            swf_url: of(|connect| &connect.swf_url),
            tc_url: of(|connect| &connect.tc_url),
            forwarded: self.proxied,
            ..Request::default()
        }
    }
}

/// The `NetStream` status that says a refusal of a publisher.
fn publish_code(refused: &Refused) -> &'static str {
    match refused {
        Refused::Busy(_) => "NetStream.Publish.BadName",
        Refused::NoVhost(_) | Refused::Unproved(_) | Refused::Denied(_) | Refused::Unable(_) => {
            "NetStream.Publish.Denied"
        }
    }
}

/// The `NetStream` status that says a refusal of a player.
fn play_code(refused: &Refused) -> &'static str {
    match refused {
        Refused::NoVhost(_) => "NetStream.Play.StreamNotFound",
        Refused::Busy(_) | Refused::Unproved(_) | Refused::Denied(_) | Refused::Unable(_) => {
            "NetStream.Play.Failed"
        }
    }
}
