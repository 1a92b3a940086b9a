//! A drain before real servers, with the test as the control plane: writers go from one master to the
//! other and back, and notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::topology::{Accounts, ServerAddress};
use tokio::net::TcpStream;

use crate::fake_server::{CLIENT, RawClient, Stage};
use crate::patience::{ask, eventually};

const SESSIONS: u32 = 16;
const SWITCHES: u32 = 20;

/// Writes until it is told to stop, every third time in a transaction. Any error ends it.
async fn write(mut client: RawClient, number: u32, done: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let insert = "INSERT INTO t (own) VALUES (@own)";
    let prepare = [format!("SET @own = {number}"), "USE app".to_owned()];
    for sql in &prepare {
        client.query(sql).await;
        client.expect_ok().await;
    }
    for turn in 0_u64.. {
        let all: &[&str] = if turn % 3 == 0 { &["BEGIN", insert, "COMMIT"] } else { &[insert] };
        for sql in all {
            client.query(sql).await;
            client.expect_ok().await;
        }
        done.fetch_add(1, Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// A pair that both take writes, and let `app` in without a password.
async fn open_pair() -> Sandbox {
    let options = SandboxOptions { durable: false, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.expect("a pair of servers");
    let open = ["SET sql_log_bin = 0", "SET PASSWORD FOR app@'%' = ''", "SET GLOBAL read_only = 0"];
    for server in sandbox.servers() {
        server.execute(&open).await.expect("opened");
    }
    let make = "CREATE TABLE app.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, own INT)";
    sandbox.server(0).execute(&[make]).await.expect("made");
    eventually("the table on both", async || {
        let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'app'";
        (ask::<u64>(sandbox.server(1), tables).await == 1).then_some(())
    })
    .await;
    sandbox
}

#[tokio::test]
async fn writers_are_taken_from_one_master_to_the_other_and_back() {
    let sandbox = open_pair().await;
    let patience = Duration::from_secs(10);
    let mut stage = Stage::before(sandbox.configured(), patience, patience, Accounts::default());
    let (ServerAddress::Tcp { port, .. }, _door) = stage.workers(2) else { panic!("not TCP") };
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writers = Vec::new();
    for number in 0..SESSIONS {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let client = RawClient::log_in(stream, CLIENT).await;
        writers.push(tokio::spawn(write(client, number, Arc::clone(&done), Arc::clone(&stop))));
    }
    let mut here = 0;
    for _ in 0..SWITCHES {
        let before = done.load(Ordering::SeqCst);
        eventually("writes", async || (done.load(Ordering::SeqCst) > before + 100).then_some(()))
            .await;
        stage.drain_towards(here, 1 - here);
        stage.until_open(&[]).await;
        here = 1 - here;
        stage.activate(here);
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("no error on the way");
    }
    let written = done.load(Ordering::SeqCst);
    for server in sandbox.servers() {
        eventually("every write, once", async || {
            (ask::<u64>(server, "SELECT COUNT(*) FROM app.t").await >= written).then_some(())
        })
        .await;
        assert_eq!(ask::<u64>(server, "SELECT COUNT(*) FROM app.t").await, written);
    }
}
