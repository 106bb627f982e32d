//! Packages as Podfiles list them: which can be installed, and the shell scripts that do it while an image is built.
//!
//! Runtimes come as the tarballs that their projects publish, from a plain web server or a mirror of it, and never as a
//! script that is run unseen. Python's come from python-build-standalone: the deadsnakes archive serves Ubuntu alone, and
//! Debian has one version per release, whereas these builds run on both, on Fedora and (built for musl) on Alpine.
//! Everything that a Podfile or the configuration puts into a script is quoted; names and versions have a grammar as well.

use crate::config::PackageSources;
use crate::names::quoted;

/// Node.js release lines that can be asked for.
const NODEJS: [&str; 4] = ["18", "20", "22", "24"];
/// Python versions that can be asked for.
const PYTHON: [&str; 3] = ["3.11", "3.12", "3.13"];
/// Longest name or version.
const MAX_LENGTH: usize = 128;

/// One entry, understood.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Package {
    /// A language's own release; without a version the current stable one.
    Runtime(Runtime, Option<String>),
    /// A package of the image's distribution.
    Plain {
        /// Its name.
        name: String,
        /// How its version begins.
        version: Option<String>,
    },
}

/// What is not left to the distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Runtime {
    Nodejs,
    Python,
    Go,
    Rust,
}

impl Runtime {
    const ALL: [Self; 4] = [Self::Nodejs, Self::Python, Self::Go, Self::Rust];

    /// As Podfiles call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nodejs => "nodejs",
            Self::Python => "python",
            Self::Go => "go",
            Self::Rust => "rust",
        }
    }

    /// Whether versions of it can stand side by side.
    pub(super) fn coexists(self) -> bool {
        self == Self::Python
    }

    /// The version as its releases are called; the error is a whole message.
    fn version(self, entry: &str, version: &str) -> Result<String, String> {
        let unsupported = |available: String| {
            // The caller has seen to it that there is nothing in it but harmless characters.
            Err(format!("unsupported version {entry}; available: {available}"))
        };
        match self {
            Self::Nodejs if NODEJS.contains(&version) => Ok(version.to_owned()),
            Self::Nodejs => unsupported(NODEJS.join(", ")),
            Self::Python if PYTHON.contains(&version) => Ok(version.to_owned()),
            Self::Python => unsupported(PYTHON.join(", ")),
            Self::Go => go_release(version)
                .map_or_else(|| unsupported("any release, such as 1.25, 1.25.3 or 1.26rc1".into()), Ok),
            Self::Rust if is_toolchain(version) => Ok(version.to_owned()),
            Self::Rust => {
                unsupported("stable, beta, nightly, nightly-<date>, or a release such as 1.90".into())
            }
        }
    }
}

/// Whether an entry, `name` or `name@version`, can be installed. The error is a whole message.
pub fn check_package(entry: &str) -> Result<(), String> {
    parse(entry).map(drop)
}

/// Whether two entries can stand in one image. The error is a whole message.
pub(super) fn fit_together(one: &Package, other: &Package) -> Result<(), String> {
    let (Package::Runtime(runtime, one), Package::Runtime(same, other)) = (one, other) else { return Ok(()) };
    if runtime != same || runtime.coexists() || one == other {
        return Ok(());
    }
    Err(format!(
        "`{}` and `{}` cannot both be installed: list one of them",
        as_written(runtime.name(), one.as_deref()),
        as_written(runtime.name(), other.as_deref())
    ))
}

/// As Podfiles write it.
pub(super) fn as_written(name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{name}@{version}"),
        None => name.to_owned(),
    }
}

/// Reads an entry. The error is a whole message.
pub(super) fn parse(entry: &str) -> Result<Package, String> {
    let (name, version) = match entry.char_indices().skip(1).find(|(_, c)| *c == '@') {
        Some((at, _)) => (&entry[..at], Some(&entry[at + 1..])),
        None => (entry, None),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | ':');
    // apt reads a `-` at the end as the wish to remove that package.
    if name.len() > MAX_LENGTH
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || name.ends_with('-')
        || !name.chars().all(fits)
    {
        return Err(format!("{} is not the name of a package", quoted(entry)));
    }
    if let Some(version) = version {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | ':' | '~');
        if version.is_empty()
            || version.len() > MAX_LENGTH
            || version.starts_with('-')
            || !version.chars().all(fits)
        {
            return Err(format!("{} has no usable version behind the `@`", quoted(entry)));
        }
    }
    match Runtime::ALL.into_iter().find(|runtime| runtime.name() == name) {
        Some(runtime) => {
            let version = version.map(|version| runtime.version(entry, version)).transpose()?;
            Ok(Package::Runtime(runtime, version))
        }
        None => Ok(Package::Plain { name: name.to_owned(), version: version.map(str::to_owned) }),
    }
}

/// The release that a version of Go means: since 1.21 the first release of a line is called `1.21.0`, before that `1.20`.
fn go_release(version: &str) -> Option<String> {
    let digits = |part: &str| (1..=4).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit());
    let cut = version.find("rc").or_else(|| version.find("beta"));
    let (numbers, candidate) = version.split_at(cut.unwrap_or(version.len()));
    let parts: Vec<&str> = numbers.split('.').collect();
    let count = candidate.trim_start_matches("rc").trim_start_matches("beta");
    if !(1..=3).contains(&parts.len()) || !parts.iter().all(|part| digits(part)) {
        return None;
    }
    if !candidate.is_empty() {
        return (digits(count) && parts.len() >= 2).then(|| version.to_owned());
    }
    let line: Option<(u32, u32)> = match parts[..] {
        [major, minor] => major.parse().ok().zip(minor.parse().ok()),
        [_, _, _] => None,
        _ => return None,
    };
    Some(if line.is_some_and(|line| line >= (1, 21)) { format!("{version}.0") } else { version.to_owned() })
}

/// Whether rustup knows such a toolchain.
fn is_toolchain(name: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.len() <= 4 && part.chars().all(|c| c.is_ascii_digit());
    let (channel, date) = match name.split_once('-') {
        Some((channel, date)) => (channel, Some(date)),
        None => (name, None),
    };
    if let Some(date) = date {
        let parts: Vec<&str> = date.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        if lengths != [4, 2, 2] || !parts.iter().all(|part| digits(part)) {
            return false;
        }
    }
    let parts: Vec<&str> = channel.split('.').collect();
    let release = (2..=3).contains(&parts.len()) && parts.iter().all(|part| digits(part));
    match channel {
        "stable" | "beta" | "nightly" => true,
        _ => release && date.is_none(),
    }
}

/// A text as one word of a shell line.
pub fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The package managers that a script can work with, and what ends it where there is none.
fn by_manager(apt: &str, apk: &str, dnf: &str, none: &str) -> String {
    format!(
        "if command -v apt-get >/dev/null; then\n\
         export DEBIAN_FRONTEND=noninteractive\n\
         apt-get update\n\
         {apt}\n\
         rm -rf /var/lib/apt/lists/*\n\
         elif command -v apk >/dev/null; then\n\
         {apk}\n\
         elif command -v dnf >/dev/null; then\n\
         {dnf}\n\
         dnf clean all\n\
         else\n\
         {none}\n\
         fi\n"
    )
}

/// Says what is wrong and ends the script.
fn fail(text: &str) -> String {
    format!("{{ echo \"podspawn: {text}\" >&2; exit 1; }}")
}

const NO_MANAGER: &str = "this image has none of apt-get, apk and dnf, so nothing can be installed in it: \
                          choose a base of Debian, Ubuntu, Alpine or Fedora";

/// The script that installs what runtimes are fetched and unpacked with.
pub(super) fn prerequisites(runtimes: &[Runtime]) -> String {
    let (mut apt, mut apk, mut dnf) = (
        "ca-certificates curl xz-utils".to_owned(),
        "ca-certificates curl tar xz".to_owned(),
        "ca-certificates gawk gzip tar xz".to_owned(),
    );
    let mut present = "command -v curl >/dev/null && command -v xz >/dev/null && command -v tar >/dev/null \
                       && command -v awk >/dev/null && [ -s /etc/ssl/certs/ca-certificates.crt ]"
        .to_owned();
    if runtimes.contains(&Runtime::Rust) {
        // The compiler links with the system's C compiler.
        apt += " gcc libc6-dev";
        apk += " gcc musl-dev";
        dnf += " gcc glibc-devel";
        present += " && command -v cc >/dev/null";
    }
    let install = by_manager(
        &format!("apt-get install -y --no-install-recommends {apt}"),
        &format!("apk add --no-cache {apk}"),
        // Images of that family have one of two packages with a `curl`, and each refuses the other.
        &format!("dnf install -y {dnf}\ncommand -v curl >/dev/null || dnf install -y curl"),
        &fail(NO_MANAGER),
    );
    format!("if {present}; then exit 0; fi\n{install}")
}

/// The script that installs packages of the distribution, and `sudo` with the rule for the session's account.
pub(super) fn batch(packages: &[(String, Option<String>)]) -> String {
    let only_sudo = packages.iter().all(|(name, version)| name == "sudo" && version.is_none());
    // What most tools need to reach anything, and what only a recommendation brings in otherwise.
    let certificates = ("ca-certificates".to_owned(), None);
    let more = (!only_sudo && !packages.contains(&certificates)).then_some(&certificates);
    let with = |join: &str, end: &str| {
        let words = packages.iter().chain(more).map(|(name, version)| match version {
            Some(version) => word(&format!("{name}{join}{version}{end}")),
            None => word(name),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let none = if only_sudo {
        // The guest's own `sudo` answers there.
        "exit 0".to_owned()
    } else {
        let wanted: Vec<&str> =
            packages.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "sudo").collect();
        fail(&format!("{NO_MANAGER} (wanted: {})", wanted.join(" ")))
    };
    let install = by_manager(
        &format!("apt-get install -y --no-install-recommends {}", with("=", "*")),
        &format!("apk add --no-cache {}", with("=~", "")),
        &format!("dnf install -y {}", with("-", "*")),
        &none,
    );
    // An image that has `sudo` and needs no more is built without a network.
    let install =
        if only_sudo { format!("if ! command -v sudo >/dev/null; then\n{install}fi\n") } else { install };
    // By number: the account's name is known only when a session begins. Where a mounted directory's owner decides on
    // another uid, the guest's own rule for that account serves; other accounts of the image get no rights from this.
    format!(
        "{install}mkdir -p /etc/sudoers.d\n\
         echo '#1000 ALL=(ALL:ALL) NOPASSWD:ALL' >/etc/sudoers.d/podspawn\n\
         chmod 0440 /etc/sudoers.d/podspawn\n"
    )
}

/// What all scripts of runtimes begin with.
const BEGIN: &str = r#"work=$(mktemp -d)
cd "$work"
fetch() { curl -fsSL --retry 3 --connect-timeout 30 -o "$2" "$1" || { echo "podspawn: cannot fetch $1" >&2; exit 1; }; }
machine=$(uname -m)
case "$machine" in
x86_64 | amd64) machine=x86_64 ;;
aarch64 | arm64) machine=aarch64 ;;
*) echo "podspawn: there are no releases for $machine" >&2; exit 1 ;;
esac
libc=gnu
for loader in /lib/ld-musl-*; do if [ -e "$loader" ]; then libc=musl; fi; done
"#;

const END: &str = "cd /\nrm -rf \"$work\"\n";

/// The script that installs a runtime for all accounts of the image.
pub(super) fn runtime(runtime: Runtime, version: Option<&str>, sources: &PackageSources) -> String {
    let (source, body) = match runtime {
        Runtime::Nodejs => (&sources.nodejs, NODEJS_SCRIPT),
        Runtime::Python => (&sources.python, PYTHON_SCRIPT),
        Runtime::Go => (&sources.go, GO_SCRIPT),
        Runtime::Rust => (&sources.rust, RUST_SCRIPT),
    };
    let version = version.unwrap_or_default();
    format!("source={}\nversion={}\n{BEGIN}{body}{END}", word(source.as_str()), word(version))
}

/// `SHASUMS256.txt` names the newest release of a line; without a version, `index.tab` the newest long-term one.
const NODEJS_SCRIPT: &str = r#"if [ "$libc" = musl ]; then
echo "podspawn: Node.js has no releases for Alpine: install its own with \`apk add nodejs npm\` in extra_commands, or choose a base of Debian or Ubuntu" >&2
exit 1
fi
case "$machine" in x86_64) arch=x64 ;; *) arch=arm64 ;; esac
if [ -n "$version" ]; then
place="$source/latest-v$version.x"
else
fetch "$source/index.tab" index
place="$source/$(awk -F '\t' 'NR > 1 && $10 != "-" && $1 ~ /^v[0-9.]+$/ { print $1; exit }' index)"
fi
fetch "$place/SHASUMS256.txt" sums
awk -v "end=-linux-$arch.tar.xz" '$2 ~ /^node-v[0-9.]+-[a-z0-9.-]+$/ && substr($2, length($2) - length(end) + 1) == end { print $1 "  " $2; exit }' sums >wanted
file=$(awk '{ print $2 }' wanted)
if [ -z "$file" ]; then echo "podspawn: $place has no Node.js for $arch" >&2; exit 1; fi
fetch "$place/$file" "$file"
sha256sum -c wanted
tar -x -J -o -f "$file" --strip-components=1 -C /usr/local
rm -f /usr/local/CHANGELOG.md /usr/local/LICENSE /usr/local/README.md
node --version
"#;

/// `SHA256SUMS` names everything that a release of python-build-standalone has.
const PYTHON_SCRIPT: &str = r#"fetch "$source/SHA256SUMS" sums
awk -v "end=-$machine-unknown-linux-$libc-install_only.tar.gz" -v "line=$version" '$2 ~ /^cpython-3[.][0-9]+[.][0-9]+[+][0-9]+-[a-z0-9_.-]+$/ && substr($2, length($2) - length(end) + 1) == end {
split(substr($2, 9), part, /[.+]/)
if (line != "" && line != part[1] "." part[2]) next
if (part[2] * 1000 + part[3] > best) { best = part[2] * 1000 + part[3]; found = $1 "  " $2 }
}
END { print found }' sums >wanted
file=$(awk '{ print $2 }' wanted)
if [ -z "$file" ]; then echo "podspawn: $source has no Python $version for $machine ($libc)" >&2; exit 1; fi
fetch "$source/$(echo "$file" | sed 's/+/%2B/')" "$file"
sha256sum -c wanted
line=$(echo "$file" | sed 's/^cpython-\(3\.[0-9]*\)\..*/\1/')
rm -rf "/usr/local/python/$line"
mkdir -p "/usr/local/python/$line" /usr/local/bin
tar -x -z -o -f "$file" --strip-components=1 -C "/usr/local/python/$line"
for name in "python$line" "pip$line"; do
if [ -e "/usr/local/python/$line/bin/$name" ]; then ln -sf "/usr/local/python/$line/bin/$name" "/usr/local/bin/$name"; fi
done
for name in python3 python pip3 pip; do
if [ -e "/usr/local/python/$line/bin/$name" ] && [ ! -e "/usr/local/bin/$name" ]; then ln -s "/usr/local/python/$line/bin/$name" "/usr/local/bin/$name"; fi
done
"python$line" --version
"#;

/// The official list, as JSON, and a mirror's directory page both contain the names of the tarballs.
const GO_SCRIPT: &str = r#"case "$machine" in x86_64) arch=amd64 ;; *) arch=arm64 ;; esac
if [ -n "$version" ]; then
file="go$version.linux-$arch.tar.gz"
else
fetch "$source/?mode=json" list
file=$(grep -o "go[0-9][0-9.]*[.]linux-$arch[.]tar[.]gz" list | sort -V | tail -n 1)
if [ -z "$file" ]; then echo "podspawn: $source lists no Go for $arch" >&2; exit 1; fi
fi
fetch "$source/$file" "$file"
rm -rf /usr/local/go
mkdir -p /usr/local/bin
tar -x -z -o -f "$file" -C /usr/local
ln -sf /usr/local/go/bin/go /usr/local/go/bin/gofmt /usr/local/bin/
go version
"#;

/// Where toolchains are; the recipe sets it for every session too.
pub(super) const RUSTUP_HOME: &str = "/usr/local/rustup";

/// Each account has a cargo directory of its own; the toolchains are shared, and components can be added by everybody.
const RUST_SCRIPT: &str = r#"triple="$machine-unknown-linux-$libc"
fetch "$source/rustup/dist/$triple/rustup-init" rustup-init
fetch "$source/rustup/dist/$triple/rustup-init.sha256" sums
awk '{ print $1 "  rustup-init"; exit }' sums >wanted
sha256sum -c wanted
chmod 0755 rustup-init
export RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo
export RUSTUP_DIST_SERVER="$source" RUSTUP_UPDATE_ROOT="$source/rustup"
./rustup-init -y --no-modify-path --profile default --default-toolchain "${version:-stable}"
chmod -R a+rwX /usr/local/rustup
chmod -R a+rX /usr/local/cargo
mkdir -p /usr/local/bin
for program in /usr/local/cargo/bin/*; do ln -sf "$program" /usr/local/bin/; done
rustc --version
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str, version: Option<&str>) -> Result<Package, String> {
        Ok(Package::Plain { name: name.into(), version: version.map(str::to_owned) })
    }

    fn of(runtime: Runtime, version: Option<&str>) -> Result<Package, String> {
        Ok(Package::Runtime(runtime, version.map(str::to_owned)))
    }

    #[test]
    fn a_bare_runtime_is_its_current_release_and_everything_else_is_the_distributions() {
        for (entry, wanted) in [
            ("nodejs", of(Runtime::Nodejs, None)),
            ("nodejs@22", of(Runtime::Nodejs, Some("22"))),
            ("python@3.13", of(Runtime::Python, Some("3.13"))),
            ("go", of(Runtime::Go, None)),
            ("rust@nightly-2026-01-31", of(Runtime::Rust, Some("nightly-2026-01-31"))),
            ("rust@1.90", of(Runtime::Rust, Some("1.90"))),
            ("g++", plain("g++", None)),
            ("libc6:i386", plain("libc6:i386", None)),
            ("golang@2:1.19", plain("golang", Some("2:1.19"))),
            ("nodejs-doc", plain("nodejs-doc", None)),
        ] {
            assert_eq!(parse(entry), wanted, "{entry}");
        }
    }

    #[test]
    fn versions_of_go_are_releases_that_exist() {
        for (asked, release) in [
            ("1.25", Some("1.25.0")),
            ("1.21", Some("1.21.0")),
            ("1.20", Some("1.20")),
            ("1.4", Some("1.4")),
            ("1.25.3", Some("1.25.3")),
            ("1.25rc1", Some("1.25rc1")),
            ("1.9beta2", Some("1.9beta2")),
            ("1", None),
            ("latest", None),
            ("1.2.3.4", None),
            ("1.25rc", None),
            ("1.x", None),
        ] {
            assert_eq!(go_release(asked).as_deref(), release, "{asked}");
        }
    }

    #[test]
    fn an_unsupported_version_is_told_with_those_that_are_not() {
        let told = |entry: &str| parse(entry).unwrap_err();
        assert_eq!(told("nodejs@16"), "unsupported version nodejs@16; available: 18, 20, 22, 24");
        assert_eq!(told("python@2.7"), "unsupported version python@2.7; available: 3.11, 3.12, 3.13");
        assert!(told("go@tip").starts_with("unsupported version go@tip; available: any release"));
        assert!(told("rust@new").starts_with("unsupported version rust@new; available: stable"));
        for entry in
            ["", "@", "-y", "jq; id", "$(id)", "a b", "vim-", "jq@", "jq@-1", "jq@1 2", "jq@a@b", "é"]
        {
            assert!(parse(entry).is_err(), "{entry}");
        }
    }
}
