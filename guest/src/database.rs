//! Who is who inside: look-ups in the texts of `/etc/passwd` and `/etc/group`, without the C library's name services
//! (the guest is static, and an image may have none). Reading only; `accounts` edits.

use std::fs;

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// A line of `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: u32,
    pub(crate) members: Vec<String>,
}

/// Both files at one moment. Lines that do not parse are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Database {
    users: Vec<Account>,
    groups: Vec<Group>,
}

impl Database {
    /// The container's; a file that cannot be read counts as empty.
    pub(crate) fn read() -> Self {
        let text = |path| {
            fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        Self::parse(&text("/etc/passwd"), &text("/etc/group"))
    }

    pub(crate) fn parse(passwd: &str, group: &str) -> Self {
        Self {
            users: passwd.lines().filter_map(account).collect(),
            groups: group.lines().filter_map(group_line).collect(),
        }
    }

    pub(crate) fn user_by_name(&self, name: &str) -> Option<&Account> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(crate) fn user_by_id(&self, uid: u32) -> Option<&Account> {
        self.users.iter().find(|user| user.uid == uid)
    }

    pub(crate) fn user_name(&self, uid: u32) -> Option<&str> {
        self.user_by_id(uid).map(|user| user.name.as_str())
    }

    pub(crate) fn group_by_name(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub(crate) fn group_name(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|group| group.gid == gid).map(|group| group.name.as_str())
    }

    /// The groups of a user: the given first one and every group that lists the name.
    pub(crate) fn groups_of(&self, name: &str, gid: u32) -> Vec<u32> {
        let mut gids = vec![gid];
        for group in self.groups.iter().filter(|group| group.members.iter().any(|member| member == name)) {
            if !gids.contains(&group.gid) {
                gids.push(group.gid);
            }
        }
        gids
    }
}

fn account(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
    Some(Account {
        name: (!name.is_empty()).then(|| (*name).to_owned())?,
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: (*home).to_owned(),
        shell: (*shell).to_owned(),
    })
}

fn group_line(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields.as_slice() else { return None };
    Some(Group {
        name: (!name.is_empty()).then(|| (*name).to_owned())?,
        gid: gid.parse().ok()?,
        members: members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_groups_are_found_and_broken_lines_are_not() {
        let database = Database::parse(
            "root:x:0:0:root:/root:/bin/sh\nbroken\nsarah:x:1000:1000::/home/sarah:\nbad:x:y:1::/:/\n",
            "root:x:0:\nadm:x:4:sarah,other\nsarah:x:1000:sarah\n+::\n",
        );
        assert_eq!(database.user_name(0), Some("root"));
        assert_eq!(
            database.user_by_name("sarah").map(|user| (user.uid, user.shell.as_str())),
            Some((1000, ""))
        );
        assert_eq!(database.user_by_name("bad"), None);
        assert_eq!(database.group_by_name("adm").map(|group| group.gid), Some(4));
        assert_eq!(database.group_name(1000), Some("sarah"));
        assert_eq!(database.groups_of("sarah", 1000), [1000, 4]);
        assert_eq!(database.groups_of("nobody", 65534), [65534]);
    }
}
