//! `[failover] pace`: keeps the standby close by slowing writers down, all the time.
//!
//! Asks the standbys what they have received and executed, a few times within the bound, and leaves
//! the rest to the [`Pacer`]. The one that is least behind counts: it is the one that a failover would
//! wait for. A standby that is away, does not receive, whose applier stands still or that replicates
//! without GTID is none: nobody waits for what cannot catch up, and the log says once that it is so.
//! While nobody is active, or a switchover slows writers down by itself, this does nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::info;

use crate::failover::{Backlog, BacklogGauge, Pacer, Reading};
use crate::metrics::FailoverMetrics;
use crate::monitor::{Columns, Connection, ConnectionError, Dialer, read_channels};
use crate::routing::{Pace, RoutingTable};
use crate::topology::{Flavor, GtidSet, Server, ServerId, ThreadState};

/// For one answer of a standby, login included.
const WITHIN: Duration = Duration::from_secs(1);
/// After a standby could not be asked.
const AGAIN: Duration = Duration::from_secs(1);

/// Watches the standbys' backlogs.
pub struct BacklogWatch {
    pacer: Pacer,
    standbys: Vec<Standby>,
    routes: watch::Receiver<Arc<RoutingTable>>,
    pace: Pace,
    metrics: FailoverMetrics,
    /// What people were told last: whether there is somebody to wait for.
    told: Option<bool>,
}

/// One master, while it is a standby.
struct Standby {
    server: Server,
    dialer: Dialer,
    connection: Option<Connection>,
    gauge: BacklogGauge,
    not_before: Instant,
}

impl BacklogWatch {
    /// Keeps the standby no further behind than `bound`, by what `pace` tells the sessions.
    #[must_use]
    pub fn new(
        bound: Duration,
        dialer: &Dialer,
        routes: watch::Receiver<Arc<RoutingTable>>,
        pace: Pace,
        metrics: FailoverMetrics,
    ) -> Self {
        let standby = |server: &Server| Standby {
            server: server.clone(),
            dialer: dialer.clone(),
            connection: None,
            gauge: BacklogGauge::default(),
            not_before: Instant::now(),
        };
        let standbys = routes.borrow().servers.masters().map(standby).collect();
        Self { pacer: Pacer::new(bound), standbys, routes, pace, metrics, told: None }
    }

    /// Watches until the coordinator ends.
    pub async fn run(mut self) {
        let mut ticks = interval(self.pacer.period());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.routes.has_changed().is_ok() {
            ticks.tick().await;
            let (active, slowed) = {
                let table = self.routes.borrow_and_update();
                (table.active(), table.pace.is_some())
            };
            let Some(active) = active else { continue };
            if !slowed {
                self.look(active).await;
            }
        }
    }

    async fn look(&mut self, active: ServerId) {
        let standbys = self.standbys.iter_mut().filter(|standby| standby.server.id != active);
        let seen: Vec<Option<Option<Reading>>> = join_all(standbys.map(Standby::look)).await;
        let there = seen.iter().any(Option::is_some);
        self.tell(there);
        if !there {
            self.pacer.release();
        }
        let least = seen.into_iter().flatten().flatten().min_by_key(|reading| reading.behind);
        let pace = self.pacer.adjust(least);
        self.pace.set(pace);
        self.metrics.set_pace(pace, least.map(|reading| reading.behind));
    }

    fn tell(&mut self, there: bool) {
        if self.told.replace(there) == Some(there) {
            return;
        }
        if there {
            info!("writers are slowed down while the standby is too far behind");
        } else {
            info!("writers are not slowed down: no standby could catch up");
        }
    }
}

impl Standby {
    /// `None`: it cannot catch up. The inner one says how far it is behind, where that is known.
    async fn look(&mut self) -> Option<Option<Reading>> {
        if Instant::now() < self.not_before {
            return None;
        }
        let backlog = match timeout(WITHIN, self.ask()).await {
            Ok(Ok(Some(backlog))) => backlog,
            // It answers, and will go on to: there is no need to wait.
            Ok(Ok(None)) => {
                self.gauge = BacklogGauge::default();
                return None;
            }
            Ok(Err(_)) | Err(_) => {
                self.not_before = Instant::now() + AGAIN;
                (self.connection, self.gauge) = (None, BacklogGauge::default());
                return None;
            }
        };
        Some(self.gauge.take(backlog))
    }

    async fn ask(&mut self) -> Result<Option<Backlog>, ConnectionError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.dialer.connect(&self.server.address, WITHIN).await?,
        };
        let dialect = connection.dialect();
        let executed = match dialect.flavor {
            Flavor::MariaDb => "gtid_current_pos",
            Flavor::MySql => "gtid_executed",
        };
        let status = dialect.replication_status();
        let question = format!("SELECT @@GLOBAL.{executed} AS executed; {status}");
        let at = Instant::now().into_std();
        let sets = connection.ask(&question).await?.all()?;
        let row = sets.first().and_then(|rows| rows.first()).map(Columns);
        let text = row.map(|row| row.text_or_empty(&["executed"])).unwrap_or_default();
        let executed = GtidSet::parse(dialect.flavor, &text)
            .map_err(|error| ConnectionError::Unintelligible(error.to_string()))?;
        let channels = read_channels(dialect, sets.get(1).map_or(&[], Vec::as_slice))?;
        self.connection = Some(connection);
        let mut running = channels.iter().map(|status| &status.channel).filter(|channel| {
            channel.io == ThreadState::Yes && channel.sql == ThreadState::Yes && channel.uses_gtid
        });
        // Of several sources each is executed by threads of its own; all of it has to be executed.
        let first = running.next().map(|channel| channel.received.subtract(&executed).count());
        let rest = running.map(|channel| channel.received.subtract(&executed).count());
        let waiting = first.map(|first| rest.fold(first, u64::max));
        Ok(waiting.map(|waiting| Backlog { at, waiting, executed: executed.count() }))
    }
}
