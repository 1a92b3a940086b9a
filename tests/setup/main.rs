//! `tandem setup` before real servers: whichever `TANDEM_SERVER` names, or the installed ones. They start
//! as somebody finds them who has just installed them.

#![allow(clippy::unwrap_used, reason = "what a test calls may panic as the test may")]

mod bare;
mod copying;
mod pair;
mod refusals;
mod several;
#[path = "../support/mod.rs"]
mod support;
