//! The idle client: it connected before the crash, has things set in its session, and asks again
//! after it.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, Statement};

/// What it set, and expects to find.
pub(super) const LOCK_WAIT_TIMEOUT: u64 = 4242;
/// The value of its `@note`.
pub(super) const NOTE: &str = "still here";

/// A connection with a session variable, a user variable and a prepared statement.
#[derive(Debug)]
pub(super) struct IdleClient {
    connection: Conn,
    statement: Statement,
}

/// What it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdleAnswer {
    pub(super) lock_wait_timeout: u64,
    pub(super) note: Option<String>,
    /// 20 + 22, by the prepared statement.
    pub(super) sum: Option<u64>,
    /// Who answered.
    pub(super) server_id: u64,
}

impl IdleAnswer {
    /// Whether it found its session as it left it.
    pub(super) fn kept(&self) -> bool {
        self.lock_wait_timeout == LOCK_WAIT_TIMEOUT
            && self.note.as_deref() == Some(NOTE)
            && self.sum == Some(42)
    }
}

impl IdleClient {
    /// Connects, and sets what it is to find again.
    pub(super) async fn connect(opts: Opts) -> Result<Self, Error> {
        let mut connection = Conn::new(opts).await?;
        let set = format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_TIMEOUT}, @note = '{NOTE}'");
        connection.query_drop(set).await?;
        let statement = connection.prep("SELECT CAST(? + ? AS UNSIGNED)").await?;
        Ok(Self { connection, statement })
    }

    /// Executes its statement and reads its variables, on the connection that it always had:
    /// mysql_async does not connect again behind one's back.
    pub(super) async fn ask(&mut self) -> Result<IdleAnswer, Error> {
        let sum: Option<u64> = self.connection.exec_first(&self.statement, (20, 22)).await?;
        let row: Option<(u64, Option<String>, u64)> =
            self.connection.query_first("SELECT @@lock_wait_timeout, @note, @@server_id").await?;
        let (lock_wait_timeout, note, server_id) = row.unwrap_or_default();
        Ok(IdleAnswer { lock_wait_timeout, note, sum, server_id })
    }
}
