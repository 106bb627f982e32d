//! The accounts of an installation.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::process::Command;

use super::Server;
use crate::harness::system::run;

impl Server {
    /// A name for a container user that the story itself makes, with `add-user`. Removed at the end if it is still there.
    pub fn name(&self, name: &str) -> String {
        let user = format!("t{}{name}", &self.id[..6]);
        self.users.borrow_mut().push(user.clone());
        user
    }

    /// A file that everybody on this host may read, and its text.
    pub fn marker(&self) -> (String, &'static str) {
        let path = self.path("etc/of-the-host");
        let text = "this is the host";
        fs::write(&path, text).expect("write");
        (path.display().to_string(), text)
    }

    /// A container user with a key; the name is unique and ends in this.
    pub fn user(&self, name: &str) -> String {
        self.member(name, &self.path("lib/podspawn-shell"))
    }

    /// A container user whose account was made by somebody else, with a shell of this host.
    pub fn existing(&self, name: &str) -> String {
        self.member(name, Path::new("/bin/sh"))
    }

    fn member(&self, name: &str, shell: &Path) -> String {
        let user = format!("t{}{name}", &self.id[..6]);
        let home = self.run_home(&user);
        let group = format!("pg{}", self.id);
        run(Command::new("useradd")
            .args([
                "-M",
                "-N",
                "-g",
                &group,
                "-p",
                "*",
                "-K",
                "SUB_UID_COUNT=0",
                "-K",
                "SUB_GID_COUNT=0",
                "-s",
            ])
            .args([shell.as_os_str(), "-d".as_ref(), home.as_os_str(), user.as_ref()]));
        self.users.borrow_mut().push(user.clone());
        fs::DirBuilder::new().mode(0o700).create(&home).expect("mkdir");
        chown(&home, Some(self.uid(&user)), Some(self.gid())).expect("chown");
        let file = self.path("etc/keys").join(&user);
        fs::copy(self.path("ssh/key.pub"), &file).expect("copy the key");
        run(Command::new("chown").arg(format!("pa{}", self.id)).arg(&file));
        user
    }

    /// An ordinary user of the same sshd with the same key.
    pub fn ordinary(&self, name: &str) -> String {
        let user = format!("o{}{name}", &self.id[..6]);
        let home = self.path("homes").join(&user);
        run(Command::new("useradd")
            .args(["-M", "-N", "-g", "nogroup", "-s", "/bin/sh", "-p", "*", "-d"])
            .args([home.as_os_str(), user.as_ref()]));
        self.users.borrow_mut().push(user.clone());
        fs::create_dir(&home).expect("mkdir");
        chown(&home, Some(self.uid(&user)), None).expect("chown");
        fs::copy(self.path("ssh/key.pub"), self.path("ordinary").join(&user)).expect("copy the key");
        user
    }

    /// The account that git works as.
    pub fn git_account(&self) -> String {
        format!("pv{}", self.id)
    }

    /// The uid of an account.
    pub fn uid(&self, user: &str) -> u32 {
        run(Command::new("id").args(["-u", user])).trim().parse().expect("a uid")
    }

    /// The gid of the container users' group.
    pub fn gid(&self) -> u32 {
        let entry = run(Command::new("getent").args(["group", &format!("pg{}", self.id)]));
        entry.split(':').nth(2).expect("a gid").parse().expect("a gid")
    }
}
