//! The scratch table: its name, its statements, and whose it is.
//!
//! Its name has the time and a random part, so that no two runs share one. Who works with it holds a lock
//! of the same name on every master: a table whose lock nobody holds is what a run left that was
//! killed, and the next run drops it.

use std::time::SystemTime;

use crate::pair::dialect::quoted;
use crate::topology::KeyClass;

/// What the names of all of them begin with.
const PREFIX: &str = "write_test_";

/// One run's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scratch {
    name: String,
}

impl Scratch {
    /// A name that no other run has.
    pub(super) fn of_this_run() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, pid) = (since.as_secs(), std::process::id());
        Self { name: format!("{PREFIX}{seconds}_{pid}_{:x}", since.subsec_nanos()) }
    }

    /// The table with this name, if it is one of these; anybody may have made a table there.
    fn named(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let ours = rest.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'_');
        ours.then(|| Self { name: name.to_owned() })
    }

    /// With its schema, as SQL has it: it needs no quotes.
    pub(super) fn table(&self) -> String {
        format!("tandem.{}", self.name)
    }

    /// Takes the lock that says that the table is in use; it goes with the connection.
    pub(super) fn lock(&self) -> String {
        format!("DO GET_LOCK('tandem.{}', 0)", self.name)
    }

    /// Tables of the kind on a server, each with whether it is in use. `_` is no pattern here.
    pub(super) const LIST: &str = "SELECT TABLE_NAME AS name, \
         IS_USED_LOCK(CONCAT('tandem.', TABLE_NAME)) IS NOT NULL AS used \
         FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = 'tandem' AND LEFT(TABLE_NAME, 11) = 'write_test_'";

    /// Reads a row of the list: a table that nobody uses.
    pub(super) fn left_over(name: &str, used: &str) -> Option<Self> {
        Self::named(name).filter(|_| used == "0")
    }

    /// The primary key is what the test is about.
    pub(super) fn create(&self) -> String {
        format!(
            "CREATE TABLE {} (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, \
             written_on VARCHAR(255) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
            self.table()
        )
    }

    pub(super) fn drop(&self) -> String {
        format!("DROP TABLE IF EXISTS {}", self.table())
    }

    pub(super) fn insert(&self, server: &str) -> String {
        format!("INSERT INTO {} (written_on) VALUES ({})", self.table(), quoted(server))
    }

    pub(super) fn rows(&self) -> String {
        format!("SELECT id AS id, written_on AS written_on FROM {} ORDER BY id", self.table())
    }

    /// One row when the table is there.
    pub(super) fn exists(&self) -> String {
        format!(
            "SELECT 1 AS there FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = 'tandem' AND TABLE_NAME = '{}'",
            self.name
        )
    }
}

/// The keys that a master takes in its turn when `highest` is the last one of the table.
pub(super) fn next_keys(class: KeyClass, highest: u64, count: usize) -> Vec<u64> {
    std::iter::successors(Some(class.next_above(highest)), |key| Some(class.next_above(*key)))
        .take(count)
        .collect()
}

/// Transactions as the functions that wait for them want them.
pub(super) fn to_wait_for(executed: &str) -> String {
    executed.split_ascii_whitespace().collect()
}

/// Of a server's transactions those of its domain, where there are domains: others may not have seen their
/// own come back to them.
pub(super) fn own_part(executed: &str, domain: Option<&str>) -> String {
    let executed = to_wait_for(executed);
    let Some(domain) = domain else { return executed };
    let own = executed.split(',').filter(|gtid| gtid.split('-').next() == Some(domain));
    own.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_is_told_from_what_others_made() {
        let scratch = Scratch::of_this_run();
        assert_eq!(Scratch::left_over(&scratch.name, "0"), Some(scratch.clone()));
        assert_eq!(Scratch::left_over(&scratch.name, "1"), None, "another run is at it");
        for name in ["write_test_results", "write_test_1; x", "term", "WRITE_TEST_1"] {
            assert_eq!(Scratch::left_over(name, "0"), None, "{name}");
        }
        // A lock's name has at most 64 characters on MySQL.
        assert!(scratch.table().len() <= 64, "{}", scratch.table());
    }

    #[test]
    fn keys_are_taken_in_turn() {
        let (first, second) = (KeyClass::new(2, 1), KeyClass::new(2, 2));
        assert_eq!(next_keys(first, 0, 3), [1, 3, 5]);
        assert_eq!(next_keys(second, 5, 1), [6]);
        assert_eq!(next_keys(first, 6, 1), [7]);
        assert_eq!(next_keys(KeyClass::new(3, 3), 5, 1), [6]);
        assert_eq!(next_keys(KeyClass::new(10, 2), 0, 3), [2, 12, 22]);
    }

    #[test]
    fn a_master_is_waited_for_in_its_own_domain() {
        assert_eq!(own_part("1-1-10,2-2-7,11-1-3", Some("1")), "1-1-10");
        assert_eq!(own_part("2-2-7", Some("1")), "");
        assert_eq!(own_part("aa-bb:1-7,\ncc-dd:1", None), "aa-bb:1-7,cc-dd:1");
    }
}
