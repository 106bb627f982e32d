//! The PAM session module `pam_podspawn`: moves the connection of a container user into their container's network.
//!
//! sshd opens the session in its privileged process before it starts the one that serves the client. A network namespace
//! entered here is therefore the one in which `-L`, `-R`, `-D` and X11 of this connection live, with an sshd that knows
//! nothing of it. Who is not in the group of container users is let through after a look into the local accounts. For a
//! container user whose network cannot be had, the namespace is a new, empty one, so that forwarding leads nowhere.
//!
//! The process belongs to sshd: nothing here changes its signals, its directory or its umask, leaves a thread behind, or
//! lets a panic out.

mod arguments;
mod broker;
mod home;
mod libpam;
mod mark;
mod member;
mod network;
mod reason;
mod resolver;
mod starter;

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

use arguments::Arguments;
use home::Home;
use libpam::{Answer, Handle, RawHandle};
use member::Membership;
use reason::Reason;

/// Longest that a login waits for the broker, all steps together.
const LIMIT: Duration = Duration::from_secs(5);

/// What lives as long as the session does, in sshd's privileged process. Each descriptor is close-on-exec; their end is how
/// the broker learns that the connection is over.
struct Held {
    _lease: OwnedFd,
    _connection: OwnedFd,
}

/// What is kept for a session that was opened here.
struct Session {
    /// None in an empty network.
    _held: Option<Held>,
    /// None of an account whose home is not podspawn's.
    home: Option<Home>,
}

fn open(pam: &Handle, arguments: &Arguments<'_>) -> Answer {
    let Some(group) = arguments.group else {
        pam.log("no `group=` in the PAM line: nothing is done");
        return Answer::Ignore;
    };
    let user = match pam.user() {
        Ok(Some(user)) => user,
        Ok(None) => return Answer::Ignore,
        Err(code) => {
            pam.log(&format!("PAM does not tell the user (error {code}): the session is refused"));
            return Answer::SessionError;
        }
    };
    let account = match member::look_up(user, group) {
        Ok(Membership::Member(account)) => account,
        Ok(Membership::Stranger) => return Answer::Ignore,
        // Which kind of user it is cannot be known, and sshd answers an error with no session and no forwarding, as it
        // does itself when it cannot read the accounts.
        Err(reason) => {
            pam.log(&format!("{reason}: the session is refused"));
            return Answer::SessionError;
        }
    };
    let home = || {
        home::make(arguments.socket, &account).unwrap_or_else(|error| {
            // The login works without it, with a warning of sshd's.
            pam.log(&format!("the account's home cannot be made: {error}"));
            None
        })
    };
    let Err(reason) = join(pam, user, arguments, &home) else { return Answer::Success };
    pam.log(&format!("no network for this connection, so that forwarding leads nowhere: {reason}"));
    if let Err(error) = network::leave() {
        pam.log(&format!("no empty network either, so that the session is refused: {error}"));
        return Answer::SessionError;
    }
    // Without the mark, only the rest of the stack is closed at the end although it was not opened.
    let _ = pam.keep(Session { _held: None, home: home() });
    Answer::Success
}

/// Enters the network of the user's container; after an error the process is where it was.
fn join(
    pam: &Handle,
    user: &CStr,
    arguments: &Arguments<'_>,
    home: &dyn Fn() -> Option<Home>,
) -> Result<(), Reason> {
    let deadline = Instant::now() + LIMIT;
    let user = user.to_str().map_err(|_| Reason::UserName)?;
    let granted = broker::ask(arguments, user, deadline)?;
    network::check(&granted.namespace)?;
    let held = Held { _lease: granted.lease, _connection: granted.connection };
    // Kept before the step that cannot be undone.
    pam.keep(Session { _held: Some(held), home: home() }).map_err(Reason::Keep)?;
    network::enter(&granted.namespace)?;
    if let Err(error) = resolver::set(&granted.resolvers) {
        pam.log(&format!("names cannot be resolved as the container resolves them: {error}"));
    }
    Ok(())
}

fn close(pam: &Handle) -> Answer {
    let empty = |session: &Session| {
        if let Some(Err(error)) = session.home.as_ref().map(Home::empty) {
            pam.log(&format!("the account's home cannot be emptied: {error}"));
        }
    };
    // The rest of the stack was not opened for those for whom something is kept, so it is not closed either.
    if pam.release(empty) { Answer::Success } else { Answer::Ignore }
}

/// Runs an entry point. A panic becomes an error, which sshd answers with no session and no forwarding.
fn guarded(work: impl FnOnce() -> Answer) -> c_int {
    static QUIET: Once = Once::new();
    // sshd's standard error may lead to the client.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Answer::SessionError).code()
}

/// Called by libpam when a session begins.
///
/// # Safety
/// `pam` is a live handle; `arguments` has `count` strings that live as long as the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_open_session(
    pam: *mut RawHandle,
    _flags: c_int,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: libpam gives a live handle that nobody else uses during the call.
        let pam = unsafe { Handle::new(pam) };
        // SAFETY: libpam gives as many strings as it says; they outlive the call.
        let arguments = unsafe { Arguments::from_raw(count, arguments) };
        open(&pam, &arguments)
    })
}

/// Called by libpam when a session ends.
///
/// # Safety
/// `pam` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_close_session(
    pam: *mut RawHandle,
    _flags: c_int,
    _count: c_int,
    _arguments: *const *const c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: libpam gives a live handle that nobody else uses during the call.
        let pam = unsafe { Handle::new(pam) };
        close(&pam)
    })
}
