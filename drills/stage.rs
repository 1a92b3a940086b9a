//! The pair and the proxy that are hurt, again and again.

use std::time::{Duration, Instant, SystemTime};

use mysql_async::prelude::*;
use tandem::config::{Config, ReturningMaster};
use tandem::coordinator::JournalRow;
use tandem::sandbox::SandboxOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::Stack;

/// What kind of pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) semi_sync: bool,
    pub(crate) durable: bool,
}

/// A moment by both clocks: clients note one, the journal the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), wall: SystemTime::now() }
    }

    /// Milliseconds from here to that.
    pub(crate) fn to_wall(self, other: SystemTime) -> f64 {
        match other.duration_since(self.wall) {
            Ok(after) => after.as_secs_f64() * 1000.0,
            Err(before) => -before.duration().as_secs_f64() * 1000.0,
        }
    }

    pub(crate) fn to(self, other: Instant) -> f64 {
        ms(other.saturating_duration_since(self.at))
    }
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A commit is with the operating system before it is acknowledged, though not on the disk: kill -9
/// loses none, and there is more load than a disk would let through.
const WRITTEN: [&str; 2] = ["--sync_binlog=0", "--innodb_flush_log_at_trx_commit=2"];

/// A pair before which a proxy runs, and how often it was hurt.
pub(crate) struct Stage {
    pub(crate) stack: Stack,
    journal_seen: u64,
    tables: u32,
}

impl Stage {
    pub(crate) async fn set(kind: Kind, set: impl FnOnce(&mut Config)) -> Self {
        let options = SandboxOptions {
            semi_sync: kind.semi_sync,
            arguments: if kind.durable { Vec::new() } else { WRITTEN.map(str::to_owned).to_vec() },
            ..SandboxOptions::default()
        };
        let stack = Stack::start_with(options, |config| {
            config.failover.min_interval = Duration::ZERO;
            config.failover.acknowledge_after = 0;
            // Nobody is there to release it, and the ledger counts what it brings.
            config.failover.returning_master = ReturningMaster::Merge;
            set(config);
        })
        .await;
        let binaries = stack.sandbox.binaries();
        println!(
            "{:?} {}, {}, {}",
            binaries.flavor(),
            binaries.version(),
            if kind.semi_sync { "semi-synchronous" } else { "asynchronous" },
            if kind.durable { "every commit on disk" } else { "commits written, not synced" },
        );
        Self { stack, journal_seen: 0, tables: 0 }
    }

    /// The index of the active master.
    pub(crate) fn active(&self) -> Option<usize> {
        self.stack.app.handles().routes.borrow().active().map(|active| active.index())
    }

    /// Whether a key is of the class that the master with this index hands out.
    pub(crate) fn is_key_of(index: usize) -> impl Fn(u64) -> bool + Copy {
        move |key| (key % 2 == 1) == (index == 0)
    }

    /// A connection to the console.
    pub(crate) async fn console(&self) -> mysql_async::Conn {
        let Some(tandem::topology::ServerAddress::Tcp { host, port }) = self.stack.app.console()
        else {
            panic!("a console on TCP")
        };
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname(host.clone())
            .tcp_port(*port)
            .user(Some("admin"));
        mysql_async::Conn::new(opts).await.expect("the console's login")
    }

    /// A table for the next run.
    pub(crate) async fn table(&mut self) -> String {
        self.tables += 1;
        let table = format!("run_{}", self.tables);
        let mut connection = self.stack.connect().await;
        connection
            .query_drop(format!(
                "CREATE TABLE {table} (id BIGINT AUTO_INCREMENT PRIMARY KEY, writer INT, number BIGINT)"
            ))
            .await
            .expect("a table");
        table
    }

    /// The transitions since the last call.
    pub(crate) fn transitions(&mut self) -> Vec<JournalRow> {
        let rows = self.stack.app.handles().journal.rows_after(self.journal_seen);
        self.journal_seen = rows.last().map_or(self.journal_seen, |row| row.number);
        rows
    }

    /// How many statements were held so far.
    pub(crate) async fn held(&self) -> u64 {
        let Some(address) = self.stack.app.http() else { return 0 };
        let mut stream =
            tokio::net::TcpStream::connect(address.to_string()).await.expect("the metrics' port");
        let request = b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("answered");
        let line = text.lines().find(|line| line.starts_with("tandem_session_held_total"));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// Starts a master again that was killed or stopped; until it has joined, and both are equal.
    pub(crate) async fn rejoin(&mut self, index: usize, table: &str) {
        if self.stack.sandbox.server(index).pid().is_none() {
            self.stack.sandbox.server_mut(index).restart().await.expect("started again");
        }
        self.await_equal(table).await;
    }

    /// Until both replicate and have the same rows.
    pub(crate) async fn await_equal(&self, table: &str) {
        self.stack.sandbox.await_replication().await.expect("both threads run");
        let sum = format!(
            "SELECT CONCAT_WS(' ', COUNT(*), SUM(id), SUM(number), (SELECT MAX(term) FROM tandem.term)) \
             FROM app.{table}"
        );
        let mut sums = Vec::new();
        let equal = async {
            loop {
                sums.clear();
                for server in self.stack.sandbox.servers() {
                    let mut connection = server.root_connection().await.expect("root's login");
                    sums.push(connection.query_first::<String, _>(&sum).await.expect("a sum"));
                }
                if sums[0] == sums[1] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let equal = tokio::time::timeout(Duration::from_secs(30), equal).await;
        assert!(equal.is_ok(), "the masters differ (rows, keys, numbers, term): {sums:?}");
    }
}

/// When the machine went from one phase to another, in milliseconds after `moment`.
pub(crate) fn when(rows: &[JournalRow], moment: Moment, to: &str) -> Option<f64> {
    let row = rows.iter().find(|row| row.transition.to == to && moment.to_wall(row.at) >= 0.0)?;
    Some(moment.to_wall(row.at))
}
