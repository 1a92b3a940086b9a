//! What a master that returned has committed and the active one never received: read from its binary
//! log, judged by what stands on the active one now, and undone if an operator wants that.
//!
//! An asynchronous pair loses the last moments of a master that dies: it had acknowledged them, and
//! nobody else has them. When it comes back, replication would deliver them all by itself, into rows
//! that have gone on without them. So somebody must be able to see what it is before, and this module
//! is how: [`inspect`] compares what both have executed, reads the difference from the returned
//! master's log as a replica would (`log.rs`, `event.rs`, `assembly.rs`), and asks of each row whether
//! it could be applied as if nothing had happened since (`judge.rs`, `standing.rs`).
//!
//! # What is safe to merge
//!
//! An insert whose primary key and unique keys are free. An update or a delete of a row that still is
//! what the returned master found it to be, column by column. A row whose parents are there, and that
//! nobody refers to if it is to go. Replication checks less than this: it finds the row of an
//! update by its key and overwrites whatever was written there since, without a word.
//!
//! Transactions are judged in their order, each on what the ones before it leave behind: an insert
//! and an update of the new row are both safe. What follows a conflict, or a statement whose effect
//! nobody knows (DDL, statement format), is judged no better than that.
//!
//! # What is undone
//!
//! [`discard`] sets the rows that stranded transactions touched on the returned master to what they
//! would be without (`undo.rs`), in one transaction outside of its log (`put_back.rs`), if that can be
//! done at all (`undoable.rs`). It is the only thing here that writes.
//!
//! # What it does not do
//!
//! It writes nothing on the active master, and decides nothing: that is the failover machine's, and
//! the operator's. What it says holds for the moment: the active master goes on.

mod assembly;
mod cell;
mod discard;
mod error;
mod event;
mod inspection;
mod judge;
mod log;
mod put_back;
mod shape;
mod standing;
mod undo;
mod undoable;

pub use discard::{Returned, discard};
pub use error::{DiscardError, InspectError};
pub use inspection::{End, inspect};
