//! Words to a tree of directives, with `include`. Any name and any nesting is accepted here; what is
//! allowed where is the validator's business.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lexer::{Fault, Lexer, Span, Token, Word};
use super::report::{Error, Place, Problem};

/// A directive as written: a name, arguments, and perhaps a block.
#[derive(Clone, Debug)]
pub struct Node {
    /// First word.
    pub name: Word,
    /// The other words.
    pub args: Vec<Word>,
    /// What stands between `{` and `}`; none if the directive ended with `;`.
    pub children: Option<Vec<Node>>,
}

/// The texts a tree was read from, kept to show places in them.
#[derive(Debug, Default)]
pub struct Files(Vec<File>);

/// How a file is read; given from outside so that tests and fuzzing need no disk.
pub type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Reads `text`, called `name` in messages, and what it includes. Paths are tried as they are, and then
/// beside the including file.
///
/// # Errors
/// The first place that breaks the grammar, or a file that cannot be included.
pub fn parse(name: &str, text: &[u8], read: Read) -> Result<(Vec<Node>, Files), Box<Error>> {
    let mut parser = Parser { files: Files::default(), read, open: Vec::new(), glued: None };
    let nodes = parser.file(name, text)?;
    Ok((nodes, parser.files))
}

impl Node {
    /// The block, or nothing.
    pub fn block(&self) -> &[Node] {
        self.children.as_deref().unwrap_or_default()
    }

    /// First argument.
    pub fn value(&self) -> Option<&Word> {
        self.args.first()
    }
}

/// The first directive called `name`, which is the one that counts.
pub fn first<'a>(nodes: &'a [Node], name: &str) -> Option<&'a Node> {
    nodes.iter().find(|node| node.name.text == name)
}

impl Files {
    /// The place of `span`, to be shown.
    pub fn place(&self, span: Span) -> Place {
        let Some(file) = self.0.get(span.file) else {
            return Place { origin: String::new(), line: None, column: 1, width: 1, source: String::new() };
        };
        let text = &file.text[..];
        let start = span.start.min(text.len());
        let (before, rest) = text.split_at(start);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line_end = rest.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| start + at);
        let end = (start + span.len).clamp(start, line_end);
        let chars = |from: usize, to: usize| String::from_utf8_lossy(&text[from..to]).chars().count();
        Place {
            origin: file.name.clone(),
            line: Some(span.line),
            column: chars(line_start, start) + 1,
            width: chars(start, end).max(1),
            source: String::from_utf8_lossy(&text[line_start..line_end]).trim_end_matches('\r').to_owned(),
        }
    }
}

#[derive(Debug)]
struct File {
    name: String,
    text: Arc<[u8]>,
}

/// Deepest nesting of blocks; SRS has no directive below the sixth.
const DEEPEST: usize = 32;
/// Most files one configuration may pull in, so that files that include each other come to an end.
const MOST_FILES: usize = 500;

struct Parser<'a> {
    files: Files,
    read: Read<'a>,
    /// The files being read, innermost last.
    open: Vec<PathBuf>,
    /// The first word that swallowed a closing brace, the likely cause of an unclosed block.
    glued: Option<Word>,
}

impl Parser<'_> {
    fn file(&mut self, name: &str, text: &[u8]) -> Result<Vec<Node>, Box<Error>> {
        let text: Arc<[u8]> = text.into();
        let mut lexer = Lexer::new(self.files.0.len(), text.clone());
        self.files.0.push(File { name: name.to_owned(), text });
        self.open.push(PathBuf::from(name));
        let nodes = self.block(&mut lexer, None, 0)?;
        self.open.pop();
        Ok(nodes)
    }

    /// Reads directives up to the end of the block `opener` opened, or to the end of the file.
    fn block(
        &mut self,
        lexer: &mut Lexer,
        opener: Option<&Word>,
        depth: usize,
    ) -> Result<Vec<Node>, Box<Error>> {
        let mut nodes = Vec::new();
        loop {
            let Some((mut words, end)) = self.statement(lexer, opener)? else { return Ok(nodes) };
            let name = words.remove(0);
            if name.text == "include" && !name.quoted {
                self.include(&name, &words, &end, &mut nodes)?;
                continue;
            }
            let children = match end {
                Token::Open(span) if depth + 1 >= DEEPEST => {
                    let problem = Problem::new("blocks nest too deeply").at(self.files.place(span));
                    return Err(Error::one(problem));
                }
                Token::Open(_) => Some(self.block(lexer, Some(&name), depth + 1)?),
                _ => None,
            };
            nodes.push(Node { name, args: words, children });
        }
    }

    /// The words of the next directive, at least one, and the `;` or `{` after them; none at the end of the
    /// block.
    fn statement(
        &mut self,
        lexer: &mut Lexer,
        opener: Option<&Word>,
    ) -> Result<Option<(Vec<Word>, Token)>, Box<Error>> {
        let mut words: Vec<Word> = Vec::new();
        loop {
            let token = lexer.next().map_err(|fault| self.unreadable(&fault))?;
            match (token, words.last()) {
                (Token::Word(word), _) => {
                    if self.glued.is_none() && word.text.ends_with('}') && !word.quoted {
                        self.glued = Some(word.clone());
                    }
                    words.push(word);
                }
                (token @ (Token::Semicolon(_) | Token::Open(_)), Some(_)) => return Ok(Some((words, token))),
                (Token::Semicolon(span), None) => return Err(self.unexpected(span, ';')),
                (Token::Open(span), None) => return Err(self.unexpected(span, '{')),
                (Token::Close(_), Some(last)) => {
                    let problem = Problem::new(format!("missing `;` after `{}`", phrase(&words)));
                    return Err(Error::one(self.explain_glued(problem.at(self.files.place(last.span)))));
                }
                (Token::Close(_), None) if opener.is_some() => return Ok(None),
                (Token::Close(span), None) => {
                    let problem = Problem::new("this `}` closes no block").at(self.files.place(span));
                    return Err(Error::one(problem));
                }
                (Token::End, Some(_)) => {
                    let message =
                        format!("the file ends inside `{}`, which needs `;` or `{{`", phrase(&words));
                    return Err(self.unfinished(message, words.first()));
                }
                (Token::End, None) if opener.is_none() => return Ok(None),
                (Token::End, None) => {
                    let name = opener.map(|word| word.text.as_str()).unwrap_or_default();
                    return Err(self.unfinished(format!("the block `{name} {{` is never closed"), opener));
                }
            }
        }
    }

    /// Puts the directives of the files named by `words` at the end of `nodes`.
    fn include(
        &mut self,
        name: &Word,
        words: &[Word],
        end: &Token,
        nodes: &mut Vec<Node>,
    ) -> Result<(), Box<Error>> {
        let problem = match end {
            Token::Open(span) => Some((*span, "`include` takes files, not a block")),
            _ if words.is_empty() => Some((name.span, "`include` needs a file")),
            _ => None,
        };
        if let Some((span, message)) = problem {
            return Err(Error::one(Problem::new(message).at(self.files.place(span))));
        }
        for word in words {
            let (path, text) = self.find(word)?;
            if self.open.contains(&path) || self.files.0.len() >= MOST_FILES {
                let message = format!("`{}` includes itself", path.display());
                return Err(Error::one(Problem::new(message).at(self.files.place(word.span))));
            }
            // A file may end in the middle of a line of ours, so it is read on its own.
            nodes.extend(self.file(&path.to_string_lossy(), &text)?);
        }
        Ok(())
    }

    fn find(&self, word: &Word) -> Result<(PathBuf, Vec<u8>), Box<Error>> {
        let asked = PathBuf::from(&word.text);
        let error = match (self.read)(&asked) {
            Ok(text) => return Ok((asked, text)),
            Err(error) => error,
        };
        let folder = self.open.last().and_then(|file| file.parent());
        // The samples say `./conf/x.conf` for a file beside them, so the bare name is tried there too.
        let beside = [Some(asked.as_path()), asked.file_name().map(Path::new)];
        for path in beside.into_iter().flatten().filter(|_| asked.is_relative()) {
            let path = folder.unwrap_or(Path::new("")).join(path);
            if let Ok(text) = (self.read)(&path) {
                return Ok((path, text));
            }
        }
        let message = format!("cannot include `{}`: {error}", word.text);
        let problem = Problem::new(message).at(self.files.place(word.span));
        Err(Error::cannot_open(if word.leads {
            problem.help("is a `;` missing on the line before?")
        } else {
            problem.help("it is looked for in the working directory, then beside the including file")
        }))
    }

    fn unreadable(&self, fault: &Fault) -> Box<Error> {
        Error::one(Problem::new(&fault.message).at(self.files.place(fault.span)).help(fault.help))
    }

    fn unexpected(&self, span: Span, sign: char) -> Box<Error> {
        let message = format!("`{sign}` without a directive before it");
        Error::one(Problem::new(message).at(self.files.place(span)))
    }

    fn unfinished(&self, message: String, word: Option<&Word>) -> Box<Error> {
        let mut problem = Problem::new(message);
        if let Some(word) = word {
            problem = problem.at(self.files.place(word.span));
        }
        Error::one(self.explain_glued(problem))
    }

    fn explain_glued(&self, problem: Problem) -> Problem {
        let Some(glued) = &self.glued else { return problem };
        let line = glued.span.line;
        problem.help(format!("on line {line}, `{}` is one word: `}}` must follow `;`", glued.text))
    }
}

/// The words as one would write them.
fn phrase(words: &[Word]) -> String {
    let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(_: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    /// The tree as one line: `a b { c }`.
    fn shape(nodes: &[Node]) -> String {
        let one = |node: &Node| {
            let mut words = vec![node.name.text.clone()];
            words.extend(node.args.iter().map(|word| word.text.clone()));
            match &node.children {
                Some(children) => format!("{} {{{}}}", words.join(" "), shape(children)),
                None => format!("{};", words.join(" ")),
            }
        };
        nodes.iter().map(one).collect()
    }

    fn read(text: &str) -> String {
        match parse("a.conf", text.as_bytes(), &absent) {
            Ok((nodes, _)) => shape(&nodes),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn directives_nest_and_share_lines() {
        assert_eq!(read("a 1; b{c 2;d{}} e\n 3\n4;"), "a 1;b {c 2;d {}}e 3 4;");
        assert_eq!(read("a\n{\n}\n"), "a {}");
        assert_eq!(read(""), "");
    }

    #[test]
    fn broken_grammar_is_shown_where_it_breaks() {
        for (text, message, line) in [
            ("a {\n b on }", "missing `;` after `b on`", "2 |  b on }"),
            ("a;\n;", "`;` without a directive", "2 | ;"),
            ("\"\";", "`;` without a directive", "1 | \"\";"),
            ("{ a; }", "`{` without a directive", "1 | { a; }"),
            ("a;\n}", "closes no block", "2 | }"),
            ("a 1", "the file ends inside `a 1`", "1 | a 1"),
            ("a {\n b;\n", "`a {` is never closed", "1 | a {"),
            ("a {\n b on;}\nc {d on} e;", "`c {` is never closed", "= on line 3, `on}` is one word"),
            ("a {\n b on}\n}", "missing `;` after `b on}`", "= on line 2, `on}` is one word"),
            ("a 'b", "never closed", "1 | a 'b"),
            ("include;", "needs a file", "1 | include;"),
            ("include a { }", "not a block", "1 | include a { }"),
        ] {
            let shown = read(text);
            assert!(shown.contains(message) && shown.contains(line), "{text:?} gave\n{shown}");
        }
    }

    #[test]
    fn deep_nesting_ends() {
        assert!(read(&"a{".repeat(100_000)).contains("too deep"));
    }

    #[test]
    fn include_stands_for_the_text_of_the_files() {
        let disk = |path: &Path| match path.to_str() {
            Some("b.conf") => Ok(b"b; include sub/c.conf;".to_vec()),
            Some("sub/c.conf") => Ok(b"c; include d.conf;".to_vec()),
            Some("sub/d.conf") => Ok(b"d;".to_vec()),
            Some("empty.conf") => Ok(Vec::new()),
            Some("brace.conf") => Ok(b"\n }".to_vec()),
            Some("self.conf") => Ok(b"include self.conf;".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let read = |text: &str| match parse("a.conf", text.as_bytes(), &disk) {
            Ok((nodes, _)) => shape(&nodes),
            Err(error) => error.to_string(),
        };
        assert_eq!(read("v { include b.conf empty.conf; e; }"), "v {b;c;d;e;}");
        assert!(read("v { include brace.conf; }").contains("brace.conf:2:2"));
        assert!(read("include self.conf;").contains("`self.conf` includes itself"));
        let missing = parse("a.conf", b"include b.conf no.conf;", &disk).unwrap_err();
        assert!(missing.to_string().contains("cannot include `no.conf`"));
        assert_eq!((missing.code, missing.exit_status()), (1042, 18));
        assert!(read("include b.conf\nlisten 1;").contains("is a `;` missing on the line before?"));
    }
}
