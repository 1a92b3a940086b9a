//! The control plane's own connections to the servers: how they are opened, asked, and what their
//! failures mean.
//!
//! A failure here is evidence for a failover, so the one thing this file must get right is *whose*
//! failure it is: nobody listens ([`UnreachableKind::Refused`]), the network is at fault, the server
//! is alive and refuses ([`ConnectionError::Server`]), or this process is short of something
//! ([`ConnectionError::Exhausted`]), which says nothing about any server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, IoError, Opts, OptsBuilder, Row};
use tokio::time::{Instant, timeout};

use super::columns::Columns;
use super::tunnel::Tunnel;
use crate::config;
use crate::tls::MasterTls;
use crate::topology::grants::Privilege;
use crate::topology::{Dialect, ServerAddress, UnreachableKind};

/// Why a connection could not be made, or a statement not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// Nothing answered.
    #[error("{detail}")]
    Unreachable {
        /// How it failed.
        kind: UnreachableKind,
        /// The operating system's words.
        detail: String,
    },
    /// The server answered with an error: it is alive.
    #[error("error {code}: {message}")]
    Server {
        /// The server's code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The server answered something that Tandem does not understand: it is alive too.
    #[error("{0}")]
    Unintelligible(String),
    /// This process ran out of descriptors, ports or memory: no evidence about the server.
    #[error("this machine is short of something: {0}")]
    Exhausted(String),
}

impl ConnectionError {
    fn unreachable(kind: UnreachableKind, detail: impl Into<String>) -> Self {
        Self::Unreachable { kind, detail: detail.into() }
    }

    /// How much the error says for the server being alive. Of several addresses of one name the
    /// liveliest answer counts: `localhost` is refused on `::1` when it is merely slow on 127.0.0.1.
    fn liveliness(&self) -> u8 {
        match self {
            Self::Server { .. } | Self::Unintelligible(_) => 6,
            Self::Exhausted(_) => 5,
            Self::Unreachable { kind, .. } => match kind {
                UnreachableKind::Silent => 4,
                UnreachableKind::Reset => 3,
                UnreachableKind::NoRoute => 2,
                UnreachableKind::Refused => 1,
                UnreachableKind::Unresolvable => 0,
            },
        }
    }
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as K;
        let kind = match error.kind() {
            K::ConnectionRefused | K::NotFound => UnreachableKind::Refused,
            K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::NotConnected
            | K::UnexpectedEof
            | K::InvalidData => UnreachableKind::Reset,
            K::TimedOut => UnreachableKind::Silent,
            K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::PermissionDenied => {
                UnreachableKind::NoRoute
            }
            // What is left on a connect or a read is about this process: EMFILE, ENFILE, ENOBUFS,
            // ENOMEM, EADDRNOTAVAIL (no free local port).
            _ => return Self::Exhausted(error.to_string()),
        };
        Self::unreachable(kind, error.to_string())
    }
}

impl From<mysql_async::Error> for ConnectionError {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Io(IoError::Io(error)) => error.into(),
            mysql_async::Error::Server(error) => {
                Self::Server { code: error.code, message: error.message }
            }
            mysql_async::Error::Driver(DriverError::ConnectionClosed) => {
                Self::unreachable(UnreachableKind::Reset, "the server closed the connection")
            }
            other => Self::Unintelligible(other.to_string()),
        }
    }
}

/// Opens connections as the monitor's account.
#[derive(Clone, Debug)]
pub struct Dialer {
    user: String,
    password: config::Secret,
    tls: MasterTls,
    largest_packet: usize,
}

/// For answers to the control plane's own questions.
const LARGEST_ANSWER: usize = 16 << 20;
/// What a server's `max_allowed_packet` may be at most, and an event of its log with it.
const LARGEST_EVENT: usize = 1 << 30;

impl Dialer {
    /// For the account of `[monitor]`, without encryption.
    #[must_use]
    pub fn new(account: &config::Monitor) -> Self {
        let (user, password) = (account.user.clone(), account.password.clone());
        Self { user, password, tls: MasterTls::disabled(), largest_packet: LARGEST_ANSWER }
    }

    /// For another account than that of `[monitor]`: an administrator's. Without encryption.
    #[must_use]
    pub fn for_login(login: &config::Credentials) -> Self {
        let (user, password) = (login.user.clone(), login.password.clone());
        Self { user, password, tls: MasterTls::disabled(), largest_packet: LARGEST_ANSWER }
    }

    /// The same, for connections that read a binary log.
    #[must_use]
    pub fn for_logs(self) -> Self {
        Self { largest_packet: LARGEST_EVENT, ..self }
    }

    /// The same, encrypted as `tls` says.
    #[must_use]
    pub fn with_tls(self, tls: MasterTls) -> Self {
        Self { tls, ..self }
    }

    /// The account's name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Connects and logs in. A host name is resolved again every time and all of its addresses are
    /// tried, each for its share of `within`, so that one that swallows packets leaves time for
    /// the next. The liveliest failure is the one returned.
    ///
    /// # Errors
    /// Every variant of [`ConnectionError`].
    pub async fn connect(
        &self,
        address: &ServerAddress,
        within: Duration,
    ) -> Result<Connection, ConnectionError> {
        let deadline = Instant::now() + within;
        let targets = match address {
            ServerAddress::Tcp { host, port } => Target::resolve(host, *port, within).await?,
            ServerAddress::Unix(path) => vec![Target::Unix(path.display().to_string())],
        };
        let mut failure = ConnectionError::unreachable(
            UnreachableKind::Unresolvable,
            format!("{address} resolves to no address"),
        );
        for (tried, target) in targets.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(targets.len() - tried).unwrap_or(1);
            let opened = self.open(address, target);
            let error = match timeout(share, opened).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error,
                Err(_) => ConnectionError::unreachable(
                    UnreachableKind::Silent,
                    format!("no answer within {}", humantime::format_duration(round(share))),
                ),
            };
            if error.liveliness() >= failure.liveliness() {
                failure = error;
            }
        }
        Err(failure)
    }

    async fn open(
        &self,
        address: &ServerAddress,
        target: &Target,
    ) -> Result<Connection, ConnectionError> {
        let tunnel = match target {
            Target::Tcp(at) if !self.tls.is_disabled() => Tunnel::dig(*at, &self.tls).await?,
            _ => None,
        };
        let (Some(tunnel), ServerAddress::Tcp { host, .. }) = (tunnel, address) else {
            return Connection::open(self.options(target), target.clone()).await;
        };
        let entrance = Target::Unix(tunnel.path().to_owned());
        let opening = Connection::open(self.options(&entrance), target.clone());
        // Whoever fails first makes the other fail, and has the reason.
        match tokio::join!(tunnel.let_through(&self.tls, host), opening) {
            (Err(ConnectionError::Exhausted(_)), Err(error)) | (Err(error), _) => Err(error),
            (Ok(()), opened) => opened,
        }
    }

    fn options(&self, target: &Target) -> Opts {
        let builder = OptsBuilder::default()
            .user(Some(&self.user))
            .pass(Some(self.password.reveal()))
            // Both given, the driver does not ask the server for them: a round trip less.
            .max_allowed_packet(Some(self.largest_packet))
            .wait_timeout(Some(IDLE_SECONDS))
            .prefer_socket(false)
            .tcp_nodelay(true);
        match target {
            Target::Tcp(at) => builder
                .ip_or_hostname(at.ip().to_string())
                .tcp_port(at.port())
                .resolved_ips(Some(vec![at.ip()])),
            Target::Unix(path) => builder.socket(Some(path.as_str())),
        }
        .into()
    }
}

/// Milliseconds are enough for people.
fn round(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// One address to connect to, after resolution.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Tcp(SocketAddr),
    Unix(String),
}

impl Target {
    /// A resolver that hangs must not eat the whole time, or it would look like a silent server.
    async fn resolve(
        host: &str,
        port: u16,
        within: Duration,
    ) -> Result<Vec<Self>, ConnectionError> {
        let unresolvable = |why: String| {
            ConnectionError::unreachable(
                UnreachableKind::Unresolvable,
                format!("{host} does not resolve: {why}"),
            )
        };
        match timeout(within * 3 / 4, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(found)) => Ok(found.map(Target::Tcp).collect()),
            Ok(Err(error)) => Err(unresolvable(error.to_string())),
            Err(_) => Err(unresolvable("the resolver does not answer".to_owned())),
        }
    }
}

/// How long a server should keep an idle control connection: `wait_timeout` of a server may be
/// short for the sake of its applications.
pub const IDLE_SECONDS: usize = 24 * 60 * 60;

/// What the statements of one packet returned.
#[derive(Debug)]
pub struct Answers {
    /// The rows of each statement that was carried out, in order.
    pub sets: Vec<Vec<Row>>,
    /// The server's error about the statement at index `sets.len()`, which ended the packet.
    pub error: Option<(u16, String)>,
}

impl Answers {
    /// The result sets, when there was no error.
    ///
    /// # Errors
    /// The server's, as [`ConnectionError::Server`].
    pub fn all(self) -> Result<Vec<Vec<Row>>, ConnectionError> {
        match self.error {
            None => Ok(self.sets),
            Some((code, message)) => Err(ConnectionError::Server { code, message }),
        }
    }
}

/// One logged-in control connection.
#[derive(Debug)]
pub struct Connection {
    conn: Conn,
    dialect: Dialect,
    server_id: u32,
    account: String,
    target: Target,
}

impl Connection {
    async fn open(options: Opts, target: Target) -> Result<Self, ConnectionError> {
        let conn = Conn::new(options).await?;
        let unknown = Dialect::of_version("");
        let mut connection =
            Self { conn, dialect: unknown, server_id: 0, account: String::new(), target };
        // The server's own defaults (autocommit, an exotic sql_mode) must not change what the
        // control plane's statements mean.
        let hello = format!(
            "SET SESSION autocommit=1, sql_mode='', wait_timeout={IDLE_SECONDS}; \
             SELECT VERSION() AS version, CURRENT_USER() AS account, @@server_id AS server_id"
        );
        let sets = connection.ask(&hello).await?.all()?;
        let row = sets.get(1).and_then(|rows| rows.first()).map(Columns);
        let row = row.ok_or_else(|| {
            ConnectionError::Unintelligible("the server did not tell its version".to_owned())
        })?;
        connection.dialect = Dialect::of_version(&row.text(&["version"])?);
        connection.account = row.text(&["account"])?;
        connection.server_id = row.number(&["server_id"])?;
        Ok(connection)
    }

    /// The driver's connection, for what is more than statements.
    #[must_use]
    pub fn into_conn(self) -> Conn {
        self.conn
    }

    /// The server's family and version.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// `CONNECTION_ID()`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// `@@server_id` at the time of the login.
    #[must_use]
    pub fn server_id(&self) -> u32 {
        self.server_id
    }

    /// Which account of the server the login matched, as `CURRENT_USER()` writes it: `user@host`.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The statement that allows this account what `privilege` stands for.
    #[must_use]
    pub fn grant(&self, privilege: Privilege) -> String {
        privilege.grant(self.dialect, &self.account)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Sends the statements in one packet and reads all that comes back.
    ///
    /// # Errors
    /// When the connection broke; an error of the server is in the [`Answers`].
    pub async fn ask(&mut self, statements: &str) -> Result<Answers, ConnectionError> {
        let mut answers = Answers { sets: Vec::new(), error: None };
        let mut result = match self.conn.query_iter(statements).await {
            Ok(result) => result,
            Err(mysql_async::Error::Server(error)) => {
                answers.error = Some((error.code, error.message));
                return Ok(answers);
            }
            Err(error) => return Err(error.into()),
        };
        loop {
            // An error of the next statement hides behind an empty result, and only asking for its
            // rows brings it out.
            let more = !result.is_empty();
            match result.collect::<Row>().await {
                Ok(rows) if more => answers.sets.push(rows),
                Ok(_) => return Ok(answers),
                Err(mysql_async::Error::Server(error)) => {
                    answers.error = Some((error.code, error.message));
                    return Ok(answers);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(error: io::Error) -> Option<UnreachableKind> {
        match ConnectionError::from(error) {
            ConnectionError::Unreachable { kind, .. } => Some(kind),
            _ => None,
        }
    }

    #[test]
    fn the_kernels_words_are_told_apart() {
        use UnreachableKind::{NoRoute, Refused, Reset, Silent};
        for (errno, kind) in [
            (111, Some(Refused)), // ECONNREFUSED
            (2, Some(Refused)),   // ENOENT: no such socket
            (104, Some(Reset)),   // ECONNRESET
            (32, Some(Reset)),    // EPIPE
            (110, Some(Silent)),  // ETIMEDOUT
            (113, Some(NoRoute)), // EHOSTUNREACH
            (101, Some(NoRoute)), // ENETUNREACH
            (24, None),           // EMFILE: this process's own trouble
            (99, None),           // EADDRNOTAVAIL: likewise
        ] {
            assert_eq!(kind_of(io::Error::from_raw_os_error(errno)), kind, "errno {errno}");
        }
        assert_eq!(kind_of(io::ErrorKind::UnexpectedEof.into()), Some(Reset));
    }

    #[test]
    fn any_error_of_the_server_is_an_answer() {
        for code in [1040, 1045, 1129, 1130, 1203, 1226] {
            let error = mysql_async::Error::Server(mysql_async::ServerError {
                code,
                message: "no".to_owned(),
                state: "HY000".to_owned(),
            });
            assert_eq!(
                ConnectionError::from(error),
                ConnectionError::Server { code, message: "no".to_owned() }
            );
        }
    }

    fn dialer() -> Dialer {
        let account = config::Monitor { user: "tandem".to_owned(), ..Default::default() };
        Dialer::new(&account)
    }

    #[tokio::test]
    async fn where_nobody_listens_is_refused() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("its address").port()
        };
        let directory = tempfile::tempdir().expect("a directory");
        for address in [
            ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port },
            ServerAddress::Unix(directory.path().join("none.sock")),
        ] {
            let error =
                dialer().connect(&address, Duration::from_secs(10)).await.expect_err("refused");
            assert!(
                matches!(
                    error,
                    ConnectionError::Unreachable { kind: UnreachableKind::Refused, .. }
                ),
                "{address}: {error:?}"
            );
        }
    }

    /// A frozen server's kernel still accepts: only the silence after that tells.
    #[tokio::test]
    async fn a_backlog_that_accepts_is_silent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let address = ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port };
        let error =
            dialer().connect(&address, Duration::from_millis(50)).await.expect_err("silent");
        assert!(matches!(
            error,
            ConnectionError::Unreachable { kind: UnreachableKind::Silent, .. }
        ));
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_is_reset() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let closing = tokio::spawn(async move { drop(listener.accept().await) });
        let address = ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port };
        let error = dialer().connect(&address, Duration::from_secs(10)).await.expect_err("closed");
        assert!(
            matches!(error, ConnectionError::Unreachable { kind: UnreachableKind::Reset, .. }),
            "{error:?}"
        );
        closing.await.expect("the peer ended");
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_says_so() {
        let address = ServerAddress::Tcp { host: "no-such-host.invalid".to_owned(), port: 3306 };
        let error = dialer().connect(&address, Duration::from_secs(60)).await.expect_err("no name");
        assert!(matches!(
            error,
            ConnectionError::Unreachable { kind: UnreachableKind::Unresolvable, .. }
        ));
    }

    #[test]
    fn of_several_addresses_the_liveliest_counts() {
        let silent = ConnectionError::unreachable(UnreachableKind::Silent, "");
        let refused = ConnectionError::unreachable(UnreachableKind::Refused, "");
        let says_no = ConnectionError::Server { code: 1040, message: String::new() };
        assert!(silent.liveliness() > refused.liveliness());
        assert!(says_no.liveliness() > silent.liveliness());
    }
}
