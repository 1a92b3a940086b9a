//! The settings that servers of a pair have, each with its reason, and how far a server is from them.
//! Pure.
//!
//! A value that is as good as the wanted one is kept: distinct ids, a larger increment that is the same
//! everywhere, more appliers. `gtid_strict_mode` is left as it is: it makes an applier stop at what is
//! out of order in a domain, which a domain for each master already prevents, and it would refuse the
//! position by which a discarded transaction is passed over.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::request::Request;
use super::state::State;
use crate::pair::facts::{AfterRestart, Variables, is_on};
use crate::topology::Flavor;

/// When a setting can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// While everything runs.
    AtOnce,
    /// While no replication thread runs.
    WhileStopped,
    /// Only by starting the server again.
    ByRestart,
    /// It is for the next start; the value of now is not touched.
    ForLater,
}

/// Whether the server will have it after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// It will.
    Yes,
    /// It will have another value.
    No,
    /// The value of now was set by a statement, and what the files say is not to be seen.
    Unseen,
}

/// A setting that a server should have and does not have, or will not have after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What it should be, as it is written in my.cnf.
    pub value: String,
    /// What it is for.
    pub why: String,
    /// When it can be changed.
    pub change: Change,
    /// Whether it is so now.
    pub now: bool,
    /// Whether it will be so.
    pub lasting: Lasting,
}

/// Numbers that are the same for nobody.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    server_ids: Vec<u32>,
    domains: Vec<u32>,
    increment: u32,
    /// Of the masters, in their order.
    offsets: Vec<u32>,
}

/// Each keeps its number, unless it is 0, or larger than `largest`, or one before it has the same; the
/// others get the smallest that is free.
#[must_use]
pub(super) fn distinct(current: &[u32], largest: u32) -> Vec<u32> {
    let mut taken = BTreeSet::new();
    let kept: Vec<Option<u32>> = current
        .iter()
        .map(|&number| ((1..=largest).contains(&number) && taken.insert(number)).then_some(number))
        .collect();
    let mut next = 1;
    let mut free = || {
        while !taken.insert(next) {
            next += 1;
        }
        next
    };
    kept.into_iter().map(|kept| kept.unwrap_or_else(&mut free)).collect()
}

impl Numbers {
    /// Those of `states`, masters first, mended where they collide.
    #[must_use]
    pub(super) fn of(states: &[State], request: &Request) -> Self {
        let numbers = |name: &str, of: &mut dyn Iterator<Item = &State>| -> Vec<u32> {
            of.map(|state| state.facts.variables.number(name).unwrap_or(0)).collect()
        };
        let masters = || states.iter().filter(|state| state.facts.is_master());
        let increments = numbers("auto_increment_increment", &mut masters());
        let needed = u32::try_from(masters().count()).unwrap_or(u32::MAX);
        let needed = needed.max(request.wishes.room_for.map_or(0, u32::from));
        let alike = increments.windows(2).all(|two| two[0] == two[1]);
        let increment = match increments.first() {
            Some(&present) if alike && present >= needed => present,
            _ => needed,
        };
        Self {
            server_ids: distinct(&numbers("server_id", &mut states.iter()), u32::MAX),
            domains: distinct(&numbers("gtid_domain_id", &mut states.iter()), u32::MAX),
            increment,
            offsets: distinct(&numbers("auto_increment_offset", &mut masters()), increment),
        }
    }
}

/// What is to be said of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Its place among the servers, masters first.
    pub place: usize,
    /// Whether it is the master that takes writes now.
    pub active: bool,
    /// From how many others it receives.
    pub sources: usize,
}

/// What the server at `target.place` lacks.
#[must_use]
pub(super) fn lacking(
    states: &[State],
    target: Target,
    numbers: &Numbers,
    request: &Request,
) -> Vec<Setting> {
    let state = &states[target.place];
    let mut wanting = Wanting { variables: &state.facts.variables, lacking: Vec::new() };
    wanting.identity(target, numbers);
    wanting.log(state.flavor());
    if state.facts.is_master() {
        wanting.keys(target, numbers);
    }
    wanting.appliers(state.flavor());
    wanting.receiving(target);
    wanting.durability();
    if request.wishes.semi_sync && state.facts.is_master() {
        wanting.semi_sync(state.flavor());
    }
    wanting.closed(state, target.active);
    wanting.lacking
}

struct Wanting<'a> {
    variables: &'a Variables,
    lacking: Vec<Setting>,
}

fn same(have: &str, want: &str) -> bool {
    match (have.parse::<u64>(), want.parse::<u64>()) {
        (Ok(have), Ok(want)) => have == want,
        _ if is_on(want) => is_on(have),
        _ => have.eq_ignore_ascii_case(want),
    }
}

impl Wanting<'_> {
    /// The first of `names` that this version has is to be `value`.
    fn set(&mut self, names: &[&'static str], value: impl Display, change: Change, why: &str) {
        let value = value.to_string();
        let wanted = value.clone();
        self.fit(names, value, change, why, move |have| same(have, &wanted));
    }

    /// At least so much; more is kept.
    fn at_least(&mut self, names: &[&'static str], least: u64, change: Change, why: &str) {
        let have = names.iter().find_map(|name| self.variables.number::<u64>(name));
        self.set(names, have.map_or(least, |have| have.max(least)), change, why);
    }

    fn fit(
        &mut self,
        names: &[&'static str],
        value: String,
        change: Change,
        why: &str,
        fits: impl Fn(&str) -> bool,
    ) {
        let Some((name, variable)) = self.variables.first_of(names) else { return };
        let now = change == Change::ForLater || fits(&variable.value);
        let lasting = match variable.after_restart() {
            AfterRestart::Value(value) if fits(value) => Lasting::Yes,
            AfterRestart::Value(_) => Lasting::No,
            AfterRestart::AsTheFilesSay | AfterRestart::Unknown => Lasting::Unseen,
        };
        if !now || lasting != Lasting::Yes {
            let why = why.to_owned();
            self.lacking.push(Setting { name, value, why, change, now, lasting });
        }
    }

    fn identity(&mut self, target: Target, numbers: &Numbers) {
        self.set(
            &["server_id"],
            numbers.server_ids[target.place],
            Change::AtOnce,
            "every server needs its own; 1 is what all have by default, and a server passes over what its \
             own id wrote",
        );
        self.set(
            &["gtid_domain_id"],
            numbers.domains[target.place],
            Change::AtOnce,
            "each server numbers its transactions in a domain of its own",
        );
    }

    fn log(&mut self, flavor: Flavor) {
        self.fit(
            &["log_bin"],
            "binlog".to_owned(),
            Change::ByRestart,
            "the others receive the binary log",
            is_on,
        );
        self.set(
            &["log_replica_updates", "log_slave_updates"],
            "ON",
            Change::ByRestart,
            "what is received is passed on",
        );
        let rows = "rows and not statements: a statement may do something else on the other server";
        // MySQL refuses it while an applier runs.
        self.set(&["binlog_format"], "ROW", Change::WhileStopped, rows);
        self.set(
            &["binlog_row_image"],
            "FULL",
            Change::AtOnce,
            "whole rows, so that a conflict is noticed and a stranded transaction can be undone",
        );
        if flavor == Flavor::MySql {
            self.set(
                &["enforce_gtid_consistency"],
                "ON",
                Change::AtOnce,
                "only what can have a GTID is executed",
            );
            self.set(
                &["gtid_mode"],
                "ON",
                Change::AtOnce,
                "positions are GTIDs: a failover asks who has executed what",
            );
            // Before 8.4, where it is the only way.
            self.set(
                &["binlog_transaction_dependency_tracking"],
                "WRITESET",
                Change::AtOnce,
                "the appliers of the others find more to do at the same time",
            );
        }
    }

    fn keys(&mut self, target: Target, numbers: &Numbers) {
        let masters = numbers.offsets.len();
        self.set(
            &["auto_increment_increment"],
            numbers.increment,
            Change::AtOnce,
            &format!("{masters} masters hand out keys, none of them twice"),
        );
        let offset = numbers.offsets[target.place];
        let increment = numbers.increment;
        let keys: Vec<String> =
            (0..3).map(|turn| (offset + turn * increment).to_string()).collect();
        self.set(
            &["auto_increment_offset"],
            offset,
            Change::AtOnce,
            &format!("this one hands out {}, …", keys.join(", ")),
        );
    }

    fn appliers(&mut self, flavor: Flavor) {
        const WHY: &str = "one applier falls behind without end under load, and its backlog is what a \
                           failover waits for";
        const ORDER: &str = "appliers commit in the order of the source";
        if flavor == Flavor::MySql {
            self.at_least(
                &["replica_parallel_workers", "slave_parallel_workers"],
                4,
                Change::WhileStopped,
                WHY,
            );
            self.set(
                &["replica_parallel_type", "slave_parallel_type"],
                "LOGICAL_CLOCK",
                Change::WhileStopped,
                WHY,
            );
            self.set(
                &["replica_preserve_commit_order", "slave_preserve_commit_order"],
                "ON",
                Change::WhileStopped,
                ORDER,
            );
            self.set(
                &["innodb_log_writer_threads"],
                "ON",
                Change::AtOnce,
                "without them a commit takes 100 ms now and then (off is the default below 32 CPUs)",
            );
            return;
        }
        self.at_least(&["slave_parallel_threads"], 4, Change::WhileStopped, WHY);
        let in_order = ["optimistic", "aggressive", "conservative"];
        let have = self.variables.text("slave_parallel_mode").unwrap_or_default();
        let keep = in_order.into_iter().find(|mode| have.eq_ignore_ascii_case(mode));
        let mode = keep.unwrap_or(in_order[0]);
        self.set(&["slave_parallel_mode"], mode, Change::WhileStopped, ORDER);
    }

    fn receiving(&mut self, target: Target) {
        let names = ["replica_net_timeout", "slave_net_timeout"];
        let have = names.iter().find_map(|name| self.variables.number::<u32>(name));
        self.set(
            &names,
            have.map_or(4, |have| have.clamp(2, 4)),
            Change::AtOnce,
            "four missed heartbeats, and a receiver connects again",
        );
        if target.sources > 1 {
            self.set(
                &["gtid_ignore_duplicates"],
                "ON",
                Change::WhileStopped,
                "everything arrives by several ways, and is executed once",
            );
        }
    }

    fn durability(&mut self) {
        let why = "what others have received is on this disk as well, also after it has crashed";
        self.set(&["sync_binlog"], 1, Change::AtOnce, why);
        self.set(&["innodb_flush_log_at_trx_commit"], 1, Change::AtOnce, why);
    }

    fn semi_sync(&mut self, flavor: Flavor) {
        const SENDING: &str = "a commit waits until another master has it";
        const RECEIVING: &str = "acknowledges what it has received";
        if flavor == Flavor::MariaDb {
            self.set(&["rpl_semi_sync_master_enabled"], "ON", Change::AtOnce, SENDING);
            self.set(
                &["rpl_semi_sync_master_wait_point"],
                "AFTER_SYNC",
                Change::AtOnce,
                "nobody reads what is not on another master yet",
            );
            self.set(&["rpl_semi_sync_slave_enabled"], "ON", Change::WhileStopped, RECEIVING);
            return;
        }
        for (names, change, why) in [
            (
                ["rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"],
                Change::AtOnce,
                SENDING,
            ),
            (
                ["rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled"],
                Change::WhileStopped,
                RECEIVING,
            ),
        ] {
            if self.variables.first_of(&names).is_some() {
                self.set(&names, "ON", change, why);
                continue;
            }
            // It comes with the plugin, which is installed before.
            self.lacking.push(Setting {
                name: names[0],
                value: "ON".to_owned(),
                why: why.to_owned(),
                change,
                now: false,
                lasting: Lasting::No,
            });
        }
    }

    /// Nobody but Tandem opens a master, and only one of them.
    fn closed(&mut self, state: &State, active: bool) {
        let (change, why) = match (active, state.facts.is_master()) {
            (true, _) => (
                Change::ForLater,
                "it takes writes now, and after a restart only when Tandem opens it",
            ),
            (false, true) => (Change::AtOnce, "Tandem opens exactly one master"),
            (false, false) => (Change::AtOnce, "a replica is only read from"),
        };
        self.set(&["read_only"], "ON", change, why);
        let why = "administrators too, whose applications might log in as such";
        self.set(&["super_read_only"], "ON", change, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_numbers_are_kept_and_others_get_free_ones() {
        assert_eq!(distinct(&[1, 1], u32::MAX), [1, 2]);
        assert_eq!(distinct(&[0, 0, 1], u32::MAX), [2, 3, 1]);
        assert_eq!(distinct(&[7, 3], u32::MAX), [7, 3]);
        assert_eq!(distinct(&[1, 1, 2], u32::MAX), [1, 3, 2]);
        // An offset above the increment is none.
        assert_eq!(distinct(&[3, 1], 2), [2, 1]);
        assert_eq!(distinct(&[], 2), [] as [u32; 0]);
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        assert!(same("1", "ON") && same("YES", "ON") && same("row", "ROW") && same("04", "4"));
        assert!(!same("OFF", "ON") && !same("MIXED", "ROW") && !same("4", "5"));
    }
}
