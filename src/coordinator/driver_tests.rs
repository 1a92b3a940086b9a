use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::*;
use crate::config;
use crate::metrics::encode;
use crate::monitor::{Look, Monitor, Probe};
use crate::routing::Writer;
use crate::topology::{
    Channel, Facts, Flavor, GtidSet, Identity, ServerAddress, Servers, Source, Term, TermStore,
};

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);

fn servers() -> Servers {
    let at = |port| ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port };
    Servers::new([("m1".to_owned(), at(1)), ("m2".to_owned(), at(2))], [])
}

/// Says what the script says, whatever it is told, and tells what that was.
struct Scripted {
    steps: VecDeque<Vec<Action>>,
    topology: Topology,
    status: Status,
    deadline: Option<Instant>,
    told: mpsc::UnboundedSender<(Instant, Event)>,
}

impl Decide for Scripted {
    fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match &event {
            Event::DeadlineReached => self.deadline = None,
            Event::Observed(observation) => self.topology.record(observation.clone()),
            _ => {}
        }
        self.status.generation += 1;
        self.told.send((now, event)).ok();
        self.steps.pop_front().unwrap_or_default()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn status(&self) -> Status {
        self.status.clone()
    }

    fn topology(&self) -> &Topology {
        &self.topology
    }
}

/// Carries out orders when it is let, and writes down what it was asked.
#[derive(Default)]
struct Hands {
    asked: Mutex<Vec<(Order, Surroundings)>>,
    received_again: Mutex<Vec<ServerId>>,
    hung: Option<ServerId>,
    /// Orders wait for it, where it is there.
    gate: Option<Notify>,
    errand_done: Notify,
}

#[async_trait]
impl Executor for Hands {
    async fn carry_out(&self, order: &Order, surroundings: Surroundings) -> OrderResult {
        self.asked.lock().expect("free").push((order.clone(), surroundings));
        if self.hung == Some(order.server()) {
            std::future::pending::<()>().await;
        }
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        OrderResult::Done
    }

    async fn received_again(&self, server: ServerId) {
        self.received_again.lock().expect("free").push(server);
        self.errand_done.notify_one();
    }
}

struct Silent(mpsc::UnboundedSender<ServerId>, ServerId);

#[async_trait]
impl Probe for Silent {
    async fn probe(&mut self) -> Look {
        self.0.send(self.1).ok();
        Look::Abstained("scripted".to_owned())
    }
}

struct Bench {
    observations: mpsc::Sender<Observation>,
    requests: mpsc::Sender<Asked>,
    _drains: mpsc::Sender<DrainReport>,
    told: mpsc::UnboundedReceiver<(Instant, Event)>,
    probed: mpsc::UnboundedReceiver<ServerId>,
    routes: watch::Receiver<Arc<RoutingTable>>,
    topology: watch::Receiver<Arc<Topology>>,
    status: watch::Receiver<Arc<Status>>,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
    hands: Arc<Hands>,
    _monitor: Monitor,
}

fn start(hands: Hands, deadline: Option<Duration>, steps: Vec<Vec<Action>>) -> Bench {
    let now = tokio::time::Instant::now().into_std();
    let (observations, observed) = mpsc::channel(8);
    let (requests, requested) = mpsc::channel(8);
    let (drains, drained) = mpsc::channel(8);
    let (told_to, told) = mpsc::unbounded_channel();
    let (probed_to, probed) = mpsc::unbounded_channel();
    let settings = config::Monitor {
        user: String::new(),
        password: config::Secret::default(),
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(1),
        fall: 2,
        rise: 3,
        heartbeat: false,
    };
    let counts = Metrics::new([]).monitor;
    let monitor = Monitor::start_with(&servers(), &settings, &observations, &counts, |server| {
        Silent(probed_to.clone(), server.id)
    });
    let (routes, published) = watch::channel(Arc::new(RoutingTable::starting(servers(), now)));
    let (topology, picture) = watch::channel(Arc::new(Topology::new(servers())));
    let journal = Arc::new(Journal::new(10, now));
    let hands = Arc::new(hands);
    let idle = Status {
        phase: "scripted",
        since: now,
        active: None,
        held: None,
        decision: None,
        generation: 0,
        masters: Vec::new(),
        quarantine: Vec::new(),
    };
    let (status, shown) = watch::channel(Arc::new(idle.clone()));
    let machine = Scripted {
        steps: steps.into(),
        topology: Topology::new(servers()),
        status: idle,
        deadline: deadline.map(|d| now + d),
        told: told_to,
    };
    let metrics = Arc::new(Metrics::new(["m1", "m2"]));
    let outputs = Outputs {
        routes,
        topology,
        status,
        journal: journal.clone(),
        metrics: metrics.clone(),
        probes: monitor.requests(),
    };
    let inputs = Inputs { observations: observed, requests: requested, drains: drained };
    let coordinator = Coordinator::new(machine, hands.clone(), inputs, outputs);
    tokio::spawn(coordinator.run());
    Bench {
        observations,
        requests,
        _drains: drains,
        told,
        probed,
        routes: published,
        topology: picture,
        status: shown,
        journal,
        metrics,
        hands,
        _monitor: monitor,
    }
}

fn seen(server: ServerId, outcome: Outcome) -> Observation {
    Observation {
        server,
        at: tokio::time::Instant::now().into_std(),
        took: Duration::ZERO,
        source: Source::Probe,
        outcome,
    }
}

fn refused() -> Outcome {
    Outcome::Unreachable { kind: crate::topology::UnreachableKind::Refused, detail: String::new() }
}

/// A master with this id that receives from the one with that id.
fn alive(server_id: u32, source_server_id: u32, io: ThreadState) -> Outcome {
    let gtids = || GtidSet::parse(Flavor::MariaDb, "").expect("empty");
    Outcome::Alive(Box::new(Facts {
        identity: Arc::new(Identity {
            flavor: Flavor::MariaDb,
            version: String::new(),
            capabilities: 0,
            collation: 8,
            plugin: String::new(),
        }),
        server_id,
        uptime: Duration::ZERO,
        read_only: true,
        auto_increment_increment: 2,
        auto_increment_offset: server_id,
        executed: gtids(),
        channels: vec![Channel {
            name: String::new(),
            source_host: String::new(),
            source_port: 0,
            source_server_id,
            io,
            io_error: (0, String::new()),
            sql: ThreadState::Yes,
            sql_error: (0, String::new()),
            received: gtids(),
            uses_gtid: true,
            seconds_behind: None,
            heartbeats: None,
            heartbeat_period: Some(Duration::from_secs(1)),
        }],
        claimed: false,
        draining: None,
        connection: 1,
        planned: false,
        terms: TermStore::Missing,
        beats: None,
        sending: Default::default(),
    }))
}

impl Bench {
    async fn observe(&self, server: ServerId, outcome: Outcome) {
        self.observations.send(seen(server, outcome)).await.expect("the coordinator listens");
    }

    fn samples(&self) -> Vec<String> {
        encode(&self.metrics.registry).lines().map(str::to_owned).collect()
    }

    async fn told(&mut self) -> Event {
        self.told.recv().await.expect("the machine is told").1
    }
}

fn stop_m2_receiving(id: u64) -> Action {
    Action::Run { id: OrderId(id), order: Order::StopReceiving { server: M2, source: M1 } }
}

#[tokio::test(start_paused = true)]
async fn actions_are_carried_out_and_results_come_back() {
    let now = tokio::time::Instant::now().into_std();
    let mut table = RoutingTable::starting(servers(), now);
    table.generation = 7;
    table.term = Term(5);
    table.writer = Writer::Active(M2);
    let transition = Transition {
        from: "steady",
        to: "holding",
        reason: "m1 refuses connections".to_owned(),
        server: Some(M1),
    };
    let mut bench = start(
        Hands::default(),
        None,
        vec![vec![
            Action::Publish(Arc::new(table.clone())),
            stop_m2_receiving(3),
            Action::Record(transition.clone()),
        ]],
    );
    bench.observe(M1, refused()).await;
    assert!(matches!(bench.told().await, Event::Observed(o) if o.server == M1));
    let Event::OrderFinished { id, result } = bench.told().await else { panic!("no result") };
    assert_eq!((id, result), (OrderId(3), OrderResult::Done));
    assert_eq!(**bench.routes.borrow(), table);
    assert_eq!(bench.journal.rows_after(0)[0].transition, transition);
    assert_eq!(bench.topology.borrow().seen(M1).failures, 1);
    bench.status.wait_for(|status| status.generation == 2).await.expect("both steps are shown");
    let samples = bench.samples();
    for sample in [
        "tandem_failover_term 5",
        "tandem_failover_generation 7",
        "tandem_failover_active{server=\"m2\"} 1",
        "tandem_failover_transitions_total{from=\"steady\",to=\"holding\"} 1",
    ] {
        assert!(samples.iter().any(|line| line == sample), "{sample}: {samples:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_told_when_it_comes() {
    let began = tokio::time::Instant::now().into_std();
    let mut bench = start(Hands::default(), Some(Duration::from_millis(300)), vec![]);
    let (now, event) = bench.told.recv().await.expect("told");
    assert!(matches!(event, Event::DeadlineReached));
    // The timer wheel of the runtime counts in milliseconds.
    let late = now - began - Duration::from_millis(300);
    assert!(late <= Duration::from_millis(1), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_hangs_holds_up_nothing() {
    let hands = Hands { hung: Some(M1), ..Hands::default() };
    let fence = Action::Run { id: OrderId(1), order: Order::Fence { server: M1 } };
    let mut bench = start(hands, None, vec![vec![fence], vec![stop_m2_receiving(2)]]);
    bench.observe(M1, refused()).await;
    bench.told().await;
    let (answer, _) = oneshot::channel();
    bench.requests.send(Asked { request: Request::Resume, answer }).await.expect("listened to");
    assert!(matches!(bench.told().await, Event::Requested { request: Request::Resume, .. }));
    assert!(matches!(bench.told().await, Event::OrderFinished { id: OrderId(2), .. }));
}

#[tokio::test(start_paused = true)]
async fn orders_to_one_server_wait_for_each_other() {
    let hands = Hands { gate: Some(Notify::new()), ..Hands::default() };
    let mut bench = start(
        hands,
        None,
        vec![vec![
            stop_m2_receiving(1),
            Action::Run { id: OrderId(2), order: Order::Fence { server: M2 } },
        ]],
    );
    bench.observe(M1, refused()).await;
    bench.told().await;
    for id in [1, 2] {
        while bench.hands.asked.lock().expect("free").len() < id {
            tokio::task::yield_now().await;
        }
        // Whatever could run has run: only the first of the two was begun.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.hands.asked.lock().expect("free").len(), id);
        bench.hands.gate.as_ref().expect("there").notify_one();
        let Event::OrderFinished { id: finished, .. } = bench.told().await else {
            panic!("no result")
        };
        assert_eq!(finished, OrderId(id as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_request_reaches_the_prober() {
    let mut bench = start(Hands::default(), None, vec![vec![Action::Probe(M2)]]);
    // Each prober begins with a probe of its own.
    bench.probed.recv().await.expect("the first");
    bench.probed.recv().await.expect("the second");
    bench.observe(M1, refused()).await;
    assert_eq!(bench.probed.recv().await, Some(M2));
}

#[tokio::test(start_paused = true)]
async fn orders_know_their_surroundings() {
    let promote =
        Order::Promote { server: M2, seen: Term(4), reason: String::new(), planned_from: None };
    let mut bench = start(
        Hands::default(),
        None,
        vec![
            vec![stop_m2_receiving(1), Action::Run { id: OrderId(2), order: promote.clone() }],
            vec![],
            vec![],
            vec![Action::Run { id: OrderId(3), order: promote }],
        ],
    );
    bench.observe(M1, alive(11, 12, ThreadState::Yes)).await;
    for _ in 0..3 {
        bench.told().await;
    }
    bench.observe(M1, refused()).await;
    for _ in 0..2 {
        bench.told().await;
    }
    let asked = bench.hands.asked.lock().expect("free").clone();
    let around = |place: usize| asked[place].1.clone();
    assert_eq!(around(0).source_server_id, Some(11));
    assert!(!around(0).answers, "m2 was never asked");
    assert!(around(1).peers_answer);
    assert!(!around(2).peers_answer, "m1 refuses now");
}

#[tokio::test(start_paused = true)]
async fn a_master_that_receives_again_is_noticed() {
    let mut bench = start(Hands::default(), None, vec![]);
    bench.observe(M2, alive(12, 11, ThreadState::Yes)).await;
    bench.observe(M1, alive(11, 12, ThreadState::Connecting)).await;
    bench.told().await;
    bench.told().await;
    assert!(bench.hands.received_again.lock().expect("free").is_empty(), "it is connecting");
    bench.observe(M1, alive(11, 12, ThreadState::Yes)).await;
    bench.hands.errand_done.notified().await;
    assert_eq!(*bench.hands.received_again.lock().expect("free"), [M2]);
}

/// Nobody looks at the picture between two of them.
#[tokio::test(start_paused = true)]
async fn every_probe_is_counted_and_nothing_else() {
    let mut bench = start(Hands::default(), None, vec![]);
    let reported = Observation { source: Source::Session, ..seen(M1, refused()) };
    for observation in [
        seen(M1, alive(11, 12, ThreadState::Yes)),
        seen(M1, refused()),
        seen(M1, refused()),
        seen(M2, alive(12, 11, ThreadState::Yes)),
        reported,
    ] {
        bench.observations.send(observation).await.expect("the coordinator listens");
    }
    for _ in 0..5 {
        bench.told().await;
    }
    let counted: Vec<String> = bench
        .samples()
        .into_iter()
        .filter_map(|line| line.strip_prefix("tandem_monitor_").map(str::to_owned))
        .filter(|line| line.starts_with("probes_total") || line.starts_with("server_up"))
        .collect();
    let mut counted: Vec<&str> = counted.iter().map(String::as_str).collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            "probes_total{server=\"m1\",outcome=\"alive\"} 1",
            "probes_total{server=\"m1\",outcome=\"refused\"} 2",
            "probes_total{server=\"m2\",outcome=\"alive\"} 1",
            "server_up{server=\"m1\"} 0",
            "server_up{server=\"m2\"} 1",
        ]
    );
}
