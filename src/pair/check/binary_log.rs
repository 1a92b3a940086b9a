//! The binary log: what the other masters live on.

use super::list::Check;
use super::pair::{Pair, while_stopped};
use super::{Finding, Mend, Severity};
use crate::pair::facts::{Facts, Part};
use crate::topology::Flavor;

pub(super) const CHECKS: &[Check] = &[
    Check::new("binary-log", Severity::Error, "a master without a binary log", log),
    Check::new(
        "log-received",
        Severity::Error,
        "a master that does not log what it receives (`log_slave_updates`)",
        received,
    ),
    Check::new("row-format", Severity::Error, "`binlog_format` other than ROW", format),
    Check::new("row-image", Severity::Warning, "`binlog_row_image` other than FULL", image),
    Check::new(
        "log-filters",
        Severity::Error,
        "schemas that are left out of a master's binary log (`binlog_do_db`, `binlog_ignore_db`)",
        filters,
    )
    .needs(&[Part::LogFilters]),
    Check::new(
        "gtid-mode",
        Severity::Error,
        "`gtid_mode` or `enforce_gtid_consistency` other than ON (MySQL)",
        gtid_mode,
    ),
];

/// A finding for each master of which `wrong` says what is so, and what mends it.
pub(super) fn each_master(
    pair: Pair<'_>,
    severity: Severity,
    why: &str,
    wrong: impl Fn(&Facts) -> Option<(String, Vec<Mend>)>,
) -> Vec<Finding> {
    let finding = |facts: &Facts| {
        let (what, mend) = wrong(facts)?;
        Some(Finding::new(severity, [&facts.name], what, why).mended_by(mend))
    };
    pair.masters().filter_map(finding).collect()
}

fn log(pair: Pair<'_>) -> Vec<Finding> {
    let why =
        "The other masters live on this log: without it nothing that is written here reaches them.";
    each_master(pair, Severity::Error, why, |facts| {
        let name = &facts.name;
        let what = format!("{name} has no binary log");
        let mend =
            vec![Mend::config(name, "log_bin = binlog"), Mend::advice(format!("restart {name}"))];
        (!facts.variables.is_on("log_bin")).then_some((what, mend))
    })
}

fn received(pair: Pair<'_>) -> Vec<Finding> {
    let others = pair.facts.len() > 2;
    let (severity, why) = if others {
        let why = "Whoever follows this master does not get what the other masters write.";
        (Severity::Error, why)
    } else {
        let why = "What it received is not in its own log: a further master or a replica cannot be fed from \
                   it, and what is stranded after a failover cannot be told as well.";
        (Severity::Warning, why)
    };
    each_master(pair, severity, why, |facts| {
        let (name, variable) =
            facts.variables.first_of(&["log_replica_updates", "log_slave_updates"])?;
        let what =
            format!("{} does not log what it receives: {name} is {}", facts.name, variable.value);
        let mend = vec![
            Mend::config(&facts.name, format_args!("{name} = ON")),
            Mend::advice(format!("restart {}", facts.name)),
        ];
        (!facts.variables.is_on(name)).then_some((what, mend))
    })
}

/// A variable that has to have this value on every master.
fn must_be(facts: &Facts, name: &str, value: &str) -> Option<(String, Vec<Mend>)> {
    let is = facts.variables.text(name)?;
    let what = format!("{name} of {} is {is}", facts.name);
    (!is.eq_ignore_ascii_case(value)).then(|| (what, Mend::set(facts, name, value)))
}

fn format(pair: Pair<'_>) -> Vec<Finding> {
    let why = "A statement that is run again on the standby can come to something else there (NOW, UUID, \
               LIMIT, generated keys): the masters differ, and nothing tells.";
    each_master(pair, Severity::Error, why, |facts| {
        let (what, mend) = must_be(facts, "binlog_format", "ROW")?;
        // MySQL does not change it under a running applier.
        let stops =
            facts.flavor() == Flavor::MySql && facts.channels.iter().flatten().next().is_some();
        Some((what, if stops { while_stopped(facts, mend) } else { mend }))
    })
}

fn image(pair: Pair<'_>) -> Vec<Finding> {
    let why = "A write that was stranded on a lost master can be judged and undone only if the log has the \
               whole rows, before and after.";
    each_master(pair, Severity::Warning, why, |facts| must_be(facts, "binlog_row_image", "FULL"))
}

fn filters(pair: Pair<'_>) -> Vec<Finding> {
    let why = "What is left out never reaches the standby: after a failover it is gone.";
    each_master(pair, Severity::Error, why, |facts| {
        let filters = facts.log_filters.as_ref().ok()?;
        let told: Vec<String> =
            filters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let name = &facts.name;
        let what = format!("the binary log of {name} leaves schemas out: {}", told.join(", "));
        let mend = Mend::advice(format!(
            "remove {} from my.cnf of {name} and restart it",
            told.join(" and ")
        ));
        (!told.is_empty()).then(|| (what, vec![mend]))
    })
}

fn gtid_mode(pair: Pair<'_>) -> Vec<Finding> {
    const STEPS: [&str; 4] = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    let why = "Without GTIDs on every master nobody can tell what one has and the other lacks: a failover \
               cannot wait for it, nor account for what is lost.";
    each_master(pair, Severity::Error, why, |facts| {
        if facts.flavor() == Flavor::MariaDb {
            return None;
        }
        let name = &facts.name;
        let set = |what: String| Mend::sql(name, format!("SET PERSIST {what}"));
        let mode = facts.variables.text("gtid_mode")?.to_owned();
        let consistent = facts.variables.text("enforce_gtid_consistency")?;
        let mut mend = Vec::new();
        if !consistent.eq_ignore_ascii_case("ON") {
            mend.push(set("enforce_gtid_consistency = ON".to_owned()));
        }
        let at = STEPS.iter().position(|step| mode.eq_ignore_ascii_case(step))?;
        mend.extend(STEPS[at + 1..].iter().map(|step| set(format!("gtid_mode = {step}"))));
        let what =
            format!("gtid_mode of {name} is {mode}, enforce_gtid_consistency is {consistent}");
        (!mend.is_empty()).then_some((what, mend))
    })
}
