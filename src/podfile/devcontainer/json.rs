//! JSON with comments and trailing commas, as a tree in which every value knows its line. Knows no key by name.

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::config::yaml::{MAX_BYTES, Malformed};
use crate::names::{printable, quoted};

/// Deepest nesting; the deepest value with a meaning is at 4.
const MAX_DEPTH: usize = 32;

/// A value and the line, counted from 1, where it or its key stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Json,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Object(Vec<(String, Node)>),
}

impl Json {
    /// What stands there, for "found …".
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Null => "`null`",
            Self::Bool(_) => "`true` or `false`",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Whether it says as much as if it were not there.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) => true,
            Self::Bool(true) | Self::Number(_) => false,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(entries) => entries.is_empty(),
        }
    }
}

/// Reads one document. Time, memory and stack are bounded.
pub(super) fn parse(text: &str) -> Result<Node, Malformed> {
    if text.len() > MAX_BYTES {
        return Err(Malformed { line: None, reason: format!("it is larger than {} KiB", MAX_BYTES / 1024) });
    }
    // A byte order mark is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Before the parser, which calls itself for each level.
    if let Some(line) = too_deep(text) {
        return Err(malformed(line, format!("it is nested deeper than {MAX_DEPTH} levels")));
    }
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| {
        let reason =
            format!("{} (column {})", lower_first(&error.kind().to_string()), error.column_display());
        malformed(error.line_display(), printable(&reason))
    })?;
    match parsed.value {
        Some(value) => Lines::new(text).node(value),
        None => Err(malformed(1, "it is empty: expected `{` and `}`".into())),
    }
}

fn malformed(line: usize, reason: String) -> Malformed {
    Malformed { line: u64::try_from(line).ok(), reason }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// The line where the nesting becomes too deep, if it does. Strings and comments do not count.
fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'/' if bytes[at..].starts_with(b"//") => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
            }
            b'/' if bytes[at..].starts_with(b"/*") => {
                let end = bytes[at + 2..].windows(2).position(|pair| pair == b"*/");
                at = end.map_or(bytes.len(), |length| at + 2 + length + 1);
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count());
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn of(&self, position: usize) -> usize {
        1 + self.0.partition_point(|start| *start <= position)
    }

    fn node(&self, value: Value<'_>) -> Result<Node, Malformed> {
        let line = self.of(value.range().start);
        let value = match value {
            Value::NullKeyword(_) => Json::Null,
            Value::BooleanLit(literal) => Json::Bool(literal.value),
            Value::NumberLit(literal) => Json::Number(literal.value.to_owned()),
            Value::StringLit(literal) => Json::Text(literal.value.into_owned()),
            Value::Array(array) => {
                Json::List(array.elements.into_iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(object) => {
                let mut entries: Vec<(String, Node)> = Vec::with_capacity(object.properties.len());
                let mut seen = std::collections::BTreeMap::new();
                for property in object.properties {
                    let line = self.of(property.range.start);
                    let name = match property.name {
                        ObjectPropName::String(literal) => literal.value.into_owned(),
                        ObjectPropName::Word(word) => word.value.to_owned(),
                    };
                    if let Some(first) = seen.insert(name.clone(), line) {
                        let reason =
                            format!("the key {} stands there twice, first on line {first}", quoted(&name));
                        return Err(malformed(line, reason));
                    }
                    let value = self.node(property.value)?.value;
                    entries.push((name, Node { line, value }));
                }
                Json::Object(entries)
            }
        };
        Ok(Node { line, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> (Option<u64>, String) {
        let Malformed { line, reason } = parse(text).expect_err(text);
        (line, reason)
    }

    #[test]
    fn comments_trailing_commas_and_a_byte_order_mark_are_passed_over() {
        let text = "\u{feff}// a\n{ /* { [ */ \"a\": [1, 2,],\n \"b\": \"// no comment\", // b\n}\n";
        let Json::Object(entries) = parse(text).unwrap().value else { panic!("an object") };
        assert_eq!(entries[0].0, "a");
        assert_eq!(entries[0].1.line, 2);
        assert_eq!(entries[1].1, Node { line: 3, value: Json::Text("// no comment".into()) });
    }

    #[test]
    fn what_is_no_json_is_told_with_its_line() {
        assert_eq!(reason(""), (Some(1), "it is empty: expected `{` and `}`".into()));
        assert_eq!(reason("{\n\"a\": 1\n\"b\": 2}").0, Some(2));
        assert_eq!(reason("{\n'a': 1}").0, Some(2));
        assert_eq!(reason("{a: 1}").0, Some(1));
        assert_eq!(reason("{\"a\": 0x10}").0, Some(1));
        assert_eq!(reason("{} {}").0, Some(1));
        assert_eq!(reason("{\"a\": /* ").0, Some(1));
        assert_eq!(
            reason("{\"a\": 1,\n\"a\": 2}"),
            (Some(2), "the key \"a\" stands there twice, first on line 1".into())
        );
    }

    #[test]
    fn depth_and_size_are_bounded_before_anything_is_parsed() {
        let deep =
            |open: &str, close: &str, levels| format!("{}{}", open.repeat(levels), close.repeat(levels));
        assert!(parse(&deep("[", "]", MAX_DEPTH)).is_ok());
        assert_eq!(
            reason(&deep("[\n", "]", MAX_DEPTH + 1)),
            (Some(33), "it is nested deeper than 32 levels".into())
        );
        assert_eq!(reason(&"[".repeat(MAX_BYTES)).1, "it is nested deeper than 32 levels");
        assert_eq!(reason(&"{\"a\":".repeat(100_000)).1, "it is nested deeper than 32 levels");
        assert_eq!(reason(&" ".repeat(MAX_BYTES + 1)).1, "it is larger than 1024 KiB");
        // Brackets in strings and comments are no levels.
        let text = format!("[\"{}\\\"{}\", /*{}*/ 1]", "[".repeat(99), "{".repeat(99), "[".repeat(99));
        assert!(parse(&text).is_ok());
    }
}
