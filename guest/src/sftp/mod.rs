//! The SFTP server for images that have none: version 3 of the protocol with OpenSSH's extensions, on standard input
//! and output.
//!
//! Owns the whole server; may call the system and the guest's account texts. `packet` is the pure grammar, `server`
//! answers, `files` acts, `listing` formats.

mod files;
mod listing;
mod packet;
mod server;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use rustix::fs::Mode;

/// What the command line may say; the options of OpenSSH's server that make sense without a log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    read_only: bool,
    start: Option<OsString>,
    umask: Option<u32>,
}

/// Serves one client until it closes standard input.
pub fn main(args: &[OsString]) -> ExitCode {
    let outcome = parse(args).and_then(|options| {
        if let Some(umask) = options.umask {
            rustix::process::umask(Mode::from_raw_mode(umask));
        }
        if let Some(start) = &options.start {
            rustix::process::chdir(start.as_os_str())
                .map_err(|error| format!("cannot change to `{}`: {error}", start.display()))?;
        }
        server::Server::new(options.read_only)
            .serve(rustix::stdio::stdin(), rustix::stdio::stdout())
            .map_err(|error| error.to_string())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // Nobody is left to tell if standard error is gone too.
            let _ = writeln!(std::io::stderr(), "sftp-server: {text}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[OsString]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        let [b'-', letter, attached @ ..] = bytes else {
            return Err(format!("unexpected argument `{}`", arg.display()));
        };
        let value = |args: &mut std::slice::Iter<'_, OsString>| {
            if attached.is_empty() {
                args.next().cloned().ok_or_else(|| format!("option `{}` needs a value", arg.display()))
            } else {
                Ok(std::ffi::OsStr::from_bytes(attached).to_owned())
            }
        };
        match letter {
            b'R' if attached.is_empty() => options.read_only = true,
            // What OpenSSH logs and where to: there is no log here.
            b'e' if attached.is_empty() => {}
            b'l' | b'f' => drop(value(&mut args)?),
            b'd' => options.start = Some(value(&mut args)?),
            b'u' => {
                let text = value(&mut args)?;
                let umask = text.to_str().and_then(|text| u32::from_str_radix(text, 8).ok());
                options.umask = Some(
                    umask
                        .filter(|umask| *umask <= 0o777)
                        .ok_or_else(|| format!("`{}` is not an octal umask", text.display()))?,
                );
            }
            _ => return Err(format!("unsupported option `{}`", arg.display())),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, String> {
        parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_options_of_opensshs_server_are_understood() {
        let expected = Options { read_only: true, start: Some("/srv".into()), umask: Some(0o27) };
        assert_eq!(parsed(&["-R", "-d", "/srv", "-u027", "-e", "-l", "INFO", "-fAUTH"]), Ok(expected));
        assert_eq!(parsed(&[]), Ok(Options::default()));
    }

    #[test]
    fn other_arguments_are_named_in_the_error() {
        assert_eq!(parsed(&["-Q"]), Err("unsupported option `-Q`".into()));
        assert_eq!(parsed(&["-u", "999"]), Err("`999` is not an octal umask".into()));
        assert_eq!(parsed(&["-d"]), Err("option `-d` needs a value".into()));
        assert_eq!(parsed(&["x"]), Err("unexpected argument `x`".into()));
    }
}
