//! Who asks: the kernel tells the uid, the system's accounts tell the rest. Nothing of it comes from the asker.

use std::io;

use thiserror::Error;

use super::Broker;
use crate::names::UserName;
use crate::system::accounts::{self, Passwd};

/// A container user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) user: UserName,
}

/// Why somebody is not served.
#[derive(Debug, Error)]
pub(super) enum StrangerError {
    #[error("uid {0} is no account of this host")]
    NoAccount(u32),
    #[error("there is no account of that name")]
    NoName,
    #[error("the account is not a container user")]
    NotAMember,
    #[error("the account's name cannot be that of a container user")]
    Name,
    #[error("the request is for another user")]
    SomebodyElse,
    #[error("look the account up: {0}")]
    System(#[from] io::Error),
}

impl Broker {
    /// The container user behind a uid. `claimed`: who they say they are; must agree.
    pub(super) fn identify(&self, uid: u32, claimed: Option<&str>) -> Result<Identity, StrangerError> {
        let account = accounts::user_by_uid(uid)?.ok_or(StrangerError::NoAccount(uid))?;
        if claimed.is_some_and(|claimed| claimed != account.name) {
            return Err(StrangerError::SomebodyElse);
        }
        self.member(account)
    }

    /// The container user of that name.
    pub(super) fn named(&self, name: &str) -> Result<Identity, StrangerError> {
        self.member(accounts::user_by_name(name)?.ok_or(StrangerError::NoName)?)
    }

    fn member(&self, account: Passwd) -> Result<Identity, StrangerError> {
        let user: UserName = account.name.parse().map_err(|_| StrangerError::Name)?;
        let group = accounts::group_id(&self.group)?.ok_or(StrangerError::NotAMember)?;
        if account.uid == 0 || !accounts::groups_of(&account.name, account.gid)?.contains(&group) {
            return Err(StrangerError::NotAMember);
        }
        Ok(Identity { user })
    }
}
