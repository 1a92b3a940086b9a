//! The decision: who is active.
//!
//! [`FailoverMachine`] is told what happens ([`Event`]) and answers with what is to be done
//! ([`Action`]). It is pure: time is an argument, orders are carried out by others, and nothing here
//! connects, sleeps, logs or counts. That is why a failover can be read as a text file
//! (`tests/scenarios`) and played a hundred thousand times with a seed (`tests/failover_simulation`).
//!
//! # The phases
//!
//! ```text
//!              every master answered or failed
//!   starting ────────────────────────────────────► decide
//!
//!              a probe failed, a session was lost        `fall` probes failed
//!   steady ───────────────────────────────► suspect ─────────────────────────┐
//!     ▲  ▲                                     │ it answers: nothing happened  │
//!     │  └─────────────────────────────────────┘                               ▼
//!     │   opened                    up and closed                           decide
//!     ├────────── opening ◄── waiting ◄──────────────────────────────────────┤ │
//!     │                                                  nobody can be active │ │
//!     │                                          held ◄───────────────────────┘ │
//!     │                                                                         │
//!     │  promoted            executed the rest      caught up, fenced           ▼
//!     └────────── promoting ◄──────────────── sealing ◄────────────────── catching up
//!                     │  ▲
//!             unknown ▼  │ the terms say that nothing was written
//!                  verifying
//! ```
//!
//! * *starting*: every master gets its chance to tell the terms it knows.
//! * *steady*: a master is active. Meanwhile `errands` close standbys that are open and take back
//!   those that were away.
//! * *suspect*: the active master is probed without pause. Clients notice nothing.
//! * *held*: nobody can be active, and the reason says why of each master. Everything that happens
//!   is a reason to judge again.
//! * *quarantine* is no phase but the state of a standby: it came back with what the active one never
//!   received, and nobody may have that until it is released (`quarantine.rs`).
//! * *waiting*, *opening*: the right master is up and read-only. Whoever closed it gets some time to
//!   decide otherwise, unless it restarted or we did it; then the other masters are asked once more,
//!   and it is opened.
//! * *catching up*: the old master is fenced, while the candidate executes what it received.
//! * *sealing*: the candidate stops receiving from the old master and executes the rest.
//! * *promoting*: the point of no return. If the outcome stays unknown, *verifying* reads the terms
//!   before anything else is done.
//! * *approaching*, *draining*, *freezing*: a planned switchover on its way to *promoting*
//!   (`switchover.rs` has the figure).
//! * *yielding*: another proxy is about to leave the active master, and waits for what sessions of this
//!   one have open there.
//! * *paused*: an operator wants nobody to take writes.
//!
//! `decide` in `phase.rs` is where all edges meet whose ground has gone: it judges from scratch who
//! is to be active. So a takeover that is called off (a higher term, the return of the old master),
//! a promotion that another proxy was faster with, and a proxy that starts late all go one way, and
//! none of them needs to be undone step by step.
//!
//! # What holds
//!
//! * The highest term ever seen names the active master. Opening that one is always allowed;
//!   making another one active takes a new term.
//! * A table has at most one writer, and only one that was seen open, or that was just opened.
//! * Nobody is promoted who has received what it has not executed.
//! * A look proves nothing about what came after it began; orders that were given up still count
//!   when their answer comes, for what they did (`context.rs`, `writability.rs`).
//! * Every phase has a deadline, and a deadline that was reached lies in the past: no sequence of
//!   events makes the machine ask for probes faster than one per server and two milliseconds.
//!
//! # More than two masters
//!
//! Two phases are passed through only then, and have a file each. *Comparing*, between sealing and promoting:
//! the others stopped receiving from the old master as well, all are looked at once more, and who has
//! received more takes the candidate's place. (Of two masters it is passed through where the old one
//! lives, to see that it is still closed.) *Proclaiming*, behind promoting: the others are asked once
//! more and closed before anybody is sent to the new active, because another proxy may have promoted
//! another one in the same moment. What passes from whom to whom, directly or in a ring, is in
//! `delivery.rs`.
//!
//! How a ring is closed again when a member is gone is not decided here: it is only reported
//! (`errands.rs`).

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod action;
mod approaching;
mod assessment;
mod candidate;
mod catching_up;
mod comparing;
mod context;
mod damping;
mod delivery;
mod draining;
mod errands;
mod event;
mod failback;
mod freezing;
mod held;
mod links;
mod machine;
mod opening;
mod operator;
mod pacer;
mod paused;
mod phase;
mod policy;
mod proclaiming;
mod promoting;
mod quarantine;
mod request;
mod sealing;
mod starting;
mod steady;
mod suspect;
mod switchover;
mod takeover;
mod writability;
mod yielding;

pub use action::{Action, Order, OrderFailure, OrderId, OrderResult, OtherProxies, Transition};
pub use assessment::{Evidence, Verdict, assess};
pub use candidate::{Choice, choose};
pub use damping::Damping;
pub use event::Event;
pub use links::Links;
pub use machine::{FailoverMachine, Status};
pub use pacer::{Backlog, BacklogGauge, Pacer, Reading};
pub use policy::Policy;
pub use quarantine::{Quarantine, Quarantined};
pub use request::{Answer, Release, Request, RequestId};

#[cfg(test)]
mod tests;
