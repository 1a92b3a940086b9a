//! Who may log in to a server, and what he may do there: to be compared between masters, and to find
//! who writes where nobody should.
//!
//! What is kept holds no password and no hash: where a plugin stores the same for the same password,
//! the digest of it is kept, and elsewhere (salted hashes) nothing.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Row;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Seen, Unseen};
use crate::monitor::{Columns, Connection, ConnectionError};
use crate::topology::grants::{Privilege, quoted_account};
use crate::topology::{Dialect, Flavor};

/// One account, or a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFacts {
    /// `user@host`; a role of MariaDB's ends with `@`.
    pub name: String,
    /// Whether nobody logs in as it: a role, or locked.
    pub unused: bool,
    /// Whether it may make accounts, and so give itself whatever it lacks.
    pub administers: bool,
    /// Whether it writes past `read_only` by itself, with the privilege's name.
    pub past_read_only: Option<&'static str>,
    /// Everything of its row that can be compared: name and value.
    pub attributes: BTreeMap<String, String>,
}

/// What is granted beyond the accounts' own rows: a row of one of the tables of grants each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// By account, as `user@host`.
    pub rows: BTreeMap<String, BTreeSet<String>>,
    /// Which roles an account has.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// MySQL: who has a dynamic privilege that writes past `read_only`.
    pub past_read_only: BTreeMap<String, &'static str>,
}

/// When it was written, and by whom, is no difference between two masters.
const NO_DIFFERENCE: [&str; 6] = [
    "timestamp",
    "grantor",
    "password_last_changed",
    "version_id",
    "password_lifetime_changed",
    "authentication_string",
];

/// Plugins that store the same for the same password.
const UNSALTED: [&str; 3] = ["mysql_native_password", "mysql_old_password", "ed25519"];

/// Bits of `mysql.global_priv`, `$.access` (MariaDB, `sql/privilege.h`).
const SUPER_BIT: u64 = 1 << 15;
const CREATE_USER_BIT: u64 = 1 << 25;
const READ_ONLY_ADMIN_BIT: u64 = 1 << 33;

/// Reads the accounts' own rows.
pub(super) async fn read(
    connection: &mut Connection,
) -> Result<Seen<Vec<AccountFacts>>, ConnectionError> {
    let dialect = connection.dialect();
    let (_, table) = Privilege::Accounts.needs(dialect);
    let answers = connection.ask(&format!("SELECT * FROM {table}")).await?;
    if let Some((code, message)) = answers.error {
        let grant = || Some(connection.grant(Privilege::Accounts));
        return Ok(Err(Unseen::refused(code, message, grant)));
    }
    Ok(Ok(answers.sets.iter().flatten().map(|row| account(dialect, row)).collect()))
}

/// Reads the tables of grants.
pub(super) async fn read_grants(
    connection: &mut Connection,
) -> Result<Seen<Grants>, ConnectionError> {
    let mut grants = Grants::default();
    let dialect = connection.dialect();
    for table in tables(dialect.flavor) {
        let answers = connection.ask(&format!("SELECT * FROM {table}")).await?;
        if let Some((code, message)) = answers.error {
            let account = quoted_account(connection.account());
            let grant = || Some(format!("GRANT SELECT ON {table} TO {account}"));
            return Ok(Err(Unseen::refused(code, message, grant)));
        }
        for row in answers.sets.iter().flatten() {
            grants.add(table, row);
        }
    }
    Ok(Ok(grants))
}

/// Where grants are kept that are not in the accounts' own rows.
#[must_use]
pub fn tables(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        Flavor::MariaDb => {
            &["mysql.db", "mysql.tables_priv", "mysql.procs_priv", "mysql.roles_mapping"]
        }
        Flavor::MySql => &[
            "mysql.db",
            "mysql.tables_priv",
            "mysql.procs_priv",
            "mysql.global_grants",
            "mysql.role_edges",
        ],
    }
}

impl Grants {
    fn add(&mut self, table: &str, row: &Row) {
        let columns = Columns(row);
        let name = |user: &[&str], host: &[&str]| {
            format!("{}@{}", columns.text_or_empty(user), columns.text_or_empty(host))
        };
        let account = name(&["user", "to_user"], &["host", "to_host"]);
        match table {
            "mysql.roles_mapping" => {
                let role = format!("{}@", columns.text_or_empty(&["role"]));
                self.roles.entry(account.clone()).or_default().insert(role);
            }
            "mysql.role_edges" => {
                let role = name(&["from_user"], &["from_host"]);
                self.roles.entry(account.clone()).or_default().insert(role);
            }
            "mysql.global_grants" if columns.text_or_empty(&["priv"]) == "CONNECTION_ADMIN" => {
                self.past_read_only.insert(account.clone(), "CONNECTION_ADMIN");
            }
            _ => {}
        }
        let cells: Vec<String> =
            cells(row).map(|(name, value)| format!("{name}={value}")).collect();
        let text = format!("{}: {}", table.trim_start_matches("mysql."), cells.join(" "));
        self.rows.entry(account).or_default().insert(text);
    }
}

/// Names in lower case and values, without what is no difference and what is not granted.
fn cells(row: &Row) -> impl Iterator<Item = (String, String)> + '_ {
    row.columns_ref().iter().filter_map(|column| {
        let name = column.name_str().to_ascii_lowercase();
        let value = Columns(row).find(&[&name])?;
        let same = NO_DIFFERENCE.contains(&name.as_str()) || value.is_empty() || value == "N";
        (!same).then_some((name, value))
    })
}

fn account(dialect: Dialect, row: &Row) -> AccountFacts {
    let columns = Columns(row);
    let name = format!("{}@{}", columns.text_or_empty(&["user"]), columns.text_or_empty(&["host"]));
    if let Some(json) = columns.find(&["priv"]) {
        return of_json(dialect, name, &json);
    }
    let plugin = columns.text_or_empty(&["plugin"]);
    let hash = columns.text_or_empty(&["authentication_string", "password"]);
    let mut attributes: BTreeMap<String, String> = cells(row)
        .filter(|(name, _)| !["user", "host", "password"].contains(&name.as_str()))
        .collect();
    attributes.extend(password(&plugin, &hash));
    let is = |column: &str| columns.text_or_empty(&[column]) == "Y";
    AccountFacts {
        unused: is("account_locked"),
        administers: is("create_user_priv"),
        past_read_only: is("super_priv").then_some("SUPER"),
        name,
        attributes,
    }
}

/// `mysql.global_priv.Priv`
fn of_json(dialect: Dialect, name: String, json: &str) -> AccountFacts {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let access = value.get("access").and_then(Value::as_u64).unwrap_or(0);
    let is = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
    // https://mariadb.com/kb/en/grant/#read_only-admin: SUPER includes it below 10.11.
    let past_read_only = if access & READ_ONLY_ADMIN_BIT != 0 {
        Some("READ_ONLY ADMIN")
    } else if access & SUPER_BIT != 0 && dialect.version < (10, 11, 0) {
        Some("SUPER")
    } else {
        None
    };
    let mut attributes = BTreeMap::new();
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    for (key, value) in value.as_object().into_iter().flatten() {
        if !NO_DIFFERENCE.contains(&key.as_str()) && key != "auth_or" {
            attributes.insert(key.clone(), value.to_string());
        }
    }
    attributes.extend(password(text("plugin"), text("authentication_string")));
    let unused = is("account_locked") || is("is_role");
    let administers = access & CREATE_USER_BIT != 0;
    AccountFacts { name, unused, administers, past_read_only, attributes }
}

/// A digest of what is stored, where that is the same for the same password.
fn password(plugin: &str, stored: &str) -> Option<(String, String)> {
    let comparable = plugin.is_empty() || UNSALTED.contains(&plugin);
    comparable.then(|| {
        let digest = Sha256::digest(stored.as_bytes());
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        ("password".to_owned(), short)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARIADB: Dialect = Dialect { flavor: Flavor::MariaDb, version: (10, 11, 19) };

    fn facts(json: &str) -> AccountFacts {
        of_json(MARIADB, "app@%".to_owned(), json)
    }

    #[test]
    fn an_account_is_kept_without_its_hash() {
        let app = facts(
            r#"{"access":0,"version_id":101119,"plugin":"mysql_native_password",
            "authentication_string":"*5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3","password_last_changed":1}"#,
        );
        let all = format!("{app:?}");
        assert!(!all.contains("5BCB3E6AC3"), "{all}");
        let names: Vec<&str> = app.attributes.keys().map(String::as_str).collect();
        assert_eq!(names, ["access", "password", "plugin"]);
        let other =
            facts(r#"{"access":0,"plugin":"mysql_native_password","authentication_string":"*A"}"#);
        assert_ne!(app.attributes, other.attributes);
        let salted = |salt: &str| {
            facts(&format!(r#"{{"access":0,"plugin":"parsec","authentication_string":"{salt}"}}"#))
        };
        assert_eq!(salted("a"), salted("b"));
    }

    #[test]
    fn who_writes_past_read_only_is_a_matter_of_version() {
        // As the server stores GRANT READ_ONLY ADMIN, CONNECTION ADMIN; and GRANT SUPER.
        assert_eq!(facts(r#"{"access":12884901888}"#).past_read_only, Some("READ_ONLY ADMIN"));
        assert_eq!(facts(r#"{"access":32768}"#).past_read_only, None);
        assert_eq!(
            facts(r#"{"access":18446744073709551615}"#).past_read_only,
            Some("READ_ONLY ADMIN")
        );
        let old = Dialect { version: (10, 6, 0), ..MARIADB };
        assert_eq!(
            of_json(old, String::new(), r#"{"access":32768}"#).past_read_only,
            Some("SUPER")
        );
        assert!(facts(r#"{"access":0,"is_role":true}"#).unused);
    }

    #[test]
    fn who_may_make_accounts_is_an_administrator() {
        // As the server stores GRANT CREATE USER; and GRANT ALL.
        assert!(facts(r#"{"access":33554432}"#).administers);
        assert!(facts(r#"{"access":18446744073709551615}"#).administers);
        assert!(!facts(r#"{"access":12884901888}"#).administers);
    }
}
