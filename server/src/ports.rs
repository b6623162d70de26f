//! The TCP ports: which of them the configuration asks for, and how they are served. They are taken all or none, each core gets a listening
//! socket of each, and a reload opens, closes and re-labels them under running connections. What is behind a port does not belong here.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::{Config, Endpoint, Tls};
use crate::http;
use crate::net::{Listener, tls};
use crate::upgrade::Heritage;

/// What is behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// RTMP.
    Rtmp,
    /// Streams and files over HTTP, and the API where it shares the port.
    Http,
    /// The API.
    Api,
    /// Metrics.
    Exporter,
    /// WebRTC over TCP.
    Rtc,
}

/// How the connections to a port are served.
pub struct Duty {
    /// Its name in the log, in SRS's words.
    pub label: &'static str,
    /// What is behind it.
    pub serves: Serves,
    /// TLS, with the certificate of now.
    pub tls: Option<TlsAcceptor>,
}

/// An open port.
pub struct Port {
    /// The address that was taken.
    pub address: SocketAddr,
    duty: ArcSwap<Duty>,
    closed: watch::Sender<bool>,
    /// Holds the address.
    listener: Listener,
    /// Copies of the sockets of all cores, for a process that takes over.
    copies: Vec<StdListener>,
}

impl Port {
    /// How it is served from now on.
    pub fn duty(&self) -> Arc<Duty> {
        self.duty.load_full()
    }

    /// Waits until nobody new is to be let in here.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        let mut closed = self.closed.subscribe();
        async move { drop(closed.wait_for(|closed| *closed).await) }
    }
}

/// All open ports.
#[derive(Default)]
pub struct Ports {
    open: BTreeMap<Endpoint, Arc<Port>>,
}

/// A way from the ports that are open to those that are wanted. What may fail has been done; dropping it leaves everything as it was.
pub struct Move {
    duties: Vec<(Endpoint, Duty)>,
    opened: Vec<(Endpoint, Arc<Port>)>,
    sockets: Vec<Vec<StdListener>>,
}

/// A port that has just been opened, with its listening sockets: one for each core, or as many as a process had that has handed over.
pub struct Opened {
    /// The port.
    pub port: Arc<Port>,
    /// All of them have to be accepted at.
    pub sockets: Vec<StdListener>,
}

impl Ports {
    /// Finds out what has to be done for this configuration, and takes the ports that are new.
    ///
    /// # Errors
    /// A port that cannot be taken or is wanted twice, a certificate that cannot be used.
    pub fn prepare(&self, config: &Config, cores: usize, heritage: &mut Heritage) -> io::Result<Move> {
        let duties = duties(config)?;
        let (mut opened, mut sockets) = (Vec::new(), Vec::new());
        for (endpoint, duty) in &duties {
            if self.open.contains_key(endpoint) {
                continue;
            }
            let is_ours = |other: &Endpoint| other.port == endpoint.port;
            let beside = self.open.keys().chain(opened.iter().map(|(endpoint, _)| endpoint)).any(is_ours);
            let (listener, listening) = match heritage.tcp.remove(endpoint) {
                Some(inherited) if !inherited.is_empty() => (Listener::of(&inherited[0])?, inherited),
                _ => {
                    let bind = if beside { Listener::bind_beside } else { Listener::bind };
                    let listener = bind(endpoint.ip, endpoint.port)?;
                    let listening: io::Result<_> = (0..cores).map(|_| listener.listen()).collect();
                    (listener, listening?)
                }
            };
            let duty = ArcSwap::from_pointee(Duty { tls: duty.tls.clone(), ..*duty });
            let closed = watch::Sender::new(false);
            let copies: io::Result<_> = listening.iter().map(StdListener::try_clone).collect();
            let address = listener.address();
            sockets.push(listening);
            opened.push((*endpoint, Arc::new(Port { address, duty, closed, listener, copies: copies? })));
        }
        Ok(Move { duties, opened, sockets })
    }

    /// Goes the way: closes what is not wanted any more, and serves the rest as it is wanted. What is new is to be given to the cores.
    pub fn commit(&mut self, way: Move) -> Vec<Opened> {
        let Move { duties, opened, sockets } = way;
        self.open.retain(|endpoint, port| {
            let is_wanted = duties.iter().any(|(wanted, _)| wanted == endpoint);
            if !is_wanted {
                tracing::info!("{} stops to listen at tcp://{}", port.duty().label, port.listener.address());
                port.closed.send_replace(true);
            }
            is_wanted
        });
        for (endpoint, duty) in duties {
            if let Some(port) = self.open.get(&endpoint) {
                port.duty.store(Arc::new(duty));
            }
        }
        self.open.extend(opened.iter().cloned());
        opened.into_iter().zip(sockets).map(|((_, port), sockets)| Opened { port, sockets }).collect()
    }
}

impl Ports {
    /// Copies of all listening sockets.
    ///
    /// # Errors
    /// The system has no room for them.
    pub fn copies(&self) -> io::Result<BTreeMap<Endpoint, Vec<StdListener>>> {
        let copy =
            |port: &Port| port.copies.iter().map(StdListener::try_clone).collect::<io::Result<Vec<_>>>();
        self.open.iter().map(|(endpoint, port)| Ok((*endpoint, copy(port)?))).collect()
    }

    /// There are any.
    pub fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Closes all of them.
    pub fn close(&mut self) {
        for port in std::mem::take(&mut self.open).into_values() {
            port.closed.send_replace(true);
        }
    }
}

/// All ports that a configuration asks for.
fn duties(config: &Config) -> io::Result<Vec<(Endpoint, Duty)>> {
    let mut plan = Plan(Vec::new());
    let http = config.http_server.as_ref();
    let api = config.http_api.as_ref().filter(|_| !config.api_shares_http_server());
    plan.want(&config.listen, "RTMP", Serves::Rtmp, None)?;
    plan.want(http.map_or(&[], |http| &http.listen), "HTTP-Server", Serves::Http, None)?;
    plan.want(api.map_or(&[], |api| &api.listen), "HTTP-API", Serves::Api, None)?;
    let exporter = config.exporter.as_ref();
    plan.want(exporter.map_or(&[], |e| &e.listen), "Exporter-Server", Serves::Exporter, None)?;
    let secure = [
        (config.rtmps.as_ref(), "RTMPS", Serves::Rtmp),
        (http.and_then(|http| http.https.as_ref()), "HTTPS-Server", Serves::Http),
        (api.and_then(|api| api.https.as_ref()), "HTTPS-API", Serves::Api),
    ];
    for (tls, label, serves) in secure {
        if let Some(tls) = tls {
            plan.want(&tls.listen, label, serves, Some(tls))?;
        }
    }
    if let Some(port) = config.rtc_server.as_ref().and_then(|server| server.tcp)
        && !plan.has_http(port)
    {
        plan.want(&[Endpoint { ip: None, port }], "WebRTC-TCP", Serves::Rtc, None)?;
    }
    Ok(plan.0)
}

/// Ports that are wanted, each once.
struct Plan(Vec<(Endpoint, Duty)>);

impl Plan {
    fn want(
        &mut self,
        endpoints: &[Endpoint],
        label: &'static str,
        serves: Serves,
        tls: Option<&Tls>,
    ) -> io::Result<()> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{label}: {e}"));
        let protocols = if matches!(serves, Serves::Rtmp) { &[][..] } else { &http::PROTOCOLS };
        let tls = tls.map(|tls| tls::acceptor(tls, protocols)).transpose().map_err(named)?;
        for endpoint in endpoints {
            if let Some((_, other)) = self.0.iter().find(|(taken, _)| taken == endpoint) {
                let message =
                    format!("cannot listen at {endpoint}: both {} and {label} are to be there", other.label);
                return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
            }
            self.0.push((*endpoint, Duty { label, serves, tls: tls.clone() }));
        }
        Ok(())
    }

    /// WebRTC over TCP may come to a port of HTTP.
    fn has_http(&self, port: u16) -> bool {
        let is_http = |duty: &Duty| matches!(duty.serves, Serves::Http | Serves::Api);
        self.0.iter().any(|(endpoint, duty)| endpoint.port == port && is_http(duty))
    }
}
