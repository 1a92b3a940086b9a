//! What is known of servers: their names and addresses, and what they were seen to be.
//!
//! Data only. Nobody here connects to anything, decides anything or reads a clock: the monitor
//! makes [`Observation`]s, [`Topology`] keeps the latest of each server, the failover machine draws
//! the conclusions. What a GTID set is and how two of them compare lives here too, because it is
//! arithmetic on what was observed.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod accounts;
mod acknowledged;
mod detour;
mod dialect;
mod discarded;
#[cfg(test)]
pub(crate) mod fixture;
pub mod grants;
mod gtid;
mod hearing;
mod key_class;
mod observation;
pub mod schema;
mod server;
mod snapshot;
mod stranded;

pub use accounts::{Account, AccountPlugin, Accounts};
pub use acknowledged::{AcknowledgedWrites, Bounds, Lacking, Told};
pub use detour::{Detour, follow_instead};
pub use dialect::Dialect;
pub use discarded::Discarded;
pub use gtid::{GtidError, GtidSet, Numbered, Origin, last_gtid, own_gtids};
pub use hearing::Hearing;
pub use key_class::KeyClass;
pub use observation::{
    Beats, Channel, Facts, Flavor, Identity, Numbering, Observation, Outcome, SemiSync, Sending,
    Source, Term, TermStore, ThreadState, UnreachableKind,
};
pub use server::{AddressError, Role, Server, ServerAddress, ServerId, Servers};
pub use snapshot::{Seen, Topology, Unwritable};
pub use stranded::{
    Conflict, MergeVerdict, Stranded, StrandedCount, StrandedTransaction, TableChange,
};
