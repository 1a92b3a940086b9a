//! Golden transcripts of the decision: what happens, and what the machine does about it.
//!
//! `tests/scenarios/*.txt` is the readable specification of a failover. A line that begins with a
//! time is input; the indented lines behind it are what the machine did. Deadlines of the machine
//! that come before the next input are reached by themselves, and shown when something came of it.
//!
//! `UPDATE_SCENARIOS=1 cargo test --test failover_scenarios` writes the outputs anew; read the diff.
//!
//! ```text
//! policy fall=2 automatic=false            any of Policy's numbers
//! masters 3 mesh | masters 3 ring          instead of a pair; in the ring m2 receives from m1, m3 from m2
//! @0ms m1 alive open term=1:m1             a probe; what it does not say stays as it was last
//! @1s m2 alive beats=7 received=1-1-11     what its receiver has counted, and received
//! @1s m2 alive open claimed term=2:m2 planned    a claim on it, and a term of a planned switchover
//! @1s m3 alive from=m2 io=No               of several receivers, the one from m2
//! @1s m1 cannot_write error 1021: Disk full    the write of a heartbeat
//! @1s m1 refused | silent | reset | error 1040 Too many connections
//! @1s session m1 reset                     a session's report
//! @1s answer 3 done | promoted 2 | superseded 2 m2 | unreachable … | timeout … | stopped … |
//!              denied GRANT … | refused 1205 …
//! @1s m1 alive claimed draining=90 connection=7    a proxy asks that it be drained; we are known as 7
//! @1s answer 5 others 17                   other proxies that are not done
//! @1s answer 5 frozen 1-1-100,2-2-50 | claimed …
//! @1s ask 1 switchover m2 | failover m2 force | pause | resume
//! @1s drained 17 23                        the sessions that still have something open
//! @9s                                      let time pass
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tandem::config::{CatchUpExpired, Fencing, ReturningMaster};
use tandem::failover::{
    Action, Event, FailoverMachine, Order, OrderFailure, OrderId, OrderResult, OtherProxies,
    Policy, Release, Request, RequestId,
};
use tandem::routing::{DrainReport, OpenSession, Writer};
use tandem::topology::{
    Beats, Channel, Conflict, Discarded, Facts, Flavor, GtidSet, Identity, MergeVerdict,
    Observation, Outcome, ServerId, Servers, Source, Stranded, StrandedTransaction, TableChange,
    Term, TermStore, ThreadState, UnreachableKind,
};

#[test]
fn every_scenario_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of scenarios")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 13, "only {} scenarios were found", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let written = std::fs::read_to_string(&path).expect("a scenario");
        let played = play(&written);
        if update {
            std::fs::write(&path, &played).expect("the scenario is written");
        } else if played != written {
            let differs = written.lines().zip(played.lines()).find(|(a, b)| a != b);
            wrong.push(format!("{}: {differs:#?}\n\n{played}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The scenario with its inputs as they are and its outputs as they come.
fn play(scenario: &str) -> String {
    let mut out = String::new();
    let mut stage = Stage::new();
    for line in scenario.lines().filter(|line| !line.starts_with("  ")) {
        if let Some(settings) = line.strip_prefix("policy ") {
            stage.set_policy(settings);
        }
        if let Some(shape) = line.strip_prefix("masters 3 ") {
            stage.set_three(shape);
        }
        if let Some(input) = line.strip_prefix('@') {
            stage.input(input, &mut out);
        } else {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

struct Stage {
    start: Instant,
    policy: Policy,
    servers: Servers,
    /// What each server says when it is asked.
    facts: Vec<Facts>,
    machine: Option<FailoverMachine>,
}

impl Stage {
    fn new() -> Self {
        let policy = Policy {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            fall: 2,
            rise: 3,
            automatic: true,
            fencing: Fencing::ReadOnly,
            catch_up: Duration::from_secs(30),
            catch_up_expired: CatchUpExpired::Stay,
            returning_master: ReturningMaster::Quarantine,
            failback: None,
            min_interval: Duration::from_secs(60),
            acknowledge_after: 3,
            drain: Duration::from_secs(5),
        };
        let facts = vec![facts(1, &[2]), facts(2, &[1])];
        Self { start: Instant::now(), policy, servers: servers(2), facts, machine: None }
    }

    fn set_three(&mut self, shape: &str) {
        let sources: [&[u32]; 3] = match shape {
            "mesh" => [&[2, 3], &[1, 3], &[1, 2]],
            "ring" => [&[3], &[1], &[2]],
            other => panic!("no such shape: {other}"),
        };
        self.servers = servers(3);
        self.facts = (1..).zip(sources).map(|(n, sources)| facts(n, sources)).collect();
    }

    fn set_policy(&mut self, settings: &str) {
        for setting in settings.split_whitespace() {
            let (name, value) = setting.split_once('=').expect(setting);
            match name {
                "fall" => self.policy.fall = value.parse().expect(setting),
                "rise" => self.policy.rise = value.parse().expect(setting),
                "automatic" => self.policy.automatic = value.parse().expect(setting),
                "interval" => self.policy.interval = duration(value),
                "timeout" => self.policy.timeout = duration(value),
                "catch_up" => self.policy.catch_up = duration(value),
                "min_interval" => self.policy.min_interval = duration(value),
                "drain" => self.policy.drain = duration(value),
                "failback" => self.policy.failback = Some(duration(value)),
                "acknowledge_after" => {
                    self.policy.acknowledge_after = value.parse().expect(setting);
                }
                "catch_up_expired" if value == "promote" => {
                    self.policy.catch_up_expired = CatchUpExpired::Promote;
                }
                "returning_master" if value == "merge" => {
                    self.policy.returning_master = ReturningMaster::Merge;
                }
                "fencing" if value == "none" => self.policy.fencing = Fencing::None,
                _ => panic!("no such setting: {setting}"),
            }
        }
    }

    fn input(&mut self, input: &str, out: &mut String) {
        let (time, rest) = input.split_once(' ').unwrap_or((input, ""));
        let now = self.start + duration(time);
        self.reach_deadlines(now, out);
        let _ = writeln!(out, "@{input}");
        if let Some(event) = self.event(now, rest) {
            let actions = self.machine().step(now, event);
            self.print(&actions, out);
        }
    }

    fn machine(&mut self) -> &mut FailoverMachine {
        let (policy, servers) = (&self.policy, &self.servers);
        let start = self.start;
        self.machine
            .get_or_insert_with(|| FailoverMachine::new(policy.clone(), servers.clone(), start))
    }

    fn reach_deadlines(&mut self, until: Instant, out: &mut String) {
        while let Some(at) = self.machine().next_deadline().filter(|at| *at < until) {
            let actions = self.machine().step(at, Event::DeadlineReached);
            let next = self.machine().next_deadline();
            assert!(next.is_none_or(|next| next > at), "a deadline stays where it was");
            if !actions.is_empty() {
                let _ = writeln!(out, "  @{} deadline", self.since_start(at));
                self.print(&actions, out);
            }
        }
    }

    fn request(&self, words: &[&str]) -> Request {
        let force = words.last() == Some(&"force");
        match words[0] {
            "switchover" => Request::Switchover { to: self.server(words[1]), force },
            "failover" => Request::Failover { to: self.server(words[1]), force },
            "release" => Request::Release {
                server: self.server(words[1]),
                how: match words.get(2) {
                    Some(&"discard") => Release::Discard,
                    _ => Release::Merge { force },
                },
            },
            "pause" => Request::Pause,
            "resume" => Request::Resume,
            other => panic!("no such request: {other}"),
        }
    }

    fn since_start(&self, at: Instant) -> humantime::FormattedDuration {
        humantime::format_duration(at - self.start)
    }

    fn event(&mut self, now: Instant, text: &str) -> Option<Event> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let rest = |from: usize| words[from..].join(" ");
        Some(match words.first() {
            None => return None,
            Some(&"ask") => {
                let id = RequestId(words[1].parse().expect(text));
                Event::Requested { id, request: self.request(&words[2..]) }
            }
            Some(&"drained") => {
                let generation = self.machine.as_ref().map_or(0, |m| m.table().generation);
                let session = |id: &&str| OpenSession {
                    id: id.parse().expect(text),
                    why: "is in a transaction",
                };
                let open = words[1..].iter().map(session).collect();
                Event::Drained(DrainReport { generation, open })
            }
            Some(&"answer") => Event::OrderFinished {
                id: OrderId(words[1].parse().expect(text)),
                result: answer(words[2], &rest(3)),
            },
            Some(&"session") => {
                let server = self.server(words[1]);
                self.look(now, server, Source::Session, &words[2..])
            }
            Some(name) => {
                let server = self.server(name);
                self.look(now, server, Source::Probe, &words[1..])
            }
        })
    }

    fn server(&self, name: &str) -> ServerId {
        self.servers.by_name(name).unwrap_or_else(|| panic!("no server {name}")).id
    }

    fn look(&mut self, at: Instant, server: ServerId, source: Source, words: &[&str]) -> Event {
        let unreachable = |kind, detail: &str| Outcome::Unreachable { kind, detail: detail.into() };
        let mut took = Duration::from_millis(1);
        let outcome = match words[0] {
            "refused" => unreachable(UnreachableKind::Refused, "os error 111"),
            "reset" => unreachable(UnreachableKind::Reset, "os error 104"),
            "silent" => {
                took = self.policy.timeout;
                unreachable(UnreachableKind::Silent, "")
            }
            "cannot_write" => {
                return Event::Observed(Observation {
                    server,
                    at,
                    took,
                    source: Source::Writing,
                    outcome: Outcome::CannotWrite { reason: words[1..].join(" ") },
                });
            }
            "error" => Outcome::SaysNo {
                code: words[1].parse().expect("a code"),
                message: words[2..].join(" "),
            },
            "alive" => {
                let facts = &mut self.facts[server.index()];
                facts.uptime = Duration::from_secs(1000) + (at - self.start);
                let mut from = 0;
                for setting in &words[1..] {
                    match setting.strip_prefix("from=m") {
                        Some(source) => {
                            let id: u32 = source.parse().expect(setting);
                            let is_it = |channel: &Channel| channel.source_server_id == id;
                            from = facts.channels.iter().position(is_it).expect(setting);
                        }
                        None => change(facts, from, setting),
                    }
                }
                Outcome::Alive(Box::new(facts.clone()))
            }
            other => panic!("no such outcome: {other}"),
        };
        Event::Observed(Observation { server, at, took, source, outcome })
    }

    fn print(&self, actions: &[Action], out: &mut String) {
        for action in actions {
            let _ = match action {
                Action::Publish(table) => {
                    let (generation, term) = (table.generation, table.term);
                    match &table.writer {
                        Writer::Active(server) => {
                            let name = self.servers.name(*server);
                            let pace = table.pace.map_or_else(String::new, |pace| {
                                format!("; every write waits {}", humantime::format_duration(pace))
                            });
                            let next = table.next.map_or_else(String::new, |next| {
                                format!("; {} will be", self.servers.name(next))
                            });
                            writeln!(
                                out,
                                "    table {generation} (term {term}): {name} is active{pace}{next}"
                            )
                        }
                        Writer::Held { reason, .. } => {
                            let held = match table.draining {
                                Some(server) => format!("{} is drained", self.servers.name(server)),
                                None => "held".to_owned(),
                            };
                            writeln!(out, "    table {generation} (term {term}): {held}: {reason}")
                        }
                    }
                }
                Action::Run { id, order } => {
                    writeln!(out, "    order {}: {}", id.0, self.order(order))
                }
                Action::Probe(server) => writeln!(out, "    probe {}", self.servers.name(*server)),
                Action::Answer { id, answer } => writeln!(out, "    answer {}: {answer:?}", id.0),
                Action::Record(transition) => writeln!(
                    out,
                    "    {} -> {}: {}",
                    transition.from, transition.to, transition.reason
                ),
            };
        }
    }

    fn order(&self, order: &Order) -> String {
        let name = |server: &ServerId| self.servers.name(*server);
        match order {
            Order::Fence { server } => format!("fence {}", name(server)),
            Order::Claim { server, next: Some(next) } => {
                format!("claim {} and {}", name(server), name(next))
            }
            Order::Claim { server, next: None } => format!("claim {}", name(server)),
            Order::Unclaim { server } => format!("let go of the claim on {}", name(server)),
            Order::DrainOthers { server, timeout, .. } => {
                let within = humantime::format_duration(*timeout);
                format!("other proxies drain {} within {within}", name(server))
            }
            Order::Agree { server, drain, connection } => {
                format!("tell {drain} that {connection} has nothing open on {}", name(server))
            }
            Order::Withdraw { server } => format!("take back what was told on {}", name(server)),
            Order::Freeze { server } => format!("freeze {}", name(server)),
            Order::Reach { server, position, timeout } => {
                let within = humantime::format_duration(*timeout);
                format!("{} gets to {position} within {within}", name(server))
            }
            Order::FreeApplier { server } => format!("free the applier of {}", name(server)),
            Order::CatchUp { server, timeout } => {
                format!(
                    "{} catches up within {}",
                    name(server),
                    humantime::format_duration(*timeout)
                )
            }
            Order::StopReceiving { server, source } => {
                format!("{} stops receiving from {}", name(server), name(source))
            }
            Order::DropBacklog { server, source } => {
                format!("{} drops its backlog from {}", name(server), name(source))
            }
            Order::Inspect { server, active } => {
                format!("read what {} has and {} lacks", name(server), name(active))
            }
            Order::Discard { server, active, .. } => {
                format!("{} discards what {} lacks", name(server), name(active))
            }
            Order::PassOver { server, source, discarded } => {
                let (server, source) = (name(server), name(source));
                format!("{server} passes over {} of {source}", discarded.gtids)
            }
            Order::StartReceiving { server, source } => {
                format!("{} starts receiving from {}", name(server), name(source))
            }
            Order::Promote { server, seen, reason, .. } => {
                format!("promote {} above term {seen}: {reason}", name(server))
            }
            Order::Open { server, term } => format!("open {} by term {term}", name(server)),
        }
    }
}

fn duration(text: &str) -> Duration {
    // "1.005s" reads better in a transcript than "1s 5ms", which humantime knows
    if let Some(seconds) = text.strip_suffix('s').and_then(|s| s.parse::<f64>().ok()) {
        return Duration::from_micros((seconds * 1e6).round() as u64);
    }
    humantime::parse_duration(text).expect(text)
}

fn servers(count: u16) -> Servers {
    let address = |n: u16| format!("127.0.0.1:{}", 3300 + n).parse().expect("an address");
    Servers::new((1..=count).map(|n| (format!("m{n}"), address(n))), [])
}

/// A healthy master that receives from these: `m1` has offset 1, domain 1, and so on.
fn facts(n: u32, sources: &[u32]) -> Facts {
    let identity = Identity {
        flavor: Flavor::MariaDb,
        version: "5.5.5-10.11.19-MariaDB".to_owned(),
        capabilities: 0xff,
        collation: 45,
        plugin: "mysql_native_password".to_owned(),
    };
    Facts {
        identity: Arc::new(identity),
        server_id: n,
        uptime: Duration::ZERO,
        read_only: true,
        auto_increment_increment: 3,
        auto_increment_offset: n,
        executed: gtids("1-1-10,2-2-10"),
        channels: sources.iter().map(|source| channel(*source)).collect(),
        claimed: false,
        draining: None,
        connection: 1,
        planned: false,
        terms: TermStore::Missing,
        beats: None,
        sending: Default::default(),
    }
}

fn channel(source: u32) -> Channel {
    Channel {
        name: String::new(),
        source_host: "127.0.0.1".to_owned(),
        source_port: 3300,
        source_server_id: source,
        io: ThreadState::Yes,
        io_error: (0, String::new()),
        sql: ThreadState::Yes,
        sql_error: (0, String::new()),
        received: gtids("1-1-10,2-2-10"),
        uses_gtid: true,
        seconds_behind: Some(0),
        heartbeats: Some(1),
        heartbeat_period: Some(Duration::from_secs(1)),
    }
}

fn gtids(text: &str) -> GtidSet {
    GtidSet::parse(Flavor::MariaDb, text).expect(text)
}

fn change(facts: &mut Facts, from: usize, setting: &str) {
    let thread = |value| match value {
        "Yes" => ThreadState::Yes,
        "Connecting" => ThreadState::Connecting,
        "No" => ThreadState::No,
        other => panic!("no such state: {other}"),
    };
    match setting.split_once('=') {
        None if setting == "open" => facts.read_only = false,
        None if setting == "closed" => facts.read_only = true,
        None if setting == "planned" => facts.planned = true,
        None if setting == "claimed" => facts.claimed = true,
        Some(("draining", drain)) => facts.draining = drain.parse().ok(),
        Some(("connection", id)) => facts.connection = id.parse().expect(setting),
        None if setting == "unclaimed" => facts.claimed = false,
        None if setting == "no_slave" => facts.channels.clear(),
        Some(("uptime", value)) => facts.uptime = duration(value),
        Some(("executed", value)) => facts.executed = gtids(value),
        Some(("term", "missing")) => facts.terms = TermStore::Missing,
        Some(("term", "none")) => facts.terms = TermStore::Present(None),
        Some(("term", "denied")) => {
            facts.terms = TermStore::Denied("SELECT command denied to user 'tandem'".to_owned());
        }
        Some(("term", value)) => {
            let (term, active) = value.split_once(':').expect(setting);
            let term = Term(term.parse().expect(setting));
            facts.planned = false;
            facts.terms = TermStore::Present(Some((term, active.to_owned())));
        }
        Some(("io", value)) => facts.channels[from].io = thread(value),
        Some(("sql", value)) => facts.channels[from].sql = thread(value),
        Some(("received", value)) => facts.channels[from].received = gtids(value),
        Some(("row", value)) => {
            let at = value.parse().expect(setting);
            facts.beats = Some(Beats { clock: at, rows: vec![(facts.server_id, at)] });
        }
        Some(("beats", value)) => {
            facts.channels[from].heartbeats = Some(value.parse().expect(setting));
        }
        Some(("sql_error", value)) => {
            let code = value.parse().expect(setting);
            facts.channels[from].sql_error = (code, "Duplicate entry '7' for key 'PRIMARY'".into());
        }
        _ => panic!("no such fact: {setting}"),
    }
}

/// `app.t=safe tandem.beat=safe app.t=conflict`: transactions by the table that each changes.
fn inspected(text: &str) -> Stranded {
    let transaction = |word: &str| {
        let (table, verdict) = word.split_once('=').expect(text);
        let (schema, table) = table.split_once('.').expect(text);
        StrandedTransaction {
            gtid: "1-1-11".to_owned(),
            at: SystemTime::UNIX_EPOCH,
            bytes: 100,
            tables: vec![TableChange {
                schema: schema.to_owned(),
                table: table.to_owned(),
                inserted: 1,
                updated: 0,
                deleted: 0,
                keys: Vec::new(),
            }],
            statements: Vec::new(),
            verdict: match verdict {
                "safe" => MergeVerdict::Safe,
                _ => MergeVerdict::Conflict(vec![Conflict {
                    table: format!("{schema}.{table}"),
                    key: "id=7".to_owned(),
                    what: "the key is taken".to_owned(),
                }]),
            },
        }
    };
    let transactions = text.split_whitespace().map(transaction).collect();
    Stranded { gtids: GtidSet::empty(), transactions, more: 0 }
}

fn answer(kind: &str, rest: &str) -> OrderResult {
    let failed = OrderResult::Failed;
    let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
    match kind {
        "done" => OrderResult::Done,
        "inspected" => OrderResult::Inspected(Arc::new(inspected(rest))),
        "discarded" => OrderResult::Discarded(Arc::new(Discarded {
            gtids: GtidSet::parse(Flavor::MariaDb, first).expect(rest),
            transactions: 1,
            tables: inspected(more).transactions.remove(0).tables,
            rows: 1,
            position: String::new(),
        })),
        "frozen" => OrderResult::Frozen(GtidSet::parse(Flavor::MariaDb, first).expect(rest)),
        "dropped" => OrderResult::Dropped(GtidSet::parse(Flavor::MariaDb, first).expect(rest)),
        "others" => {
            let undrained = rest.split_whitespace().map(|id| format!("connection {id}")).collect();
            let transactions = if rest.is_empty() { vec![] } else { vec!["43 of app".to_owned()] };
            OrderResult::Others(OtherProxies { drain: 90, undrained, transactions })
        }
        "claimed" => failed(OrderFailure::Claimed(rest.to_owned())),
        "promoted" => OrderResult::Promoted(Term(first.parse().expect(rest))),
        "superseded" => OrderResult::Superseded {
            term: Term(first.parse().expect(rest)),
            active: more.to_owned(),
        },
        "unreachable" => failed(OrderFailure::Unreachable(rest.to_owned())),
        "timeout" => failed(OrderFailure::TimedOut(rest.to_owned())),
        "impossible" => failed(OrderFailure::Impossible(rest.to_owned())),
        "stopped" => failed(OrderFailure::ApplierStopped(rest.to_owned())),
        "denied" => failed(OrderFailure::Denied {
            message: "access denied".to_owned(),
            grant: rest.to_owned(),
        }),
        "refused" => failed(OrderFailure::Refused {
            code: first.parse().expect(rest),
            message: more.to_owned(),
        }),
        other => panic!("no such answer: {other}"),
    }
}
