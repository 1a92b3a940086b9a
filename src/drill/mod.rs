//! `tandem drill`: real servers are hurt while clients write, and what it cost is printed.
//!
//! Tests say what must hold on any machine; a drill says how long it took on this one. It ends with
//! status 1 only when something is wrong that no slow machine excuses: a row or a key twice, an
//! acknowledged row missing although replication is semi-synchronous, a false acknowledgement.

mod both_down;
mod freeze;
mod kill;
mod ledger;
mod spread;
mod stage;
mod stop;
mod switchover;
mod transfers;
mod writers;

use std::io;
use std::process::ExitCode;

use crate::cli::DrillOptions;
use stage::Kind;

/// Runs what was asked for.
///
/// # Errors
/// When there is no runtime.
pub fn run(options: &DrillOptions) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(all(options)))
}

async fn all(options: &DrillOptions) -> ExitCode {
    let kind = Kind { semi_sync: !options.asynchronous, durable: options.durable };
    let mut sound = true;
    if let Some(runs) = options.crash {
        sound &= kill::drill(kind, runs).await;
    }
    if let Some(runs) = options.freeze {
        sound &= freeze::drill(kind, runs).await;
    }
    if let Some(runs) = options.stop {
        sound &= stop::drill(kind, runs).await;
    }
    if options.both_down {
        sound &= both_down::drill(kind).await;
    }
    if let Some(runs) = options.switchover {
        sound &= switchover::drill(kind, runs, options.rate).await;
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
