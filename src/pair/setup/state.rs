//! What one server is like, as far as setting it up must know: plain data, read by `survey.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::pair::facts::{Facts, Following};
use crate::topology::{Flavor, GtidSet, ThreadState};

/// Everything that the plan is made of, of one server.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// What it says of itself.
    pub facts: Facts,
    /// For each of its channels, the configured server at the other end; `None` for a stranger.
    pub sources: Vec<Option<usize>>,
    /// What it holds.
    pub data: Data,
    /// What the administrator may not do, of all that is needed.
    pub lacks: Vec<String>,
    /// The account of `[monitor]`.
    pub monitor: MonitorAccount,
    /// The account with which servers receive.
    pub replication: ReplicationAccount,
    /// Whether `tandem.term` and `tandem.heartbeat` are there.
    pub has_schema: bool,
    /// The highest term and the master that it makes active.
    pub term: Option<(u64, String)>,
    /// The events that are enabled, each as `schema`.`event`, with its definer.
    pub(super) events: BTreeMap<String, String>,
    /// The plugins that are active.
    pub plugins: BTreeSet<String>,
    /// MariaDB's `gtid_slave_pos`.
    pub slave_position: GtidSet,
    /// MariaDB's `gtid_binlog_pos`, as the server writes it.
    pub log_position: String,
    /// How many others receive its binary log.
    pub followers: u64,
}

/// How the account of `[monitor]` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MonitorAccount {
    /// It logs in; these GRANTs are missing.
    LogsIn(Vec<String>),
    /// It is refused: there is none, or its password is another.
    Refused,
}

/// How the account is with which servers receive from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplicationAccount {
    /// Whether there is one of that name that may receive the log.
    pub exists: bool,
    /// Whether it takes the password that was given; `None` if none was.
    pub fits: Option<bool>,
}

/// Schemas and their tables, but for those of the server and of Tandem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Data(pub BTreeMap<String, BTreeSet<String>>);

impl Data {
    /// Whether there is nothing.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many tables there are.
    #[must_use]
    pub(super) fn tables(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }
}

impl std::fmt::Display for Data {
    /// `12 tables in app, shop`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 4;
        let tables = self.tables();
        let schemas: Vec<&str> = self.0.keys().map(String::as_str).collect();
        write!(f, "{tables} {} in ", if tables == 1 { "table" } else { "tables" })?;
        f.write_str(&schemas[..schemas.len().min(SHOWN)].join(", "))?;
        match schemas.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more schemas"),
        }
    }
}

impl State {
    /// Its name in the configuration.
    #[must_use]
    pub(super) fn name(&self) -> &str {
        &self.facts.name
    }

    /// Its family.
    #[must_use]
    pub(super) fn flavor(&self) -> Flavor {
        self.facts.flavor()
    }

    /// Its channels, each with the configured server at the other end.
    pub(super) fn channels(&self) -> impl Iterator<Item = (&Following, Option<usize>)> {
        let channels = self.facts.channels.as_deref().unwrap_or_default();
        channels.iter().zip(self.sources.iter().copied())
    }

    /// The channel on which it receives from the server at `place`.
    #[must_use]
    pub(super) fn channel_from(&self, place: usize) -> Option<&Following> {
        self.channels().find(|(_, source)| *source == Some(place)).map(|(channel, _)| channel)
    }

    /// Whether a thread of some channel runs.
    #[must_use]
    pub(super) fn receives(&self) -> bool {
        self.threads().any(|thread| thread != ThreadState::No)
    }

    /// Whether a thread of some channel does not run.
    #[must_use]
    pub(super) fn stands(&self) -> bool {
        self.threads().any(|thread| thread == ThreadState::No)
    }

    fn threads(&self) -> impl Iterator<Item = ThreadState> {
        self.channels().flat_map(|(following, _)| {
            let channel = following.channel();
            [channel.io, channel.sql]
        })
    }

    /// What it has executed.
    #[must_use]
    pub(super) fn executed(&self) -> GtidSet {
        self.facts.executed.clone().unwrap_or_default()
    }

    /// Whether others can receive from it over TLS. MySQL has a certificate of its own making by default.
    #[must_use]
    pub(super) fn offers_tls(&self) -> bool {
        let variables = &self.facts.variables;
        match self.flavor() {
            Flavor::MariaDb => variables.is_on("have_ssl"),
            Flavor::MySql => variables.text("ssl_cert").is_some_and(|cert| !cert.is_empty()),
        }
    }
}
