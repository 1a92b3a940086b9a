//! How what was received is executed: fast enough, in order, all of it, and once.

use std::collections::BTreeSet;

use super::list::Check;
use super::pair::{Pair, stop_and_start, while_stopped};
use super::{Finding, Mend, Severity};
use crate::pair::dialect;
use crate::pair::facts::{Facts, Following, Part};
use crate::topology::Flavor;

const CHANNELS: &[Part] = &[Part::Channels];

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "parallel-appliers",
        Severity::Warning,
        "a master that executes what it receives with one thread",
        parallel,
    ),
    Check::new(
        "commit-order",
        Severity::Error,
        "parallel appliers that do not keep the order of commits",
        order,
    ),
    Check::new(
        "replication-filters",
        Severity::Error,
        "schemas or tables that a server does not replicate, or under another name",
        filters,
    )
    .needs(CHANNELS),
    Check::new(
        "ignored-servers",
        Severity::Error,
        "a server that ignores what another server of the pair wrote (`IGNORE_SERVER_IDS`)",
        ignored,
    )
    .needs(CHANNELS),
    Check::new(
        "skipped-errors",
        Severity::Error,
        "`slave_skip_errors`, `slave_exec_mode = IDEMPOTENT`: conflicts that nobody hears of",
        skipped,
    ),
    Check::new("skip-counter", Severity::Warning, "`sql_slave_skip_counter` above 0", skip_counter)
        .needs(CHANNELS),
    Check::new(
        "gtid-ignore-duplicates",
        Severity::Error,
        "writes that arrive by several ways without `gtid_ignore_duplicates` (MariaDB)",
        duplicates,
    )
    .needs(CHANNELS),
];

const THREADS: [&str; 3] =
    ["replica_parallel_workers", "slave_parallel_workers", "slave_parallel_threads"];

fn threads(facts: &Facts) -> Option<(&'static str, u32)> {
    let names: &[&'static str] = match facts.flavor() {
        Flavor::MySql => &THREADS[..2],
        // It knows slave_parallel_workers as another name of the same.
        Flavor::MariaDb => &THREADS[2..],
    };
    let (name, variable) = facts.variables.first_of(names)?;
    Some((name, variable.value.parse().ok()?))
}

fn parallel(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |facts: &Facts| {
        let (name, count) = threads(facts)?;
        let mode = facts.variables.text("slave_parallel_mode").unwrap_or_default();
        let serial = facts.flavor() == Flavor::MariaDb && ["none", "minimal"].contains(&mode);
        if count > 1 && !serial {
            return None;
        }
        let mut set = Vec::new();
        let mut is = Vec::new();
        if count < 2 {
            set.extend(Mend::set(facts, name, 4));
            is.push(format!("{name} is {count}"));
        }
        if serial {
            set.extend(Mend::set(facts, "slave_parallel_mode", "optimistic"));
            is.push(format!("slave_parallel_mode is {mode}"));
        }
        let what = format!(
            "{} executes what it receives one transaction after the other: {}",
            facts.name,
            is.join(", ")
        );
        let why = "Under load it falls behind the active master without end, and its backlog is the time \
                   that a failover takes.";
        let mend = while_stopped(facts, set);
        Some(Finding::new(Severity::Warning, [&facts.name], what, why).mended_by(mend))
    };
    pair.masters().filter_map(finding).collect()
}

/// MariaDB's appliers keep the order within a domain in every mode.
fn order(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |facts: &Facts| {
        let (_, count) = threads(facts)?;
        let names = ["replica_preserve_commit_order", "slave_preserve_commit_order"];
        let (name, _) = facts.variables.first_of(&names)?;
        if facts.variables.is_on(name) || count < 2 {
            return None;
        }
        let what = format!("{} executes with {count} threads, and {name} is OFF", facts.name);
        let why = "After a crash it has gaps, and a state that the active master never had: it must not take \
                   over.";
        let mend = while_stopped(facts, Mend::set(facts, name, "ON"));
        Some(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend))
    };
    pair.masters().filter_map(finding).collect()
}

fn filters(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |(facts, following): (&Facts, &Following)| {
        let filters: Vec<(&str, &str)> = following.filters().collect();
        if filters.is_empty() {
            return None;
        }
        let told: Vec<String> =
            filters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let what = format!(
            "{} does not replicate all that {} writes: {}",
            facts.name,
            pair.source_name(following),
            told.join(", ")
        );
        let (severity, why) = if facts.is_master() {
            let why = "What it left out is gone after a failover to it.";
            (Severity::Error, why)
        } else {
            (Severity::Notice, "Readers that are sent to it do not find what it leaves out.")
        };
        let mend = unfiltered(facts, following, &filters);
        Some(Finding::new(severity, [&facts.name], what, why).mended_by(mend))
    };
    pair.channels().filter_map(finding).collect()
}

fn unfiltered(facts: &Facts, following: &Following, filters: &[(&str, &str)]) -> Vec<Mend> {
    let flavor = facts.flavor();
    let (stop, start) = match flavor {
        Flavor::MariaDb => stop_and_start(flavor, following, ""),
        Flavor::MySql => stop_and_start(flavor, following, " SQL_THREAD"),
    };
    let channel = dialect::quoted(&following.channel().name);
    let mut mend = vec![Mend::sql(&facts.name, stop)];
    for (name, _) in filters {
        mend.push(match flavor {
            Flavor::MariaDb if name.ends_with("domain_ids") => {
                let what = name.trim_start_matches("replicate_").to_ascii_uppercase();
                let change = super::pair::change(flavor, following, &format!("{what} = ()"));
                Mend::sql(&facts.name, change)
            }
            // The default connection's; a named one has its variables under its name.
            Flavor::MariaDb => {
                let of = &following.channel().name;
                let of = if of.is_empty() { String::new() } else { format!("`{of}`.") };
                Mend::sql(&facts.name, format_args!("SET GLOBAL {of}{name} = ''"))
            }
            Flavor::MySql => Mend::sql(
                &facts.name,
                format_args!(
                    "CHANGE REPLICATION FILTER {} = () FOR CHANNEL {channel}",
                    name.to_ascii_uppercase()
                ),
            ),
        });
    }
    mend.push(Mend::sql(&facts.name, start));
    mend.push(Mend::advice(format!(
        "remove the filter from my.cnf of {}, if it is there; what was left out until now is still \
         missing: tandem setup --apply --copy-from {}",
        facts.name,
        following.channel().source_host
    )));
    mend
}

fn ignored(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |(facts, following): (&Facts, &Following)| {
        let ids: BTreeSet<u32> = following
            .ignored_servers()
            .split([',', ' '])
            .filter_map(|id| id.trim().parse().ok())
            .collect();
        let of_pair: Vec<&str> = pair
            .masters()
            .filter(|master| master.name != facts.name && ids.contains(&master.server_id()))
            .map(|master| master.name.as_str())
            .collect();
        if of_pair.is_empty() {
            return None;
        }
        let what = format!("{} ignores what {} wrote", facts.name, super::pair::listed(&of_pair));
        let why = "What it ignores is gone after a failover to it.";
        let flavor = facts.flavor();
        let (stop, start) = stop_and_start(flavor, following, "");
        let change = super::pair::change(flavor, following, "IGNORE_SERVER_IDS = ()");
        let mend = [stop, change, start].map(|statement| Mend::sql(&facts.name, statement));
        Some(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend))
    };
    pair.channels().filter_map(finding).collect()
}

fn skipped(pair: Pair<'_>) -> Vec<Finding> {
    let why = "A conflict that is passed over leaves the masters with different rows, and after a failover \
               clients see the other ones.";
    let mut found = Vec::new();
    for facts in pair.facts {
        let names = ["replica_skip_errors", "slave_skip_errors"];
        if let Some((name, variable)) = facts.variables.first_of(&names)
            && !["OFF", ""].contains(&variable.value.as_str())
        {
            let what = format!("{} passes over errors: {name} = {}", facts.name, variable.value);
            let mend = match facts.flavor() {
                Flavor::MySql => Mend::set_and_restart(facts, name, "'OFF'"),
                Flavor::MariaDb => Mend::set_and_restart(facts, name, "OFF"),
            };
            found.push(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend));
        }
        let names = ["replica_exec_mode", "slave_exec_mode"];
        if let Some((name, variable)) = facts.variables.first_of(&names)
            && variable.value.eq_ignore_ascii_case("IDEMPOTENT")
        {
            let what = format!("{} passes over conflicts: {name} = IDEMPOTENT", facts.name);
            let mend = Mend::set(facts, name, "STRICT");
            found.push(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend));
        }
    }
    found
}

fn skip_counter(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |(facts, following): (&Facts, &Following)| {
        let count = following.skips();
        if count == 0 {
            return None;
        }
        let what = format!("{} is about to pass over {count} events", facts.name);
        let why = "A transaction that is not executed leaves the masters with different rows.";
        let name = match facts.flavor() {
            Flavor::MariaDb => "sql_slave_skip_counter",
            Flavor::MySql => "sql_replica_skip_counter",
        };
        let mend = Mend::sql(&facts.name, format_args!("SET GLOBAL {name} = 0"));
        Some(Finding::new(Severity::Warning, [&facts.name], what, why).mended_by([mend]))
    };
    pair.channels().filter_map(finding).collect()
}

/// The masters whose writes come over one channel.
fn over(pair: Pair<'_>, facts: &Facts, following: &Following) -> BTreeSet<String> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut next: Vec<String> =
        pair.source(following).map(|source| source.name.clone()).into_iter().collect();
    while let Some(name) = next.pop() {
        // What comes round to the server itself it drops.
        if name == facts.name || !known.insert(name.clone()) {
            continue;
        }
        let further = pair.channels().filter(|(of, _)| of.name == name);
        next.extend(further.filter_map(|(_, it)| Some(pair.source(it)?.name.clone())));
    }
    known
}

fn duplicates(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |facts: &Facts| {
        let channels = facts.channels.as_ref().ok()?;
        if facts.flavor() == Flavor::MySql || facts.variables.is_on("gtid_ignore_duplicates") {
            return None;
        }
        let mut seen = BTreeSet::new();
        let ways = channels.iter().map(|following| over(pair, facts, following));
        let twice: BTreeSet<String> =
            ways.flatten().filter(|name| !seen.insert(name.clone())).collect();
        if twice.is_empty() {
            return None;
        }
        let names: Vec<&String> = twice.iter().collect();
        let what = format!(
            "what {} writes comes to {} by several ways, and gtid_ignore_duplicates is OFF",
            super::pair::listed(&names),
            facts.name
        );
        let why =
            "It executes such a transaction once for each way: replication stops at the second.";
        let mend = while_stopped(facts, Mend::set(facts, "gtid_ignore_duplicates", "ON"));
        Some(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend))
    };
    pair.facts.iter().filter_map(finding).collect()
}
