//! Every check, and the run over all of them.

use serde::Serialize;

use super::pair::Pair;
use super::{Expectations, Finding, Severity};
use super::{
    appliers, binary_log, durability, keys, likeness, position, replication, semi_sync, servers,
    surroundings, writability,
};
use crate::pair::facts::{Facts, Part, Unseen};

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name, which stays: scripts and metrics know it by that.
    pub name: &'static str,
    /// What it finds, for the page for people (`docs/check.md`).
    pub finds: &'static str,
    /// The gravest that it says.
    pub worst: Severity,
    /// What it must see of every server.
    pub(super) needs: &'static [Part],
    /// Whether two looks at servers that are written to meanwhile may differ by themselves: such a finding
    /// counts when the second look has it, too.
    pub(super) compares: bool,
    pub(super) find: fn(Pair<'_>) -> Vec<Finding>,
}

impl Check {
    pub(super) const fn new(
        name: &'static str,
        worst: Severity,
        finds: &'static str,
        find: fn(Pair<'_>) -> Vec<Finding>,
    ) -> Self {
        Self { name, finds, worst, needs: &[], compares: false, find }
    }

    pub(super) const fn needs(self, needs: &'static [Part]) -> Self {
        Self { needs, ..self }
    }

    pub(super) const fn compares(self) -> Self {
        Self { compares: true, ..self }
    }
}

/// The families, in the order in which an operator wants to read of them.
const FAMILIES: [&[Check]; 11] = [
    servers::CHECKS,
    replication::CHECKS,
    writability::CHECKS,
    position::CHECKS,
    keys::CHECKS,
    binary_log::CHECKS,
    appliers::CHECKS,
    durability::CHECKS,
    semi_sync::CHECKS,
    likeness::CHECKS,
    surroundings::CHECKS,
];

/// Every check.
pub fn all() -> impl Iterator<Item = &'static Check> {
    FAMILIES.into_iter().flatten()
}

/// The check with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Check> {
    all().find(|check| check.name == name)
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blind {
    /// Where.
    pub server: String,
    /// What: "tables".
    pub what: String,
    /// Why.
    pub why: String,
    /// The statement that would show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The checks that said nothing of this server for that reason.
    pub checks: Vec<&'static str>,
}

/// What all checks came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How many checks were run.
    pub checks: usize,
    /// On which servers.
    pub servers: Vec<String>,
    /// What is not as it should be, the gravest first.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub not_seen: Vec<Blind>,
}

impl Verdict {
    /// Whether something in it may have been on its way only.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.findings.iter().any(passing)
    }

    /// This second look, without what may be on its way and the first one did not have.
    #[must_use]
    pub fn confirming(mut self, first: &Self) -> Self {
        let before = |finding: &Finding| {
            let same = |other: &Finding| {
                (other.check, &other.servers) == (finding.check, &finding.servers)
            };
            first.findings.iter().any(same)
        };
        self.findings.retain(|finding| !passing(finding) || before(finding));
        self
    }

    /// The gravest of the findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// Compares what the servers say with each other and with what they should be.
#[must_use]
pub fn check(facts: &[Facts], expected: &Expectations) -> Verdict {
    Verdict {
        checks: all().count(),
        servers: facts.iter().map(|facts| facts.name.clone()).collect(),
        findings: findings(facts, expected),
        not_seen: not_seen(facts),
    }
}

/// What is not as it should be, the gravest first.
#[must_use]
pub fn findings(facts: &[Facts], expected: &Expectations) -> Vec<Finding> {
    let pair = Pair { facts, expected };
    let of = |check: &'static Check| {
        (check.find)(pair).into_iter().map(|finding| Finding { check: check.name, ..finding })
    };
    let mut found: Vec<Finding> = all().flat_map(of).collect();
    // Stable: within a severity they stay in the order of the list.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

fn passing(finding: &Finding) -> bool {
    by_name(finding.check).is_some_and(|check| check.compares)
}

fn not_seen(facts: &[Facts]) -> Vec<Blind> {
    let mut blind: Vec<Blind> = Vec::new();
    for server in facts {
        let mut parts: Vec<Part> = all().flat_map(|check| check.needs).copied().collect();
        parts.sort_unstable();
        parts.dedup();
        for part in parts {
            let Some(unseen) = server.unseen(part) else { continue };
            if *unseen == Unseen::NotAsked {
                continue;
            }
            let checks = all().filter(|check| check.needs.contains(&part));
            blind.push(Blind {
                server: server.name.clone(),
                what: part.to_string(),
                why: unseen.to_string(),
                grant: unseen.grant().map(|grant| format!("{grant};")),
                checks: checks.map(|check| check.name).collect(),
            });
        }
    }
    blind
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_for_people_has_every_check_and_no_other() {
        let page = include_str!("../../../docs/check.md");
        let shown: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `") && line.matches('|').count() >= 4)
            .collect();
        let listed: Vec<String> = all()
            .map(|check| format!("| `{}` | {} | {} |", check.name, check.worst, check.finds))
            .collect();
        assert_eq!(shown, listed);
    }

    #[test]
    fn no_name_is_given_twice() {
        let names: BTreeSet<&str> = all().map(|check| check.name).collect();
        assert_eq!(names.len(), all().count());
    }
}
