//! What was refused of the datagrams that came for a session, counted by reason.

use std::fmt;

/// Datagrams that were refused, by reason. Anybody can send anything, so that none of it ends a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Malformed, of an unknown kind, over a path that is not proved, or at the wrong time.
    pub stray: u64,
    /// Connectivity checks that prove nothing.
    pub stun: u64,
    /// No DTLS records.
    pub dtls: u64,
    /// SRTP and SRTCP that is not genuine.
    pub forged: u64,
    /// SRTP and SRTCP that came twice or too late.
    pub replayed: u64,
    /// Genuine packets that nobody fetched in time.
    pub overflow: u64,
}

impl Refused {
    /// Whether nothing was.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// As it stands in the log: `3 connectivity checks, 12 replayed packets`.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stray, stun, dtls, forged, replayed, overflow } = *self;
        let reasons = [
            (stun, "connectivity checks"),
            (dtls, "DTLS records"),
            (forged, "forged packets"),
            (replayed, "replayed packets"),
            (stray, "stray datagrams"),
            (overflow, "packets too many at once"),
        ];
        let mut comma = "";
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{comma}{count} {reason}")?;
            comma = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_there_was() {
        let refused = Refused { stun: 3, replayed: 12, ..Refused::default() };
        assert_eq!(refused.to_string(), "3 connectivity checks, 12 replayed packets");
        assert!(!refused.is_nothing() && Refused::default().is_nothing());
    }
}
