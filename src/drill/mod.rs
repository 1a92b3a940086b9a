//! `tandem drill`: masters are switched or hurt again and again while clients write, and what the clients
//! noticed is printed as distributions.
//!
//! Tests say what must hold on any machine; a drill says how long it took on this one. It ends with
//! status 1 only for what no slow machine excuses: a row or a key twice, an acknowledged row missing
//! although replication is semi-synchronous, money made or lost, an error at a client in a switchover.
//!
//! - `load.rs` is the traffic: the writers of `checker`, and transfers between accounts (`transfers.rs`).
//! - `switchover.rs`, `kill.rs`, `freeze.rs`, `stop.rs` and `both_down.rs` are the drills. All but the
//!   first need a pair of their own (`stage.rs`). The first asks the proxy's console only (`proxy.rs`), so
//!   that it may as well be a running one before a pair that matters: `real_pair.rs` has what is different
//!   there.
//! - `report.rs` and `spread.rs` gather and arrange the figures, `output.rs` shows them.

mod both_down;
mod freeze;
mod kill;
mod load;
mod output;
mod parts;
mod proxy;
mod real_pair;
mod report;
mod spread;
mod stage;
mod stop;
mod switchover;
mod transfers;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use crate::app::AppError;
use crate::cli::DrillOptions;
use crate::config::ConfigErrors;
use crate::console::AskError;
use crate::logging::{self, LoggingError};
use crate::sandbox::{BinariesError, SandboxError};
use crate::signals::{INTERRUPTED, Signals};
use output::Output;
use report::Report;
use stage::Kind;

/// There is no verdict: the drill was not run, or not to its end.
const NO_VERDICT: u8 = 2;

/// For what must happen. It bounds what has gone wrong and nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a drill does not come to its end.
#[derive(Debug, thiserror::Error)]
enum DrillError {
    /// The servers do not do what they are told.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// `--server` names none.
    #[error("--server: {0}")]
    Server(#[from] BinariesError),
    /// The proxy does not start.
    #[error("the proxy: {0}")]
    App(#[from] AppError),
    /// The proxy's console.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The log does not start.
    #[error("{variable}: {0}", variable = logging::VARIABLE)]
    Logging(#[from] LoggingError),
    /// The configuration of the proxy that is to be asked.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// A statement of the drill itself failed.
    #[error("a statement failed: {0}")]
    Statement(#[from] mysql_async::Error),
    /// Something that was waited for.
    #[error("{what} did not come within {} s; TANDEM_LOG=info shows what the proxy does", within.as_secs())]
    NeverHappened {
        /// What it was.
        what: &'static str,
        /// How long was waited.
        within: Duration,
    },
    /// There is nobody to hurt.
    #[error("no master is active")]
    NobodyActive,
    /// There is nobody to switch to.
    #[error("no other master is up")]
    NobodyElse,
    /// The proxy of the drill has no port.
    #[error("the proxy does not listen")]
    NotListening,
    /// A drill on a real pair that should not be begun: why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// A drill on a real pair left something behind: what, and how to clear it away.
    #[error("{0}")]
    NotCleared(String),
    /// The output, or a signal handler.
    #[error("cannot show anything: {0}")]
    Io(#[from] io::Error),
}

/// Runs what was asked for. Exit status: 0 when everything is as it must be, 1 when it is not, 2 when
/// there is no verdict, 130 after Ctrl-C.
#[must_use]
pub fn run(options: &DrillOptions) -> ExitCode {
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DrillError::from)
        .and_then(|runtime| runtime.block_on(until_signal(options)));
    match ended {
        Ok(status) => status,
        // A reader that has seen enough (`| head`) needs no words.
        Err(DrillError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::from(NO_VERDICT)
        }
        Err(error) => {
            eprintln!("tandem: {error}");
            ExitCode::from(NO_VERDICT)
        }
    }
}

async fn until_signal(options: &DrillOptions) -> Result<ExitCode, DrillError> {
    let logs = logging::init_if_asked()?;
    let mut signals = Signals::listen()?;
    let mut out = Output::choose(options.json, logs);
    if options.real_pair {
        return real_pair::run(options, &mut out, &mut signals).await;
    }
    let mut found = None;
    let ended = tokio::select! {
        ended = on_the_sandbox(options, &mut found, &mut out) => Some(ended),
        () = signals.next() => None,
    };
    match ended {
        Some(sound) => Ok(status(sound?)),
        None => {
            show_interrupted(found, &mut out)?;
            // Dropped with what was under way: proxy, servers and their directory.
            out.say("interrupted; the servers are stopped, nothing is left behind")?;
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn status(sound: bool) -> ExitCode {
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All that was asked for, each on a pair of its own. Whether everything is as it must be. What was found
/// by a drill that has not ended is in `found`, and outlives it.
async fn on_the_sandbox(
    options: &DrillOptions,
    found: &mut Option<Report>,
    out: &mut Output,
) -> Result<bool, DrillError> {
    let mut sound = true;
    for kind in &Kind::all_of(options)? {
        if let Some(runs) = options.drills.switchover {
            sound &= switchover::drill(kind, runs, found, out).await?;
        }
        if let Some(runs) = options.drills.crash {
            sound &= kill::drill(kind, runs, found, out).await?;
        }
        if let Some(runs) = options.drills.freeze {
            sound &= freeze::drill(kind, runs, found, out).await?;
        }
        if let Some(runs) = options.drills.stop {
            sound &= stop::drill(kind, runs, found, out).await?;
        }
        if options.drills.both_down {
            sound &= both_down::drill(kind, found, out).await?;
        }
    }
    Ok(sound)
}

/// A drill has come to its end. Whether everything is as it must be.
fn conclude(found: &mut Option<Report>, out: &mut Output) -> Result<bool, DrillError> {
    let Some(report) = found.take() else { return Ok(true) };
    out.end(&report)?;
    Ok(report.is_sound())
}

/// A drill was broken off: what it came to until then.
fn show_interrupted(found: Option<Report>, out: &mut Output) -> Result<(), DrillError> {
    if let Some(mut report) = found
        && report.interrupt()
    {
        out.end(&report)?;
    }
    Ok(())
}

/// Waits for something that must happen.
async fn within<T>(
    what: &'static str,
    happens: impl Future<Output = Result<T, DrillError>>,
) -> Result<T, DrillError> {
    tokio::time::timeout(PATIENCE, happens)
        .await
        .unwrap_or(Err(DrillError::NeverHappened { what, within: PATIENCE }))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
