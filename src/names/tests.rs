use proptest::prelude::*;

use super::*;

fn message(text: &str) -> String {
    text.parse::<MachineName>().expect_err(text).to_string()
}

#[test]
fn every_wrong_name_gets_the_message_that_fits_it() {
    for (text, expected) in [
        ("", r#"invalid machine name "": it must not be empty"#),
        ("..", r#"invalid machine name "..": it must not contain `..`: this is a name, not a path"#),
        ("a..b", r#"invalid machine name "a..b": it must not contain `..`: this is a name, not a path"#),
        ("a/b", r#"invalid machine name "a/b": it must not contain `/`: this is a name, not a path"#),
        ("../etc", r#"invalid machine name "../etc": it must not contain `/`: this is a name, not a path"#),
        ("-v", r#"invalid machine name "-v": it must not begin with `-`: it would be read as an option"#),
        ("a\nb", r#"invalid machine name "a\nb": it contains the control character '\n'"#),
        ("\u{1b}[2J", r#"invalid machine name "\u{1b}[2J": it contains the control character '\u{1b}'"#),
        ("Dev", r#"invalid machine name "Dev": capital letters are not allowed (use a-z, 0-9, `_` and `-`)"#),
        ("1st", r#"invalid machine name "1st": it must begin with a letter (a-z)"#),
        ("_x", r#"invalid machine name "_x": it must begin with a letter (a-z)"#),
        ("a b", r#"invalid machine name "a b": ' ' is not allowed (use a-z, 0-9, `_` and `-`)"#),
        ("dév", r#"invalid machine name "dév": 'é' is not allowed (use a-z, 0-9, `_` and `-`)"#),
        ("a.b", r#"invalid machine name "a.b": '.' is not allowed (use a-z, 0-9, `_` and `-`)"#),
    ] {
        assert_eq!(message(text), expected);
    }
    let long = message(&"x".repeat(200));
    assert!(long.ends_with("…: it has 200 characters, at most 64 are allowed"), "{long}");
    assert!(long.len() < 160, "a long name is not repeated whole: {long}");
}

#[test]
fn capitals_are_answered_with_the_name_that_would_do() {
    let suggestion = |text: &str| text.parse::<MachineName>().unwrap_err().suggestion;
    assert_eq!(suggestion("Dev").as_deref(), Some("dev"));
    assert_eq!(suggestion("Dev Box"), None);
}

#[test]
fn the_longest_allowed_name_is_accepted() {
    assert!("x".repeat(64).parse::<MachineName>().is_ok());
    assert!("x".repeat(65).parse::<MachineName>().is_err());
    assert!("x".repeat(32).parse::<UserName>().is_ok());
    assert!("x".repeat(33).parse::<UserName>().is_err());
}

#[test]
fn hyphens_of_the_user_are_doubled_in_a_container_name() {
    let key = |user: &str, name: &str| SessionKey { user: user.parse().unwrap(), name: name.parse().ok() };
    assert_eq!(key("a-b", "").container_name(), "podspawn-a--b");
    assert_eq!(key("a", "b").container_name(), "podspawn-a-b");
    assert_eq!(key("a", "b").network_name(), "podspawn-a-b-net");
}

#[test]
fn an_owner_is_derived_from_any_account_name() {
    for (account, owner) in [
        ("ann", "ann"),
        ("Ann.Lee", "ann-lee"),
        ("DOMAIN\\ann", "domain-ann"),
        ("1st", "u1st"),
        ("_apt", "u_apt"),
        ("..", "user"),
        ("", "user"),
        ("Ü", "user"),
    ] {
        assert_eq!(UserName::derive(account).as_str(), owner, "{account}");
    }
}

prop_compose! {
    /// Short names over a small alphabet, so that collisions would be met.
    fn key()(user in "[ab][ab-]{0,4}", name in proptest::option::of("[ab][ab-]{0,4}")) -> SessionKey {
        SessionKey { user: user.parse().unwrap(), name: name.map(|n| n.parse().unwrap()) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_sessions_never_share_a_container_or_network_name(a in key(), b in key()) {
        prop_assert_eq!(a == b, a.container_name() == b.container_name());
        prop_assert_eq!(a == b, a.network_name() == b.network_name());
    }

    #[test]
    fn what_a_name_accepts_is_its_grammar(text in "\\PC{0,70}|[a-z0-9_-]{0,70}|[a-zA-Z./@\\x00-]{0,8}") {
        let fits = |max: usize| text.len() <= max
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'));
        prop_assert_eq!(text.parse::<MachineName>().is_ok(), fits(64));
        prop_assert_eq!(text.parse::<ProjectName>().is_ok(), fits(64));
        prop_assert_eq!(text.parse::<UserName>().is_ok(), fits(32));
    }

    #[test]
    fn no_message_carries_a_control_character(text in any::<String>()) {
        let errors = [
            text.parse::<MachineName>().err(),
            text.parse::<ImageRef>().err(),
            text.parse::<Target>().err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!(!error.to_string().contains(char::is_control));
            prop_assert!(error.to_string().chars().count() < 500);
        }
    }

    #[test]
    fn a_derived_owner_is_always_a_valid_name(account in any::<String>()) {
        let owner = UserName::derive(&account);
        prop_assert_eq!(owner.as_str().parse::<UserName>(), Ok(owner.clone()));
    }

    #[test]
    fn an_accepted_image_reference_is_safe_as_an_argument(text in any::<String>()) {
        if let Ok(image) = text.parse::<ImageRef>() {
            prop_assert!(!image.as_str().starts_with('-'));
            prop_assert!(image.as_str().is_ascii());
            prop_assert!(!image.as_str().contains(|c: char| c.is_whitespace() || c.is_control()));
            prop_assert!(!image.as_str().split('/').any(|part| part == ".." || part.is_empty()));
        }
    }

    #[test]
    fn every_well_formed_image_reference_is_accepted(
        text in "([a-z]{1,8}(\\.[a-z]{1,8}){1,2}(:[1-9][0-9]{0,3})?/)?([a-z0-9]{1,5}(_|__|-{1,3})[a-z0-9]{1,5}/){0,2}[a-z0-9]{1,8}(\\.[a-z0-9]{1,5}){0,2}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,12})?(@sha256:[0-9a-f]{64})?"
    ) {
        prop_assert_eq!(text.parse::<ImageRef>().map(|r| r.to_string()), Ok(text));
    }
}
