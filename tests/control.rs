//! The control plane's IO against a real pair: what probes see, and what every order does.
//!
//! Each scenario starts its own sandbox. Figures are printed (`--nocapture`), never judged.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tandem::config;
use tandem::coordinator::{
    Asked, Coordinator, Executor, Inputs, Journal, Outputs, SqlExecutor, Surroundings,
    WarmConnections,
};
use tandem::failover::{
    Answer, FailoverMachine, Order, OrderFailure, OrderResult, Policy, Request, Status,
};
use tandem::metrics::Metrics;
use tandem::monitor::{AccountReader, Dialer, Monitor, missing_privileges};
use tandem::routing::{DrainReport, RoutingTable, Writer};
use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::topology::grants::Privilege;
use tandem::topology::{
    AccountPlugin, Facts, Flavor, Observation, Outcome, ServerId, Term, TermStore, ThreadState,
    Topology, UnreachableKind,
};
use tokio::sync::{mpsc, oneshot, watch};

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);
/// Bounds what has gone wrong; nothing waits for it otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    sandbox: Sandbox,
}

impl Rig {
    async fn start(semi_sync: bool) -> Self {
        let options = SandboxOptions { durable: false, semi_sync, ..SandboxOptions::default() };
        Self { sandbox: Sandbox::start(options).await.expect("a pair") }
    }

    fn settings(&self) -> config::Monitor {
        let account = self.sandbox.monitor();
        config::Monitor {
            user: account.user.clone(),
            password: account.password.clone(),
            interval: Duration::from_millis(200),
            timeout: Duration::from_secs(2),
            fall: 2,
            rise: 3,
            heartbeat: true,
        }
    }

    fn connections(&self, settings: &config::Monitor) -> Arc<WarmConnections> {
        Arc::new(WarmConnections::new(
            self.sandbox.configured(),
            Dialer::new(settings),
            settings.timeout,
        ))
    }

    fn executor(&self, signed: &str) -> SqlExecutor {
        SqlExecutor::signed(self.connections(&self.settings()), signed.to_owned())
    }

    fn watch(&self) -> Eyes {
        let (observations, seen) = mpsc::channel(64);
        let monitor = Monitor::start(
            &self.sandbox.configured(),
            &self.settings(),
            &Dialer::new(&self.settings()),
            &observations,
            &Metrics::new([]).monitor,
        );
        Eyes { monitor, seen }
    }

    async fn root(&self, server: ServerId, statement: &str) {
        self.sandbox.server(server.index()).execute(&[statement]).await.expect(statement);
    }

    /// What a thing is called before this rig's servers.
    fn in_words_of<'a>(&self, mariadb: &'a str, mysql: &'a str) -> &'a str {
        match self.sandbox.binaries().flavor() {
            Flavor::MariaDb => mariadb,
            Flavor::MySql => mysql,
        }
    }

    /// The front of the names of the variables that make commits wait for the other master.
    fn semi_sync(&self) -> &'static str {
        self.in_words_of("rpl_semi_sync_master", "rpl_semi_sync_source")
    }

    /// 1 if commits on this server wait for the other master.
    async fn waits_for_other(&self, server: ServerId) -> u8 {
        self.value(server, &format!("SELECT @@{}_enabled", self.semi_sync())).await
    }

    /// Lets root write on a fenced server. On MariaDB root always may; a fence of MySQL binds
    /// everybody until it is replaced by the weaker one.
    async fn let_root_write(&self, server: ServerId) {
        if self.sandbox.binaries().flavor() == Flavor::MySql {
            self.root(server, "SET GLOBAL super_read_only=0").await;
        }
    }

    /// Ends the connections of the monitor's account, as an administrator would.
    async fn kill_monitor(&self, server: ServerId) {
        let user = &self.sandbox.monitor().user;
        if self.sandbox.binaries().flavor() == Flavor::MariaDb {
            return self.root(server, &format!("KILL USER {user}")).await;
        }
        let mut root = self.sandbox.server(server.index()).root_connection().await.expect("root");
        let theirs = format!("SELECT id FROM information_schema.processlist WHERE user='{user}'");
        let ids: Vec<u64> = root.query(theirs).await.expect("listed");
        for id in ids {
            // One may have gone by itself in between.
            let _ = root.query_drop(format!("KILL {id}")).await;
        }
    }

    async fn value<T: mysql_async::prelude::FromValue + Send + 'static>(
        &self,
        server: ServerId,
        question: &str,
    ) -> T {
        let server = self.sandbox.server(server.index());
        let mut connection = server.root_connection().await.expect("root's login");
        connection.query_first(question).await.expect(question).expect("a row")
    }
}

struct Eyes {
    monitor: Monitor,
    seen: mpsc::Receiver<Observation>,
}

impl Eyes {
    async fn until(
        &mut self,
        server: ServerId,
        what: &str,
        wanted: impl Fn(&Outcome) -> bool,
    ) -> Observation {
        let mut last = None;
        let look = async {
            loop {
                let observation = self.seen.recv().await.expect("the monitor runs");
                if observation.server == server && wanted(&observation.outcome) {
                    return observation;
                }
                last = Some(observation);
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(observation) => observation,
            Err(_) => panic!("never seen: {what}; the last was {last:?}"),
        }
    }

    async fn facts(
        &mut self,
        server: ServerId,
        what: &str,
        wanted: impl Fn(&Facts) -> bool,
    ) -> Facts {
        let alive = |outcome: &Outcome| matches!(outcome, Outcome::Alive(facts) if wanted(facts));
        match self.until(server, what, alive).await.outcome {
            Outcome::Alive(facts) => *facts,
            _ => unreachable!("only an answer was wanted"),
        }
    }
}

fn around(source: u32) -> Surroundings {
    Surroundings { source_server_id: Some(source), answers: true, peers_answer: true }
}

fn promote(server: ServerId, seen: u64) -> Order {
    Order::Promote {
        server,
        seen: Term(seen),
        reason: "it's a 'test'\\".to_owned(),
        planned_from: None,
    }
}

fn catch_up(server: ServerId, timeout: Duration) -> Order {
    Order::CatchUp { server, timeout }
}

#[tokio::test]
async fn probes_and_orders_on_a_pair() {
    let rig = Rig::start(false).await;
    let mut eyes = rig.watch();
    let facts = eyes.facts(M1, "m1 alive", |_| true).await;
    assert!(facts.read_only);
    assert_eq!(facts.terms, TermStore::Missing);
    assert_eq!((facts.server_id, facts.auto_increment_increment), (1, 2));
    assert_eq!(facts.auto_increment_offset, 1);
    assert_eq!(facts.channels.len(), 1);
    let channel = &facts.channels[0];
    assert_eq!((channel.io, channel.sql), (ThreadState::Yes, ThreadState::Yes));
    assert_eq!(channel.source_server_id, 2);
    assert!(channel.uses_gtid);
    let version: String = rig.value(M1, "SELECT VERSION()").await;
    assert!(facts.identity.version.ends_with(&version), "{:?}", facts.identity);
    let beats = channel.heartbeats.expect("counted");
    eyes.facts(M1, "another heartbeat", |facts| {
        facts.channels[0].heartbeats.is_some_and(|now| now > beats)
    })
    .await;

    first_decision_and_switchover(&rig, &mut eyes).await;
    superseded_and_repeated(&rig).await;
    receiving(&rig, &mut eyes).await;
    appliers(&rig).await;
    accounts(&rig).await;
    denied(&rig).await;
    locked_tables(&rig).await;
    claims(&rig, &mut eyes).await;
}

async fn first_decision_and_switchover(rig: &Rig, eyes: &mut Eyes) {
    let executor = rig.executor("here:1");
    let done = executor.carry_out(&promote(M1, 0), around(2)).await;
    assert_eq!(done, OrderResult::Promoted(Term(1)), "the schema is made on the way");
    let facts = eyes.facts(M1, "m1 open", |facts| !facts.read_only).await;
    assert_eq!(facts.terms, TermStore::Present(Some((Term(1), "m1".to_owned()))));
    eyes.facts(M2, "the term on m2", |facts| {
        facts.terms == TermStore::Present(Some((Term(1), "m1".to_owned())))
    })
    .await;
    let reason: String = rig.value(M1, "SELECT reason FROM tandem.term").await;
    assert_eq!(reason, "it's a 'test'\\");

    rig.root(M1, "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    rig.root(M1, "INSERT INTO app.t VALUES (), (), ()").await;
    let planned = Order::Promote {
        server: M2,
        seen: Term(1),
        reason: "switchover from m1".to_owned(),
        planned_from: Some(M1),
    };
    let unclaimed = executor.carry_out(&planned, around(1)).await;
    let why = "no planned term without a claim";
    assert!(matches!(unclaimed, OrderResult::Failed(OrderFailure::Unreachable(_))), "{why}");
    let claim = Order::Claim { server: M1, next: Some(M2) };
    assert_eq!(executor.carry_out(&claim, around(2)).await, OrderResult::Done);
    for _ in 0..2 {
        assert_eq!(
            executor.carry_out(&Order::Fence { server: M1 }, around(2)).await,
            OrderResult::Done
        );
    }
    assert_eq!(executor.carry_out(&catch_up(M2, PATIENCE), around(1)).await, OrderResult::Done);
    let keys: String = rig.value(M2, "SELECT GROUP_CONCAT(id ORDER BY id) FROM app.t").await;
    assert_eq!(keys, "1,3,5", "caught up");
    let done = executor.carry_out(&planned, around(1)).await;
    assert_eq!(done, OrderResult::Promoted(Term(2)));
    let unclaim = Order::Unclaim { server: M1 };
    assert_eq!(executor.carry_out(&unclaim, around(2)).await, OrderResult::Done);
    eyes.facts(M1, "the planned term on m1", |facts| facts.planned).await;
    assert_eq!(rig.value::<u8>(M2, "SELECT @@read_only").await, 0);
    assert_eq!(rig.value::<u8>(M1, "SELECT @@read_only").await, 1);
}

/// m2 is active by term 2.
async fn superseded_and_repeated(rig: &Rig) {
    let (one, other) = (rig.executor("one:1"), rig.executor("other:1"));
    let late = one.carry_out(&promote(M2, 1), around(1)).await;
    assert_eq!(late, OrderResult::Superseded { term: Term(2), active: "m2".to_owned() });
    let (a, b) = (promote(M2, 2), promote(M2, 2));
    let (a, b) = tokio::join!(one.carry_out(&a, around(1)), other.carry_out(&b, around(1)));
    let (winner, lost) = if a == OrderResult::Promoted(Term(4)) { (&one, b) } else { (&other, a) };
    assert_eq!(lost, OrderResult::Superseded { term: Term(4), active: "m2".to_owned() });
    // Whoever wrote it and did not hear so asks again and is told; nothing is written twice.
    let again = winner.carry_out(&promote(M2, 2), around(1)).await;
    assert_eq!(again, OrderResult::Promoted(Term(4)));
    assert_eq!(rig.value::<u64>(M2, "SELECT COUNT(*) FROM tandem.term").await, 3);
    // A term that this server never received is passed all the same.
    let above = one.carry_out(&promote(M2, 9), around(1)).await;
    assert_eq!(above, OrderResult::Promoted(Term(10)));
    let planned = "SELECT GROUP_CONCAT(term ORDER BY term) FROM tandem.term WHERE planned";
    assert_eq!(rig.value::<String>(M2, planned).await, "2");

    rig.root(M2, "SET GLOBAL read_only=1").await;
    let open = |term| Order::Open { server: M2, term: Term(term) };
    let old = one.carry_out(&open(4), around(1)).await;
    assert_eq!(old, OrderResult::Superseded { term: Term(10), active: "m2".to_owned() });
    assert_eq!(rig.value::<u8>(M2, "SELECT @@read_only").await, 1);
    assert_eq!(one.carry_out(&open(10), around(1)).await, OrderResult::Done);
    assert_eq!(rig.value::<u8>(M2, "SELECT @@read_only").await, 0);
    assert_eq!(rig.value::<Option<u64>>(M2, "SELECT IS_USED_LOCK('tandem.term')").await, None);

    // A table that an older version made.
    rig.root(M2, "ALTER TABLE tandem.term DROP COLUMN planned").await;
    let without = one.carry_out(&promote(M2, 10), around(1)).await;
    assert_eq!(without, OrderResult::Promoted(Term(12)));
}

async fn receiving(rig: &Rig, eyes: &mut Eyes) {
    let executor = rig.executor("here:1");
    let stop = Order::StopReceiving { server: M1, source: M2 };
    let start = Order::StartReceiving { server: M1, source: M2 };
    let io = |facts: &Facts| facts.channels[0].io;
    let no_source = executor.carry_out(&stop, around(77)).await;
    assert_eq!(no_source, OrderResult::Done, "it receives from nobody of that id");
    eyes.facts(M1, "still receiving", |facts| io(facts) == ThreadState::Yes).await;
    for _ in 0..2 {
        assert_eq!(executor.carry_out(&stop, around(2)).await, OrderResult::Done);
        eyes.facts(M1, "not receiving", |facts| io(facts) == ThreadState::No).await;
    }
    rig.root(M2, "INSERT INTO app.t VALUES ()").await;
    for _ in 0..2 {
        assert_eq!(executor.carry_out(&start, around(2)).await, OrderResult::Done);
        eyes.facts(M1, "receiving", |facts| io(facts) == ThreadState::Yes).await;
    }
    rig.sandbox.await_replication().await.expect("both threads run");
}

async fn appliers(rig: &Rig) {
    let executor = rig.executor("here:1");
    // The applier waits for a lock: what is received is not executed.
    let server = rig.sandbox.server(M1.index());
    rig.let_root_write(M1).await;
    let mut blocker = server.root_connection().await.expect("root's login");
    blocker.query_drop("BEGIN").await.expect("begun");
    blocker.query_drop("INSERT INTO app.t VALUES (100000)").await.expect("locked");
    rig.root(M2, "INSERT INTO app.t VALUES (100000)").await;
    let received = async {
        loop {
            let late: Option<u64> = rig
                .value(M1, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Update_rows%' OR STATE LIKE 'Write_rows%' OR STATE LIKE '%ow%rows%event%' OR STATE LIKE 'Applying batch of row changes%'")
                .await;
            if late.is_some_and(|count| count > 0) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, received).await.expect("the applier is at the row");
    let failed = executor.carry_out(&catch_up(M1, Duration::from_millis(50)), around(2)).await;
    assert!(matches!(failed, OrderResult::Failed(OrderFailure::TimedOut(_))), "{failed:?}");
    // It catches up as soon as the lock is gone.
    let order = catch_up(M1, PATIENCE);
    let (caught_up, ()) = tokio::join!(executor.carry_out(&order, around(2)), async {
        blocker.query_drop("ROLLBACK").await.expect("rolled back");
    });
    assert_eq!(caught_up, OrderResult::Done);

    // One that stops during the wait is noticed, with its words.
    rig.root(M1, "SET sql_log_bin=0").await;
    let mut connection = server.root_connection().await.expect("root's login");
    connection.query_drop("SET sql_log_bin=0").await.expect("not logged");
    connection.query_drop("INSERT INTO app.t VALUES (200000)").await.expect("in the way");
    rig.root(M2, "INSERT INTO app.t VALUES (200000)").await;
    let stopped = async {
        loop {
            let result = executor.carry_out(&catch_up(M1, PATIENCE), around(2)).await;
            // The row may not have arrived yet.
            if result != OrderResult::Done {
                return result;
            }
        }
    };
    let stopped = tokio::time::timeout(PATIENCE, stopped).await.expect("noticed");
    let OrderResult::Failed(OrderFailure::ApplierStopped(why)) = stopped else {
        panic!("{stopped:?}")
    };
    assert!(why.contains("1062"), "{why}");
    connection.query_drop("DELETE FROM app.t WHERE id = 200000").await.expect("out of the way");
    let start = rig.in_words_of("START SLAVE SQL_THREAD", "START REPLICA SQL_THREAD");
    rig.root(M1, start).await;
    rig.sandbox.await_replication().await.expect("both threads run");
}

async fn accounts(rig: &Rig) {
    rig.root(M2, "CREATE USER nat@'%' IDENTIFIED BY 'x'").await;
    let now = Instant::now();
    let mut table = RoutingTable::starting(rig.sandbox.configured(), now);
    table.writer = Writer::Active(M2);
    let (routes, followed) = watch::channel(Arc::new(table));
    let (questions, asked) = mpsc::channel(1);
    let (reader, mut published) = AccountReader::new(Dialer::new(&rig.settings()), followed, asked);
    let reading = tokio::spawn(reader.run());
    published.wait_for(|accounts| !accounts.of("nat").is_empty()).await.expect("read");
    let nat = published.borrow().of("nat").to_vec();
    match rig.sandbox.binaries().flavor() {
        Flavor::MariaDb => {
            // The double hash of `x`, as PASSWORD('x') writes it.
            let hash: String = rig.value(M2, "SELECT PASSWORD('x')").await;
            let AccountPlugin::Native(Some(stage2)) = nat[0].plugin else { panic!("{nat:?}") };
            let hex: String = stage2.iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(format!("*{hex}"), hash);
        }
        Flavor::MySql => assert_eq!(nat[0].plugin, AccountPlugin::CachingSha2),
    }
    assert_eq!(nat[0].host, "%");
    assert!(published.borrow().unreadable.is_none());
    rig.root(M2, "CREATE USER late@'%' IDENTIFIED BY 'x'").await;
    let (done, read) = oneshot::channel();
    questions.send(("late".to_owned(), done)).await.expect("it listens");
    read.await.expect("read on request");
    assert_eq!(published.borrow().of("late").len(), 1);
    assert_eq!(published.borrow().of("nat"), nat, "the others stay");
    drop(routes);
    reading.await.expect("it ends with its routes");
}

async fn denied(rig: &Rig) {
    rig.root(M2, "CREATE USER poor@'127.0.0.1' IDENTIFIED BY 'p'").await;
    rig.sandbox.await_replication().await.expect("both threads run");
    let executor = rig.executor("here:1");
    assert_eq!(executor.carry_out(&catch_up(M1, PATIENCE), around(2)).await, OrderResult::Done);
    let mut settings = rig.settings();
    settings.user = "poor".to_owned();
    settings.password = config::Secret::new("p".to_owned());
    let poor = SqlExecutor::signed(rig.connections(&settings), "poor:1".to_owned());
    let of = |dialer: Dialer| async move {
        let address = rig.sandbox.server(M1.index()).address();
        let mut connection = dialer.connect(&address, PATIENCE).await.expect("logged in");
        let missing = missing_privileges(&mut connection).await.expect("asked");
        (missing, connection.dialect())
    };
    assert_eq!(of(Dialer::new(&rig.settings())).await.0, [], "the sandbox grants what is needed");
    let (lacking, dialect) = of(Dialer::new(&settings)).await;
    let lacking: Vec<_> = lacking.into_iter().map(|(privilege, _)| privilege).collect();
    assert_eq!(lacking, Privilege::all(dialect).collect::<Vec<_>>());
    let grant_for = |result: OrderResult| match result {
        OrderResult::Failed(OrderFailure::Denied { grant, .. }) => grant,
        other => panic!("{other:?}"),
    };
    // Carried out one after the other, each grant mends what the order before missed.
    let status = rig.in_words_of("SLAVE MONITOR ON *.*", "REPLICATION CLIENT ON *.*");
    let control = rig.in_words_of("REPLICATION SLAVE ADMIN ON", "REPLICATION_SLAVE_ADMIN ON");
    for (order, fragment) in [
        (Order::Fence { server: M1 }, rig.in_words_of("READ_ONLY ADMIN", "CONNECTION_ADMIN ON")),
        (catch_up(M1, PATIENCE), status),
        (Order::StopReceiving { server: M1, source: M2 }, control),
        (promote(M1, 10), "ON tandem.*"),
    ] {
        let grant = grant_for(poor.carry_out(&order, around(2)).await);
        assert!(grant.contains(fragment), "{order:?}: {grant}");
        rig.let_root_write(M1).await;
        let server = rig.sandbox.server(M1.index());
        server.execute(&["SET SESSION sql_log_bin=0", &grant]).await.expect("granted");
        let mended = SqlExecutor::signed(rig.connections(&settings), "poor:1".to_owned());
        let result = mended.carry_out(&order, around(2)).await;
        assert!(!matches!(result, OrderResult::Failed(_)), "{order:?}: {result:?}");
    }
    let start = Order::StartReceiving { server: M1, source: M2 };
    assert_eq!(executor.carry_out(&start, around(2)).await, OrderResult::Done);

    settings.password = config::Secret::new("wrong".to_owned());
    let stranger = SqlExecutor::signed(rig.connections(&settings), "poor:1".to_owned());
    let result = stranger.carry_out(&Order::Fence { server: M1 }, around(2)).await;
    assert!(matches!(result, OrderResult::Failed(OrderFailure::Denied { .. })), "{result:?}");
    rig.sandbox.await_replication().await.expect("both threads run");
}

async fn locked_tables(rig: &Rig) {
    rig.root(M1, "SET GLOBAL read_only=0").await;
    let server = rig.sandbox.server(M1.index());
    let mut holder = server.root_connection().await.expect("root's login");
    holder.query_drop("LOCK TABLES app.t WRITE").await.expect("locked");
    let executor = rig.executor("here:1");
    let result = executor.carry_out(&Order::Fence { server: M1 }, around(2)).await;
    assert!(matches!(result, OrderResult::Failed(OrderFailure::TimedOut(_))), "{result:?}");
    holder.query_drop("UNLOCK TABLES").await.expect("unlocked");
    let result = executor.carry_out(&Order::Fence { server: M1 }, around(2)).await;
    assert_eq!(result, OrderResult::Done);
}

/// The claim of a switchover is seen by everybody, and ends with the process that holds it.
async fn claims(rig: &Rig, eyes: &mut Eyes) {
    let (one, other) = (rig.executor("one:1"), rig.executor("other:1"));
    let (claim, unclaim) =
        (Order::Claim { server: M1, next: Some(M2) }, Order::Unclaim { server: M1 });
    assert_eq!(one.carry_out(&claim, around(2)).await, OrderResult::Done);
    eyes.facts(M1, "the claim", |facts| facts.claimed).await;
    eyes.facts(M2, "the claim", |facts| facts.claimed).await;
    let second = other.carry_out(&claim, around(2)).await;
    assert!(matches!(second, OrderResult::Failed(OrderFailure::Claimed(_))), "{second:?}");
    assert_eq!(one.carry_out(&unclaim, around(2)).await, OrderResult::Done);
    eyes.facts(M1, "no claim", |facts| !facts.claimed).await;
    assert_eq!(other.carry_out(&claim, around(2)).await, OrderResult::Done);
    drop(other);
    eyes.facts(M1, "no claim of the dead", |facts| !facts.claimed).await;
    eyes.facts(M2, "no claim of the dead", |facts| !facts.claimed).await;
}

/// The chain of an unplanned failover, and how long each part takes.
#[tokio::test]
async fn a_killed_master_is_refused_and_the_chain_is_short() {
    let mut rig = Rig::start(false).await;
    let connections = rig.connections(&rig.settings());
    let executor = SqlExecutor::signed(connections.clone(), "here:1".to_owned());
    let done = executor.carry_out(&promote(M1, 0), around(2)).await;
    assert_eq!(done, OrderResult::Promoted(Term(1)));
    let mut eyes = rig.watch();
    eyes.facts(M2, "the term on m2", |facts| {
        facts.terms == TermStore::Present(Some((Term(1), "m1".to_owned())))
    })
    .await;
    eyes.facts(M1, "m1", |_| true).await;
    let connection = connections.take(M2).await.expect("a warm connection");
    connections.give_back(M2, connection);

    rig.sandbox.server_mut(0).kill().await.expect("killed");
    let killed = Instant::now();
    eyes.monitor.requests().probe_now(M1);
    let refused = |outcome: &Outcome| {
        matches!(outcome, Outcome::Unreachable { kind: UnreachableKind::Refused, .. })
    };
    let observation = eyes.until(M1, "refused", refused).await;
    println!("refused {:?} after the request, probe {:?}", killed.elapsed(), observation.took);

    let gone = Surroundings { source_server_id: Some(1), answers: true, peers_answer: false };
    let began = Instant::now();
    for (order, fails) in [
        (Order::Fence { server: M1 }, true),
        (catch_up(M2, PATIENCE), false),
        (Order::StopReceiving { server: M2, source: M1 }, false),
        (promote(M2, 1), false),
    ] {
        let this = Instant::now();
        let result = executor.carry_out(&order, gone.clone()).await;
        println!("{:?} {order:?}", this.elapsed());
        match result {
            OrderResult::Failed(OrderFailure::Unreachable(_)) => assert!(fails, "{order:?}"),
            OrderResult::Failed(failure) => panic!("{order:?}: {failure}"),
            OrderResult::Promoted(term) => assert_eq!(term, Term(2)),
            _ => assert!(!fails, "{order:?}"),
        }
    }
    println!("chain {:?}", began.elapsed());

    // Back, it answers again on a new connection, and tells what it is now.
    rig.sandbox.server_mut(0).restart().await.expect("restarted");
    let facts = eyes.facts(M1, "m1 is back", |_| true).await;
    assert!(facts.read_only);
}

/// Monitor, machine and executor together: the active master is killed, the other takes over, the
/// killed one returns and follows.
#[tokio::test]
async fn the_pair_fails_over_by_itself() {
    let mut rig = Rig::start(false).await;
    let settings = rig.settings();
    let policy = config::Failover {
        automatic: true,
        fencing: config::Fencing::ReadOnly,
        hold: Duration::from_secs(10),
        catch_up: PATIENCE,
        catch_up_expired: config::CatchUpExpired::Stay,
        returning_master: config::ReturningMaster::Merge,
        failback: None,
        pace: None,
        min_interval: Duration::ZERO,
        acknowledge_after: 0,
    };
    let servers = rig.sandbox.configured();
    let now = Instant::now();
    let machine = FailoverMachine::new(
        Policy::new(&settings, &policy, &config::Switchover::default()),
        servers.clone(),
        now,
    );
    let (observations, observed) = mpsc::channel(64);
    let (requests, requested) = mpsc::channel(1);
    let (drains, drained) = mpsc::channel(1);
    let dialer = Dialer::new(&settings);
    let counts = Metrics::new([]).monitor;
    let monitor = Monitor::start(&servers, &settings, &dialer, &observations, &counts);
    let (routes, mut followed) =
        watch::channel(Arc::new(RoutingTable::starting(servers.clone(), now)));
    let (topology, _) = watch::channel(Arc::new(Topology::new(servers)));
    let (status, mut shown) = watch::channel(Arc::new(machine.status()));
    let journal = Arc::new(Journal::new(100, now));
    let probes = monitor.requests();
    let outputs = Outputs {
        routes,
        topology,
        status,
        journal: journal.clone(),
        metrics: Arc::new(Metrics::new(["m1", "m2"])),
        probes: probes.clone(),
    };
    let connections = rig.connections(&settings);
    let executor = Arc::new(SqlExecutor::new(connections.clone()));
    let keeping = tokio::spawn(connections.keep());
    let inputs = Inputs { observations: observed, requests: requested, drains: drained };
    let driving = tokio::spawn(Coordinator::new(machine, executor, inputs, outputs).run());

    let mut active = async |server| {
        let routed = followed.wait_for(|table| table.active() == Some(server));
        let table = tokio::time::timeout(PATIENCE, routed).await;
        table.unwrap_or_else(|_| panic!("{:#?}", journal.rows_after(0))).expect("published").term
    };
    let first = active(M1).await;
    rig.root(M1, "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    rig.root(M1, "INSERT INTO app.t VALUES (), (), ()").await;
    // What m2 never received would keep m1 in quarantine.
    support::await_replicated(&rig.sandbox, 0).await;
    rig.sandbox.server_mut(0).kill().await.expect("killed");
    let killed = Instant::now();
    // As a session does whose connection has just broken.
    probes.probe_now(M1);
    let second = active(M2).await;
    println!("active {:?} after the kill", killed.elapsed());
    assert!(second > first);
    assert_eq!(rig.value::<u8>(M2, "SELECT @@read_only").await, 0);
    rig.sandbox.server_mut(0).restart().await.expect("restarted");
    rig.sandbox.await_replication().await.expect("it follows again");
    let steady = shown.wait_for(|status| {
        status.active == Some(M2) && status.decision.as_ref().is_some_and(|(t, _)| *t == second)
    });
    tokio::time::timeout(PATIENCE, steady).await.expect("in time").expect("shown");
    assert_eq!(rig.value::<u8>(M1, "SELECT @@read_only").await, 1);

    let back = BackAgain { requests, drains, followed, shown };
    back.switch_over(&rig).await;

    drop((monitor, observations));
    driving.await.expect("it ends when nobody observes");
    keeping.abort();
}

/// m2 is active, m1 follows it.
struct BackAgain {
    requests: mpsc::Sender<Asked>,
    drains: mpsc::Sender<DrainReport>,
    followed: watch::Receiver<Arc<RoutingTable>>,
    shown: watch::Receiver<Arc<Status>>,
}

impl BackAgain {
    async fn switch_over(mut self, rig: &Rig) {
        // A lock on tables stands in the way of read_only: undone.
        let server = rig.sandbox.server(M2.index());
        let mut holder = server.root_connection().await.expect("root's login");
        holder.query_drop("LOCK TABLES app.t WRITE").await.expect("locked");
        let undone = self.ask(Request::Switchover { to: M1, force: false }).await;
        assert!(matches!(&undone, Answer::Refused(why) if why.contains("read-only")), "{undone:?}");
        let on_m2 = self.followed.wait_for(|table| table.active() == Some(M2));
        tokio::time::timeout(PATIENCE, on_m2).await.expect("in time").expect("published");
        holder.query_drop("UNLOCK TABLES").await.expect("unlocked");
        assert_eq!(rig.value::<u8>(M2, "SELECT @@read_only").await, 0);

        for key in 0..500 {
            let write = format!("INSERT INTO app.t VALUES ({})", 2 * key + 1000);
            holder.query_drop(write).await.expect("written");
        }
        let done = self.ask(Request::Switchover { to: M1, force: false }).await;
        println!("{done:?}");
        assert!(matches!(&done, Answer::Done(_)), "{done:?}");
        assert_eq!(self.followed.borrow().active(), Some(M1));
        let written = "SELECT COUNT(*) FROM app.t WHERE id >= 1000";
        assert_eq!(rig.value::<u64>(M1, written).await, 500);
        assert_eq!(rig.value::<u8>(M1, "SELECT @@read_only").await, 0);
        assert_eq!(rig.value::<u8>(M2, "SELECT @@read_only").await, 1);
        let free = rig.value::<Option<u64>>(M2, "SELECT IS_USED_LOCK('tandem.switchover')");
        assert_eq!(free.await, None);
    }

    /// Plays the sessions, none of which has anything open.
    async fn ask(&mut self, request: Request) -> Answer {
        // What was broken in the last test has to be whole again.
        let steady = self.shown.wait_for(|status| status.phase == "steady");
        tokio::time::timeout(PATIENCE, steady).await.expect("in time").expect("shown");
        let (answer, mut answered) = oneshot::channel();
        self.requests.send(Asked { request, answer }).await.expect("listened to");
        loop {
            tokio::select! {
                answer = &mut answered => return answer.expect("answered"),
                changed = self.followed.changed() => changed.expect("it runs"),
            }
            let table = self.followed.borrow_and_update().clone();
            if table.draining.is_some() {
                let report = DrainReport { generation: table.generation, open: Vec::new() };
                self.drains.send(report).await.expect("listened to");
            }
        }
    }
}

#[tokio::test]
async fn a_frozen_master_is_silent_and_then_answers() {
    let rig = Rig::start(false).await;
    let mut eyes = rig.watch();
    eyes.facts(M1, "m1", |_| true).await;
    rig.sandbox.server(0).freeze().await.expect("frozen");
    let silent = |outcome: &Outcome| {
        matches!(outcome, Outcome::Unreachable { kind: UnreachableKind::Silent, .. })
    };
    // On the old connection, and on a new one that only the kernel accepts.
    eyes.until(M1, "silent", silent).await;
    eyes.until(M1, "silent again", silent).await;
    rig.sandbox.server(0).thaw().expect("thawed");
    eyes.facts(M1, "m1 again", |_| true).await;
}

#[tokio::test]
async fn a_connection_that_is_killed_is_no_dead_server() {
    let rig = Rig::start(false).await;
    let mut eyes = rig.watch();
    eyes.facts(M1, "m1", |_| true).await;
    for _ in 0..3 {
        rig.kill_monitor(M1).await;
        eyes.monitor.requests().probe_now(M1);
        let observation = eyes.until(M1, "an observation", |_| true).await;
        assert!(matches!(observation.outcome, Outcome::Alive(_)), "{observation:?}");
    }
}

/// Both masters of a semi-synchronous pair wait for each other. The survivor must not.
#[tokio::test]
async fn a_semi_synchronous_survivor_does_not_wait_for_the_dead() {
    let mut rig = Rig::start(true).await;
    let executor = rig.executor("here:1");
    for server in [M1, M2] {
        rig.root(server, &format!("SET GLOBAL {}_timeout=3600000", rig.semi_sync())).await;
    }
    let done = executor.carry_out(&promote(M1, 0), around(2)).await;
    assert_eq!(done, OrderResult::Promoted(Term(1)));
    assert_eq!(rig.waits_for_other(M1).await, 1, "left on while the other master answers");
    assert_eq!(executor.carry_out(&catch_up(M2, PATIENCE), around(1)).await, OrderResult::Done);
    rig.sandbox.server(0).freeze().await.expect("frozen");
    // Already waiting when the decision is made: a commit of somebody who may.
    let mut early = rig.sandbox.server(1).root_connection().await.expect("root's login");
    let waiting = tokio::spawn(async move {
        early.query_drop("CREATE TABLE app.early (id INT PRIMARY KEY)").await
    });
    let gone = Surroundings { source_server_id: Some(1), answers: true, peers_answer: false };
    let began = Instant::now();
    let done = executor.carry_out(&promote(M2, 1), gone).await;
    println!("promoted a semi-synchronous survivor in {:?}", began.elapsed());
    assert_eq!(done, OrderResult::Promoted(Term(2)));
    assert_eq!(rig.waits_for_other(M2).await, 0);
    let released = tokio::time::timeout(PATIENCE, waiting).await.expect("released");
    released.expect("it ran").expect("committed");
    rig.root(M2, "CREATE TABLE app.t (id INT PRIMARY KEY)").await;

    rig.sandbox.server_mut(0).kill().await.expect("killed");
    rig.sandbox.server_mut(0).restart().await.expect("restarted");
    rig.sandbox.await_replication().await.expect("both threads run");
    executor.received_again(M2).await;
    assert_eq!(rig.waits_for_other(M2).await, 1);
}

/// What a standby applies goes to its own binary log, and waits there for the dead master's
/// acknowledgement: catching up must not.
#[tokio::test]
async fn a_semi_synchronous_standby_catches_up_without_the_dead() {
    let mut rig = Rig::start(true).await;
    let executor = rig.executor("here:1");
    for server in [M1, M2] {
        rig.root(server, &format!("SET GLOBAL {}_timeout=3600000", rig.semi_sync())).await;
    }
    rig.root(M1, "CREATE TABLE app.t (id INT PRIMARY KEY)").await;
    support::await_replicated(&rig.sandbox, 0).await;
    // M2 receives the row and cannot apply it before M1 is gone.
    let mut lock = rig.sandbox.server(1).root_connection().await.expect("root's login");
    lock.query_drop("LOCK TABLES app.t READ").await.expect("locked");
    rig.root(M1, "INSERT INTO app.t VALUES (1)").await;
    rig.sandbox.server_mut(0).kill().await.expect("killed");
    lock.query_drop("UNLOCK TABLES").await.expect("unlocked");
    let gone = Surroundings { source_server_id: Some(1), answers: true, peers_answer: false };
    let done = executor.carry_out(&catch_up(M2, PATIENCE), gone).await;
    assert_eq!(done, OrderResult::Done);
    assert_eq!(rig.value::<u8>(M2, "SELECT COUNT(*) FROM app.t").await, 1);

    rig.sandbox.server_mut(0).restart().await.expect("restarted");
    rig.sandbox.await_replication().await.expect("both threads run");
    executor.received_again(M2).await;
    assert_eq!(rig.waits_for_other(M2).await, 1);
}

/// A name server that does not answer, for programs that it was told to: resolving a name without
/// dots reads the file that `HOSTALIASES` names (hostname(7)), and this one never ends.
struct HungResolver {
    directory: tempfile::TempDir,
    babbling: tokio::process::Child,
}

impl HungResolver {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("aliases");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        // Open both ways, so that it need not wait for a reader and does not end with one.
        let pipe = std::fs::File::options().read(true).write(true).open(pipe).expect("a pipe");
        let babbling = tokio::process::Command::new("yes")
            .arg("nobody nobody.invalid")
            .stdout(pipe)
            .kill_on_drop(true)
            .spawn()
            .expect("yes");
        Self { directory, babbling }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let pipe = self.directory.path().join("aliases").display().to_string();
        vec![("HOSTALIASES".to_owned(), pipe)]
    }

    async fn end(mut self) {
        self.directory.close().expect("removed");
        self.babbling.kill().await.expect("ended");
    }
}

/// The old master's name does not resolve any more, and the standby's receiver hangs in that: the
/// stop is not waited for by those who take over, but by who starts it again.
#[tokio::test]
async fn a_receiver_that_hangs_in_the_resolver_holds_up_no_failover() {
    let resolver = HungResolver::start();
    let options = SandboxOptions {
        durable: false,
        environment: resolver.environment(),
        ..SandboxOptions::default()
    };
    let rig = Rig { sandbox: Sandbox::start(options).await.expect("a pair") };
    let mut eyes = rig.watch();
    let follow = match eyes.facts(M2, "m2 alive", |_| true).await.identity.flavor {
        Flavor::MariaDb => "STOP SLAVE; CHANGE MASTER TO MASTER_HOST='gone'; START SLAVE",
        Flavor::MySql => {
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST='gone'; START REPLICA"
        }
    };
    for statement in follow.split("; ") {
        rig.root(M2, statement).await;
    }
    let io = |facts: &Facts| facts.channels[0].io;
    eyes.facts(M2, "connecting", |facts| io(facts) == ThreadState::Connecting).await;

    let executor = rig.executor("here:1");
    let stop = Order::StopReceiving { server: M2, source: M1 };
    let began = Instant::now();
    let stopped = executor.carry_out(&stop, around(1)).await;
    println!("went on after {:?}", began.elapsed());
    assert_eq!(stopped, OrderResult::Done);
    let stopping = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'STOP %'";
    assert_eq!(rig.value::<u8>(M2, stopping).await, 1, "the stop has not returned");
    let promoted = executor.carry_out(&promote(M2, 0), around(1)).await;
    assert_eq!(promoted, OrderResult::Promoted(Term(2)));

    let start = Order::StartReceiving { server: M2, source: M1 };
    let (started, ()) = tokio::join!(executor.carry_out(&start, around(1)), resolver.end());
    assert_eq!(started, OrderResult::Done);
    println!("stopped and started after {:?}", began.elapsed());
    // A server has answered a moment before its list says so.
    let ended = async {
        while rig.value::<u8>(M2, stopping).await != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the stop has ended");
    // It runs, though it gets nowhere. Had the start not waited, it would have ended with the stop.
    let now = rig.watch().facts(M2, "m2 alive", |_| true).await;
    assert_ne!(io(&now), ThreadState::No);
}
