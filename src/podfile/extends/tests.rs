use std::cell::RefCell;
use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::podfile::{Loaded, load};

/// A repository, a cache and a web of its own.
struct Place {
    dir: TempDir,
    web: BTreeMap<String, String>,
    asked: RefCell<Vec<String>>,
}

impl Fetch for Place {
    fn get(&self, url: &str) -> Result<String, String> {
        self.asked.borrow_mut().push(url.to_owned());
        self.web.get(url).cloned().ok_or_else(|| "there is no such file".to_owned())
    }
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { dir: TempDir::new().unwrap(), web: BTreeMap::new(), asked: RefCell::default() };
        std::fs::create_dir(place.path("repo")).unwrap();
        files.iter().for_each(|(name, text)| place.write(name, text));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn web(mut self, path: &str, text: &str) -> Self {
        self.web.insert(format!("http://web/{path}"), text.to_owned());
        self
    }

    fn load(&self, name: &str) -> Result<Loaded, PodfileError> {
        let places = Places { cache: self.path("cache"), github: "http://web".into() };
        load(&self.path(name), &places, self)
    }

    #[track_caller]
    fn ok(&self, name: &str) -> Loaded {
        self.load(name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The error, with the directory written `~`.
    #[track_caller]
    fn error(&self, name: &str) -> String {
        let error = self.load(name).expect_err("refused").to_string();
        let real = self.dir.path().canonicalize().unwrap();
        error.replace(&real.display().to_string(), "~").replace(&self.dir.path().display().to_string(), "~")
    }
}

#[test]
fn the_built_in_bases_are_valid_and_can_be_extended() {
    for (name, _) in bases::BASES {
        let place = Place::new(&[("repo/podfile.yaml", &format!("extends: {name}\npackages: [extra]\n"))]);
        let loaded = place.ok("repo/podfile.yaml");
        assert_eq!(loaded.podfile.packages.last().map(String::as_str), Some("extra"));
        assert_eq!(loaded.origins["base"].to_string(), format!("built-in:{name}:2"));
        assert_eq!(loaded.warnings, Vec::<String>::new());
    }
}

#[test]
fn ten_levels_are_followed_and_the_eleventh_is_not() {
    let place = Place::new(&[]);
    for level in 0..11 {
        place.write(
            &format!("repo/l{level}.yaml"),
            &format!("extends: l{}.yaml\npackages: [p{level}]\non_create: c{level}\n", level + 1),
        );
    }
    place.write("repo/l10.yaml", "base: x\npackages: [p10]\non_create: c10\n");
    let loaded = place.ok("repo/l0.yaml");
    let expected: Vec<String> = (0..11).rev().map(|level| format!("p{level}")).collect();
    assert_eq!(loaded.podfile.packages, expected);
    place.write("repo/l10.yaml", "extends: l11.yaml\n");
    place.write("repo/l11.yaml", "base: x\n");
    let error = place.error("repo/l0.yaml");
    assert!(error.starts_with("~/repo/l10.yaml:1: `extends: l11.yaml`: there are more than 10 levels (~/repo/l0.yaml → ~/repo/l1.yaml"), "{error}");
}

#[test]
fn a_cycle_is_found_however_the_file_is_named() {
    let place = Place::new(&[
        ("repo/a.yaml", "extends: ./dir/../b.yaml\n"),
        ("repo/b.yaml", "extends: link.yaml\n"),
        ("repo/dir/x", ""),
    ]);
    std::os::unix::fs::symlink("a.yaml", place.path("repo/link.yaml")).unwrap();
    assert_eq!(
        place.error("repo/a.yaml"),
        "~/repo/b.yaml:1: `extends: link.yaml`: it comes back to a file of its own chain (~/repo/a.yaml → ~/repo/b.yaml → ~/repo/link.yaml)"
    );
    let itself = Place::new(&[("repo/a.yaml", "extends: a.yaml\n")]);
    assert!(
        itself
            .error("repo/a.yaml")
            .contains("comes back to a file of its own chain (~/repo/a.yaml → ~/repo/a.yaml)")
    );
}

#[test]
fn files_stay_inside_the_repository() {
    let place = Place::new(&[
        ("secret.yaml", "base: secret\n"),
        ("repo/.podspawn/podfile.yaml", "extends: ../base.yaml\n"),
        ("repo/base.yaml", "base: x\n"),
    ]);
    assert_eq!(
        place.ok("repo/.podspawn/podfile.yaml").podfile.base,
        crate::podfile::Base::Image("x".parse().unwrap())
    );
    std::os::unix::fs::symlink("../secret.yaml", place.path("repo/link.yaml")).unwrap();
    std::os::unix::fs::symlink("..", place.path("repo/up")).unwrap();
    for reference in [
        "../secret.yaml",
        "../../secret.yaml",
        "../nothing.yaml",
        "link.yaml",
        "up/secret.yaml",
        "/etc/passwd",
        "./../../../../../etc/shadow",
    ] {
        place.write("repo/podfile.yaml", &format!("extends: {reference}\n"));
        let error = place.error("repo/podfile.yaml");
        assert_eq!(
            error,
            format!("~/repo/podfile.yaml:1: `extends: {reference}`: it leads out of the repository (~/repo)")
        );
    }
    // Nor may the Podfile itself be a way out.
    std::fs::remove_file(place.path("repo/podfile.yaml")).unwrap();
    std::os::unix::fs::symlink("../secret.yaml", place.path("repo/podfile.yaml")).unwrap();
    assert_eq!(
        place.error("repo/podfile.yaml"),
        "read the Podfile `~/repo/podfile.yaml`: it leads out of the repository (~/repo)"
    );
}

#[test]
fn what_is_no_regular_file_is_not_read() {
    let place = Place::new(&[("repo/dir.yaml/x", "")]);
    let fifo = place.path("repo/fifo.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (reference, told) in [
        ("fifo.yaml", "it is a FIFO, not a regular file"),
        ("dir.yaml", "it is a directory"),
        ("none.yaml", "there is no such file"),
    ] {
        place.write("repo/podfile.yaml", &format!("extends: {reference}\n"));
        assert_eq!(
            place.error("repo/podfile.yaml"),
            format!("~/repo/podfile.yaml:1: `extends: {reference}`: {told}")
        );
    }
    assert_eq!(
        place.error("repo/fifo.yaml"),
        "read the Podfile `~/repo/fifo.yaml`: it is a FIFO, not a regular file"
    );
}

#[test]
fn a_name_is_looked_for_in_the_cache_first() {
    let place = Place::new(&[
        ("repo/podfile.yaml", "extends: minimal\n"),
        ("cache/templates/minimal.yaml", "base: template\n"),
    ]);
    let base = |place: &Place| place.ok("repo/podfile.yaml").podfile.base;
    assert_eq!(base(&place), crate::podfile::Base::Image("template".parse().unwrap()));
    place.write("cache/bases/minimal.yaml", "base: cached\n");
    assert_eq!(base(&place), crate::podfile::Base::Image("cached".parse().unwrap()));
    place.write("repo/podfile.yaml", "extends: ubuntu-dve\n");
    assert_eq!(
        place.error("repo/podfile.yaml"),
        "~/repo/podfile.yaml:1: `extends: ubuntu-dve`: there is no base or template of that name; did you mean `ubuntu-dev`?"
    );
    // What was fetched names no file of this host.
    place.write("repo/podfile.yaml", "extends: minimal\n");
    place.write("cache/bases/minimal.yaml", "extends: ./other.yaml\n");
    place.write("cache/bases/other.yaml", "base: x\n");
    assert!(
        place.error("repo/podfile.yaml").contains("can extend no file of this host"),
        "{}",
        place.error("repo/podfile.yaml")
    );
}

#[test]
fn a_file_of_github_is_fetched_kept_and_used_while_the_server_is_away() {
    let mut place = Place::new(&[("repo/podfile.yaml", "extends: github.com/org/repo/base.yaml\n")])
        .web("org/repo/raw/main/base.yaml", "extends: github.com/org/repo/master\n")
        .web("org/repo/raw/master/podfile.yaml", "base: far\n");
    let loaded = place.ok("repo/podfile.yaml");
    assert_eq!(loaded.origins["base"].to_string(), "github.com/org/repo/master/podfile.yaml:1");
    assert_eq!(
        *place.asked.borrow(),
        ["http://web/org/repo/raw/main/base.yaml", "http://web/org/repo/raw/master/podfile.yaml"]
    );
    place.web.clear();
    let again = place.ok("repo/podfile.yaml");
    assert_eq!(again.podfile, loaded.podfile);
    assert!(
        again.warnings.len() == 2
            && again.warnings[0].contains("cannot be fetched (there is no such file): the copy in"),
        "{:?}",
        again.warnings
    );
    std::fs::remove_dir_all(place.path("cache")).unwrap();
    assert_eq!(
        place.error("repo/podfile.yaml"),
        "~/repo/podfile.yaml:1: `extends: github.com/org/repo/base.yaml`: http://web/org/repo/raw/main/base.yaml cannot be fetched: there is no such file"
    );
}

#[test]
fn what_comes_from_github_names_no_file_of_this_host() {
    for reference in ["./x.yaml", "/etc/passwd", "x.yaml"] {
        let place =
            Place::new(&[("repo/podfile.yaml", "extends: github.com/o/r\n"), ("repo/x.yaml", "base: x\n")])
                .web("o/r/raw/main/podfile.yaml", &format!("extends: {reference}\n"));
        let error = place.error("repo/podfile.yaml");
        assert!(
            error.contains("a Podfile that is not of this repository can extend no file of this host"),
            "{error}"
        );
    }
    let place = Place::new(&[("repo/podfile.yaml", "extends: github.com/o/r\n")])
        .web("o/r/raw/main/podfile.yaml", "extends: minimal\n");
    assert_eq!(place.ok("repo/podfile.yaml").podfile.packages, ["git", "curl", "ca-certificates"]);
}

#[test]
fn an_error_in_a_base_says_who_extends_it() {
    let place = Place::new(&[
        ("repo/podfile.yaml", "extends: base.yaml\n"),
        ("repo/base.yaml", "base: x\npakages: []\n"),
    ]);
    assert_eq!(
        place.error("repo/podfile.yaml"),
        "~/repo/base.yaml:2 (extended by ~/repo/podfile.yaml): unknown key `pakages`; did you mean `packages`?"
    );
    place.write("repo/base.yaml", "base: x\nshell: zsh\n");
    assert_eq!(
        place.error("repo/podfile.yaml"),
        "~/repo/base.yaml:2: `shell`: \"zsh\" must be an absolute path, such as `/bin/bash`"
    );
}

/// As a web that nobody needs who has a copy.
struct Patient<'a>(&'a Place);

impl Fetch for Patient<'_> {
    fn get(&self, url: &str) -> Result<String, String> {
        self.0.get(url)
    }

    fn takes_kept(&self) -> bool {
        true
    }
}

#[test]
fn whoever_comes_to_what_is_made_asks_for_nothing_that_was_fetched_before() {
    let mut place = Place::new(&[("repo/podfile.yaml", "extends: github.com/a/b/x.yaml\n")])
        .web("a/b/raw/main/x.yaml", "base: x\n");
    let places = Places { cache: place.path("cache"), github: "http://web".into() };
    let path = place.path("repo/podfile.yaml");
    let first = load(&path, &places, &Patient(&place)).unwrap();
    assert_eq!(place.asked.borrow().len(), 1, "what nobody has fetched is fetched");
    place.web.values_mut().for_each(|text| *text = "base: y\n".into());
    let again = load(&path, &places, &Patient(&place)).unwrap();
    assert_eq!((again.podfile, again.warnings), (first.podfile.clone(), Vec::new()));
    assert_eq!(place.asked.borrow().len(), 1);
    assert_ne!(place.ok("repo/podfile.yaml").podfile, first.podfile, "whoever makes something asks");
    let news = load(&path, &places, &Patient(&place)).unwrap();
    assert_ne!(news.podfile, first.podfile, "what was fetched since counts");
}

#[test]
fn a_copy_that_nothing_can_be_made_of_is_fetched_anew() {
    let mut place = Place::new(&[
        ("repo/podfile.yaml", "extends: github.com/a/b/x.yaml\n"),
        ("other/podfile.yaml", "base: [no, text]\n"),
    ])
    .web("a/b/raw/main/x.yaml", "base: [no, text]\n");
    let places = Places { cache: place.path("cache"), github: "http://web".into() };
    let path = place.path("repo/podfile.yaml");
    assert!(load(&path, &places, &place).is_err(), "and it is kept");
    assert!(load(&path, &places, &Patient(&place)).is_err());
    place.web.values_mut().for_each(|text| *text = "base: x\n".into());
    assert!(load(&path, &places, &Patient(&place)).is_ok());
    let asked = place.asked.borrow().len();
    // Nobody is asked about what is wrong here.
    assert!(load(&place.path("other/podfile.yaml"), &places, &Patient(&place)).is_err());
    assert_eq!(place.asked.borrow().len(), asked);
}
