//! KILL in every form, by every client at hand.

use std::process::{Command, Stdio};

use mysql_async::prelude::*;
use mysql_async::{Conn, Error, Opts};
use tandem::topology::Flavor;

use crate::fake_server::within;
use crate::support::Stack;
use crate::{eventually, say, ways};

/// Runs until it is interrupted, and says so.
const LONG: &str = "SELECT SUM(a.id * b.id) FROM information_schema.collations a, \
                    information_schema.collations b, information_schema.collations c, \
                    information_schema.collations d, information_schema.collations e";

fn opts(stack: &Stack, port: u16) -> Opts {
    Opts::from_url(&stack.sandbox.url(port)).expect("a URL")
}

async fn connect(stack: &Stack, port: u16) -> Conn {
    Conn::new(opts(stack, port)).await.expect("a login")
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Server(error)) => format!("{}/{}", error.code, error.state),
        Err(Error::Io(_) | Error::Driver(_)) => "closed".into(),
        Ok(_) => "ok".into(),
        Err(other) => panic!("{other}"),
    }
}

async fn await_statement(stack: &Stack, text: &str, running: bool) {
    let mut root = stack.sandbox.server(0).root_connection().await.expect("root's login");
    let question =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{text}%'");
    eventually(text, async || {
        let count: Option<u64> = root.query_first(&question).await.expect("asked");
        (count.is_some_and(|count| count > 0) == running).then_some(())
    })
    .await;
}

/// What becomes of a session that executes something long and of its issuer, when it is killed by the
/// id of its greeting, or by the server's.
async fn while_running(stack: &Stack, port: u16, kill: &str, by_thread: bool) -> [String; 3] {
    let mut victim = connect(stack, port).await;
    let thread: u32 = victim.query_first("SELECT CONNECTION_ID()").await.expect("asked").expect("");
    let id = if by_thread { thread } else { victim.id() };
    let running = tokio::spawn(async move {
        let ended = code(victim.query_drop(LONG).await);
        let after: Result<Option<u32>, _> = victim.query_first("SELECT CONNECTION_ID()").await;
        let same = matches!(&after, Ok(Some(id)) if *id == thread);
        (ended, if same { "the same session".into() } else { code(after) })
    });
    await_statement(stack, "SELECT SUM(a.id", true).await;
    let mut issuer = connect(stack, port).await;
    let issued = code(issuer.query_drop(format!("{kill} {id}")).await);
    let (ended, after) = within("the victim's end", running).await.expect("it ended");
    await_statement(stack, "SELECT SUM(a.id", false).await;
    [issued, ended, after]
}

/// The same for a session that does nothing: what its client hears without asking.
async fn while_idle(stack: &Stack, port: u16, kill: &str) -> [String; 2] {
    let mut victim = crate::log_in(port, crate::fake_server::CLIENT).await;
    victim.query("SELECT CONNECTION_ID()").await;
    for _ in 0..3 {
        victim.packet().await;
    }
    let row = victim.packet().await;
    victim.packet().await;
    let thread = String::from_utf8_lossy(&row[1..]).into_owned();
    let mut issuer = connect(stack, port).await;
    let issued = code(issuer.query_drop(format!("{kill} {thread}")).await);
    let mut rest = Vec::new();
    let heard = tokio::io::AsyncReadExt::read_to_end(&mut victim.stream, &mut rest);
    // A reset is an end as well.
    let _ = within("the end of the connection", heard).await;
    [issued, String::from_utf8_lossy(&rest.split_off(rest.len().min(4))).into_owned()]
}

#[tokio::test]
async fn a_kill_does_what_it_does_directly() {
    let stack = Stack::start().await;
    let term = stack.app.handles().routes.borrow().term;
    for (kill, by_thread) in [
        ("KILL QUERY", false),
        ("KILL QUERY", true),
        ("KILL", false),
        ("KILL CONNECTION", true),
        ("/*!50000 KILL */ /* with an id */ QUERY", false),
    ] {
        let mut outcomes = Vec::new();
        for (way, port) in ways(&stack) {
            let outcome = while_running(&stack, port, kill, by_thread).await;
            say(&format!("{kill} (thread id: {by_thread}) {way}: {outcome:?}"));
            outcomes.push(outcome);
        }
        assert_eq!(outcomes[0], outcomes[1], "{kill}");
    }
    for kill in ["KILL", "KILL CONNECTION"] {
        let mut outcomes = Vec::new();
        for (way, port) in ways(&stack) {
            let outcome = while_idle(&stack, port, kill).await;
            say(&format!("{kill} of an idle session {way}: {outcome:?}"));
            outcomes.push(outcome);
        }
        assert_eq!(outcomes[0], outcomes[1], "{kill} of an idle session");
    }
    for sql in ["KILL CONNECTION_ID()", "KILL QUERY CONNECTION_ID()", "KILL 4000000000", "KILL x"] {
        let mut outcomes = Vec::new();
        for (way, port) in ways(&stack) {
            let mut client = connect(&stack, port).await;
            let issued = code(client.query_drop(sql).await);
            let outcome = [issued, code(client.query_drop("DO 1").await)];
            say(&format!("{sql} {way}: {outcome:?}"));
            outcomes.push(outcome);
        }
        assert_eq!(outcomes[0], outcomes[1], "{sql}");
    }
    // Nobody but the victims noticed: the same master, by the same decision.
    many_at_once(&stack).await;
    assert_eq!(stack.app.handles().routes.borrow().term, term, "a KILL is no reason to fail over");
}

/// An operator ends all sessions of an application on the server.
async fn many_at_once(stack: &Stack) {
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(connect(stack, stack.port()).await);
    }
    let mut bystander = connect(stack, stack.port()).await;
    let mut root = stack.sandbox.server(0).root_connection().await.expect("root's login");
    for client in &mut clients {
        let thread: Option<u32> =
            client.query_first("SELECT CONNECTION_ID()").await.expect("asked");
        root.query_drop(format!("KILL {}", thread.expect("an id"))).await.expect("killed");
    }
    let sessions = &stack.app.handles().sessions;
    eventually("all of them ended", async || (sessions.registry.len() <= 1).then_some(())).await;
    for client in &mut clients {
        assert_eq!(code(client.query_drop("DO 1").await), "closed");
    }
    bystander.query_drop("DO 1").await.expect("served");
}

#[tokio::test]
async fn a_servers_own_timeout_ends_a_session_as_it_does_directly() {
    let stack = Stack::start().await;
    let mut heard = Vec::new();
    for (way, port) in ways(&stack) {
        drop(connect(&stack, port).await); // from here on its password is known
        let mut client = crate::log_in(port, crate::fake_server::CLIENT).await;
        client.query("SET SESSION wait_timeout = 1").await;
        client.expect_ok().await;
        let mut rest = Vec::new();
        let end = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest);
        let _ = within("the end of the connection", end).await;
        say(&format!("wait_timeout {way}: {:?}", String::from_utf8_lossy(&rest)));
        heard.push(rest);
    }
    assert_eq!(heard[0], heard[1]);
}

#[tokio::test]
async fn a_master_that_restarts_quickly_keeps_its_idle_clients() {
    let mut stack =
        Stack::start_with(Default::default(), |config| config.failover.automatic = false).await;
    let mut idle = connect(&stack, stack.port()).await;
    idle.query_drop("SET @mine = 'kept'").await.expect("set");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.sandbox.server_mut(0).restart().await.expect("restarted");
    stack.await_active(Some("m1")).await;
    let kept: Option<String> = idle.query_first("SELECT @mine").await.expect("served");
    assert_eq!(kept.as_deref(), Some("kept"));
}

/// The command line of the server at hand.
fn command_line(stack: &Stack, port: u16, program: &str) -> Option<Command> {
    let root = std::env::var_os("TANDEM_SERVER").map(std::path::PathBuf::from);
    let mut command = match root.filter(|root| root.join("usr/bin").join(program).is_file()) {
        Some(root) => {
            let loader = root.join("lib64/ld-linux-x86-64.so.2");
            let libraries =
                format!("{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/mysql/private", root.display());
            let mut command = Command::new(loader);
            command.arg("--library-path").arg(libraries).arg(root.join("usr/bin").join(program));
            command
        }
        None if Command::new(program).arg("--version").output().is_ok() => Command::new(program),
        None => return None,
    };
    command.args(["--no-defaults", "--protocol=TCP", "-h127.0.0.1", "-uapp", "-papp"]);
    command.arg(format!("-P{port}"));
    if stack.sandbox.binaries().flavor() == Flavor::MySql {
        command.args(["--ssl-mode=DISABLED", "--get-server-public-key"]);
    } else {
        command.arg("--skip-ssl");
    }
    Some(command)
}

fn programs(stack: &Stack) -> (&'static str, &'static str) {
    match stack.sandbox.binaries().flavor() {
        Flavor::MySql => ("mysql", "mysqladmin"),
        Flavor::MariaDb => ("mariadb", "mariadb-admin"),
    }
}

async fn output(mut command: Command) -> String {
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("it ran").expect("it can be run");
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test]
async fn ctrl_c_in_the_command_line() {
    let stack = Stack::start().await;
    let (client, _) = programs(&stack);
    for (way, port) in ways(&stack) {
        let Some(mut command) = command_line(&stack, port, client) else {
            return say(&format!("NOT TESTED: `{client}` is not at hand"));
        };
        command.args(["-e", LONG]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("started");
        await_statement(&stack, "SELECT SUM(a.id", true).await;
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("an id"));
        rustix::process::kill_process(pid.expect("an id"), rustix::process::Signal::INT)
            .expect("interrupted");
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
        let ended = within("the command line's end", ended).await.expect("ran").expect("ended");
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        say(&format!("Ctrl-C {way}: {}", text.trim()));
        assert!(text.contains("1317"), "{way}: {text}");
        await_statement(&stack, "SELECT SUM(a.id", false).await;
    }
}

/// Lines without what must differ: ids, times, counts.
fn alike(text: &str) -> Vec<String> {
    let own = ["Connection id", "Uptime", "Threads:", "TCP port", "[Warning]", "insecure"];
    text.lines()
        .filter(|line| !own.iter().any(|word| line.contains(word)))
        .map(|line| {
            line.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, ' ' | '-')).collect()
        })
        .collect()
}

#[tokio::test]
async fn status_and_processlist_in_the_command_line() {
    let stack = Stack::start().await;
    let (client, admin) = programs(&stack);
    // MySQL's has its own commands switched off in batches.
    let status: &[&str] = match stack.sandbox.binaries().flavor() {
        Flavor::MySql => &["--commands", "-e", "\\s"],
        Flavor::MariaDb => &["-e", "\\s"],
    };
    let questions: [(&str, &[&str]); 6] = [
        (client, status),
        (client, &["-e", "SHOW PROCESSLIST"]),
        (client, &["-e", "SHOW FULL PROCESSLIST"]),
        (admin, &["status"]),
        (admin, &["processlist"]),
        (admin, &["ping"]),
    ];
    for (program, arguments) in questions {
        let mut answers = Vec::new();
        for (way, port) in ways(&stack) {
            let Some(mut command) = command_line(&stack, port, program) else {
                return say(&format!("NOT TESTED: `{program}` is not at hand"));
            };
            command.args(arguments);
            let text = output(command).await;
            say(&format!("{program} {arguments:?} {way}:\n{text}"));
            answers.push(alike(&text));
        }
        assert_eq!(answers[0], answers[1], "{program} {arguments:?}");
    }
    // A client's own program kills a session by its greeting's id.
    for (way, port) in ways(&stack) {
        let mut victim = connect(&stack, port).await;
        let Some(mut command) = command_line(&stack, port, admin) else { return };
        command.args(["kill", &victim.id().to_string()]);
        let text = output(command).await;
        say(&format!("{admin} kill {way}: {}", text.trim()));
        eventually("the victim's end", async || {
            (code(victim.query_drop("DO 1").await) == "closed").then_some(())
        })
        .await;
    }
}
