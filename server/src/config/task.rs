//! Programs that the server starts: `ingest`, `transcode`, `exec`, and where what they print goes.

use std::path::PathBuf;

/// What started programs print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskLog {
    /// The folder of their logs; none keeps nothing.
    pub dir: Option<PathBuf>,
    /// `-loglevel` of ffmpeg programs that pull inputs.
    pub level: String,
    /// Bytes of a log, after which it is put aside for a new one; the one before that is deleted. 0 has no limit.
    pub max_size: u64,
}

/// Streams that are transcoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcode {
    /// Which: all if it is empty, those of an app, or one `app/stream`.
    pub scope: String,
    /// The program; a name without a slash is looked for in `PATH`.
    pub ffmpeg: PathBuf,
    /// One output each; those that are off are left out.
    pub engines: Vec<Engine>,
}

/// An input that is pulled.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingest {
    /// Its name; may be empty.
    pub id: String,
    /// What kind of input it is.
    pub input: Input,
    /// Path or address.
    pub url: String,
    /// A file begins again at its end, without a jump of its timestamps.
    pub loops: bool,
    /// The program.
    pub ffmpeg: PathBuf,
    /// One output each, at least one; those that do not encode copy.
    pub engines: Vec<Engine>,
}

/// Kinds of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file.
    File,
    /// Something live.
    Stream,
    /// Files one after the other, listed as ffmpeg's `concat` wants it.
    List,
}

/// How ffmpeg is to encode, and where to. Zeros and empty texts leave things as they come.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    /// Its name; may be empty.
    pub name: String,
    /// Options before the input.
    pub perfile: Vec<Flag>,
    /// Format of the input; none leaves it to ffmpeg.
    pub iformat: Option<String>,
    /// Options behind the input.
    pub vfilter: Vec<Flag>,
    /// An encoder, `copy`, or `vn` for no pictures.
    pub vcodec: String,
    /// Kbit/s.
    pub vbitrate: u32,
    /// Pictures per second.
    pub vfps: f64,
    /// Pixels, even.
    pub vwidth: u32,
    /// Pixels, even.
    pub vheight: u32,
    /// Threads of the encoder.
    pub vthreads: u32,
    /// Profile.
    pub vprofile: String,
    /// Preset.
    pub vpreset: String,
    /// More options of the encoder.
    pub vparams: Vec<Flag>,
    /// An encoder, `copy`, or `an` for no sound.
    pub acodec: String,
    /// Kbit/s.
    pub abitrate: u32,
    /// Hz.
    pub asample_rate: u32,
    /// 1 or 2.
    pub achannels: u32,
    /// More options of the encoder.
    pub aparams: Vec<Flag>,
    /// Format of the output; none leaves it to ffmpeg.
    pub oformat: Option<String>,
    /// Where to, with placeholders.
    pub output: String,
}

/// An option of ffmpeg with its `-`, and its value if it has one.
pub type Flag = (String, Option<String>);

/// Commands per stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// Run while a stream is published, and again if they end.
    pub publish: Vec<Command>,
    /// Run once when a publisher has left.
    pub unpublish: Vec<Command>,
    /// Run once when a player has come.
    pub play: Vec<Command>,
    /// Run once when a player has left.
    pub stop: Vec<Command>,
}

/// A command with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Where standard output is appended to.
    pub stdout: Option<String>,
    /// Where standard error is appended to.
    pub stderr: Option<String>,
}

impl Command {
    /// From the words of a directive, each with whether it was quoted. `>file`, `1>file` and `2>file` say where output goes, also with blanks;
    /// what is quoted is taken as it is. None if there is no program, or no file behind a `>`.
    pub(super) fn read<'a>(words: impl Iterator<Item = (&'a str, bool)>) -> Option<Self> {
        let mut command = Self { words: Vec::new(), stdout: None, stderr: None };
        let mut words = words.peekable();
        while let Some((word, quoted)) = words.next() {
            let Some((before, file)) = word.split_once('>').filter(|_| !quoted) else {
                // `2 > file`
                let is_sign = |next: &(&str, bool)| !next.1 && next.0.starts_with('>');
                if !quoted && matches!(word, "1" | "2") && words.peek().is_some_and(is_sign) {
                    let (sign, _) = words.next()?;
                    let file = sign.trim_start_matches('>');
                    let file = if file.is_empty() { words.next()?.0 } else { file };
                    command.redirect(word, file);
                    continue;
                }
                command.words.push(word.to_owned());
                continue;
            };
            let file = file.trim_start_matches('>');
            let file = if file.is_empty() { words.next()?.0 } else { file };
            match before {
                "1" | "2" | "" => command.redirect(before, file),
                word => {
                    command.words.push(word.to_owned());
                    command.redirect("", file);
                }
            }
        }
        (!command.words.is_empty()).then_some(command)
    }

    fn redirect(&mut self, descriptor: &str, file: &str) {
        let place = if descriptor == "2" { &mut self.stderr } else { &mut self.stdout };
        *place = Some(file.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Vec<String>, Option<String>, Option<String>) {
        let command = Command::read(line.split(' ').map(|word| (word, false))).unwrap();
        (command.words, command.stdout, command.stderr)
    }

    #[test]
    fn output_goes_where_it_is_sent() {
        let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let file = |file: &str| Some(file.to_owned());
        for (line, want) in [
            ("a -b c", (words("a -b c"), None, None)),
            ("a >f", (words("a"), file("f"), None)),
            ("a 1>f 2>g", (words("a"), file("f"), file("g"))),
            ("a > f", (words("a"), file("f"), None)),
            ("a 1 > f 2 > g b", (words("a b"), file("f"), file("g"))),
            ("a 2 >g", (words("a"), None, file("g"))),
            ("a b>f", (words("a b"), file("f"), None)),
            ("a 1 2", (words("a 1 2"), None, None)),
            ("a >>f", (words("a"), file("f"), None)),
        ] {
            assert_eq!(read(line), want, "{line}");
        }
        let quoted = Command::read([("a", false), ("gt(x,1)>y", true)].into_iter()).unwrap();
        assert_eq!((quoted.words.len(), quoted.stdout), (2, None));
        assert_eq!(Command::read([("a", false), (">", false)].into_iter()), None);
        assert_eq!(Command::read([(">f", false)].into_iter()), None);
    }
}
