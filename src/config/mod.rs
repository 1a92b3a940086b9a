//! The configuration, as plain data.
//!
//! Each section is a struct with its defaults; a part of the process gets its own section in its
//! constructor and nothing else. Only `load.rs` knows figment, files and the environment.

use std::time::Duration;

use crate::topology::{ServerAddress, Servers};

/// Everything that `proxy.toml` and the environment say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses for applications.
    pub listen: Vec<ServerAddress>,
    /// The masters in order of preference, then the replicas.
    pub servers: Servers,
    /// `[monitor]`
    pub monitor: Monitor,
    /// `[failover]`
    pub failover: Failover,
    /// `[limits]`
    pub limits: Limits,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
}

/// `[monitor]`: health checks and the account that they, and Tandem's orders, use.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// The account.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Between two probes of a server.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// Failed probes before a master counts as down.
    pub fall: u32,
    /// Answered probes before a master that was down counts as up.
    pub rise: u32,
}

/// Whether the old active master is made to refuse writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fencing {
    /// By `read_only` (MySQL: `super_read_only`).
    ReadOnly,
    /// Not at all: only the auto_increment offsets keep two writers apart.
    None,
}

/// `[failover]`: the policy of the decision.
#[derive(Clone, Debug)]
pub struct Failover {
    /// Whether Tandem decides by itself.
    pub automatic: bool,
    /// How the old master is fenced.
    pub fencing: Fencing,
    /// How long a statement may wait for an active master.
    pub hold: Duration,
    /// How long the standby may take to execute what it received.
    pub catch_up: Duration,
    /// Between two failovers.
    pub min_interval: Duration,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// Clients at once.
    pub max_connections: usize,
    /// For a client to finish its handshake, and for Tandem to log in to a master.
    pub connect_timeout: Duration,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where the console listens; `None` switches it off.
    pub console: Option<ServerAddress>,
    /// Where metrics, health and status are served; `None` switches it off.
    pub http: Option<ServerAddress>,
    /// The console's user.
    pub user: String,
    /// Its password; may be empty only while both addresses are loopback.
    pub password: Secret,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// Text for people or JSON for machines.
    pub format: LogFormat,
    /// A level, or a filter in the form of `tracing_subscriber::EnvFilter`.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A text that is never printed and is wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"***\"")
    }
}
