//! The statements of the two families.
//!
//! MariaDB kept the words of 1999 (`CHANGE MASTER TO`, `START SLAVE`); MySQL renamed every one of
//! them between 8.0.22 and 8.0.26 and removed the old ones in 8.4. So there are two dialects and
//! not three: MySQL is supported from 8.0.26, MariaDB from 10.5, where its administrative
//! privileges were divided.

use std::time::Duration;

use crate::topology::{Dialect, Flavor};

/// Why a server cannot be a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Older than what Tandem speaks.
    #[error("version {version} is too old; needed is MySQL 8.0.26 or MariaDB 10.5")]
    TooOld {
        /// As the server names it.
        version: String,
    },
    /// Not a version.
    #[error("`{0}` is not a server's version")]
    Malformed(String),
}

/// What a member is told about the one it follows.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name of the channel on which it is followed: MariaDB's connection name. Empty for the
    /// one that needs no name.
    pub channel: &'a str,
    /// Host name or address literal.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// The replication account there.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
    /// How often the source says that it lives while it has nothing else to say.
    pub heartbeat: Duration,
    /// Whether what is received is encrypted. The source's certificate is not checked: its root would
    /// have to be a file on the server that receives.
    pub tls: bool,
}

/// The dialect of a server that says `version` (`SELECT VERSION()`), if it is new enough.
///
/// # Errors
/// When the version is too old, or is none.
pub fn dialect_of(version: &str) -> Result<Dialect, VersionError> {
    let dialect = Dialect::of_version(version);
    let oldest = match dialect.flavor {
        Flavor::MariaDb => (10, 5, 2),
        Flavor::MySql => (8, 0, 26),
    };
    let numbers = version.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or("");
    if numbers.split('.').filter(|number| number.parse::<u16>().is_ok()).count() < 3 {
        return Err(VersionError::Malformed(version.to_owned()));
    }
    if dialect.version < oldest {
        return Err(VersionError::TooOld { version: version.to_owned() });
    }
    Ok(dialect)
}

/// Makes an account that may log in from anywhere, or gives the existing one this password. What
/// the account may do is not touched.
#[must_use]
pub fn create_user(user: &str, password: &str) -> [String; 2] {
    let (user, password) = (quoted(user), quoted(password));
    [
        format!("CREATE USER IF NOT EXISTS {user}@'%' IDENTIFIED BY {password}"),
        format!("ALTER USER {user}@'%' IDENTIFIED BY {password}"),
    ]
}

/// Lets an account receive the binary log.
#[must_use]
pub fn grant_replication(user: &str) -> String {
    format!("GRANT REPLICATION SLAVE ON *.* TO {}@'%'", quoted(user))
}

/// Points a server at the one it follows, by GTID.
///
/// A member retries every second and without end: the other one may stay away for hours. MariaDB
/// gives up after `master_retry_count` tries (100000 by default: more than a day). MySQL lowered
/// its default to 10 in 8.4, which would leave a master that was away for ten seconds without a
/// slave; 0 means without end
/// (<https://dev.mysql.com/doc/refman/8.4/en/change-replication-source-to.html>).
#[must_use]
pub fn follow(flavor: Flavor, source: &Source<'_>) -> String {
    let Source { port, .. } = source;
    let heartbeat = source.heartbeat.as_secs_f64();
    let (host, user, password) =
        (quoted(source.host), quoted(source.user), quoted(source.password));
    let channel = quoted(source.channel);
    let tls = match (source.tls, flavor) {
        (false, _) => "",
        (true, Flavor::MariaDb) => ", MASTER_SSL=1, MASTER_SSL_VERIFY_SERVER_CERT=0",
        (true, Flavor::MySql) => ", SOURCE_SSL=1, SOURCE_SSL_VERIFY_SERVER_CERT=0",
    };
    match flavor {
        Flavor::MariaDb => format!(
            "CHANGE MASTER {channel} TO MASTER_HOST={host}, MASTER_PORT={port}, MASTER_USER={user}, \
             MASTER_PASSWORD={password}, MASTER_USE_GTID=slave_pos, \
             MASTER_HEARTBEAT_PERIOD={heartbeat}, MASTER_CONNECT_RETRY=1{tls}"
        ),
        Flavor::MySql => format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST={host}, SOURCE_PORT={port}, \
             SOURCE_USER={user}, SOURCE_PASSWORD={password}, SOURCE_AUTO_POSITION=1, \
             SOURCE_HEARTBEAT_PERIOD={heartbeat}, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=0, \
             GET_SOURCE_PUBLIC_KEY=1{tls} FOR CHANNEL {channel}"
        ),
    }
}

/// Starts both replication threads of every channel.
#[must_use]
pub fn start(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MariaDb => "START ALL SLAVES",
        Flavor::MySql => "START REPLICA",
    }
}

/// Stops both replication threads of every channel.
#[must_use]
pub fn stop(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MariaDb => "STOP ALL SLAVES",
        Flavor::MySql => "STOP REPLICA",
    }
}

/// The statements that end a channel for good; the empty name is that of the one without.
#[must_use]
pub fn end(flavor: Flavor, channel: &str) -> String {
    let channel = quoted(channel);
    match flavor {
        Flavor::MariaDb => format!("STOP SLAVE {channel}; RESET SLAVE {channel} ALL"),
        Flavor::MySql => {
            format!("STOP REPLICA FOR CHANNEL {channel}; RESET REPLICA ALL FOR CHANNEL {channel}")
        }
    }
}

/// Names of the columns of the status that differ between the families.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The channel's name.
    pub channel: &'static str,
    /// The source's host.
    pub source_host: &'static str,
    /// The source's port.
    pub source_port: &'static str,
    /// Whether the receiver runs.
    pub io_running: &'static str,
    /// Whether the applier runs.
    pub sql_running: &'static str,
}

impl Columns {
    /// The names of a family.
    #[must_use]
    pub fn of(flavor: Flavor) -> Self {
        match flavor {
            Flavor::MariaDb => Self {
                channel: "Connection_name",
                source_host: "Master_Host",
                source_port: "Master_Port",
                io_running: "Slave_IO_Running",
                sql_running: "Slave_SQL_Running",
            },
            Flavor::MySql => Self {
                channel: "Channel_Name",
                source_host: "Source_Host",
                source_port: "Source_Port",
                io_running: "Replica_IO_Running",
                sql_running: "Replica_SQL_Running",
            },
        }
    }
}

/// `text` as a string literal.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell_the_family() {
        for (version, flavor) in [
            ("10.11.19-MariaDB-0+deb12u1", Flavor::MariaDb),
            ("11.8.6-MariaDB-0+deb13u1 from Debian", Flavor::MariaDb),
            ("10.5.2-MariaDB-log", Flavor::MariaDb),
            ("9.7.4-2", Flavor::MySql),
            ("8.0.26", Flavor::MySql),
            ("8.4.0-commercial", Flavor::MySql),
        ] {
            assert_eq!(dialect_of(version).map(|d| d.flavor), Ok(flavor), "{version}");
        }
    }

    #[test]
    fn old_versions_are_refused_by_family() {
        // 8.0.26 is old for a MariaDB, and 10.4 is new for a MySQL only by its number.
        for version in ["8.0.25", "5.7.44-log", "10.4.34-MariaDB", "8.0.26-MariaDB"] {
            let refused = VersionError::TooOld { version: version.to_owned() };
            assert_eq!(dialect_of(version), Err(refused), "{version}");
        }
        for version in ["", "MariaDB", "10.11", "x.y.z"] {
            let refused = VersionError::Malformed(version.to_owned());
            assert_eq!(dialect_of(version), Err(refused), "{version}");
        }
    }

    #[test]
    fn a_quote_stays_inside_the_literal() {
        let source = Source {
            channel: "m'2",
            host: "10.0.0.2",
            port: 3306,
            user: "replication",
            password: r"it's a \ b",
            heartbeat: Duration::from_millis(1500),
            tls: true,
        };
        for flavor in [Flavor::MariaDb, Flavor::MySql] {
            let statement = follow(flavor, &source);
            assert!(statement.contains(r"PASSWORD='it\'s a \\ b',"), "{statement}");
            assert!(statement.contains("HEARTBEAT_PERIOD=1.5,"), "{statement}");
            assert!(statement.contains(r"'m\'2'"), "{statement}");
            assert!(statement.contains("_SSL=1,"), "{statement}");
            assert!(!follow(flavor, &Source { tls: false, ..source }).contains("_SSL"));
        }
    }
}
