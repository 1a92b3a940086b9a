//! Where log events go: standard error, as text for people or as JSON for machines.
//!
//! Standard output is left to what a command was asked for (`tandem config`, the demo). Colour is used
//! only on a terminal, and never where `NO_COLOR` asks for none.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::Subscriber;

use crate::config::{Log, LogFormat};

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `log.level` is no filter.
    #[error("log.level: {0}")]
    Filter(#[from] ParseError),
    /// Somebody did it before, in this process.
    #[error("logging was started already")]
    StartedAlready,
}

/// The variable that has a filter for commands that log only if they are asked to.
pub const VARIABLE: &str = "TANDEM_LOG";

/// Starts logging if [`VARIABLE`] has a filter; says whether.
///
/// # Errors
/// As for [`init`].
pub fn init_if_asked() -> Result<bool, LoggingError> {
    let Some(level) = std::env::var(VARIABLE).ok().filter(|level| !level.is_empty()) else {
        return Ok(false);
    };
    init(&Log { level, ..Log::default() })?;
    Ok(true)
}

/// Starts logging, once in a process.
///
/// # Errors
/// When the filter is none, or logging was started already.
pub fn init(log: &Log) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(&log.level)?;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = Subscriber::builder().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(colour).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| LoggingError::StartedAlready)
}
