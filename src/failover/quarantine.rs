//! Masters that returned with something that the active one never received.
//!
//! They receive from the active master like any standby. But the active one does not receive from
//! them, and they are no candidates for its place, until an operator has said what is to become of
//! what is stranded (`RELEASE`), or until it turned out to be nothing but Tandem's own records.
//! Who comes in here is found out by `errands.rs`, from what is seen: a proxy that starts, and every
//! other one, comes to the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::action::{Order, OrderFailure, OrderId, OrderResult};
use super::candidate::channel_from;
use super::context::Context;
use super::delivery::{executed, received};
use super::policy::ERRAND_SPACING;
use super::request::{Answer, Release, RequestId};
use crate::topology::{Discarded, GtidSet, ServerId, Stranded, ThreadState};

/// After this what could not be read is tried again.
const READ_AGAIN: Duration = Duration::from_secs(30);

/// The masters in quarantine.
#[derive(Clone, Debug, Default)]
pub struct Quarantine(BTreeMap<ServerId, Isolated>);

/// A master in quarantine, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Who.
    pub server: ServerId,
    /// The active master, which lacks what it has.
    pub active: ServerId,
    /// What that is.
    pub stranded: GtidSet,
    /// What was last read of it and judged, once it has been.
    pub findings: Option<Arc<Stranded>>,
}

/// How a quarantine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The active one has all that was found. There may be more since: somebody may have opened the master
    /// in between.
    Received,
    /// Somebody lets it deliver what it has.
    Released,
}

#[derive(Clone, Debug)]
struct Isolated {
    /// The active master, which lacks it.
    active: ServerId,
    stranded: GtidSet,
    since: Instant,
    /// What was read and judged.
    findings: Option<Arc<Stranded>>,
    /// The reading that is under way.
    reading: Option<OrderId>,
    read_after: Instant,
    /// The start of the active master's receiver that is under way.
    delivering: Option<OrderId>,
    /// Its undoing, or the active master's passing over, that is under way.
    discarding: Option<OrderId>,
    /// A discard has begun, and it is not known that nothing came of it.
    half_discarded: bool,
    /// What was discarded.
    discarded: Option<Arc<Discarded>>,
    act_after: Instant,
    /// Who wants it released.
    asked: Option<(RequestId, bool)>,
}

impl Quarantine {
    /// Who is in it, for people.
    pub(super) fn listed(&self) -> Vec<Quarantined> {
        let listed = |(server, isolated): (&ServerId, &Isolated)| Quarantined {
            server: *server,
            active: isolated.active,
            stranded: isolated.stranded.clone(),
            findings: isolated.findings.clone(),
        };
        self.0.iter().map(listed).collect()
    }

    /// Whether `server` is in it.
    pub(super) fn holds(&self, server: ServerId) -> bool {
        self.0.contains_key(&server)
    }

    /// What there is against `server` as the next active master, to follow its name.
    pub(super) fn objection(&self, server: ServerId, name: &str, active: &str) -> Option<String> {
        let isolated = self.0.get(&server)?;
        let (count, stranded) = (transactions(isolated.stranded.count()), &isolated.stranded);
        Some(format!("is in quarantine: {active} lacks {count} of it ({stranded}); RELEASE {name}"))
    }

    /// Takes a master in, and has read what it has.
    pub(super) fn take_in(
        &mut self,
        cx: &mut Context,
        server: ServerId,
        active: ServerId,
        stranded: GtidSet,
    ) {
        let reading = Some(cx.run(Order::Inspect { server, active }));
        let before = self.0.remove(&server).filter(|before| before.active == active);
        let isolated = before.unwrap_or_else(|| Isolated::new(cx, active));
        // It may have been away for a moment only: what is under way goes on.
        let read_after = cx.now + READ_AGAIN;
        let isolated = Isolated {
            stranded,
            since: cx.now,
            findings: None,
            reading,
            read_after,
            act_after: cx.now,
            ..isolated
        };
        self.0.insert(server, isolated);
    }

    /// Another master is active: what it lacks has to be seen anew.
    pub(super) fn forget_others(&mut self, cx: &mut Context, active: ServerId) {
        let gone: Vec<ServerId> = self
            .0
            .iter()
            .filter(|(server, isolated)| isolated.active != active || **server == active)
            .map(|(server, _)| *server)
            .collect();
        for server in gone {
            let reason = format!("{} is active now", cx.name(active));
            self.end(cx, server, Answer::Refused(reason));
        }
    }

    /// Looks after one of them. `open`: who receives from it although that was stopped: the active
    /// master, or one that passes it on. Returns how its quarantine ended, if it did.
    pub(super) fn look_after(
        &mut self,
        cx: &mut Context,
        server: ServerId,
        open: Option<ServerId>,
    ) -> Option<Ended> {
        let isolated = self.0.get_mut(&server)?;
        let active = isolated.active;
        if isolated.discarding.is_some() {
            return None;
        }
        if let Some(facts) = cx.topology.facts(active) {
            isolated.stranded = isolated.stranded.subtract(&facts.executed);
        }
        if isolated.stranded.is_empty() && isolated.delivering.is_none() {
            let reason = format!("{} has all that {} has", cx.name(active), cx.name(server));
            cx.record("quarantine", "standby", reason.clone(), Some(server));
            self.end(cx, server, Answer::Done(reason));
            return Some(Ended::Received);
        }
        if isolated.delivering.is_some() {
            return None;
        }
        if let Some(receiver) = open {
            if !booted_since(cx, receiver, isolated.since) {
                let (from, to) = (cx.name(server), cx.name(receiver));
                let reason = format!("{to} receives from {from}: somebody released it");
                cx.record("quarantine", "standby", reason.clone(), Some(server));
                self.end(cx, server, Answer::Done(reason));
                return Some(Ended::Released);
            }
            // Its receivers started with it, and nobody has released anything.
            if cx.now >= isolated.act_after {
                isolated.act_after = cx.now + ERRAND_SPACING;
                cx.run(Order::StopReceiving { server: receiver, source: server });
            }
            return None;
        }
        if isolated.findings.is_none()
            && isolated.reading.is_none()
            && cx.now >= isolated.read_after
        {
            isolated.read_after = cx.now + READ_AGAIN;
            isolated.reading = Some(cx.run(Order::Inspect { server, active }));
        }
        if isolated.findings.as_ref().is_some_and(|found| found.is_own())
            && !isolated.half_discarded
            && cx.now >= isolated.act_after
        {
            isolated.deliver(cx, server);
        }
        None
    }

    /// What an operator wants done with what is stranded.
    pub(super) fn release(
        &mut self,
        cx: &mut Context,
        id: RequestId,
        server: ServerId,
        how: Release,
    ) {
        let name = cx.name(server).to_owned();
        let Some(isolated) = self.0.get_mut(&server) else {
            cx.answer(id, Answer::Refused(format!("{name} is not in quarantine")));
            return;
        };
        let active = isolated.active;
        if isolated.asked.is_some() {
            cx.answer(id, Answer::Refused(format!("{name} is being released already")));
            return;
        }
        let force = match how {
            Release::Merge { .. } if isolated.half_discarded => {
                let reason = format!(
                    "{name} has discarded it, or some Tandem was about to: what is merged would be on \
                     {} alone; RELEASE {name} DISCARD once more",
                    cx.name(active)
                );
                cx.answer(id, Answer::Refused(reason));
                return;
            }
            Release::Merge { force } => force,
            Release::Discard => {
                isolated.discard(cx, id, server);
                return;
            }
        };
        isolated.asked = Some((id, force));
        if !force {
            // The active one has gone on since the last time.
            isolated.reading = Some(cx.run(Order::Inspect { server, active }));
        } else if cx.table.active() == Some(active) {
            isolated.deliver(cx, server);
        } else {
            let to = cx.name(active);
            let answer =
                format!("{name} is out of quarantine; {to} receives what it lacks when it is back");
            cx.record("quarantine", "standby", answer.clone(), Some(server));
            self.end(cx, server, Answer::Done(answer));
        }
    }

    /// Takes the answer of an order in. Returns a master that this set free.
    pub(super) fn finished(
        &mut self,
        cx: &mut Context,
        id: OrderId,
        result: &OrderResult,
    ) -> Option<ServerId> {
        let ours = |isolated: &Isolated| {
            [isolated.reading, isolated.delivering, isolated.discarding].contains(&Some(id))
        };
        let (&server, isolated) = self.0.iter_mut().find(|(_, isolated)| ours(isolated))?;
        if isolated.discarding == Some(id) {
            isolated.discarding = None;
            isolated.discarding_ended(cx, server, result);
            return None;
        }
        if isolated.delivering == Some(id) {
            isolated.delivering = None;
            let (from, to) = (cx.name(server).to_owned(), cx.name(isolated.active).to_owned());
            if let OrderResult::Failed(failure) = result {
                let reason = format!("{to} does not receive from {from}: {failure}");
                isolated.refuse(cx, reason);
                return None;
            }
            let reason = match &isolated.discarded {
                Some(discarded) => format!("{to} receives from {from} again, without {discarded}"),
                None => {
                    let merged = transactions(isolated.stranded.count());
                    format!("{to} receives from {from} again, and {merged} with it")
                }
            };
            cx.record("quarantine", "standby", reason.clone(), Some(server));
            self.end(cx, server, Answer::Done(reason));
            return Some(server);
        }
        isolated.reading = None;
        isolated.read(cx, server, result);
        None
    }

    /// Ends the quarantine of a master; whoever asked for it hears this.
    fn end(&mut self, cx: &mut Context, server: ServerId, answer: Answer) {
        if let Some(Isolated { asked: Some((id, _)), .. }) = self.0.remove(&server) {
            cx.answer(id, answer);
        }
    }
}

impl Isolated {
    fn new(cx: &Context, active: ServerId) -> Self {
        Self {
            active,
            stranded: GtidSet::empty(),
            since: cx.now,
            findings: None,
            reading: None,
            read_after: cx.now,
            delivering: None,
            discarding: None,
            half_discarded: false,
            discarded: None,
            act_after: cx.now,
            asked: None,
        }
    }

    fn read(&mut self, cx: &mut Context, server: ServerId, result: &OrderResult) {
        let (from, to) = (cx.name(server).to_owned(), cx.name(self.active).to_owned());
        // Another release is on its way; this was read for nobody but the reader.
        let busy = self.delivering.is_some() || self.discarding.is_some();
        let asked = self.asked.is_some() && !busy;
        let found = match result {
            OrderResult::Inspected(found) => Arc::clone(found),
            other => {
                let why = match other {
                    OrderResult::Failed(failure) => failure.to_string(),
                    other => format!("{other:?}"),
                };
                let reason = format!("what {from} has and {to} lacks cannot be read: {why}");
                cx.record("quarantine", "quarantine", reason.clone(), Some(server));
                if asked {
                    self.refuse(cx, reason);
                }
                return;
            }
        };
        let reason = format!("of what {from} has and {to} lacks: {found}");
        self.findings = Some(Arc::clone(&found));
        if asked && !found.is_safe() {
            self.refuse(cx, format!("{reason}; SHOW STRANDED {from} lists it"));
            return;
        }
        if !asked {
            cx.record("quarantine", "quarantine", reason, Some(server));
        }
        let release = asked || found.is_own() && !busy && !self.half_discarded;
        if release && cx.table.active() == Some(self.active) {
            self.deliver(cx, server);
        } else if asked {
            self.refuse(cx, format!("{to} is not active any more"));
        }
    }

    /// Has what is stranded undone. The active master must be there to be told of it, and nobody else may
    /// fetch it meanwhile: of more than two masters one might.
    fn discard(&mut self, cx: &mut Context, id: RequestId, server: ServerId) {
        let (from, to) = (cx.name(server), cx.name(self.active));
        let objection = if cx.masters().len() > 2 {
            Some(format!("nothing is discarded among more than two masters; seed {from} anew"))
        } else if cx.table.active() != Some(self.active) {
            Some(format!("{to} is not active: it could not be told what {from} has discarded"))
        } else if self.delivering.is_some() || receives(cx, self.active, server) {
            Some(format!("{to} receives from {from}, or is about to"))
        } else if self.comes(cx) {
            Some(format!("{to} has received some of it and executes that yet; try again"))
        } else {
            None
        };
        if let Some(reason) = objection {
            cx.answer(id, Answer::Refused(reason));
            return;
        }
        self.asked = Some((id, false));
        let (active, term) = (self.active, cx.term());
        self.discarding = Some(cx.run(Order::Discard { server, active, term }));
    }

    /// Whether the active master has received anything of it without executing it: after a restart,
    /// its receivers may have run before they were stopped.
    fn comes(&self, cx: &Context) -> bool {
        let lacking = self.stranded.subtract(&executed(&cx.topology, self.active));
        let for_good = lacking.subtract(&received(&cx.topology, self.active));
        !lacking.subtract(&for_good).is_empty()
    }

    /// First the returned master has undone it, then the active one passes over it. In this order: a
    /// Tandem that dies in between leaves a quarantine, and the next `RELEASE` finds the rows as they are
    /// to be.
    fn discarding_ended(&mut self, cx: &mut Context, server: ServerId, result: &OrderResult) {
        let (from, to) = (cx.name(server).to_owned(), cx.name(self.active).to_owned());
        let reason = match (result, self.discarded.clone()) {
            (OrderResult::Discarded(discarded), _) => {
                let reason = format!(
                    "{from} has discarded what {to} never received: {discarded}; the binary log of \
                     {from} still has it"
                );
                cx.record("quarantine", "discarded", reason, Some(server));
                self.half_discarded = true;
                self.discarded = Some(Arc::clone(discarded));
                self.discarding = Some(cx.run(Order::PassOver {
                    server: self.active,
                    source: server,
                    discarded: Arc::clone(discarded),
                }));
                return;
            }
            (OrderResult::Done, Some(discarded)) => {
                self.stranded = self.stranded.subtract(&discarded.gtids);
                // No number at all: the active one had it by the time.
                if self.stranded.is_empty() || discarded.gtids.is_empty() {
                    self.deliver(cx, server);
                    return;
                }
                format!("{from} has more since: {}", self.stranded)
            }
            (OrderResult::Failed(failure), Some(_)) => format!(
                "{from} has discarded what {to} never received, but {to} may still fetch it: \
                 {failure}; RELEASE {from} DISCARD once more"
            ),
            (
                OrderResult::Failed(
                    failure @ (OrderFailure::Unreachable(_) | OrderFailure::TimedOut(_)),
                ),
                None,
            ) => {
                self.half_discarded = true;
                format!(
                    "it is not known whether {from} has discarded anything: {failure}; RELEASE {from} \
                     DISCARD once more"
                )
            }
            (OrderResult::Failed(failure), None) => {
                format!("{from} discards nothing: {failure}")
            }
            (OrderResult::Superseded { term, active }, _) => {
                format!("{from} discards nothing: term {term} made {active} active")
            }
            (other, _) => format!("{from} discards nothing: {other:?}"),
        };
        self.discarded = None;
        cx.record("quarantine", "quarantine", reason.clone(), Some(server));
        self.refuse(cx, reason);
    }

    fn deliver(&mut self, cx: &mut Context, server: ServerId) {
        if self.delivering.is_none() {
            self.act_after = cx.now + ERRAND_SPACING;
            let order = Order::StartReceiving { server: self.active, source: server };
            self.delivering = Some(cx.run(order));
        }
    }

    fn refuse(&mut self, cx: &mut Context, reason: String) {
        if let Some((id, _)) = self.asked.take() {
            cx.answer(id, Answer::Refused(reason));
        }
    }
}

/// `1 transaction`, `5 transactions`
pub(super) fn transactions(count: u64) -> String {
    if count == 1 { "1 transaction".to_owned() } else { format!("{count} transactions") }
}

/// Whether `receiver` received from `source` when it was last looked at.
fn receives(cx: &Context, receiver: ServerId, source: ServerId) -> bool {
    let channel = channel_from(&cx.topology, receiver, source);
    channel.is_some_and(|channel| channel.io != ThreadState::No)
}

/// Whether the server was started after `moment`. What it says of itself is whole seconds.
fn booted_since(cx: &Context, server: ServerId, moment: Instant) -> bool {
    let seen = cx.topology.seen(server);
    let booted = seen.facts.as_ref().and_then(|(at, facts)| at.checked_sub(facts.uptime));
    booted.is_some_and(|booted| booted > moment)
}
