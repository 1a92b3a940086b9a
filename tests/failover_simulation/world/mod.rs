//! The world of one run: servers, proxies with their monitors and coordinators, and trouble.

mod coordinator;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use tandem::config::{CatchUpExpired, Fencing, ReturningMaster};
use tandem::failover::{
    Event, FailoverMachine, Order, OrderId, OrderResult, Policy, Release, Request, RequestId,
};
use tandem::routing::{DrainReport, OpenSession};
use tandem::topology::{
    Observation, Outcome, ServerId, Servers, Source, ThreadState, UnreachableKind,
};

use crate::TROUBLES;
use crate::cluster::{Cluster, Millis};

const INTERVAL: Millis = 200;
const TIMEOUT: Millis = 100;
/// How long there is trouble.
const TROUBLE_ENDS: Millis = 20_000;
/// By then everybody must agree again. In the worst case one after the other: an order that hangs
/// is given up (5 s), somebody else's fence is waited out (4 s), the pause after a failover ends (4 s
/// at most).
const PEACE_ENDS: Millis = TROUBLE_ENDS + 12_000;

/// What may go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Crash,
    /// So fast that no probe sees it.
    FastRestart,
    Freeze,
    /// A proxy does not reach a server.
    CutProxy,
    /// The servers do not reach each other.
    CutLink,
    BreakApplier,
    SlowApplier,
    RestartProxy,
    /// An operator opens a master that is not active.
    OpenStandby,
    /// An operator wants the other master; now and then the proxy dies over it.
    Switchover,
    /// An operator wants the other master at any price.
    OrderedFailover,
    Pause,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    ProbeDue {
        proxy: usize,
        server: usize,
        life: u32,
    },
    ProbeLooks {
        proxy: usize,
        server: usize,
        life: u32,
        began: Millis,
    },
    ProbeEnds {
        proxy: usize,
        server: usize,
        life: u32,
        began: Millis,
    },
    OrderActs {
        proxy: usize,
        server: usize,
        life: u32,
        began: Millis,
    },
    OrderEnds {
        proxy: usize,
        server: usize,
        life: u32,
    },
    Deadline {
        proxy: usize,
        life: u32,
    },
    /// Operators have seen what is stranded, and want all of it.
    Release,
    Drained {
        proxy: usize,
        life: u32,
        generation: u64,
        open: u32,
    },
    ProxyDies {
        proxy: usize,
        life: u32,
    },
    ClientWrites {
        proxy: usize,
    },
    Trouble,
    Heal(usize),
    HealAll,
}

struct Proxy {
    life: u32,
    machine: FailoverMachine,
    reaches: [bool; 2],
    monitors: [Monitor; 2],
    queues: [VecDeque<(OrderId, Order)>; 2],
    /// The result of the order at the head of the queue, once it has acted.
    results: [Option<OrderResult>; 2],
    /// Where the catch-up that is under way wants to get to.
    goals: [Option<usize>; 2],
    deadline: Option<Millis>,
    generation: u64,
    /// Requests that were not answered yet.
    asked: BTreeSet<RequestId>,
    /// The last thing that the machine was told about each server's `read_only`, and when.
    told_open: [Option<(Millis, bool)>; 2],
    steps_now: (Millis, u32),
}

#[derive(Default)]
struct Monitor {
    busy: bool,
    again: bool,
    found: Option<Outcome>,
}

pub(crate) struct World {
    base: Instant,
    now: Millis,
    random: u64,
    queue: BinaryHeap<Reverse<(Millis, u64, Happening)>>,
    sequence: u64,
    cluster: Cluster,
    proxies: Vec<Proxy>,
    healing: Vec<(Kind, usize, usize)>,
    print: bool,
    requests: u64,
    /// What all proxies are configured to do.
    returning_master: ReturningMaster,
    pub(crate) promotions: u64,
    pub(crate) switchovers: u64,
    pub(crate) steps: u64,
}

fn machine(base: Instant, now: Millis, returning_master: ReturningMaster) -> FailoverMachine {
    let address = || "127.0.0.1:3306".parse().expect("an address");
    let servers = Servers::new([("m1".to_owned(), address()), ("m2".to_owned(), address())], []);
    let policy = Policy {
        interval: Duration::from_millis(INTERVAL),
        timeout: Duration::from_millis(TIMEOUT),
        fall: 2,
        rise: 2,
        automatic: true,
        fencing: Fencing::ReadOnly,
        catch_up: Duration::from_secs(1),
        catch_up_expired: CatchUpExpired::Stay,
        returning_master,
        failback: None,
        min_interval: Duration::from_millis(500),
        acknowledge_after: 0,
        drain: Duration::from_secs(1),
    };
    FailoverMachine::new(policy, servers, base + Duration::from_millis(now))
}

impl World {
    pub(crate) fn new(seed: u64, print: bool) -> Self {
        let base = Instant::now();
        let returning_master = match seed % 4 {
            0 => ReturningMaster::Quarantine,
            _ => ReturningMaster::Merge,
        };
        let mut world = Self {
            base,
            returning_master,
            now: 0,
            random: seed,
            queue: BinaryHeap::new(),
            sequence: 0,
            cluster: Cluster::new(),
            proxies: Vec::new(),
            healing: Vec::new(),
            print,
            requests: 0,
            promotions: 0,
            switchovers: 0,
            steps: 0,
        };
        for proxy in 0..=world.below(3) as usize {
            world.proxies.push(Proxy {
                life: 0,
                machine: machine(base, 0, returning_master),
                reaches: [true; 2],
                monitors: Default::default(),
                queues: Default::default(),
                results: Default::default(),
                goals: Default::default(),
                deadline: None,
                generation: 0,
                asked: BTreeSet::new(),
                told_open: [None; 2],
                steps_now: (0, 0),
            });
            let first = world.below(50);
            world.at(first, Happening::ClientWrites { proxy });
            world.start_monitors(proxy);
        }
        // Half of the pairs begin open: their my.cnf lacks read_only=1.
        for server in 0..2 {
            if world.below(4) == 0 {
                world.cluster.servers[server].starts_read_only = false;
                world.cluster.servers[server].read_only = false;
            }
        }
        world.at(500, Happening::Trouble);
        world.at(TROUBLE_ENDS, Happening::HealAll);
        world.at(TROUBLE_ENDS + 500, Happening::Release);
        world
    }

    pub(crate) fn run(&mut self) {
        while let Some(Reverse((at, _, happening))) = self.queue.pop() {
            if at > PEACE_ENDS {
                break;
            }
            assert!(at >= self.now);
            self.now = at;
            self.cluster.advance(at);
            self.happen(happening);
        }
        self.check_peace();
    }

    fn happen(&mut self, happening: Happening) {
        let alive = |world: &Self, proxy: usize, life| world.proxies[proxy].life == life;
        match happening {
            Happening::ProbeDue { proxy, server, life } if alive(self, proxy, life) => {
                self.after(INTERVAL, Happening::ProbeDue { proxy, server, life });
                self.probe(proxy, server);
            }
            Happening::ProbeLooks { proxy, server, life, began } if alive(self, proxy, life) => {
                self.look(proxy, server, began);
            }
            Happening::ProbeEnds { proxy, server, life, began } if alive(self, proxy, life) => {
                self.end_probe(proxy, server, began);
            }
            // An order that was sent acts, whether its proxy lives or not.
            Happening::OrderActs { proxy, server, life, began } => {
                self.act(proxy, server, life, began);
            }
            Happening::OrderEnds { proxy, server, life } if alive(self, proxy, life) => {
                self.end_order(proxy, server);
            }
            Happening::Deadline { proxy, life } if alive(self, proxy, life) => {
                self.proxies[proxy].deadline = None;
                if self.deadline(proxy).is_some_and(|at| at <= self.now) {
                    self.step(proxy, Event::DeadlineReached);
                } else {
                    self.arm(proxy);
                }
            }
            Happening::Drained { proxy, life, generation, open } if alive(self, proxy, life) => {
                let session = |id| OpenSession { id, why: "is in a transaction" };
                let open = (0..open).map(session).collect();
                self.step(proxy, Event::Drained(DrainReport { generation, open }));
            }
            Happening::ProxyDies { proxy, life } if alive(self, proxy, life) => {
                self.restart_proxy(proxy);
            }
            Happening::ClientWrites { proxy } => {
                let pause = 3 + self.below(40);
                self.after(pause, Happening::ClientWrites { proxy });
                self.client_writes(proxy);
            }
            Happening::Release => {
                if self.now < PEACE_ENDS - 3000 {
                    self.after(500, Happening::Release);
                }
                for (proxy, server) in (0..self.proxies.len()).flat_map(|p| [(p, 0), (p, 1)]) {
                    let how = Release::Merge { force: true };
                    self.ask(proxy, Request::Release { server: ServerId(server), how });
                }
            }
            Happening::Trouble => self.trouble(),
            Happening::Heal(index) => self.heal(index),
            Happening::HealAll => self.heal_all(),
            _ => {}
        }
    }

    // --- chance and time ---------------------------------------------------------------------------

    /// SplitMix64
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn at(&mut self, at: Millis, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, happening)));
    }

    fn after(&mut self, pause: Millis, happening: Happening) {
        self.at(self.now + pause, happening);
    }

    fn say(&self, words: impl FnOnce() -> String) {
        if self.print {
            println!("{:>6} {}", self.now, words());
        }
    }

    // --- the monitor -------------------------------------------------------------------------------

    fn start_monitors(&mut self, proxy: usize) {
        let life = self.proxies[proxy].life;
        for server in 0..2 {
            let first = self.below(10);
            self.after(first, Happening::ProbeDue { proxy, server, life });
        }
    }

    fn probe(&mut self, proxy: usize, server: usize) {
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
    fn reach(&self, proxy: usize, server: usize) -> Result<(), UnreachableKind> {
        let state = &self.cluster.servers[server];
        if !self.proxies[proxy].reaches[server] || (state.up && state.frozen) {
            return Err(UnreachableKind::Silent);
        }
        if !state.up {
            return Err(UnreachableKind::Refused);
        }
        Ok(())
    }

    fn look(&mut self, proxy: usize, server: usize, began: Millis) {
        let life = self.proxies[proxy].life;
        let (pause, found) = match self.reach(proxy, server) {
            Ok(()) => {
                let facts = self.cluster.facts(server, self.now);
                (self.below(3), Outcome::Alive(Box::new(facts)))
            }
            Err(kind) => {
                let pause = if kind == UnreachableKind::Silent { TIMEOUT } else { 1 };
                (pause, Outcome::Unreachable { kind, detail: String::new() })
            }
        };
        self.proxies[proxy].monitors[server].found = Some(found);
        self.after(pause, Happening::ProbeEnds { proxy, server, life, began });
    }

    fn end_probe(&mut self, proxy: usize, server: usize, began: Millis) {
        let monitor = &mut self.proxies[proxy].monitors[server];
        monitor.busy = false;
        let again = std::mem::take(&mut monitor.again);
        let Some(outcome) = monitor.found.take() else {
            return;
        };
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

    // --- clients -----------------------------------------------------------------------------------

    fn client_writes(&mut self, proxy: usize) {
        let Some(active) = self.proxies[proxy].machine.table().active() else {
            return;
        };
        let server = active.index();
        match self.reach(proxy, server) {
            Ok(()) if !self.cluster.servers[server].read_only => self.cluster.write(server),
            Ok(()) => {}
            Err(kind) => {
                let look = Observation {
                    server: active,
                    at: self.instant(self.now),
                    took: Duration::from_millis(1),
                    source: Source::Session,
                    outcome: Outcome::Unreachable { kind, detail: String::new() },
                };
                self.step(proxy, Event::Observed(look));
            }
        }
    }

    // --- trouble -----------------------------------------------------------------------------------

    fn trouble(&mut self) {
        if self.now + 100 >= TROUBLE_ENDS {
            return;
        }
        let kind = TROUBLES[self.below(TROUBLES.len() as u64) as usize];
        let server = self.below(2) as usize;
        let proxy = self.below(self.proxies.len() as u64) as usize;
        self.say(|| format!("-- {kind:?} m{} p{proxy}", server + 1));
        match kind {
            Kind::Crash => self.cluster.crash(server),
            Kind::FastRestart => {
                self.cluster.crash(server);
                self.cluster.restart(server, self.now);
            }
            Kind::Freeze => self.cluster.servers[server].frozen = true,
            Kind::CutProxy => self.proxies[proxy].reaches[server] = false,
            Kind::CutLink => self.cluster.linked = false,
            Kind::BreakApplier => self.cluster.servers[server].applying = false,
            Kind::SlowApplier => self.cluster.servers[server].applier_rate = 20,
            Kind::RestartProxy => self.restart_proxy(proxy),
            Kind::OpenStandby => self.cluster.servers[server].read_only = false,
            Kind::Switchover => {
                let force = self.below(4) == 0;
                self.ask(proxy, Request::Switchover { to: ServerId(server as u16), force });
                if self.below(3) == 0 {
                    let life = self.proxies[proxy].life;
                    let soon = self.below(60);
                    self.after(soon, Happening::ProxyDies { proxy, life });
                }
            }
            Kind::OrderedFailover => {
                let force = self.below(2) == 0;
                self.ask(proxy, Request::Failover { to: ServerId(server as u16), force });
            }
            Kind::Pause => self.ask(proxy, Request::Pause),
        }
        self.healing.push((kind, server, proxy));
        let index = self.healing.len() - 1;
        let lasts = 20 + self.below(4000);
        self.after(lasts, Happening::Heal(index));
        let pause = if self.below(3) == 0 { self.below(100) } else { self.below(5000) };
        self.after(pause, Happening::Trouble);
    }

    fn ask(&mut self, proxy: usize, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.proxies[proxy].asked.insert(id);
        self.step(proxy, Event::Requested { id, request });
    }

    fn restart_proxy(&mut self, proxy: usize) {
        let state = &mut self.proxies[proxy];
        state.life += 1;
        state.machine = machine(self.base, self.now, self.returning_master);
        state.monitors = Default::default();
        state.queues = Default::default();
        state.results = Default::default();
        state.goals = Default::default();
        state.deadline = None;
        state.generation = 0;
        state.asked.clear();
        state.told_open = [None; 2];
        for server in &mut self.cluster.servers {
            server.claimed.take_if(|holder| *holder == proxy);
        }
        self.start_monitors(proxy);
    }

    fn heal(&mut self, index: usize) {
        let (kind, server, proxy) = self.healing[index];
        self.say(|| format!("-- healed: {kind:?} m{} p{proxy}", server + 1));
        match kind {
            Kind::Crash => self.cluster.restart(server, self.now),
            Kind::Freeze => self.cluster.servers[server].frozen = false,
            Kind::CutProxy => self.proxies[proxy].reaches[server] = true,
            Kind::CutLink => self.cluster.linked = true,
            Kind::BreakApplier => self.cluster.servers[server].applying = true,
            Kind::SlowApplier => self.cluster.servers[server].applier_rate = 2000,
            Kind::Pause => self.ask(proxy, Request::Resume),
            Kind::RestartProxy
            | Kind::OpenStandby
            | Kind::FastRestart
            | Kind::Switchover
            | Kind::OrderedFailover => {}
        }
    }

    fn heal_all(&mut self) {
        self.say(|| "-- peace".to_owned());
        for index in 0..self.healing.len() {
            self.heal(index);
        }
    }

    /// Everything works and everybody sees everything: they agree, and the pair is a pair again.
    fn check_peace(&self) {
        let actives: Vec<_> =
            self.proxies.iter().map(|proxy| proxy.machine.table().active()).collect();
        for proxy in &self.proxies {
            let status = proxy.machine.status();
            assert_eq!(status.phase, "steady", "not back to peace: {status:?}");
            assert!(proxy.asked.is_empty(), "a request was never answered");
        }
        assert!(actives.iter().all(|active| *active == actives[0]), "{actives:?}");
        let active = actives[0].expect("an active master").index();
        assert!(!self.cluster.servers[active].read_only, "the active master is closed");
        assert!(self.cluster.servers[1 - active].read_only, "the standby is open");
        for server in 0..2 {
            let state = self.cluster.receiver_state(server);
            assert_eq!(state, ThreadState::Yes, "m{} does not receive", server + 1);
        }
    }
}
