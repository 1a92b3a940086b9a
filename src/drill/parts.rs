//! The parts of a gap, from the proxy's own journal: what its phases took, and what is before and
//! after them.

use std::time::Duration;

use super::report::{Measure, Run};
use super::stage::{Moment, when};
use crate::coordinator::JournalRow;

/// What the standby had to execute before it could be active is a matter of the load and of the
/// standby; the rest is what the failover itself costs.
pub(super) const REST: Measure =
    Measure { key: "gap_without_catch_up", name: "gap without the catch-up" };
pub(super) const NOTICING: Measure =
    Measure { key: "noticing", name: "  noticing: from the fault to held" };
pub(super) const CATCHING_UP: Measure = Measure { key: "catching_up", name: "  catching up" };
pub(super) const SEALING: Measure =
    Measure { key: "sealing", name: "  sealing: receiver stopped, drained" };
pub(super) const PROMOTING: Measure =
    Measure { key: "promoting", name: "  promoting: term, read_only=0" };
pub(super) const RESUMING: Measure =
    Measure { key: "resuming", name: "  resuming: to first acknowledged" };

/// Notes the parts of a gap of `whole` milliseconds, after a fault at `fault` and until `first`, which
/// is by the book's clock.
pub(super) fn note_parts(
    run: &mut Run,
    whole: f64,
    fault: Moment,
    first: Duration,
    rows: &[JournalRow],
) {
    let at = |phase| when(rows, fault, phase);
    let (catching, sealing, promoting, steady) =
        (at("catching up"), at("sealing"), at("promoting"), at("steady"));
    run.time(REST, whole - (sealing - catching));
    run.time(NOTICING, catching);
    run.time(CATCHING_UP, sealing - catching);
    run.time(SEALING, promoting - sealing);
    run.time(PROMOTING, steady - promoting);
    run.time(RESUMING, fault.to(first) - steady);
}
