//! Clients that move money between accounts in transactions of several statements. However often one
//! of them is broken off, the total must stay.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Each client has accounts of its own, so that no two wait for each other's locks.
const ACCOUNTS: u64 = 8;
const BALANCE: i64 = 1000;

/// After a login that failed.
const LOGIN_AGAIN: Duration = Duration::from_millis(20);

/// `ER_LOCK_DEADLOCK`: rolled back, and may be tried again.
const ROLLED_BACK: u16 = 1213;

/// The clients. Dropping them ends them in the middle of a statement.
#[derive(Debug)]
pub(super) struct Transfers {
    stop: watch::Sender<bool>,
    begun: Arc<AtomicU64>,
    tasks: JoinSet<Transferred>,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Transferred {
    pub(super) committed: u64,
    /// Client and turn of each of those: the keys of its rows.
    turns: Vec<(u64, u64)>,
    /// With error 1213: a client tries again.
    pub(super) rolled_back: u64,
    /// Everything else, in words.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Transfers {
    pub(super) const CLIENTS: u64 = 4;

    /// What is on all accounts together, always.
    pub(super) const TOTAL: i64 = (Self::CLIENTS * ACCOUNTS) as i64 * BALANCE;

    pub(super) async fn make_accounts(connection: &mut Conn, table: &str) -> Result<(), Error> {
        let make = format!("CREATE TABLE {table} (id INT PRIMARY KEY, balance BIGINT NOT NULL)");
        connection.query_drop(make).await?;
        let accounts: Vec<String> =
            (0..Self::CLIENTS * ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
        let filled = format!("INSERT INTO {table} VALUES {}", accounts.join(", "));
        connection.query_drop(filled).await?;
        let turns = format!(
            "CREATE TABLE {table}_turns (client INT, turn BIGINT, PRIMARY KEY (client, turn))"
        );
        connection.query_drop(turns).await
    }

    /// The transfers that a server has: client and turn.
    pub(super) async fn read(
        connection: &mut Conn,
        table: &str,
    ) -> Result<HashSet<(u64, u64)>, Error> {
        let turns = connection.query(format!("SELECT client, turn FROM {table}_turns")).await?;
        Ok(turns.into_iter().collect())
    }

    /// Sets them to work on `table`; `pace` is the time from one transfer of a client to its next.
    pub(super) fn start(opts: &Opts, table: &str, pace: Option<Duration>) -> Self {
        let stop = watch::Sender::new(false);
        let begun = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        for number in 0..Self::CLIENTS {
            let (opts, table, begun) = (opts.clone(), table.to_owned(), begun.clone());
            let client = Client { opts, table, number, begun };
            tasks.spawn(client.transfer(pace, stop.subscribe()));
        }
        Self { stop, begun, tasks }
    }

    /// How many have been begun so far, by all clients.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Lets each finish its transfer.
    pub(super) async fn stop(mut self) -> Transferred {
        self.stop.send_replace(true);
        let mut all = Transferred::default();
        while let Some(one) = self.tasks.join_next().await {
            // Nobody cancels them, and they do not panic.
            all.add(&one.unwrap_or_default());
        }
        all
    }
}

struct Client {
    opts: Opts,
    table: String,
    number: u64,
    begun: Arc<AtomicU64>,
}

impl Client {
    async fn transfer(self, pace: Option<Duration>, stop: watch::Receiver<bool>) -> Transferred {
        let mut done = Transferred::default();
        let mut connection = None;
        let mut turn = 0;
        while !*stop.borrow() {
            turn += 1;
            self.begun.fetch_add(1, Ordering::Relaxed);
            match self.once(connection.take(), turn).await {
                Ok(open) => {
                    connection = Some(open);
                    done.committed += 1;
                    done.turns.push((self.number, turn));
                }
                Err(error) => {
                    done.note(&error);
                    tokio::time::sleep(LOGIN_AGAIN).await;
                }
            }
            if let Some(pace) = pace {
                tokio::time::sleep(pace).await;
            }
        }
        done
    }

    /// One transfer, on this connection or on a new one.
    async fn once(&self, open: Option<Conn>, turn: u64) -> Result<Conn, Error> {
        let mut connection = match open {
            Some(open) => open,
            None => Conn::new(self.opts.clone()).await?,
        };
        let account = |n: u64| self.number * ACCOUNTS + n % ACCOUNTS;
        let (from, to, table) = (account(turn), account(turn * 3 + 1), &self.table);
        let client = self.number;
        for statement in [
            "BEGIN".to_owned(),
            format!("UPDATE {table} SET balance = balance - 7 WHERE id = {from}"),
            format!("UPDATE {table} SET balance = balance + 7 WHERE id = {to}"),
            format!("INSERT INTO {table}_turns VALUES ({client}, {turn})"),
            "COMMIT".to_owned(),
        ] {
            connection.query_drop(statement).await?;
        }
        Ok(connection)
    }
}

impl Transferred {
    fn note(&mut self, error: &Error) {
        match error {
            Error::Server(error) if error.code == ROLLED_BACK => self.rolled_back += 1,
            Error::Server(error) => self.count(format!("error {}", error.code), 1),
            _ => self.count("connection lost".to_owned(), 1),
        }
    }

    fn count(&mut self, what: String, number: u64) {
        *self.errors.entry(what).or_default() += number;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.turns.extend(&other.turns);
        self.rolled_back += other.rolled_back;
        for (error, number) in &other.errors {
            self.count(error.clone(), *number);
        }
    }

    /// How many were committed, by what clients were told, and are not among these.
    pub(super) fn missing_from(&self, has: &HashSet<(u64, u64)>) -> usize {
        self.turns.iter().filter(|turn| !has.contains(turn)).count()
    }

    /// How many a client was told of that came to nothing, or that nobody knows of.
    pub(super) fn failed(&self) -> u64 {
        self.rolled_back + self.errors.values().sum::<u64>()
    }
}

impl fmt::Display for Transferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transfers committed", self.committed)?;
        if self.rolled_back > 0 {
            write!(f, ", {} rolled back (1213)", self.rolled_back)?;
        }
        for (error, number) in &self.errors {
            write!(f, ", {number} × {error}")?;
        }
        Ok(())
    }
}
