//! The registry of projects: `projects.yaml`, and the section `projects` of a configuration file.
//!
//! Reading checks everything; writing changes the lines of one project and leaves the others, comments included, as they
//! were written.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::check;
use super::error::ConfigError;
use super::file;
use super::layers::{Kind, document_layer};
use super::read::{self, FromConfig, Key};
use super::words::Mode;
use super::yaml;
use crate::names::{GitUrl, ProjectName};

/// Projects by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projects(BTreeMap<ProjectName, Project>);

/// One project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Its repository.
    #[serde(deserialize_with = "read::value")]
    pub repo: GitUrl,
    /// The clone that podspawn keeps; none for an entry that somebody wrote by hand.
    #[serde(default, deserialize_with = "read::optional")]
    pub local_path: Option<PathBuf>,
    /// What `update-project` compares; none before the first build.
    #[serde(default, deserialize_with = "read::optional")]
    pub podfile_hash: Option<Word>,
    /// The image that was built.
    #[serde(default, deserialize_with = "read::optional")]
    pub image_tag: Option<Word>,
    /// Mode of its sessions, decided by hand.
    #[serde(default, deserialize_with = "read::optional")]
    pub mode: Option<Mode>,
}

/// A piece of text that podspawn wrote down for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Word(String);

impl Word {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Keeps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl FromConfig for Word {
    const EXPECTED: &'static str = "a word";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(format!("expected {}, found {}", Self::EXPECTED, crate::names::quoted(text)));
        }
        Ok(Self(text.into()))
    }

    fn from_number(number: &str) -> Result<Self, String> {
        Ok(Self(number.into()))
    }
}

impl FromConfig for GitUrl {
    const EXPECTED: &'static str =
        "the address of a git repository, such as `https://github.com/company/api`";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::names::NameError| error.to_string())
    }
}

impl<'de> Deserialize<'de> for Projects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Projects;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("projects by name, such as `api: {repo: …}`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Projects, A::Error> {
                let mut projects = BTreeMap::new();
                while let Some(name) = map.next_key_seed(Key(check_name))? {
                    let name: ProjectName = name.parse().map_err(serde::de::Error::custom)?;
                    projects.insert(name, map.next_value()?);
                }
                Ok(Projects(projects))
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    name.parse::<ProjectName>().map(drop).map_err(|error| error.to_string())
}

impl Projects {
    /// The project of that name.
    pub fn get(&self, name: &ProjectName) -> Option<&Project> {
        self.0.get(name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &ProjectName> {
        self.0.keys()
    }

    /// These, and the others where these say nothing.
    #[must_use]
    pub fn over(mut self, others: &Self) -> Self {
        for (name, project) in &others.0 {
            self.0.entry(name.clone()).or_insert_with(|| project.clone());
        }
        self
    }

    /// Reads a file; a missing one holds no project.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        match file::read(path)? {
            Some(text) => Self::parse(path, &text),
            None => Ok(Self::default()),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = yaml::parse(text).map_err(|bad| {
            let line = bad.line.map_or(String::new(), |line| format!(":{line}"));
            ConfigError::Malformed { place: format!("{}{line}", path.display()), reason: bad.reason }
        })?;
        check::projects_alone(document_layer(Kind::File(path.to_owned()), document))
    }

    /// The text of the file at `path` with one project put in, changed or, for none, taken out. Everything else stays as it
    /// was written; a file in which lines cannot be told apart is written anew, with all that is known.
    pub fn edit(path: &Path, name: &ProjectName, project: Option<&Project>) -> Result<String, ConfigError> {
        let text = file::read(path)?.unwrap_or_default();
        let mut wanted = Self::parse(path, &text)?;
        match project {
            Some(project) => drop(wanted.0.insert(name.clone(), project.clone())),
            None => drop(wanted.0.remove(name)),
        }
        let edited = splice(&text, name, project);
        if let Some(edited) = edited.filter(|edited| Self::parse(path, edited).is_ok_and(|all| all == wanted))
        {
            return Ok(edited);
        }
        Ok(wanted.0.iter().map(|(name, project)| project.lines(name)).collect())
    }
}

impl Project {
    /// A project of which only the repository is known.
    pub fn new(repo: GitUrl) -> Self {
        Self { repo, local_path: None, podfile_hash: None, image_tag: None, mode: None }
    }

    /// Its entry in the file.
    fn lines(&self, name: &ProjectName) -> String {
        let mut text = format!("{name}:\n  repo: {}\n", scalar(self.repo.as_str()));
        let path = self.local_path.as_ref().map(|path| path.to_string_lossy().into_owned());
        for (key, value) in [
            ("local_path", path.as_deref()),
            ("podfile_hash", self.podfile_hash.as_ref().map(Word::as_str)),
            ("image_tag", self.image_tag.as_ref().map(Word::as_str)),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("  {key}: {}\n", scalar(value)));
            }
        }
        if let Some(mode) = self.mode {
            text.push_str(&format!("  mode: {mode}\n"));
        }
        text
    }
}

/// A text as YAML reads it back: plain where nothing in it could mean anything else.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.contains(['/', ':', '-'])
        && !text.ends_with(':')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._/:@+-".contains(c));
    // JSON's strings are YAML's.
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// The text with the lines of one entry replaced, if the entries are written one below the other.
fn splice(text: &str, name: &ProjectName, project: Option<&Project>) -> Option<String> {
    let new = project.map_or(String::new(), |project| project.lines(name));
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let Some(place) = entry(&lines, name)? else {
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{text}{newline}{new}"));
    };
    let before: String = lines[..place.start].concat();
    let after: String = lines[place.end..].concat();
    // Comments of its own stay with a project that stays.
    let own: String = lines[place]
        .iter()
        .filter(|line| project.is_some() && line.trim_start().starts_with('#'))
        .copied()
        .collect();
    Some(format!("{before}{new}{own}{after}"))
}

/// The lines of an entry; the outer none if the text is not written line by line.
#[allow(clippy::option_option, reason = "two different nothings")]
fn entry(lines: &[&str], name: &ProjectName) -> Option<Option<Range<usize>>> {
    let is_key = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase() || matches!(c, '"' | '\''));
    let belongs = |line: &&str| line.trim().is_empty() || line.starts_with([' ', '\t', '#']);
    if lines.iter().any(|line| !is_key(line) && !belongs(line)) {
        return None;
    }
    let head = |line: &&str| {
        let key = line.split(':').next().unwrap_or_default().trim();
        key.trim_matches(['"', '\'']) == name.as_str()
    };
    let Some(start) = lines.iter().position(|line| is_key(line) && head(line)) else { return Some(None) };
    let next = lines[start + 1..].iter().position(is_key).map_or(lines.len(), |at| start + 1 + at);
    // What stands right above the next entry, or at the end, is not this one's.
    let is_own = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
    let last = lines[start..next].iter().rposition(is_own).unwrap_or(0);
    Some(Some(start..start + last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProjectName {
        text.parse().unwrap()
    }

    fn project(repo: &str) -> Project {
        Project::new(repo.parse().unwrap())
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("projects.yaml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn an_entry_with_nothing_but_a_repository_is_enough() {
        let (_dir, path) = file("api:\n  repo: github.com/company/api\n");
        let projects = Projects::read(&path).unwrap();
        assert_eq!(projects.get(&name("api")), Some(&project("https://github.com/company/api")));
        assert_eq!(Projects::read(Path::new("/nonexistent/p.yaml")).unwrap(), Projects::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            (
                "api:\n  repo: github.com/a/b\n  rpeo: x\n",
                ":3: unknown key `api.rpeo`; did you mean `api.repo`?",
            ),
            ("api:\n  repo: ext::sh\n", ":2: `api.repo`: invalid repository address"),
            ("api:\n  local_path: /x\n", "`api`: the key `repo` is missing below it"),
            ("api:\n  repo: github.com/a/b\n  mode: forever\n", ":3: `api.mode`:"),
            ("-x:\n  repo: github.com/a/b\n", "invalid project name"),
            ("api: 7\n", "`api`: expected keys below it"),
            ("- 1\n", "not a valid configuration file: expected `key: value` lines"),
        ] {
            let (_dir, path) = file(text);
            let error = Projects::read(&path).unwrap_err().to_string();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_change_leaves_everything_else_as_it_was_written() {
        let text = "# ours\nweb:\n  repo: github.com/a/web   # the site\n  mode: persistent\n\n# second\napi:\n  repo: github.com/a/api\n  # keep\n  mode: persistent\n# end\n";
        let (_dir, path) = file(text);
        let mut api = Projects::read(&path).unwrap().get(&name("api")).unwrap().clone();
        api.image_tag = Some(Word::new("podspawn/api:podfile-0123456789ab"));
        api.podfile_hash = Some(Word::new("012345678901"));
        let edited = Projects::edit(&path, &name("api"), Some(&api)).unwrap();
        assert_eq!(
            edited,
            "# ours\nweb:\n  repo: github.com/a/web   # the site\n  mode: persistent\n\n# second\napi:\n  repo: https://github.com/a/api\n  podfile_hash: \"012345678901\"\n  image_tag: podspawn/api:podfile-0123456789ab\n  mode: persistent\n  # keep\n# end\n"
        );
        let removed = Projects::edit(&path, &name("web"), None).unwrap();
        assert!(removed.starts_with("# ours\n\n# second\napi:\n  repo: github.com/a/api\n"), "{removed}");
        let added = Projects::edit(&path, &name("new"), Some(&project("git@host:a/b"))).unwrap();
        assert_eq!(added, format!("{text}new:\n  repo: git@host:a/b\n"));
    }

    #[test]
    fn a_file_in_another_form_is_written_anew_with_all_that_it_said() {
        let (_dir, path) = file("{web: {repo: github.com/a/web, mode: persistent}}");
        let edited = Projects::edit(&path, &name("api"), Some(&project("github.com/a/api"))).unwrap();
        assert_eq!(
            edited,
            "api:\n  repo: https://github.com/a/api\nweb:\n  repo: https://github.com/a/web\n  mode: persistent\n"
        );
    }

    #[test]
    fn every_text_is_read_back_as_it_was() {
        for text in ["12e4567", "true", "a: b", "x#y", "it's", "/a b/ü", "null", "host:path", "a:"] {
            let mut one = project("github.com/a/b");
            one.local_path = Some(PathBuf::from(format!("/{text}")));
            one.podfile_hash = (!text.contains(' ')).then(|| Word::new(text));
            let (_dir, path) = file(&one.lines(&name("api")));
            assert_eq!(Projects::read(&path).unwrap().get(&name("api")), Some(&one), "{text}");
        }
    }
}
