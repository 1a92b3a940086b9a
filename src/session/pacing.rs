//! Slowing writers down, so that the standby gets close.
//!
//! While a routing table asks for it, whatever begins to write waits a little before it is sent: a
//! write outside of a transaction, and the statement that begins one. What comes inside a transaction
//! does not wait, because others may wait for its locks. Everybody waits equally long, so that nobody
//! gets ahead at another's expense. Statements too large to be kept are few and are not slowed down.

use std::future::poll_fn;
use std::time::Duration;

use super::end::SessionEnd;
use super::holding::Stop;
use super::registry::Activity;
use super::relay::Relay;
use crate::wire::{Command, StatusFlags};

impl Relay {
    /// Waits as long as the routing table asks for, if the command may begin to write.
    pub(super) async fn keep_pace(&mut self, pace: Duration) -> Result<(), SessionEnd> {
        if !self.may_begin_to_write() {
            return Ok(());
        }
        self.rest(Activity::Held);
        tokio::select! {
            () = tokio::time::sleep(pace) => {}
            stop = poll_fn(|cx| self.poll_stop(cx)) => {
                // Only what waits for a master can be interrupted; this goes on soon enough.
                if let Stop::End(end) = stop {
                    return Err(end);
                }
            }
        }
        self.entry.set_running();
        Ok(())
    }

    fn may_begin_to_write(&self) -> bool {
        let writes = matches!(
            self.current.command,
            Command::Query | Command::StmtExecute | Command::StmtBulkExecute
        );
        let reads = self.current.statement.is_repeatable()
            && self.state.status().has(StatusFlags::AUTOCOMMIT);
        writes && !reads && !self.state.in_transaction()
    }
}
