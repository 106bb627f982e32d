//! Who resolves the names of `-L` and `-D`. sshd asks the name servers of the host, from within the container's network. One
//! on the host's loopback, as many distributions have it, is not there: then the container's own are asked.

use std::ffi::CStr;
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ptr;

/// Where the C library reads whom to ask.
const FILE: &CStr = c"/etc/resolv.conf";

/// Any directory: another file system covers it for a moment, for this process alone.
const STAGE: &CStr = c"/tmp";
const STAGED: &CStr = c"/tmp/resolv.conf";

/// Most name servers that the C library asks.
const MOST: usize = 3;

/// Lets this process and those that it starts ask these name servers, if those of the host cannot be reached from the network
/// that it is in. Nothing else of the host's files looks different to them, and nothing at all to others.
pub(crate) fn set(resolvers: &[IpAddr]) -> io::Result<()> {
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if resolvers.is_empty() || !asks_loopback(&host) {
        return Ok(());
    }
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: no memory is involved; sshd's process has one thread, which is this one.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    // What is mounted and unmounted on the host is so here too, and not the other way round.
    mount(None, c"/", None, libc::MS_REC | libc::MS_SLAVE)?;
    mount(Some(c"tmpfs"), STAGE, Some(c"tmpfs"), flags)?;
    let replaced = fs::write("/tmp/resolv.conf", text(resolvers))
        .and_then(|()| mount(Some(STAGED), FILE, None, libc::MS_BIND));
    // SAFETY: the name is a string.
    let uncovered = check(unsafe { libc::umount2(STAGE.as_ptr(), libc::MNT_DETACH) });
    replaced.and(uncovered)
}

/// Whether whoever resolves names by this file asks nobody but this host itself.
fn asks_loopback(text: &str) -> bool {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver").and(words.next())
    });
    servers.map(|server| server.split('%').next().and_then(|server| server.parse::<IpAddr>().ok())).all(
        |server| {
            // What is no address is not asked.
            server.is_none_or(|server| server.is_loopback() || server == IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        },
    )
}

fn text(resolvers: &[IpAddr]) -> String {
    resolvers.iter().take(MOST).fold(String::new(), |mut text, resolver| {
        let _ = writeln!(text, "nameserver {resolver}");
        text
    })
}

fn mount(source: Option<&CStr>, target: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: each pointer is null, where that is allowed, or leads to a string.
    check(unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, ptr::null()) })
}

fn check(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_that_asks_itself_asks_the_containers_name_servers() {
        for text in [
            "",
            "search example.com\n",
            "nameserver 127.0.0.53\noptions edns0\n",
            "nameserver ::1\nnameserver 127.0.0.1\n",
        ] {
            assert!(asks_loopback(text), "{text}");
        }
        for text in [
            "nameserver 10.0.0.1\n",
            "nameserver 127.0.0.1\nnameserver 10.0.0.1\n",
            "nameserver fe80::1%eth0\n",
        ] {
            assert!(!asks_loopback(text), "{text}");
        }
    }

    #[test]
    fn as_many_are_named_as_are_asked() {
        let servers: Vec<IpAddr> = (1..=4).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        assert_eq!(text(&servers), "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n");
    }
}
