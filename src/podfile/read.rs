//! A place in a YAML document, and how what stands there is read: every error names file, line, key, what was expected and
//! what was found.

use std::path::PathBuf;
use std::sync::Arc;

use figment::value::Value;

use super::error::PodfileError;
use super::fields::{self, Field};
use super::layer::{At, Place};
use crate::config::yaml::{Document, KeyPath};
use crate::names::{printable, quoted};

/// A value of a document and the way to it.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    file: &'a Arc<PathBuf>,
    document: &'a Document,
    path: KeyPath,
    value: &'a Value,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a Arc<PathBuf>, document: &'a Document, key: &str, value: &'a Value) -> Self {
        Self { file, document, path: vec![key.to_owned()], value }
    }

    pub(super) fn place(&self) -> Place {
        place(self.file, self.document, &self.path)
    }

    /// An error that says what belongs here.
    pub(super) fn expected(&self, expected: &str) -> PodfileError {
        self.place().wrong(format!("expected {expected}, found {}", self.found()))
    }

    fn written(&self) -> Option<&str> {
        self.document.written.get(&self.path).map(String::as_str)
    }

    fn found(&self) -> String {
        match (self.value, self.written()) {
            (Value::String(_, text), _) => format!("the text {}", quoted(text)),
            (Value::Char(_, c), _) => format!("the text {}", quoted(&c.to_string())),
            (Value::Bool(..), Some(text)) => format!("`{}`", printable(text)),
            (Value::Num(..), Some(text)) => format!("the number {}", printable(text)),
            (Value::Bool(..), None) => "true or false".into(),
            (Value::Num(..), None) => "a number".into(),
            (Value::Empty(..), _) => "nothing".into(),
            (Value::Dict(..), _) => "keys below it".into(),
            (Value::Array(..), _) => "a list".into(),
        }
    }

    /// A text of at most `most` bytes.
    pub(super) fn text(&self, expected: &str, most: usize) -> Result<At<String>, PodfileError> {
        let text = match self.value {
            Value::String(_, text) => text.clone(),
            Value::Char(_, c) => c.to_string(),
            Value::Num(..) | Value::Bool(..) => {
                let quotes = "; put it between quotes if it is meant as text";
                let reason = format!("expected {expected}, found {}{quotes}", self.found());
                return Err(self.place().wrong(reason));
            }
            _ => return Err(self.expected(expected)),
        };
        self.limited(text, most)
    }

    /// A text, or what YAML takes for a number or truth value and is meant as it is written.
    pub(super) fn scalar(&self, expected: &str, most: usize) -> Result<At<String>, PodfileError> {
        match (self.value, self.written()) {
            (Value::Num(..) | Value::Bool(..), Some(written)) => self.limited(written.to_owned(), most),
            _ => self.text(expected, most),
        }
    }

    fn limited(&self, value: String, most: usize) -> Result<At<String>, PodfileError> {
        if value.len() > most {
            let reason = format!("it has {} bytes, at most {most} are allowed", value.len());
            return Err(self.place().wrong(reason));
        }
        Ok(At { value, place: self.place() })
    }

    /// A number.
    pub(super) fn number(&self, expected: &str) -> Result<At<f64>, PodfileError> {
        let number = match self.value {
            Value::Num(_, number) => {
                number.to_f64().or(number.to_u128().map(|n| n as f64)).or(number.to_i128().map(|n| n as f64))
            }
            _ => None,
        };
        let value = number.filter(|number| number.is_finite()).ok_or_else(|| self.expected(expected))?;
        Ok(At { value, place: self.place() })
    }

    /// A TCP port.
    pub(super) fn port(&self) -> Result<At<u16>, PodfileError> {
        let number = match self.value {
            Value::Num(_, number) => number.to_u128(),
            _ => None,
        };
        let port = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
        let value = port.ok_or_else(|| self.expected("a port (a whole number, 1-65535)"))?;
        Ok(At { value, place: self.place() })
    }

    /// The items of a list, at most `most`.
    pub(super) fn items(&self, expected: &str, most: usize) -> Result<Vec<Self>, PodfileError> {
        let Value::Array(_, items) = self.value else { return Err(self.expected(expected)) };
        // Items without a value are not among the values, and would move those behind them.
        let empty =
            self.document.nulls.range(self.path.clone()..).take_while(|path| path.starts_with(&self.path));
        if let Some(path) = empty.into_iter().find(|path| path.len() == self.path.len() + 1) {
            let reason =
                "this item has no value: put an item that begins with `!` between quotes, or remove the line";
            return Err(place(self.file, self.document, path).wrong(reason));
        }
        if items.len() > most {
            let reason = format!("it has {} items, at most {most} are allowed", items.len());
            return Err(self.place().wrong(reason));
        }
        Ok(items.iter().enumerate().map(|(index, value)| self.below(&index.to_string(), value)).collect())
    }

    fn below(&self, key: &str, value: &'a Value) -> Self {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        Self { path, value, ..*self }
    }

    /// Whether it holds keys.
    pub(super) fn is_keys(&self) -> bool {
        matches!(self.value, Value::Dict(..))
    }

    /// Names that a person chose, at most `most`, with what stands there.
    pub(super) fn entries(&self, expected: &str, most: usize) -> Result<Vec<(String, Self)>, PodfileError> {
        let Value::Dict(_, dict) = self.value else { return Err(self.expected(expected)) };
        let empty =
            self.document.nulls.range(self.path.clone()..).take_while(|path| path.starts_with(&self.path));
        if let Some(path) = empty.into_iter().find(|path| path.len() == self.path.len() + 1) {
            return Err(
                place(self.file, self.document, path).wrong("it has no value: write \"\" for an empty text")
            );
        }
        if dict.len() > most {
            let reason = format!("it has {} entries, at most {most} are allowed", dict.len());
            return Err(self.place().wrong(reason));
        }
        Ok(dict.iter().map(|(key, value)| (key.clone(), self.below(key, value))).collect())
    }

    /// What stands behind the fields that may stand here. Those without a value are left out; others than these are errors.
    pub(super) fn fields(
        &self,
        fields: &[Field],
        expected: &str,
    ) -> Result<Vec<(&'static str, Self)>, PodfileError> {
        let Value::Dict(_, dict) = self.value else { return Err(self.expected(expected)) };
        let whole = self.place().key;
        for path in
            self.document.nulls.range(self.path.clone()..).take_while(|path| path.starts_with(&self.path))
        {
            if let Some(name) = path.get(self.path.len()).filter(|_| path.len() == self.path.len() + 1) {
                known(self.file, self.document, path, name, &format!("{whole}."), fields)?;
            }
        }
        dict.iter()
            .map(|(name, value)| {
                let below = self.below(name, value);
                let field = known(self.file, self.document, &below.path, name, &format!("{whole}."), fields)?;
                Ok((field.name, below))
            })
            .collect()
    }
}

/// Where a key stands.
pub(super) fn place(file: &Arc<PathBuf>, document: &Document, path: &KeyPath) -> Place {
    let line = document.lines.get(path).copied().filter(|line| *line > 0);
    let key = path.iter().map(|part| shortened(part)).collect::<Vec<_>>().join(".");
    Place { file: Arc::clone(file), line, key }
}

/// A key as it is shown: neutralised, and not longer than anybody wants to read.
fn shortened(key: &str) -> String {
    match key.char_indices().nth(64) {
        Some((at, _)) => format!("{}…", printable(&key[..at])),
        None => printable(key),
    }
}

/// The field of this name.
pub(super) fn known(
    file: &Arc<PathBuf>,
    document: &Document,
    path: &KeyPath,
    name: &str,
    above: &str,
    fields: &[Field],
) -> Result<Field, PodfileError> {
    fields.iter().find(|field| field.name == name).copied().ok_or_else(|| {
        let at = place(file, document, path);
        PodfileError::UnknownKey { place: at.shown(), key: at.key, guess: fields::guess(name, above, fields) }
    })
}
