//! That each server is there, is itself, and is of one kind with the others.

use std::collections::BTreeMap;

use super::list::Check;
use super::pair::{Pair, listed, stop_and_start};
use super::{Finding, Mend, Severity};
use crate::pair::facts::Facts;
use crate::topology::Flavor;

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "server-reachable",
        Severity::Error,
        "a server that does not answer, or does not let the account in",
        unreachable,
    ),
    Check::new(
        "monitor-login",
        Severity::Error,
        "a server that does not let the account of `[monitor]` in",
        monitor_login,
    ),
    Check::new(
        "monitor-privileges",
        Severity::Error,
        "a privilege that the account of `[monitor]` lacks",
        monitor_privileges,
    ),
    Check::new("server-family", Severity::Error, "MariaDB and MySQL in one pair", families),
    Check::new("server-version", Severity::Warning, "servers of different versions", versions),
    Check::new(
        "server-id",
        Severity::Error,
        "two servers with one `server_id`, or one without",
        server_ids,
    ),
    Check::new(
        "server-uuid",
        Severity::Error,
        "two servers with one `server_uuid` (MySQL)",
        server_uuids,
    ),
    Check::new(
        "gtid-domain",
        Severity::Error,
        "two masters that number their writes in one `gtid_domain_id` (MariaDB)",
        domains,
    ),
];

fn unreachable(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |silent: &super::Silent| {
        let is_master = pair.expected.servers.masters().any(|server| server.name == silent.name);
        let (severity, why) = if is_master {
            (Severity::Error, "There is nothing to fail over to while a master is away.")
        } else {
            (Severity::Warning, "It serves no reads while it is away.")
        };
        Finding::new(severity, [&silent.name], format!("{} {}", silent.name, silent.reason), why)
    };
    pair.expected.silent.iter().map(finding).collect()
}

fn monitor_login(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |out: &super::Silent| {
        let what = format!("{} {}", out.name, out.reason);
        let why =
            "It is the account of [monitor]: without it a server is neither watched nor ordered.";
        let mend = Mend::advice(
            "compare [monitor] of proxy.toml with the account; tandem setup --apply makes it",
        );
        Finding::new(Severity::Error, [&out.name], what, why).mended_by([mend])
    };
    pair.expected.locked_out.iter().map(finding).collect()
}

fn monitor_privileges(pair: Pair<'_>) -> Vec<Finding> {
    let lacking = &pair.expected.lacking;
    let of = |name: &str| {
        let mine = lacking.iter().filter(|lack| lack.server == name);
        let (optional, needed): (Vec<_>, Vec<_>) = mine.partition(|lack| lack.optional);
        let finding = |severity, lacks: Vec<&super::Lack>, why: &str| {
            let purposes: Vec<&str> = lacks.iter().map(|lack| lack.purpose.as_str()).collect();
            let what = format!(
                "on {name} the account of [monitor], {}, may not {}",
                pair.expected.monitor,
                listed(&purposes)
            );
            (!lacks.is_empty()).then(|| {
                let mend = lacks.iter().map(|lack| Mend::sql(name, &lack.grant));
                Finding::new(severity, [name], what, why).mended_by(mend)
            })
        };
        let why = "A failover is carried out as this account: what it may not do is not done.";
        let needed = finding(Severity::Error, needed, why);
        let why = "The checks inside the proxy are made as this account, and do not see this part.";
        let optional = finding(Severity::Notice, optional, why);
        [needed, optional].into_iter().flatten()
    };
    pair.facts.iter().flat_map(|facts| of(&facts.name)).collect()
}

fn families(pair: Pair<'_>) -> Vec<Finding> {
    let first = pair.facts.iter().find(|facts| facts.flavor() == Flavor::MariaDb);
    let other = pair.facts.iter().find(|facts| facts.flavor() == Flavor::MySql);
    let (Some(maria), Some(mysql)) = (first, other) else { return Vec::new() };
    let what = format!(
        "{} is a MariaDB ({}) and {} a MySQL ({})",
        maria.name, maria.version, mysql.name, mysql.version
    );
    let why = "Their GTIDs cannot be compared: nobody can tell what one has that the other lacks.";
    let mend = Mend::advice("replace one of them by a server of the other's family");
    let both = pair.facts.iter().map(|facts| &facts.name);
    let both = both.filter(|name| [&maria.name, &mysql.name].contains(name));
    vec![Finding::new(Severity::Error, both, what, why).mended_by([mend])]
}

fn versions(pair: Pair<'_>) -> Vec<Finding> {
    let mut by_version: BTreeMap<(u16, u16, u16), Vec<&str>> = BTreeMap::new();
    for facts in pair.facts {
        by_version.entry(facts.dialect.version).or_default().push(&facts.name);
    }
    let families = pair.facts.iter().map(|facts| facts.flavor() == Flavor::MySql);
    if by_version.len() < 2 || families.clone().any(|is| is) && !families.clone().all(|is| is) {
        return Vec::new();
    }
    let series = |version: &(u16, u16, u16)| (version.0, version.1);
    let mut all_series: Vec<_> = by_version.keys().map(series).collect();
    all_series.dedup();
    let (severity, why) = if all_series.len() > 1 {
        let why = "What the newer one writes the older one may not understand: replication stops \
                   after a failover to the newer one.";
        (Severity::Warning, why)
    } else {
        let why = "Well while one is being upgraded; in the long run they should be equal.";
        (Severity::Notice, why)
    };
    let told: Vec<String> = by_version
        .iter()
        .map(|((major, minor, patch), names)| format!("{} {major}.{minor}.{patch}", listed(names)))
        .collect();
    let names = pair.facts.iter().map(|facts| &facts.name);
    let what = format!("the servers have different versions: {}", told.join(", "));
    let mend = Mend::advice("upgrade the older one while it is the standby, then switch over");
    vec![Finding::new(severity, names, what, why).mended_by([mend])]
}

/// Servers with the same value, where there is one.
fn twins<'a, K: Ord>(
    servers: impl Iterator<Item = &'a Facts>,
    of: impl Fn(&Facts) -> Option<K>,
) -> impl Iterator<Item = (K, Vec<&'a Facts>)> {
    let mut by: BTreeMap<K, Vec<&Facts>> = BTreeMap::new();
    for facts in servers {
        if let Some(key) = of(facts) {
            by.entry(key).or_default().push(facts);
        }
    }
    by.into_iter().filter(|(_, servers)| servers.len() > 1)
}

fn names(servers: &[&Facts]) -> Vec<String> {
    servers.iter().map(|facts| facts.name.clone()).collect()
}

fn server_ids(pair: Pair<'_>) -> Vec<Finding> {
    let why = "A server drops what bears its own server_id, as its own writes that came round: of \
               two with one id neither executes what the other writes.";
    let mut free = (1..).filter(|id| pair.facts.iter().all(|facts| facts.server_id() != *id));
    let mut renumber = |wrong: &[&Facts], all: &[&Facts]| -> Vec<Mend> {
        let ids = wrong.iter().zip(free.by_ref());
        let mut steps: Vec<Mend> =
            ids.flat_map(|(facts, id)| Mend::set(facts, "server_id", id)).collect();
        // Receivers told their sources the old ids when they logged in, and gave up over them.
        for facts in all {
            for following in facts.channels.iter().flatten() {
                let (stop, start) = stop_and_start(facts.flavor(), following, "");
                steps.extend([Mend::sql(&facts.name, stop), Mend::sql(&facts.name, start)]);
            }
        }
        steps
    };
    let mut found = Vec::new();
    for (id, servers) in twins(pair.facts.iter(), |facts| Some(facts.server_id())) {
        if id == 0 {
            continue;
        }
        let what = format!("{} all have server_id {id}", listed(&names(&servers)));
        let what = if servers.len() == 2 { what.replace(" all ", " both ") } else { what };
        found.push(
            Finding::new(Severity::Error, names(&servers), what, why)
                .mended_by(renumber(&servers[1..], &servers)),
        );
    }
    for facts in pair.facts.iter().filter(|facts| facts.server_id() == 0) {
        let what = format!("{} has no server_id", facts.name);
        let why = "A server without one neither replicates nor is replicated from.";
        let mend = renumber(&[facts], &[facts]);
        found.push(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend));
    }
    found
}

fn server_uuids(pair: Pair<'_>) -> Vec<Finding> {
    let uuid = |facts: &Facts| facts.variables.text("server_uuid").map(str::to_owned);
    let finding = |(uuid, servers): (String, Vec<&Facts>)| {
        let what = format!("{} have the same server_uuid, {uuid}", listed(&names(&servers)));
        let why = "It numbers the transactions of both, so that each takes the other's for its own \
                   and does not execute them; usually one was copied from the other with its auto.cnf.";
        let mend = servers[1..].iter().map(|facts| {
            let directory = facts.variables.text("datadir").unwrap_or("its data directory");
            Mend::advice(format!("stop {}, remove auto.cnf from {directory}, start it", facts.name))
        });
        Finding::new(Severity::Error, names(&servers), what, why).mended_by(mend)
    };
    twins(pair.facts.iter(), uuid).map(finding).collect()
}

fn domains(pair: Pair<'_>) -> Vec<Finding> {
    let domain = |facts: &Facts| facts.variables.number::<u32>("gtid_domain_id");
    let mut free = (1..).filter(|id| pair.facts.iter().all(|facts| domain(facts) != Some(*id)));
    let mut finding = |(shared, servers): (u32, Vec<&Facts>)| {
        let what = format!(
            "{} number their writes in one gtid_domain_id, {shared}",
            listed(&names(&servers))
        );
        let why = "After a split both have different transactions under the same numbers, and what \
                   is stranded cannot be seen any more.";
        let keep = usize::from(shared != 0);
        let mend = servers[keep..].iter().zip(free.by_ref());
        let mend: Vec<Mend> =
            mend.flat_map(|(facts, id)| Mend::set(facts, "gtid_domain_id", id)).collect();
        Finding::new(Severity::Error, names(&servers), what, why).mended_by(mend)
    };
    twins(pair.masters(), domain).map(&mut finding).collect()
}
