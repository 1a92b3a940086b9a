//! Real servers in a private directory, for the demo, the tests and the benches.
//!
//! A failover is a story about processes, sockets and disks, and a fake of them proves little. So
//! the sandbox starts real `mariadbd` or `mysqld` processes, configured as `tandem setup` would have
//! it, makes them a pair and hands out the means to hurt them: kill -9, freeze, stop, cut off from
//! the network. It needs no privileges, no container and no installed service, and it may run as
//! often at once as there is memory. Who has privileges may give each server a network of its own.
//!
//! - **Fast.** The system tables are made once and copied; all servers start at the same time.
//! - **Private.** Everything lies in one directory that only its owner can enter. Servers listen on
//!   loopback, or in the network that they are given; `root` has no password, and can be reached only through a socket in that directory.
//! - **Without a trace.** Servers and directory never outlive their owner, not even one that is
//!   killed with kill -9: `watchdog.rs` says how.
//! - **Any server.** [`ServerBinaries`] finds the installed one, or is pointed at another: MariaDB
//!   from 10.5, MySQL from 8.0.26, also inside the root of a foreign distribution.
//!
//! Servers come up with `read_only = 1`, as the masters of a pair should: it is Tandem that opens
//! one of them. `root` may write all the same.
//!
//! What an application sees when the servers are hurt is not judged here.

mod binaries;
mod datadir;
mod error;
mod forwarder;
mod port;
mod server;
mod settings;
mod start;
mod watchdog;

pub use binaries::{BinariesError, ServerBinaries};
pub use error::SandboxError;
pub use server::SandboxServer;
pub use start::{Progress, Sandbox, SandboxOptions, ServerNetwork};
