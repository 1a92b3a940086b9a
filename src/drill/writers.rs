//! Clients that write without pause, and remember what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::*;
use mysql_async::{Conn, Opts};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// As many as the issue names.
pub(super) const WRITERS: u32 = 16;

/// After a login that failed.
const PAUSE: Duration = Duration::from_millis(20);

/// One INSERT, as its client saw it.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) writer: u32,
    pub(super) number: u64,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// The key that was handed out, or the error.
    pub(super) outcome: Result<u64, String>,
}

/// The clients.
pub(super) struct Writers {
    told: mpsc::UnboundedReceiver<Write>,
    writes: Vec<Write>,
    enough: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// Connects them all and lets them write into `table`, autocommit.
    pub(super) fn start(opts: &Opts, table: &str) -> Self {
        Self::start_paced(opts, table, None)
    }

    /// The same, at `rate` writes a second of all together.
    pub(super) fn start_paced(opts: &Opts, table: &str, rate: Option<u32>) -> Self {
        let pace = rate.map(|rate| Duration::from_secs(u64::from(WRITERS)) / rate.max(1));
        let (tell, told) = mpsc::unbounded_channel();
        let enough = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            tasks.spawn(write(
                opts.clone(),
                table.into(),
                writer,
                Arc::clone(&enough),
                tell.clone(),
                pace,
            ));
        }
        Self { told, writes: Vec::new(), enough, tasks }
    }

    /// Collects until `done` holds of one more write, for half a minute at most.
    pub(super) async fn until(&mut self, mut done: impl FnMut(&Write) -> bool) -> bool {
        let collecting = async {
            while let Some(write) = self.told.recv().await {
                let last = done(&write);
                self.writes.push(write);
                if last {
                    return true;
                }
            }
            false
        };
        tokio::time::timeout(Duration::from_secs(30), collecting).await.unwrap_or(false)
    }

    /// Until `count` more were acknowledged whose key fits.
    pub(super) async fn until_acknowledged(
        &mut self,
        count: usize,
        fits: impl Fn(u64) -> bool,
    ) -> bool {
        let mut left = count;
        self.until(|write| {
            left -= usize::from(write.outcome.as_ref().is_ok_and(|key| fits(*key)));
            left == 0
        })
        .await
    }

    /// Lets them finish what they are at.
    pub(super) async fn stop(mut self) -> Vec<Write> {
        self.enough.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        while let Ok(write) = self.told.try_recv() {
            self.writes.push(write);
        }
        self.writes
    }
}

async fn write(
    opts: Opts,
    table: String,
    writer: u32,
    enough: Arc<AtomicBool>,
    tell: mpsc::UnboundedSender<Write>,
    pace: Option<Duration>,
) {
    // One after the other, not all at once.
    let mut turns = pace.map(|pace| {
        let first = tokio::time::Instant::now() + pace * writer / WRITERS;
        tokio::time::interval_at(first, pace)
    });
    let mut connection = None;
    let mut number = 0;
    while !enough.load(Ordering::Relaxed) {
        if let Some(turns) = &mut turns {
            turns.tick().await;
        }
        number += 1;
        let began = Instant::now();
        let outcome = insert(&opts, &mut connection, &table, writer, number).await;
        let failed = outcome.is_err();
        let write = Write { writer, number, began, ended: Instant::now(), outcome };
        if tell.send(write).is_err() {
            return;
        }
        if failed {
            connection = None;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn insert(
    opts: &Opts,
    connection: &mut Option<Conn>,
    table: &str,
    writer: u32,
    number: u64,
) -> Result<u64, String> {
    let open = match connection {
        Some(open) => open,
        None => {
            let new = Conn::new(opts.clone()).await.map_err(|error| in_short("login", &error))?;
            connection.insert(new)
        }
    };
    let statement = format!("INSERT INTO {table} (writer, number) VALUES ({writer}, {number})");
    open.query_drop(statement).await.map_err(|error| in_short("write", &error))?;
    open.last_insert_id().ok_or_else(|| "no key".to_owned())
}

fn in_short(doing: &str, error: &mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(error) => format!("{doing}: {}/{}", error.code, error.state),
        _ => format!("{doing}: connection closed"),
    }
}
