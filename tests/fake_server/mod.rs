//! A server that does as the test says, a client that shows every byte, and a session between them.
//!
//! The test is all three: client, control plane and both masters. It sends a command, looks at what
//! the master was asked, lets it answer (or die in the middle of a packet), publishes a routing table,
//! and looks at what the client gets. Nothing happens by itself but the session under test, so that
//! every order of events can be had, each time.

#![allow(dead_code, unreachable_pub)] // each suite uses its own part of it

mod client;
pub mod packets;
mod server;

pub use client::{CLIENT, RawClient};
pub use server::FakeConnection;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tandem::listener::{Listener, Workers};
use tandem::metrics::SessionMetrics;
use tandem::routing::{DrainReport, OpenSession, RoutingTable, Writer};
use tandem::session::{Activity, Channels, SessionEnd, Shared, serve};
use tandem::tls::MasterTls;
use tandem::topology::{
    Account, Accounts, Flavor, Identity, Observation, ServerAddress, ServerId, Servers, Term,
};
use tandem::wire::{Capabilities, Stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// What the fake masters offer: what MariaDB 10.11 does, without TLS and compression.
pub const OFFERED: Capabilities = Capabilities(0x0000_001d_81ff_f7de);

/// Bounds what has gone wrong; nothing that goes right waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that has to happen.
pub async fn within<T>(what: &str, happening: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, happening)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Two masters that do as they are told, and the control plane.
pub struct Stage {
    pub shared: Arc<Shared>,
    pub observations: mpsc::Receiver<Observation>,
    pub drains: mpsc::Receiver<DrainReport>,
    masters: Vec<TcpListener>,
    routes: watch::Sender<Arc<RoutingTable>>,
    accounts: watch::Sender<Arc<Accounts>>,
    thread_id: u32,
    /// What the masters offer.
    offered: Capabilities,
    _follower: JoinHandle<()>,
}

impl Stage {
    /// m1 is active, and a statement may wait for as long as it takes.
    pub async fn new() -> Self {
        Self::with_hold(PATIENCE * 2).await
    }

    /// m1 is active, and a statement may wait for `hold`.
    pub async fn with_hold(hold: Duration) -> Self {
        Self::set_up(hold, Duration::from_secs(10), Accounts::default()).await
    }

    /// m1 is active, and these are the accounts.
    pub async fn with_accounts(accounts: impl IntoIterator<Item = (String, Account)>) -> Self {
        Self::set_up(PATIENCE * 2, Duration::from_secs(10), Accounts::new(accounts)).await
    }

    pub async fn set_up(hold: Duration, connect_timeout: Duration, accounts: Accounts) -> Self {
        let mut masters = Vec::new();
        let mut names = Vec::new();
        for name in ["m1", "m2"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("bound").port();
            names.push((name.to_owned(), ServerAddress::Tcp { host: "127.0.0.1".into(), port }));
            masters.push(listener);
        }
        let servers = Servers::new(names, []);
        Self { masters, ..Self::before(servers, hold, connect_timeout, accounts) }
    }

    /// The test is the control plane of these servers. The first is active.
    pub fn before(
        servers: Servers,
        hold: Duration,
        connect_timeout: Duration,
        accounts: Accounts,
    ) -> Self {
        let table = RoutingTable {
            generation: 1,
            term: Term(1),
            writer: Writer::Active(ServerId(0)),
            readers: Arc::default(),
            draining: None,
            next: None,
            pace: None,
            identity: Some(Arc::new(Identity {
                flavor: Flavor::MariaDb,
                version: "5.5.5-10.11.19-MariaDB".into(),
                capabilities: OFFERED.0,
                collation: 8,
                plugin: "mysql_native_password".into(),
            })),
            servers,
        };
        let (routes, routes_seen) = watch::channel(Arc::new(table));
        let (accounts, accounts_seen) = watch::channel(Arc::new(accounts));
        let (observed, observations) = mpsc::channel(64);
        let (reported, drains) = mpsc::channel(16);
        // The table is what it is: whoever asks for a part of it knows it already.
        let (questions, mut asked) = mpsc::channel::<(String, oneshot::Sender<()>)>(64);
        tokio::spawn(async move {
            while let Some((_, done)) = asked.recv().await {
                let _ = done.send(());
            }
        });
        let channels = Channels {
            routes: routes_seen,
            accounts: accounts_seen,
            questions,
            observations: observed,
            drains: reported,
            offers: watch::channel(None).1,
        };
        let metrics = SessionMetrics::default();
        let shared = Arc::new(Shared::new(
            channels,
            hold,
            connect_timeout,
            100,
            MasterTls::disabled(),
            metrics,
        ));
        let follower = tokio::spawn(Arc::clone(&shared).follow_routes());
        Self {
            shared,
            observations,
            drains,
            masters: Vec::new(),
            routes,
            accounts,
            thread_id: 100,
            offered: OFFERED,
            _follower: follower,
        }
    }

    /// m1 is active, and the masters offer this.
    pub async fn offering(offered: Capabilities) -> Self {
        let mut stage = Self::new().await;
        let mut table = (**stage.routes.borrow()).clone();
        table.generation += 1;
        if let Some(identity) = &table.identity {
            let identity = Identity { capabilities: offered.0, ..Identity::clone(identity) };
            table.identity = Some(Arc::new(identity));
        }
        stage.routes.send_replace(Arc::new(table));
        stage.offered = offered;
        stage
    }

    /// Publishes another table. Returns its generation.
    fn publish(&self, writer: Writer, change: impl FnOnce(&mut RoutingTable)) -> u64 {
        let last = (**self.routes.borrow()).clone();
        let generation = last.generation + 1;
        let mut table =
            RoutingTable { generation, writer, draining: None, next: None, pace: None, ..last };
        change(&mut table);
        self.routes.send_replace(Arc::new(table));
        generation
    }

    /// This master is active now.
    pub fn activate(&self, master: u16) {
        self.publish(Writer::Active(ServerId(master)), |_| {});
    }

    /// The same, and writers wait for so long.
    pub fn activate_at(&self, master: u16, pace: Duration) {
        self.publish(Writer::Active(ServerId(master)), |table| table.pace = Some(pace));
    }

    /// Nobody is active now.
    pub fn hold(&self, reason: &str) {
        self.publish(Writer::Held { since: Instant::now(), reason: reason.into() }, |_| {});
    }

    /// Nobody is active now, and this master is to be left. Returns the table's generation.
    pub fn drain(&self, master: u16) -> u64 {
        self.leave(master, None)
    }

    /// The same, and this other one is to be active next.
    pub fn drain_towards(&self, master: u16, next: u16) -> u64 {
        self.leave(master, Some(ServerId(next)))
    }

    fn leave(&self, master: u16, next: Option<ServerId>) -> u64 {
        let writer = Writer::Held { since: Instant::now(), reason: "switching over".into() };
        self.publish(writer, |table| {
            table.draining = Some(ServerId(master));
            table.next = next;
        })
    }

    /// Waits until so many sessions' statements are held.
    pub async fn until_held(&self, sessions: usize) {
        let held = || {
            let list = self.shared.registry.list();
            list.iter().filter(|entry| entry.activity() == Activity::Held).count()
        };
        within("statements are held", async {
            while held() != sessions {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The next report on a drain.
    pub async fn report(&mut self) -> DrainReport {
        within("a report", self.drains.recv()).await.expect("the sessions report")
    }

    /// Why sessions do not let go of the master that is drained, in the next report.
    pub async fn whys(&mut self) -> Vec<&'static str> {
        self.report().await.open.into_iter().map(|OpenSession { why, .. }| why).collect()
    }

    /// Waits until that is this, and for nobody else.
    pub async fn until_open(&mut self, whys: &[&str]) {
        while self.whys().await != whys {}
    }

    /// A client's connection, before any byte of it.
    pub async fn dial(&self) -> (TcpStream, JoinHandle<()>) {
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = door.local_addr().expect("bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), door.accept());
        let (stream, peer) = accepted.expect("accepted");
        let (shared, book) = (Arc::clone(&self.shared), self.shared.open_book());
        let session = serve(Stream::Tcp(stream), Some(peer), shared, book);
        (client.expect("connected"), tokio::spawn(session))
    }

    /// A door before threads of the sessions' own, as the proxy has them, and the tasks of it.
    pub fn workers(&self, threads: usize) -> (ServerAddress, JoinHandle<std::io::Result<()>>) {
        let address = ServerAddress::Tcp { host: "127.0.0.1".into(), port: 0 };
        let listener = Listener::bind(&address).expect("a port");
        let address = listener.address().expect("bound");
        let (workers, _) = Workers::start(threads, &self.shared).expect("threads");
        (address, tokio::spawn(listener.run(workers)))
    }

    /// A client without a password, logged in on the active master `master`.
    pub async fn log_in(
        &mut self,
        capabilities: Capabilities,
        master: u16,
    ) -> (RawClient, FakeConnection) {
        let (stream, _) = self.dial().await;
        let client = within("login", RawClient::log_in(stream, capabilities));
        let (client, server) = tokio::join!(client, self.accept(master));
        (client, server)
    }

    /// A usual client on `master`, which is made active for that.
    pub async fn session_during(&mut self, master: u16) -> (RawClient, FakeConnection) {
        self.activate(master);
        self.log_in(CLIENT, master).await
    }

    /// A usual client on m1.
    pub async fn session(&mut self) -> (RawClient, FakeConnection) {
        self.log_in(CLIENT, 0).await
    }

    /// The next login on a master, accepted.
    pub async fn accept(&mut self, master: u16) -> FakeConnection {
        let mut connection = self.meet(master).await;
        connection.greet(self.offered).await;
        connection.say(&packets::ok(packets::AUTOCOMMIT)).await;
        connection
    }

    /// Lets the client query, and accepts the login on m1 that follows.
    pub async fn accept_after(&mut self, client: &mut RawClient, sql: &str) -> FakeConnection {
        client.query(sql).await;
        self.accept(0).await
    }

    /// The next connection to a master, before the greeting.
    pub async fn meet(&mut self, master: u16) -> FakeConnection {
        let listener = &self.masters[usize::from(master)];
        let (stream, _) = within("a connection", listener.accept()).await.expect("accepted");
        self.thread_id += 1;
        FakeConnection::new(stream, self.thread_id)
    }

    /// Lets a master accept whoever comes, and say OK to everything. Returns how many writes it had.
    pub fn let_run(&mut self, master: u16) -> Arc<AtomicU64> {
        let writes = Arc::new(AtomicU64::new(0));
        let (counted, offered) = (Arc::clone(&writes), self.offered);
        let door = self.take_door(master);
        tokio::spawn(async move {
            for thread_id in 1.. {
                let (stream, _) = door.accept().await.expect("accepted");
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut connection = FakeConnection::new(stream, thread_id);
                    // A session that sees another table comes no further.
                    if connection.try_to_greet(offered).await.is_ok() {
                        let _ = connection.say_ok_to_all(counted).await;
                    }
                });
            }
        });
        writes
    }

    /// Numbers the connections from here on, as a server that starts again begins at the front.
    pub fn restart_numbering(&mut self) {
        self.thread_id = 0;
    }

    /// Whether nobody has knocked on a master's door.
    pub fn is_unvisited(&self, master: u16) -> bool {
        let listener = &self.masters[usize::from(master)];
        futures_util::FutureExt::now_or_never(listener.accept()).is_none()
    }

    /// Closes a master's door: connections are refused from here on.
    pub fn close_door(&mut self, master: u16) {
        drop(self.take_door(master));
    }

    fn take_door(&mut self, master: u16) -> TcpListener {
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        other.set_nonblocking(true).expect("set");
        let other = TcpListener::from_std(other).expect("adopted");
        std::mem::replace(&mut self.masters[usize::from(master)], other)
    }
}

/// How sessions end is seen from outside only; named so that the suites can speak of it.
pub type End = SessionEnd;
