//! The task that owns the failover machine.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::{info, warn};

use super::executor::{Executor, Surroundings};
use super::journal::Journal;
use crate::failover::{Action, Event, Order, OrderId, OrderResult, Transition};
use crate::monitor::ProbeRequests;
use crate::routing::RoutingTable;
use crate::topology::{Observation, Outcome, ServerId, Servers, ThreadState, Topology};

/// A machine that decides. The real one is the failover machine; tests have a scripted one.
pub trait Decide: Send + 'static {
    /// Takes an event in and says what is to be done.
    fn step(&mut self, now: Instant, event: Event) -> Vec<Action>;
    /// When it wants to be told that time has passed.
    fn next_deadline(&self) -> Option<Instant>;
}

/// What the coordinator listens to.
#[derive(Debug)]
pub struct Inputs {
    /// From the monitor and from the sessions.
    pub observations: mpsc::Receiver<Observation>,
    /// From operators.
    pub requests: mpsc::Receiver<Event>,
}

/// What the coordinator publishes.
#[derive(Debug)]
pub struct Outputs {
    /// Whom sessions follow.
    pub routes: watch::Sender<Arc<RoutingTable>>,
    /// The latest picture, for whoever shows it.
    pub topology: watch::Sender<Arc<Topology>>,
    /// What happened.
    pub journal: Arc<Journal>,
    /// Has servers probed at once.
    pub probes: ProbeRequests,
}

/// Feeds the machine and carries out what it wants.
pub struct Coordinator<M, E> {
    machine: M,
    executor: Arc<E>,
    topology: Topology,
    inputs: Inputs,
    outputs: Outputs,
    /// Orders under way; each ends with its id and its result.
    orders: JoinSet<(OrderId, OrderResult)>,
    /// Work that answers nobody.
    errands: JoinSet<()>,
}

impl<M: Decide, E: Executor> Coordinator<M, E> {
    /// A coordinator of `servers` that has seen nothing yet.
    #[must_use]
    pub fn new(
        servers: Servers,
        machine: M,
        executor: Arc<E>,
        inputs: Inputs,
        outputs: Outputs,
    ) -> Self {
        Self {
            machine,
            executor,
            topology: Topology::new(servers),
            inputs,
            outputs,
            orders: JoinSet::new(),
            errands: JoinSet::new(),
        }
    }

    /// Runs until nobody observes any more.
    pub async fn run(mut self) {
        while let Some(event) = self.next_event().await {
            let now = tokio::time::Instant::now().into_std();
            for action in self.machine.step(now, event) {
                self.act(now, action);
            }
        }
    }

    /// The next thing to tell the machine. The results of its own orders come first, and what time
    /// it is before what was seen: a flood of observations delays neither.
    async fn next_event(&mut self) -> Option<Event> {
        let deadline = self.machine.next_deadline().map(tokio::time::Instant::from_std);
        loop {
            tokio::select! {
                biased;
                Some(finished) = self.orders.join_next() => match finished {
                    Ok((id, result)) => return Some(Event::OrderFinished { id, result }),
                    // A task that panicked has said so itself; the machine's own deadline for the
                    // order takes it from there.
                    Err(error) => warn!(%error, "an order was not carried out"),
                },
                () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)),
                    if deadline.is_some() => return Some(Event::DeadlineReached),
                Some(request) = self.inputs.requests.recv() => return Some(request),
                observation = self.inputs.observations.recv() => {
                    let observation = observation?;
                    self.take_in(&observation);
                    return Some(Event::Observed(observation));
                }
                Some(_) = self.errands.join_next() => {}
            }
        }
    }

    fn take_in(&mut self, observation: &Observation) {
        self.topology.record(observation.clone());
        self.outputs.topology.send_replace(Arc::new(self.topology.clone()));
        for sender in self.senders_to(observation) {
            let executor = self.executor.clone();
            self.errands.spawn(async move { executor.received_again(sender).await });
        }
    }

    /// The masters from which the observed one receives now.
    fn senders_to(&self, observation: &Observation) -> Vec<ServerId> {
        let Outcome::Alive(facts) = &observation.outcome else { return Vec::new() };
        let receiving = |id: u32| {
            let of = |channel: &&crate::topology::Channel| channel.source_server_id == id;
            facts.channels.iter().filter(of).any(|channel| channel.io == ThreadState::Yes)
        };
        let servers = self.topology.servers();
        servers
            .masters()
            .filter(|_| servers.get(observation.server).role == crate::topology::Role::Master)
            .filter(|sender| sender.id != observation.server)
            .filter(|sender| self.topology.facts(sender.id).is_some_and(|f| receiving(f.server_id)))
            .map(|sender| sender.id)
            .collect()
    }

    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::Publish(table) => {
                self.outputs.routes.send_replace(table);
            }
            Action::Run { id, order } => self.start(id, order),
            Action::Probe(server) => self.outputs.probes.probe_now(server),
            Action::Record(transition) => {
                self.tell(&transition);
                self.outputs.journal.record(now, SystemTime::now(), transition);
            }
        }
    }

    fn start(&mut self, id: OrderId, order: Order) {
        let executor = self.executor.clone();
        let surroundings = Surroundings::of(&order, &self.topology);
        let name = self.topology.servers().name(order.server()).to_owned();
        self.orders.spawn(async move {
            let began = tokio::time::Instant::now();
            let result = executor.carry_out(&order, surroundings).await;
            let took_ms = began.elapsed().as_secs_f64() * 1000.0;
            match &result {
                OrderResult::Failed(error) => {
                    warn!(server = name, ?order, took_ms, %error, "order failed");
                }
                _ => info!(server = name, ?order, took_ms, ?result, "order carried out"),
            }
            (id, result)
        });
    }

    fn tell(&self, transition: &Transition) {
        let Transition { from, to, reason, server } = transition;
        let server = server.map(|server| self.topology.servers().name(server));
        info!(from, to, server, reason, "phase");
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
