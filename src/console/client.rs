//! A connection to a running proxy's console, for the commands that ask one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Value};

use crate::config::Admin;
use crate::topology::ServerAddress;

/// For the connection and the login. Answers take as long as they take: an order is answered when it
/// is carried out.
const CONNECT: Duration = Duration::from_secs(5);

/// `ER_ACCESS_DENIED_ERROR`
const ACCESS_DENIED: u16 = 1045;

/// Larger than any answer; set so that the client need not ask.
const MAX_PACKET: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// `admin.console = "off"`
    #[error(
        "the console is switched off (admin.console = \"off\"), so that nobody can ask the proxy; \
         http://…/status may still be there (admin.http)"
    )]
    Off,
    /// Nobody, or no proxy, is there.
    #[error(
        "no proxy answers at {address} ({reason}). Another address: admin.console in proxy.toml \
         (-c), or TANDEM_ADMIN__CONSOLE. To start one: tandem -c proxy.toml"
    )]
    Unreachable {
        /// What was tried.
        address: ServerAddress,
        /// What came of it.
        reason: String,
    },
    /// Wrong user or password.
    #[error(
        "the proxy at {address} does not let `{user}` in; its user and password are admin.user and \
         admin.password of its proxy.toml (TANDEM_ADMIN__USER, TANDEM_ADMIN__PASSWORD)"
    )]
    Denied {
        /// What was tried.
        address: ServerAddress,
        /// As whom.
        user: String,
    },
    /// The proxy refuses: its words.
    #[error("{words}")]
    Refused {
        /// Why.
        words: String,
    },
    /// The connection broke. An order that was given is carried out all the same.
    #[error(
        "the connection to the proxy at {address} broke ({reason}); what was ordered goes on while \
         the proxy runs: see `tandem status`"
    )]
    Broken {
        /// Where it led to.
        address: ServerAddress,
        /// Why.
        reason: String,
    },
}

/// One row of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(HashMap<String, Option<String>>);

impl Row {
    /// The value in this column; `None` for NULL.
    pub(crate) fn value(&self, column: &str) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// The value in this column; empty for NULL.
    pub(crate) fn text(&self, column: &str) -> &str {
        self.value(column).unwrap_or_default()
    }

    /// A row with these fields.
    #[cfg(test)]
    pub(crate) fn of(fields: &[(&str, Option<&str>)]) -> Self {
        let field =
            |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        Self(fields.iter().map(field).collect())
    }
}

/// A console that lets us in.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Conn,
    address: ServerAddress,
}

impl Client {
    /// Logs in.
    pub(crate) async fn connect(admin: &Admin) -> Result<Self, AskError> {
        let address = reachable(admin.console.as_ref().ok_or(AskError::Off)?);
        let unreachable = |reason| AskError::Unreachable { address: address.clone(), reason };
        match tokio::time::timeout(CONNECT, Conn::new(options(&address, admin))).await {
            Ok(Ok(connection)) => Ok(Self { connection, address }),
            Ok(Err(mysql_async::Error::Server(error))) if error.code == ACCESS_DENIED => {
                Err(AskError::Denied { address, user: admin.user.clone() })
            }
            // Its own words for it are long, and name the address once more.
            Ok(Err(mysql_async::Error::Io(mysql_async::IoError::Io(error)))) => {
                Err(unreachable(error.to_string()))
            }
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("nothing within {} s", CONNECT.as_secs()))),
        }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// The answer to `statement`.
    pub(crate) async fn ask(&mut self, statement: &str) -> Result<Vec<Row>, AskError> {
        let rows: Vec<mysql_async::Row> =
            self.connection.query(statement).await.map_err(|error| match error {
                mysql_async::Error::Server(error) => AskError::Refused { words: error.message },
                other => {
                    AskError::Broken { address: self.address.clone(), reason: other.to_string() }
                }
            })?;
        Ok(rows.into_iter().map(texts).collect())
    }
}

/// A proxy that listens everywhere is reached on this machine.
fn reachable(address: &ServerAddress) -> ServerAddress {
    match address {
        ServerAddress::Tcp { host, port } => {
            let host = match host.parse() {
                Ok(IpAddr::V4(ip)) if ip.is_unspecified() => "127.0.0.1".to_owned(),
                Ok(IpAddr::V6(ip)) if ip.is_unspecified() => "::1".to_owned(),
                _ => host.clone(),
            };
            ServerAddress::Tcp { host, port: *port }
        }
        ServerAddress::Unix(path) => ServerAddress::Unix(path.clone()),
    }
}

fn options(address: &ServerAddress, admin: &Admin) -> Opts {
    let password = Some(admin.password.reveal()).filter(|password| !password.is_empty());
    let options = OptsBuilder::default()
        .user(Some(&admin.user))
        .pass(password)
        .prefer_socket(false)
        .max_allowed_packet(Some(MAX_PACKET))
        .wait_timeout(Some(28_800));
    match address {
        ServerAddress::Tcp { host, port } => options.ip_or_hostname(host).tcp_port(*port).into(),
        ServerAddress::Unix(path) => options.socket(Some(path.display().to_string())).into(),
    }
}

fn texts(row: mysql_async::Row) -> Row {
    let names: Vec<String> =
        row.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    let text = |value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true)),
    };
    Row(names.into_iter().zip(row.unwrap().into_iter().map(text)).collect())
}
