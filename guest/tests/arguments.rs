//! What the first process shows of its arguments.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use podspawn_wire::{InitConfig, PROTOCOL, User};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

#[test]
fn the_environment_of_the_configuration_does_not_stay_in_the_arguments() {
    let user = User {
        name: "sarah".into(),
        uid: 1000,
        gid: 1000,
        home: "/home/sarah".into(),
        shell: "/bin/bash".into(),
    };
    let config = InitConfig {
        protocol: PROTOCOL,
        user,
        sudo: true,
        no_new_privileges: true,
        readonly_rootfs: false,
        user_dirs: vec!["/workspace".into()],
        volume_dirs: Vec::new(),
        nproc_limit: None,
        socket_uid: None,
        env: vec![("TOKEN".into(), "very secret".into())],
    };
    let told = serde_json::to_string(&config).unwrap();
    let shown = serde_json::to_string(&InitConfig { env: Vec::new(), ..config }).unwrap();

    // It refuses to run here, and cannot say so while the pipe is full: so long it can be looked at.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let size = fcntl_setpipe_size(&writer, 4096).unwrap();
    File::from(writer.try_clone().unwrap()).write_all(&vec![0; size]).unwrap();
    let program = env!("CARGO_BIN_EXE_podspawn-guest");
    let mut child = Command::new(program).args(["init", &told]).stderr(Stdio::from(writer)).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let seen = loop {
        let seen = fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap();
        let seen: Vec<String> = seen.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
        if seen == [program, "init", &shown] || Instant::now() > deadline {
            break seen;
        }
        std::thread::yield_now();
    };
    drop(reader);
    child.wait().unwrap();
    assert_eq!(seen, [program, "init", &shown]);
}
