//! The operator's commands: `tandem status`, `events`, `switchover` and `failover`.
//!
//! They ask a running proxy over its console, as any MySQL client could, and put the answers into
//! words for people. Where the console is and who may use it, they take from the same configuration
//! as the proxy itself; of that they read the section `[admin]` only, for whoever may ask a proxy need
//! not be able to read the passwords of its masters.
//!
//! `console::Client` asks; `status.rs` and `events.rs` are pure and make text of rows; `layout.rs` aligns and
//! colours. What a command came to is its exit status, so that scripts need not read the words.

mod events;
mod layout;
mod status;

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use crate::cli::Errand;
use crate::config::Admin;
use crate::console::{AskError, Client};
use events::Timeline;
use layout::Paint;
use status::Status;

/// Between two looks for new events.
const LOOK: Duration = Duration::from_millis(250);

/// Between two attempts to reach a proxy that has gone.
const RETRY: Duration = Duration::from_secs(1);

/// The command was carried out, but what was asked for is not so: nobody is active, or an order was
/// refused.
const NO: u8 = 1;

/// The proxy cannot be asked.
pub const UNANSWERED: u8 = 2;

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The reader has gone (`| head`), or the disk is full.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// Asks the proxy whose console `admin` describes, and prints what it says. Exit status: 0 for yes, 1
/// for no (nobody is active, the order was refused), 2 if it cannot be asked.
#[must_use]
pub fn run(errand: &Errand, admin: &Admin) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(Failure::Output).and_then(|runtime| {
        runtime.block_on(async {
            match errand {
                Errand::Status => status(admin).await,
                Errand::Switchover { to, force } => order("SWITCHOVER", to, *force, admin).await,
                Errand::Failover { to, force } => order("FAILOVER", to, *force, admin).await,
                Errand::Events { follow, count } => events(admin, *follow, *count).await,
            }
        })
    });
    match done {
        Ok(status) => status,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("tandem: {failure}");
            match failure {
                Failure::Ask(AskError::Refused { .. }) => ExitCode::from(NO),
                Failure::Ask(_) | Failure::Output(_) => ExitCode::from(UNANSWERED),
            }
        }
    }
}

/// Colour goes to terminals only, and never where `NO_COLOR` asks for none.
fn paint() -> Paint {
    Paint::new(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

async fn status(admin: &Admin) -> Result<ExitCode, Failure> {
    let mut console = Client::connect(admin).await?;
    let status = Status {
        stats: console.ask("SHOW STATS").await?,
        masters: console.ask("SHOW MASTERS").await?,
        replicas: console.ask("SHOW REPLICAS").await?,
        reads: console.ask("SHOW READS").await?,
        channels: console.ask("SHOW SLAVE STATUS").await?,
        logins: console.ask("SHOW LOGINS").await?,
        losses: console.ask("SHOW LOST WRITES").await?,
        events: console.ask("SHOW EVENTS LIMIT 1").await?,
    };
    print(&status.render(SystemTime::now(), paint()))?;
    Ok(if status.active().is_some() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

async fn order(verb: &str, to: &str, force: bool, admin: &Admin) -> Result<ExitCode, Failure> {
    let mut console = Client::connect(admin).await?;
    let force = if force { " FORCE" } else { "" };
    let answer = console.ask(&format!("{verb} TO `{to}`{force}")).await?;
    for row in answer {
        print(&format!("{}\n", row.text("Result")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn events(admin: &Admin, follow: bool, count: usize) -> Result<ExitCode, Failure> {
    let mut console = Client::connect(admin).await?;
    let mut timeline = Timeline::new(paint());
    let rows = console.ask(&format!("SHOW EVENTS LIMIT {count}")).await?;
    print(&timeline.lines(&rows))?;
    if follow {
        go_on(console, timeline, admin).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what happens, until nobody reads it any more.
async fn go_on(
    mut console: Client,
    mut timeline: Timeline,
    admin: &Admin,
) -> Result<Infallible, Failure> {
    loop {
        match console.ask(&format!("SHOW EVENTS AFTER {}", timeline.seen())).await {
            Ok(rows) => print(&timeline.lines(&rows))?,
            Err(error) => {
                eprintln!("tandem: {error}; waiting for it");
                console = reconnect(admin).await;
                eprintln!("tandem: {} answers again", console.address());
                if last_number(&mut console).await? < timeline.seen() {
                    // Numbers begin again with each start of the proxy.
                    timeline = Timeline::new(paint());
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn reconnect(admin: &Admin) -> Client {
    loop {
        match Client::connect(admin).await {
            Ok(console) => return console,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn last_number(console: &mut Client) -> Result<u64, AskError> {
    let rows = console.ask("SHOW EVENTS LIMIT 1").await?;
    Ok(rows.first().and_then(|row| row.text("Number").parse().ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
