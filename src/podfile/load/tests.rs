use std::fs;

use tempfile::TempDir;

use super::*;

struct NoWeb;

impl Fetch for NoWeb {
    fn get(&self, _: &str) -> Result<String, String> {
        Err("no web here".into())
    }
}

fn read(path: &Path) -> Loaded {
    let places = Places { cache: path.with_file_name("cache"), github: "https://github.com".into() };
    load(path, &places, &NoWeb).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_first_place_that_has_a_file_counts() {
    let dir = TempDir::new().unwrap();
    assert_eq!(locate(dir.path()), Ok(None));
    for location in LOCATIONS.iter().rev() {
        let path = dir.path().join(location);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "base: x\n").unwrap();
        assert_eq!(locate(dir.path()), Ok(Some(path)));
    }
    let dangling = TempDir::new().unwrap();
    std::os::unix::fs::symlink("nowhere", dangling.path().join("podfile.yaml")).unwrap();
    fs::write(dangling.path().join(".devcontainer.json"), "{}").unwrap();
    assert_eq!(
        locate(dangling.path()),
        Ok(Some(dangling.path().join("podfile.yaml"))),
        "a broken file hides the next one"
    );
}

#[test]
fn every_byte_of_a_podfile_that_stands_alone_counts() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("podfile.yaml");
    for text in ["base: x\n", "base: x\n# a word\n", "\u{feff}base: x"] {
        fs::write(&path, text).unwrap();
        assert_eq!(read(&path).canonical, text);
    }
}

#[test]
fn with_extends_the_values_count_and_not_the_words() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("podfile.yaml");
    let base = dir.path().join("base.yaml");
    fs::write(&base, "base: x\nenv: {B: b, A: a}\n").unwrap();
    fs::write(&path, "extends: base.yaml\npackages: [git]\n").unwrap();
    let canonical = read(&path).canonical;
    fs::write(&path, "# a word\npackages: ['git']\nextends: ./base.yaml\n").unwrap();
    fs::write(&base, "env: {A: a, B: b}\nbase: x\n").unwrap();
    assert_eq!(read(&path).canonical, canonical);
    fs::write(&base, "base: y\nenv: {A: a, B: b}\n").unwrap();
    assert_ne!(read(&path).canonical, canonical, "a changed base changes the image");
}

#[test]
fn the_same_file_gives_the_same_result_wherever_the_repository_lies() {
    let canonical = || {
        let dir = TempDir::new().unwrap();
        fs::write(
            dir.path().join("podfile.yaml"),
            "extends: minimal\nservices: [{name: a, image: b, volumes: ['d:/d']}]\n",
        )
        .unwrap();
        read(&dir.path().join("podfile.yaml")).canonical
    };
    assert_eq!(canonical(), canonical());
}
