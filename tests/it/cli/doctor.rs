//! `podspawn doctor`

use crate::harness::{EngineName, Env, json};

on_engines! {
    [docker, docker26, podman, gvisor]
    fn a_sound_host_passes_and_the_choice_of_the_engine_is_explained(env: Env) {
        let label = env.engine.expect("an engine").label();
        let out = env.podspawn(["doctor"]).run().ok().out();
        let first = out.lines().next().expect("a line");
        assert!(first.starts_with(&format!("  [pass] engine choice: {label} at ")), "{out}");
        assert!(first.contains(", because "), "{out}");
        for name in [&format!("{label} daemon"), &format!("{label} socket"), "state directory", "lock directory"] {
            assert!(out.contains(&format!("  [pass] {name}\n")), "{name} in {out}");
        }
        assert!(out.contains("  [pass] default image\n"), "{out}");
        assert!(out.contains("disk space"), "{out}");
        let direct = if env.engine == Some(EngineName::Gvisor) { "[warn]" } else { "[pass]" };
        assert!(out.contains(&format!("  {direct} direct attach")), "{out}");
        assert!(out.ends_with(", 0 failed\n"), "{out}");

        let verbose = env.podspawn(["doctor", "--verbose"]).run().ok().out();
        assert!(verbose.contains(&format!("  [pass] {label} daemon: version ")), "{verbose}");

        let report = json::parse(&env.podspawn(["doctor", "--output", "json"]).run().ok());
        let checks = report["checks"].as_array().expect("checks");
        assert_eq!(report["summary"]["failed"], 0);
        let counted = ["passed", "warned", "failed"].map(|key| report["summary"][key].as_u64().expect("a number"));
        assert_eq!(counted.iter().sum::<u64>(), checks.len() as u64);
        let image = checks.iter().find(|check| check["name"] == "default image").expect("the image");
        assert!(image["detail"].as_str().expect("text").contains("sha256:") , "{image}");
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

on_engines! {
    [docker, podman]
    fn an_image_that_is_not_cached_is_a_warning_with_its_fix(env: Env) {
        const IMAGE: &str = "nowhere.invalid/nothing:1";
        env.write_config(&format!("local:\n  image: {IMAGE}\n"));
        let out = env.podspawn(["doctor"]).run().ok().out();
        let warning = format!("  [warn] default image: {IMAGE} not cached; first connection will pull it (slow)\n");
        assert!(out.contains(&warning), "{out}");
        let program = if env.engine == Some(EngineName::Podman) { "podman" } else { "docker" };
        assert!(out.contains(&format!("         fix: {program} pull {IMAGE}; ")), "{out}");
    }
}

#[test]
fn a_state_directory_that_is_a_file_fails() {
    let env = Env::on(EngineName::Docker);
    let blocked = env.directory().join("blocked");
    std::fs::write(&blocked, "").expect("write");
    env.write_config(&format!("state:\n  db_path: {0}/state.db\n  lock_dir: {0}/locks\n", blocked.display()));
    let out = env.podspawn(["doctor"]).run().status(1).out();
    for name in ["state directory", "state database", "lock directory"] {
        assert!(out.contains(&format!("  [FAIL] {name}: ")), "{name} in {out}");
    }
}
