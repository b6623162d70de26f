//! From the types to the text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::{Description, Direction, Media, Setup};

/// With the lines in the order that browsers and SRS write them.
impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        write!(f, "v=0\r\no={} {} {} ", word(&self.user), zero(&self.id), self.version)?;
        write!(f, "{}\r\ns={}\r\n", place(self.address.unwrap_or(any)), line_of(&self.name))?;
        if let Some(address) = self.address {
            write!(f, "c={}\r\n", place(address))?;
        }
        f.write_str("t=0 0\r\n")?;
        if self.ice_lite {
            f.write_str("a=ice-lite\r\n")?;
        }
        if !self.bundle.is_empty() {
            write!(f, "a=group:BUNDLE {}\r\n", clean(&self.bundle.join(" ")))?;
        }
        line(f, "msid-semantic", self.msid_semantic.as_deref())?;
        line(f, "control", self.control.as_deref())?;
        self.media.iter().try_for_each(|media| media.write(self.address.is_some(), f))
    }
}

impl Media {
    fn write(&self, has_address: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {} {}", word(&self.kind), self.port, word(&self.protocol))?;
        match &self.formats[..] {
            // The grammar wants one; this one is mapped to nothing.
            [] if self.protocol.contains("RTP/") => f.write_str(" 127")?,
            [] => f.write_str(" webrtc-datachannel")?,
            formats => formats.iter().try_for_each(|format| write!(f, " {}", format.payload_type))?,
        }
        f.write_str("\r\n")?;
        if self.address.is_some() || !has_address {
            let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            write!(f, "c={}\r\n", place(self.address.unwrap_or(any)))?;
        }
        if let Some(ice) = &self.ice {
            line(f, "ice-ufrag", Some(&ice.ufrag))?;
            line(f, "ice-pwd", Some(&ice.pwd))?;
        }
        for (hash, digest) in &self.fingerprints {
            write!(f, "a=fingerprint:{} {}\r\n", clean(hash), clean(digest))?;
        }
        line(f, "setup", self.setup.and_then(|setup| name(&Setup::NAMES, setup)))?;
        line(f, "mid", self.mid.as_deref())?;
        for extension in &self.extensions {
            let way = extension.direction.and_then(|way| name(&Direction::NAMES, way));
            let way = way.map(|way| format!("/{way}")).unwrap_or_default();
            write!(f, "a=extmap:{}{way} {}\r\n", extension.id, clean(&extension.uri))?;
        }
        if let Some(way) = name(&Direction::NAMES, self.direction) {
            write!(f, "a={way}\r\n")?;
        }
        if let Some((stream, track)) = &self.msid {
            write!(f, "a=msid:{}\r\n", clean(format!("{stream} {track}").trim()))?;
        }
        let flags =
            [(self.bundle_only, "bundle-only"), (self.rtcp_mux, "rtcp-mux"), (self.rtcp_rsize, "rtcp-rsize")];
        for (_, flag) in flags.iter().filter(|(set, _)| *set) {
            write!(f, "a={flag}\r\n")?;
        }
        line(f, "control", self.control.as_deref())?;
        self.write_formats(f)?;
        self.write_sources(f)?;
        for candidate in &self.candidates {
            write!(f, "a=candidate:{}\r\n", clean(&candidate.to_string()))?;
        }
        if self.end_of_candidates {
            f.write_str("a=end-of-candidates\r\n")?;
        }
        Ok(())
    }

    fn write_formats(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for format in &self.formats {
            let number = format.payload_type;
            if !format.encoding.is_empty() {
                let channels = format.channels.map(|count| format!("/{count}")).unwrap_or_default();
                write!(f, "a=rtpmap:{number} {}/{}{channels}\r\n", clean(&format.encoding), format.rate)?;
            }
            for feedback in &format.feedback {
                write!(f, "a=rtcp-fb:{number} {}\r\n", clean(feedback))?;
            }
            if !format.parameters.is_empty() {
                write!(f, "a=fmtp:{number} {}\r\n", clean(&format.parameter_line()))?;
            }
        }
        if let Some(ptime) = self.ptime {
            write!(f, "a=ptime:{ptime}\r\n")?;
        }
        Ok(())
    }

    fn write_sources(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (semantics, sources) in &self.source_groups {
            write!(f, "a=ssrc-group:{}", clean(semantics))?;
            sources.iter().try_for_each(|ssrc| write!(f, " {ssrc}"))?;
            f.write_str("\r\n")?;
        }
        for source in &self.sources {
            let ssrc = source.ssrc;
            if let Some(name) = &source.cname {
                write!(f, "a=ssrc:{ssrc} cname:{}\r\n", clean(name))?;
            }
            if let Some((stream, track)) = &source.msid {
                write!(f, "a=ssrc:{ssrc} msid:{}\r\n", clean(format!("{stream} {track}").trim()))?;
            }
            if source.cname.is_none() && source.msid.is_none() {
                write!(f, "a=ssrc:{ssrc}\r\n")?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, "a={name}:{}\r\n", clean(value)))
}

/// No value may end its line and begin another: much of it comes from the peer or from a URL.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// A text where the grammar wants one.
fn line_of(text: &str) -> String {
    let text = clean(text);
    if text.trim().is_empty() { "-".to_owned() } else { text }
}

/// The same without spaces.
fn word(text: &str) -> String {
    line_of(text).split_whitespace().collect::<Vec<_>>().join("_")
}

fn zero(id: &str) -> &str {
    if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) { id } else { "0" }
}

fn place(address: IpAddr) -> String {
    format!("IN IP{} {address}", if address.is_ipv4() { 4 } else { 6 })
}

fn name<T: PartialEq>(names: &[(T, &'static str)], value: T) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == value).map(|(_, name)| *name)
}
