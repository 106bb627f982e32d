//! Tests of what is found in saved tables and what scripts are made of them.

use super::*;

const EMPTY: &str = "*mangle\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";

fn firewall() -> Firewall {
    Firewall::named("tst-", "TEST").unwrap()
}

const HOST: Host = Host { filters_bridges: true };

/// A table with a rule of somebody else in each chain of the host.
fn used() -> String {
    EMPTY.replace(
        "COMMIT\n",
        "-A INPUT -s 192.0.2.0/24 -j ACCEPT\n-A FORWARD -s 192.0.2.0/24 -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n",
    )
}

/// What a table is after a script, for the few commands that these scripts consist of.
fn after(found: &str, script: &str) -> String {
    let mut chains: Vec<String> = Vec::new();
    let mut rules: Vec<(String, String)> = Vec::new();
    for line in found.lines().chain(script.lines()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (chain, rule) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "-A" => rules.push((chain.into(), rule.into())),
            "-I" => rules.insert(0, (chain.into(), rule.strip_prefix("1 ").unwrap().into())),
            "-D" => {
                let at = rules.iter().position(|(c, r)| c == chain && r == rule).unwrap();
                rules.remove(at);
            }
            "-F" => rules.retain(|(c, _)| c != chain),
            "-X" => chains.retain(|c| c.split(' ').next() != Some(chain)),
            _ => {
                if let Some(name) = word.strip_prefix(':') {
                    rules.retain(|(c, _)| c != name);
                    chains.retain(|c| c.split(' ').next() != Some(name));
                    chains.push(format!("{name} {rest}"));
                }
            }
        }
    }
    let chains: String = chains.iter().map(|chain| format!(":{chain}\n")).collect();
    let rules: String = rules.iter().map(|(chain, rule)| format!("-A {chain} {rule}\n")).collect();
    format!("*mangle\n{chains}{rules}COMMIT\n")
}

fn installed(family: Family) -> String {
    let found = used();
    after(&found, &install(&firewall(), family, HOST, &found))
}

#[test]
fn what_is_installed_is_sound_in_an_empty_and_in_a_used_table() {
    for family in [Family::V4, Family::V6] {
        for found in [EMPTY, &used()] {
            assert!(check(&firewall(), family, HOST, found).is_err());
            let table = after(found, &install(&firewall(), family, HOST, found));
            assert_eq!(check(&firewall(), family, HOST, &table), Ok(()), "{table}");
        }
    }
}

#[test]
fn a_script_fills_chains_before_anything_jumps_to_them() {
    let script = install(&firewall(), Family::V4, HOST, &used());
    let last_rule = script.rfind("-A TEST-").unwrap();
    let first_jump = script.find("-I INPUT 1 -i tst-+ -j TEST-INPUT").unwrap();
    assert!(last_rule < first_jump, "{script}");
    assert!(script.contains("-I FORWARD 1 -i tst-+ -j TEST-FORWARD"), "{script}");
}

#[test]
fn every_change_of_a_chain_is_found() {
    let table = installed(Family::V4);
    let drop =
        table.lines().find(|line| line.starts_with("-A TEST-INPUT") && line.ends_with("DROP")).unwrap();
    let returned = table.lines().find(|line| line.starts_with("-A TEST-INPUT") && *line != drop).unwrap();
    for (change, changed) in [
        ("a rule is missing", table.replace(&format!("{drop}\n"), "")),
        ("a rule was added", table.replace(returned, &format!("-A TEST-INPUT -j ACCEPT\n{returned}"))),
        (
            "rules changed places",
            table.replace(&format!("{returned}\n{drop}"), &format!("{drop}\n{returned}")),
        ),
        ("another target", table.replace(drop, &drop.replace("-j DROP", "-j ACCEPT"))),
        ("another version", table.replace(drop, &drop.replace("podspawn:2/2:", "podspawn:2/2:0"))),
    ] {
        assert_ne!(changed, table, "{change}");
        assert_eq!(
            check(&firewall(), Family::V4, HOST, &changed),
            Err(Flaw::Chain("TEST-INPUT".into())),
            "{change}"
        );
        let mended = after(&changed, &install(&firewall(), Family::V4, HOST, &changed));
        assert_eq!(check(&firewall(), Family::V4, HOST, &mended), Ok(()), "{change}: {mended}");
    }
}

#[test]
fn only_rules_that_its_packets_could_meet_may_not_stand_before_the_jump() {
    for rule in [
        "-j ACCEPT",
        "-i tst-1 -j ACCEPT",
        "-i tst+ -j ACCEPT",
        "-i tst-ab+ -j ACCEPT",
        "! -i lo -j ACCEPT",
        "-s 192.0.2.0/24 ! -i lo -j ACCEPT",
        "-p tcp -m comment --comment \"-i lo\" -j ACCEPT",
    ] {
        assert!(may_meet(rule, "tst-"), "{rule}");
    }
    for rule in ["-i lo -j ACCEPT", "-i tst2-+ -j OTHER-INPUT", "-s 192.0.2.0/24 -i eth+ -p tcp -j ACCEPT"] {
        assert!(!may_meet(rule, "tst-"), "{rule}");
    }
}

#[test]
fn a_jump_that_is_not_the_first_rule_is_found_and_moved() {
    let jump = "-A INPUT -i tst-+ -j TEST-INPUT\n";
    let table = installed(Family::V4);
    let behind = table.replace(jump, &format!("-A INPUT -j ACCEPT\n{jump}"));
    assert_ne!(behind, table);
    let flaw = Flaw::Jump { from: "INPUT", to: "TEST-INPUT".into() };
    assert_eq!(check(&firewall(), Family::V4, HOST, &behind), Err(flaw));
    let mended = after(&behind, &install(&firewall(), Family::V4, HOST, &behind));
    assert_eq!(check(&firewall(), Family::V4, HOST, &mended), Ok(()));
    assert_eq!(mended.matches(jump).count(), 1, "{mended}");
    assert!(mended.contains("-A INPUT -j ACCEPT\n"), "others' rules stay: {mended}");
}

#[test]
fn sessions_are_kept_apart_and_a_session_from_its_own_network_is_not() {
    let with = |filters_bridges| {
        let host = Host { filters_bridges };
        (host, after(EMPTY, &install(&firewall(), Family::V4, host, EMPTY)))
    };
    let first =
        |table: &str| table.lines().find(|line| line.starts_with("-A TEST-FORWARD")).unwrap().to_owned();
    let ((filters, physical), (passes, plain)) = (with(true), with(false));
    assert!(first(&physical).contains("-o tst-+ -m physdev ! --physdev-is-bridged "), "{physical}");
    assert!(first(&plain).contains("-o tst-+ -m comment "), "{plain}");
    // The kernel's switch was turned since: the rules no longer fit.
    let flaw = Err(Flaw::Chain("TEST-FORWARD".into()));
    assert_eq!(check(&firewall(), Family::V4, passes, &physical), flaw);
    assert_eq!(check(&firewall(), Family::V4, filters, &plain), flaw);
}

#[test]
fn removal_leaves_the_table_as_it_was() {
    let found = after(&used(), "");
    let removed = after(&installed(Family::V6), &removal(&firewall(), &installed(Family::V6)).unwrap());
    assert_eq!(removed, found);
    assert_eq!(removal(&firewall(), &found), None);
}

#[test]
fn names_that_rules_cannot_carry_are_refused() {
    for (prefix, chains) in [
        ("", "TEST"),
        ("a b", "TEST"),
        ("-a", "TEST"),
        ("tst+", "TEST"),
        ("tst-", "T\nCOMMIT"),
        ("tst-", ""),
        ("fifteen-letters", "TEST"),
        ("tst-", "TEST-TEST-TEST-TEST-TEST"),
    ] {
        assert!(Firewall::named(prefix, chains).is_err(), "{prefix:?} {chains:?}");
    }
}
