//! Releases of languages, from a mirror: the right archive, unpacked where every account of the image can use it.

use std::fs;

use super::lab::Lab;
use super::mirror::Mirror;

/// As archives of Node.js and Go call this machine.
fn machine() -> (&'static str, &'static str) {
    if cfg!(target_arch = "aarch64") { ("arm64", "arm64") } else { ("x64", "amd64") }
}

on_engines! {
    [docker; soak: podman]
    fn versions_come_from_the_mirror_and_work_for_every_account(engine: EngineName) {
        let (mirror, mut lab) = (Mirror::start(), Lab::on(engine));
        lab.sources = mirror.sources();
        let podfile = lab.podfile(&["nodejs@22", "python@3.13", "python@3.12", "go@1.25", "rust@1.90"]);
        let (image, recipe) = lab.recipe(&podfile);
        let (outcome, steps) = lab.build(&image, &recipe);
        assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
        let (node, go) = machine();
        let versions = lab.inside(
            &image,
            "node --version; npm --version; python3.13 --version; python3 --version; pip --version; \
             python3.12 --version; go version; gofmt; rustc --version; cargo --version; ls /usr/local/*.md 2>/dev/null || true",
        );
        let triple = if go == "amd64" { "x86_64-unknown-linux-gnu" } else { "aarch64-unknown-linux-gnu" };
        let rust = format!("1.90 from {}", lab.sources.rust.as_str());
        let wanted = [
            &format!("v22.20.0 {node}"),
            "npm of node",
            &format!("Python 3.13.11 {triple}"),
            &format!("Python 3.13.11 {triple}"),
            "pip of 3.13.11",
            &format!("Python 3.12.9 {triple}"),
            &format!("go version go1.25.0 linux/{go}"),
            "gofmt",
            &format!("rustc {rust}"),
            &format!("cargo {rust}"),
        ];
        assert_eq!(versions.lines().collect::<Vec<_>>(), wanted);
    }

    [; soak: docker]
    fn a_bare_name_is_the_current_stable_release(engine: EngineName) {
        let (mirror, mut lab) = (Mirror::start(), Lab::on(engine));
        lab.sources = mirror.sources();
        let (image, recipe) = lab.recipe(&lab.podfile(&["nodejs", "python", "go"]));
        let (outcome, steps) = lab.build(&image, &recipe);
        assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
        let versions = lab.inside(&image, "node --version; python3 --version; go version");
        let versions: Vec<&str> = versions.lines().collect();
        assert!(versions[0].starts_with("v24.9.1 "), "the newest long-term release: {versions:?}");
        assert!(versions[1].starts_with("Python 3.13.11 "), "no alpha: {versions:?}");
        assert!(versions[2].contains("go1.25.10 "), "no candidate: {versions:?}");
    }

    [docker]
    fn an_archive_that_is_not_what_its_sum_says_is_not_installed(engine: EngineName) {
        let (mirror, mut lab) = (Mirror::start(), Lab::on(engine));
        lab.sources = mirror.sources();
        let (node, _) = machine();
        let archive = mirror.file(&format!("node/latest-v22.x/node-v22.20.0-linux-{node}.tar.xz"));
        let mut bytes = fs::read(&archive).expect("read");
        bytes.push(0);
        fs::write(&archive, bytes).expect("write");
        let (image, recipe) = lab.recipe(&lab.podfile(&["nodejs@22"]));
        let (outcome, steps) = lab.build(&image, &recipe);
        let error = outcome.expect_err("the sum differs");
        let told = format!("{}\n{error}", steps.join("\n"));
        assert!(told.contains("FAILED") && told.contains("did NOT match"), "{told}");

        // And a release that the mirror does not have is named.
        let (image, recipe) = lab.recipe(&lab.podfile(&["go@1.24"]));
        let (outcome, steps) = lab.build(&image, &recipe);
        let error = outcome.expect_err("there is no such release");
        let told = format!("{}\n{error}", steps.join("\n"));
        assert!(told.contains("cannot fetch ") && told.contains("go1.24.0.linux-"), "{told}");
    }
}
