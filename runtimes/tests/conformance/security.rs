//! Every security option of a container, by its effect inside.

use std::sync::Arc;

use podspawn_runtimes::*;

use crate::lab::{Lab, Which, argv, assert_unsupported, stat_script};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

async fn status_line(lab: &Lab, container: &str, key: &str) -> Option<String> {
    let output = lab.sh(container, &format!("grep ^{key}: /proc/self/status")).await;
    output.out.split_once(':').map(|(_, value)| value.trim().to_owned())
}

pub(crate) async fn capabilities_are_dropped_and_given_back(lab: Arc<Lab>) {
    let few = ContainerSpec {
        cap_drop: words(&["ALL"]),
        cap_add: words(&["CHOWN", "KILL", "NET_BIND_SERVICE"]),
        ..lab.spec("few")
    };
    let few = lab.start(&few).await;
    // chown is 0, kill 5, net_bind_service 10.
    let set = format!("{:016x}", 1 | 1 << 5 | 1 << 10);
    for key in ["CapBnd", "CapEff", "CapPrm"] {
        assert_eq!(status_line(&lab, &few, key).await.as_deref(), Some(set.as_str()), "{key}");
    }
    let output = lab.sh(&few, "touch /tmp/x && chown 1000 /tmp/x && chmod 600 /tmp/x && cat /tmp/x").await;
    assert_ne!(output.code, 0, "without DAC_OVERRIDE root cannot read another's file: {output:?}");
    let none = ContainerSpec { cap_drop: words(&["ALL"]), ..lab.spec("none") };
    let none = lab.start(&none).await;
    assert_eq!(status_line(&lab, &none, "CapBnd").await.as_deref(), Some("0000000000000000"));
    assert_ne!(lab.sh(&none, "touch /tmp/x && chown 1000 /tmp/x").await.code, 0);
    let less = ContainerSpec { cap_drop: words(&["CHOWN"]), ..lab.spec("less") };
    let less = lab.start(&less).await;
    let bounding = status_line(&lab, &less, "CapBnd").await.unwrap();
    let bounding = u64::from_str_radix(&bounding, 16).unwrap();
    assert_eq!(bounding & 1, 0, "CHOWN is gone");
    assert_ne!(bounding & (1 << 5), 0, "the others are the engine's usual ones");
}

pub(crate) async fn no_new_privileges_holds(lab: Arc<Lab>) {
    // A copy of `cat` that belongs to root and would run as root for everybody.
    let prepare = "cp /bin/cat /usr/local/bin/rootcat && chmod 4755 /usr/local/bin/rootcat && echo secret > /root/x && \
                   chmod 600 /root/x && chmod 755 /root";
    let attempt =
        ExecSpec { user: Some("1000".into()), argv: argv("rootcat /root/x"), ..ExecSpec::default() };
    // PR_GET_NO_NEW_PRIVS
    let ask = "perl -e 'print syscall(157, 39, 0, 0, 0, 0)'";
    for flag in [true, false] {
        let spec = ContainerSpec { no_new_privileges: flag, ..lab.spec(&format!("{flag}")) };
        let name = lab.start(&spec).await;
        assert_eq!(lab.sh(&name, prepare).await.code, 0);
        let gained = lab.exec(&name, attempt.clone(), &[]).await;
        if lab.which == Which::Gvisor {
            // Its kernel never lets a program gain anything, and has no such line in /proc.
            assert_eq!((lab.sh(&name, ask).await.out.as_str(), gained.code), ("1", 1), "{gained:?}");
            continue;
        }
        assert_eq!(lab.sh(&name, ask).await.out, if flag { "1" } else { "0" });
        assert_eq!(
            status_line(&lab, &name, "NoNewPrivs").await.as_deref(),
            Some(if flag { "1" } else { "0" })
        );
        assert_eq!(gained.out, if flag { "" } else { "secret\n" }, "{gained:?}");
    }
}

pub(crate) async fn the_root_file_system_is_read_only_and_tmpfs_is_not(lab: Arc<Lab>) {
    let mounts = vec![Mount::Tmpfs { target: "/scratch".into(), options: String::new() }];
    let spec = ContainerSpec { readonly_rootfs: true, mounts, ..lab.spec("closed") };
    let name = lab.start(&spec).await;
    for path in ["/new", "/etc/new", "/root/new", "/usr/bin/new"] {
        let output = lab.sh(&name, &format!("echo x > {path}")).await;
        assert!(output.err.contains("Read-only file system"), "{path}: {output:?}");
    }
    let output = lab.sh(&name, "echo x > /scratch/new && cat /scratch/new").await;
    assert_eq!(output.out, "x\n", "{output:?}");
    let open = lab.start(&lab.spec("open")).await;
    assert_eq!(lab.sh(&open, "echo x > /new && cat /new").await.out, "x\n");
}

pub(crate) async fn tmpfs_keeps_size_mode_and_execution(lab: Arc<Lab>) {
    let tmpfs = |target: &str, options: &str| Mount::Tmpfs { target: target.into(), options: options.into() };
    let mounts = vec![
        tmpfs("/run/small", "size=64k,mode=0700"),
        tmpfs("/run/open", "size=1m,mode=0711,exec"),
        tmpfs("/tmp", ""),
    ];
    let name = lab.start(&ContainerSpec { mounts, ..lab.spec("tmpfs") }).await;
    let output =
        lab.sh(&name, &format!("{}; stat -f -c %T /run/small", stat_script("/run/small /run/open"))).await;
    assert_eq!(output.out, "700 0:0 /run/small\n711 0:0 /run/open\ntmpfs\n", "{output:?}");
    let output = lab.sh(&name, "head -c 1M /dev/zero > /run/small/x; wc -c < /run/small/x").await;
    assert!(output.err.contains("No space left"), "{output:?}");
    assert!(output.out.trim().parse::<u64>().unwrap() <= 64 * 1024, "{output:?}");
    let run = lab.sh(&name, "cp /bin/true /run/open/true && /run/open/true").await;
    assert_eq!(run.code, 0, "{run:?}");
    let write = ExecSpec {
        user: Some("1000".into()),
        argv: argv("echo x > /tmp/x; cat /tmp/x"),
        ..Default::default()
    };
    let anybody = lab.exec(&name, write, &[]).await;
    assert_eq!(anybody.out, "x\n", "/tmp is everybody's: {anybody:?}");
}

pub(crate) async fn a_seccomp_profile_is_in_force(lab: Arc<Lab>) {
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
        "syscalls":[{"names":["sethostname","mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
    let cases = [
        ("profile", Seccomp::Profile(profile.into()), "2", false),
        ("default", Seccomp::Default, "2", true),
        ("none", Seccomp::Unconfined, "0", true),
    ];
    for (suffix, seccomp, mode, can_make) in cases {
        let spec = ContainerSpec { seccomp, ..lab.spec(suffix) };
        let without = lab.engine.facts().lacks(Gap::Seccomp);
        if without && matches!(spec.seccomp, Seccomp::Profile(_)) {
            // A filter that would not be in force is none that anybody may count on.
            assert_unsupported(lab.engine.create_container(&spec).await);
            continue;
        }
        let name = lab.start(&spec).await;
        let line = status_line(&lab, &name, "Seccomp").await;
        let made = lab.sh(&name, "mkdir /tmp/made").await;
        if without {
            assert_eq!(lab.which, Which::Gvisor);
            assert_eq!((line.as_deref(), made.code), (Some("0"), 0), "the sandbox has none");
            continue;
        }
        assert_eq!(line.as_deref(), Some(mode), "{suffix}");
        assert_eq!(made.code == 0, can_make, "{suffix}: {made:?}");
        if !can_make {
            // An old sandbox has one error for everything that a filter refuses.
            let old = lab.which == Which::Gvisor && made.err.contains("Operation not permitted");
            assert!(old || made.err.contains("Function not implemented"), "{made:?}");
        }
    }
    let bad = ContainerSpec { seccomp: Seccomp::Profile("{ no json".into()), ..lab.spec("bad") };
    assert!(create_and_start(&lab, &bad).await.is_err());
}

pub(crate) async fn create_and_start(lab: &Lab, spec: &ContainerSpec) -> Result<()> {
    lab.engine.create_container(spec).await?;
    lab.engine.start_container(&spec.name).await
}

/// A file of the container's cgroup, by its names in version 1 and 2.
async fn cgroup(lab: &Lab, container: &str, v1: &str, v2: &str) -> String {
    let name = if lab.engine.facts().cgroup_version == 2 { v2 } else { v1 };
    let output = lab.sh(container, &format!("cat /sys/fs/cgroup/{name}")).await;
    assert_eq!(output.code, 0, "{output:?}");
    output.out.trim().to_owned()
}

/// Whether the limit is one that this engine declares it cannot keep. Then asking for it is refused, and taking it out
/// with a word to the user is what `Facts::fit` does.
async fn declared(lab: &Lab, gap: Gap, spec: &ContainerSpec) -> bool {
    let facts = lab.engine.facts();
    if !facts.lacks(gap) {
        return false;
    }
    assert!(facts.rootless && facts.cgroup_version == 1, "only there may {gap:?} be declared: {facts:?}");
    assert_unsupported(lab.engine.create_container(spec).await);
    let mut fitted = spec.clone();
    let lines = facts.fit(&mut fitted);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lab.start(&fitted).await;
    true
}

pub(crate) async fn the_number_of_processes_is_limited(lab: Arc<Lab>) {
    let spec = ContainerSpec { pids_limit: Some(40), ..lab.spec("pids") };
    let burst = "for i in $(seq 80); do sleep 5 & done 2>/tmp/err; jobs -p | wc -l; grep -c 'Resource temporarily' /tmp/err";
    if lab.which == Which::Gvisor {
        // Declared: the engine's count is the sandbox's own threads, so that the limit is kept inside, not here.
        assert!(lab.engine.facts().lacks(Gap::PidsLimit));
        let name = lab.start(&spec).await;
        let output = lab.sh(&name, burst).await;
        assert_eq!(
            output.out, "80\n0\n",
            "the sandbox survives more processes than were asked for: {output:?}"
        );
        return;
    }
    if declared(&lab, Gap::PidsLimit, &spec).await {
        return;
    }
    let name = lab.start(&spec).await;
    assert_eq!(cgroup(&lab, &name, "pids/pids.max", "pids.max").await, "40");
    // The shell itself gives up forking at some point; that it had to is the proof.
    let output = lab.sh(&name, &format!("export BASH_ENV=; {burst}")).await;
    let refused = lab.sh(&name, "cat /tmp/err | grep -c 'Resource temporarily unavailable'").await;
    assert_ne!(refused.out.trim(), "0", "{output:?} {refused:?}");
}

pub(crate) async fn memory_is_limited(lab: Arc<Lab>) {
    let limit = 96 << 20;
    let spec = ContainerSpec { memory: Some(limit), ..lab.spec("memory") };
    if declared(&lab, Gap::MemoryLimit, &spec).await {
        return;
    }
    let name = lab.start(&spec).await;
    if lab.which == Which::Gvisor {
        let output = lab.sh(&name, "awk '/^MemTotal/ { print $2 }' /proc/meminfo").await;
        assert_eq!(output.out.trim().parse::<u64>().unwrap() * 1024, limit, "{output:?}");
    } else {
        let file = cgroup(&lab, &name, "memory/memory.limit_in_bytes", "memory.max").await;
        assert_eq!(file, limit.to_string());
    }
    let small = lab.sh(&name, "perl -e '$x = \"a\" x (16 << 20); print length $x'").await;
    assert_eq!(small.out, (16 << 20).to_string(), "{small:?}");
    // A sandbox may die as a whole of this; its command then has no status of its own.
    let eat =
        ExecSpec { argv: argv("perl -e '$x = \"a\" x (256 << 20); print length $x'"), ..ExecSpec::default() };
    let session = lab.engine.exec(&name, &eat).await.unwrap();
    let output: Vec<_> = futures_util::StreamExt::collect(session.output).await;
    let whole = ExecOutput::Stdout((256 << 20).to_string().into());
    assert!(!output.iter().any(|piece| matches!(piece, Ok(piece) if *piece == whole)), "{output:?}");
}

pub(crate) async fn cpu_time_is_limited(lab: Arc<Lab>) {
    let spec = ContainerSpec { cpus: Some(0.25), ..lab.spec("cpu") };
    if declared(&lab, Gap::CpuLimit, &spec).await {
        return;
    }
    let name = lab.start(&spec).await;
    if lab.which != Which::Gvisor {
        let quota = cgroup(&lab, &name, "cpu/cpu.cfs_quota_us", "cpu.max").await;
        assert!(quota == "25000" || quota == "25000 100000", "{quota}");
    }
    // How much processor time two busy processes get in two seconds of wall time, as the host's kernel counts it.
    let busy = "perl -e 'fork; use Time::HiRes q(time); $end = time + 2; 1 while time < $end; wait'";
    let before = host_cpu_seconds(&lab, &name).await;
    let started = tokio::time::Instant::now();
    assert_eq!(lab.sh(&name, busy).await.code, 0);
    let used = host_cpu_seconds(&lab, &name).await - before;
    let share = used / started.elapsed().as_secs_f64();
    assert!(share < 0.4, "a quarter of a processor was allowed, {share} was used");
    assert!(share > 0.02, "nothing was counted: {share}");
}

/// Processor time of the container's cgroup, read on the host through its first process.
async fn host_cpu_seconds(lab: &Lab, name: &str) -> f64 {
    let pid = lab.engine.container(name).await.unwrap().unwrap().pid.unwrap();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap(), parts.next().unwrap());
        if controllers.split(',').any(|one| one == "cpuacct") {
            let file = format!("/sys/fs/cgroup/cpuacct{path}/cpuacct.usage");
            return std::fs::read_to_string(file).unwrap().trim().parse::<f64>().unwrap() / 1e9;
        }
        if controllers.is_empty() {
            let file = format!("/sys/fs/cgroup{path}/cpu.stat");
            if let Ok(text) = std::fs::read_to_string(file)
                && let Some(used) = text.lines().find_map(|line| line.strip_prefix("usage_usec "))
            {
                return used.parse::<f64>().unwrap() / 1e6;
            }
        }
    }
    panic!("no processor time in {groups}");
}

pub(crate) async fn the_runtime_is_the_one_that_was_asked_for(lab: Arc<Lab>) {
    let wanted = if lab.which == Which::Gvisor { "runsc" } else { "runc" };
    let name = lab.start(&ContainerSpec { runtime: Some(wanted.into()), ..lab.spec("wanted") }).await;
    let default = lab.start(&lab.spec("default")).await;
    let ours = std::fs::read_to_string("/proc/version").unwrap();
    for name in [&name, &default] {
        let theirs = lab.sh(name, "cat /proc/version").await.out;
        assert_eq!(theirs == ours, lab.which != Which::Gvisor, "{theirs}");
    }
    let unknown = ContainerSpec { runtime: Some("no-such-runtime".into()), ..lab.spec("unknown") };
    let error = create_and_start(&lab, &unknown).await.unwrap_err().to_string();
    assert!(error.contains("no-such-runtime"), "{error}");
}

pub(crate) async fn ids_are_shifted_where_the_engine_can_and_refused_elsewhere(lab: Arc<Lab>) {
    let spec = ContainerSpec { map_owner: Some((1234, 1235)), user: Some("0".into()), ..lab.spec("shifted") };
    if !lab.engine.facts().maps_owner() {
        assert_unsupported(lab.engine.create_container(&spec).await);
        return;
    }
    let name = lab.start(&spec).await;
    // The engine's own account is 0 in the map's second column.
    let map = lab.sh(&name, "id -u; awk '$2 == 0 { print $1 }' /proc/self/uid_map /proc/self/gid_map").await;
    assert_eq!(map.out, "0\n1234\n1235\n", "{map:?}");
}

pub(crate) async fn names_are_given_an_address(lab: Arc<Lab>) {
    let spec = ContainerSpec { hosts: vec![("db".into(), "10.1.2.3".into())], ..lab.spec("hosts") };
    let name = lab.start(&spec).await;
    let hosts = lab.sh(&name, "grep -w db /etc/hosts").await.out;
    assert_eq!(hosts.split_whitespace().collect::<Vec<_>>(), ["10.1.2.3", "db"]);
}
