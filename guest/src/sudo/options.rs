//! The command line of `sudo`: pure parsing into what is wanted.

use super::protocol::{Preserve, Run, Shell};

/// One line of help.
pub(super) const USAGE: &str = "\
usage: sudo [-bEHknPS] [-u user] [-g group] [-D directory] [VAR=value] [-i | -s] [command [argument ...]]
       sudo -l [command] | -v | -k | -K | -V
";

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Invocation {
    Help,
    Version,
    /// `-k`, `-K`: there is no password to forget.
    Forget,
    /// `-v`: may the caller use it at all?
    Validate,
    /// `-l` without a command.
    List,
    Run(Run),
}

/// Long options: name, the short one it stands for, whether a value belongs to it.
const LONG: [(&str, char, Value); 28] = [
    ("askpass", 'A', Value::None),
    ("background", 'b', Value::None),
    ("bell", 'B', Value::None),
    ("chdir", 'D', Value::Needed),
    ("chroot", 'R', Value::Needed),
    ("close-from", 'C', Value::Needed),
    ("command-timeout", 'T', Value::Needed),
    ("edit", 'e', Value::None),
    ("group", 'g', Value::Needed),
    ("help", 'h', Value::None),
    ("host", '\u{1}', Value::Needed),
    ("list", 'l', Value::None),
    ("login", 'i', Value::None),
    ("no-update", 'N', Value::None),
    ("non-interactive", 'n', Value::None),
    ("other-user", 'U', Value::Needed),
    ("preserve-env", 'E', Value::Optional),
    ("preserve-groups", 'P', Value::None),
    ("prompt", 'p', Value::Needed),
    ("remove-timestamp", 'K', Value::None),
    ("reset-timestamp", 'k', Value::None),
    ("role", 'r', Value::Needed),
    ("set-home", 'H', Value::None),
    ("shell", 's', Value::None),
    ("stdin", 'S', Value::None),
    ("type", 't', Value::Needed),
    ("user", 'u', Value::Needed),
    ("validate", 'v', Value::None),
];

/// `--version` has no value either, but is told apart from `--validate` by its own entry.
const VERSION: &str = "version";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Optional,
    Needed,
}

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    run: Run,
    help: bool,
    version: bool,
    forget: bool,
    validate: bool,
    list: bool,
}

/// Parses everything after the program's name. The error is a line for the user.
pub(super) fn parse(args: &[Vec<u8>]) -> Result<Invocation, String> {
    let mut seen = Seen::default();
    let mut rest = args;
    while let Some((arg, after)) = rest.split_first() {
        rest = after;
        match arg.as_slice() {
            b"--" => break,
            [b'-', b'-', name @ ..] => long(&mut seen, name, &mut rest)?,
            [b'-', letters @ ..] if !letters.is_empty() => short(&mut seen, letters, &mut rest)?,
            _ => match assignment(arg) {
                Some(variable) => seen.run.assignments.push(variable),
                None => {
                    rest = &args[args.len() - after.len() - 1..];
                    break;
                }
            },
        }
    }
    seen.run.command = rest.to_vec();
    decide(seen)
}

fn decide(mut seen: Seen) -> Result<Invocation, String> {
    let run = &mut seen.run;
    if seen.help {
        return Ok(Invocation::Help);
    }
    if seen.version {
        return Ok(Invocation::Version);
    }
    let nothing_to_run = run.command.is_empty() && run.shell == Shell::None;
    if seen.list {
        run.list = true;
        return Ok(if run.command.is_empty() { Invocation::List } else { Invocation::Run(seen.run) });
    }
    if seen.validate {
        return if nothing_to_run { Ok(Invocation::Validate) } else { Err("`-v` takes no command".into()) };
    }
    if nothing_to_run {
        return if seen.forget { Ok(Invocation::Forget) } else { Err("no command given".into()) };
    }
    if run.shell == Shell::Login && run.preserve == Preserve::Everything {
        return Err("the options `-i` and `-E` exclude each other".into());
    }
    Ok(Invocation::Run(seen.run))
}

/// `NAME=value`; a path with an equals sign is a command.
fn assignment(arg: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let split = arg.iter().position(|byte| *byte == b'=')?;
    (split > 0 && arg[0] != b'/').then(|| (arg[..split].to_vec(), arg[split + 1..].to_vec()))
}

fn short(seen: &mut Seen, letters: &[u8], rest: &mut &[Vec<u8>]) -> Result<(), String> {
    for (index, letter) in letters.iter().enumerate() {
        let letter = char::from(*letter);
        let needs_value = LONG.iter().any(|(_, short, value)| *short == letter && *value == Value::Needed);
        if !needs_value {
            apply(seen, letter, None, &format!("-{letter}"))?;
            continue;
        }
        let attached = &letters[index + 1..];
        let value = if attached.is_empty() { next(rest, &format!("-{letter}"))? } else { attached.to_vec() };
        return apply(seen, letter, Some(value), &format!("-{letter}"));
    }
    Ok(())
}

fn long(seen: &mut Seen, text: &[u8], rest: &mut &[Vec<u8>]) -> Result<(), String> {
    let (name, value) = match text.iter().position(|byte| *byte == b'=') {
        Some(split) => (&text[..split], Some(text[split + 1..].to_vec())),
        None => (text, None),
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let shown = format!("--{name}");
    if name == VERSION {
        return apply(seen, 'V', value, &shown);
    }
    let exact = LONG.iter().filter(|(long, ..)| *long == name);
    let mut candidates: Vec<_> = exact.collect();
    if candidates.is_empty() {
        candidates = LONG.iter().filter(|(long, ..)| long.starts_with(&name)).collect();
    }
    let [(_, letter, kind)] = candidates.as_slice() else {
        return Err(format!("there is no option `{shown}`"));
    };
    let value = match (kind, value) {
        (Value::None, Some(_)) => return Err(format!("option `{shown}` takes no value")),
        (Value::Needed, None) => Some(next(rest, &shown)?),
        (_, value) => value,
    };
    apply(seen, *letter, value, &shown)
}

fn next(rest: &mut &[Vec<u8>], option: &str) -> Result<Vec<u8>, String> {
    let (value, after) = rest.split_first().ok_or_else(|| format!("option `{option}` needs a value"))?;
    *rest = after;
    Ok(value.clone())
}

fn apply(seen: &mut Seen, letter: char, value: Option<Vec<u8>>, shown: &str) -> Result<(), String> {
    let text = |value: Option<Vec<u8>>| {
        String::from_utf8(value.unwrap_or_default())
            .ok()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("option `{shown}` needs a name"))
    };
    let run = &mut seen.run;
    match letter {
        'u' => run.user = Some(text(value)?),
        'g' => run.group = Some(text(value)?),
        'D' => run.directory = value,
        'E' => match (value, &mut run.preserve) {
            (None, preserve) => *preserve = Preserve::Everything,
            (Some(_), Preserve::Everything) => {}
            (Some(list), preserve) => {
                let more =
                    list.split(|byte| *byte == b',').filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
                let mut names = match std::mem::take(preserve) {
                    Preserve::Names(names) => names,
                    Preserve::Nothing | Preserve::Everything => Vec::new(),
                };
                names.extend(more);
                *preserve = Preserve::Names(names);
            }
        },
        'H' => run.set_home = true,
        'P' => run.preserve_groups = true,
        'b' => run.background = true,
        'i' if run.shell != Shell::Own => run.shell = Shell::Login,
        's' if run.shell != Shell::Login => run.shell = Shell::Own,
        'i' | 's' => return Err("the options `-i` and `-s` exclude each other".into()),
        'k' | 'K' => seen.forget = true,
        'v' => seen.validate = true,
        'l' => seen.list = true,
        'h' => seen.help = true,
        'V' => seen.version = true,
        // No password is ever asked for, so that how to ask for it does not matter; nor is any descriptor passed on.
        'n' | 'S' | 'A' | 'B' | 'N' | 'p' | 'C' => {}
        'R' | 'T' | 'U' | 'e' | 'r' | 't' | '\u{1}' => {
            return Err(format!("option `{shown}` is not supported here"));
        }
        _ => return Err(format!("there is no option `{shown}`")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(args: &[&str]) -> Result<Invocation, String> {
        parse(&args.iter().map(|arg| arg.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    fn run(args: &[&str]) -> Run {
        match parsed(args) {
            Ok(Invocation::Run(run)) => run,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn options_end_at_the_command() {
        let run = run(&["-n", "-u", "nobody", "id", "-u", "--", "x=y"]);
        assert_eq!(run.user.as_deref(), Some("nobody"));
        assert_eq!(run.command, bytes(&["id", "-u", "--", "x=y"]));
    }

    #[test]
    fn letters_are_combined_and_values_attached() {
        let run = run(&["-nEHunobody", "-g#7", "true"]);
        assert_eq!((run.user.as_deref(), run.group.as_deref()), (Some("nobody"), Some("#7")));
        assert!(run.set_home && run.preserve == Preserve::Everything);
    }

    #[test]
    fn assignments_stand_before_the_command_and_not_after_two_dashes() {
        let found = run(&["A=1", "-n", "B=", "cmd", "C=3"]);
        assert_eq!(found.assignments, [(b"A".to_vec(), b"1".to_vec()), (b"B".to_vec(), vec![])]);
        assert_eq!(found.command, bytes(&["cmd", "C=3"]));
        assert_eq!(run(&["--", "A=1"]).command, bytes(&["A=1"]));
        assert_eq!(run(&["/a=b"]).command, bytes(&["/a=b"]));
    }

    #[test]
    fn long_options_may_be_cut_while_they_stay_clear() {
        assert_eq!(run(&["--user=nobody", "id"]).user.as_deref(), Some("nobody"));
        assert_eq!(run(&["--user", "nobody", "id"]).user.as_deref(), Some("nobody"));
        assert_eq!(run(&["--log"]).shell, Shell::Login);
        assert_eq!(run(&["--non-int", "id"]).command, bytes(&["id"]));
        assert!(parsed(&["--pre", "id"]).is_err());
        assert_eq!(
            run(&["--preserve-env=A,B", "--preserve-env=C", "id"]).preserve,
            Preserve::Names(bytes(&["A", "B", "C"]))
        );
        assert_eq!(run(&["--preserve-env", "id"]).preserve, Preserve::Everything);
    }

    #[test]
    fn what_runs_nothing_is_told_apart() {
        assert_eq!(parsed(&["-k"]), Ok(Invocation::Forget));
        assert_eq!(parsed(&["-K"]), Ok(Invocation::Forget));
        assert_eq!(parsed(&["-v"]), Ok(Invocation::Validate));
        assert_eq!(parsed(&["-nv"]), Ok(Invocation::Validate));
        assert_eq!(parsed(&["-l"]), Ok(Invocation::List));
        assert_eq!(parsed(&["-V"]), Ok(Invocation::Version));
        assert_eq!(parsed(&["--version"]), Ok(Invocation::Version));
        assert_eq!(parsed(&["-h"]), Ok(Invocation::Help));
        assert!(run(&["-l", "id"]).list);
        assert_eq!(run(&["-k", "id"]).command, bytes(&["id"]));
        assert_eq!(run(&["-s"]).shell, Shell::Own);
    }

    #[test]
    fn what_is_not_supported_says_so() {
        for args in [&["-e", "/etc/f"][..], &["-T", "3", "id"], &["--chroot=/x", "id"], &["-U", "me", "-l"]] {
            assert!(parsed(args).unwrap_err().ends_with("is not supported here"), "{args:?}");
        }
        assert_eq!(parsed(&["-Z", "id"]), Err("there is no option `-Z`".into()));
        assert_eq!(parsed(&["--nonsense"]), Err("there is no option `--nonsense`".into()));
        assert_eq!(parsed(&["-u"]), Err("option `-u` needs a value".into()));
        assert_eq!(parsed(&["-i", "-s"]), Err("the options `-i` and `-s` exclude each other".into()));
        assert_eq!(parsed(&[]), Err("no command given".into()));
    }

    #[test]
    fn every_long_option_is_applied_or_refused_by_name() {
        for (name, _, value) in LONG {
            let arg = if value == Value::Needed { format!("--{name}=x") } else { format!("--{name}") };
            if let Err(text) = parsed(&[&arg, "command"]) {
                assert!(text.contains("not supported") || text.contains("takes no command"), "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_command_line_panics(args in proptest::collection::vec("-{0,2}[a-zA-Z=,#-]{0,6}", 0..6)) {
            let _ = parse(&args.into_iter().map(String::into_bytes).collect::<Vec<_>>());
        }
    }
}
