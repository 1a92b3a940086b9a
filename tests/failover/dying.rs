//! A coordinator that dies at each single step of a switchover: one master is active afterwards, soon,
//! and never two.
//!
//! The proxy is a process of its own behind a relay that reads its statements (`wiretap.rs`) and ends it
//! with kill -9 at exactly one of them. Another proxy, which is there already or is started at once,
//! finds what it left.
//!
//! The whole list runs before one server. What the others decide differently is at a few statements: how
//! they close, say where they are, wait, lock, and let go. There it dies before each of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::prelude::*;
use tandem::sandbox::{Sandbox, SandboxOptions};

use crate::ledger::{Client, Fate, tokens};
use crate::masters::Watch;
use crate::patience::{eventually, within};
use crate::process::{Process, master, monitor};
use crate::wiretap::{Death, Place, Wiretap};

/// For each single case, on machines that are busy with other things.
const LONG: Duration = Duration::from_secs(15);

/// The statements that matter, each of which somebody must have died after: as MariaDB and as MySQL has
/// it.
const STEPS: [&str; 9] = [
    "GET_LOCK('tandem.switchover'",
    "GLOBAL read_only=1|GLOBAL super_read_only=1",
    "SELECT @@GLOBAL.gtid",
    "GTID_WAIT|WAIT_FOR_EXECUTED",
    "GET_LOCK('tandem.term'",
    "INSERT INTO tandem.term",
    "GLOBAL read_only=0",
    "RELEASE_LOCK('tandem.term'",
    "GET_LOCK('tandem.draining'",
];

/// After this one a dead coordinator holds most: the claim, a closed master, the lock for a term.
const HOLDS_MOST: &str = STEPS[4];

use Successor::{Restart, Sidecar, SidecarWithoutAWord};

/// Who comes after the one that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Successor {
    /// Another proxy that runs all the time.
    Sidecar,
    /// One that is started at once.
    Restart,
    /// Another proxy; the machine of the dead one lost its power, so that no connection is closed.
    SidecarWithoutAWord,
}

struct Rig {
    sandbox: Sandbox,
    wiretap: Wiretap,
    watch: Watch,
    told: Vec<Client>,
    /// For how long nobody was active, where somebody died with a master closed.
    figures: Vec<(Successor, Duration)>,
}

fn sections(sandbox: &Sandbox, addresses: &[SocketAddr]) -> String {
    let masters: String = sandbox
        .servers()
        .iter()
        .zip(addresses)
        .map(|(server, address)| master(server.name(), &address.to_string()))
        .collect();
    format!(
        "{masters}{}interval = \"500ms\"\ntimeout = \"500ms\"\n[failover]\ncatch_up = \"2s\"\n\
         min_interval = \"0s\"\nacknowledge_after = 0\n[server_tls]\nmode = \"disabled\"\n",
        monitor(sandbox)
    )
}

impl Rig {
    async fn start() -> Self {
        let options = SandboxOptions { durable: false, ..Default::default() };
        let sandbox = Sandbox::start(options).await.expect("a pair");
        let table = "CREATE TABLE app.written (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
                     token VARCHAR(64) NOT NULL, by_server INT NOT NULL)";
        sandbox.server(0).execute(&[table]).await.expect("made");
        let addresses: Vec<_> = sandbox.servers().iter().map(|server| server.direct()).collect();
        let wiretap = Wiretap::start(&sandbox.monitor().user, &addresses).await;
        // Makes somebody active, so that there are terms to look at.
        let first = Process::start(&sections(&sandbox, &addresses));
        first.connect().await.query_drop("DO 0").await.expect("somebody is active");
        let watch = Watch::start(&sandbox).await;
        Self { sandbox, wiretap, watch, told: Vec::new(), figures: Vec::new() }
    }

    fn direct(&self) -> Process {
        let addresses: Vec<_> =
            self.sandbox.servers().iter().map(|server| server.direct()).collect();
        Process::start(&sections(&self.sandbox, &addresses))
    }

    fn client(&mut self, name: &str, proxy: &Process) {
        let name = format!("{name}{}", self.told.len());
        self.told.push(Client::start(name, proxy.options()));
    }

    /// Waits until the newest client is acknowledged some writes.
    async fn goes_on(&self) {
        let client = self.told.last().expect("there is one");
        let before = client.acknowledged();
        eventually("writes", async || (client.acknowledged() >= before + 3).then_some(())).await;
    }

    /// A switchover whose coordinator dies then: after which statement. `None` when it got to its end
    /// first.
    async fn die(&mut self, death: Death, successor: Successor) -> Option<String> {
        let coordinator = Process::start(&sections(&self.sandbox, self.wiretap.addresses()));
        let mut console = coordinator.console().await;
        let (from, to) = eventually("a steady coordinator", async || {
            let masters: Vec<mysql_async::Row> = console.query("SHOW MASTERS").await.ok()?;
            let role = |row: &mysql_async::Row| row.get::<String, _>("State").unwrap_or_default();
            let active = masters.iter().position(|row| role(row) == "active")?;
            let both = masters.iter().all(|row| role(row) == "active" || role(row) == "standby");
            both.then_some((active, 1 - active))
        })
        .await;
        self.client("c", &coordinator);
        self.goes_on().await;
        let sidecar = (successor != Restart).then(|| self.direct());
        if let Some(sidecar) = &sidecar {
            self.client("s", sidecar);
            self.goes_on().await;
        }
        let terms = self.watch.since(Instant::now())[0].term;
        let before = terms.into_iter().max().expect("two");
        let start = Instant::now();
        let silent = successor == SidecarWithoutAWord;
        self.wiretap.arm(coordinator.pid(), death, silent);
        let order = format!("SWITCHOVER TO m{}", to + 1);
        let ordered = console.query_first::<String, _>(&order);
        let survived = within("the switchover", async {
            tokio::select! {
                answer = ordered => match answer {
                    Ok(answer) => Some(answer),
                    Err(mysql_async::Error::Server(refused)) => panic!("refused: {refused}"),
                    // It is dead, and the relay is about to say so.
                    Err(_) => { self.wiretap.died().await; None }
                },
                () = self.wiretap.died() => None,
            }
        })
        .await;
        let after = self.wiretap.disarm();
        if let Some(answer) = survived {
            let answer = answer.expect("a row");
            assert!(answer.contains("is active by term"), "{answer}");
            self.told.iter().for_each(Client::stop);
            return None;
        }
        let after = after.expect("it died");
        let restarted = (successor == Restart).then(|| self.direct());
        if let Some(restarted) = &restarted {
            self.client("r", restarted);
        }
        // The one that comes after it serves writes: a master is active.
        self.goes_on().await;
        self.watch.look_again().await;
        let now = *self.watch.since(Instant::now()).last().expect("one");
        assert_ne!(now.open[0], now.open[1], "one master is open: {now:?} after {after}");
        let (both_open, nobody) = self.watch.durations(start);
        assert_eq!(both_open, Duration::ZERO, "after {after}");
        assert!(nobody < LONG, "nobody was active for {nobody:?} after {after}");
        let open = usize::from(now.open[1]);
        let term = now.term.into_iter().max().expect("two");
        // The one that the highest term names.
        assert_eq!(open == to, term > before, "{now:?} after {after}");
        let place = match death {
            Death::At(place) => format!("{}.{}", place.packet, place.statements),
            Death::After(_) => "-".to_owned(),
        };
        let line = format!(
            "{place:<6} {:<20} {:<12} {:>9.1}  {}",
            format!("{successor:?}"),
            if open == from { "the old one" } else { "the new one" },
            nobody.as_secs_f64() * 1000.0,
            after.chars().take(60).collect::<String>(),
        );
        println!("{line}");
        if nobody > Duration::ZERO {
            self.figures.push((successor, nobody));
        }
        if silent {
            self.the_dead_let_go().await;
        }
        self.wiretap.forget();
        self.told.iter().for_each(Client::stop);
        Some(after)
    }

    /// The server ends the connections of a machine that says nothing more, so that what it held does not
    /// stay for the hours that a server's TCP takes to notice.
    async fn the_dead_let_go(&self) {
        let held = "SELECT IS_USED_LOCK('tandem.term') IS NOT NULL \
                    OR IS_USED_LOCK('tandem.switchover') IS NOT NULL";
        for server in self.sandbox.servers() {
            let mut root = server.root_connection().await.expect("root's login");
            eventually("the locks of the dead are free", async || {
                let held: Option<u8> = root.query_first(held).await.expect("asked");
                (held == Some(0)).then_some(())
            })
            .await;
        }
    }

    /// A round is what is promised of a machine that has nothing else to do: printed, and not judged here.
    fn print_how_long(&self) {
        for successor in [Sidecar, Restart] {
            let of = self.figures.iter().filter(|(who, _)| *who == successor);
            let mut times: Vec<Duration> = of.map(|(_, nobody)| *nobody).collect();
            times.sort();
            let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
            println!("{successor:?}: median {median:.1?}, at most {most:.1?} of {}", times.len());
        }
    }

    /// Every write that a client was told of is on both masters, once.
    async fn nothing_is_lost(&self) {
        let acknowledged: BTreeSet<String> = self
            .told
            .iter()
            .flat_map(Client::writes)
            .filter(|write| write.fate == Fate::Acknowledged)
            .map(|write| write.token)
            .collect();
        for server in self.sandbox.servers() {
            let mut root = server.root_connection().await.expect("root's login");
            eventually("all that was acknowledged", async || {
                let rows = root.query("SELECT token FROM app.written").await.expect("asked");
                let (rows, twice) = tokens(rows);
                assert!(twice.is_empty(), "executed twice: {twice:?}");
                rows.is_superset(&acknowledged).then_some(())
            })
            .await;
        }
        println!("{} acknowledged writes, none missing, none twice", acknowledged.len());
    }
}

/// At every place, whatever is said there. All statements that somebody died after.
async fn at_every_place(rig: &mut Rig) -> Vec<String> {
    let mut place = Place { packet: 0, statements: 0 };
    let mut frozen = false;
    let mut deaths = Vec::new();
    loop {
        let here = Death::At(place);
        // As long as nothing is touched it makes little difference who comes after it.
        let first = if place.statements.is_multiple_of(2) || frozen { Sidecar } else { Restart };
        let after = rig.die(here, first).await;
        if let Some(after) = &after {
            let closes = after.contains("SET GLOBAL");
            let locks = after.starts_with("SELECT GET_LOCK('tandem.term'");
            let frozen_now = after.starts_with("SELECT @@GLOBAL.gtid");
            if frozen || closes {
                rig.die(here, Restart).await;
            }
            if place.statements > 0 && (locks || frozen_now) {
                rig.die(here, SidecarWithoutAWord).await;
            }
            frozen |= closes;
            deaths.push(after.clone());
            place.statements += 1;
        } else if place.statements > 0 {
            // That packet has no so many statements.
            place = Place { packet: place.packet + 1, statements: 0 };
        } else {
            return deaths;
        }
    }
}

/// Only after the statements that servers carry out each in their own way.
async fn at_every_step(rig: &mut Rig) -> Vec<String> {
    let mut deaths = Vec::new();
    for step in STEPS {
        deaths.extend(rig.die(Death::After(step), Sidecar).await);
    }
    deaths.extend(rig.die(Death::After(HOLDS_MOST), SidecarWithoutAWord).await);
    deaths
}

#[tokio::test]
async fn at_every_step_of_a_switchover_one_master_is_left() {
    let mut rig = Rig::start().await;
    println!("{:<6} {:<20} {:<12} {:>9}  died after", "at", "successor", "active", "nobody ms");
    // A server that the run is told to use is one after the first: see scripts/test.sh.
    let deaths = if std::env::var_os("TANDEM_SERVER").is_none() {
        let deaths = at_every_place(&mut rig).await;
        rig.print_how_long();
        deaths
    } else {
        at_every_step(&mut rig).await
    };
    for step in STEPS {
        let died = |after: &String| step.split('|').any(|words| after.contains(words));
        assert!(deaths.iter().any(died), "nobody died after {step}: {deaths:#?}");
    }
    rig.nothing_is_lost().await;
}
