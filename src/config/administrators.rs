//! Who sets the servers up: logins that `tandem setup` and `tandem check` use and nobody stores.
//!
//! A proxy faces clients for years and needs an account that can do little; setting servers up is done
//! once, by somebody who may do everything. So an administrator's login is no part of `proxy.toml`: it
//! comes from the environment of one command, from a file that a variable names, or from the terminal,
//! and is gone with the process.
//!
//! | variable | what it is |
//! |---|---|
//! | `TANDEM_SETUP__USER` | the administrator of every server |
//! | `TANDEM_SETUP__PASSWORD`, `…__PASSWORD_FILE` | his password, or the file that holds it |
//! | `TANDEM_SETUP__M1__USER`, `…__PASSWORD`, `…__PASSWORD_FILE` | what differs on the server `m1`: its name in capitals, `_` for each `-` and `.` |
//! | `TANDEM_SETUP__REPLICATION_USER`, `…_PASSWORD`, `…_PASSWORD_FILE` | the account with which servers receive from each other |
//!
//! A variable that begins so and is none of these is refused, with the nearest one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use super::keys;
use super::{ConfigError, ConfigErrors, Credentials, Place, Secret};
use crate::topology::{Server, Servers};

/// What the variables begin with: no keys of `proxy.toml`, which leaves them to this file.
pub(super) const SETUP: &str = "TANDEM_SETUP__";

/// What may follow the beginning, and the beginning of one server.
const OF_A_SERVER: [&str; 3] = ["USER", "PASSWORD", "PASSWORD_FILE"];
/// What may follow the beginning only.
const OF_REPLICATION: [&str; 3] =
    ["REPLICATION_USER", "REPLICATION_PASSWORD", "REPLICATION_PASSWORD_FILE"];

/// Why nobody can log in to set servers up.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A login is not given, and there is nobody to ask.
    #[error(
        "no administrator's login for {server}: {missing} is not set, and there is no terminal to ask at; \
         set TANDEM_SETUP__USER and TANDEM_SETUP__PASSWORD (or TANDEM_SETUP__PASSWORD_FILE), or for \
         {server} alone {own}__USER and {own}__PASSWORD"
    )]
    Missing {
        /// The server's name.
        server: String,
        /// The variable.
        missing: String,
        /// What the server's own variables begin with.
        own: String,
    },
    /// The terminal gave no answer.
    #[error("the terminal gave no answer: {0}")]
    Terminal(io::Error),
}

/// Somebody who can be asked for what is not given.
pub trait Questions {
    /// Asks for a user's name; an empty answer takes `default`.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] when there is nobody to ask, and whatever the terminal says.
    fn user(&mut self, of: &str, default: &str) -> io::Result<String>;

    /// Asks for a password, without showing it.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    fn password(&mut self, user: &str, of: &str) -> io::Result<Secret>;
}

/// The terminal that standard input is; nobody, if it is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal;

impl Questions for Terminal {
    fn user(&mut self, of: &str, default: &str) -> io::Result<String> {
        if !io::stdin().is_terminal() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        eprint!("Administrator of {of} [{default}]: ");
        let mut answer = String::new();
        if io::stdin().read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answer = answer.trim();
        Ok(if answer.is_empty() { default } else { answer }.to_owned())
    }

    fn password(&mut self, user: &str, of: &str) -> io::Result<Secret> {
        if !io::stdin().is_terminal() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        rpassword::prompt_password(format!("Password of {user} on {of}: ")).map(Secret::new)
    }
}

/// What is known of one login.
#[derive(Clone, Debug, Default)]
struct Part {
    user: Option<String>,
    password: Option<Secret>,
}

/// The logins of the administrators of all servers.
#[derive(Clone, Debug, Default)]
pub struct Administrators {
    /// On every server that has no own.
    everywhere: Part,
    /// By the server's name as variables have it.
    own: BTreeMap<String, Part>,
    replication: Part,
}

impl Administrators {
    /// Reads the variables that begin with `TANDEM_SETUP__`, and the files that they name.
    ///
    /// # Errors
    /// Every mistake: an unknown variable, a password given twice, a file that cannot be read.
    pub fn read(
        servers: &Servers,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        let mut given = BTreeMap::new();
        for (name, value) in environment {
            if let Some(key) = name.to_str().and_then(|name| name.strip_prefix(SETUP)) {
                given.insert(key.to_owned(), value);
            }
        }
        let mut reader = Reader { given, problems: Vec::new() };
        let mut administrators = Self {
            everywhere: reader.part(""),
            own: BTreeMap::new(),
            replication: reader.part("REPLICATION_"),
        };
        for server in servers.iter() {
            let name = variable_name(server);
            let part = reader.part(&format!("{name}__"));
            administrators.own.insert(name, part);
        }
        reader.refuse_the_rest(servers);
        if reader.problems.is_empty() {
            Ok(administrators)
        } else {
            Err(ConfigErrors(reader.problems))
        }
    }

    /// The login of `server`'s administrator; `None` if its user or its password is not given.
    #[must_use]
    pub fn of(&self, server: &Server) -> Option<Credentials> {
        let own = self.own.get(&variable_name(server));
        let user = own.and_then(|own| own.user.clone()).or_else(|| self.everywhere.user.clone())?;
        // Somebody else's password is no guess at this one's.
        let theirs = own.is_none_or(|own| own.user.is_none() || own.user == self.everywhere.user);
        let password = own
            .and_then(|own| own.password.clone())
            .or_else(|| self.everywhere.password.clone().filter(|_| theirs))?;
        Some(Credentials { user, password })
    }

    /// Asks for what is not given, until every server has a login: once for all that have no own.
    ///
    /// # Errors
    /// When there is nobody to ask, or no answer.
    pub fn ask(
        &mut self,
        servers: &Servers,
        questions: &mut dyn Questions,
    ) -> Result<(), LoginError> {
        for server in servers.iter() {
            while self.of(server).is_none() {
                self.ask_for(server, questions).map_err(|error| match error.kind() {
                    io::ErrorKind::Unsupported => self.missing(server),
                    _ => LoginError::Terminal(error),
                })?;
            }
        }
        Ok(())
    }

    /// The account with which servers receive from each other: its name and its password, each if it is
    /// given.
    #[must_use]
    pub fn replication(&self) -> (Option<&str>, Option<&Secret>) {
        (self.replication.user.as_deref(), self.replication.password.as_ref())
    }

    /// One question, about the first thing that is missing.
    fn ask_for(&mut self, server: &Server, questions: &mut dyn Questions) -> io::Result<()> {
        const ALL: &str = "all servers";
        let own = self.own.entry(variable_name(server)).or_default();
        match (&own.user, &self.everywhere.user) {
            (Some(user), everywhere) if everywhere.as_ref() != Some(user) => {
                own.password = Some(questions.password(user, &server.name)?);
            }
            (_, Some(user)) => self.everywhere.password = Some(questions.password(user, ALL)?),
            (_, None) => self.everywhere.user = Some(questions.user(ALL, "root")?),
        }
        Ok(())
    }

    fn missing(&self, server: &Server) -> LoginError {
        let own = format!("{SETUP}{}", variable_name(server));
        let (name, user) = (server.name.clone(), self.everywhere.user.as_ref());
        let missing =
            match (self.own.get(&variable_name(server)).and_then(|own| own.user.as_ref()), user) {
                (None, None) => format!("{SETUP}USER"),
                (Some(own_user), user) if Some(own_user) != user => format!("{own}__PASSWORD"),
                _ => format!("{SETUP}PASSWORD"),
            };
        LoginError::Missing { server: name, missing, own }
    }
}

/// A server's name as variables have it: `DB_1` for `db-1`.
fn variable_name(server: &Server) -> String {
    server.name.to_uppercase().replace(['-', '.'], "_")
}

/// What is given, as long as nobody has asked for it.
struct Reader {
    given: BTreeMap<String, OsString>,
    problems: Vec<ConfigError>,
}

impl Reader {
    /// The login whose variables begin so.
    fn part(&mut self, beginning: &str) -> Part {
        let user = self.text(&format!("{beginning}USER")).filter(|user| !user.is_empty());
        let (key, file_key) = (format!("{beginning}PASSWORD"), format!("{beginning}PASSWORD_FILE"));
        let password = match (self.text(&key), self.text(&file_key)) {
            (Some(_), Some(_)) => {
                let (first, second) = (place(&key), place(&file_key));
                let key = "password".to_owned();
                self.problems.push(ConfigError::SecretTwice { first, second, key });
                None
            }
            (Some(password), None) => Some(Secret::new(password)),
            (None, Some(path)) => self.file(&file_key, path.into()),
            (None, None) => None,
        };
        Part { user, password }
    }

    fn file(&mut self, key: &str, path: PathBuf) -> Option<Secret> {
        Secret::read(&path)
            .map_err(|error| {
                let (place, reason) = (place(key), error.to_string());
                let key = "password_file".to_owned();
                self.problems.push(ConfigError::SecretUnreadable { place, key, path, reason });
            })
            .ok()
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.given
            .remove(key)?
            .into_string()
            .map_err(|_| {
                self.problems.push(ConfigError::BadValue {
                    place: place(key),
                    key: key.to_lowercase(),
                    expected: "UTF-8".to_owned(),
                    found: "other bytes".to_owned(),
                });
            })
            .ok()
    }

    /// What nobody has asked for is a mistake: a password that is not used looks like a wrong one.
    fn refuse_the_rest(&mut self, servers: &Servers) {
        let names: Vec<String> = servers.iter().map(variable_name).collect();
        let own = names.iter().flat_map(|name| OF_A_SERVER.map(|key| format!("{name}__{key}")));
        let everywhere = OF_A_SERVER.into_iter().chain(OF_REPLICATION).map(str::to_owned);
        let known: Vec<String> = everywhere.chain(own).collect();
        for key in std::mem::take(&mut self.given).into_keys() {
            let alike = known.iter().map(|known| (known.as_str(), known.as_str()));
            let nearest = keys::most_alike(&key, alike).map(|nearest| format!("{SETUP}{nearest}"));
            let (place, key) = (place(&key), format!("{SETUP}{key}"));
            self.problems.push(ConfigError::UnknownKey { place, key, nearest });
        }
    }
}

fn place(key: &str) -> Place {
    Place::Variable(format!("{SETUP}{key}").into())
}

#[cfg(test)]
#[path = "administrators_tests.rs"]
mod tests;
