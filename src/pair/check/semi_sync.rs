//! Semi-synchronous replication: a choice, but one that both masters must have made.

use super::list::Check;
use super::pair::{Pair, listed};
use super::{Finding, Mend, Severity};
use crate::pair::facts::{Facts, Part};
use crate::topology::Flavor;

pub(super) const CHECKS: &[Check] = &[
    Check::new("semi-sync-off", Severity::Notice, "replication that is not semi-synchronous", off),
    Check::new(
        "semi-sync-half",
        Severity::Warning,
        "semi-synchronous replication that is switched on in part only",
        half,
    ),
    Check::new(
        "semi-sync-fell-back",
        Severity::Warning,
        "an active master that has given up waiting for an acknowledgement",
        fell_back,
    )
    .needs(&[Part::Status])
    .compares(),
    Check::new(
        "semi-sync-wait-point",
        Severity::Warning,
        "AFTER_COMMIT: others see what the standby does not have",
        wait_point,
    ),
];

/// Both ends of it, by the names of the server at hand. MySQL has them when the plugins are loaded.
const SENDER: [&str; 2] = ["rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"];
const RECEIVER: [&str; 2] = ["rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled"];

fn is_on(facts: &Facts, names: [&str; 2]) -> bool {
    facts.variables.first_of(&names).is_some_and(|(name, _)| facts.variables.is_on(name))
}

fn switch_on(facts: &Facts, names: [&'static str; 2]) -> Vec<Mend> {
    match facts.variables.first_of(&names) {
        Some((name, _)) => Mend::set(facts, name, "ON"),
        // MySQL without the plugin (the names since 8.0.26).
        None => {
            let (plugin, file) = if names[0].contains("source") {
                ("rpl_semi_sync_source", "semisync_source.so")
            } else {
                ("rpl_semi_sync_replica", "semisync_replica.so")
            };
            let install = format!("INSTALL PLUGIN {plugin} SONAME '{file}'");
            let mut steps = vec![Mend::sql(&facts.name, install)];
            steps.extend(Mend::set(facts, names[0], "ON"));
            steps
        }
    }
}

fn off(pair: Pair<'_>) -> Vec<Finding> {
    let on = |facts: &Facts| is_on(facts, SENDER) || is_on(facts, RECEIVER);
    if pair.masters().count() < 2 || pair.masters().any(on) {
        return Vec::new();
    }
    let masters: Vec<&str> = pair.masters().map(|facts| facts.name.as_str()).collect();
    let what = format!("{} replicate asynchronously", listed(&masters));
    let why = "It is faster, and a crash may lose writes that clients were told of: those that the standby \
               had not received. Tandem lists them.";
    let mend = Mend::advice("if that must not be: tandem setup --semi-sync --apply (docs/pair.md)");
    vec![Finding::new(Severity::Notice, masters, what, why).mended_by([mend])]
}

fn half(pair: Pair<'_>) -> Vec<Finding> {
    let on: Vec<&Facts> =
        pair.masters().filter(|facts| is_on(facts, SENDER) || is_on(facts, RECEIVER)).collect();
    if on.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for facts in pair.masters() {
        let (sender, receiver) = (is_on(facts, SENDER), is_on(facts, RECEIVER));
        let mut mend = Vec::new();
        let mut lacks = Vec::new();
        if !sender {
            lacks.push("does not wait for acknowledgements");
            mend.extend(switch_on(facts, SENDER));
        }
        if !receiver {
            lacks.push("does not give any");
            mend.extend(switch_on(facts, RECEIVER));
            // A receiver says at its login whether it will.
            for following in facts.channels.iter().flatten() {
                let (stop, start) =
                    super::pair::stop_and_start(facts.flavor(), following, " IO_THREAD");
                mend.extend([Mend::sql(&facts.name, stop), Mend::sql(&facts.name, start)]);
            }
        }
        if lacks.is_empty() {
            continue;
        }
        let what = format!(
            "semi-synchronous replication is switched on, but {} {}",
            facts.name,
            listed(&lacks)
        );
        let why = "Whichever master is active, its writes must be acknowledged by the other: half of it \
                   protects until the first failover, or not at all.";
        found.push(Finding::new(Severity::Warning, [&facts.name], what, why).mended_by(mend));
    }
    found
}

fn fell_back(pair: Pair<'_>) -> Vec<Finding> {
    let Some(active) = pair.active() else { return Vec::new() };
    let Ok(status) = &active.status else { return Vec::new() };
    let state = ["rpl_semi_sync_source_status", "rpl_semi_sync_master_status"]
        .iter()
        .find_map(|name| status.get(*name));
    if !is_on(active, SENDER) || state.is_none_or(|state| state == "ON") {
        return Vec::new();
    }
    let clients = ["rpl_semi_sync_source_clients", "rpl_semi_sync_master_clients"]
        .iter()
        .find_map(|name| status.get(*name))
        .map_or("0", String::as_str);
    let what = format!(
        "{} is to wait for acknowledgements and does not ({clients} receivers would give one)",
        active.name
    );
    let why = "A write that is acknowledged to a client is on one machine only.";
    let mend = Mend::advice(
        "it goes on by itself when a receiver that gives acknowledgements has caught up: look at the \
         replication of the standby",
    );
    vec![Finding::new(Severity::Warning, [&active.name], what, why).mended_by([mend])]
}

fn wait_point(pair: Pair<'_>) -> Vec<Finding> {
    let names = ["rpl_semi_sync_source_wait_point", "rpl_semi_sync_master_wait_point"];
    let finding = |facts: &Facts| {
        let (name, variable) = facts.variables.first_of(&names)?;
        if !is_on(facts, SENDER) || variable.value == "AFTER_SYNC" {
            return None;
        }
        let what = format!("{name} of {} is {}", facts.name, variable.value);
        let why = "Others see a write before the standby has it; after a failover it is gone, and what was \
                   built upon it is not.";
        let value = match facts.flavor() {
            Flavor::MariaDb | Flavor::MySql => "AFTER_SYNC",
        };
        let mend = Mend::set(facts, name, format_args!("'{value}'"));
        Some(Finding::new(Severity::Warning, [&facts.name], what, why).mended_by(mend))
    };
    pair.masters().filter_map(finding).collect()
}
