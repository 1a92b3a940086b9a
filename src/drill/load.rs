//! The traffic of a drill: clients that write rows, and clients that move money.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts};

use super::transfers::{Transferred, Transfers};
use crate::checker::{Book, Ledger, Load, Row, Writers, make_table, read_rows};

/// What kind of traffic.
#[derive(Clone, Debug)]
pub(super) struct LoadKind {
    /// How many clients write.
    pub(super) writers: u16,
    /// Writes a second, of all of them together; `None` for as fast as they can.
    pub(super) rate: Option<u32>,
    /// From one transfer of a client to its next; `None` for as fast as they can.
    pub(super) transfer_pace: Option<Duration>,
    /// Where the tables are made.
    pub(super) schema: &'static str,
}

impl LoadKind {
    /// For people.
    pub(super) fn text(&self) -> String {
        let rate = self
            .rate
            .map_or_else(|| "as fast as they can".to_owned(), |rate| format!("{rate} a second"));
        let pace = self.transfer_pace.map_or_else(
            || "as fast as they can".to_owned(),
            |pace| format!("each every {}", humantime::format_duration(pace)),
        );
        format!(
            "{} clients write, {rate}; {} transfer money, {pace}",
            self.writers,
            Transfers::CLIENTS
        )
    }

    /// About as many rows as are written in a second, but not more than `most`.
    pub(super) fn a_second_or(&self, most: u64) -> u64 {
        self.rate.map_or(most, |rate| u64::from(rate).clamp(1, most))
    }
}

/// The tables of one drill, or of one run.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) writes: String,
    pub(super) accounts: String,
}

/// What a master has in them.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) rows: Vec<Row>,
    /// On all accounts together.
    pub(super) total: i64,
    /// The transfers: client and turn.
    pub(super) transfers: HashSet<(u64, u64)>,
}

impl Tables {
    /// Reads all.
    pub(super) async fn read(&self, connection: &mut Conn) -> Result<Contents, Error> {
        let rows = read_rows(connection, &self.writes).await?;
        let sum = format!("SELECT CAST(SUM(balance) AS SIGNED) FROM {}", self.accounts);
        let total: Option<Option<i64>> = connection.query_first(sum).await?;
        let transfers = Transfers::read(connection, &self.accounts).await?;
        Ok(Contents { rows, total: total.flatten().unwrap_or_default(), transfers })
    }
}

/// Clients at work. Dropping it ends them in the middle of a statement.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) book: Arc<Book>,
    pub(super) tables: Tables,
    writers: Writers,
    transfers: Transfers,
}

/// What they were told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) ledger: Ledger,
    pub(super) transferred: Transferred,
    pub(super) tables: Tables,
}

impl Traffic {
    /// Makes the tables, whose names end with `number`, and sets the clients to work.
    pub(super) async fn start(opts: &Opts, kind: &LoadKind, number: u32) -> Result<Self, Error> {
        let tables = Tables {
            writes: format!("{}.writes_{number}", kind.schema),
            accounts: format!("{}.accounts_{number}", kind.schema),
        };
        let mut maker = Conn::new(opts.clone()).await?;
        make_table(&mut maker, &tables.writes).await?;
        Transfers::make_accounts(&mut maker, &tables.accounts).await?;
        maker.disconnect().await?;
        let book = Arc::new(Book::new(Instant::now()));
        let pace = kind.rate.map(|rate| Duration::from_secs(u64::from(kind.writers)) / rate.max(1));
        let load = Load { writers: kind.writers, pace, table: tables.writes.clone() };
        let writers = Writers::start(opts, &load, &book);
        let transfers = Transfers::start(opts, &tables.accounts, kind.transfer_pace);
        Ok(Self { book, tables, writers, transfers })
    }

    /// So far: rows that were acknowledged, and transactions that were begun.
    pub(super) fn written(&self) -> (u64, u64) {
        let rows = self.book.counts().borrow().iter().sum();
        (rows, self.transfers.begun())
    }

    /// Lets everybody finish the statement, or the transfer, that he is at.
    pub(super) async fn stop(self) -> Told {
        let ((), transferred) = tokio::join!(self.writers.stop(), self.transfers.stop());
        let ledger = self.book.ledger().clone();
        Told { ledger, transferred, tables: self.tables }
    }
}
