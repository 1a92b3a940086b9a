//! A session's side of a drain: what it says of itself, and what it may still send.
//!
//! While its master is drained a session with nothing open holds its next statement; one with
//! something open goes on there until it has finished. What is in flight counts as open, but for a
//! read that leaves nothing behind: the master that is left stays up and gives the whole answer, so
//! that nobody need wait for it.

use super::end::SessionEnd;
use super::registry::Activity;
use super::relay::{Patience, Relay};
use super::statement::Verb;
use super::tie::Tie;
use super::verdict::Verdict;
use crate::routing::RoutingTable;
use crate::wire::{Command, OkPacket, PacketStream, StatusFlags};

/// Its OK carries the status flags (sql_parse.cc, `dispatch_command`).
const COM_PING: u8 = 0x0E;

impl Relay {
    /// Nothing of this session's is on its way to a server from here on: says so, and what ties it to
    /// its own.
    #[inline]
    pub(super) fn rest(&mut self, activity: Activity) {
        self.entry.set_doing(activity, self.state.tie());
        // Whoever does not know of a drain yet will be woken for it, and be here again.
        if self.unsettled {
            self.shared.registry.let_go();
        }
    }

    /// Notes a routing table as the one that is acted on.
    pub(super) fn take_in(&mut self, table: &RoutingTable) {
        let here = self.backend.as_ref().map(|backend| backend.server);
        self.generation = table.generation;
        self.pace = table.pace;
        self.unsettled = !here.is_some_and(|here| table.serves(here));
        self.heed_invitation(table);
    }

    /// Whether the session may go on where it is though nobody is active: with its transaction, and
    /// while its master is drained with whatever it has open there.
    pub(super) fn may_finish(&self, table: &RoutingTable) -> bool {
        let Some(backend) = &self.backend else { return false };
        let drained = table.draining == Some(backend.server);
        if self.reader.is_some() {
            return self.may_stay(backend.server);
        }
        self.state.in_transaction() || drained && self.state.tie().is_some()
    }

    /// There is a new routing table while the server has a statement.
    pub(super) fn overtaken(&mut self) -> Patience {
        let table = self.shared.table();
        self.take_in(&table);
        let here = self.backend.as_ref().map(|backend| backend.server);
        if here.is_some() && table.draining == here {
            self.current.drained = true;
            self.entry.set_doing(Activity::Running, self.tie_in_flight());
            self.shared.registry.let_go();
        }
        let replaced = self.is_replaced(&table);
        if !replaced || self.is_answered() || self.current.drained && self.is_mere_read() {
            return Patience::Unlimited;
        }
        let verdict = self.in_flight(true).verdict();
        if matches!(verdict, Verdict::RunAgain | Verdict::RolledBack) {
            return Patience::None;
        }
        // Only the old master knows. If it spoke of late it is fenced, not dead, and may well say; one
        // that was silent all the while is not waited for again.
        if self.current.drained || self.has_heard_of_late() {
            return Patience::LastWords;
        }
        Patience::None
    }

    /// Whether the server has said something within the last ticks.
    pub(super) fn has_heard_of_late(&self) -> bool {
        self.entry.has_heard_of_late(self.shared.registry.tick())
    }

    /// What ties the session to its server while that has a statement.
    fn tie_in_flight(&self) -> Option<Tie> {
        let statement = (!self.is_mere_read()).then_some(Tie::Statement);
        self.state.tie().or(statement)
    }

    /// Whether the statement in flight reads, and leaves nothing in the session or on the server: no
    /// transaction, no cursor.
    fn is_mere_read(&self) -> bool {
        let current = &self.current;
        matches!(current.command, Command::Query | Command::StmtExecute)
            && matches!(current.statement.verb, Verb::Select | Verb::With | Verb::Show)
            && current.statement.is_repeatable()
            && !current.cursor
            && !current.in_transaction
            && self.state.status().has(StatusFlags::AUTOCOMMIT)
    }

    /// An error left it open whether there is a transaction, and the client is silent: asks the
    /// server, so that a mistyped statement of an idle client does not stand in the way of a drain.
    pub(super) async fn resolve_doubt(&mut self) -> Result<(), SessionEnd> {
        self.flush_preamble().await;
        let Some(backend) = self.backend.as_mut() else { return Ok(()) };
        let server = backend.server;
        let carry = std::mem::take(&mut backend.carry);
        let mut packets = PacketStream::resume(&mut backend.stream, carry);
        let asking = async {
            packets.write(&[COM_PING]).await?;
            packets.read().await
        };
        let answer = tokio::time::timeout(self.shared.connect_timeout, asking).await;
        let (_, carry) = packets.into_parts();
        backend.carry = carry;
        match answer {
            Ok(Ok(answer)) => {
                if let Ok(ok) = OkPacket::parse(&answer) {
                    self.state.set_status(ok.status);
                }
                Ok(())
            }
            // That it broke is found out as always.
            Ok(Err(_)) => Ok(()),
            Err(_) => {
                self.half_sent = true; // it would answer in the place of something else
                self.release_backend().await;
                self.lost(server)
            }
        }
    }
}
