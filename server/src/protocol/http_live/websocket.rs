//! What a WebSocket player says behind its handshake: pings and goodbyes (RFC 6455 §5). Anything else it sends is of no interest.

use bytes::{BufMut, Bytes, BytesMut};

/// A control frame of the player.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It wants this back.
    Ping(Bytes),
    /// It leaves, and wants to hear this.
    Close(u16),
}

/// Why a WebSocket is closed (RFC 6455 §7.4.1).
pub(super) mod close {
    pub(in super::super) const NORMAL: u16 = 1000;
    pub(in super::super) const PROTOCOL_ERROR: u16 = 1002;
    pub(in super::super) const POLICY: u16 = 1008;
}

/// The player breaks the protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Clients must mask what they send.
    #[error("WebSocket: an unmasked frame")]
    Unmasked,
    /// Control frames have at most 125 bytes and are never cut in pieces.
    #[error("WebSocket: a control frame that is too long or in pieces")]
    Control,
}

/// Reads frames from any cut of their bytes.
#[derive(Debug, Default)]
pub(super) struct Listener {
    buffer: BytesMut,
    /// Payload bytes of a data frame that are still to be skipped.
    skip: u64,
}

impl Listener {
    /// Takes bytes; tells what was said in them.
    pub(super) fn receive(&mut self, mut bytes: &[u8], said: &mut Vec<Said>) -> Result<(), Error> {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= skipped as u64;
            bytes = &bytes[skipped..];
            let Some((&byte, rest)) = bytes.split_first() else { break };
            bytes = rest;
            self.buffer.put_u8(byte);
            self.parse(said)?;
        }
        Ok(())
    }

    fn parse(&mut self, said: &mut Vec<Said>) -> Result<(), Error> {
        let [first, second, rest @ ..] = &self.buffer[..] else { return Ok(()) };
        if second & 0x80 == 0 {
            return Err(Error::Unmasked);
        }
        let (len, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            (126 | 127, _) => return Ok(()),
            (len, rest) => (u64::from(len), rest),
        };
        let [m0, m1, m2, m3, payload @ ..] = rest else { return Ok(()) };
        let opcode = first & 0x0f;
        if opcode & 0x08 == 0 {
            self.skip = len;
            self.buffer.clear();
            return Ok(());
        }
        if len > 125 || first & 0x80 == 0 {
            return Err(Error::Control);
        }
        if (payload.len() as u64) < len {
            return Ok(());
        }
        let mask = [*m0, *m1, *m2, *m3];
        let payload: Bytes =
            payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.buffer.clear();
        match opcode {
            0x8 => {
                let code = payload.first_chunk().map_or(close::NORMAL, |code| u16::from_be_bytes(*code));
                said.push(Said::Close(code));
            }
            0x9 => said.push(Said::Ping(payload)),
            _ => {}
        }
        Ok(())
    }
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(2 + payload.len());
    frame.put_u8(0x8a);
    frame.put_u8(payload.len() as u8);
    frame.put_slice(payload);
    frame.freeze()
}

/// Says goodbye.
pub(super) fn goodbye(code: u16) -> Bytes {
    let [high, low] = code.to_be_bytes();
    Bytes::copy_from_slice(&[0x88, 2, high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..126 => out.push(0x80 | n as u8),
            n => {
                out.push(0x80 | 126);
                out.extend((n as u16).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        out
    }

    #[test]
    fn hears_control_frames_among_data_in_any_cut() {
        let mut bytes = frame(2, &[7; 300]);
        bytes.extend(frame(9, b"hello"));
        bytes.extend(frame(1, b"text"));
        bytes.extend(frame(8, &[3, 232]));
        for step in [1, 2, 3, 7, bytes.len()] {
            let (mut listener, mut said) = (Listener::default(), Vec::new());
            for cut in bytes.chunks(step) {
                listener.receive(cut, &mut said).unwrap();
            }
            assert_eq!(said, [Said::Ping(Bytes::from_static(b"hello")), Said::Close(1000)]);
        }
    }

    #[test]
    fn refuses_what_clients_must_not_send() {
        let mut said = Vec::new();
        assert_eq!(Listener::default().receive(&[0x81, 1, 0], &mut said), Err(Error::Unmasked));
        assert_eq!(Listener::default().receive(&frame(9, &[0; 200]), &mut said), Err(Error::Control));
    }
}
