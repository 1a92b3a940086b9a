//! What an answered command leaves behind in the session.

use super::relay::Relay;
use super::tracking::ask_for_tracking;
use crate::wire::{Capabilities, Command, Header, StatusFlags};

impl Relay {
    /// The whole answer is with the client: what it means for the session.
    #[inline]
    pub(super) fn answered(&mut self) {
        if self.current.kill.is_some() {
            self.kill_answered();
        }
        if self.current.failed {
            return;
        }
        let executed =
            matches!(self.current.command, Command::StmtExecute | Command::StmtBulkExecute);
        if !self.current.kept && !executed {
            if !self.current.statement.is_plain() {
                self.state.not_tracked();
            }
            return;
        }
        match self.current.command {
            Command::Query => {
                let from = Header::LEN + self.current.sql_at;
                let sql = &self.request.bytes()[from..self.front_len()];
                self.state.executed(self.current.statement, sql);
            }
            Command::StmtExecute | Command::StmtBulkExecute => self.executed_prepared(),
            _ => self.answered_otherwise(),
        }
    }

    pub(super) fn answered_otherwise(&mut self) {
        let payload = &self.request.bytes()[Header::LEN..self.front_len()];
        match self.current.command {
            Command::StmtFetch if self.tracker.status().has(StatusFlags::LAST_ROW_SENT) => {
                self.change_statement(|statement| statement.cursor = false);
            }
            Command::StmtReset => self.change_statement(|statement| {
                statement.cursor = false;
                statement.long_data = false;
            }),
            Command::RegisterSlave => self.state.registered_slave(),
            Command::InitDb => {
                let schema = payload[1..].to_vec();
                self.state.set_schema(&schema);
            }
            Command::SetOption => {
                let on = payload.get(1..3) == Some(&[0, 0]);
                let agreed = self.login.capabilities;
                self.login.capabilities = if on {
                    agreed.with(Capabilities::MULTI_STATEMENTS)
                } else {
                    agreed.without(Capabilities::MULTI_STATEMENTS)
                };
            }
            Command::ResetConnection => {
                self.state.reset();
                self.tracking = None;
                self.login.forget_ignore_space();
                if let Some(backend) = self.backend.as_mut() {
                    ask_for_tracking(backend, &self.login, false);
                }
            }
            _ => {}
        }
    }
}
