//! Three proxies and a pair, each in a network namespace of its own, and every link between them cut
//! and healed in turn. `docs/failover.md` says what is to happen; this asks whether it does.
//!
//! One pair for all cases: each ends with everybody agreed, nothing stranded, and every acknowledged
//! write on both masters, once. Needs root and iproute2; without them it says so and does nothing.

#![allow(clippy::unwrap_used, reason = "what a test calls may panic as the test may")]

#[allow(dead_code, reason = "shared with another suite")]
mod ledger;
mod masters;
mod network;
#[path = "../failover/patience.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod patience;
#[path = "../failover/process.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod process;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ledger::{Client, Fate, tokens};
use masters::Watch;
use mysql_async::prelude::*;
use network::{Network, Node, Way, both};
use patience::{eventually, within};
use process::{Process, master, monitor};
use serde_json::Value;
use tandem::sandbox::{Sandbox, SandboxOptions, ServerNetwork};

const MASTERS: [Node; 2] = [Node(0), Node(1)];
const PROXIES: [Node; 3] = [Node(2), Node(3), Node(4)];

/// Acknowledgements that show that a client goes on.
const GOES_ON: usize = 25;

struct Rig {
    // Dropped in this order.
    clients: Vec<Client>,
    watch: Watch,
    proxies: Vec<Process>,
    sandbox: Sandbox,
    network: Network,
    figures: Vec<String>,
}

/// What a proxy says of itself.
#[derive(Clone, Debug)]
struct Says {
    active: Option<String>,
    term: u64,
    held: Option<String>,
    servers: Value,
}

impl Rig {
    async fn start() -> Self {
        let network = Network::new(5);
        let networks = MASTERS.map(|node| ServerNetwork {
            enter: network.enter(node),
            address: node.address().into(),
        });
        let options =
            SandboxOptions { durable: false, networks: networks.into(), ..Default::default() };
        let sandbox = Sandbox::start(options).await.expect("a pair");
        let user = &sandbox.monitor().user;
        sandbox
            .server(0)
            .execute(&[
                "CREATE TABLE app.written (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
                 token VARCHAR(64) NOT NULL, by_server INT NOT NULL)",
                // To judge what is stranded.
                &format!("GRANT SELECT ON app.* TO '{user}'@'%'"),
            ])
            .await
            .expect("made");
        let names = [("m1", MASTERS[0]), ("m2", MASTERS[1])];
        let masters: String = names
            .iter()
            .map(|(name, node)| master(name, &format!("{}:3306", node.address())))
            .collect();
        let sections = format!(
            "{masters}{}interval = \"500ms\"\ntimeout = \"500ms\"\n[failover]\nhold = \"3s\"\n\
             min_interval = \"0s\"\nacknowledge_after = 0\n[switchover]\ndrain = \"1s\"\n",
            monitor(&sandbox)
        );
        let start = |node: &Node| Process::start_behind(&network.enter(*node), &sections);
        let proxies: Vec<Process> = PROXIES.iter().map(start).collect();
        for proxy in &proxies {
            proxy.connect().await.query_drop("DO 0").await.expect("somebody is active");
        }
        let watch = Watch::start(&sandbox).await;
        let client = |(number, proxy): (usize, &Process)| {
            Client::start(format!("p{}", number + 1), proxy.options())
        };
        let clients = proxies.iter().enumerate().map(client).collect();
        Self { clients, watch, proxies, sandbox, network, figures: Vec::new() }
    }

    async fn says(&self, proxy: usize) -> Says {
        let page = self.proxies[proxy].http("/status").await;
        let (_, body) = page.split_once("\r\n\r\n").expect("a page");
        let status: Value = serde_json::from_str(body).expect("JSON");
        Says {
            active: status["active"].as_str().map(str::to_owned),
            term: status["term"].as_u64().expect("a term"),
            held: status["held"]["reason"].as_str().map(str::to_owned),
            servers: status["servers"].clone(),
        }
    }

    /// Waits until all proxies name the same active master by the same term.
    async fn agreed(&self) -> (usize, u64) {
        eventually("all proxies agree", async || {
            let first = self.says(0).await;
            let active = first.active?;
            for proxy in 1..PROXIES.len() {
                let other = self.says(proxy).await;
                if other.active.as_ref() != Some(&active) || other.term != first.term {
                    return None;
                }
            }
            Some((usize::from(active == "m2"), first.term))
        })
        .await
    }

    /// Waits until each of these clients was acknowledged so many more writes.
    async fn go_on(&self, proxies: &[usize]) {
        for proxy in proxies {
            let before = self.clients[*proxy].acknowledged();
            eventually(&format!("the client of p{} goes on", proxy + 1), async || {
                (self.clients[*proxy].acknowledged() >= before + GOES_ON).then_some(())
            })
            .await;
        }
    }

    async fn held(&self, proxy: usize, words: &str) {
        eventually(&format!("p{} holds: {words}", proxy + 1), async || {
            self.says(proxy).await.held.filter(|reason| reason.contains(words))
        })
        .await;
    }

    /// Waits until this proxy has this state of a server.
    async fn sees(&self, proxy: usize, server: usize, state: &str) {
        eventually(&format!("p{} sees m{} {state}", proxy + 1, server + 1), async || {
            (self.says(proxy).await.servers[server]["state"] == state).then_some(())
        })
        .await;
    }

    /// Waits until these proxies made this master active by a new term.
    async fn failed_over(&self, proxies: &[usize], to: usize, before: u64) {
        for proxy in proxies {
            eventually(&format!("p{} follows m{}", proxy + 1, to + 1), async || {
                let says = self.says(*proxy).await;
                let name = format!("m{}", to + 1);
                (says.active == Some(name) && says.term > before).then_some(())
            })
            .await;
        }
    }

    async fn order(&self, proxy: usize, statement: &str) -> Result<String, String> {
        let mut console = self.proxies[proxy].console().await;
        let answer = within(statement, console.query_first::<String, _>(statement)).await;
        answer.map(|row| row.expect("a row")).map_err(|error| error.to_string())
    }

    /// Which rows each master has.
    async fn tables(&self) -> [Vec<String>; 2] {
        let question = "SELECT token FROM app.written";
        let mut tables = [Vec::new(), Vec::new()];
        for (number, table) in tables.iter_mut().enumerate() {
            let mut root = self.sandbox.server(number).root_connection().await.expect("root");
            *table = root.query(question).await.expect("asked");
        }
        tables
    }

    /// How many rows of the application are in quarantine, and a proxy that says so.
    async fn stranded(&self) -> Option<(usize, usize, Vec<String>)> {
        for proxy in 0..PROXIES.len() {
            let mut console = self.proxies[proxy].console().await;
            let rows: Vec<mysql_async::Row> = console.query("SHOW STRANDED").await.expect("shown");
            let cell = |row: &mysql_async::Row, name| {
                row.get::<Option<String>, _>(name).flatten().unwrap_or_default()
            };
            let ours: Vec<String> = rows
                .iter()
                .filter(|row| cell(row, "Tables").contains("app.written"))
                .map(|row| cell(row, "Verdict"))
                .collect();
            if let Some(row) = rows.first().filter(|_| !ours.is_empty()) {
                return Some((proxy, usize::from(cell(row, "Server") == "m2"), ours));
            }
        }
        None
    }

    /// Waits until both masters replicate, nothing is in quarantine, and both have every write that
    /// was acknowledged by now. What was stranded is released, as an operator would. Returns how
    /// many transactions that were.
    async fn whole(&self) -> usize {
        let acknowledged: BTreeSet<String> = self
            .clients
            .iter()
            .flat_map(Client::writes)
            .filter(|write| write.fate == Fate::Acknowledged)
            .map(|write| write.token)
            .collect();
        let mut released = 0;
        eventually("every acknowledged write is on both masters", async || {
            if let Some((proxy, server, verdicts)) = self.stranded().await {
                let safe = verdicts.iter().all(|verdict| verdict == "safe");
                // Another proxy's release may be delivering them just now: their keys are taken then, by
                // themselves, until this proxy looks again. Then, too, there is nothing to release.
                if !safe {
                    println!("  p{}: {}", proxy + 1, verdicts.join("; "));
                } else if self.order(proxy, &format!("RELEASE m{}", server + 1)).await.is_ok() {
                    released = released.max(verdicts.len());
                }
            }
            let tables = self.tables().await;
            let whole = tables.into_iter().all(|table| {
                let (rows, twice) = tokens(table);
                assert!(twice.is_empty(), "executed twice: {twice:?}");
                rows.is_superset(&acknowledged)
            });
            whole.then_some(())
        })
        .await;
        self.sandbox.await_replication().await.expect("both directions run");
        released
    }

    /// One case: cuts these ways, looks at what comes of it, heals them, and waits until everything is
    /// as it was before. `expected` is told who was active, who stood by, and by which term.
    async fn case(
        &mut self,
        name: &str,
        ways: impl FnOnce(Node, Node) -> Vec<Way>,
        expected: impl AsyncFnOnce(&Self, Roles) -> Outcome,
    ) {
        println!("{name} …");
        let (active, term) = self.agreed().await;
        let roles = Roles { active, standby: 1 - active, term };
        let ways = ways(MASTERS[roles.active], MASTERS[roles.standby]);
        let start = Instant::now();
        self.network.cut(&ways);
        let outcome = expected(self, roles).await;
        let healed = Instant::now();
        self.network.heal(&ways);
        let (now_active, now_term) = self.agreed().await;
        let agreed = healed.elapsed();
        self.go_on(&[0, 1, 2]).await;
        let released = self.whole().await;

        let moved = now_active != roles.active;
        assert_eq!(moved, outcome != Outcome::Stays, "{name}");
        assert_eq!(
            now_term > term,
            moved,
            "{name}: a term is written for a failover, and for nothing else"
        );
        self.watch.look_again().await;
        let late = if moved { self.late_on_the_old(roles, start).await } else { 0 };
        if matches!(outcome, Outcome::Strands | Outcome::BothSides) {
            assert!(released > 0, "{name}: nothing was in quarantine");
        }
        if outcome != Outcome::BothSides {
            assert_eq!(late, 0, "{name}: the old master acknowledged writes of the old term");
        }
        if outcome == Outcome::Stays {
            let (both_open, _) = self.watch.durations(start);
            assert_eq!(both_open, Duration::ZERO, "{name}");
        }
        let fenced = self.one_for_each_term(name, start, healed);
        self.figure(name, start, Row { agreed, fenced, moved, released, late });
    }

    /// Two masters are open at once only while the one that is left does not know of the term that names
    /// the other; from when it can be told on it is closed. Returns how long that took.
    fn one_for_each_term(&self, name: &str, start: Instant, healed: Instant) -> Duration {
        let looks = self.watch.since(start);
        let both = |look: &&masters::Look| look.open == [true, true];
        for look in looks.iter().filter(both).filter(|look| look.at < healed) {
            assert_ne!(look.term[0], look.term[1], "{name}: both are open by the same term");
        }
        let now = looks.last().expect("one");
        assert_ne!(now.open[0], now.open[1], "{name}: {now:?}");
        match looks.iter().rposition(|look| both(&look)) {
            Some(last) => looks[last + 1].at.saturating_duration_since(healed),
            None => Duration::ZERO,
        }
    }

    /// How many writes the old master acknowledged that were sent after the new one was open.
    async fn late_on_the_old(&self, roles: Roles, start: Instant) -> usize {
        let Some(opened) = self.watch.opened(roles.standby, start) else { return 0 };
        let mut root = self.sandbox.server(roles.standby).root_connection().await.expect("root");
        let old = roles.active + 1;
        let question = format!("SELECT token FROM app.written WHERE by_server = {old}");
        let (by_old, _) = tokens(root.query(question).await.expect("asked"));
        let late = |write: &ledger::Write| {
            write.began > opened
                && write.fate == Fate::Acknowledged
                && by_old.contains(&write.token)
        };
        self.clients.iter().flat_map(Client::writes).filter(late).count()
    }

    fn figure(&mut self, name: &str, start: Instant, row: Row) {
        let tallies: Vec<_> = self.clients.iter().map(|client| client.since(start)).collect();
        let gaps: String =
            tallies.iter().map(|tally| format!("{:>6}", tally.gap.as_millis())).collect();
        let sum = |of: fn(&ledger::Tally) -> usize| tallies.iter().map(of).sum::<usize>();
        let (both_open, nobody) = self.watch.durations(start);
        let line = format!(
            "{name:<52} {:<5}{gaps} {:>6} {:>6} {:>7} {:>6} {:>5} {:>5} {:>5} {:>5} {:>5}",
            if row.moved { "new" } else { "same" },
            row.agreed.as_millis(),
            row.fenced.as_millis(),
            nobody.as_millis(),
            both_open.as_millis(),
            sum(|tally| tally.acknowledged),
            sum(|tally| tally.unknown),
            sum(|tally| tally.refused),
            row.released,
            row.late,
        );
        println!("{line}");
        self.figures.push(line);
    }
}

/// Who was what when the links were cut.
#[derive(Clone, Copy, Debug)]
struct Roles {
    active: usize,
    standby: usize,
    term: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The same master is active by the same term.
    Stays,
    /// The other one is, and no proxy sent a write to the old one after that.
    FailsOver,
    /// The same, and what the old one acknowledged before that and never sent is in quarantine.
    Strands,
    /// Both took writes while the links were cut: the documented limit.
    BothSides,
}

struct Row {
    agreed: Duration,
    fenced: Duration,
    moved: bool,
    released: usize,
    late: usize,
}

#[tokio::test]
async fn every_link_is_cut_and_healed() {
    if let Some(why) = Network::impossible() {
        println!("SKIPPED: every_link_is_cut_and_healed: no network namespaces here: {why}");
        return;
    }
    let mut rig = Rig::start().await;
    println!(
        "{:<52} {:<5}{:>6}{:>6}{:>6} {:>6} {:>6} {:>7} {:>6} {:>5} {:>5} {:>5} {:>5} {:>5}",
        "cut (gaps per client and times in ms)",
        "term",
        "p1",
        "p2",
        "p3",
        "agreed",
        "fenced",
        "nobody",
        "both",
        "ack",
        "unkn",
        "refus",
        "strnd",
        "late",
    );
    a_proxy_and_a_master(&mut rig).await;
    the_two_masters(&mut rig).await;
    a_master_and_all_proxies(&mut rig).await;
    a_master_and_everybody(&mut rig).await;
    two_sides(&mut rig).await;
    println!("{}", rig.figures.join("\n"));
}

/// The six links between proxies and masters, one by one, and each direction of one of them.
async fn a_proxy_and_a_master(rig: &mut Rig) {
    for (proxy, node) in PROXIES.into_iter().enumerate() {
        let others: Vec<usize> = (0..PROXIES.len()).filter(|other| *other != proxy).collect();
        let name = format!("p{} - active", proxy + 1);
        let ways = |active, _| both(node, active).into();
        rig.case(&name, ways, async |rig, _| holds_alone(rig, &[proxy], &others).await).await;

        let name = format!("p{} - standby", proxy + 1);
        let ways = |_, standby| both(node, standby).into();
        rig.case(&name, ways, async |rig, roles| {
            rig.sees(proxy, roles.standby, "down").await;
            rig.go_on(&[0, 1, 2]).await;
            Outcome::Stays
        })
        .await;
    }
    rig.case(
        "p1 -> active",
        |active, _| vec![(PROXIES[0], active)],
        async |rig, _| holds_alone(rig, &[0], &[1, 2]).await,
    )
    .await;
    rig.case(
        "active -> p1",
        |active, _| vec![(active, PROXIES[0])],
        async |rig, _| holds_alone(rig, &[0], &[1, 2]).await,
    )
    .await;
    rig.case(
        "p1 - active, p2 - active",
        |active, _| [both(PROXIES[0], active), both(PROXIES[1], active)].concat(),
        async |rig, _| holds_alone(rig, &[0, 1], &[2]).await,
    )
    .await;
    rig.case(
        "p1 - active, p1 - standby",
        |active, standby| [both(PROXIES[0], active), both(PROXIES[0], standby)].concat(),
        async |rig, _| {
            rig.held(0, "does not answer").await;
            rig.go_on(&[1, 2]).await;
            Outcome::Stays
        },
    )
    .await;
}

/// Those proxies do not reach the active master, and know that others do.
async fn holds_alone(rig: &Rig, cut_off: &[usize], others: &[usize]) -> Outcome {
    for proxy in cut_off {
        rig.held(*proxy, "only this proxy is cut off").await;
    }
    rig.go_on(others).await;
    Outcome::Stays
}

/// Nothing happens to clients. What would need both masters is refused, with the reason.
async fn the_two_masters(rig: &mut Rig) {
    rig.case(
        "active - standby",
        |active, standby| both(active, standby).into(),
        async |rig, roles| {
            let standby = format!("m{}", roles.standby + 1);
            rig.go_on(&[0, 1, 2]).await;
            let order = format!("SWITCHOVER TO {standby}");
            let refused = rig.order(0, &order).await.expect_err("it lacks writes");
            println!("  at once: {refused}");
            eventually("the standby has noticed", async || {
                let channels = rig.says(0).await.servers[roles.standby]["channels"].clone();
                (channels[0]["io"] == "Connecting").then_some(())
            })
            .await;
            let refused = rig.order(0, &order).await.expect_err("it does not receive");
            println!("  later: {refused}");
            assert!(refused.contains("not receiving from"), "{refused}");
            let refused = rig.order(0, &format!("FAILOVER TO {standby}")).await;
            let refused = refused.expect_err("it lacks writes");
            println!("  a failover: {refused}");
            assert!(refused.contains("lacks"), "{refused}");
            rig.go_on(&[0, 1, 2]).await;
            Outcome::Stays
        },
    )
    .await;
    for (name, back) in [("active -> standby", false), ("standby -> active", true)] {
        rig.case(
            name,
            |active, standby| vec![if back { (standby, active) } else { (active, standby) }],
            async |rig, _| {
                rig.go_on(&[0, 1, 2]).await;
                rig.go_on(&[0, 1, 2]).await;
                Outcome::Stays
            },
        )
        .await;
    }
}

/// The standby still hears it: nobody fails over.
async fn a_master_and_all_proxies(rig: &mut Rig) {
    let from_all = |master: Node| PROXIES.iter().flat_map(|proxy| both(*proxy, master)).collect();
    rig.case(
        "active - all proxies",
        |active, _| from_all(active),
        async |rig, _| holds_alone(rig, &[0, 1, 2], &[]).await,
    )
    .await;
    rig.case(
        "standby - all proxies",
        |_, standby| from_all(standby),
        async |rig, roles| {
            for proxy in 0..PROXIES.len() {
                rig.sees(proxy, roles.standby, "down").await;
            }
            rig.go_on(&[0, 1, 2]).await;
            Outcome::Stays
        },
    )
    .await;
}

async fn a_master_and_everybody(rig: &mut Rig) {
    let from_all = |master: Node, other: Node| -> Vec<Way> {
        let proxies = PROXIES.iter().flat_map(|proxy| both(*proxy, master));
        proxies.chain(both(other, master)).collect()
    };
    for _ in 0..2 {
        rig.case("active - everybody", from_all, async |rig, roles| {
            rig.failed_over(&[0, 1, 2], roles.standby, roles.term).await;
            rig.go_on(&[0, 1, 2]).await;
            Outcome::FailsOver
        })
        .await;
    }
    rig.case(
        "standby - everybody",
        |a, s| from_all(s, a),
        async |rig, roles| {
            for proxy in 0..PROXIES.len() {
                rig.sees(proxy, roles.standby, "down").await;
            }
            rig.go_on(&[0, 1, 2]).await;
            Outcome::Stays
        },
    )
    .await;
    // What it still acknowledges while nothing reaches the other one is stranded.
    rig.case(
        "active - standby, then active - all proxies",
        |active, standby| both(active, standby).into(),
        async |rig, roles| {
            rig.go_on(&[0, 1, 2]).await;
            let active = MASTERS[roles.active];
            let then: Vec<Way> = PROXIES.iter().flat_map(|proxy| both(*proxy, active)).collect();
            rig.network.cut(&then);
            rig.failed_over(&[0, 1, 2], roles.standby, roles.term).await;
            rig.go_on(&[0, 1, 2]).await;
            rig.network.heal(&then);
            Outcome::Strands
        },
    )
    .await;
}

/// What two masters cannot decide: each side has one, and a proxy that reaches only it.
async fn two_sides(rig: &mut Rig) {
    rig.case(
        "p1, active | standby, p2, p3",
        |active, standby| {
            let [p1, p2, p3] = PROXIES;
            [both(active, standby), both(p1, standby), both(p2, active), both(p3, active)].concat()
        },
        async |rig, roles| {
            rig.failed_over(&[1, 2], roles.standby, roles.term).await;
            rig.go_on(&[0, 1, 2]).await;
            let says = rig.says(0).await;
            assert_eq!(
                (says.active, says.term),
                (Some(format!("m{}", roles.active + 1)), roles.term)
            );
            Outcome::BothSides
        },
    )
    .await;
}
