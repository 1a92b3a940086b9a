//! The sessions that there are.
//!
//! Each session is known by an [`Entry`] that it shares with the registry: a few atomics that the
//! session writes as it goes and others read, and a waker by which it is told that there is
//! something to look at. The map itself is locked when a session begins or ends, and when somebody
//! goes through all of them; never by a query.

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Instant;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::tie::Tie;
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
    /// Locked at a login, and by others that ask.
    user: Mutex<String>,
    /// What it is doing (the lower two bits), and what ties it to its server.
    doing: AtomicU8,
    /// The server it is on (the upper half) and the server's id of it; `NOWHERE` for none.
    place: AtomicU64,
    /// The server's id of a connection that somebody had killed through Tandem; 0 for none.
    condemned: AtomicU32,
    /// The tick at which it last heard nothing; 0 while it waits for nobody.
    waiting_since: AtomicU32,
    /// What it logged in with, as far as that can vouch for others.
    voucher: Mutex<Option<Voucher>>,
    interrupted: AtomicBool,
    killed: AtomicBool,
    waker: AtomicWaker,
}

const NOWHERE: u64 = u64::MAX;

/// The bits of `doing` that are the activity.
const ACTIVITY: u8 = 3;

impl Entry {
    fn new(id: u32, peer: Option<SocketAddr>, since: Instant) -> Self {
        Self {
            id,
            peer,
            told: OnceLock::new(),
            since,
            user: Mutex::default(),
            doing: AtomicU8::new(Activity::LoggingIn as u8),
            place: AtomicU64::new(NOWHERE),
            condemned: AtomicU32::new(0),
            waiting_since: AtomicU32::new(0),
            voucher: Mutex::default(),
            interrupted: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Where the client is; `None` for Unix sockets.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        self.told.get().copied().or(self.peer)
    }

    /// Who logged in; empty before.
    #[must_use]
    pub fn user(&self) -> String {
        self.user.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        match self.doing.load(Ordering::Relaxed) & ACTIVITY {
            0 => Activity::LoggingIn,
            1 => Activity::Idle,
            2 => Activity::Running,
            _ => Activity::Held,
        }
    }

    /// The server it is on.
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        self.place().map(|(server, _)| server)
    }

    /// The server it is on, and that server's id of its connection.
    #[must_use]
    pub fn place(&self) -> Option<(ServerId, u32)> {
        match self.place.load(Ordering::Relaxed) {
            NOWHERE => None,
            place => Some((ServerId((place >> 32) as u16), place as u32)),
        }
    }

    /// Ends the session at its next step.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Ends the statement that waits for an active master, if one does.
    pub(super) fn interrupt(&self) {
        if self.activity() == Activity::Held {
            self.interrupted.store(true, Ordering::Relaxed);
            self.waker.wake();
        }
    }

    /// Whether the statement that waits shall end. Says so once.
    pub(super) fn take_interrupt(&self) -> bool {
        self.interrupted.swap(false, Ordering::Relaxed)
    }

    /// A connection of this session's is about to be closed by its server because somebody wants it
    /// to, or not after all.
    pub(super) fn condemn(&self, thread_id: u32, condemned: bool) {
        self.condemned.store(if condemned { thread_id } else { 0 }, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub(super) fn is_condemned(&self, thread_id: u32) -> bool {
        self.condemned.load(Ordering::Relaxed) == thread_id
    }

    /// Resolves when the session is killed.
    pub(super) async fn killed(&self) {
        poll_fn(|cx| {
            self.register(cx.waker());
            if self.is_killed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[inline]
    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// It is about to look at the generation of the routing table and, if that is what it knows, to
    /// send a command. Whoever has a table drained stores the generation first and looks here then:
    /// in one order of all four (`SeqCst`) one of both sees the other.
    #[inline]
    pub(super) fn set_running(&self) {
        let doing = Activity::Running as u8 | Tie::code(Some(Tie::Statement)) << 2;
        self.doing.store(doing, Ordering::SeqCst);
    }

    /// What it is doing, and what ties it to its server meanwhile. It will send nothing there before
    /// it has called [`Self::set_running`].
    #[inline]
    pub(super) fn set_doing(&self, activity: Activity, tie: Option<Tie>) {
        self.doing.store(activity as u8 | Tie::code(tie) << 2, Ordering::Release);
    }

    /// What ties it to `server`, if it is there.
    pub(super) fn tie_to(&self, server: ServerId) -> Option<Tie> {
        // In this order: whoever is seen to run has said before where.
        let tie = Tie::of_code(self.doing.load(Ordering::SeqCst) >> 2);
        tie.filter(|_| self.server() == Some(server))
    }

    /// Why it cannot be moved to another server now, to follow "it": "is in a transaction". `None` when
    /// it can, or is on none.
    #[must_use]
    pub fn tied_by(&self) -> Option<&'static str> {
        self.server().and_then(|server| self.tie_to(server)).map(Tie::why)
    }

    /// It is on this server, which knows it by this id; or nowhere.
    pub(super) fn set_place(&self, place: Option<(ServerId, u32)>) {
        let place = place.map_or(NOWHERE, |(server, thread_id)| {
            u64::from(server.0) << 32 | u64::from(thread_id)
        });
        self.place.store(place, Ordering::Relaxed);
    }

    pub(super) fn set_client(&self, client: SocketAddr) {
        let _ = self.told.set(client);
    }

    pub(super) fn set_user(&self, user: &[u8]) {
        *self.user.lock().unwrap_or_else(PoisonError::into_inner) =
            String::from_utf8_lossy(user).into_owned();
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
#[derive(Debug)]
pub struct Registry {
    known: Mutex<Known>,
    /// Shared with the sessions of another listener.
    numbers: Arc<Numbers>,
    /// Counts tenths of seconds or less: a clock that costs nothing to read.
    tick: AtomicU32,
    /// A session may have let go of the master that is drained.
    let_go: Notify,
}

/// Ids, and how many sessions there are, of all listeners.
#[derive(Debug)]
struct Numbers {
    next: AtomicU32,
    open: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<u32, Arc<Entry>>,
    /// Those that have not said who they are, in the order in which they came.
    strangers: BTreeSet<u32>,
    /// Logins that a master has accepted and whose sessions live, and how many of each.
    vouchers: HashMap<Voucher, u32>,
}

/// User, host and secret of a login, as a digest: two logins with the same one are as good as each
/// other.
pub(super) type Voucher = [u8; 32];

/// Ids begin here, out of the way of servers' thread ids, so that one cannot be taken for the other,
/// and end below 2^31, for clients that keep them in a signed integer.
const FIRST_ID: u32 = 1 << 30;

impl Known {
    fn replace_voucher(&mut self, entry: &Entry, voucher: Option<Voucher>) {
        let mut own = entry.voucher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *own, voucher)
            && let Some(count) = self.vouchers.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.vouchers.remove(&old);
            }
        }
        if let Some(new) = voucher {
            *self.vouchers.entry(new).or_default() += 1;
        }
    }
}

impl Default for Registry {
    /// Ids begin anywhere in their range: a KILL that reaches another proxy of the same pair, through
    /// a balancer say, must not find one of its sessions under the same number.
    fn default() -> Self {
        let mut start = [0; 4];
        // Without randomness there is no salt for a login either, and the first client says so.
        let _ = aws_lc_rs::rand::fill(&mut start);
        Self {
            known: Mutex::default(),
            numbers: Arc::new(Numbers {
                next: AtomicU32::new(u32::from_ne_bytes(start)),
                open: AtomicUsize::new(0),
            }),
            tick: AtomicU32::new(0),
            let_go: Notify::new(),
        }
    }
}

/// Ticks of silence after which a statement in flight is a reason to probe.
const SILENCE: u32 = 3;

impl Registry {
    /// One for another listener, which gives no id that `other` gives.
    #[must_use]
    pub fn beside(other: &Self) -> Self {
        Self { numbers: Arc::clone(&other.numbers), ..Self::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves both whole: they are only inserted to and removed from.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a new session.
    pub(super) fn open(&self, peer: Option<SocketAddr>, now: Instant) -> Arc<Entry> {
        let mut known = self.known();
        let id = loop {
            let id =
                FIRST_ID | (self.numbers.next.fetch_add(1, Ordering::Relaxed) & (FIRST_ID - 1));
            if !known.entries.contains_key(&id) {
                break id;
            }
        };
        let entry = Arc::new(Entry::new(id, peer, now));
        known.entries.insert(id, Arc::clone(&entry));
        known.strangers.insert(id);
        self.numbers.open.fetch_add(1, Ordering::Relaxed);
        entry
    }

    /// Strikes a session off.
    pub(super) fn close(&self, id: u32) {
        let mut known = self.known();
        let Some(entry) = known.entries.remove(&id) else { return };
        known.strangers.remove(&id);
        known.replace_voucher(&entry, None);
        drop(known);
        self.numbers.open.fetch_sub(1, Ordering::Relaxed);
        entry.set_doing(Activity::Idle, None);
        self.let_go();
    }

    /// A session that knows of a drain may have let go of its master.
    pub(super) fn let_go(&self) {
        self.let_go.notify_one();
    }

    /// Resolves when that may be so.
    pub(super) async fn someone_let_go(&self) {
        self.let_go.notified().await;
    }

    /// The sessions that are tied to `server` now.
    pub(super) fn tied_to(&self, server: ServerId) -> Vec<Arc<Entry>> {
        let tied = |entry: &&Arc<Entry>| entry.tie_to(server).is_some();
        self.known().entries.values().filter(tied).cloned().collect()
    }

    /// A master has accepted this session's login, or it logs in anew.
    pub(super) fn accepted(&self, entry: &Entry, voucher: Option<Voucher>) {
        self.known().replace_voucher(entry, voucher);
    }

    /// Whether a master has accepted the same login from the same host, and that session lives.
    pub(super) fn vouches_for(&self, voucher: &Voucher) -> bool {
        self.known().vouchers.contains_key(voucher)
    }

    /// A session has said who it is.
    pub(super) fn introduce(&self, entry: &Entry, user: &[u8]) {
        entry.set_user(user);
        self.known().strangers.remove(&entry.id);
    }

    /// Makes room for `newcomer`: ends the session that has been silent about who it is for longest.
    /// False when there is none: everybody is somebody.
    pub(super) fn push_out_stranger(&self, newcomer: u32) -> bool {
        let mut known = self.known();
        let Some(&oldest) = known.strangers.iter().find(|&&id| id != newcomer) else {
            return false;
        };
        known.strangers.remove(&oldest);
        if let Some(entry) = known.entries.get(&oldest) {
            entry.kill();
        }
        true
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known().entries.len()
    }

    /// How many there are, those of other listeners among them.
    #[must_use]
    pub fn everywhere(&self) -> usize {
        self.numbers.open.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session that was greeted with this id.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Arc<Entry>> {
        self.known().entries.get(&id).cloned()
    }

    /// The session that this server knows by this id.
    pub(super) fn at(&self, server: ServerId, thread_id: u32) -> Option<Arc<Entry>> {
        let place = Some((server, thread_id));
        self.known().entries.values().find(|entry| entry.place() == place).cloned()
    }

    /// All sessions, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let mut list: Vec<_> = self.known().entries.values().cloned().collect();
        list.sort_by_key(|entry| entry.since);
        list
    }

    /// Wakes every session: there is a new routing table, or an end.
    pub(super) fn wake_all(&self) {
        for entry in self.known().entries.values() {
            entry.waker.wake();
        }
    }

    /// The present tick; never 0.
    #[inline]
    pub(super) fn tick(&self) -> u32 {
        self.tick.load(Ordering::Relaxed) | 1
    }

    /// Lets a tick pass. Returns the servers from which statements have heard nothing for three of
    /// them, each once.
    pub(super) fn pass_tick(&self) -> Vec<ServerId> {
        // By two, because the lowest bit is taken: 0 means "waits for nobody".
        let now = self.tick.fetch_add(2, Ordering::Relaxed).wrapping_add(2) | 1;
        let mut silent = Vec::new();
        for entry in self.known().entries.values() {
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
    fn ids_go_round_and_pass_over_those_that_live() {
        let registry = Registry::default();
        registry.numbers.next.store(u32::MAX, Ordering::Relaxed);
        let ids: Vec<_> = (0..3).map(|_| registry.open(None, Instant::now()).id).collect();
        assert_eq!(ids, [2 * FIRST_ID - 1, FIRST_ID, FIRST_ID + 1]);
        registry.close(ids[2]);
        registry.numbers.next.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(registry.open(None, Instant::now()).id, FIRST_ID + 1);
    }

    #[test]
    fn two_proxies_begin_at_different_ids() {
        let ids: Vec<_> =
            (0..4).map(|_| Registry::default().open(None, Instant::now()).id).collect();
        assert!(ids.iter().any(|id| *id != ids[0]), "{ids:?}");
    }

    #[test]
    fn the_stranger_that_came_first_makes_room_and_nobody_else() {
        let registry = Registry::default();
        registry.numbers.next.store(0, Ordering::Relaxed);
        let entries: Vec<_> = (0..4).map(|_| registry.open(None, Instant::now())).collect();
        registry.introduce(&entries[0], b"app");
        assert!(registry.push_out_stranger(entries[3].id));
        assert!(registry.push_out_stranger(entries[3].id));
        assert!(!registry.push_out_stranger(entries[3].id), "the newcomer itself stays");
        let killed: Vec<_> = entries.iter().map(|entry| entry.is_killed()).collect();
        assert_eq!(killed, [false, true, true, false]);
    }

    #[test]
    fn a_login_vouches_for_the_same_one_while_its_session_lives() {
        let registry = Registry::default();
        let entries = [registry.open(None, Instant::now()), registry.open(None, Instant::now())];
        entries.iter().for_each(|entry| registry.accepted(entry, Some([1; 32])));
        assert!(registry.vouches_for(&[1; 32]) && !registry.vouches_for(&[2; 32]));
        registry.accepted(&entries[0], Some([2; 32]));
        registry.close(entries[1].id);
        assert!(!registry.vouches_for(&[1; 32]) && registry.vouches_for(&[2; 32]));
        registry.close(entries[0].id);
        assert!(registry.known().vouchers.is_empty());
    }

    #[test]
    fn only_what_waits_can_be_interrupted() {
        let entry = Entry::new(1, None, Instant::now());
        entry.set_running();
        entry.interrupt();
        assert!(!entry.take_interrupt());
        entry.set_doing(Activity::Held, None);
        entry.interrupt();
        assert!(entry.take_interrupt() && !entry.take_interrupt());
    }

    #[test]
    fn a_place_is_a_server_and_its_id() {
        let entry = Entry::new(1, None, Instant::now());
        assert_eq!(entry.place(), None);
        entry.set_place(Some((ServerId(3), u32::MAX)));
        assert_eq!(entry.place(), Some((ServerId(3), u32::MAX)));
        entry.set_place(None);
        assert_eq!(entry.server(), None);
    }

    #[test]
    fn what_a_session_does_and_what_ties_it_are_told_apart() {
        let entry = Entry::new(1, None, Instant::now());
        assert_eq!((entry.activity(), entry.tie_to(ServerId(0))), (Activity::LoggingIn, None));
        entry.set_running();
        assert_eq!(entry.tie_to(ServerId(0)), None, "it is nowhere");
        entry.set_place(Some((ServerId(0), 7)));
        assert_eq!((entry.activity(), entry.tie_to(ServerId(1))), (Activity::Running, None));
        assert_eq!(entry.tie_to(ServerId(0)), Some(Tie::Statement));
        entry.set_doing(Activity::Held, Some(Tie::Doubt));
        assert_eq!(entry.activity(), Activity::Held);
        assert_eq!(entry.tie_to(ServerId(0)), Some(Tie::Doubt));
    }

    #[test]
    fn a_silence_is_reported_once_and_for_each_server_once() {
        let registry = Registry::default();
        let entries: Vec<_> = (0..3).map(|_| registry.open(None, Instant::now())).collect();
        for (entry, server) in entries.iter().zip([0, 0, 1]) {
            entry.set_place(Some((ServerId(server), 7)));
            entry.set_waiting_since(registry.tick());
        }
        entries[2].set_waiting_since(0);
        let reports: Vec<_> = (0..10).map(|_| registry.pass_tick()).collect();
        let heard: Vec<_> = reports.iter().flatten().collect();
        assert_eq!(heard, [&ServerId(0)]);
        assert_eq!(reports[2], [ServerId(0)]);
    }
}
