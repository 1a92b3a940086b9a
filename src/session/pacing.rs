//! Writers are slowed down while another master is behind, so that it can catch up.
//!
//! Every write outside of a transaction, and every transaction as a whole, waits for the same time
//! before it is sent: whoever writes more waits more often. What is begun goes on at full speed, so
//! that locks are not held for longer; reads do not wait.

use std::future::poll_fn;
use std::time::Duration;

use super::client_error::ClientError;
use super::end::SessionEnd;
use super::holding::Stop;
use super::registry::Activity;
use super::relay::Relay;
use super::statement::Verb;
use crate::wire::{Command, StatusFlags};

impl Relay {
    /// For how long the command has to wait before it is sent, once.
    #[inline]
    pub(super) fn pause_before(&mut self) -> Option<Duration> {
        let pace = self.pace?;
        let waits = !self.current.paced && !self.state.in_transaction() && self.writes();
        waits.then(|| {
            self.current.paced = true;
            pace
        })
    }

    /// Whether the command writes, or may begin a transaction that does.
    fn writes(&self) -> bool {
        let statement = self.current.statement;
        matches!(
            self.current.command,
            Command::Query | Command::StmtExecute | Command::StmtBulkExecute
        ) && match statement.verb {
            Verb::Begin => true,
            Verb::Commit | Verb::Rollback if statement.is_only(statement.verb) => false,
            _ if statement.is_repeatable() => {
                // Without autocommit a read begins a transaction as well.
                let reads = matches!(statement.verb, Verb::Select | Verb::With);
                reads && !self.state.status().has(StatusFlags::AUTOCOMMIT)
            }
            _ => true,
        }
    }

    /// Waits. The table has to be looked at again afterwards. The outer error ends the session, the
    /// inner one answers the command.
    pub(super) async fn pause(
        &mut self,
        pause: Duration,
    ) -> Result<Result<(), ClientError>, SessionEnd> {
        self.entry.take_interrupt(); // it was for a statement before
        self.rest(Activity::Held);
        let (mut routes, known) = (self.shared.routes(), self.generation);
        let over = tokio::select! {
            () = tokio::time::sleep(pause) => Ok(Ok(())),
            // It may have come to an end, or to a hold.
            _ = routes.wait_for(|table| table.generation > known) => Ok(Ok(())),
            stop = poll_fn(|cx| self.poll_stop(cx)) => match stop {
                Stop::End(end) => Err(end),
                Stop::Interrupted => Ok(Err(ClientError::Interrupted)),
            },
        };
        self.entry.set_running();
        // The table is looked at, whether or not its news came this way already.
        self.generation = 0;
        over
    }
}
