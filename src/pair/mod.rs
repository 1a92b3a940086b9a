//! Making masters slaves of each other.
//!
//! A pair is two ordinary replications that point at each other, and it has no mind of its own:
//! what makes it safe to write to either master is set on each server by itself (interleaved
//! auto_increment keys, distinct server ids and, on MariaDB, GTID domains), and what makes it one
//! thing is that each receives from the other. This module does the second part: it makes the
//! accounts, tells each member whom to follow, starts it and waits until both threads of each say
//! `Yes`. Three and more members form a ring or a mesh ([`Shape`]); for a ring, and for
//! slaves behind a pair, each passes on what it receives (`log_slave_updates`).
//!
//! - [`facts`] reads what a server says of itself, for whoever sets up or checks.
//! - [`dialect`] is pure: the statements of the two families.
//! - [`write_test`] proves it, with rows.
//! - [`make`] carries them out; [`status`] and [`await_running`] look at the result.
//!
//! It takes over servers that hold the same data and have not written since; comparing and copying
//! data is left to whoever made the servers. Whether an existing pair is healthy is the monitor's
//! business, and what to do about it the failover machine's.

pub mod check;
pub mod dialect;
mod error;
pub mod facts;
mod making;
mod replicas;
pub mod setup;
mod status;
pub mod write_test;

pub use error::{LastSaid, PairError};
pub use making::{Member, Plan, Shape, make};
pub use replicas::make_replicas;
pub use status::{Replication, await_running, status};
