//! The engine's socket on a server: whoever can open it is root on this host.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Server, some_of};
use crate::check::Check;
use crate::names::quoted;
use crate::system::accounts::groups_of;

impl Server {
    pub(super) fn engine_socket(&self, engine: &str, path: Option<&Path>) -> Check {
        let name = format!("{engine} socket");
        let Some(path) = path else { return Check::pass(name, "none: the engine is spoken to by TCP") };
        let shown = path.display();
        let facts = match fs::metadata(path) {
            Ok(facts) => facts,
            Err(error) if self.is_closed(&error) => return Check::unseen(name, shown),
            Err(error) => return Check::fail(name, format!("{shown}: {error}"), format!("start {engine}")),
        };
        if !facts.file_type().is_socket() {
            return Check::fail(name, format!("{shown} is not a socket"), format!("start {engine}"));
        }
        if facts.mode() & 0o002 != 0 && is_reached_by_others(path) {
            let detail =
                format!("{shown} can be opened by everybody on this host, container users among them");
            return Check::fail(name, detail, format!("chmod o-rwx {shown}"));
        }
        let (mode, owner, group) = (facts.mode(), facts.uid(), facts.gid());
        let can_open: Vec<String> = self
            .users
            .iter()
            .flatten()
            .filter(|user| {
                let owns = user.account.as_ref().is_some_and(|account| account.uid == owner);
                owns || (mode & 0o020 != 0 && user.groups.contains(&group))
            })
            .map(|user| quoted(&user.name))
            .collect();
        if !can_open.is_empty() {
            let detail = format!("{shown} can be opened by container users: {}", some_of(&can_open));
            return Check::fail(name, detail, format!("take them out of the group with gid {group}"));
        }
        if !self.broker_opens(&facts) {
            let account = self.place.config.server.account.as_ref().map_or("root", |name| name.as_str());
            let detail = format!("{shown} cannot be opened by `{account}`, as which the broker works");
            return Check::fail(name, detail, "name the engine's owner as `server.account`");
        }
        Check::pass(name, format!("{shown}, for the broker alone"))
    }

    fn broker_opens(&self, socket: &Metadata) -> bool {
        let Ok(Some(owner)) = self.owner() else { return false };
        let groups = || groups_of(&owner.name, owner.gid).unwrap_or_default();
        owner.uid == 0
            || (owner.uid == socket.uid() && socket.mode() & 0o200 != 0)
            || socket.mode() & 0o002 != 0
            || (socket.mode() & 0o020 != 0 && groups().contains(&socket.gid()))
    }
}

/// Whether everybody can get as far as the socket.
fn is_reached_by_others(path: &Path) -> bool {
    path.ancestors().skip(1).all(|dir| fs::metadata(dir).is_ok_and(|facts| facts.mode() & 0o001 != 0))
}
