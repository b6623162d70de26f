//! Bytes to words: blanks, comments, quotes and the three signs `;` `{` `}` (SRS 5, which is nginx without
//! escapes). What the words mean is not known here.

use std::sync::Arc;

/// One word of a file.
#[derive(Clone, Debug)]
pub struct Word {
    /// The text, without quotes; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Where it stands, with its quotes.
    pub span: Span,
    /// Whether it stood in quotes.
    pub quoted: bool,
    /// Whether nothing else of its directive stands before it on its line.
    pub leads: bool,
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Which of the files read, see [`super::tree::Files`].
    pub file: usize,
    /// Offset of the first byte.
    pub start: usize,
    /// Bytes.
    pub len: usize,
    /// Line of the first byte, from 1.
    pub line: u32,
}

/// What the lexer finds next.
#[derive(Debug)]
pub(super) enum Token {
    Word(Word),
    Semicolon(Span),
    Open(Span),
    Close(Span),
    End,
}

/// What the lexer cannot read.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: &'static str,
}

/// Reads one file from front to back.
pub(super) struct Lexer {
    text: Arc<[u8]>,
    file: usize,
    at: usize,
    line: u32,
    /// Line of the word before, if it belongs to the same directive.
    line_before: u32,
}

impl Lexer {
    pub(super) fn new(file: usize, text: Arc<[u8]>) -> Self {
        let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Self { text, file, at, line: 1, line_before: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Token, Fault> {
        loop {
            self.skip_blanks_and_comments();
            let span = self.span(1);
            let Some(byte) = self.peek() else { return Ok(Token::End) };
            self.at += 1;
            let token = match byte {
                b';' => Token::Semicolon(span),
                b'{' => Token::Open(span),
                b'}' => Token::Close(span),
                b'"' | b'\'' => match self.quoted(span, byte)? {
                    Some(word) => Token::Word(word),
                    None => continue,
                },
                _ => Token::Word(self.plain(span)),
            };
            self.line_before = if matches!(token, Token::Word(_)) { self.line } else { 0 };
            return Ok(token);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn span(&self, len: usize) -> Span {
        Span { file: self.file, start: self.at, len, line: self.line }
    }

    fn skip_blanks_and_comments(&mut self) {
        let mut comment = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => (comment, self.line) = (false, self.line + 1),
                b'#' => comment = true,
                _ if comment || is_blank(byte) => {}
                _ => return,
            }
            self.at += 1;
        }
    }

    /// A word without quotes; neither `}` nor `#` nor a quote ends it.
    fn plain(&mut self, mut span: Span) -> Word {
        while self.peek().is_some_and(|byte| !is_blank(byte) && byte != b';' && byte != b'{') {
            self.at += 1;
        }
        span.len = self.at - span.start;
        self.word(span, self.slice(span.start, self.at), false)
    }

    /// The word after an opening quote; none if nothing is between the quotes, which counts as no word.
    fn quoted(&mut self, mut span: Span, quote: u8) -> Result<Option<Word>, Fault> {
        let start = self.at;
        loop {
            match self.peek() {
                None => {
                    let message = "this quote is never closed".to_owned();
                    return Err(Fault { span, message, help: "the file ends inside the quoted text" });
                }
                Some(byte) if byte == quote => break,
                Some(byte) => self.line += u32::from(byte == b'\n'),
            }
            self.at += 1;
        }
        let text = self.slice(start, self.at);
        self.at += 1;
        span.len = self.at - span.start;
        match self.peek() {
            Some(byte) if !is_blank(byte) && byte != b';' && byte != b'{' => {
                let message = "a blank, `;` or `{` must follow the closing quote".to_owned();
                let help = "a quote inside a word is written with the other kind of quotes around it";
                Err(Fault { span: self.span(1), message, help })
            }
            _ if text.is_empty() => Ok(None),
            _ => Ok(Some(self.word(span, text, true))),
        }
    }

    fn slice(&self, start: usize, end: usize) -> String {
        String::from_utf8_lossy(self.text.get(start..end).unwrap_or_default()).into_owned()
    }

    fn word(&self, span: Span, text: String, quoted: bool) -> Word {
        Word { text, span, quoted, leads: span.line != self.line_before }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of `text`, words as they are, signs as themselves, a fault as its message.
    fn tokens(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(0, text.as_bytes().into());
        let mut found = Vec::new();
        loop {
            found.push(match lexer.next() {
                Ok(Token::Word(word)) => word.text,
                Ok(Token::Semicolon(_)) => ";".into(),
                Ok(Token::Open(_)) => "{".into(),
                Ok(Token::Close(_)) => "}".into(),
                Ok(Token::End) => return found,
                Err(fault) => {
                    found.push(fault.message);
                    return found;
                }
            });
        }
    }

    #[test]
    fn words_end_at_blanks_semicolons_and_opening_braces_only() {
        assert_eq!(tokens("a}b a#b a\"b;c{d}e"), ["a}b", "a#b", "a\"b", ";", "c", "{", "d}e"]);
        assert_eq!(tokens("a\tb\rc\nd ; } "), ["a", "b", "c", "d", ";", "}"]);
    }

    #[test]
    fn comments_start_where_a_word_could_and_end_with_the_line() {
        assert_eq!(tokens("a; # b; c\rd\ne #f\n;#"), ["a", ";", "e", ";"]);
    }

    #[test]
    fn quotes_take_everything_but_themselves() {
        assert_eq!(tokens("'a \"b\"; {#}' \"it's\";"), ["a \"b\"; {#}", "it's", ";"]);
        assert_eq!(tokens("\"a\nb\" c;"), ["a\nb", "c", ";"]);
        assert_eq!(tokens("'a'{'b' ;"), ["a", "{", "b", ";"]);
        assert_eq!(tokens("a \"\" '' b;"), ["a", "b", ";"]);
    }

    #[test]
    fn a_closing_quote_needs_an_end() {
        assert!(tokens("a 'b'c;").last().is_some_and(|last| last.contains("closing quote")));
        assert!(tokens("a 'b'}").last().is_some_and(|last| last.contains("closing quote")));
        assert!(tokens("a 'b;").last().is_some_and(|last| last.contains("never closed")));
    }

    #[test]
    fn a_byte_order_mark_and_foreign_bytes_are_tolerated() {
        assert_eq!(tokens("\u{feff}listen 1;"), ["listen", "1", ";"]);
        let mut lexer = Lexer::new(0, b"caf\xe9\xff;".as_slice().into());
        assert!(matches!(lexer.next(), Ok(Token::Word(word)) if word.text.starts_with("caf")));
    }

    #[test]
    fn words_know_their_line_and_whether_they_lead_it() {
        let mut lexer = Lexer::new(0, b"a b\n c 'x\ny' z\n{ d".as_slice().into());
        let mut words = Vec::new();
        while let Ok(token) = lexer.next() {
            match token {
                Token::Word(word) => words.push((word.text, word.span.line, word.leads)),
                Token::End => break,
                _ => {}
            }
        }
        let expected = [("a", 1, true), ("b", 1, false), ("c", 2, true), ("x\ny", 2, false), ("z", 3, false)];
        for (word, (text, line, leads)) in words.iter().zip(expected) {
            assert_eq!(*word, (text.to_owned(), line, leads));
        }
        assert_eq!(words.last(), Some(&("d".to_owned(), 4, true)));
    }
}
