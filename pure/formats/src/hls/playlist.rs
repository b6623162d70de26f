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
}

impl Playlist {
    /// Marks the URIs of TS segments in the text of a playlist.
    pub fn new(text: String) -> Self {
        let mut marks = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            if !line.starts_with('#') {
                let uri = line.trim_end();
                let (path, queried) = match uri.split_once('?') {
                    Some((path, _)) => (path, true),
                    None => (uri, false),
                };
                if path.ends_with(".ts") {
                    marks.push(Mark { at: start + path.len() + usize::from(queried), queried });
                }
            }
            start += line.len();
        }
        Self { text, marks }
    }

    /// The text as it is, for all players alike.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Appends the text for one player: `query`, such as `hls_ctx=abcd1234`, stands in front of whatever query a segment's URI has. It is
    /// taken as it is, so it must be a part of a URI already. An empty one changes nothing.
    pub fn render(&self, query: &str, out: &mut String) {
        let marks = if query.is_empty() { &[] } else { self.marks.as_slice() };
        out.reserve(self.text.len() + marks.len() * (query.len() + 1));
        let mut done = 0;
        for Mark { at, queried } in marks {
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

/// A playlist, read from a file, for one player.
pub fn with_query(text: &str, query: &str) -> String {
    let mut out = String::new();
    Playlist::new(text.to_owned()).render(query, &mut out);
    out
}

/// The playlist that sends a player to another one, under which the server knows it again. `uri` is the path with the query.
pub fn master(uri: &str) -> String {
    format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\n{uri}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_ends_with_a_newline() {
        let want =
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\n/live/a.m3u8?hls_ctx=x&vhost=v\n";
        assert_eq!(master("/live/a.m3u8?hls_ctx=x&vhost=v"), want);
    }

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
        playlist.render("y=1", &mut out);
        assert_eq!(out, format!("before {}", want.replace("hls_ctx=x", "y=1")));
    }

    #[test]
    fn what_is_no_segment_is_left_alone() {
        for text in [
            "",
            "\n",
            "#a.ts\n",
            "b.m3u8\n",
            "c.m4s\n",
            "d.m3u8?next=e.ts\n",
            "#EXT-X-KEY:URI=\"f.ts\"\n",
            "g.tsx",
        ] {
            assert_eq!(with_query(text, "x=1"), text);
        }
    }

    #[test]
    fn line_ends_of_any_sort() {
        assert_eq!(with_query("a.ts\r\nb.ts", "x=1"), "a.ts?x=1\r\nb.ts?x=1");
        assert_eq!(with_query("a.ts?\r\nb.ts?", "x=1"), "a.ts?x=1&\r\nb.ts?x=1&");
    }
}
