//! The steps of one server, statement by statement. Pure.

use super::joining::Position;
use super::plan::{Action, Stage, Step};
use super::state::State;
use super::wanted::{Change, Setting};
use crate::config::Secret;
use crate::pair::dialect;
use crate::topology::{Dialect, Flavor};

/// The statements that make an account, each as it is sent and as it is shown.
pub(super) fn account(user: &str, password: &str) -> Vec<(String, String)> {
    dialect::create_user(user, password)
        .into_iter()
        .zip(dialect::create_user(user, "***"))
        .collect()
}

/// The steps of one server.
pub(super) struct Steps {
    dialect: Dialect,
    pub(super) steps: Vec<Step>,
}

impl Steps {
    pub(super) fn of(dialect: Dialect) -> Self {
        Self { dialect, steps: Vec::new() }
    }

    pub(super) fn sql(&mut self, stage: Stage, sql: impl Into<String>, why: &str) {
        let sql = sql.into();
        self.secret(stage, sql.clone(), sql, why);
    }

    pub(super) fn secret(&mut self, stage: Stage, sql: String, shown: String, why: &str) {
        let action = Action::Sql { sql: Secret::new(sql), shown };
        self.steps.push(Step { stage, action, why: why.to_owned() });
    }

    /// Semi-synchronous replication is built into MariaDB.
    pub(super) fn plugins(&mut self, state: &State, semi_sync: bool) {
        if !semi_sync || !state.facts.is_master() || self.dialect.flavor == Flavor::MariaDb {
            return;
        }
        let why = "semi-synchronous replication";
        for (names, library) in [
            (["rpl_semi_sync_source", "rpl_semi_sync_master"], "semisync_source.so"),
            (["rpl_semi_sync_replica", "rpl_semi_sync_slave"], "semisync_replica.so"),
        ] {
            if !names.iter().any(|name| state.plugins.contains(*name)) {
                let install = format!("INSTALL PLUGIN {} SONAME '{library}'", names[0]);
                self.sql(Stage::Plugins, install, why);
            }
        }
    }

    /// What MySQL copies data with.
    pub(super) fn clone_plugin(&mut self, state: &State, copies: bool) {
        if copies && self.dialect.flavor == Flavor::MySql && !state.plugins.contains("clone") {
            let install = "INSTALL PLUGIN clone SONAME 'mysql_clone.so'";
            self.sql(Stage::Plugins, install, "copies the data of one server into another");
        }
    }

    pub(super) fn settings(&mut self, state: &State, settings: &[Setting]) {
        let flavor = self.dialect.flavor;
        let stop = |setting: &Setting| setting.change == Change::WhileStopped && !setting.now;
        if settings.iter().any(stop) && state.receives() {
            let why = "some of the settings are changed only while replication stands";
            self.sql(Stage::Stop, dialect::stop(flavor), why);
        }
        let by_restart = |setting: &Setting| setting.change == Change::ByRestart && !setting.now;
        let restarts = settings.iter().any(by_restart);
        for setting in settings {
            if setting.change == Change::ByRestart {
                continue;
            }
            // It has to be restarted first, and then has what its file says.
            if restarts && flavor == Flavor::MariaDb {
                continue;
            }
            let Setting { name, value, why, .. } = setting;
            if *name == "gtid_mode" && !setting.now {
                self.gtid_mode(state.facts.variables.text("gtid_mode").unwrap_or("OFF"), why);
                continue;
            }
            let word = match (flavor, setting.change) {
                (Flavor::MariaDb, Change::ForLater) => continue,
                (Flavor::MariaDb, _) if setting.now => continue,
                (Flavor::MariaDb, _) => "GLOBAL",
                (Flavor::MySql, Change::ForLater) => "PERSIST_ONLY",
                (Flavor::MySql, _) => "PERSIST",
            };
            let stage = match *name {
                "read_only" | "super_read_only" => Stage::Close,
                _ => Stage::Settings,
            };
            self.sql(stage, format!("SET {word} {name} = {value}"), why);
        }
    }

    /// <https://dev.mysql.com/doc/refman/8.4/en/replication-mode-change-online-enable-gtids.html>
    fn gtid_mode(&mut self, present: &str, why: &str) {
        const MODES: [&str; 4] = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
        let present = MODES.iter().position(|mode| present.eq_ignore_ascii_case(mode)).unwrap_or(0);
        for (number, mode) in (0u8..).zip(MODES).skip(present + 1) {
            let why = if usize::from(number) == present + 1 { why } else { "" };
            self.sql(Stage::GtidStep(number), format!("SET PERSIST gtid_mode = {mode}"), why);
        }
    }

    pub(super) fn position(&mut self, flavor: Flavor, position: Position) {
        match (position, flavor) {
            (Position::AsItIs, _) => {}
            (Position::Anew, _) => {
                let why = "it holds no data; what its log says is of accounts, or of tables that are gone";
                self.sql(Stage::Anew, "RESET MASTER", why);
                self.sql(Stage::Anew, "SET GLOBAL gtid_slave_pos = ''", "");
            }
            (Position::Executed(gtids), Flavor::MariaDb) => {
                let why =
                    "it holds the same data: what the others' logs say up to here is executed";
                self.sql(Stage::Position, format!("SET GLOBAL gtid_slave_pos = '{gtids}'"), why);
            }
            (Position::Executed(gtids), Flavor::MySql) => {
                let why =
                    "it holds the same data: what the others' logs say up to here is executed";
                self.sql(Stage::Position, format!("SET GLOBAL gtid_purged = '+{gtids}'"), why);
            }
        }
    }

    /// Under `super_read_only` an administrator cannot make accounts either. `read_only` stays.
    pub(super) fn make_room(&mut self, state: &State) {
        let writes = |step: &Step| matches!(step.stage, Stage::Plugins | Stage::Accounts);
        if state.facts.variables.is_on("super_read_only") && self.steps.iter().any(writes) {
            let why = "for the administrator, until it is switched on again below; applications still cannot write";
            self.sql(Stage::Open, "SET GLOBAL super_read_only = OFF", why);
            self.sql(Stage::Close, "SET GLOBAL super_read_only = ON", "");
        }
    }
}
