//! Playlists as text: ready to be sent but for the query that tells a player's requests from all others, which is put into each URI while
//! the text is copied to the player. Which segments are listed is the business of the window.

/// The playlist of segments, with the places marked where a player's query goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playlist {
    text: String,
    marks: Vec<Mark>,
}

/// Where a query goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// Behind the path, or behind the question mark if there is one.
    at: usize,
    /// A query is there already.
    queried: bool,
    of: Of,
}

/// What a URI leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Media,
    /// Keys, and other playlists.
    Guarded,
}

/// What is put into the URIs of one player: such as `hls_ctx=abcd1234`, or nothing. It is taken as it is, so it must be a part of a URI
/// already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queries<'a> {
    /// For segments.
    pub media: &'a str,
    /// For what is for known players only: keys, and the playlists of other qualities.
    pub guarded: &'a str,
}

impl<'a> Queries<'a> {
    /// The same for whatever is listed.
    pub fn all(query: &'a str) -> Self {
        Self { media: query, guarded: query }
    }
}

impl Playlist {
    /// Marks the URIs of segments and keys in the text of a playlist that somebody else wrote: those that end with `.ts`, `.m4s` and
    /// `.key`.
    pub fn new(text: String) -> Self {
        let mut playlist = Self::default();
        for line in text.split_inclusive('\n') {
            let ends_with = |uri: &str, endings: &[&str]| {
                let path = uri.split_once('?').map_or(uri, |(path, _)| path);
                endings.iter().any(|ending| path.ends_with(ending))
            };
            let key = line.strip_prefix("#EXT-X-KEY:").and_then(|_| line.split_once("URI=\""));
            let key = key.and_then(|(before, rest)| Some((before, rest.split_once('"')?)));
            if let Some((before, (uri, after))) = key
                && ends_with(uri, &[".key"])
            {
                playlist.push(before);
                playlist.push("URI=\"");
                playlist.push_uri(uri, Of::Guarded);
                playlist.push("\"");
                playlist.push(after);
            } else if !line.starts_with('#') && ends_with(line.trim_end(), &[".ts", ".m4s"]) {
                let uri = line.trim_end();
                playlist.push_uri(uri, Of::Media);
                playlist.push(line.strip_prefix(uri).unwrap_or_default());
            } else {
                playlist.push(line);
            }
        }
        playlist
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The address of a segment.
    pub(super) fn push_media(&mut self, uri: &str) {
        self.push_uri(uri, Of::Media);
    }

    /// The address of a key, or of another playlist.
    pub(super) fn push_guarded(&mut self, uri: &str) {
        self.push_uri(uri, Of::Guarded);
    }

    fn push_uri(&mut self, uri: &str, of: Of) {
        let (path, queried) = match uri.split_once('?') {
            Some((path, _)) => (path, true),
            None => (uri, false),
        };
        self.marks.push(Mark { at: self.text.len() + path.len() + usize::from(queried), queried, of });
        self.text.push_str(uri);
    }

    /// The text as it is, for all players alike.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Appends the text for one player: its query stands in front of whatever query a URI has. An empty one changes nothing.
    pub fn render(&self, queries: Queries<'_>, out: &mut String) {
        let longest = queries.media.len().max(queries.guarded.len());
        out.reserve(self.text.len() + self.marks.len() * (longest + 1));
        let mut done = 0;
        for Mark { at, queried, of } in &self.marks {
            let query = match of {
                Of::Media => queries.media,
                Of::Guarded => queries.guarded,
            };
            if query.is_empty() {
                continue;
            }
            out.push_str(self.text.get(done..*at).unwrap_or_default());
            match queried {
                true => out.extend([query, "&"]),
                false => out.extend(["?", query]),
            }
            done = *at;
        }
        out.push_str(self.text.get(done..).unwrap_or_default());
    }
}

impl std::fmt::Write for Playlist {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text);
        Ok(())
    }
}

/// A playlist, read from a file, for one player.
pub fn with_query(text: &str, query: &str) -> String {
    let mut out = String::new();
    Playlist::new(text.to_owned()).render(Queries::all(query), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_goes_into_the_uri_of_each_segment() {
        let text =
            "#EXTM3U\n#EXTINF:1.000, no desc\na.ts\n#EXTINF:1.000, no desc\nhttp://b/c.ts?key=1&d=e.ts\n";
        let want = "#EXTM3U\n#EXTINF:1.000, no desc\na.ts?hls_ctx=x\n#EXTINF:1.000, no desc\n\
            http://b/c.ts?hls_ctx=x&key=1&d=e.ts\n";
        assert_eq!(with_query(text, "hls_ctx=x"), want);
        assert_eq!(with_query(text, ""), text);
        let playlist = Playlist::new(text.to_owned());
        assert_eq!(playlist.as_str(), text);
        let mut out = "before ".to_owned();
        playlist.render(Queries::all("y=1"), &mut out);
        assert_eq!(out, format!("before {}", want.replace("hls_ctx=x", "y=1")));
    }

    #[test]
    fn what_is_no_segment_is_left_alone() {
        for text in [
            "",
            "\n",
            "#a.ts\n",
            "b.m3u8\n",
            "c.mp4\n",
            "d.m3u8?next=e.ts\n",
            "#EXT-X-KEY:URI=\"f.ts\"\n",
            "g.tsx",
        ] {
            assert_eq!(with_query(text, "x=1"), text);
        }
    }

    #[test]
    fn keys_may_have_another_query() {
        let text = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"a.key?b=1\",IV=0x0\n#EXTINF:1,\na.m4s\n";
        let mut out = String::new();
        Playlist::new(text.to_owned()).render(Queries { media: "", guarded: "x=1" }, &mut out);
        assert_eq!(out, text.replace("a.key?", "a.key?x=1&"));
        assert_eq!(with_query(text, "x=1"), out.replace("a.m4s", "a.m4s?x=1"));
    }

    #[test]
    fn line_ends_of_any_sort() {
        assert_eq!(with_query("a.ts\r\nb.ts", "x=1"), "a.ts?x=1\r\nb.ts?x=1");
        assert_eq!(with_query("a.ts?\r\nb.ts?", "x=1"), "a.ts?x=1&\r\nb.ts?x=1&");
    }
}
