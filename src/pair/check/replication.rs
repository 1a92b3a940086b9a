//! Who receives from whom, and whether it does.

use std::collections::BTreeSet;
use std::time::Duration;

use super::list::Check;
use super::pair::{Pair, change, listed, stop_and_start};
use super::{Finding, Mend, Severity};
use crate::pair::dialect;
use crate::pair::facts::{Facts, Following, Part};
use crate::topology::{Flavor, ThreadState};

const NEEDS: &[Part] = &[Part::Channels];

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "replication-source",
        Severity::Error,
        "a master or a replica that follows nobody",
        without_source,
    )
    .needs(NEEDS),
    Check::new(
        "replication-ring",
        Severity::Error,
        "a master that does not receive, by whatever way, what another one writes",
        ring,
    )
    .needs(NEEDS),
    Check::new(
        "replication-stranger",
        Severity::Warning,
        "a server that follows one which is not in the configuration",
        strangers,
    )
    .needs(NEEDS),
    Check::new(
        "replication-receiver",
        Severity::Error,
        "`Slave_IO_Running` (`Replica_IO_Running`) that is not `Yes`",
        receivers,
    )
    .needs(NEEDS)
    .compares(),
    Check::new(
        "replication-applier",
        Severity::Error,
        "`Slave_SQL_Running` (`Replica_SQL_Running`) that is not `Yes`",
        appliers,
    )
    .needs(NEEDS)
    .compares(),
    Check::new(
        "replication-lag",
        Severity::Error,
        "a standby that is behind, by the heartbeat row of the active master, or by what it says itself",
        lag,
    )
    .needs(&[Part::Channels, Part::Beats])
    .compares(),
    Check::new(
        "replication-delay",
        Severity::Error,
        "a master that is delayed on purpose (`MASTER_DELAY`)",
        delays,
    )
    .needs(NEEDS),
    Check::new(
        "replication-heartbeat",
        Severity::Warning,
        "a receiver that asks for heartbeats seldom, or not at all",
        heartbeats,
    )
    .needs(NEEDS),
    Check::new(
        "replication-retries",
        Severity::Warning,
        "a receiver that gives up within a day when its source is away",
        retries,
    )
    .needs(NEEDS),
    Check::new(
        "replication-gtid",
        Severity::Error,
        "a receiver that follows by file and position",
        positions,
    )
    .needs(NEEDS),
];

fn without_source(pair: Pair<'_>) -> Vec<Finding> {
    let lonely = pair.facts.iter().filter(|facts| {
        facts.channels.as_ref().is_ok_and(Vec::is_empty)
            && (!facts.is_master() || pair.master_count() > 1)
    });
    let finding = |facts: &Facts| {
        let (severity, why) = if facts.is_master() {
            let why = "What the other masters write never arrives here: it cannot take over.";
            (Severity::Error, why)
        } else {
            (Severity::Error, "Its rows grow older and older, and it cannot serve reads.")
        };
        let mend = Mend::advice("tandem setup --apply: it tells every server whom to follow");
        Finding::new(severity, [&facts.name], format!("{} follows nobody", facts.name), why)
            .mended_by([mend])
    };
    lonely.map(finding).collect()
}

/// The servers whose writes come to `to` over channels as they are configured, whether they run or not.
fn arriving(pair: Pair<'_>, to: &Facts) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut next = vec![to.name.clone()];
    while let Some(name) = next.pop() {
        let channels = pair.channels().filter(|(facts, _)| facts.name == name);
        let sources: Vec<String> = channels
            .filter_map(|(_, following)| Some(pair.source(following)?.name.clone()))
            .collect();
        next.extend(sources.into_iter().filter(|source| known.insert(source.clone())));
    }
    known
}

fn ring(pair: Pair<'_>) -> Vec<Finding> {
    // Through a server that was not seen there may be a way.
    if pair.facts.iter().any(|facts| facts.channels.is_err()) || !pair.expected.silent.is_empty() {
        return Vec::new();
    }
    let has_source = |facts: &&Facts| facts.channels.as_ref().is_ok_and(|all| !all.is_empty());
    let finding = |to: &Facts| {
        let arrives = arriving(pair, to);
        let lacking: Vec<&str> = pair
            .masters()
            .filter(|from| from.name != to.name && !arrives.contains(&from.name))
            .map(|from| from.name.as_str())
            .collect();
        if lacking.is_empty() {
            return None;
        }
        let of = listed(&lacking);
        let what =
            format!("nothing that {of} writes comes to {}, directly or by way of others", to.name);
        let why = "A master that does not have the others' writes cannot take over from them.";
        let mend = Mend::advice("tandem setup --apply: it tells every server whom to follow");
        Some(Finding::new(Severity::Error, [&to.name], what, why).mended_by([mend]))
    };
    pair.masters().filter(has_source).filter_map(finding).collect()
}

fn strangers(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |(facts, following): (&Facts, &Following)| {
        let name = pair.source_name(following);
        let known = pair.expected.servers.iter().any(|server| server.name == name);
        // One that has never been reached is told by its receiver; one that is silent is told as such.
        if known || following.channel().source_server_id == 0 || !pair.expected.silent.is_empty() {
            return None;
        }
        let what =
            format!("{} follows {name}, which is no server of this configuration", facts.name);
        let why = "Somebody writes into the pair whom Tandem neither sees nor fences.";
        let mend = Mend::advice(format!(
            "add {name} to proxy.toml, or end it on {}: {}",
            facts.name,
            dialect::end(facts.flavor(), &following.channel().name)
        ));
        Some(Finding::new(Severity::Warning, [&facts.name], what, why).mended_by([mend]))
    };
    pair.channels().filter_map(finding).collect()
}

/// "m2 does not receive from m1: Replica_IO_Running is No"
fn thread(
    pair: Pair<'_>,
    facts: &Facts,
    following: &Following,
    does: &str,
    state: ThreadState,
    error: &(u16, String),
) -> String {
    let source = pair.source_name(following);
    let (code, text) = error;
    let said = match (code, facts.flavor(), does) {
        (0, Flavor::MariaDb, "receive") => format!("Slave_IO_Running: {state}"),
        (0, Flavor::MariaDb, _) => format!("Slave_SQL_Running: {state}"),
        (0, Flavor::MySql, "receive") => format!("Replica_IO_Running: {state}"),
        (0, Flavor::MySql, _) => format!("Replica_SQL_Running: {state}"),
        _ => format!("error {code}: {text}"),
    };
    format!("{} does not {does} what {source} writes ({said})", facts.name)
}

fn receivers(pair: Pair<'_>) -> Vec<Finding> {
    let why = "What is written on the active master until this runs again is on one machine only: \
               a crash loses it.";
    let finding = |(facts, following): (&Facts, &Following)| {
        let channel = following.channel();
        if channel.io == ThreadState::Yes {
            return None;
        }
        let what = thread(pair, facts, following, "receive", channel.io, &channel.io_error);
        let (stop, start) = stop_and_start(facts.flavor(), following, "");
        let mut mend = Vec::new();
        mend.extend(match channel.io_error.0 {
            // ER_MASTER_FATAL_ERROR_READING_BINLOG: what it needs is purged.
            1236 => Some(Mend::advice(format!(
                "what {} lacks is no longer in its source's log: seed it anew, \
                 tandem setup --apply --copy-from {}",
                facts.name,
                pair.source_name(following)
            ))),
            // Access denied: for the account that the receiver logs in as.
            1045 | 1698 => Some(Mend::advice(format!(
                "{} logs in there as {}: tandem setup --apply sets its password again",
                facts.name,
                following.user()
            ))),
            _ => None,
        });
        if channel.io == ThreadState::Connecting {
            mend.push(Mend::sql(&facts.name, stop));
        }
        mend.push(Mend::sql(&facts.name, start));
        Some(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend))
    };
    pair.channels().filter_map(finding).collect()
}

fn appliers(pair: Pair<'_>) -> Vec<Finding> {
    let why = "Its rows stand still while its source goes on: it must not take over, and a failover \
               would wait in vain.";
    let finding = |(facts, following): (&Facts, &Following)| {
        let channel = following.channel();
        if channel.sql == ThreadState::Yes {
            return None;
        }
        let what = thread(pair, facts, following, "execute", channel.sql, &channel.sql_error);
        let (_, start) = stop_and_start(facts.flavor(), following, " SQL_THREAD");
        let source = pair.source_name(following);
        let advice = match channel.sql_error.0 {
            0 => None,
            // ER_DUP_ENTRY and HA_ERR_FOUND_DUPP_KEY; a row that is to be changed and is not there.
            1062 | 1032 => Some(format!(
                "compare the row with {source}'s; make it equal on {} with SET SESSION sql_log_bin = 0, \
                 and do not skip the transaction",
                facts.name
            )),
            _ => Some(format!("mend on {} what the error says", facts.name)),
        };
        let mend = advice.map(Mend::advice).into_iter().chain([Mend::sql(&facts.name, start)]);
        Some(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend))
    };
    pair.channels().filter_map(finding).collect()
}

/// Below this nobody notices a failover that waits for it.
const SMALL_LAG: Duration = Duration::from_secs(5);

fn lag(pair: Pair<'_>) -> Vec<Finding> {
    let Some(active) = pair.active() else { return Vec::new() };
    let finding = |facts: &Facts| {
        let (behind, by) = behind(pair, active, facts)?;
        if behind < SMALL_LAG {
            return None;
        }
        let severity =
            if behind < pair.expected.catch_up { Severity::Warning } else { Severity::Error };
        let what = format!(
            "{} is {} behind {} ({by})",
            facts.name,
            humantime::format_duration(Duration::from_secs(behind.as_secs())),
            active.name
        );
        let why = if severity == Severity::Error {
            "A failover waits until the standby has executed what it received, and that is more \
             than failover.catch_up allows: it would not take place."
        } else {
            "A failover waits until the standby has executed what it received; writes are held so \
             long."
        };
        let mend = Mend::advice(
            "look at what it executes (a long ALTER, a table without a primary key), at its \
             parallel appliers, at its disk; [failover] pace slows writers down while it is behind",
        );
        Some(Finding::new(severity, [&facts.name], what, why).mended_by([mend]))
    };
    let others = pair.facts.iter().filter(|facts| facts.name != active.name && facts.is_master());
    others.filter_map(finding).collect()
}

/// How far a server is behind the active master: the age of the row that proxies write there; without
/// one, what the server says itself.
fn behind(pair: Pair<'_>, active: &Facts, facts: &Facts) -> Option<(Duration, &'static str)> {
    let of_active = |facts: &Facts| {
        let beats = facts.beats.as_ref().ok()?;
        Some((beats.of(active.server_id())?, beats.clock))
    };
    if let (Some((written, clock)), Some((received, _))) = (of_active(active), of_active(facts))
        // Somebody writes it at present.
        && clock.saturating_sub(written) < 10_000_000
    {
        let behind = Duration::from_micros(written.saturating_sub(received));
        return Some((behind, "by the heartbeat row"));
    }
    let following = facts.channels.iter().flatten();
    let from_active =
        following.filter(|one| pair.source(one).is_some_and(|it| it.name == active.name));
    let seconds = from_active.filter_map(|following| following.channel().seconds_behind).max()?;
    Some((Duration::from_secs(seconds), "by Seconds_Behind_Master"))
}

fn delays(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |(facts, following): (&Facts, &Following)| {
        let delay = following.delay();
        if delay.is_zero() || !facts.is_master() {
            return None;
        }
        let flavor = facts.flavor();
        let what = format!(
            "{} executes what {} writes {} later, on purpose",
            facts.name,
            pair.source_name(following),
            humantime::format_duration(delay)
        );
        let why = "A failover waits that long, or does not take place; a delayed copy belongs on a \
                   server that is no master.";
        let (stop, start) = stop_and_start(flavor, following, " SQL_THREAD");
        let delay = match flavor {
            Flavor::MariaDb => "MASTER_DELAY = 0",
            Flavor::MySql => "SOURCE_DELAY = 0",
        };
        // MariaDB changes it only while the receiver stands as well.
        let (stop, start) = match flavor {
            Flavor::MariaDb => stop_and_start(flavor, following, ""),
            Flavor::MySql => (stop, start),
        };
        let mend = [stop, change(flavor, following, delay), start];
        Some(
            Finding::new(Severity::Error, [&facts.name], what, why)
                .mended_by(mend.map(|statement| Mend::sql(&facts.name, statement))),
        )
    };
    pair.channels().filter_map(finding).collect()
}

/// Stops a channel, changes it, starts it.
fn changed(facts: &Facts, following: &Following, maria: &str, mysql: &str) -> [Mend; 3] {
    let flavor = facts.flavor();
    let (stop, start) = stop_and_start(flavor, following, "");
    let what = match flavor {
        Flavor::MariaDb => maria,
        Flavor::MySql => mysql,
    };
    [stop, change(flavor, following, what), start].map(|text| Mend::sql(&facts.name, text))
}

fn heartbeats(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |(facts, following): (&Facts, &Following)| {
        let period = following.channel().heartbeat_period?;
        if !period.is_zero() && period <= Duration::from_secs(5) || !facts.is_master() {
            return None;
        }
        let source = pair.source_name(following);
        let how = if period.is_zero() {
            "no heartbeats".to_owned()
        } else {
            format!("a heartbeat every {}", humantime::format_duration(period))
        };
        let what = format!("{} asks {source} for {how}", facts.name);
        let why = format!(
            "By them Tandem knows whether a silent {source} is dead or only out of this proxy's \
             reach: without, it has to guess, or to wait."
        );
        let mend =
            changed(facts, following, "MASTER_HEARTBEAT_PERIOD = 1", "SOURCE_HEARTBEAT_PERIOD = 1");
        Some(Finding::new(Severity::Warning, [&facts.name], what, why).mended_by(mend))
    };
    pair.channels().filter_map(finding).collect()
}

fn retries(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |(facts, following): (&Facts, &Following)| {
        let number = |column: &[&str]| following.text(column).parse::<u64>().ok();
        let every = number(&["connect_retry"])?;
        let count = match facts.flavor() {
            Flavor::MySql => number(&["source_retry_count", "master_retry_count"])?,
            Flavor::MariaDb => facts.variables.number("master_retry_count")?,
        };
        let lasts = Duration::from_secs(every.saturating_mul(count));
        if count == 0 || lasts >= Duration::from_hours(24) {
            return None;
        }
        let source = pair.source_name(following);
        let after = humantime::format_duration(lasts);
        let what = format!("{} gives {source} up when that is away for {after}", facts.name);
        let why = "A master that comes back later finds nobody who receives from it.";
        let mend: Vec<Mend> = match facts.flavor() {
            Flavor::MySql => changed(facts, following, "", "SOURCE_RETRY_COUNT = 0").into(),
            // 0 is without end.
            Flavor::MariaDb => Mend::set_and_restart(facts, "master_retry_count", 0),
        };
        Some(Finding::new(Severity::Warning, [&facts.name], what, why).mended_by(mend))
    };
    pair.channels().filter_map(finding).collect()
}

fn positions(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |(facts, following): (&Facts, &Following)| {
        if following.channel().uses_gtid {
            return None;
        }
        let source = pair.source_name(following);
        let what = format!("{} follows {source} by file and position, not by GTID", facts.name);
        let why = "After a failover nobody can tell what one master has and the other lacks.";
        let mend =
            changed(facts, following, "MASTER_USE_GTID = slave_pos", "SOURCE_AUTO_POSITION = 1");
        Some(Finding::new(Severity::Error, [&facts.name], what, why).mended_by(mend))
    };
    pair.channels().filter_map(finding).collect()
}
