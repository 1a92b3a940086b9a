//! Everything that the closing table shows, and that the exit status follows.

use std::time::Duration;

use super::event::{KeysTried, SlaveStatus};
use super::idle::IdleAnswer;
use crate::checker::Verdict;

/// What was found out.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    /// Who was killed.
    pub(super) killed: usize,
    pub(super) verdict: Verdict,
    /// Statements that waited for an active master.
    pub(super) held: u64,
    pub(super) keys: KeysTried,
    pub(super) idle: IdleAnswer,
    /// Of both masters, at the end.
    pub(super) replication: [SlaveStatus; 2],
    /// `CHECKSUM TABLE` of both, at the end.
    pub(super) checksums: [Option<u64>; 2],
    /// Rows acknowledged around the kill.
    pub(super) pulse: Pulse,
    pub(super) took: Duration,
}

/// Rows per moment, around the kill.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    pub(super) step: Duration,
    /// By the master that acknowledged them.
    pub(super) cells: Vec<[u32; 2]>,
    /// The cell of the kill.
    pub(super) kill: usize,
}

impl Findings {
    /// Everything that is not as it was promised; empty when all is.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.verdict.faults();
        let needless = self.verdict.needless_errors();
        if needless > 0 {
            faults.push(format!("{needless} errors that a crash does not explain"));
        }
        if self.verdict.gap.is_none() {
            faults.push("writing did not go on".to_owned());
        }
        if !self.keys.right() {
            faults.push("m1 was to hand out 1, 3, 5 and m2 then 6".to_owned());
        }
        if !self.idle.kept() {
            faults.push("the idle client did not find its session as it left it".to_owned());
        }
        for status in self.replication.iter().filter(|status| !status.runs) {
            faults.push(format!("m{} does not replicate", status.master + 1));
        }
        if self.checksums[0].is_none() || self.checksums[0] != self.checksums[1] {
            faults.push("the checksums of the two tables differ".to_owned());
        }
        faults
    }
}
