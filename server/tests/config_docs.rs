//! The samples in `conf/` load, and the table of directives, `conf/full.conf` and `docs/ref/config.md` agree.
//! `UPDATE_DOCS=1` writes the last two instead of comparing them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use server::config::directives::{self, Directive, Kind, Reload, Status, TABLE};
use server::config::legacy::{SPELLINGS, Spelling};
use server::config::tree::{self, Node};
use server::config::{Config, Environment, Source};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn samples() -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(repository("conf")).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    paths
}

#[test]
fn every_sample_loads_without_a_word() {
    let mut loaded = 0;
    for path in samples() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let result = Config::load(&Source::File(path.clone()), &Environment::default());
        match name {
            "full.conf" | "include.vhost.conf" => assert!(result.is_err(), "{name} is no configuration"),
            _ => {
                let config = result.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(
                    config.warnings.is_empty(),
                    name != "compatible.conf",
                    "{name}: {:#?}",
                    config.warnings
                );
                loaded += 1;
            }
        }
    }
    assert!(loaded >= 11, "only {loaded} samples");
}

#[test]
fn the_sample_with_an_include_has_the_vhost_of_the_other_file() {
    let config =
        Config::load(&Source::File(repository("conf/include.conf")), &Environment::default()).unwrap();
    assert!(config.vhost("include.example.com").unwrap().http_remux.is_some());
}

#[test]
fn full_conf_is_refused_for_what_it_is_and_for_what_is_not_built() {
    let error =
        Config::load(&Source::File(repository("conf/full.conf")), &Environment::default()).unwrap_err();
    let messages: Vec<_> = error.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(messages.iter().any(|message| message.contains("`is_full`")), "{messages:#?}");
    for message in messages {
        assert!(message.contains("is_full") || message.contains("not built yet"), "{message}");
    }
}

#[test]
fn full_conf_has_every_directive_with_its_default() {
    let path = repository("conf/full.conf");
    let text = std::fs::read(&path).unwrap();
    let (nodes, _) = tree::parse(path.to_str().unwrap(), &text, &|path| std::fs::read(path)).unwrap();
    let mut found = BTreeSet::from(["include".to_owned()]);
    collect(&nodes, "", &mut found);
    let known: BTreeSet<_> = TABLE.iter().map(|row| row.path.to_owned()).collect();
    assert_eq!(found, known);
}

fn collect(nodes: &[Node], block: &str, found: &mut BTreeSet<String>) {
    for node in nodes {
        let row = directives::child(block, &node.name.text).unwrap_or_else(|| panic!("{}", node.name.text));
        let words: Vec<_> = node.args.iter().map(|word| word.text.as_str()).collect();
        // The file included at the end has values of its own.
        if found.insert(row.path.to_owned()) && !row.kind.is_block() {
            assert_eq!(words.join(" "), row.sample, "{}", row.path);
        }
        collect(node.block(), row.path, found);
    }
}

#[test]
fn full_conf_is_written_from_the_table() {
    compare("conf/full.conf", &full_conf());
}

#[test]
fn the_reference_is_written_from_the_table() {
    let text = std::fs::read_to_string(repository("docs/ref/config.md")).unwrap();
    let prose_end = text.find(MARK).expect("the mark between prose and tables") + MARK.len();
    compare("docs/ref/config.md", &format!("{}\n{}", &text[..prose_end], reference()));
}

const MARK: &str =
    "<!-- Below this line: written by `UPDATE_DOCS=1 cargo test -p server --test config_docs`. -->";

fn compare(path: &str, expected: &str) {
    let file = repository(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let actual = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        actual == expected,
        "{path} is out of date: run UPDATE_DOCS=1 cargo test -p server --test config_docs"
    );
}

fn full_conf() -> String {
    let mut text = "\
# Every directive, with its default or an example where there is none. This is a list to look things up in;
# the server refuses to start with it (`is_full on`). Written from the table in the source, do not edit.
"
    .to_owned();
    let mut open: Vec<&Directive> = Vec::new();
    for row in TABLE {
        while open.last().is_some_and(|block| block.path != row.parent()) {
            open.pop();
            let _ = writeln!(text, "{}}}", "    ".repeat(open.len()));
        }
        let indent = "    ".repeat(open.len());
        if !text.ends_with("{\n") {
            text.push('\n');
        }
        for line in wrap(&capitalized(&format!("{}.", effect(row).replace('`', "'"))), 106 - indent.len()) {
            let _ = writeln!(text, "{indent}# {line}");
        }
        let _ = writeln!(text, "{indent}# {}", facts(row));
        let _ = match row.kind {
            Kind::Options => writeln!(text, "{indent}{} {{\n{indent}}}", row.name()),
            Kind::Blocks | Kind::Block => {
                open.push(row);
                let name = if row.path == "vhost" { " __defaultVhost__" } else { "" };
                writeln!(text, "{indent}{}{name} {{", row.name())
            }
            _ => writeln!(text, "{indent}{} {};", row.name(), quoted(row.sample)),
        };
    }
    while open.pop().is_some() {
        let _ = writeln!(text, "{}}}", "    ".repeat(open.len()));
    }
    text
}

/// Type, default, variable and status in one line.
fn facts(row: &Directive) -> String {
    let mut parts = vec![type_name(row.kind).to_owned()];
    if !row.kind.is_block() {
        parts.push(format!("default {}", if row.default.is_empty() { "none" } else { row.default }));
    }
    parts.extend(row.variables().into_iter().take(1));
    if row.status != Status::Built {
        parts.push(status(row).to_owned());
    }
    format!("[{}]", parts.join("; "))
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A value as it must be written: in quotes if it starts like a comment.
fn quoted(sample: &str) -> String {
    if sample.starts_with('#') { format!("\"{sample}\"") } else { sample.to_owned() }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.len() + word.len() >= width {
            lines.push(word.to_owned());
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

fn reference() -> String {
    let mut text = "\n## Global directives\n".to_owned();
    table(&mut text, "");
    for block in TABLE.iter().filter(|row| row.kind.is_block() && row.kind != Kind::Options) {
        let _ = write!(text, "\n## `{}`\n\n{}.", directives::inside(block.path), effect(block));
        let note = match block.status {
            Status::Built => String::new(),
            Status::NotBuilt(_) => " **Not built yet.**".to_owned(),
            Status::NoEffect => " **No effect.**".to_owned(),
        };
        let _ = writeln!(text, "{note}");
        table(&mut text, block.path);
    }
    text.push_str(
        "\n## Other spellings\n\nThese are accepted and mean the same, most of them with a warning.\n\n",
    );
    text.push_str("| in | written | means | warning |\n|---|---|---|---|\n");
    for spelling in SPELLINGS.iter().filter(|spelling| !spelling.is_shell()) {
        let Spelling { scope, from, to, quiet, .. } = spelling;
        let scope = if scope.is_empty() { "the top".to_owned() } else { format!("`{scope}`") };
        let to = to.map_or("nothing".to_owned(), |to| format!("`{to}`"));
        let _ = writeln!(text, "| {scope} | `{from}` | {to} | {} |", if *quiet { "no" } else { "yes" });
    }
    text
}

fn table(text: &mut String, block: &str) {
    let rows = || {
        TABLE
            .iter()
            .filter(|row| row.parent() == block && (!row.kind.is_block() || row.kind == Kind::Options))
    };
    if rows().next().is_none() {
        return;
    }
    text.push_str("\n| directive | type | default | variable | reload | status | effect |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for row in rows() {
        let code = |text: &str| if text.is_empty() { "—".to_owned() } else { format!("`{text}`") };
        let variables: Vec<_> = row.variables().iter().map(|variable| code(variable)).collect();
        let variables = if variables.is_empty() { "—".to_owned() } else { variables.join(", ") };
        let reload = match row.reload {
            Reload::No => "no",
            Reload::Live => "live",
            Reload::Push => "push",
        };
        let (name, kind, default) = (row.name(), type_name(row.kind), code(row.default));
        let (status, effect) = (status(row), effect(row));
        let _ = writeln!(
            text,
            "| `{name}` | {kind} | {default} | {variables} | {reload} | {status} | {effect} |"
        );
    }
}

fn effect(row: &Directive) -> String {
    match row.since {
        "5.0" => row.about.to_owned(),
        "ours" => format!("{} (not in SRS)", row.about),
        since => format!("{} (since SRS {since})", row.about),
    }
}

fn status(row: &Directive) -> &'static str {
    match row.status {
        Status::Built => "works",
        Status::NotBuilt(_) => "not built yet",
        Status::NoEffect => "no effect",
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Block | Kind::Blocks => "block",
        Kind::Options => "block of options",
        Kind::On => "switch, on",
        Kind::NotOff => "switch, not off",
        Kind::Int => "whole number",
        Kind::Float => "number",
        Kind::IntS => "whole seconds",
        Kind::FloatS => "seconds",
        Kind::IntMs => "whole milliseconds",
        Kind::FloatMs => "milliseconds",
        Kind::Text => "text",
        Kind::Path => "path",
        Kind::Words => "words",
        Kind::Lines => "words, repeatable",
        Kind::Endpoint => "endpoint",
        Kind::Endpoints => "endpoints",
        Kind::Any => "anything",
    }
}
