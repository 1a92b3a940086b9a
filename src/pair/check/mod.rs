//! Whether a pair is what it should be, before a crash shows that it is not.
//!
//! [`check`] is pure: the facts of all servers go in, and [`Finding`]s come out, each with what is so, why
//! it matters behind a proxy, and the commands that mend it. [`all`] lists every check with its name;
//! a family of them is a file here, and a check is a function of a screen. To look at something
//! new, read it in `facts`, write the function, and give it a line in the list and in `docs/check.md`.
//!
//! What a server did not tell is not well: each check names the parts of the facts that it needs, and where
//! one of them is missing on a server, that is told beside the findings ([`Blind`]).

mod appliers;
mod binary_log;
mod checked;
mod durability;
mod expectations;
mod finding;
mod keys;
mod likeness;
mod list;
mod looking;
mod pair;
mod position;
mod replication;
mod report;
mod run;
mod semi_sync;
mod servers;
mod surroundings;
mod writability;

pub use checked::{Checked, News, Stood};
pub use expectations::{Expectations, Lack, Silent};
pub use finding::{Finding, Mend, Severity};
pub use list::{Blind, Check, Verdict, all, by_name, check, findings};
pub use looking::Looker;
pub use report::{Looks, report};
pub use run::{COULD_NOT, Errand, run};

#[cfg(test)]
mod tests;
