//! Tests of what is found in saved tables and what scripts are made of them.

use super::*;

const EMPTY: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";

fn firewall() -> Firewall {
    Firewall::named("tst-", "TEST").unwrap()
}

/// A table with Docker's chain and a rule of somebody else in each chain of the host.
fn docker() -> String {
    EMPTY.replace(
        "COMMIT\n",
        ":DOCKER-USER - [0:0]\n-A INPUT -s 192.0.2.0/24 -j ACCEPT\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\nCOMMIT\n",
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
    format!("*filter\n{chains}{rules}COMMIT\n")
}

fn installed(family: Family) -> String {
    let found = docker();
    after(&found, &install(&firewall(), family, &found))
}

#[test]
fn what_is_installed_is_sound_with_and_without_docker() {
    for family in [Family::V4, Family::V6] {
        for found in [EMPTY, &docker()] {
            assert!(check(&firewall(), family, found).is_err());
            let table = after(found, &install(&firewall(), family, found));
            assert_eq!(check(&firewall(), family, &table), Ok(()), "{table}");
        }
    }
}

#[test]
fn a_script_fills_chains_before_anything_jumps_to_them() {
    let script = install(&firewall(), Family::V4, &docker());
    let last_rule = script.rfind("-A TEST-").unwrap();
    let first_jump = script.find("-I INPUT 1 -i tst-+ -j TEST-INPUT").unwrap();
    assert!(last_rule < first_jump, "{script}");
    assert!(script.contains("-I DOCKER-USER 1 -i tst-+ -j TEST-FORWARD"), "{script}");
    assert!(install(&firewall(), Family::V4, EMPTY).contains("-I FORWARD 1 "), "no chain of Docker's");
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
            check(&firewall(), Family::V4, &changed),
            Err(Flaw::Chain("TEST-INPUT".into())),
            "{change}"
        );
        let mended = after(&changed, &install(&firewall(), Family::V4, &changed));
        assert_eq!(check(&firewall(), Family::V4, &mended), Ok(()), "{change}: {mended}");
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
    assert_eq!(check(&firewall(), Family::V4, &behind), Err(flaw));
    let mended = after(&behind, &install(&firewall(), Family::V4, &behind));
    assert_eq!(check(&firewall(), Family::V4, &mended), Ok(()));
    assert_eq!(mended.matches(jump).count(), 1, "{mended}");
    assert!(mended.contains("-A INPUT -j ACCEPT\n"), "others' rules stay: {mended}");
}

#[test]
fn the_jump_follows_docker_when_its_chain_appears() {
    let before = after(EMPTY, &install(&firewall(), Family::V4, EMPTY));
    let docker =
        after(&before, ":DOCKER-USER - [0:0]\n-A DOCKER-USER -j RETURN\n-I FORWARD 1 -j DOCKER-USER\n");
    let flaw = Flaw::Jump { from: "DOCKER-USER", to: "TEST-FORWARD".into() };
    assert_eq!(check(&firewall(), Family::V4, &docker), Err(flaw));
    let mended = after(&docker, &install(&firewall(), Family::V4, &docker));
    assert_eq!(check(&firewall(), Family::V4, &mended), Ok(()));
    assert_eq!(mended.matches("-j TEST-FORWARD\n").count(), 1, "{mended}");
}

#[test]
fn removal_leaves_the_table_as_it_was() {
    let found = after(&docker(), "");
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
