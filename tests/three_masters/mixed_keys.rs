//! Keys of another master's class, as clients and administrators make them.

use std::time::{Duration, Instant};

use mysql_async::prelude::*;
use mysql_async::{Conn, OptsBuilder};
use tandem::sandbox::SandboxOptions;
use tandem::topology::ServerId;

use crate::patience::eventually;
use crate::support::Stack;

struct Rig(Stack);

impl Rig {
    async fn start() -> Self {
        let options = SandboxOptions { durable: false, ..SandboxOptions::default() };
        let stack = Stack::start_with(options, |config| {
            config.monitor.interval = Duration::from_millis(100);
        })
        .await;
        let tables = ["made", "given", "prepared", "changed"].map(|name| {
            format!(
                "CREATE TABLE app.{name} (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
                 v VARCHAR(100) UNIQUE)"
            )
        });
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        stack.sandbox.server(0).execute(&tables).await.expect("tables");
        let classes = "the classes of both masters are known";
        let mut topology = stack.app.handles().topology.clone();
        let seen = topology
            .wait_for(|now| [ServerId(0), ServerId(1)].iter().all(|id| now.facts(*id).is_some()));
        tokio::time::timeout(Duration::from_secs(30), seen).await.expect(classes).expect("runs");
        Self(stack)
    }

    /// A client that has just connected.
    async fn client(&self) -> Conn {
        Conn::new(OptsBuilder::from_opts(self.0.opts())).await.expect("a login")
    }

    /// What was told so far with all these words in it.
    fn all_told(&self, words: &[&str]) -> Vec<String> {
        let rows = self.0.app.handles().journal.rows_after(0);
        let reasons = rows.into_iter().map(|row| row.transition.reason);
        reasons.filter(|reason| words.iter().all(|word| reason.contains(word))).collect()
    }

    async fn told(&self, words: &[&str]) -> String {
        eventually(&words.join(" … "), async || self.all_told(words).into_iter().next()).await
    }

    fn counted(&self) -> u64 {
        self.0.app.handles().metrics.session.foreign_keys.get()
    }
}

#[tokio::test]
async fn a_key_of_another_class_is_told_with_its_table_and_statement() {
    let rig = Rig::start().await;

    // As it should be: generated, and given from the own class.
    let mut client = rig.client().await;
    for n in 0..50 {
        client.query_drop(format!("INSERT INTO made (v) VALUES ('{n}')")).await.expect("made");
        assert!(client.last_insert_id().is_some_and(|key| key % 2 == 1));
    }
    client.query_drop("INSERT INTO made (id, v) VALUES (1001, 'x')").await.expect("given");

    // Not of the statement's making.
    for statements in [
        &["UPDATE made SET id = LAST_INSERT_ID(id + 1001) WHERE id = 1"][..],
        &["INSERT INTO made (id, v) VALUES (1002, 'y') ON DUPLICATE KEY UPDATE v = 'y'"],
        &["SET insert_id = 2002", "INSERT INTO made (v) VALUES ('own')"],
        &["SET SESSION auto_increment_offset = 2", "INSERT INTO made (v) VALUES ('offset')"],
        &[
            "CREATE TEMPORARY TABLE mine (id INT AUTO_INCREMENT PRIMARY KEY)",
            "INSERT INTO mine VALUES (2)",
        ],
        &["SELECT LAST_INSERT_ID(4)", "DO LAST_INSERT_ID(4)"],
        &["REPLACE INTO made (id, v) VALUES (1002, 'z')"],
    ] {
        let mut client = rig.client().await;
        for statement in statements {
            client.query_drop(*statement).await.expect(statement);
        }
    }
    assert_eq!(rig.counted(), 0);

    // A given key.
    let mut client = rig.client().await;
    let given = "INSERT INTO given (id, v) VALUES (2, 'a secret'), (4, 'another')";
    client.query_drop(given).await.expect(given);
    let told = rig.told(&["app.given", "1, 3, 5, …"]).await;
    println!("{told}");
    assert!(told.contains("INSERT INTO given (id, v) VALUES (?)"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    // Again: a session counts one a second at most, and it is told once in ten minutes.
    let began = Instant::now();
    for key in [6, 8, 10] {
        let statement = format!("INSERT INTO given (id, v) VALUES ({key}, '{key}')");
        client.query_drop(statement).await.expect("given");
    }
    let seconds = began.elapsed().as_secs();
    assert!((1..=2 + seconds).contains(&rig.counted()), "{}", rig.counted());

    // A given key in a prepared statement.
    let mut client = rig.client().await;
    client.exec_drop("INSERT INTO prepared (id, v) VALUES (?, ?)", (2, "p")).await.expect("given");
    let told = rig.told(&["app.prepared", "the key 2"]).await;
    assert!(told.contains("INSERT INTO prepared (id, v) VALUES (?)"), "{told}");
    assert_eq!(rig.all_told(&["app.given"]).len(), 1);

    // Somebody changes the offset: probes see the new value, and still it is found.
    let m1 = rig.0.sandbox.server(0);
    m1.execute(&["SET GLOBAL auto_increment_offset = 2"]).await.expect("changed");
    let told = rig.told(&["no longer keep the keys of the masters apart"]).await;
    println!("{told}");
    let mut client = rig.client().await;
    client.query_drop("INSERT INTO changed (v) VALUES ('c')").await.expect("made");
    assert!(client.last_insert_id().is_some_and(|key| key % 2 == 0));
    println!("{}", rig.told(&["app.changed", "the key 2"]).await);
    m1.execute(&["SET GLOBAL auto_increment_offset = 1"]).await.expect("changed back");
    rig.told(&["kept apart again"]).await;
    let before = rig.counted();
    let mut client = rig.client().await;
    client.query_drop("INSERT INTO changed (v) VALUES ('d')").await.expect("made");
    assert_eq!(rig.counted(), before);
}
