//! A bound address.

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::workers::Workers;
use crate::topology::ServerAddress;

/// Connections that the kernel keeps for us while we are busy. A failover brings all clients at once.
const BACKLOG: i32 = 4096;

/// Who may connect to a Unix socket: everybody on this machine, as with mysqld's. Who gets in is the
/// servers' decision; whoever wants fewer to knock puts the socket into a directory of theirs.
const SOCKET_MODE: u32 = 0o777;

/// After an `accept` that failed: most often for want of file descriptors, which others must give
/// back first.
const PAUSE: Duration = Duration::from_millis(100);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{address} is already in use: another process listens there")]
    InUse {
        /// The address.
        address: ServerAddress,
    },
    /// It names no address of this machine.
    #[error("{address} cannot be resolved: {error}")]
    Unresolvable {
        /// The address.
        address: ServerAddress,
        /// The resolver's words.
        error: io::Error,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {error}")]
    Other {
        /// The address.
        address: ServerAddress,
        /// The system's words.
        error: io::Error,
    },
}

/// A socket that clients can connect to.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, whose file is removed in the end.
    Unix(UnixListener, SocketFile),
}

/// A Unix socket's file. Dropping it removes the file, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: which file it is, whatever its name.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Listener {
    /// Binds `address`. Port 0 of TCP takes a free one.
    ///
    /// # Errors
    /// When it is taken, or cannot be had.
    pub fn bind(address: &ServerAddress) -> Result<Self, BindError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address: address.clone() },
            _ => BindError::Other { address: address.clone(), error },
        };
        match address {
            ServerAddress::Tcp { host, port } => {
                let unresolvable =
                    |error| BindError::Unresolvable { address: address.clone(), error };
                let mut all = (host.as_str(), *port).to_socket_addrs().map_err(unresolvable)?;
                let first = all.next().ok_or_else(|| {
                    unresolvable(io::Error::new(io::ErrorKind::NotFound, "no address"))
                })?;
                bind_tcp(first).map(Self::Tcp).map_err(failed)
            }
            ServerAddress::Unix(path) => {
                let (listener, file) = bind_unix(path).map_err(failed)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Where it really listens.
    #[must_use]
    pub fn address(&self) -> Option<ServerAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| ServerAddress::Tcp {
                host: address.ip().to_string(),
                port: address.port(),
            }),
            Self::Unix(_, file) => Some(ServerAddress::Unix(file.path.clone())),
        }
    }

    /// Takes clients in and hands them to the workers, until it is dropped.
    ///
    /// # Errors
    /// When the socket cannot be used on this runtime.
    pub async fn run(self, workers: Workers) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, peer)) => workers.place_tcp(stream.into_std()?, peer),
                        Err(error) => pause(&error).await,
                    }
                }
            }
            Self::Unix(listener, _file) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => workers.place_unix(stream.into_std()?),
                        Err(error) => pause(&error).await,
                    }
                }
            }
        }
    }
}

async fn pause(error: &io::Error) {
    // A client that went before it was taken in is no reason to wait.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(%error, "a client could not be taken in");
        tokio::time::sleep(PAUSE).await;
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a Unix socket. The socket file of a process that is gone is replaced; one that somebody
/// answers on is not, nor is a file of any other kind.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let bound = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if !is_abandoned(path)? {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let file = SocketFile::new(path);
    bound.set_nonblocking(true)?;
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    Ok((bound, file))
}

/// Whether nobody listens on the socket at `path`. The kernel refuses a connection to a file that
/// is no socket just the same, so that has to be asked first.
fn is_abandoned(path: &Path) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        ));
    }
    Ok(UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(port: u16) -> ServerAddress {
        ServerAddress::Tcp { host: "127.0.0.1".into(), port }
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let first = Listener::bind(&tcp(0)).expect("a free port");
        let address = first.address().expect("its address");
        let second = Listener::bind(&address).expect_err("taken");
        assert_eq!(
            second.to_string(),
            format!("{address} is already in use: another process listens there")
        );
    }

    #[test]
    fn an_abandoned_socket_file_is_taken_over_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("t.sock");
        let address = ServerAddress::Unix(path.clone());
        drop(UnixListener::bind(&path).expect("bound")); // leaves its file behind
        let live = Listener::bind(&address).expect("taken over");
        assert!(matches!(Listener::bind(&address), Err(BindError::InUse { .. })));
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        drop(live);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "dear diary").expect("written");
        let error = Listener::bind(&ServerAddress::Unix(path.clone())).expect_err("no socket");
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "dear diary");
    }

    #[test]
    fn a_socket_that_took_the_place_of_ours_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("t.sock");
        let ours = Listener::bind(&ServerAddress::Unix(path.clone())).expect("bound");
        std::fs::rename(&path, directory.path().join("aside")).expect("moved");
        let theirs = UnixListener::bind(&path).expect("bound");
        drop(ours);
        assert!(path.exists());
        drop(theirs);
    }
}
