//! Lines of sshd's that keep container users out before anybody is asked for keys: `AllowGroups` and its like. Pure.

use super::sshd::Effective;

/// Why members of the group do not get in, in the administrator's words; none if nothing is seen that keeps them out. `user`:
/// one of them, if there is one. What sshd decides by the client's address, or by a negated pattern, is not judged.
pub(super) fn locked_out(effective: &Effective, group: &str, user: Option<&str>) -> Option<String> {
    let values = |keyword: &str| -> Vec<String> { effective.values(keyword).map(str::to_owned).collect() };
    let is_judged = |list: &[String]| !list.iter().any(|pattern| pattern.contains(['!', '@']));
    let names = |list: &[String], name: &str| list.iter().any(|pattern| matches(pattern, name));
    let (allowed, denied) = (values("allowgroups"), values("denygroups"));
    if is_judged(&denied) && names(&denied, group) {
        return Some(format!("`DenyGroups` names the group `{group}`"));
    }
    if is_judged(&allowed) && !allowed.is_empty() && !names(&allowed, group) {
        return Some(format!("`AllowGroups` does not name the group `{group}`"));
    }
    let (allowed, denied) = (values("allowusers"), values("denyusers"));
    match user {
        Some(user) if is_judged(&denied) && names(&denied, user) => {
            Some(format!("`DenyUsers` names `{user}`"))
        }
        Some(user) if is_judged(&allowed) && !allowed.is_empty() && !names(&allowed, user) => {
            Some(format!("`AllowUsers` does not name `{user}`"))
        }
        None if is_judged(&allowed) && !allowed.is_empty() && !names(&allowed, "any") => {
            Some("`AllowUsers` lets in those alone whom it names".into())
        }
        _ => None,
    }
}

/// sshd's patterns: `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            let mut ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.any(|at| matches(rest, &name[at..]))
        }
        (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
            matches(&pattern[wanted.len_utf8()..], &name[found.len_utf8()..])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_container_users_out_is_seen_and_what_does_not_is_not() {
        let seen = |text: &str, user| locked_out(&Effective::parse(text), "podspawn-users", user);
        for harmless in [
            "port 22",
            "allowgroups sudo\nallowgroups podspawn-users",
            "allowgroups pod*",
            "denygroups games",
            "allowusers *",
            "allowusers ann@10.0.0.0/8",
            "allowgroups !podspawn-users",
        ] {
            assert_eq!(seen(harmless, Some("ann")), None, "{harmless}");
        }
        for (text, part) in [
            ("allowgroups sudo\nallowgroups adm", "`AllowGroups` does not name"),
            ("denygroups podspawn-?sers", "`DenyGroups` names"),
            ("allowusers root\nallowusers admin", "`AllowUsers` does not name `ann`"),
            ("denyusers a*", "`DenyUsers` names `ann`"),
        ] {
            assert!(seen(text, Some("ann")).unwrap().contains(part), "{text}");
        }
        assert_eq!(seen("denyusers ben", None), None);
        assert!(seen("allowusers root", None).unwrap().contains("`AllowUsers` lets in"));
    }
}
