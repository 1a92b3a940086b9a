//! The decision: who is active.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod action;
mod assessment;
mod candidate;
mod catching_up;
mod context;
mod errands;
mod event;
mod held;
mod links;
mod machine;
mod opening;
mod phase;
mod policy;
mod promoting;
mod sealing;
mod starting;
mod steady;
mod suspect;
mod takeover;
mod writability;

pub use action::{Action, Order, OrderFailure, OrderId, OrderResult, Transition};
pub use assessment::{Evidence, Verdict, assess};
pub use candidate::{Choice, choose};
pub use event::Event;
pub use links::Links;
pub use machine::{FailoverMachine, Status};
pub use policy::Policy;
