//! The whole proxy: builds every part once, hands each its channels, starts them in order and ends
//! them in order.
//!
//! ```text
//! sockets bound ─▶ monitor ─▶ coordinator ─▶ workers ─▶ listeners, console, http
//! ```
//!
//! The control plane has a thread and a runtime of its own, so that load on the data plane does not
//! delay a health check. [`App`] can live inside another program: the demo and the tests run it
//! beside the servers that it watches.

mod checks;
mod console_door;
mod control;
mod file_limit;
mod reads;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::coordinator::{Accounts, Journal};
use crate::failover::Status;
use crate::listener::{BindError, Listener};
use crate::metrics::Metrics;
use crate::pair::check::Checked;
use crate::routing::{Decision, RoutingTable};
use crate::session::Shared;
use crate::tls::{CertificateError, MasterTls, Offers};
use crate::topology::{ServerAddress, Topology};

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address cannot be listened on.
    #[error("{key}: {error}")]
    Bind {
        /// The key of the configuration that names it.
        key: &'static str,
        /// Why.
        error: BindError,
    },
    /// What a section about TLS names is not what it should be.
    #[error("[{section}]: {error}")]
    Tls {
        /// The section.
        section: &'static str,
        /// Why.
        error: CertificateError,
    },
    /// The system gives no thread or no event queue.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// A running proxy. Dropping it ends it, without waiting for its sessions.
#[derive(Debug)]
pub struct App {
    listening: Vec<ServerAddress>,
    reading: Vec<ServerAddress>,
    console: Option<ServerAddress>,
    http: Option<ServerAddress>,
    handles: Handles,
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
    control: Option<JoinHandle<()>>,
}

/// What may be seen of a running proxy.
#[derive(Clone, Debug)]
pub struct Handles {
    /// The latest routing table.
    pub routes: watch::Receiver<Arc<RoutingTable>>,
    /// The latest picture of the servers.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// What the machine is at.
    pub status: watch::Receiver<Arc<Status>>,
    /// What was decided.
    pub journal: Arc<Journal>,
    /// The acknowledged writes, and what became of them.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// What the checks of the servers came to.
    pub checks: watch::Receiver<Arc<Checked>>,
    /// The sessions.
    pub sessions: Arc<Shared>,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// The reads listener's, if there is one.
    pub reads: Option<ReadsHandles>,
}

/// What may be seen of the reads listener.
#[derive(Clone, Debug)]
pub struct ReadsHandles {
    /// The latest table.
    pub routes: watch::Receiver<Arc<RoutingTable>>,
    /// How it came about.
    pub decisions: watch::Receiver<Arc<Decision>>,
    /// The sessions.
    pub sessions: Arc<Shared>,
}

/// The sockets of a proxy, bound before anything starts.
struct Sockets {
    clients: Vec<Listener>,
    readers: Vec<Listener>,
    console: Option<Listener>,
    http: Option<Listener>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, AppError> {
        let bind = |key, address: &ServerAddress| {
            Listener::bind(address).map_err(|error| AppError::Bind { key, error })
        };
        let all = |key, addresses: &[ServerAddress]| {
            addresses.iter().map(|address| bind(key, address)).collect::<Result<_, _>>()
        };
        Ok(Self {
            clients: all("listen", &config.listen)?,
            readers: all("reads.listen", &config.reads.listen)?,
            console: config
                .admin
                .console
                .as_ref()
                .map(|address| bind("admin.console", address))
                .transpose()?,
            http: config
                .admin
                .http
                .as_ref()
                .map(|address| bind("admin.http", address))
                .transpose()?,
        })
    }
}

/// TLS on both sides, read before anything starts.
struct Security {
    offers: Offers,
    masters: MasterTls,
}

impl Security {
    fn load(config: &Config) -> Result<Self, AppError> {
        let failed = |section| move |error| AppError::Tls { section, error };
        Ok(Self {
            offers: Offers::start(config.tls.clone()).map_err(failed("tls"))?,
            masters: MasterTls::load(&config.server_tls).map_err(failed("server_tls"))?,
        })
    }
}

impl App {
    /// Starts the proxy. It serves at once: while no master is up, its clients wait.
    ///
    /// # Errors
    /// When an address is taken, a certificate is not usable, or the system is out of something.
    pub fn start(config: Config) -> Result<Self, AppError> {
        let security = Security::load(&config)?;
        let sockets = Sockets::bind(&config)?;
        let listening = sockets.clients.iter().filter_map(Listener::address).collect();
        let reading = sockets.readers.iter().filter_map(Listener::address).collect();
        let console = sockets.console.as_ref().and_then(Listener::address);
        let http = sockets.http.as_ref().and_then(Listener::address);
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel::<()>();
        let (ready, started) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let control = std::thread::Builder::new().name("control".into()).spawn(move || {
            runtime.block_on(control::run(config, sockets, security, ready, stopped));
            // A write to the file of events may hang; nobody waits for that.
            runtime.shutdown_background();
            // Dropped by a panic as well.
            drop(ending);
        })?;
        let handles = started
            .recv()
            .map_err(|_| io::Error::other("the control thread ended before it began"))??;
        let (stop, control) = (Some(stop), Some(control));
        Ok(Self { listening, reading, console, http, handles, stop, ended, control })
    }

    /// Where applications connect.
    #[must_use]
    pub fn listening(&self) -> &[ServerAddress] {
        &self.listening
    }

    /// Where applications connect that only read.
    #[must_use]
    pub fn reading(&self) -> &[ServerAddress] {
        &self.reading
    }

    /// Where the console listens.
    #[must_use]
    pub fn console(&self) -> Option<&ServerAddress> {
        self.console.as_ref()
    }

    /// Where metrics and status are served.
    #[must_use]
    pub fn http(&self) -> Option<&ServerAddress> {
        self.http.as_ref()
    }

    /// What may be seen of it.
    #[must_use]
    pub fn handles(&self) -> &Handles {
        &self.handles
    }

    /// Resolves when it has ended without having been stopped: by `SHUTDOWN` on its console, as
    /// [`App::stop`] does it, or because its control plane panicked. To be awaited once.
    pub async fn ended(&mut self) {
        // The sender is only ever dropped.
        let _ = (&mut self.ended).await;
    }

    /// Ends it: nobody new comes in, idle sessions are closed, others when their statement is
    /// answered, all within ten seconds.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(control) = self.control.take()
            && control.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
    }
}

/// Runs the proxy until SIGTERM, SIGINT, `SHUTDOWN` on its console or the end of its control plane.
///
/// # Errors
/// When it does not start.
pub fn run(config: Config) -> Result<(), AppError> {
    let began = Instant::now();
    let mut app = App::start(config)?;
    for address in app.listening() {
        tracing::info!(%address, "listening for applications");
    }
    for address in app.reading() {
        tracing::info!(%address, "listening for applications that only read");
    }
    if let Some(address) = app.console() {
        tracing::info!(%address, "console: any MySQL client");
    }
    if let Some(address) = app.http() {
        tracing::info!(%address, "http: /metrics /livez /readyz /status and a page at /");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            signal = control::signal() => {
                tracing::info!(signal = signal?, up = ?began.elapsed(), "stopping");
            }
            () = app.ended() => tracing::info!(up = ?began.elapsed(), "ended"),
        }
        Ok::<_, io::Error>(())
    })?;
    app.stop();
    Ok(())
}
