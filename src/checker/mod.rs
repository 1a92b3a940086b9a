//! Clients that write, what they were told, and whether it is true.
//!
//! What a viewer is to believe is not what a proxy says of itself but what its clients measured. The
//! [`Writers`] note every row that was acknowledged to them, with its key, in a [`Book`]; a [`Verdict`]
//! compares its [`Ledger`] with the tables of the masters. Only `writers.rs` talks to anybody; the rest is
//! arithmetic, and tested with accounts that do not add up.
//!
//! `tandem demo` and `tandem drill` do things to masters meanwhile. What a verdict means for them is
//! theirs to say.

mod ledger;
mod verdict;
mod writers;

#[cfg(test)]
pub(crate) use ledger::{Acknowledged, Failed};
pub(crate) use ledger::{Cause, Gap, Kill, Ledger, Row, Token};
pub(crate) use verdict::Verdict;
pub(crate) use writers::{Book, Load, Writers, make_table, read_rows};
