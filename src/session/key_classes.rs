//! Keys of another master's class, seen in the OK packets that tell them.
//!
//! Each master has numbers of its own ([`KeyClass`]), and a key that one of them hands out of
//! another's is a collision that has not happened yet: somebody has changed `auto_increment_offset`, a
//! restart has forgotten it, or a client gives rows keys of its own choice. When the other master
//! is active it hands out the same number, and the row is refused; when both were written to,
//! replication stops.
//!
//! An OK tells the key anyway. With no key in it nothing is done; with one, it is compared with the master's class
//! ([`KeyClasses::holds`]). All else is done only for a key that is not of it ([`Relay::foreign_key`]), for a session
//! once a second: was the key really new, and may the statement be at fault? What remains is handed to
//! the control plane, which tells people.
//!
//! | not told | because |
//! |---|---|
//! | `LAST_INSERT_ID(expr)` in the statement | the key is what the client asked for |
//! | `ON DUPLICATE KEY UPDATE`, a `REPLACE` of a row that was there | the key is the old row's |
//! | a session that set its own `auto_increment_increment`, `auto_increment_offset` or `insert_id` | it means it |
//! | a session with temporary tables | theirs are nobody else's keys |
//! | procedures, batches of several statements, statements above a mebibyte | which statement the key is of cannot be seen, or the text is not kept |

use std::sync::atomic::{AtomicU32, Ordering};

use super::digest::{self, Insertion};
use super::relay::Relay;
use super::statement::{Traits, Verb};
use crate::topology::{KeyClass, ServerId};
use crate::wire::{Command, Header, OkPacket};

/// The class of every server, as sessions see it.
#[derive(Debug)]
pub struct KeyClasses(Box<[AtomicU32]>);

impl KeyClasses {
    /// For so many servers, of which nothing is known.
    pub(super) fn new(servers: usize) -> Self {
        Self((0..servers).map(|_| AtomicU32::new(0)).collect())
    }

    /// From now on this is the class of `server`. Servers have 16 bits for each of the two numbers
    /// (<https://dev.mysql.com/doc/refman/8.4/en/replication-options-source.html>); a class with
    /// larger ones counts as unknown.
    pub fn set(&self, server: ServerId, class: KeyClass) {
        let (increment, rest) = (class.increment(), class.offset() % class.increment());
        let packed = if increment > 0xFFFF { 0 } else { increment << 16 | rest };
        if let Some(known) = self.0.get(server.index()) {
            known.store(packed, Ordering::Relaxed);
        }
    }

    /// Whether `key` may be of this server: also when nothing is known of it.
    #[inline]
    pub(super) fn holds(&self, server: ServerId, key: u64) -> bool {
        let Some(known) = self.0.get(server.index()) else { return true };
        let packed = known.load(Ordering::Relaxed);
        packed == 0 || key % u64::from(packed >> 16) == u64::from(packed & 0xFFFF)
    }

    /// What is known of a server.
    fn class(&self, server: ServerId) -> Option<KeyClass> {
        let packed = self.0.get(server.index())?.load(Ordering::Relaxed);
        let (increment, rest) = (packed >> 16, packed & 0xFFFF);
        (packed != 0).then(|| KeyClass::new(increment, if rest == 0 { increment } else { rest }))
    }
}

/// A key of another master's class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The master on which it was made.
    pub server: ServerId,
    /// What that master hands out.
    pub class: KeyClass,
    /// The key.
    pub key: u64,
    /// The table, with its schema where that is known.
    pub table: String,
    /// The statement without literals.
    pub digest: String,
    /// The client's user.
    pub user: String,
}

/// For the control plane to take; more than that is only counted.
pub(super) const REPORTS: usize = 64;

/// Ticks between two looks of a session: about a second.
const LOOK_AGAIN: u32 = 10;

impl Relay {
    /// Looks at the key that an OK tells.
    #[inline]
    pub(super) fn look_at_key(&mut self, key: u64, packet: &[u8]) {
        let Some(server) = self.backend.as_ref().map(|backend| backend.server) else { return };
        if !self.shared.key_classes().holds(server, key) {
            self.foreign_key(server, key, packet);
        }
    }

    #[cold]
    #[inline(never)]
    fn foreign_key(&mut self, server: ServerId, key: u64, packet: &[u8]) {
        let tick = self.shared.registry.tick();
        let looked = self.foreign_key_at.is_some_and(|at| tick.wrapping_sub(at) < LOOK_AGAIN);
        // A negative key is no master's.
        if looked || i64::try_from(key).is_err() {
            return;
        }
        let affected = OkPacket::parse(&packet[Header::LEN..]).map_or(0, |ok| ok.affected_rows);
        let Some(found) = self.explain_key(server, key, affected) else { return };
        self.foreign_key_at = Some(tick);
        self.shared.report_foreign_key(found);
    }

    /// What is told of a key; `None` when it is as it should be.
    fn explain_key(&self, server: ServerId, key: u64, affected: u64) -> Option<ForeignKey> {
        let statement = self.current.statement;
        let understood = statement.verb == Verb::Write
            && !statement.traits.has(Traits::SEVERAL)
            && !self.state.makes_own_keys()
            && self.state.temporary_tables.is_empty();
        if !understood {
            return None;
        }
        let escapes = self.state.backslash_escapes();
        let (sql, schema) = match self.current.command {
            Command::Query if self.current.kept => {
                let from = Header::LEN + self.current.sql_at;
                let sql = self.request.bytes().get(from..self.front_len())?;
                (sql, self.state.schema.as_deref())
            }
            Command::StmtExecute | Command::StmtBulkExecute => {
                let prepared = self.state.prepared.get(self.current.statement_id?)?;
                (&*prepared.sql, prepared.schema.as_deref())
            }
            _ => return None,
        };
        let Insertion { table, replaces } = digest::insertion(sql, schema, escapes)?;
        if replaces && affected > 1 {
            return None;
        }
        Some(ForeignKey {
            server,
            class: self.shared.key_classes().class(server)?,
            key,
            table,
            digest: digest::digest(sql, escapes),
            user: String::from_utf8_lossy(&self.login.user).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_survives_its_packing() {
        let classes = KeyClasses::new(2);
        let (m1, m2) = (ServerId(0), ServerId(1));
        assert!(classes.holds(m1, 6) && classes.class(m1).is_none(), "nothing is known");
        for (increment, offset) in [(2, 1), (2, 2), (10, 10), (1, 1), (65535, 65535), (65535, 1)] {
            let class = KeyClass::new(increment, offset);
            classes.set(m2, class);
            assert_eq!(classes.class(m2), Some(class));
            for key in 1..200 {
                assert_eq!(classes.holds(m2, key), class.holds(key), "{class} {key}");
            }
        }
        assert!(classes.holds(ServerId(7), 1), "no server of the configuration");
    }
}
