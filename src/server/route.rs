//! What a client asked for, from what sshd hands to the stub. Pure.

use std::path::Path;

use podspawn_wire::Program;

/// Ending of host names that stand for projects.
const POD: &str = ".pod";

/// What is to run for `SSH_ORIGINAL_COMMAND`.
///
/// The SFTP subsystem arrives as the text of sshd's own configuration line: a path of the host, or `internal-sftp`, with
/// arguments perhaps. Everything else is a command line for a shell, `scp` and `rsync` among it.
pub fn program(original: Option<&str>) -> Program {
    let Some(text) = original.filter(|text| !text.is_empty()) else {
        return Program::Shell { login: true };
    };
    let first = text.split_ascii_whitespace().next().unwrap_or_default();
    let name = Path::new(first).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        "sftp-server" => Program::Sftp,
        "internal-sftp" if first == name => Program::Sftp,
        _ => Program::CommandLine(text.to_owned()),
    }
}

/// The project that `PODSPAWN_PROJECT` means. Clients before OpenSSH 10 send the `%n` of a configuration as it stands.
pub fn project(variable: Option<&str>) -> Option<String> {
    let name = variable?;
    let name = name.strip_suffix(POD).unwrap_or(name);
    (!name.is_empty() && name != "%n").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_a_login_shell() {
        assert_eq!(program(None), Program::Shell { login: true });
        assert_eq!(program(Some("")), Program::Shell { login: true });
    }

    #[test]
    fn the_subsystem_is_known_by_the_first_word() {
        for text in [
            "internal-sftp",
            "internal-sftp -f AUTH -l INFO",
            "/usr/lib/openssh/sftp-server",
            "/usr/libexec/sftp-server -e",
            "sftp-server",
        ] {
            assert_eq!(program(Some(text)), Program::Sftp, "{text}");
        }
        for text in
            ["cat sftp-server", "sftp-server2", "/bin/internal-sftp", "scp -t .", "rsync --server . ."]
        {
            assert_eq!(program(Some(text)), Program::CommandLine(text.into()));
        }
    }

    #[test]
    fn a_project_is_named_with_or_without_its_ending() {
        assert_eq!(project(Some("api")), Some("api".into()));
        assert_eq!(project(Some("api.pod")), Some("api".into()));
        for unset in [None, Some(""), Some(".pod"), Some("%n"), Some("%n.pod")] {
            assert_eq!(project(unset), None);
        }
    }
}
