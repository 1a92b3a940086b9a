//! Who takes writes: one master, and that one because Tandem opened it.

use super::list::Check;
use super::pair::{Pair, listed};
use super::{Finding, Mend, Severity};
use crate::pair::facts::{AccountFacts, AfterRestart, Facts, Grants, Part, is_on};
use crate::topology::Flavor;
use crate::topology::grants::quoted_account;

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "standby-writable",
        Severity::Error,
        "a master that takes writes beside the active one",
        standby,
    )
    .needs(&[Part::Term])
    .compares(),
    Check::new("replica-writable", Severity::Warning, "a replica that takes writes", replicas),
    Check::new("nobody-writable", Severity::Notice, "no master that takes writes", nobody),
    Check::new(
        "read-only-at-start",
        Severity::Warning,
        "a master that takes writes as soon as it is started",
        at_start,
    ),
    Check::new(
        "writes-past-read-only",
        Severity::Warning,
        "an account that writes while `read_only` keeps the others from it; a notice where it \
         administers (`CREATE USER`)",
        past_read_only,
    )
    .needs(&[Part::Accounts, Part::Grants]),
    Check::new(
        "events-twice",
        Severity::Warning,
        "an event that is enabled on two masters",
        events,
    )
    .needs(&[Part::Events]),
];

fn close(facts: &Facts) -> Mend {
    let name = match facts.flavor() {
        Flavor::MariaDb => "read_only",
        Flavor::MySql => "super_read_only",
    };
    Mend::sql(&facts.name, format_args!("SET GLOBAL {name} = ON"))
}

fn standby(pair: Pair<'_>) -> Vec<Finding> {
    let writable: Vec<&Facts> = pair.masters().filter(|facts| !facts.is_read_only()).collect();
    let active = pair.active();
    let others: Vec<&Facts> = writable
        .iter()
        .filter(|facts| active.is_none_or(|active| active.name != facts.name))
        .copied()
        .collect();
    if others.is_empty() || active.is_none() && writable.len() < 2 || !pair.expected.fenced {
        return Vec::new();
    }
    let names: Vec<&str> = others.iter().map(|facts| facts.name.as_str()).collect();
    let what = match active {
        Some(active) => {
            format!("{} takes writes although {} is active", listed(&names), active.name)
        }
        None => format!("{} take writes, and it is not known which is active", listed(&names)),
    };
    let why = "Whoever writes there changes rows that the active master changes, too: replication \
               stops at the first conflict, or both keep different rows.";
    let closing = if active.is_some() { &others[..] } else { &others[1..] };
    let mend = closing.iter().map(|facts| close(facts));
    vec![Finding::new(Severity::Error, names, what, why).mended_by(mend)]
}

fn replicas(pair: Pair<'_>) -> Vec<Finding> {
    let writable = pair.facts.iter().filter(|facts| !facts.is_master() && !facts.is_read_only());
    let finding = |facts: &Facts| {
        let what = format!("the replica {} takes writes", facts.name);
        let why =
            "What is written there is nowhere else, and readers get it as if it were the truth.";
        let mend = Mend::set(facts, "read_only", "ON");
        Finding::new(Severity::Warning, [&facts.name], what, why).mended_by(mend)
    };
    writable.map(finding).collect()
}

fn nobody(pair: Pair<'_>) -> Vec<Finding> {
    let masters: Vec<&str> = pair.masters().map(|facts| facts.name.as_str()).collect();
    if masters.is_empty() || pair.masters().any(|facts| !facts.is_read_only()) {
        return Vec::new();
    }
    let what = format!("{} are all read_only", listed(&masters));
    let why = "So it is before a proxy is started, and while one holds: it is the proxy that opens \
               one of them.";
    vec![Finding::new(Severity::Notice, masters, what, why)]
}

fn at_start(pair: Pair<'_>) -> Vec<Finding> {
    if !pair.expected.fenced {
        return Vec::new();
    }
    let writable = pair.masters().filter(|facts| {
        let read_only = facts.variables.get("read_only");
        matches!(read_only.map(|it| it.after_restart()), Some(AfterRestart::Value(value)) if !is_on(value))
    });
    let finding = |facts: &Facts| {
        let what = format!("{} takes writes as soon as it is started", facts.name);
        let why = "A master that crashed and comes back is written to by whoever still points at it, \
                   before Tandem has fenced it.";
        let mend = match facts.flavor() {
            // Without changing it now: this may be the active master.
            Flavor::MySql => Mend::sql(&facts.name, "SET PERSIST_ONLY read_only = ON"),
            Flavor::MariaDb => Mend::config(&facts.name, "read_only = ON"),
        };
        Finding::new(Severity::Warning, [&facts.name], what, why).mended_by([mend])
    };
    writable.map(finding).collect()
}

/// Accounts of the servers themselves, and administrators who come from the machine itself.
fn is_expected(account: &str, pair: Pair<'_>, facts: &Facts) -> bool {
    let (user, host) = account.rsplit_once('@').unwrap_or((account, ""));
    let local = ["localhost", "127.0.0.1", "::1"].contains(&host);
    let of_server = user.starts_with("mysql.") || user == "mariadb.sys";
    let admin = ["root", "mysql", "debian-sys-maint", "mariadb"].contains(&user);
    of_server || admin && local || user == pair.expected.monitor || account == facts.account
}

/// An account that writes past `read_only`.
#[derive(Debug)]
struct Exempt<'a> {
    account: &'a str,
    administers: bool,
    privilege: &'static str,
    /// Itself, or the role that has the privilege.
    by: String,
    servers: Vec<&'a str>,
}

/// The privilege with which an account writes past `read_only`, by itself or through a role of its.
fn privilege(
    account: &AccountFacts,
    all: &[AccountFacts],
    grants: &Grants,
) -> Option<(&'static str, String)> {
    let mut names = vec![account.name.clone()];
    let mut next = 0;
    while let Some(name) = names.get(next).cloned() {
        next += 1;
        let own = all.iter().find(|one| one.name == name).and_then(|one| one.past_read_only);
        if let Some(privilege) = own.or_else(|| grants.past_read_only.get(&name).copied()) {
            return Some((privilege, name));
        }
        let roles = grants.roles.get(&name).into_iter().flatten().cloned();
        let new: Vec<String> = roles.filter(|role| !names.contains(role)).collect();
        names.extend(new);
    }
    None
}

fn exempt(pair: Pair<'_>) -> Vec<Exempt<'_>> {
    let mut found: Vec<Exempt<'_>> = Vec::new();
    for facts in pair.masters() {
        let (Ok(accounts), Ok(grants)) = (&facts.accounts, &facts.grants) else { continue };
        let used =
            accounts.iter().filter(|one| !one.unused && !is_expected(&one.name, pair, facts));
        for account in used {
            let Some((privilege, by)) = privilege(account, accounts, grants) else { continue };
            match found.iter_mut().find(|known| known.account == account.name) {
                Some(known) => {
                    known.servers.push(&facts.name);
                    known.administers &= account.administers;
                }
                None => found.push(Exempt {
                    account: &account.name,
                    administers: account.administers,
                    privilege,
                    by,
                    servers: vec![&facts.name],
                }),
            }
        }
    }
    found
}

fn past_read_only(pair: Pair<'_>) -> Vec<Finding> {
    let (administrators, others): (Vec<_>, Vec<_>) =
        exempt(pair).into_iter().partition(|exempt| exempt.administers);
    let mut findings: Vec<Finding> = others.into_iter().map(unfenced).collect();
    // Those of the same servers are told together.
    let mut groups: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for one in administrators {
        let account = quoted_account(one.account);
        match groups.iter_mut().find(|(servers, _)| *servers == one.servers) {
            Some((_, accounts)) => accounts.push(account),
            None => groups.push((one.servers, vec![account])),
        }
    }
    findings.extend(
        groups.into_iter().map(|(servers, accounts)| administrators_of(servers, &accounts)),
    );
    findings
}

fn unfenced(one: Exempt<'_>) -> Finding {
    let Exempt { account, privilege, by, servers, .. } = one;
    let through = if by == account {
        String::new()
    } else {
        format!(", through the role {}", quoted_account(&by))
    };
    let what = format!(
        "{} may write past read_only on {} (it has {privilege}{through})",
        quoted_account(account),
        listed(&servers)
    );
    let why =
        "read_only is what keeps a pair from having two writers, and it does not stop this one.";
    let revoke = format!("REVOKE {privilege} ON *.* FROM {}", quoted_account(&by));
    // On each by itself: one that is behind, or has the account from elsewhere, is reached too.
    let mend: Vec<Mend> =
        servers.iter().flat_map(|server| Mend::unlogged(server, [revoke.clone()])).collect();
    Finding::new(Severity::Warning, servers, what, why).mended_by(mend)
}

/// Nothing is to be revoked: whoever makes accounts would give it back to himself.
fn administrators_of(servers: Vec<&str>, accounts: &[String]) -> Finding {
    let names: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let what = format!(
        "{} may write past read_only on {}, as administrators do",
        listed(&names),
        listed(&servers)
    );
    let why = "read_only does not stop an application that logs in as an administrator.";
    Finding::new(Severity::Notice, servers, what, why)
        .mended_by([Mend::advice("give each application an account without CREATE USER and SUPER")])
}

fn events(pair: Pair<'_>) -> Vec<Finding> {
    let runs = |facts: &&Facts| facts.variables.is_on("event_scheduler");
    let running: Vec<&Facts> = pair.masters().filter(runs).collect();
    let enabled = |facts: &Facts, schema: &str, name: &str| {
        facts.events.iter().flatten().any(|it| it.enabled && it.schema == schema && it.name == name)
    };
    let mut found = Vec::new();
    for (at, facts) in running.iter().enumerate() {
        for event in facts.events.iter().flatten().filter(|event| event.enabled) {
            let has = |other: &&&Facts| enabled(other, &event.schema, &event.name);
            // Told where it is found first.
            let first = !running[..at].iter().any(|other| has(&other));
            let with: Vec<&Facts> = running.iter().filter(has).copied().collect();
            if first && with.len() > 1 {
                found.push(twice(pair, &event.schema, &event.name, &with));
            }
        }
    }
    found
}

fn twice(pair: Pair<'_>, schema: &str, name: &str, with: &[&Facts]) -> Finding {
    let names: Vec<&str> = with.iter().map(|facts| facts.name.as_str()).collect();
    let what = format!("the event {schema}.{name} is enabled on {}", listed(&names));
    let why = "It runs on each of them: what it writes is written twice, or fails under read_only.";
    let keep = pair.active().map_or(with[0].name.as_str(), |active| active.name.as_str());
    let event = format!("{}.{}", super::pair::quoted(schema), super::pair::quoted(name));
    let mend = with.iter().filter(|facts| facts.name != keep).flat_map(|facts| {
        let on = match facts.flavor() {
            Flavor::MySql if facts.dialect.version >= (8, 2, 0) => "REPLICA",
            _ => "SLAVE",
        };
        Mend::unlogged(&facts.name, [format!("ALTER EVENT {event} DISABLE ON {on}")])
    });
    Finding::new(Severity::Warning, names, what, why).mended_by(mend)
}
