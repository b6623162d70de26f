//! The UDP port of WebRTC's media, which all cores share. A reload that moves it opens another one; sessions stay where they are.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use rtc::dtls::Certificate;
use tokio::sync::mpsc;

use crate::breaker::Breaker;
use crate::config::{Config, RtcServer};
use crate::net::udp;
use crate::protocol::webrtc;

/// See the module.
pub struct MediaPort {
    /// What its cores share.
    pub service: Arc<webrtc::Service>,
    /// What we prove to be.
    pub certificate: Arc<Certificate>,
    /// The address that was taken.
    pub address: SocketAddr,
    /// Copies of the sockets of all cores, for a process that takes over.
    copies: Vec<UdpSocket>,
}

/// One core's part of the port.
pub struct Part {
    /// What all cores share.
    pub service: Arc<webrtc::Service>,
    /// The core's own socket.
    pub socket: UdpSocket,
    /// What other cores tell it.
    pub inbox: mpsc::Receiver<webrtc::Message>,
}

impl MediaPort {
    /// Takes the port; with the parts for so many cores.
    ///
    /// # Errors
    /// The port cannot be taken.
    pub fn open(
        server: &RtcServer,
        cores: usize,
        breaker: &Arc<Breaker>,
        inherited: Vec<UdpSocket>,
    ) -> io::Result<(Self, Vec<Part>)> {
        let is_it = |socket: &UdpSocket| socket.local_addr().is_ok_and(|local| local.port() == server.listen);
        let mut inherited = inherited.into_iter().filter(is_it);
        let port = match inherited.next() {
            Some(first) => udp::Port::of(first)?,
            None => udp::Port::bind(None, server.listen)?,
        };
        let (service, inboxes) =
            webrtc::Service::new(Arc::default(), cores, breaker.clone(), server.black_hole);
        let service = Arc::new(service);
        let mut copies = Vec::new();
        let mut first = true;
        let part = |inbox| {
            // Those of before are used up first, so that the kernel spreads peers over all that there are.
            let socket = match std::mem::take(&mut first) {
                true => port.socket()?,
                false => inherited.next().map_or_else(|| port.socket(), Ok)?,
            };
            copies.push(socket.try_clone()?);
            Ok(Part { service: service.clone(), socket, inbox })
        };
        let parts: io::Result<Vec<_>> = inboxes.into_iter().map(part).collect();
        let made = if server.ecdsa { Certificate::generate } else { Certificate::generate_rsa };
        let certificate = Arc::new(made("oxcast").map_err(io::Error::other)?);
        let address = port.address();
        let parts = parts?;
        Ok((Self { service: service.clone(), certificate, address, copies }, parts))
    }

    /// Copies of all sockets.
    ///
    /// # Errors
    /// The system has no room for them.
    pub fn copies(&self) -> io::Result<Vec<UdpSocket>> {
        self.copies.iter().map(UdpSocket::try_clone).collect()
    }

    /// Where clients are told to send their media.
    pub fn ports(&self, config: &Config) -> webrtc::Ports {
        let tcp = config.rtc_server.as_ref().and_then(|server| server.tcp);
        webrtc::Ports { udp: self.address.port(), tcp }
    }
}
