//! Commands in a running container.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use podspawn_runtimes::*;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::lab::{Lab, argv};

/// 256 MB.
const MUCH: usize = 256 << 20;

pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) async fn output_and_errors_are_kept_apart(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("streams")).await;
    let output =
        lab.sh(&name, "for i in 1 2 3; do echo out$i; echo err$i >&2; done; printf '\\0\\1\\2'").await;
    assert_eq!(output.out, "out1\nout2\nout3\n\0\u{1}\u{2}", "{output:?}");
    assert_eq!(output.err, "err1\nerr2\nerr3\n");
    assert_eq!(lab.sh(&name, "true").await.out, "");
}

pub(crate) async fn exit_statuses_arrive(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("statuses")).await;
    for status in [0, 1, 42, 255] {
        assert_eq!(lab.sh(&name, &format!("exit {status}")).await.code, status);
    }
    for (signal, status) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        assert_eq!(lab.sh(&name, &format!("kill -{signal} $$")).await.code, status, "{signal}");
    }
    // A command that closes its output long before it ends has no status until then, or after a while its last one.
    let spec = ExecSpec { argv: argv("exec >&- 2>&-; sleep 0.7; exit 6"), ..ExecSpec::default() };
    let mut session = lab.engine.exec(&name, &spec).await.unwrap();
    while session.output.next().await.is_some() {}
    assert_eq!(lab.engine.exec_exit_code(&session.id).await.unwrap(), Some(ExitCode(6)));
}

pub(crate) async fn a_missing_command_is_a_status(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("missing")).await;
    for program in ["no-such-program", "/no/such/program", "/etc/passwd"] {
        let spec = ExecSpec { argv: vec![program.into(), "x".into()], ..ExecSpec::default() };
        let output = lab.exec(&name, spec, &[]).await;
        assert!([126, 127].contains(&output.code), "{program}: {output:?}");
        let said = format!("{}{}", output.out, output.err);
        assert!(!said.is_empty(), "{program}: nothing says why");
    }
}

pub(crate) async fn user_directory_and_environment_of_a_command(lab: Arc<Lab>) {
    let name = lab.start(&ContainerSpec { env: vec!["FROM=container".into()], ..lab.spec("command") }).await;
    let spec = ExecSpec {
        argv: argv("id -u; pwd; echo \"$FROM $EXTRA\"; cat"),
        user: Some("nobody".into()),
        working_dir: Some("/usr/lib".into()),
        env: vec!["EXTRA=a b=c".into()],
        stdin: true,
        tty: None,
    };
    let output = lab.exec(&name, spec, b"said").await;
    assert_eq!(
        (output.out.as_str(), output.code),
        ("65534\n/usr/lib\ncontainer a b=c\nsaid", 0),
        "{output:?}"
    );
    let silent = ExecSpec { argv: argv("cat; echo end"), ..ExecSpec::default() };
    assert_eq!(lab.exec(&name, silent, &[]).await.out, "end\n", "without input there is an end at once");
}

pub(crate) async fn much_input_arrives_whole_and_ends(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("input")).await;
    let spec =
        ExecSpec { argv: argv("sha256sum; echo done >&2; exit 42"), stdin: true, ..ExecSpec::default() };
    let mut session = lab.engine.exec(&name, &spec).await.unwrap();
    let mut hash = Sha256::new();
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut chunk = vec![0; 1 << 20];
    for _ in 0..MUCH / chunk.len() {
        for word in chunk.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        hash.update(&chunk);
        session.input.write_all(&chunk).await.unwrap();
    }
    session.input.shutdown().await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    while let Some(piece) = session.output.next().await {
        match piece.unwrap() {
            ExecOutput::Stdout(bytes) => out.push_str(std::str::from_utf8(&bytes).unwrap()),
            ExecOutput::Stderr(bytes) => err.push_str(std::str::from_utf8(&bytes).unwrap()),
        }
    }
    assert_eq!(out, format!("{}  -\n", hex(hash.finalize().as_slice())));
    assert_eq!(err, "done\n");
    assert_eq!(lab.engine.exec_exit_code(&session.id).await.unwrap(), Some(ExitCode(42)));
}

pub(crate) async fn much_output_arrives_whole(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("output")).await;
    let script = format!(
        "head -c {MUCH} /dev/urandom > /var/tmp/noise; sha256sum < /var/tmp/noise >&2; cat /var/tmp/noise"
    );
    let spec = ExecSpec { argv: argv(&script), ..ExecSpec::default() };
    let mut session = lab.engine.exec(&name, &spec).await.unwrap();
    let (mut hash, mut size, mut said) = (Sha256::new(), 0, String::new());
    while let Some(piece) = session.output.next().await {
        match piece.unwrap() {
            ExecOutput::Stdout(bytes) => {
                size += bytes.len();
                hash.update(&bytes);
            }
            ExecOutput::Stderr(bytes) => said.push_str(std::str::from_utf8(&bytes).unwrap()),
        }
    }
    assert_eq!(size, MUCH);
    assert_eq!(said, format!("{}  -\n", hex(hash.finalize().as_slice())));
    assert_eq!(lab.engine.exec_exit_code(&session.id).await.unwrap(), Some(ExitCode(0)));
}

/// Reads what a terminal shows until it has shown the text.
async fn read_until(session: &mut ExecSession, text: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.windows(text.len()).any(|window| window == text) {
        let wait = tokio::time::timeout(Duration::from_secs(20), session.output.next());
        let Ok(Some(piece)) = wait.await else {
            panic!(
                "{:?} never came, only {:?}",
                String::from_utf8_lossy(text),
                String::from_utf8_lossy(&seen)
            );
        };
        match piece.unwrap() {
            ExecOutput::Stdout(bytes) => seen.extend_from_slice(&bytes),
            ExecOutput::Stderr(bytes) => panic!("a terminal has one stream, got {bytes:?}"),
        }
    }
    seen
}

pub(crate) async fn a_terminal_has_its_size_and_passes_every_byte(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("terminal")).await;
    let script = "test -t 0 && test -t 1 && echo terminal; stty -echo; echo ready; read line; stty size; read line; \
                  stty size; echo \"got $line\"; echo oops >&2; stty -opost; printf '\\000\\001\\002\\003raw\\377\\n'; exit 42";
    let spec = ExecSpec {
        argv: argv(script),
        stdin: true,
        tty: Some(WindowSize { rows: 33, cols: 77 }),
        ..ExecSpec::default()
    };
    let mut session = lab.engine.exec(&name, &spec).await.unwrap();
    let seen = String::from_utf8(read_until(&mut session, b"ready").await).unwrap();
    assert!(seen.contains("terminal"), "{seen:?}");
    session.input.write_all(b"next\n").await.unwrap();
    read_until(&mut session, b"33 77").await;
    lab.engine.resize_exec(&session.id, WindowSize { rows: 50, cols: 132 }).await.unwrap();
    session.input.write_all(b"a line\n").await.unwrap();
    let seen = read_until(&mut session, b"\x00\x01\x02\x03raw\xff\n").await;
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("50 132\r\ngot a line\r\noops\r\n"), "{seen:?}");
    while session.output.next().await.is_some() {}
    assert_eq!(lab.engine.exec_exit_code(&session.id).await.unwrap(), Some(ExitCode(42)));
}

pub(crate) async fn many_commands_run_at_once(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("many")).await;
    let one = async |number: i64| {
        let output = lab.sh(&name, &format!("sleep 0.2; echo {number}; exit {number}")).await;
        assert_eq!((output.out, output.code), (format!("{number}\n"), number));
    };
    futures_util::future::join_all((0..12).map(one)).await;
}

pub(crate) async fn a_command_needs_a_running_container(lab: Arc<Lab>) {
    let spec = lab.spec("idle");
    lab.engine.create_container(&spec).await.unwrap();
    let command = ExecSpec { argv: argv("true"), ..ExecSpec::default() };
    let error = lab.engine.exec(&spec.name, &command).await.err().expect("it does not run");
    assert!(matches!(error, EngineError::Engine { .. }), "{error:?}");
    let error = lab.engine.exec(&lab.name("none"), &command).await.err().expect("it does not exist");
    assert!(error.is_not_found(), "{error:?}");
}

pub(crate) async fn an_end_of_the_container_ends_its_commands(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("ended")).await;
    let spec = ExecSpec { argv: argv("echo up; sleep 500"), stdin: true, ..ExecSpec::default() };
    let mut session = lab.engine.exec(&name, &spec).await.unwrap();
    read_until(&mut session, b"up").await;
    lab.engine.kill_container(&name, "SIGKILL").await.unwrap();
    let end = async { while session.output.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("the output ends with the container");
}

pub(crate) async fn a_bare_connection_carries_a_command_whole(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("bare")).await;
    let spec = ExecSpec {
        // Writes before it reads: the first output may come right behind the head of the engine's answer.
        argv: argv("printf ready; cat; echo done >&2"),
        stdin: true,
        ..ExecSpec::default()
    };
    let RawExec { connection, .. } = lab.engine.exec_raw(&name, &spec).await.unwrap();
    let Carried { mut input, mut output } = carried(connection).unwrap();
    // Every byte value in every place, and no multiple of any buffer.
    let sent: Vec<u8> = (0_u32..16_000_003).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect();
    let digest = hex_digest(&sent);
    let feed = async {
        input.write_all(&sent).await.unwrap();
        input.shutdown().await.unwrap();
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let collect = async {
        while let Some(piece) = output.next().await {
            match piece.unwrap() {
                ExecOutput::Stdout(bytes) => out.extend_from_slice(&bytes),
                ExecOutput::Stderr(bytes) => err.extend_from_slice(&bytes),
            }
        }
    };
    tokio::join!(feed, collect);
    assert_eq!(&out[..5], b"ready");
    assert_eq!(hex_digest(&out[5..]), digest, "{} of {} bytes", out.len() - 5, sent.len());
    assert_eq!(err, b"done\n");
}

pub(crate) async fn a_bare_connection_that_cannot_be_had_is_an_error(lab: Arc<Lab>) {
    let spec = ExecSpec { argv: argv("true"), stdin: true, ..ExecSpec::default() };
    let missing = lab.engine.exec_raw(&lab.name("nobody"), &spec).await.unwrap_err();
    assert!(missing.is_not_found(), "{missing:?}");
    let stopped = lab.spec("bare-stopped");
    lab.engine.create_container(&stopped).await.unwrap();
    lab.engine.exec_raw(&stopped.name, &spec).await.expect_err("nothing runs there");
    let name = lab.start(&lab.spec("bare-refused")).await;
    let terminal = ExecSpec { tty: Some(WindowSize { rows: 24, cols: 80 }), ..spec.clone() };
    for unfit in [terminal, ExecSpec { stdin: false, ..spec }] {
        let refused = lab.engine.exec_raw(&name, &unfit).await.unwrap_err();
        assert!(matches!(refused, EngineError::Unsupported { .. }), "{refused:?}");
    }
}
