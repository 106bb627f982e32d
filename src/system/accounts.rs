//! Accounts and groups of this host, as NSS knows them, whatever it gets them from.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passwd {
    /// Login name.
    pub name: String,
    /// Its uid.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl Passwd {
    /// What root types to have the account's own engine do something. It goes to where it is started from, which may be a
    /// home of root's that the account may not enter.
    pub fn with_its_engine(&self, command: &str) -> String {
        let Self { name, uid, home, .. } = self;
        format!("runuser -u {name} -- env -C {home} XDG_RUNTIME_DIR=/run/user/{uid} {command}")
    }
}

/// First size of the buffer that an entry's texts go into, and the size at which it is given up, in bytes.
const BUFFER: usize = 1 << 12;
const MAX_BUFFER: usize = 1 << 24;

/// The account of a name; none if there is none.
pub fn user_by_name(name: &str) -> io::Result<Option<Passwd>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    look_up::<libc::passwd, _>(
        |entry, buffer, found| {
            // SAFETY: the name ends in zero; the other pointers are valid for writes of what goes with them.
            unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
        },
        passwd,
    )
}

/// The account of a uid; none if there is none.
pub fn user_by_uid(uid: u32) -> io::Result<Option<Passwd>> {
    look_up::<libc::passwd, _>(
        |entry, buffer, found| {
            // SAFETY: the pointers are valid for writes of what goes with them.
            unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
        },
        passwd,
    )
}

/// The gid of a group; none if there is no such group.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    look_up::<libc::group, _>(
        |entry, buffer, found| {
            // SAFETY: the name ends in zero; the other pointers are valid for writes of what goes with them.
            unsafe { libc::getgrnam_r(name.as_ptr(), entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
        },
        |group| group.gr_gid,
    )
}

/// Every group that an account is in, its primary group `gid` among them.
pub fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(name)?;
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).map_err(io::Error::other)?;
        // SAFETY: the name ends in zero; `groups` has room for `count` entries.
        let status = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).unwrap_or_default();
        if status >= 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        if groups.len() >= MAX_BUFFER {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // The count says how many there are; where it does not, twice as many are tried.
        let more = count.max(groups.len() * 2);
        groups.resize(more, 0);
    }
}

/// Calls one of the `get…_r` functions with a buffer that grows until the entry fits, and reads the entry.
fn look_up<E, T>(
    call: impl Fn(*mut E, &mut [u8], *mut *mut E) -> libc::c_int,
    read: impl Fn(&E) -> T,
) -> io::Result<Option<T>> {
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        let mut entry = MaybeUninit::<E>::zeroed();
        let mut found = ptr::null_mut();
        match call(entry.as_mut_ptr(), &mut buffer, &raw mut found) {
            // SAFETY: the call succeeded: `found` is null or points to `entry`, which it filled in, and whose texts lie in
            // `buffer`; both live until `read` is done.
            0 => return Ok(unsafe { found.as_ref() }.map(&read)),
            libc::ERANGE if buffer.len() < MAX_BUFFER => buffer.resize(buffer.len() * 4, 0),
            libc::EINTR => {}
            // What some sources answer for a name that they do not know.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            status => return Err(io::Error::from_raw_os_error(status)),
        }
    }
}

fn passwd(entry: &libc::passwd) -> Passwd {
    Passwd {
        name: text(entry.pw_name),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: text(entry.pw_dir),
        shell: text(entry.pw_shell),
    }
}

fn text(pointer: *const libc::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the C library fills entries with texts that end in zero and that lie in the caller's buffer, which is alive.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_by_uid() {
        let root = user_by_name("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(user_by_uid(0).unwrap(), Some(root));
        assert_eq!(group_id("root").unwrap(), Some(0));
        assert!(groups_of("root", 0).unwrap().contains(&0));
    }

    #[test]
    fn what_nobody_knows_is_none() {
        assert_eq!(user_by_name("no-such-account-here").unwrap(), None);
        assert_eq!(user_by_name("a\0b").unwrap(), None);
        assert_eq!(user_by_uid(4_000_000_001).unwrap(), None);
        assert_eq!(group_id("no-such-group-here").unwrap(), None);
    }

    #[test]
    fn a_buffer_that_is_too_small_grows() {
        let mut sizes = Vec::new();
        let sizes = std::cell::RefCell::new(&mut sizes);
        let found = look_up::<libc::group, u32>(
            |entry, buffer, found| {
                sizes.borrow_mut().push(buffer.len());
                if buffer.len() < 1 << 16 {
                    return libc::ERANGE;
                }
                // SAFETY: both pointers are the caller's own, valid for writes.
                unsafe { *found = entry };
                0
            },
            |group| group.gr_gid,
        );
        assert_eq!(found.unwrap(), Some(0));
        assert_eq!(**sizes.borrow(), [1 << 12, 1 << 14, 1 << 16]);
    }
}
