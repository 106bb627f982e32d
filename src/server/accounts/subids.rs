//! Subordinate ids of the account that owns a rootless engine: the ids inside its containers are such ids on the host.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use super::error::AccountError;
use super::lock::Lock;
use super::tools::run;
use crate::system::accounts::Passwd;

/// Where the system keeps them.
const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// First id that is given to anybody, as `login.defs` has it.
const FIRST: u32 = 100_000;

/// How many an engine needs: as many as a container can have accounts.
const COUNT: u32 = 65_536;

/// Whether an account has ids of both kinds.
pub fn has_subordinate_ids(account: &Passwd) -> Result<bool, AccountError> {
    Ok(read()?.iter().all(|text| ranges(text).any(|(owner, _)| is(owner, account))))
}

/// Gives an account as many as an engine needs, none of which is anybody's, nor one of `reserved`.
pub(super) fn give(lock: &Lock, account: &Passwd, reserved: RangeInclusive<u32>) -> Result<(), AccountError> {
    let taken = read()?;
    let taken = taken.iter().flat_map(|text| ranges(text)).map(|(_, range)| range).chain([reserved]);
    let first = free(taken);
    let range = format!("{first}-{}", first.saturating_add(COUNT - 1));
    let args = ["--add-subuids", &range, "--add-subgids", &range, &account.name];
    run(lock, "usermod", args)
}

fn read() -> Result<Vec<String>, AccountError> {
    let text = |file: &&str| match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(AccountError::io("read", Path::new(file))),
    };
    FILES.iter().map(text).collect()
}

/// Owners and their ranges; what is no range is passed over, as the system does it.
fn ranges(text: &str) -> impl Iterator<Item = (&str, RangeInclusive<u32>)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().splitn(3, ':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
        Some((owner, first..=first.saturating_add(count.checked_sub(1)?)))
    })
}

/// Files name accounts by name or by uid.
fn is(owner: &str, account: &Passwd) -> bool {
    owner == account.name || owner.parse() == Ok(account.uid)
}

/// The first id after all that are taken.
fn free(taken: impl Iterator<Item = RangeInclusive<u32>>) -> u32 {
    taken.map(|range| range.end().saturating_add(1)).fold(FIRST, u32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ann:100000:65536\n# a remark\n1001:165536:65536\nbroken:x:1\nempty:7:0\n";

    #[test]
    fn owners_are_named_by_name_or_uid() {
        let owners: Vec<&str> = ranges(TEXT).map(|(owner, _)| owner).collect();
        assert_eq!(owners, ["ann", "1001"]);
        let account =
            |name: &str, uid| Passwd { name: name.into(), uid, gid: 1, home: "/".into(), shell: "/".into() };
        assert!(is("ann", &account("ann", 7)) && is("1001", &account("ben", 1001)));
        assert!(!is("ann", &account("anna", 7)) && !is("1001", &account("ann", 100)));
    }

    #[test]
    fn what_is_given_is_nobodys() {
        assert_eq!(free(std::iter::empty()), FIRST);
        assert_eq!(free(ranges(TEXT).map(|(_, range)| range)), 231_072);
        assert_eq!(free([50_000..=59_999].into_iter()), FIRST);
        assert_eq!(free([200_000..=299_999, 100_000..=165_535].into_iter()), 300_000);
    }
}
