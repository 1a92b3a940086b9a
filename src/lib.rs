//! Tandem: a failover-aware proxy for MySQL and MariaDB.
//!
//! Two masters replicate to each other; applications point their DSN at Tandem, which forwards them
//! to the active master and moves to the other one when it dies. The modules in the order of their
//! rows; a module uses only rows above its own (`tests/architecture.rs` holds the table, and
//! `ARCHITECTURE.md` says where a byte goes):
//!
//! | row | module | what it is for |
//! |---|---|---|
//! | 1 | [`wire`] | the MySQL protocol: packets, handshake, where a response ends |
//! | 1 | [`topology`] | what is known of servers; data only |
//! | 1 | [`metrics`] | handles, grouped by part |
//! | 1 | `signals` | what asks a command to end |
//! | 2 | [`config`] | `proxy.toml` as plain data |
//! | 2 | [`routing`] | who takes writes, or why nobody does |
//! | 3 | [`failover`] | the decision: a pure machine |
//! | 3 | [`logging`] | where log events go |
//! | 3 | [`tls`] | certificates towards clients, trust in masters |
//! | 4 | [`session`] | one client session, one task |
//! | 4 | [`monitor`] | looks at the servers |
//! | 4 | [`pair`] | makes servers slaves of each other |
//! | 4 | [`stranded`] | what a returned master has that nobody else received |
//! | 5 | [`coordinator`] | drives the machine, carries out its orders as SQL |
//! | 5 | [`listener`] | accepts clients, places them on workers |
//! | 6 | `checker` | clients that note what they were told, and whether it is true |
//! | 6 | [`console`] | the admin console: any MySQL client |
//! | 6 | [`http`] | metrics, health, status and a page for people |
//! | 6 | [`sandbox`] | real servers in a private directory, for the demo, tests and drills |
//! | 7 | [`app`] | the whole proxy, wired together |
//! | 7 | [`cli`] | the command line, as data |
//! | 8 | [`demo`] | a failover of real servers, shown and accounted for |
//! | 8 | [`drill`] | servers hurt under load, measured |
//! | 8 | [`operator`] | the commands that ask a running proxy |

pub mod app;
mod checker;
pub mod cli;
pub mod config;
pub mod console;
pub mod coordinator;
pub mod demo;
pub mod drill;
pub mod failover;
pub mod http;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod monitor;
pub mod operator;
pub mod pair;
pub mod routing;
pub mod sandbox;
pub mod session;
mod signals;
pub mod stranded;
pub mod tls;
pub mod topology;
pub mod wire;
