//! Servers as the configuration names them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// A server's place in the configuration: masters first, in order of preference, then replicas.
///
/// It indexes [`Servers`] and is stable for the life of the process, so that routing tables,
/// observations and sessions can name a server in two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u16);

impl ServerId {
    /// The index into [`Servers`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A host name or address literal, and a port. Names are resolved again for every connect.
    Tcp {
        /// Host name, IPv4 or IPv6 literal (without brackets).
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why a text is not an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// Neither `host:port` nor `unix:/path`.
    #[error("`{0}` is not an address; write `host:port` or `unix:/path`")]
    Malformed(String),
    /// The part after the last colon is no port number.
    #[error("`{0}` has no valid port after the colon (1 to 65535)")]
    Port(String),
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(AddressError::Malformed(text.to_owned()));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(AddressError::Malformed(text.to_owned()));
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(AddressError::Malformed(text.to_owned()));
        }
        match port.parse::<u16>() {
            Ok(port) if port != 0 => Ok(Self::Tcp { host: host.to_owned(), port }),
            _ => Err(AddressError::Port(text.to_owned())),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a server is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A member of the pair: it may become the active master.
    Master,
    /// A read-only slave.
    Replica,
}

/// One configured server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its place in the configuration.
    pub id: ServerId,
    /// Its name, unique, as operators write it.
    pub name: String,
    /// Where it listens.
    pub address: ServerAddress,
    /// Master or replica.
    pub role: Role,
}

/// All configured servers. Cheap to clone: every part of the process holds the same list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers(Arc<[Server]>);

impl Servers {
    /// Numbers the given servers in order: `masters` first, then `replicas`, each `(name, address)`.
    #[must_use]
    pub fn new(
        masters: impl IntoIterator<Item = (String, ServerAddress)>,
        replicas: impl IntoIterator<Item = (String, ServerAddress)>,
    ) -> Self {
        let masters = masters.into_iter().map(|(name, address)| (name, address, Role::Master));
        let replicas = replicas.into_iter().map(|(name, address)| (name, address, Role::Replica));
        Self(
            (0u16..)
                .zip(masters.chain(replicas))
                .map(|(id, (name, address, role))| Server { id: ServerId(id), name, address, role })
                .collect(),
        )
    }

    /// The server with this id. Ids are only ever made by [`Servers::new`].
    #[must_use]
    pub fn get(&self, id: ServerId) -> &Server {
        &self.0[id.index()]
    }

    /// The name of the server with this id.
    #[must_use]
    pub fn name(&self, id: ServerId) -> &str {
        &self.get(id).name
    }

    /// The server that the operator calls `name`.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Server> {
        self.0.iter().find(|server| server.name == name)
    }

    /// Every server, masters first.
    pub fn iter(&self) -> impl Iterator<Item = &Server> {
        self.0.iter()
    }

    /// The masters, in order of preference.
    pub fn masters(&self) -> impl Iterator<Item = &Server> {
        self.0.iter().filter(|server| server.role == Role::Master)
    }

    /// The replicas, in their order.
    pub fn replicas(&self) -> impl Iterator<Item = &Server> {
        self.0.iter().filter(|server| server.role == Role::Replica)
    }

    /// How many servers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_print_alike() {
        for text in ["10.0.0.1:3306", "db.example:3307", "[::1]:3306", "unix:/run/m.sock"] {
            let address: ServerAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for text in ["", "localhost", ":3306", "unix:", "h:0", "h:70000", "h:x"] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text} was taken for an address");
        }
    }
}
