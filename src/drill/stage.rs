//! The pair and the proxy that are hurt, again and again.

use std::time::{Duration, Instant, SystemTime};

use crate::app::App;
use crate::config::{Config, ReturningMaster};
use crate::coordinator::JournalRow;
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::topology::ServerAddress;
use mysql_async::prelude::*;
use mysql_async::{Conn, Opts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What kind of pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) semi_sync: bool,
    pub(super) durable: bool,
}

/// A moment by both clocks: clients note one, the journal the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), wall: SystemTime::now() }
    }

    /// Milliseconds from here to that.
    pub(super) fn to_wall(self, other: SystemTime) -> f64 {
        match other.duration_since(self.wall) {
            Ok(after) => after.as_secs_f64() * 1000.0,
            Err(before) => -before.duration().as_secs_f64() * 1000.0,
        }
    }

    pub(super) fn to(self, other: Instant) -> f64 {
        ms(other.saturating_duration_since(self.at))
    }
}

pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A commit is with the operating system before it is acknowledged, though not on the disk: kill -9
/// loses none, and there is more load than a disk would let through.
const WRITTEN: [&str; 2] = ["--sync_binlog=0", "--innodb_flush_log_at_trx_commit=2"];

/// A pair before which a proxy runs, and how often it was hurt.
pub(super) struct Stage {
    pub(super) app: App,
    pub(super) sandbox: Sandbox,
    journal_seen: u64,
    tables: u32,
}

impl Stage {
    pub(super) async fn set(kind: Kind, set: impl FnOnce(&mut Config)) -> Self {
        let options = SandboxOptions {
            semi_sync: kind.semi_sync,
            arguments: if kind.durable { Vec::new() } else { WRITTEN.map(str::to_owned).to_vec() },
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options).await.expect("a pair of servers");
        let mut config = sandbox.proxy_config();
        config.failover.min_interval = Duration::ZERO;
        config.failover.acknowledge_after = 0;
        // Nobody is there to release it, and the ledger counts what it brings.
        config.failover.returning_master = ReturningMaster::Merge;
        set(&mut config);
        let app = App::start(config).expect("a proxy");
        let mut routes = app.handles().routes.clone();
        let active = routes.wait_for(|table| table.active().is_some());
        let active = tokio::time::timeout(Duration::from_secs(30), active).await;
        drop(active.expect("somebody becomes active").expect("the proxy runs"));
        let binaries = sandbox.binaries();
        println!(
            "{:?} {}, {}, {}",
            binaries.flavor(),
            binaries.version(),
            if kind.semi_sync { "semi-synchronous" } else { "asynchronous" },
            if kind.durable { "every commit on disk" } else { "commits written, not synced" },
        );
        Self { app, sandbox, journal_seen: 0, tables: 0 }
    }

    /// The application's options for mysql_async, through the proxy.
    pub(super) fn opts(&self) -> Opts {
        let Some(ServerAddress::Tcp { port, .. }) = self.app.listening().first() else {
            panic!("a proxy that listens on TCP")
        };
        Opts::from_url(&self.sandbox.url(*port)).expect("a URL")
    }

    /// A connection of the application's, through the proxy.
    pub(super) async fn connect(&self) -> Conn {
        Conn::new(self.opts()).await.expect("a login")
    }

    /// The index of the active master.
    pub(super) fn active(&self) -> Option<usize> {
        self.app.handles().routes.borrow().active().map(|active| active.index())
    }

    /// Whether a key is of the class that the master with this index hands out.
    pub(super) fn is_key_of(index: usize) -> impl Fn(u64) -> bool + Copy {
        move |key| (key % 2 == 1) == (index == 0)
    }

    /// A connection to the console.
    pub(super) async fn console(&self) -> Conn {
        let Some(ServerAddress::Tcp { host, port }) = self.app.console() else {
            panic!("a console on TCP")
        };
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname(host.clone())
            .tcp_port(*port)
            .user(Some("admin"));
        Conn::new(opts).await.expect("the console's login")
    }

    /// A table for the next run.
    pub(super) async fn table(&mut self) -> String {
        self.tables += 1;
        let table = format!("run_{}", self.tables);
        let mut connection = self.connect().await;
        connection
            .query_drop(format!(
                "CREATE TABLE {table} (id BIGINT AUTO_INCREMENT PRIMARY KEY, writer INT, number BIGINT)"
            ))
            .await
            .expect("a table");
        table
    }

    /// The transitions since the last call.
    pub(super) fn transitions(&mut self) -> Vec<JournalRow> {
        let rows = self.app.handles().journal.rows_after(self.journal_seen);
        self.journal_seen = rows.last().map_or(self.journal_seen, |row| row.number);
        rows
    }

    /// How many statements were held so far.
    pub(super) async fn held(&self) -> u64 {
        let Some(address) = self.app.http() else { return 0 };
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
    pub(super) async fn rejoin(&mut self, index: usize, table: &str) {
        if self.sandbox.server(index).pid().is_none() {
            self.sandbox.server_mut(index).restart().await.expect("started again");
        }
        self.await_equal(table).await;
    }

    /// Until both replicate and have the same rows.
    pub(super) async fn await_equal(&self, table: &str) {
        self.sandbox.await_replication().await.expect("both threads run");
        let sum = format!(
            "SELECT CONCAT_WS(' ', COUNT(*), SUM(id), SUM(number), (SELECT MAX(term) FROM tandem.term)) \
             FROM app.{table}"
        );
        let mut sums = Vec::new();
        let equal = async {
            loop {
                sums.clear();
                for server in self.sandbox.servers() {
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
pub(super) fn when(rows: &[JournalRow], moment: Moment, to: &str) -> Option<f64> {
    let row = rows.iter().find(|row| row.transition.to == to && moment.to_wall(row.at) >= 0.0)?;
    Some(moment.to_wall(row.at))
}
