//! The tables that open a transport stream: PAT and PMT, one section in one packet each. How media gets into packets is in `pes`.

use super::PACKET;

/// What the PMT lists: a stream and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// The PID of its packets.
    pub(super) pid: u16,
    /// Its `stream_type` (ISO/IEC 13818-1 table 2-34).
    pub(super) kind: u8,
}

/// The PID of the PMT.
pub(super) const PMT_PID: u16 = 0x1001;
/// The PID of the PAT.
const PAT_PID: u16 = 0;
/// The PID that stands for no clock at all.
const NO_PCR: u16 = 0x1fff;

/// Writes the PAT: program 1, described by the PMT (ISO/IEC 13818-1 §2.4.4.3).
pub(super) fn pat(counter: &mut u8, out: &mut Vec<u8>) {
    let [high, low] = (0xe000 | PMT_PID).to_be_bytes();
    section(PAT_PID, 0, 0, &[&[0, 1, high, low]], counter, out);
}

/// Writes the PMT: the streams, of which the first carries the clock (ISO/IEC 13818-1 §2.4.4.8).
pub(super) fn pmt(version: u8, streams: [Option<Listed>; 2], counter: &mut u8, out: &mut Vec<u8>) {
    let clock = streams.iter().flatten().next().map_or(NO_PCR, |stream| stream.pid);
    let [high, low] = (0xe000 | clock).to_be_bytes();
    let entries = streams.map(|stream| {
        stream.map(|Listed { pid, kind }| {
            let [high, low] = (0xe000 | pid).to_be_bytes();
            [kind, high, low, 0xf0, 0]
        })
    });
    let [first, second] = entries.each_ref().map(|entry| entry.as_ref().map_or(&[][..], |entry| &entry[..]));
    section(PMT_PID, 2, version, &[&[high, low, 0xf0, 0], first, second], counter, out);
}

/// Writes one section in a packet of its own. The number behind its length is 1 for both tables: the transport stream's in the PAT,
/// the program's in the PMT.
fn section(pid: u16, table: u8, version: u8, parts: &[&[u8]], counter: &mut u8, out: &mut Vec<u8>) {
    let end = out.len().saturating_add(PACKET);
    out.reserve(PACKET);
    out.extend_from_slice(&header(pid, true, 1, counter));
    out.push(0); // the section begins at once
    let start = out.len();
    let size = parts.iter().map(|part| part.len()).sum::<usize>() + 5 + 4; // with what stands here before it, and the CRC
    out.extend_from_slice(&[table, 0xb0, size as u8, 0, 1, 0xc1 | (version & 0x1f) << 1, 0, 0]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    let crc = crc32(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
    out.resize(end, 0xff);
}

/// The four bytes that open a packet (ISO/IEC 13818-1 §2.4.3.2). `control` is 1 for payload, 3 for an adaptation field before it.
pub(super) fn header(pid: u16, start: bool, control: u8, counter: &mut u8) -> [u8; 4] {
    let [high, low] = pid.to_be_bytes();
    let header = [0x47, u8::from(start) << 6 | high, low, control << 4 | (*counter & 0x0f)];
    *counter = counter.wrapping_add(1);
    header
}

/// CRC-32/MPEG-2 (ISO/IEC 13818-1 annex A). Bit by bit: there are two tables of few bytes per keyframe.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn tables_byte_by_byte() {
        let mut out = Vec::new();
        pat(&mut 14, &mut out);
        let streams = [Some(Listed { pid: 0x100, kind: 0x1b }), Some(Listed { pid: 0x101, kind: 0x0f })];
        pmt(3, streams, &mut 15, &mut out);
        assert_eq!(out.len(), 2 * PACKET);
        let (pat, pmt) = out.split_at(PACKET);
        let want = [0x47, 0x40, 0, 0x1e, 0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0x01];
        assert_eq!(pat[..17], want);
        assert_eq!(crc32(&pat[5..21]), 0, "a section with its CRC leaves nothing");
        assert!(pat[21..].iter().all(|byte| *byte == 0xff));
        let want = [0x47, 0x50, 1, 0x1f, 0, 2, 0xb0, 23, 0, 1, 0xc7, 0, 0, 0xe1, 0, 0xf0, 0];
        assert_eq!(pmt[..17], want);
        assert_eq!(pmt[17..27], [0x1b, 0xe1, 0, 0xf0, 0, 0x0f, 0xe1, 1, 0xf0, 0]);
        assert_eq!(crc32(&pmt[5..31]), 0);
    }

    #[test]
    fn a_program_of_nothing_has_no_clock() {
        let mut out = Vec::new();
        pmt(0, [None, None], &mut 0, &mut out);
        assert_eq!(out[13..17], [0xff, 0xff, 0xf0, 0]);
    }
}
