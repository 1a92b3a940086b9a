//! A model of two masters that replicate to each other.
//!
//! Each writes to a log of its own (its GTID domain); the other has received a prefix of it and has
//! executed a prefix of that. Terms are ordinary transactions of these logs. What a server has
//! written survives its crash; what it has received and not executed is thrown away when its
//! receiver starts again, as MariaDB does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tandem::topology::{Channel, Facts, Flavor, GtidSet, Identity, Term, TermStore, ThreadState};

/// Milliseconds since the start of the run.
pub(crate) type Millis = u64;

#[derive(Clone, Debug)]
pub(crate) enum Transaction {
    Write,
    Term(u64, usize),
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) up: bool,
    pub(crate) frozen: bool,
    pub(crate) booted: Millis,
    pub(crate) read_only: bool,
    /// What my.cnf says.
    pub(crate) starts_read_only: bool,
    /// The proxy whose connection holds the lock of a switchover.
    pub(crate) claimed: Option<usize>,
    pub(crate) terms: BTreeMap<u64, usize>,
    /// What it wrote itself.
    pub(crate) log: Vec<Transaction>,
    /// How much of the other's log it has received, and executed.
    pub(crate) received: usize,
    pub(crate) executed: usize,
    pub(crate) receiving: bool,
    pub(crate) applying: bool,
    /// Transactions per second that its applier manages.
    pub(crate) applier_rate: u64,
    credit: u64,
    /// How many heartbeats it has received, how long it has been receiving for the next one, and since
    /// when without a break.
    pub(crate) beats: u64,
    towards_beat: Millis,
    pub(crate) hears_since: Option<Millis>,
}

/// A source that has nothing to send sends a heartbeat. Also stands for what other proxies write.
const HEARTBEAT: Millis = 50;

pub(crate) struct Cluster {
    pub(crate) servers: [Server; 2],
    /// Whether the two reach each other.
    pub(crate) linked: bool,
    identity: Arc<Identity>,
    now: Millis,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let server = || Server {
            up: true,
            frozen: false,
            booted: 0,
            read_only: true,
            starts_read_only: true,
            claimed: None,
            terms: BTreeMap::new(),
            log: Vec::new(),
            received: 0,
            executed: 0,
            receiving: true,
            applying: true,
            applier_rate: 2000,
            credit: 0,
            beats: 0,
            towards_beat: 0,
            hears_since: None,
        };
        let identity = Identity {
            flavor: Flavor::MariaDb,
            version: "5.5.5-10.11.19-MariaDB".to_owned(),
            capabilities: 0xff,
            collation: 45,
            plugin: "mysql_native_password".to_owned(),
        };
        Self { servers: [server(), server()], linked: true, identity: Arc::new(identity), now: 0 }
    }

    /// Lets replication go on until `now`.
    pub(crate) fn advance(&mut self, now: Millis) {
        let elapsed = now - self.now;
        self.now = now;
        for me in 0..2 {
            let available = self.servers[1 - me].log.len();
            if self.receiver_state(me) == ThreadState::Yes && !self.servers[1 - me].frozen {
                let receiver = &mut self.servers[me];
                receiver.received = available;
                receiver.towards_beat += elapsed;
                receiver.beats += receiver.towards_beat / HEARTBEAT;
                receiver.towards_beat %= HEARTBEAT;
                receiver.hears_since.get_or_insert(now);
            } else {
                self.servers[me].hears_since = None;
            }
            let me_server = &mut self.servers[me];
            if !me_server.up || me_server.frozen || !me_server.applying {
                continue;
            }
            me_server.credit = (me_server.credit + elapsed * me_server.applier_rate).min(200_000);
            while self.servers[me].executed < self.servers[me].received
                && self.servers[me].credit >= 1000
            {
                self.servers[me].credit -= 1000;
                let next = self.servers[1 - me].log[self.servers[me].executed].clone();
                if let Transaction::Term(term, active) = next {
                    self.servers[me].terms.insert(term, active);
                }
                self.servers[me].executed += 1;
            }
        }
    }

    pub(crate) fn receiver_state(&self, me: usize) -> ThreadState {
        let (server, source) = (&self.servers[me], &self.servers[1 - me]);
        if !server.receiving || !server.up || server.frozen {
            ThreadState::No
        } else if self.linked && source.up {
            ThreadState::Yes
        } else {
            ThreadState::Connecting
        }
    }

    pub(crate) fn crash(&mut self, me: usize) {
        self.servers[me].up = false;
        self.servers[me].claimed = None;
        self.servers[me].frozen = false;
    }

    pub(crate) fn restart(&mut self, me: usize, now: Millis) {
        let server = &mut self.servers[me];
        if server.up {
            return;
        }
        server.up = true;
        server.booted = now;
        server.read_only = server.starts_read_only;
        server.receiving = true;
        server.received = server.executed;
    }

    pub(crate) fn start_receiving(&mut self, me: usize) {
        let server = &mut self.servers[me];
        if !server.receiving {
            server.receiving = true;
            server.received = server.executed;
        }
    }

    pub(crate) fn write(&mut self, me: usize) {
        self.servers[me].log.push(Transaction::Write);
    }

    pub(crate) fn highest_term(&self, me: usize) -> Option<(u64, usize)> {
        self.servers[me].terms.last_key_value().map(|(term, active)| (*term, *active))
    }

    /// The next key of the server's own class above `seen` and above all it knows.
    pub(crate) fn insert_term(&mut self, me: usize, seen: u64) -> u64 {
        let highest = self.highest_term(me).map_or(0, |(term, _)| term).max(seen);
        let offset = me as u64 + 1;
        let mut term = highest + 1;
        while term % 2 != offset % 2 {
            term += 1;
        }
        self.servers[me].terms.insert(term, me);
        self.servers[me].log.push(Transaction::Term(term, me));
        term
    }

    /// What the server has executed.
    pub(crate) fn executed(&self, me: usize) -> GtidSet {
        position(me, self.servers[me].log.len(), self.servers[me].executed)
    }

    pub(crate) fn facts(&self, me: usize, now: Millis) -> Facts {
        let server = &self.servers[me];
        let channel = Channel {
            name: String::new(),
            source_host: "127.0.0.1".to_owned(),
            source_port: 3306,
            source_server_id: 2 - me as u32,
            io: self.receiver_state(me),
            io_error: (0, String::new()),
            sql: if server.applying { ThreadState::Yes } else { ThreadState::No },
            sql_error: if server.applying { (0, String::new()) } else { (1062, "dup".to_owned()) },
            received: position(me, 0, server.received),
            uses_gtid: true,
            seconds_behind: None,
            heartbeats: Some(server.beats),
            heartbeat_period: Some(Duration::from_millis(HEARTBEAT)),
        };
        let highest = self.highest_term(me);
        Facts {
            identity: Arc::clone(&self.identity),
            server_id: me as u32 + 1,
            uptime: Duration::from_secs((now - server.booted) / 1000),
            read_only: server.read_only,
            auto_increment_increment: 2,
            auto_increment_offset: me as u32 + 1,
            executed: self.executed(me),
            channels: vec![channel],
            claimed: server.claimed.is_some(),
            terms: match highest {
                None => TermStore::Missing,
                Some((term, active)) => {
                    TermStore::Present(Some((Term(term), format!("m{}", active + 1))))
                }
            },
            beats: None,
            sending: Default::default(),
        }
    }
}

/// So many of the server's own transactions, and so many of the other's.
fn position(me: usize, own: usize, other: usize) -> GtidSet {
    let counts = if me == 0 { [own, other] } else { [other, own] };
    let text = format!("1-1-{},2-2-{}", counts[0], counts[1]);
    GtidSet::parse(Flavor::MariaDb, &text).expect("a position")
}
