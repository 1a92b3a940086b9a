//! Many sessions on many threads, and tables that change at any moment: behind an empty report
//! nothing reaches the master that is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tandem::topology::ServerAddress;
use tokio::net::TcpStream;

use crate::fake_server::{CLIENT, RawClient, Stage, within};

/// How many write alone, and how many in transactions.
const WRITERS: usize = 8;
const TRANSACTIONS: usize = 4;
const ROUNDS: usize = 1000;

/// Writes as fast as it can until it is told to stop. Returns how many writes were acknowledged.
async fn write(mut client: RawClient, statements: &[&str], stop: Arc<AtomicBool>) -> u64 {
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        for sql in statements {
            client.query(sql).await;
            client.expect_ok().await;
            acknowledged += u64::from(sql.starts_with("INSERT"));
        }
    }
    acknowledged
}

#[tokio::test]
async fn behind_an_empty_report_no_write_reaches_the_master_that_is_left() {
    let mut stage = Stage::new().await;
    let writes = [stage.let_run(0), stage.let_run(1)];
    let stop = Arc::new(AtomicBool::new(false));
    let (ServerAddress::Tcp { port, .. }, door) = stage.workers(4) else { panic!("not TCP") };
    let mut writers = Vec::new();
    for number in 0..WRITERS + TRANSACTIONS {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let client = within("login", RawClient::log_in(stream, CLIENT)).await;
        let alone: &[&str] = &["INSERT INTO t VALUES (1)"];
        let together: &[&str] = &["BEGIN", "INSERT INTO t VALUES (1)", "COMMIT"];
        let statements = if number < WRITERS { alone } else { together };
        writers.push(tokio::spawn(write(client, statements, Arc::clone(&stop))));
    }
    let count = |master: u16| writes[usize::from(master)].load(Ordering::SeqCst);
    let mut here = 0;
    for round in 0..ROUNDS {
        let reached = count(here);
        within("a write", async {
            while count(here) < reached + 20 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let generation = stage.drain(here);
        while {
            let report = stage.report().await;
            assert_eq!(report.generation, generation);
            !report.open.is_empty()
        } {}
        let left = count(here);
        stage.until_held(WRITERS + TRANSACTIONS).await;
        assert_eq!(count(here), left, "round {round}: a write behind the empty report");
        // Undone, or done.
        here = if round % 3 == 0 { here } else { 1 - here };
        stage.activate(here);
    }
    stop.store(true, Ordering::Relaxed);
    door.abort();
    let mut acknowledged = 0;
    for writer in writers {
        acknowledged += within("the last answer", writer).await.expect("no error on the way");
    }
    assert_eq!(acknowledged, count(0) + count(1), "nothing lost, nothing twice");
}
