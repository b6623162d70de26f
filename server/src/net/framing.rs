//! What is put around a piece of a live body on its way to one player.

use bytes::Bytes;

/// The framing of a connection's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: RTMP, and HTTP/1.0 bodies that end with the connection.
    Raw,
    /// HTTP/1.1 chunks (RFC 9112 §7.1).
    Chunked,
    /// Binary WebSocket messages, unmasked as a server's are (RFC 6455 §5.2).
    WebSocket,
}

/// The longest [`Framing::head`]: 16 hexadecimal digits and a line end.
pub const MAX_HEAD: usize = 18;

impl Framing {
    /// What goes before a piece of `len` bytes; its length in `out`.
    pub fn head(self, len: usize, out: &mut [u8; MAX_HEAD]) -> usize {
        match self {
            Self::Raw => 0,
            Self::Chunked => {
                let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1) as usize;
                for (n, digit) in out.iter_mut().take(digits).enumerate() {
                    *digit = b"0123456789abcdef"[len >> ((digits - 1 - n) * 4) & 15];
                }
                out[digits..digits + 2].copy_from_slice(b"\r\n");
                digits + 2
            }
            Self::WebSocket => {
                out[0] = 0x82;
                match len {
                    0..126 => {
                        out[1] = len as u8;
                        2
                    }
                    126..65536 => {
                        out[1] = 126;
                        out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                        4
                    }
                    _ => {
                        out[1] = 127;
                        out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
                        10
                    }
                }
            }
        }
    }

    /// What goes after a piece.
    pub fn tail(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"\r\n",
            Self::Raw | Self::WebSocket => b"",
        }
    }

    /// A whole piece.
    pub fn frame(self, body: &[u8]) -> Bytes {
        let mut head = [0; MAX_HEAD];
        let n = self.head(body.len(), &mut head);
        [&head[..n], body, self.tail()].concat().into()
    }

    /// What ends the body.
    pub fn end(self) -> &'static [u8] {
        match self {
            Self::Raw => b"",
            Self::Chunked => b"0\r\n\r\n",
            // Close, "going away".
            Self::WebSocket => &[0x88, 2, 0x03, 0xe9],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(framing: Framing, len: usize) -> Vec<u8> {
        let mut out = [0; MAX_HEAD];
        let n = framing.head(len, &mut out);
        out[..n].to_vec()
    }

    #[test]
    fn chunk_heads_are_hexadecimal() {
        for len in [1, 15, 16, 255, 256, 4095, 4096, 65535, 1 << 20, usize::MAX] {
            assert_eq!(head(Framing::Chunked, len), format!("{len:x}\r\n").into_bytes());
        }
    }

    #[test]
    fn websocket_lengths_have_three_sizes() {
        assert_eq!(head(Framing::WebSocket, 125), [0x82, 125]);
        assert_eq!(head(Framing::WebSocket, 126), [0x82, 126, 0, 126]);
        assert_eq!(head(Framing::WebSocket, 65536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
