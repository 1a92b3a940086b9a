//! `tandem drill`, run as a user runs it. What is asserted holds on any machine: counts, the form of the
//! output and the exit status, never a time.

#![allow(clippy::unwrap_used, reason = "what a test calls may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mysql_async::prelude::Queryable as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::Stack;
use tandem::sandbox::SandboxOptions;

/// Where `tandem` runs: there is no proxy.toml.
fn drill(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command
        .arg("drill")
        .args(arguments)
        .current_dir(directory)
        .env("TMPDIR", directory)
        .env_remove("TANDEM_LOG")
        .env_remove("TANDEM_DRILL_DSN")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

struct Ended {
    status: i32,
    output: String,
    errors: String,
}

fn run(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        status: output.status.code().unwrap(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs until it says this, then interrupts it; all that it said.
fn interrupt_at(words: &str, mut command: Command) -> Ended {
    let mut child: Child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut errors = String::new();
    let mut reached = false;
    while let Some(Ok(line)) = lines.next() {
        errors.push_str(&format!("{line}\n"));
        if !reached && line.contains(words) {
            reached = true;
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        }
    }
    let status = child.wait().unwrap().code().unwrap();
    // Less than a pipe holds.
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(reached, "`{words}` was never said:\n{output}\n{errors}");
    Ended { status, output, errors }
}

/// The figures of a row of the tables.
fn figures(output: &str, name: &str) -> Vec<f64> {
    let row = output.lines().find_map(|line| line.trim_start().strip_prefix(name));
    let row = row.unwrap_or_else(|| panic!("no row `{name}`:\n{output}"));
    row.split_whitespace().map(|figure| figure.parse().unwrap()).collect()
}

#[test]
fn switchovers_cost_nobody_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let Ended { status, output, errors } =
        run(drill(directory.path(), &["--switchover", "2", "--rate", "100"]));
    assert_eq!(status, 0, "{output}\n{errors}");
    let runs: Vec<&str> = errors.lines().collect();
    assert!(runs[0].starts_with("run 1 of 2: m1 → m2: held for "), "{errors}");
    assert!(runs[1].starts_with("run 2 of 2: m2 → m1: held for "), "{errors}");
    assert_eq!(runs.len(), 2, "{errors}");
    for nothing in ["failed", "unknown", "lost", "duplicated"] {
        assert_eq!(figures(&output, nothing), [0.0; 6], "{nothing}:\n{output}");
    }
    let acknowledged = figures(&output, "acknowledged");
    assert!(acknowledged.iter().all(|count| *count > 0.0), "{output}");
    for time in ["pause: a client's longest statement", "held: drained to published"] {
        let figures = figures(&output, time);
        assert_eq!(figures.len(), 5, "{output}");
        assert!(figures.is_sorted(), "{output}");
    }
    assert!(output.ends_with("\nNothing is wrong.\n\n"), "{output}");
    assert!(!format!("{output}{errors}").contains('\u{1b}'), "no escape sequences in a pipe");
    assert!(output.lines().all(|line| line.chars().count() <= 80), "{output}");
}

#[test]
fn a_crash_is_accounted_for_in_json() {
    let directory = tempfile::tempdir().unwrap();
    let crash = ["--crash", "1", "--rate", "100", "--pace", "100ms", "--json"];
    let Ended { status, output, errors } = run(drill(directory.path(), &crash));
    assert_eq!((status, errors.lines().count()), (0, 1), "{output}\n{errors}");
    assert!(errors.starts_with("run 1 of 1: gap "), "{errors}");
    let objects: Vec<Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [run, sum] = objects.as_slice() else { panic!("{output}") };
    assert_eq!((&run["drill"], &sum["drill"]), (&"crash".into(), &"crash".into()));
    assert!(run["counts"]["acknowledged"].as_u64() > Some(0), "{output}");
    for nothing in ["lost", "duplicated"] {
        assert_eq!(run["counts"][nothing], 0, "{output}");
        assert_eq!(sum["summary"]["counts"][nothing]["sum"], 0, "{output}");
    }
    let gap = |key: &str| run["milliseconds"][key].as_f64().unwrap();
    assert!(gap("gap") > 0.0 && gap("gap") > gap("gap_without_catch_up"), "{output}");
    let load = |key: &str| run["load"][key].as_f64().unwrap();
    assert!(load("writes_a_second") > 0.0 && load("wait_milliseconds") >= 0.0, "{output}");
    let sum = &sum["summary"];
    let setting = sum["setting"].as_array().unwrap();
    assert!(
        setting.iter().any(|line| line.as_str().unwrap().ends_with(", pace 100ms")),
        "{output}"
    );
    assert_eq!((&sum["sound"], &sum["runs"]), (&true.into(), &1.into()), "{output}");
    assert_eq!(sum["milliseconds"]["gap"]["median"], run["milliseconds"]["gap"], "{output}");
}

#[test]
fn ctrl_c_shows_what_there_is_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let command = drill(directory.path(), &["--switchover", "100", "--rate", "50"]);
    let Ended { status, output, errors } = interrupt_at("run 2 of 100", command);
    assert_eq!(status, 130, "{output}\n{errors}");
    assert!(output.ends_with("nothing is left behind\n"), "{output}");
    assert!(output.contains("\nInterrupted after "), "{output}");
    assert!(!output.contains("Nothing is wrong"), "nobody has looked: {output}");
    assert!(figures(&output, "held: drained to published").iter().all(|ms| *ms > 0.0), "{output}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// A pair that somebody uses.
struct Used(Stack);

impl Used {
    fn command(&self, arguments: &[&str], dsn: Option<&str>) -> Command {
        let directory = self.0.sandbox.directory();
        let console = self.0.app.console().unwrap();
        std::fs::write(directory.join("used.toml"), format!("[admin]\nconsole = \"{console}\"\n"))
            .unwrap();
        let switchover = ["--switchover", "3", "--rate", "50", "--real-pair", "-c", "used.toml"];
        let mut command = drill(directory, &[switchover.as_slice(), arguments].concat());
        if let Some(dsn) = dsn {
            command.env("TANDEM_DRILL_DSN", dsn);
        }
        command
    }

    fn dsn(&self, port: u16) -> String {
        format!("mysql://app:app@127.0.0.1:{port}?prefer_socket=false")
    }

    async fn really(&self) -> Ended {
        let command = self.command(&["--really"], Some(&self.dsn(self.0.port())));
        tokio::task::spawn_blocking(|| run(command)).await.unwrap()
    }

    async fn refused(&self, command: Command, words: &str) {
        let ended = tokio::task::spawn_blocking(|| run(command)).await.unwrap();
        assert_eq!((ended.status, ended.output.as_str()), (2, ""), "{}", ended.errors);
        assert!(ended.errors.contains(words), "`{words}` was never said: {}", ended.errors);
        assert_eq!(self.active().await, "m1", "{}", ended.errors);
    }

    async fn active(&self) -> String {
        let stats: Vec<(String, Option<String>)> =
            self.0.console().await.query("SHOW STATS").await.unwrap();
        stats.into_iter().find(|(name, _)| name == "active").unwrap().1.unwrap()
    }

    async fn has_schema(&self) -> bool {
        let mut root = self.0.sandbox.server(0).root_connection().await.unwrap();
        let found: Option<String> =
            root.query_first("SHOW DATABASES LIKE 'tandem\\_drill'").await.unwrap();
        found.is_some()
    }

    async fn execute(&self, statements: &[&str]) {
        for server in self.0.sandbox.servers() {
            server.execute(statements).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_pair_in_use_is_switched_over_when_told_so_twice_and_left_as_it_was() {
    let options = SandboxOptions { durable: false, ..SandboxOptions::default() };
    let pair = Used(Stack::start_with(options, |_| {}).await);
    let dsn = pair.dsn(pair.0.port());
    pair.refused(pair.command(&[], Some(&dsn)), "over 3 times, among m1, m2, and back to m1;")
        .await;
    pair.refused(pair.command(&["--really"], None), "TANDEM_DRILL_DSN=").await;
    let past_it = pair.dsn(pair.0.sandbox.server(0).port());
    pair.refused(pair.command(&["--really"], Some(&past_it)), "that is not the proxy").await;
    let grant = "GRANT ALL ON tandem_drill.* TO 'app'@'%'";
    pair.refused(pair.command(&["--really"], Some(&dsn)), grant).await;
    pair.execute(&["SET SESSION sql_log_bin = 0", grant, "CREATE DATABASE tandem_drill"]).await;
    pair.refused(pair.command(&["--really"], Some(&dsn)), "already").await;
    assert!(pair.has_schema().await, "it was not the drill's");
    pair.execute(&["SET SESSION sql_log_bin = 0", "DROP DATABASE tandem_drill"]).await;

    let Ended { status, output, errors } = pair.really().await;
    assert_eq!(status, 0, "{output}\n{errors}");
    for nothing in ["failed", "unknown", "lost", "duplicated"] {
        assert_eq!(figures(&output, nothing), [0.0; 6], "{nothing}:\n{output}");
    }
    assert!(errors.contains("run 3 of 3: m1 → m2: "), "{errors}");
    // An odd number of them.
    assert_eq!((pair.active().await.as_str(), pair.has_schema().await), ("m1", false));

    let command = pair.command(&["--really"], Some(&dsn));
    let ended =
        tokio::task::spawn_blocking(|| interrupt_at("run 1 of 3: m1 → m2", command)).await.unwrap();
    assert_eq!(ended.status, 130, "{}\n{}", ended.output, ended.errors);
    assert!(ended.output.contains("\nInterrupted after "), "{}", ended.output);
    assert!(ended.output.contains("m1 is active, and tandem_drill is dropped"), "{}", ended.output);
    assert_eq!((pair.active().await.as_str(), pair.has_schema().await), ("m1", false));
}
