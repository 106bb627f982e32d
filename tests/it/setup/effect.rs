//! What it does, and to whom.

use super::lab::{Lab, differences, said};

/// Most of what administrators have: a foreign key command, an included file, a block for some at the end.
const RICH: &str = "\
UsePAM yes
Include HERE/ssh/more/*.conf
AuthorizedKeysCommand /usr/bin/false %u
AuthorizedKeysCommandUser nobody
AcceptEnv EDITOR
Match User daemon
    X11Forwarding no
    AllowTcpForwarding local
";

fn rich() -> Lab {
    let lab = Lab::new(RICH);
    std::fs::create_dir(lab.path("ssh/more")).expect("mkdir");
    let text = "LoginGraceTime 77\nMatch User daemon\n    PermitTTY no\n";
    std::fs::write(lab.path("ssh/more/one.conf"), text).expect("write");
    lab
}

#[test]
fn a_first_run_says_what_it_did_in_order() {
    let lab = Lab::new("UsePAM yes\n");
    let config = lab.sshd_config().display().to_string();
    let run = lab.setup(&[]).run().ok();
    let lines = said(&run);
    assert_eq!(lines[0], format!("backed up {config} to {config}.podspawn.bak"));
    assert_eq!(lines[1], format!("appended AuthorizedKeysCommand to {config}"));
    assert_eq!(lines.last(), Some(&"server-setup complete"));
    for part in [
        format!("created the group `{}`", lab.group),
        format!("created the account `{}`", lab.auth),
        format!("created the account `{}`", lab.git),
        format!("wired {}", lab.path("pam").display()),
        "sshd does not run: nothing to reload".into(),
    ] {
        assert!(lines[2..].contains(&part.as_str()), "{part}\n{}", run.stderr);
    }
    assert_eq!(run.out(), "");
    let backup = lab.read("ssh/sshd_config.podspawn.bak");
    assert_eq!(format!("{}{backup}", own_lines(&lab)), lab.read("ssh/sshd_config"));
}

fn own_lines(lab: &Lab) -> String {
    let include = lab.path("ssh/podspawn.conf");
    format!(
        "# podspawn: how container users log in (made by `podspawn server-setup`)\nInclude {}\n",
        include.display()
    )
}

#[test]
fn only_container_users_get_something_else_from_sshd() {
    let lab = rich();
    let users = ["nobody", "daemon", "root", "no-such-user"];
    let before: Vec<_> = users.iter().map(|user| lab.effective(user)).collect();
    let _ = lab.setup(&[]).run().ok();
    for (user, before) in users.iter().zip(&before) {
        let changed = differences(before, &lab.effective(user));
        match *user {
            "root" => assert_eq!(
                changed,
                [
                    "-authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2".to_owned(),
                    format!(
                        "+authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2 {}",
                        lab.path("etc/emergency.keys").display()
                    ),
                ]
            ),
            _ => assert_eq!(changed, Vec::<String>::new(), "{user}"),
        }
    }
    assert!(lab.effective("nobody").contains(&"authorizedkeyscommand /usr/bin/false %u".to_owned()));

    lab.add_member();
    let here = lab.path("").display().to_string();
    let member = lab.effective(&lab.member);
    for line in [
        &format!("authorizedkeyscommand {here}podspawn auth-keys --config {here}etc/config.yaml %u %t %k"),
        &format!("authorizedkeyscommanduser {}", lab.auth),
        &format!("forcecommand {here}podspawn spawn --socket {here}run/broker.sock"),
        "authenticationmethods publickey",
        "authorizedkeysfile none",
        "trustedusercakeys none",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "allowtcpforwarding yes",
        "x11forwarding yes",
        "allowstreamlocalforwarding no",
        "gatewayports no",
        "permittunnel no",
        "permituserrc no",
        "clientaliveinterval 30",
        "acceptenv PODSPAWN_PROJECT",
        "setenv LD_PRELOAD=",
        "setenv LD_DEBUG_OUTPUT=",
        "logingracetime 77",
    ] {
        assert!(member.iter().any(|found| found == line), "{line}\n{}", member.join("\n"));
    }
}

#[test]
fn lines_that_keep_container_users_out_are_named() {
    let lab = Lab::new("UsePAM yes\nAllowGroups sudo adm\n");
    let run = lab.setup(&[]).run().ok();
    let warning =
        format!("WARNING: no container user gets in: `AllowGroups` does not name the group `{}`", lab.group);
    assert!(said(&run).iter().any(|line| line.starts_with(&warning)), "{}", run.stderr);
    let text = lab.read("ssh/sshd_config").replace("sudo adm", &format!("sudo {}", lab.group));
    std::fs::write(lab.sshd_config(), text).expect("write");
    let run = lab.setup(&[]).run().ok();
    assert!(!run.stderr.contains("WARNING"), "{}", run.stderr);
}

#[test]
fn a_second_run_changes_nothing_and_says_so() {
    let lab = rich();
    let _ = lab.setup(&[]).run().ok();
    let before = lab.snapshot();
    let run = lab.setup(&[]).run().ok();
    assert_eq!(run.stderr, "already configured, skipping\nserver-setup complete\n");
    assert!(before == lab.snapshot());
}

#[test]
fn a_dry_run_tells_everything_and_changes_nothing() {
    let lab = rich();
    let before = lab.snapshot();
    let run = lab.setup(&["--dry-run"]).run().ok();
    assert!(before == lab.snapshot());
    let told = said(&run).iter().filter(|line| line.starts_with("[dry-run] would ")).count();
    assert!(told >= 10, "{}", run.stderr);
    assert!(!run.stderr.contains(" complete"), "{}", run.stderr);
    assert_eq!(lab.program("getent", &["group", &lab.group]).run().status, 2);
    // Nor does one that would take out.
    let _ = lab.setup(&[]).run().ok();
    let before = lab.snapshot();
    let run = lab.setup(&["--remove", "--dry-run"]).run().ok();
    assert!(before == lab.snapshot());
    assert!(run.stderr.contains("[dry-run] would take podspawn's lines out of"), "{}", run.stderr);
}

#[test]
fn forwarding_is_granted_only_where_it_ends_in_the_container() {
    let of_member = |lab: &Lab| {
        let text = lab.read("ssh/podspawn.conf");
        let lines = text.lines().map(str::trim).filter(|line| line.contains("Forwarding "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let closed = [
        "AllowTcpForwarding no",
        "X11Forwarding no",
        "AllowStreamLocalForwarding no",
        "AllowAgentForwarding yes",
    ];
    // Without PAM the module is never called.
    let lab = Lab::new("UsePAM no\n");
    let run = lab.setup(&[]).run().ok();
    assert_eq!(of_member(&lab), closed);
    assert!(run.stderr.contains("has no `UsePAM yes`"), "{}", run.stderr);

    let lab = Lab::new("UsePAM yes\n");
    lab.write_config("  forwarding: \"off\"\n");
    let _ = lab.setup(&[]).run().ok();
    assert_eq!(of_member(&lab), closed);
    // A configuration that has changed is followed, and only that line.
    lab.write_config("");
    let run = lab.setup(&[]).run().ok();
    assert_eq!(of_member(&lab)[..2], ["AllowTcpForwarding yes", "X11Forwarding yes"]);
    let updated = format!("updated {}", lab.path("ssh/podspawn.conf").display());
    assert_eq!(said(&run)[0], updated);
}

#[test]
fn max_startups_is_set_on_demand_and_stays() {
    let lab = Lab::new("UsePAM yes\n");
    let refused = lab.setup(&["--max-startups", "10:0:1"]).run().status(1);
    assert!(refused.stderr.contains("`10:0:1` is no value of MaxStartups"), "{}", refused.stderr);
    let run = lab.setup(&[]).run().ok();
    assert!(run.stderr.contains("MaxStartups 10:30:100"), "{}", run.stderr);
    let before = lab.effective("nobody");
    let _ = lab.setup(&["--max-startups", "100:30:200"]).run().ok();
    let changed = ["-maxstartups 10:30:100", "+maxstartups 100:30:200"];
    assert_eq!(differences(&before, &lab.effective("nobody")), changed);
    let run = lab.setup(&[]).run().ok();
    assert_eq!(said(&run)[0], "already configured, skipping");

    // One of the administrator's own is not overruled, and that is said.
    let lab = Lab::new("UsePAM yes\nMaxStartups 7\n");
    let run = lab.setup(&["--max-startups", "100:30:200"]).run().ok();
    assert!(
        run.stderr.contains("WARNING: `MaxStartups` of ") && run.stderr.contains("(7:"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stderr.matches("WARNING").count(), 1, "{}", run.stderr);
}

#[test]
fn what_an_interrupted_run_did_not_tell_sshd_the_next_one_does() {
    let lab = Lab::new("UsePAM yes\n");
    let _ = lab.setup(&[]).run().ok();
    let pending = lab.path("run/sshd-not-reloaded");
    assert!(!pending.exists());
    std::fs::write(&pending, "").expect("write");
    let run = lab.setup(&[]).run().ok();
    assert_eq!(run.stderr, "sshd does not run: nothing to reload\nserver-setup complete\n");
    assert!(!pending.exists());
}

#[test]
fn who_may_be_locked_out_is_told_in_a_first_run() {
    let keys = "WARNING: `AuthorizedKeysFile none`: keys in the homes of ordinary users let nobody in";
    let passwords = "WARNING: password login is off as well: try another login before you end this one";
    let off = "PasswordAuthentication no\nKbdInteractiveAuthentication no\n";
    for (text, told) in [
        ("", vec![]),
        (off, vec![]),
        ("AuthorizedKeysFile none\nKbdInteractiveAuthentication no\n", vec![keys]),
        (
            "AuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\n",
            vec![keys],
        ),
        (&format!("AuthorizedKeysFile none\n{off}"), vec![keys, passwords]),
        // What stands for some only is not for ordinary users.
        (&format!("{off}Match User root\n    AuthorizedKeysFile none\n"), vec![]),
    ] {
        let lab = Lab::new(&format!("UsePAM yes\n{text}"));
        let run = lab.setup(&[]).run().ok();
        let warnings: Vec<&str> = said(&run).into_iter().filter(|line| line.starts_with("WARNING")).collect();
        assert_eq!(warnings, told, "{text}");
        let again = lab.setup(&[]).run().ok();
        assert!(!again.stderr.contains("WARNING"), "{}", again.stderr);
    }
}

#[test]
fn a_configuration_that_sshd_cannot_ask_for_keys_with_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new("UsePAM yes\n");
    std::fs::set_permissions(lab.path("etc/config.yaml"), std::fs::Permissions::from_mode(0o600))
        .expect("chmod");
    for _ in 0..2 {
        let run = lab.setup(&[]).run().ok();
        assert!(run.stderr.contains("WARNING: ") && run.stderr.contains(&lab.auth), "{}", run.stderr);
    }
}

#[test]
fn owners_and_modes_that_were_changed_are_put_right() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let lab = Lab::new("UsePAM yes\n");
    let _ = lab.setup(&[]).run().ok();
    let spoil =
        [("etc/keys", 0o755), ("etc/emergency.keys", 0o644), ("state", 0o755), ("state/homes", 0o711)];
    let facts = || {
        spoil.map(|(name, _)| {
            let facts = std::fs::metadata(lab.path(name)).expect("a file");
            (facts.mode() & 0o7777, facts.uid())
        })
    };
    let before = facts();
    assert_eq!(before.map(|facts| facts.0), [0o700, 0o600, 0o700, 0o700]);
    for (name, mode) in spoil {
        std::fs::set_permissions(lab.path(name), std::fs::Permissions::from_mode(mode)).expect("chmod");
    }
    chown(lab.path("etc/keys"), Some(0), Some(0)).expect("chown");
    let _ = lab.setup(&[]).run().ok();
    assert_eq!(facts(), before);
    // A broker that works as somebody else owns the state.
    lab.write_config("  account: daemon\n");
    let _ = lab.setup(&[]).run().ok();
    let daemon = std::fs::metadata(lab.path("state/state.db")).expect("a file").uid();
    assert_ne!(daemon, 0);
    assert_eq!(facts()[2..], [(0o700, daemon), (0o700, daemon)]);
    let again = lab.setup(&[]).run().ok();
    assert_eq!(said(&again)[0], "already configured, skipping");
}

#[test]
fn an_account_for_a_rootless_engine_is_made_with_what_the_engine_needs() {
    let lab = Lab::new("UsePAM yes\n");
    lab.write_config(&format!("  account: {}\n", lab.engine));
    let made = format!("created the account `{}` with subordinate ids", lab.engine);
    let dry = lab.setup(&["--dry-run"]).run().ok();
    assert!(dry.stderr.contains(&format!("would create the account `{}` with subordinate ids", lab.engine)));
    let run = lab.setup(&[]).run().ok();
    assert!(said(&run).contains(&made.as_str()), "{}", run.stderr);
    let entry = lab.program("getent", &["passwd", &lab.engine]).run().ok().out();
    let fields: Vec<&str> = entry.trim_end().split(':').collect();
    assert!(std::path::Path::new(fields[5]).is_dir() && fields[6].ends_with("nologin"), "{entry}");
    let mut given = Vec::new();
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = std::fs::read_to_string(file).expect("read");
        let ranges = text.lines().filter_map(|line| {
            let (owner, range) = line.split_once(':')?;
            let (first, count) = range.split_once(':')?;
            Some((owner, first.parse::<u64>().ok()?, count.parse::<u64>().ok()?))
        });
        let (own, others): (Vec<_>, Vec<_>) = ranges.partition(|(owner, ..)| *owner == lab.engine);
        let [(_, first, count)] = own[..] else { panic!("{own:?} in {file}") };
        assert_eq!(count, 65_536, "{file}");
        let apart = |(_, other, size): &(&str, u64, u64)| first >= other + size || *other >= first + count;
        assert!(others.iter().all(apart), "{own:?} {others:?}");
        given.push(first);
    }
    assert_eq!(given[0], given[1]);
    // What is there stays as it is, and is not told again.
    let again = lab.setup(&[]).run().ok();
    assert_eq!(said(&again), ["already configured, skipping", "server-setup complete"]);
}
