//! The reads listener before real servers: two masters and two slaves of both, under load, while they are
//! stopped, delayed, locked, frozen and killed.

mod causal;
mod hurt;
mod load;
mod refusals;
mod split;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable as _;
use tandem::config::Config;
use tandem::sandbox::SandboxOptions;
use tandem::topology::{ServerAddress, ServerId};

use support::Stack;

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);
const R1: ServerId = ServerId(2);
const R2: ServerId = ServerId(3);

/// For what must happen; it bounds a failing test and nothing else.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two masters, two replicas, and a proxy that serves reads from them.
async fn start(set: impl FnOnce(&mut Config)) -> Stack {
    let options = SandboxOptions { replicas: 2, ..SandboxOptions::default() };
    let stack = Stack::start_with(options, |config| {
        config.reads.listen = vec![ServerAddress::Tcp { host: "127.0.0.1".into(), port: 0 }];
        config.reads.max_lag = Duration::from_secs(1);
        config.failover.hold = PATIENCE;
        config.failover.min_interval = Duration::ZERO;
        config.monitor.rise = 1;
        set(config);
    })
    .await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE beat (id INT PRIMARY KEY, n BIGINT)").await.expect("made");
    client.query_drop("INSERT INTO beat VALUES (1, 0)").await.expect("inserted");
    stack.await_replicated(0).await;
    stack
}

/// Waits until these serve reads, and nobody else.
async fn await_readers(stack: &Stack, readers: &[ServerId]) {
    let mut decisions = stack.app.handles().reads.as_ref().expect("a listener").decisions.clone();
    let serve = decisions.wait_for(|decision| *decision.readers == *readers);
    if tokio::time::timeout(PATIENCE, serve).await.is_ok() {
        return;
    }
    for server in stack.sandbox.servers().iter().filter(|server| server.pid().is_some()) {
        let Ok(mut root) = server.root_connection().await else { continue };
        let threads: Result<Vec<Row>, _> = root.query("SHOW PROCESSLIST").await;
        println!("{}: {:?}", server.name(), stack.sandbox.replication(server).await);
        println!("{threads:#?}");
    }
    let decision = stack.app.handles().reads.as_ref().expect("one").decisions.borrow().clone();
    panic!("{readers:?} do not serve within {PATIENCE:?}: {decision:?}");
}

/// The application's options, through the reads listener.
fn opts(stack: &Stack) -> mysql_async::Opts {
    let ServerAddress::Tcp { port, .. } = &stack.app.reading()[0] else { panic!("not TCP") };
    mysql_async::Opts::from_url(&stack.sandbox.url(*port)).expect("a URL")
}

async fn connect(stack: &Stack) -> mysql_async::Conn {
    mysql_async::Conn::new(opts(stack)).await.expect("a login")
}

/// How many sessions of the reads listener are on `server`.
fn sessions_on(stack: &Stack, server: ServerId) -> usize {
    stack.app.handles().reads.as_ref().expect("a listener").sessions.sessions_on(server)
}
