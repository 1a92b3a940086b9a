//! What a crash of a machine may take with it.

use super::binary_log::each_master;
use super::list::Check;
use super::pair::Pair;
use super::{Finding, Mend, Severity};

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "sync-binlog",
        Severity::Warning,
        "`sync_binlog` other than 1: a commit may not be in the log on disk",
        binlog,
    ),
    Check::new(
        "flush-at-commit",
        Severity::Warning,
        "`innodb_flush_log_at_trx_commit` other than 1: a commit may not be on disk",
        redo,
    ),
    Check::new(
        "log-writer-threads",
        Severity::Warning,
        "`innodb_log_writer_threads` OFF (MySQL): now and then a commit takes 100 ms",
        log_writers,
    ),
];

fn must_be_one(pair: Pair<'_>, name: &'static str, why: &str) -> Vec<Finding> {
    each_master(pair, Severity::Warning, why, |facts| {
        let is = facts.variables.text(name)?;
        // MariaDB's 3 flushes as well.
        let well = is == "1" || name.starts_with("innodb") && is == "3";
        let what = format!("{name} of {} is {is}", facts.name);
        (!well).then(|| (what, Mend::set(facts, name, 1)))
    })
}

fn binlog(pair: Pair<'_>) -> Vec<Finding> {
    let why = "A machine that loses power forgets the last writes of its log, which the standby may have: \
               it numbers new ones like them, and the two masters differ.";
    must_be_one(pair, "sync_binlog", why)
}

fn redo(pair: Pair<'_>) -> Vec<Finding> {
    let why = "A machine that loses power forgets up to a second of commits that clients were told of, and \
               which the standby may have executed.";
    must_be_one(pair, "innodb_flush_log_at_trx_commit", why)
}

fn log_writers(pair: Pair<'_>) -> Vec<Finding> {
    let why = "With OFF, MySQL's default below 32 processors, a commit now and then waits for a timer: clients \
               see pauses of 100 ms, in a switchover most of all.";
    each_master(pair, Severity::Warning, why, |facts| {
        let name = "innodb_log_writer_threads";
        let is = facts.variables.text(name)?;
        let what = format!("{name} of {} is {is}", facts.name);
        (!facts.variables.is_on(name)).then(|| (what, Mend::set(facts, name, "ON")))
    })
}
