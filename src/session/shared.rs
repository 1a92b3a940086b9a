//! What all sessions of the process share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::{OnceCell, Semaphore, mpsc, oneshot, watch};

use super::acknowledgements::Acknowledgements;
use super::draining::Drain;
use super::key_classes::{ForeignKey, KeyClasses, REPORTS};
use super::learning::random_salt;
use super::login::Login;
use super::passwords::Passwords;
use super::reading::Reading;
use super::registry::{Registry, Voucher};
use super::splitting::Splitting;
use super::standby::{StandbyLogin, StandbyLogins};
use crate::config::{Compress, ProxyProtocol};
use crate::metrics::SessionMetrics;
use crate::routing::{DrainReport, Pace, Positions, RoutingTable};
use crate::tls::{MasterTls, Offer};
use crate::topology::{
    Account, Accounts, Observation, Outcome, ServerId, Source, Told, UnreachableKind,
};
use crate::wire::{RsaKey, Salt, Stream};

/// The control plane and the settings, as sessions see them.
#[derive(Debug)]
pub struct Shared {
    /// The sessions themselves.
    pub registry: Registry,
    /// How long a statement may wait for an active master.
    pub hold: Duration,
    /// For a client's handshake, and for a login to a master.
    pub connect_timeout: Duration,
    /// Clients at once.
    pub max_connections: usize,
    /// How connections to masters are encrypted.
    pub master_tls: MasterTls,
    offers: watch::Receiver<Option<Arc<Offer>>>,
    /// Whose word on a client's address counts, and whether masters are told of it.
    pub proxy_protocol: ProxyProtocol,
    /// What clients are offered, and masters asked for.
    pub compression: Compress,
    /// How long writers wait, so that the standby stays close.
    pub pace: Pace,
    /// Where sessions say what they acknowledge, for reads that are to find it.
    pub positions: Option<Positions>,
    /// What the sessions of the reads listener share; `None` for those of the main port.
    pub reading: Option<Reading>,
    /// Where reads of the main port may go instead of the active master; `None`: nowhere.
    pub splitting: Option<Arc<Splitting>>,
    /// Between two looks at sessions that hear nothing; three of them are a silence.
    tick: Duration,
    routes: watch::Receiver<Arc<RoutingTable>>,
    accounts: watch::Receiver<Arc<Accounts>>,
    questions: mpsc::Sender<(String, oneshot::Sender<()>)>,
    observations: mpsc::Sender<Observation>,
    drains: mpsc::Sender<DrainReport>,
    generation: AtomicU64,
    shutting_down: AtomicBool,
    /// Bounds how many sessions log in to each master at the same time, so that a new active is not
    /// buried under its own clients, nor waits for those that still try the old one.
    logins: Vec<Semaphore>,
    /// The same while nobody waits for these logins.
    early_logins: Arc<Semaphore>,
    /// Made when a client first asks for it: it takes a while.
    rsa_key: OnceCell<Option<Arc<RsaKey>>>,
    passwords: Arc<Passwords>,
    standby: StandbyLogins,
    /// Salts vouchers, which are of no use outside of this process.
    voucher_salt: Salt,
    metrics: SessionMetrics,
    /// One of each worker.
    books: Mutex<Vec<Arc<Acknowledgements>>>,
    key_classes: KeyClasses,
    /// Keys of another master's class, until somebody takes them.
    foreign_keys: Mutex<Vec<ForeignKey>>,
}

/// The channels between sessions and the control plane.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The routing table.
    pub routes: watch::Receiver<Arc<RoutingTable>>,
    /// The masters' accounts.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// Asks for the accounts of a user to be read again now, and who is told when they were.
    pub questions: mpsc::Sender<(String, oneshot::Sender<()>)>,
    /// What sessions see of servers.
    pub observations: mpsc::Sender<Observation>,
    /// How far sessions are with letting go of a master that a table drains.
    pub drains: mpsc::Sender<DrainReport>,
    /// TLS towards clients.
    pub offers: watch::Receiver<Option<Arc<Offer>>>,
}

/// How many sessions log in to a new active at once.
const PARALLEL_LOGINS: usize = 64;

/// How many log in at once to a master that is to be active next: the present one has the load.
const EARLY_LOGINS: usize = 1;

/// For a user's accounts to be read again.
const LOOK_UP: Duration = Duration::from_millis(1500);

/// Between two looks at sessions that hear nothing, unless probes are faster.
const TICK: Duration = Duration::from_millis(100);
/// The same, at least: going through all sessions costs something.
const SHORTEST_TICK: Duration = Duration::from_millis(25);

impl Shared {
    /// Puts together what sessions share; `proxy_protocol`, `compression`, `pace`, `positions`, `reading` and
    /// `splitting` are at their defaults.
    #[must_use]
    pub fn new(
        channels: Channels,
        hold: Duration,
        connect_timeout: Duration,
        max_connections: usize,
        master_tls: MasterTls,
        metrics: SessionMetrics,
    ) -> Self {
        let generation = channels.routes.borrow().generation;
        let servers = channels.routes.borrow().servers.len();
        let masters = channels.routes.borrow().servers.masters().count();
        let logins = (0..servers).map(|_| Semaphore::new(PARALLEL_LOGINS)).collect();
        Self {
            registry: Registry::default(),
            hold,
            connect_timeout,
            max_connections,
            master_tls,
            offers: channels.offers,
            proxy_protocol: ProxyProtocol::default(),
            compression: Compress::default(),
            pace: Pace::default(),
            positions: None,
            reading: None,
            splitting: None,
            tick: TICK,
            routes: channels.routes,
            accounts: channels.accounts,
            questions: channels.questions,
            observations: channels.observations,
            drains: channels.drains,
            generation: AtomicU64::new(generation),
            shutting_down: AtomicBool::new(false),
            logins,
            early_logins: Arc::new(Semaphore::new(EARLY_LOGINS)),
            rsa_key: OnceCell::new(),
            passwords: Arc::default(),
            standby: StandbyLogins::new(masters),
            voucher_salt: random_salt(),
            metrics,
            books: Mutex::default(),
            key_classes: KeyClasses::new(servers),
            foreign_keys: Mutex::default(),
        }
    }

    /// The same, where a probe waits for its answer for `timeout`: a statement without an answer is a
    /// reason for a probe after a quarter to three eighths of that, 300 ms at most.
    #[must_use]
    pub fn suspicious_within(self, timeout: Duration) -> Self {
        Self { tick: (timeout / 8).clamp(SHORTEST_TICK, TICK), ..self }
    }

    /// The same for the reads listener, beside the sessions of `main`: with ids that no session there has,
    /// and one limit for both.
    #[must_use]
    pub fn reading_beside(self, main: &Self, reading: Reading) -> Self {
        let registry = Registry::beside(&main.registry);
        let (passwords, voucher_salt) = (Arc::clone(&main.passwords), main.voucher_salt);
        let proxy_protocol = main.proxy_protocol.clone();
        let (compression, tick) = (main.compression, main.tick);
        let reading = Some(reading);
        Self {
            registry,
            passwords,
            voucher_salt,
            proxy_protocol,
            compression,
            tick,
            reading,
            ..self
        }
    }

    /// What a client on `stream` is offered. Whoever comes by a Unix socket is alone on it already.
    pub(super) fn offer(&self, stream: &Stream) -> Option<Arc<Offer>> {
        self.offers.borrow().clone().filter(|_| !stream.is_secure())
    }

    /// Permits to log in to the next master while nobody waits for it.
    pub(super) fn early_logins(&self) -> Arc<Semaphore> {
        Arc::clone(&self.early_logins)
    }

    /// Permits to log in to a server.
    pub(super) fn logins(&self, server: ServerId) -> &Semaphore {
        &self.logins[server.index()]
    }

    #[inline]
    pub(super) fn metrics(&self) -> &SessionMetrics {
        &self.metrics
    }

    /// Which keys are whose.
    #[must_use]
    #[inline]
    pub fn key_classes(&self) -> &KeyClasses {
        &self.key_classes
    }

    /// A key of another master's class was seen. Rare: each session reports one a second at most.
    pub(super) fn report_foreign_key(&self, key: ForeignKey) {
        self.metrics.foreign_keys.inc();
        let mut reports = self.foreign_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() < REPORTS {
            reports.push(key);
        }
    }

    /// Takes the keys of another master's class that were seen since the last call.
    #[must_use]
    pub fn take_foreign_keys(&self) -> Vec<ForeignKey> {
        let mut reports = self.foreign_keys.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *reports)
    }

    /// Passes every new routing table on to the sessions, tells how far they are with a drain, and
    /// looks for silent servers, until the coordinator ends.
    pub async fn follow_routes(self: Arc<Self>) {
        let mut routes = self.routes.clone();
        routes.mark_changed(); // the first one may ask for a drain too
        let mut drain = None;
        let mut ticks = tokio::time::interval(self.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = routes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let table = Arc::clone(&routes.borrow_and_update());
                    // Before the sessions are looked at: see `Entry::set_running`.
                    self.generation.store(table.generation, Ordering::SeqCst);
                    let begin = |server| Drain::begin(&self.registry, table.generation, server);
                    drain = table.draining.map(begin);
                    self.registry.wake_all();
                }
                () = self.registry.someone_let_go(), if drain.is_some() => {
                    if let Some(drain) = &mut drain {
                        drain.look_again();
                    }
                }
                Ok(place) = self.drains.reserve(), if drain.as_ref().is_some_and(Drain::is_due) => {
                    // The latest counts: what was not told in time is told as it is now.
                    if let Some(drain) = &mut drain {
                        place.send(drain.take_report());
                    }
                }
                _ = ticks.tick() => {
                    for server in self.registry.pass_tick() {
                        let detail = "a statement waits for its answer".to_owned();
                        self.report(server, UnreachableKind::Silent, detail);
                    }
                }
            }
        }
    }

    /// Lets every session end: idle ones at once, others when their statement is answered.
    pub fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::Relaxed);
        self.registry.wake_all();
    }

    #[inline]
    pub(super) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Relaxed)
    }

    /// The generation of the present routing table.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The present routing table.
    pub(super) fn table(&self) -> Arc<RoutingTable> {
        Arc::clone(&self.routes.borrow())
    }

    /// To wait for another table.
    pub(super) fn routes(&self) -> watch::Receiver<Arc<RoutingTable>> {
        self.routes.clone()
    }

    /// Tells the control plane that a server was lost or is silent. If it is busy with many such
    /// reports already, one more would change nothing.
    pub(super) fn report(&self, server: ServerId, kind: UnreachableKind, detail: String) {
        let _ = self.observations.try_send(Observation {
            server,
            at: Instant::now(),
            took: Duration::ZERO,
            source: Source::Session,
            outcome: Outcome::Unreachable { kind, detail },
        });
    }

    /// The rows of a user in the masters' account table, or of the nameless one.
    pub(super) fn accounts_of(&self, user: &str) -> Vec<Account> {
        let accounts = self.accounts.borrow();
        let rows = accounts.of(user);
        if rows.is_empty() { accounts.of("") } else { rows }.to_vec()
    }

    /// To wait for other accounts.
    pub(super) fn accounts(&self) -> watch::Receiver<Arc<Accounts>> {
        self.accounts.clone()
    }

    /// Has the rows of a user read again and waits for it: an account may just have been made, or
    /// its password changed. Whether it could be done.
    pub(super) async fn look_up(&self, user: &str) -> bool {
        let (done, read) = oneshot::channel();
        // When there are too many questions, one more waits for nothing.
        self.questions.try_send((user.to_owned(), done)).is_ok()
            && matches!(tokio::time::timeout(LOOK_UP, read).await, Ok(Ok(())))
    }

    /// The key with which clients encrypt passwords over plain TCP.
    pub(super) async fn rsa_key(&self) -> Option<Arc<RsaKey>> {
        let make = || async {
            let made = tokio::task::spawn_blocking(RsaKey::generate).await;
            match made {
                Ok(Ok(key)) => Some(Arc::new(key)),
                Ok(Err(error)) => {
                    tracing::error!(%error, "no key for passwords over plain TCP");
                    None
                }
                Err(_) => None,
            }
        };
        self.rsa_key.get_or_init(make).await.clone()
    }

    /// What makes a login the same as another: its user, its host and its secret. `None` for a secret
    /// that is wrong, or that no two logins can be compared by.
    pub(super) fn voucher(&self, login: &Login, peer: Option<SocketAddr>) -> Option<Voucher> {
        let token = login.credential.proof(&self.voucher_salt)?;
        let host = peer.map(|peer| peer.ip().to_string()).unwrap_or_default();
        let mut digest = Context::new(&SHA256);
        for part in [&self.voucher_salt[..], &login.user, host.as_bytes(), &token] {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finish().as_ref().try_into().ok()
    }

    /// The passwords that have logged in.
    pub(super) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// What is known of logins to the standby masters.
    pub(super) fn standby(&self) -> &StandbyLogins {
        &self.standby
    }

    /// A book for the acknowledged writes of one worker's sessions.
    pub fn open_book(&self) -> Arc<Acknowledgements> {
        let book = Arc::default();
        self.books.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&book));
        book
    }

    /// The writes that clients were told are committed, since this was last asked.
    #[must_use]
    pub fn take_acknowledged(&self) -> Vec<Told> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut told = Vec::new();
        books.iter().for_each(|book| book.take(&mut told));
        told
    }

    /// How many sessions have not let go of `server` yet.
    #[must_use]
    pub fn sessions_on(&self, server: ServerId) -> usize {
        let sessions = self.registry.list();
        sessions.iter().filter(|entry| entry.server() == Some(server)).count()
    }

    /// How the users that logged in fare on the standby masters.
    #[must_use]
    pub fn standby_logins(&self) -> watch::Receiver<Arc<[StandbyLogin]>> {
        self.standby.published()
    }

    /// Looks, behind every first login of a user, whether the standby masters let it in as well,
    /// until the coordinator ends.
    pub async fn look_after_standbys(self: Arc<Self>) {
        super::standby::look_after(&self).await;
    }
}
