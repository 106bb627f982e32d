//! What a Podfile can extend, as it is written behind `extends`.

use crate::names::quoted;

/// A reference that can be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    /// A file, relative to the one that names it, or absolute.
    Local(String),
    /// A name of the cache or of what is built in.
    Name(String),
    /// A file of a repository.
    Github(Github),
}

/// A file of a repository on GitHub, or on a server like it. All parts are plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Github {
    organisation: String,
    repository: String,
    branch: String,
    path: String,
}

/// Where GitHub itself keeps files: asking github.com would only point there.
const RAW: (&str, &str) = ("https://github.com", "https://raw.githubusercontent.com");

impl Reference {
    /// Reads a reference. The error says which kinds there are.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let kinds = "expected a file (`./base.yaml`), the name of a base (`ubuntu-dev`), or `github.com/<org>/<repo>/<path>`";
        if text.contains(crate::names::misleads) {
            return Err(format!("{} contains a control character: {kinds}", quoted(text)));
        }
        if let Some(rest) = text.strip_prefix("https://github.com/") {
            return Err(format!(
                "leave out the `https://`: `github.com/{}`",
                rest.chars().take(200).collect::<String>()
            ));
        }
        if let Some(rest) = text.strip_prefix("github.com/") {
            return Github::parse(rest).map(Self::Github);
        }
        if text.contains("://") {
            return Err(kinds.to_owned());
        }
        if text.starts_with(['.', '/']) || text.ends_with(".yaml") || text.ends_with(".yml") {
            return Ok(Self::Local(text.to_owned()));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) && text.len() <= 64
        {
            return Ok(Self::Name(text.to_owned()));
        }
        Err(kinds.to_owned())
    }
}

impl Github {
    /// `<org>/<repo>[/main|master][/<path>]`.
    fn parse(rest: &str) -> Result<Self, String> {
        let expected = "expected `github.com/<org>/<repo>` or `github.com/<org>/<repo>/<path>`";
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
        let bad = |part: &&str| {
            part.is_empty() || part.starts_with('-') || *part == ".git" || part.bytes().all(|b| b == b'.')
        };
        if parts.iter().any(bad) {
            return Err(expected.to_owned());
        }
        if let Some(bad) = parts.iter().flat_map(|part| part.chars()).find(|c| !fits(*c)) {
            return Err(format!("{bad:?} is not allowed in it (use letters, digits, `.`, `_`, `-` and `/`)"));
        }
        if rest.len() > 512 {
            return Err("it is longer than 512 bytes".into());
        }
        let (organisation, repository, path) = match parts.as_slice() {
            [organisation, repository, path @ ..] => (*organisation, *repository, path),
            _ => return Err(expected.to_owned()),
        };
        let (branch, path) = match path {
            [branch @ ("main" | "master"), path @ ..] => (*branch, path),
            path => ("main", path),
        };
        let path = if path.is_empty() { "podfile.yaml".to_owned() } else { path.join("/") };
        Ok(Self {
            organisation: organisation.to_owned(),
            repository: repository.strip_suffix(".git").unwrap_or(repository).to_owned(),
            branch: branch.to_owned(),
            path,
        })
    }

    /// Where the file is fetched from. `server` is the address that stands for github.com.
    pub(super) fn url(&self, server: &str) -> String {
        let Self { organisation, repository, branch, path } = self;
        let server = server.trim_end_matches('/');
        if server == RAW.0 {
            format!("{}/{organisation}/{repository}/{branch}/{path}", RAW.1)
        } else {
            format!("{server}/{organisation}/{repository}/raw/{branch}/{path}")
        }
    }

    /// Its place in the cache.
    pub(super) fn cached(&self) -> String {
        format!("github/{}/{}/{}/{}", self.organisation, self.repository, self.branch, self.path)
    }

    /// As people write it, with the branch.
    pub(super) fn shown(&self) -> String {
        format!("github.com/{}/{}/{}/{}", self.organisation, self.repository, self.branch, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        match Reference::parse(text) {
            Ok(Reference::Github(github)) => github.url("https://github.com"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn each_kind_is_told_by_how_it_is_written() {
        for local in ["./base.yaml", "../base.yaml", "/abs/x", "base.yaml", "dir/base.yml", ".x"] {
            assert_eq!(Reference::parse(local), Ok(Reference::Local(local.into())));
        }
        for name in ["ubuntu-dev", "go", "data-science", "a.b"] {
            assert_eq!(Reference::parse(name), Ok(Reference::Name(name.into())));
        }
        for bad in ["a/b", "https://example.com/x.yaml", "~/x", "", "a b", "-x", "a\u{1b}", "gitlab.com/a/b"]
        {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_on_github_is_of_the_branch_main_unless_it_says_master() {
        let raw = "https://raw.githubusercontent.com";
        assert_eq!(url("github.com/a/b"), format!("{raw}/a/b/main/podfile.yaml"));
        assert_eq!(url("github.com/a/b/x/y.yaml"), format!("{raw}/a/b/main/x/y.yaml"));
        assert_eq!(url("github.com/a/b/master/y.yaml"), format!("{raw}/a/b/master/y.yaml"));
        assert_eq!(url("github.com/a/b/main"), format!("{raw}/a/b/main/podfile.yaml"));
        let Ok(Reference::Github(github)) = Reference::parse("github.com/a/b/x.yaml") else { panic!("no") };
        assert_eq!(github.url("http://127.0.0.1:1/"), "http://127.0.0.1:1/a/b/raw/main/x.yaml");
    }

    #[test]
    fn nothing_in_it_leaves_the_repository_or_the_cache() {
        for bad in [
            "github.com/a",
            "github.com/",
            "github.com/a/../b",
            "github.com/a/b/../../c",
            "github.com/a/b/x?y",
            "github.com/a/b/%2e%2e/x",
            "github.com/a//b",
            "github.com/-a/b",
            "github.com/a/b/x y",
            "github.com/a/./b",
            "github.com/a/.git/main/b",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }
}
