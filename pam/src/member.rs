//! Whether a user is a container user, by the accounts of this host. Asks nobody of podspawn.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;

use crate::reason::Reason;

/// First size of the buffers that the C library wants, in bytes or groups; they grow.
const FIRST: usize = 1024;
/// Largest.
const LAST: usize = 1 << 20;

/// What the accounts say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Membership {
    /// In the group, which may be the user's own.
    Member(Account),
    /// Not in the group; or no such user or group.
    Stranger,
}

/// A container user's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: libc::uid_t,
    pub(crate) gid: libc::gid_t,
    pub(crate) home: CString,
}

/// Looks at all groups of the user, as sshd's `Match Group` does.
pub(crate) fn look_up(user: &CStr, group: &CStr) -> Result<Membership, Reason> {
    let Some(group) = group_id(group).map_err(Reason::Accounts)? else { return Ok(Membership::Stranger) };
    let Some(own) = account(user).map_err(Reason::Accounts)? else { return Ok(Membership::Stranger) };
    if own.gid == group {
        return Ok(Membership::Member(own));
    }
    let all = groups(user, own.gid).map_err(Reason::Accounts)?;
    Ok(if all.contains(&group) { Membership::Member(own) } else { Membership::Stranger })
}

fn group_id(name: &CStr) -> io::Result<Option<libc::gid_t>> {
    search(|buffer| {
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are to live memory of the sizes given.
        let code = unsafe {
            let (at, size) = (buffer.as_mut_ptr(), buffer.len());
            libc::getgrnam_r(name.as_ptr(), entry.as_mut_ptr(), at, size, &mut found)
        };
        // SAFETY: `found` is null or points to `entry`, which then is filled.
        (code, unsafe { found.as_ref() }.map(|entry| entry.gr_gid))
    })
}

fn account(user: &CStr) -> io::Result<Option<Account>> {
    search(|buffer| {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are to live memory of the sizes given.
        let code = unsafe {
            let (at, size) = (buffer.as_mut_ptr(), buffer.len());
            libc::getpwnam_r(user.as_ptr(), entry.as_mut_ptr(), at, size, &mut found)
        };
        // SAFETY: `found` is null or points to `entry`, which then is filled, and whose strings lie in the buffer.
        let account = unsafe { found.as_ref() }.map(|entry| Account {
            uid: entry.pw_uid,
            gid: entry.pw_gid,
            // SAFETY: as above: the home is a string in the buffer.
            home: unsafe { CStr::from_ptr(entry.pw_dir) }.to_owned(),
        });
        (code, account)
    })
}

/// Calls until the buffer is large enough. The C library has several ways of saying "no such entry".
fn search<T>(mut call: impl FnMut(&mut [c_char]) -> (c_int, Option<T>)) -> io::Result<Option<T>> {
    let mut buffer: Vec<c_char> = vec![0; FIRST];
    loop {
        match call(&mut buffer) {
            (0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM, found) => return Ok(found),
            (libc::EINTR, _) => {}
            (libc::ERANGE, _) if buffer.len() < LAST => buffer.resize(buffer.len() * 4, 0),
            (code, _) => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

fn groups(user: &CStr, own: libc::gid_t) -> io::Result<Vec<libc::gid_t>> {
    let mut all: Vec<libc::gid_t> = vec![0; FIRST];
    loop {
        let mut count = all.len() as c_int;
        // SAFETY: the list has room for `count` entries.
        if unsafe { libc::getgrouplist(user.as_ptr(), own, all.as_mut_ptr(), &mut count) } >= 0 {
            all.truncate(usize::try_from(count).unwrap_or(0));
            return Ok(all);
        }
        if all.len() >= LAST {
            return Err(io::Error::from_raw_os_error(libc::ERANGE));
        }
        all.resize(all.len() * 4, 0);
    }
}
