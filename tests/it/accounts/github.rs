//! Keys from GitHub, or a server like it.

use std::time::Duration;

use super::lab::{KEY, Lab, OTHER};
use super::web::Web;
use crate::harness::Run;

fn add(lab: &Lab, web: &Web, user: &str, login: &str) -> Run {
    lab.podspawn(&["add-user", user, "--key", OTHER, "--github", login])
        .var("SSL_CERT_FILE", &web.authority)
        .run()
}

#[test]
fn two_keys_of_a_login_are_added_behind_those_that_were_typed() {
    let lab = Lab::new("auto");
    let web = Web::start(lab.env.directory());
    lab.configure(&format!("github_url: {}\n", web.url));
    let sarah = lab.user("sarah");
    let run = add(&lab, &web, &sarah, "two").ok();
    assert_eq!(run.stderr, format!("added 3 key(s) for {sarah}\n"));
    assert_eq!(lab.keys(&sarah), [OTHER, KEY, OTHER]);
}

#[test]
fn a_server_that_does_not_give_keys_leaves_nothing_made() {
    let lab = Lab::new("auto");
    let web = Web::start(lab.env.directory());
    lab.configure(&format!("github_url: {}\n", web.url));
    let sarah = lab.user("sarah");
    for (login, told) in [
        ("nobody", "there is no such user"),
        ("empty", "there is no usable public key in"),
        ("options", "there is no usable public key in"),
        ("moved", "the server points elsewhere (https://127.0.0.1:1/two.keys), which is not followed"),
        ("broken", "the server answered 500"),
        ("huge", "the answer is larger than 1 MiB"),
        ("silent", "no complete answer within 10 s"),
    ] {
        let run = add(&lab, &web, &sarah, login).status(1);
        let address = format!("{}/{login}.keys", web.url);
        assert!(run.stderr.contains(told) && run.stderr.contains(&address), "{login}: {}", run.stderr);
        assert!(run.stderr.contains("hint: "), "{login}: {}", run.stderr);
        assert!(run.took < Duration::from_secs(20), "{login}: {:?}", run.took);
        assert_eq!(lab.account(&sarah), None);
    }
    assert!(!lab.path("keys").exists() && !lab.path("accounts").exists());
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_believed() {
    let lab = Lab::new("auto");
    let web = Web::start(lab.env.directory());
    lab.configure(&format!("github_url: {}\n", web.url));
    let run = lab.podspawn(&["add-user", &lab.user("sarah"), "--github", "two"]).run().status(1);
    assert!(run.stderr.contains("certificate"), "{}", run.stderr);
    assert!(!lab.path("keys").exists());
}
