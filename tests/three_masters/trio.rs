//! Three servers, a proxy, clients that write all the time, and what becomes of their writes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mysql_async::OptsBuilder;
use mysql_async::prelude::*;
use tandem::pair::Shape;
use tandem::sandbox::SandboxOptions;
use tandem::topology::{ServerId, ThreadState};

use crate::ledger::{Client, Fate, tokens};
use crate::patience::{eventually, within};
use crate::support::Stack;

/// Acknowledgements that show that a client goes on.
const GOES_ON: usize = 10;

const CLIENTS: usize = 4;

pub(crate) struct Trio {
    // Dropped in this order.
    clients: Vec<Client>,
    stack: Stack,
    pub(crate) shape: Shape,
    began: Instant,
}

impl Trio {
    pub(crate) async fn start(shape: Shape) -> Self {
        let options = SandboxOptions { masters: 3, shape, ..SandboxOptions::default() };
        let stack = Stack::start_with(options, |config| {
            config.monitor.interval = Duration::from_millis(300);
            config.monitor.rise = 2;
            config.failover.min_interval = Duration::ZERO;
            config.failover.acknowledge_after = 0;
        })
        .await;
        let user = &stack.sandbox.monitor().user;
        let statements = [
            "CREATE TABLE app.written (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
             token VARCHAR(64) NOT NULL, by_server INT NOT NULL)",
            // To judge what is stranded.
            &format!("GRANT SELECT ON app.* TO '{user}'@'%'"),
        ];
        stack.sandbox.server(0).execute(&statements).await.expect("made");
        let client =
            |number| Client::start(format!("c{number}"), OptsBuilder::from_opts(stack.opts()));
        let clients = (0..CLIENTS).map(client).collect();
        let trio = Self { clients, stack, shape, began: Instant::now() };
        assert_eq!(trio.active(), Some(ServerId(0)), "the preferred one");
        trio.only_open(ServerId(0)).await;
        trio.clients_go_on().await;
        trio
    }

    pub(crate) fn active(&self) -> Option<ServerId> {
        self.stack.app.handles().routes.borrow().active()
    }

    pub(crate) fn term(&self) -> u64 {
        self.stack.app.handles().routes.borrow().term.0
    }

    pub(crate) async fn kill(&mut self, server: ServerId) {
        println!("{:?}: kill -9 of m{}", self.began.elapsed(), server.0 + 1);
        self.stack.sandbox.server_mut(server.index()).kill().await.expect("killed");
    }

    pub(crate) async fn restart(&mut self, server: ServerId) {
        println!("{:?}: m{} starts", self.began.elapsed(), server.0 + 1);
        self.stack.sandbox.server_mut(server.index()).restart().await.expect("started");
    }

    pub(crate) async fn follows(&self, server: ServerId) {
        self.stack.await_active(Some(&format!("m{}", server.0 + 1))).await;
        println!("{:?}: m{} is active", self.began.elapsed(), server.0 + 1);
    }

    /// Waits until this one may become active, and makes it so.
    pub(crate) async fn switch_over(&self, to: ServerId) {
        let mut console = self.stack.console().await;
        let order = format!("SWITCHOVER TO m{}", to.0 + 1);
        let done = eventually(&order, async || {
            match within(&order, console.query_first::<String, _>(&order)).await {
                Ok(done) => done,
                // It has only just come back.
                Err(refused) => {
                    assert!(refused.to_string().contains("no switchover"), "{refused}");
                    None
                }
            }
        })
        .await;
        println!("{:?}: {done}", self.began.elapsed());
        assert_eq!(self.active(), Some(to), "{done}");
    }

    pub(crate) async fn clients_go_on(&self) {
        for (number, client) in self.clients.iter().enumerate() {
            let before = client.acknowledged();
            eventually(&format!("client {number} goes on"), async || {
                (client.acknowledged() >= before + GOES_ON).then_some(())
            })
            .await;
        }
    }

    pub(crate) fn no_errors(&self, since: Instant) {
        for client in &self.clients {
            let tally = client.since(since);
            assert_eq!((tally.unknown, tally.refused), (0, 0), "{tally:?}");
        }
    }

    pub(crate) fn last_event(&self) -> u64 {
        self.stack.app.handles().journal.rows_after(0).last().map_or(0, |row| row.number)
    }

    /// Waits until something with these words is told that was not told before.
    pub(crate) async fn told(&self, after: u64, words: &str) -> String {
        eventually(words, async || {
            let rows = self.stack.app.handles().journal.rows_after(after);
            let row = rows.into_iter().find(|row| row.transition.reason.contains(words))?;
            println!("{:?}: {}", self.began.elapsed(), row.transition.reason);
            Some(row.transition.reason)
        })
        .await
    }

    /// Carries out what stands in a message, in one text, as an administrator.
    pub(crate) async fn run_on(&self, server: ServerId, statements: &str) {
        let server = self.stack.sandbox.server(server.index());
        println!("{:?}: on {}: {statements}", self.began.elapsed(), server.name());
        let mut root = server.root_connection().await.expect("root's login");
        root.query_drop(statements).await.expect(statements);
    }

    /// The same, until the server receives.
    pub(crate) async fn receives_after(&self, server: ServerId, statements: &str) {
        let server_of = self.stack.sandbox.server(server.index());
        eventually("it receives", async || {
            self.run_on(server, statements).await;
            // A receiver that is refused has run for a moment, too: these are written when it does.
            self.clients_go_on().await;
            let acknowledged = self.acknowledged();
            let let_in = eventually("its receiver is let in or refused", async || {
                let channels = self.stack.sandbox.replication(server_of).await.ok()?;
                let refused = channels.first()?.io == ThreadState::No;
                let receives = self.rows(server).await.is_superset(&acknowledged);
                (refused || receives).then_some(!refused)
            });
            let_in.await.then_some(())
        })
        .await;
    }

    /// Waits until statements are held for a reason that has this word.
    pub(crate) async fn held(&self, word: &str) {
        let mut status = self.stack.app.handles().status.clone();
        let held = status.wait_for(|now| {
            now.held.as_ref().is_some_and(|reason| now.phase == "held" && reason.contains(word))
        });
        let status = within("statements are held", held).await.expect("the proxy runs").clone();
        let reason = status.held.clone().unwrap_or_default();
        println!("{:?}: held: {reason}", self.began.elapsed());
    }

    /// Waits until this one takes writes and nobody else does.
    pub(crate) async fn only_open(&self, active: ServerId) {
        eventually("one is open", async || {
            let mut open = Vec::new();
            for server in self.stack.sandbox.servers() {
                let mut root = server.root_connection().await.ok()?;
                let closed: Option<u8> =
                    root.query_first("SELECT @@GLOBAL.read_only").await.ok()?;
                open.push(closed == Some(0));
            }
            let expected: Vec<bool> = (0..3).map(|index| index == active.index()).collect();
            (open == expected).then_some(())
        })
        .await;
    }

    /// Waits until these have the same rows, and the acknowledged ones that were not acknowledged by a
    /// server that is down.
    pub(crate) async fn same_on(&self, servers: &[ServerId]) {
        let acknowledged = self.acknowledged();
        eventually("the same rows", async || {
            let mut tables = Vec::new();
            for server in servers {
                tables.push(self.rows(*server).await);
            }
            let same = tables.windows(2).all(|two| two[0] == two[1]);
            same.then(|| {
                let lacks = acknowledged.difference(&tables[0]).count();
                println!("{:?}: {lacks} acknowledged writes nobody received", self.began.elapsed());
            })
        })
        .await;
    }

    /// Waits until all three replicate, and each has every write that was acknowledged by now. What is
    /// found to be stranded meanwhile is released.
    pub(crate) async fn whole(&self) {
        let acknowledged = self.acknowledged();
        self.stack.await_released().await;
        eventually("every acknowledged write is everywhere", async || {
            for server in 0..3 {
                if !self.rows(ServerId(server)).await.is_superset(&acknowledged) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Prints what the clients saw.
    pub(crate) async fn end(self) {
        self.whole().await;
        for client in &self.clients {
            client.stop();
        }
        let all: Vec<_> = self.clients.iter().flat_map(Client::writes).collect();
        let count = |fate| all.iter().filter(|write| write.fate == fate).count();
        println!(
            "{:?} on {} {}: {} acknowledged, {} unknown, {} refused, none lost, none twice",
            self.shape,
            self.stack.sandbox.binaries().version(),
            format_args!("in {:?}", self.began.elapsed()),
            count(Fate::Acknowledged),
            count(Fate::Unknown),
            count(Fate::Refused)
        );
        assert_eq!(count(Fate::Refused), 0, "held for longer than they wait");
    }

    fn acknowledged(&self) -> BTreeSet<String> {
        let writes = self.clients.iter().flat_map(Client::writes);
        let writes = writes.filter(|write| write.fate == Fate::Acknowledged);
        writes.map(|write| write.token).collect()
    }

    /// What a server has; nothing of it twice.
    async fn rows(&self, server: ServerId) -> BTreeSet<String> {
        let server = self.stack.sandbox.server(server.index());
        let mut root = server.root_connection().await.expect("root's login");
        let rows = root.query("SELECT token FROM app.written").await.expect("asked");
        let (rows, twice) = tokens(rows);
        assert!(twice.is_empty(), "executed twice on {}: {twice:?}", server.name());
        rows
    }
}
