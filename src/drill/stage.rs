//! The pair and the proxy that are hurt, again and again.

use std::time::{Duration, SystemTime};

use mysql_async::Opts;
use mysql_async::prelude::Queryable as _;

use super::load::{Contents, LoadKind, Tables, Told, Traffic};
use super::output::Output;
use super::proxy::{Counters, Proxy};
use super::report::{Counts, Report, Run};
use super::transfers::Transfers;
use super::{DrillError, ms, within};
use crate::app::App;
use crate::checker::{Book, Gap, Kill, Verdict};
use crate::cli::{DrillOptions, Pace};
use crate::config::{Admin, Config, ReturningMaster};
use crate::coordinator::JournalRow;
use crate::sandbox::{Sandbox, SandboxOptions, ServerBinaries};
use crate::topology::{Flavor, ServerAddress};

/// What kind of pair, under which load.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) semi_sync: bool,
    durable: bool,
    binaries: Option<ServerBinaries>,
    /// What the command line says of it; `None` if nothing.
    pub(super) pace: Option<Pace>,
    pub(super) load: LoadKind,
}

impl Kind {
    /// Those that were asked for: one for each pace.
    pub(super) fn all_of(options: &DrillOptions) -> Result<Vec<Self>, DrillError> {
        let kind = Self::of(options)?;
        if options.pace.is_empty() {
            return Ok(vec![kind]);
        }
        let with = |pace: &Pace| Self { pace: Some(*pace), ..kind.clone() };
        Ok(options.pace.iter().map(with).collect())
    }

    fn of(options: &DrillOptions) -> Result<Self, DrillError> {
        let binaries = options.server.as_deref().map(ServerBinaries::at).transpose()?;
        let load = LoadKind {
            writers: options.writers,
            rate: options.rate,
            // Beside writers who are to leave the machine room, transfers do so as well.
            transfer_pace: options.rate.map(|_| MODERATE),
            schema: "app",
        };
        Ok(Self {
            semi_sync: !options.asynchronous,
            durable: options.durable,
            binaries,
            pace: None,
            load,
        })
    }

    /// The same with transfers that leave the masters time for the writers.
    pub(super) fn with_slow_transfers(&self) -> Self {
        let mut kind = self.clone();
        kind.load.transfer_pace = Some(MODERATE);
        kind
    }
}

/// Between two transfers of one client.
const MODERATE: Duration = Duration::from_millis(20);

/// A moment by both clocks: clients note one, the journal the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Since the book was opened.
    pub(super) at: Duration,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now(book: &Book) -> Self {
        Self { at: book.now(), wall: SystemTime::now() }
    }

    /// Milliseconds from here to that.
    pub(super) fn to(self, other: Duration) -> f64 {
        (other.as_secs_f64() - self.at.as_secs_f64()) * 1000.0
    }

    fn to_wall(self, other: SystemTime) -> f64 {
        match other.duration_since(self.wall) {
            Ok(after) => ms(after),
            Err(before) => -ms(before.duration()),
        }
    }
}

/// When the machine went from one phase to another, in milliseconds after `moment`; NaN if it did not.
pub(super) fn when(rows: &[JournalRow], moment: Moment, to: &str) -> f64 {
    let times = rows.iter().filter(|row| row.transition.to == to);
    times.map(|row| moment.to_wall(row.at)).find(|time| *time >= 0.0).unwrap_or(f64::NAN)
}

/// A commit is with the operating system before it is acknowledged, though not on the disk: kill -9
/// loses none, and there is more load than a disk would let through.
const WRITTEN: [&str; 2] = ["--sync_binlog=0", "--innodb_flush_log_at_trx_commit=2"];

/// Between two looks at what a server does not tell by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A pair before which a proxy runs, and how often it was hurt.
#[derive(Debug)]
pub(super) struct Stage {
    // Dropped in this order: nobody is to watch the servers go.
    pub(super) proxy: Proxy,
    pub(super) app: App,
    pub(super) sandbox: Sandbox,
    journal_seen: u64,
    loads: u32,
}

impl Stage {
    pub(super) async fn set(
        kind: &Kind,
        out: &mut Output,
        set: impl FnOnce(&mut Config),
    ) -> Result<Self, DrillError> {
        out.doing("starting two servers…")?;
        let options = SandboxOptions {
            semi_sync: kind.semi_sync,
            binaries: kind.binaries.clone(),
            arguments: if kind.durable { Vec::new() } else { WRITTEN.map(str::to_owned).to_vec() },
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options).await?;
        let mut config = sandbox.proxy_config();
        config.failover.min_interval = Duration::ZERO;
        config.failover.acknowledge_after = 0;
        config.failover.pace = kind.pace.and_then(|pace| pace.0);
        // Nobody is there to release it, and the ledger counts what it brings.
        config.failover.returning_master = ReturningMaster::Merge;
        set(&mut config);
        let app = App::start(config)?;
        let mut routes = app.handles().routes.clone();
        within("an active master", async {
            let active = routes.wait_for(|table| table.active().is_some()).await;
            active.map(drop).map_err(|_| DrillError::NobodyActive)
        })
        .await?;
        let Some(ServerAddress::Tcp { port, .. }) = app.listening().first() else {
            return Err(DrillError::NotListening);
        };
        let opts = Opts::from_url(&sandbox.url(*port)).map_err(mysql_async::Error::from)?;
        let admin = Admin { console: app.console().cloned(), ..Admin::default() };
        let proxy = Proxy::connect(&admin, opts).await?;
        Ok(Self { proxy, app, sandbox, journal_seen: 0, loads: 0 })
    }

    /// Which pair it is, for people.
    pub(super) fn text(&self, kind: &Kind) -> String {
        let binaries = self.sandbox.binaries();
        let flavor = match binaries.flavor() {
            Flavor::MariaDb => "MariaDB",
            Flavor::MySql => "MySQL",
        };
        let version = binaries.version().split("-MariaDB").next().unwrap_or_default();
        let replication = if kind.semi_sync { "semi-synchronous" } else { "asynchronous" };
        let commits = if kind.durable { "commits on disk" } else { "commits written, not synced" };
        let pace = kind.pace.map(|pace| format!(", pace {pace}")).unwrap_or_default();
        format!("{flavor} {version}, {replication}, {commits}{pace}")
    }

    /// The index of the active master.
    pub(super) fn active(&self) -> Result<usize, DrillError> {
        let routes = self.app.handles().routes.borrow();
        Ok(routes.active().ok_or(DrillError::NobodyActive)?.index())
    }

    /// Clients at work on tables of their own.
    pub(super) async fn traffic(&mut self, load: &LoadKind) -> Result<Traffic, DrillError> {
        self.loads += 1;
        Ok(Traffic::start(&self.proxy.opts, load, self.loads).await?)
    }

    /// The transitions since the last call.
    pub(super) fn transitions(&mut self) -> Vec<JournalRow> {
        let rows = self.app.handles().journal.rows_after(self.journal_seen);
        self.journal_seen = rows.last().map_or(self.journal_seen, |row| row.number);
        rows
    }

    /// What this master has.
    pub(super) async fn contents(
        &self,
        master: usize,
        tables: &Tables,
    ) -> Result<Contents, DrillError> {
        let mut root = self.sandbox.server(master).root_connection().await?;
        Ok(tables.read(&mut root).await?)
    }

    /// Looks whether there still is as much money on this master as there was. Transfers may go on
    /// meanwhile. To be asked before an old master is back: what it alone had is delivered then, and
    /// overwrites balances, for nobody has looked whether it may.
    pub(super) async fn check_total(
        &self,
        master: usize,
        tables: &Tables,
        report: &mut Report,
    ) -> Result<(), DrillError> {
        let Contents { total, .. } = self.contents(master, tables).await?;
        if total != Transfers::TOTAL {
            report.faults.push(format!("the accounts have {total}, not {}", Transfers::TOTAL));
        }
        Ok(())
    }

    /// Compares what clients were told with the tables: first on `new`, where nothing may be missing;
    /// then on both, when the old master is back. What was counted (by the proxy since `before`), and the
    /// gap.
    pub(super) async fn judge(
        &mut self,
        told: &Told,
        kill: Kill,
        before: Counters,
        kind: &Kind,
        report: &mut Report,
    ) -> Result<(Run, Option<Gap>), DrillError> {
        let after = self.proxy.counters().await?;
        let new = 1 - kill.master;
        let Contents { rows, transfers, .. } = self.contents(new, &told.tables).await?;
        let verdict = Verdict::of(&told.ledger, Some(kill), &[rows]);
        let lost_transfers = told.transferred.missing_from(&transfers);
        if kind.semi_sync {
            report.fault(verdict.missing[0], "acknowledged rows are missing on the new master");
            report.fault(lost_transfers, "committed transfers are missing on the new master");
        }
        self.rejoin(kill.master, &told.tables).await?;
        let mut tables = Vec::new();
        for master in [0, 1] {
            let Contents { rows, transfers, .. } = self.contents(master, &told.tables).await?;
            tables.push(rows);
            let missing = told.transferred.missing_from(&transfers);
            report.fault(missing, "committed transfers are missing when both masters are back");
        }
        // Of the old master, what it alone had has been delivered by now.
        let later = Verdict::of(&told.ledger, Some(kill), &tables);
        report.faults.extend(later.faults());
        let counts = Counts {
            held: after.held - before.held,
            retried: after.retried - before.retried,
            lost_transfers,
            ..Counts::of(&verdict)
        };
        Ok((Run { counts, ..Run::default() }, verdict.gap))
    }

    /// Starts a master again if it was killed or stopped; until both have the same rows.
    async fn rejoin(&mut self, index: usize, tables: &Tables) -> Result<(), DrillError> {
        if self.sandbox.server(index).pid().is_none() {
            self.sandbox.server_mut(index).restart().await?;
        }
        self.await_equal(tables).await
    }

    /// Until commits of this master wait for the other one, if they are to: from then on none is lost. After
    /// a failover that takes the proxy some probes.
    pub(super) async fn await_semi_sync(
        &self,
        kind: &Kind,
        index: usize,
    ) -> Result<(), DrillError> {
        if !kind.semi_sync {
            return Ok(());
        }
        // The words are master and slave, or source and replica; every server has one pair of them.
        let works = "SHOW GLOBAL STATUS WHERE Variable_name IN \
                     ('Rpl_semi_sync_master_status', 'Rpl_semi_sync_source_status') AND Value = 'ON'";
        let mut root = self.sandbox.server(index).root_connection().await?;
        within("semi-synchronous replication", async {
            loop {
                let found: Option<(String, String)> = root.query_first(works).await?;
                if found.is_some() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await
    }

    /// Until both replicate and have the same rows.
    pub(super) async fn await_equal(&self, tables: &Tables) -> Result<(), DrillError> {
        self.sandbox.await_replication().await?;
        let sum = format!(
            "SELECT CONCAT_WS(' ', COUNT(*), SUM(id), SUM(number), \
             (SELECT MAX(term) FROM tandem.term)) FROM {}",
            tables.writes
        );
        within("the same rows on both masters", async {
            let mut servers = Vec::new();
            for server in self.sandbox.servers() {
                servers.push(server.root_connection().await?);
            }
            loop {
                let mut sums = Vec::new();
                for server in &mut servers {
                    sums.push(server.query_first::<String, _>(&sum).await?);
                }
                if sums[0] == sums[1] {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await
    }
}
