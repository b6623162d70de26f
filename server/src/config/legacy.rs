//! Older and newer spellings SRS accepts, rewritten to those of SRS 5 before anything is checked. The
//! words keep their places, so that messages show what was written.

use super::lexer::Word;
use super::report::Problem;
use super::tree::{Files, Node};

/// One rewriting rule.
#[derive(Debug)]
pub struct Spelling {
    /// Path of the block it applies in, every one of that path; empty is the top of the file.
    pub scope: &'static str,
    /// What is written there, blocks and name joined by dots.
    pub from: &'static str,
    /// What it becomes in the same scope; none if it is dropped.
    pub to: Option<&'static str>,
    /// Whether SRS and we keep quiet about it.
    pub quiet: bool,
    how: How,
}

#[derive(Debug)]
enum How {
    /// As it stands.
    Move,
    /// Only if it is written with words and without a block; the new block is switched on.
    Words,
    /// `on` if the value is this text, else `off`.
    Equals(&'static str),
    /// Only if it is a block with nothing left in it.
    Shell,
}

/// Every rule, in the order they apply.
#[rustfmt::skip]
pub static SPELLINGS: &[Spelling] = &[
    quiet("", "http_stream", "http_server"),
    quiet("", "rtmp.listen", "listen"),
    quiet("", "rtmp.chunk_size", "chunk_size"),
    shell("", "rtmp"),
    drop_quietly("rtc_server", "perf_stat"),
    drop_quietly("rtc_server", "queue_length"),
    quiet("srt_server", "tlpkdrop", "tlpktdrop"),
    dropped("stream_caster", "tcp_enable"),
    dropped("stream_caster", "rtp_port_min"),
    dropped("stream_caster", "rtp_port_max"),
    dropped("stream_caster", "wait_keyframe"),
    dropped("stream_caster", "rtp_idle_timeout"),
    dropped("stream_caster", "audio_enable"),
    dropped("stream_caster", "auto_create_channel"),
    dropped("stream_caster.sip", "serial"),
    dropped("stream_caster.sip", "realm"),
    dropped("stream_caster.sip", "ack_timeout"),
    dropped("stream_caster.sip", "keepalive_timeout"),
    dropped("stream_caster.sip", "invite_port_fixed"),
    dropped("stream_caster.sip", "query_catalog_interval"),
    dropped("stream_caster.sip", "auto_play"),
    moved("stream_caster", "host", "sip.candidate"),
    moved("vhost", "http", "http_static"),
    drop_quietly("vhost.http_remux", "hstrs"),
    words("vhost", "refer", "refer.all"),
    words("vhost", "refer_play", "refer.play"),
    words("vhost", "refer_publish", "refer.publish"),
    moved("vhost", "mr.enabled", "publish.mr"),
    moved("vhost", "mr.latency", "publish.mr_latency"),
    shell("vhost", "mr"),
    moved("vhost", "publish_1stpkt_timeout", "publish.firstpkt_timeout"),
    moved("vhost", "publish_normal_timeout", "publish.normal_timeout"),
    moved("vhost", "time_jitter", "play.time_jitter"),
    moved("vhost", "mix_correct", "play.mix_correct"),
    moved("vhost", "atc", "play.atc"),
    moved("vhost", "atc_auto", "play.atc_auto"),
    moved("vhost", "mw_latency", "play.mw_latency"),
    moved("vhost", "gop_cache", "play.gop_cache"),
    moved("vhost", "gop_cache_max_frames", "play.gop_cache_max_frames"),
    moved("vhost", "queue_length", "play.queue_length"),
    moved("vhost", "send_min_interval", "play.send_min_interval"),
    moved("vhost", "reduce_sequence_header", "play.reduce_sequence_header"),
    words("vhost", "forward", "forward.destination"),
    moved("vhost", "mode", "cluster.mode"),
    moved("vhost", "origin", "cluster.origin"),
    moved("vhost", "token_traverse", "cluster.token_traverse"),
    moved("vhost", "vhost", "cluster.vhost"),
    moved("vhost", "debug_srs_upnode", "cluster.debug_srs_upnode"),
    moved("vhost", "nack.enabled", "rtc.nack"),
    moved("vhost", "nack.no_copy", "rtc.nack_no_copy"),
    shell("vhost", "nack"),
    moved("vhost", "twcc.enabled", "rtc.twcc"),
    shell("vhost", "twcc"),
    equals("vhost.rtc", "aac", "rtmp_to_rtc", "transcode"),
    equals("vhost.rtc", "bframe", "keep_bframe", "keep"),
];

/// Applies every rule; gives back the warnings.
pub(super) fn rewrite(nodes: &mut Vec<Node>, files: &Files) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for spelling in SPELLINGS {
        let scope: Vec<_> = spelling.scope.split('.').filter(|name| !name.is_empty()).collect();
        visit(nodes, &scope, &mut |block| spelling.apply(block, files, &mut warnings));
    }
    warnings
}

impl Spelling {
    /// Whether it only removes what the rules before it emptied.
    pub fn is_shell(&self) -> bool {
        matches!(self.how, How::Shell)
    }

    fn apply(&self, block: &mut Vec<Node>, files: &Files, warnings: &mut Vec<Problem>) {
        while let Some((at, mut node)) = self.take(block, self.from) {
            if !self.quiet {
                warnings.push(self.warning(&node, files));
            }
            let Some(to) = self.to else { continue };
            if let How::Equals(text) = self.how {
                let on = node.value().is_some_and(|word| word.text == text);
                node.args.truncate(1);
                node.args.iter_mut().for_each(|word| word.text = if on { "on" } else { "off" }.into());
            }
            let enabled = matches!(self.how, How::Words).then(|| switched_on(&node.name));
            match to.rsplit_once('.') {
                None => {
                    node.name.text = to.to_owned();
                    block.insert(at.min(block.len()), node);
                }
                Some((outer, name)) => {
                    let inner = open(block, outer, &node.name);
                    node.name.text = name.to_owned();
                    inner.push(node);
                    inner.extend(enabled.filter(|_| !inner.iter().any(|node| node.name.text == "enabled")));
                }
            }
        }
    }

    /// Takes the first match out of `block`, with the index of what it came from there.
    fn take(&self, block: &mut Vec<Node>, from: &str) -> Option<(usize, Node)> {
        if let Some((outer, rest)) = from.split_once('.') {
            let outers = block.iter_mut().enumerate().filter(|(_, node)| node.name.text == outer);
            return outers.filter_map(|(at, node)| Some((at, node.children.as_mut()?))).find_map(
                |(at, inner)| {
                    let (_, node) = self.take(inner, rest)?;
                    Some((at, node))
                },
            );
        }
        let at = block.iter().position(|node| {
            node.name.text == from
                && match self.how {
                    How::Move | How::Equals(_) => true,
                    How::Words => node.children.is_none(),
                    How::Shell => node.children.as_ref().is_some_and(Vec::is_empty),
                }
        })?;
        Some((at, block.remove(at)))
    }

    fn warning(&self, node: &Node, files: &Files) -> Problem {
        let name = self.from.replace('.', " { ") + &" }".repeat(self.from.matches('.').count());
        let place = files.place(node.name.span);
        match self.to {
            Some(to) => {
                let path = if self.scope.is_empty() { to.to_owned() } else { format!("{}.{to}", self.scope) };
                let to = path.replace('.', " { ") + &" }".repeat(path.matches('.').count());
                Problem::new(format!("`{name}` is an old spelling")).at(place).help(format!("write `{to}`"))
            }
            None => Problem::new(format!("`{name}` is an old directive without effect")).at(place),
        }
    }
}

/// Calls `act` for the inside of every block at the path `scope`.
fn visit(nodes: &mut Vec<Node>, scope: &[&str], act: &mut dyn FnMut(&mut Vec<Node>)) {
    match scope.split_first() {
        None => act(nodes),
        Some((name, rest)) => nodes
            .iter_mut()
            .filter(|node| node.name.text == *name)
            .filter_map(|node| node.children.as_mut())
            .for_each(|inner| visit(inner, rest, act)),
    }
}

/// The inside of the first block called `name`, made at the place of `origin` if there is none.
fn open<'a>(nodes: &'a mut Vec<Node>, name: &str, origin: &Word) -> &'a mut Vec<Node> {
    let at = nodes.iter().position(|node| node.name.text == name && node.children.is_some());
    let at = at.unwrap_or_else(|| {
        nodes.push(Node { name: renamed(origin, name), args: Vec::new(), children: None });
        nodes.len() - 1
    });
    nodes[at].children.get_or_insert_default()
}

fn switched_on(origin: &Word) -> Node {
    Node { name: renamed(origin, "enabled"), args: vec![renamed(origin, "on")], children: None }
}

fn renamed(word: &Word, text: &str) -> Word {
    Word { text: text.to_owned(), ..word.clone() }
}

const fn rule(
    scope: &'static str,
    from: &'static str,
    to: Option<&'static str>,
    quiet: bool,
    how: How,
) -> Spelling {
    Spelling { scope, from, to, quiet, how }
}

const fn moved(scope: &'static str, from: &'static str, to: &'static str) -> Spelling {
    rule(scope, from, Some(to), false, How::Move)
}

const fn quiet(scope: &'static str, from: &'static str, to: &'static str) -> Spelling {
    rule(scope, from, Some(to), true, How::Move)
}

const fn words(scope: &'static str, from: &'static str, to: &'static str) -> Spelling {
    rule(scope, from, Some(to), false, How::Words)
}

const fn equals(scope: &'static str, from: &'static str, to: &'static str, text: &'static str) -> Spelling {
    rule(scope, from, Some(to), false, How::Equals(text))
}

const fn dropped(scope: &'static str, from: &'static str) -> Spelling {
    rule(scope, from, None, false, How::Move)
}

const fn drop_quietly(scope: &'static str, from: &'static str) -> Spelling {
    rule(scope, from, None, true, How::Move)
}

const fn shell(scope: &'static str, from: &'static str) -> Spelling {
    rule(scope, from, None, true, How::Shell)
}

#[cfg(test)]
mod tests {
    use super::super::{directives, tree};
    use super::*;

    /// What `text` becomes, as one line, and how many warnings it gives.
    fn rewritten(text: &str) -> (String, usize) {
        let (mut nodes, files) =
            tree::parse("a", text.as_bytes(), &|_| Err(std::io::Error::other(""))).unwrap();
        let warnings = rewrite(&mut nodes, &files);
        (shape(&nodes), warnings.len())
    }

    fn shape(nodes: &[Node]) -> String {
        let one = |node: &Node| {
            let words: Vec<_> =
                std::iter::once(&node.name).chain(&node.args).map(|word| word.text.clone()).collect();
            match &node.children {
                Some(children) => format!("{} {{ {}}} ", words.join(" "), shape(children)),
                None => format!("{}; ", words.join(" ")),
            }
        };
        nodes.iter().map(one).collect()
    }

    #[test]
    fn every_rule_of_the_manual() {
        for (old, new, warnings) in [
            ("http_stream { listen 1; }", "http_server { listen 1; } ", 0),
            ("rtmp { listen 1; chunk_size 2; }", "listen 1; chunk_size 2; ", 0),
            ("srt_server { tlpkdrop on; }", "srt_server { tlpktdrop on; } ", 0),
            ("rtc_server { perf_stat on; dir x; }", "rtc_server { dir x; } ", 0),
            ("stream_caster { host h; tcp_enable on; }", "stream_caster { sip { candidate h; } } ", 2),
            ("vhost a { http { mount /; } }", "vhost a { http_static { mount /; } } ", 1),
            ("vhost a { mr { enabled on; latency 3; } }", "vhost a { publish { mr on; mr_latency 3; } } ", 2),
            (
                "vhost a { gop_cache off; play { atc on; } }",
                "vhost a { play { atc on; gop_cache off; } } ",
                1,
            ),
            ("vhost a { forward b c; }", "vhost a { forward { destination b c; enabled on; } } ", 1),
            ("vhost a { forward { enabled off; } }", "vhost a { forward { enabled off; } } ", 0),
            ("vhost a { refer b; refer_play c; }", "vhost a { refer { all b; enabled on; play c; } } ", 2),
            ("vhost a { mode remote; vhost b; }", "vhost a { cluster { mode remote; vhost b; } } ", 2),
            (
                "vhost a { nack { enabled on; no_copy off; } twcc { enabled on; } }",
                "vhost a { rtc { nack on; nack_no_copy off; twcc on; } } ",
                3,
            ),
            (
                "vhost a { rtc { aac transcode; bframe x; } }",
                "vhost a { rtc { rtmp_to_rtc on; keep_bframe off; } } ",
                2,
            ),
        ] {
            assert_eq!(rewritten(old), (new.to_owned(), warnings), "{old}");
        }
    }

    #[test]
    fn rules_lead_to_directives_that_exist() {
        for spelling in SPELLINGS {
            let path = |tail| {
                [spelling.scope, tail]
                    .iter()
                    .filter(|part| !part.is_empty())
                    .copied()
                    .collect::<Vec<_>>()
                    .join(".")
            };
            if let Some(to) = spelling.to {
                assert!(directives::find(&path(to)).is_some(), "{}", path(to));
            }
            if !matches!(spelling.how, How::Words) {
                assert!(directives::find(&path(spelling.from)).is_none(), "{}", path(spelling.from));
            }
        }
    }
}
