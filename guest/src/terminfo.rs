//! Which terminal a process is told that it has: the client's where the image knows it.

use std::path::{Path, PathBuf};

/// Where images keep descriptions of terminals. The user's own come first, in [`directories`].
const DIRECTORIES: [&str; 4] = ["/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo"];

/// What is told instead of a terminal that the image does not know; the last is what programs take for a printer, and needs no
/// description.
const FALLBACKS: [&str; 2] = ["xterm-256color", "xterm"];
const LAST: &str = "dumb";

/// Longest name of a terminal.
const MAX_NAME: usize = 64;

/// The value of `TERM` for a client that calls its terminal `wanted`. An image without any description keeps the client's word:
/// its programs bring their own or need none.
pub(crate) fn term(wanted: &str, home: &Path) -> String {
    choose(wanted, &directories(home)).to_owned()
}

fn directories(home: &Path) -> Vec<PathBuf> {
    std::iter::once(home.join(".terminfo")).chain(DIRECTORIES.map(PathBuf::from)).collect()
}

fn choose<'a>(wanted: &'a str, directories: &[PathBuf]) -> &'a str {
    if wanted.is_empty() {
        return LAST;
    }
    let known = |name: &str| directories.iter().any(|directory| describes(directory, name));
    let sensible = is_name(wanted);
    if sensible && (known(wanted) || !directories.iter().any(|directory| is_database(directory))) {
        return wanted;
    }
    FALLBACKS.into_iter().find(|name| known(name)).unwrap_or(LAST)
}

/// A name can stand in a path and in a line: what else a client sends is not looked for.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._+".contains(c))
}

/// Both layouts: a directory named by the first letter, or by its code where file systems do not tell case.
fn describes(directory: &Path, name: &str) -> bool {
    let Some(first) = name.bytes().next() else { return false };
    [char::from(first).to_string(), format!("{first:x}")]
        .iter()
        .any(|letter| directory.join(letter).join(name).is_file())
}

/// Something is described there. Images without descriptions have the directories all the same.
fn is_database(directory: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| entry.file_name().len() <= 2 && entry.path().is_dir())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Directories with these files; gone with the value.
    struct Image(PathBuf);

    impl Image {
        fn with(name: &str, files: &[&str]) -> Self {
            let root = std::env::temp_dir().join(format!("podspawn-terminfo-{name}-{}", std::process::id()));
            std::fs::create_dir(&root).unwrap();
            std::fs::create_dir(root.join("etc")).unwrap();
            std::fs::write(root.join("etc/README"), "nothing here").unwrap();
            for file in files {
                let path = root.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
            Self(root)
        }

        fn choose<'a>(&self, wanted: &'a str) -> &'a str {
            choose(wanted, &["etc", "lib", "missing"].map(|name| self.0.join(name)))
        }
    }

    impl Drop for Image {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_the_image_knows_is_kept_in_both_layouts() {
        let image = Image::with("layouts", &["lib/x/xterm-kitty", "etc/76/vt100"]);
        assert_eq!(image.choose("xterm-kitty"), "xterm-kitty");
        assert_eq!(image.choose("vt100"), "vt100");
    }

    #[test]
    fn what_the_image_does_not_know_falls_back_to_what_it_does() {
        let full = Image::with("full", &["lib/x/xterm", "lib/x/xterm-256color"]);
        assert_eq!(full.choose("alacritty-direct"), "xterm-256color");
        let small = Image::with("small", &["lib/x/xterm"]);
        assert_eq!(small.choose("alacritty-direct"), "xterm");
        let odd = Image::with("odd", &["lib/l/linux"]);
        assert_eq!(odd.choose("alacritty-direct"), "dumb");
    }

    #[test]
    fn an_image_without_descriptions_keeps_the_clients_word() {
        let bare = Image::with("bare", &[]);
        assert_eq!(bare.choose("alacritty"), "alacritty");
        assert_eq!(bare.choose(""), "dumb");
    }

    #[test]
    fn a_name_that_is_none_is_never_looked_for() {
        let image = Image::with("names", &["lib/x/xterm", "lib/secret"]);
        for wanted in
            ["../lib/secret", "/etc/passwd", "x/xterm", "xterm\n", "-x", ".", "..", "xt erm", "\u{e9}"]
        {
            assert_eq!(image.choose(wanted), "xterm", "{wanted:?}");
        }
        assert_eq!(image.choose(&"x".repeat(MAX_NAME + 1)), "xterm");
        // Nor passed on where nothing is described.
        assert_eq!(Image::with("noname", &[]).choose("a\x1b[2J"), "dumb");
    }

    proptest! {
        #[test]
        fn whatever_is_chosen_is_a_name(wanted in any::<String>()) {
            prop_assert!(is_name(choose(&wanted, &[])));
        }
    }
}
