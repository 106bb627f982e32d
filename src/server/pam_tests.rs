//! The editing of service files.

use proptest::prelude::*;

use super::*;

/// The file that Debian's package of sshd brings, in short.
const DEBIAN: &str = "\
# PAM configuration for the Secure Shell service

# Standard Un*x authentication.
@include common-auth

account    required     pam_nologin.so
@include common-account

# SELinux needs to be the first session rule.
# Without this it is possible that a module could execute code in the wrong domain.
session [success=ok ignore=ignore module_unknown=ignore default=bad]        pam_selinux.so close
session    required     pam_loginuid.so
@include common-session
@include common-password
";

fn line() -> PamLine {
    PamLine::new(&Config::default(), Path::new("/usr/local/bin/podspawn"), None).unwrap()
}

#[test]
fn the_line_is_the_first_of_the_session_stack() {
    let text = wired(DEBIAN, &line());
    let expected = DEBIAN.replace(
        "# SELinux needs",
        &format!(
            "{MARK}\nsession [success=done ignore=ignore module_unknown=ignore session_err=die default=ignore] \
             /usr/local/lib/podspawn/pam_podspawn.so socket=/run/podspawn/broker.sock group=podspawn-users \
             broker=/usr/local/bin/podspawn\n# SELinux needs"
        ),
    );
    assert_eq!(text, expected);
    assert!(is_wired(&text, &Config::default()));
    assert!(!is_wired(DEBIAN, &Config::default()));
    assert_eq!(wired(&text, &line()), text, "a second time changes nothing");
    assert_eq!(unwired(&text), DEBIAN);
}

#[test]
fn whatever_may_bring_session_lines_comes_after_it() {
    for (text, before) in [
        ("auth required a.so\n@include common-session\n", "@include common-session\n"),
        ("@include common-auth\n@include our-own-stack\n", "@include our-own-stack\n"),
        ("auth include x\n-session optional b.so\n", "-session optional b.so\n"),
        ("account required a.so\n  SESSION include password-auth", "  SESSION include password-auth"),
        ("auth required a.so \\\nsession \\\nx\nsession required b.so\n", "session required b.so\n"),
        ("auth required a.so # \\\nsession required b.so\n", "session required b.so\n"),
        ("auth required a.so\n", "auth required a.so\n"),
        ("auth required a.so", "auth required a.so"),
        ("", ""),
    ] {
        let wired = wired(text, &line());
        let rest = wired.split_once(line().as_str()).expect("the line").1;
        assert_eq!(rest, format!("\n{before}"), "{text:?}");
        assert!(is_wired(&wired, &Config::default()), "{text:?}");
        assert_eq!(unwired(&wired), text);
    }
}

#[test]
fn a_line_that_was_moved_changed_or_left_without_its_mark_is_put_right() {
    let right = wired(DEBIAN, &line());
    let old = "session optional /opt/old/pam_podspawn.so socket=/x \\\n  group=y\n";
    for text in [
        format!("{DEBIAN}{old}"),
        format!("{old}{DEBIAN}"),
        format!("{MARK}\n{DEBIAN}"),
        right.replace("group=podspawn-users", "group=wheel"),
        right.replace(&format!("{MARK}\n"), ""),
    ] {
        assert_eq!(wired(&text, &line()), right, "{text}");
        assert_eq!(unwired(&text), DEBIAN, "{text}");
    }
}

#[test]
fn a_name_that_pam_would_read_as_something_else_is_refused() {
    let with_lib_dir = |dir: &str| {
        let mut config = Config::default();
        config.server.lib_dir = dir.into();
        PamLine::new(&config, Path::new("/bin/podspawn"), None)
    };
    for dir in ["/opt/a b", "/opt/a#b", "/opt/a]", "/opt/a\\", "/opt/a\nb", "relative"] {
        assert!(matches!(with_lib_dir(dir), Err(PamError::Name(_))), "{dir:?}");
    }
    assert!(matches!(with_lib_dir(&format!("/{}", "x".repeat(1000))), Err(PamError::TooLong(_))));
    let config_file = Path::new("/srv/podspawn.yaml");
    let line = PamLine::new(&Config::default(), Path::new("/bin/podspawn"), Some(config_file)).unwrap();
    assert!(line.as_str().ends_with(" broker=/bin/podspawn config=/srv/podspawn.yaml"));
}

#[test]
fn a_service_file_keeps_its_mode_and_a_link_stays_a_link() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, DEBIAN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("file", &link).unwrap();
    assert_eq!(wire(&link, &line()).unwrap(), Outcome::Changed);
    assert_eq!(wire(&link, &line()).unwrap(), Outcome::Unchanged);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(is_wired(&read(&file).unwrap(), &Config::default()));
    assert_eq!(unwire(&link).unwrap(), Outcome::Changed);
    assert_eq!(unwire(&link).unwrap(), Outcome::Unchanged);
    assert_eq!(fs::read_to_string(&file).unwrap(), DEBIAN);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn the_service_file_is_sshds_unless_another_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(service_file(dir.path()).unwrap(), Path::new(SERVICE_FILE));
    record_service_file(dir.path(), Path::new("/etc/pam.d/other-sshd")).unwrap();
    assert_eq!(service_file(dir.path()).unwrap(), Path::new("/etc/pam.d/other-sshd"));
    fs::write(dir.path().join(RECORD), "sshd\n").unwrap();
    assert!(matches!(service_file(dir.path()), Err(PamError::Record(_))));
    record_service_file(dir.path(), Path::new(SERVICE_FILE)).unwrap();
    assert!(!dir.path().join(RECORD).exists());
}

#[test]
fn a_module_is_not_put_where_others_may_write() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    for lib_dir in [open.clone(), open.join("lib")] {
        assert!(matches!(install_module(&lib_dir), Err(PamError::Directory(_))), "{}", lib_dir.display());
    }
    assert!(install_module(&dir.path().join("lib/podspawn")).unwrap().is_file());
}

#[test]
fn a_service_that_sshds_configuration_names_is_a_file_beside_the_usual_one() {
    assert_eq!(named_service(Some("sshd-internal")).as_deref(), Some(Path::new("/etc/pam.d/sshd-internal")));
    for usual in [None, Some("sshd"), Some(""), Some("../sshd")] {
        assert_eq!(named_service(usual), None, "{usual:?}");
    }
}

proptest! {
    /// Whatever the file is made of, the line comes first, and taking it out gives the file back.
    #[test]
    fn wiring_can_be_undone(parts in proptest::collection::vec(prop_oneof![
        Just("session required a.so"), Just("-session optional b.so # x"), Just("auth required c.so"), Just("# comment"),
        Just("@include common-session"), Just("@include common-auth"), Just(""), Just("\\"), Just("account x \\"),
        Just("# comment \\"), Just("session a.so \\"), Just("\t"), Just("ünï cöde"),
    ], 0..12), last_line_ends: bool) {
        let mut text = parts.join("\n");
        if last_line_ends {
            text.push('\n');
        }
        let with = wired(&text, &line());
        prop_assert!(is_wired(&with, &Config::default()));
        prop_assert_eq!(unwired(&with), text);
        prop_assert_eq!(wired(&with, &line()), with);
    }
}
