//! What the rules are, whether a table holds them, and the scripts that put them there and take them away. Pure.

use std::fmt::{Display, Formatter, Write};

use super::Firewall;

/// The table that the rules stand in: one that Docker and the usual firewalls leave alone, so that nobody takes a jump out
/// for a moment to put it back first.
pub(super) const TABLE: &str = "mangle";

/// Replies to what the host itself began, as a matter of direction: a connection that a container began before the rules
/// were there ends with them. Returned and not accepted, so that the host's own rules still decide.
const REPLIES: &str = "-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY";

/// Conditions and target of the rules for packets to the host, in order.
const INPUT_V4: &[(&str, &str)] = &[(REPLIES, "RETURN"), ("", "DROP")];

/// Without its gateway's link address a container has no way out over IPv6; IPv4 asks for it outside the packet filter.
const INPUT_V6: &[(&str, &str)] = &[
    (REPLIES, "RETURN"),
    ("-p ipv6-icmp -m icmp6 --icmpv6-type 135", "RETURN"),
    ("-p ipv6-icmp -m icmp6 --icmpv6-type 136", "RETURN"),
    ("", "DROP"),
];

/// The same for packets through the host. Where the cloud's resolver has a link-local address, the engine's resolver asks
/// it from inside the container's network: port 53 stays open. An address that the host translates to another one is known
/// to connection tracking only.
const FORWARD_V4: &[(&str, &str)] = &[
    ("-d 169.254.0.0/16 -p udp -m udp --dport 53", "RETURN"),
    ("-d 169.254.0.0/16 -p tcp -m tcp --dport 53", "RETURN"),
    ("-d 169.254.0.0/16", "DROP"),
    ("-m conntrack --ctorigdst 169.254.0.0/16", "DROP"),
    // Alibaba's metadata, and what Azure's agents get keys and certificates from (its port 53 is the resolver).
    ("-d 100.100.100.200/32", "DROP"),
    ("-d 168.63.129.16/32 -p tcp -m tcp --dport 80", "DROP"),
    ("-d 168.63.129.16/32 -p tcp -m tcp --dport 32526", "DROP"),
];

/// Link-local, then the metadata addresses of Amazon, Google and Oracle.
const FORWARD_V6: &[(&str, &str)] = &[
    ("-d fe80::/10", "DROP"),
    ("-d fd00:ec2::254/128", "DROP"),
    ("-d fd20:ce::254/128", "DROP"),
    ("-d fd00:c1::a9fe:a9fe/128", "DROP"),
];

/// One of the kernel's two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// What is wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A chain does not hold what it should hold.
    Chain(String),
    /// Something stands before the jump to podspawn's chain, or there is no jump.
    Jump {
        /// The host's chain.
        from: &'static str,
        /// podspawn's chain.
        to: String,
    },
}

impl Display for Flaw {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chain(chain) => write!(f, "the chain `{chain}` is missing or was changed"),
            Self::Jump { from, to } => write!(f, "`{from}` has no jump to `{to}` before its other rules"),
        }
    }
}

/// What is known of the host besides its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Host {
    /// Packets between two ports of one bridge come through the packet filter too (the kernel's `bridge-nf-call-…`).
    pub(super) filters_bridges: bool,
}

/// One of podspawn's chains, and where it is jumped to from.
struct Chain<'a> {
    name: &'a str,
    from: &'static str,
    rules: Vec<(String, &'static str)>,
}

fn chains(firewall: &Firewall, family: Family, host: Host) -> [Chain<'_>; 2] {
    let (input, forward) = match family {
        Family::V4 => (INPUT_V4, FORWARD_V4),
        Family::V6 => (INPUT_V6, FORWARD_V6),
    };
    let owned = |rules: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
        rules.iter().map(|(condition, target)| ((*condition).to_owned(), *target)).collect()
    };
    // One session's network from another's. Docker's own rules for that are away for a moment whenever anybody makes a
    // network. Within one bridge a session and its services speak with each other.
    let within = if host.filters_bridges { " -m physdev ! --physdev-is-bridged" } else { "" };
    let apart = (format!("-o {}+{within}", firewall.bridge_prefix), "DROP");
    [
        Chain { name: &firewall.input_chain, from: "INPUT", rules: owned(input) },
        Chain {
            name: &firewall.forward_chain,
            from: "FORWARD",
            rules: std::iter::once(apart).chain(owned(forward)).collect(),
        },
    ]
}

impl Chain<'_> {
    /// The mark of rule `number` (from 0): names its place and the text of the whole chain, so that a rule that is
    /// missing, moved, added or of another version shows, however a backend writes conditions down.
    fn mark(&self, number: usize) -> String {
        // FNV-1a: this is about versions, not about forgers, who could switch the rules off as well.
        let digest = self.rules.iter().flat_map(|(condition, target)| [condition.as_str(), *target]).fold(
            0xcbf2_9ce4_8422_2325_u64,
            |hash, text| {
                text.bytes()
                    .chain([0])
                    .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
            },
        );
        format!("podspawn:{}/{}:{digest:016x}", number + 1, self.rules.len())
    }

    fn jump(&self, firewall: &Firewall) -> String {
        format!("-i {}+ -j {}", firewall.bridge_prefix, self.name)
    }
}

/// The rules of a chain in a saved table, without their `-A CHAIN `.
fn rules_of<'a>(found: &'a str, chain: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("-A {chain} ");
    found.lines().filter_map(move |line| line.strip_prefix(start.as_str()).map(str::trim_end))
}

/// Whether a saved table holds the rules.
pub(super) fn check(firewall: &Firewall, family: Family, host: Host, found: &str) -> Result<(), Flaw> {
    for chain in chains(firewall, family, host) {
        let present: Vec<&str> = rules_of(found, chain.name).collect();
        let sound = present.len() == chain.rules.len()
            && present.iter().zip(&chain.rules).enumerate().all(|(number, (rule, (_, target)))| {
                rule.ends_with(&format!("-j {target}"))
                    && rule.split([' ', '"']).any(|word| word == chain.mark(number))
            });
        if !sound {
            return Err(Flaw::Chain(chain.name.into()));
        }
        // Rules for other interfaces may stand before it: else two who want to be first would push each other away.
        let mut met = rules_of(found, chain.from).filter(|rule| may_meet(rule, &firewall.bridge_prefix));
        if met.next() != Some(chain.jump(firewall).as_str()) {
            return Err(Flaw::Jump { from: chain.from, to: chain.name.into() });
        }
    }
    Ok(())
}

/// Whether a rule may match packets that come in through an interface whose name starts with `prefix`.
fn may_meet(rule: &str, prefix: &str) -> bool {
    let words: Vec<&str> = rule.split(' ').collect();
    let named = words.windows(3).find_map(|three| (three[1] == "-i" && three[0] != "!").then_some(three[2]));
    let first = words.first().is_some_and(|word| *word == "-i").then(|| words.get(1).copied()).flatten();
    match first.or(named) {
        None => true,
        Some(name) => match name.strip_suffix('+') {
            Some(stem) => stem.starts_with(prefix) || prefix.starts_with(stem),
            None => name.starts_with(prefix),
        },
    }
}

/// The script that puts the rules into a table that was saved as `found`: chains are emptied and filled before anything
/// jumps to them. It is carried out as a whole or not at all.
pub(super) fn install(firewall: &Firewall, family: Family, host: Host, found: &str) -> String {
    let chains = chains(firewall, family, host);
    let mut script = format!("*{TABLE}\n");
    for chain in &chains {
        // Declaring a chain makes it, or empties it if it is there.
        line(&mut script, format_args!(":{} - [0:0]", chain.name));
    }
    for chain in &chains {
        for (number, (condition, target)) in chain.rules.iter().enumerate() {
            let mark = chain.mark(number);
            let words = format!("-A {} {condition} -m comment --comment {mark} -j {target}", chain.name);
            line(&mut script, format_args!("{}", words.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    // Jumps that stand elsewhere first: named by their text, they would be taken for the new one.
    remove_jumps(firewall, found, &mut script);
    for chain in &chains {
        line(&mut script, format_args!("-I {} 1 {}", chain.from, chain.jump(firewall)));
    }
    script.push_str("COMMIT\n");
    script
}

/// The script that takes the rules out of a table that was saved as `found`; none if there are none.
pub(super) fn removal(firewall: &Firewall, found: &str) -> Option<String> {
    let names = [&firewall.input_chain, &firewall.forward_chain];
    let present: Vec<_> = names
        .into_iter()
        .filter(|name| found.lines().any(|line| line.starts_with(&format!(":{name} "))))
        .collect();
    if present.is_empty() {
        return None;
    }
    let mut script = format!("*{TABLE}\n");
    remove_jumps(firewall, found, &mut script);
    for name in &present {
        line(&mut script, format_args!("-F {name}"));
    }
    for name in &present {
        line(&mut script, format_args!("-X {name}"));
    }
    script.push_str("COMMIT\n");
    Some(script)
}

/// Deletes every jump to the chains that `found` holds. By text and not by number: should somebody else have changed the
/// table since, this fails instead of deleting another's rule.
fn remove_jumps(firewall: &Firewall, found: &str, script: &mut String) {
    let targets = [&firewall.input_chain, &firewall.forward_chain].map(|name| format!(" -j {name}"));
    for chain in all_chains(found) {
        for rule in rules_of(found, chain).filter(|rule| targets.iter().any(|target| rule.ends_with(target)))
        {
            line(script, format_args!("-D {chain} {rule}"));
        }
    }
}

/// Every chain of a saved table.
fn all_chains(found: &str) -> impl Iterator<Item = &str> {
    found.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next())
}

fn line(script: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(script, "{text}");
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
