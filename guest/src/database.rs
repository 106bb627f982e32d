//! Who is who inside: look-ups in the container's account files at one moment, for programs that are no part of the loop.
//! Reads them without the C library's name services, which a static program and many an image lack.

use std::fs;

use crate::accounts::{self, Account};

/// The texts of `/etc/passwd` and `/etc/group`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Database {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

impl Database {
    /// The container's; a file that cannot be read counts as empty.
    pub(crate) fn read() -> Self {
        let text = |path| fs::read(path).unwrap_or_default();
        Self { passwd: text("/etc/passwd"), group: text("/etc/group") }
    }

    #[cfg(test)]
    pub(crate) fn of(passwd: &str, group: &str) -> Self {
        Self { passwd: passwd.into(), group: group.into() }
    }

    pub(crate) fn user_by_name(&self, name: &str) -> Option<Account> {
        accounts::by_name(&self.passwd, name)
    }

    pub(crate) fn user_by_id(&self, uid: u32) -> Option<Account> {
        accounts::by_uid(&self.passwd, uid)
    }

    pub(crate) fn user_name(&self, uid: u32) -> Option<String> {
        self.user_by_id(uid).map(|user| user.name)
    }

    pub(crate) fn group_id(&self, name: &str) -> Option<u32> {
        accounts::group_id(&self.group, name)
    }

    pub(crate) fn group_name(&self, gid: u32) -> Option<String> {
        accounts::group_name(&self.group, gid)
    }

    /// The groups of a user: the given first one and every group that lists the name.
    pub(crate) fn groups_of(&self, name: &str, gid: u32) -> Vec<u32> {
        accounts::groups_of(&self.group, name, gid)
    }
}
