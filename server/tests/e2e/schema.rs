//! Shapes of JSON answers, written as text, and whether an answer has exactly the shape that it should: these keys in this order,
//! no others, and these types.
//!
//! A shape is `int`, `float`, `str`, `bool`, `null`, `'a text'`, `12`, `true` (just this), `[shape]`, `{name shape, …}`, or several of
//! them with `|` between. A name with `?` behind it may be absent.

use serde_json::Value;

/// Demands that `value` is of `shape`.
#[track_caller]
pub fn check(what: &str, value: &Value, shape: &str) {
    if let Err(wrong) = Shape::parse(shape).check(value, &mut String::new()) {
        panic!("{what}: {wrong}\nin {value:#}");
    }
}

/// All names in `shape`.
pub fn names(shape: &str) -> Vec<String> {
    let mut names = Vec::new();
    Shape::parse(shape).name(&mut names);
    names
}

/// Demands that JSON is written as SRS writes it: nothing between the tokens, and two decimals.
#[track_caller]
pub fn check_text(what: &str, json: &str) {
    assert!(is_well_written(json), "{what}: blanks, or not two decimals, in {json}");
}

fn is_well_written(json: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    let mut bare = String::new();
    for c in json.chars() {
        if !quoted && c != '"' {
            bare.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    let words = bare.split([',', ':', '[', ']', '{', '}']);
    let decimals = words.filter_map(|word| word.split_once('.')).map(|(_, decimals)| decimals.len());
    !bare.contains(char::is_whitespace) && decimals.into_iter().all(|count| count == 2)
}

#[derive(Debug)]
enum Shape {
    Int,
    Float,
    Text,
    Bool,
    Null,
    This(Value),
    List(Box<Self>),
    Object(Vec<Field>),
    Either(Vec<Self>),
}

#[derive(Debug)]
struct Field {
    name: String,
    may_be_absent: bool,
    shape: Shape,
}

impl Shape {
    fn parse(text: &str) -> Self {
        let mut rest = text;
        let shape = Self::read(&mut rest);
        assert_eq!(rest.trim(), "", "behind the shape");
        shape
    }

    fn read(text: &mut &str) -> Self {
        let first = Self::read_one(text);
        let mut all = vec![first];
        while take(text, "|") {
            all.push(Self::read_one(text));
        }
        if all.len() == 1 { all.remove(0) } else { Self::Either(all) }
    }

    fn read_one(text: &mut &str) -> Self {
        if take(text, "[") {
            let of = Self::read(text);
            assert!(take(text, "]"), "`]` is missing before {text:?}");
            return Self::List(Box::new(of));
        }
        if take(text, "{") {
            let mut fields = Vec::new();
            while !take(text, "}") {
                let name = word(text).trim_matches('"').to_owned();
                let may_be_absent = take(text, "?");
                fields.push(Field { name, may_be_absent, shape: Self::read(text) });
                take(text, ",");
            }
            return Self::Object(fields);
        }
        if take(text, "'") {
            let (literal, rest) = text.split_once('\'').unwrap();
            *text = rest;
            return Self::This(literal.into());
        }
        match word(text) {
            "int" => Self::Int,
            "float" => Self::Float,
            "str" => Self::Text,
            "bool" => Self::Bool,
            "null" => Self::Null,
            "true" => Self::This(true.into()),
            "false" => Self::This(false.into()),
            number => {
                Self::This(number.parse::<i64>().unwrap_or_else(|_| panic!("no shape {number:?}")).into())
            }
        }
    }

    fn name(&self, names: &mut Vec<String>) {
        match self {
            Self::List(shape) => shape.name(names),
            Self::Either(shapes) => shapes.iter().for_each(|shape| shape.name(names)),
            Self::Object(fields) => {
                for field in fields {
                    names.push(field.name.clone());
                    field.shape.name(names);
                }
            }
            _ => {}
        }
    }

    /// What is wrong, if something is.
    fn check(&self, value: &Value, at: &mut String) -> Result<(), String> {
        let fits = match (self, value) {
            (Self::Int, value) => value.is_i64() || value.is_u64(),
            (Self::Float, value) => value.is_f64(),
            (Self::Text, value) => value.is_string(),
            (Self::Bool, value) => value.is_boolean(),
            (Self::Null, value) => value.is_null(),
            (Self::This(this), value) => this == value,
            (Self::Either(shapes), value) => shapes.iter().any(|shape| shape.check(value, at).is_ok()),
            (Self::List(shape), Value::Array(all)) => {
                return all
                    .iter()
                    .enumerate()
                    .try_for_each(|(n, value)| within(at, &format!("[{n}]"), |at| shape.check(value, at)));
            }
            (Self::Object(fields), Value::Object(object)) => {
                let there = |field: &&Field| !field.may_be_absent || object.contains_key(&field.name);
                let want: Vec<_> = fields.iter().filter(there).map(|field| &field.name).collect();
                let have: Vec<_> = object.keys().collect();
                if have != want {
                    return Err(format!("the keys of {at:?} are {have:?}, not {want:?}"));
                }
                return fields.iter().filter(there).try_for_each(|field| {
                    within(at, &format!(".{}", field.name), |at| field.shape.check(&object[&field.name], at))
                });
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("{at:?} is {value}, not {self:?}")) }
    }
}

fn within(
    at: &mut String,
    part: &str,
    check: impl FnOnce(&mut String) -> Result<(), String>,
) -> Result<(), String> {
    let length = at.len();
    at.push_str(part);
    let checked = check(at);
    at.truncate(length);
    checked
}

/// Whether the next thing is this; then it is behind us.
fn take(text: &mut &str, this: &str) -> bool {
    match text.trim_start().strip_prefix(this) {
        Some(rest) => {
            *text = rest;
            true
        }
        None => false,
    }
}

fn word<'a>(text: &mut &'a str) -> &'a str {
    let trimmed = text.trim_start();
    let end = trimmed
        .find(|c: char| c.is_whitespace() || "?,|{}".contains(c) || (c == ']' && !trimmed.starts_with('"')));
    let (word, rest) = trimmed.split_at(end.unwrap_or(trimmed.len()));
    *text = rest;
    word
}

#[test]
fn shapes_are_strict() {
    let shape = "{a int, b? float|null, c [{d 'x'|'y', \"[e]\" bool}]}";
    let fits =
        |json: &str| Shape::parse(shape).check(&serde_json::from_str(json).unwrap(), &mut String::new());
    assert_eq!(fits(r#"{"a":1,"b":0.50,"c":[{"d":"x","[e]":true},{"d":"y","[e]":false}]}"#), Ok(()));
    assert_eq!(fits(r#"{"a":1,"c":[]}"#), Ok(()));
    assert_eq!(fits(r#"{"a":1,"b":null,"c":[]}"#), Ok(()));
    for wrong in [
        r#"{"a":1.00,"c":[]}"#,
        r#"{"a":1,"b":1,"c":[]}"#,
        r#"{"c":[],"a":1}"#,
        r#"{"a":1,"c":[],"d":1}"#,
        r#"{"a":1,"c":[{"d":"z","[e]":true}]}"#,
        r#"{"a":1,"c":[{"d":"x"}]}"#,
        r#"{"a":1,"c":{}}"#,
        r#"[]"#,
    ] {
        fits(wrong).unwrap_err();
    }
    assert!(is_well_written(r#"{"a":[0.02,-1.50,7],"b":"1.234 \" 5.6","c":12}"#));
    for wrong in [r#"{"a": 1}"#, r#"{"a":1.5}"#, r#"[1.234]"#, r#"{"a":"b","c":1.0}"#] {
        assert!(!is_well_written(wrong), "{wrong}");
    }
}
