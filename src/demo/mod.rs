//! `tandem demo`: a failover of real servers, shown and accounted for.
//!
//! Two masters, a proxy, clients; then kill -9 of the active master in the middle of it. What a
//! viewer is to believe is not what the program says but what it measured: the writers note every
//! row that was acknowledged to them, with its key, and at the end that is compared with the tables
//! of both masters. The exit status follows from the comparison.
//!
//! - [`scenario`] is what happens; it prints nothing.
//! - `checker` has the clients, what they were told, and the judgement; [`boxes`] asks the masters
//!   themselves.
//! - [`stage`] takes events to whoever shows them, in a thread of its own: [`screen`] for a terminal,
//!   [`plain`] for everything else. Both have their words from [`wording`].
//!
//! The masters replicate semi-synchronously (a commit is on both before it is acknowledged), so
//! that "no acknowledged row is missing" is a promise and not luck. The proxy runs inside this
//! process with its default settings. Its log is off, unless `TANDEM_LOG` has a filter for it
//! (`TANDEM_LOG=info`); its decisions are part of the story in any case.

mod boxes;
mod closing;
mod event;
mod findings;
mod idle;
mod line;
mod observer;
mod plain;
mod scenario;
mod screen;
mod stage;
mod wording;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use crate::app::AppError;
use crate::cli::DemoOptions;
use crate::logging::{self, LoggingError};
use crate::sandbox::SandboxError;
use crate::signals::{INTERRUPTED, Signals};
use event::Event;
use stage::{Manner, Stage};

/// Why the story cannot be told to its end. A story with a bad end is none of these.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The servers do not do what they are told.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The proxy does not start.
    #[error("the proxy: {0}")]
    App(#[from] AppError),
    /// The log does not start.
    #[error("{variable}: {0}", variable = logging::VARIABLE)]
    Logging(#[from] LoggingError),
    /// A statement of the demo itself failed.
    #[error("a statement failed: {0}")]
    Statement(#[from] mysql_async::Error),
    /// Something that was waited for.
    #[error("{what} did not come within {within:?}; TANDEM_LOG=info shows what the proxy does")]
    NeverHappened {
        /// What it was.
        what: &'static str,
        /// How long was waited.
        within: Duration,
    },
    /// There is nobody to kill.
    #[error("no master is active; TANDEM_LOG=info shows what the proxy does")]
    NobodyActive,
    /// The proxy has no port for applications.
    #[error("the proxy does not listen")]
    NotListening,
    /// Its control plane is gone.
    #[error("the proxy ended; TANDEM_LOG=info shows why")]
    ProxyEnded,
    /// The output, or a signal handler.
    #[error("cannot show anything: {0}")]
    Io(#[from] io::Error),
}

/// Runs the demo. The exit status is 0 only if every promise was kept.
///
/// # Errors
/// When the story cannot be told to its end.
pub fn run(options: DemoOptions) -> Result<ExitCode, DemoError> {
    let logs = logging::init_if_asked()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stage = Stage::open(Manner::choose(options.plain, logs))?;
    let ended = runtime.block_on(until_signal(&stage, options.stay));
    // Tasks that were left in the middle of something end here.
    drop(runtime);
    let shown = stage.close();
    match ended? {
        // A reader that has seen enough (`| head`) is no failure of ours, but no success either.
        None => shown.map(|()| ExitCode::FAILURE).or(Ok(ExitCode::FAILURE)),
        Some(status) => shown.map(|()| status).map_err(DemoError::from),
    }
}

/// The story, or as much of it as there is time for; `None` when nobody watches any more.
async fn until_signal(stage: &Stage, stay: bool) -> Result<Option<ExitCode>, DemoError> {
    let mut signals = Signals::listen()?;
    let (findings, company) = tokio::select! {
        ended = scenario::play(stage) => ended?,
        () = signals.next() => {
            stage.tell(Event::Interrupted);
            return Ok(Some(ExitCode::from(INTERRUPTED)));
        }
        () = stage.left() => return Ok(None),
    };
    if stay {
        stage.tell(Event::Stays(company.places()?));
        tokio::select! {
            () = signals.next() => stage.tell(Event::Interrupted),
            () = stage.left() => {}
        }
    }
    company.end();
    let right = findings.faults().is_empty();
    Ok(Some(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}
