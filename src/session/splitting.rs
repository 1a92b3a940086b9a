//! Reads of the main port that go to a server of `[reads]`: read/write splitting.
//!
//! A session has its backend, where everything happens that matters, and beside it a second connection
//! on which nothing but reads run. What may go there is decided by the text alone ([`reads_tables_only`])
//! and by the session's state: a SELECT from tables, outside of any transaction, that takes no lock, calls
//! nothing that might act, and asks nothing of the session or the server itself. Everything else stays
//! with the active master; so does a read whenever its reader is not there, has not everything that
//! this proxy acknowledged, or is lost before it began to answer. A client notices none of that: the
//! master is always right.
//!
//! The second connection is a session of the client's user with the same schema, variables and
//! character set, READ ONLY. It is compared with the first one whenever something happened there that
//! could have changed it, and made anew if it differs. While it answers it takes the backend's place
//! in the relay, which passes the answer on as any other.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::backend::{Accepted, Backend, ConnectFailure};
use super::client_error::ClientError;
use super::end::SessionEnd;
use super::holding::Stop;
use super::migration::NotRestored;
use super::pump::Pumped;
use super::reading::Reading;
use super::relay::Relay;
use super::statement::{Keyword, Token, Tokens, Traits, Verb};
use crate::routing::RoutingTable;
use crate::topology::Server;
use crate::wire::{Command, Header, StatusFlags};

/// What sessions of the main port share for it.
#[derive(Clone, Debug)]
pub struct Splitting {
    /// The readers, as the reads listener knows them.
    pub reading: Reading,
    /// The table that names them.
    pub routes: watch::Receiver<Arc<RoutingTable>>,
}

/// What one of them has of its own.
#[derive(Debug, Default)]
pub(super) struct Splits {
    reader: Option<SecondBackend>,
    /// Every read stays until then: a reader was not reached, did not let the session in, or may lack a write.
    not_before: Option<Instant>,
    /// The last command was read there: what asks about it has to go there, too.
    last_was_there: bool,
}

/// A session's connection to its reader.
#[derive(Debug)]
struct SecondBackend {
    backend: Backend,
    made_of: Likeness,
    /// Nothing was done since that could have changed the session.
    alike: bool,
}

/// What both sessions have to have in common.
#[derive(Debug, PartialEq, Eq)]
struct Likeness {
    schema: Option<Vec<u8>>,
    settings: Vec<Vec<u8>>,
}

/// After a reader could not be reached, or had not got there in time.
const PAUSE: Duration = Duration::from_secs(1);
/// After one did not let the session in: an account that is not there, for one, comes late.
const REFUSED: Duration = Duration::from_secs(10);
/// How often it is looked whether a reader that does not answer is down.
const LOOK: Duration = Duration::from_millis(250);
/// How long a read waits for its reader to have what was acknowledged.
const PATIENCE: Duration = Duration::from_millis(200);

impl Relay {
    /// Whether the command at the front is a read that a reader may answer.
    #[inline]
    pub(super) fn may_split(&mut self) -> bool {
        if self.shared.splitting.is_none() {
            return false;
        }
        let may = self.is_split();
        if !may && !self.leaves_the_session_alone() {
            self.doubt_reader();
        }
        if let Some(splits) = &mut self.splits {
            splits.last_was_there &= may;
        }
        may
    }

    fn leaves_the_session_alone(&self) -> bool {
        let same = matches!(
            self.current.command,
            Command::Query
                | Command::Ping
                | Command::StmtPrepare
                | Command::StmtExecute
                | Command::StmtBulkExecute
                | Command::StmtSendLongData
                | Command::StmtFetch
                | Command::StmtReset
                | Command::StmtClose
        );
        same && self.current.statement.is_plain()
    }

    /// The command may change the session: before the next read both are compared.
    pub(super) fn doubt_reader(&mut self) {
        if let Some(splits) = &mut self.splits {
            splits.last_was_there = false;
            splits.reader.iter_mut().for_each(|reader| reader.alike = false);
        }
    }

    fn is_split(&self) -> bool {
        let (current, state) = (&self.current, &self.state);
        let statement = current.statement;
        let at_home = |splits: &Splits| splits.not_before.is_some_and(|it| Instant::now() < it);
        if current.command != Command::Query
            || !statement.is_repeatable()
            || current.in_transaction
            || !matches!(statement.verb, Verb::Select | Verb::Show)
            || self.splits.as_deref().is_some_and(at_home)
        {
            return false;
        }
        let settled = self.backend.is_some()
            && !self.unsettled
            && self.closed.is_none()
            && self.lost_transaction.is_none();
        let free = !state.is_uncertain()
            && state.status().has(StatusFlags::AUTOCOMMIT)
            && !state.has_next_transaction()
            && state.migration_blocker().is_none();
        if !settled || !free {
            return false;
        }
        if statement.traits.has(Traits::DIAGNOSES) {
            return self.splits.as_ref().is_some_and(|splits| splits.last_was_there);
        }
        let others = [Traits::LOCKS, Traits::WRITES, Traits::TRACKING, Traits::ACCESS_MODE];
        if statement.verb != Verb::Select || others.iter().any(|it| statement.traits.has(*it)) {
            return false;
        }
        let from = Header::LEN + current.sql_at;
        let sql = &self.request.bytes()[from..self.front_len()];
        reads_tables_only(sql, state.backslash_escapes())
    }

    /// Has the command answered by a reader. False when it is left to the active master, and nothing was
    /// said to the client.
    pub(super) async fn split(&mut self) -> Result<bool, SessionEnd> {
        let Some(splitting) = self.shared.splitting.clone() else { return Ok(false) };
        if !self.reach_reader(&splitting).await? {
            return Ok(false);
        }
        let (generation, place) = (self.generation, self.entry.place());
        let Some(reader) = self.splits.as_mut().and_then(|splits| splits.reader.take()) else {
            return Ok(false);
        };
        let SecondBackend { backend, made_of, alike } = reader;
        self.entry.set_place(Some((backend.server, backend.thread_id)));
        let own = self.backend.replace(backend);
        self.current.split = true;
        let answered = self.ask_reader(&splitting.reading).await;
        self.current.split = false;
        let reader = std::mem::replace(&mut self.backend, own);
        self.entry.set_place(place);
        self.entry.set_running(); // before the table is looked at
        self.generation = generation;
        let answered = answered?;
        let splits = self.splits.get_or_insert_default();
        splits.last_was_there = answered;
        if let Some(backend) = reader {
            splits.reader = Some(SecondBackend { backend, made_of, alike });
        }
        let metrics = &splitting.reading.metrics;
        if answered { &metrics.split } else { &metrics.split_back }.inc();
        Ok(answered)
    }

    /// Sees to it that there is a reader, that its session is like this one, and that it has what was
    /// acknowledged.
    async fn reach_reader(&mut self, splitting: &Splitting) -> Result<bool, SessionEnd> {
        let table = splitting.routes.borrow().clone();
        self.keep_or_leave_reader(&splitting.reading, &table).await;
        let splits = self.splits.get_or_insert_default();
        if splits.reader.is_none() {
            // What was not read there is not asked about there.
            let asks = self.current.statement.traits.has(Traits::DIAGNOSES);
            if asks || !self.connect_reader(splitting, &table).await? {
                return Ok(false);
            }
        }
        self.reader_has_writes(&splitting.reading).await
    }

    async fn keep_or_leave_reader(&mut self, reading: &Reading, table: &RoutingTable) {
        let Some(mut reader) = self.splits.as_mut().and_then(|splits| splits.reader.take()) else {
            return;
        };
        let server = reader.backend.server;
        let serves = table.readers.contains(&server)
            && reading.freshness.is_fresh(server, Instant::now())
            && self.backend.as_ref().is_some_and(|own| own.server != server);
        if serves && !reader.alike {
            reader.alike = reader.made_of == self.likeness();
        }
        if serves && reader.alike {
            self.splits.get_or_insert_default().reader = Some(reader);
        } else {
            reader.backend.leave().await;
        }
    }

    fn likeness(&self) -> Likeness {
        Likeness { schema: self.state.schema.clone(), settings: self.state.settings_sql() }
    }

    /// Logs in where the fewest are, if that is not the session's own server.
    async fn connect_reader(
        &mut self,
        Splitting { reading, .. }: &Splitting,
        table: &RoutingTable,
    ) -> Result<bool, SessionEnd> {
        let (own, now) = (self.backend.as_ref().map(|backend| backend.server), Instant::now());
        let fit = |server| reading.freshness.is_fresh(server, now) && Some(server) != own;
        let Some(seat) = reading.seats.take(&table.readers, fit) else { return Ok(false) };
        let server = table.servers.get(seat.server);
        match self.log_in_to_reader(server).await? {
            Ok(mut backend) => {
                backend.seat = Some(seat);
                let made_of = self.likeness();
                let reader = SecondBackend { backend, made_of, alike: true };
                self.splits.get_or_insert_default().reader = Some(reader);
                Ok(true)
            }
            Err(failure) => {
                let (session, why) = (self.entry.id, format!("{failure:?}"));
                tracing::debug!(session, server = server.name, why, "no reader");
                let mut pause = REFUSED;
                if matches!(failure, ConnectFailure::Unreachable(..)) {
                    // Nobody reads there before it was looked at.
                    reading.freshness.set(server.id, None);
                    reading.suspicion.notify_one();
                    pause = PAUSE;
                }
                let until = Instant::now() + pause;
                self.splits.get_or_insert_default().not_before = Some(until);
                Ok(false)
            }
        }
    }

    /// The outer error ends the session.
    async fn log_in_to_reader(
        &mut self,
        server: &Server,
    ) -> Result<Result<Backend, ConnectFailure>, SessionEnd> {
        self.logins += 1;
        let mut login = self.login_to_send();
        login.schema.clone_from(&self.state.schema);
        login.towards.read_only = true;
        let (shared, number) = (Arc::clone(&self.shared), self.logins);
        let connecting = async {
            // The permit can only fail when the semaphore is closed, which nobody does.
            let _permit = shared.logins(server.id).acquire().await.ok();
            let timeout = shared.connect_timeout;
            Backend::connect(server, &login, number, &shared.master_tls, timeout).await
        };
        let connected = tokio::select! {
            connected = connecting => connected,
            stop = poll_fn(|cx| self.poll_stop(cx)) => match stop {
                Stop::End(end) => return Err(end),
                Stop::Interrupted => Err(ConnectFailure::Interrupted),
            },
        };
        let mut backend = match connected {
            Ok(Accepted { backend, .. }) => backend,
            Err(failure) => return Ok(Err(failure)),
        };
        // Its settings are those of a session that reads.
        let own = std::mem::replace(&mut self.login.towards.read_only, true);
        let restored = self.restore(&mut backend).await;
        self.login.towards.read_only = own;
        Ok(restored.map(|()| backend).map_err(|failure| match failure {
            NotRestored::Refused(reason) => ConnectFailure::Unsupported(reason),
            NotRestored::Broken(error) => ConnectFailure::from(error),
        }))
    }

    /// Sends the command to the reader, which is in the backend's place, and passes its answer on. False
    /// when there was none, for the client to see.
    async fn ask_reader(&mut self, reading: &Reading) -> Result<bool, SessionEnd> {
        if let Err(error) = self.send().await? {
            return self.lost_reader(reading, &error).await;
        }
        loop {
            let pumping = poll_fn(|cx| self.poll_pump(cx));
            let Ok(pumped) = tokio::time::timeout(LOOK, pumping).await else {
                let server = self.backend.as_ref().map(|backend| backend.server);
                if server.is_some_and(|server| reading.freshness.is_down(server)) {
                    let silent = io::Error::from(io::ErrorKind::TimedOut);
                    return self.lost_reader(reading, &silent).await;
                }
                continue;
            };
            match pumped {
                Pumped::Answered => {
                    self.entry.set_waiting_since(0);
                    self.answered();
                    return Ok(true);
                }
                // A view that writes, a table that is not there yet: the master knows.
                Pumped::Fenced => {
                    self.entry.set_waiting_since(0);
                    self.current.withheld.clear();
                    return Ok(false);
                }
                // Whoever is active now is no matter to a reader. The command after this one looks.
                Pumped::RoutesChanged => self.generation = self.shared.generation(),
                Pumped::BackendLost(error) => return self.lost_reader(reading, &error).await,
                Pumped::ClientGone(error) => return Err(SessionEnd::ClientGone(error)),
                Pumped::Malformed(error) => {
                    return Err(SessionEnd::ServerMalformed(error.to_string()));
                }
                Pumped::WantsFile => {
                    let error = "a file was asked for by a SELECT".to_owned();
                    return Err(SessionEnd::ServerMalformed(error));
                }
                Pumped::Killed => return Err(SessionEnd::Killed),
            }
        }
    }

    /// The reader went; or only the connection, which a server closes that was idle for long: whoever logs
    /// in there next finds out. What it had not begun to answer is the master's; an answer that broke off is
    /// told as one.
    async fn lost_reader(
        &mut self,
        reading: &Reading,
        error: &io::Error,
    ) -> Result<bool, SessionEnd> {
        self.entry.set_waiting_since(0);
        let Some(backend) = self.backend.take() else { return Ok(false) };
        if self.entry.is_condemned(backend.thread_id) {
            return Err(SessionEnd::ServerClosed);
        }
        let from = self.shared.table().servers.name(backend.server).to_owned();
        tracing::debug!(session = self.entry.id, server = from, %error, "a reader was lost");
        reading.suspicion.notify_one();
        if !self.current.forwarded {
            return Ok(false);
        }
        if !self.tracker.at_boundary() {
            return Err(SessionEnd::CutOff); // inside a packet there is no place for a word
        }
        self.flush_unsent().await?;
        self.error_in_place(&ClientError::CutOff { from }).await?;
        Ok(true)
    }

    /// Whether the reader has what this proxy has acknowledged. A moment is waited for that.
    async fn reader_has_writes(&mut self, reading: &Reading) -> Result<bool, SessionEnd> {
        let Some(causal) = &reading.causal else { return Ok(true) };
        let Some(reader) = self.splits.as_mut().and_then(|splits| splits.reader.take()) else {
            return Ok(false);
        };
        let (server, positions) = (reader.backend.server, &causal.positions);
        if positions.are_incomplete() {
            self.splits.get_or_insert_default().reader = Some(reader);
            return Ok(false);
        }
        let Some(needed) = positions.needed_at(server) else {
            self.splits.get_or_insert_default().reader = Some(reader);
            return Ok(true);
        };
        reading.metrics.causal_waits.inc();
        let SecondBackend { backend, made_of, alike } = reader;
        let own = self.backend.replace(backend);
        let waited = self.wait_on_server(positions, &needed, PATIENCE).await;
        let reader = std::mem::replace(&mut self.backend, own);
        let there = waited.is_there();
        if waited.is_broken() {
            reading.suspicion.notify_one();
            return Ok(false);
        }
        let splits = self.splits.get_or_insert_default();
        splits.reader = reader.map(|backend| SecondBackend { backend, made_of, alike });
        if there {
            positions.reached(server, &needed);
        } else {
            reading.metrics.causal_timeouts.inc();
            splits.not_before = Some(Instant::now() + PAUSE);
        }
        Ok(there)
    }

    /// Nobody could tell whether a reader has what was just written: this session reads where it
    /// writes, until every reader has it or is left.
    pub(super) fn read_at_home(&mut self) {
        let Some(splitting) = &self.shared.splitting else { return };
        let Some(causal) = &splitting.reading.causal else { return };
        let until = Instant::now() + causal.patience;
        self.splits.get_or_insert_default().not_before = Some(until);
    }

    /// The session ends, or becomes another one.
    pub(super) async fn leave_reader(&mut self) {
        if let Some(Splits { reader: Some(reader), .. }) = self.splits.take().map(|splits| *splits)
        {
            reader.backend.leave().await;
        }
    }
}

/// Schemas that are about the server, and words that ask something of the session, or of locks.
const NOT_THERE: [&str; 9] = [
    "INFORMATION_SCHEMA",
    "PERFORMANCE_SCHEMA",
    "MYSQL",
    "SYS",
    "TANDEM",
    "CONNECTION_ID",
    "SHARE",
    "PREVIOUS",
    "PROCEDURE",
];

/// Whether a SELECT that is known to be repeatable depends on nothing but tables, on any server the same: it
/// names one, no variable, and nothing that is about the server or the session.
fn reads_tables_only(sql: &[u8], backslash_escapes: bool) -> bool {
    let mut from = false;
    for token in Tokens::new(sql, backslash_escapes) {
        let word = match token {
            Token::Symbol(b'@') => return false,
            Token::Symbol(_) => continue,
            Token::Word(word) => word,
            Token::Text([b'\'', ..]) => continue,
            Token::Text(quoted) => quoted.get(1..quoted.len() - 1).unwrap_or_default(),
        };
        let word = Keyword(word);
        if NOT_THERE.iter().any(|name| word.is(name)) {
            return false;
        }
        from |= word.is("FROM");
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::statement::Statement;

    /// As [`Relay::is_split`], by the text alone.
    fn split(sql: &str) -> bool {
        let statement = Statement::classify(sql.as_bytes(), true);
        let others = [Traits::LOCKS, Traits::WRITES, Traits::TRACKING, Traits::ACCESS_MODE];
        statement.verb == Verb::Select
            && statement.is_repeatable()
            && !others.iter().any(|it| statement.traits.has(*it))
            && reads_tables_only(sql.as_bytes(), true)
    }

    #[test]
    fn reads_of_tables_are_split() {
        for sql in [
            "SELECT * FROM t",
            "select a, count(*) from t where b = 'x@y; mysql' group by a",
            "(SELECT 1 FROM a) UNION ALL (SELECT 2 FROM b)",
            "SELECT t.a FROM shop.t JOIN u USING (id) WHERE t.at < NOW() ORDER BY 1 LIMIT 10",
            "/* app */ SELECT `user` FROM `accounts`",
            "SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1",
        ] {
            assert!(split(sql), "{sql}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for sql in [
            // Writes, and what might.
            "INSERT INTO t SELECT * FROM u",
            "WITH c AS (SELECT 1) DELETE FROM t",
            "SELECT f(a) FROM t",
            "SELECT shop.f(a) FROM t",
            "SELECT NEXT VALUE FOR s FROM t",
            "SELECT NEXTVAL(s) FROM t",
            "SELECT SETVAL(s, 1) FROM t",
            "SELECT a FROM t; DELETE FROM t",
            "SELECT a INTO @a FROM t",
            "SELECT a FROM t INTO OUTFILE '/tmp/a'",
            "SELECT SLEEP(1) FROM t",
            // Locks.
            "SELECT a FROM t FOR UPDATE",
            "SELECT a FROM t FOR SHARE SKIP LOCKED",
            "SELECT a FROM t LOCK IN SHARE MODE",
            "SELECT GET_LOCK('a', 1) FROM t",
            // The session.
            "SELECT @a FROM t",
            "SELECT a FROM t WHERE (@n := a) > 1",
            "SELECT @@server_id FROM t",
            "SELECT LAST_INSERT_ID() FROM t",
            "SELECT CONNECTION_ID() FROM t",
            "SELECT PREVIOUS VALUE FOR s FROM t",
            "SELECT LASTVAL(s) FROM t",
            "SELECT 1",
            "SELECT DATABASE()",
            // The server.
            "SELECT * FROM information_schema.tables",
            "SELECT * FROM `mysql`.`user`",
            "SELECT * FROM \"performance_schema\".threads",
            "SELECT * FROM tandem.term",
            // What is no SELECT.
            "SHOW TABLES FROM t",
            "EXPLAIN SELECT * FROM t",
            "TABLE t",
            "VALUES ROW(1)",
            "SELECT a FROM t PROCEDURE ANALYSE()",
            "/*!50000 SELECT a FROM t */",
            "",
        ] {
            assert!(!split(sql), "{sql}");
        }
    }
}
