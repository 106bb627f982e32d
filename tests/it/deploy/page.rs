//! A page's code blocks, read out of its Markdown.
//!
//! The words after a fence say what a block is for; no reader of the rendered page sees them. A block that this does not know
//! fails the test, so that no page shows what nobody has tried.

use std::fs;
use std::path::Path;

/// What a block is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// `sh`: root types it, in the checkout of the source.
    Root,
    /// `sh user`: somebody types it on a machine of their own.
    User,
    /// `text output`: what the block before it prints. `…` stands for any text within a line, or for any lines.
    Output,
}

/// One fenced block.
#[derive(Debug)]
pub struct Block {
    /// What it is for.
    pub kind: Kind,
    /// Heading above it.
    pub heading: String,
    /// Line of its fence.
    pub line: usize,
    /// What stands between the fences.
    pub text: String,
}

/// The blocks of a page in `docs`, in their order.
pub fn blocks(page: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut lines = text.lines().enumerate();
    let mut heading = String::new();
    let mut blocks = Vec::new();
    while let Some((at, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.to_owned();
        }
        let Some(words) = line.strip_prefix("```") else { continue };
        let kind = match words {
            "sh" => Kind::Root,
            "sh user" => Kind::User,
            "text output" => Kind::Output,
            other => panic!("{page}:{}: no test knows what to do with a block of `{other}`", at + 1),
        };
        let text: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        blocks.push(Block { kind, heading: heading.clone(), line: at + 1, text: text.join("\n") });
    }
    blocks
}

/// Whether output is what a page shows of it.
pub fn is_shown(shown: &str, output: &str) -> bool {
    let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let output: Vec<&str> = output.lines().map(str::trim_end).collect();
    lines_match(&shown, &output)
}

fn lines_match(shown: &[&str], output: &[&str]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((&"…", rest)) => (0..=output.len()).any(|skipped| lines_match(rest, &output[skipped..])),
        Some((first, rest)) => output
            .split_first()
            .is_some_and(|(line, more)| line_matches(first, line) && lines_match(rest, more)),
    }
}

fn line_matches(shown: &str, line: &str) -> bool {
    match shown.split_once('…') {
        None => shown == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

#[test]
fn what_a_page_shows_is_compared_line_by_line() {
    assert!(is_shown("a\nb", "a\nb\n"));
    assert!(is_shown("a\n…\nz", "a\nz"));
    assert!(is_shown("a\n…\nz", "a\nb\nc\nz"));
    assert!(is_shown("… passed, 0 warned", "33 passed, 0 warned"));
    assert!(is_shown("sarah  …  0", "sarah  x  0  0"));
    assert!(!is_shown("… passed, 0 warned", "33 passed, 1 warned"));
    assert!(!is_shown("a\n…\nz", "a\nb"));
    assert!(!is_shown("a", "a\nb"));
    assert!(!is_shown("a\nb", "a"));
}
