//! A client: a command, and what running it gives.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// For one run of one client. Generous: it only bounds what has gone wrong.
const PATIENCE: Duration = Duration::from_secs(90);

/// A client's program.
pub(crate) struct Client {
    pub(crate) name: String,
    command: Vec<String>,
    /// Why it is not on this machine.
    pub(crate) missing: Option<String>,
}

/// Where a client logs in.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

/// What a run of a client said.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) lines: Vec<String>,
    /// The end of its standard error, if it did not end well.
    pub(crate) failure: Option<String>,
}

impl Client {
    /// Reads the list that `prepare.sh` leaves: a client a line, its name and then either the words of
    /// its command or `!` and a reason, between tabs.
    pub(crate) fn list(path: &Path) -> io::Result<Vec<Self>> {
        let text = std::fs::read_to_string(path)?;
        let of_line = |line: &str| {
            let mut words = line.split('\t').map(str::to_owned);
            let name = words.next().unwrap_or_default();
            let command: Vec<String> = words.collect();
            let missing =
                (command.first().map(String::as_str) == Some("!")).then(|| command[1..].join(" "));
            Self { name, command, missing }
        };
        Ok(text.lines().map(of_line).collect())
    }

    /// The database of its own.
    pub(crate) fn database(&self) -> String {
        format!("c_{}", self.name.replace('-', "_"))
    }

    /// Its command for `mode`, still to be started.
    pub(crate) fn command(&self, mode: &str, place: Place) -> Command {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/shared");
        let mut command = Command::new(&self.command[0]);
        command.args(self.command[1..].iter().map(|word| if word == "MODE" { mode } else { word }));
        command
            .env("CLIENT_HOST", "127.0.0.1")
            .env("CLIENT_PORT", place.port.to_string())
            .env("CLIENT_USER", "app")
            .env("CLIENT_PASSWORD", "app")
            .env("CLIENT_DATABASE", self.database())
            .env("CLIENT_TLS", if place.tls { "on" } else { "off" })
            .env("CLIENT_SHARED", shared)
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, place: Place) -> Transcript {
        let running = self.command("check", place).output();
        match tokio::time::timeout(PATIENCE, running).await {
            Err(_) => Transcript::failed(format!("did not end within {PATIENCE:?}")),
            Ok(Err(error)) => Transcript::failed(error.to_string()),
            Ok(Ok(output)) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let lines = text.lines().map(str::to_owned).collect();
                let failure = (!output.status.success()).then(|| {
                    format!(
                        "{}: {}",
                        output.status,
                        end_of(&String::from_utf8_lossy(&output.stderr))
                    )
                });
                Transcript { lines, failure }
            }
        }
    }
}

impl Transcript {
    fn failed(reason: String) -> Self {
        Self { lines: Vec::new(), failure: Some(reason) }
    }

    /// What is wrong with it, seen beside what was heard directly.
    pub(crate) fn differs_from(&self, direct: &Self) -> Option<String> {
        let first =
            direct.lines.iter().zip(&self.lines).position(|(one, other)| !are_equal(one, other));
        let at = first.unwrap_or_else(|| direct.lines.len().min(self.lines.len()));
        if self.failure.is_none() && first.is_none() && direct.lines.len() == self.lines.len() {
            return None;
        }
        let of = |lines: &[String]| lines.get(at).map_or("(nothing)", String::as_str).to_owned();
        Some(format!(
            "after {at} equal lines of {}\n      directly: {}\n      proxied:  {}{}",
            direct.lines.len(),
            shortened(&of(&direct.lines)),
            shortened(&of(&self.lines)),
            self.failure.as_deref().map_or_else(String::new, |end| format!("\n      {end}")),
        ))
    }
}

/// What a library says of its own time-out depends on what it waited in, TLS or a socket. And MySQL
/// makes up a plugin for a user that it does not know, which some libraries do not have: through the
/// proxy, which has it, they hear the server's refusal.
fn are_equal(direct: &str, proxied: &str) -> bool {
    let both = |start| direct.starts_with(start) && proxied.starts_with(start);
    let made_up = direct.contains("sha256_password") && proxied.contains("Access denied");
    direct == proxied || both("check timeout: ") || both("check login.nobody: ") && made_up
}

fn shortened(line: &str) -> String {
    line.chars().take(600).collect()
}

/// The last lines of what a program complained of.
pub(crate) fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    shortened(&lines[lines.len().saturating_sub(4)..].join("\n      "))
}
