//! What the monitor's account must be allowed, and the statements that allow it.
//!
//! One list serves everybody: whoever creates the account runs [`monitor_grants`], the monitor
//! compares it with what an account holds, and whoever is refused something names the statement
//! that mends it ([`Privilege::grant`]). `docs/pair.md` shows the same statements, and a test keeps
//! it so. A privilege that nothing needs does not belong here: the account is held by a process
//! that faces clients.
//!
//! Names and their scopes: <https://mariadb.com/kb/en/grant/> and
//! <https://dev.mysql.com/doc/refman/8.4/en/privileges-provided.html>.

use super::{Dialect, Flavor};

/// Something that Tandem does on a server and must be allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// `SHOW ALL SLAVES STATUS` and its relatives.
    ReplicationStatus,
    /// `SET GLOBAL read_only`, and writing a term under it.
    ReadOnly,
    /// `STOP SLAVE IO_THREAD` and its relatives.
    ReplicationControl,
    /// Switching semi-synchronous replication.
    SemiSync,
    /// Seeing and ending commits that wait for a master that does not answer, so that a fence need
    /// not wait with them.
    HangingCommits,
    /// Making and writing `tandem.term`.
    Terms,
    /// Writing `tandem.heartbeat`.
    HeartbeatRow,
    /// Reading the accounts.
    Accounts,
    /// Reading the count of received heartbeats, which MariaDB has in its replication status.
    Heartbeats,
    /// Reading how often they are sent, which MariaDB has there as well.
    HeartbeatPeriod,
    /// Reading in the error log that a write waits for room, which MariaDB has in its process list.
    ErrorLog,
    /// Reading the binary log of a master that returned, for what nobody else received.
    BinaryLog,
    /// For the checks inside the proxy: being shown tables, their columns and keys, but no row.
    CheckTables,
    /// For the checks: reading who has which privileges in schemas.
    CheckSchemaGrants,
    /// For the checks: the same for tables.
    CheckTableGrants,
    /// For the checks: the same for routines.
    CheckRoutineGrants,
    /// For the checks: reading who has which roles.
    CheckRoles,
    /// For the checks: reading who has which of MySQL's dynamic privileges.
    CheckDynamicGrants,
    /// For the checks: reading MariaDB's events; MySQL shows them only to whoever may change them.
    CheckEvents,
    /// For the checks: reading what is left out of MariaDB's binary log.
    CheckLogFilters,
}

impl Privilege {
    const ALL: [Self; 20] = [
        Self::ReplicationStatus,
        Self::ReadOnly,
        Self::ReplicationControl,
        Self::SemiSync,
        Self::HangingCommits,
        Self::Terms,
        Self::HeartbeatRow,
        Self::Accounts,
        Self::Heartbeats,
        Self::HeartbeatPeriod,
        Self::ErrorLog,
        Self::BinaryLog,
        Self::CheckTables,
        Self::CheckSchemaGrants,
        Self::CheckTableGrants,
        Self::CheckRoutineGrants,
        Self::CheckRoles,
        Self::CheckDynamicGrants,
        Self::CheckEvents,
        Self::CheckLogFilters,
    ];

    /// All that matter on a server of this dialect.
    pub fn all(dialect: Dialect) -> impl Iterator<Item = Self> {
        let matters = move |privilege: &Self| {
            let mysqls =
                [Self::Heartbeats, Self::HeartbeatPeriod, Self::ErrorLog, Self::CheckDynamicGrants];
            let mariadbs = [Self::CheckEvents, Self::CheckLogFilters];
            match dialect.flavor {
                Flavor::MySql => !mariadbs.contains(privilege),
                Flavor::MariaDb => !mysqls.contains(privilege),
            }
        };
        Self::ALL.into_iter().filter(matters)
    }

    /// What it is for, after "the account may not".
    #[must_use]
    pub fn purpose(self) -> &'static str {
        match self {
            Self::ReplicationStatus => "see the replication status",
            Self::ReadOnly => "switch read_only, nor write under it",
            Self::ReplicationControl => "stop and start replication",
            Self::SemiSync => "switch semi-synchronous replication",
            Self::HangingCommits => "end commits that hang",
            Self::Terms => "keep the terms (tandem.term)",
            Self::HeartbeatRow => "write heartbeats (tandem.heartbeat)",
            Self::Accounts => "read the accounts",
            Self::Heartbeats => "see whether heartbeats arrive",
            Self::HeartbeatPeriod => "see how often heartbeats are sent",
            Self::ErrorLog => "see that a write waits for room on the disk",
            Self::BinaryLog => "read the binary log of a master that returned",
            Self::CheckTables => "see tables",
            Self::CheckSchemaGrants => "read the grants on schemas",
            Self::CheckTableGrants => "read the grants on tables",
            Self::CheckRoutineGrants => "read the grants on routines",
            Self::CheckRoles => "read who has which roles",
            Self::CheckDynamicGrants => "read the dynamic privileges",
            Self::CheckEvents => "read the events",
            Self::CheckLogFilters => "see what is left out of the binary log",
        }
    }

    /// Whether only the checks need it: the proxy works without, and sees less.
    #[must_use]
    pub fn is_optional(self) -> bool {
        matches!(
            self,
            Self::CheckTables
                | Self::CheckSchemaGrants
                | Self::CheckTableGrants
                | Self::CheckRoutineGrants
                | Self::CheckRoles
                | Self::CheckDynamicGrants
                | Self::CheckEvents
                | Self::CheckLogFilters
        )
    }

    /// The statement that gives it to `account` (`user@host`, as `CURRENT_USER()` writes it).
    #[must_use]
    pub fn grant(self, dialect: Dialect, account: &str) -> String {
        let (privileges, object) = self.needs(dialect);
        grant(privileges, object, account)
    }

    /// The names that `GRANT` has for it, separated by `, `, and their object.
    ///
    /// MySQL split SUPER in 8.0, MariaDB in 10.5.2, where `SLAVE MONITOR` came only with 10.5.9.
    #[must_use]
    pub fn needs(self, dialect: Dialect) -> (&'static str, &'static str) {
        let Dialect { flavor, version } = dialect;
        let split = match flavor {
            Flavor::MariaDb => version >= (10, 5, 2),
            Flavor::MySql => version >= (8, 0, 0),
        };
        match (self, flavor) {
            (Self::HangingCommits, _) if !split => ("PROCESS", "*.*"), // and SUPER, for the others
            (Self::HangingCommits, Flavor::MariaDb) => ("PROCESS, CONNECTION ADMIN", "*.*"),
            (Self::HangingCommits, Flavor::MySql) => ("PROCESS, CONNECTION_ADMIN", "*.*"),
            (Self::Terms, _) => ("CREATE, SELECT, INSERT", "tandem.*"),
            (Self::HeartbeatRow, _) => ("UPDATE", "tandem.*"),
            (Self::Accounts, Flavor::MariaDb) if version >= (10, 4, 0) => {
                ("SELECT", "mysql.global_priv")
            }
            (Self::Accounts, _) => ("SELECT", "mysql.user"),
            (Self::BinaryLog, _) => ("REPLICATION SLAVE", "*.*"),
            // The least of what shows a table with its columns: it lets nobody read a row.
            (Self::CheckTables, _) => ("REFERENCES", "*.*"),
            (Self::CheckSchemaGrants, _) => ("SELECT", "mysql.db"),
            (Self::CheckTableGrants, _) => ("SELECT", "mysql.tables_priv"),
            (Self::CheckRoutineGrants, _) => ("SELECT", "mysql.procs_priv"),
            (Self::CheckRoles, Flavor::MariaDb) => ("SELECT", "mysql.roles_mapping"),
            (Self::CheckRoles, Flavor::MySql) => ("SELECT", "mysql.role_edges"),
            (Self::CheckDynamicGrants, _) => ("SELECT", "mysql.global_grants"),
            (Self::CheckEvents, _) => ("SELECT", "mysql.event"),
            (Self::CheckLogFilters, Flavor::MariaDb) if split => ("BINLOG MONITOR", "*.*"),
            (Self::CheckLogFilters, _) => ("REPLICATION CLIENT", "*.*"),
            (Self::Heartbeats, _) => ("SELECT", "performance_schema.replication_connection_status"),
            (Self::HeartbeatPeriod, _) => {
                ("SELECT", "performance_schema.replication_connection_configuration")
            }
            (Self::ErrorLog, _) => ("SELECT", "performance_schema.error_log"),
            (Self::ReplicationStatus, Flavor::MariaDb) if version >= (10, 5, 9) => {
                ("SLAVE MONITOR", "*.*")
            }
            (Self::ReplicationStatus, Flavor::MariaDb) if split => {
                ("REPLICATION SLAVE ADMIN", "*.*")
            }
            (Self::ReplicationStatus, _) => ("REPLICATION CLIENT", "*.*"),
            (_, _) if !split => ("SUPER", "*.*"),
            (Self::ReadOnly, Flavor::MariaDb) => ("READ_ONLY ADMIN", "*.*"),
            (Self::ReplicationControl, Flavor::MariaDb) => ("REPLICATION SLAVE ADMIN", "*.*"),
            (Self::SemiSync, Flavor::MariaDb) => ("REPLICATION MASTER ADMIN", "*.*"),
            (Self::ReplicationControl, Flavor::MySql) => ("REPLICATION_SLAVE_ADMIN", "*.*"),
            // The first one switches, the second one exempts the INSERT of the term.
            (Self::ReadOnly, Flavor::MySql) => ("SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN", "*.*"),
            (Self::SemiSync, Flavor::MySql) => ("SYSTEM_VARIABLES_ADMIN", "*.*"),
        }
    }
}

/// The statement that gives `privileges` on `object` to `account` (`user@host`, as `CURRENT_USER()`
/// writes it).
#[must_use]
pub fn grant(privileges: &str, object: &str, account: &str) -> String {
    format!("GRANT {privileges} ON {object} TO {}", quoted_account(account))
}

/// `account` (`user@host`, as `CURRENT_USER()` writes it) as statements name it. A role of MariaDB's has
/// no host.
#[must_use]
pub fn quoted_account(account: &str) -> String {
    let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    if host.is_empty() { quote(user) } else { format!("{}@{}", quote(user), quote(host)) }
}

/// The statements that make `user` a sufficient monitor's account; none of them is superfluous.
#[must_use]
pub fn monitor_grants(dialect: Dialect, user: &str) -> Vec<String> {
    let mut given: Vec<(&str, &str)> = Vec::new();
    let mut grants = Vec::new();
    for privilege in Privilege::all(dialect) {
        let (names, object) = privilege.needs(dialect);
        let new = |name: &str| !given.contains(&(name, object));
        if names.split(", ").any(new) {
            given.extend(names.split(", ").map(|name| (name, object)));
            grants.push(privilege.grant(dialect, &format!("{user}@%")));
        }
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARIADB: Dialect = Dialect { flavor: Flavor::MariaDb, version: (10, 11, 19) };
    const MYSQL: Dialect = Dialect { flavor: Flavor::MySql, version: (9, 7, 4) };

    #[test]
    fn the_grant_names_the_account_that_the_login_matched() {
        assert_eq!(
            Privilege::ReadOnly.grant(MARIADB, "tan'dem@10.0.%"),
            "GRANT READ_ONLY ADMIN ON *.* TO 'tan''dem'@'10.0.%'"
        );
        assert_eq!(
            Privilege::Accounts.grant(MYSQL, "tandem@%"),
            "GRANT SELECT ON mysql.user TO 'tandem'@'%'"
        );
    }

    #[test]
    fn versions_of_before_the_split_need_super() {
        let old = Dialect { flavor: Flavor::MariaDb, version: (10, 4, 34) };
        let grants = monitor_grants(old, "tandem");
        assert_eq!(grants.iter().filter(|grant| grant.contains("SUPER")).count(), 1, "{grants:?}");
        let first = Dialect { flavor: Flavor::MariaDb, version: (10, 5, 8) };
        assert!(!monitor_grants(first, "tandem").concat().contains("SLAVE MONITOR"));
    }

    #[test]
    fn the_page_for_people_has_these_statements_and_no_others() {
        let page = include_str!("../../docs/pair.md");
        let shown: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("GRANT "))
            .filter_map(|line| line.strip_suffix(';'))
            .collect();
        let listed = [MARIADB, MYSQL].map(|dialect| monitor_grants(dialect, "tandem")).concat();
        assert_eq!(shown, listed);
    }
}
