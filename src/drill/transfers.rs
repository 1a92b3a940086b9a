//! Clients that move money between accounts in transactions of several statements. The total must
//! stay, and nobody may see an error.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::prelude::*;
use mysql_async::{Conn, Opts};
use tokio::task::JoinSet;

use super::stage::Stage;

const CLIENTS: u64 = 4;
/// Each client has accounts of its own, so that no two wait for each other's locks.
const ACCOUNTS: u64 = 8;
const BALANCE: i64 = 1000;

/// The clients.
pub(super) struct Transfers {
    enough: Arc<AtomicBool>,
    tasks: JoinSet<Done>,
}

#[derive(Default)]
struct Done {
    committed: u64,
    errors: BTreeMap<String, u64>,
}

/// What became of it.
pub(super) struct Outcome {
    done: Done,
    /// What is on all accounts, on each master, and what should be.
    totals: Vec<i64>,
}

impl Transfers {
    pub(super) async fn start(stage: &Stage) -> Self {
        let mut connection = stage.connect().await;
        for statement in [
            "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL)".to_owned(),
            format!(
                "INSERT INTO accounts VALUES {}",
                (0..CLIENTS * ACCOUNTS)
                    .map(|id| format!("({id}, {BALANCE})"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ] {
            connection.query_drop(statement).await.expect("accounts");
        }
        let enough = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            tasks.spawn(transfer(stage.opts(), client, Arc::clone(&enough)));
        }
        Self { enough, tasks }
    }

    pub(super) async fn stop(mut self, stage: &Stage) -> Outcome {
        self.enough.store(true, Ordering::Relaxed);
        let mut done = Done::default();
        while let Some(one) = self.tasks.join_next().await {
            let one = one.expect("it ends");
            done.committed += one.committed;
            for (error, count) in one.errors {
                *done.errors.entry(error).or_default() += count;
            }
        }
        stage.sandbox.await_replication().await.expect("both threads run");
        let mut totals = Vec::new();
        for server in stage.sandbox.servers() {
            let mut root = server.root_connection().await.expect("root's login");
            let total = root.query_first("SELECT SUM(balance) FROM app.accounts").await;
            totals.push(total.expect("a sum").expect("a row"));
        }
        Outcome { done, totals }
    }
}

async fn transfer(opts: Opts, client: u64, enough: Arc<AtomicBool>) -> Done {
    let mut done = Done::default();
    let mut connection = Conn::new(opts.clone()).await.expect("a login");
    let mut turn = 0;
    while !enough.load(Ordering::Relaxed) {
        turn += 1;
        let account = |n: u64| client * ACCOUNTS + n % ACCOUNTS;
        match once(&mut connection, account(turn), account(turn * 3 + 1)).await {
            Ok(()) => done.committed += 1,
            Err(error) => {
                *done.errors.entry(error.to_string()).or_default() += 1;
                match Conn::new(opts.clone()).await {
                    Ok(new) => connection = new,
                    Err(error) => *done.errors.entry(error.to_string()).or_default() += 1,
                }
            }
        }
    }
    done
}

async fn once(connection: &mut Conn, from: u64, to: u64) -> mysql_async::Result<()> {
    connection.query_drop("BEGIN").await?;
    connection
        .query_drop(format!("UPDATE accounts SET balance = balance - 7 WHERE id = {from}"))
        .await?;
    connection
        .query_drop(format!("UPDATE accounts SET balance = balance + 7 WHERE id = {to}"))
        .await?;
    connection.query_drop("COMMIT").await
}

impl Outcome {
    pub(super) fn is_sound(&self) -> bool {
        let right = i64::try_from(CLIENTS * ACCOUNTS).unwrap_or_default() * BALANCE;
        self.done.errors.is_empty() && self.totals.iter().all(|total| *total == right)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, totals } = self;
        write!(
            f,
            "transfers committed {}, totals {totals:?}; errors {:?}",
            done.committed, done.errors
        )
    }
}
