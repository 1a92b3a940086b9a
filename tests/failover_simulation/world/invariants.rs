//! What must hold in every run, whatever goes wrong.

use tandem::config::{Fencing, ReturningMaster};
use tandem::routing::RoutingTable;
use tandem::topology::{Term, ThreadState};

use super::{MIN_INTERVAL, TIMEOUT, TROUBLE_ENDS, World};
use crate::cluster::Millis;

/// A server that a proxy has reached for as long as this can be asked, fenced and looked at, although
/// answers get lost.
const LONG_ENOUGH: Millis = 1000;

/// A switchover that was asked for so long ago has an end.
const FORCED_WITHIN: Millis = 5000;

/// That a proxy is done is heard of so often, while others are asked.
const CHANGED_ITS_MIND: Millis = 500;

impl World {
    /// Notes who reaches whom. Called whenever that may have changed.
    pub(super) fn note_touch(&mut self) {
        for proxy in 0..self.proxies.len() {
            for server in 0..self.cluster.servers.len() {
                let reached = self.reach(proxy, server).is_ok()
                    && self.proxies[proxy].stalled_until <= self.now;
                let told = reached && !self.cluster.servers[server].crowded;
                let now = self.now;
                let note = |since: &mut Option<Millis>, holds: bool| {
                    *since = since.or(Some(now)).filter(|_| holds);
                };
                note(&mut self.proxies[proxy].in_touch[server], told);
                note(&mut self.proxies[proxy].reached[server], reached);
            }
        }
    }

    /// A table was published: its term and generation grow, its writer was seen open.
    pub(super) fn check_table(&mut self, proxy: usize, table: &RoutingTable) {
        let state = &mut self.proxies[proxy];
        assert!(table.generation > state.generation, "the generation must grow");
        state.generation = table.generation;
        let Some(active) = table.active().map(|active| active.index()) else {
            return;
        };
        let told = state.told_open[active];
        assert!(told.is_some_and(|(_, open)| open), "a writer that nobody saw open");
        if let Some((term, before, _)) = state.published {
            assert!(table.term >= term, "the term went back from {term} to {}", table.term);
            assert!(table.term > term || before == active, "term {term} names two masters");
        }
        let another = state.published.is_some_and(|(_, before, _)| before != active);
        if another && state.planned != Some(table.term) {
            state.failed_over = Some(self.now);
        }
        if state.published.is_none_or(|(term, ..)| term < table.term) {
            state.published = Some((table.term, active, self.now));
        }
    }

    /// A client of a proxy that obeys `term` is about to write on `server`, which is open. Nobody may
    /// have gone on to a newer term before: not who could have closed the server, if he decided so; and
    /// if he only followed, not for longer than it takes this proxy to see the newer term, if it can.
    pub(super) fn check_write(&self, writer: usize, server: usize, term: Term) {
        if self.policy.fencing == Fencing::None || self.cluster.servers[server].wild {
            return;
        }
        for (number, proxy) in self.proxies.iter().enumerate() {
            let Some((newer, active, at)) = proxy.published else { continue };
            if newer <= term || active == server {
                continue;
            }
            let touch = proxy.in_touch[server].is_some_and(|since| since + LONG_ENOUGH <= at);
            let decided = proxy.promoted.is_some_and(|promoted| promoted == newer);
            // Somebody else may open it behind the last look at it.
            let opened = self.cluster.servers[server].opened;
            let had_to_close = touch && decided && opened + TIMEOUT < at.min(proxy.promotes);
            assert!(
                !(had_to_close || self.could_know(writer, newer)),
                "m{} takes a write by term {term}; p{number} made m{} active by term {newer} {} ms ago",
                server + 1,
                active + 1,
                self.now - at
            );
        }
    }

    /// Whether `proxy` has reached a server that knows of a decision not older than `term` for so long
    /// that it must have seen it.
    fn could_know(&self, proxy: usize, term: Term) -> bool {
        self.cluster.servers.iter().enumerate().any(|(number, server)| {
            let touch = self.proxies[proxy].in_touch[number];
            let known = server.learned.filter(|(known, _)| *known >= term.0);
            touch
                .zip(known)
                .is_some_and(|(touch, (_, since))| touch.max(since) + LONG_ENOUGH <= self.now)
        })
    }

    /// `server` is promoted above `seen`, for `reason`, by an order that has arrived there.
    pub(super) fn check_promotion(&self, proxy: usize, server: usize, seen: Term, reason: &str) {
        if seen == Term(0) {
            return self.check_nobody_knows_better(proxy);
        }
        self.check_old_is_closed(proxy, server, seen);
        if !is_planned(reason) && !is_ordered(reason) {
            self.check_called_for(proxy, server, seen, reason);
        }
        if reason.starts_with("forced") {
            return;
        }
        let state = &self.cluster.servers[server];
        for receiver in state.receivers.iter().filter(|receiver| !receiver.running) {
            for (received, executed) in receiver.received.into_iter().zip(state.executed) {
                assert!(
                    received <= executed || receiver.received[server] == received,
                    "promoted with received events that were not executed"
                );
            }
        }
        let status = self.proxies[proxy].machine.status();
        let held = status.quarantine.iter().any(|it| it.server.index() == server);
        assert!(!held, "m{} is promoted in quarantine", server + 1);
        if !is_planned(reason) {
            self.check_nobody_has_more(proxy, server, seen);
        }
    }

    /// Whether `proxy` has been told by `server`, ever since it was started, for so long that it knows it.
    fn knows(&self, proxy: usize, server: usize) -> bool {
        let touched = self.proxies[proxy].in_touch[server];
        let long_ago = |since| since + LONG_ENOUGH <= self.now;
        touched.is_some_and(long_ago) && long_ago(self.cluster.servers[server].booted)
    }

    /// The very first decision: nobody who could be asked has one.
    fn check_nobody_knows_better(&self, proxy: usize) {
        for (number, state) in self.cluster.servers.iter().enumerate() {
            let known = state.learned.is_some_and(|(_, since)| since + LONG_ENOUGH <= self.now);
            assert!(
                !(known && self.knows(proxy, number)),
                "a first decision although m{} knows of another",
                number + 1
            );
        }
    }

    /// The master that `term` made active.
    fn named(&self, term: Term) -> Option<usize> {
        self.cluster.servers.iter().find_map(|it| it.terms.get(&term.0)).copied()
    }

    /// The master that is replaced is closed, if it could be.
    fn check_old_is_closed(&self, proxy: usize, server: usize, seen: Term) {
        let Some(old) = self.named(seen).filter(|old| *old != server) else { return };
        let state = &self.cluster.servers[old];
        let open = !state.read_only && !state.wild && state.opened + LONG_ENOUGH <= self.now;
        assert!(
            self.policy.fencing == Fencing::None || !open || !self.knows(proxy, old),
            "m{} is promoted while m{} is open and in reach",
            server + 1,
            old + 1
        );
    }

    /// A failover that nobody asked for: not soon after another, and not of a master that answers.
    fn check_called_for(&self, proxy: usize, server: usize, seen: Term, reason: &str) {
        let state = &self.proxies[proxy];
        if let Some(last) = state.failed_over {
            let pause = self.now - last;
            assert!(pause >= MIN_INTERVAL, "a failover {pause} ms after another");
        }
        let Some(old) = self.named(seen).filter(|old| *old != server) else { return };
        // It may be another one that is replaced: one whose promotion was never answered.
        if !reason.starts_with(&format!("m{} ", old + 1)) {
            return;
        }
        let crowded = self.cluster.servers[old].crowded;
        let reached = state.reached[old].is_some_and(|since| since + LONG_ENOUGH <= self.now);
        let awake = state.resumed + LONG_ENOUGH <= self.now;
        assert!(!(crowded && reached && awake), "a failover of m{}, which answers", old + 1);
    }

    /// A switchover closes `server`: no other proxy that could be told lets its sessions open anything there.
    /// It may have changed its mind since it was heard (its look failed, and it looked again).
    pub(super) fn check_drained(&self, proxy: usize, server: usize) {
        let forced = self.proxies[proxy].forced;
        if forced.is_some_and(|at| at + FORCED_WITHIN > self.now) {
            return;
        }
        for (number, other) in self.proxies.iter().enumerate().filter(|(it, _)| *it != proxy) {
            let known = other.in_touch[server].is_some_and(|since| since + LONG_ENOUGH <= self.now);
            let serves = other
                .serves
                .is_some_and(|(on, since)| on == server && since + CHANGED_ITS_MIND <= self.now);
            assert!(!(known && serves), "a switchover closes m{} under p{number}", server + 1);
        }
    }

    /// A planned switchover: the new active has all that the old one has, and nobody has opened that one
    /// again meanwhile.
    pub(super) fn check_nothing_left(&self, server: usize, left: usize) {
        let (old, has) = (&self.cluster.servers[left], self.cluster.servers[server].executed);
        assert!(old.read_only || old.wild, "a switchover goes on although m{} is open", left + 1);
        assert!(
            old.executed.iter().zip(has).all(|(theirs, ours)| *theirs <= ours),
            "a switchover lost {:?} - {has:?}",
            old.executed
        );
    }

    /// What a standby that the proxy could ask has received of the old active, the new one has.
    fn check_nobody_has_more(&self, proxy: usize, server: usize, seen: Term) {
        let cluster = &self.cluster;
        let Some(old) = self.named(seen).filter(|old| *old != server) else { return };
        let ours = cluster.servers[server].has()[old];
        let quarantine = self.proxies[proxy].machine.status().quarantine;
        for (other, state) in cluster.servers.iter().enumerate() {
            let touched = self.proxies[proxy].in_touch[other];
            let asked = touched.is_some_and(|since| since + LONG_ENOUGH <= self.now);
            // Whoever is not told to stop by another proxy meanwhile, or restarts, was told so by this one.
            let told = self.proxies.len() == 1 && self.proxies[proxy].queues[other].is_empty();
            let receives = state.receiver(old).is_some_and(|receiver| receiver.running);
            assert!(
                !(told && receives && other != server && other != old && self.knows(proxy, other)),
                "m{} is promoted while m{} still receives from m{}",
                server + 1,
                other + 1,
                old + 1
            );
            // One that was told to stop receives nothing behind its last look.
            let sealed = state.receivers.iter().all(|it| it.source == server || !it.running);
            // What is in quarantine passes nothing on.
            let kept_out = quarantine.iter().any(|it| it.server.index() == other);
            // One whose applier stood still when it was looked at had nothing to give.
            let applies =
                state.applying && (state.mended == 0 || state.mended + TIMEOUT <= self.now);
            if kept_out || [old, server].contains(&other) || !asked || !applies || !sealed {
                continue;
            }
            assert!(
                state.has()[old] <= ours,
                "m{} is promoted with {ours} of m{}, m{} has {}",
                server + 1,
                old + 1,
                other + 1,
                state.has()[old]
            );
        }
    }

    /// Nothing of a closed standby that the active master lacks reaches anybody who has not got it before
    /// it is released, and operators release only in peace. A proxy that has just come back from a
    /// standstill may not know what others did meanwhile.
    pub(super) fn check_quarantine(&self, proxy: usize, receiver: usize, standby: usize) {
        if self.proxies[proxy].resumed + TIMEOUT > self.now
            || self.policy.returning_master == ReturningMaster::Merge
            || self.now >= TROUBLE_ENDS
        {
            return;
        }
        let cluster = &self.cluster;
        let highest = (0..cluster.servers.len()).filter_map(|server| cluster.highest_term(server));
        let Some((_, active)) = highest.max().filter(|(_, active)| *active != standby) else {
            return;
        };
        let (from, to) = (&cluster.servers[standby], &cluster.servers[active]);
        let direct = to.receiver(standby).is_some_and(|it| it.running) && receiver != active;
        assert!(
            !from.read_only
                || to.read_only
                || direct
                || cluster.servers[receiver].receiver(standby).is_none_or(|it| it.running)
                || from.log.len() <= to.executed[standby]
                || from.log.len() <= cluster.servers[receiver].executed[standby],
            "m{} is about to receive what m{} has stranded",
            receiver + 1,
            standby + 1
        );
    }

    /// Everything works and everybody sees everything: they agree, and all receive from each other. Says
    /// what is not so.
    pub(super) fn unrest(&self) -> Option<String> {
        let active = self.proxies[0].machine.table().active();
        for proxy in &self.proxies {
            let status = proxy.machine.status();
            if status.phase != "steady" {
                return Some(format!("not back to peace: {status:?}"));
            }
            if !proxy.asked.is_empty() {
                return Some("a request was never answered".to_owned());
            }
            if proxy.machine.table().active() != active {
                return Some("the proxies have different active masters".to_owned());
            }
        }
        let Some(active) = active.map(|active| active.index()) else {
            return Some("nobody is active".to_owned());
        };
        for (number, server) in self.cluster.servers.iter().enumerate() {
            let fenced = self.policy.fencing == Fencing::ReadOnly;
            if number == active && server.read_only {
                return Some("the active master is closed".to_owned());
            }
            if number != active && !server.read_only && fenced {
                return Some(format!("the standby m{} is open", number + 1));
            }
            for receiver in &server.receivers {
                let state = self.cluster.receiver_state(number, receiver.source);
                let (to, from) = (number + 1, receiver.source + 1);
                if state != Some(ThreadState::Yes) {
                    return Some(format!("m{to} does not receive from m{from}"));
                }
            }
        }
        None
    }
}

/// Whether a promotion for this reason ends a switchover.
pub(super) fn is_planned(reason: &str) -> bool {
    reason.starts_with("switchover")
}

/// Whether an operator wants it.
fn is_ordered(reason: &str) -> bool {
    reason.ends_with("by an operator")
}
