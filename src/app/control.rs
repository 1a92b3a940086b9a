//! The control plane's thread: wires the parts together and keeps them running.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal as signals};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::info;

use super::checks::Checks;
use super::console_door::ConsoleDoor;
use super::file_limit;
use super::reads::Readers;
use super::{Handles, Security, Sockets};
use crate::config::{self, Administrators, Config};
use crate::console;
use crate::coordinator::{
    Accountant, Asked, BacklogWatch, Coordinator, EventFile, Inputs, Journal, KeyWatch, Ledgers,
    Outputs, ReplicationWatch, SqlExecutor, WarmConnections,
};
use crate::failover::{FailoverMachine, Policy};
use crate::http;
use crate::listener::{Listener, Workers};
use crate::metrics::Metrics;
use crate::monitor::{AccountReader, Dialer, HeartbeatWriter, Monitor};
use crate::pair::check::{Checked, Looker};
use crate::pair::facts::Wanted;
use crate::routing::{Pace, RoutingTable};
use crate::session::{Channels, Shared};
use crate::tls::Offer;
use crate::topology::Topology;

/// Observations on their way to the coordinator.
const OBSERVATIONS: usize = 1024;
/// Requests of operators on their way to the coordinator.
const REQUESTS: usize = 16;
/// Reports of how far the sessions are with a drain; the latest counts.
const DRAIN_REPORTS: usize = 16;
/// Users whose accounts are to be read again.
const QUESTIONS: usize = 256;
/// Transitions that are kept for the console.
const JOURNAL_ROWS: usize = 1000;
/// For an order's connection to a server.
const CONTROL_CONNECT: Duration = Duration::from_secs(2);

/// Runs the control plane until `stopped` resolves, or `SHUTDOWN` is ordered. Says through `ready` what may be seen of it.
pub(super) async fn run(
    config: Config,
    sockets: Sockets,
    security: Security,
    ready: std::sync::mpsc::Sender<io::Result<Handles>>,
    stopped: oneshot::Receiver<()>,
) {
    let mut plane = match Plane::start(&config, security) {
        Ok(plane) => plane,
        Err(error) => {
            // Whoever started us waits for this; if not, nobody needs to know.
            let _ = ready.send(Err(error));
            return;
        }
    };
    plane.serve_admins(&config, sockets.console, sockets.http);
    let listeners = plane.listen(sockets.clients, sockets.readers);
    let _ = ready.send(Ok(plane.handles.clone()));
    tokio::select! {
        // An error means that the App was dropped: the end as well.
        _ = stopped => {}
        () = plane.shutdown.notified() => info!("stopping, as ordered on the console"),
    }
    drop(listeners);
    plane.stop().await;
}

struct Plane {
    handles: Handles,
    workers: Workers,
    threads: Vec<std::thread::JoinHandle<()>>,
    tasks: JoinSet<()>,
    offers: watch::Receiver<Option<Arc<Offer>>>,
    /// Where requests of operators go.
    ask: mpsc::Sender<Asked>,
    shutdown: Arc<Notify>,
    _monitor: Monitor,
}

impl Plane {
    fn start(config: &Config, security: Security) -> io::Result<Self> {
        let Security { offers: offering, masters: master_tls } = security;
        let offers = offering.subscribe();
        let now = Instant::now();
        let servers = config.servers.clone();
        let mut tasks = JoinSet::new();
        let (observe, observations) = mpsc::channel(OBSERVATIONS);
        let (ask, requests) = mpsc::channel(REQUESTS);
        let (report_drain, drains) = mpsc::channel(DRAIN_REPORTS);
        let starting = Arc::new(RoutingTable::starting(servers.clone(), now));
        let (routes_out, routes) = watch::channel(starting);
        let (topology_out, topology) = watch::channel(Arc::new(Topology::new(servers.clone())));
        let journal = Arc::new(Journal::new(JOURNAL_ROWS, now));
        let metrics = Arc::new(Metrics::new(servers.iter().map(|server| server.name.as_str())));
        if let Some(path) = &config.log.events {
            let file = EventFile::new(path.clone(), servers.clone());
            tasks.spawn(file.follow(Arc::clone(&journal)));
        }

        tasks.spawn(offering.follow_files());
        let dialer = Dialer::new(&config.monitor).with_tls(master_tls.clone());
        let monitor =
            Monitor::start(&servers, &config.monitor, &dialer, &observe, &metrics.monitor);
        let warm = Arc::new(WarmConnections::new(servers.clone(), dialer.clone(), CONTROL_CONNECT));
        tasks.spawn(Arc::clone(&warm).keep());
        let policy = Policy::new(&config.monitor, &config.failover, &config.switchover);
        let machine = FailoverMachine::new(policy, servers, now);
        let (status_out, status) = watch::channel(Arc::new(machine.status()));
        let coordinator = Coordinator::new(
            machine,
            Arc::new(SqlExecutor::new(warm)),
            Inputs { observations, requests, drains },
            Outputs {
                routes: routes_out,
                topology: topology_out,
                status: status_out,
                journal: Arc::clone(&journal),
                metrics: Arc::clone(&metrics),
                probes: monitor.requests(),
            },
        );
        tasks.spawn(coordinator.run());

        if config.monitor.heartbeat {
            let (routes, topology) = (routes.clone(), topology.clone());
            let (dialer, observe) = (dialer.clone(), observe.clone());
            let writer = HeartbeatWriter::new(dialer, &config.monitor, routes, topology, observe);
            tasks.spawn(writer.run());
        }

        let (standing_out, checks) = watch::channel(Arc::new(Checked::default()));
        if let Some(interval) = config.check.interval {
            // No administrator's login is at hand in a proxy.
            let logins = Administrators::default();
            let looker = Looker::new(config.clone(), logins, master_tls.clone(), Wanted::GENTLE);
            let (status, metrics) = (status.clone(), Arc::clone(&metrics));
            let checks = Checks { looker, interval, status, metrics, standing: standing_out };
            tasks.spawn(checks.run());
        }

        let pace = Pace::default();
        if let Some(bound) = config.failover.pace {
            let (routes, pace, metrics) = (routes.clone(), pace.clone(), metrics.failover.clone());
            tasks.spawn(BacklogWatch::new(bound, &dialer, routes, pace, metrics).run());
        }

        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (reader, accounts) = AccountReader::new(dialer, routes.clone(), asked);
        tasks.spawn(reader.run());

        let channels = Channels {
            routes: routes.clone(),
            accounts,
            questions,
            observations: observe,
            drains: report_drain,
            offers: offers.clone(),
        };
        let mut shared = Shared::new(
            channels.clone(),
            config.failover.hold,
            config.limits.connect_timeout,
            file_limit::make_room(config.limits.max_connections),
            master_tls,
            metrics.session.clone(),
        )
        .suspicious_within(config.monitor.timeout);
        shared.proxy_protocol = config.proxy_protocol.clone();
        shared.compression = config.compression;
        shared.pace = pace;
        let listens = !config.reads.listen.is_empty();
        let readers = (listens || config.reads.split).then(|| {
            let (routes, probes) = (routes.clone(), monitor.requests());
            Readers::start(config, routes, &topology, probes, &metrics, &mut tasks)
        });
        shared.positions = readers.as_ref().and_then(Readers::positions);
        if config.reads.split {
            shared.splitting = readers.as_ref().map(|readers| Arc::new(readers.splitting()));
        }
        let shared = Arc::new(shared);
        tasks.spawn(Arc::clone(&shared).follow_routes());
        tasks.spawn(Arc::clone(&shared).look_after_standbys());
        let reads = readers.map(|readers| {
            readers.serve(config.reads.causal, channels, &shared, &metrics, &mut tasks)
        });
        let (accounts_out, losses) = watch::channel(Arc::default());
        let accountant = Accountant::new(Ledgers {
            sessions: Arc::clone(&shared),
            routes: routes.clone(),
            topology: topology.clone(),
            probes: monitor.requests(),
            journal: Arc::clone(&journal),
            metrics: Arc::clone(&metrics),
            accounts: accounts_out,
        });
        tasks.spawn(accountant.run());
        let (seen, noted) = (topology.clone(), Arc::clone(&journal));
        tasks.spawn(KeyWatch::new(Arc::clone(&shared), seen, noted).run());
        let (seen, noted) = (topology.clone(), Arc::clone(&journal));
        let watch = ReplicationWatch::new(routes.clone(), seen, noted, Arc::clone(&metrics));
        tasks.spawn(watch.run());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (workers, threads) = Workers::start(cores, &shared)?;
        let handles = Handles {
            routes,
            topology,
            status,
            journal,
            accounts: losses,
            checks,
            sessions: shared,
            metrics,
            reads,
        };
        let shutdown = Arc::new(Notify::new());
        Ok(Self { handles, workers, threads, tasks, offers, ask, shutdown, _monitor: monitor })
    }

    fn listen(&self, clients: Vec<Listener>, readers: Vec<Listener>) -> JoinSet<()> {
        let mut listeners = JoinSet::new();
        let clients = clients.into_iter().map(|listener| (listener, self.workers.clone()));
        let reads = self.handles.reads.iter();
        let reads = reads.map(|reads| self.workers.sharing(&reads.sessions));
        let readers = readers.into_iter().zip(reads.cycle());
        for (listener, workers) in clients.chain(readers) {
            listeners.spawn(async move {
                if let Err(error) = listener.run(workers).await {
                    tracing::error!(%error, "a listener ended");
                }
            });
        }
        listeners
    }

    fn serve_admins(&mut self, config: &Config, console: Option<Listener>, http: Option<Listener>) {
        if let Some(listener) = console {
            let handles = console::Handles {
                routing: self.handles.routes.clone(),
                topology: self.handles.topology.clone(),
                metrics: Arc::clone(&self.handles.metrics),
                settings: config::settings(config).into(),
                admin: config.admin.user.clone(),
                sessions: Arc::new(super::console_door::Sessions(self.handles.clone())),
                logins: self.handles.sessions.standby_logins(),
                reads: self.handles.reads.as_ref().map(|reads| reads.decisions.clone()),
                status: self.handles.status.clone(),
                journal: Arc::clone(&self.handles.journal),
                accounts: self.handles.accounts.clone(),
                checks: self.handles.checks.clone(),
                ask: self.ask.clone(),
                shutdown: Arc::clone(&self.shutdown),
            };
            let timeout = config.limits.connect_timeout;
            let door =
                ConsoleDoor::new(config.admin.clone(), timeout, handles, self.offers.clone());
            self.tasks.spawn(door.run(listener));
        }
        if let Some(listener) = http {
            let handles = http::Handles {
                routing: self.handles.routes.clone(),
                topology: self.handles.topology.clone(),
                metrics: Arc::clone(&self.handles.metrics),
                logins: self.handles.sessions.standby_logins(),
                reads: self.handles.reads.as_ref().map(|reads| reads.decisions.clone()),
                journal: Arc::clone(&self.handles.journal),
                accounts: self.handles.accounts.clone(),
                checks: self.handles.checks.clone(),
            };
            self.tasks.spawn(async move {
                if let Err(error) = serve_http(listener, handles).await {
                    tracing::error!(%error, "http ended");
                }
            });
        }
    }

    async fn stop(self) {
        let Self { handles, workers, threads, mut tasks, .. } = self;
        handles.sessions.shut_down();
        handles.reads.iter().for_each(|reads| reads.sessions.shut_down());
        drop(workers);
        let joining = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker panicked");
                }
            }
        });
        // The control plane goes on until the last statement is answered.
        let _ = joining.await;
        tasks.shutdown().await;
    }
}

async fn serve_http(listener: Listener, handles: http::Handles) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            http::serve(listener, handles, std::future::pending()).await
        }
        Listener::Unix(listener, _file) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            http::serve(listener, handles, std::future::pending()).await
        }
    }
}

/// The signal that ends the process, by name.
pub(super) async fn signal() -> io::Result<&'static str> {
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
