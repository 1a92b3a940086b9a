//! What a server says of itself: everything that setting a pair up and checking it must know, asked
//! once, as plain data.
//!
//! [`Facts::read`] asks, over a connection that somebody else made. Nothing is judged here, and nothing is
//! changed on the server. Every part that a server may refuse to tell is a [`Seen`]: either what was
//! seen, or an [`Unseen`] with the reason and, where there is one, the GRANT that would show it. So
//! nobody takes for well what he could not look at.
//!
//! How deep to look is the caller's choice ([`Wanted`]): accounts and tables cost the server something,
//! and a look that is repeated all the time must not burden one that has a hundred thousand of them.

mod accounts;
mod channels;
mod clock;
mod disk;
mod events;
#[cfg(test)]
pub(crate) mod fixture;
mod held;
mod log;
mod records;
mod seen;
mod status;
mod tables;
mod variables;

use std::time::SystemTime;

use self::held::Held;
use crate::monitor::{Connection, ConnectionError};
use crate::topology::{Beats, Dialect, Flavor, GtidSet, Role, Server, ServerAddress, Term};

pub use accounts::{AccountFacts, Grants, tables as grant_tables};
pub use channels::Following;
pub use clock::Clock;
pub use disk::Disk;
pub use events::Event;
pub use seen::{Part, Seen, Unseen};
pub use status::Status;
pub use tables::{Column, Table, TableKey, Tables};
pub use variables::{AfterRestart, Origin, Variable, Variables, is_on};

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// At most so many tables are read; a server with more of them is not asked for any. 0: none.
    pub tables: u64,
    /// Accounts and what they may do.
    pub accounts: bool,
}

impl Wanted {
    /// What costs a server next to nothing: identity, variables, channels, GTIDs.
    pub const BASE: Self = Self { tables: 0, accounts: false };
    /// Everything, however long it takes: somebody waits for it once.
    pub const ALL: Self = Self { tables: u64::MAX, accounts: true };
    /// Everything that a server in use can be asked for again and again.
    pub const GENTLE: Self = Self { tables: 5000, accounts: true };
}

/// What one server says of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name in the configuration.
    pub name: String,
    /// Where it was asked.
    pub address: ServerAddress,
    /// Master or replica.
    pub role: Role,
    /// Its family and version.
    pub dialect: Dialect,
    /// `VERSION()`.
    pub version: String,
    /// Which of its accounts was asked with: `user@host`.
    pub account: String,
    /// Every global variable.
    pub variables: Variables,
    /// Whom it follows; empty for nobody.
    pub channels: Seen<Vec<Following>>,
    /// What it has executed: `gtid_executed`, `gtid_current_pos`.
    pub executed: Seen<GtidSet>,
    /// What of that is no longer in its binary log (`gtid_purged`); MariaDB does not tell.
    pub purged: Seen<GtidSet>,
    /// Its clock, seen from here.
    pub clock: Seen<Clock>,
    /// Its status variables, as far as checks look at them.
    pub status: Seen<Status>,
    /// The highest term that it has, and the master that this makes active; `None` before the first.
    pub term: Seen<Option<(Term, String)>>,
    /// When the masters were last written to by a proxy, as far as this server has received it.
    pub beats: Seen<Beats>,
    /// The applications' tables.
    pub tables: Seen<Tables>,
    /// Who may log in.
    pub accounts: Seen<Vec<AccountFacts>>,
    /// What they may do beyond what the accounts' own rows say.
    pub grants: Seen<Grants>,
    /// The event scheduler's events.
    pub events: Seen<Vec<Event>>,
    /// When its certificate expires; `None` when it has none.
    pub certificate: Seen<Option<SystemTime>>,
    /// How full its disks are.
    pub disks: Seen<Vec<Disk>>,
    /// What is left out of its binary log: `binlog_do_db`, `binlog_ignore_db` and their values.
    pub log_filters: Seen<Vec<(&'static str, String)>>,
}

impl Facts {
    /// Asks a server. `connection` has to be to `server`.
    ///
    /// # Errors
    /// When the connection broke: no part of the answer is worth anything then.
    pub async fn read(
        connection: &mut Connection,
        server: &Server,
        wanted: Wanted,
    ) -> Result<Self, ConnectionError> {
        let dialect = connection.dialect();
        let variables = Variables::read(connection).await?;
        let set = |name: &str| match variables.text(name) {
            None => Err(Unseen::because(format!("the server has no variable {name}"))),
            Some(text) => GtidSet::parse(dialect.flavor, text)
                .map_err(|error| Unseen::because(error.to_string())),
        };
        let (executed, purged) = match dialect.flavor {
            Flavor::MySql => (set("gtid_executed"), set("gtid_purged")),
            Flavor::MariaDb => (
                set("gtid_current_pos"),
                Err(Unseen::because("MariaDB does not tell what it purged".to_owned())),
            ),
        };
        let status = status::read(connection).await?;
        let has_tls = variables.text("have_ssl").map_or_else(
            || variables.text("ssl_cert").is_some_and(|cert| !cert.is_empty()),
            |have| have == "YES",
        );
        let asked = wanted.accounts;
        let held = Held::read(connection).await?;
        Ok(Self {
            name: server.name.clone(),
            address: server.address.clone(),
            role: server.role,
            dialect,
            version: variables.text("version").unwrap_or_default().to_owned(),
            account: connection.account().to_owned(),
            channels: channels::read(connection).await?,
            clock: clock::read(connection).await?,
            certificate: status::certificate(has_tls, &status),
            status,
            term: records::read_term(connection).await?,
            beats: records::read_beats(connection).await?,
            tables: tables::read(connection, &held, wanted.tables).await?,
            accounts: if asked { accounts::read(connection).await? } else { Err(Unseen::NotAsked) },
            grants: if asked {
                accounts::read_grants(connection).await?
            } else {
                Err(Unseen::NotAsked)
            },
            events: if asked {
                events::read(connection, &held).await?
            } else {
                Err(Unseen::NotAsked)
            },
            disks: disk::read(connection, &variables).await?,
            log_filters: log::read(connection).await?,
            variables,
            executed,
            purged,
        })
    }

    /// Why a part of this was not seen; `None` when it was.
    #[must_use]
    pub fn unseen(&self, part: Part) -> Option<&Unseen> {
        match part {
            Part::Channels => self.channels.as_ref().err(),
            Part::Executed => self.executed.as_ref().err(),
            Part::Clock => self.clock.as_ref().err(),
            Part::Status => self.status.as_ref().err(),
            Part::Term => self.term.as_ref().err(),
            Part::Beats => self.beats.as_ref().err(),
            Part::Tables => self.tables.as_ref().err(),
            Part::Accounts => self.accounts.as_ref().err(),
            Part::Grants => self.grants.as_ref().err(),
            Part::Events => self.events.as_ref().err(),
            Part::Certificate => self.certificate.as_ref().err(),
            Part::Disks => self.disks.as_ref().err(),
            Part::LogFilters => self.log_filters.as_ref().err(),
        }
    }

    /// Its family.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.dialect.flavor
    }

    /// Whether it is a master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.role == Role::Master
    }

    /// `@@server_id`; 0 when it has none.
    #[must_use]
    pub fn server_id(&self) -> u32 {
        self.variables.number("server_id").unwrap_or(0)
    }

    /// `@@server_uuid` of MySQL, `@@server_uid` of MariaDB from 10.11 or so; empty for none.
    #[must_use]
    pub fn uuid(&self) -> &str {
        let names = ["server_uuid", "server_uid"];
        names.iter().find_map(|name| self.variables.text(name)).unwrap_or_default()
    }

    /// `@@hostname`: what the machine calls itself.
    #[must_use]
    pub fn hostname(&self) -> &str {
        self.variables.text("hostname").unwrap_or_default()
    }

    /// `@@port`: where the server itself listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.variables.number("port").unwrap_or(0)
    }

    /// Whether ordinary users cannot write.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.variables.is_on("read_only")
    }
}
