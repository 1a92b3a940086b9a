//! Clients beside each proxy that write at a small, bounded rate, and what each was told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::prelude::*;
use mysql_async::{Conn, OptsBuilder};
use tokio::task::JoinHandle;

/// Between two writes of a client.
const PACE: Duration = Duration::from_millis(20);

/// One write.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) token: String,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    /// It may or may not have been executed.
    Unknown,
    /// An error says that it was not.
    Refused,
}

/// A client of one proxy, and all it was told. Dropping it ends it.
pub(crate) struct Client {
    writes: Arc<Mutex<Vec<Write>>>,
    task: JoinHandle<()>,
}

impl Client {
    /// One that logs in like this, under this name.
    pub(crate) fn start(name: String, options: OptsBuilder) -> Self {
        let writes = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(write(name, options, writes.clone()));
        Self { writes, task }
    }

    /// All writes that have ended.
    pub(crate) fn writes(&self) -> Vec<Write> {
        self.writes.lock().expect("no panic").clone()
    }

    /// Ends it; what it was told is kept.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.writes().iter().filter(|write| write.fate == Fate::Acknowledged).count()
    }

    /// Of what ended since then: how many were acknowledged, unknown and refused, and the longest
    /// time without an acknowledgement.
    pub(crate) fn since(&self, start: Instant) -> Tally {
        let mut tally = Tally::default();
        let mut last = start;
        for write in self.writes().iter().filter(|write| write.ended >= start) {
            match write.fate {
                Fate::Acknowledged => {
                    tally.acknowledged += 1;
                    tally.gap = tally.gap.max(write.ended - last);
                    last = write.ended;
                }
                Fate::Unknown => tally.unknown += 1,
                Fate::Refused => tally.refused += 1,
            }
        }
        tally
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) gap: Duration,
}

async fn write(name: String, options: OptsBuilder, writes: Arc<Mutex<Vec<Write>>>) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut connection: Option<Conn> = None;
    for number in 0.. {
        pace.tick().await;
        let mut conn = match connection.take() {
            Some(conn) => conn,
            None => match Conn::new(options.clone()).await {
                Ok(conn) => conn,
                // Nobody is active for longer than a login waits: the next one may do.
                Err(_) => continue,
            },
        };
        let token = format!("{name}-{number}");
        let began = Instant::now();
        let insert =
            format!("INSERT INTO written (token, by_server) VALUES ('{token}', @@server_id)");
        let fate = match conn.query_drop(insert).await {
            Ok(()) => Fate::Acknowledged,
            // 1927: the connection goes with it.
            Err(mysql_async::Error::Server(error)) if error.code != 1927 => Fate::Refused,
            Err(_) => Fate::Unknown,
        };
        if fate != Fate::Unknown {
            connection = Some(conn);
        }
        let write = Write { token, began, ended: Instant::now(), fate };
        writes.lock().expect("no panic").push(write);
    }
}

/// The tokens of a table, and those that are in it more than once.
pub(crate) fn tokens(rows: Vec<String>) -> (BTreeSet<String>, Vec<String>) {
    let mut seen = BTreeSet::new();
    let mut twice = Vec::new();
    for token in rows {
        if !seen.insert(token.clone()) {
            twice.push(token);
        }
    }
    (seen, twice)
}
