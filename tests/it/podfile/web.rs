//! `extends: github.com/…` against a server of this test.

use super::{check, write};
use crate::accounts::web::Web;
use crate::harness::Env;

#[test]
fn a_base_of_github_is_fetched_kept_and_used_again() {
    let env = Env::without_engine();
    let web = Web::start(env.directory());
    env.write_config(&format!("github_url: {}\n", web.url));
    let authority = web.authority.display().to_string();
    write(&env, &[("podfile.yaml", "extends: github.com/org/repo/good.yaml\npackages: [jq]\n")]);
    let check_it = || env.podspawn(["podfile", "check", "repo"]).var("SSL_CERT_FILE", &authority).run();
    let run = check_it().ok();
    assert!(
        run.out().contains("debian:12") && run.out().contains("github.com/org/repo/main/good.yaml:1"),
        "{}",
        run.out()
    );
    let kept = env.home().join(".podspawn/cache/podfiles/github/org/repo/main/good.yaml");
    assert!(kept.is_file(), "{} is not there", kept.display());

    // Nobody answers there any more, and the copy does.
    env.write_config("github_url: https://127.0.0.1:1\n");
    let again = check_it().ok();
    assert_eq!(again.out(), run.out());
    assert!(again.stderr.contains("warning: ") && again.stderr.contains("the copy in"), "{}", again.stderr);
}

#[test]
fn a_server_that_misbehaves_is_told() {
    let env = Env::without_engine();
    let web = Web::start(env.directory());
    env.write_config(&format!("github_url: {}\n", web.url));
    for (file, told) in [
        ("none.yaml", "there is no such file"),
        ("moved.yaml", "the server points elsewhere"),
        ("huge.yaml", "the answer is larger than 1024 KiB"),
        ("local.yaml", "a Podfile that is not of this repository can extend no file of this host"),
    ] {
        write(&env, &[("podfile.yaml", &format!("extends: github.com/org/repo/{file}\n"))]);
        let run =
            env.podspawn(["podfile", "check", "repo"]).var("SSL_CERT_FILE", &web.authority).run().status(1);
        assert!(run.stderr.contains(told), "{file}: {}", run.stderr);
        assert!(run.stderr.contains("hint: "), "{}", run.stderr);
    }
    // Without the authority nobody is believed.
    let run = check(&env, &[("podfile.yaml", "extends: github.com/org/repo/good.yaml\n")]).status(1);
    assert!(run.stderr.contains("certificate"), "{}", run.stderr);
}
