//! The global variables of a server, with where each of them came from.
//!
//! What a variable is now and what it will be after a restart are two questions. MySQL answers both:
//! `performance_schema.variables_info` says what set the present value, and
//! `performance_schema.persisted_variables` what SET PERSIST has written down. MariaDB says what set the
//! present value (`information_schema.SYSTEM_VARIABLES`, `GLOBAL_VALUE_ORIGIN`) and forgets with
//! SET GLOBAL what the file said.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::monitor::{Columns, Connection, ConnectionError};
use crate::topology::Flavor;

/// <https://dev.mysql.com/doc/refman/8.4/en/performance-schema-variables-info-table.html>; everybody may
/// read these three tables.
const MYSQL: &str = "SELECT g.VARIABLE_NAME AS name, g.VARIABLE_VALUE AS value, \
     i.VARIABLE_SOURCE AS origin, i.VARIABLE_PATH AS path, p.VARIABLE_VALUE AS persisted \
     FROM performance_schema.global_variables g \
     LEFT JOIN performance_schema.variables_info i USING (VARIABLE_NAME) \
     LEFT JOIN performance_schema.persisted_variables p USING (VARIABLE_NAME)";

/// <https://mariadb.com/kb/en/information-schema-system_variables-table/>
const MARIADB: &str = "SELECT VARIABLE_NAME AS name, GLOBAL_VALUE AS value, \
     GLOBAL_VALUE_ORIGIN AS origin, GLOBAL_VALUE_PATH AS path \
     FROM information_schema.SYSTEM_VARIABLES WHERE GLOBAL_VALUE IS NOT NULL";

/// What set the value that a variable has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A line of this file.
    File(String),
    /// An argument of the server's command line, or its environment.
    CommandLine,
    /// SET PERSIST, in an earlier life.
    Persisted,
    /// SET GLOBAL or SET PERSIST, since the server started.
    Statement,
    /// The server does not say.
    Unknown,
}

impl Origin {
    fn of(word: &str, path: Option<String>) -> Self {
        match word {
            "COMPILE-TIME" | "AUTO" | "COMPILED" => Self::Default,
            "CONFIG" | "GLOBAL" | "SERVER" | "EXPLICIT" | "EXTRA" | "USER" | "LOGIN" => {
                Self::File(path.unwrap_or_default())
            }
            "COMMAND-LINE" | "ENVIRONMENT" | "COMMAND_LINE" => Self::CommandLine,
            "PERSISTED" => Self::Persisted,
            "SQL" | "DYNAMIC" => Self::Statement,
            _ => Self::Unknown,
        }
    }
}

/// What a variable will be after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRestart<'a> {
    /// This.
    Value(&'a str),
    /// Whatever the server's files say, which it does not tell: the value of now was set by a statement.
    AsTheFilesSay,
    /// It is not known where the value came from.
    Unknown,
}

/// One global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// What it is.
    pub value: String,
    /// What made it so.
    pub origin: Origin,
    /// What SET PERSIST has written down (MySQL).
    pub persisted: Option<String>,
}

impl Variable {
    /// What it will be after a restart.
    #[must_use]
    pub fn after_restart(&self) -> AfterRestart<'_> {
        match (&self.persisted, &self.origin) {
            (Some(value), _) => AfterRestart::Value(value),
            (None, Origin::Default | Origin::File(_) | Origin::CommandLine) => {
                AfterRestart::Value(&self.value)
            }
            (None, Origin::Persisted | Origin::Statement) => AfterRestart::AsTheFilesSay,
            (None, Origin::Unknown) => AfterRestart::Unknown,
        }
    }
}

/// All global variables by name, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, Variable>);

impl Variables {
    /// Collects them by name.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = (String, Variable)>) -> Self {
        Self(
            all.into_iter().map(|(name, variable)| (name.to_ascii_lowercase(), variable)).collect(),
        )
    }

    /// Reads them.
    pub(super) async fn read(connection: &mut Connection) -> Result<Self, ConnectionError> {
        let question = match connection.dialect().flavor {
            Flavor::MySql => MYSQL,
            Flavor::MariaDb => MARIADB,
        };
        let answers = connection.ask(question).await?;
        let sets = match answers.error {
            None => answers.sets,
            // Without a performance schema: the values, and not where they came from.
            Some(_) => connection.ask("SHOW GLOBAL VARIABLES").await?.all()?,
        };
        Ok(Self::new(sets.iter().flatten().map(|row| {
            let row = Columns(row);
            let variable = Variable {
                value: row.text_or_empty(&["value"]),
                origin: Origin::of(&row.text_or_empty(&["origin"]), row.find(&["path"])),
                persisted: row.find(&["persisted"]),
            };
            (row.text_or_empty(&["name", "Variable_name"]), variable)
        })))
    }

    /// The variable with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.0.get(name)
    }

    /// Its value.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|variable| variable.value.as_str())
    }

    /// Its value as a number.
    #[must_use]
    pub fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        self.text(name)?.parse().ok()
    }

    /// Whether it is there and switched on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(is_on)
    }

    /// The first of these names that the server has: one thing is called differently by the families
    /// (`slave_…`, `replica_…`), and MySQL knows some by both names.
    #[must_use]
    pub fn first_of<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &Variable)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.0.iter().map(|(name, variable)| (name.as_str(), variable))
    }
}

/// The words for "on" of either family's variables.
#[must_use]
pub fn is_on(value: &str) -> bool {
    ["ON", "1", "TRUE", "YES"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(value: &str, origin: &str, persisted: Option<&str>) -> Variable {
        let path = Some("/etc/my.cnf".to_owned());
        let persisted = persisted.map(str::to_owned);
        Variable { value: value.to_owned(), origin: Origin::of(origin, path), persisted }
    }

    #[test]
    fn a_restart_takes_what_was_written_down() {
        for (origin, persisted, after) in [
            ("EXPLICIT", None, AfterRestart::Value("2")),
            ("CONFIG", None, AfterRestart::Value("2")),
            ("COMPILE-TIME", None, AfterRestart::Value("2")),
            ("COMMAND_LINE", None, AfterRestart::Value("2")),
            ("DYNAMIC", Some("1"), AfterRestart::Value("1")),
            ("PERSISTED", Some("2"), AfterRestart::Value("2")),
            ("PERSISTED", None, AfterRestart::AsTheFilesSay), // after RESET PERSIST
            ("DYNAMIC", None, AfterRestart::AsTheFilesSay),
            ("SQL", None, AfterRestart::AsTheFilesSay),
            ("", None, AfterRestart::Unknown),
        ] {
            assert_eq!(variable("2", origin, persisted).after_restart(), after, "{origin}");
        }
    }

    #[test]
    fn names_are_found_in_lower_case_and_by_either_spelling() {
        let all = Variables::new([
            ("READ_ONLY".to_owned(), variable("ON", "SQL", None)),
            ("replica_parallel_workers".to_owned(), variable("4", "COMPILED", None)),
        ]);
        assert!(all.is_on("read_only"));
        assert!(!all.is_on("super_read_only"));
        assert_eq!(all.number::<u32>("replica_parallel_workers"), Some(4));
        let (name, _) = all
            .first_of(&["slave_parallel_threads", "replica_parallel_workers"])
            .expect("one of them");
        assert_eq!(name, "replica_parallel_workers");
    }
}
