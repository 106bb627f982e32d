//! Builds the guest and the PAM module and embeds them: one file to install and to update.
//!
//! The guest runs in images that have no C library at all, so it is linked statically whatever this build is asked for; the
//! module runs in the host's sshd, so it takes the host's C library and must unwind. Each is a cargo run of its own, with
//! flags of its own, in a folder of its own beside the outer cargo's profiles (sharing one of those would wait for the outer
//! cargo's lock for ever), where cargo sees by itself whether it is stale. Linter, tests and release take the same parts from
//! there. Also tells the program which commit it was built from.

#![allow(clippy::disallowed_methods, reason = "a build script's arguments are its environment")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use sha2::{Digest, Sha256};

/// What goes into the embedded programs. Nothing else makes them stale.
const SOURCES: [&str; 8] = [
    "guest/src",
    "guest/Cargo.toml",
    "pam/src",
    "pam/Cargo.toml",
    "wire/src",
    "wire/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
];

/// A program that is embedded.
struct Part {
    /// What it is called in messages.
    name: &'static str,
    /// Its package.
    package: &'static str,
    /// What of the package: arguments for cargo.
    target: &'static [&'static str],
    /// The profile, which is also the folder that cargo puts it into.
    profile: &'static str,
    /// How the C library is linked.
    library: &'static str,
    /// The file that cargo makes.
    file: &'static str,
    /// The file's name among those of this build.
    embedded: &'static str,
    /// It is loaded into a process that must survive a damaged file.
    loaded_by_others: bool,
    /// Begin of the names of the variables that tell the sources where it is and what its hash is.
    variable: &'static str,
}

const GUEST: Part = Part {
    name: "guest",
    package: "podspawn-guest",
    target: &["--bin", "podspawn-guest"],
    profile: "guest",
    library: "-Ctarget-feature=+crt-static",
    file: "podspawn-guest",
    embedded: "podspawn-guest",
    loaded_by_others: false,
    variable: "PODSPAWN_GUEST",
};

const MODULE: Part = Part {
    name: "PAM module",
    package: "pam_podspawn",
    target: &["--lib"],
    profile: "pam",
    library: "-Ctarget-feature=-crt-static",
    file: "libpam_podspawn.so",
    embedded: "pam_podspawn.so",
    loaded_by_others: true,
    variable: "PODSPAWN_PAM",
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            println!("cargo::error={text}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-changed=build.rs");

    embed(&GUEST, &root, &out, &guest_triple()?)?;
    embed(&MODULE, &root, &out, &variable("TARGET")?)?;

    println!("cargo::rustc-env=PODSPAWN_COMMIT={}", commit(&root).unwrap_or_else(|| "none".into()));
    Ok(())
}

/// Builds a part and tells the sources where it is and what its SHA-256 is.
fn embed(part: &Part, root: &Path, out: &Path, triple: &str) -> Result<(), String> {
    let program = build(part, root, &shared(out).join(part.profile), triple)?;
    let mut bytes = fs::read(&program).map_err(|e| format!("read {}: {e}", program.display()))?;
    if part.loaded_by_others {
        move_program_headers_to_the_end(&mut bytes)?;
    }
    let embedded = out.join(part.embedded);
    // A file that is written anew makes everything that includes it stale.
    if fs::read(&embedded).ok().as_ref() != Some(&bytes) {
        fs::write(&embedded, &bytes).map_err(|e| format!("write {}: {e}", embedded.display()))?;
    }
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env={}={}", part.variable, embedded.display());
    println!("cargo::rustc-env={}_SHA256={hash}", part.variable);
    Ok(())
}

/// The folder that the builds of all profiles share: in the one that cargo has marked as its own, else in `out`.
fn shared(out: &Path) -> PathBuf {
    let marked = out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.unwrap_or(out).join("embedded")
}

fn build(part: &Part, root: &Path, target_dir: &Path, triple: &str) -> Result<PathBuf, String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.current_dir(root);
    // What the outer cargo tells this script is about another package, and its flags (a sanitizer, a linter as compiler,
    // another target folder) are meant for other programs. What says how to reach a registry or a linker stays.
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if of_the_outer_build(text) {
            cargo.env_remove(&name);
        }
    }
    let mut flags = vec![part.library.to_owned()];
    flags.push(format!("--remap-path-prefix={}=podspawn", root.display()));
    // The program must not tell where it was built.
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let usual = env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    if let Some(home) = cargo_home.or(usual) {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // A build folder set in a configuration file would be the outer cargo's, and locked.
        .env("CARGO_BUILD_BUILD_DIR", target_dir)
        .args(["build", "--locked", "--package", part.package])
        .args(part.target)
        .args(["--profile", part.profile, "--target", triple])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir)
        .stdin(Stdio::null());
    let output = cargo.output().map_err(|e| format!("start cargo for the {}: {e}", part.name))?;
    if !output.status.success() {
        // One directive is one line: cargo shows each as an error of this build.
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            println!("cargo::error={line}");
        }
        return Err(format!("the {} does not build ({})", part.name, output.status));
    }
    Ok(target_dir.join(triple).join(part.profile).join(part.file))
}

/// A loader maps a shared object's segments without a look at the length of the file, and the process that loads a truncated
/// one dies of SIGBUS: of an sshd nobody could log in any more. The program headers however are read, not mapped, and a loader
/// reports an error when they are not there. So they are put where any truncation takes them away: at the very end, in a page
/// that belongs to no segment. The copy inside the first segment, which the running program uses, stays.
fn move_program_headers_to_the_end(file: &mut Vec<u8>) -> Result<(), String> {
    const BAD: &str = "the PAM module is no ELF file";
    let (wide, little) = match file.get(..6) {
        Some(&[0x7f, b'E', b'L', b'F', class @ 1..=2, order @ 1..=2]) => (class == 2, order == 1),
        _ => return Err(BAD.into()),
    };
    let number = |file: &[u8], at: usize, size: usize| {
        let bytes = file.get(at..at + size).ok_or(BAD)?;
        let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
        Ok::<_, String>(if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    };
    // Places in the file's header, and of the alignment in a program header, by the width of addresses.
    let (offset_at, size_at, count_at, align_at, width) =
        if wide { (32, 54, 56, 48, 8) } else { (28, 42, 44, 28, 4) };
    let offset = number(file, offset_at, width)?;
    let (size, count) = (number(file, size_at, 2)?, number(file, count_at, 2)?);
    let headers = file.get(offset..offset + size * count).ok_or(BAD)?.to_vec();
    let mut alignment = 1;
    for header in headers.chunks(size) {
        alignment = alignment.max(number(header, align_at, width)?);
    }
    let end = file.len().next_multiple_of(alignment);
    file.resize(end, 0);
    file.extend_from_slice(&headers);
    let bytes: Vec<u8> = (0..width).map(|byte| (end >> (8 * byte)) as u8).collect();
    let bytes = if little { bytes } else { bytes.into_iter().rev().collect() };
    file[offset_at..offset_at + width].copy_from_slice(&bytes);
    Ok(())
}

/// The target of this build with musl where its library is installed (a smaller program), else as it is.
fn guest_triple() -> Result<String, String> {
    let target = variable("TARGET")?;
    let musl = target.replace("-gnu", "-musl");
    let sysroot = Command::new(variable("RUSTC")?)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|e| format!("ask rustc for its sysroot: {e}"))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    Ok(if sysroot.join("lib/rustlib").join(&musl).join("lib").is_dir() { musl } else { target })
}

fn of_the_outer_build(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_BUILD_JOBS",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
    ];
    if name.starts_with("CARGO_TARGET_") {
        return !name.ends_with("_LINKER");
    }
    if name.starts_with("CARGO") {
        return !KEPT.iter().any(|kept| name.starts_with(kept));
    }
    matches!(
        name,
        "RUSTFLAGS" | "RUSTDOCFLAGS" | "RUSTC" | "RUSTDOC" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTC_LINKER"
    ) || matches!(name, "TARGET" | "HOST" | "OUT_DIR" | "PROFILE" | "OPT_LEVEL" | "DEBUG" | "NUM_JOBS")
        || name.starts_with("CLIPPY_")
        || name.starts_with("DEP_")
}

/// The short commit, for `podspawn version`. Followed only in release builds: elsewhere every commit would rebuild.
fn commit(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").current_dir(root).args(args).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    // An unpacked archive inside somebody else's repository is not that repository's commit.
    if git(&["rev-parse", "--show-cdup"]).is_some() || !root.join(".git").exists() {
        return None;
    }
    let commit = git(&["rev-parse", "--short=7", "HEAD"])?;
    if env::var("PROFILE").as_deref() == Ok("release") {
        let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
        if root.join(&log).exists() {
            println!("cargo::rerun-if-changed={log}");
        }
    }
    Some(commit)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|e| format!("{name}: {e}"))
}
