//! The world of one run: servers, proxies with their monitors and coordinators, and trouble.

mod coordinator;
mod invariants;
mod monitor;
mod trouble;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use tandem::config::{CatchUpExpired, Fencing, ReturningMaster};
use tandem::failover::{
    Event, FailoverMachine, Order, OrderId, OrderResult, Policy, Release, Request, RequestId,
};
use tandem::routing::{DrainReport, OpenSession};
use tandem::topology::{Outcome, ServerId, Servers, Term};

use crate::cluster::{Cluster, MOST, Millis, Server, Shape, Transaction};
pub(crate) use trouble::Kind;

const INTERVAL: Millis = 200;
const TIMEOUT: Millis = 100;
const MIN_INTERVAL: Millis = 500;
/// How long there is trouble.
const TROUBLE_ENDS: Millis = 12_000;
/// By then everybody must agree again. In the worst case one after the other: an order that hangs
/// is given up (5 s), somebody else's fence is waited out (4 s), the pause after a failover ends (4 s
/// at most); with three masters two of them may have to be taken back one after the other.
const PEACE_ENDS: Millis = TROUBLE_ENDS + 14_000;
/// Peace that was found as often as this, half a second apart, lasts.
const RESTED: u32 = 3;

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
    /// The connection that holds a claim there breaks, whoever holds it.
    ClaimBreaks {
        server: usize,
    },
    ClientWrites {
        proxy: usize,
    },
    /// It is looked whether there is peace already.
    Rest,
    /// A proxy runs again.
    Resumes,
    Trouble,
    Heal(usize),
    HealAll,
}

impl Happening {
    /// The proxy within which it happens: a stopped process does none of it. What is under way on
    /// the network or in a server is not stopped with it.
    fn within(&self) -> Option<usize> {
        match self {
            Self::ProbeDue { proxy, .. }
            | Self::ProbeEnds { proxy, .. }
            | Self::OrderEnds { proxy, .. }
            | Self::Deadline { proxy, .. }
            | Self::Drained { proxy, .. }
            | Self::ClientWrites { proxy } => Some(*proxy),
            _ => None,
        }
    }
}

struct Proxy {
    life: u32,
    machine: FailoverMachine,
    reaches: [bool; MOST],
    /// Its process does not run before this moment: a suspended machine, whose clock has jumped when
    /// it is resumed.
    stalled_until: Millis,
    /// When it was last resumed.
    resumed: Millis,
    monitors: [Monitor; MOST],
    queues: [VecDeque<(OrderId, Order)>; MOST],
    /// The result of the order at the head of the queue, once it has acted.
    results: [Option<OrderResult>; MOST],
    /// Where the catch-up that is under way wants to get to.
    goals: [Option<[usize; MOST]>; MOST],
    deadline: Option<Millis>,
    generation: u64,
    /// The last active master that was published, by which term, and when.
    published: Option<(Term, usize, Millis)>,
    /// Whom its sessions may open something on, and since when.
    serves: Option<(usize, Millis)>,
    /// When it was last told to switch over at any price.
    forced: Option<Millis>,
    /// The last term that it wrote itself, as far as it knows.
    promoted: Option<Term>,
    /// The last term by which it ended a switchover.
    planned: Option<Term>,
    /// When it last followed, or made, another active master other than by its own switchover, and no
    /// operator has said since that he knows.
    failed_over: Option<Millis>,
    /// Since when it has reached each server, and the server ran and told what it knows, without a break.
    in_touch: [Option<Millis>; MOST],
    /// The same for a server that answers with whatever.
    reached: [Option<Millis>; MOST],
    /// Requests that were not answered yet.
    asked: BTreeSet<RequestId>,
    /// When the last request was answered.
    answered: Option<Millis>,
    /// The masters that it has had undo what they have. (One that it has not known of no discard.)
    discarding: BTreeSet<usize>,
    /// When it last had somebody promoted.
    promotes: Millis,
    /// The last thing that the machine was told about each server's `read_only`, and when.
    told_open: [Option<(Millis, bool)>; MOST],
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
    healing: Vec<trouble::Trouble>,
    print: bool,
    requests: u64,
    /// How often others were asked to drain a master.
    drains: u32,
    /// How often in a row there was peace.
    rest: u32,
    policy: Policy,
    pub(crate) promotions: u64,
    pub(crate) switchovers: u64,
    pub(crate) steps: u64,
}

/// What all proxies of a run are configured to do.
fn policy(seed: u64) -> Policy {
    Policy {
        interval: Duration::from_millis(INTERVAL),
        timeout: Duration::from_millis(TIMEOUT),
        fall: 2,
        rise: 2,
        automatic: true,
        fencing: if seed % 8 == 5 { Fencing::None } else { Fencing::ReadOnly },
        catch_up: Duration::from_secs(1),
        catch_up_expired: match seed % 16 {
            3 => CatchUpExpired::Promote,
            _ => CatchUpExpired::Stay,
        },
        returning_master: match seed % 4 {
            0 => ReturningMaster::Quarantine,
            _ => ReturningMaster::Merge,
        },
        failback: (seed % 8 == 6).then(|| Duration::from_millis(1500)),
        min_interval: Duration::from_millis(MIN_INTERVAL),
        acknowledge_after: 0,
        drain: Duration::from_secs(1),
    }
}

impl World {
    pub(crate) fn new(seed: u64, print: bool) -> Self {
        let base = Instant::now();
        let shape = match seed / 8 % 6 {
            0..=2 => Shape::Pair,
            3 => Shape::Mesh,
            4 => Shape::MeshPassingOn,
            _ => Shape::Ring,
        };
        let mut world = Self {
            base,
            policy: policy(seed),
            now: 0,
            random: seed,
            queue: BinaryHeap::new(),
            sequence: 0,
            cluster: Cluster::new(shape),
            proxies: Vec::new(),
            healing: Vec::new(),
            print,
            requests: 0,
            drains: 0,
            rest: 0,
            promotions: 0,
            switchovers: 0,
            steps: 0,
        };
        world.say(|| format!("-- {shape:?}"));
        for proxy in 0..=world.below(3) as usize {
            world.proxies.push(Proxy {
                life: 0,
                machine: world.machine(),
                reaches: [true; MOST],
                stalled_until: 0,
                resumed: 0,
                monitors: Default::default(),
                queues: Default::default(),
                results: Default::default(),
                goals: Default::default(),
                deadline: None,
                generation: 0,
                published: None,
                promoted: None,
                serves: None,
                forced: None,
                planned: None,
                failed_over: None,
                in_touch: [Some(0); MOST],
                reached: [Some(0); MOST],
                asked: BTreeSet::new(),
                answered: None,
                discarding: BTreeSet::new(),
                promotes: 0,
                told_open: [None; MOST],
                steps_now: (0, 0),
            });
            let first = world.below(50);
            world.at(first, Happening::ClientWrites { proxy });
            world.start_monitors(proxy);
        }
        // Some begin open: their my.cnf lacks read_only=1.
        for server in 0..shape.size() {
            if world.below(4) == 0 {
                world.cluster.servers[server].starts_read_only = false;
                world.cluster.servers[server].open_wildly();
            }
        }
        world.at(500, Happening::Trouble);
        world.at(TROUBLE_ENDS, Happening::HealAll);
        world.at(TROUBLE_ENDS + 500, Happening::Release);
        world.at(TROUBLE_ENDS + 1700, Happening::Rest);
        world
    }

    fn machine(&self) -> FailoverMachine {
        let address = || "127.0.0.1:3306".parse().expect("an address");
        let names = (1..=self.cluster.servers.len()).map(|n| (format!("m{n}"), address()));
        let servers = Servers::new(names, []);
        FailoverMachine::new(self.policy.clone(), servers, self.instant(self.now))
    }

    pub(crate) fn run(&mut self) {
        while let Some(Reverse((at, _, happening))) = self.queue.pop() {
            if at > PEACE_ENDS || self.rest >= RESTED {
                break;
            }
            assert!(at >= self.now);
            self.now = at;
            self.cluster.advance(at);
            self.happen(happening);
        }
        let unrest = self.unrest();
        assert!(unrest.is_none(), "{}", unrest.unwrap_or_default());
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(proxy) = happening.within()
            && self.now < self.proxies[proxy].stalled_until
        {
            self.at(self.proxies[proxy].stalled_until, happening);
            return;
        }
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
            // An order that was sent acts, whether its proxy runs or not.
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
            Happening::ClaimBreaks { server } => self.break_claim(server),
            Happening::ClientWrites { proxy } => {
                let calm = if self.now < TROUBLE_ENDS { 1 } else { 4 };
                let pause = (3 + self.below(40)) * calm;
                self.after(pause, Happening::ClientWrites { proxy });
                self.client_writes(proxy);
            }
            Happening::Release => self.release_all(),
            Happening::Rest => {
                self.after(500, Happening::Rest);
                self.rest = if self.unrest().is_none() { self.rest + 1 } else { 0 };
            }
            Happening::Resumes => self.note_touch(),
            Happening::Trouble => self.trouble(),
            Happening::Heal(index) => self.heal(index),
            Happening::HealAll => self.heal_all(),
            _ => {}
        }
    }

    /// Of a pair everything is discarded that somebody has begun to discard, and half of the rest.
    fn release_all(&mut self) {
        let wants = self.below(2) == 0;
        let begun =
            |server: &Server| server.log.iter().any(|it| matches!(it, Transaction::Discarded));
        let discard =
            self.cluster.shape == Shape::Pair && (wants || self.cluster.servers.iter().any(begun));
        let how = if discard { Release::Discard } else { Release::Merge { force: true } };
        if self.now < PEACE_ENDS - 3000 {
            self.after(500, Happening::Release);
        }
        for proxy in 0..self.proxies.len() {
            for server in 0..self.cluster.servers.len() {
                self.ask(proxy, Request::Release { server: ServerId(server as u16), how });
            }
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

    /// Once in so many times, as long as there is trouble.
    fn chance(&mut self, of: u64) -> bool {
        self.now < TROUBLE_ENDS && self.below(of) == 0
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
}
