//! The application: connections that insert rows and write down what they are told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::ledger::{Acknowledged, Cause, Failed, Ledger, Row, Token, master_of};

/// After a login that failed.
const LOGIN_AGAIN: Duration = Duration::from_millis(20);

/// How they write.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// How many connections.
    pub(crate) writers: u16,
    /// From one statement of a writer to its next; `None` for as fast as it is answered.
    pub(crate) pace: Option<Duration>,
    /// The table that [`make_table`] made, with its schema.
    pub(crate) table: String,
}

/// Makes the table that the writers fill. The key is the server's choice, the rest names the statement.
pub(crate) async fn make_table(connection: &mut Conn, table: &str) -> Result<(), Error> {
    let statement = format!(
        "CREATE TABLE {table} (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
         writer SMALLINT UNSIGNED NOT NULL, number INT UNSIGNED NOT NULL)"
    );
    connection.query_drop(statement).await
}

/// What is in it.
pub(crate) async fn read_rows(connection: &mut Conn, table: &str) -> Result<Vec<Row>, Error> {
    let row = |(key, writer, number)| Row { key, token: Token { writer, number } };
    connection.query_map(format!("SELECT id, writer, number FROM {table} ORDER BY id"), row).await
}

/// The ledger while it is being written.
#[derive(Debug)]
pub(crate) struct Book {
    began: Instant,
    ledger: Mutex<Ledger>,
    /// Rows acknowledged so far, by the master that gave them their keys.
    counts: watch::Sender<[u64; 2]>,
}

impl Book {
    /// An empty one, whose moments count from `began`.
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, ledger: Mutex::default(), counts: watch::Sender::new([0; 2]) }
    }

    /// What was written down so far.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows each master acknowledged.
    pub(crate) fn counts(&self) -> watch::Receiver<[u64; 2]> {
        self.counts.subscribe()
    }

    /// Since it was opened.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn acknowledge(&self, row: Row, sent: Duration) {
        self.ledger().acknowledged.push(Acknowledged { row, sent, at: self.now() });
        self.counts.send_modify(|counts| counts[master_of(row.key)] += 1);
    }

    fn fail(&self, token: Token, cause: Cause) {
        let at = self.now();
        self.ledger().failed.push(Failed { token, at, cause });
    }
}

/// All connections that write. Dropping them ends them in the middle of a statement.
#[derive(Debug)]
pub(crate) struct Writers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// Starts them.
    pub(crate) fn start(opts: &Opts, load: &Load, book: &Arc<Book>) -> Self {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for number in 1..=load.writers {
            let writer = Writer {
                opts: opts.clone(),
                number,
                insert: format!("INSERT INTO {} (writer, number) VALUES (?, ?)", load.table),
                book: Arc::clone(book),
            };
            tasks.spawn(writer.write(turns(load, number), stop.subscribe()));
        }
        Self { stop, tasks }
    }

    /// Lets each finish its statement.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// When a writer writes: evenly beside the others, and so again after a pause.
fn turns(load: &Load, number: u16) -> Option<Interval> {
    let pace = load.pace?;
    let first = tokio::time::Instant::now() + pace * u32::from(number) / u32::from(load.writers);
    let mut turns = tokio::time::interval_at(first, pace);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    Some(turns)
}

fn cause(error: &Error) -> Cause {
    match error {
        Error::Server(error) => Cause::Error(error.code),
        _ => Cause::Broken,
    }
}

/// One of them. A statement that failed is written down and never sent again; the next one is another.
/// A connection is used as long as it lives.
struct Writer {
    opts: Opts,
    number: u16,
    insert: String,
    book: Arc<Book>,
}

impl Writer {
    async fn write(self, mut turns: Option<Interval>, stop: watch::Receiver<bool>) {
        let mut connection: Option<Conn> = None;
        for number in 1.. {
            if let Some(turns) = &mut turns {
                turns.tick().await;
            }
            if *stop.borrow() {
                break;
            }
            let token = Token { writer: self.number, number };
            let open = match connection.take() {
                Some(open) => open,
                None => match Conn::new(self.opts.clone()).await {
                    Ok(open) => open,
                    Err(_) => {
                        self.book.fail(token, Cause::NoLogin);
                        tokio::time::sleep(LOGIN_AGAIN).await;
                        continue;
                    }
                },
            };
            connection = self.insert(open, token).await;
        }
        if let Some(open) = connection {
            // Only a goodbye.
            let _ = open.disconnect().await;
        }
    }

    /// Writes one row; the connection comes back if it can be used again.
    async fn insert(&self, mut open: Conn, token: Token) -> Option<Conn> {
        let sent = self.book.now();
        match open.exec_drop(&self.insert, (token.writer, token.number)).await {
            Ok(()) => {
                let key = open.last_insert_id().unwrap_or_default();
                self.book.acknowledge(Row { key, token }, sent);
                Some(open)
            }
            Err(error) => {
                self.book.fail(token, cause(&error));
                // An error in an ERR packet leaves the connection as it was, if it is still there.
                let usable = matches!(error, Error::Server(_)) && open.ping().await.is_ok();
                usable.then_some(open)
            }
        }
    }
}
