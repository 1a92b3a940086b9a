//! Starting a whole sandbox.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinSet, spawn_blocking};

use super::port::ReservedPort;
use super::server::Invocation;
use super::settings::{Place, Shared};
use super::watchdog::Watchdog;
use super::{SandboxError, SandboxServer, ServerBinaries, datadir, settings};
use crate::config::{Config, Credentials, Secret};
use crate::pair::{self, Member, Plan, Replication, Shape};
use crate::topology::{Flavor, ServerAddress, Servers};

/// The application's account, and its database. No secret: it may write there and nowhere else, and
/// tests and demos want to write it down.
const APPLICATION: &str = "app";

/// The administrator of bare servers, and his password: loopback only, and as short-lived as they are.
const ADMINISTRATOR: &str = "admin";

/// For replication to come up. Generous: it only bounds what has gone wrong.
const REPLICATION_TIMEOUT: Duration = Duration::from_secs(60);

/// What kind of sandbox.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// How many masters.
    pub masters: u16,
    /// How many slaves of all of them, which serve reads: `r1`, ….
    pub replicas: u16,
    /// Whether the servers are left as they are after they were installed: nothing is set that a pair
    /// needs, nobody follows anybody, and there is no account but root's and the administrator's.
    pub bare: bool,
    /// Who receives from whom, of more than two.
    pub shape: Shape,
    /// Which server; `None` for [`ServerBinaries::find`].
    pub binaries: Option<ServerBinaries>,
    /// Whether a commit is on disk before it is acknowledged (`sync_binlog = 1`,
    /// `innodb_flush_log_at_trx_commit = 1`).
    pub durable: bool,
    /// Whether a commit is on the other master before it is acknowledged.
    pub semi_sync: bool,
    /// Whether a forwarder stands in front of each server, so that it can be cut off.
    pub forwarders: bool,
    /// A network of its own for each master, in their order; empty for loopback.
    pub networks: Vec<ServerNetwork>,
    /// Further arguments for every server.
    pub arguments: Vec<String>,
    /// Further variables of every server's environment.
    pub environment: Vec<(String, String)>,
    /// Where to make the directory; `None` for the system's place for temporary files.
    pub parent: Option<PathBuf>,
    /// Who wants to hear how it goes.
    pub progress: Option<UnboundedSender<Progress>>,
}

/// A network (namespace) that a server has for itself. Made, joined with others and removed by whoever
/// wants it: that needs privileges which the sandbox does without.
#[derive(Clone, Debug)]
pub struct ServerNetwork {
    /// A command that runs, by exec, what follows it inside: `nsenter --net=/proc/7/ns/net`.
    pub enter: Vec<String>,
    /// The server's address in there; it listens on port 3306.
    pub address: IpAddr,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            masters: 2,
            replicas: 0,
            bare: false,
            shape: Shape::Ring,
            binaries: None,
            durable: true,
            semi_sync: false,
            forwarders: false,
            networks: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            parent: None,
            progress: None,
        }
    }
}

/// What happens while a sandbox starts, in this order.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A server was found; its system tables are being made.
    Initialising {
        /// The family.
        flavor: Flavor,
        /// The version.
        version: String,
        /// Where everything lies.
        directory: PathBuf,
    },
    /// A server answers. Servers start at the same time, and come up in any order.
    Started {
        /// Its name.
        server: String,
        /// Where it listens.
        address: ServerAddress,
        /// How long it took.
        took: Duration,
    },
    /// All servers answer; they are being made slaves of each other.
    Pairing,
    /// A server follows another, and both its threads run.
    Replicating {
        /// Its name.
        server: String,
        /// What it says.
        replication: Replication,
    },
    /// Everything is ready.
    Ready {
        /// How long it took, from the beginning.
        took: Duration,
    },
}

/// Servers that are masters of each other, and their replicas. Dropping it ends and removes everything.
#[derive(Debug)]
pub struct Sandbox {
    // Fields are dropped in this order: first the servers, then what makes sure of it, which
    // removes the directory, then the directory in case that failed.
    servers: Vec<SandboxServer>,
    /// So many of them; the others are replicas.
    masters: usize,
    _watchdog: Watchdog,
    directory: TempDir,
    binaries: ServerBinaries,
    shape: Shape,
    monitor: Credentials,
}

impl Sandbox {
    /// Starts the servers, makes them a pair and waits until all replication threads run.
    ///
    /// # Errors
    /// When there is no server program, or anything fails on the way; nothing is left behind then.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let begun = Instant::now();
        let report = |progress: Progress| {
            if let Some(listener) = &options.progress {
                // Nobody listens any more: nobody needs to know.
                let _ = listener.send(progress);
            }
        };
        let binaries = match &options.binaries {
            Some(binaries) => binaries.clone(),
            None => ServerBinaries::find()?,
        };
        let directory = make_directory(options.parent.as_deref())?;
        let watchdog = Watchdog::guard(directory.path())
            .map_err(SandboxError::io("start the sandbox's watchdog"))?;
        let mut sandbox = Self {
            servers: Vec::new(),
            masters: options.masters.into(),
            _watchdog: watchdog,
            directory,
            binaries,
            shape: options.shape,
            monitor: Credentials { user: "tandem".to_owned(), password: random_password()? },
        };
        report(Progress::Initialising {
            flavor: sandbox.binaries.flavor(),
            version: sandbox.binaries.version().to_owned(),
            directory: sandbox.directory().to_owned(),
        });
        sandbox.make_servers(&options).await?;
        sandbox.start_servers(&options, &report).await?;
        if !options.bare {
            report(Progress::Pairing);
            sandbox.make_pair().await?;
        }
        for server in &sandbox.servers {
            for replication in sandbox.replication(server).await? {
                report(Progress::Replicating { server: server.name().to_owned(), replication });
            }
        }
        report(Progress::Ready { took: begun.elapsed() });
        Ok(sandbox)
    }

    /// The servers, in order; the replicas last.
    #[must_use]
    pub fn servers(&self) -> &[SandboxServer] {
        &self.servers
    }

    /// The server with this index, 0 for `m1`.
    #[must_use]
    pub fn server(&self, index: usize) -> &SandboxServer {
        &self.servers[index]
    }

    /// The server with this index, to change what it does.
    #[must_use]
    pub fn server_mut(&mut self, index: usize) -> &mut SandboxServer {
        &mut self.servers[index]
    }

    /// The servers as a configuration of Tandem would list them.
    #[must_use]
    pub fn configured(&self) -> Servers {
        let (masters, replicas) = self.servers.split_at(self.masters);
        let named = |server: &SandboxServer| (server.name().to_owned(), server.address());
        Servers::new(masters.iter().map(named), replicas.iter().map(named))
    }

    /// A configuration for a proxy before these servers, on free ports of loopback.
    #[must_use]
    pub fn proxy_config(&self) -> Config {
        let any_port = || ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
        let mut config = Config::new(self.configured());
        config.listen = vec![any_port()];
        config.monitor.user = self.monitor.user.clone();
        config.monitor.password = self.monitor.password.clone();
        config.admin.console = Some(any_port());
        config.admin.http = Some(any_port());
        config
    }

    /// The account with which Tandem watches the servers.
    #[must_use]
    pub fn monitor(&self) -> &Credentials {
        &self.monitor
    }

    /// The account of the application: it may do everything in the database of the same name.
    #[must_use]
    pub fn application(&self) -> Credentials {
        Credentials { user: APPLICATION.to_owned(), password: Secret::new(APPLICATION.to_owned()) }
    }

    /// The administrator of bare servers, who may do everything and logs in over TCP.
    #[must_use]
    pub fn administrator(&self) -> Credentials {
        let password = Secret::new(ADMINISTRATOR.to_owned());
        Credentials { user: ADMINISTRATOR.to_owned(), password }
    }

    /// The application's URL for something that listens on this loopback port: a server of the
    /// sandbox, or a proxy in front of it. `prefer_socket` keeps mysql_async from going around it.
    #[must_use]
    pub fn url(&self, port: u16) -> String {
        format!("mysql://app:app@127.0.0.1:{port}/app?prefer_socket=false")
    }

    /// Where everything lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Which server runs here.
    #[must_use]
    pub fn binaries(&self) -> &ServerBinaries {
        &self.binaries
    }

    /// What a server says of its replication, channel by channel.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn replication(
        &self,
        server: &SandboxServer,
    ) -> Result<Vec<Replication>, SandboxError> {
        Ok(pair::status(&member(server), REPLICATION_TIMEOUT).await?)
    }

    /// Waits until both replication threads of every server run: after a restart, say.
    ///
    /// # Errors
    /// When one is down, or does not replicate in time.
    pub async fn await_replication(&self) -> Result<(), SandboxError> {
        Ok(pair::await_running(&self.members(), REPLICATION_TIMEOUT).await?)
    }

    /// Makes a data directory and settings for each server.
    async fn make_servers(&mut self, options: &SandboxOptions) -> Result<(), SandboxError> {
        let template = datadir::template(&self.binaries, self.directory()).await?;
        let shared =
            Shared { durable: options.durable, semi_sync: options.semi_sync, shape: options.shape };
        let mut directories = Vec::new();
        for number in 1..=options.masters + options.replicas {
            let replica = number.checked_sub(options.masters).filter(|replica| *replica > 0);
            let name =
                replica.map_or_else(|| format!("m{number}"), |replica| format!("r{replica}"));
            let directory = self.directory().join(&name);
            let network = options.networks.get(usize::from(number) - 1);
            let port = match network {
                Some(network) => ReservedPort::alone_at(network.address),
                None => ReservedPort::take().map_err(SandboxError::io("find a free port"))?,
            };
            let place = Place {
                number: number.into(),
                masters: options.masters.into(),
                listen: port.address(),
            };
            let text = if options.bare {
                settings::for_bare(&self.binaries, &directory, place.listen)
            } else {
                settings::for_server(&self.binaries, &directory, place, shared)
            };
            settings::make_directory(&directory)
                .and_then(|()| std::fs::write(directory.join("my.cnf"), text))
                .map_err(SandboxError::io(format!("write {name}'s my.cnf")))?;
            directories.push(directory.clone());
            let invocation = Invocation {
                binaries: self.binaries.clone(),
                arguments: options.arguments.clone(),
                environment: options.environment.clone(),
                enter: network.map_or_else(Vec::new, |network| network.enter.clone()),
            };
            self.servers.push(SandboxServer::new(name, invocation, directory, port)?);
        }
        spawn_blocking(move || {
            let place = template.place();
            directories.iter().try_for_each(|directory| datadir::copy(place, directory))?;
            template.done_with()
        })
        .await
        .map_err(std::io::Error::from)
        .flatten()
        .map_err(SandboxError::io("copy the system tables"))
    }

    /// Starts all of them at the same time.
    async fn start_servers(
        &mut self,
        options: &SandboxOptions,
        report: &impl Fn(Progress),
    ) -> Result<(), SandboxError> {
        let begun = Instant::now();
        let (mut starting, bare) = (JoinSet::new(), options.bare);
        for (index, mut server) in self.servers.drain(..).enumerate() {
            if options.forwarders {
                server.forward()?;
            }
            starting.spawn(async move {
                let ready = async {
                    server.start().await?;
                    if bare {
                        make_administrator(&server).await
                    } else {
                        make_application(&server).await
                    }
                };
                ready.await.map(|()| (index, server))
            });
        }
        let mut started = Vec::new();
        while let Some(outcome) = starting.join_next().await {
            let outcome = outcome.map_err(|error| SandboxError::Io {
                doing: "start a server".to_owned(),
                source: error.into(),
            });
            let (index, server) = outcome??;
            report(Progress::Started {
                server: server.name().to_owned(),
                address: server.address(),
                took: begun.elapsed(),
            });
            started.push((index, server));
        }
        started.sort_by_key(|(index, _)| *index);
        self.servers = started.into_iter().map(|(_, server)| server).collect();
        Ok(())
    }

    async fn make_pair(&self) -> Result<(), SandboxError> {
        let plan = Plan {
            shape: self.shape,
            replication: Credentials {
                user: "replication".to_owned(),
                password: random_password()?,
            },
            monitor: self.monitor.clone(),
            heartbeat: Duration::from_secs(1),
            timeout: REPLICATION_TIMEOUT,
        };
        let members = self.members();
        let (masters, replicas) = members.split_at(self.masters);
        pair::make(masters, &plan).await?;
        Ok(pair::make_replicas(replicas, masters, &plan).await?)
    }

    fn members(&self) -> Vec<Member> {
        self.servers.iter().map(member).collect()
    }
}

fn member(server: &SandboxServer) -> Member {
    Member {
        name: server.name().to_owned(),
        control: ServerAddress::Unix(server.socket()),
        login: Credentials { user: "root".to_owned(), password: Secret::default() },
        address: server.address(),
    }
}

/// On each server by itself, like the other accounts: the pair begins with an empty binary log.
async fn make_application(server: &SandboxServer) -> Result<(), SandboxError> {
    server
        .execute(&[
            "SET SESSION sql_log_bin = 0",
            "CREATE DATABASE app",
            "CREATE USER 'app'@'%' IDENTIFIED BY 'app'",
            "GRANT ALL ON app.* TO 'app'@'%'",
        ])
        .await
}

async fn make_administrator(server: &SandboxServer) -> Result<(), SandboxError> {
    server
        .execute(&[
            "SET SESSION sql_log_bin = 0",
            "CREATE USER 'admin'@'%' IDENTIFIED BY 'admin'",
            "GRANT ALL ON *.* TO 'admin'@'%' WITH GRANT OPTION",
        ])
        .await
}

/// Only its owner may enter it: `tempfile` makes it so.
fn make_directory(parent: Option<&Path>) -> Result<TempDir, SandboxError> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("tandem-sandbox-");
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    // The watchdog and the servers have working directories of their own.
    std::path::absolute(parent)
        .and_then(|parent| builder.tempdir_in(parent))
        .map_err(SandboxError::io("make a directory for the sandbox"))
}

fn random_password() -> Result<Secret, SandboxError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SandboxError::Io {
        doing: "make a password".to_owned(),
        source: std::io::Error::other("no random numbers"),
    })?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}
