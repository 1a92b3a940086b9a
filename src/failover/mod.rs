//! The decision: who is active.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod action;
mod event;

pub use action::{Action, Order, OrderFailure, OrderId, OrderResult, Transition};
pub use event::Event;
