//! What there is to extend and to begin with: the registry, how a project is recognised, and fetching a newer one.
//!
//! A fetched registry is somebody else's text. Its names decide nothing about where files are written: an entry lies where its
//! name says, or it is refused.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use figment::value::{Dict, Value};

use super::fetch::Fetch;
use super::templates;
use crate::config::HttpUrl;
use crate::config::yaml;
use crate::names::quoted;
use crate::system::files::write_atomic;

/// The registry that is built in.
const BUILT_IN: &str = include_str!("registry.yaml");
/// The repository of templates.
const REPOSITORY: &str = "podspawn/podfiles";
/// Most entries of one kind.
const MAX_ENTRIES: usize = 100;
/// Longest that all files together may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// What can be extended.
    pub bases: Vec<Entry>,
    /// What a Podfile can begin with.
    pub templates: Vec<Entry>,
}

/// One base or template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// How a project that it is for is recognised; never for one without files.
    pub detect: Detect,
}

/// How a project is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detect {
    /// Files at the top of the project.
    pub files: Vec<String>,
    /// The highest wins.
    pub priority: i64,
    /// All of them must be there, instead of one.
    pub all: bool,
}

impl Registry {
    /// The one that is built in.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).unwrap_or_default()
    }

    /// The one in `cache`, completed with what is built in; without a cache the latter alone. The second part says why a
    /// cached one was not used.
    pub fn cached(cache: &Path) -> (Self, Option<String>) {
        let path = cache.join("registry.yaml");
        let mut warning = None;
        let mut registry = match read(&path) {
            Ok(None) => Self::default(),
            Ok(Some(text)) => Self::parse(&text).unwrap_or_else(|reason| {
                warning = Some(format!("`{}` is not used: {reason}", path.display()));
                Self::default()
            }),
            Err(reason) => {
                warning = Some(format!("`{}` is not used: {reason}", path.display()));
                Self::default()
            }
        };
        let Self { bases, templates } = Self::built_in();
        let complete = |entries: &mut Vec<Entry>, more: Vec<Entry>| {
            for entry in more {
                if !entries.iter().any(|known| known.name == entry.name) {
                    entries.push(entry);
                }
            }
        };
        complete(&mut registry.bases, bases);
        complete(&mut registry.templates, templates);
        (registry, warning)
    }

    /// Reads a registry. Keys that are not known are passed over: a newer podspawn may know them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document = yaml::parse(text).map_err(|malformed| match malformed.line {
            Some(line) => format!("line {line}: {}", malformed.reason),
            None => malformed.reason,
        })?;
        match document.values.get("schema_version").and_then(number) {
            Some(1) => {}
            Some(other) => return Err(format!("its `schema_version` is {other}; this podspawn knows 1")),
            None => return Err("it has no `schema_version`".into()),
        }
        Ok(Self {
            bases: entries(&document.values, "bases", "bases")?,
            templates: entries(&document.values, "templates", "templates")?,
        })
    }

    /// The template for a project that has these files at its top, and the file that gave it away. The highest priority wins,
    /// then the larger number of files found, then the first. None if nothing is recognised.
    pub fn detect<'a>(&'a self, files: &BTreeSet<String>) -> Option<(&'a str, &'a str)> {
        let mut best: Option<(i64, usize, &str, &str)> = None;
        for entry in &self.templates {
            let found: Vec<&String> =
                entry.detect.files.iter().filter(|file| files.contains(*file)).collect();
            let Some(first) = found.first() else { continue };
            if entry.detect.all && found.len() < entry.detect.files.len() {
                continue;
            }
            let rank = (entry.detect.priority, found.len());
            if best.is_none_or(|(priority, number, ..)| rank > (priority, number)) {
                best = Some((rank.0, rank.1, &entry.name, first));
            }
        }
        best.map(|(_, _, name, marker)| (name, marker))
    }

    /// Names of the templates.
    pub fn template_names(&self) -> Vec<&str> {
        self.templates.iter().map(|entry| entry.name.as_str()).collect()
    }

    /// Whether a base is known by this name.
    pub fn has_base(&self, name: &str) -> bool {
        self.bases.iter().any(|entry| entry.name == name)
    }
}

/// The text of a template: the cached one, else the built-in one. The second part says why a cached one was not used.
pub fn template(cache: &Path, name: &str) -> (Option<String>, Option<String>) {
    let path = cache.join("templates").join(format!("{name}.yaml"));
    let built_in = || templates::built_in(name).map(str::to_owned);
    let text = read(&path).and_then(|text| match text {
        None => Ok(None),
        Some(text) => check(&text).map(|()| Some(text)),
    });
    match text {
        Ok(Some(text)) => (Some(text), None),
        Ok(None) => (built_in(), None),
        Err(reason) => (built_in(), Some(format!("`{}` is not used: {reason}", path.display()))),
    }
}

/// Fetches the registry and what it lists into `cache`. A single file that cannot be had is told by a warning, and the one that
/// is there stays. Returns how many files were fetched, and the warnings; an error if there is no registry.
pub fn update(fetch: &dyn Fetch, base: &HttpUrl, cache: &Path) -> Result<(usize, Vec<String>), String> {
    let deadline = Instant::now() + LIMIT;
    let url = raw_url(base, "registry.yaml");
    let text = fetch.get(&url).map_err(|reason| format!("fetch {url}: {reason}"))?;
    let registry = Registry::parse(&text).map_err(|reason| format!("use {url}: {reason}"))?;

    for dir in [cache.to_owned(), cache.join("bases"), cache.join("templates")] {
        make_dir(&dir).map_err(|error| format!("make `{}`: {error}", dir.display()))?;
    }
    let write = |path: PathBuf, text: &str| {
        write_atomic(&path, text.as_bytes(), 0o644)
            .map_err(|error| format!("write `{}`: {error}", path.display()))
    };
    let mut warnings = Vec::new();
    let mut count = 1;
    let names = |kind: &'static str, entries: &[Entry]| {
        entries.iter().map(|entry| format!("{kind}/{}.yaml", entry.name)).collect::<Vec<_>>()
    };
    for file in [names("bases", &registry.bases), names("templates", &registry.templates)].concat() {
        if Instant::now() >= deadline {
            warnings.push(format!("gave up after {} s: the rest was not fetched", LIMIT.as_secs()));
            break;
        }
        let url = raw_url(base, &file);
        match fetch.get(&url).and_then(|text| check(&text).map(|()| text)) {
            Ok(text) => {
                write(cache.join(&file), &text)?;
                count += 1;
            }
            Err(reason) => warnings.push(format!("{url}: {reason}")),
        }
    }
    // Last, so that it never lists what was not tried.
    write(cache.join("registry.yaml"), &text)?;
    Ok((count, warnings))
}

/// The address of a file's own text on the branch `main`. GitHub itself hands it out under another host name.
fn raw_url(base: &HttpUrl, file: &str) -> String {
    match base.as_str() {
        "https://github.com" => format!("https://raw.githubusercontent.com/{REPOSITORY}/main/{file}"),
        base => format!("{base}/{REPOSITORY}/raw/main/{file}"),
    }
}

/// `~/.podspawn` is its owner's alone; what lies in the cache is no secret.
fn make_dir(dir: &Path) -> std::io::Result<()> {
    let above: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.is_dir()).collect();
    for dir in above.into_iter().rev() {
        let mode = if dir.file_name().is_some_and(|name| name == ".podspawn") { 0o700 } else { 0o755 };
        match DirBuilder::new().mode(mode).create(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}

/// A Podfile must at least be YAML with keys.
fn check(text: &str) -> Result<(), String> {
    match yaml::parse(text) {
        Ok(document) if document.values.is_empty() => Err("it is empty".into()),
        Ok(_) => Ok(()),
        Err(malformed) => Err(match malformed.line {
            Some(line) => format!("line {line}: {}", malformed.reason),
            None => malformed.reason,
        }),
    }
}

/// A file of the cache; none if it is not there.
fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.kind().to_string()),
        Ok(facts) if !facts.is_file() => return Err("it is not a regular file".into()),
        Ok(facts) if facts.len() > yaml::MAX_BYTES as u64 => return Err("it is too large".into()),
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| error.kind().to_string())
}

fn entries(registry: &Dict, key: &str, folder: &str) -> Result<Vec<Entry>, String> {
    let Some(value) = registry.get(key) else { return Ok(Vec::new()) };
    let items = value.as_array().ok_or_else(|| format!("`{key}` is not a list"))?;
    if items.len() > MAX_ENTRIES {
        return Err(format!("`{key}` has {} entries, at most {MAX_ENTRIES} are allowed", items.len()));
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for item in items {
        let item = item.as_dict().ok_or_else(|| format!("an entry of `{key}` has no keys"))?;
        let entry = entry(item, key, folder)?;
        if entries.iter().any(|known| known.name == entry.name) {
            return Err(format!("`{key}` names {} twice", quoted(&entry.name)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(item: &Dict, key: &str, folder: &str) -> Result<Entry, String> {
    let name = item
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("an entry of `{key}` has no `name`"))?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) || name.len() > 40 {
        return Err(format!("{} is not a name for an entry of `{key}`", quoted(name)));
    }
    if item.get("file").and_then(Value::as_str) != Some(&format!("{folder}/{name}.yaml")) {
        return Err(format!("the `file` of `{name}` must be `{folder}/{name}.yaml`"));
    }
    let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let detect = match item.get("detect") {
        None => Detect::default(),
        Some(value) => {
            let dict = value.as_dict().ok_or_else(|| format!("`detect` of `{name}` has no keys"))?;
            let files = texts(dict.get("files"));
            if files.iter().any(|file| file.is_empty() || file.contains('/')) {
                return Err(format!("`detect.files` of `{name}` must be names of files at the top"));
            }
            let priority = dict.get("priority").and_then(number).unwrap_or(0);
            let all = dict.get("all").and_then(Value::to_bool).unwrap_or(false);
            Detect { files, priority, all }
        }
    };
    Ok(Entry {
        name: name.to_owned(),
        description: text("description"),
        tags: texts(item.get("tags")),
        detect,
    })
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Num(_, number) => {
            number.to_i128().or_else(|| number.to_u128().and_then(|n| n.try_into().ok()))?.try_into().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn detected(files: &[&str]) -> Option<(String, String)> {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let registry = Registry::built_in();
        registry.detect(&files).map(|(name, marker)| (name.to_owned(), marker.to_owned()))
    }

    #[test]
    fn projects_are_recognised_by_their_files() {
        for (files, expected) in [
            (&["go.mod", "main.go"][..], Some(("go", "go.mod"))),
            (&["go.sum"], Some(("go", "go.sum"))),
            (&["package.json"], Some(("node", "package.json"))),
            (&["requirements.txt", "setup.py"], Some(("python", "setup.py"))),
            (&["Cargo.toml"], Some(("rust", "Cargo.toml"))),
            (&["package.json", "go.mod"], Some(("fullstack", "package.json"))),
            (&["package.json", "go.sum"], Some(("go", "go.sum"))),
            // More files found win over the order of the list.
            (&["go.mod", "setup.py", "pyproject.toml"], Some(("python", "pyproject.toml"))),
            (&["README.md"], None),
            (&[], None),
        ] {
            let expected = expected.map(|(name, marker)| (name.to_owned(), marker.to_owned()));
            assert_eq!(detected(files), expected, "{files:?}");
        }
    }

    #[test]
    fn the_built_in_registry_lists_what_is_built_in() {
        let registry = Registry::built_in();
        let names = ["go", "node", "python", "rust", "fullstack", "minimal"];
        assert_eq!(registry.template_names(), names);
        for name in names {
            assert!(templates::built_in(name).is_some(), "{name}");
        }
        assert!(registry.has_base("ubuntu-dev") && registry.has_base("data-science"));
        assert!(registry.templates.iter().chain(&registry.bases).all(|entry| !entry.description.is_empty()));
    }

    #[test]
    fn a_registry_that_would_write_elsewhere_is_refused() {
        let with = |name: &str, file: &str| {
            Registry::parse(&format!("schema_version: 1\ntemplates:\n- name: '{name}'\n  file: '{file}'\n"))
        };
        assert!(with("go", "templates/go.yaml").is_ok());
        for (name, file) in [
            ("go", "../go.yaml"),
            ("go", "/etc/passwd"),
            ("go", "templates/../../x"),
            ("go", "bases/go.yaml"),
            ("..", "templates/...yaml"),
            ("../x", "templates/../x.yaml"),
            ("a/b", "templates/a/b.yaml"),
            ("", "templates/.yaml"),
            ("-x", "templates/-x.yaml"),
            ("Go", "templates/Go.yaml"),
        ] {
            assert!(with(name, file).is_err(), "{name} {file}");
        }
        for bad in [
            "",
            "templates: []",
            "schema_version: 2",
            "schema_version: one",
            "schema_version: 1\ntemplates: x",
            "schema_version: 1\ntemplates: [x]",
            "schema_version: 1\ntemplates: [{file: x}]",
            "schema_version: 1\nbases: [{name: a, file: bases/a.yaml}, {name: a, file: bases/a.yaml}]",
            "schema_version: 1\ntemplates: [{name: a, file: templates/a.yaml, detect: {files: [../x]}}]",
        ] {
            assert!(Registry::parse(bad).is_err(), "{bad}");
        }
    }

    struct Shelf(Vec<(&'static str, Result<&'static str, &'static str>)>, RefCell<Vec<String>>);

    impl Fetch for Shelf {
        fn get(&self, url: &str) -> Result<String, String> {
            self.1.borrow_mut().push(url.to_owned());
            let found = self.0.iter().find(|(end, _)| url.ends_with(end));
            let answer = found.map_or(Err("there is no such file"), |(_, answer)| *answer);
            answer.map(str::to_owned).map_err(str::to_owned)
        }
    }

    #[test]
    fn a_newer_registry_is_fetched_and_single_failures_are_told() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join(".podspawn/cache/podfiles");
        let registry = "schema_version: 1\nnews: 1\nbases: [{name: b, file: bases/b.yaml}]\n\
                        templates: [{name: go, file: templates/go.yaml}, {name: zig, file: templates/zig.yaml, detect: {files: [build.zig], priority: 30}},\
                        {name: bad, file: templates/bad.yaml}]\n";
        let shelf = Shelf(
            vec![
                ("raw/main/registry.yaml", Ok(registry)),
                ("raw/main/bases/b.yaml", Ok("base: debian:12\n")),
                ("raw/main/templates/go.yaml", Err("the server answered 500")),
                ("raw/main/templates/zig.yaml", Ok("base: alpine\n")),
                ("raw/main/templates/bad.yaml", Ok("}{")),
            ],
            RefCell::default(),
        );
        let base = crate::config::Config::default().github_url;
        assert_eq!(raw_url(&base, "x"), "https://raw.githubusercontent.com/podspawn/podfiles/main/x");
        let base = crate::config::load_text(
            &crate::config::Sources {
                deployment: crate::config::Deployment::Local,
                local_root: "/nonexistent".into(),
                home: None,
                file: None,
                env: std::collections::BTreeMap::new(),
                flags: Vec::new(),
            },
            Some((Path::new("c.yaml"), "github_url: https://git.example/\n")),
        )
        .unwrap()
        .config
        .github_url;
        let (count, warnings) = update(&shelf, &base, &cache).unwrap();
        assert_eq!(count, 3);
        assert_eq!(shelf.1.borrow()[0], "https://git.example/podspawn/podfiles/raw/main/registry.yaml");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].ends_with("templates/go.yaml: the server answered 500"), "{warnings:?}");
        assert!(warnings[1].contains("templates/bad.yaml: line 1: "), "{warnings:?}");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&cache), mode(&cache.join("bases"))), (0o755, 0o755));
        assert_eq!(mode(&home.path().join(".podspawn")), 0o700);

        let (registry, warning) = Registry::cached(&cache);
        assert_eq!(warning, None);
        assert_eq!(
            registry.template_names(),
            ["go", "zig", "bad", "node", "python", "rust", "fullstack", "minimal"]
        );
        let files = BTreeSet::from(["build.zig".to_owned(), "Cargo.toml".to_owned()]);
        assert_eq!(registry.detect(&files), Some(("zig", "build.zig")));
        assert_eq!(template(&cache, "zig"), (Some("base: alpine\n".into()), None));
        assert_eq!(template(&cache, "go").0.as_deref(), templates::built_in("go"));
        assert_eq!(template(&cache, "bad"), (None, None));

        std::fs::write(cache.join("templates/rust.yaml"), "}{").unwrap();
        let (text, warning) = template(&cache, "rust");
        assert_eq!(text.as_deref(), templates::built_in("rust"));
        assert!(warning.unwrap().contains("is not used: line 1: "));
        std::fs::write(cache.join("registry.yaml"), "schema_version: 9\n").unwrap();
        let (registry, warning) = Registry::cached(&cache);
        assert_eq!(registry, Registry::built_in());
        assert!(warning.unwrap().contains("`schema_version` is 9"));
    }

    #[test]
    fn without_a_registry_nothing_is_changed() {
        let home = tempfile::tempdir().unwrap();
        let base = crate::config::Config::default().github_url;
        let none = Shelf(Vec::new(), RefCell::default());
        assert!(update(&none, &base, &home.path().join("c")).unwrap_err().contains("there is no such file"));
        let odd = Shelf(vec![("registry.yaml", Ok("hello"))], RefCell::default());
        assert!(update(&odd, &base, &home.path().join("c")).is_err());
        assert!(!home.path().join("c").exists());
    }
}
