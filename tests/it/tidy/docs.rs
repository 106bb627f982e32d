//! The documents: there, and true where a test can tell.

use super::source::{files, none, top};

#[test]
fn the_house_has_its_documents() {
    none(
        [
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "SECURITY.md",
            "LICENSE",
            "Cargo.lock",
            ".ci/run",
        ]
        .iter()
        .filter(|name| !top().join(name).is_file())
        .map(|name| format!("{name} is missing"))
        .collect(),
    );
}

/// Links of Markdown files to files of the tree lead somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with(".md")) {
        let dir = top().join(&file.path).parent().expect("a directory").to_owned();
        for target in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !path.is_empty() && !dir.join(path).exists() {
                findings.push(format!("{}: the link to `{target}` leads nowhere", file.path));
            }
        }
    }
    none(findings);
}

/// Every `make` target that a document names exists, and every target is described in the README.
#[test]
fn documents_and_makefile_name_the_same_targets() {
    let all = files();
    let text =
        |path: &str| &all.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}")).text;
    let targets: Vec<&str> = text("Makefile")
        .lines()
        .filter(|line| line.contains(": ## ") || line.contains(":  ## "))
        .filter_map(|line| line.split(':').next())
        .collect();
    assert!(targets.contains(&"run") && targets.contains(&"test"), "the Makefile's targets were not found");
    let mut findings = Vec::new();
    for file in all.iter().filter(|file| file.path.ends_with(".md")) {
        for named in file.text.split("`make ").skip(1) {
            let target: String = named.chars().take_while(char::is_ascii_lowercase).collect();
            if !target.is_empty() && !targets.contains(&target.as_str()) {
                findings.push(format!("{}: `make {target}` does not exist", file.path));
            }
        }
    }
    let readme = text("README.md");
    let missing = targets.iter().filter(|target| !readme.contains(&format!("`make {target}")));
    findings.extend(missing.map(|target| format!("README.md does not mention `make {target}`")));
    none(findings);
}

/// A page that the README does not name is found by nobody.
#[test]
fn the_readme_leads_to_every_page() {
    let all = files();
    let readme = &all.iter().find(|file| file.path == "README.md").expect("README.md").text;
    let pages = all.iter().filter(|file| file.path.starts_with("docs/") && file.path.ends_with(".md"));
    none(
        pages
            .filter(|page| !readme.contains(&format!("]({})", page.path)))
            .map(|page| format!("README.md does not link {}", page.path))
            .collect(),
    );
}
