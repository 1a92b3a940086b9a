//! What the monitor's account must be allowed, and the statements that allow it.
//!
//! One list serves three readers: whoever creates the account runs [`monitor_grants`], whoever is
//! refused something finds the statement that mends it with [`missing_grant`], and whoever reviews
//! the account reads here what each privilege is for. A privilege that nothing needs does not
//! belong here: the account is held by a process that faces clients.
//!
//! Names and their scopes: <https://mariadb.com/kb/en/grant/> (the fine-grained administrative
//! privileges exist since 10.5) and
//! <https://dev.mysql.com/doc/refman/8.4/en/privileges-provided.html>.

use super::Flavor;

/// One privilege of the monitor's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// As `GRANT` names it.
    pub name: &'static str,
    /// What it is granted on.
    pub on: &'static str,
    /// What Tandem does with it.
    pub purpose: &'static str,
    /// Any of these in a server's refusal says that this privilege is missing. They are needed where
    /// a refusal does not name the privilege, but the object.
    told_by: &'static [&'static str],
}

impl Privilege {
    const fn global(name: &'static str, purpose: &'static str) -> Self {
        Self { name, on: "*.*", purpose, told_by: &[] }
    }

    /// To `KILL` somebody else's connection (error 1095).
    const fn connection(name: &'static str, purpose: &'static str) -> Self {
        Self { name, on: "*.*", purpose, told_by: &["not owner of"] }
    }

    const fn tandem() -> Self {
        Self {
            name: "ALL",
            on: "tandem.*",
            purpose: "keeps the table of terms",
            told_by: &["database 'tandem'", "`tandem`.", "table 'term'"],
        }
    }

    /// The statement that grants it.
    #[must_use]
    pub fn grant(&self, user: &str) -> String {
        let user = user.replace('\\', "\\\\").replace('\'', "\\'");
        format!("GRANT {} ON {} TO '{user}'@'%'", self.name, self.on)
    }

    fn is_missed_by(&self, refusal: &str) -> bool {
        self.told_by.iter().any(|words| refusal.contains(words))
            || names_privilege(refusal, self.name)
    }
}

const MARIADB: &[Privilege] = &[
    Privilege::global("SLAVE MONITOR", "reads SHOW ALL SLAVES STATUS"),
    Privilege::global("BINLOG MONITOR", "reads the position of the binary log"),
    Privilege::global(
        "READ_ONLY ADMIN",
        "fences and opens masters, and writes terms on a fenced one",
    ),
    Privilege::global("REPLICATION SLAVE ADMIN", "stops and starts the receiver of a channel"),
    Privilege::global("REPLICATION MASTER ADMIN", "adjusts semi-synchronous replication"),
    Privilege::connection("CONNECTION ADMIN", "ends what stands in the way of a fence"),
    Privilege::global("PROCESS", "sees what stands in the way of a fence"),
    Privilege {
        name: "SELECT",
        on: "mysql.global_priv",
        purpose: "learns which plugin each account logs in with, and its native hash",
        told_by: &["`global_priv`", "table 'global_priv'"],
    },
    Privilege {
        name: "SELECT",
        on: "mysql.user",
        purpose: "learns the same in the form that both families share",
        told_by: &["`mysql`.`user`", "table 'user'"],
    },
    Privilege::tandem(),
];

const MYSQL: &[Privilege] = &[
    Privilege::global(
        "REPLICATION CLIENT",
        "reads SHOW REPLICA STATUS and the binary log's position",
    ),
    Privilege::global("PROCESS", "sees what stands in the way of a fence"),
    Privilege::global("REPLICATION_SLAVE_ADMIN", "stops and starts the receiver of a channel"),
    Privilege::global(
        "SYSTEM_VARIABLES_ADMIN",
        "fences and opens masters, and adjusts semi-synchronous replication",
    ),
    Privilege::connection(
        "CONNECTION_ADMIN",
        "writes terms under read_only, and ends what blocks a fence",
    ),
    Privilege {
        name: "SELECT",
        on: "mysql.user",
        purpose: "learns which plugin each account logs in with, and its native hash",
        told_by: &["`mysql`.`user`", "table 'user'"],
    },
    Privilege {
        name: "SELECT",
        on: "performance_schema.*",
        purpose: "reads the count of received heartbeats",
        told_by: &["performance_schema", "table 'replication_"],
    },
    Privilege::tandem(),
];

/// Everything that the monitor's account needs.
#[must_use]
pub fn monitor_privileges(flavor: Flavor) -> &'static [Privilege] {
    match flavor {
        Flavor::MariaDb => MARIADB,
        Flavor::MySql => MYSQL,
    }
}

/// The statements that make `user` a sufficient monitor's account, one privilege each, so that any
/// one of them can be shown alone.
#[must_use]
pub fn monitor_grants(flavor: Flavor, user: &str) -> Vec<String> {
    monitor_privileges(flavor).iter().map(|privilege| privilege.grant(user)).collect()
}

/// The statement that mends a server's refusal (errors 1044, 1095, 1142, 1227): `None` when the words
/// name nothing that [`monitor_grants`] lists.
#[must_use]
pub fn missing_grant(flavor: Flavor, user: &str, refusal: &str) -> Option<String> {
    monitor_privileges(flavor)
        .iter()
        .find(|privilege| privilege.is_missed_by(refusal))
        .map(|privilege| privilege.grant(user))
}

/// Whether the refusal has `name` as a privilege of its own and not as a part of a longer one
/// ("... you need (at least one of) the SUPER, SLAVE MONITOR privilege(s) ...").
fn names_privilege(refusal: &str, name: &str) -> bool {
    let Some((_, needed)) = refusal.split_once("(at least one of) the ") else { return false };
    let needed = needed.split_once(" privilege").map_or(needed, |(names, _)| names);
    needed.split(", ").flat_map(|names| names.split(" or ")).any(|needed| needed.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_leads_to_the_grant_that_mends_it() {
        // Word for word as MariaDB 10.11 and MySQL 9.7 refuse.
        for (flavor, refusal, grant) in [
            (
                Flavor::MariaDb,
                "Access denied; you need (at least one of) the READ_ONLY ADMIN privilege(s) for \
                 this operation",
                "GRANT READ_ONLY ADMIN ON *.* TO 'tandem'@'%'",
            ),
            (
                Flavor::MariaDb,
                "Access denied; you need (at least one of) the SUPER, SLAVE MONITOR privilege(s) \
                 for this operation",
                "GRANT SLAVE MONITOR ON *.* TO 'tandem'@'%'",
            ),
            (
                Flavor::MariaDb,
                "SELECT command denied to user 'tandem'@'127.0.0.1' for table \
                 `mysql`.`global_priv`",
                "GRANT SELECT ON mysql.global_priv TO 'tandem'@'%'",
            ),
            (
                Flavor::MariaDb,
                "Access denied for user 'tandem'@'%' to database 'tandem'",
                "GRANT ALL ON tandem.* TO 'tandem'@'%'",
            ),
            (
                Flavor::MySql,
                "Access denied; you need (at least one of) the SUPER or SYSTEM_VARIABLES_ADMIN \
                 privilege(s) for this operation",
                "GRANT SYSTEM_VARIABLES_ADMIN ON *.* TO 'tandem'@'%'",
            ),
            (
                Flavor::MySql,
                "Access denied; you need (at least one of) the SUPER, REPLICATION CLIENT \
                 privilege(s) for this operation",
                "GRANT REPLICATION CLIENT ON *.* TO 'tandem'@'%'",
            ),
        ] {
            assert_eq!(missing_grant(flavor, "tandem", refusal).as_deref(), Some(grant));
        }
    }

    #[test]
    fn other_refusals_lead_to_no_grant() {
        for refusal in [
            "Access denied for user 'tandem'@'127.0.0.1' (using password: YES)",
            "Access denied; you need (at least one of) the SLAVE MONITORING privilege(s) for this \
             operation",
        ] {
            assert_eq!(missing_grant(Flavor::MariaDb, "tandem", refusal), None, "{refusal}");
        }
    }

    #[test]
    fn a_quote_in_a_user_name_stays_inside_the_name() {
        let grant = Privilege::tandem().grant("o'brien");
        assert_eq!(grant, "GRANT ALL ON tandem.* TO 'o\\'brien'@'%'");
    }
}
