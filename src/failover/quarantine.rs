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

use super::action::{Order, OrderId, OrderResult};
use super::context::Context;
use super::policy::ERRAND_SPACING;
use super::request::{Answer, Release, RequestId};
use crate::topology::{GtidSet, ServerId, Stranded};

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
        let asked = self.0.remove(&server).and_then(|before| before.asked);
        let reading = Some(cx.run(Order::Inspect { server, active }));
        let isolated = Isolated {
            active,
            stranded,
            since: cx.now,
            findings: None,
            reading,
            read_after: cx.now + READ_AGAIN,
            delivering: None,
            act_after: cx.now,
            asked,
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
        if let Some(facts) = cx.topology.facts(active) {
            isolated.stranded = isolated.stranded.subtract(&facts.executed);
        }
        if isolated.stranded.is_empty() {
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
        let force = match how {
            Release::Merge { force } => force,
            Release::Discard => {
                let to = cx.name(active);
                let reason = format!(
                    "Tandem does not undo what {name} committed and {to} never received; to \
                     discard it, seed {name} anew from {to}"
                );
                cx.answer(id, Answer::Refused(reason));
                return;
            }
        };
        if isolated.asked.is_some() {
            cx.answer(id, Answer::Refused(format!("{name} is being released already")));
            return;
        }
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
        let ours =
            |isolated: &Isolated| isolated.reading == Some(id) || isolated.delivering == Some(id);
        let (&server, isolated) = self.0.iter_mut().find(|(_, isolated)| ours(isolated))?;
        if isolated.delivering == Some(id) {
            isolated.delivering = None;
            let (from, to) = (cx.name(server).to_owned(), cx.name(isolated.active).to_owned());
            if let OrderResult::Failed(failure) = result {
                let reason = format!("{to} does not receive from {from}: {failure}");
                isolated.refuse(cx, reason);
                return None;
            }
            let merged = transactions(isolated.stranded.count());
            let reason = format!("{to} receives from {from} again, and {merged} with it");
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
    fn read(&mut self, cx: &mut Context, server: ServerId, result: &OrderResult) {
        let (from, to) = (cx.name(server).to_owned(), cx.name(self.active).to_owned());
        let found = match result {
            OrderResult::Inspected(found) => Arc::clone(found),
            other => {
                let why = match other {
                    OrderResult::Failed(failure) => failure.to_string(),
                    other => format!("{other:?}"),
                };
                let reason = format!("what {from} has and {to} lacks cannot be read: {why}");
                cx.record("quarantine", "quarantine", reason.clone(), Some(server));
                self.refuse(cx, reason);
                return;
            }
        };
        let reason = format!("of what {from} has and {to} lacks: {found}");
        self.findings = Some(Arc::clone(&found));
        let release = match self.asked {
            Some(_) if !found.is_safe() => {
                self.refuse(cx, format!("{reason}; SHOW STRANDED {from} lists it"));
                false
            }
            Some(_) => true,
            None => {
                cx.record("quarantine", "quarantine", reason, Some(server));
                found.is_own()
            }
        };
        if release && cx.table.active() == Some(self.active) {
            self.deliver(cx, server);
        } else if release {
            self.refuse(cx, format!("{to} is not active any more"));
        }
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

/// Whether the server was started after `moment`. What it says of itself is whole seconds.
fn booted_since(cx: &Context, server: ServerId, moment: Instant) -> bool {
    let seen = cx.topology.seen(server);
    let booted = seen.facts.as_ref().and_then(|(at, facts)| at.checked_sub(facts.uptime));
    booted.is_some_and(|booted| booted > moment)
}
