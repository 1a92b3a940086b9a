//! What a proxy sees: its probes, and what its sessions run into.

use std::time::Duration;

use tandem::failover::Event;
use tandem::topology::{Observation, Outcome, ServerId, Source, UnreachableKind};

use super::{Happening, TIMEOUT, World};
use crate::cluster::Millis;

impl World {
    pub(super) fn start_monitors(&mut self, proxy: usize) {
        let life = self.proxies[proxy].life;
        for server in 0..self.cluster.servers.len() {
            let first = self.below(10);
            self.after(first, Happening::ProbeDue { proxy, server, life });
        }
    }

    pub(super) fn probe(&mut self, proxy: usize, server: usize) {
        let life = self.proxies[proxy].life;
        let monitor = &mut self.proxies[proxy].monitors[server];
        if monitor.busy {
            monitor.again = true;
            return;
        }
        monitor.busy = true;
        monitor.found = None;
        let began = self.now;
        let latency = self.below(3);
        self.after(latency, Happening::ProbeLooks { proxy, server, life, began });
    }

    /// Whether a packet of the proxy gets to the server, and if not, how that shows.
    pub(super) fn reach(&self, proxy: usize, server: usize) -> Result<(), UnreachableKind> {
        let state = &self.cluster.servers[server];
        if !self.proxies[proxy].reaches[server] || (state.up && state.frozen) {
            return Err(UnreachableKind::Silent);
        }
        if !state.up {
            return Err(UnreachableKind::Refused);
        }
        Ok(())
    }

    pub(super) fn look(&mut self, proxy: usize, server: usize, began: Millis) {
        let life = self.proxies[proxy].life;
        let (pause, found) = match self.reach(proxy, server) {
            // Now and then an answer is lost, or late.
            Ok(()) if self.chance(400) => (TIMEOUT, silence(UnreachableKind::Silent)),
            Ok(()) if self.cluster.servers[server].crowded => {
                let message = "Too many connections".to_owned();
                (self.below(3), Outcome::SaysNo { code: 1040, message })
            }
            Ok(()) => {
                let facts = self.cluster.facts(server, self.now, proxy);
                let late = if self.chance(50) { self.below(TIMEOUT - 5) } else { 0 };
                (late + self.below(3), Outcome::Alive(Box::new(facts)))
            }
            Err(kind) => {
                let pause = if kind == UnreachableKind::Silent { TIMEOUT } else { 1 };
                (pause, silence(kind))
            }
        };
        self.proxies[proxy].monitors[server].found = Some(found);
        self.after(pause, Happening::ProbeEnds { proxy, server, life, began });
    }

    pub(super) fn end_probe(&mut self, proxy: usize, server: usize, began: Millis) {
        let resumed = self.proxies[proxy].resumed;
        let monitor = &mut self.proxies[proxy].monitors[server];
        monitor.busy = false;
        let again = std::mem::take(&mut monitor.again);
        let Some(outcome) = monitor.found.take() else {
            return;
        };
        let is_silence =
            matches!(outcome, Outcome::Unreachable { kind: UnreachableKind::Silent, .. });
        if is_silence && resumed > began {
            // The process was not there to hear: its monitor abstains, and asks again.
            self.probe(proxy, server);
            return;
        }
        if let Outcome::Alive(facts) = &outcome {
            let told = &mut self.proxies[proxy].told_open[server];
            if told.is_none_or(|(at, _)| began >= at) {
                *told = Some((self.now, !facts.read_only));
            }
        }
        let look = Observation {
            server: ServerId(server as u16),
            at: self.instant(self.now),
            took: Duration::from_millis(self.now - began),
            source: Source::Probe,
            outcome,
        };
        self.step(proxy, Event::Observed(look));
        if again {
            self.probe(proxy, server);
        }
    }

    pub(super) fn client_writes(&mut self, proxy: usize) {
        let table = self.proxies[proxy].machine.table();
        let Some(active) = table.active() else {
            return;
        };
        let (server, term) = (active.index(), table.term);
        match self.reach(proxy, server) {
            Ok(()) if !self.cluster.servers[server].read_only => {
                self.check_write(proxy, server, term);
                self.cluster.write(server);
            }
            Ok(()) => {}
            Err(kind) => {
                let look = Observation {
                    server: active,
                    at: self.instant(self.now),
                    took: Duration::from_millis(1),
                    source: Source::Session,
                    outcome: silence(kind),
                };
                self.step(proxy, Event::Observed(look));
            }
        }
    }
}

fn silence(kind: UnreachableKind) -> Outcome {
    Outcome::Unreachable { kind, detail: String::new() }
}
