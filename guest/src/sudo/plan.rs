//! From a request to what is executed: who, which program, with which arguments, environment and directory. Pure; what
//! exists is asked through a closure.

use super::environment::{self, Caller, Inputs, environment};
use super::protocol::{Request, Run, Shell, Variable};
use crate::accounts::Account;
use crate::database::Database;
use crate::spawn::Identity;

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) identity: Identity,
    /// Path of the program.
    pub(super) program: Vec<u8>,
    /// Arguments, the name first.
    pub(super) argv: Vec<Vec<u8>>,
    pub(super) env: Vec<Variable>,
    pub(super) directory: Directory,
}

/// Where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Directory {
    /// Where the caller is.
    Callers,
    /// There, or it does not run.
    Required(Vec<u8>),
    /// There if possible.
    Wanted(Vec<u8>),
}

/// Decides. `executable` says whether a path can be executed. The error is a line for the user.
pub(super) fn plan(
    request: &Request,
    (uid, gid): (u32, u32),
    accounts: &Database,
    image_path: Option<&str>,
    executable: impl Fn(&[u8]) -> bool,
) -> Result<Plan, String> {
    let run = &request.run;
    let mut target = user(run, accounts)?;
    if !executable(target.shell.as_bytes()) {
        target.shell = "/bin/sh".into();
    }
    let identity = identity(request, &target, accounts)?;
    let callers = accounts.user_by_id(uid);
    let caller = Caller {
        name: callers.as_ref().map_or_else(|| format!("#{uid}"), |account| account.name.clone()),
        uid,
        gid,
    };
    let path = environment::secure_path(image_path);

    let (program, argv) = match run.shell {
        Shell::None => {
            let program = find(run, &path, &executable)?;
            (program, run.command.clone())
        }
        Shell::Own => {
            let own = variable(&request.env, b"SHELL").map(<[u8]>::to_vec);
            let own = own.or_else(|| callers.map(|account| account.shell.clone().into_bytes()));
            let shell = own.filter(|shell| executable(shell)).unwrap_or_else(|| b"/bin/sh".to_vec());
            let argv = shell_arguments(shell.clone(), &run.command);
            (shell, argv)
        }
        Shell::Login => {
            let shell = target.shell.clone().into_bytes();
            let name = shell.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let argv = shell_arguments([b"-", name].concat(), &run.command);
            (shell, argv)
        }
    };
    let command =
        [&program[..], &argv[1..].iter().flat_map(|arg| [b" ", &arg[..]].concat()).collect::<Vec<u8>>()]
            .concat();
    let env = environment(&Inputs {
        env: &request.env,
        assignments: &run.assignments,
        preserve: &run.preserve,
        shell: run.shell,
        set_home: run.set_home,
        target: &target,
        caller: &caller,
        path: &path,
        command: &command,
    });
    let directory = match (&run.directory, run.shell) {
        (Some(directory), _) => Directory::Required(directory.clone()),
        (None, Shell::Login) => Directory::Wanted(target.home.into_bytes()),
        (None, Shell::None | Shell::Own) => Directory::Callers,
    };
    Ok(Plan { identity, program, argv, env, directory })
}

fn user(run: &Run, accounts: &Database) -> Result<Account, String> {
    let nameless =
        |uid: u32, name: String| Account { name, uid, gid: uid, home: "/".into(), shell: "/bin/sh".into() };
    let Some(name) = &run.user else {
        // An image without a passwd file has a root all the same.
        return Ok(accounts.user_by_id(0).unwrap_or_else(|| nameless(0, "root".into())));
    };
    let found = match name.strip_prefix('#').map(str::parse::<u32>) {
        Some(Ok(uid)) if uid != u32::MAX => {
            Some(accounts.user_by_id(uid).unwrap_or_else(|| nameless(uid, name.clone())))
        }
        Some(_) => None,
        None => accounts.user_by_name(name),
    };
    found.ok_or_else(|| format!("unknown user `{name}`"))
}

fn identity(request: &Request, target: &Account, accounts: &Database) -> Result<Identity, String> {
    let gid = match &request.run.group {
        None => target.gid,
        Some(name) => match name.strip_prefix('#').map(str::parse::<u32>) {
            Some(Ok(gid)) if gid != u32::MAX => Some(gid),
            Some(_) => None,
            None => accounts.group_id(name),
        }
        .ok_or_else(|| format!("unknown group `{name}`"))?,
    };
    let mut groups = if request.run.preserve_groups {
        request.groups.clone()
    } else {
        accounts.groups_of(&target.name, target.gid)
    };
    if !groups.contains(&gid) {
        groups.insert(0, gid);
    }
    Ok(Identity { uid: target.uid, gid, groups })
}

/// The command's path: as given where it names a directory, else in the secure path.
fn find(run: &Run, path: &str, executable: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
    let name = run.command.first().ok_or("no command given")?;
    let found = if name.contains(&b'/') {
        executable(name).then(|| name.clone())
    } else {
        // `sudo PATH=… command` looks there, as a shell would.
        let own = variable(&run.assignments, b"PATH").map(String::from_utf8_lossy);
        own.as_deref()
            .unwrap_or(path)
            .split(':')
            .filter(|directory| directory.starts_with('/'))
            .map(|directory| [directory.as_bytes(), b"/", name].concat())
            .find(|candidate| executable(candidate))
    };
    found.ok_or_else(|| format!("{}: command not found", String::from_utf8_lossy(name)))
}

/// A shell's arguments: the command as one text, each word of it meaning itself.
fn shell_arguments(name: Vec<u8>, command: &[Vec<u8>]) -> Vec<Vec<u8>> {
    if command.is_empty() {
        return vec![name];
    }
    let mut text = Vec::new();
    for (index, word) in command.iter().enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        for byte in word {
            // `$` stays, so that `sudo -i echo '$HOME'` shows the target's; all of a longer character stays too.
            if !byte.is_ascii_alphanumeric() && byte.is_ascii() && !b"_-$".contains(byte) {
                text.push(b'\\');
            }
            text.push(*byte);
        }
    }
    vec![name, b"-c".to_vec(), text]
}

fn variable<'a>(env: &'a [Variable], name: &[u8]) -> Option<&'a [u8]> {
    env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
}

/// Whether variables or options change nothing but who runs it; used for looking a command up.
pub(super) fn look_up(
    request: &Request,
    image_path: Option<&str>,
    executable: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, String> {
    let program = find(&request.run, &environment::secure_path(image_path), executable)?;
    Ok([&[program][..], &request.run.command[1..]].concat().join(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n\
                          sarah:x:1000:1001::/home/sarah:/bin/zsh\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:root,sarah\nnogroup:x:65534:\n";

    fn request(run: Run) -> Request {
        let env = vec![(b"SHELL".to_vec(), b"/bin/fish".to_vec())];
        Request { run, env, umask: 0o22, ignored: 0, open_files: None, groups: vec![1001, 4], terminal: None }
    }

    fn planned(run: Run, existing: &[&str]) -> Result<Plan, String> {
        let accounts = Database::of(PASSWD, GROUP);
        plan(&request(run), (1000, 1001), &accounts, None, |path| {
            existing.iter().any(|known| known.as_bytes() == path)
        })
    }

    fn command(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn value(plan: &Plan, name: &str) -> String {
        String::from_utf8(variable(&plan.env, name.as_bytes()).unwrap_or(b"(unset)").to_vec()).unwrap()
    }

    #[test]
    fn a_command_is_found_in_the_secure_path_and_run_as_root() {
        let run = Run { command: command(&["id", "-u"]), ..Run::default() };
        let plan = planned(run, &["/bin/id", "/usr/bin/id", "/bin/bash"]).unwrap();
        assert_eq!(plan.program, b"/usr/bin/id");
        assert_eq!(plan.argv, command(&["id", "-u"]));
        assert_eq!(plan.identity, Identity { uid: 0, gid: 0, groups: vec![0, 4] });
        assert_eq!(plan.directory, Directory::Callers);
        assert_eq!(value(&plan, "SUDO_COMMAND"), "/usr/bin/id -u");
        assert_eq!(value(&plan, "SUDO_USER"), "sarah");
        assert_eq!(value(&plan, "HOME"), "/root");
    }

    #[test]
    fn another_user_and_group_are_taken_by_name_or_number() {
        let run = |user: &str, group: Option<&str>| Run {
            user: Some(user.into()),
            group: group.map(Into::into),
            command: command(&["/x"]),
            ..Run::default()
        };
        let nobody = planned(run("nobody", None), &["/x"]).unwrap();
        assert_eq!(nobody.identity, Identity { uid: 65534, gid: 65534, groups: vec![65534] });
        // A shell that cannot be executed is not handed on.
        assert_eq!((value(&nobody, "USER"), value(&nobody, "SHELL")), ("nobody".into(), "/bin/sh".into()));
        let numbered = planned(run("#1000", Some("adm")), &["/x"]).unwrap();
        assert_eq!(numbered.identity, Identity { uid: 1000, gid: 4, groups: vec![1001, 4] });
        let unknown = planned(run("#77", Some("#8")), &["/x"]).unwrap();
        assert_eq!(unknown.identity, Identity { uid: 77, gid: 8, groups: vec![8, 77] });
        assert_eq!(planned(run("who", None), &["/x"]), Err("unknown user `who`".into()));
        assert_eq!(planned(run("#-1", None), &["/x"]), Err("unknown user `#-1`".into()));
        assert_eq!(planned(run("#4294967295", None), &["/x"]), Err("unknown user `#4294967295`".into()));
        assert_eq!(planned(run("root", Some("who")), &["/x"]), Err("unknown group `who`".into()));
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let run = |name: &str| Run { command: command(&[name]), ..Run::default() };
        assert_eq!(planned(run("nosuch"), &[]), Err("nosuch: command not found".into()));
        assert_eq!(planned(run("./x"), &["/usr/bin/x"]), Err("./x: command not found".into()));
    }

    #[test]
    fn shells_get_the_command_word_by_word() {
        let words = command(&["echo", "a b", "$HOME", "it's", "ü"]);
        let own = Run { shell: Shell::Own, command: words.clone(), ..Run::default() };
        let plan = planned(own, &["/bin/fish"]).unwrap();
        assert_eq!(plan.program, b"/bin/fish");
        assert_eq!(plan.argv, command(&["/bin/fish", "-c", "echo a\\ b $HOME it\\'s ü"]));
        let login = Run { shell: Shell::Login, ..Run::default() };
        let plan = planned(login, &["/bin/bash"]).unwrap();
        assert_eq!((plan.program.as_slice(), plan.argv.clone()), (&b"/bin/bash"[..], command(&["-bash"])));
        assert_eq!(plan.directory, Directory::Wanted(b"/root".to_vec()));
    }

    #[test]
    fn a_missing_shell_is_replaced_by_the_plain_one() {
        let plan = planned(Run { shell: Shell::Own, ..Run::default() }, &[]).unwrap();
        assert_eq!((plan.program.as_slice(), plan.argv.clone()), (&b"/bin/sh"[..], command(&["/bin/sh"])));
    }

    #[test]
    fn groups_are_kept_where_asked_for() {
        let run = Run { preserve_groups: true, command: command(&["/x"]), ..Run::default() };
        assert_eq!(planned(run, &["/x"]).unwrap().identity.groups, [0, 1001, 4]);
    }

    #[test]
    fn an_image_without_accounts_still_has_a_root() {
        let run = Run { command: command(&["/x"]), ..Run::default() };
        let plan = plan(&request(run), (1000, 1000), &Database::default(), None, |_| true).unwrap();
        assert_eq!(plan.identity, Identity { uid: 0, gid: 0, groups: vec![0] });
        assert_eq!(value(&plan, "SUDO_USER"), "#1000");
    }
}
