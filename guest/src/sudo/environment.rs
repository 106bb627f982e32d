//! The environment of a command under `sudo`: pure rules, those of sudo with `env_reset` and a secure path.

use std::collections::BTreeMap;

use super::protocol::{Preserve, Shell, Variable};
use crate::accounts::Account;

/// Where commands are looked for, whatever the caller's own path says.
const SECURE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Kept as they are.
const KEPT: [&[u8]; 9] = [
    b"COLORS",
    b"DISPLAY",
    b"HOSTNAME",
    b"KRB5CCNAME",
    b"LS_COLORS",
    b"PS1",
    b"PS2",
    b"XAUTHORITY",
    b"XDG_CURRENT_DESKTOP",
];

/// Kept if their value is harmless; `LC_` stands for all that begin with it.
const CHECKED: [&[u8]; 6] = [b"COLORTERM", b"LANG", b"LANGUAGE", b"LINGUAS", b"TERM", b"TZ"];

/// Never taken from the caller's environment as a whole, since they change what a program runs.
const DANGEROUS: [&[u8]; 34] = [
    b"IFS",
    b"CDPATH",
    b"LOCALDOMAIN",
    b"RES_OPTIONS",
    b"HOSTALIASES",
    b"NLSPATH",
    b"PATH_LOCALE",
    b"TERMINFO",
    b"TERMINFO_DIRS",
    b"TERMPATH",
    b"TERMCAP",
    b"ENV",
    b"BASH_ENV",
    b"PS4",
    b"GLOBIGNORE",
    b"BASHOPTS",
    b"SHELLOPTS",
    b"JAVA_TOOL_OPTIONS",
    b"PERLIO_DEBUG",
    b"PERLLIB",
    b"PERL5LIB",
    b"PERL5OPT",
    b"PERL5DB",
    b"FPATH",
    b"NULLCMD",
    b"READNULLCMD",
    b"ZDOTDIR",
    b"TMPPREFIX",
    b"PYTHONHOME",
    b"PYTHONPATH",
    b"PYTHONINSPECT",
    b"PYTHONUSERBASE",
    b"RUBYLIB",
    b"RUBYOPT",
];

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Everything that shapes the environment.
pub(super) struct Inputs<'a> {
    pub(super) env: &'a [Variable],
    pub(super) assignments: &'a [Variable],
    pub(super) preserve: &'a Preserve,
    pub(super) shell: Shell,
    pub(super) set_home: bool,
    pub(super) target: &'a Account,
    pub(super) caller: &'a Caller,
    pub(super) path: &'a str,
    /// The command with its arguments, as text.
    pub(super) command: &'a [u8],
}

/// The secure path, and after it what the image's own path has beyond it.
pub(super) fn secure_path(image: Option<&str>) -> String {
    let mut path = SECURE_PATH.to_owned();
    for directory in image.unwrap_or_default().split(':').filter(|directory| directory.starts_with('/')) {
        if !path.split(':').any(|known| known == directory) {
            path.push(':');
            path.push_str(directory);
        }
    }
    path
}

/// The command's environment, sorted by name.
pub(super) fn environment(inputs: &Inputs<'_>) -> Vec<Variable> {
    let target = inputs.target;
    let mut env: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut set = |name: &str, value: &[u8]| drop(env.insert(name.into(), value.to_vec()));
    // What the target is given unless the caller's own is kept.
    set("HOME", target.home.as_bytes());
    set("SHELL", target.shell.as_bytes());
    set("TERM", b"unknown");
    set("MAIL", format!("/var/mail/{}", target.name).as_bytes());
    for (name, value) in inputs.env.iter().filter(|(name, value)| kept(inputs.preserve, name, value)) {
        env.insert(name.clone(), value.clone());
    }
    let listed = |name: &str| matches!(inputs.preserve, Preserve::Names(names) if names.iter().any(|known| known == name.as_bytes()));
    let mut set = |name: &str, value: &[u8]| drop(env.insert(name.into(), value.to_vec()));
    let login = inputs.shell == Shell::Login;
    for name in ["USER", "LOGNAME"] {
        if login || !listed(name) {
            set(name, target.name.as_bytes());
        }
    }
    if login || inputs.set_home {
        set("HOME", target.home.as_bytes());
    }
    if login {
        set("SHELL", target.shell.as_bytes());
    }
    set("PATH", inputs.path.as_bytes());
    for (name, value) in inputs.assignments {
        env.insert(name.clone(), value.clone());
    }
    let mut set = |name: &str, value: &[u8]| drop(env.insert(name.into(), value.to_vec()));
    set("SUDO_COMMAND", inputs.command);
    set("SUDO_USER", inputs.caller.name.as_bytes());
    set("SUDO_UID", inputs.caller.uid.to_string().as_bytes());
    set("SUDO_GID", inputs.caller.gid.to_string().as_bytes());
    env.into_iter().collect()
}

fn kept(preserve: &Preserve, name: &[u8], value: &[u8]) -> bool {
    // A value that a shell would take for a function of its own.
    if value.starts_with(b"()") {
        return false;
    }
    let checked = CHECKED.contains(&name) || name.starts_with(b"LC_");
    match preserve {
        Preserve::Names(names) if names.iter().any(|known| known == name) => true,
        Preserve::Nothing | Preserve::Names(_) => KEPT.contains(&name) || checked && harmless(name, value),
        Preserve::Everything if checked => harmless(name, value),
        Preserve::Everything => {
            !DANGEROUS.contains(&name) && !name.starts_with(b"LD_") && !name.starts_with(b"_RLD")
        }
    }
}

/// No path and no format in what programs take for a name.
fn harmless(name: &[u8], value: &[u8]) -> bool {
    if name == b"TZ" {
        let text = value.strip_prefix(b":").unwrap_or(value);
        let printable = text.iter().all(|byte| byte.is_ascii_graphic());
        let climbs = text.split(|byte| *byte == b'/').any(|part| part == b"..");
        let outside = text.first() == Some(&b'/') && !text.starts_with(b"/usr/share/zoneinfo/");
        return printable && !climbs && !outside;
    }
    !value.iter().any(|byte| matches!(byte, b'/' | b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Account {
        Account { name: "root".into(), uid: 0, gid: 0, home: "/root".into(), shell: "/bin/bash".into() }
    }

    /// What a test varies.
    #[derive(Default)]
    struct Given {
        preserve: Preserve,
        assignments: Vec<Variable>,
        shell: Shell,
        set_home: bool,
    }

    fn build(given: &Given, env: &[(&str, &str)]) -> BTreeMap<String, String> {
        let env: Vec<Variable> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let built = environment(&Inputs {
            env: &env,
            assignments: &given.assignments,
            preserve: &given.preserve,
            shell: given.shell,
            set_home: given.set_home,
            target: &target(),
            caller: &Caller { name: "sarah".into(), uid: 1000, gid: 1001 },
            path: "/bin",
            command: b"/bin/true x",
        });
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        built.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn the_environment_is_made_new() {
        let env = build(
            &Given::default(),
            &[
                ("PATH", "/evil"),
                ("HOME", "/home/sarah"),
                ("TERM", "xterm"),
                ("LANG", "C.UTF-8"),
                ("LC_ALL", "../x"),
                ("DISPLAY", ":1"),
                ("SECRET", "s"),
                ("LD_PRELOAD", "x"),
                ("COLORS", "() { :; }"),
            ],
        );
        let expected = [
            ("DISPLAY", ":1"),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("LOGNAME", "root"),
            ("MAIL", "/var/mail/root"),
            ("PATH", "/bin"),
            ("SHELL", "/bin/bash"),
            ("SUDO_COMMAND", "/bin/true x"),
            ("SUDO_GID", "1001"),
            ("SUDO_UID", "1000"),
            ("SUDO_USER", "sarah"),
            ("TERM", "xterm"),
            ("USER", "root"),
        ];
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(env, expected);
        assert_eq!(build(&Given::default(), &[])["TERM"], "unknown");
    }

    #[test]
    fn preserving_keeps_all_but_what_redirects_programs() {
        let given = [
            ("HOME", "/home/sarah"),
            ("SECRET", "s"),
            ("LD_PRELOAD", "x"),
            ("BASH_ENV", "x"),
            ("PATH", "/e"),
        ];
        let env = build(&Given { preserve: Preserve::Everything, ..Given::default() }, &given);
        assert_eq!(
            (env["HOME"].as_str(), env["SECRET"].as_str(), env["PATH"].as_str()),
            ("/home/sarah", "s", "/bin")
        );
        assert_eq!(env["USER"], "root");
        assert!(!env.contains_key("LD_PRELOAD") && !env.contains_key("BASH_ENV"));
        let env =
            build(&Given { preserve: Preserve::Everything, set_home: true, ..Given::default() }, &given);
        assert_eq!(env["HOME"], "/root");
    }

    #[test]
    fn listed_and_assigned_variables_are_passed() {
        let names = Preserve::Names(vec![b"SECRET".to_vec(), b"HOME".to_vec()]);
        let assigned = vec![(b"X".to_vec(), b"1".to_vec()), (b"PATH".to_vec(), b"/own".to_vec())];
        let env = build(
            &Given { preserve: names, assignments: assigned, ..Given::default() },
            &[("SECRET", "s"), ("OTHER", "o"), ("HOME", "/h")],
        );
        assert_eq!((env["SECRET"].as_str(), env["X"].as_str(), env["PATH"].as_str()), ("s", "1", "/own"));
        assert_eq!(env["HOME"], "/h");
        assert!(!env.contains_key("OTHER"));
    }

    #[test]
    fn a_login_is_the_targets_own() {
        let names = Preserve::Names(vec![b"HOME".to_vec(), b"USER".to_vec(), b"SHELL".to_vec()]);
        let env = build(
            &Given { preserve: names, shell: Shell::Login, ..Given::default() },
            &[("HOME", "/h"), ("USER", "sarah"), ("SHELL", "/bin/zsh")],
        );
        assert_eq!(
            (env["HOME"].as_str(), env["USER"].as_str(), env["SHELL"].as_str()),
            ("/root", "root", "/bin/bash")
        );
    }

    #[test]
    fn time_zones_are_names_and_not_paths_to_anywhere() {
        for (value, fine) in [
            ("Europe/Berlin", true),
            (":UTC", true),
            ("/usr/share/zoneinfo/UTC", true),
            ("/etc/shadow", false),
            ("../../etc/shadow", false),
            ("a b", false),
        ] {
            assert_eq!(harmless(b"TZ", value.as_bytes()), fine, "{value}");
        }
    }

    #[test]
    fn the_images_own_directories_come_after_the_secure_ones() {
        assert_eq!(secure_path(None), SECURE_PATH);
        let path = secure_path(Some("/usr/local/go/bin:/usr/bin:relative::/usr/local/go/bin"));
        assert_eq!(path, format!("{SECURE_PATH}:/usr/local/go/bin"));
    }
}
