//! The application: connections that insert rows and write down what they are told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::{Acknowledged, Cause, Failed, Ledger, Row, Token, master_of};

/// How many connections write.
pub(super) const WRITERS: u16 = 8;

/// From one statement of a writer to its next. As an application does, and not as fast as they can: at
/// full speed the standby's applier falls behind, and the gap is then the time that it takes to
/// catch up.
pub(super) const PACE: Duration = Duration::from_millis(10);

/// What they do. The key is the server's choice, the rest names the statement.
const INSERT: &str = "INSERT INTO app.writes (writer, number) VALUES (?, ?)";

/// The ledger while it is being written.
#[derive(Debug)]
pub(super) struct Book {
    began: Instant,
    ledger: Mutex<Ledger>,
    /// Rows acknowledged so far, by the master that gave them their keys.
    counts: watch::Sender<[u64; 2]>,
}

impl Book {
    /// An empty one, whose moments count from `began`.
    pub(super) fn new(began: Instant) -> Self {
        Self { began, ledger: Mutex::default(), counts: watch::Sender::new([0; 2]) }
    }

    /// What was written down so far.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows each master acknowledged.
    pub(super) fn counts(&self) -> watch::Receiver<[u64; 2]> {
        self.counts.subscribe()
    }

    /// Since the demo began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn acknowledge(&self, row: Row, sent: Duration) {
        self.ledger().acknowledged.push(Acknowledged { row, sent, at: self.now() });
        self.counts.send_modify(|counts| counts[master_of(row.key)] += 1);
    }

    fn fail(&self, token: Token, cause: Cause) {
        self.ledger().failed.push(Failed { token, cause });
    }
}

/// All connections that write. Dropping them ends them in the middle of a statement.
#[derive(Debug)]
pub(super) struct Writers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// Starts them.
    pub(super) fn start(opts: &Opts, book: &Arc<Book>) -> Self {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for writer in 1..=WRITERS {
            tasks.spawn(write(opts.clone(), writer, Arc::clone(book), stop.subscribe()));
        }
        Self { stop, tasks }
    }

    /// Lets each finish its statement.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn cause(error: &Error) -> Cause {
    match error {
        Error::Server(error) => Cause::Error(error.code),
        _ => Cause::Broken,
    }
}

/// One writer. A statement that failed is written down and never sent again; the next one is another.
/// A connection is used as long as it lives. A writer that cannot log in gives up: through Tandem,
/// that too is an error that a client should not see.
async fn write(opts: Opts, writer: u16, book: Arc<Book>, stop: watch::Receiver<bool>) {
    let mut connection: Option<Conn> = None;
    // Evenly beside the others, and so again after a pause.
    let first = tokio::time::Instant::now() + PACE * u32::from(writer) / u32::from(WRITERS);
    let mut pace = tokio::time::interval_at(first, PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    for number in 1.. {
        pace.tick().await;
        if *stop.borrow() {
            break;
        }
        let token = Token { writer, number };
        let mut open = match connection.take() {
            Some(open) => open,
            None => match Conn::new(opts.clone()).await {
                Ok(open) => open,
                Err(_) => return book.fail(token, Cause::NoLogin),
            },
        };
        let sent = book.now();
        match open.exec_drop(INSERT, (writer, number)).await {
            Ok(()) => {
                let key = open.last_insert_id().unwrap_or_default();
                book.acknowledge(Row { key, token }, sent);
                connection = Some(open);
            }
            Err(error) => {
                book.fail(token, cause(&error));
                // An error in an ERR packet leaves the connection as it was, if it is still there.
                if matches!(error, Error::Server(_)) && open.ping().await.is_ok() {
                    connection = Some(open);
                }
            }
        }
    }
    if let Some(open) = connection {
        // Only a goodbye.
        let _ = open.disconnect().await;
    }
}
