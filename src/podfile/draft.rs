//! A Podfile that is being written: the text of a template, what people are asked about it, and the text with their answers.
//!
//! Only the keys that were answered change: everything else in a template, its comments too, stays as it is.

use figment::value::{Dict, Value};

use super::check_package;
use crate::config::yaml;
use crate::names::{ImageRef, quoted};

/// Most items of one answer.
const MAX_ITEMS: usize = 200;

/// A companion container that can be chosen by a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Companion {
    /// The word, also its name.
    pub name: &'static str,
    lines: &'static [&'static str],
}

/// What can be chosen.
pub const COMPANIONS: &[Companion] = &[
    Companion {
        name: "postgres",
        lines: &[
            "name: postgres",
            "image: postgres:16",
            "ports: [5432]",
            "env:",
            "  POSTGRES_PASSWORD: devpass",
            "  POSTGRES_DB: dev",
        ],
    },
    Companion { name: "redis", lines: &["name: redis", "image: redis:7", "ports: [6379]"] },
];

/// What a person chose; none keeps what the template says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// What it is built on.
    pub base: Option<BaseAnswer>,
    /// Packages.
    pub packages: Option<Vec<String>>,
    /// Companions on top of the template's.
    pub services: Vec<Companion>,
    /// Ports.
    pub ports: Option<Vec<u16>>,
}

/// What a Podfile is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseAnswer {
    /// An image.
    Image(ImageRef),
    /// One of the known bases.
    Extends(String),
}

/// A Podfile with the answers in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its text.
    pub text: String,
    /// Hooks of the template that are not in it, each with the package that it needs and that was not chosen.
    pub left_out: Vec<(&'static str, String)>,
}

/// The text of a template and its values.
#[derive(Debug, Clone)]
pub struct Draft {
    text: String,
    values: Dict,
}

impl Draft {
    /// Reads a template.
    pub fn new(text: String) -> Result<Self, String> {
        let values = values(&text)?;
        Ok(Self { text, values })
    }

    /// The text as it is.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is built on, as it is written.
    pub fn base(&self) -> &str {
        let of = |key: &str| self.values.get(key).and_then(Value::as_str);
        of("base").or_else(|| of("extends")).unwrap_or_default()
    }

    /// Its packages.
    pub fn packages(&self) -> Vec<String> {
        shown_items(self.values.get("packages"))
    }

    /// Its ports.
    pub fn ports(&self) -> Vec<String> {
        shown_items(self.values.get("ports").and_then(Value::as_dict).and_then(|ports| ports.get("expose")))
    }

    fn has_service(&self, name: &str) -> bool {
        let services = self.values.get("services").and_then(Value::as_array).unwrap_or_default();
        services.iter().any(|service| {
            service.as_dict().and_then(|service| service.get("name")).and_then(Value::as_str) == Some(name)
        })
    }

    /// The hooks that use a package of the template that is not among the answered ones, with that package.
    fn without_ground(&self, packages: &[String]) -> Vec<(&'static str, String)> {
        let bare = |package: &str| package.split('@').next().unwrap_or_default().to_owned();
        let kept: Vec<String> = packages.iter().map(|package| bare(package)).collect();
        let dropped: Vec<String> =
            self.packages().iter().map(|package| bare(package)).filter(|name| !kept.contains(name)).collect();
        let hooks = ["on_create", "on_start"].into_iter();
        hooks
            .filter_map(|key| {
                let script = self.values.get(key).and_then(Value::as_str)?;
                let needed = dropped.iter().find(|package| uses(script, package))?;
                Some((key, needed.clone()))
            })
            .collect()
    }

    /// The text with the answers in it.
    pub fn with(&self, answers: &Answers) -> Result<Written, String> {
        let Answers { base, packages, services, ports } = answers;
        let mut blocks = Blocks::of(&self.text);
        let mut changed = Vec::new();
        if let Some(base) = base {
            let (key, other, value) = match base {
                BaseAnswer::Image(image) => ("base", "extends", image.as_str()),
                BaseAnswer::Extends(name) => ("extends", "base", name.as_str()),
            };
            blocks.rename(other, key);
            blocks.set(key, vec![format!("{key}: {}", scalar(value))]);
            changed.extend(["base", "extends"]);
        }
        if let Some(packages) = packages {
            let mut lines = vec!["packages:".to_owned()];
            lines.extend(packages.iter().map(|package| format!("  - {}", scalar(package))));
            blocks.set("packages", if packages.is_empty() { Vec::new() } else { lines });
            changed.push("packages");
        }
        let left_out = packages.as_ref().map_or_else(Vec::new, |packages| self.without_ground(packages));
        for (key, _) in &left_out {
            blocks.set(key, Vec::new());
            changed.push(key);
        }
        let new: Vec<&Companion> =
            services.iter().filter(|service| !self.has_service(service.name)).collect();
        if !new.is_empty() {
            blocks.add_services(&new);
            changed.push("services");
        }
        if let Some(ports) = ports {
            let mut lines = vec!["ports:".to_owned()];
            if !ports.is_empty() {
                let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
                lines.push(format!("  expose: [{list}]"));
            }
            let strategy =
                self.values.get("ports").and_then(Value::as_dict).and_then(|ports| ports.get("strategy"));
            lines
                .extend(strategy.and_then(Value::as_str).map(|word| format!("  strategy: {}", scalar(word))));
            blocks.set("ports", if lines.len() == 1 { Vec::new() } else { lines });
            changed.push("ports");
        }
        let text = blocks.text();
        self.verify(&text, answers, &changed)?;
        Ok(Written { text, left_out })
    }

    /// A template may be written in a way that lines cannot be exchanged in: then nothing is better than something else.
    fn verify(&self, text: &str, answers: &Answers, changed: &[&str]) -> Result<(), String> {
        let odd = || "the template is written in a way that answers cannot be put into".to_owned();
        let written = Self::new(text.to_owned()).map_err(|_| odd())?;
        let mut good = answers.packages.as_ref().is_none_or(|packages| written.packages() == *packages)
            && answers.services.iter().all(|service| written.has_service(service.name));
        if let Some(ports) = &answers.ports {
            good &= written.ports() == ports.iter().map(u16::to_string).collect::<Vec<_>>();
        }
        good &= answers.base.as_ref().is_none_or(|base| match base {
            BaseAnswer::Image(image) => written.base() == image.as_str(),
            BaseAnswer::Extends(name) => written.base() == name,
        });
        let same = |one: &Dict, other: &Dict| {
            one.iter()
                .filter(|(key, _)| !changed.contains(&key.as_str()))
                .all(|(key, value)| other.get(key) == Some(value))
        };
        good &= same(&self.values, &written.values) && same(&written.values, &self.values);
        if good { Ok(()) } else { Err(odd()) }
    }
}

fn values(text: &str) -> Result<Dict, String> {
    let document = yaml::parse(text).map_err(|malformed| match malformed.line {
        Some(line) => format!("line {line}: {}", malformed.reason),
        None => malformed.reason,
    })?;
    Ok(document.values)
}

fn shown_items(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| {
            let number =
                || item.to_u128().map(|n| n.to_string()).or_else(|| item.to_i128().map(|n| n.to_string()));
            item.as_str().map(str::to_owned).or_else(number)
        })
        .collect()
}

/// Whether a script uses what a package brings: its name or one of its programs is a word in it.
fn uses(script: &str, package: &str) -> bool {
    let programs: &[&str] = match package {
        "nodejs" => &["node", "npm", "npx"],
        "python" => &["python3", "pip", "pip3", "uv"],
        "rust" => &["rustc", "cargo", "rustup"],
        _ => &[],
    };
    let between = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/'));
    script.split(between).any(|word| word == package || programs.contains(&word))
}

/// What an answer to the question for the base means; `is_base` says whether a base of this name is known.
pub fn read_base(answer: &str, is_base: impl Fn(&str) -> bool) -> Result<BaseAnswer, String> {
    if is_base(answer) {
        return Ok(BaseAnswer::Extends(answer.to_owned()));
    }
    answer.parse().map(BaseAnswer::Image).map_err(|error: crate::names::NameError| match &error.suggestion {
        Some(near) => format!("{error}; did you mean `{near}`?"),
        None => error.to_string(),
    })
}

/// What an answer to the question for packages means.
pub fn read_packages(answer: &str) -> Result<Vec<String>, String> {
    let mut packages = Vec::new();
    for item in items(answer)? {
        check_package(item)?;
        if !packages.iter().any(|package| package == item) {
            packages.push(item.to_owned());
        }
    }
    Ok(packages)
}

/// What an answer to the question for ports means.
pub fn read_ports(answer: &str) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for item in items(answer)? {
        let digits = item.bytes().all(|byte| byte.is_ascii_digit());
        let port = item.parse().ok().filter(|port| digits && *port > 0);
        let port = port.ok_or_else(|| format!("{} is not a port (1-65535)", quoted(item)))?;
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

/// What an answer to the question for services means.
pub fn read_services(answer: &str) -> Result<Vec<Companion>, String> {
    let mut chosen = Vec::new();
    for item in items(answer)? {
        let companion = COMPANIONS.iter().find(|companion| companion.name == item.to_lowercase());
        let companion =
            companion.ok_or_else(|| format!("{} is none of postgres, redis, none", quoted(item)))?;
        if !chosen.contains(companion) {
            chosen.push(*companion);
        }
    }
    Ok(chosen)
}

/// The items of a list with commas; `none` alone is an empty one.
fn items(answer: &str) -> Result<Vec<&str>, String> {
    if answer.trim().eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    let items: Vec<&str> = answer.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.len() > MAX_ITEMS {
        return Err(format!("there are {} of them, at most {MAX_ITEMS} are allowed", items.len()));
    }
    Ok(items)
}

/// A text as YAML writes it: plain where nothing else can be meant.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '+' | '@' | '/' | ':');
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && text.chars().all(plain) && !text.ends_with(':') && !word {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// The keys at the top of a text with the lines that belong to each, and the lines between them.
struct Blocks(Vec<Block>);

struct Block {
    /// None for comments and blank lines.
    key: Option<String>,
    lines: Vec<String>,
}

/// Keys that are written, in the order that they are looked for to put a new one behind.
const ORDER: &[&str] = &["extends", "base", "name", "packages", "services", "ports"];

impl Blocks {
    fn of(text: &str) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        let mut between: Vec<String> = Vec::new();
        for line in text.lines() {
            let continues = line.starts_with([' ', '\t', '-']) && !line.starts_with("---");
            if line.trim().is_empty() || line.starts_with('#') {
                between.push(line.to_owned());
            } else if let (true, Some(last)) = (continues, blocks.last_mut()) {
                last.lines.append(&mut between);
                last.lines.push(line.to_owned());
            } else {
                if !between.is_empty() {
                    blocks.push(Block { key: None, lines: std::mem::take(&mut between) });
                }
                let key = line.split(':').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
                blocks.push(Block { key: Some(key.to_owned()), lines: vec![line.to_owned()] });
            }
        }
        if !between.is_empty() {
            blocks.push(Block { key: None, lines: between });
        }
        Self(blocks)
    }

    fn text(&self) -> String {
        let mut text =
            self.0.iter().flat_map(|block| &block.lines).fold(String::new(), |text, line| text + line + "\n");
        while text.ends_with("\n\n") {
            text.pop();
        }
        text
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.0.iter().position(|block| block.key.as_deref() == Some(key))
    }

    /// Lets `new` stand where `old` stands, if it is there and the other is not.
    fn rename(&mut self, old: &str, new: &str) {
        let (Some(at), there) = (self.find(old), self.find(new).is_some()) else { return };
        if there {
            self.0.remove(at);
        } else {
            self.0[at].key = Some(new.to_owned());
        }
    }

    /// Puts these lines in the place of a key; none removes it with the comment above it.
    fn set(&mut self, key: &str, lines: Vec<String>) {
        match self.find(key) {
            Some(at) if lines.is_empty() => {
                self.0.remove(at);
                if let Some(above) =
                    at.checked_sub(1).map(|above| &mut self.0[above]).filter(|block| block.key.is_none())
                {
                    while above.lines.last().is_some_and(|line| line.starts_with('#')) {
                        above.lines.pop();
                    }
                    while above.lines.last().is_some_and(|line| line.trim().is_empty()) {
                        above.lines.pop();
                    }
                }
            }
            Some(at) => self.0[at].lines = lines,
            None if lines.is_empty() => {}
            None => self.insert(key, lines),
        }
    }

    fn insert(&mut self, key: &str, lines: Vec<String>) {
        let before = ORDER.iter().take_while(|known| **known != key);
        let at = before.filter_map(|known| self.find(known)).max().map_or(self.0.len(), |at| at + 1);
        self.0.insert(at, Block { key: Some(key.to_owned()), lines });
        self.0.insert(at, Block { key: None, lines: vec![String::new()] });
    }

    fn add_services(&mut self, services: &[&Companion]) {
        let at = match self.find("services") {
            Some(at) => at,
            None => {
                self.insert("services", vec!["services:".to_owned()]);
                let Some(at) = self.find("services") else { return };
                at
            }
        };
        let block = &mut self.0[at].lines;
        let first = block.iter().find(|line| line.trim_start().starts_with("- "));
        let indent = first.map_or(2, |line| line.len() - line.trim_start().len());
        for service in services {
            for (index, line) in service.lines.iter().enumerate() {
                let dash = if index == 0 { "- " } else { "  " };
                block.push(format!("{:indent$}{dash}{line}", ""));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podfile::templates;

    fn draft(name: &str) -> Draft {
        Draft::new(templates::built_in(name).unwrap().to_owned()).unwrap()
    }

    #[test]
    fn a_template_shows_what_can_be_answered() {
        let go = draft("go");
        assert_eq!(go.base(), "ubuntu-dev");
        assert_eq!(go.packages(), ["go@1.25.0", "make"]);
        assert_eq!(go.ports(), ["8080"]);
        assert_eq!(draft("minimal").base(), "ubuntu:24.04");
        assert_eq!(draft("minimal").ports(), Vec::<String>::new());
    }

    #[test]
    fn without_answers_the_template_stays_as_it_is() {
        for name in ["go", "node", "python", "rust", "fullstack", "minimal"] {
            let draft = draft(name);
            let written = Written { text: draft.text().to_owned(), left_out: Vec::new() };
            assert_eq!(draft.with(&Answers::default()), Ok(written));
        }
    }

    #[test]
    fn answers_change_their_keys_and_nothing_else() {
        let answers = Answers {
            base: Some(read_base("debian:12", |_| false).unwrap()),
            packages: Some(read_packages("git, curl ,git,nodejs@22").unwrap()),
            services: read_services("redis, Postgres,redis").unwrap(),
            ports: Some(read_ports("80,443").unwrap()),
        };
        assert_eq!(
            draft("minimal").with(&answers).unwrap().text,
            "# yaml-language-server: $schema=https://podspawn.dev/schema/podfile.json\n\
             # The least that is of use.\nbase: debian:12\n\npackages:\n  - git\n  - curl\n  - nodejs@22\n\n\
             services:\n  - name: redis\n    image: redis:7\n    ports: [6379]\n  - name: postgres\n    image: postgres:16\n    \
             ports: [5432]\n    env:\n      POSTGRES_PASSWORD: devpass\n      POSTGRES_DB: dev\n\nports:\n  expose: [80, 443]\n\n\
             resources:\n  cpus: 1\n  memory: 2g\n\n# For each connection.\non_start: git --version\n"
        );
        for name in ["go", "node", "python", "rust", "fullstack"] {
            let text = draft(name).with(&answers).unwrap().text;
            assert!(text.contains("\nbase: debian:12\n") && !text.contains("extends"), "{text}");
            assert_eq!(text.matches("name: redis").count(), 1, "{text}");
            assert!(text.contains("\nresources:\n  cpus: "), "{text}");
        }
    }

    #[test]
    fn empty_lists_leave_no_empty_keys() {
        let answers = Answers {
            base: Some(read_base("data-science", |name| name == "data-science").unwrap()),
            packages: Some(read_packages("none").unwrap()),
            ports: Some(read_ports(" NONE ").unwrap()),
            ..Answers::default()
        };
        let text = draft("fullstack").with(&answers).unwrap().text;
        assert!(text.contains("\nextends: data-science\n"), "{text}");
        assert!(!text.contains("packages") && !text.contains("expose"), "{text}");
        assert!(!text.contains("\n\n\n"), "{text}");
    }

    #[test]
    fn hooks_go_with_the_package_that_they_need() {
        for (name, packages, left_out) in [
            ("go", "none", &[("on_create", "go"), ("on_start", "go")][..]),
            ("go", "go@1.24", &[]),
            ("go", "make", &[("on_create", "go"), ("on_start", "go")]),
            ("fullstack", "nodejs", &[("on_create", "go"), ("on_start", "go")]),
            ("fullstack", "go", &[("on_start", "nodejs")]),
            ("python", "none", &[("on_create", "python"), ("on_start", "python")]),
            ("python", "python@3.12", &[]),
            ("node", "none", &[("on_create", "nodejs"), ("on_start", "nodejs")]),
            ("rust", "git", &[("on_create", "rust"), ("on_start", "rust")]),
            ("minimal", "none", &[("on_start", "git")]),
            ("minimal", "git", &[]),
        ] {
            let answers = Answers { packages: Some(read_packages(packages).unwrap()), ..Answers::default() };
            let written = draft(name).with(&answers).unwrap();
            let wanted: Vec<_> =
                left_out.iter().map(|(key, package)| (*key, (*package).to_owned())).collect();
            assert_eq!(written.left_out, wanted, "{name} {packages}");
            for key in ["on_create", "on_start"] {
                let there = draft(name).text().contains(key) && !wanted.iter().any(|(gone, _)| *gone == key);
                assert_eq!(written.text.contains(key), there, "{}", written.text);
            }
            assert!(written.text.ends_with('\n') && !written.text.contains("\n\n\n"), "{}", written.text);
        }
    }

    #[test]
    fn wrong_answers_are_told() {
        let said = |result: Result<Vec<u16>, String>| result.expect_err("a refusal");
        assert_eq!(said(read_ports("80, 0")), "\"0\" is not a port (1-65535)");
        assert_eq!(said(read_ports("+80")), "\"+80\" is not a port (1-65535)");
        assert_eq!(said(read_ports("\u{1b}[A")), "\"\\u{1b}[A\" is not a port (1-65535)");
        assert_eq!(read_services("mysql").unwrap_err(), "\"mysql\" is none of postgres, redis, none");
        assert!(read_packages("git; id").is_err());
        assert!(read_packages(&"a,".repeat(201)).unwrap_err().contains("at most 200"));
        assert!(read_base("Ubuntu", |_| false).unwrap_err().ends_with("did you mean `ubuntu`?"));
        assert_eq!(read_services(""), Ok(Vec::new()));
    }

    #[test]
    fn a_template_that_cannot_be_changed_by_lines_is_left_alone() {
        let odd = Draft::new("{base: debian:12, packages: [git]}\n".into()).unwrap();
        let answers = Answers { packages: Some(vec!["curl".into()]), ..Answers::default() };
        assert!(odd.with(&answers).unwrap_err().contains("cannot be put into"));
        let odd = Draft::new("base: debian:12\nservices: []\n".into()).unwrap();
        let answers = Answers { services: read_services("redis").unwrap(), ..Answers::default() };
        assert!(odd.with(&answers).is_err());
        assert!(Draft::new("}{".into()).is_err());
    }

    #[test]
    fn scalars_are_quoted_where_yaml_would_read_something_else() {
        for (text, written) in [
            ("git", "git"),
            ("go@1.25.0", "go@1.25.0"),
            ("localhost:5000/a", "localhost:5000/a"),
            ("null", "\"null\""),
            ("On", "\"On\""),
            ("0ad", "\"0ad\""),
            ("a:", "\"a:\""),
            ("a\"\\b", "\"a\\\"\\\\b\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }
}
