//! What the failover machine is told.

use super::action::{OrderId, OrderResult};
use super::request::{Request, RequestId};
use crate::routing::DrainReport;
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
    /// An operator wants something. Every request is answered by one [`Action::Answer`].
    ///
    /// [`Action::Answer`]: super::Action::Answer
    Requested {
        /// Comes back in the answer.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// How far the sessions are with letting go of a master that is drained.
    Drained(DrainReport),
}
