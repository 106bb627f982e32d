//! From a Podfile to the Dockerfile of its image, and to the name that this image has.
//!
//! The Dockerfile is written so that nothing in a Podfile can add an instruction to it: what is run stands in the JSON form
//! of `RUN`, on one line whatever it contains. Reads the context of a repository's own Dockerfile (for the name), nothing
//! else; calls `names`, `config`, `system`, and builds what `spec` carries.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::model::{Base, BuildBase, Podfile, is_dynamic};
use super::packages::{self, Package, Runtime, as_written};
use crate::config::PackageSources;
use crate::names::{ImageRef, printable, quoted};
use crate::spec::Recipe;
use crate::system::{BuildContext, build_context};

/// Goes into the name of every image: higher whenever the same Podfile gets another Dockerfile.
const VERSION: u32 = 2;
/// Digits of the hash in a name.
const DIGITS: usize = 12;
/// Longest command, in bytes as the Dockerfile has them: builders read lines of at most 64 KiB.
const MAX_LINE: usize = 60_000;
/// Longest part of a command that is shown as a step's name, in characters.
const MAX_LABEL: usize = 60;

/// Runs `$1` with bash where there is one, after having said that this step begins. All that it writes comes in one stream:
/// builders do not keep the order of two, and what an error says might come before its step begins.
const RUN_EXTRA: &str = "exec 2>&1; echo \"$2\"; if [ -x /bin/bash ]; then exec /bin/bash -ec \"$1\"; fi; exec /bin/sh -ec \"$1\"";
/// As [`RUN_EXTRA`], with the Podfile's own shell.
const RUN_EXTRA_WITH: &str = "exec 2>&1; echo \"$2\"; exec \"$3\" -c \"$1\"";

/// How the image of a Podfile is made, and its name: `podspawn/<project>:podfile-<hash>`. The hash is that of the
/// `canonical` text, of where packages come from, of a repository's own build context and of the way of building itself.
/// The error is a whole message.
pub fn recipe(
    podfile: &Podfile,
    canonical: &str,
    project: &str,
    sources: &PackageSources,
) -> Result<(ImageRef, Recipe), String> {
    let repository = format!("podspawn/{}", repository(project));
    let name = |kind: &str, hash: &str| -> Result<ImageRef, String> {
        format!("{repository}:{kind}-{hash}")
            .parse()
            .map_err(|error: crate::names::NameError| error.to_string())
    };
    let (base, base_build, base_tag, base_hash) = match &podfile.base {
        Base::Image(image) => (Some(image.clone()), None, None, String::new()),
        Base::Build(build) => {
            let hash = hash_of_build(build)?;
            (None, Some(build.clone()), Some(name("base", &hash[..DIGITS])?), hash)
        }
    };
    let from = base.as_ref().or(base_tag.as_ref()).expect("one of them is set above");
    let (dockerfile, packages) = dockerfile(podfile, from, sources)?;
    let mut hash = Sha256::new();
    let sources =
        [&sources.nodejs, &sources.python, &sources.go, &sources.rust].map(|source| source.as_str());
    let version = VERSION.to_string();
    for part in [version.as_str(), canonical, base_hash.as_str()].into_iter().chain(sources) {
        // With its length, so that no two lists of parts look the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let image = name("podfile", &hex(hash)[..DIGITS])?;
    Ok((image, Recipe { base, base_build, base_tag, dockerfile, packages }))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a repository's own image depends on: the Dockerfile and, if it takes anything from there, its whole context;
/// arguments, stage. What a container does in a mounted project makes no other image then, and no error.
fn hash_of_build(build: &BuildBase) -> Result<String, String> {
    let failed = |error: build_context::BuildContextError| error.to_string();
    let text = build_context::dockerfile(&build.context, &build.dockerfile).map_err(failed)?;
    let mut hash = Sha256::new();
    if build_context::stands_alone(&text) {
        hash.update(&text);
    } else {
        let context = BuildContext::read(&build.context, &build.dockerfile).map_err(failed)?;
        hash.update(&context.archive);
    }
    hash.update(format!("{:?}", (&build.dockerfile, &build.args, &build.target)));
    Ok(hex(hash))
}

/// Whether an image is made of more than its Dockerfile says; so it is if that cannot be told.
pub(super) fn takes_from_context(build: &BuildBase) -> bool {
    let text = build_context::dockerfile(&build.context, &build.dockerfile);
    !text.is_ok_and(|text| build_context::stands_alone(&text))
}

/// A project's name as the path of an image: separators stand alone, and never at an end.
fn repository(project: &str) -> String {
    let mut path = String::new();
    for c in project.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            path.push(c);
        } else if !path.is_empty() && !path.ends_with(['-', '_', '.']) {
            path.push(if matches!(c, '_' | '.') { c } else { '-' });
        }
        if path.len() == 100 {
            break;
        }
    }
    let path = path.trim_end_matches(['-', '_', '.']);
    if path.is_empty() { "podfile".into() } else { path.into() }
}

/// The whole file, and what it installs in the words of the Podfile.
fn dockerfile(
    podfile: &Podfile,
    from: &ImageRef,
    sources: &PackageSources,
) -> Result<(String, Vec<String>), String> {
    let mut runtimes: Vec<(Runtime, Option<String>)> = Vec::new();
    let mut plain = BTreeSet::from([("sudo".to_owned(), None)]);
    for entry in &podfile.packages {
        match packages::parse(entry)? {
            Package::Runtime(runtime, version) => {
                let found = Package::Runtime(runtime, version.clone());
                for (runtime, version) in &runtimes {
                    packages::fit_together(&Package::Runtime(*runtime, version.clone()), &found)?;
                }
                if !runtimes.contains(&(runtime, version.clone())) {
                    runtimes.push((runtime, version));
                }
            }
            Package::Plain { name, version } => {
                if version.is_some() {
                    plain.remove(&(name.clone(), None));
                }
                plain.insert((name, version));
            }
        }
    }
    let mut file = format!("FROM {from}\n");
    // An image may end as another account, which can install nothing; the session's account is not the image's anyway.
    file += "USER root\n";
    if !runtimes.is_empty() {
        let kinds: Vec<Runtime> = runtimes.iter().map(|(runtime, _)| *runtime).collect();
        file += &run("tools", &packages::prerequisites(&kinds))?;
        for (runtime, version) in &runtimes {
            let part = format!("runtime {}", as_written(runtime.name(), version.as_deref()));
            file += &run(&part, &packages::runtime(*runtime, version.as_deref(), sources))?;
        }
        if kinds.contains(&Runtime::Rust) {
            file += &format!("ENV RUSTUP_HOME=\"{}\"\n", packages::RUSTUP_HOME);
        }
    }
    let plain: Vec<(String, Option<String>)> = plain.into_iter().collect();
    // In the words of the Podfile: `sudo` is there without being asked for.
    let added =
        |name: &str| name == "sudo" && plain.len() > 1 && !podfile.packages.iter().any(|it| it == name);
    let named = plain.iter().filter(|(name, _)| !added(name));
    let named: Vec<String> = named.map(|(name, version)| as_written(name, version.as_deref())).collect();
    file += &run(&format!("packages {}", named.join(" ")), &packages::batch(&plain))?;
    file += &env(podfile)?;
    if !podfile.ports.expose.is_empty() {
        let ports: Vec<String> = podfile.ports.expose.iter().map(u16::to_string).collect();
        file += &format!("EXPOSE {}\n", ports.join(" "));
    }
    let shell = podfile.shell.as_deref().filter(|shell| !matches!(*shell, "/bin/bash" | "/bin/sh"));
    for command in &podfile.extra_commands {
        if command.trim().is_empty() {
            continue;
        }
        let label = format!("{}{}", Recipe::STEP_MARK, label(command));
        file += &match shell {
            Some(shell) => {
                exec(&["/bin/sh", "-c", RUN_EXTRA_WITH, "podspawn", command, &label, shell], command)?
            }
            None => exec(&["/bin/sh", "-c", RUN_EXTRA, "podspawn", command, &label], command)?,
        };
    }
    let mut shown = podfile.packages.clone();
    shown.dedup();
    Ok((file, shown))
}

/// One step that podspawn itself wrote, which says first which part it is.
fn run(part: &str, script: &str) -> Result<String, String> {
    let begin = packages::word(&format!("{}{part}", Recipe::PART_MARK));
    exec(&["/bin/sh", "-euc", &format!("exec 2>&1\necho {begin}\n{script}")], script)
}

/// One `RUN` on one line: JSON has an escape for every character that a Dockerfile gives a meaning to.
fn exec(argv: &[&str], told: &str) -> Result<String, String> {
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(format!("the command {} contains a NUL byte", quoted(told)));
    }
    let json = serde_json::to_string(argv).map_err(|error| error.to_string())?;
    // Nothing that could be taken for the begin of a here-document is left in sight.
    let line = format!("RUN {}\n", json.replace('<', "\\u003c"));
    if line.len() > MAX_LINE {
        return Err(format!(
            "the command {} is too long ({} bytes of at most {MAX_LINE}): put it into a script of the repository",
            quoted(told),
            line.len()
        ));
    }
    Ok(line)
}

/// A command as the name of a step: its first line, shortened.
fn label(command: &str) -> String {
    let line = printable(command.trim().lines().next().unwrap_or_default());
    if line.chars().count() <= MAX_LABEL && command.trim().lines().count() <= 1 {
        return line;
    }
    let cut: String = line.chars().take(MAX_LABEL).collect();
    format!("{}…", cut.trim_end())
}

/// One `ENV` with the values that are the same for everybody; nothing if there is none.
fn env(podfile: &Podfile) -> Result<String, String> {
    let mut file = String::new();
    for (name, value) in podfile.env.iter().filter(|(_, value)| !is_dynamic(value)) {
        let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !fits || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(format!("{} is not the name of a variable", quoted(name)));
        }
        if let Some(bad) = value.chars().find(|c| c.is_control()) {
            return Err(format!(
                "the value of `{name}` contains {bad:?}: a variable of an image is one line of text"
            ));
        }
        file += if file.is_empty() { "ENV " } else { " " };
        file += &format!("{name}=\"{}\"", env_value(value));
    }
    // The others go to the guest as one argument, which the kernel takes up to 128 KiB, and may be written twice as long there.
    let dynamic = podfile.env.iter().filter(|(_, value)| is_dynamic(value));
    let dynamic: usize = dynamic.map(|(name, value)| name.len() + value.len()).sum();
    for length in [file.len(), dynamic] {
        if length > MAX_LINE {
            return Err(format!("`env` is too long ({length} bytes of at most {MAX_LINE})"));
        }
    }
    if !file.is_empty() {
        file.push('\n');
    }
    Ok(file)
}

/// A value between double quotes. References to variables (`$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`) stay;
/// every other dollar is one, and so is one behind a backslash.
fn env_value(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\\' if after.starts_with('$') => {
                out += "\\$";
                rest = &after[1..];
                continue;
            }
            '\\' | '"' => {
                out.push('\\');
                out.push(c);
            }
            '$' => match reference(after) {
                0 => out += "\\$",
                length => {
                    out.push('$');
                    out += &after[..length];
                    rest = &after[length..];
                    continue;
                }
            },
            c => out.push(c),
        }
        rest = after;
    }
    out
}

/// How many bytes behind a `$` make it a reference; 0 if it is none.
fn reference(text: &str) -> usize {
    let name = |text: &str| {
        let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { length }
    };
    let Some(inner) = text.strip_prefix('{') else { return name(text) };
    let length = name(inner);
    let (true, Some(close)) = (length > 0, inner.find('}')) else { return 0 };
    let modifier = &inner[length..close];
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '_' | '-' | ' ' | '=' | ',');
    let fits = modifier.is_empty()
        || (modifier.starts_with(":-") || modifier.starts_with(":+")) && modifier[2..].chars().all(plain);
    if fits { close + 2 } else { 0 }
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;
