//! A playlist of ours, read back after a restart, so that numbers and segments go on where they were.
//!
//! Spec: RFC 8216 §4.3; only what a [`Window`] writes is understood.

use std::collections::HashMap;
use std::sync::Arc;

use media::Micros;

use super::window::{Entry, Key, Window};

/// What a playlist has, oldest segment first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The segments with their numbers. Their `parts` are not read.
    pub entries: Vec<Entry>,
    /// `EXT-X-TARGETDURATION`
    pub target: Micros,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`
    pub discontinuities: u64,
}

/// Why a text is no playlist of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It does not begin as one.
    #[error("it is no playlist")]
    NoPlaylist,
    /// A line that we do not write, or not so.
    #[error("line {0} is not understood")]
    Line(usize),
    /// It ends where something has to follow, or lacks what each has.
    #[error("it is damaged")]
    Damaged,
}

/// More segments than this are in no window.
const MOST: usize = 100_000;

impl Listed {
    /// Reads the text of a playlist.
    ///
    /// # Errors
    /// It is not one that a [`Window`] has written.
    pub fn read(text: &str) -> Result<Self, Foreign> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, line)| line != "#EXTM3U") || !text.ends_with('\n') {
            return Err(Foreign::NoPlaylist);
        }
        let mut listed = Self::default();
        let (mut first, mut target) = (None::<u64>, None);
        let mut next = Entry { independent: true, ..Entry::default() };
        let (mut key, mut map) = (None::<Key>, None::<Arc<str>>);
        let mut duration = None;
        for (at, line) in lines {
            let foreign = || Foreign::Line(at + 1);
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            match name {
                _ if !line.starts_with('#') => {
                    let entry = std::mem::replace(&mut next, Entry { independent: true, ..Entry::default() });
                    let seq = first.ok_or(Foreign::Damaged)? + listed.entries.len() as u64;
                    let duration = duration.take().ok_or_else(foreign)?;
                    if line.is_empty() || listed.entries.len() >= MOST {
                        return Err(foreign());
                    }
                    let (key, map) = (key.clone(), map.clone());
                    listed.entries.push(Entry { seq, uri: line.to_owned(), duration, key, map, ..entry });
                }
                "#EXT-X-MEDIA-SEQUENCE" => first = Some(value.parse::<u32>().map_err(|_| foreign())?.into()),
                "#EXT-X-TARGETDURATION" => target = Some(value.parse::<u32>().map_err(|_| foreign())?),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                    listed.discontinuities = value.parse::<u32>().map_err(|_| foreign())?.into();
                }
                "#EXT-X-DISCONTINUITY" => next.discontinuity = true,
                "#EXTINF" => duration = Some(seconds(value).ok_or_else(foreign)?),
                "#EXT-X-KEY" => key = self::key(value).ok_or_else(foreign)?,
                "#EXT-X-MAP" => {
                    let uri =
                        attributes(value).and_then(|all| all.get("URI").copied()).ok_or_else(foreign)?;
                    map = Some(uri.into());
                }
                "#EXT-X-PROGRAM-DATE-TIME"
                | "#EXT-X-VERSION"
                | "#EXT-X-INDEPENDENT-SEGMENTS"
                | "#EXT-X-ENDLIST" => {}
                _ => return Err(foreign()),
            }
        }
        listed.target = Micros::from_secs(target.ok_or(Foreign::Damaged)?.into());
        if duration.is_some() || next.discontinuity || listed.entries.is_empty() {
            return Err(Foreign::Damaged);
        }
        Ok(listed)
    }
}

/// `9.960, no desc`
fn seconds(value: &str) -> Option<Micros> {
    let (secs, millis) = value.split_once(',')?.0.split_once('.')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok())?;
    let millis = if millis.len() == 3 { number(millis)? } else { return None };
    Some(Micros::from_millis(i64::from(number(secs)?) * 1000 + i64::from(millis)))
}

/// `None` if it is none of ours, `Some(None)` if nothing is encrypted from here on.
fn key(value: &str) -> Option<Option<Key>> {
    let all = attributes(value)?;
    match *all.get("METHOD")? {
        "NONE" => Some(None),
        "AES-128" => {
            let iv = all.get("IV")?.strip_prefix("0x").filter(|iv| iv.len() == 32)?;
            let iv = u128::from_str_radix(iv, 16).ok()?.to_be_bytes();
            Some(Some(Key { uri: (*all.get("URI")?).into(), iv }))
        }
        _ => None,
    }
}

/// The attributes of a tag, without the quotes (§4.2).
fn attributes(list: &str) -> Option<HashMap<&str, &str>> {
    let mut all = HashMap::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after
                .split_once(',')
                .map_or((after, ""), |(value, _)| (value, after.get(value.len()..).unwrap_or_default())),
        };
        all.insert(name, value);
        rest = if after.is_empty() { "" } else { after.strip_prefix(',')? };
    }
    Some(all)
}

impl Window {
    /// Goes on with what was listed before: an empty window gets those segments, and tells no smaller target until they have left.
    pub fn resume(&mut self, listed: Listed) {
        self.set_resumed(listed.entries, listed.target, listed.discontinuities);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(seq: u64, key: Option<u8>, discontinuity: bool) -> Entry {
        Entry {
            seq,
            uri: format!("a%20b-{seq}.m4s"),
            duration: Micros::from_millis(1000 + seq as i64),
            discontinuity,
            key: key.map(|n| Key { uri: format!("/keys/{n}.key?a=1,b=2").into(), iv: [n; 16] }),
            map: Some("init.mp4".into()),
            independent: true,
            ..Entry::default()
        }
    }

    proptest! {
        #[test]
        fn what_a_window_writes_is_read_back(
            first in 0u64..1000,
            segments in prop::collection::vec((prop::option::of(0u8..3), any::<bool>()), 1..30),
            length in 1i64..40,
        ) {
            let mut window = Window::new(Micros::from_secs(length), Micros::from_secs(2));
            for (seq, (key, discontinuity)) in (first..).zip(segments) {
                window.push(entry(seq, key, discontinuity));
            }
            let text = window.plain().unwrap().as_str().to_owned();
            let listed = Listed::read(&text).unwrap();
            prop_assert!(window.entries().eq(&listed.entries));
            let mut resumed = Window::new(Micros::from_secs(length), Micros::from_secs(2));
            resumed.resume(listed);
            let resumed_text = resumed.plain().map(|playlist| playlist.as_str().to_owned());
            prop_assert_eq!(resumed_text, Some(text));
            prop_assert_eq!(resumed.edge().next, window.edge().next);
            for window in [&mut window, &mut resumed] {
                window.push(entry(2000, None, true));
            }
            prop_assert_eq!(resumed.plain(), window.plain());
        }

        #[test]
        fn anything_else_is_refused_and_harms_nobody(text in "(#EXTM3U\n)?(#EXT[A-Z:=\\-\"0-9.,]{0,20}\n|[a-z.]{0,5}\n){0,8}") {
            let _ = Listed::read(&text);
        }
    }

    #[test]
    fn foreign_and_damaged_playlists() {
        let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-TARGETDURATION:2\n";
        let read = |text: &str| Listed::read(&format!("{head}{text}"));
        assert_eq!(read("#EXTINF:2.000, no desc\na.ts\n").unwrap().entries[0].seq, 7);
        for (text, why) in [
            ("", Foreign::Damaged),
            ("#EXTINF:2.000, no desc\na.ts\n#EXTINF:2.000, no desc\n", Foreign::Damaged),
            ("#EXTINF:2.000, no desc\na.ts\n#EXT-X-DISCONTINUITY\n", Foreign::Damaged),
            ("a.ts\n", Foreign::Line(5)),
            ("#EXTINF:2,\na.ts\n", Foreign::Line(5)),
            ("#EXT-X-BYTERANGE:7@0\n", Foreign::Line(5)),
            ("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"x\"\n", Foreign::Line(5)),
            ("#EXTINF:2.000, no desc\na.ts", Foreign::NoPlaylist),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
        assert_eq!(Listed::read("<html>\n"), Err(Foreign::NoPlaylist));
        assert_eq!(Listed::read("#EXTM3U\n#EXTINF:2.000, no desc\na.ts\n"), Err(Foreign::Damaged));
    }
}
