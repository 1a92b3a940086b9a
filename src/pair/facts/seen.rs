//! What could not be seen, as a value.

use std::fmt;

/// What was seen, or why it was not.
pub type Seen<T> = Result<T, Unseen>;

/// A part of what a server says, that it may not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Whom it follows.
    Channels,
    /// What it has executed.
    Executed,
    /// Its clock.
    Clock,
    /// Its status variables.
    Status,
    /// Its terms.
    Term,
    /// Its heartbeat rows.
    Beats,
    /// Its tables.
    Tables,
    /// Its accounts.
    Accounts,
    /// Its grants.
    Grants,
    /// Its events.
    Events,
    /// Its certificate.
    Certificate,
    /// Its disks.
    Disks,
    /// What is left out of its binary log.
    LogFilters,
}

impl fmt::Display for Part {
    /// After "m1's".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Channels => "replication status",
            Self::Executed => "executed transactions",
            Self::Clock => "clock",
            Self::Status => "status variables",
            Self::Term => "terms",
            Self::Beats => "heartbeat rows",
            Self::Tables => "tables",
            Self::Accounts => "accounts",
            Self::Grants => "grants",
            Self::Events => "events",
            Self::Certificate => "certificate",
            Self::Disks => "disks",
            Self::LogFilters => "binary log's filters",
        })
    }
}

/// Why something could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// Nobody asked for it.
    NotAsked,
    /// The account may not, the server said; this GRANT would show it, where there is one that does.
    Denied {
        /// The server's words.
        reason: String,
        /// The statement that gives what is lacking.
        grant: Option<String>,
    },
    /// There is more of it than was to be read.
    TooMuch {
        /// How much there is.
        count: u64,
        /// Of what: "tables".
        of: &'static str,
    },
    /// It is not to be had, for this reason.
    Because(String),
}

impl Unseen {
    /// It is not to be had, for this reason.
    #[must_use]
    pub fn because(reason: impl Into<String>) -> Self {
        Self::Because(reason.into())
    }

    /// The server's refusal of a question. `grant` is what mends it when the account lacks a privilege.
    #[must_use]
    pub fn refused(code: u16, message: String, grant: impl FnOnce() -> Option<String>) -> Self {
        match code {
            // ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR,
            // ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR
            1044 | 1045 | 1142 | 1143 | 1227 => Self::Denied { reason: message, grant: grant() },
            code => Self::Because(format!("error {code}: {message}")),
        }
    }

    /// The GRANT that would show it.
    #[must_use]
    pub fn grant(&self) -> Option<&str> {
        match self {
            Self::Denied { grant, .. } => grant.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("it was not asked for"),
            Self::Denied { reason, .. } | Self::Because(reason) => f.write_str(reason),
            Self::TooMuch { count, of } => write!(f, "there are {count} {of}"),
        }
    }
}
