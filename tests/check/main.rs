//! `tandem check` before real servers: whichever `TANDEM_SERVER` names, or the installed one.
//!
//! [`faults`] is a table: what is done to a healthy pair, which check has to find it, and that the commands
//! of the finding, carried out word for word on the servers that they name, make it go away. [`by_hand`] has
//! those that need a replica, or whose mending is words. What is not
//! done to a real server (clocks, full disks, certificates, versions, families) is tested in the pure part,
//! `src/pair/check/`. `FAULT=row-format` begins with the faults of that check, for whoever works on it.

#![allow(clippy::unwrap_used, reason = "what a test calls may panic as the test may")]
#![allow(unreachable_pub)] // a binary's own modules

#[path = "../support/mod.rs"]
mod support;

mod by_hand;
mod command;
mod faults;
mod injecting;
