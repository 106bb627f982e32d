//! Taking it out again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use super::lab::Lab;

#[test]
fn what_was_put_in_comes_out_without_a_trace() {
    for text in [
        "UsePAM yes",
        "\n\n# podspawn\n\tUsePAM yes\r\n",
        "Match User daemon\n    X11Forwarding no",
        "# caf\u{e9}\nInclude HERE/none/*.conf\n",
    ] {
        let lab = Lab::new(text);
        fs::set_permissions(lab.sshd_config(), fs::Permissions::from_mode(0o640)).expect("chmod");
        chown(lab.sshd_config(), None, Some(1)).expect("chown");
        let facts = |name: &str| {
            let facts = fs::metadata(lab.path(name)).expect("a file");
            (facts.mode(), facts.uid(), facts.gid())
        };
        let before = (lab.read("ssh/sshd_config"), lab.read("pam"), facts("ssh/sshd_config"), facts("pam"));
        let _ = lab.setup(&[]).run().ok();
        assert_ne!((lab.read("ssh/sshd_config"), lab.read("pam")), (before.0.clone(), before.1.clone()));
        assert_eq!(facts("ssh/sshd_config"), before.2);
        let run = lab.setup(&["--remove"]).run().ok();
        let after = (lab.read("ssh/sshd_config"), lab.read("pam"), facts("ssh/sshd_config"), facts("pam"));
        assert_eq!(after, before, "{text:?}");
        assert!(!lab.path("ssh/podspawn.conf").exists() && !lab.path("lib").exists());
        assert!(lab.path("state/state.db").exists() && lab.path("etc/emergency.keys").exists());
        let kept = run.stderr.lines().find(|line| line.starts_with("kept: ")).expect("what stays");
        assert!(kept.ends_with("sshd_config.podspawn.bak"), "{kept}");
        // Nothing that stays is its.
        assert!(run.stderr.contains(&format!("removed the account `{}`", lab.git)), "{}", run.stderr);
        let known = std::process::Command::new("getent").args(["passwd", &lab.git]).output().expect("getent");
        assert!(!known.status.success(), "{} is left behind", lab.git);
        // And once more, with nothing to do.
        let again = lab.setup(&["--remove"]).run().ok();
        assert!(again.stderr.starts_with("kept: "), "{}", again.stderr);
    }
}

#[test]
fn a_link_stays_a_link() {
    let lab = Lab::new("UsePAM yes\n");
    let real = lab.path("ssh/real_config");
    fs::rename(lab.sshd_config(), &real).expect("rename");
    symlink(&real, lab.sshd_config()).expect("link");
    let before = fs::read(&real).expect("read");
    let _ = lab.setup(&[]).run().ok();
    assert_eq!(fs::read_link(lab.sshd_config()).expect("a link"), real);
    assert_ne!(fs::read(&real).expect("read"), before);
    let _ = lab.setup(&["--remove"]).run().ok();
    assert_eq!(fs::read(&real).expect("read"), before);
}

#[test]
fn the_login_shell_stays_as_long_as_there_are_users() {
    let lab = Lab::new("UsePAM yes\n");
    let _ = lab.setup(&[]).run().ok();
    fs::write(lab.path("etc/accounts/sarah"), "{}").expect("write");
    let run = lab.setup(&["--remove"]).run().ok();
    assert!(run.stderr.contains("the login shell of users that exist"), "{}", run.stderr);
    assert!(lab.path("lib/podspawn-shell").exists());
    // It leads nowhere but to the broker, and sshd does not know of it any more.
    assert!(!lab.read("ssh/sshd_config").contains("podspawn.conf"));
}
