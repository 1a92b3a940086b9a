//! What clients see when masters die, against a real pair: DESIGN.md 5 row by row, and what the
//! machine does beside it.
//!
//! Every test hurts its own pair. Nothing here judges how long something took: conditions are
//! awaited, and a bound only ends what has gone wrong. Figures are the drills' (`make drill`).

#[path = "../fake_server/mod.rs"]
mod fake_server;
#[path = "../support/mod.rs"]
mod support;

mod configuration;
mod discarding;
mod draining;
mod dying;
mod heartbeat;
mod idle;
mod in_flight;
mod lagging;
#[path = "../partitions/ledger.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod ledger;
mod logins;
mod lost_writes;
#[path = "../partitions/masters.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod masters;
mod nobody;
mod pacing;
mod patience;
mod process;
mod returning;
mod sidecars;
mod silence;
mod strangers;
mod switching_over;
mod wiretap;
