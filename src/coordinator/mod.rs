//! Driving the decision: observations in, routing tables and SQL out.
//!
//! The failover machine decides and does nothing; this module does and decides nothing. The
//! [`Coordinator`] is one task that owns the machine: it feeds it what the monitor and the sessions
//! saw, what became of its orders and when its deadlines come, and carries its actions out. A
//! routing table goes to the sessions, a transition to the log and the [`Journal`], a probe request
//! to the monitor, an order to the [`Executor`], each on a task of its own, so that a server that
//! hangs holds up nothing else. What a change of the active master took is measured on the way, and
//! an [`EventFile`] keeps the journal beyond the life of the process.
//!
//! Beside it a [`BacklogWatch`] slows writers down while the standby is too far behind, if that is
//! wanted.
//!
//! [`SqlExecutor`] is the only part of Tandem that writes to servers. Every order is idempotent,
//! bounded in time, and says exactly why it failed. It works over warm connections
//! ([`WarmConnections`]): in a failover a login is a round trip too many.
//!
//! One thing it keeps in mind itself, because it is no decision: a new active master whose
//! semi-synchronous replication waits for the dead one is let go on asynchronously, and waits again
//! when the other one receives from it again.
//!
//! Beside it the [`Accountant`] knows which writes clients were told are committed, and says after a
//! failover which of them the new active master lacks; and a [`KeyWatch`] tells people when masters hand out
//! each other's keys.

mod accountant;
mod accounting;
mod backlog;
mod backlog_watch;
mod catch_up;
mod change_meter;
mod claims;
mod discarding;
mod driver;
mod event_file;
mod executor;
mod failure;
mod fence;
mod inspecting;
mod journal;
mod key_watch;
mod lost_writes;
mod measuring;
mod other_proxies;
mod promotion;
mod readers_watch;
mod receiving;
mod replication_watch;
mod semi_sync;
mod switchover;
mod warm;

pub use accountant::{Accountant, Ledgers};
pub use backlog_watch::BacklogWatch;
pub use driver::{Asked, Coordinator, Decide, Inputs, Outputs};
pub use event_file::EventFile;
pub use executor::{Executor, SqlExecutor, Surroundings};
pub use journal::{Journal, JournalRow, ToldEvent};
pub use key_watch::KeyWatch;
pub use lost_writes::{Accounts, AtRisk, Finding, LostWrites, Missing, ToldLoss, Unaccountable};
pub use readers_watch::{ReadersInputs, ReadersWatch};
pub use replication_watch::ReplicationWatch;
pub use warm::WarmConnections;
