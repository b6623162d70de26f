//! ICE candidates as attributes.

use std::fmt;
use std::str::FromStr;

/// A candidate (RFC 8839 §5.1). `FromStr` and `Display` read and write the value of the attribute; a leading `candidate:` is
/// taken too, as trickled candidates have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates of one base and server.
    pub foundation: String,
    /// 1 for RTP.
    pub component: u16,
    /// The transport.
    pub transport: Transport,
    /// The priority.
    pub priority: u32,
    /// An IP address, or a name (`….local` of mDNS, or of DNS).
    pub address: String,
    /// The port.
    pub port: u16,
    /// Where it comes from.
    pub kind: CandidateKind,
}

/// What a candidate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP that is waited for (RFC 6544).
    TcpPassive,
    /// TCP that is opened.
    TcpActive,
    /// TCP that both sides open.
    TcpSimultaneous,
}

/// Where a candidate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// An address of the host itself.
    Host,
    /// The address that a server sees.
    ServerReflexive,
    /// The address that the peer sees.
    PeerReflexive,
    /// The address of a relay.
    Relayed,
}

/// Not a candidate, or one of a transport that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ICE candidate")]
pub struct NotACandidate;

impl FromStr for Candidate {
    type Err = NotACandidate;

    fn from_str(text: &str) -> Result<Self, NotACandidate> {
        read(text.trim().strip_prefix("candidate:").unwrap_or(text.trim())).ok_or(NotACandidate)
    }
}

fn read(text: &str) -> Option<Candidate> {
    let mut words = text.split_ascii_whitespace();
    let foundation = words.next()?.to_owned();
    let component = words.next()?.parse().ok()?;
    let transport = words.next()?;
    let priority = words.next()?.parse().ok()?;
    let address = words.next()?.to_owned();
    let port = words.next()?.parse().ok()?;
    if words.next()? != "typ" {
        return None;
    }
    let kind = match words.next()? {
        "host" => CandidateKind::Host,
        "srflx" => CandidateKind::ServerReflexive,
        "prflx" => CandidateKind::PeerReflexive,
        "relay" => CandidateKind::Relayed,
        _ => return None,
    };
    let tcp = words.skip_while(|word| *word != "tcptype").nth(1);
    let transport = match (transport, tcp) {
        (udp, _) if udp.eq_ignore_ascii_case("udp") => Transport::Udp,
        (tcp, _) if !tcp.eq_ignore_ascii_case("tcp") => return None,
        (_, Some("active")) => Transport::TcpActive,
        (_, Some("so")) => Transport::TcpSimultaneous,
        _ => Transport::TcpPassive,
    };
    Some(Candidate { foundation, component, transport, priority, address, port, kind })
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, tail) = match self.transport {
            Transport::Udp => ("udp", " generation 0"),
            Transport::TcpPassive => ("tcp", " tcptype passive"),
            Transport::TcpActive => ("tcp", " tcptype active"),
            Transport::TcpSimultaneous => ("tcp", " tcptype so"),
        };
        let kind = match self.kind {
            CandidateKind::Host => "host",
            CandidateKind::ServerReflexive => "srflx",
            CandidateKind::PeerReflexive => "prflx",
            CandidateKind::Relayed => "relay",
        };
        let Self { foundation, component, priority, address, port, .. } = self;
        write!(f, "{foundation} {component} {transport} {priority} {address} {port} typ {kind}{tail}")
    }
}
