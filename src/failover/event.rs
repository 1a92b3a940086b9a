//! What the failover machine is told.

use super::action::{OrderId, OrderResult};
use crate::topology::Observation;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A look at a server, by the monitor or by a session.
    Observed(Observation),
    /// An order was carried out, or was not.
    OrderFinished {
        /// The order. One that is no longer awaited is ignored.
        id: OrderId,
        /// What became of it.
        result: OrderResult,
    },
    /// The moment that `next_deadline` named has come.
    DeadlineReached,
    /// An operator wants another active master.
    SwitchoverRequested {
        /// Whom.
        to: crate::topology::ServerId,
    },
}
