//! Every polite way to ask a process to end, for commands that have something to clear away before.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit status then, as shells do it: 128 and the number of SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// SIGINT (Ctrl-C), SIGTERM and SIGHUP, which end the process by themselves no more.
#[derive(Debug)]
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    /// From now on.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// Resolves with the next one.
    pub(crate) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
