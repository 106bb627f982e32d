//! Tests of what is copied, and how it is owned.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

fn account() -> Account {
    Account { name: "ann".into(), uid: 1234, gid: 1235, home: "/home/ann".into(), shell: "/bin/sh".into() }
}

fn copy(source: &Path, target: &str) -> CopySpec {
    CopySpec { source: source.into(), with_git: false, target: target.into() }
}

/// Every entry of all pieces: path → kind, mode, link or content.
fn entries(tree: &mut Tree) -> BTreeMap<String, (tar::EntryType, u32, String)> {
    let mut found = BTreeMap::new();
    while let Some(piece) = tree.next_piece().unwrap() {
        for entry in tar::Archive::new(&piece[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (1234, 1235));
            let path = entry.path().unwrap().display().to_string();
            let content = match entry.link_name().unwrap() {
                Some(link) => link.display().to_string(),
                None => {
                    let mut text = String::new();
                    entry.read_to_string(&mut text).unwrap();
                    text
                }
            };
            let before = found.insert(path, (header.entry_type(), header.mode().unwrap(), content));
            assert_eq!(before, None, "once");
        }
    }
    found
}

#[test]
fn links_stay_links_git_stays_out_and_sockets_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for directory in [".git", "sub/.git", "sub/deep"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (path, text) in [("a", "A"), (".git/config", "x"), ("sub/.git/config", "y"), ("sub/deep/b", "B")] {
        std::fs::write(root.join(path), text).unwrap();
    }
    std::fs::set_permissions(root.join("a"), std::fs::Permissions::from_mode(0o750)).unwrap();
    symlink("/etc/shadow", root.join("leak")).unwrap();
    symlink("/etc", root.join("sub/etc")).unwrap();
    let _socket = UnixListener::bind(root.join("sock")).unwrap();

    let mut tree = Tree::open(&copy(root, "/workspace/app"), &account()).unwrap();
    let found = entries(&mut tree);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let below =
        ["", "/a", "/leak", "/sub", "/sub/.git", "/sub/.git/config", "/sub/deep", "/sub/deep/b", "/sub/etc"];
    assert_eq!(names, below.map(|name| format!("workspace/app{name}")));
    assert_eq!(found["workspace/app/a"], (tar::EntryType::Regular, 0o750, "A".into()));
    let link = &found["workspace/app/leak"];
    assert_eq!((link.0, link.2.as_str()), (tar::EntryType::Symlink, "/etc/shadow"));
    assert_eq!(found["workspace/app/sub/etc"].0, tar::EntryType::Symlink);
    assert_eq!(tree.warnings(), ["`sock` is not copied: it is a socket"]);
}

#[test]
fn a_large_tree_comes_in_pieces_and_long_names_survive() {
    let dir = tempfile::tempdir().unwrap();
    let long = "n".repeat(200);
    for number in 0..3 {
        std::fs::write(dir.path().join(format!("{long}{number}")), vec![b'x'; PIECE / 2 + 1]).unwrap();
    }
    let mut tree = Tree::open(&copy(dir.path(), "/w"), &account()).unwrap();
    let mut pieces = 0;
    let mut names = Vec::new();
    while let Some(piece) = tree.next_piece().unwrap() {
        pieces += 1;
        let mut archive = tar::Archive::new(&piece[..]);
        names.extend(archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()));
    }
    assert_eq!((pieces, names.len()), (2, 4));
    assert_eq!(names[3], Path::new(&format!("w/{long}2")));
}

#[test]
fn a_target_that_is_no_directory_below_the_root_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for target in ["", "/", "relative", "/a/../../etc"] {
        let refused = Tree::open(&copy(dir.path(), target), &account());
        assert!(matches!(refused, Err(SessionError::Impossible(_))), "{target}");
    }
    let missing = Tree::open(&copy(&dir.path().join("none"), "/w"), &account());
    assert!(matches!(missing, Err(SessionError::Prepare { .. })));
}

#[test]
fn a_file_beyond_the_limit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("huge.img")).unwrap();
    file.set_len(LARGEST + 1).unwrap();
    let mut tree = Tree::open(&copy(dir.path(), "/w"), &account()).unwrap();
    let error = tree.next_piece().unwrap_err();
    assert!(error.to_string().contains("huge.img") && error.to_string().contains("512 MB"), "{error}");
}
