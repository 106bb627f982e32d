//! Names of users, machines and projects, targets, and owners derived from account names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podspawn::names::{MachineName, ProjectName, SessionKey, Target, UserName};

fuzz_target!(|text: &str| {
    let owner = UserName::derive(text);
    assert_eq!(owner.as_str().parse().as_ref(), Ok(&owner));

    for error in [
        text.parse::<MachineName>().err(),
        text.parse::<ProjectName>().err(),
        text.parse::<UserName>().err(),
        text.parse::<Target>().err(),
    ]
    .into_iter()
    .flatten()
    {
        let message = error.to_string();
        assert!(!message.contains(char::is_control), "{message:?}");
        assert!(message.chars().count() < 500, "{message}");
    }

    // `user@name`, twice with a line break between: two sessions never share a container name.
    if let Some((one, other)) = text.split_once('\n')
        && let (Ok(one), Ok(other)) = (one.parse::<Target>(), other.parse::<Target>())
    {
        let keys: [SessionKey; 2] = [one.key(&owner), other.key(&owner)];
        assert_eq!(keys[0] == keys[1], keys[0].container_name() == keys[1].container_name());
    }
});
