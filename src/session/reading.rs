//! Sessions of the reads listener: where they are, and what they may do there.
//!
//! They are sessions like all others, with a table that names several servers instead of one. A
//! session stays where it is while its server is in the table and what is known of it is recent; that
//! is looked at before each command. Otherwise it moves as any session does, to the server with the
//! fewest of them. What ties it to its server (an open transaction, a lock) it may finish there.
//!
//! They are READ ONLY, by a variable of the session that Tandem's own settings set (`tracking.rs`), so
//! that a write is refused in the same words (1792) by a replica, a standby and the active master. Who
//! sets it otherwise finds it set again before the next command; what would begin a transaction under
//! another mode, or do both in one packet, is refused here.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use super::causal::Causal;
use super::relay::Relay;
use super::seats::{Seat, Seats};
use super::statement::{Traits, Verb};
use crate::metrics::ReadsMetrics;
use crate::routing::{Freshness, RoutingTable, Writer};
use crate::topology::ServerId;
use crate::wire::{Command, put_packet};

/// Makes a session READ ONLY, behind `SET SESSION …`. The variable has two names: MySQL's since 5.7.20,
/// and MariaDB's, which MariaDB 11.1 keeps beside that. Each takes the text of its own comment only.
pub(super) const READ_ONLY: &[u8] =
    b" /*!50720 , transaction_read_only = ON */ /*M!100000 , tx_read_only = ON */";
/// The same by itself.
const SET_READ_ONLY: &[u8] = b"SET SESSION TRANSACTION READ ONLY";

/// What the sessions of the reads listener share.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Until when each server may be read from.
    pub freshness: Freshness,
    /// How many of them each server has.
    pub seats: Seats,
    /// Told when a server did not take a session.
    pub suspicion: Arc<Notify>,
    /// What reads wait for, if they do.
    pub causal: Option<Causal>,
    /// What is counted of it.
    pub metrics: ReadsMetrics,
}

/// What one of them has of its own.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Where it is about to log in.
    pub(super) seat: Option<Seat>,
    /// Until then it goes to the active master: what it was to find was not elsewhere in time.
    pub(super) refuge: Option<Instant>,
}

/// Where a session is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// Where it is.
    Here,
    /// On this server.
    There(ServerId),
    /// Nowhere now.
    Nobody,
}

impl Relay {
    /// Where the session is to be by `table`.
    pub(super) fn destination(&mut self, table: &RoutingTable) -> Destination {
        let here = self.backend.as_ref().map(|backend| backend.server);
        match &table.writer {
            Writer::Active(active) if here == Some(*active) => Destination::Here,
            Writer::Active(active) => Destination::There(*active),
            Writer::Held { .. } if self.reader.is_some() => self.choose_reader(table, here),
            Writer::Held { .. } => Destination::Nobody,
        }
    }

    fn choose_reader(&mut self, table: &RoutingTable, here: Option<ServerId>) -> Destination {
        if here.is_some_and(|here| self.may_stay(here)) {
            return Destination::Here;
        }
        let (Some(Reading { freshness, seats, .. }), Some(reader)) =
            (&self.shared.reading, &mut self.reader)
        else {
            return Destination::Nobody;
        };
        let now = Instant::now();
        let refuge = table.next.filter(|_| reader.refuge.is_some_and(|until| now < until));
        let readers = refuge.as_ref().map_or(&table.readers[..], std::slice::from_ref);
        let fit = |server| readers.contains(&server) && freshness.is_fresh(server, now);
        if here.is_some_and(fit) {
            return Destination::Here;
        }
        // It may have waited since it chose.
        if !reader.seat.as_ref().is_some_and(|seat| fit(seat.server)) {
            reader.seat = seats.take(readers, fit);
        }
        reader.seat.as_ref().map_or(Destination::Nobody, |seat| Destination::There(seat.server))
    }

    /// Whether a session of the reads listener finishes what it has open on `server`, whatever a table
    /// says of that.
    pub(super) fn may_stay(&self, server: ServerId) -> bool {
        let reading = self.shared.reading.as_ref();
        reading.is_some_and(|reading| !reading.freshness.is_down(server))
            && (self.state.in_transaction() || self.state.tie().is_some())
    }

    /// Whether a session of the reads listener has to leave `server`, where nothing is in flight.
    pub(super) fn is_sent_away(&self, table: &RoutingTable, server: ServerId) -> bool {
        let elsewhere = !table.readers.is_empty() && !table.leads_to(server);
        self.reader.is_some() && elsewhere && !self.may_stay(server)
    }

    /// Whether `table` takes away the server where the session is, so that its answer need not be waited
    /// for. One that serves no reads any more still answers those that it has, unless it is down.
    pub(super) fn is_replaced(&self, table: &RoutingTable) -> bool {
        let here = self.backend.as_ref().map(|backend| backend.server);
        match (&self.shared.reading, here) {
            (Some(reading), Some(here)) => reading.freshness.is_down(here),
            (Some(_), None) => true,
            (None, here) => table.active().is_some_and(|active| Some(active) != here),
        }
    }

    /// Whether what is known of the session's server is too old to read from it.
    #[inline]
    pub(super) fn is_stale(&self) -> bool {
        self.reader.is_some() && self.was_not_seen_in_time()
    }

    fn was_not_seen_in_time(&self) -> bool {
        match (&self.shared.reading, &self.backend) {
            (Some(reading), Some(backend)) => {
                !reading.freshness.is_fresh(backend.server, Instant::now())
            }
            _ => false,
        }
    }

    /// A server did not take the session: nobody else tries before it was looked at.
    pub(super) fn suspect(&mut self, server: ServerId) {
        if let Some(reading) = &self.shared.reading {
            reading.freshness.set(server, None);
            reading.suspicion.notify_one();
        }
        if let Some(reader) = &mut self.reader {
            reader.seat = None;
        }
    }

    /// The place that was taken at `server`, for the connection to it.
    pub(super) fn take_seat(&mut self, server: ServerId) -> Option<Seat> {
        self.reader.as_mut()?.seat.take_if(|seat| seat.server == server)
    }

    /// Whether a command would write under a mode of its own. To set the mode by itself is no harm.
    #[inline]
    pub(super) fn leaves_read_only(&self) -> bool {
        self.reader.is_some() && self.would_leave_read_only()
    }

    fn would_leave_read_only(&self) -> bool {
        let statement = self.current.statement;
        statement.traits.has(Traits::ACCESS_MODE)
            && (statement.traits.has(Traits::SEVERAL)
                || matches!(statement.verb, Verb::Begin | Verb::SetStatement | Verb::Other))
            && self.current.command != Command::StmtPrepare
    }

    /// After a SET that may have made the session READ WRITE.
    pub(super) fn stay_read_only(&mut self) {
        if self.reader.is_some() && self.current.statement.traits.has(Traits::ACCESS_MODE) {
            self.set_read_only();
        }
    }

    /// Makes the session READ ONLY before its next command, if it is one of the reads listener.
    pub(super) fn set_read_only(&mut self) {
        if self.reader.is_none() {
            return;
        }
        let sql = self.login.query(SET_READ_ONLY);
        if let Some(backend) = &mut self.backend {
            put_packet(&mut backend.preamble, 0, &sql);
            backend.swallow += 1;
        }
    }
}
