//! What a tree may hold: which names where, what is written twice or too much, and that nothing is asked
//! for that does not exist yet. Values are not read here, except to see whether they ask for something.

use std::collections::{HashMap, HashSet};

use super::directives::{Directive, Kind, Status, TABLE, child, children, inside};
use super::environment::Environment;
use super::lexer::Word;
use super::report::Problem;
use super::tree::{Files, Node, first};
use super::value::Value;

/// Every directive that is unknown, misplaced, or swallowed by one before it for want of a `;`.
pub(super) fn names(nodes: &[Node], files: &Files) -> Vec<Problem> {
    let mut problems = Vec::new();
    names_in(nodes, "", files, &mut problems);
    problems
}

/// What SRS tolerates and a reader should know: repetitions, words too many, blocks for values.
pub(super) fn oddities(nodes: &[Node], files: &Files) -> Vec<Problem> {
    let mut warnings = Vec::new();
    oddities_in(nodes, "", files, &mut warnings);
    warnings
}

/// The policy for what is not built: whoever asks for it is refused by name.
///
/// A block asks when its `enabled` is on; without an `enabled`, when something in it asks. A switch asks
/// when it is on and not by default, any other value when it differs from the default. What stands in a
/// block that is off asks for nothing, so that files written for SRS need little trimming. A default that
/// is on, written out, is a warning. Variables of the environment are judged in the same way.
pub(super) fn unbuilt(nodes: &[Node], files: &Files, env: &Environment) -> Verdict {
    let mut verdict = Verdict::default();
    unbuilt_in(nodes, "", files, env, &mut verdict);
    unbuilt_variables(files, env, &mut verdict);
    verdict
}

/// Variables that begin with `SRS_` and are nearly the name of one we know.
pub(super) fn misspelt_variables(env: &Environment) -> Vec<Problem> {
    let known: HashSet<_> = TABLE.iter().flat_map(Directive::variables).collect();
    let unknown = env.names("SRS_").filter(|name| !known.contains(*name) && !CONTROLS.contains(name));
    unknown
        .filter_map(|name| {
            let near = nearest(name, known.iter().map(String::as_str), 2)?;
            let problem = Problem::new(format!("the environment variable `{name}` is not known"));
            Some(problem.help(format!("did you mean `{near}`?")))
        })
        .collect()
}

/// What [`unbuilt`] finds.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// Variables that are no directive.
const CONTROLS: [&str; 6] =
    ["SRS_CONFIG_FILE", "SRS_ENV_ONLY", "SRS_DEVICE_IP", "SRS_PLATFORM", "SRS_REGION", "SRS_SOURCE"];
/// More places than this make a hint useless.
const MOST_PLACES: usize = 3;

fn names_in(nodes: &[Node], block: &str, files: &Files, problems: &mut Vec<Problem>) {
    for node in nodes {
        let Some(row) = child(block, &node.name.text) else {
            problems.push(unknown(&node.name, block, files));
            continue;
        };
        problems.extend(swallowed(node, block, files));
        if row.kind.is_block() && row.kind != Kind::Options {
            names_in(node.block(), row.path, files, problems);
        }
    }
}

fn unknown(name: &Word, block: &str, files: &Files) -> Problem {
    let text = &name.text;
    let place = if block.is_empty() { "here".to_owned() } else { format!("in `{}`", inside(block)) };
    let elsewhere: Vec<_> = TABLE.iter().filter(|row| row.name() == text).collect();
    if !elsewhere.is_empty() {
        let problem = Problem::new(format!("`{text}` does not belong {place}")).at(files.place(name.span));
        let homes = elsewhere.iter().map(|row| match row.parent() {
            "" => "at the top of the file".to_owned(),
            parent => format!("in `{}`", inside(parent)),
        });
        return if elsewhere.len() <= MOST_PLACES {
            problem.help(format!("`{text}` belongs {}", homes.collect::<Vec<_>>().join(" or ")))
        } else {
            problem
        };
    }
    let place = if block.is_empty() { String::new() } else { format!(" {place}") };
    let problem = Problem::new(format!("unknown directive `{text}`{place}")).at(files.place(name.span));
    let reach = (text.chars().count() / 3).clamp(1, 3);
    if let Some(near) = nearest(text, children(block).map(Directive::name), reach) {
        return problem.help(format!("did you mean `{near}`?"));
    }
    let near = nearest(text, TABLE.iter().map(Directive::name), reach);
    match near.and_then(|near| TABLE.iter().find(|row| row.name() == near)) {
        Some(row) if row.parent().is_empty() => {
            problem.help(format!("did you mean `{}`, at the top of the file?", row.name()))
        }
        Some(row) => problem.help(format!("did you mean `{}`, in `{}`?", row.name(), inside(row.parent()))),
        None => problem,
    }
}

/// The name within `reach` edits that is closest to `name`.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>, reach: usize) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A word of `node` that begins a line and is the name of a directive: the `;` before it is missing.
fn swallowed(node: &Node, block: &str, files: &Files) -> Option<Problem> {
    let at =
        node.args.iter().position(|word| word.leads && !word.quoted && child(block, &word.text).is_some())?;
    let before = if at == 0 { &node.name } else { &node.args[at - 1] };
    let (word, name) = (&node.args[at], &node.name.text);
    let problem = Problem::new(format!("missing `;` after `{}`", before.text)).at(files.place(before.span));
    Some(problem.help(format!(
        "without it, `{}` on line {} is one more word for `{name}`",
        word.text, word.span.line
    )))
}

fn oddities_in(nodes: &[Node], block: &str, files: &Files, warnings: &mut Vec<Problem>) {
    let mut seen = HashMap::new();
    for node in nodes {
        let Some(row) = child(block, &node.name.text) else { continue };
        warnings.extend(oddity(node, row, files));
        let vhost = if row.path == "vhost" { node.value().map(|word| word.text.as_str()) } else { None };
        if let Some(line) = seen.insert((row.path, vhost), node.name.span.line)
            && (!row.kind.repeats() || vhost.is_some())
        {
            seen.insert((row.path, vhost), line);
            let name = [Some(row.name()), vhost].into_iter().flatten().collect::<Vec<_>>().join(" ");
            let message = format!("`{name}` is repeated: the first, on line {line}, counts");
            warnings.push(Problem::new(message).at(files.place(node.name.span)));
        }
        if row.kind.is_block() && row.kind != Kind::Options {
            oddities_in(node.block(), row.path, files, warnings);
        }
    }
}

fn oddity(node: &Node, row: &Directive, files: &Files) -> Option<Problem> {
    let name = row.name();
    let at = |word: &Word, message: String| Some(Problem::new(message).at(files.place(word.span)));
    match (row.kind, &node.children, &node.args[..]) {
        (_, _, args) if args.iter().any(|word| word.text.contains('\u{fffd}')) => {
            at(&node.name, format!("`{name}` holds bytes that are not UTF-8; they are replaced"))
        }
        (Kind::Any | Kind::Options, _, _) => None,
        (kind, None, _) if kind.is_block() => {
            at(&node.name, format!("`{name}` is a block: without `{{ }}` it says nothing"))
        }
        (kind, Some(_), _) if !kind.is_block() => {
            at(&node.name, format!("`{name}` takes a value, the block after it is ignored"))
        }
        (Kind::Block, _, [first, ..]) => {
            at(first, format!("`{name}` takes no words before its block; ignored"))
        }
        (Kind::Blocks, _, []) if row.path == "vhost" => {
            at(&node.name, "a vhost without a name is never used".to_owned())
        }
        (Kind::Blocks, _, [first, extra, ..]) => {
            at(extra, format!("`{name}` takes one name: `{}` counts, the rest is ignored", first.text))
        }
        (kind, None, []) if !kind.is_list() => {
            let default = if row.default.is_empty() { "nothing" } else { row.default };
            at(&node.name, format!("`{name}` has no value: the default, {default}, counts"))
        }
        (kind, None, [first, extra, ..]) if !kind.is_list() => {
            at(extra, format!("`{name}` takes one value: `{}` counts, the rest is ignored", first.text))
        }
        _ => None,
    }
}

/// Whether the inside of a block counts.
enum Gate<'a> {
    /// There is an `enabled`, and it is off.
    Off,
    /// There is an `enabled`, and somebody turned it on.
    Asked(Value<'a>),
    /// There is no `enabled`, or it is on by default.
    Open,
}

fn gate<'a>(row: &Directive, nodes: &'a [Node], env: &'a Environment) -> Gate<'a> {
    let Some(switch) = child(row.path, "enabled") else { return Gate::Open };
    let value = Value::of(switch, nodes, env);
    match value.is_on() {
        false => Gate::Off,
        true if value.equals_default() => Gate::Open,
        true => Gate::Asked(value),
    }
}

fn unbuilt_in(nodes: &[Node], block: &str, files: &Files, env: &Environment, verdict: &mut Verdict) {
    for node in nodes {
        let Some(row) = child(block, &node.name.text) else { continue };
        let counts =
            row.kind.repeats() || first(nodes, row.name()).is_some_and(|first| std::ptr::eq(first, node));
        if !counts {
            continue;
        }
        let gate = if row.kind.is_block() { Some(gate(row, node.block(), env)) } else { None };
        match (row.status, gate) {
            (_, Some(Gate::Off)) => {}
            (Status::NoEffect, _) => {
                let problem = Problem::new(format!("`{}` has no effect", row.name()));
                verdict.warnings.push(problem.at(files.place(node.name.span)));
            }
            // A variable that asks is refused as a variable, once, below.
            (Status::NotBuilt(_), Some(Gate::Asked(switch))) if switch.is_variable() => {}
            (Status::NotBuilt(feature), Some(Gate::Asked(switch))) => {
                let problem = switch.problem(files, 0, refusal(row.name(), feature));
                verdict.problems.push(problem.help("remove the block or write `enabled off;`"));
            }
            (_, Some(_)) => unbuilt_in(node.block(), row.path, files, env, verdict),
            (Status::NotBuilt(feature), None) => {
                let value = Value::of(row, std::slice::from_ref(node), env);
                if !value.is_variable() && !value.is_default() {
                    judge(&value, feature, files, verdict);
                }
            }
            (Status::Built, None) => {}
        }
    }
}

fn unbuilt_variables(files: &Files, env: &Environment, verdict: &mut Verdict) {
    for row in TABLE.iter().filter(|row| row.status != Status::Built) {
        let Some(value) = Value::of_environment(row, env) else { continue };
        let switch = child(row.parent(), "enabled");
        match row.status {
            // In a block that must be switched on first, the switch is what asks.
            _ if row.name() != "enabled"
                && switch.is_some_and(|switch| switch.status != Status::Built && switch.default == "off") => {
            }
            Status::NotBuilt(feature) => judge(&value, feature, files, verdict),
            _ => verdict.warnings.push(value.problem(files, 0, format!("`{}` has no effect", row.name()))),
        }
    }
}

/// Judges one value; `enabled` speaks for its block.
fn judge(value: &Value, feature: &str, files: &Files, verdict: &mut Verdict) {
    let is_switch = value.row.kind.is_switch();
    let name = value.row.path.strip_suffix(".enabled").unwrap_or(value.row.path);
    let name = name.rsplit('.').next().unwrap_or(name);
    match value.equals_default() {
        true if is_switch && value.is_on() => {
            let message = format!("`{name}` has no effect: {feature} is not built yet");
            verdict.warnings.push(value.problem(files, 0, message));
        }
        false if is_switch && value.is_on() => {
            let problem = value.problem(files, 0, refusal(name, feature));
            let off = if value.is_variable() { "unset it" } else { "write `off`, or remove it" };
            verdict.problems.push(problem.help(off));
        }
        false if !is_switch => verdict.problems.push(value.problem(files, 0, refusal(name, feature))),
        _ => {}
    }
}

fn refusal(name: &str, feature: &str) -> String {
    format!("`{name}` is not built yet ({feature})")
}
