//! Bodies of the fuzz targets, called by the shims in `fuzz/` and by the tests: bytes in, no panic out.

use media::Micros;

use crate::{Event, Server, ServerOptions, chunk, handshake};

/// The chunk stream: any cut gives the same messages and the same error. The first byte chooses the cut.
pub fn chunk(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let read = |piece: usize| {
        let mut reader = chunk::Reader::new(1 << 20);
        let mut messages = Vec::new();
        for mut piece in data.chunks(piece.max(1)) {
            loop {
                match reader.read(&mut piece) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    };
    assert_eq!(read(usize::from(cut)), read(data.len()));
}

/// The server's and the client's handshake.
pub fn handshake(data: &[u8]) {
    let mut out = Vec::new();
    let mut input = data;
    let _ = handshake::Server::new(1).receive(Micros::ZERO, &mut input, &mut out);
    let mut input = data;
    let _ = handshake::Client::new(1, Micros::ZERO, &mut out).receive(&mut input, &mut out);
}

/// A server after the handshake that accepts everything.
pub fn server(data: &[u8]) {
    let mut server = Server::new(Micros::ZERO, ServerOptions::default());
    let mut hello = vec![0; 1 + 2 * 1536];
    if let Some(version) = hello.first_mut() {
        *version = 3;
    }
    assert_eq!(server.receive(Micros::ZERO, &hello), Ok(()));
    let mut result = server.receive(Micros::ZERO, data);
    while let Some(event) = server.poll_event() {
        result = match event {
            Event::Connect(_) => server.accept_connect(reply()),
            Event::Publish(_) => server.accept_publish(),
            Event::Play(_) => server.accept_play(),
            _ => result,
        };
    }
    let _ = (result, server.poll_transmit());
}

fn reply() -> crate::ConnectReply<'static> {
    crate::ConnectReply {
        chunk_size: 60_000,
        out_ack_size: 2_500_000,
        in_ack_size: 0,
        server: crate::ServerIdentity::default(),
    }
}
