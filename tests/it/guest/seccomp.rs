//! Seccomp profiles in a sandbox that is told to load them.

use crate::harness::dockerd::Dockerd;
use crate::harness::engines::fact;
use crate::harness::{EngineName, Env};

#[test]
fn a_profile_is_in_force_in_a_sandbox_that_loads_filters() {
    let _dockerd = Dockerd::start();
    let env = Env::on(EngineName::Private);
    let profile = env.directory().join("profile.json");
    // What nothing of podspawn's needs.
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mknod", "mknodat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(&profile, text).expect("write");
    let made = |further: &str| {
        env.write_config(&format!("local:\n  image: {}\n{further}", fact("IMAGE_BUSYBOX")));
        let podspawn = |args: &[&str]| env.podspawn([&["--runtime", "gvisor"], args].concat());
        let _ = podspawn(&["create", "m"]).run().ok();
        // The guest has what it needs under the engine's usual filter, too.
        assert_eq!(podspawn(&["exec", "m", "--", "sudo", "id", "-u"]).run().ok().out(), "0\n");
        let (status, screen) = podspawn(&["exec", "-t", "m", "--", "tty"]).terminal(24, 80).wait();
        assert!(status == 0 && screen.contains("/dev/pts/"), "{status} {screen}");
        let run = podspawn(&["exec", "m", "--", "mkfifo", "/tmp/pipe"]).run();
        let _ = podspawn(&["stop", "m"]).run().ok();
        run
    };
    let _ = made("").ok();
    let refused = made(&format!("security:\n  seccomp_profile: {}\n", profile.display())).status(1);
    assert!(refused.stderr.contains("Operation not permitted"), "{}", refused.stderr);
}
