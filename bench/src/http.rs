//! An HTTP/1.1 response head and body as a live player sees them: status 200, then bytes, chunked or until the end.

/// The longest head and the longest chunk line that are believed.
const MAX_HEAD: usize = 16 << 10;
const MAX_LINE: usize = 64;

/// The request for `path` on `host`.
pub fn request(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: oxload\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// Strips head and chunk lines off a response that arrives in pieces of any size.
#[derive(Default)]
pub struct Reader {
    pending: Vec<u8>,
    state: State,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Head,
    /// Everything that follows is body.
    Plain,
    /// A chunk line comes next.
    Line,
    /// So many bytes of the chunk and its line end are still to come.
    Chunk(usize),
}

impl Reader {
    /// Takes the next bytes and appends the body bytes among them to `body`.
    ///
    /// # Errors
    /// When the status is not 200, or the response is malformed or ends.
    pub fn push(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<(), String> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(used) = self.step(at, body)? {
            at += used;
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Moves on by one element; `None` when more bytes are needed.
    fn step(&mut self, at: usize, body: &mut Vec<u8>) -> Result<Option<usize>, String> {
        let bytes = &self.pending[at..];
        if bytes.is_empty() {
            return Ok(None);
        }
        match self.state {
            State::Head => {
                let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                    return if bytes.len() > MAX_HEAD {
                        Err("an endless HTTP head".into())
                    } else {
                        Ok(None)
                    };
                };
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let status = head.lines().next().unwrap_or_default();
                if status.split(' ').nth(1) != Some("200") {
                    return Err(format!("HTTP answers: {status}"));
                }
                let chunked = head.lines().any(|line| {
                    line.starts_with("transfer-encoding:") && line.trim_end().ends_with("chunked")
                });
                self.state = if chunked { State::Line } else { State::Plain };
                Ok(Some(end + 4))
            }
            State::Plain => {
                body.extend_from_slice(bytes);
                Ok(Some(bytes.len()))
            }
            State::Line => {
                let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else {
                    return if bytes.len() > MAX_LINE {
                        Err("an endless chunk line".into())
                    } else {
                        Ok(None)
                    };
                };
                let digits = String::from_utf8_lossy(&bytes[..end]);
                let digits = digits.split(';').next().unwrap_or_default().trim();
                let length = u32::from_str_radix(digits, 16).map_err(|_| "a bad chunk line".to_owned())?;
                if length == 0 {
                    return Err("the HTTP body ended".into());
                }
                self.state = State::Chunk(length as usize + 2);
                Ok(Some(end + 2))
            }
            State::Chunk(left) => {
                let used = left.min(bytes.len());
                // The last two bytes are the line end behind the chunk.
                body.extend_from_slice(&bytes[..used.min(left.saturating_sub(2))]);
                self.state = if used == left { State::Line } else { State::Chunk(left - used) };
                Ok(Some(used))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    proptest! {
        #[test]
        fn any_cut_gives_the_same_body(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..100), 1..6),
            piece in 1usize..40,
        ) {
            let mut wire = HEAD.to_vec();
            for chunk in &chunks {
                wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                wire.extend_from_slice(chunk);
                wire.extend(b"\r\n");
            }
            let (mut reader, mut body) = (Reader::default(), Vec::new());
            for piece in wire.chunks(piece) {
                reader.push(piece, &mut body).unwrap();
            }
            prop_assert_eq!(body, chunks.concat());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::default().push(&bytes, &mut Vec::new());
            let _ = Reader::default().push(&[HEAD, bytes.as_slice()].concat(), &mut Vec::new());
        }
    }

    #[test]
    fn a_body_without_chunks_is_passed_through() {
        let mut body = Vec::new();
        Reader::default().push(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nabc", &mut body).unwrap();
        assert_eq!(body, b"abc");
    }

    #[test]
    fn another_status_is_an_error() {
        let error = Reader::default().push(b"HTTP/1.1 404 Not Found\r\n\r\n", &mut Vec::new()).unwrap_err();
        assert!(error.contains("404"));
    }
}
