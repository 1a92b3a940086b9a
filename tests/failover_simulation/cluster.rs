//! A model of two or three masters that replicate to each other.
//!
//! Each writes to a log of its own (its GTID domain). A channel brings a prefix of its source's log,
//! and where masters pass on what they get (`log_slave_updates`) also of what the source has executed
//! of others; a server has executed a prefix of each log. Terms are ordinary transactions of these
//! logs. What a server has written survives its crash; what a channel has received and not executed
//! is thrown away when its receiver starts again, as MariaDB does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tandem::topology::{
    Channel, Discarded, Facts, Flavor, GtidSet, Identity, Term, TermStore, ThreadState,
};

/// Milliseconds since the start of the run.
pub(crate) type Millis = u64;

/// The most masters that a run has.
pub(crate) const MOST: usize = 3;

/// How much of each server's log.
pub(crate) type Counts = [usize; MOST];

/// Who receives from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Two, each from the other.
    Pair,
    /// Three, each from each other one, and each channel brings what its source wrote itself.
    Mesh,
    /// The same, and each passes on what it gets, as MySQL does by default.
    MeshPassingOn,
    /// The second from the first, the third from the second, the first from the third.
    Ring,
}

impl Shape {
    pub(crate) fn size(self) -> usize {
        if self == Self::Pair { 2 } else { 3 }
    }

    fn receives(self, receiver: usize, source: usize) -> bool {
        match self {
            Self::Pair | Self::Mesh | Self::MeshPassingOn => receiver != source,
            Self::Ring => receiver == (source + 1) % 3,
        }
    }

    fn passes_on(self) -> bool {
        matches!(self, Self::Ring | Self::MeshPassingOn)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Transaction {
    Write,
    Term(u64, usize),
    /// It was discarded: it is in the log, and its server has undone it.
    Discarded,
    /// It was discarded, and gets to others in a way that nobody is kept from.
    Escaped,
}

/// What a server receives from one other.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) source: usize,
    /// How much of each log it has received.
    pub(crate) received: Counts,
    pub(crate) running: bool,
    /// How many heartbeats it has received, how long it has been receiving for the next one, and since
    /// when without a break.
    beats: u64,
    towards_beat: Millis,
    pub(crate) hears_since: Option<Millis>,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) up: bool,
    pub(crate) frozen: bool,
    /// It has no place for the connection of a probe, and says so.
    pub(crate) crowded: bool,
    pub(crate) booted: Millis,
    pub(crate) read_only: bool,
    /// What my.cnf says.
    pub(crate) starts_read_only: bool,
    /// When it was opened last.
    pub(crate) opened: Millis,
    /// The highest term that it has, and since when.
    pub(crate) learned: Option<(u64, Millis)>,
    /// It is open because of an operator or of its my.cnf, and not by an order.
    pub(crate) wild: bool,
    /// The proxy whose connection holds the lock of a switchover, from or to this master.
    pub(crate) claimed: Option<usize>,
    /// The claim asks other proxies to drain it, by a connection of this number.
    pub(crate) draining: Option<u32>,
    /// The proxies that have said that nothing of theirs is open, and to which connection.
    pub(crate) agreed: BTreeSet<(usize, u32)>,
    pub(crate) terms: BTreeMap<u64, usize>,
    /// What it wrote itself.
    pub(crate) log: Vec<Transaction>,
    /// How much of each log it has executed. Its own: all.
    pub(crate) executed: Counts,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) applying: bool,
    /// When that was last mended.
    pub(crate) mended: Millis,
    /// Transactions per second that its applier manages.
    pub(crate) applier_rate: u64,
    credit: u64,
}

impl Server {
    fn new(me: usize, shape: Shape) -> Self {
        let sources = (0..shape.size()).filter(|source| shape.receives(me, *source));
        let receiver = |source| Receiver {
            source,
            received: [0; MOST],
            running: true,
            beats: 0,
            towards_beat: 0,
            hears_since: None,
        };
        Self {
            up: true,
            frozen: false,
            crowded: false,
            booted: 0,
            read_only: true,
            starts_read_only: true,
            wild: false,
            opened: 0,
            learned: None,
            claimed: None,
            draining: None,
            agreed: BTreeSet::new(),
            terms: BTreeMap::new(),
            log: Vec::new(),
            executed: [0; MOST],
            receivers: sources.map(receiver).collect(),
            applying: true,
            mended: 0,
            applier_rate: 2000,
            credit: 0,
        }
    }

    pub(crate) fn receiver(&self, source: usize) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.source == source)
    }

    /// How much of each log it has received by any channel, or executed.
    pub(crate) fn has(&self) -> Counts {
        self.receivers.iter().fold(self.executed, |has, receiver| {
            std::array::from_fn(|origin| has[origin].max(receiver.received[origin]))
        })
    }

    /// The end of the claim, if it is that of such a proxy.
    pub(crate) fn let_go(&mut self, of: impl FnOnce(&mut usize) -> bool) {
        if self.claimed.take_if(of).is_some() {
            self.draining = None;
        }
    }

    pub(crate) fn close(&mut self) {
        (self.read_only, self.wild) = (true, false);
    }

    pub(crate) fn open(&mut self, now: Millis) {
        if self.read_only {
            (self.read_only, self.wild, self.opened) = (false, false, now);
        }
    }

    pub(crate) fn open_wildly(&mut self) {
        (self.read_only, self.wild) = (false, true);
    }

    fn learn(&mut self, term: u64, active: usize, now: Millis) {
        self.terms.insert(term, active);
        if self.learned.is_none_or(|(known, _)| known < term) {
            self.learned = Some((term, now));
        }
    }
}

/// A source that has nothing to send sends a heartbeat. Also stands for what other proxies write.
const HEARTBEAT: Millis = 50;

pub(crate) struct Cluster {
    pub(crate) shape: Shape,
    pub(crate) servers: Vec<Server>,
    /// Pairs that do not reach each other, the smaller number first.
    pub(crate) cut: Vec<(usize, usize)>,
    identity: Arc<Identity>,
    now: Millis,
}

impl Cluster {
    pub(crate) fn new(shape: Shape) -> Self {
        let identity = Identity {
            flavor: Flavor::MariaDb,
            version: "5.5.5-10.11.19-MariaDB".to_owned(),
            capabilities: 0xff,
            collation: 45,
            plugin: "mysql_native_password".to_owned(),
        };
        let servers = (0..shape.size()).map(|me| Server::new(me, shape)).collect();
        Self { shape, servers, cut: Vec::new(), identity: Arc::new(identity), now: 0 }
    }

    pub(crate) fn linked(&self, one: usize, other: usize) -> bool {
        !self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// Lets replication go on until `now`.
    pub(crate) fn advance(&mut self, now: Millis) {
        let elapsed = now - self.now;
        self.now = now;
        for me in 0..self.servers.len() {
            for place in 0..self.servers[me].receivers.len() {
                self.receive(me, place, elapsed);
            }
            self.apply(me, elapsed);
        }
    }

    fn receive(&mut self, me: usize, place: usize, elapsed: Millis) {
        let source = self.servers[me].receivers[place].source;
        let sends = self.receiver_state(me, source) == Some(ThreadState::Yes)
            && !self.servers[source].frozen;
        if !sends {
            self.servers[me].receivers[place].hears_since = None;
            return;
        }
        let mut sent = [0; MOST];
        if self.shape.passes_on() {
            sent = self.servers[source].executed;
        }
        sent[source] = self.servers[source].log.len();
        sent[me] = 0;
        let receiver = &mut self.servers[me].receivers[place];
        for (received, sent) in receiver.received.iter_mut().zip(sent) {
            *received = sent.max(*received);
        }
        receiver.towards_beat += elapsed;
        receiver.beats += receiver.towards_beat / HEARTBEAT;
        receiver.towards_beat %= HEARTBEAT;
        receiver.hears_since.get_or_insert(self.now);
    }

    fn apply(&mut self, me: usize, elapsed: Millis) {
        let server = &mut self.servers[me];
        if !server.up || server.frozen || !server.applying {
            return;
        }
        server.credit = (server.credit + elapsed * server.applier_rate).min(200_000);
        let has = server.has();
        for (origin, has) in has.into_iter().enumerate() {
            if origin == me {
                continue;
            }
            while self.servers[me].executed[origin] < has && self.servers[me].credit >= 1000 {
                self.servers[me].credit -= 1000;
                let place = self.servers[me].executed[origin];
                match self.servers[origin].log[place] {
                    Transaction::Write | Transaction::Escaped => {}
                    Transaction::Term(term, active) => {
                        self.servers[me].learn(term, active, self.now);
                    }
                    Transaction::Discarded => {
                        panic!("m{} executes what m{} has discarded", me + 1, origin + 1)
                    }
                }
                self.servers[me].executed[origin] += 1;
            }
        }
    }

    /// `None` when `me` is no slave of `source`.
    pub(crate) fn receiver_state(&self, me: usize, source: usize) -> Option<ThreadState> {
        let server = &self.servers[me];
        let receiver = server.receiver(source)?;
        Some(if !receiver.running || !server.up || server.frozen {
            ThreadState::No
        } else if self.linked(me, source) && self.servers[source].up {
            ThreadState::Yes
        } else {
            ThreadState::Connecting
        })
    }

    pub(crate) fn crash(&mut self, me: usize) {
        self.servers[me].up = false;
        self.servers[me].let_go(|_| true);
        self.servers[me].agreed.clear();
        self.servers[me].frozen = false;
        self.servers[me].crowded = false;
    }

    pub(crate) fn restart(&mut self, me: usize, now: Millis) {
        let server = &mut self.servers[me];
        if server.up {
            return;
        }
        // Receivers start with their server.
        let sources: Vec<usize> = server.receivers.iter().map(|it| it.source).collect();
        for source in sources {
            self.let_escape(source);
        }
        let server = &mut self.servers[me];
        server.up = true;
        server.booted = now;
        (server.read_only, server.wild) = (server.starts_read_only, !server.starts_read_only);
        for receiver in &mut server.receivers {
            receiver.running = true;
            receiver.received = server.executed;
            receiver.received[me] = 0;
        }
    }

    pub(crate) fn stop_receiving(&mut self, me: usize, source: usize) {
        let receivers = self.servers[me].receivers.iter_mut();
        receivers.filter(|receiver| receiver.source == source).for_each(|it| it.running = false);
    }

    /// Throws away what was received from `source` and not executed, and receives no more.
    pub(crate) fn drop_backlog(&mut self, me: usize, source: usize) {
        let server = &mut self.servers[me];
        for receiver in server.receivers.iter_mut().filter(|it| it.source == source) {
            receiver.running = false;
            receiver.received = server.executed;
            receiver.received[me] = 0;
        }
    }

    pub(crate) fn start_receiving(&mut self, me: usize, source: usize) {
        let server = &mut self.servers[me];
        let stopped = |it: &&mut Receiver| it.source == source && !it.running;
        for receiver in server.receivers.iter_mut().filter(stopped) {
            receiver.running = true;
            receiver.received = server.executed;
            receiver.received[me] = 0;
        }
    }

    /// Undoes what `me` wrote and `active` has not executed.
    pub(crate) fn discard(&mut self, me: usize, active: usize) -> Discarded {
        let gtids = self.executed(me).subtract(&self.executed(active));
        let delivered = self.servers[active].executed[me];
        let server = &mut self.servers[me];
        let mut terms = 0;
        for place in delivered..server.log.len() {
            let transaction = std::mem::replace(&mut server.log[place], Transaction::Discarded);
            if let Transaction::Term(term, _) = transaction {
                terms += usize::from(server.terms.remove(&term).is_some());
            }
        }
        if terms > 0 {
            server.learned = server.terms.last_key_value().map(|(term, _)| (*term, self.now));
        }
        let position = server.log.len().to_string();
        Discarded { gtids, transactions: 1, tables: Vec::new(), rows: 1, position }
    }

    /// What `me` has discarded may get to others from now on, as docs/returning-master.md says.
    pub(crate) fn let_escape(&mut self, me: usize) {
        for transaction in &mut self.servers[me].log {
            if let Transaction::Discarded = transaction {
                *transaction = Transaction::Escaped;
            }
        }
    }

    /// Counts what `source` has discarded as executed by `me`.
    pub(crate) fn pass_over(&mut self, me: usize, source: usize, discarded: &Discarded) {
        let end: usize = discarded.position.parse().expect("the length of a log");
        for place in self.servers[me].executed[source]..end {
            assert!(
                matches!(
                    self.servers[source].log[place],
                    Transaction::Discarded | Transaction::Escaped
                ),
                "m{} passes over what m{} has not discarded",
                me + 1,
                source + 1
            );
            self.servers[me].executed[source] = place + 1;
        }
    }

    pub(crate) fn write(&mut self, me: usize) {
        self.servers[me].log.push(Transaction::Write);
        self.servers[me].executed[me] += 1;
    }

    pub(crate) fn highest_term(&self, me: usize) -> Option<(u64, usize)> {
        self.servers[me].terms.last_key_value().map(|(term, active)| (*term, *active))
    }

    /// The next key of the server's own class above `seen` and above all it knows.
    pub(crate) fn insert_term(&mut self, me: usize, seen: u64) -> u64 {
        let highest = self.highest_term(me).map_or(0, |(term, _)| term).max(seen);
        let (step, offset) = (self.servers.len() as u64, me as u64 + 1);
        let mut term = highest + 1;
        while term % step != offset % step {
            term += 1;
        }
        self.servers[me].learn(term, me, self.now);
        self.servers[me].log.push(Transaction::Term(term, me));
        self.servers[me].executed[me] += 1;
        term
    }

    /// What the server has executed.
    pub(crate) fn executed(&self, me: usize) -> GtidSet {
        self.position(self.servers[me].executed)
    }

    /// As a look of `proxy` finds it.
    pub(crate) fn facts(&self, me: usize, now: Millis, proxy: usize) -> Facts {
        let server = &self.servers[me];
        let channel = |receiver: &Receiver| Channel {
            name: String::new(),
            source_host: "127.0.0.1".to_owned(),
            source_port: 3306,
            source_server_id: receiver.source as u32 + 1,
            io: self.receiver_state(me, receiver.source).expect("a receiver"),
            io_error: (0, String::new()),
            sql: if server.applying { ThreadState::Yes } else { ThreadState::No },
            sql_error: if server.applying { (0, String::new()) } else { (1062, "dup".to_owned()) },
            received: self.position(receiver.received),
            uses_gtid: true,
            seconds_behind: None,
            heartbeats: Some(receiver.beats),
            heartbeat_period: Some(Duration::from_millis(HEARTBEAT)),
        };
        Facts {
            identity: Arc::clone(&self.identity),
            server_id: me as u32 + 1,
            uptime: Duration::from_secs((now - server.booted) / 1000),
            read_only: server.read_only,
            auto_increment_increment: self.servers.len() as u32,
            auto_increment_offset: me as u32 + 1,
            executed: self.executed(me),
            channels: server.receivers.iter().map(channel).collect(),
            claimed: server.claimed.is_some(),
            draining: server.draining,
            connection: proxy as u32 + 1,
            terms: match self.highest_term(me) {
                None => TermStore::Missing,
                Some((term, active)) => {
                    TermStore::Present(Some((Term(term), format!("m{}", active + 1))))
                }
            },
            planned: false,
            beats: None,
            sending: Default::default(),
        }
    }

    /// So many transactions of each log.
    fn position(&self, counts: Counts) -> GtidSet {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(32);
        for (server, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{0}-{0}-{count}", server + 1);
        }
        GtidSet::parse(Flavor::MariaDb, &text).expect("a position")
    }
}
