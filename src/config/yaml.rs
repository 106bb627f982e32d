//! YAML with positions and budgets: text in, a tree out in which every key and value knows its line.
//!
//! Knows no key by name. What is found here is still untrusted: only its size and shape are bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use figment::value::{Dict, Value};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::names::printable;

/// Largest document that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Deepest nesting; the deepest key that exists is at 4.
const MAX_DEPTH: usize = 16;
/// Most values in one document, aliases followed.
const MAX_NODES: usize = 20_000;
/// Most aliases in one document.
const MAX_ALIASES: usize = 100;

/// Path of a key inside a document.
pub type KeyPath = Vec<String>;

/// One document: its values, and the line of every key, counted from 1.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// The values. Keys without a value (`key:` and nothing behind) are left out: they mean the default.
    pub values: Dict,
    /// Where each key stands.
    pub lines: BTreeMap<KeyPath, u64>,
    /// Keys and items of lists that have no value.
    pub nulls: BTreeSet<KeyPath>,
    /// What YAML takes for a number or a truth value, as it is written: `1.10`, `0755`.
    pub written: BTreeMap<KeyPath, String>,
}

/// Why a text is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The line, counted from 1, where it is known.
    pub line: Option<u64>,
    /// What is wrong, as a fragment.
    pub reason: String,
}

/// Reads one document. Time and memory are bounded by the size of `text` and the budgets above.
pub fn parse(text: &str) -> Result<Document, Malformed> {
    if text.len() > MAX_BYTES {
        return Err(Malformed { line: None, reason: format!("it is larger than {} KiB", MAX_BYTES / 1024) });
    }
    // A byte order mark is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree: Option<Spanned<Node>> =
        serde_yaml::from_str_with_options(text, options()).map_err(|error| malformed(&error))?;
    let mut document = Document::default();
    match tree.map(|tree| (tree.value, tree.referenced.line())) {
        None | Some((Node::Null, _)) => {}
        Some((Node::Map(entries), _)) => {
            document.values = Filling { text, document: &mut document }.dict(entries, &mut Vec::new());
        }
        Some((other, line)) => {
            let reason = format!("expected `key: value` lines, found {}", other.name());
            return Err(Malformed { line: Some(line), reason });
        }
    }
    Ok(document)
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_reader_input_bytes: Some(MAX_BYTES),
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_recorded_anchor_events: MAX_NODES,
            max_recorded_anchor_bytes: MAX_BYTES,
            max_merge_keys: MAX_ALIASES,
            max_documents: 1,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 8,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}

fn malformed(error: &serde_yaml::Error) -> Malformed {
    use serde_yaml::Error::{
        AliasError, AliasReplayCounterOverflow, AliasReplayLimitExceeded, AliasReplayStackDepthExceeded,
        Budget,
    };
    use serde_yaml::MessageFormatter;
    use serde_yaml::budget::BudgetBreach;

    let mut error = error;
    while let AliasError { error: inner, .. } = error {
        error = inner;
    }
    let place = error.location().filter(|place| place.line() > 0);
    let reason = match error {
        Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("it is nested deeper than {MAX_DEPTH} levels")
        }
        Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            "it holds more than one document (a second `---` line)".into()
        }
        AliasReplayCounterOverflow { .. }
        | AliasReplayLimitExceeded { .. }
        | AliasReplayStackDepthExceeded { .. }
        | Budget {
            breach:
                BudgetBreach::Aliases { .. }
                | BudgetBreach::Anchors { .. }
                | BudgetBreach::MergeKeys { .. }
                | BudgetBreach::RecordedAnchorEvents { .. }
                | BudgetBreach::RecordedAnchorBytes { .. }
                | BudgetBreach::AliasAnchorRatio { .. },
            ..
        } => "its aliases (`*name`) expand to too much".into(),
        Budget { .. } => format!("it has more than {MAX_NODES} values"),
        other => {
            let text = serde_yaml::UserMessageFormatter.format_message(other);
            let column = place.map_or(String::new(), |place| format!(" (column {})", place.column()));
            format!("{}{column}", printable(&text))
        }
    };
    Malformed { line: place.map(|place| place.line()), reason }
}

/// Builds the dictionary and notes what is known about each place.
struct Filling<'a> {
    text: &'a str,
    document: &'a mut Document,
}

impl Filling<'_> {
    fn dict(&mut self, entries: Vec<(Spanned<String>, Spanned<Node>)>, path: &mut KeyPath) -> Dict {
        let mut dict = Dict::new();
        for (key, node) in entries {
            path.push(key.value.clone());
            let line = [key.referenced.line(), node.referenced.line()].into_iter().find(|l| *l > 0);
            self.document.lines.insert(path.clone(), line.unwrap_or(0));
            if let Some(value) = self.value(node, path) {
                dict.insert(key.value, value);
            }
            path.pop();
        }
        dict
    }

    fn value(&mut self, node: Spanned<Node>, path: &mut KeyPath) -> Option<Value> {
        if matches!(node.value, Node::Bool(_) | Node::Unsigned(_) | Node::Signed(_) | Node::Float(_)) {
            // Behind an alias stands what its anchor names.
            let span = node.defined.span();
            let written = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
                let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
                self.text.get(start..start.checked_add(length)?)
            });
            self.document.written.extend(written.map(|text| (path.clone(), text.trim().to_owned())));
        }
        Some(match node.value {
            Node::Null => {
                self.document.nulls.insert(path.clone());
                return None;
            }
            Node::Bool(value) => value.into(),
            Node::Unsigned(value) => value.into(),
            Node::Signed(value) => value.into(),
            Node::Float(value) => value.into(),
            Node::Text(value) => value.into(),
            Node::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    path.push(index.to_string());
                    self.document.lines.insert(path.clone(), item.referenced.line());
                    list.extend(self.value(item, path));
                    path.pop();
                }
                list.into()
            }
            Node::Map(entries) => self.dict(entries, path).into(),
        })
    }
}

/// A value as YAML sees it.
#[derive(Debug)]
enum Node {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Unsigned(_) | Self::Signed(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "keys",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(u64::try_from(value).map_or(Node::Signed(value), Node::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Node::Map(entries))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Node, E> {
        Err(E::custom("the number is too large"))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Node, E> {
        Err(E::custom("the number is too large"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> (Option<u64>, String) {
        let bad = parse(text).expect_err(&text[..text.len().min(40)]);
        (bad.line, bad.reason)
    }

    #[test]
    fn every_key_and_item_knows_its_line() {
        let document = parse("a: 1\nb:\n  c: x\n  d:\n    - p\n    - q\n").unwrap();
        let line = |path: &[&str]| document.lines[&path.iter().map(|p| (*p).to_owned()).collect::<KeyPath>()];
        assert_eq!(line(&["a"]), 1);
        assert_eq!(line(&["b"]), 2, "the key's line, not its value's");
        assert_eq!(line(&["b", "c"]), 3);
        assert_eq!(line(&["b", "d", "1"]), 6);
    }

    #[test]
    fn what_yaml_takes_for_a_number_is_known_as_it_is_written() {
        let document = parse(
            "\u{feff}a: 1.10\nb: {c: 0755, d: \"5\"}\né: [true, ~, &x 0x1F ]\nf: *x # more\ng: -1.0e3\n",
        )
        .unwrap();
        let path = |path: &[&str]| path.iter().map(|p| (*p).to_owned()).collect::<KeyPath>();
        let written: BTreeMap<KeyPath, String> = [
            (path(&["a"]), "1.10"),
            (path(&["b", "c"]), "0755"),
            (path(&["é", "0"]), "true"),
            (path(&["é", "2"]), "0x1F"),
            (path(&["f"]), "0x1F"),
            (path(&["g"]), "-1.0e3"),
        ]
        .into_iter()
        .map(|(path, text)| (path, text.to_owned()))
        .collect();
        assert_eq!(document.written, written);
        assert_eq!(document.nulls, BTreeSet::from([path(&["é", "1"])]));
    }

    #[test]
    fn nothing_is_a_document_without_values() {
        for text in ["", "\n", "# only a comment\n", "---\n", "~\n", "\u{feff}"] {
            assert!(parse(text).unwrap().values.is_empty(), "{text:?}");
        }
        assert!(parse("a:\nb: ~\n").unwrap().values.is_empty(), "keys without a value are not set");
    }

    #[test]
    fn what_is_no_document_of_keys_is_refused_with_its_line() {
        for (text, line, expected) in [
            ("- a\n", 1, "expected `key: value` lines, found a list"),
            ("hello", 1, "expected `key: value` lines, found a text"),
            ("a: 1\n{{{", 2, ""),
            ("a: 'x\n", 1, "unclosed quote (column 4)"),
            ("a: b: c", 1, "mapping values are not allowed in this context (column 5)"),
            ("a: 1\na: 2\n", 2, "duplicate mapping key `a` is not allowed here (column 1)"),
            ("a: 1\n---\nb: 2\n", 2, "it holds more than one document (a second `---` line)"),
            ("a: *x\n", 1, "reference to unknown value (column 4)"),
            ("a: .nan\n", 1, "value `.nan` is not a finite number (column 4)"),
        ] {
            let (at, reason) = reason(text);
            assert_eq!(at, Some(line), "{text:?}: {reason}");
            assert!(expected.is_empty() || reason == expected, "{text:?}: {reason}");
        }
    }

    #[test]
    fn hostile_documents_are_refused_by_their_shape() {
        let nested_lines: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert_eq!(reason(&nested_lines).1, "it is nested deeper than 16 levels");
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"{a: ".repeat(100_000)).is_err());

        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let row = vec![format!("*a{}", level - 1); 9].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{row}]\n"));
        }
        assert_eq!(reason(&bomb).1, "its aliases (`*name`) expand to too much");
        let merges = format!("a: &a {{b: 1}}\nc: {{{}}}\n", vec!["<<: *a"; 50_000].join(", "));
        assert!(parse(&merges).is_err());

        assert_eq!(reason(&"- x\n".repeat(200_000)).1, "it has more than 20000 values");
        assert_eq!(reason(&format!("a: {}", "x".repeat(MAX_BYTES))).1, "it is larger than 1024 KiB");
    }

    #[test]
    fn a_message_never_carries_what_would_steer_a_terminal() {
        for text in [
            "a: \u{1b}[2J",
            "\u{1b}: 1\n\u{1b}: 2",
            "a: &\u{7} x\nb: *\u{7}",
            "\"\\e[2J\": 1\n\"\\e[2J\": 1\n",
        ] {
            if let Err(bad) = parse(text) {
                assert!(!bad.reason.contains(char::is_control), "{:?}", bad.reason);
            }
        }
    }
}
