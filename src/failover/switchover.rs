//! A planned change of the active master: what is asked before anything is touched, and what its
//! phases share.
//!
//! ```text
//!   steady ──► approaching ──► draining ──► freezing ──► promoting ──► steady
//!     ▲             │              │            │
//!     └─────────────┴──────────────┴────────────┘  undone: as it was
//! ```
//!
//! Until the term is written everything can be undone, and undoing is no sequence of its own: the
//! highest term still names the old master, so that `decide` opens it again if it was closed and
//! publishes it. Only the reason has to be kept for whoever asked.
//!
//! From the beginning to the end a lock on both masters is held (`Order::Claim`). It keeps a second
//! switchover out, and it tells every other proxy whether somebody is still at work on a master that
//! is closed: the lock ends with the process that holds it.
//!
//! A connection may also break while its coordinator lives, so that the end of the lock on the old
//! master alone proves nothing. But the term is written over the connection that holds the lock on the
//! new one: whoever sees the old master closed, and *then* finds on the new one neither the lock nor a
//! newer term, knows that this switchover will never write one, and may open the old master at once
//! (`opening.rs`).

use std::time::Instant;

use super::action::Order;
use super::approaching::Approaching;
use super::assessment::Verdict;
use super::candidate::{channel_from, objection};
use super::context::Context;
use super::delivery::{Hop, way};
use super::opening::Opening;
use super::phase::{Phase, decide};
use super::request::{Answer, RequestId};
use crate::config::Fencing;
use crate::topology::{Channel, Flavor, ServerId, Term, TermStore, ThreadState};

/// A switchover under way.
#[derive(Clone, Debug)]
pub(super) struct Switchover {
    /// Whom to tell; `None` when nobody asked.
    pub(super) request: Option<RequestId>,
    pub(super) from: ServerId,
    pub(super) to: ServerId,
    /// Whether sessions that cannot let go are broken off.
    pub(super) force: bool,
    /// It stands only as long as this is the highest term.
    pub(super) seen: Term,
    /// Since when statements wait.
    pub(super) held_since: Option<Instant>,
    /// What became of the sessions that did not let go, for the answer.
    pub(super) broken: usize,
}

impl Switchover {
    /// Begins to make `to` active in the place of `from`.
    pub(super) fn begin(
        cx: &mut Context,
        from: ServerId,
        to: ServerId,
        force: bool,
        request: Option<RequestId>,
    ) -> Phase {
        let why = if request.is_some() { "asked for" } else { "failback" };
        cx.because(
            format!("switchover from {} to {}: {why}", cx.name(from), cx.name(to)),
            Some(to),
        );
        let switchover = Self { request, force, ..Self::planned(cx, from, to) };
        Approaching::enter(cx, switchover)
    }

    /// One that nobody asked for.
    pub(super) fn planned(cx: &Context, from: ServerId, to: ServerId) -> Self {
        let seen = cx.term();
        Self { request: None, from, to, force: false, seen, held_since: None, broken: 0 }
    }

    /// What happened that this switchover must not outlive.
    pub(super) fn obstacle(&self, cx: &Context) -> Option<String> {
        if let Some((term, active)) = cx.highest.as_ref().filter(|(term, _)| *term > self.seen) {
            return Some(format!("meanwhile term {term} made {active} active"));
        }
        for server in [self.from, self.to] {
            if let Verdict::Suspect(_) | Verdict::Down(_) | Verdict::Isolated { .. } =
                cx.verdict(server)
            {
                return Some(cx.describe(server));
            }
        }
        None
    }

    /// The same while the old master is not frozen yet: nobody else may have closed it.
    pub(super) fn obstacle_while_open(&self, cx: &Context) -> Option<String> {
        let closed = cx.writability.read_only(self.from) == Some(true);
        self.obstacle(cx).or_else(|| {
            closed.then(|| format!("{} was made read-only by somebody else", cx.name(self.from)))
        })
    }

    /// Nothing was frozen yet: all goes on as before.
    pub(super) fn give_up(self, cx: &mut Context, reason: &str) -> Phase {
        self.tell_undone(cx, reason);
        cx.run(Order::Unclaim { server: self.from });
        decide(cx)
    }

    /// The old master may be closed: it is opened again.
    pub(super) fn undo(self, cx: &mut Context, reason: &str) -> Phase {
        if cx.term() > self.seen {
            return self.give_up(cx, reason);
        }
        self.tell_undone(cx, reason);
        let phase = Opening::undo(cx, self.from, self.seen);
        cx.run(Order::Unclaim { server: self.from });
        phase
    }

    fn tell_undone(&self, cx: &mut Context, reason: &str) {
        cx.pace = None;
        let (from, to) = (cx.name(self.from), cx.name(self.to));
        let reason = match self.held_since {
            None => format!("no switchover from {from} to {to}: {reason}"),
            Some(_) => format!("switchover from {from} to {to} is undone: {reason}"),
        };
        if let Some(request) = self.request {
            cx.answer(request, Answer::Refused(reason.clone()));
        }
        cx.switchover_failed = Some(cx.now);
        cx.because(reason, Some(self.to));
    }
}

/// What speaks against a switchover, by what both masters say of themselves now, while nothing has
/// been touched.
pub(super) fn preflight(cx: &Context, switchover: &Switchover) -> Option<String> {
    let Switchover { from, to, force, .. } = *switchover;
    if cx.policy.fencing == Fencing::None {
        let reason =
            "with fencing = \"none\" nothing would keep other proxies' clients from writing to";
        return Some(format!("{reason} {} meanwhile", cx.name(from)));
    }
    if let Some(reason) =
        objection(&cx.topology, &cx.links, &cx.quarantine, &cx.policy, to, Some(from))
    {
        return Some(format!("{} {reason}", cx.name(to)));
    }
    if let Some(TermStore::Denied(words)) = cx.topology.facts(to).map(|facts| &facts.terms) {
        return Some(format!("no decision can be written on {}: {words}", cx.name(to)));
    }
    if let Some(reason) = broken_link(cx, to, from) {
        return Some(reason);
    }
    // Its own changes would not get back to the old master. An operator may want that.
    broken_link(cx, from, to).filter(|_| !force)
}

/// Why `receiver` does not follow `source` now, directly or by way of others.
fn broken_link(cx: &Context, receiver: ServerId, source: ServerId) -> Option<String> {
    let alive = |server| matches!(cx.verdict(server), Verdict::Alive);
    match way(&cx.topology, receiver, source, alive) {
        Some(way) => way.into_iter().find_map(|hop| broken_hop(cx, hop)),
        None => Some(format!("{} receives nothing from {}", cx.name(receiver), cx.name(source))),
    }
}

fn broken_hop(cx: &Context, (receiver, source): Hop) -> Option<String> {
    let (name, from) = (cx.name(receiver), cx.name(source));
    let channel = channel_from(&cx.topology, receiver, source)?;
    if !channel.uses_gtid {
        let mend = cx
            .topology
            .facts(receiver)
            .map(|facts| format!("; mend it with: {}", use_gtid(facts.identity.flavor, channel)));
        return Some(format!(
            "{name} receives from {from} without GTID, so that nobody can tell when it has all{}",
            mend.unwrap_or_default()
        ));
    }
    if channel.io != ThreadState::Yes {
        let (code, words) = &channel.io_error;
        let error = if *code == 0 { String::new() } else { format!(", error {code}: {words}") };
        return Some(format!(
            "{name} is not receiving from {from} (Slave_IO_Running: {}{error})",
            channel.io
        ));
    }
    (channel.sql != ThreadState::Yes)
        .then(|| format!("{name} does not apply what it gets (Slave_SQL_Running: {})", channel.sql))
}

/// What has a channel that is told a file and a position follow GTIDs. Of one that knows its
/// position the server knows what it has executed, in either family.
fn use_gtid(flavor: Flavor, channel: &Channel) -> String {
    let name = channel.name.replace('\'', "''");
    match flavor {
        Flavor::MariaDb => format!(
            "STOP SLAVE '{name}'; CHANGE MASTER '{name}' TO MASTER_USE_GTID=slave_pos; \
             START SLAVE '{name}'"
        ),
        Flavor::MySql => format!(
            "STOP REPLICA FOR CHANNEL '{name}'; \
             CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1 FOR CHANNEL '{name}'; \
             START REPLICA FOR CHANNEL '{name}'"
        ),
    }
}
