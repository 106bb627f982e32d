use proptest::prelude::*;

use super::*;

/// A key of each type, as OpenSSH writes them.
const KEYS: [(&str, &str); 7] = [
    ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAILsRbeskuVdDTKdTdXDT6M8ttWw4SULembCTAk9riQpC"),
    (
        "ssh-rsa",
        "AAAAB3NzaC1yc2EAAAADAQABAAABAQCP3ZGnQY3iE2x+c7zFXK5tVbCteayTu/HyvOEREuCQXFCCR6E+5BcaLJYDMwhZ4UcHj9Hp7nHpN3OA+d1uD17QdJSXrtW6kzu3mT1caWYorxYEdpuFHnnPbMJ5dJtFhSXtiGL1ZiuItt+sM2/AJpSTlbfcnmw1d0oo7VeMWKf9w2akUEOaxNoWrgOkMIL2IbClai8E/vBWO40KKZk3zghOvr/9eN6oKmXREXSo44tGz5O6MW4jyw9cajtdRl2qQyCOMN/eLnlaLhQ29nUXnI5jlHoSWsuj4kZIYvJvBdEsMymNy+ZAzgWyeS0DUJLpeXesfSlmSy9JHNAFXu5oVNXL",
    ),
    (
        "ecdsa-sha2-nistp256",
        "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEbGVjb7aYPg/d1xNzcZI19ftgxBPjOKfBv8aQW/igS0t5GIkN5u5tF9OscX6wZug35JyyDWOIwUFQ4eheyqHbE=",
    ),
    (
        "ecdsa-sha2-nistp384",
        "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBIVo8+AcsjfPEcNhb9RLChOHtzlZsLsnVaGK61fD5DwKar1FpAJ67IlYy32YynrJI8P15faJewDBeqlhDn0kNVqGfVqnwNgtBGlCrfMLywMcKbmKopO4rfau8Tdc4vbe5A==",
    ),
    (
        "ecdsa-sha2-nistp521",
        "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAEc9RfbC3onHxs6RZfppml9BtPVx9JdbGb0suCfcqP4J5BPjzBJoTN6zYXSwssQKG60JZYVxucPIpqHRRMoEZ7/OgFop6UttIXS/ZlwCuCWGpQ3qvd3DRiuHaXbXAiFEp/y18aLv8WWiDLuuBIvJ+BHFmSrVcjfaihbnLjyc/p4bPCY/Q==",
    ),
    (
        "sk-ssh-ed25519@openssh.com",
        "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAILsRbeskuVdDTKdTdXDT6M8ttWw4SULembCTAk9riQpCAAAABHNzaDo=",
    ),
    (
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBEbGVjb7aYPg/d1xNzcZI19ftgxBPjOKfBv8aQW/igS0t5GIkN5u5tF9OscX6wZug35JyyDWOIwUFQ4eheyqHbEAAAAEc3NoOg==",
    ),
];

const FINGERPRINT: &str = "SHA256:Ou9CXg6nf2zWRy18O8FMBoLHykpi7k9Ljnx7r8qpqNk";

fn forced(forwarding: bool) -> Forced {
    Forced::new("/usr/local/bin/podspawn spawn --user sarah".into(), forwarding).unwrap()
}

fn ed25519() -> String {
    format!("{} {}", KEYS[0].0, KEYS[0].1)
}

fn printed(options: &str) -> Result<String, KeyError> {
    let line = format!("{options} {} sarah@laptop", ed25519());
    Ok(KeyLine::parse(&line)?.authorized(&forced(true)))
}

#[test]
fn every_type_of_key_is_printed_behind_the_forced_command() {
    for (kind, base64) in KEYS {
        let line = format!("{kind} {base64} sarah@laptop");
        let key = KeyLine::parse(&line).unwrap();
        assert_eq!(
            key.authorized(&forced(true)),
            format!(
                "command=\"/usr/local/bin/podspawn spawn --user sarah\",restrict,pty,agent-forwarding,\
                 port-forwarding,X11-forwarding {line}"
            )
        );
        assert_eq!(
            key.authorized(&forced(false)),
            format!(
                "command=\"/usr/local/bin/podspawn spawn --user sarah\",restrict,pty,agent-forwarding {line}"
            )
        );
        assert_eq!(key.stored(), line);
    }
}

#[test]
fn a_short_name_of_a_token_key_is_written_out() {
    let (kind, base64) = KEYS[5];
    let key = KeyLine::parse(&format!("sk-ssh-ed25519 {base64}")).unwrap();
    assert_eq!(key.stored(), format!("{kind} {base64}"));
    assert_eq!(KeyLine::parse(&format!("sk-ssh-ed25519 {}", KEYS[0].1)), Err(KeyError::Data(kind)));
}

#[test]
fn a_line_that_is_no_key_says_what_is_wrong() {
    let error = |line: &str| KeyLine::parse(line).unwrap_err();
    assert_eq!(error("ssh-ed25519"), KeyError::NoKey);
    assert_eq!(error("ssh-ed25519 AAAA"), KeyError::Data("ssh-ed25519"));
    assert_eq!(error(&format!("ssh-rsa {}", KEYS[0].1)), KeyError::Data("ssh-rsa"));
    assert_eq!(
        error(&format!("ssh-x {}", KEYS[0].1)).to_string(),
        "its options cannot be read: \"ssh-x\": no such option"
    );
    assert!(matches!(error("hello"), KeyError::Type(_)));
    assert_eq!(error(&format!("{}\0", ed25519())), KeyError::Control);
    assert_eq!(error(&format!("{}\ncommand=\"id\" {}", ed25519(), ed25519())), KeyError::Control);
    assert_eq!(error(&format!("{} {}", ed25519(), "x".repeat(MAX_LINE))), KeyError::TooLong);
    assert!(matches!(error(&format!("from=\"a {}", ed25519())), KeyError::Options(_)));
}

#[test]
fn options_that_restrict_are_merged() {
    let rest = format!(" {} sarah@laptop", ed25519());
    let begin = "command=\"/usr/local/bin/podspawn spawn --user sarah\",restrict";
    for (options, expected) in [
        (
            "from=\"10.0.0.0/8,!10.1.*\"",
            ",pty,agent-forwarding,port-forwarding,X11-forwarding,from=\"10.0.0.0/8,!10.1.*\"",
        ),
        ("no-pty", ",agent-forwarding,port-forwarding,X11-forwarding"),
        ("No-X11-Forwarding,no-port-forwarding", ",pty,agent-forwarding"),
        ("restrict", ""),
        ("restrict,pty", ",pty"),
        ("no-user-rc,user-rc", ",pty,agent-forwarding,port-forwarding,X11-forwarding"),
        (
            "cert-authority,principals=\"sarah,ops\"",
            ",pty,agent-forwarding,port-forwarding,X11-forwarding,cert-authority,principals=\"sarah,ops\"",
        ),
        (
            "restrict,verify-required,no-touch-required,expiry-time=\"20300101\"",
            ",no-touch-required,verify-required,expiry-time=\"20300101\"",
        ),
    ] {
        assert_eq!(printed(options).unwrap(), format!("{begin}{expected}{rest}"), "{options}");
    }
}

#[test]
fn an_option_never_gives_more_than_podspawn_grants() {
    let line = format!("port-forwarding,X11-forwarding {}", ed25519());
    let printed = KeyLine::parse(&line).unwrap().authorized(&forced(false));
    assert!(!printed.contains("port-forwarding") && !printed.contains("X11"), "{printed}");
}

#[test]
fn options_that_could_widen_make_the_line_unusable() {
    for option in [
        "command=\"/bin/sh\"",
        "COMMAND=\"/bin/sh\"",
        "environment=\"LD_PRELOAD=/tmp/x\"",
        "permitopen=\"127.0.0.1:22\"",
        "permitlisten=\"22\"",
        "tunnel=\"0\"",
    ] {
        assert!(matches!(printed(option), Err(KeyError::Forbidden(_))), "{option}");
    }
    for option in [
        "unknown",
        "from=10.0.0.1",
        "from=\"\"",
        "from=\"a\\\",command=\\\"id\"",
        "from=\"a\"\"b\"",
        "from=\"a\",from=\"b\"",
        "no-command",
        "pty,",
        ",",
    ] {
        assert!(matches!(printed(option), Err(KeyError::Options(_))), "{option}");
    }
}

#[test]
fn only_the_key_that_is_asked_about_answers() {
    let key = KeyLine::parse(&ed25519()).unwrap();
    let authority = KeyLine::parse(&format!("cert-authority {}", ed25519())).unwrap();
    let wanted = |arguments: &[&str]| {
        Wanted::from_arguments(&arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    };
    for (arguments, answers) in [
        (&[][..], true),
        (&["ssh-ed25519"], true),
        (&["ssh-ed25519", KEYS[0].1], true),
        (&["ssh-rsa", KEYS[1].1], false),
        (&[FINGERPRINT], true),
        (&["ssh-ed25519", FINGERPRINT], true),
        (&["SHA256:other"], false),
        (&["ssh-ed25519-cert-v01@openssh.com", "AAAA"], false),
    ] {
        assert_eq!(key.answers(&wanted(arguments)), answers, "{arguments:?}");
        assert!(authority.answers(&wanted(arguments)), "{arguments:?}");
    }
}

#[test]
fn a_file_is_read_line_by_line_and_what_is_wrong_is_numbered() {
    let text = format!("# comment\n\n{}\r\nnonsense\n  \t\n{} \u{e9}\n", ed25519(), ed25519());
    let (good, bad) = KeyLine::parse_file(text.as_bytes());
    assert_eq!(good.len(), 2);
    assert_eq!(bad.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4]);
    assert_eq!(KeyLine::count(text.as_bytes()), 3);
}

#[test]
fn a_command_that_would_leave_its_quotes_is_refused() {
    for command in ["/a\"b", "/a\\b", "/a\nb"] {
        assert_eq!(Forced::new(command.into(), false), None);
    }
}

/// An option's name and value.
type Read = (String, Option<String>);

/// sshd's own way through a line's options, written down a second time: names and unquoted values, and the rest of the line.
fn as_sshd_reads(line: &str) -> Option<(Vec<Read>, String)> {
    let mut chars = line.chars().peekable();
    let mut options = Vec::new();
    loop {
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| !matches!(c, '=' | ',' | ' ')) {
            name.push(c);
        }
        let mut value = None;
        if chars.next_if_eq(&'=').is_some() {
            chars.next_if_eq(&'"')?;
            let mut text = String::new();
            loop {
                match chars.next()? {
                    '\\' if chars.peek() == Some(&'"') => text.extend(chars.next()),
                    '"' => break,
                    c => text.push(c),
                }
            }
            value = Some(text);
        }
        options.push((name, value));
        match chars.next()? {
            ',' => {}
            ' ' => return Some((options, chars.collect())),
            _ => return None,
        }
    }
}

/// Texts that look like the options of a line, made of the pieces that matter.
fn options() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("from="),
        Just("command="),
        Just("restrict"),
        Just("pty"),
        Just("no-pty"),
        Just("cert-authority"),
        Just("principals="),
        Just("expiry-time="),
        Just("port-forwarding"),
        Just("\""),
        Just("\\\""),
        Just("\\"),
        Just(","),
        Just(" "),
        Just("\t"),
        Just("="),
        Just("a"),
        Just("\"x\""),
        Just("\n"),
        Just("ssh-rsa"),
        Just("#"),
    ];
    proptest::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

fn is_contained(line: &str, key: &str) -> Result<(), TestCaseError> {
    prop_assert!(!line.contains(char::is_control), "{line:?}");
    let (options, rest) = as_sshd_reads(line).expect("sshd can read it");
    prop_assert_eq!(
        &options[0],
        &("command".to_owned(), Some("/usr/local/bin/podspawn spawn --user sarah".to_owned()))
    );
    prop_assert_eq!(&options[1], &("restrict".to_owned(), None));
    let allowed = [
        "pty",
        "agent-forwarding",
        "from",
        "expiry-time",
        "principals",
        "cert-authority",
        "no-touch-required",
        "verify-required",
    ];
    for (name, _) in &options[2..] {
        prop_assert!(allowed.contains(&name.as_str()), "{name} in {line:?}");
    }
    prop_assert!(rest.starts_with(key), "{line:?}");
    Ok(())
}

proptest! {
    #[test]
    fn nothing_in_a_line_breaks_out_of_what_is_printed(options in options(), comment in ".{0,20}", at in 0..7usize) {
        let key = format!("{} {}", KEYS[at].0, KEYS[at].1);
        if let Ok(read) = KeyLine::parse(&format!("{options} {key} {comment}")) {
            is_contained(&read.authorized(&forced(false)), &key)?;
            // What a key file keeps means the same when it is read again.
            prop_assert_eq!(KeyLine::parse(&read.stored()), Ok(read));
        }
    }

    #[test]
    fn any_text_is_read_without_harm(line in "\\PC{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = KeyLine::parse(&line) {
            is_contained(&read.authorized(&forced(false)), read.kind)?;
        }
        let (good, bad) = KeyLine::parse_file(&bytes);
        prop_assert_eq!(good.len() + bad.len(), KeyLine::count(&bytes));
    }
}
