//! The test that a pair is one: rows written on every master in turn, and seen on all servers.
//!
//! ```text
//! m1   1  3  5                7          each waits until the others have executed
//! m2            6                        what was written before it
//! ```
//!
//! What the settings promise (`tandem check` reads them) is done here with real rows: the first master
//! takes the first three numbers of its class, the next one the next free number of its own above what
//! it has seen, and so on round the ring, until the first one has its turn again; every direction of
//! replication carries something, is waited for by GTID, and is timed. At the end all servers,
//! replicas among them, must have the same rows, and the table is dropped, whatever happened before.
//!
//! - It writes in a table of its own in the schema `tandem` ([`scratch`]) and nowhere else. The rows are
//!   ordinary transactions: they replicate to everybody, so that no server has something of its own, and
//!   a running proxy sees nothing that it would act upon.
//! - A standby takes writes from this account's sessions only. Where `super_read_only` stops those too,
//!   [`opening`] says what is done, and what makes sure that it ends.
//! - Servers whose settings are wrong on their face are not written to.
//!
//! Why a direction does not work is the business of `check`.

mod error;
mod opening;
mod participant;
mod proof;
mod scratch;

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

pub use error::WriteTestError;
pub use proof::{Arrival, Proof, Written};

use crate::monitor::{Columns, Dialer};
use crate::topology::{KeyClass, Server, Servers};
use participant::Participant;
use scratch::{Scratch, next_keys};

/// How long a direction may take: where it takes longer, it does not work.
pub const WITHIN: Duration = Duration::from_secs(10);

/// How many rows the first master writes in its first turn.
const FIRST_TURN: usize = 3;

/// Writes on every master in turn, as the account of `dialer_of`, and waits for each direction for at
/// most `within`.
///
/// # Errors
/// When a server cannot be asked, or anything is not as it should be. The table is dropped all the same,
/// where that is possible.
pub async fn prove(
    servers: &Servers,
    dialer_of: impl Fn(&Server) -> Dialer,
    within: Duration,
) -> Result<Proof, WriteTestError> {
    let masters = servers.masters().count();
    if masters < 2 {
        return Err(WriteTestError::TooFew(masters));
    }
    let connecting = servers.iter().map(|server| Participant::connect(server, dialer_of(server)));
    let members = try_join_all(connecting).await?;
    let mut ring = Ring { members, masters, within, last_writer: 0 };
    ring.refuse_what_cannot_be()?;
    let scratch = Scratch::of_this_run();
    let leftovers = ring.drop_leftovers().await?;
    ring.make(&scratch).await?;
    let outcome = ring.turns(&scratch).await;
    let dropped = match outcome {
        Ok(_) => ring.drop_everywhere(&scratch).await,
        Err(_) => ring.drop_behind_the_last_row(&scratch).await,
    };
    let (writes, same_on) = outcome?;
    dropped?;
    let leftovers = leftovers.iter().map(Scratch::table).collect();
    Ok(Proof { table: scratch.table(), leftovers, writes, same_on })
}

/// All servers, masters first.
struct Ring {
    members: Vec<Participant>,
    masters: usize,
    within: Duration,
    /// Who changed the table last.
    last_writer: usize,
}

impl Ring {
    fn refuse_what_cannot_be(&self) -> Result<(), WriteTestError> {
        let first = &self.members[0];
        if let Some(other) = self.members.iter().find(|other| other.flavor() != first.flavor()) {
            let names = (first.name().to_owned(), other.name().to_owned());
            return Err(WriteTestError::Families(names.0, names.1));
        }
        if let Some(claimed) = self.members.iter().find(|member| member.claimed) {
            return Err(WriteTestError::Switching(claimed.name().to_owned()));
        }
        let masters = &self.members[..self.masters];
        for (place, first) in masters.iter().enumerate() {
            for second in &masters[place + 1..] {
                if KeyClass::apart(&[first.settings(), second.settings()]).is_none() {
                    return Err(WriteTestError::SameNumbers {
                        first: first.name().to_owned(),
                        second: second.name().to_owned(),
                        classes: (first.class(), second.class()),
                    });
                }
            }
        }
        Ok(())
    }

    /// Where tables are made and dropped: on the master that applications write to, if there is one.
    fn home(&self) -> usize {
        let masters = &self.members[..self.masters];
        masters.iter().position(|master| !master.closed).unwrap_or(0)
    }

    /// Drops what runs left behind that were killed.
    async fn drop_leftovers(&mut self) -> Result<Vec<Scratch>, WriteTestError> {
        let home = self.home();
        let home = &mut self.members[home];
        let sets = home.run("list the tables of earlier runs", Scratch::LIST).await?;
        let left_over: Vec<Scratch> = sets
            .iter()
            .flatten()
            .map(Columns)
            .filter_map(|row| {
                Scratch::left_over(&row.text_or_empty(&["name"]), &row.text_or_empty(&["used"]))
            })
            .collect();
        if left_over.is_empty() {
            return Ok(left_over);
        }
        // A row of it that is still on its way would find no table, and stop who receives it.
        self.await_all().await?;
        let home = self.home();
        for scratch in &left_over {
            let drop = scratch.drop();
            self.members[home].write("drop the table of an earlier run", &drop).await?;
        }
        Ok(left_over)
    }

    /// Makes the table, and waits until everybody has it. Leaves nothing behind if that fails.
    async fn make(&mut self, scratch: &Scratch) -> Result<(), WriteTestError> {
        for member in &mut self.members {
            member.run("take a lock", &scratch.lock()).await?;
        }
        let home = self.home();
        let began = Instant::now();
        // Whoever may not drop it is told before it is there.
        let statements = format!(
            "CREATE DATABASE IF NOT EXISTS tandem; {}; {}",
            scratch.drop(),
            scratch.create()
        );
        self.members[home].write("make a scratch table", &statements).await?;
        self.last_writer = home;
        let made = self.await_everywhere(home, began).await;
        if made.is_err() {
            // What went wrong first is what is told.
            let _ = self.drop_behind_the_last_row(scratch).await;
        }
        made.map(drop)
    }

    async fn turns(
        &mut self,
        scratch: &Scratch,
    ) -> Result<(Vec<Written>, Vec<String>), WriteTestError> {
        let mut writes = Vec::new();
        let mut rows: Vec<(u64, String)> = Vec::new();
        let mut highest = 0;
        for turn in 0..=self.masters {
            let master = turn % self.masters;
            let count = if turn == 0 { FIRST_TURN } else { 1 };
            let class = self.members[master].class();
            let mut began = Instant::now();
            let keys = next_keys(class, highest, count);
            for expected in &keys {
                began = Instant::now();
                self.last_writer = master;
                let member = &mut self.members[master];
                let got = member.insert(scratch).await?;
                let server = member.name().to_owned();
                if got != *expected {
                    return Err(WriteTestError::Key { server, got, expected: *expected, class });
                }
                rows.push((got, server));
                highest = got;
            }
            let arrivals = self.await_everywhere(master, began).await?;
            let member = &self.members[master];
            let (master, closed) = (member.name().to_owned(), member.closed);
            writes.push(Written { master, class, keys, closed, arrivals });
        }
        let written: Vec<String> = rows.iter().map(|(key, by)| format!("{key} {by}")).collect();
        let same_on = self.compare(scratch, &written.join(", ")).await?;
        Ok((writes, same_on))
    }

    /// Waits until all others have executed what `from` wrote.
    async fn await_everywhere(
        &mut self,
        from: usize,
        began: Instant,
    ) -> Result<Vec<Arrival>, WriteTestError> {
        let gtids = self.members[from].written().await?;
        self.await_of(from, &gtids, began).await
    }

    async fn await_of(
        &mut self,
        from: usize,
        gtids: &str,
        began: Instant,
    ) -> Result<Vec<Arrival>, WriteTestError> {
        let (name, within) = (self.members[from].name().to_owned(), self.within);
        let others = self.members.iter_mut().enumerate().filter(|(place, _)| *place != from);
        let waiting = others.map(async |(_, member)| {
            let took = member.await_executed(gtids, &name, began, within).await?;
            Ok(Arrival { server: member.name().to_owned(), took })
        });
        // All of them, so that no connection is left in the middle of an answer.
        join_all(waiting).await.into_iter().collect()
    }

    async fn compare(
        &mut self,
        scratch: &Scratch,
        written: &str,
    ) -> Result<Vec<String>, WriteTestError> {
        let mut same = Vec::new();
        for member in &mut self.members {
            let found = member.rows(scratch).await?;
            let server = member.name().to_owned();
            if found != written {
                return Err(WriteTestError::Rows { server, found, written: written.to_owned() });
            }
            same.push(server);
        }
        Ok(same)
    }

    /// Waits until everybody has executed what everybody wrote by now.
    async fn await_all(&mut self) -> Result<(), WriteTestError> {
        for from in 0..self.masters {
            let Some(gtids) = self.members[from].all_written().await? else { continue };
            self.await_of(from, &gtids, Instant::now()).await?;
        }
        Ok(())
    }

    /// Drops the table of which every server has every row, and waits until nobody has it any more.
    async fn drop_everywhere(&mut self, scratch: &Scratch) -> Result<(), WriteTestError> {
        let home = self.home();
        let began = Instant::now();
        self.members[home].write("drop the scratch table", &scratch.drop()).await?;
        self.await_everywhere(home, began).await?;
        for member in &mut self.members {
            if member.has(scratch).await? {
                let (table, server) = (scratch.table(), member.name().to_owned());
                return Err(WriteTestError::NotDropped { table, server });
            }
        }
        Ok(())
    }

    /// Drops the table of which a row may still be on its way. Everybody has what was written in earlier
    /// turns, and gets what the last writer wrote in its order: a drop on any other server could
    /// come before a row, whose applier would stop.
    async fn drop_behind_the_last_row(&mut self, scratch: &Scratch) -> Result<(), WriteTestError> {
        let last = self.last_writer;
        self.members[last].write("drop the scratch table", &scratch.drop()).await.map(drop)
    }
}
