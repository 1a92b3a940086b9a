//! Copies the data of one server into another that holds none.
//!
//! MariaDB: `mariadb-dump`, piped into `mariadb`, in one transaction, with the position that it stands
//! for; accounts that the other lacks before it. MySQL: the clone plugin, which copies files, accounts
//! and GTIDs with them, and restarts the server.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::state::Data;
use super::survey::{Access, SurveyError};
use crate::config::Credentials;
use crate::monitor::{Columns, Connection, ConnectionError};
use crate::pair::dialect::quoted;
use crate::topology::{Flavor, Server, ServerAddress};

/// Between two reports.
const REPORT: Duration = Duration::from_secs(1);
/// In which the dump names its position.
const HEAD: usize = 64 << 10;
/// For a server that restarts itself after a clone.
const RESTART: Duration = Duration::from_secs(120);

/// Why nothing, or not everything, was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A program is not there.
    #[error(
        "{program} is needed and cannot be started: {reason}. Install the package mariadb-client"
    )]
    NoProgram {
        /// Which.
        program: &'static str,
        /// The operating system's words.
        reason: std::io::Error,
    },
    /// One of the two programs ended with an error.
    #[error(
        "{program} failed: {said}. {into} may hold a part of the data; drop these schemas there before \
         you try again: {schemas}"
    )]
    Failed {
        /// Which.
        program: &'static str,
        /// What it said.
        said: String,
        /// Into which server.
        into: String,
        /// What was to be copied.
        schemas: String,
    },
    /// The dump did not tell its position.
    #[error("the dump of {from} did not say at which GTID position it was taken")]
    NoPosition {
        /// Of which server.
        from: String,
    },
    /// A server refused a statement.
    #[error("{server} could not {doing}: {reason}")]
    Refused {
        /// Which.
        server: String,
        /// What.
        doing: &'static str,
        /// Its words.
        reason: ConnectionError,
    },
    /// It has everything, and has to be started by somebody.
    #[error(
        "{server} has the data now, and has shut down for it: nobody is there to start it again. Start \
         it{}, and run the same command once more. Its accounts are those of {from} now",
        if *follows { ", let it forget whom that one follows (RESET REPLICA ALL)" } else { "" }
    )]
    StartIt {
        /// Which.
        server: String,
        /// Whose data it has.
        from: String,
        /// Whether it has that one's channels with them.
        follows: bool,
    },
    /// It did not come back.
    #[error("after the copy: {0}")]
    Gone(SurveyError),
}

/// One copy.
pub(super) struct Copy<'a> {
    pub(super) access: &'a mut Access,
    pub(super) from: usize,
    pub(super) into: usize,
    pub(super) data: &'a Data,
    pub(super) flavor: Flavor,
    /// Whether the first one follows somebody.
    pub(super) follows: bool,
}

impl Copy<'_> {
    /// Carries it out; `tell` hears how it goes.
    pub(super) async fn run(mut self, tell: &mut dyn FnMut(&str)) -> Result<(), CopyError> {
        match self.flavor {
            Flavor::MariaDb => self.dump(tell).await,
            Flavor::MySql => self.clone(tell).await,
        }
    }

    fn server(&self, place: usize) -> &Server {
        &self.access.servers[place]
    }

    fn name(&self, place: usize) -> String {
        self.server(place).name.clone()
    }

    async fn connect(&self, place: usize) -> Result<Connection, CopyError> {
        self.access.connect(place).await.map_err(CopyError::Gone)
    }

    async fn ask(
        &self,
        connection: &mut Connection,
        place: usize,
        doing: &'static str,
        sql: &str,
    ) -> Result<Vec<Vec<mysql_async::Row>>, CopyError> {
        let answers = async { connection.ask(sql).await?.all() }.await;
        answers.map_err(|reason| CopyError::Refused { server: self.name(place), doing, reason })
    }

    async fn dump(&mut self, tell: &mut dyn FnMut(&str)) -> Result<(), CopyError> {
        let mut source = self.connect(self.from).await?;
        let mut target = self.connect(self.into).await?;
        self.ask(&mut target, self.into, "write outside of its log", "SET SESSION sql_log_bin = 0")
            .await?;
        self.copy_accounts(&mut source, &mut target).await?;
        let estimate = self.estimate(&mut source).await?;
        let position = self.pipe(estimate, tell).await?;
        let sql = format!("SET GLOBAL gtid_slave_pos = {}", quoted(&position));
        self.ask(&mut target, self.into, "take the position of the copy", &sql).await?;
        tell(&format!("{} stands at {position} of {}", self.name(self.into), self.name(self.from)));
        Ok(())
    }

    /// Accounts that the target lacks, as the source has them. Those that it has are kept.
    async fn copy_accounts(
        &self,
        source: &mut Connection,
        target: &mut Connection,
    ) -> Result<(), CopyError> {
        const LIST: &str = "SELECT CONCAT(QUOTE(User), IF(is_role = 'Y', '', CONCAT('@', QUOTE(Host)))) \
             AS account, is_role = 'Y' AS role FROM mysql.user \
             WHERE User NOT IN ('PUBLIC', 'mariadb.sys') ORDER BY is_role DESC";
        const DOING: &str = "copy the accounts";
        let accounts = |rows: &[Vec<mysql_async::Row>]| -> Vec<(String, bool)> {
            let row = |row| {
                let row = Columns(row);
                (row.text_or_empty(&["account"]), row.text_or_empty(&["role"]) == "1")
            };
            rows.iter().flatten().map(row).collect()
        };
        let there = accounts(&self.ask(target, self.into, DOING, LIST).await?);
        let here = accounts(&self.ask(source, self.from, DOING, LIST).await?);
        let new: Vec<_> = here.into_iter().filter(|account| !there.contains(account)).collect();
        for (account, is_role) in &new {
            let made = if *is_role {
                vec![format!("CREATE ROLE IF NOT EXISTS {account}")]
            } else {
                let sql = format!("SHOW CREATE USER {account}");
                first_columns(&self.ask(source, self.from, DOING, &sql).await?)
            };
            for sql in made {
                self.ask(target, self.into, DOING, &sql).await?;
            }
        }
        for (account, _) in &new {
            let sql = format!("SHOW GRANTS FOR {account}");
            for grant in first_columns(&self.ask(source, self.from, DOING, &sql).await?) {
                self.ask(target, self.into, DOING, &grant).await?;
            }
        }
        Ok(())
    }

    async fn estimate(&self, source: &mut Connection) -> Result<u64, CopyError> {
        let sql = "SELECT COALESCE(SUM(DATA_LENGTH), 0) AS n FROM information_schema.TABLES \
                   WHERE TABLE_SCHEMA NOT IN \
                   ('mysql', 'information_schema', 'performance_schema', 'sys')";
        let sets = self.ask(source, self.from, "tell the size of its tables", sql).await?;
        let row = sets.iter().flatten().next();
        Ok(row.and_then(|row| Columns(row).number(&["n"]).ok()).unwrap_or(0))
    }

    /// The dump, from one program into the other; its position.
    async fn pipe(&self, estimate: u64, tell: &mut dyn FnMut(&str)) -> Result<String, CopyError> {
        let mut dump = self.client("mariadb-dump", self.from);
        dump.args(["--single-transaction", "--quick", "--routines", "--events", "--triggers"])
            .args(["--hex-blob", "--gtid", "--master-data=2", "--databases"])
            .args(self.data.0.keys())
            .args((!self.data.0.contains_key("tandem")).then_some("tandem"));
        let mut load = self.client("mariadb", self.into);
        load.arg("--init-command=SET SESSION sql_log_bin=0").stdin(Stdio::piped());
        let mut dump = start(dump, "mariadb-dump")?;
        let mut load = start(load, "mariadb")?;
        let mut head = Vec::new();
        let (mut copied, mut reported) = (0u64, Instant::now());
        let mut buffer = vec![0; 64 << 10];
        if let (Some(mut output), Some(mut input)) = (dump.stdout.take(), load.stdin.take()) {
            // A reader that ends early breaks the pipe; what it said tells why.
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                if head.len() < HEAD {
                    head.extend_from_slice(&buffer[..count]);
                }
                if input.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
                copied += count as u64;
                if reported.elapsed() >= REPORT {
                    reported = Instant::now();
                    tell(&self.progress(copied, estimate));
                }
            }
            // Its end is the end of the file.
            drop(input.shutdown().await);
        }
        self.ended("mariadb", load).await?;
        self.ended("mariadb-dump", dump).await?;
        tell(&self.progress(copied, estimate));
        position_in(&String::from_utf8_lossy(&head))
            .ok_or_else(|| CopyError::NoPosition { from: self.name(self.from) })
    }

    fn progress(&self, copied: u64, estimate: u64) -> String {
        let mega = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
        let (from, into) = (self.name(self.from), self.name(self.into));
        format!("{} copied from {from} into {into}, of about {}", mega(copied), mega(estimate))
    }

    fn client(&self, program: &'static str, place: usize) -> Command {
        let mut command = Command::new(program);
        let login = &self.access.logins[place];
        command
            .args(["--no-defaults", "--protocol=tcp", "--default-character-set=utf8mb4"])
            .args(["--max-allowed-packet=1G", &format!("--user={}", login.user)])
            // Not an argument: everybody on this machine can read those.
            .env("MYSQL_PWD", login.password.reveal())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let ServerAddress::Tcp { host, port } = &self.server(place).address {
            command.arg(format!("--host={host}")).arg(format!("--port={port}"));
        }
        command
    }

    async fn ended(&self, program: &'static str, child: Child) -> Result<(), CopyError> {
        let failed = |said: String| CopyError::Failed {
            program,
            said,
            into: self.name(self.into),
            schemas: self.data.0.keys().cloned().collect::<Vec<_>>().join(", "),
        };
        let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(failed(said)) }
    }

    async fn clone(&mut self, tell: &mut dyn FnMut(&str)) -> Result<(), CopyError> {
        let mut target = self.connect(self.into).await?;
        let ServerAddress::Tcp { host, port } = self.server(self.from).address.clone() else {
            return Err(CopyError::NoPosition { from: self.name(self.from) });
        };
        let Credentials { user, password } = self.access.logins[self.from].clone();
        let allow = format!(
            "SET GLOBAL super_read_only = OFF; SET GLOBAL clone_valid_donor_list = {}",
            quoted(&format!("{host}:{port}"))
        );
        self.ask(&mut target, self.into, "be told whom to copy", &allow).await?;
        let sql = format!(
            "CLONE INSTANCE FROM {}@{}:{port} IDENTIFIED BY {}",
            quoted(&user),
            quoted(&host),
            quoted(password.reveal())
        );
        let observer = self.connect(self.into).await?;
        let answer = {
            let cloning = target.ask(&sql);
            tokio::pin!(cloning);
            let mut observing = Some(observer);
            loop {
                match tokio::time::timeout(REPORT, &mut cloning).await {
                    Ok(answer) => break answer,
                    Err(_) => {
                        if let Some(connection) = &mut observing {
                            match cloned(connection).await {
                                Some((copied, estimate)) => tell(&self.progress(copied, estimate)),
                                None => observing = None,
                            }
                        }
                    }
                }
            }
        };
        // It logs in as the donor's administrator from now on.
        self.access.logins[self.into] = self.access.logins[self.from].clone();
        match answer.map(|answers| answers.error) {
            // ER_RESTART_SERVER_FAILED: no supervisor.
            Ok(Some((3707, _))) => {
                return Err(CopyError::StartIt {
                    server: self.name(self.into),
                    from: self.name(self.from),
                    follows: self.follows,
                });
            }
            Ok(Some((code, message))) => {
                let (server, doing) = (self.name(self.into), "clone the other");
                let reason = ConnectionError::Server { code, message };
                return Err(CopyError::Refused { server, doing, reason });
            }
            // It restarts, and so the connection breaks.
            Ok(None) | Err(_) => {}
        }
        let mut target = self.await_restart().await?;
        let leave = "SET GLOBAL super_read_only = OFF; SET SESSION sql_log_bin = 0; STOP REPLICA; \
                     RESET REPLICA ALL";
        self.ask(&mut target, self.into, "forget whom the other follows", leave).await.map(drop)
    }

    async fn await_restart(&self) -> Result<Connection, CopyError> {
        let deadline = Instant::now() + RESTART;
        loop {
            match self.access.connect(self.into).await {
                Ok(connection) => return Ok(connection),
                Err(error) if Instant::now() > deadline => return Err(CopyError::Gone(error)),
                // There is nothing to wait for but its answer.
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

async fn cloned(connection: &mut Connection) -> Option<(u64, u64)> {
    let sql = "SELECT COALESCE(SUM(DATA), 0) AS d, COALESCE(SUM(ESTIMATE), 0) AS e \
               FROM performance_schema.clone_progress";
    let sets = connection.ask(sql).await.ok()?.all().ok()?;
    let row = Columns(sets.iter().flatten().next()?);
    Some((row.number(&["d"]).ok()?, row.number(&["e"]).ok()?))
}

fn start(mut command: Command, program: &'static str) -> Result<Child, CopyError> {
    command.spawn().map_err(|reason| CopyError::NoProgram { program, reason })
}

fn first_columns(sets: &[Vec<mysql_async::Row>]) -> Vec<String> {
    let text = |row: &mysql_async::Row| row.get::<Option<String>, _>(0).flatten();
    sets.iter().flatten().filter_map(text).collect()
}

/// The position in the head of a dump: `-- SET GLOBAL gtid_slave_pos='0-1-5';`
fn position_in(head: &str) -> Option<String> {
    let (_, rest) = head.split_once("gtid_slave_pos='")?;
    rest.split_once('\'').map(|(position, _)| position.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dump_names_its_position() {
        let head = "--\n-- GTID to start replication from\n--\n\n\
                    -- SET GLOBAL gtid_slave_pos='0-1-5,2-2-7';\nCREATE DATABASE";
        assert_eq!(position_in(head).as_deref(), Some("0-1-5,2-2-7"));
        assert_eq!(position_in("CREATE DATABASE"), None);
    }
}
