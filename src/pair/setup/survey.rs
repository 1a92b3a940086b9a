//! Reads what the plan is made of: every server's state, whether two names are one server, and what
//! differs between servers that do not replicate to each other. Changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::data;
use super::joining::{self, Comparison};
use super::reading::{Reading, addresses};
use super::refusal::Refusal;
use super::request::Request;
use super::state::{Data, State};
use crate::config::Credentials;
use crate::monitor::{Columns, Connection, ConnectionError, Dialer};
use crate::tls::MasterTls;
use crate::topology::{Flavor, Server, ServerAddress};

/// For a server to answer a login.
const LOGIN: Duration = Duration::from_secs(10);

/// Why a server could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurveyError {
    /// It does not answer.
    #[error("{server}: nobody answers at {address}: {reason}")]
    Unreachable {
        /// Its name.
        server: String,
        /// Where it should be.
        address: ServerAddress,
        /// The operating system's words.
        reason: String,
    },
    /// It does not let the administrator in.
    #[error(
        "{server} refuses the administrator {user}: {reason}. Give the login of {server} in \
         TANDEM_SETUP__USER and TANDEM_SETUP__PASSWORD, or in those of {server} alone"
    )]
    LoginRefused {
        /// Its name.
        server: String,
        /// The administrator.
        user: String,
        /// The server's words.
        reason: String,
    },
    /// It does not answer a question.
    #[error("{server} could not be asked: {reason}")]
    Unasked {
        /// Its name.
        server: String,
        /// Its words, or the operating system's.
        reason: String,
    },
}

/// How servers are reached, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// All of them, masters first.
    pub servers: Vec<Server>,
    /// The administrator of each.
    pub logins: Vec<Credentials>,
    /// How connections are encrypted.
    pub tls: MasterTls,
}

impl Access {
    /// A connection to the server at `place`, as its administrator.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub(super) async fn connect(&self, place: usize) -> Result<Connection, SurveyError> {
        let (server, login) = (&self.servers[place], &self.logins[place]);
        self.log_in(server, login).await.map_err(|error| match error {
            // MySQL has a user that does not exist log in by a plugin that it draws by lot, so that nobody
            // finds out; the driver may not know it.
            ConnectionError::Server { .. } | ConnectionError::Unintelligible(_) => {
                SurveyError::LoginRefused {
                    server: server.name.clone(),
                    user: login.user.clone(),
                    reason: error.to_string(),
                }
            }
            error => SurveyError::Unreachable {
                server: server.name.clone(),
                address: server.address.clone(),
                reason: error.to_string(),
            },
        })
    }

    /// Logs in as somebody else.
    pub(super) async fn log_in(
        &self,
        server: &Server,
        login: &Credentials,
    ) -> Result<Connection, ConnectionError> {
        let dialer = Dialer::for_login(login).with_tls(self.tls.clone());
        dialer.connect(&server.address, LOGIN).await
    }

    fn unasked(&self, place: usize) -> impl Fn(ConnectionError) -> SurveyError {
        let server = self.servers[place].name.clone();
        move |error| SurveyError::Unasked { server: server.clone(), reason: error.to_string() }
    }
}

/// Everything that was read, and the connections that it was read over.
#[derive(Debug)]
pub(super) struct Survey {
    /// Of each server.
    pub states: Vec<State>,
    /// Of servers that do not replicate to each other, and hold data.
    pub comparisons: Vec<Comparison>,
    /// To each server.
    pub connections: Vec<Connection>,
}

impl Survey {
    /// Looks at all servers.
    ///
    /// # Errors
    /// Every server that could not be looked at, or the names of one server.
    pub(super) async fn take(
        access: &Access,
        request: &Request,
        try_password: bool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, Failure> {
        let (mut connections, mut failed) = (Vec::new(), Vec::new());
        for place in 0..access.servers.len() {
            match access.connect(place).await {
                Ok(connection) => connections.push(connection),
                Err(error) => failed.push(error),
            }
        }
        if !failed.is_empty() {
            return Err(Failure::Unseen(failed));
        }
        let twice = one_server_twice(access, &mut connections).await.map_err(Failure::one)?;
        if !twice.is_empty() {
            return Err(Failure::Refused(twice));
        }
        let addresses = resolve(&access.servers).await;
        let mut states = Vec::new();
        for (place, connection) in connections.iter_mut().enumerate() {
            let reading = Reading { access, place, request, try_password, addresses: &addresses };
            let state = reading.state(connection).await;
            states.push(state.map_err(|error| Failure::one(access.unasked(place)(error)))?);
        }
        let mut survey = Self { states, comparisons: Vec::new(), connections };
        survey.compare(access, tell).await.map_err(Failure::one)?;
        Ok(survey)
    }

    async fn compare(
        &mut self,
        access: &Access,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), SurveyError> {
        let flavor = self.states.first().map(State::flavor);
        let comparable = self
            .states
            .iter()
            .all(|state| Some(state.flavor()) == flavor && state.lacks.is_empty());
        // What is refused anyway is not read from end to end before.
        if !comparable {
            return Ok(());
        }
        for places @ (one, two) in joining::to_compare(&self.states) {
            let (first, second) = (&self.states[one], &self.states[two]);
            let mut differences = data::missing(&first.data, &second.data);
            tell(&format!(
                "comparing {} and {}: {} are read on both …",
                first.name(),
                second.name(),
                first.data
            ));
            let mut sums = Vec::new();
            let mut written = None;
            for place in [one, two] {
                let (both, asked) = (common(&first.data, &second.data), access.unasked(place));
                let connection = &mut self.connections[place];
                let before = log_end(connection).await.map_err(&asked)?;
                sums.push(data::sums(connection, &both).await.map_err(&asked)?);
                if log_end(connection).await.map_err(&asked)? != before {
                    written = Some(place);
                }
            }
            if let [first, second] = sums.as_slice() {
                differences.extend(data::differing(first, second));
            }
            self.comparisons.push(Comparison { places, differences, written });
        }
        Ok(())
    }
}

/// Why there is no survey.
#[derive(Debug)]
pub(super) enum Failure {
    /// These could not be looked at.
    Unseen(Vec<SurveyError>),
    /// The names are wrong.
    Refused(Vec<Refusal>),
}

impl Failure {
    fn one(error: SurveyError) -> Self {
        Self::Unseen(vec![error])
    }
}

/// The tables that both have.
fn common(first: &Data, second: &Data) -> Data {
    let tables = |(schema, one): (&String, &BTreeSet<String>)| {
        let two = second.0.get(schema)?;
        Some((schema.clone(), one.intersection(two).cloned().collect()))
    };
    Data(first.0.iter().filter_map(tables).collect())
}

/// Where the binary log ends: it is elsewhere when something was written. Empty without a log.
async fn log_end(connection: &mut Connection) -> Result<String, ConnectionError> {
    let dialect = connection.dialect();
    // Renamed in 8.2.
    let question = match dialect.flavor {
        Flavor::MySql if dialect.version >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
        _ => "SHOW MASTER STATUS",
    };
    let sets = connection.ask(question).await?.all()?;
    let row = sets.iter().flatten().next().map(Columns);
    let text = |name: &str| row.map(|row| row.text_or_empty(&[name])).unwrap_or_default();
    Ok(format!("{} {}", text("File"), text("Position")))
}

/// Two names of one server: what is locked over one connection is seen over the other.
async fn one_server_twice(
    access: &Access,
    connections: &mut [Connection],
) -> Result<Vec<Refusal>, SurveyError> {
    let mut found = Vec::new();
    for one in 0..connections.len() {
        // The id of a connection is a server's own; with the address of the process it is nobody else's.
        let id = connections[one].id();
        let lock = format!("'tandem.setup.{}.{one}.{id}'", std::process::id());
        let ask = format!("SELECT GET_LOCK({lock}, 0) AS got");
        connections[one].ask(&ask).await.map_err(access.unasked(one))?;
        for (two, connection) in connections.iter_mut().enumerate().skip(one + 1) {
            let ask = format!("SELECT IS_USED_LOCK({lock}) AS used");
            let answers = connection.ask(&ask).await.map_err(access.unasked(two))?;
            let row = answers.sets.iter().flatten().next().map(Columns);
            if row.is_some_and(|row| row.find(&["used"]).is_some()) {
                let named = |place: usize| {
                    let server = &access.servers[place];
                    (server.name.clone(), server.address.clone())
                };
                found.push(Refusal::OneServerTwice { first: named(one), second: named(two) });
            }
        }
        let ask = format!("SELECT RELEASE_LOCK({lock})");
        connections[one].ask(&ask).await.map_err(access.unasked(one))?;
    }
    Ok(found)
}

/// The addresses of each server's host.
async fn resolve(servers: &[Server]) -> Vec<BTreeSet<IpAddr>> {
    let mut all = Vec::new();
    for server in servers {
        all.push(match &server.address {
            ServerAddress::Tcp { host, .. } => addresses(host).await,
            ServerAddress::Unix(_) => BTreeSet::new(),
        });
    }
    all
}
