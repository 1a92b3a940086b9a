//! Where clients come in.
//!
//! [`Listener`] binds an address, before anything else starts, so that a port that is taken is an
//! error of the start and not a line in a log. [`Workers`] are the threads that sessions live on: a
//! current-thread runtime each, because a session that never changes its thread needs no lock and
//! wakes nobody else; a new client goes to the worker with the fewest sessions.

mod bound;
mod workers;

pub use bound::{BindError, Listener};
pub use workers::Workers;
