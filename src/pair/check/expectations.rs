//! What the configuration says that the servers should be, as far as checks compare it.

use std::time::{Duration, SystemTime};

use crate::config::{Config, Fencing};
use crate::topology::Servers;

/// A server that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Its name.
    pub name: String,
    /// Why, after "m1": "refuses connections (…)".
    pub reason: String,
}

/// Something that the account of `[monitor]` may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Where.
    pub server: String,
    /// What, after "may not".
    pub purpose: String,
    /// The statement that gives it.
    pub grant: String,
    /// Whether only checks need it.
    pub optional: bool,
}

/// What the servers are compared with.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// All configured servers.
    pub servers: Servers,
    /// Those of them that were asked in vain.
    pub silent: Vec<Silent>,
    /// The account of `[monitor]`.
    pub monitor: String,
    /// What that account may not do.
    pub lacking: Vec<Lack>,
    /// Where that account cannot log in although somebody else can.
    pub locked_out: Vec<Silent>,
    /// Whether the standby is kept from writing (`failover.fencing`).
    pub fenced: bool,
    /// How long a failover waits for the standby (`failover.catch_up`).
    pub catch_up: Duration,
    /// The time on the wall.
    pub now: SystemTime,
}

impl Expectations {
    /// What this configuration says, at this time; nobody is silent yet.
    #[must_use]
    pub fn of(config: &Config, now: SystemTime) -> Self {
        Self {
            servers: config.servers.clone(),
            silent: Vec::new(),
            lacking: Vec::new(),
            locked_out: Vec::new(),
            monitor: config.monitor.user.clone(),
            fenced: config.failover.fencing == Fencing::ReadOnly,
            catch_up: config.failover.catch_up,
            now,
        }
    }
}
