//! The headers of enhanced RTMP, which video and audio share: modifiers, FourCC names, several tracks in one tag.
//! What the packets hold is read by `demux` and written by `mux`.
//!
//! Spec: "Enhanced RTMP v2", sections "Enhanced Audio" and "Enhanced Video".

use bytes::Bytes;
use media::{ByteReader, Kind, TrackId, Truncated};

use super::coding::Coding;
use super::{Error, Header, frame_type};

/// Packet types of both kinds, then those of one (`VideoPacketType`, `AudioPacketType`).
pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
pub(super) const SEQUENCE_END: u8 = 2;
pub(super) const MOD_EX: u8 = 7;
/// Coded frames with a composition time of zero, left out.
pub(super) const VIDEO_CODED_FRAMES_X: u8 = 3;
pub(super) const VIDEO_METADATA: u8 = 4;
pub(super) const VIDEO_MULTITRACK: u8 = 6;
pub(super) const AUDIO_CHANNELS: u8 = 4;
pub(super) const AUDIO_MULTITRACK: u8 = 5;

/// The first byte of an enhanced audio tag, less the packet type: sound format 9.
const AUDIO_EX: u8 = 9 << 4;
/// The mark of an enhanced video tag in its first byte.
const VIDEO_EX: u8 = 0x80;

/// The packets of one tag. A tag without multitrack has one.
#[derive(Debug)]
pub(super) struct Packets<'a> {
    /// What all packets of the tag are.
    pub(super) packet_type: u8,
    /// They belong to a keyframe.
    pub(super) key: bool,
    /// What is to be added to the timestamp of the tag, in nanoseconds below one millisecond.
    pub(super) nanos: u32,
    kind: Kind,
    body: &'a Bytes,
    r: ByteReader<'a>,
    packing: Packing,
}

/// How tracks are packed (`AvMultitrackType`); the shared FourCC stands before them.
#[derive(Clone, Copy, Debug)]
enum Packing {
    Single([u8; 4]),
    OneTrack([u8; 4]),
    ManyTracks([u8; 4]),
    ManyCodecs,
    Done,
}

/// One packet of one track.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) track: TrackId,
    pub(super) fourcc: [u8; 4],
    /// A slice of the tag.
    pub(super) payload: Bytes,
}

impl<'a> Packets<'a> {
    /// Reads the headers that come before the packets; `None` for a tag that has none (a command, or colours, which the
    /// bitstream tells, too).
    pub(super) fn read(kind: Kind, body: &'a Bytes) -> Result<Option<Self>, Error> {
        let cut = |cut| Error::Truncated { kind, cut };
        let mut r = ByteReader::new(body);
        let first = r.u8().map_err(cut)?;
        let (mut packet_type, nanos) = read_mod_ex(&mut r, first & 0x0f).map_err(cut)?;
        let mut key = true;
        if kind == Kind::Video {
            if packet_type == VIDEO_METADATA {
                return Ok(None);
            }
            match frame_type::is_key(first >> 4 & 7)? {
                Some(is_key) => key = is_key,
                None => return Ok(None),
            }
        }
        let multitrack = if kind == Kind::Video { VIDEO_MULTITRACK } else { AUDIO_MULTITRACK };
        let packing = if packet_type == multitrack {
            let types = r.u8().map_err(cut)?;
            packet_type = types & 0x0f;
            if packet_type == multitrack || packet_type == MOD_EX {
                return Err(Error::PacketType { kind, value: packet_type });
            }
            match types >> 4 {
                0 => Packing::OneTrack(read_fourcc(&mut r).map_err(cut)?),
                1 => Packing::ManyTracks(read_fourcc(&mut r).map_err(cut)?),
                2 => Packing::ManyCodecs,
                other => return Err(Error::Multitrack(other)),
            }
        } else {
            Packing::Single(read_fourcc(&mut r).map_err(cut)?)
        };
        Ok(Some(Self { packet_type, key, nanos, kind, body, r, packing }))
    }

    fn read_packet(&mut self) -> Result<Option<Packet>, Truncated> {
        let r = &mut self.r;
        let (fourcc, index, size) = match self.packing {
            Packing::Done => return Ok(None),
            Packing::Single(fourcc) => (fourcc, 0, r.left()),
            Packing::OneTrack(fourcc) => (fourcc, r.u8()?, r.left()),
            _ if r.left() == 0 => return Ok(None),
            Packing::ManyTracks(fourcc) => (fourcc, r.u8()?, r.u24()? as usize),
            Packing::ManyCodecs => (read_fourcc(r)?, r.u8()?, r.u24()? as usize),
        };
        if matches!(self.packing, Packing::Single(_) | Packing::OneTrack(_)) {
            self.packing = Packing::Done;
        }
        let start = r.position();
        r.take(size)?;
        let payload = self.body.slice(start..r.position());
        Ok(Some(Packet { track: TrackId { kind: self.kind, index }, fourcc, payload }))
    }
}

impl Iterator for Packets<'_> {
    type Item = Result<Packet, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let packet = self.read_packet();
        if packet.is_err() {
            self.packing = Packing::Done;
        }
        packet.map_err(|cut| Error::Truncated { kind: self.kind, cut }).transpose()
    }
}

/// The header of a packet. Additional tracks are packed as multitrack packets of one track.
pub(super) fn header(
    id: TrackId,
    coding: Coding,
    frame_type: u8,
    packet_type: u8,
    tail: &[u8],
) -> Option<Header> {
    let (first, multitrack) = match id.kind {
        Kind::Video => (VIDEO_EX | frame_type << 4, VIDEO_MULTITRACK),
        _ => (AUDIO_EX, AUDIO_MULTITRACK),
    };
    let fourcc = &coding.fourcc();
    match id.index {
        0 => Header::new(&[&[first | packet_type], fourcc, tail]),
        index => Header::new(&[&[first | multitrack, packet_type], fourcc, &[index], tail]),
    }
}

/// Reads the chain of ModEx parts: the packet type behind them, and the offset to the timestamp in nanoseconds.
fn read_mod_ex(r: &mut ByteReader<'_>, mut packet_type: u8) -> Result<(u8, u32), Truncated> {
    const TIMESTAMP_OFFSET_NANO: u8 = 0;
    let mut nanos = 0;
    while packet_type == MOD_EX {
        let mut size = usize::from(r.u8()?) + 1;
        if size == 256 {
            size = usize::from(r.u16()?) + 1;
        }
        let data = r.take(size)?;
        let types = r.u8()?;
        packet_type = types & 0x0f;
        if types >> 4 == TIMESTAMP_OFFSET_NANO {
            // The standard keeps it below one millisecond.
            nanos = ByteReader::new(data).u24()?.min(999_999);
        }
    }
    Ok((packet_type, nanos))
}

fn read_fourcc(r: &mut ByteReader<'_>) -> Result<[u8; 4], Truncated> {
    Ok(r.u32()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Track number, FourCC, payload.
    type Told = (u8, [u8; 4], Vec<u8>);

    fn read(kind: Kind, body: &[u8]) -> Result<Vec<Told>, Error> {
        let body = Bytes::copy_from_slice(body);
        let Some(packets) = Packets::read(kind, &body)? else { return Ok(Vec::new()) };
        packets.map(|p| p.map(|p| (p.track.index, p.fourcc, p.payload.to_vec()))).collect()
    }

    #[test]
    fn packings() {
        let video = |body| read(Kind::Video, body).unwrap();
        assert_eq!(video(b"\x90avc1x"), [(0, *b"avc1", b"x".to_vec())]);
        assert_eq!(video(b"\x90avc1"), [(0, *b"avc1", vec![])]);
        assert_eq!(video(b"\x96\x00avc1\x05x"), [(5, *b"avc1", b"x".to_vec())]);
        assert_eq!(
            video(b"\x96\x11avc1\x00\0\0\x01x\x02\0\0\x02yz"),
            [(0, *b"avc1", b"x".to_vec()), (2, *b"avc1", b"yz".to_vec())]
        );
        assert_eq!(
            video(b"\x96\x21avc1\x00\0\0\x01xvp09\x01\0\0\0"),
            [(0, *b"avc1", b"x".to_vec()), (1, *b"vp09", vec![])]
        );
    }

    #[test]
    fn every_cut_is_an_error() {
        let whole = b"\x97\x02\x00\x00\x01\x05\x21mp4a\x00\x00\x00\x02xy";
        assert_eq!(read(Kind::Audio, whole).unwrap().len(), 1);
        // Between the types and the first track it is a tag without tracks.
        for cut in (0..whole.len()).filter(|cut| *cut != 7) {
            assert!(matches!(read(Kind::Audio, &whole[..cut]), Err(Error::Truncated { .. })), "{cut}");
        }
    }
}
