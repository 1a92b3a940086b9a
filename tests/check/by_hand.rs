//! Faults that need a replica, and those whose mending is words: people do what they say.

use std::process::Output;

use tandem::pair::Shape;
use tandem::pair::check::{Finding, Mend};
use tandem::pair::dialect::{self, Source};
use tandem::sandbox::{SandboxOptions, ServerBinaries};
use tandem::topology::Flavor;

use crate::command::{check, configuration, configuration_of, text};
use crate::injecting::{ADMINISTRATOR, Checked, with_administrator};
use crate::support::eventually;

/// The replica.
const R1: usize = 2;

async fn execute(pair: &Checked, on: usize, statements: &[&str]) {
    pair.sandbox.server(on).execute(statements).await.expect("carried out");
}

/// The statement that makes a server follow another one, as the administrator.
fn follow(pair: &Checked, channel: &str, source: usize) -> String {
    let source = pair.sandbox.server(source);
    let source = Source {
        channel,
        host: "127.0.0.1",
        port: source.port(),
        user: "dba",
        password: "dba",
        heartbeat: std::time::Duration::from_secs(1),
        tls: false,
    };
    dialect::follow(pair.sandbox.binaries().flavor(), &source)
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

    // Somebody follows a server that the configuration does not know.
    execute(&pair, 1, &[&follow(&pair, "stranger", R1), dialect::start(flavor)]).await;
    let masters = [pair.sandbox.server(0), pair.sandbox.server(1)];
    let file = configuration_of(&pair.sandbox, &masters);
    let told = eventually("the stranger is told", async || {
        let said = text(&check(&file, &[], &ADMINISTRATOR).await);
        said.contains("replication-stranger").then_some(said)
    })
    .await;
    let end = dialect::end(flavor, "stranger");
    assert!(told.contains("which is no server of this configuration"), "{told}");
    // Lines are broken where they are long.
    let words: Vec<&str> = told.split_whitespace().collect();
    assert!(words.join(" ").contains(&end), "{told}");
    execute(&pair, 1, &end.split("; ").collect::<Vec<_>>()).await;
    let said = text(&check(&file, &[], &ADMINISTRATOR).await);
    assert!(!said.contains("replication-stranger"), "{said}");

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

    // A log that is off. Nobody can receive from there.
    pair.configure(1, "skip_log_bin");
    pair.sandbox.server_mut(1).restart().await.expect("it starts");
    let found = pair.finds("binary-log", "m2 has no binary log").await;
    pair.carry_out(&found).await;
    is_mended(&pair, &found).await;

    match flavor {
        // Several appliers pass over nothing; one does.
        Flavor::MariaDb => {
            let skip = [
                "STOP ALL SLAVES",
                "SET GLOBAL slave_parallel_threads = 0",
                "SET GLOBAL sql_slave_skip_counter = 1",
            ];
            execute(&pair, 1, &skip).await;
            let found = pair.finds("skip-counter", "m2 is about to pass over 1 events").await;
            pair.carry_out(&found).await;
            is_mended(&pair, &found).await;
            let back = ["SET GLOBAL slave_parallel_threads = 4", "START ALL SLAVES"];
            execute(&pair, 1, &back).await;
        }
        // A copy of the other's directory, as it comes from a backup of files.
        Flavor::MySql => {
            let uuid = |on: usize| pair.sandbox.server(on).directory().join("data/auto.cnf");
            let (theirs, own) = (uuid(0), uuid(1));
            pair.sandbox.server_mut(1).kill().await.expect("killed");
            std::fs::copy(theirs, &own).expect("copied");
            pair.sandbox.server_mut(1).restart().await.expect("it starts");
            let found = pair.finds("server-uuid", "m1 and m2 have the same server_uuid").await;
            assert!(advice(&found).contains("auto.cnf"), "{found:?}");
            pair.sandbox.server_mut(1).kill().await.expect("killed");
            std::fs::remove_file(own).expect("removed");
            pair.restart(1).await;
            is_mended(&pair, &found).await;
        }
    }
    pair.await_health("at last").await;
}

#[tokio::test]
async fn a_ring_that_is_closed_past_a_master_is_told() {
    let options = SandboxOptions { masters: 3, shape: Shape::Ring, ..SandboxOptions::default() };
    let pair = Checked::start(options).await;
    let flavor = pair.sandbox.binaries().flavor();
    pair.await_health("at first").await;
    // m3 and m2 follow each other: what m1 writes comes to neither.
    let repoint = async |source: usize| {
        let statements =
            [dialect::stop(flavor), &follow(&pair, "", source), dialect::start(flavor)];
        execute(&pair, 1, &statements).await;
    };
    repoint(2).await;
    let found = pair.finds("replication-ring", "nothing that m1 writes comes to m2").await;
    assert!(advice(&found).starts_with("tandem setup --apply"), "{found:?}");
    repoint(0).await;
    is_mended(&pair, &found).await;
    pair.await_health("at last").await;
}

/// With another server than the installed one: the installed one is the other.
#[tokio::test]
async fn servers_of_two_families_or_versions_are_told() {
    let pair = Checked::start(SandboxOptions::default()).await;
    let installed = ["/usr/sbin/mariadbd", "/usr/sbin/mysqld"].into_iter();
    let installed = installed.filter_map(|path| ServerBinaries::at(path.as_ref()).ok()).next();
    let (own, Some(installed)) = (pair.sandbox.binaries(), installed) else {
        println!("NOT TESTED: there is no server installed here");
        return;
    };
    let name = match (own.flavor() == installed.flavor(), own.version() == installed.version()) {
        (false, _) => "server-family",
        (true, false) => "server-version",
        (true, true) => {
            println!(
                "NOT TESTED: needs another server beside the installed one, which the suites mysql-9 and mariadb-11.8 have"
            );
            return;
        }
    };
    let options = SandboxOptions { binaries: Some(installed), ..SandboxOptions::default() };
    let other = with_administrator(options).await;
    let file = configuration_of(&pair.sandbox, &[pair.sandbox.server(0), other.server(1)]);
    let said = text(&check(&file, &[], &ADMINISTRATOR).await);
    assert!(said.contains(&format!("  {name}  m1, m2")), "{said}");
}
