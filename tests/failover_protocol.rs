//! The protocol by which several proxies agree who is active, checked exhaustively for small bounds.
//!
//! This is an abstract model, not the machine: the machine knows a clock, counters and GTIDs, and has
//! no finite number of states. It has the steps by which two proxies and two masters can meet, with the
//! names of the orders that carry them out, in every order in which they can happen: a look, the
//! suspicion and its `Fence` (which a frozen master carries out when it thaws, or which is lost), the lock
//! and the read of `Promote`, its INSERT, its `read_only=0`, its answer (which may be lost), `Open` after
//! the other master was asked, the fence of an open standby on sight, replication of the terms, crash
//! and return of a master, freeze and thaw, death and restart of a proxy at any point.
//!
//! Checked in every state that can be reached:
//! * no term is given twice, and none is written on a server that knows a higher one than its author;
//! * no proxy goes back to an older term;
//! * from everywhere there is a way to the steady state: everybody follows the highest term, whose
//!   master is open, and no other is;
//! * and where nothing is left to do, that state is reached.
//!
//! Not in it: what is lost (GTIDs, catching up, sealing, quarantine), the switchover, a third master,
//! time and patience, partitions that last, for then the state is not meant to be reached. The
//! simulation (`failover_simulation`) plays the machine itself with all of these, but only samples.
//!
//! Each guard that is taken away must be found missing, or the model shows nothing.

use std::collections::HashMap;

use stateright::{Checker, Model, Property};

/// Odd terms are given by the first master and name it, even ones by the second.
type Term = u8;

fn named(term: Term) -> usize {
    usize::from(term.is_multiple_of(2))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Master {
    up: bool,
    frozen: bool,
    open: bool,
    /// The highest that it knows.
    term: Term,
    /// A fence arrived while it was frozen.
    fence: bool,
    /// Who holds `GET_LOCK('tandem.term')`.
    lock: Option<usize>,
}

impl Master {
    fn answers(&self) -> bool {
        self.up && !self.frozen
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Steady, held or waiting: it goes by what it sees.
    Following,
    /// The master of `seen` does not answer, and its fence was sent.
    Fenced { seen: Term },
    /// It has the lock on the other master and has read its terms.
    Locked { seen: Term, read: Term },
    /// The term is written, and the master still closed.
    Written { term: Term },
    /// The other master was asked; the one of this term is to be opened.
    Opening { term: Term },
    /// A standby was seen open; it is to be closed.
    Closing { master: usize },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proxy {
    up: bool,
    /// The highest term that it knows; 0 for none.
    known: Term,
    /// The term by which it serves; 0 while it holds.
    serves: Term,
    /// The highest by which it ever served in this life.
    served: Term,
    phase: Phase,
}

impl Proxy {
    const STARTED: Self =
        Self { up: true, known: 0, serves: 0, served: 0, phase: Phase::Following };
}

/// Takes a step and what it does to the state.
type Add<'a> = dyn FnMut(Step, &dyn Fn(&mut State)) + 'a;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    masters: [Master; 2],
    proxies: [Proxy; 2],
    /// What may still go wrong.
    crashes: u8,
    freezes: u8,
    deaths: u8,
    losses: u8,
    /// Bit by term.
    given: u16,
    twice: bool,
    stale: bool,
    went_back: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Crash(usize),
    Restart(usize),
    Freeze(usize),
    Thaw(usize),
    Replicate(usize),
    Dies(usize),
    Starts(usize),
    Look { proxy: usize, master: usize },
    Suspect { proxy: usize, lost: bool },
    CallOff(usize),
    Lock(usize),
    Insert(usize),
    Door { proxy: usize, lost: bool },
    AskOthers(usize),
    Open(usize),
    SeeOpen { proxy: usize, master: usize },
    Close(usize),
}

/// A guard that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    /// `GET_LOCK` before the terms are read.
    Lock,
    /// `Promote` compares what it reads with what it was decided on.
    TermCheck,
    /// Somebody finishes a promotion whose author died.
    Opening,
    /// A standby that is open is closed.
    Closing,
}

struct Protocol {
    missing: Missing,
    faults: Faults,
}

/// How often each thing may go wrong in one history.
#[derive(Clone, Copy, Debug)]
struct Faults {
    crashes: u8,
    freezes: u8,
    deaths: u8,
    losses: u8,
}

const fn faults(crashes: u8, freezes: u8, deaths: u8, losses: u8) -> Faults {
    Faults { crashes, freezes, deaths, losses }
}

impl State {
    fn learn(&mut self, proxy: usize, term: Term) {
        let proxy = &mut self.proxies[proxy];
        if term > proxy.known {
            (proxy.known, proxy.serves) = (term, 0);
        }
    }

    fn serve(&mut self, proxy: usize, term: Term) {
        let proxy = &mut self.proxies[proxy];
        self.went_back |= term < proxy.served;
        (proxy.serves, proxy.served) = (term, proxy.served.max(term));
    }

    fn release(&mut self, proxy: usize) {
        for master in &mut self.masters {
            master.lock.take_if(|holder| *holder == proxy);
        }
    }

    fn highest(&self) -> Term {
        self.masters.iter().map(|master| master.term).max().unwrap_or_default()
    }

    fn is_steady(&self) -> bool {
        let highest = self.highest();
        self.masters.iter().enumerate().all(|(number, master)| {
            master.answers()
                && !master.fence
                && master.term == highest
                && master.open == (number == named(highest))
        }) && self
            .proxies
            .iter()
            .all(|proxy| proxy.up && proxy.serves == highest && proxy.phase == Phase::Following)
    }

    /// A look: a proxy learns the terms that a master has, and whether it is open.
    fn look(&mut self, proxy: usize, number: usize) {
        self.learn(proxy, self.masters[number].term);
        let known = self.proxies[proxy].known;
        if known > 0 && named(known) == number && self.proxies[proxy].phase == Phase::Following {
            if self.masters[number].open {
                self.serve(proxy, known);
            } else {
                self.proxies[proxy].serves = 0;
            }
        }
    }

    /// The INSERT of a decision: the next term of the target's own class.
    fn insert(&mut self, proxy: usize, seen: Term, read: Term) {
        let target = 1 - named(seen);
        let mut term = read.max(seen) + 1;
        while named(term) != target {
            term += 1;
        }
        self.twice |= self.given & 1 << term != 0;
        self.stale |= self.masters[target].term > seen;
        self.given |= 1 << term;
        self.masters[target].term = self.masters[target].term.max(term);
        self.proxies[proxy].phase = Phase::Written { term };
    }
}

impl Protocol {
    /// What may happen in `state`, and what comes of it.
    fn steps(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Vec::new();
        let mut add = |step, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            if next != *state {
                steps.push((step, next));
            }
        };
        for m in 0..2 {
            happen_to_master(state, m, &mut add);
        }
        for p in 0..2 {
            happen_to_proxy(state, p, &mut add);
            if state.proxies[p].up {
                self.follow(state, p, &mut add);
                self.promote(state, p, &mut add);
            }
        }
        steps
    }

    fn follow(&self, state: &State, p: usize, add: &mut Add<'_>) {
        let Proxy { known, phase, .. } = state.proxies[p];
        for m in (0..2).filter(|m| state.masters[*m].answers()) {
            add(Step::Look { proxy: p, master: m }, &|next| next.look(p, m));
        }
        let active = named(known);
        match phase {
            Phase::Following if known > 0 => {
                let closed = state.masters[active].answers() && !state.masters[active].open;
                if closed && self.missing != Missing::Opening {
                    add(Step::AskOthers(p), &|next| {
                        for m in (0..2).filter(|m| state.masters[*m].answers()) {
                            next.look(p, m);
                        }
                        if next.proxies[p].known == known {
                            next.proxies[p].phase = Phase::Opening { term: known };
                        }
                    });
                }
                let standby = &state.masters[1 - active];
                let wrong = standby.answers() && standby.open && standby.term <= known;
                if wrong && self.missing != Missing::Closing {
                    let master = 1 - active;
                    add(Step::SeeOpen { proxy: p, master }, &|next| {
                        next.proxies[p].phase = Phase::Closing { master };
                    });
                }
            }
            Phase::Opening { term } => add(Step::Open(p), &|next| {
                let master = &mut next.masters[named(term)];
                if master.answers() && master.term <= term && master.lock.is_none() {
                    master.open = true;
                }
                next.proxies[p].phase = Phase::Following;
            }),
            Phase::Closing { master } => add(Step::Close(p), &|next| {
                if next.masters[master].answers() {
                    next.masters[master].open = false;
                }
                next.proxies[p].phase = Phase::Following;
            }),
            _ => {}
        }
    }

    fn promote(&self, state: &State, p: usize, add: &mut Add<'_>) {
        let Proxy { known, phase, .. } = state.proxies[p];
        let target = |seen: Term| &state.masters[1 - named(seen)];
        match phase {
            Phase::Following if known > 0 && !state.masters[named(known)].answers() => {
                let old = named(known);
                for lost in [false, true] {
                    if lost && state.losses == 0 {
                        continue;
                    }
                    add(Step::Suspect { proxy: p, lost }, &|next| {
                        next.losses -= u8::from(lost);
                        next.masters[old].fence |= !lost && next.masters[old].frozen;
                        next.proxies[p].serves = 0;
                        next.proxies[p].phase = Phase::Fenced { seen: known };
                    });
                }
            }
            Phase::Fenced { seen } => {
                if known > seen || state.masters[named(seen)].answers() {
                    add(Step::CallOff(p), &|next| next.proxies[p].phase = Phase::Following);
                }
                let free = target(seen).lock.is_none() || self.missing == Missing::Lock;
                if target(seen).answers() && free {
                    add(Step::Lock(p), &|next| self.lock(next, p, seen));
                }
            }
            // The lock went with the connection.
            Phase::Locked { .. } | Phase::Written { .. } if !self.holds_lock(state, p) => {
                add(Step::CallOff(p), &|next| next.proxies[p].phase = Phase::Following);
            }
            Phase::Locked { seen, read } if target(seen).answers() => {
                add(Step::Insert(p), &|next| next.insert(p, seen, read));
            }
            Phase::Written { term } if state.masters[named(term)].answers() => {
                for lost in [false, true] {
                    if lost && state.losses == 0 {
                        continue;
                    }
                    add(Step::Door { proxy: p, lost }, &|next| {
                        next.losses -= u8::from(lost);
                        next.masters[named(term)].open = true;
                        next.release(p);
                        next.proxies[p].phase = Phase::Following;
                        if !lost {
                            next.learn(p, term);
                            if next.proxies[p].known == term {
                                next.serve(p, term);
                            }
                        }
                    });
                }
            }
            _ => {}
        }
    }

    fn holds_lock(&self, state: &State, p: usize) -> bool {
        let (Phase::Locked { seen: term, .. } | Phase::Written { term }) = state.proxies[p].phase
        else {
            return false;
        };
        let written = matches!(state.proxies[p].phase, Phase::Written { .. });
        let target = if written { named(term) } else { 1 - named(term) };
        let target = &state.masters[target];
        target.up && (target.lock == Some(p) || self.missing == Missing::Lock)
    }

    fn lock(&self, next: &mut State, p: usize, seen: Term) {
        let target = 1 - named(seen);
        let read = next.masters[target].term;
        if read > seen && self.missing != Missing::TermCheck {
            next.learn(p, read);
            next.proxies[p].phase = Phase::Following;
            return;
        }
        next.masters[target].lock = Some(p);
        next.proxies[p].phase = Phase::Locked { seen, read };
    }
}

fn happen_to_master(state: &State, m: usize, add: &mut Add<'_>) {
    let master = &state.masters[m];
    if master.answers() && state.crashes > 0 {
        add(Step::Crash(m), &|next| {
            next.crashes -= 1;
            let term = next.masters[m].term;
            next.masters[m] =
                Master { up: false, frozen: false, open: false, term, fence: false, lock: None };
        });
    }
    if !master.up {
        // Its my.cnf says read_only=1.
        add(Step::Restart(m), &|next| next.masters[m].up = true);
    }
    if master.answers() && state.freezes > 0 {
        add(Step::Freeze(m), &|next| {
            next.freezes -= 1;
            next.masters[m].frozen = true;
        });
    }
    if master.frozen {
        add(Step::Thaw(m), &|next| {
            let master = &mut next.masters[m];
            master.frozen = false;
            if std::mem::take(&mut master.fence) {
                master.open = false;
            }
        });
    }
    let source = state.masters[1 - m].term;
    if master.answers() && state.masters[1 - m].answers() && source > master.term {
        add(Step::Replicate(m), &|next| next.masters[m].term = source);
    }
}

fn happen_to_proxy(state: &State, p: usize, add: &mut Add<'_>) {
    if !state.proxies[p].up {
        add(Step::Starts(p), &|next| next.proxies[p] = Proxy::STARTED);
    } else if state.deaths > 0 {
        add(Step::Dies(p), &|next| {
            next.deaths -= 1;
            next.release(p);
            next.proxies[p] = Proxy { up: false, ..Proxy::STARTED };
        });
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let master =
            |open| Master { up: true, frozen: false, open, term: 1, fence: false, lock: None };
        let proxy = Proxy { known: 1, serves: 1, served: 1, ..Proxy::STARTED };
        vec![State {
            masters: [master(true), master(false)],
            proxies: [proxy.clone(), proxy],
            crashes: self.faults.crashes,
            freezes: self.faults.freezes,
            deaths: self.faults.deaths,
            losses: self.faults.losses,
            given: 1 << 1,
            twice: false,
            stale: false,
            went_back: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        actions.extend(self.steps(state).into_iter().map(|(step, _)| step));
    }

    fn next_state(&self, state: &State, action: Step) -> Option<State> {
        self.steps(state).into_iter().find(|(step, _)| *step == action).map(|(_, next)| next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no term is given twice", |_, state: &State| !state.twice),
            Property::always("no decision is made on an old term", |_, state: &State| !state.stale),
            Property::always("no proxy goes back", |_, state: &State| !state.went_back),
            Property::always("nothing left to do is steady", |model: &Self, state: &State| {
                !model.steps(state).is_empty() || state.is_steady()
            }),
            Property::sometimes("a failover", |_, state: &State| state.highest() > 1),
        ]
    }
}

/// How many states can be reached, and how many of them have no way to the steady one.
fn dead_ends(model: &Protocol) -> (usize, usize) {
    let mut number: HashMap<State, usize> = HashMap::new();
    let mut before: Vec<Vec<usize>> = Vec::new();
    let mut open: Vec<State> = model.init_states();
    let mut good = Vec::new();
    for state in &open {
        number.insert(state.clone(), before.len());
        before.push(Vec::new());
    }
    while let Some(state) = open.pop() {
        let from = number[&state];
        if state.is_steady() {
            good.push(from);
        }
        for (_, next) in model.steps(&state) {
            let to = *number.entry(next.clone()).or_insert_with(|| {
                before.push(Vec::new());
                open.push(next);
                before.len() - 1
            });
            before[to].push(from);
        }
    }
    let mut reached = vec![false; before.len()];
    while let Some(state) = good.pop() {
        if !std::mem::replace(&mut reached[state], true) {
            good.extend(&before[state]);
        }
    }
    (reached.len(), reached.iter().filter(|reached| !**reached).count())
}

#[test]
fn the_protocol_holds_in_every_state() {
    for faults in [faults(2, 0, 0, 0), faults(1, 1, 0, 0), faults(1, 0, 1, 1), faults(1, 1, 1, 1)] {
        let model = || Protocol { missing: Missing::Nothing, faults };
        let checker = model().checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        let (states, dead) = dead_ends(&model());
        println!("{faults:?}: {states} states");
        assert_eq!(dead, 0, "of {states} states so many have no way to the steady one");
        assert_eq!(states, checker.unique_state_count(), "both have seen all");
        assert!(states > 500, "only {states} states: too few to show anything");
    }
}

#[test]
fn a_missing_guard_is_found() {
    for (missing, property) in [
        (Missing::Lock, "no term is given twice"),
        (Missing::Lock, "no decision is made on an old term"),
        (Missing::TermCheck, "no decision is made on an old term"),
    ] {
        let model = Protocol { missing, faults: faults(1, 0, 0, 0) };
        let checker = model.checker().spawn_bfs().join();
        let path = checker.discovery(property);
        let path = path.unwrap_or_else(|| panic!("without {missing:?}: {property}"));
        println!("without {missing:?}, {property}: {:?}", path.into_actions());
    }
    for (missing, faults) in
        [(Missing::Opening, faults(1, 0, 1, 0)), (Missing::Closing, faults(0, 1, 0, 1))]
    {
        let (states, dead) = dead_ends(&Protocol { missing, faults });
        println!("without {missing:?} {dead} of {states} states have no way to the steady one");
        assert!(dead > 0, "without {missing:?} nothing is found");
    }
}
