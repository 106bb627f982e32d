//! The tree's files, and Rust source with its comments and strings blanked out.

use std::path::{Path, PathBuf};

/// A text file of the tree.
pub(super) struct File {
    /// Path from the top of the tree, with `/`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
}

impl File {
    /// The text with comments and the content of literals replaced by blanks: line numbers stay.
    pub(super) fn code(&self) -> String {
        code_only(&self.text)
    }

    /// Whether the file holds tests only.
    pub(super) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
            || self.path.contains("tests/")
            || self.path.contains("/testing")
    }

    /// The code without the tests at the end of the file.
    pub(super) fn product_code(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        let code = self.code();
        match code.find("#[cfg(test)]\nmod ") {
            Some(at) => code[..at].to_owned(),
            None => code,
        }
    }
}

/// The top of the tree.
pub(super) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Directories of what programs make, which git leaves out as well.
const NOT_OURS: [&str; 6] = [".git", "target", ".cargo-home", "corpus", "artifacts", "coverage"];

/// Every text file of the tree, build output and git's own left out, sorted by path.
pub(super) fn files() -> Vec<File> {
    let mut paths = Vec::new();
    collect(top(), &mut paths);
    paths.sort();
    let files: Vec<File> = paths
        .into_iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok()?;
            let path = path.strip_prefix(top()).expect("a path below the top").to_str()?.to_owned();
            Some(File { path, text })
        })
        .collect();
    assert!(files.len() > 20, "the tree's files were not found below {}", top().display());
    files
}

/// Every file that ends in `.rs`.
pub(super) fn rust_files() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    let built = dir.join("CACHEDIR.TAG").exists() || (dir != top() && dir.join(".rustc_info.json").exists());
    if built {
        return;
    }
    for entry in std::fs::read_dir(dir).expect("a readable directory") {
        let entry = entry.expect("a readable entry");
        let name = entry.file_name();
        let kind = entry.file_type().expect("a known file type");
        if kind.is_dir() && !NOT_OURS.iter().any(|other| name == *other) {
            collect(&entry.path(), into);
        } else if kind.is_file() && name != ".git" {
            into.push(entry.path());
        }
    }
}

/// Fails with one line per finding.
#[track_caller]
pub(super) fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} finding(s):\n  {}", findings.len(), findings.join("\n  "));
}

/// The numbers of the lines (from 1) that contain `word` with no letter, digit or `_` beside it.
pub(super) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.lines()
        .enumerate()
        .filter(|(_, line)| {
            line.match_indices(word).any(|(at, _)| {
                let before = line[..at].chars().next_back().is_some_and(is_name);
                let after = line[at + word.len()..].chars().next().is_some_and(is_name);
                !(before && word.starts_with(is_name) || after && word.ends_with(is_name))
            })
        })
        .map(|(index, _)| index + 1)
        .collect()
}

/// Blanks comments and the content of string and character literals.
pub(super) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_end(bytes, at),
            b'"' => string_end(bytes, at + 1),
            b'r' if starts_raw(bytes, at) => raw_end(bytes, at + 1),
            b'\'' => match char_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("only whole literals and comments were blanked")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |length| at + length)
}

fn block_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut here) = (0, at);
    while here < bytes.len() {
        if bytes[here..].starts_with(b"/*") {
            depth += 1;
            here += 2;
        } else if bytes[here..].starts_with(b"*/") {
            depth -= 1;
            here += 2;
            if depth == 0 {
                return here;
            }
        } else {
            here += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn starts_raw(bytes: &[u8], at: usize) -> bool {
    let named =
        at > 0 && (bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'b' || bytes[at - 1] == b'_');
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    !named && bytes.get(at + 1 + hashes) == Some(&b'"')
}

fn raw_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at..].iter().take_while(|b| **b == b'#').count();
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let content = at + hashes + 1;
    bytes[content..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(bytes.len(), |length| content + length + close.len())
}

/// The end of a character literal; none for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        return bytes[at + 3..].iter().position(|b| *b == b'\'').map(|length| at + 4 + length);
    }
    let text = std::str::from_utf8(bytes.get(at + 1..bytes.len().min(at + 6))?).unwrap_or_else(|error| {
        std::str::from_utf8(&bytes[at + 1..at + 1 + error.valid_up_to()]).unwrap_or("")
    });
    let mut chars = text.char_indices();
    chars.next()?;
    let (second_at, second) = chars.next()?;
    (second == '\'').then_some(at + 1 + second_at + 1)
}

#[test]
fn comments_and_literals_are_blanked_and_code_stays() {
    let source = "let a = \"x // \\\" y\"; // unsafe\nlet c = '\"'; /* a /* b */ c */ fn f<'a>(s: &'a str) {}\n\
                  let r = r#\"in \"side\"#; let b = b'\\''; let u = 'é'; end";
    let code = code_only(source);
    assert_eq!(code.lines().count(), 3);
    assert_eq!(
        code.split_whitespace().collect::<Vec<_>>().join(" "),
        "let a = ; let c = ; fn f<'a>(s: &'a str) {} let r = ; let b = b ; let u = ; end"
    );
}
