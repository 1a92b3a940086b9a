//! What goes wrong in a run, and what operators want.

use tandem::failover::{Release, Request, RequestId};
use tandem::topology::ServerId;

use super::{Happening, TROUBLE_ENDS, World};
use crate::TROUBLES;

/// What may go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Crash,
    /// So fast that no probe sees it.
    FastRestart,
    Freeze,
    /// Probes are answered with an error.
    Crowd,
    /// A proxy does not reach a server.
    CutProxy,
    /// Two servers do not reach each other.
    CutLink,
    BreakApplier,
    SlowApplier,
    RestartProxy,
    /// A proxy's machine is suspended; when it is resumed its clock has jumped.
    Stall,
    /// An operator opens a master that is not active.
    OpenStandby,
    /// An operator wants another master; now and then the proxy dies over it.
    Switchover,
    /// An operator wants another master at any price.
    OrderedFailover,
    Pause,
    /// An operator wants what a returned master has stranded to be undone; now and then the proxy dies over
    /// it.
    Discard,
}

/// One trouble, and whom it meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    kind: Kind,
    server: usize,
    other: usize,
    proxy: usize,
}

impl World {
    pub(super) fn trouble(&mut self) {
        if self.now + 100 >= TROUBLE_ENDS {
            return;
        }
        let masters = self.cluster.servers.len() as u64;
        let kind = TROUBLES[self.below(TROUBLES.len() as u64) as usize];
        let server = self.below(masters) as usize;
        let other = (server + 1 + self.below(masters - 1) as usize) % masters as usize;
        let proxy = self.below(self.proxies.len() as u64) as usize;
        self.say(|| format!("-- {kind:?} m{} (m{}) p{proxy}", server + 1, other + 1));
        match kind {
            Kind::Crash => self.cluster.crash(server),
            Kind::FastRestart => {
                self.cluster.crash(server);
                self.cluster.restart(server, self.now);
            }
            Kind::Freeze => self.cluster.servers[server].frozen = true,
            Kind::Crowd => self.cluster.servers[server].crowded = true,
            Kind::CutProxy => self.proxies[proxy].reaches[server] = false,
            Kind::CutLink => self.cluster.cut.push((server.min(other), server.max(other))),
            Kind::BreakApplier => self.cluster.servers[server].applying = false,
            Kind::SlowApplier => self.cluster.servers[server].applier_rate = 20,
            Kind::RestartProxy => self.restart_proxy(proxy),
            Kind::Stall => {
                let until = (self.now + 20 + self.below(3000)).min(TROUBLE_ENDS);
                let state = &mut self.proxies[proxy];
                // What happens to it meanwhile waits for the end of the longest.
                let until = until.max(state.stalled_until);
                (state.stalled_until, state.resumed) = (until, until);
                self.at(until, Happening::Resumes);
            }
            Kind::OpenStandby => self.cluster.servers[server].open_wildly(),
            Kind::Switchover => {
                let force = self.below(4) == 0;
                self.ask(proxy, Request::Switchover { to: ServerId(server as u16), force });
                if self.below(3) == 0 {
                    let life = self.proxies[proxy].life;
                    let soon = self.below(60);
                    self.after(soon, Happening::ProxyDies { proxy, life });
                }
                // A connection that holds the claim breaks, and its proxy lives.
                for server in [server, other] {
                    if self.below(10) == 0 {
                        let soon = self.below(60);
                        self.after(soon, Happening::ClaimBreaks { server });
                    }
                }
            }
            Kind::OrderedFailover => {
                let force = self.below(2) == 0;
                self.ask(proxy, Request::Failover { to: ServerId(server as u16), force });
            }
            Kind::Pause => self.ask(proxy, Request::Pause),
            Kind::Discard => {
                let server = ServerId(server as u16);
                self.ask(proxy, Request::Release { server, how: Release::Discard });
                if self.below(3) == 0 {
                    let life = self.proxies[proxy].life;
                    let soon = self.below(60);
                    self.after(soon, Happening::ProxyDies { proxy, life });
                }
            }
        }
        self.note_touch();
        self.healing.push(Trouble { kind, server, other, proxy });
        let index = self.healing.len() - 1;
        let lasts = 20 + self.below(4000);
        self.after(lasts, Happening::Heal(index));
        let pause = if self.below(3) == 0 { self.below(100) } else { self.below(5000) };
        self.after(pause, Happening::Trouble);
    }

    pub(super) fn ask(&mut self, proxy: usize, request: Request) {
        if self.now < self.proxies[proxy].stalled_until {
            return;
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        self.proxies[proxy].asked.insert(id);
        if matches!(request, Request::Switchover { force: true, .. }) {
            self.proxies[proxy].forced = Some(self.now);
        }
        if matches!(request, Request::Resume) {
            self.proxies[proxy].failed_over = None;
        }
        self.step(proxy, tandem::failover::Event::Requested { id, request });
    }

    pub(super) fn restart_proxy(&mut self, proxy: usize) {
        let machine = self.machine();
        let state = &mut self.proxies[proxy];
        state.life += 1;
        state.machine = machine;
        state.stalled_until = 0;
        state.monitors = Default::default();
        state.queues = Default::default();
        state.results = Default::default();
        state.goals = Default::default();
        state.deadline = None;
        state.generation = 0;
        state.published = None;
        state.promoted = None;
        state.serves = None;
        state.planned = None;
        state.failed_over = None;
        state.in_touch = Default::default();
        state.reached = Default::default();
        state.asked.clear();
        state.discarding.clear();
        state.told_open = Default::default();
        self.let_go(proxy);
        for server in &mut self.cluster.servers {
            server.agreed.retain(|(who, _)| *who != proxy);
        }
        self.note_touch();
        self.start_monitors(proxy);
    }

    pub(super) fn heal(&mut self, index: usize) {
        let Trouble { kind, server, other, proxy } = self.healing[index];
        self.say(|| format!("-- healed: {kind:?} m{} (m{}) p{proxy}", server + 1, other + 1));
        match kind {
            Kind::Crash => self.cluster.restart(server, self.now),
            Kind::Freeze => self.cluster.servers[server].frozen = false,
            Kind::Crowd => self.cluster.servers[server].crowded = false,
            Kind::CutProxy => self.proxies[proxy].reaches[server] = true,
            Kind::CutLink => {
                let pair = (server.min(other), server.max(other));
                self.cluster.cut.retain(|cut| *cut != pair);
            }
            Kind::BreakApplier => {
                self.cluster.servers[server].applying = true;
                self.cluster.servers[server].mended = self.now;
            }
            Kind::SlowApplier => self.cluster.servers[server].applier_rate = 2000,
            Kind::Pause => self.ask(proxy, Request::Resume),
            Kind::Stall
            | Kind::RestartProxy
            | Kind::OpenStandby
            | Kind::FastRestart
            | Kind::Switchover
            | Kind::Discard
            | Kind::OrderedFailover => {}
        }
        self.note_touch();
    }

    pub(super) fn heal_all(&mut self) {
        self.say(|| "-- peace".to_owned());
        for index in 0..self.healing.len() {
            self.heal(index);
        }
    }
}
