//! That every master has the same schemas, users and grants: after a failover clients find what they
//! left.

use std::collections::{BTreeMap, BTreeSet};

use super::list::Check;
use super::pair::{Pair, few, listed, quoted};
use super::{Finding, Mend, Severity};
use crate::pair::facts::{AccountFacts, Facts, Part, Table};
use crate::topology::Flavor;
use crate::topology::grants::quoted_account;

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "schemas-equal",
        Severity::Error,
        "tables and views that a server lacks, or has otherwise",
        schemas,
    )
    .needs(&[Part::Tables])
    .compares(),
    Check::new("accounts-equal", Severity::Error, "accounts that a master lacks", accounts)
        .needs(&[Part::Accounts])
        .compares(),
    Check::new(
        "grants-equal",
        Severity::Warning,
        "accounts that may do other things on another master, or have another password",
        grants,
    )
    .needs(&[Part::Accounts, Part::Grants])
    .compares(),
];

/// Whom the others are compared with.
fn reference(pair: Pair<'_>) -> Option<&Facts> {
    pair.active().or_else(|| pair.masters().next())
}

fn schemas(pair: Pair<'_>) -> Vec<Finding> {
    let Some(reference) = reference(pair) else { return Vec::new() };
    let Ok(shall) = &reference.tables else { return Vec::new() };
    let mut found = Vec::new();
    for facts in pair.facts.iter().filter(|facts| facts.name != reference.name) {
        let Ok(is) = &facts.tables else { continue };
        let keys = |one: &BTreeMap<(String, String), Table>| one.keys().cloned().collect();
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (keys(&shall.tables), keys(&is.tables));
        let lacking: Vec<_> = ours.difference(&theirs).collect();
        let surplus: Vec<_> = theirs.difference(&ours).collect();
        let why = "Replication stops at the first write to what is not there, and after a failover clients \
                   do not find it.";
        let severity = if facts.is_master() { Severity::Error } else { Severity::Warning };
        for (with, without, names) in [(reference, facts, lacking), (facts, reference, surplus)] {
            if names.is_empty() {
                continue;
            }
            let told: Vec<String> = names.iter().map(|(s, t)| format!("{s}.{t}")).collect();
            let what = format!("{} lacks {}, which {} has", without.name, few(&told), with.name);
            let mend = names.iter().take(10).flat_map(|name| copy_table(with, without, name));
            found.push(
                Finding::new(severity, [&without.name, &with.name], what, why).mended_by(mend),
            );
        }
        found.extend(differences(reference, facts, severity));
    }
    found
}

fn copy_table(from: &Facts, to: &Facts, (schema, table): &(String, String)) -> Vec<Mend> {
    let mut steps = Vec::new();
    let known = to.tables.iter().flat_map(|all| all.tables.keys()).any(|(one, _)| one == schema);
    if !known {
        let create = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(schema));
        steps.extend(Mend::unlogged(&to.name, [create]));
    }
    let base = from.tables.iter().flat_map(|all| all.tables.get(&(schema.clone(), table.clone())));
    let kind = if base.into_iter().all(Table::is_base) { "TABLE" } else { "VIEW" };
    steps.push(Mend::Copy {
        from: from.name.clone(),
        show: format!("SHOW CREATE {kind} {}.{};", quoted(schema), quoted(table)),
        to: to.name.clone(),
    });
    steps
}

fn differences(reference: &Facts, facts: &Facts, severity: Severity) -> Option<Finding> {
    let (shall, is) = (reference.tables.as_ref().ok()?, facts.tables.as_ref().ok()?);
    let mut told = Vec::new();
    let mut first = None;
    for (name, ours) in &shall.tables {
        let Some(theirs) = is.tables.get(name) else { continue };
        if let Some(how) = difference(ours, theirs, &reference.name, &facts.name) {
            first.get_or_insert(name);
            told.push(format!("{}.{} ({how})", name.0, name.1));
        }
    }
    let (schema, table) = first?;
    let what = format!("{} and {} have different {}", reference.name, facts.name, few(&told));
    let why =
        "A row of the one may not fit into the other: replication stops, or keeps something else.";
    let show = format!("SHOW CREATE TABLE {}.{}", quoted(schema), quoted(table));
    let mend = Mend::advice(format!(
        "compare what both answer to {show}; change the one that is wrong with ALTER TABLE, after SET SESSION \
         sql_log_bin = 0"
    ));
    Some(Finding::new(severity, [&reference.name, &facts.name], what, why).mended_by([mend]))
}

/// What is different first; `None` for nothing.
fn difference(ours: &Table, theirs: &Table, our: &str, their: &str) -> Option<String> {
    for column in &ours.columns {
        let Some(other) = theirs.columns.iter().find(|other| other.name == column.name) else {
            return Some(format!("{their} has no column {}", column.name));
        };
        let tell = |one: &crate::pair::facts::Column| format!("{} {}", one.column_type, one.rest);
        if tell(column) != tell(other) {
            return Some(format!("{}: {} / {}", column.name, tell(column), tell(other)));
        }
    }
    let extra = |column: &&crate::pair::facts::Column| {
        !ours.columns.iter().any(|other| other.name == column.name)
    };
    if let Some(column) = theirs.columns.iter().find(extra) {
        return Some(format!("{our} has no column {}", column.name));
    }
    if ours.columns != theirs.columns {
        return Some("the order of the columns".to_owned());
    }
    if ours.engine != theirs.engine {
        return Some(format!("engine {} / {}", ours.engine, theirs.engine));
    }
    let key = |keys: &BTreeMap<String, crate::pair::facts::TableKey>,
               others: &BTreeMap<String, crate::pair::facts::TableKey>| {
        keys.iter().find(|(name, key)| others.get(*name) != Some(key)).map(|(name, _)| name.clone())
    };
    let name = key(&ours.keys, &theirs.keys).or_else(|| key(&theirs.keys, &ours.keys))?;
    Some(format!("key {name}"))
}

fn by_name(facts: &Facts) -> BTreeMap<&str, &AccountFacts> {
    facts.accounts.iter().flatten().map(|account| (account.name.as_str(), account)).collect()
}

/// The statements that make an account here as it is there.
fn copy_account(from: &Facts, to: &Facts, account: &str) -> Vec<Mend> {
    let name = quoted_account(account);
    let copy = |show: String| Mend::Copy { from: from.name.clone(), show, to: to.name.clone() };
    let mut steps = Vec::new();
    // A role of MariaDB's, which has no host, is shown by its grants only.
    if account.ends_with('@') && from.flavor() == Flavor::MariaDb {
        steps.extend(Mend::unlogged(&to.name, [format!("CREATE ROLE {name}")]));
    } else {
        steps.push(copy(format!("SHOW CREATE USER {name};")));
    }
    steps.push(copy(format!("SHOW GRANTS FOR {name};")));
    steps
}

fn accounts(pair: Pair<'_>) -> Vec<Finding> {
    let Some(reference) = reference(pair) else { return Vec::new() };
    if reference.accounts.is_err() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for facts in pair.masters().filter(|facts| facts.name != reference.name) {
        if facts.accounts.is_err() {
            continue;
        }
        for (with, without) in [(reference, facts), (facts, reference)] {
            let has = by_name(without);
            let lacking: Vec<&str> =
                by_name(with).into_keys().filter(|name| !has.contains_key(name)).collect();
            if lacking.is_empty() {
                continue;
            }
            let told: Vec<String> = lacking.iter().map(|name| quoted_account(name)).collect();
            let what =
                format!("{} has no account {}, which {} has", without.name, few(&told), with.name);
            let why = "Whoever logs in with it is refused as soon as that master is active.";
            let mend = lacking.iter().take(10).flat_map(|name| copy_account(with, without, name));
            let names = [&without.name, &with.name];
            found.push(Finding::new(Severity::Error, names, what, why).mended_by(mend));
        }
    }
    found
}

fn grants(pair: Pair<'_>) -> Vec<Finding> {
    let Some(reference) = reference(pair) else { return Vec::new() };
    let mut found = Vec::new();
    for facts in pair.masters().filter(|facts| facts.name != reference.name) {
        let (ours, theirs) = (by_name(reference), by_name(facts));
        let differs = |(name, account): (&&str, &&AccountFacts)| {
            let other = theirs.get(name)?;
            let how = unlike(account, other).or_else(|| {
                let (ours, theirs) = (reference.grants.as_ref().ok()?, facts.grants.as_ref().ok()?);
                let differ = ours.rows.get(*name) != theirs.rows.get(*name);
                differ.then(|| "grants".to_owned())
            })?;
            Some(((*name).to_owned(), how))
        };
        let different: Vec<(String, String)> = ours.iter().filter_map(differs).collect();
        if different.is_empty() {
            continue;
        }
        let told: Vec<String> = different
            .iter()
            .map(|(name, how)| format!("{} ({how})", quoted_account(name)))
            .collect();
        let what =
            format!("{} are not alike: {}", listed(&[&reference.name, &facts.name]), few(&told));
        let why = "What an application may do, or its password, changes with a failover.";
        let mend = different.iter().take(10).flat_map(|(name, _)| {
            let drop = format!("DROP USER {}", quoted_account(name));
            let drop = if name.ends_with('@') { drop.replace("USER", "ROLE") } else { drop };
            let mut steps = Mend::unlogged(&facts.name, [drop]);
            steps.extend(copy_account(reference, facts, name));
            steps
        });
        let names = [&reference.name, &facts.name];
        found.push(Finding::new(Severity::Warning, names, what, why).mended_by(mend));
    }
    found
}

/// In what two rows of an account differ.
fn unlike(ours: &AccountFacts, theirs: &AccountFacts) -> Option<String> {
    let names: BTreeSet<&String> = ours.attributes.keys().chain(theirs.attributes.keys()).collect();
    let differ: Vec<&str> = names
        .into_iter()
        .filter(|name| ours.attributes.get(*name) != theirs.attributes.get(*name))
        .map(|name| if name == "access" { "privileges" } else { name.as_str() })
        .collect();
    (!differ.is_empty()).then(|| differ.join(", "))
}
