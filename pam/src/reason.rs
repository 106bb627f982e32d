//! Why a connection gets no network, for the administrator's log.

use std::fmt;
use std::io;
use std::path::PathBuf;

use podspawn_wire::WireError;

/// A fragment that names the cause.
#[derive(Debug)]
pub(crate) enum Reason {
    /// The accounts of this host cannot be read.
    Accounts(io::Error),
    /// The login name is no text.
    UserName,
    /// The PAM line has no `socket=`, or not an absolute one.
    NoSocket,
    /// Somebody other than root could have put the socket there.
    Untrusted(PathBuf, &'static str),
    /// The socket cannot be reached.
    Connect(PathBuf, io::Error),
    /// The program that starts a broker did not do so.
    Start(PathBuf, String),
    /// The conversation failed.
    Wire(WireError),
    /// The broker says no; its words.
    Refused(String),
    /// The broker gave something that is no network of a container.
    Namespace(&'static str),
    /// The system refused.
    System(&'static str, io::Error),
    /// libpam does not keep what the session needs; its error number.
    Keep(i32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts(error) => write!(f, "the accounts of this host cannot be read: {error}"),
            Self::UserName => f.write_str("the login name is no text"),
            Self::NoSocket => f.write_str("no absolute path as `socket=` in the PAM line"),
            Self::Untrusted(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Connect(path, error) => {
                write!(f, "the broker cannot be reached at {}: {error}", path.display())
            }
            Self::Start(path, how) => write!(f, "{} did not start a broker: {how}", path.display()),
            Self::Wire(WireError::Io(error)) => write!(f, "the connection to the broker failed: {error}"),
            Self::Wire(error) => write!(f, "no answer from the broker: {error}"),
            Self::Refused(text) => write!(f, "the broker says: {text}"),
            Self::Namespace(what) => write!(f, "the broker gave {what}"),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::Keep(code) => write!(f, "libpam keeps nothing for this session (error {code})"),
        }
    }
}

impl From<WireError> for Reason {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}
