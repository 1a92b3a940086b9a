//! All clients at once across the death of the active master.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout};

use super::client::{Client, Place, end_of};
use super::support::Stack;

/// For a client to be ready, or to end. Generous: it only bounds what has gone wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// What each must have found: its prepared statement and its variables on another server, a
/// transaction rolled back and begun again.
const EXPECTED: [&str; 5] = [
    "check prepared: 42",
    "check variables: 4242 still 🦀",
    "check moved: yes",
    "check transaction: 1213",
    "check again: again",
];

struct Waiting {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// Starts the clients, kills the active master when all are ready, lets them go on when the other one
/// is active, and says what each found.
pub(crate) async fn across(stack: &mut Stack, clients: &[&Client]) -> Vec<Result<(), String>> {
    let place = Place { port: stack.port(), tls: false };
    let starting: Vec<_> = clients.iter().map(|client| start(client, place)).collect();
    let waiting = futures_util::future::join_all(starting).await;
    let ready = waiting.iter().filter(|client| client.is_ok()).count();
    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("kill -9");
    stack.await_active(Some("m2")).await;
    println!("  kill -9 of the active master under {ready} clients, two sessions each");
    let ending: Vec<_> = waiting.into_iter().map(go_on).collect();
    futures_util::future::join_all(ending).await
}

/// Starts a client and waits until it says that it is ready.
async fn start(client: &Client, place: Place) -> Result<Waiting, String> {
    let mut command = client.command("failover", place);
    let mut child =
        command.stdin(std::process::Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    match tokio::time::timeout(PATIENCE, output.read_line(&mut line)).await {
        Ok(Ok(_)) if line == "ready\n" => Ok(Waiting { child, output }),
        _ => Err(format!("not ready but {line:?}: {}", complaint(&mut child).await)),
    }
}

async fn go_on(waiting: Result<Waiting, String>) -> Result<(), String> {
    let Waiting { mut child, mut output } = waiting?;
    let mut input = child.stdin.take().ok_or("no input")?;
    // One that has ended already is told apart by what it printed.
    let _ = input.write_all(b"go\n").await;
    drop(input);
    let mut text = String::new();
    let read = tokio::time::timeout(PATIENCE, output.read_to_string(&mut text)).await;
    let lines: Vec<&str> = text.lines().collect();
    if lines == EXPECTED {
        return Ok(());
    }
    let late = if read.is_err() { " (and it did not end)" } else { "" };
    Err(format!("it found {lines:?}{late}: {}", complaint(&mut child).await))
}

/// What a client says on its standard error, after its end.
async fn complaint(child: &mut Child) -> String {
    // It has ended or it hangs.
    let _ = child.start_kill();
    let mut text = String::new();
    if let Some(stderr) = &mut child.stderr {
        let reading = stderr.read_to_string(&mut text);
        let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
    }
    end_of(&text)
}
