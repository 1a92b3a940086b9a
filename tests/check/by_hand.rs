//! Faults that need a replica, and those whose mending is words: people do what they say.

use std::process::Output;

use tandem::pair::check::{Finding, Mend};
use tandem::pair::dialect;
use tandem::sandbox::SandboxOptions;
use tandem::topology::Flavor;

use crate::command::configuration;
use crate::injecting::{ADMINISTRATOR, Checked};
use crate::support::eventually;

/// The replica.
const R1: usize = 2;

async fn execute(pair: &Checked, on: usize, statements: &[&str]) {
    pair.sandbox.server(on).execute(statements).await.expect("carried out");
}

async fn is_mended(pair: &Checked, found: &Finding) {
    let what = format!("{} (\"{}\") is mended", found.check, found.what);
    eventually(&what, async || {
        let findings = pair.look().await.findings;
        (!findings.iter().any(|finding| finding.check == found.check)).then_some(())
    })
    .await;
}

fn advice(found: &Finding) -> &str {
    let mut advice = found.mend.iter().filter_map(|step| match step {
        Mend::Advice { advice } => Some(advice.as_str()),
        _ => None,
    });
    advice.next().expect("words")
}

#[tokio::test]
async fn what_is_wrong_with_a_replica_is_found_and_mended() {
    let options = SandboxOptions { replicas: 1, semi_sync: true, ..SandboxOptions::default() };
    let mut pair = Checked::start(options).await;
    let flavor = pair.sandbox.binaries().flavor();
    pair.await_health("at first").await;

    execute(&pair, R1, &["SET GLOBAL read_only = OFF"]).await;
    let found = pair.finds("replica-writable", "the replica r1 takes writes").await;
    pair.carry_out(&found).await;
    is_mended(&pair, &found).await;

    if flavor == Flavor::MariaDb {
        pair.configure(R1, "gtid_ignore_duplicates = OFF");
        execute(&pair, R1, &[dialect::stop(flavor), "SET GLOBAL gtid_ignore_duplicates = OFF"])
            .await;
        execute(&pair, R1, &[dialect::start(flavor)]).await;
        let found = pair.finds("gtid-ignore-duplicates", "comes to r1 by several ways").await;
        pair.carry_out(&found).await;
        is_mended(&pair, &found).await;
    }

    // Whom to follow is known to `tandem setup`.
    let forget = match flavor {
        Flavor::MariaDb => &["STOP ALL SLAVES", "RESET SLAVE 'm1' ALL", "RESET SLAVE 'm2' ALL"][..],
        Flavor::MySql => &["STOP REPLICA", "RESET REPLICA ALL"][..],
    };
    execute(&pair, R1, forget).await;
    let found = pair.finds("replication-source", "r1 follows nobody").await;
    assert!(advice(&found).starts_with("tandem setup --apply"), "{found:?}");
    let file = configuration(&pair.sandbox);
    let Output { status, stdout, .. } = tokio::process::Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["setup", "--apply", "--semi-sync", "-c"])
        .arg(&file)
        .envs(ADMINISTRATOR)
        .output()
        .await
        .expect("started");
    let said = String::from_utf8_lossy(&stdout);
    assert_eq!(status.code(), Some(0), "{said}");
    is_mended(&pair, &found).await;

    // What nobody else has cannot be mended, only thrown away with the replica.
    execute(&pair, R1, &["SET GLOBAL read_only = OFF", "CREATE DATABASE stray"]).await;
    let found = pair
        .finds("errant-transactions", "the replica r1 has 1 transaction that no master has")
        .await;
    assert!(advice(&found).contains("seed it anew"), "{found:?}");
}

#[tokio::test]
async fn what_only_people_mend_is_told() {
    let options = SandboxOptions { semi_sync: true, ..SandboxOptions::default() };
    let mut pair = Checked::start(options).await;
    let flavor = pair.sandbox.binaries().flavor();
    pair.await_health("at first").await;
    pair.finds("nobody-writable", "m1 and m2 are all read_only").await;

    // Nobody acknowledges what the active master commits.
    let timeout = match flavor {
        Flavor::MariaDb => "SET GLOBAL rpl_semi_sync_master_timeout = 100",
        Flavor::MySql => "SET GLOBAL rpl_semi_sync_source_timeout = 100",
    };
    let active = "INSERT INTO tandem.term (active, decided_by, reason, decided_at) \
                  VALUES ('m1', 'a test', 'to have one', UTC_TIMESTAMP(3))";
    let open = match flavor {
        Flavor::MariaDb => "SET GLOBAL read_only = OFF",
        Flavor::MySql => "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF",
    };
    let schema = tandem::topology::schema::TERMS;
    execute(&pair, 0, &[open, timeout, schema[0], schema[1], active]).await;
    execute(&pair, 1, &[dialect::stop(flavor)]).await;
    execute(&pair, 0, &["CREATE TABLE app.alone (id INT PRIMARY KEY)"]).await;
    let found =
        pair.finds("semi-sync-fell-back", "m1 is to wait for acknowledgements and does not").await;
    assert!(advice(&found).contains("the replication of the standby"), "{found:?}");
    execute(&pair, 1, &[dialect::start(flavor)]).await;
    is_mended(&pair, &found).await;

    // A line in a file that only people may remove.
    let file = pair.sandbox.server(1).directory().join("my.cnf");
    let before = std::fs::read_to_string(&file).expect("my.cnf");
    pair.configure(1, "binlog_ignore_db = forgotten");
    pair.restart(1).await;
    let found = pair.finds("log-filters", "the binary log of m2 leaves schemas out").await;
    assert!(advice(&found).contains("remove binlog_ignore_db"), "{found:?}");
    std::fs::write(&file, &before).expect("my.cnf");
    pair.restart(1).await;
    is_mended(&pair, &found).await;
    pair.await_health("at last").await;
}
