use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::model::*;
use super::*;

fn podfile() -> Podfile {
    Podfile {
        name: None,
        base: Base::Image("debian:12".parse().unwrap()),
        branch: None,
        packages: Vec::new(),
        shell: None,
        env: BTreeMap::new(),
        dotfiles: None,
        repos: Vec::new(),
        services: Vec::new(),
        ports: Ports::default(),
        resources: Resources::default(),
        hooks: Hooks::default(),
        extra_commands: Vec::new(),
        mount: MountWay::default(),
        mode: None,
        workspace: None,
        start_dir: None,
        volumes: Vec::new(),
        user: None,
    }
}

fn made(podfile: &Podfile) -> Recipe {
    recipe(podfile, "{}", "web", &PackageSources::default()).unwrap().1
}

fn refused(change: impl FnOnce(&mut Podfile)) -> String {
    let mut podfile = podfile();
    change(&mut podfile);
    recipe(&podfile, "{}", "web", &PackageSources::default()).unwrap_err()
}

/// The instructions of a file, one a line, each with the words of its JSON.
fn instructions(dockerfile: &str) -> Vec<(String, Vec<String>)> {
    let lines = dockerfile.strip_suffix('\n').expect("ends with a line").split('\n');
    lines
        .map(|line| {
            let (name, rest) = line.split_once(' ').expect("an instruction and what it says");
            let words = match name {
                "RUN" => serde_json::from_str(rest).expect("the JSON form"),
                _ => vec![rest.to_owned()],
            };
            (name.to_owned(), words)
        })
        .collect()
}

fn names(dockerfile: &str) -> Vec<String> {
    instructions(dockerfile).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn parts_come_in_the_order_prerequisites_runtimes_packages_environment_commands() {
    let mut podfile = podfile();
    podfile.packages = ["jq", "rust@stable", "go", "curl", "jq"].map(String::from).into();
    podfile.env = [("B", "2"), ("A", "1"), ("ME", "${PODSPAWN_USER}")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    podfile.ports.expose = vec![8080, 3000];
    podfile.extra_commands = vec!["make".into(), "  ".into(), "one\ntwo".into()];
    let recipe = made(&podfile);
    let file = instructions(&recipe.dockerfile);
    let order: Vec<&str> = file.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = ["FROM", "USER", "RUN", "RUN", "RUN", "ENV", "RUN", "ENV", "EXPOSE", "RUN", "RUN"];
    assert_eq!(order, wanted);
    assert!(file[2].1[2].contains("gcc libc6-dev"));
    assert!(file[3].1[2].contains("rustup-init") && file[4].1[2].contains("linux-$arch.tar.gz"));
    assert!(
        file[6].1[2].contains("install -y --no-install-recommends 'curl' 'jq' 'sudo' 'ca-certificates'\n")
    );
    assert_eq!(file[7].1, ["A=\"1\" B=\"2\""]);
    assert_eq!(file[8].1, ["8080 3000"]);
    assert_eq!(file[10].1[4..], ["one\ntwo", "podspawn-step: one…"]);
    assert_eq!((recipe.base, recipe.base_tag), (Some("debian:12".parse().unwrap()), None));
    assert_eq!(recipe.packages, podfile.packages);
}

#[test]
fn the_name_follows_everything_that_makes_the_image_another_one() {
    let sources = PackageSources::default();
    let name = |canonical: &str, project: &str, sources: &PackageSources| {
        recipe(&podfile(), canonical, project, sources).unwrap().0.to_string()
    };
    let first = name("{}", "web", &sources);
    assert!(first.starts_with("podspawn/web:podfile-"), "{first}");
    let hash = first.rsplit('-').next().unwrap();
    assert!(hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{first}");
    assert_eq!(name("{}", "web", &sources), first);
    assert_ne!(name("{ }", "web", &sources), first);
    let mirror = PackageSources { go: "http://mirror/go".parse().unwrap(), ..PackageSources::default() };
    assert_ne!(name("{}", "web", &mirror), first);
    for (project, path) in
        [("My__App-", "my_app"), ("a.b", "a.b"), ("---", "podfile"), ("x y/z", "x-y-z"), ("été", "t")]
    {
        assert!(name("{}", project, &sources).starts_with(&format!("podspawn/{path}:")), "{project}");
    }
}

#[test]
fn a_repositorys_own_dockerfile_is_part_of_the_name() {
    let dir = tempfile::Builder::new().prefix("podspawn-recipe-").tempdir().unwrap();
    let mut podfile = podfile();
    podfile.base = Base::Build(BuildBase {
        dockerfile: "Dockerfile".into(),
        context: dir.path().to_owned(),
        args: BTreeMap::new(),
        target: None,
    });
    let made = |podfile: &Podfile| recipe(podfile, "{}", "web", &PackageSources::default());
    assert!(made(&podfile).unwrap_err().starts_with("the Dockerfile `Dockerfile` is not a file"));
    std::fs::write(dir.path().join("Dockerfile"), "FROM debian:12\n").unwrap();
    let (name, recipe) = made(&podfile).unwrap();
    let base = recipe.base_tag.unwrap();
    assert!(base.as_str().starts_with("podspawn/web:base-"), "{base}");
    assert!(recipe.dockerfile.starts_with(&format!("FROM {base}\n")));
    std::fs::write(dir.path().join("Dockerfile"), "FROM debian:13\n").unwrap();
    let (other, recipe) = made(&podfile).unwrap();
    assert_ne!((other, recipe.base_tag), (name, Some(base)));
}

#[test]
fn references_in_values_stay_and_everything_else_is_what_it_is() {
    for (value, wanted) in [
        ("/opt/bin:$PATH", "/opt/bin:$PATH"),
        ("${HOME}/x", "${HOME}/x"),
        ("${A:-b c}", "${A:-b c}"),
        ("${A:-$B}", "\\${A:-$B}"),
        ("5$ $$ pa$$word$", "5\\$ \\$\\$ pa\\$$word\\$"),
        ("$1", "\\$1"),
        ("\\$HOME", "\\$HOME"),
        ("C:\\dir\\", "C:\\\\dir\\\\"),
        ("say \"hi\"", "say \\\"hi\\\""),
        ("${A", "\\${A"),
        ("# 'x'", "# 'x'"),
    ] {
        assert_eq!(env_value(value), wanted, "{value}");
    }
}

#[test]
fn what_cannot_be_built_is_refused_with_its_reason() {
    let text = refused(|podfile| podfile.env = [("A".into(), "x\nRUN id".into())].into());
    assert_eq!(text, "the value of `A` contains '\\n': a variable of an image is one line of text");
    let text = refused(|podfile| podfile.env = [("A B".into(), "x".into())].into());
    assert_eq!(text, "\"A B\" is not the name of a variable");
    let text = refused(|podfile| podfile.packages = ["nodejs@20".into(), "nodejs@22".into()].into());
    assert_eq!(text, "`nodejs@20` and `nodejs@22` cannot both be installed: list one of them");
    assert!(refused(|podfile| podfile.extra_commands = vec!["x".repeat(70_000)]).contains("too long"));
    assert!(refused(|podfile| podfile.extra_commands = vec!["a\0b".into()]).contains("NUL"));
}

#[test]
fn a_command_runs_in_the_podfiles_shell() {
    let mut podfile = podfile();
    podfile.extra_commands = vec!["make".into()];
    for (shell, last) in [
        (None, "podspawn-step: make"),
        (Some("/bin/bash"), "podspawn-step: make"),
        (Some("/bin/zsh"), "/bin/zsh"),
    ] {
        podfile.shell = shell.map(str::to_owned);
        let file = instructions(&made(&podfile).dockerfile);
        assert_eq!(file.last().unwrap().1.last().unwrap(), last);
    }
}

proptest! {
    #[test]
    fn no_package_variable_or_command_adds_an_instruction(
        packages in proptest::collection::vec(any::<String>(), 0..3),
        lines in proptest::collection::vec("(RUN|ENV|#|<<EOF|EOF|FROM| |\\\\|\"|'|\\$\\(id\\)|;|[a-z]|\n|\r){0,12}", 0..4),
        env in proptest::collection::btree_map("[A-Z]{1,3}", "(\\\\|\"|\\$|\\{|\\}|'|`|[a-z]| ){0,10}", 0..3),
        source in "https?://[a-z'\"$();` \\\\]{1,12}",
    ) {
        let mut podfile = podfile();
        podfile.packages = packages;
        podfile.extra_commands = lines;
        podfile.env = env;
        let sources = match source.parse() {
            Ok(url) => PackageSources { go: url, ..PackageSources::default() },
            Err(_) => PackageSources::default(),
        };
        podfile.packages.push("go".into());
        podfile.packages.retain(|entry| packages::parse(entry).is_ok());
        let Ok((_, recipe)) = recipe(&podfile, "{}", "web", &sources) else { return Ok(()) };
        let commands = podfile.extra_commands.iter().filter(|command| !command.trim().is_empty()).count();
        let runs = names(&recipe.dockerfile).iter().filter(|name| *name == "RUN").count();
        let runtimes = podfile.packages.len();
        prop_assert!((2 + commands..=3 + commands + runtimes).contains(&runs));
        for (name, words) in instructions(&recipe.dockerfile) {
            prop_assert!(["FROM", "USER", "RUN", "ENV", "EXPOSE"].contains(&name.as_str()));
            if name == "ENV" {
                // Every quote that is not escaped ends a value or begins one.
                let bare = words[0].replace("\\\\", "").replace("\\\"", "");
                prop_assert_eq!(bare.matches('"').count() % 2, 0);
            }
        }
        for command in podfile.extra_commands.iter().filter(|command| !command.trim().is_empty()) {
            prop_assert!(instructions(&recipe.dockerfile).iter().any(|(_, words)| words.contains(command)));
        }
        prop_assert!(!recipe.dockerfile.contains("<<"));
    }

    #[test]
    fn no_source_or_version_leaves_its_quotes(text in any::<String>()) {
        let quoted = packages::word(&text);
        // What a shell makes of it: quotes removed, each `'\''` one quote.
        let inner = &quoted[1..quoted.len() - 1];
        prop_assert_eq!(inner.replace("'\\''", "\u{0}").contains('\''), false);
        prop_assert_eq!(inner.replace("'\\''", "'"), text);
    }
}

#[test]
fn an_environment_fits_into_one_argument() {
    let long = |value: String| {
        move |podfile: &mut Podfile| {
            podfile.env = (0..4).map(|n| (format!("V{n}"), value.clone())).collect();
        }
    };
    let text = "x".repeat(20_000);
    assert!(refused(long(text.clone())).starts_with("`env` is too long (80"));
    assert!(refused(long(format!("{text}${{PODSPAWN_USER}}"))).starts_with("`env` is too long (80"));
}
