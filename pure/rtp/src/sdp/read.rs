//! From the grammar to the types.

use std::net::IpAddr;
use std::str::FromStr;

use sdp_types::{Attribute, Connection, Session};

use super::{Description, Direction, Extension, Format, Media, Setup, Source};
use crate::Error;

impl Description {
    /// Reads a description. Attributes that are not known, or cannot be read, are passed over.
    ///
    /// # Errors
    /// When the lines break the grammar.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let session = Session::parse(text).map_err(|e| Error::Description(e.to_string()))?;
        if session.medias.len() > MAX_MEDIA {
            return Err(Error::Description(format!("more than {MAX_MEDIA} sections")));
        }
        let mut description = Self {
            user: session.origin.username.unwrap_or_default(),
            id: session.origin.sess_id,
            version: session.origin.sess_version,
            name: session.session_name,
            address: session.connection.as_ref().and_then(address),
            ..Self::default()
        };
        // What is said for all sections is said first, and a section may say it again.
        let mut common = Media::default();
        for attribute in &session.attributes {
            description.attribute(attribute);
            common.attribute(attribute);
        }
        common.control = None;
        for section in session.medias {
            let mut media = Media {
                kind: section.media,
                port: section.port,
                protocol: section.proto,
                address: section.connections.first().and_then(address),
                ..common.clone()
            };
            if media.protocol.contains("RTP/") {
                for found in section.fmt.split_ascii_whitespace().filter_map(format) {
                    if media.format(found.payload_type).is_none() {
                        media.formats.push(found);
                    }
                }
            }
            // Its own replace those of the session, not add to them.
            if section.attributes.iter().any(|a| a.attribute == "fingerprint") {
                media.fingerprints.clear();
            }
            section.attributes.iter().for_each(|attribute| media.attribute(attribute));
            description.media.push(media);
        }
        Ok(description)
    }

    fn attribute(&mut self, attribute: &Attribute) {
        let value = attribute.value.as_deref().unwrap_or_default().trim();
        match attribute.attribute.as_str() {
            "ice-lite" => self.ice_lite = true,
            "group" => {
                if let Some(mids) = value.strip_prefix("BUNDLE") {
                    self.bundle = mids.split_ascii_whitespace().map(str::to_owned).collect();
                }
            }
            "msid-semantic" => self.msid_semantic = Some(value.to_owned()),
            "control" => self.control = Some(value.to_owned()),
            _ => {}
        }
    }
}

impl Media {
    fn attribute(&mut self, attribute: &Attribute) {
        let (name, value) =
            (attribute.attribute.as_str(), attribute.value.as_deref().unwrap_or_default().trim());
        match name {
            "mid" => self.mid = Some(value.to_owned()),
            "bundle-only" => self.bundle_only = true,
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "end-of-candidates" => self.end_of_candidates = true,
            "control" => self.control = Some(value.to_owned()),
            "ptime" => self.ptime = value.parse().ok(),
            "msid" => self.msid = Some(msid(value)),
            "ice-ufrag" => self.ice.get_or_insert_default().ufrag = value.to_owned(),
            "ice-pwd" => self.ice.get_or_insert_default().pwd = value.to_owned(),
            "setup" => self.setup = named(&Setup::NAMES, value),
            "candidate" => add(&mut self.candidates, value.parse().ok()),
            "fingerprint" => add(&mut self.fingerprints, value.split_once(' ').map(owned)),
            "extmap" => add(&mut self.extensions, extension(value)),
            "ssrc" => drop(self.source(value)),
            "ssrc-group" => add(&mut self.source_groups, source_group(value)),
            "rtpmap" | "fmtp" | "rtcp-fb" => drop(self.format_line(name, value)),
            _ => self.direction = named(&Direction::NAMES, name).unwrap_or(self.direction),
        }
    }

    /// A line about one payload type, or about all of them (`*`).
    fn format_line(&mut self, name: &str, value: &str) -> Option<()> {
        let (number, line) = value.split_once(' ')?;
        let number: Option<u8> = number.parse().ok();
        for format in &mut self.formats {
            if number.is_some_and(|number| number != format.payload_type) {
                continue;
            }
            match name {
                "rtpmap" => {
                    let mut parts = line.trim().split('/');
                    format.encoding = parts.next()?.to_owned();
                    format.rate = parts.next().and_then(first_number).unwrap_or_default();
                    format.channels = parts.next().and_then(first_number);
                }
                "fmtp" => parameters(line).for_each(|pair| add(&mut format.parameters, Some(pair))),
                _ => add(&mut format.feedback, Some(line.trim().to_owned())),
            }
        }
        Some(())
    }

    /// `ssrc:<id> <attribute>[:<value>]`.
    fn source(&mut self, value: &str) -> Option<()> {
        let (ssrc, line) = value.split_once(' ').unwrap_or((value, ""));
        let ssrc = ssrc.parse().ok()?;
        let at = self.sources.iter().position(|source| source.ssrc == ssrc);
        let at = at.unwrap_or_else(|| {
            let at = self.sources.len();
            add(&mut self.sources, Some(Source { ssrc, ..Source::default() }));
            at
        });
        let source = self.sources.get_mut(at)?;
        match line.trim().split_once(':')? {
            ("cname", name) => source.cname = Some(name.to_owned()),
            ("msid", value) => source.msid = Some(msid(value)),
            _ => {}
        }
        Some(())
    }
}

/// More sections than this are not described to anybody.
const MAX_MEDIA: usize = 64;
/// More lines of one kind in one section are passed over: what a peer sends must not grow by being read, though a line may count for all formats, or for all sections.
const MAX_LINES: usize = 64;

fn add<T>(list: &mut Vec<T>, item: Option<T>) {
    if list.len() < MAX_LINES {
        list.extend(item);
    }
}

/// The parameters of an `fmtp` line, which `;` separates.
fn parameters(line: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = line.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(|pair| owned(pair.split_once('=').unwrap_or((pair, ""))))
}

/// A payload type as the section lists it, with what RFC 3551 §6 fixes for those that need no map.
fn format(number: &str) -> Option<Format> {
    Some(match number.parse().ok().filter(|number| *number < 128)? {
        0 => Format::new(0, "PCMU", 8000, None),
        3 => Format::new(3, "GSM", 8000, None),
        8 => Format::new(8, "PCMA", 8000, None),
        9 => Format::new(9, "G722", 8000, None),
        14 => Format::new(14, "MPA", 90_000, None),
        26 => Format::new(26, "JPEG", 90_000, None),
        33 => Format::new(33, "MP2T", 90_000, None),
        number => Format::new(number, "", 0, None),
    })
}

/// `<id>[/<direction>] <uri> [<attributes>]`.
fn extension(value: &str) -> Option<Extension> {
    let mut words = value.split_ascii_whitespace();
    let id = words.next()?;
    let (id, direction) =
        id.split_once('/').map_or((id, None), |(id, way)| (id, named(&Direction::NAMES, way)));
    Some(Extension { id: id.parse().ok()?, direction, uri: words.next()?.to_owned() })
}

fn source_group(value: &str) -> Option<(String, Vec<u32>)> {
    let (semantics, sources) = value.split_once(' ')?;
    let sources = sources.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    Some((semantics.to_owned(), sources))
}

/// `<stream> [<track>]`.
fn msid(value: &str) -> (String, String) {
    owned(value.trim().split_once(' ').unwrap_or((value.trim(), "")))
}

fn owned((left, right): (&str, &str)) -> (String, String) {
    (left.trim().to_owned(), right.trim().to_owned())
}

fn named<T: Copy>(names: &[(T, &str)], name: &str) -> Option<T> {
    names.iter().find(|(_, known)| *known == name).map(|(value, _)| *value)
}

/// Some write more behind it.
fn first_number<T: FromStr>(text: &str) -> Option<T> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// The address without a multicast TTL; `None` for a name.
fn address(connection: &Connection) -> Option<IpAddr> {
    connection.connection_address.split('/').next()?.parse().ok()
}
