//! What all sessions of the process share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::{Notify, OnceCell, Semaphore, mpsc, watch};
use zeroize::Zeroizing;

use super::learning::random_salt;
use super::login::Login;
use super::registry::{Registry, Voucher};
use crate::config::{Compress, ProxyProtocol};
use crate::metrics::SessionMetrics;
use crate::routing::RoutingTable;
use crate::tls::{MasterTls, Offer};
use crate::topology::{Account, Accounts, Observation, Outcome, ServerId, Source, UnreachableKind};
use crate::wire::{RsaKey, Salt, Stream, sha2_matches, sha2_stage2};

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
    routes: watch::Receiver<Arc<RoutingTable>>,
    accounts: watch::Receiver<Arc<Accounts>>,
    refresh_accounts: Arc<Notify>,
    observations: mpsc::Sender<Observation>,
    generation: AtomicU64,
    shutting_down: AtomicBool,
    /// Bounds how many sessions log in to each master at the same time, so that a new active is not
    /// buried under its own clients, nor waits for those that still try the old one.
    logins: Vec<Semaphore>,
    /// Made when a client first asks for it: it takes a while.
    rsa_key: OnceCell<Option<Arc<RsaKey>>>,
    passwords: Mutex<Vec<KnownPassword>>,
    /// Salts vouchers, which are of no use outside of this process.
    voucher_salt: Salt,
    metrics: SessionMetrics,
}

/// A password that logged in with `caching_sha2_password`.
#[derive(Debug)]
struct KnownPassword {
    user: Vec<u8>,
    stage2: [u8; 32],
    password: Zeroizing<Vec<u8>>,
}

/// The channels between sessions and the control plane.
#[derive(Debug)]
pub struct Channels {
    /// The routing table.
    pub routes: watch::Receiver<Arc<RoutingTable>>,
    /// The masters' accounts.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// Asks for the accounts to be read again.
    pub refresh_accounts: Arc<Notify>,
    /// What sessions see of servers.
    pub observations: mpsc::Sender<Observation>,
    /// TLS towards clients.
    pub offers: watch::Receiver<Option<Arc<Offer>>>,
}

/// How many sessions log in to a new active at once.
const PARALLEL_LOGINS: usize = 64;

/// Passwords that are remembered; the oldest are forgotten first and asked for again.
const KNOWN_PASSWORDS: usize = 1000;

/// For the account table to be read again; it is read at most once a second.
const REREAD: Duration = Duration::from_millis(1500);

/// Between two looks at sessions that hear nothing.
const TICK: Duration = Duration::from_millis(100);

impl Shared {
    /// Puts together what sessions share; `proxy_protocol` and `compression` are at their
    /// defaults.
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
            routes: channels.routes,
            accounts: channels.accounts,
            refresh_accounts: channels.refresh_accounts,
            observations: channels.observations,
            generation: AtomicU64::new(generation),
            shutting_down: AtomicBool::new(false),
            logins,
            rsa_key: OnceCell::new(),
            passwords: Mutex::new(Vec::new()),
            voucher_salt: random_salt(),
            metrics,
        }
    }

    /// What a client on `stream` is offered. Whoever comes by a Unix socket is alone on it already.
    pub(super) fn offer(&self, stream: &Stream) -> Option<Arc<Offer>> {
        self.offers.borrow().clone().filter(|_| !stream.is_secure())
    }

    /// Permits to log in to a server.
    pub(super) fn logins(&self, server: ServerId) -> &Semaphore {
        &self.logins[server.index()]
    }

    #[inline]
    pub(super) fn metrics(&self) -> &SessionMetrics {
        &self.metrics
    }

    /// Passes every new routing table on to the sessions, and looks for silent servers, until the
    /// coordinator ends.
    pub async fn follow_routes(self: Arc<Self>) {
        let mut routes = self.routes.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = routes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let generation = routes.borrow_and_update().generation;
                    self.generation.store(generation, Ordering::Release);
                    self.registry.wake_all();
                }
                _ = ticks.tick() => {
                    for server in self.registry.pass_tick() {
                        self.report(server, UnreachableKind::Silent, "no answer for 300 ms".into());
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
        self.generation.load(Ordering::Acquire)
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

    /// The rows of a user in the masters' account table.
    pub(super) fn accounts_of(&self, user: &str) -> (Vec<Account>, Option<String>) {
        let accounts = self.accounts.borrow();
        (accounts.of(user).to_vec(), accounts.unreadable.clone())
    }

    /// Has the account table read again and waits for it, for an account that was just made or
    /// changed. Bounded, and rate-limited by the reader.
    pub(super) async fn reread_accounts(&self) {
        let mut accounts = self.accounts.clone();
        accounts.mark_unchanged();
        self.refresh_accounts.notify_one();
        // Whoever is refused after that would have been refused by the server as well.
        let _ = tokio::time::timeout(REREAD, accounts.changed()).await;
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

    fn passwords(&self) -> std::sync::MutexGuard<'_, Vec<KnownPassword>> {
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The password whose token this is, if it has logged in before.
    pub(super) fn known_password(
        &self,
        user: &[u8],
        token: &[u8],
        salt: &Salt,
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.passwords()
            .iter()
            .find(|known| known.user == user && sha2_matches(token, salt, &known.stage2))
            .map(|known| known.password.clone())
    }

    /// Remembers a password that a master has accepted.
    pub(super) fn remember_password(&self, user: &[u8], password: &[u8]) {
        let mut passwords = self.passwords();
        if passwords.iter().any(|known| known.user == user && *known.password == password) {
            return;
        }
        if passwords.len() >= KNOWN_PASSWORDS {
            passwords.remove(0);
        }
        passwords.push(KnownPassword {
            user: user.to_vec(),
            stage2: sha2_stage2(password),
            password: Zeroizing::new(password.to_vec()),
        });
    }

    /// Forgets a password that a master has refused.
    pub(super) fn forget_password(&self, user: &[u8], password: &[u8]) {
        self.passwords().retain(|known| known.user != user || *known.password != password);
    }
}
