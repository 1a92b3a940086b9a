//! A master whose disk is full: it answers whatever it is asked, and its commits wait for somebody to make
//! room. Another takes over, and nothing that waited there is acknowledged any more.
//!
//! m1's binary log lies on a file system of its own, which this mounts: it needs root. Without it says so
//! and does nothing. It runs itself again in a mount namespace, so that the mount ends with it.

#[path = "../partitions/ledger.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod ledger;
#[path = "../failover/patience.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod patience;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ledger::{Client, Fate, tokens};
use mysql_async::OptsBuilder;
use mysql_async::prelude::*;
use patience::eventually;
use support::{Stack, config_for};
use tandem::app::App;
use tandem::sandbox::{Sandbox, SandboxOptions};

/// Tells this program that it runs in a mount namespace.
const INSIDE: &str = "TANDEM_TEST_MOUNTS";

/// Of the file system, and what is left of it for the log to grow.
const SIZE: u64 = 32 << 20;
const LEFT: u64 = 256 << 10;

#[test]
fn a_master_without_room_is_replaced() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.expect("a runtime").block_on(replaced());
    }
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|s| s.success()) {
        println!("SKIPPED: no mount namespace can be made here, which takes root");
        return;
    }
    let again = Command::new("unshare")
        .arg("--mount")
        .arg(std::env::current_exe().expect("its path"))
        .args(["--exact", "a_master_without_room_is_replaced", "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(again.expect("it runs").success(), "it failed in the mount namespace: see above");
}

async fn replaced() {
    let options = SandboxOptions {
        // Beside the data, and not among it.
        arguments: vec!["--log_bin=../tmp/binlog".to_owned()],
        ..SandboxOptions::default()
    };
    let mut sandbox = Sandbox::start(options).await.expect("a pair");
    let place = sandbox.server(0).directory().join("tmp");
    sandbox.server_mut(0).stop().await.expect("stopped");
    let disk = SmallDisk::below(&place);
    sandbox.server_mut(0).restart().await.expect("started again");
    sandbox.await_replication().await.expect("both directions run");
    let table = "CREATE TABLE app.written (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
                 token VARCHAR(64) NOT NULL, by_server INT NOT NULL)";
    let user = &sandbox.monitor().user;
    let grant = format!("GRANT SELECT ON app.* TO '{user}'@'%'");
    sandbox.server(0).execute(&[table, &grant]).await.expect("made");
    let mut config = config_for(&sandbox);
    config.monitor.interval = Duration::from_millis(500);
    config.failover.min_interval = Duration::ZERO;
    let mut stack = Stack::of(App::start(config).expect("a proxy"), sandbox);
    // Dropped before the servers: their directory is to be removed.
    let _disk = disk;
    stack.await_active(Some("m1")).await;
    let client = |number| Client::start(format!("c{number}"), OptsBuilder::from_opts(stack.opts()));
    let clients: Vec<Client> = (0..4).map(client).collect();
    go_on(&clients).await;

    let filler = fill(&place);
    let filled = Instant::now();
    stack.await_active(Some("m2")).await;
    let opened = Instant::now();
    let rows = stack.app.handles().journal.rows_after(0);
    for row in &rows {
        println!("{:?} {}", row.since_start, row.transition.reason);
    }
    let words = "m1 answers but cannot write: its disk is full";
    assert!(rows.iter().any(|row| row.transition.reason.contains(words)), "see above");
    go_on(&clients).await;

    // Somebody makes room, and then starts it again: MySQL has ended itself, and MariaDB would try
    // again only after a minute.
    std::fs::remove_file(filler).expect("removed");
    if stack.sandbox.server(0).root_connection().await.is_ok() {
        assert!(closed(&stack).await, "m1 is fenced");
        // Whatever is still under way there has an end; before the minute after which MariaDB itself
        // would try again.
        tokio::time::timeout(Duration::from_secs(30), go_on(&clients)).await.expect("on m2");
    }
    stack.sandbox.server_mut(0).kill().await.expect("ended");
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    whole(&stack, &clients).await;
    assert!(closed(&stack).await, "m1 is a standby");

    let by_m1 = "SELECT token FROM app.written WHERE by_server = 1";
    let mut root = stack.sandbox.server(1).root_connection().await.expect("root");
    let (by_m1, _) = tokens(root.query(by_m1).await.expect("asked"));
    let all: Vec<_> = clients.iter().flat_map(Client::writes).collect();
    let acknowledged = || all.iter().filter(|write| write.fate == Fate::Acknowledged);
    let late = acknowledged().filter(|write| write.ended > opened && by_m1.contains(&write.token));
    assert_eq!(late.count(), 0, "acknowledged by m1 when m2 was active");
    let count = |fate| all.iter().filter(|write| write.fate == fate).count();
    let gap = clients.iter().map(|client| client.since(filled).gap).max();
    println!(
        "{}: m2 active {:?} after the disk was filled up to the last {LEFT} bytes, gap {gap:?}; {} acknowledged, \
         {} unknown, {} refused",
        stack.sandbox.binaries().version(),
        opened - filled,
        count(Fate::Acknowledged),
        count(Fate::Unknown),
        count(Fate::Refused)
    );
}

/// A file system of its own. Dropping it takes it away, whoever still has files open there.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Has the directory, with what is in it, on such a one.
    fn below(place: &Path) -> Self {
        let aside = place.with_extension("aside");
        std::fs::rename(place, &aside).expect("moved");
        std::fs::create_dir(place).expect("made");
        let size = format!("size={SIZE}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place);
        assert!(mount.status().expect("mount runs").success(), "mounted");
        for entry in std::fs::read_dir(&aside).expect("there") {
            let file = entry.expect("a file").path();
            let name = file.file_name().expect("a name").to_owned();
            if file.is_file() {
                std::fs::copy(&file, place.join(name)).expect("copied");
            }
        }
        Self(place.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It fails when the namespace goes as well, and the mount with it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Leaves little room.
fn fill(place: &Path) -> PathBuf {
    let used: u64 = std::fs::read_dir(place)
        .expect("there")
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
        .sum();
    let filler = place.join("filler");
    let bytes = vec![b'x'; usize::try_from(SIZE - used - LEFT).expect("it fits")];
    std::fs::write(&filler, bytes).expect("filled");
    filler
}

async fn go_on(clients: &[Client]) {
    for client in clients {
        let before = client.acknowledged();
        eventually("a client goes on", async || {
            (client.acknowledged() >= before + 10).then_some(())
        })
        .await;
    }
}

async fn closed(stack: &Stack) -> bool {
    patience::ask::<u8>(stack.sandbox.server(0), "SELECT @@GLOBAL.read_only").await == 1
}

/// Waits until both have every acknowledged write, once. What was stranded is released.
async fn whole(stack: &Stack, clients: &[Client]) {
    let writes = clients.iter().flat_map(Client::writes);
    let acknowledged: BTreeSet<String> =
        writes.filter(|write| write.fate == Fate::Acknowledged).map(|write| write.token).collect();
    stack.await_released().await;
    eventually("every acknowledged write is on both", async || {
        for server in stack.sandbox.servers() {
            let mut root = server.root_connection().await.expect("root");
            let rows = root.query("SELECT token FROM app.written").await.expect("asked");
            let (rows, twice) = tokens(rows);
            assert!(twice.is_empty(), "executed twice on {}: {twice:?}", server.name());
            if !rows.is_superset(&acknowledged) {
                return None;
            }
        }
        Some(())
    })
    .await;
}
