//! What one server has executed and another has not, and cannot get.

use super::list::Check;
use super::pair::Pair;
use super::{Finding, Mend, Severity};
use crate::pair::facts::{Facts, Part};
use crate::topology::{Flavor, GtidSet, ThreadState};

const NEEDS: &[Part] = &[Part::Executed, Part::Channels];

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "stranded-transactions",
        Severity::Error,
        "what a master has committed and another one does not receive",
        stranded,
    )
    .needs(NEEDS)
    .compares(),
    Check::new(
        "errant-transactions",
        Severity::Warning,
        "what was written on a replica and is on no master",
        errant,
    )
    .needs(&[Part::Executed]),
];

/// Of what a server has executed, what it numbered itself.
fn own(facts: &Facts) -> Option<GtidSet> {
    let executed = facts.executed.as_ref().ok()?;
    let origin = match facts.flavor() {
        Flavor::MySql => Own::Source(uuid(facts)?),
        Flavor::MariaDb => Own::Domain(facts.variables.number("gtid_domain_id")?),
    };
    let text = executed.to_string();
    let mine: Vec<&str> = text.split(',').filter(|run| origin.has(run.trim())).collect();
    GtidSet::parse(facts.flavor(), &mine.join(",")).ok()
}

enum Own {
    Source(String),
    Domain(u32),
}

impl Own {
    fn has(&self, run: &str) -> bool {
        match self {
            Self::Source(uuid) => run.to_ascii_lowercase().starts_with(uuid.as_str()),
            Self::Domain(domain) => {
                run.split('-').next().and_then(|text| text.parse().ok()) == Some(*domain)
            }
        }
    }
}

fn uuid(facts: &Facts) -> Option<String> {
    facts.variables.text("server_uuid").map(str::to_ascii_lowercase)
}

/// Whether what `from` writes comes to `to` over channels that run, each receiver of them.
fn comes(pair: Pair<'_>, from: &Facts, to: &Facts) -> bool {
    let mut seen = vec![to.name.clone()];
    let mut next = vec![to.name.clone()];
    while let Some(name) = next.pop() {
        let running = pair.channels().filter(|(facts, following)| {
            facts.name == name && following.channel().io == ThreadState::Yes
        });
        for source in running.filter_map(|(_, following)| pair.source(following)) {
            if source.name == from.name {
                return true;
            }
            if !seen.contains(&source.name) {
                seen.push(source.name.clone());
                next.push(source.name.clone());
            }
        }
    }
    false
}

fn stranded(pair: Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for from in pair.masters() {
        let Some(own) = own(from) else { continue };
        for to in pair.masters().filter(|to| to.name != from.name && to.flavor() == from.flavor()) {
            let Ok(has) = &to.executed else { continue };
            let lacking = own.subtract(has);
            let purged = from.purged.as_ref().ok().map(|purged| purged.subtract(has));
            if let Some(purged) = purged.filter(|purged| !purged.is_empty()) {
                found.push(unobtainable(from, to, &purged));
            } else if !lacking.is_empty() && !comes(pair, from, to) {
                found.push(not_received(pair, from, to, &lacking));
            }
        }
    }
    found
}

fn unobtainable(from: &Facts, to: &Facts, purged: &GtidSet) -> Finding {
    let what = format!(
        "{} lacks {} that {} no longer has in its log: {}",
        to.name,
        transactions(purged),
        from.name,
        short(purged)
    );
    let why = "It can never receive them: it must not take over, and its receiver ends as soon as it \
               connects anew.";
    let mend = Mend::advice(format!(
        "seed {} anew: tandem setup --apply --copy-from {}",
        to.name, from.name
    ));
    Finding::new(Severity::Error, [&to.name, &from.name], what, why).mended_by([mend])
}

fn not_received(pair: Pair<'_>, from: &Facts, to: &Facts, lacking: &GtidSet) -> Finding {
    let what = format!(
        "{} does not have, and does not receive, {} that {} committed: {}",
        to.name,
        transactions(lacking),
        from.name,
        short(lacking)
    );
    let why = "If that machine is lost they are lost with it, and after a failover they are stranded there.";
    let start = pair
        .channels()
        .filter(|(facts, following)| {
            facts.name == to.name && following.channel().io != ThreadState::Yes
        })
        .map(|(facts, following)| {
            let (_, start) = super::pair::stop_and_start(facts.flavor(), following, "");
            Mend::sql(&facts.name, start)
        });
    Finding::new(Severity::Error, [&from.name, &to.name], what, why).mended_by(start)
}

/// "1 transaction", "7 transactions".
fn transactions(set: &GtidSet) -> String {
    let count = usize::try_from(set.count()).unwrap_or(usize::MAX);
    super::pair::counted(count, "transaction", "transactions")
}

/// For people: the beginning of a long set.
fn short(set: &GtidSet) -> String {
    const LONGEST: usize = 120;
    let text = set.to_string();
    if text.len() <= LONGEST {
        return text;
    }
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= LONGEST).last();
    format!("{}…", &text[..end.unwrap_or(0)])
}

fn errant(pair: Pair<'_>) -> Vec<Finding> {
    let masters = || pair.masters().filter_map(|facts| facts.executed.as_ref().ok());
    if masters().count() < pair.masters().count() || pair.masters().count() == 0 {
        return Vec::new();
    }
    let finding = |facts: &Facts| {
        let theirs = written_here(facts)?;
        let errant = masters().fold(theirs, |left, master| left.subtract(master));
        if errant.is_empty() {
            return None;
        }
        let what = format!(
            "the replica {} has {} that no master has: {}",
            facts.name,
            transactions(&errant),
            short(&errant)
        );
        let why = "Its rows differ from the masters', and reads that are sent there may tell what never was.";
        let mend = Mend::advice(format!(
            "make it read_only and seed it anew: tandem setup --apply --copy-from {}",
            pair.active().map_or("m1", |active| &active.name)
        ));
        Some(Finding::new(Severity::Warning, [&facts.name], what, why).mended_by([mend]))
    };
    pair.facts.iter().filter(|facts| !facts.is_master()).filter_map(finding).collect()
}

/// What a replica wrote itself. In MariaDB's log a transaction bears the id of the server that wrote it:
/// `gtid_binlog_state` has the last of each.
fn written_here(facts: &Facts) -> Option<GtidSet> {
    match facts.flavor() {
        Flavor::MySql => own(facts),
        Flavor::MariaDb => {
            let state = facts.variables.text("gtid_binlog_state")?;
            let id = facts.server_id().to_string();
            let of_id = |run: &&str| run.trim().split('-').nth(1) == Some(id.as_str());
            let mine: Vec<String> = state
                .split(',')
                .filter(of_id)
                .filter_map(|run| {
                    // One transaction: those before it in the domain may be a master's.
                    let number = run.trim().rsplit('-').next()?;
                    Some(format!("{}..{number}", run.trim()))
                })
                .collect();
            GtidSet::parse(Flavor::MariaDb, &mine.join(",")).ok()
        }
    }
}
