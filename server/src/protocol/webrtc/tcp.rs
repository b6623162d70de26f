//! WebRTC over TCP (RFC 6544, framed as RFC 4571 tells): a connection is one more way for the datagrams of a session.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rtc::session::Kind;
use rtc::{Path, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use super::floor::Floor;
use crate::net::Conn;

/// The longest datagram that is taken.
const MAX: usize = 2048;
/// Datagrams that wait for the connection; more are lost.
const QUEUE: usize = 512;
/// Who connects has to say something within this, and then again and again.
const FIRST: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);

/// A connection that begins with this byte begins with the length of a small packet, as WebRTC does, and not with a letter, as HTTP does.
pub fn is_ours(first: u8) -> bool {
    first <= 2
}

/// Serves a connection to its end.
pub async fn serve(floor: Rc<Floor>, conn: Conn) {
    let Conn { stream, session, local } = conn;
    let remote = session.peer;
    let path = Path { protocol: Protocol::Tcp, local, remote };
    let (mut read, mut write) = tokio::io::split(stream);
    let (line, mut queue) = mpsc::channel::<Bytes>(QUEUE);
    let send = async move {
        while let Some(framed) = queue.recv().await {
            write.write_all(&framed).await?;
        }
        write.shutdown().await
    };
    let receive = async {
        let mut reader = rtc::frame::Reader::new(MAX);
        let (mut buffer, mut patience, mut proven) = (vec![0; 8 << 10], FIRST, false);
        loop {
            let length = match timeout(patience, read.read(&mut buffer)).await {
                Ok(Ok(0)) => return "the peer has closed it".to_owned(),
                Ok(Ok(length)) => length,
                Ok(Err(e)) => return e.to_string(),
                Err(_) => return format!("nothing came for {} s", patience.as_secs()),
            };
            let mut input = &buffer[..length];
            loop {
                match reader.read(&mut input) {
                    Ok(Some(datagram)) => {
                        if !proven && Kind::of(&datagram) != Some(Kind::Stun) {
                            return "its first packet is no STUN message".to_owned();
                        }
                        (proven, patience) = (true, SILENCE);
                        floor.receive(path, Some(&line), &datagram);
                    }
                    Ok(None) => break,
                    Err(e) => return e.to_string(),
                }
            }
            floor.flush();
        }
    };
    tokio::select! {
        reason = receive => info!("WebRTC over TCP has ended: {reason}, peer={remote}"),
        sent = send => if let Err(e) = sent {
            warn!("WebRTC over TCP: {e}, peer={remote}");
        },
    }
    floor.lose(remote as SocketAddr);
}
