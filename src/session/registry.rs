//! The sessions that there are.
//!
//! Each session is known by an [`Entry`] that it shares with the registry: a few atomics that the
//! session writes as it goes and others read, and a waker by which it is told that there is
//! something to look at. The map itself is locked when a session begins or ends, and when somebody
//! goes through all of them; never by a query.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use futures_util::task::AtomicWaker;

use crate::topology::ServerId;

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// The client is logging in.
    LoggingIn,
    /// Waiting for the client.
    Idle,
    /// Waiting for the server.
    Running,
    /// A statement waits for an active master.
    Held,
}

/// One session, as others see it.
#[derive(Debug)]
pub struct Entry {
    /// The id that the client was greeted with.
    pub id: u32,
    /// The other end of its socket; `None` for Unix sockets.
    peer: Option<SocketAddr>,
    /// Where a load balancer says that the client is.
    told: OnceLock<SocketAddr>,
    /// When it connected.
    pub since: Instant,
    user: OnceLock<String>,
    activity: AtomicU8,
    /// The server it is on; `u16::MAX` for none.
    server: AtomicU16,
    /// The tick at which it last heard nothing; 0 while it waits for nobody.
    waiting_since: AtomicU32,
    killed: AtomicBool,
    waker: AtomicWaker,
}

const NO_SERVER: u16 = u16::MAX;

impl Entry {
    /// Where the client is; `None` for Unix sockets.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        self.told.get().copied().or(self.peer)
    }

    /// Who logged in; empty before.
    #[must_use]
    pub fn user(&self) -> &str {
        self.user.get().map_or("", String::as_str)
    }

    /// What it is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        match self.activity.load(Ordering::Relaxed) {
            0 => Activity::LoggingIn,
            1 => Activity::Idle,
            2 => Activity::Running,
            _ => Activity::Held,
        }
    }

    /// The server it is on.
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        match self.server.load(Ordering::Relaxed) {
            NO_SERVER => None,
            id => Some(ServerId(id)),
        }
    }

    /// Ends the session at its next step.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    #[inline]
    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn set_activity(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    pub(super) fn set_server(&self, server: Option<ServerId>) {
        self.server.store(server.map_or(NO_SERVER, |id| id.0), Ordering::Relaxed);
    }

    pub(super) fn set_client(&self, client: SocketAddr) {
        let _ = self.told.set(client);
    }

    pub(super) fn set_user(&self, user: &[u8]) {
        let _ = self.user.set(String::from_utf8_lossy(user).into_owned());
    }

    #[inline]
    pub(super) fn set_waiting_since(&self, tick: u32) {
        self.waiting_since.store(tick, Ordering::Relaxed);
    }

    /// Whether its server has said something within the last ticks.
    pub(super) fn has_heard_of_late(&self, tick: u32) -> bool {
        tick.wrapping_sub(self.waiting_since.load(Ordering::Relaxed)) / 2 <= SILENCE
    }

    #[inline]
    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }
}

/// All sessions of the process.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Mutex<HashMap<u32, Arc<Entry>>>,
    next: AtomicU32,
    /// Counts tenths of seconds while there are sessions: a clock that costs nothing to read.
    tick: AtomicU32,
}

/// Ids begin here, out of the way of servers' thread ids, so that one cannot be taken for the other.
const FIRST_ID: u32 = 1 << 30;

/// Ticks of silence after which a statement in flight is a reason to probe: 300 ms.
const SILENCE: u32 = 3;

impl Registry {
    fn entries(&self) -> MutexGuard<'_, HashMap<u32, Arc<Entry>>> {
        // A panic elsewhere leaves the map whole: it is only inserted to and removed from.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a new session.
    pub(super) fn open(&self, peer: Option<SocketAddr>, now: Instant) -> Arc<Entry> {
        let mut entries = self.entries();
        let id = loop {
            let id = FIRST_ID | self.next.fetch_add(1, Ordering::Relaxed) & (FIRST_ID - 1);
            if !entries.contains_key(&id) {
                break id;
            }
        };
        let entry = Arc::new(Entry {
            id,
            peer,
            told: OnceLock::new(),
            since: now,
            user: OnceLock::new(),
            activity: AtomicU8::new(Activity::LoggingIn as u8),
            server: AtomicU16::new(NO_SERVER),
            waiting_since: AtomicU32::new(0),
            killed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        entries.insert(id, Arc::clone(&entry));
        entry
    }

    /// Strikes a session off.
    pub(super) fn close(&self, id: u32) {
        self.entries().remove(&id);
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session that was greeted with this id.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Arc<Entry>> {
        self.entries().get(&id).cloned()
    }

    /// All sessions, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let mut list: Vec<_> = self.entries().values().cloned().collect();
        list.sort_by_key(|entry| entry.since);
        list
    }

    /// Wakes every session: there is a new routing table, or an end.
    pub(super) fn wake_all(&self) {
        for entry in self.entries().values() {
            entry.waker.wake();
        }
    }

    /// The present tick; never 0.
    #[inline]
    pub(super) fn tick(&self) -> u32 {
        self.tick.load(Ordering::Relaxed) | 1
    }

    /// Lets a tenth of a second pass. Returns the servers from which statements have heard nothing
    /// for 300 ms, each once.
    pub(super) fn pass_tick(&self) -> Vec<ServerId> {
        // By two, because the lowest bit is taken: 0 means "waits for nobody".
        let now = self.tick.fetch_add(2, Ordering::Relaxed).wrapping_add(2) | 1;
        let mut silent = Vec::new();
        for entry in self.entries().values() {
            let since = entry.waiting_since.load(Ordering::Relaxed);
            if since == 0 || now.wrapping_sub(since) / 2 != SILENCE {
                continue;
            }
            silent.extend(entry.server().filter(|server| !silent.contains(server)));
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_out_of_the_way_of_thread_ids_and_unique() {
        let registry = Registry::default();
        let now = Instant::now();
        let (first, second) = (registry.open(None, now), registry.open(None, now));
        assert!(first.id >= FIRST_ID && first.id != second.id);
        registry.close(first.id);
        assert!(registry.get(first.id).is_none() && registry.len() == 1);
    }

    #[test]
    fn a_silence_is_reported_once_and_for_each_server_once() {
        let registry = Registry::default();
        let entries: Vec<_> = (0..3).map(|_| registry.open(None, Instant::now())).collect();
        for (entry, server) in entries.iter().zip([0, 0, 1]) {
            entry.set_server(Some(ServerId(server)));
            entry.set_waiting_since(registry.tick());
        }
        entries[2].set_waiting_since(0);
        let reports: Vec<_> = (0..10).map(|_| registry.pass_tick()).collect();
        let heard: Vec<_> = reports.iter().flatten().collect();
        assert_eq!(heard, [&ServerId(0)]);
        assert_eq!(reports[2], [ServerId(0)]);
    }
}
