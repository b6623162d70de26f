//! The handshake (§5.2), simple and with digests, and the header that a TCP proxy may put in front of it.
//!
//! Only the bytes before the chunk stream belong here. The digest form is Adobe's unpublished one; its key block is filled with
//! random bytes instead of a Diffie-Hellman exchange, since only the encrypted RTMPE would use the result.

use std::net::Ipv4Addr;

use fastrand::Rng;
use hmac::{Hmac, KeyInit, Mac};
use media::Micros;
use sha2::{Digest, Sha256};

use crate::Error;

/// The server's part.
#[derive(Debug)]
pub struct Server {
    rng: Rng,
    state: ServerState,
    proxied: Option<Ipv4Addr>,
}

#[derive(Debug)]
enum ServerState {
    /// Gathering the first byte, and a proxy's header if there is one.
    Start {
        header: Vec<u8>,
    },
    /// Skipping what the proxy's header has beyond the address.
    SkipProxy {
        left: usize,
    },
    /// Gathering C1.
    Hello {
        c1: Vec<u8>,
    },
    /// Skipping C2, which is not verified.
    Confirm {
        left: usize,
    },
    Done,
}

impl Server {
    /// A server that draws its random bytes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), state: ServerState::Start { header: Vec::new() }, proxied: None }
    }

    /// Reads from the front of `input` and appends the answer to `out`. `true` when the handshake is over; the rest of
    /// `input` is then the chunk stream. `now` goes into S1.
    ///
    /// Errors: [`Error::Version`], [`Error::ProxyHeader`].
    pub fn receive(&mut self, now: Micros, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        loop {
            self.state = match &mut self.state {
                ServerState::Start { header } => {
                    if !gather(header, 1, input) {
                        return Ok(false);
                    }
                    match header.first() {
                        Some(&VERSION) => ServerState::Hello { c1: Vec::new() },
                        Some(&PROXY) => {
                            if !gather(header, 3, input) {
                                return Ok(false);
                            }
                            let length = match header.as_slice() {
                                &[_, high, low, ..] => u16::from_be_bytes([high, low]),
                                _ => 0,
                            };
                            if length > MAX_PROXY_HEADER {
                                return Err(Error::ProxyHeader { length });
                            }
                            let address = usize::from(length).min(4) / 4 * 4;
                            if !gather(header, 3 + address, input) {
                                return Ok(false);
                            }
                            if let &[_, _, _, a, b, c, d] = header.as_slice() {
                                self.proxied = Some(Ipv4Addr::new(a, b, c, d));
                            }
                            ServerState::SkipProxy { left: usize::from(length) - address }
                        }
                        version => {
                            return Err(Error::Version { version: version.copied().unwrap_or_default() });
                        }
                    }
                }
                ServerState::SkipProxy { left } => {
                    if !skip(left, input) {
                        return Ok(false);
                    }
                    let &[version, ref rest @ ..] = *input else {
                        return Ok(false);
                    };
                    if version != VERSION {
                        return Err(Error::Version { version });
                    }
                    *input = rest;
                    ServerState::Hello { c1: Vec::new() }
                }
                ServerState::Hello { c1 } => {
                    if !gather(c1, SIZE, input) {
                        return Ok(false);
                    }
                    answer(&mut self.rng, now, c1, out);
                    ServerState::Confirm { left: SIZE }
                }
                ServerState::Confirm { left } => {
                    if !skip(left, input) {
                        return Ok(false);
                    }
                    ServerState::Done
                }
                ServerState::Done => return Ok(true),
            }
        }
    }

    /// The address of the client that a proxy in front told, once.
    pub fn take_proxied(&mut self) -> Option<Ipv4Addr> {
        self.proxied.take()
    }
}

/// The client's part: always with digests, in layout B, and content with a server that answers without.
#[derive(Debug)]
pub struct Client {
    rng: Rng,
    state: ClientState,
}

#[derive(Debug)]
enum ClientState {
    /// Gathering S0 and S1.
    Hello {
        s0s1: Vec<u8>,
    },
    /// Skipping S2, which is not verified.
    Confirm {
        left: usize,
    },
    Done,
}

impl Client {
    /// A client that draws its random bytes from `seed`; appends C0 and C1 to `out`. `now` goes into C1.
    pub fn new(seed: u64, now: Micros, out: &mut Vec<u8>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let c1 = signed_hello(&mut rng, now, CLIENT_VERSION, Layout::B, &PLAYER_KEY[..PLAYER_NAME]);
        out.push(VERSION);
        out.extend_from_slice(&c1);
        Self { rng, state: ClientState::Hello { s0s1: Vec::new() } }
    }

    /// Reads from the front of `input` and appends C2 to `out`. `true` when the handshake is over.
    ///
    /// Errors: [`Error::Version`].
    pub fn receive(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        loop {
            self.state = match &mut self.state {
                ClientState::Hello { s0s1 } => {
                    let whole = gather(s0s1, 1 + SIZE, input);
                    if let Some(&version) = s0s1.first()
                        && version != VERSION
                    {
                        return Err(Error::Version { version });
                    }
                    if !whole {
                        return Ok(false);
                    }
                    let s1 = s0s1.get(1..).unwrap_or_default();
                    match find_digest(s1, &SERVER_KEY[..SERVER_NAME]) {
                        Some((_, digest)) => {
                            out.extend_from_slice(&confirmation(&mut self.rng, &PLAYER_KEY, &digest));
                        }
                        None => out.extend_from_slice(s1),
                    }
                    ClientState::Confirm { left: SIZE }
                }
                ClientState::Confirm { left } => {
                    if !skip(left, input) {
                        return Ok(false);
                    }
                    ClientState::Done
                }
                ClientState::Done => return Ok(true),
            }
        }
    }
}

/// C0 and S0 of plain RTMP.
const VERSION: u8 = 3;
/// What stands in place of C0 when a TCP proxy tells the client's address.
const PROXY: u8 = 0xf3;
const MAX_PROXY_HEADER: u16 = 1024;
/// The size of C1, C2, S1 and S2 in bytes.
const SIZE: usize = 1536;
const DIGEST: usize = 32;
/// Where a digest may start within its block: 764 bytes, less the digest and the four bytes of the offset.
const DIGEST_PLACES: usize = 728;

/// The third and fourth fields of a hello with a digest: the version of the software that we stand in for.
const SERVER_VERSION: [u8; 4] = [1, 0, 5, 4];
const CLIENT_VERSION: [u8; 4] = [0x80, 0, 7, 2];

/// How much of a key signs C1 or S1: the readable part.
const PLAYER_NAME: usize = 30;
const SERVER_NAME: usize = 36;

static PLAYER_KEY: [u8; 62] = *b"Genuine Adobe Flash Player 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";
static SERVER_KEY: [u8; 68] = *b"Genuine Adobe Flash Media Server 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// Where the digest block stands in C1 and S1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// After the key block.
    A,
    /// Before the key block.
    B,
}

impl Layout {
    /// The place of the digest in `hello`, which the four bytes at the start of its block tell.
    fn digest_at(self, hello: &[u8]) -> usize {
        let block = match self {
            Self::A => 772,
            Self::B => 8,
        };
        let offset = hello.iter().skip(block).take(4).map(|&byte| usize::from(byte)).sum::<usize>();
        block + 4 + offset % DIGEST_PLACES
    }
}

/// Appends S0, S1 and S2.
fn answer(rng: &mut Rng, now: Micros, c1: &[u8], out: &mut Vec<u8>) {
    out.push(VERSION);
    match find_digest(c1, &PLAYER_KEY[..PLAYER_NAME]) {
        Some((layout, digest)) => {
            out.extend_from_slice(&signed_hello(
                rng,
                now,
                SERVER_VERSION,
                layout,
                &SERVER_KEY[..SERVER_NAME],
            ));
            out.extend_from_slice(&confirmation(rng, &SERVER_KEY, &digest));
        }
        None => {
            let time_of_client = c1.first_chunk().copied().unwrap_or_default();
            out.extend_from_slice(&hello(rng, now, time_of_client));
            out.extend_from_slice(c1);
        }
    }
}

/// The layout of a C1 or S1 and its digest, if it is signed with `key`.
fn find_digest(hello: &[u8], key: &[u8]) -> Option<(Layout, [u8; DIGEST])> {
    [Layout::A, Layout::B].into_iter().find_map(|layout| {
        let at = layout.digest_at(hello);
        let digest = *hello.get(at..)?.first_chunk()?;
        (digest_of(hello, at, key) == digest).then_some((layout, digest))
    })
}

/// C1 or S1 with a digest.
fn signed_hello(rng: &mut Rng, now: Micros, version: [u8; 4], layout: Layout, key: &[u8]) -> [u8; SIZE] {
    let mut bytes = hello(rng, now, version);
    let at = layout.digest_at(&bytes);
    let digest = digest_of(&bytes, at, key);
    if let Some(place) = bytes.get_mut(at..at + DIGEST) {
        place.copy_from_slice(&digest);
    }
    bytes
}

/// C2 or S2 that answers the digest of a C1 or S1.
fn confirmation(rng: &mut Rng, key: &[u8], digest: &[u8; DIGEST]) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    fill(rng, &mut bytes);
    let (random, place) = bytes.split_at_mut(SIZE - DIGEST);
    place.copy_from_slice(&hmac(&hmac(key, &[digest]), &[random]));
    bytes
}

fn hello(rng: &mut Rng, now: Micros, second: [u8; 4]) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let (fields, random) = bytes.split_at_mut(8);
    let (time, version) = fields.split_at_mut(4);
    time.copy_from_slice(&(now.millis() as u32).to_be_bytes());
    version.copy_from_slice(&second);
    fill(rng, random);
    bytes
}

/// Old players choke on bytes that look like markers, so the range keeps clear of both ends.
fn fill(rng: &mut Rng, bytes: &mut [u8]) {
    bytes.fill_with(|| rng.u8(0x0f..=0xf0));
}

/// The digest of all of `hello` but the digest itself at `at`.
fn digest_of(hello: &[u8], at: usize, key: &[u8]) -> [u8; DIGEST] {
    hmac(key, &[hello.get(..at).unwrap_or_default(), hello.get(at + DIGEST..).unwrap_or_default()])
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    // A key padded to the block of SHA-256 is the same key (RFC 2104 §2), and of a size that cannot be refused.
    let mut block = [0; 64];
    let hashed: [u8; DIGEST];
    let key = if key.len() > block.len() {
        hashed = Sha256::digest(key).into();
        &hashed[..]
    } else {
        key
    };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Moves bytes from `input` to `buffer` until it holds `size`; `true` when it does.
fn gather(buffer: &mut Vec<u8>, size: usize, input: &mut &[u8]) -> bool {
    let missing = size.saturating_sub(buffer.len()).min(input.len());
    let (taken, rest) = input.split_at(missing);
    buffer.extend_from_slice(taken);
    *input = rest;
    buffer.len() >= size
}

/// Drops up to `left` bytes of `input`; `true` when none are left to drop.
fn skip(left: &mut usize, input: &mut &[u8]) -> bool {
    let (skipped, rest) = input.split_at((*left).min(input.len()));
    *left -= skipped.len();
    *input = rest;
    *left == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Micros = Micros(1_234_567);

    fn serve(bytes: &[u8]) -> (Result<bool, Error>, Vec<u8>, usize, Option<Ipv4Addr>) {
        let (mut server, mut out, mut input) = (Server::new(7), Vec::new(), bytes);
        let done = server.receive(NOW, &mut input, &mut out);
        (done, out, input.len(), server.take_proxied())
    }

    #[test]
    fn hmac_of_rfc_4231() {
        let hex = |digest: [u8; 32]| digest.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(
            hex(hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        // A key longer than the block.
        assert_eq!(
            hex(hmac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"])),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn both_layouts_are_found_where_the_offset_says() {
        for (layout, block) in [(Layout::A, 772), (Layout::B, 8)] {
            let mut rng = fastrand::Rng::with_seed(3);
            for _ in 0..50 {
                let c1 = signed_hello(&mut rng, NOW, CLIENT_VERSION, layout, &PLAYER_KEY[..30]);
                let offset = c1[block..block + 4].iter().map(|&b| usize::from(b)).sum::<usize>() % 728;
                let at = block + 4 + offset;
                let joined = [&c1[..at], &c1[at + 32..]].concat();
                assert_eq!(c1[at..at + 32], hmac(b"Genuine Adobe Flash Player 001", &[&joined]));
                assert_eq!(
                    find_digest(&c1, &PLAYER_KEY[..30]),
                    Some((layout, c1[at..at + 32].try_into().unwrap()))
                );
            }
        }
    }

    #[test]
    fn answers_a_digest_in_the_layout_of_the_client() {
        for layout in [Layout::A, Layout::B] {
            let c1 = signed_hello(
                &mut fastrand::Rng::with_seed(5),
                NOW,
                CLIENT_VERSION,
                layout,
                &PLAYER_KEY[..30],
            );
            let (_, digest) = find_digest(&c1, &PLAYER_KEY[..30]).unwrap();
            let (done, out, _, _) = serve(&[&[3][..], &c1].concat());
            assert_eq!(done, Ok(false));
            assert_eq!((out.len(), out[0]), (3073, 3));
            let (s1, s2) = out[1..].split_at(1536);
            assert_eq!(s1[4..8], [1, 0, 5, 4]);
            let key = b"Genuine Adobe Flash Media Server 001";
            assert_eq!(find_digest(s1, key).map(|(found, _)| found), Some(layout));
            assert_eq!(s2[1504..], hmac(&hmac(&SERVER_KEY, &[&digest]), &[&s2[..1504]]));
        }
    }

    #[test]
    fn answers_without_a_digest_by_an_echo() {
        let c1 = [9; 1536];
        let (done, out, left, _) = serve(&[&[3][..], &c1, &c1, b"chunks"].concat());
        assert_eq!((done, left), (Ok(true), 6));
        assert_eq!(out[1..5], 1234u32.to_be_bytes());
        assert_eq!(out[5..9], [9; 4]);
        assert_eq!(out[1537..], c1);
    }

    #[test]
    fn other_versions_are_refused() {
        for version in [0, 2, 6, 8, b'G', 0x16] {
            assert_eq!(serve(&[version]).0, Err(Error::Version { version }));
            assert_eq!(serve(&[0xf3, 0, 0, version]).0, Err(Error::Version { version }));
        }
    }

    #[test]
    fn the_header_of_a_proxy_tells_the_address() {
        let rest = [&[3][..], &[9; 3072]].concat();
        let after = |header: &[u8]| serve(&[header, &rest].concat());
        assert_eq!(after(&[0xf3, 0, 4, 10, 1, 2, 3]).3, Some(Ipv4Addr::new(10, 1, 2, 3)));
        let (done, out, left, address) = after(&[0xf3, 0, 6, 10, 1, 2, 3, 77, 78]);
        assert_eq!((done, out.len(), left, address), (Ok(true), 3073, 0, Some(Ipv4Addr::new(10, 1, 2, 3))));
        let (done, .., address) = after(&[0xf3, 0, 3, 1, 2, 3]);
        assert_eq!((done, address), (Ok(true), None));
        assert_eq!(after(&[0xf3, 4, 1]).0, Err(Error::ProxyHeader { length: 1025 }));
    }

    fn talk(cuts: &[usize]) -> (Vec<u8>, Vec<u8>) {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let mut client = Client::new(1, NOW, &mut to_server);
        let mut server = Server::new(2);
        let (mut at_server, mut at_client) = (0, 0);
        let mut cuts = cuts.iter().cycle();
        loop {
            let end = (at_server + *cuts.next().unwrap()).min(to_server.len());
            let mut input = &to_server[at_server..end];
            at_server = end;
            let served = server.receive(NOW, &mut input, &mut to_client).unwrap();
            let end = (at_client + *cuts.next().unwrap()).min(to_client.len());
            let mut input = &to_client[at_client..end];
            at_client = end;
            if client.receive(&mut input, &mut to_server).unwrap() && served {
                return (to_server, to_client);
            }
        }
    }

    #[test]
    fn our_client_signs_its_confirmation() {
        let (to_server, to_client) = talk(&[4096]);
        let (_, digest) = find_digest(&to_client[1..1537], &SERVER_KEY[..36]).unwrap();
        let c2 = &to_server[1537..];
        assert_eq!(c2[1504..], hmac(&hmac(&PLAYER_KEY, &[&digest]), &[&c2[..1504]]));
        assert_eq!(to_server[5..9], CLIENT_VERSION);
    }

    #[test]
    fn our_client_accepts_a_server_without_digests() {
        let mut out = Vec::new();
        let mut client = Client::new(1, NOW, &mut out);
        let answer = [&[3][..], &[8; 1536], &out[1..1537], b"x"].concat();
        let mut input = answer.as_slice();
        assert_eq!(client.receive(&mut input, &mut out), Ok(true));
        assert_eq!(input, b"x");
        assert_eq!(out[1537..], [8; 1536]);
        let mut refused = &[6][..];
        assert_eq!(
            Client::new(1, NOW, &mut out).receive(&mut refused, &mut out),
            Err(Error::Version { version: 6 })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn split_invariance(cuts in prop::collection::vec(1usize..900, 1..6)) {
            prop_assert_eq!(talk(&cuts), talk(&[10_000]));
        }

        #[test]
        fn garbage_never_panics(first in prop_oneof![Just(3u8), Just(0xf3), any::<u8>()],
                                bytes in prop::collection::vec(any::<u8>(), 0..3200)) {
            crate::fuzz::handshake(&[&[first][..], &bytes].concat());
        }
    }
}
