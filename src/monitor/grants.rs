//! What the monitor's account lacks on a server, of all that it needs (`topology::grants`).
//!
//! Which privileges an account has is read from `information_schema`, so that nothing is attempted
//! to find out. Privileges that it has through a role do not show there: an account with a role is
//! not judged.

use super::columns::Columns;
use super::connection::{Connection, ConnectionError};
use crate::topology::grants::Privilege;

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
    let dialect = connection.dialect();
    Ok(Privilege::all(dialect)
        .filter(|privilege| !is_held(&held, privilege.needs(dialect)))
        .map(|privilege| (privilege, connection.grant(privilege)))
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
    use crate::topology::{Dialect, Flavor};

    const MARIADB: Dialect = Dialect { flavor: Flavor::MariaDb, version: (10, 11, 19) };

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
