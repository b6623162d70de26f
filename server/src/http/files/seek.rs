//! FLV files from an offset on (`file.flv?start=BYTES`), as players of old seek in them: a new file header, the sequence headers,
//! then the file from there. The offset should be that of a tag; who names another gets what stands there.

use std::fs::File;
use std::os::unix::fs::FileExt;

use axum::http::Uri;
use formats::flv::{Demux, Demuxed, FileHeader, Header, Item, Reader, Tag, TagKind};

use super::Refused;
use super::content::Content;
use crate::http::request::parameter;

/// The offset that a request for such a file names; zero and what is no number mean the whole file.
pub(super) fn start(uri: &Uri, extension: &str) -> Option<u64> {
    let start = parameter(uri, "start").filter(|_| matches!(extension, "flv" | "fhv"))?;
    start.parse().ok().filter(|start| *start > 0)
}

/// The content from this offset on.
pub(super) fn content(whole: Content, start: u64) -> Result<Content, Refused> {
    if start >= whole.size() {
        return Err(Refused::Beyond(whole.size()));
    }
    let head = opening(whole.file())?;
    Ok(whole.spliced(head.into(), start))
}

/// Sequence headers are looked for in so many bytes. They stand behind the metadata, which may be long: it lists the keyframes.
const REACH: u64 = 4 << 20;

/// The file header and the sequence headers that stand before the first frames. Files of codecs without sequence headers have
/// none.
fn opening(file: &File) -> Result<Vec<u8>, Refused> {
    let mut reader = Reader::new();
    let mut search = Search::default();
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    while at < REACH && !search.is_over() {
        let n = file.read_at(&mut buffer, at)?;
        if n == 0 {
            break;
        }
        at += n as u64;
        reader.receive(&buffer[..n]);
        while let Some(item) = reader.poll_item().map_err(|_| Refused::NotFlv)? {
            search.see(item);
        }
    }
    let header = search.header.ok_or(Refused::NotFlv)?;
    let [audio, video] = [header.audio || search.sound, header.video || search.pictures];
    let mut out = FileHeader { audio, video }.to_bytes().to_vec();
    out.append(&mut search.tags);
    Ok(out)
}

/// What has been seen of a file.
#[derive(Default)]
struct Search {
    header: Option<FileHeader>,
    /// Sequence headers.
    tags: Vec<u8>,
    demux: Demux,
    /// A first frame of each kind has been seen, and so its sequence headers, which come before.
    sound: bool,
    pictures: bool,
}

impl Search {
    fn is_over(&self) -> bool {
        match self.header {
            Some(FileHeader { audio: true, video: false }) => self.sound,
            Some(FileHeader { audio: false, video: true }) => self.pictures,
            _ => self.sound && self.pictures,
        }
    }

    fn see(&mut self, item: Item) {
        let (kind, timestamp, body) = match item {
            Item::Header(header) => return self.header = Some(header),
            Item::Tag { kind, timestamp, body } => (kind, timestamp, body),
        };
        let over = match kind {
            TagKind::Audio => &mut self.sound,
            TagKind::Video => &mut self.pictures,
            TagKind::Script => return,
        };
        let mut seen = Vec::new();
        let read = self.demux.push(kind, timestamp, body.clone(), &mut seen);
        if read.is_err() || seen.iter().any(|seen| matches!(seen, Demuxed::Frame(_))) {
            *over = true;
        } else if !*over && seen.contains(&Demuxed::Tracks) {
            Tag { kind, header: Header::default(), body }.write(timestamp, &mut self.tags);
        }
    }
}
