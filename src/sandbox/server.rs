//! One server of a sandbox.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid,
};
use tokio::process::Child;
use tokio::task::spawn_blocking;

use super::forwarder::Forwarder;
use super::port::ReservedPort;
use super::{SandboxError, ServerBinaries, datadir, settings};
use crate::topology::ServerAddress;

/// For a server to come up or to go down. Generous: it only bounds what has gone wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two tries to log in to a server that is starting. It does not say when it is ready.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// How a server is started.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) binaries: ServerBinaries,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// What it is started with in a network of its own; empty for this process's network.
    pub(super) enter: Vec<String>,
}

/// A server process, and the means to hurt it.
#[derive(Debug)]
pub struct SandboxServer {
    name: String,
    invocation: Invocation,
    directory: PathBuf,
    port: ReservedPort,
    forwarder: Option<Forwarder>,
    /// `None` while it is down.
    process: Option<Child>,
}

impl SandboxServer {
    /// A server in `directory`, which holds its data already; not started yet.
    pub(super) fn new(
        name: String,
        invocation: Invocation,
        directory: PathBuf,
        port: ReservedPort,
    ) -> Result<Self, SandboxError> {
        // 108 bytes with the terminating zero, in every Linux: unix(7).
        let socket = settings::socket(&directory);
        if socket.as_os_str().len() > 107 {
            return Err(SandboxError::PathTooLong(socket));
        }
        Ok(Self { name, invocation, directory, port, forwarder: None, process: None })
    }

    /// `m1` for the first master.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where everybody is to connect to: the forwarder in front of the server if there is one.
    #[must_use]
    pub fn address(&self) -> ServerAddress {
        let address = self.outside();
        ServerAddress::Tcp { host: address.ip().to_string(), port: address.port() }
    }

    /// The port of [`address`](Self::address).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.outside().port()
    }

    /// Where the server itself listens, behind any forwarder.
    #[must_use]
    pub fn direct(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its Unix socket, by which `root` logs in without a password. Never cut off.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        settings::socket(&self.directory)
    }

    /// Its directory: `my.cnf`, `error.log` and `data`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// A new connection as `root`, through the Unix socket.
    ///
    /// # Errors
    /// When the server does not accept it.
    pub async fn root_connection(&self) -> Result<Conn, SandboxError> {
        self.log_in().await.map_err(|error| self.refused("root's login", &error))
    }

    /// Carries statements out as `root`, one after the other, on one connection.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn execute(&self, statements: &[&str]) -> Result<(), SandboxError> {
        let mut connection = self.root_connection().await?;
        for statement in statements {
            let done = connection.query_drop(*statement).await;
            done.map_err(|error| self.refused("a statement", &error))?;
        }
        Ok(())
    }

    /// kill -9. Returns when the process is gone.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<(), SandboxError> {
        self.signal(Signal::KILL)?;
        self.await_end().await
    }

    /// Stops the process where it is: its connections stay open and nothing answers. Returns when
    /// every thread stands still, which takes as long as the disk if one is waiting for it.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn freeze(&self) -> Result<(), SandboxError> {
        self.signal(Signal::STOP)?;
        let pid = self.process_id().ok_or_else(|| SandboxError::NotRunning(self.name.clone()))?;
        // Not reaped here, whatever became of it.
        let stands = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        spawn_blocking(move || Ok(waitid(WaitId::Pid(pid), stands).map(drop)?))
            .await
            .map_err(std::io::Error::from)
            .flatten()
            .map_err(SandboxError::io(format!("freeze {}", self.name)))
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> Result<(), SandboxError> {
        self.signal(Signal::CONT)
    }

    /// Shuts the server down cleanly. Returns when the process is gone.
    ///
    /// # Errors
    /// When it is not running, or does not end.
    pub async fn stop(&mut self) -> Result<(), SandboxError> {
        self.signal(Signal::TERM)?;
        // A frozen process hears the signal when it wakes up.
        self.thaw()?;
        match tokio::time::timeout(PATIENCE, self.await_end()).await {
            Ok(ended) => ended,
            Err(_) => Err(SandboxError::NotStopped {
                server: self.name.clone(),
                within: PATIENCE,
                log: datadir::log_of(&self.directory),
            }),
        }
    }

    /// Starts the server again, after shutting it down if it runs. Returns when it answers.
    ///
    /// It is `read_only` then, and replicates again by itself.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<(), SandboxError> {
        if self.process.is_some() {
            self.stop().await?;
        }
        self.start().await
    }

    /// Adds lines to its my.cnf, for its next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add_settings(&self, lines: &str) -> Result<(), SandboxError> {
        let path = self.directory.join("my.cnf");
        let text = std::fs::read_to_string(&path);
        text.and_then(|text| std::fs::write(&path, format!("{text}{lines}\n")))
            .map_err(SandboxError::io(format!("extend {}", path.display())))
    }

    /// From now on nothing that is sent to the server, or that it sends, arrives; it feels like the
    /// network is gone. Needs a forwarder.
    ///
    /// # Errors
    /// When there is no forwarder.
    pub fn cut_off(&mut self) -> Result<(), SandboxError> {
        self.forwarder()?.silence().map_err(SandboxError::io("listen again"))
    }

    /// Resets all connections to the server and refuses new ones. Needs a forwarder.
    ///
    /// # Errors
    /// When there is no forwarder.
    pub async fn refuse(&mut self) -> Result<(), SandboxError> {
        self.forwarder()?.refuse().await;
        Ok(())
    }

    /// Undoes [`cut_off`](Self::cut_off) and [`refuse`](Self::refuse).
    ///
    /// # Errors
    /// When there is no forwarder.
    pub fn reconnect(&mut self) -> Result<(), SandboxError> {
        self.forwarder()?.clear().map_err(SandboxError::io("listen again"))
    }

    /// Starts the process, and waits until it answers.
    pub(super) async fn start(&mut self) -> Result<(), SandboxError> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("error.log"))
            .map_err(SandboxError::io("open the server's log"))?;
        let Invocation { binaries, arguments, environment, enter } = &self.invocation;
        let process = binaries
            .command(enter)
            .arg(datadir::defaults_file(&self.directory.join("my.cnf")))
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // Out of reach of the terminal's Ctrl-C: its owner decides when it ends.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(SandboxError::io(format!("start {}", self.name)))?;
        self.process = Some(process);
        match tokio::time::timeout(PATIENCE, self.await_ready()).await {
            Ok(ready) => ready?,
            Err(_) => {
                return Err(SandboxError::NotReady {
                    server: self.name.clone(),
                    within: PATIENCE,
                    log: datadir::log_of(&self.directory),
                });
            }
        }
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.clear().map_err(SandboxError::io("listen again"))?;
        }
        Ok(())
    }

    /// Puts a forwarder in front of it.
    pub(super) fn forward(&mut self) -> Result<(), SandboxError> {
        let forwarder = Forwarder::start(self.direct())
            .map_err(SandboxError::io(format!("listen in front of {}", self.name)))?;
        self.forwarder = Some(forwarder);
        Ok(())
    }

    /// Where the world finds it.
    fn outside(&self) -> SocketAddr {
        self.forwarder.as_ref().map_or_else(|| self.direct(), Forwarder::address)
    }

    async fn await_ready(&mut self) -> Result<(), SandboxError> {
        while self.log_in().await.is_err() {
            let Some(process) = &mut self.process else {
                return Err(SandboxError::NotRunning(self.name.clone()));
            };
            if let Ok(ended) = tokio::time::timeout(TRY_AGAIN, process.wait()).await {
                let status = ended.map_err(SandboxError::io("wait for the server"))?;
                self.process = None;
                return Err(SandboxError::Ended {
                    server: self.name.clone(),
                    status,
                    log: datadir::log_of(&self.directory),
                });
            }
        }
        Ok(())
    }

    /// Reaps the process. A machine whose server is down refuses connections, and the forwarder
    /// would accept them, so it refuses too.
    async fn await_end(&mut self) -> Result<(), SandboxError> {
        if let Some(process) = &mut self.process {
            process.wait().await.map_err(SandboxError::io("wait for the server"))?;
            self.process = None;
        }
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.refuse().await;
        }
        Ok(())
    }

    async fn log_in(&self) -> Result<Conn, mysql_async::Error> {
        let socket = self.socket();
        let options = OptsBuilder::default()
            .user(Some("root"))
            .socket(Some(socket.to_string_lossy()))
            // Of packets over 16 MiB, too.
            .max_allowed_packet(Some(1 << 30));
        Conn::new(options).await
    }

    fn forwarder(&mut self) -> Result<&mut Forwarder, SandboxError> {
        let name = &self.name;
        self.forwarder.as_mut().ok_or_else(|| SandboxError::NoForwarder(name.clone()))
    }

    fn signal(&self, signal: Signal) -> Result<(), SandboxError> {
        let pid = self.process_id().ok_or_else(|| SandboxError::NotRunning(self.name.clone()))?;
        kill_process(pid, signal)
            .map_err(|errno| SandboxError::io(format!("signal {}", self.name))(errno.into()))
    }

    /// As long as it was not reaped the id is this process's and nobody else's.
    fn process_id(&self) -> Option<Pid> {
        self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
    }

    fn refused(&self, doing: &'static str, error: &mysql_async::Error) -> SandboxError {
        SandboxError::Refused { server: self.name.clone(), doing, reason: error.to_string() }
    }
}

impl Drop for SandboxServer {
    /// Ends the process and waits for it: its directory is removed next.
    fn drop(&mut self) {
        if let Some(pid) = self.process_id() {
            // Either fails only if the process has ended and was reaped.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}
