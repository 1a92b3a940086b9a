//! The task that owns the failover machine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::{error, info, warn};

use super::change_meter::{Change, ChangeMeter};
use super::executor::{Executor, Surroundings};
use super::journal::Journal;
use super::measuring;
use crate::failover::{
    Action, Answer, Event, FailoverMachine, Order, OrderId, OrderResult, Request, RequestId,
    Status, Transition,
};
use crate::metrics::Metrics;
use crate::monitor::ProbeRequests;
use crate::routing::{DrainReport, RoutingTable};
use crate::topology::{
    Channel, Observation, Outcome, Role, Server, ServerId, ThreadState, Topology,
};

/// A machine that decides. The real one is the failover machine; tests have a scripted one.
pub trait Decide: Send + 'static {
    /// Takes an event in and says what is to be done.
    fn step(&mut self, now: Instant, event: Event) -> Vec<Action>;
    /// When it wants to be told that time has passed.
    fn next_deadline(&self) -> Option<Instant>;
    /// What it is at, for people.
    fn status(&self) -> Status;
    /// What it has seen.
    fn topology(&self) -> &Topology;
}

impl Decide for FailoverMachine {
    fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        Self::step(self, now, event)
    }

    fn next_deadline(&self) -> Option<Instant> {
        Self::next_deadline(self)
    }

    fn status(&self) -> Status {
        Self::status(self)
    }

    fn topology(&self) -> &Topology {
        Self::topology(self)
    }
}

/// What the coordinator listens to.
#[derive(Debug)]
pub struct Inputs {
    /// From the monitor and from the sessions.
    pub observations: mpsc::Receiver<Observation>,
    /// From operators.
    pub requests: mpsc::Receiver<Asked>,
    /// From the sessions, while a master is drained.
    pub drains: mpsc::Receiver<DrainReport>,
}

/// A request of an operator, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub request: Request,
    /// Whoever waits for the answer may have left meanwhile; the request is carried out all the same.
    pub answer: oneshot::Sender<Answer>,
}

/// What the coordinator publishes.
#[derive(Debug)]
pub struct Outputs {
    /// Whom sessions follow.
    pub routes: watch::Sender<Arc<RoutingTable>>,
    /// The latest picture, for whoever shows it.
    pub topology: watch::Sender<Arc<Topology>>,
    /// What the machine is at, likewise.
    pub status: watch::Sender<Arc<Status>>,
    /// What happened.
    pub journal: Arc<Journal>,
    /// The same, as numbers.
    pub metrics: Arc<Metrics>,
    /// Has servers probed at once.
    pub probes: ProbeRequests,
}

/// An order on its way to a server.
type Assignment = (OrderId, Order, Surroundings);

/// Feeds the machine and carries out what it wants.
pub struct Coordinator<M, E> {
    machine: M,
    executor: Arc<E>,
    inputs: Inputs,
    outputs: Outputs,
    /// One queue per server: its orders are carried out one after the other, as they were given,
    /// beside those of all others.
    lanes: Vec<mpsc::UnboundedSender<Assignment>>,
    finished: mpsc::UnboundedReceiver<(OrderId, OrderResult)>,
    /// Who waits for an answer, and how many ever asked.
    asking: HashMap<RequestId, oneshot::Sender<Answer>>,
    requests: u64,
    meter: ChangeMeter,
    /// The lanes' tasks, and errands that answer nobody. They end with the coordinator.
    tasks: JoinSet<()>,
}

impl<M: Decide, E: Executor> Coordinator<M, E> {
    /// A coordinator whose machine has seen nothing yet. Must be called inside a runtime.
    #[must_use]
    pub fn new(machine: M, executor: Arc<E>, inputs: Inputs, outputs: Outputs) -> Self {
        let (finish, finished) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let lane = |server: &Server| {
            let (lane, orders) = mpsc::unbounded_channel();
            let name = server.name.clone();
            tasks.spawn(carry_out(name, executor.clone(), orders, finish.clone()));
            lane
        };
        measuring::published(&outputs.metrics, &outputs.routes.borrow());
        let lanes = machine.topology().servers().iter().map(lane).collect();
        let asking = HashMap::new();
        let now = tokio::time::Instant::now().into_std();
        let meter = ChangeMeter::new(machine.status().phase, now);
        Self {
            machine,
            executor,
            inputs,
            outputs,
            lanes,
            finished,
            asking,
            requests: 0,
            meter,
            tasks,
        }
    }

    /// Runs until nobody observes any more.
    pub async fn run(mut self) {
        while let Some(event) = self.next_event().await {
            let now = tokio::time::Instant::now().into_std();
            let again = match &event {
                Event::Observed(observation) => {
                    let servers = self.machine.topology().servers();
                    measuring::observed(&self.outputs.metrics, servers, observation);
                    self.senders_to(observation)
                }
                _ => Vec::new(),
            };
            let observed = matches!(event, Event::Observed(_));
            if matches!(&event, Event::OrderFinished { result: OrderResult::Promoted(_), .. }) {
                self.meter.promoted();
            }
            let actions = self.machine.step(now, event);
            if observed {
                self.outputs.topology.send_replace(Arc::new(self.machine.topology().clone()));
            }
            // Whoever is answered "done" finds it done wherever he looks.
            let is_answer = |action: &Action| matches!(action, Action::Answer { .. });
            let (answers, actions): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_answer);
            for action in actions {
                self.act(now, action);
            }
            let status = self.machine.status();
            self.measure(now, status.phase);
            self.publish(status);
            for answer in answers {
                self.act(now, answer);
            }
            for sender in again {
                let executor = self.executor.clone();
                self.tasks.spawn(async move { executor.received_again(sender).await });
            }
        }
    }

    fn publish(&self, status: Status) {
        self.outputs.status.send_if_modified(|published| {
            let changed = **published != status;
            if changed {
                *published = Arc::new(status);
            }
            changed
        });
    }

    fn measure(&mut self, now: Instant, phase: &'static str) {
        let table = self.outputs.routes.borrow().clone();
        let change = self.meter.stepped(now, SystemTime::now(), phase, &table);
        let metrics = &self.outputs.metrics.failover;
        metrics.set_active_since(self.meter.active_since());
        if let Some(Change { kind, gap, phases }) = change {
            metrics.changed(kind, gap, &phases);
            info!(?kind, ?gap, ?phases, "another master is active");
        }
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        self.meter.answered(id);
        if let Some(asking) = self.asking.remove(&id) {
            // Whoever asked may have left.
            let _ = asking.send(answer);
        }
    }

    /// The next thing to tell the machine. The results of its own orders come first, and what time
    /// it is before what was seen: a flood of observations delays neither.
    async fn next_event(&mut self) -> Option<Event> {
        let deadline = self.machine.next_deadline().map(tokio::time::Instant::from_std);
        loop {
            tokio::select! {
                biased;
                Some((id, result)) = self.finished.recv() => {
                    return Some(Event::OrderFinished { id, result });
                }
                () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)),
                    if deadline.is_some() => return Some(Event::DeadlineReached),
                Some(report) = self.inputs.drains.recv() => return Some(Event::Drained(report)),
                Some(asked) = self.inputs.requests.recv() => return Some(self.requested(asked)),
                observation = self.inputs.observations.recv() => {
                    return observation.map(Event::Observed);
                }
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn requested(&mut self, asked: Asked) -> Event {
        let Asked { request, answer } = asked;
        self.requests += 1;
        let id = RequestId(self.requests);
        self.asking.insert(id, answer);
        if matches!(request, Request::Switchover { .. }) {
            self.meter.asked_to_switch(id);
        }
        Event::Requested { id, request }
    }

    /// The masters from which the observed one receives now.
    fn senders_to(&self, observation: &Observation) -> Vec<ServerId> {
        let Outcome::Alive(facts) = &observation.outcome else { return Vec::new() };
        let receiving = |id: u32| {
            let of = |channel: &&Channel| channel.source_server_id == id;
            facts.channels.iter().filter(of).any(|channel| channel.io == ThreadState::Yes)
        };
        let topology = self.machine.topology();
        let servers = topology.servers();
        servers
            .masters()
            .filter(|_| servers.get(observation.server).role == Role::Master)
            .filter(|sender| sender.id != observation.server)
            .filter(|sender| topology.facts(sender.id).is_some_and(|f| receiving(f.server_id)))
            .map(|sender| sender.id)
            .collect()
    }

    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::Publish(table) => {
                measuring::published(&self.outputs.metrics, &table);
                self.outputs.routes.send_replace(table);
            }
            Action::Run { id, order } => self.start(id, order),
            Action::Probe(server) => self.outputs.probes.probe_now(server),
            Action::Answer { id, answer } => self.answer(id, answer),
            Action::Record(transition) => {
                self.tell(&transition);
                self.outputs.metrics.failover.transitioned(transition.from, transition.to);
                self.outputs.journal.record(now, SystemTime::now(), transition);
            }
        }
    }

    fn start(&self, id: OrderId, order: Order) {
        let surroundings = Surroundings::of(&order, self.machine.topology());
        let lane = &self.lanes[order.server().index()];
        // A lane ends only when an order in it panicked. The machine's own deadline for the order
        // takes it from there.
        if lane.send((id, order, surroundings)).is_err() {
            error!("an order was not given, because one before it panicked");
        }
    }

    fn tell(&self, transition: &Transition) {
        let Transition { from, to, reason, server } = transition;
        let server = server.map(|server| self.machine.topology().servers().name(server));
        info!(from, to, server, reason, "phase");
    }
}

/// Carries the orders of one server out, one after the other.
async fn carry_out<E: Executor>(
    server: String,
    executor: Arc<E>,
    mut orders: mpsc::UnboundedReceiver<Assignment>,
    finish: mpsc::UnboundedSender<(OrderId, OrderResult)>,
) {
    while let Some((id, order, surroundings)) = orders.recv().await {
        let began = tokio::time::Instant::now();
        let result = executor.carry_out(&order, surroundings).await;
        let took_ms = began.elapsed().as_secs_f64() * 1000.0;
        match &result {
            OrderResult::Failed(error) => {
                warn!(server, ?order, took_ms, %error, "order failed");
            }
            _ => info!(server, ?order, took_ms, ?result, "order carried out"),
        }
        if finish.send((id, result)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
