//! What serves the connections of every protocol by one configuration. A reload makes all of it anew and puts it in place of what was there: who
//! comes from then on, and the next request of who is there, are served by it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{Router, middleware};

use crate::api;
use crate::config::Config;
use crate::dvr::Theatre;
use crate::forward::Forwarders;
use crate::gate::Gate;
use crate::http::{self, Files};
use crate::media_port::MediaPort;
use crate::metrics;
use crate::process::Identity;
use crate::protocol::{dash, hls, http_live, playback, rtmp, webrtc};
use crate::reload::Reloads;
use crate::room::Rooms;
use crate::session::Roll;
use crate::store::Store;
use crate::task::Tasks;

/// What outlives every configuration.
#[derive(Clone)]
pub struct Lasting {
    /// The one door.
    pub gate: Arc<Gate>,
    /// Who is connected.
    pub roll: Arc<Roll>,
    /// Who this server is.
    pub identity: Arc<Identity>,
    /// Figures of the machine.
    pub samples: Arc<api::Samples>,
    /// Players of HLS, and what there is for them.
    pub hls: hls::Service,
    /// What there is of DASH.
    pub dash: dash::Service,
    /// Where calls find each other.
    pub rooms: Rooms,
    /// Copies for other servers.
    pub forwarders: Forwarders,
    /// Object storage.
    pub store: Store,
    /// Recordings that are played.
    pub theatre: Theatre,
    /// How a reload is asked for.
    pub reloads: Reloads,
    /// What metrics are made of.
    pub metrics: Arc<metrics::Sources>,
    /// Programs that the server starts.
    pub tasks: Tasks,
}

/// What serves connections, by protocol.
pub struct Services {
    /// RTMP.
    pub rtmp: Arc<rtmp::Service>,
    /// The stream port.
    pub http: Arc<http_live::Service>,
    /// The API's port.
    pub api: Arc<http_live::Service>,
    /// The exporter's port.
    pub exporter: Arc<http_live::Service>,
    /// The port of HTTP to which WebRTC over TCP may come, too.
    pub rtc_tcp: Option<u16>,
}

/// The services of now.
#[derive(Clone)]
pub struct Current(Arc<ArcSwap<Services>>);

impl Current {
    /// These at first.
    pub fn new(services: Services) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(services)))
    }

    /// The services of now.
    pub fn now(&self) -> Arc<Services> {
        self.0.load_full()
    }

    /// Others from now on.
    pub fn set(&self, services: Services) {
        self.0.store(Arc::new(services));
    }
}

impl Services {
    /// What serves by this configuration; media of WebRTC goes by `media`.
    pub fn new(config: &Arc<Config>, lasting: &Lasting, media: Option<&MediaPort>) -> Self {
        let Lasting {
            gate,
            roll,
            identity,
            samples,
            rooms,
            forwarders,
            reloads,
            metrics,
            tasks,
            theatre,
            hls: _,
            dash: _,
            store: _,
        } = lasting;
        let api = api::State {
            config: config.clone(),
            roll: roll.clone(),
            gate: gate.clone(),
            identity: identity.clone(),
            samples: samples.clone(),
            reloads: reloads.clone(),
            metrics: metrics.clone(),
            forwarders: forwarders.clone(),
            tasks: tasks.clone(),
            recordings: theatre.catalogue().clone(),
        };
        let files = Files::new(config, gate.clone());
        let signalling = media.map_or_else(Router::new, |media| {
            let offers = webrtc::signalling::router(webrtc::signalling::Service {
                config: config.clone(),
                gate: gate.clone(),
                rtc: media.service.clone(),
                certificate: media.certificate.clone(),
                ports: media.ports(config),
                identity: identity.clone(),
            });
            offers.merge(rooms.router(config))
        });
        let stream_port = stream_port(config, &api, lasting, &files).merge(signalling.clone());
        let api_port = api_port(config, api, &files).merge(signalling);
        Self {
            rtmp: Arc::new(rtmp::Service {
                gate: gate.clone(),
                config: config.clone(),
                identity: identity.clone(),
            }),
            http: Arc::new(http_live::Service::new(config, gate.clone(), stream_port)),
            api: Arc::new(http_live::Service::without_streams(config, gate.clone(), api_port)),
            exporter: {
                let port = http::finish(metrics::router(metrics.clone(), config), config);
                Arc::new(http_live::Service::without_streams(config, gate.clone(), port))
            },
            rtc_tcp: config.rtc_server.as_ref().and_then(|server| server.tcp),
        }
    }
}

/// What the stream port serves besides streams: files, and the API as far as it is there.
fn stream_port(config: &Config, api: &api::State, lasting: &Lasting, files: &Files) -> Router {
    let recorded = playback::Service::new(lasting.gate.clone(), lasting.theatre.clone());
    let files = files
        .router()
        .layer(middleware::from_fn_with_state(lasting.hls.clone(), hls::before_files))
        .layer(middleware::from_fn_with_state(lasting.dash.clone(), dash::before_files))
        .layer(middleware::from_fn_with_state(recorded, playback::before_files));
    http::finish(api::stream_port_router(api.clone()).fallback_service(files), config)
}

/// What the port of the API serves: the API, and the console beside it.
fn api_port(config: &Config, api: api::State, files: &Files) -> Router {
    api::router(api).merge(http::finish(files.console_router(), config))
}
