//! The checks inside a running proxy, and the command before real servers.

use std::process::Stdio;
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::*;
use tandem::pair::check::Severity;
use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::topology::{Flavor, ServerAddress};
use tokio::process::Command;

use crate::patience::{ask, eventually, within};
use crate::support::Stack;

/// A finding comes and goes while the proxy runs, and all who ask are told.
#[tokio::test]
async fn a_running_proxy_checks_its_servers() {
    let stack = Stack::start_with(SandboxOptions::default(), |config| {
        config.check.interval = Some(Duration::from_millis(200));
    })
    .await;
    let mut checks = stack.app.handles().checks.clone();
    let first = within("a look", checks.wait_for(|checked| checked.at.is_some()))
        .await
        .expect("runs")
        .clone();
    let about_keys = |checked: &tandem::pair::check::Checked| {
        let of = |stood: &&tandem::pair::check::Stood| stood.finding.check == "auto-increment";
        checked.findings.iter().find(of).map(|stood| stood.finding.clone())
    };
    assert_eq!(about_keys(&first), None);

    let m2 = stack.sandbox.server(1);
    m2.execute(&["SET GLOBAL auto_increment_offset = 1"]).await.expect("changed");
    let found = checks.wait_for(|checked| about_keys(checked).is_some());
    let found = within("the finding", found).await.expect("it runs");
    let finding = about_keys(&found).expect("found");
    drop(found);
    println!("{finding:?}");
    assert_eq!(finding.severity, Severity::Error);

    let mut console = stack.console().await;
    let rows: Vec<Row> = console.query("SHOW CHECKS").await.expect("shown");
    let shown = rows.iter().find(|row| row.get("What") == Some(finding.what.clone()));
    let shown = shown.expect("the finding is shown");
    assert_eq!(shown.get::<String, _>("Severity").as_deref(), Some("error"));
    assert_eq!(shown.get::<String, _>("Check").as_deref(), Some(finding.check));
    let status = told_by_status(&stack).await;
    println!("{status}");
    assert!(status.contains(" error") && status.contains("(SHOW CHECKS)"), "{status}");

    m2.execute(&["SET GLOBAL auto_increment_offset = 2"]).await.expect("changed back");
    let gone = checks.wait_for(|checked| about_keys(checked).is_none());
    drop(within("it is gone", gone).await.expect("it runs"));
    let metrics: Vec<Row> = console.query("SHOW STATS").await.expect("shown");
    let runs = metrics
        .iter()
        .find(|row| row.get::<String, _>("Name").as_deref() == Some("tandem_check_runs_total"));
    let runs: String = runs.expect("counted").get("Value").expect("a value");
    assert!(runs.parse::<u64>().expect("a number") >= 3, "{runs}");
}

/// What `tandem status` prints about the checks.
async fn told_by_status(stack: &Stack) -> String {
    let Some(ServerAddress::Tcp { host, port }) = stack.app.console() else { panic!("TCP") };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    std::fs::write(&file, format!("[admin]\nconsole = \"{host}:{port}\"\n")).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["status", "-c"])
        .arg(&file)
        .output()
        .await
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find(|line| line.starts_with("checks")).unwrap_or(&text).to_owned()
}

/// A file for commands that log in as the monitor, who may drop tables.
async fn configured(sandbox: &Sandbox) -> tempfile::TempDir {
    let monitor = sandbox.monitor();
    let grant = format!("GRANT DROP ON tandem.* TO '{}'@'%'", monitor.user);
    for server in sandbox.servers() {
        let grant = ["SET SESSION sql_log_bin = 0", &grant];
        server.execute(&grant).await.expect("granted");
    }
    let mut text = format!(
        "[monitor]\nuser = \"{}\"\npassword = \"{}\"\n",
        monitor.user,
        monitor.password.reveal()
    );
    for server in sandbox.servers() {
        let (name, address) = (server.name(), server.address());
        text.push_str(&format!("[[masters]]\nname = \"{name}\"\naddress = \"{address}\"\n"));
    }
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("proxy.toml"), text).expect("written");
    directory
}

fn write_test(directory: &tempfile::TempDir, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command.args(["check", "--write-test", "-c"]).arg(directory.path().join("proxy.toml"));
    command.args(more).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// `tandem check --write-test` as a process: to its end, for people and for machines, and killed with
/// kill -9 at every moment of its life. A standby that it had opened is closed again each time.
#[tokio::test]
async fn the_write_test_as_a_command() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("a pair");
    let directory = configured(&sandbox).await;
    let mysql = sandbox.binaries().flavor() == Flavor::MySql;
    if mysql {
        for server in sandbox.servers() {
            server.execute(&["SET GLOBAL super_read_only = 1"]).await.expect("closed");
        }
    }
    let began = std::time::Instant::now();
    let output = write_test(&directory, &[]).output().await.expect("it runs");
    let whole = began.elapsed();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    assert!(text.contains("the same on m1, m2; the table is dropped"), "{output:?}");
    let output = write_test(&directory, &["--json"]).output().await.expect("it runs");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["write_test"]["passed"], true, "{json}");
    assert_eq!(json["write_test"]["writes"][1]["keys"], serde_json::json!([6]));
    assert!(json["findings"].is_array());

    let rounds = 30;
    for round in 1..=rounds {
        let mut running = write_test(&directory, &[]).stdout(Stdio::null()).spawn().expect("runs");
        // The first part of its life is the checks.
        let after = whole / 2 + whole * round / (2 * rounds);
        let _ = tokio::time::timeout(after, running.wait()).await;
        running.kill().await.expect("kill -9");
        if !mysql {
            continue;
        }
        for server in sandbox.servers() {
            eventually("closed again", async || {
                let closed: u8 = ask(server, "SELECT @@GLOBAL.super_read_only").await;
                (closed == 1).then_some(())
            })
            .await;
        }
    }
    // What they left is dropped by the next one, or its lock goes first.
    eventually("nothing is left", async || {
        let output = write_test(&directory, &["--json"]).output().await.ok()?;
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        assert_eq!(json["write_test"]["passed"], true, "{json}");
        let tables: u64 = ask(
            sandbox.server(1),
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = 'tandem' AND table_name LIKE 'write\\_test\\_%'",
        )
        .await;
        (tables == 0).then_some(())
    })
    .await;
}
