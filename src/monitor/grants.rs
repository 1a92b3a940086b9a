//! What the monitor's account needs on a server, and the statement that gives it what it lacks.
//!
//! Which privileges an account has is read from `information_schema`, so that nothing is attempted
//! to find out. Privileges that it has through a role do not show there: an account with a role is
//! not judged.

use super::columns::Columns;
use super::connection::{Connection, ConnectionError};
use super::dialect::Dialect;
use crate::topology::Flavor;

/// Something that Tandem does on a server and must be allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// `SHOW ALL SLAVES STATUS` and its relatives.
    ReplicationStatus,
    /// `SET GLOBAL read_only`.
    ReadOnly,
    /// `STOP SLAVE IO_THREAD` and its relatives.
    ReplicationControl,
    /// Switching semi-synchronous replication.
    SemiSync,
    /// Making and writing `tandem.term`.
    Terms,
    /// Reading the accounts.
    Accounts,
}

impl Privilege {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ReplicationStatus,
        Self::ReadOnly,
        Self::ReplicationControl,
        Self::SemiSync,
        Self::Terms,
        Self::Accounts,
    ];

    /// What it is for, after "the account may not".
    #[must_use]
    pub fn purpose(self) -> &'static str {
        match self {
            Self::ReplicationStatus => "see the replication status",
            Self::ReadOnly => "switch read_only",
            Self::ReplicationControl => "stop and start replication",
            Self::SemiSync => "switch semi-synchronous replication",
            Self::Terms => "keep the terms (tandem.term)",
            Self::Accounts => "read the accounts",
        }
    }

    /// The statement that gives it to `account` (`user@host`, as `CURRENT_USER()` writes it).
    #[must_use]
    pub fn grant(self, dialect: Dialect, account: &str) -> String {
        let (privilege, object) = self.needs(dialect);
        let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        format!("GRANT {privilege} ON {object} TO {}@{}", quote(user), quote(host))
    }

    /// The privilege and its object. MariaDB split SUPER in 10.5, MySQL in 8.0.
    fn needs(self, dialect: Dialect) -> (&'static str, &'static str) {
        let split = match dialect.flavor {
            Flavor::MariaDb => dialect.version >= (10, 5, 0),
            Flavor::MySql => dialect.version >= (8, 0, 0),
        };
        match (self, dialect.flavor) {
            (Self::Terms, _) => ("CREATE, SELECT, INSERT", "tandem.*"),
            (Self::Accounts, Flavor::MariaDb) if dialect.version >= (10, 4, 0) => {
                ("SELECT", "mysql.global_priv")
            }
            (Self::Accounts, _) => ("SELECT", "mysql.user"),
            (Self::ReplicationStatus, Flavor::MariaDb) if split => ("SLAVE MONITOR", "*.*"),
            (Self::ReplicationStatus, _) => ("REPLICATION CLIENT", "*.*"),
            (_, _) if !split => ("SUPER", "*.*"),
            (Self::ReadOnly, Flavor::MariaDb) => ("READ_ONLY ADMIN", "*.*"),
            (Self::ReplicationControl, Flavor::MariaDb) => ("REPLICATION SLAVE ADMIN", "*.*"),
            (Self::SemiSync, Flavor::MariaDb) => ("REPLICATION MASTER ADMIN", "*.*"),
            (Self::ReplicationControl, Flavor::MySql) => ("REPLICATION_SLAVE_ADMIN", "*.*"),
            // super_read_only also needs what would be stopped by read_only otherwise.
            (Self::ReadOnly, Flavor::MySql) => ("SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN", "*.*"),
            (Self::SemiSync, Flavor::MySql) => ("SYSTEM_VARIABLES_ADMIN", "*.*"),
        }
    }
}

/// What the account of `connection` lacks, each with the GRANT that mends it.
///
/// # Errors
/// When the server could not be asked.
pub async fn missing_privileges(
    connection: &mut Connection,
) -> Result<Vec<(Privilege, String)>, ConnectionError> {
    let me = "GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";
    let question = format!(
        "SELECT COALESCE(CURRENT_ROLE(), 'NONE') AS held; \
         SELECT PRIVILEGE_TYPE AS held FROM information_schema.USER_PRIVILEGES WHERE {me}; \
         SELECT CONCAT(TABLE_SCHEMA, '.*/', PRIVILEGE_TYPE) AS held \
         FROM information_schema.SCHEMA_PRIVILEGES WHERE {me}; \
         SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, '/', PRIVILEGE_TYPE) AS held \
         FROM information_schema.TABLE_PRIVILEGES WHERE {me}"
    );
    let answers = connection.ask(&question).await?;
    // A version without roles, or without one of the tables: what cannot be known is not reported.
    let Ok(sets) = answers.all() else { return Ok(Vec::new()) };
    let mut texts = sets.iter().map(|rows| {
        rows.iter().map(|row| Columns(row).text_or_empty(&["held"])).collect::<Vec<_>>()
    });
    let roles = texts.next().unwrap_or_default();
    if roles.iter().any(|role| role != "NONE") {
        return Ok(Vec::new());
    }
    let held: Vec<String> = texts.flatten().collect();
    let (dialect, account) = (connection.dialect(), connection.account());
    Ok(Privilege::ALL
        .into_iter()
        .filter(|privilege| !is_held(&held, privilege.needs(dialect)))
        .map(|privilege| (privilege, privilege.grant(dialect, account)))
        .collect())
}

fn is_held(held: &[String], (privileges, object): (&str, &str)) -> bool {
    let schema_wide = object.split('.').next().map(|schema| format!("{schema}.*"));
    privileges.split(", ").all(|privilege| {
        held.iter().any(|held| match held.split_once('/') {
            None => held == privilege || held == "SUPER" && object == "*.*",
            Some((place, held)) => {
                held == privilege && (place == object || Some(place) == schema_wide.as_deref())
            }
        })
    })
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
    fn a_wider_grant_covers_a_narrower_one() {
        let held = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let accounts = Privilege::Accounts.needs(MARIADB);
        assert!(is_held(&held(&["mysql.global_priv/SELECT"]), accounts));
        assert!(is_held(&held(&["mysql.*/SELECT"]), accounts));
        assert!(is_held(&held(&["SELECT"]), accounts));
        assert!(!is_held(&held(&["mysql.global_priv/INSERT", "tandem.*/SELECT"]), accounts));
        let terms = Privilege::Terms.needs(MARIADB);
        assert!(is_held(&held(&["tandem.*/SELECT", "tandem.*/INSERT", "CREATE"]), terms));
        assert!(!is_held(&held(&["tandem.*/SELECT", "tandem.*/INSERT"]), terms));
        assert!(!is_held(&held(&["SUPER"]), terms));
    }
}
