//! What the failover machine wants done.

use std::sync::Arc;
use std::time::Duration;

use super::request::{Answer, RequestId};
use crate::routing::RoutingTable;
use crate::topology::{Discarded, GtidSet, ServerId, Stranded, Term};

/// Something to do. Actions of one step may be carried out in any order, but `Publish`es and
/// `Record`s must not overtake each other, and **orders to one server are carried out one after the
/// other, as they were given**: a fence that hangs must not take effect behind the `Open` that undoes
/// it. Orders to different servers run side by side.
#[derive(Clone, Debug)]
pub enum Action {
    /// Give this table to all sessions.
    Publish(Arc<RoutingTable>),
    /// Carry this out as SQL and answer with `Event::OrderFinished`.
    Run {
        /// Comes back in the answer.
        id: OrderId,
        /// What.
        order: Order,
    },
    /// Probe this server now, and not only at the next interval.
    Probe(ServerId),
    /// Tell people: one log event, one counter, one journal row.
    Record(Transition),
    /// Tell the operator what became of a request.
    Answer {
        /// The request.
        id: RequestId,
        /// What became of it.
        answer: Answer,
    },
}

/// Names one order among all that a machine ever gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

/// Work on one server. Each is idempotent: carried out twice it changes nothing the second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Make the master refuse writes: `SET GLOBAL read_only = 1` (MySQL: `super_read_only`), with a
    /// bound on waiting for table locks.
    Fence {
        /// Whom.
        server: ServerId,
    },
    /// Let the applier's commits not wait for a master that does not answer. With semi-synchronous
    /// replication both ways they do (they are passed on), so that a standby stands still from the
    /// moment its master freezes. It loses nothing: what it executes comes from that master.
    FreeApplier {
        /// Whose applier.
        server: ServerId,
    },
    /// Take the lock `tandem.switchover` on the master that is to be left, then on the one that is to be
    /// active by plan, and keep both until `Unclaim` or the end of the process: one switchover at a time,
    /// and everybody can see whether its author lives.
    Claim {
        /// The master that is to be left.
        server: ServerId,
        /// The one that is to be active; `None` in a failover, which takes place without a claim as well.
        next: Option<ServerId>,
    },
    /// Let go of both locks again.
    Unclaim {
        /// As for `Claim`.
        server: ServerId,
    },
    /// Over the connection that holds the claim on the master: ask the other proxies to drain it (the
    /// lock `tandem.draining`, which ends with the claim), and wait until all of them have. The result
    /// is `Others`.
    DrainOthers {
        /// The master that is to be left; it is claimed.
        server: ServerId,
        /// The connection of this proxy's own probes.
        own: Option<u32>,
        /// A proxy that has said nothing for longer than this is not waited for.
        alive_within: Duration,
        /// Answer after this long, whoever is left.
        timeout: Duration,
    },
    /// Tell whoever drains the master, by a lock that is kept until `Withdraw` or the end of the
    /// process, that no session of this proxy has anything open there, nor will have.
    Agree {
        /// The master that is to be left.
        server: ServerId,
        /// The connection that asked for it.
        drain: u32,
        /// The connection of this proxy's probes, by which it is known.
        connection: u32,
    },
    /// Take that back.
    Withdraw {
        /// As for `Agree`.
        server: ServerId,
    },
    /// Make the master refuse writes, and say what it had executed by then. The result is `Frozen`.
    Freeze {
        /// Whom.
        server: ServerId,
    },
    /// Wait until the applier has executed all of `position`.
    Reach {
        /// Whose applier.
        server: ServerId,
        /// What another master had executed.
        position: GtidSet,
        /// Give up after this long.
        timeout: Duration,
    },
    /// Wait until the applier has executed everything that was received.
    CatchUp {
        /// Whose applier.
        server: ServerId,
        /// Give up after this long.
        timeout: Duration,
    },
    /// `STOP SLAVE IO_THREAD` for what comes from `source`, so that nothing trickles in late.
    StopReceiving {
        /// The receiver.
        server: ServerId,
        /// The old master.
        source: ServerId,
    },
    /// `StopReceiving`, and throw away what came from `source` and was not executed, so that none of it is
    /// applied beside the writes to come. The result is `Dropped`.
    DropBacklog {
        /// The receiver.
        server: ServerId,
        /// The old master.
        source: ServerId,
    },
    /// `START SLAVE IO_THREAD` for what comes from `source`: the old master is back.
    StartReceiving {
        /// The receiver.
        server: ServerId,
        /// The master that returned.
        source: ServerId,
    },
    /// Read from the binary log of a returned master what it has and the active one lacks, and judge
    /// what of it could be merged. Changes nothing.
    Inspect {
        /// The returned master.
        server: ServerId,
        /// The active one.
        active: ServerId,
    },
    /// Undo on a returned master what the active one lacks, row by row and outside of its log. Changes
    /// nothing when it cannot all be undone. The result is `Discarded`; `PassOver` must follow.
    Discard {
        /// The returned master.
        server: ServerId,
        /// The active one.
        active: ServerId,
        /// The term that names it. If the server knows a higher one, it may have taken writes since:
        /// nothing is done and the result is `Superseded`.
        term: Term,
    },
    /// Have the active master count as executed what `source` has discarded, so that it never fetches
    /// it.
    PassOver {
        /// The active master.
        server: ServerId,
        /// The returned one.
        source: ServerId,
        /// What that one has discarded.
        discarded: Arc<Discarded>,
    },
    /// Write the decision on the new active and make it writable. The point of no return.
    Promote {
        /// The new active master.
        server: ServerId,
        /// The highest term the decision was made on. If the server knows a higher one, nothing is
        /// done and the result is `Superseded`. The term that is written must be *above* this one,
        /// also on a server that never received it (its own next key may be lower): the next key
        /// of the server's own class above both.
        seen: Term,
        /// Why, for the `reason` column.
        reason: String,
        /// The master that is left by plan. The term is then written over the very connection that
        /// holds its `Claim` on `server`, and by no other: whoever finds the claim ended there, and no
        /// newer term, knows that none will come.
        planned_from: Option<ServerId>,
    },
    /// Make the master that the present term names writable again (it restarted).
    Open {
        /// Whom.
        server: ServerId,
        /// The term that names it; not opened if the server knows a higher one.
        term: Term,
    },
}

impl Order {
    /// The server that the order works on.
    #[must_use]
    pub fn server(&self) -> ServerId {
        match self {
            Self::Fence { server }
            | Self::FreeApplier { server }
            | Self::Claim { server, .. }
            | Self::Unclaim { server }
            | Self::DrainOthers { server, .. }
            | Self::Agree { server, .. }
            | Self::Withdraw { server }
            | Self::Freeze { server }
            | Self::Reach { server, .. }
            | Self::CatchUp { server, .. }
            | Self::StopReceiving { server, .. }
            | Self::DropBacklog { server, .. }
            | Self::StartReceiving { server, .. }
            | Self::Inspect { server, .. }
            | Self::Discard { server, .. }
            | Self::PassOver { server, .. }
            | Self::Promote { server, .. }
            | Self::Open { server, .. } => *server,
        }
    }
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderResult {
    /// Done.
    Done,
    /// `Freeze` closed the server, which had executed this.
    Frozen(GtidSet),
    /// How far the other proxies are.
    Others(OtherProxies),
    /// `DropBacklog` threw these transactions away.
    Dropped(GtidSet),
    /// What `Inspect` found.
    Inspected(Arc<Stranded>),
    /// What `Discard` has undone.
    Discarded(Arc<Discarded>),
    /// `Promote` wrote this term and opened the server.
    Promoted(Term),
    /// `Promote`, `Open` or `Discard` found a higher term: somebody else decided.
    Superseded {
        /// The higher term.
        term: Term,
        /// Whom it makes active, by name.
        active: String,
    },
    /// Not done.
    Failed(OrderFailure),
}

/// How far other proxies are with draining a master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherProxies {
    /// The connection that asks them.
    pub drain: u32,
    /// Those that have not said that nothing is open: "connection 17 from 10.0.0.7:51234".
    pub undrained: Vec<String>,
    /// The longest of the transactions that are open on the master, while somebody is undrained:
    /// "connection 43 of app from 10.0.0.7:51300, for 6 s".
    pub transactions: Vec<String>,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderFailure {
    /// The server could not be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// Time ran out (catch-up, or a table lock in the way of `read_only`).
    #[error("not finished in time: {0}")]
    TimedOut(String),
    /// Somebody else holds the lock.
    #[error("{0} is switching over already")]
    Claimed(String),
    /// The applier is not running, so that what was received will never be executed.
    #[error("the applier is stopped: {0}")]
    ApplierStopped(String),
    /// The monitor's user may not; `grant` is the statement that mends it.
    #[error("{message}; mend it with: {grant}")]
    Denied {
        /// The server's words.
        message: String,
        /// The GRANT that is missing.
        grant: String,
    },
    /// What was ordered cannot be done, for this reason.
    #[error("{0}")]
    Impossible(String),
    /// Any other refusal of the server.
    #[error("error {code}: {message}")]
    Refused {
        /// The server's code.
        code: u16,
        /// The server's words.
        message: String,
    },
}

/// A change of phase, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The phase that was left, by name.
    pub from: &'static str,
    /// The phase that was entered, by name.
    pub to: &'static str,
    /// Why, in a sentence.
    pub reason: String,
    /// The server it is about, if it is about one.
    pub server: Option<ServerId>,
}
