//! The seccomp profile that is built in.

/// The profile `strict`, as engines take it. Against the engines' own default it also refuses looking into other processes,
/// io_uring, other socket families than the ordinary ones, new namespaces, other personalities and 32-bit system calls.
pub const STRICT_SECCOMP: &str = include_str!("../../profiles/seccomp/strict.json");

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::STRICT_SECCOMP;

    fn rules() -> Vec<Value> {
        let profile: Value = serde_json::from_str(STRICT_SECCOMP).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO", "what no rule names is refused");
        for entry in profile["archMap"].as_array().unwrap() {
            assert_eq!(entry["subArchitectures"], Value::Array(Vec::new()), "no other calling convention");
        }
        profile["syscalls"].as_array().unwrap().clone()
    }

    fn names(rule: &Value) -> Vec<&str> {
        rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
    }

    #[test]
    fn the_strict_profile_refuses_what_leaves_or_looks_out_of_a_container() {
        let rules = rules();
        let allowed: Vec<&str> =
            rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW").flat_map(names).collect();
        for refused in [
            "acct",
            "add_key",
            "bpf",
            "chroot",
            "clone3",
            "delete_module",
            "fanotify_init",
            "finit_module",
            "fsopen",
            "init_module",
            "io_uring_enter",
            "io_uring_register",
            "io_uring_setup",
            "iopl",
            "kcmp",
            "kexec_load",
            "keyctl",
            "lookup_dcookie",
            "mbind",
            "modify_ldt",
            "mount",
            "mount_setattr",
            "move_mount",
            "name_to_handle_at",
            "open_by_handle_at",
            "open_tree",
            "perf_event_open",
            "pidfd_getfd",
            "pivot_root",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
            "quotactl",
            "reboot",
            "request_key",
            "setdomainname",
            "sethostname",
            "setns",
            "settimeofday",
            "socketcall",
            "swapon",
            "syslog",
            "umount2",
            "unshare",
            "uselib",
            "userfaultfd",
            "vhangup",
        ] {
            assert!(!allowed.contains(&refused), "{refused} is allowed");
        }
    }

    #[test]
    fn what_depends_on_an_argument_is_allowed_for_known_values_only() {
        let rules = rules();
        let values = |name: &str| -> Vec<u64> {
            let of = rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && names(rule) == [name]);
            of.map(|rule| rule["args"][0]["value"].as_u64().unwrap()).collect()
        };
        assert_eq!(values("socket"), [1, 2, 10, 16], "unix, both internets, netlink");
        assert_eq!(values("personality"), [0, 0xffff_ffff]);
        assert_eq!(values("clone"), [0x7e02_0000], "the mask of all flags that make a namespace");
        let clone = rules.iter().find(|rule| names(rule) == ["clone"]).unwrap();
        assert_eq!(clone["args"][0]["op"], "SCMP_CMP_MASKED_EQ");
        assert_eq!(clone["args"][0]["valueTwo"], 0, "none of them set");
        let clone3 = rules.iter().find(|rule| names(rule) == ["clone3"]).unwrap();
        assert_eq!(clone3["errnoRet"], 38, "missing, not refused: libraries then use clone");
    }

    #[test]
    fn no_rule_allows_a_call_that_another_one_restricts() {
        let rules = rules();
        let mut seen = std::collections::BTreeMap::new();
        for (index, rule) in rules.iter().enumerate() {
            for name in names(rule) {
                let restricted = rule.get("args").is_some();
                if let Some((first, first_restricted)) = seen.insert(name.to_owned(), (index, restricted)) {
                    assert!(restricted && first_restricted, "{name} is in rules {first} and {index}");
                }
            }
        }
    }
}
