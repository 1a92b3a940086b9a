//! Where statements go: who takes writes, who serves reads, or why nobody does.
//!
//! The coordinator publishes a [`RoutingTable`] whole, with a generation that only grows; sessions
//! compare the generation with the one they last acted on and otherwise read nothing. A session that
//! missed three tables acts on the fourth and is right: a table is the present, not a change.
//!
//! The failover machine makes the table of the main port. The table of the reads listener follows from
//! that one and from what probes saw: [`Readers`] decides it, and [`Freshness`] says until when each
//! server of it may be read from.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod freshness;
mod positions;
mod readers;
mod table;

pub use freshness::Freshness;
pub use positions::{Needed, Positions};
pub use readers::{Decision, ReadPolicy, Readers, Standing};
pub use table::{DrainReport, OpenSession, Pace, RoutingTable, Writer};
