//! Writers are slowed down while another master is behind, so that it can catch up.
//!
//! Every write outside of a transaction, and every transaction as a whole, waits for the same time
//! before it is sent: whoever writes more waits more often. What is begun goes on at full speed, so
//! that locks are not held for longer; reads do not wait.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use super::client_error::ClientError;
use super::end::SessionEnd;
use super::holding::Stop;
use super::registry::Activity;
use super::relay::Relay;
use super::statement::Verb;
use crate::wire::{Command, StatusFlags};

/// Timers know milliseconds. What is shorter is owed until it adds up.
const SHORTEST: Duration = Duration::from_millis(1);

impl Relay {
    /// For how long the command has to wait before it is sent, once.
    #[inline]
    pub(super) fn pause_before(&mut self) -> Option<Duration> {
        let pace = self.pace.max(self.shared.pace.get())?;
        let waits = !self.current.paced && !self.state.in_transaction() && self.writes();
        if !waits {
            return None;
        }
        self.current.paced = true;
        self.owed += pace;
        (self.owed >= SHORTEST).then_some(self.owed)
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
        let began = Instant::now();
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
        let waited = began.elapsed();
        // Timers are late, and what was waited too long is not waited again.
        self.owed = self.owed.saturating_sub(waited);
        let metrics = self.shared.metrics();
        metrics.paced.inc();
        metrics.paced_seconds.inc_by(waited.as_secs_f64());
        self.entry.set_running();
        // The table is looked at, whether or not its news came this way already.
        self.generation = 0;
        over
    }
}
