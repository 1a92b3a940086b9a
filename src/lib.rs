//! Tandem: a failover-aware proxy for MySQL and MariaDB.
//!
//! Two masters replicate to each other; applications point their DSN at Tandem, which forwards them
//! to the active master and moves to the other one when it dies. The modules in the order of their
//! rows; a module uses only rows above its own (`tests/architecture.rs` holds the table):
//!
//! | row | module | what it is for |
//! |---|---|---|
//! | 1 | [`wire`] | the MySQL protocol: packets, handshake, where a response ends |
//! | 1 | [`topology`] | what is known of servers; data only |
//! | 1 | [`metrics`] | handles, grouped by part |
//! | 2 | [`config`] | `proxy.toml` as plain data |
//! | 2 | [`routing`] | who takes writes, or why nobody does |
//! | 3 | [`failover`] | the decision: a pure machine |

pub mod config;
pub mod failover;
pub mod metrics;
pub mod routing;
pub mod session;
pub mod topology;
pub mod wire;
