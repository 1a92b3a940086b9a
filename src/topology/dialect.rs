//! Which family and version a server is of, and what that changes in the statements that the control
//! plane sends.

use super::Flavor;

/// A server's family and version, as its `VERSION()` tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The family.
    pub flavor: Flavor,
    /// Major, minor, patch.
    pub version: (u16, u16, u16),
}

impl Dialect {
    /// Reads a version string, of the greeting (`5.5.5-10.11.19-MariaDB`) or of `VERSION()`
    /// (`10.11.19-MariaDB-log`, `9.7.4`). MariaDB below 11.0 puts `5.5.5-` before its own version
    /// in the greeting, so that old replicas accept it.
    #[must_use]
    pub fn of_version(text: &str) -> Self {
        let flavor = if text.contains("MariaDB") { Flavor::MariaDb } else { Flavor::MySql };
        let own = match flavor {
            Flavor::MariaDb => text.strip_prefix("5.5.5-").unwrap_or(text),
            Flavor::MySql => text,
        };
        let mut numbers =
            own.split(|c: char| !c.is_ascii_digit()).map_while(|digits| digits.parse::<u16>().ok());
        let mut next = || numbers.next().unwrap_or(0);
        Self { flavor, version: (next(), next(), next()) }
    }

    /// The statement that lists the replication channels, a row each.
    ///
    /// MariaDB's `SHOW SLAVE STATUS` shows the default connection only; MySQL renamed its own in
    /// 8.0.22 and removed the old name in 8.4.
    #[must_use]
    pub fn replication_status(self) -> &'static str {
        match self.flavor {
            Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
            Flavor::MySql if self.version >= (8, 0, 22) => "SHOW REPLICA STATUS",
            Flavor::MySql => "SHOW SLAVE STATUS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_strings_of_both_families() {
        for (text, flavor, version) in [
            ("5.5.5-10.11.19-MariaDB-0+deb12u1-log", Flavor::MariaDb, (10, 11, 19)),
            ("11.8.6-MariaDB", Flavor::MariaDb, (11, 8, 6)),
            ("9.7.4", Flavor::MySql, (9, 7, 4)),
            ("8.0.36-28-percona", Flavor::MySql, (8, 0, 36)),
            ("strange", Flavor::MySql, (0, 0, 0)),
        ] {
            assert_eq!(Dialect::of_version(text), Dialect { flavor, version }, "{text}");
        }
    }

    #[test]
    fn mysql_renamed_its_status_statement() {
        let show = |version| Dialect { flavor: Flavor::MySql, version }.replication_status();
        assert_eq!(show((8, 0, 21)), "SHOW SLAVE STATUS");
        assert_eq!(show((8, 0, 22)), "SHOW REPLICA STATUS");
        assert_eq!(show((9, 7, 4)), "SHOW REPLICA STATUS");
    }
}
