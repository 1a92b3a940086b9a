//! Two proxies before one pair: what a switchover that is ordered at one of them is for the clients of
//! the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::*;
use tandem::sandbox::{Sandbox, SandboxOptions};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::patience::{ask, eventually, within};
use crate::process::{Process, master, monitor};

const DRAIN: Duration = Duration::from_secs(4);
const WRITERS: usize = 4;
const SWITCHOVERS: usize = 6;
/// Between two transactions of a writer.
const PAUSE: Duration = Duration::from_millis(10);

fn start(sandbox: &Sandbox, drain: Duration) -> Process {
    let masters: String = sandbox
        .servers()
        .iter()
        .map(|server| master(server.name(), &server.address().to_string()))
        .collect();
    Process::start(&format!(
        "{masters}{}interval = \"500ms\"\ntimeout = \"1s\"\n[switchover]\ndrain = \"{}\"\n[server_tls]\nmode = \"disabled\"\n",
        monitor(sandbox),
        humantime::format_duration(drain)
    ))
}

struct Rig {
    sandbox: Sandbox,
    /// Where switchovers are ordered.
    first: Process,
    /// It is only there.
    second: Process,
}

impl Rig {
    async fn start() -> Self {
        let options = SandboxOptions { durable: false, ..Default::default() };
        let sandbox = Sandbox::start(options).await.expect("a pair");
        sandbox
            .server(0)
            .execute(&["CREATE TABLE app.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, note INT)"])
            .await
            .expect("made");
        let first = start(&sandbox, DRAIN);
        first.connect().await.query_drop("DO 0").await.expect("somebody is active");
        let second = start(&sandbox, DRAIN);
        second.connect().await.query_drop("DO 0").await.expect("it follows");
        Self { sandbox, first, second }
    }

    /// Tried again as long as nothing was begun: it is not done with the last one, or a server is slow.
    async fn order(&self, sql: &str) -> Result<String, String> {
        let mut console = self.first.console().await;
        eventually(sql, async || {
            let answer = within(sql, console.query_first::<String, _>(sql)).await;
            let answer = answer.map(|row| row.expect("a row")).map_err(|error| error.to_string());
            answer.as_ref().err().is_none_or(|it| !it.contains("no switchover")).then_some(answer)
        })
        .await
    }

    /// To the other master than this.
    async fn switch(&self, from: usize) -> String {
        self.order(&format!("SWITCHOVER TO m{}", 2 - from)).await.expect("nothing is in the way")
    }

    /// Who is active, by the open one.
    async fn active(&self) -> usize {
        eventually("one master is open", async || {
            let mut open = Vec::new();
            for server in self.sandbox.servers() {
                open.push(ask::<u8>(server, "SELECT @@GLOBAL.read_only").await == 0);
            }
            open.iter().position(|open| *open).filter(|_| open[0] != open[1])
        })
        .await
    }
}

/// What a writer has noticed.
#[derive(Default)]
struct Noted {
    /// The longest statement of each turn.
    longest: Vec<Duration>,
    errors: Vec<String>,
}

/// Transactions and single writes, with a pause between, until told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    work: JoinHandle<Noted>,
}

impl Writer {
    fn start(proxy: &Process) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counts, options) = (Arc::clone(&stop), Arc::clone(&done), proxy.options());
        let work = tokio::spawn(async move {
            let mut client = Conn::new(options).await.expect("a login");
            let mut noted = Noted::default();
            while !stopped.load(Ordering::SeqCst) {
                let insert = "INSERT INTO t (note) VALUES (1)";
                let mut most = Duration::ZERO;
                for sql in ["BEGIN", insert, insert, "COMMIT", insert] {
                    let began = Instant::now();
                    let done = client.query_drop(sql).await;
                    noted.errors.extend(done.err().map(|error| format!("{sql}: {error}")));
                    most = most.max(began.elapsed());
                }
                noted.longest.push(most);
                // Slower than a standby with one applier: nobody is to be slowed down here.
                sleep(PAUSE).await;
                counts.fetch_add(1, Ordering::SeqCst);
            }
            noted
        });
        Self { stop, done, work }
    }

    async fn goes_on(&self) {
        let before = self.done.load(Ordering::SeqCst);
        eventually("transactions", async || {
            assert!(!self.work.is_finished(), "a writer ended");
            (self.done.load(Ordering::SeqCst) >= before + 5).then_some(())
        })
        .await;
    }

    async fn end(self) -> Noted {
        self.stop.store(true, Ordering::SeqCst);
        within("a writer", self.work).await.expect("it ends")
    }
}

#[tokio::test]
async fn a_switchover_at_one_proxy_is_a_pause_at_the_others() {
    let rig = Rig::start().await;
    writers_of_both_notice_nothing(&rig).await;
    what_ends_in_time_commits(&rig).await;
    what_stays_open_undoes_it(&rig).await;
    a_dead_coordinator_is_not_waited_for(rig).await;
}

async fn writers_of_both_notice_nothing(rig: &Rig) {
    let here: Vec<Writer> = (0..WRITERS).map(|_| Writer::start(&rig.first)).collect();
    let there: Vec<Writer> = (0..WRITERS).map(|_| Writer::start(&rig.second)).collect();
    for _ in 0..SWITCHOVERS {
        for writer in here.iter().chain(&there) {
            writer.goes_on().await;
        }
        let done = rig.switch(rig.active().await).await;
        println!("{done}; at the other proxy: {}", gap(&rig.second).await);
    }
    let mut transactions = 0;
    let mut errors = Vec::new();
    for (place, writers) in [("the first", here), ("the second", there)] {
        let mut longest = Vec::new();
        for writer in writers {
            let noted = writer.end().await;
            longest.extend(noted.longest);
            errors.extend(noted.errors);
        }
        transactions += longest.len() as u64;
        longest.sort();
        longest.reverse();
        let few = &longest[..(WRITERS * SWITCHOVERS).min(longest.len())];
        println!("at {place} proxy: the longest statements of transactions: {few:.1?}");
    }
    assert!(errors.is_empty(), "{errors:#?}");
    for server in rig.sandbox.servers() {
        eventually("every row, once", async || {
            let rows = ask::<u64>(server, "SELECT COUNT(*) FROM app.t").await;
            assert!(rows <= transactions * 3, "{rows} rows of {transactions} transactions");
            (rows == transactions * 3).then_some(())
        })
        .await;
    }
}

/// For how long nobody took writes at a proxy when it last followed another one.
async fn gap(proxy: &Process) -> String {
    eventually("it follows", async || {
        let page = proxy.http("/metrics").await;
        let is_it =
            |line: &&str| line.starts_with("tandem_failover_last_gap_seconds{kind=\"followed\"");
        page.lines().find(is_it).and_then(|line| line.split(' ').nth(1)).map(str::to_owned)
    })
    .await
}

/// A transaction of the other proxy's that is open, and a switchover that waits for it.
async fn begin(rig: &Rig) -> (Conn, usize) {
    let mut client = rig.second.connect().await;
    let active = rig.active().await;
    for sql in ["BEGIN", "INSERT INTO t (note) VALUES (2)"] {
        client.query_drop(sql).await.expect(sql);
    }
    (client, active)
}

/// Another session of the second proxy's.
struct Bystander {
    client: Conn,
    /// How often its proxy has yielded.
    yielded: usize,
}

impl Bystander {
    async fn at(proxy: &Process) -> Self {
        Self { client: proxy.connect().await, yielded: yielded(proxy) }
    }

    /// A statement that is sent when its proxy holds what is new.
    async fn write(self, proxy: &Process) -> JoinHandle<Result<(), mysql_async::Error>> {
        let Self { mut client, yielded: before } = self;
        eventually("it yields", async || (yielded(proxy) > before).then_some(())).await;
        tokio::spawn(async move { client.query_drop("INSERT INTO t (note) VALUES (3)").await })
    }
}

fn yielded(proxy: &Process) -> usize {
    proxy.log().matches("to=\"yielding\"").count()
}

async fn what_ends_in_time_commits(rig: &Rig) {
    let (mut client, from) = begin(rig).await;
    let bystander = Bystander::at(&rig.second).await;
    let order = format!("SWITCHOVER TO m{}", 2 - from);
    let commits = async {
        let next = bystander.write(&rig.second).await;
        for sql in ["INSERT INTO t (note) VALUES (2)", "COMMIT"] {
            client.query_drop(sql).await.expect(sql);
        }
        within("what was held", next).await.expect("it ran").expect("on the new master");
    };
    let (done, ()) = tokio::join!(rig.order(&order), commits);
    println!("{}", done.expect("it waited for the transaction"));
    assert_eq!(rig.active().await, 1 - from);
}

async fn what_stays_open_undoes_it(rig: &Rig) {
    let (mut client, from) = begin(rig).await;
    let began = Instant::now();
    let undone = rig.order(&format!("SWITCHOVER TO m{}", 2 - from)).await.expect_err("it is open");
    println!("{undone} ({:.1?})", began.elapsed());
    assert!(
        undone.contains("is undone") && undone.contains("another proxy (connection "),
        "{undone}"
    );
    assert!(undone.contains(" of app from "), "the user is named: {undone}");
    for sql in ["INSERT INTO t (note) VALUES (2)", "COMMIT"] {
        client.query_drop(sql).await.expect("nothing happened");
    }
    assert_eq!(rig.active().await, from);
    // What cannot be moved is known to its own proxy alone.
    client.query_drop("CREATE TEMPORARY TABLE mine (a INT)").await.expect("made");
    let undone = rig.order(&format!("SWITCHOVER TO m{}", 2 - from)).await.expect_err("it is there");
    println!("{undone}");
    client.query_drop("INSERT INTO mine VALUES (1)").await.expect("still there");
    // Not with FORCE.
    let forced = rig.order(&format!("SWITCHOVER TO m{} FORCE", 2 - from)).await.expect("forced");
    println!("{forced}");
    assert_eq!(rig.active().await, 1 - from);
}

/// It is killed while it waits: the other one goes on at once, long before its own `drain` is over.
async fn a_dead_coordinator_is_not_waited_for(rig: Rig) {
    let Rig { sandbox, first, second } = rig;
    drop(first);
    let patient = start(&sandbox, DRAIN);
    let second_again = start(&sandbox, 2 * DRAIN);
    drop(second);
    let rig = Rig { sandbox, first: patient, second: second_again };
    rig.first.connect().await.query_drop("DO 0").await.expect("it follows");
    let (mut client, from) = begin(&rig).await;
    let bystander = Bystander::at(&rig.second).await;
    let mut console = rig.first.console().await;
    let order = format!("SWITCHOVER TO m{}", 2 - from);
    let ordered = tokio::spawn(async move { console.query_first::<String, _>(order).await });
    let next = bystander.write(&rig.second).await;
    let died = Instant::now();
    drop(rig.first);
    within("what was held", next).await.expect("it ran").expect("on the same master");
    println!("went on {:.1?} after the death", died.elapsed());
    within("the order", ordered).await.expect("ended").expect_err("nobody answers");
    client.query_drop("COMMIT").await.expect("nothing happened");
    let log = rig.second.log();
    assert!(!log.contains("has not left"), "it went by its own time");
}
