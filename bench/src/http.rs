//! HTTP/1.1 as players speak it: requests, and a reader of answers that come with a length, in chunks or until the
//! connection ends. What the body means is the business of `flv`, `ts` and `hls`.

/// The longest head and the longest chunk line that are believed.
const MAX_HEAD: usize = 16 << 10;
const MAX_LINE: usize = 256;

/// The request for `path` on `host`; the connection is to be kept.
pub fn request(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: oxload\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// The request that sends `body` of type `kind` to `path` on `host`; the connection ends with the answer.
pub fn post(host: &str, path: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: oxload\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status, 200 when all is well.
    pub status: u16,
    /// True when the connection may carry another request.
    pub keep_alive: bool,
}

/// Strips head and chunk lines off one answer that arrives in pieces of any size.
#[derive(Default)]
pub struct Reader {
    pending: Vec<u8>,
    state: State,
    head: Option<Head>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// Everything that follows is body.
    Plain,
    /// So many bytes of the body are still to come.
    Length(usize),
    /// A chunk line comes next.
    Line,
    /// So many bytes of the chunk and its line end are still to come.
    Chunk(usize),
    /// A line behind the last chunk comes next; an empty one is the last.
    Trailer,
    /// Nothing may follow.
    Done,
}

impl Reader {
    /// Takes the next bytes and appends the body bytes among them to `body`; true once the answer is complete.
    ///
    /// # Errors
    /// When the answer is malformed, or something follows it.
    pub fn push(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<bool, String> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(used) = self.step(at, body)? {
            at += used;
        }
        self.pending.drain(..at);
        Ok(self.state == State::Done)
    }

    /// As [`Reader::push`], for an answer that must be 200 and must not end.
    ///
    /// # Errors
    /// As [`Reader::push`], and when the status is another or the body ends.
    pub fn push_live(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<(), String> {
        let complete = self.push(bytes, body)?;
        match self.head {
            Some(Head { status, .. }) if status != 200 => Err(format!("HTTP answers {status}")),
            _ if complete => Err("the HTTP body ended".into()),
            _ => Ok(()),
        }
    }

    /// The head, once it is there.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// True before the first byte.
    pub fn untouched(&self) -> bool {
        self.head.is_none() && self.pending.is_empty()
    }

    /// True when the answer is as long as its connection lasts, so that the end of that completes it.
    pub fn ends_with_connection(&self) -> bool {
        self.state == State::Plain
    }

    /// How many bytes of the body are still to come, when it has a length and that many bytes may be thrown away
    /// unread; [`Reader::skip`] must be told.
    pub fn skippable(&self) -> Option<usize> {
        if let State::Length(left) = self.state { Some(left) } else { None }
    }

    /// `count` bytes of the body were thrown away; true once the answer is complete.
    pub fn skip(&mut self, count: usize) -> bool {
        if let State::Length(left) = self.state {
            self.state = State::of_length(left.saturating_sub(count));
        }
        self.state == State::Done
    }

    /// Moves on by one element; `None` when more bytes are needed.
    fn step(&mut self, at: usize, body: &mut Vec<u8>) -> Result<Option<usize>, String> {
        let bytes = &self.pending[at..];
        if bytes.is_empty() {
            return Ok(None);
        }
        match self.state {
            State::Head => {
                let Some(end) = find(bytes, b"\r\n\r\n", MAX_HEAD)? else { return Ok(None) };
                let text = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let (head, state) = read_head(&text)?;
                (self.head, self.state) = (Some(head), state);
                Ok(Some(end + 4))
            }
            State::Plain => {
                body.extend_from_slice(bytes);
                Ok(Some(bytes.len()))
            }
            State::Length(left) => {
                let used = left.min(bytes.len());
                body.extend_from_slice(&bytes[..used]);
                self.state = State::of_length(left - used);
                Ok(Some(used))
            }
            State::Line => {
                let Some(end) = find(bytes, b"\r\n", MAX_LINE)? else { return Ok(None) };
                let digits = String::from_utf8_lossy(&bytes[..end]);
                let digits = digits.split(';').next().unwrap_or_default().trim();
                let length = u32::from_str_radix(digits, 16).map_err(|_| "a bad chunk line".to_owned())?;
                self.state = if length == 0 { State::Trailer } else { State::Chunk(length as usize + 2) };
                Ok(Some(end + 2))
            }
            State::Chunk(left) => {
                let used = left.min(bytes.len());
                // The last two bytes are the line end behind the chunk.
                body.extend_from_slice(&bytes[..used.min(left.saturating_sub(2))]);
                self.state = if used == left { State::Line } else { State::Chunk(left - used) };
                Ok(Some(used))
            }
            State::Trailer => {
                let Some(end) = find(bytes, b"\r\n", MAX_LINE)? else { return Ok(None) };
                self.state = if end == 0 { State::Done } else { State::Trailer };
                Ok(Some(end + 2))
            }
            State::Done => Err("something follows the HTTP answer".into()),
        }
    }
}

impl State {
    fn of_length(left: usize) -> Self {
        if left == 0 { Self::Done } else { Self::Length(left) }
    }
}

/// Where `end` starts in `bytes`, within `limit`.
fn find(bytes: &[u8], end: &[u8], limit: usize) -> Result<Option<usize>, String> {
    let at = bytes.windows(end.len()).position(|window| window == end);
    if at.is_none() && bytes.len() > limit { Err("an endless HTTP line".into()) } else { Ok(at) }
}

/// Reads a head in small letters, without the empty line behind it: what it says, and what follows it.
fn read_head(text: &str) -> Result<(Head, State), String> {
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse().ok());
    let status: u16 = status.filter(|_| version.starts_with("http/1.")).ok_or("no HTTP answer")?;
    let mut keep_alive = version != "http/1.0";
    let mut state = State::Plain;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name {
            "connection" if value == "close" => keep_alive = false,
            "connection" if value == "keep-alive" => keep_alive = true,
            "transfer-encoding" if value.ends_with("chunked") => state = State::Line,
            "content-length" if state == State::Plain => {
                state = State::of_length(value.parse().map_err(|_| "a bad content length".to_owned())?);
            }
            _ => {}
        }
    }
    if matches!(status, 204 | 304) {
        state = State::Done;
    }
    Ok((Head { status, keep_alive: keep_alive && state != State::Plain }, state))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Reads `wire` in pieces: the body, and at which byte the answer was complete.
    fn read(wire: &[u8], piece: usize) -> (Reader, Vec<u8>, Option<usize>) {
        let (mut reader, mut body, mut complete, mut at) = (Reader::default(), Vec::new(), None, 0);
        for piece in wire.chunks(piece) {
            at += piece.len();
            complete = complete.or(reader.push(piece, &mut body).unwrap().then_some(at));
        }
        (reader, body, complete)
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_body(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..100), 1..6),
            piece in 1usize..40,
        ) {
            let mut wire = CHUNKED.to_vec();
            for chunk in &chunks {
                wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                wire.extend_from_slice(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\nTrailer: x\r\n\r\n");
            let (_, body, complete) = read(&wire, piece);
            prop_assert_eq!((&body, complete), (&chunks.concat(), Some(wire.len())));

            let whole = chunks.concat();
            let mut wire = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len()).into_bytes();
            wire.extend_from_slice(&whole);
            let (_, body, complete) = read(&wire, piece);
            prop_assert_eq!((body, complete), (whole, Some(wire.len())));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::default().push(&bytes, &mut Vec::new());
            let _ = Reader::default().push(&[CHUNKED, bytes.as_slice()].concat(), &mut Vec::new());
        }
    }

    #[test]
    fn a_body_without_length_lasts_as_long_as_its_connection() {
        let (reader, body, complete) = read(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nabc", 5);
        assert_eq!((body.as_slice(), complete), (&b"abc"[..], None));
        assert!(reader.ends_with_connection());
        assert_eq!(reader.head(), Some(Head { status: 200, keep_alive: false }));
    }

    #[test]
    fn the_head_says_whether_the_connection_is_kept() {
        for (version, connection, kept) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
        ] {
            let wire = format!("HTTP/{version} 404 Not Found\r\n{connection}Content-Length: 0\r\n\r\n");
            let (reader, _, complete) = read(wire.as_bytes(), 7);
            assert_eq!(reader.head(), Some(Head { status: 404, keep_alive: kept }), "{wire}");
            assert_eq!(complete, Some(wire.len()));
        }
    }

    #[test]
    fn a_body_may_be_thrown_away() {
        let mut reader = Reader::default();
        assert!(reader.untouched());
        assert!(!reader.push(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", &mut Vec::new()).unwrap());
        assert_eq!(reader.skippable(), Some(8));
        assert!(!reader.skip(7));
        assert!(reader.skip(1));
        assert!(reader.push(b"x", &mut Vec::new()).is_err(), "nobody asked for more");
    }

    #[test]
    fn a_live_answer_is_200_and_does_not_end() {
        let live = |wire: &[u8]| Reader::default().push_live(wire, &mut Vec::new());
        assert!(live(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().contains("404"));
        assert_eq!(live(&[CHUNKED, b"1\r\nx\r\n"].concat()), Ok(()));
        assert!(live(&[CHUNKED, b"0\r\n\r\n"].concat()).unwrap_err().contains("ended"));
    }
}
