//! What operators do to a running proxy: over its console with a client library, and with the
//! `tandem` commands, against a real pair.

#[path = "support/mod.rs"]
mod support;

use std::process::{Command, Output};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder, Row};
use support::Stack;
use tandem::config::Secret;
use tandem::sandbox::SandboxOptions;
use tandem::topology::ServerAddress;

/// Bounds what has gone wrong; nothing waits for it otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> SandboxOptions {
    SandboxOptions { durable: false, ..SandboxOptions::default() }
}

fn console_port(stack: &Stack) -> u16 {
    match stack.app.console() {
        Some(ServerAddress::Tcp { port, .. }) => *port,
        other => panic!("{other:?}"),
    }
}

async fn console(stack: &Stack, password: Option<&str>) -> Result<Conn, mysql_async::Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(console_port(stack))
        .user(Some("admin"))
        .pass(password);
    Conn::new(options).await
}

/// `tandem` with these arguments, sent to the proxy of this stack.
async fn tandem(stack: &Stack, arguments: &[&str], password: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command
        .args(arguments)
        // There is no proxy.toml, and no colour.
        .current_dir(stack.sandbox.directory())
        .env("TANDEM_ADMIN__CONSOLE", format!("127.0.0.1:{}", console_port(stack)))
        .env("TANDEM_ADMIN__PASSWORD", password);
    let running = tokio::task::spawn_blocking(move || command.output());
    let Output { status, stdout, stderr } = tokio::time::timeout(PATIENCE, running)
        .await
        .expect("in time")
        .expect("no panic")
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("no signal"), text(stdout), text(stderr))
}

async fn error_code(client: &mut Conn, statement: &str) -> u16 {
    match client.query_drop(statement).await {
        Err(mysql_async::Error::Server(error)) => error.code,
        other => panic!("{statement}: {other:?}"),
    }
}

#[tokio::test]
async fn a_proxy_is_watched_and_driven_from_outside() {
    let events = tempfile::tempdir().unwrap();
    let path = events.path().join("events.json");
    let mut stack = Stack::start_with(options(), |config| {
        config.admin.password = Secret::new("hush".to_owned());
        config.log.events = Some(path.clone());
    })
    .await;
    status_of_a_healthy_pair(&stack).await;
    orders_and_errors(&stack).await;
    a_session_is_killed(&stack).await;
    a_failover_is_told(&mut stack, &path).await;
    nobody_is_active(&mut stack).await;
    a_shutdown(stack).await;
}

async fn status_of_a_healthy_pair(stack: &Stack) {
    let (code, out, err) = tandem(stack, &["status"], "hush").await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("m1 is active since 20"), "{out}");
    for part in ["by term ", "from m1: IO Yes, SQL Yes", "sessions ", "last event "] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(!out.contains('\u{1b}'), "colour in a pipe: {out}");
    let (code, out, err) = tandem(stack, &["status"], "wrong").await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("does not let `admin` in"), "{err}");
    assert!(console(stack, Some("wrong")).await.is_err());
    assert!(console(stack, None).await.is_err());
}

async fn orders_and_errors(stack: &Stack) {
    let mut client = console(stack, Some("hush")).await.expect("a login");
    assert_eq!(error_code(&mut client, "SWITCHOVER TO m3").await, 1210);
    assert_eq!(error_code(&mut client, "SWITCHOVER m2").await, 1064);
    assert_eq!(error_code(&mut client, "KILL 12").await, 1094);
    let (code, out, err) = tandem(stack, &["switchover", "m3"], "hush").await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "tandem: there is no master `m3`; there are: m1, m2\n");
    // The same order by both ways is answered alike, done or refused.
    let done: Option<(String,)> =
        client.query_first("SWITCHOVER TO m1").await.expect("m1 is active");
    let done = done.expect("a row").0;
    assert!(done.contains("m1 is active by term") && done.contains("already"), "{done}");
    let (code, out, err) = tandem(stack, &["switchover", "m1"], "hush").await;
    assert_eq!((code, out.trim(), err.as_str()), (0, done.as_str(), ""));
    client.query_drop("PAUSE").await.expect("paused");
    assert_eq!(error_code(&mut client, "SWITCHOVER TO m2").await, 1105);
    let (code, out, err) = tandem(stack, &["switchover", "m2"], "hush").await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("tandem: no switchover to m2 now: paused"), "{err}");
    client.query_drop("RESUME").await.expect("resumed");
}

async fn a_session_is_killed(stack: &Stack) {
    let mut victim = stack.connect().await;
    let mut client = console(stack, Some("hush")).await.expect("a login");
    let id = victim.id();
    let rows: Vec<Row> = client.query("SHOW SESSIONS").await.expect("an answer");
    assert!(rows.iter().any(|row| row.get::<String, _>("Id") == Some(id.to_string())));
    // What it has open there says why it cannot be moved.
    for (statement, tie) in [
        ("BEGIN", Some("is in a transaction")),
        ("COMMIT", None),
        ("CREATE TEMPORARY TABLE mine (a INT)", Some("has temporary tables")),
        ("DROP TEMPORARY TABLE mine", None),
        ("DO GET_LOCK('mine', 0)", Some("has locks taken by GET_LOCK()")),
    ] {
        victim.query_drop(statement).await.expect(statement);
        // It says so a moment after it has passed the answer on.
        support::eventually(statement, async || {
            let rows: Vec<Row> = client.query("SHOW SESSIONS").await.expect("an answer");
            let own = rows.iter().find(|row| row.get::<String, _>("Id") == Some(id.to_string()));
            let tied = own.and_then(|row| row.get::<Option<String>, _>("Tied_By"));
            (tied.flatten().as_deref() == tie).then_some(())
        })
        .await;
    }
    client.query_drop(format!("KILL {id}")).await.expect("an answer");
    assert!(victim.ping().await.is_err());
}

async fn a_failover_is_told(stack: &mut Stack, path: &std::path::Path) {
    let mut follower = tokio::process::Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["events", "--follow", "-n", "1"])
        .current_dir(stack.sandbox.directory())
        .env("TANDEM_ADMIN__CONSOLE", format!("127.0.0.1:{}", console_port(stack)))
        .env("TANDEM_ADMIN__PASSWORD", "hush")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.await_active(Some("m2")).await;
    let told = async {
        use tokio::io::AsyncBufReadExt as _;
        let out = tokio::io::BufReader::new(follower.stdout.take().expect("a pipe"));
        let mut lines = out.lines();
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.contains("m2 is active by term") {
                return line;
            }
        }
        panic!("no line says so");
    };
    let line = tokio::time::timeout(PATIENCE, told).await.expect("told in time");
    assert!(line.contains("→ steady"), "{line}");
    follower.kill().await.expect("ended");

    let (code, out, _) = tandem(stack, &["events", "-n", "100"], "hush").await;
    assert_eq!(code, 0);
    let (before, failover) = out.rsplit_once("steady → suspect").expect(&out);
    assert!(before.lines().rev().nth(1) == Some(""), "a failover is a group of its own: {out}");
    assert!(failover.contains("m2 is active by term"), "{out}");
    let (_, shown, _) = tandem(stack, &["status"], "hush").await;
    assert!(shown.starts_with("m2 is active") && shown.contains("! m1 "), "{shown}");

    let written = std::fs::read_to_string(path).expect("the file");
    let last: serde_json::Value =
        serde_json::from_str(written.lines().last().expect("a line")).expect("JSON");
    assert!(last["number"].as_u64().expect("a number") >= 3, "{written}");
    let mut client = console(stack, Some("hush")).await.expect("a login");
    let samples: Vec<(String, Option<String>)> =
        client.query("SHOW STATS").await.expect("an answer");
    let of = |name: &str| samples.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.clone());
    let counted = of("tandem_failover_changes_total{kind=\"failover\"}");
    assert_eq!(counted.as_deref(), Some("1"));
    assert!(of("tandem_failover_last_gap_seconds{kind=\"failover\"}").is_some());
}

async fn nobody_is_active(stack: &mut Stack) {
    stack.sandbox.server_mut(1).kill().await.expect("killed");
    let mut routes = stack.app.handles().routes.clone();
    let held = routes.wait_for(|table| table.active().is_none());
    tokio::time::timeout(PATIENCE, held).await.expect("held in time").expect("published");
    let (code, out, _) = tandem(stack, &["status"], "hush").await;
    assert_eq!(code, 1, "{out}");
    assert!(out.starts_with("nobody is active, for "), "{out}");
}

async fn a_shutdown(stack: Stack) {
    let Stack { mut app, sandbox, .. } = stack;
    let Some(ServerAddress::Tcp { port, .. }) = app.console().cloned() else { panic!("no port") };
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("admin"))
        .pass(Some("hush"));
    let mut client = Conn::new(options).await.expect("a login");
    let said: Option<(String,)> = client.query_first("SHUTDOWN").await.expect("an answer");
    assert!(said.expect("a row").0.starts_with("Tandem stops"));
    tokio::time::timeout(PATIENCE, app.ended()).await.expect("it ends");
    app.stop();
    let output = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .arg("status")
        .current_dir(sandbox.directory())
        .env("TANDEM_ADMIN__CONSOLE", format!("127.0.0.1:{port}"))
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(err.contains(&format!("no proxy answers at 127.0.0.1:{port}")), "{err}");
}
