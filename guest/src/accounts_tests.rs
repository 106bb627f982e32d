use proptest::prelude::*;

use super::*;

fn sarah() -> User {
    User { name: "sarah".into(), uid: 1000, gid: 1000, home: "/home/sarah".into(), shell: "/bin/bash".into() }
}

fn files(passwd: &str, group: &str, shadow: Option<&str>) -> Files {
    Files { passwd: passwd.into(), group: group.into(), shadow: shadow.map(Into::into) }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn an_empty_image_gets_the_account() {
    let done = provision(&Files::default(), &sarah()).unwrap();
    assert_eq!(text(&done.passwd), "sarah:x:1000:1000::/home/sarah:/bin/bash\n");
    assert_eq!(text(&done.group), "sarah:x:1000:\n");
    assert_eq!(done.shadow, None);
}

#[test]
fn the_owner_of_the_user_id_goes_with_group_and_memberships() {
    let before = files(
        "root:x:0:0:root:/root:/bin/sh\nubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n",
        "root:x:0:\nadm:x:4:syslog,ubuntu\nsudo:x:27:ubuntu\nubuntu:x:1000:\n",
        Some("root:*:19000:0:99999:7:::\nubuntu:!:19000:0:99999:7:::\n"),
    );
    let done = provision(&before, &sarah()).unwrap();
    assert_eq!(
        text(&done.passwd),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nsarah:x:1000:1000::/home/sarah:/bin/bash\n"
    );
    assert_eq!(text(&done.group), "root:x:0:\nadm:x:4:syslog\nsudo:x:27:\nsarah:x:1000:\n");
    assert_eq!(text(&done.shadow.unwrap()), "root:*:19000:0:99999:7:::\nsarah:*:::::::\n");
}

#[test]
fn an_account_of_the_same_name_is_moved_to_the_ids_asked_for() {
    let before = files(
        "sarah:x:1234:100:Sarah Lee:/srv/sarah:/bin/zsh\nsarah:x:9:9::/:/x\n",
        "sarah:x:1234:friend\nusers:x:100:sarah\n",
        None,
    );
    let done = provision(&before, &sarah()).unwrap();
    assert_eq!(text(&done.passwd), "sarah:x:1000:1000:Sarah Lee:/home/sarah:/bin/bash\n");
    assert_eq!(text(&done.group), "sarah:x:1000:friend\nusers:x:100:sarah\n");
    assert_eq!(groups_of(&done.group, "sarah", 1000), [1000, 100]);
}

#[test]
fn a_group_that_others_need_stays_behind_the_account_s_own() {
    let before = files("bob:x:1001:1000::/home/bob:/bin/sh\n", "users:x:1000:bob\nlast:x:5:\n", None);
    let done = provision(&before, &sarah()).unwrap();
    let group = text(&done.group);
    assert!(group.find("sarah:x:1000:").unwrap() < group.find("users:x:1000:bob").unwrap(), "{group}");
    assert!(group.contains("last:x:5:\n"));
}

#[test]
fn the_superuser_is_never_replaced() {
    let root = files("root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\nwheel:x:0:\n", None);
    let named = |name: &str| User { name: name.into(), ..sarah() };
    assert_eq!(provision(&root, &named("root")), Err(AccountError::Superuser("root".into())));
    assert_eq!(provision(&root, &named("wheel")), Err(AccountError::Superuser("wheel".into())));
    assert!(provision(&root, &User { uid: 0, ..sarah() }).is_err());
    assert!(provision(&root, &User { gid: 0, ..sarah() }).is_err());
}

#[test]
fn fields_that_would_forge_lines_are_refused() {
    for name in ["", "a:b", "a\nroot2:x:0:0::/:/bin/sh", "-a", "+", "a/b", "a b", "a,b"] {
        assert_eq!(
            provision(&Files::default(), &User { name: name.into(), ..sarah() }),
            Err(AccountError::Field("name"))
        );
    }
    for path in ["", "home", "/a:b", "/a\nb"] {
        assert_eq!(
            provision(&Files::default(), &User { home: path.into(), ..sarah() }),
            Err(AccountError::Field("home"))
        );
        assert_eq!(
            provision(&Files::default(), &User { shell: path.into(), ..sarah() }),
            Err(AccountError::Field("shell"))
        );
    }
}

#[test]
fn accounts_are_found_by_name_and_number() {
    let passwd = b"root:x:0:0:root:/root:/bin/sh\n+::::::\nsarah:x:1000:1000::/home/sarah:/bin/bash";
    assert_eq!(by_name(passwd, "sarah").unwrap().home, "/home/sarah");
    assert_eq!(by_uid(passwd, 0).unwrap().name, "root");
    assert_eq!(by_uid(passwd, 5), None);
    assert_eq!(group_id(b"tty:x:5:\n", "tty"), Some(5));
}

fn lines_of(pattern: &'static str) -> impl Strategy<Value = String> {
    proptest::collection::vec(pattern, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn doing_it_twice_changes_nothing(
        passwd in lines_of("(sarah|bob|root|eve):x:(0|9|1000|1001):(0|1000|7)::/h:/s|[ -~]{0,20}"),
        group in lines_of("(sarah|bob|users):x:(5|1000|1001):(bob|eve|sarah,eve)?|[ -~]{0,20}"),
        shadow in proptest::option::of(lines_of("(sarah|bob|eve):!:::::::")),
    ) {
        let before = files(&passwd, &group, shadow.as_deref());
        if let Ok(once) = provision(&before, &sarah()) {
            prop_assert_eq!(provision(&once, &sarah()).unwrap(), once.clone());
            let mine = by_uid(&once.passwd, 1000).unwrap();
            prop_assert_eq!(mine.name, "sarah");
            prop_assert_eq!(by_name(&once.passwd, "sarah").unwrap().uid, 1000);
            prop_assert_eq!(group_id(&once.group, "sarah"), Some(1000));
        }
    }

    #[test]
    fn arbitrary_files_never_panic(passwd in proptest::collection::vec(any::<u8>(), 0..400), group in proptest::collection::vec(any::<u8>(), 0..400)) {
        let before = Files { passwd, group: group.clone(), shadow: Some(group) };
        if let Ok(once) = provision(&before, &sarah()) {
            prop_assert_eq!(provision(&once, &sarah()).unwrap(), once);
        }
    }
}
