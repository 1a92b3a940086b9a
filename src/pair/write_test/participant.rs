//! One server of a write test, and the connection to it.

use std::time::Duration;

use mysql_async::Row;
use tokio::time::{Instant, timeout};

use super::scratch::{Scratch, own_part, to_wait_for};
use super::{WriteTestError, opening};
use crate::monitor::{Answers, Columns, Connection, ConnectionError, Dialer, read_channels};
use crate::topology::{Flavor, KeyClass, Server, ThreadState, UnreachableKind};

/// For a server to answer what is no waiting.
const PATIENCE: Duration = Duration::from_secs(15);
/// `ER_OPTION_PREVENTS_STATEMENT`: the server is closed.
pub(super) const OPTION_PREVENTS_STATEMENT: u16 = 1290;

/// A server that takes part.
pub(super) struct Participant {
    server: Server,
    dialer: Dialer,
    /// `None` when it was hung up on.
    connection: Option<Connection>,
    flavor: Flavor,
    /// `auto_increment_increment` and `auto_increment_offset`.
    settings: (u32, u32),
    /// Whether applications cannot write there.
    pub(super) closed: bool,
    /// Whether somebody holds the claim of a switchover.
    pub(super) claimed: bool,
}

/// What a server was asked at the beginning.
const HELLO: &str = "SELECT @@GLOBAL.auto_increment_increment AS step, \
     @@GLOBAL.auto_increment_offset AS start, @@GLOBAL.read_only AS read_only, \
     IS_USED_LOCK('tandem.switchover') IS NOT NULL AS claimed";

impl Participant {
    pub(super) async fn connect(server: &Server, dialer: Dialer) -> Result<Self, WriteTestError> {
        let connection = dial(server, &dialer).await?;
        let mut participant = Self {
            server: server.clone(),
            dialer,
            flavor: connection.dialect().flavor,
            connection: Some(connection),
            settings: (1, 1),
            closed: false,
            claimed: false,
        };
        let sets = participant.run("tell its settings", HELLO).await?;
        let refused = |reason| participant.refused("tell its settings", reason);
        let row =
            sets.iter().flatten().next().map(Columns).ok_or_else(|| {
                refused(ConnectionError::Unintelligible("it sent no row".to_owned()))
            })?;
        let number = |name: &str| row.number(&[name]).map_err(refused);
        let settings = (number("step")?, number("start")?);
        // MariaDB 12 has words here besides 0 and 1.
        let closed = !matches!(row.text(&["read_only"]).map_err(refused)?.as_str(), "0" | "OFF");
        let claimed = number("claimed")? != 0;
        Ok(Self { settings, closed, claimed, ..participant })
    }

    pub(super) fn name(&self) -> &str {
        &self.server.name
    }

    pub(super) fn flavor(&self) -> Flavor {
        self.flavor
    }

    pub(super) fn settings(&self) -> (u32, u32) {
        self.settings
    }

    pub(super) fn class(&self) -> KeyClass {
        KeyClass::new(self.settings.0, self.settings.1)
    }

    /// A second connection to it.
    pub(super) async fn another(&self) -> Result<Connection, WriteTestError> {
        dial(&self.server, &self.dialer).await
    }

    /// Ends the connection.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// Carries statements out, of which the server must refuse none.
    pub(super) async fn run(
        &mut self,
        doing: &'static str,
        statements: &str,
    ) -> Result<Vec<Vec<Row>>, WriteTestError> {
        self.run_within(doing, statements, PATIENCE).await
    }

    async fn run_within(
        &mut self,
        doing: &'static str,
        statements: &str,
        within: Duration,
    ) -> Result<Vec<Vec<Row>>, WriteTestError> {
        if self.connection.is_none() {
            self.connection = Some(self.another().await?);
        }
        let Some(connection) = &mut self.connection else { return Ok(Vec::new()) };
        let answers = timeout(within, connection.ask(statements)).await;
        match answers {
            Ok(answers) => {
                answers.and_then(Answers::all).map_err(|reason| self.refused(doing, reason))
            }
            Err(_) => {
                // Its answer may come later, and would be taken for another's.
                self.hang_up();
                Err(self.refused(doing, silence(within)))
            }
        }
    }

    /// The same, although the server may be closed even to its administrators.
    pub(super) async fn write(
        &mut self,
        doing: &'static str,
        statements: &str,
    ) -> Result<Vec<Vec<Row>>, WriteTestError> {
        if self.flavor == Flavor::MariaDb {
            return self.run(doing, statements).await;
        }
        if !self.closed {
            match self.run(doing, statements).await {
                // It has been closed since.
                Err(WriteTestError::Refused {
                    reason: ConnectionError::Server { code: OPTION_PREVENTS_STATEMENT, .. },
                    ..
                }) => self.closed = true,
                outcome => return outcome,
            }
        }
        opening::write(self, doing, statements).await
    }

    fn refused(&self, doing: &'static str, reason: ConnectionError) -> WriteTestError {
        let mend = self.connection.as_ref().and_then(|to| opening::mend(to, &reason));
        WriteTestError::Refused { server: self.server.name.clone(), doing, reason, mend }
    }

    /// Inserts one row. Returns its key.
    pub(super) async fn insert(&mut self, scratch: &Scratch) -> Result<u64, WriteTestError> {
        let insert = format!("{}; SELECT LAST_INSERT_ID() AS taken", scratch.insert(self.name()));
        let sets = self.write("insert a row", &insert).await?;
        let row = sets.iter().flatten().map(Columns).find(|row| row.find(&["taken"]).is_some());
        let taken = row.map_or(Ok(0), |row| row.number(&["taken"]));
        taken.map_err(|reason| self.refused("insert a row", reason))
    }

    /// The transactions that others have to wait for to see what was last written here.
    pub(super) async fn written(&mut self) -> Result<String, WriteTestError> {
        let question = match self.flavor {
            // Of this connection.
            Flavor::MariaDb => "SELECT @@last_gtid AS gtids",
            Flavor::MySql => "SELECT @@GLOBAL.gtid_executed AS gtids",
        };
        let sets = self.run("tell what it has written", question).await?;
        let gtids = sets.iter().flatten().find_map(|row| Columns(row).find(&["gtids"]));
        let gtids = gtids.map(|gtids| to_wait_for(&gtids)).filter(|gtids| !gtids.is_empty());
        gtids.ok_or_else(|| WriteTestError::NoGtids(self.name().to_owned()))
    }

    /// All that it ever wrote itself, for others to wait for; `None` for nothing.
    pub(super) async fn all_written(&mut self) -> Result<Option<String>, WriteTestError> {
        let question = match self.flavor {
            Flavor::MariaDb => {
                "SELECT @@GLOBAL.gtid_binlog_pos AS gtids, @@GLOBAL.gtid_domain_id AS domain"
            }
            Flavor::MySql => "SELECT @@GLOBAL.gtid_executed AS gtids",
        };
        let sets = self.run("tell what it has written", question).await?;
        let row = sets.iter().flatten().next().map(Columns);
        let gtids = row.and_then(|row| row.find(&["gtids"])).unwrap_or_default();
        let domain = row.and_then(|row| row.find(&["domain"]));
        Ok(Some(own_part(&gtids, domain.as_deref())).filter(|gtids| !gtids.is_empty()))
    }

    /// Waits until it has executed `gtids`, which `from` wrote. Returns how long that was after `began`.
    pub(super) async fn await_executed(
        &mut self,
        gtids: &str,
        from: &str,
        began: Instant,
        within: Duration,
    ) -> Result<Duration, WriteTestError> {
        let function = match self.flavor {
            Flavor::MariaDb => "MASTER_GTID_WAIT",
            Flavor::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
        };
        let seconds = within.as_secs_f64();
        let wait = format!("SELECT {function}('{gtids}', {seconds:.3}) = 0 AS reached");
        let sets = self.run_within("wait for what others write", &wait, within + PATIENCE).await?;
        let took = began.elapsed();
        let reached = sets.iter().flatten().find_map(|row| Columns(row).find(&["reached"]));
        if reached.as_deref() == Some("1") {
            return Ok(took);
        }
        let said = self.replication().await;
        Err(WriteTestError::NotReceived {
            from: from.to_owned(),
            to: self.name().to_owned(),
            within,
            said: said.unwrap_or_else(|error| error.to_string()),
        })
    }

    /// How its replication does, for people.
    async fn replication(&mut self) -> Result<String, WriteTestError> {
        const DOING: &str = "tell how it replicates";
        let Some(dialect) = self.connection.as_ref().map(Connection::dialect) else {
            return Ok("nothing".to_owned());
        };
        let sets = self.run(DOING, dialect.replication_status()).await?;
        let rows = sets.first().map_or(&[][..], Vec::as_slice);
        let channels =
            read_channels(dialect, rows).map_err(|reason| self.refused(DOING, reason))?;
        if channels.is_empty() {
            return Ok("that it follows nobody".to_owned());
        }
        let say = |of: &crate::monitor::ReplicationChannel| {
            let channel = &of.channel;
            let (host, port) = (&channel.source_host, channel.source_port);
            let mut said = format!(
                "source {host}:{port}, Slave_IO_Running: {}, Slave_SQL_Running: {}",
                channel.io, channel.sql
            );
            let io = Some(&channel.io_error).filter(|_| channel.io != ThreadState::Yes);
            let sql = Some(&channel.sql_error).filter(|_| channel.sql != ThreadState::Yes);
            for (code, words) in io.into_iter().chain(sql).filter(|(code, _)| *code != 0) {
                said.push_str(&format!(" (error {code}: {words})"));
            }
            said
        };
        Ok(channels.iter().map(say).collect::<Vec<_>>().join("; "))
    }

    /// Every row of the scratch table: `1 m1, 3 m1, …`.
    pub(super) async fn rows(&mut self, scratch: &Scratch) -> Result<String, WriteTestError> {
        let sets = self.run("read the rows", &scratch.rows()).await?;
        let row = |row: &Row| {
            let row = Columns(row);
            format!("{} {}", row.text_or_empty(&["id"]), row.text_or_empty(&["written_on"]))
        };
        Ok(sets.iter().flatten().map(row).collect::<Vec<_>>().join(", "))
    }

    /// Whether the scratch table is there.
    pub(super) async fn has(&mut self, scratch: &Scratch) -> Result<bool, WriteTestError> {
        let sets = self.run("say whether a table is there", &scratch.exists()).await?;
        Ok(sets.iter().flatten().next().is_some())
    }
}

async fn dial(server: &Server, dialer: &Dialer) -> Result<Connection, WriteTestError> {
    let connected = dialer.connect(&server.address, PATIENCE).await;
    connected.map_err(|reason| WriteTestError::Connect { server: server.name.clone(), reason })
}

fn silence(within: Duration) -> ConnectionError {
    ConnectionError::Unreachable {
        kind: UnreachableKind::Silent,
        detail: format!("no answer within {}", humantime::format_duration(within)),
    }
}
