//! What people read, and that a console can be asked for it.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};

use super::*;
use crate::config::Secret;
use crate::console::{self as proxy, Row, SessionList, SessionRow};
use crate::coordinator::{Asked, Journal};
use crate::failover::{self, Answer, Transition};
use crate::metrics::Metrics;
use crate::routing::{RoutingTable, Writer};
use crate::topology::fixture::{self, M1};
use crate::topology::{ServerAddress, Term, Topology};

struct Nobody;

impl SessionList for Nobody {
    fn sessions(&self) -> Vec<SessionRow> {
        Vec::new()
    }

    fn kill(&self, _id: u64) -> bool {
        false
    }
}

/// When the proxy of these tests became what it is.
fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_500)
}

/// What a proxy behind a console knows. `m1` is active, or gone.
struct Proxy {
    handles: proxy::Handles,
    asked: mpsc::Receiver<Asked>,
}

impl Proxy {
    fn new(healthy: bool) -> Self {
        let start = Instant::now();
        let (topology, writer): (Topology, _) = if healthy {
            (fixture::healthy(start), Writer::Active(M1))
        } else {
            let reason = "m1 refuses connections; m2's applier stopped with error 1062".into();
            (fixture::half_gone(start, start), Writer::Held { since: start, reason })
        };
        let routing = RoutingTable {
            term: Term(5),
            writer,
            ..RoutingTable::starting(fixture::servers(), start)
        };
        let phase = if healthy { "steady" } else { "held" };
        let status = failover::Status {
            phase,
            since: start,
            active: None,
            held: None,
            decision: None,
            generation: 1,
            masters: Vec::new(),
            quarantine: Vec::new(),
        };
        let journal = Journal::new(10, start);
        let steps = [
            (0, "starting", "steady", "m1 is active"),
            (3_600_000_000, "steady", "suspect", "a session lost m1"),
            (3_600_005_400, "suspect", "catching up", "m1 refuses connections"),
            (3_600_021_000, "promoting", "steady", "m2 is active by term 6"),
            (3_612_000_000, "away", "standby", "m1 is back"),
        ];
        for (micros, from, to, reason) in steps {
            let after = Duration::from_micros(micros);
            let transition = Transition { from, to, reason: reason.to_owned(), server: Some(M1) };
            journal.record(start + after, wall() + after, transition);
        }
        let metrics = Metrics::new(["m1", "m2"]);
        metrics.failover.set_active_since(healthy.then(wall));
        metrics.session.open.inc_by(8);
        let (ask, asked) = mpsc::channel(1);
        let handles = proxy::Handles {
            routing: watch::channel(Arc::new(routing)).1,
            topology: watch::channel(Arc::new(topology)).1,
            metrics: Arc::new(metrics),
            settings: [].into(),
            admin: "admin".into(),
            sessions: Arc::new(Nobody),
            logins: watch::channel(Arc::default()).1,
            reads: None,
            accounts: watch::channel(Arc::default()).1,
            checks: watch::channel(Arc::default()).1,
            status: watch::channel(Arc::new(status)).1,
            journal: Arc::new(journal),
            ask,
            shutdown: Arc::new(Notify::new()),
        };
        Self { handles, asked }
    }

    /// Answers whoever comes; what to reach it by.
    async fn open(&self) -> Admin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let handles = self.handles.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(proxy::serve(stream, 7, handles.clone()));
            }
        });
        at("127.0.0.1", port)
    }
}

fn at(host: &str, port: u16) -> Admin {
    let console = Some(ServerAddress::Tcp { host: host.into(), port });
    Admin { console, http: None, user: "admin".into(), password: Secret::default() }
}

async fn asked(healthy: bool) -> Status {
    let admin = Proxy::new(healthy).open().await;
    let mut console = Client::connect(&admin).await.unwrap();
    Status {
        stats: console.ask("SHOW STATS").await.unwrap(),
        masters: console.ask("SHOW MASTERS").await.unwrap(),
        replicas: console.ask("SHOW REPLICAS").await.unwrap(),
        reads: console.ask("SHOW READS").await.unwrap(),
        channels: console.ask("SHOW SLAVE STATUS").await.unwrap(),
        logins: console.ask("SHOW LOGINS").await.unwrap(),
        losses: console.ask("SHOW LOST WRITES").await.unwrap(),
        events: console.ask("SHOW EVENTS LIMIT 1").await.unwrap(),
    }
}

#[tokio::test]
async fn the_status_of_a_healthy_pair_is_read_at_a_glance() {
    let status = asked(true).await;
    assert_eq!(status.active(), Some("m1"));
    let now = wall() + Duration::from_secs(93_784);
    insta::assert_snapshot!(status.render(now, Paint::new(false)), @r"
    m1 is active since 2026-09-21 14:13:20 UTC (1 d 2 h), by term 5

    NAME  ADDRESS         STATE    WRITES   RECEIVES
    m1    10.0.0.11:3306  active   taken    from m2: IO Yes, SQL Yes, 0 s behind
    m2    10.0.0.12:3306  standby  refused  from m1: IO Yes, SQL Yes, 0 s behind

    sessions    8 open, no statement held
    last event  2026-09-21 15:13:32.500 UTC, away → standby: m1 is back
    ");
}

#[tokio::test]
async fn the_status_of_a_broken_pair_says_why() {
    let mut status = asked(false).await;
    assert_eq!(status.active(), None);
    // How long it took to ask is not what is tested.
    status.stats.retain(|row| !row.text("Name").ends_with("_seconds"));
    status.stats.push(Row::of(&[("Name", Some("held_seconds")), ("Value", Some("192.4"))]));
    status.stats.push(Row::of(&[("Name", Some("phase_seconds")), ("Value", Some("0.3"))]));
    status.logins.push(Row::of(&[
        ("User", Some("old")),
        ("Standby", Some("m2")),
        ("Accepted", Some("No")),
        ("Refusal", Some("error 1045: denied")),
    ]));
    insta::assert_snapshot!(status.render(wall(), Paint::new(false)), @r"
    nobody is active, for 3 min 12 s: m1 refuses connections; m2's applier stopped with error 1062

    NAME  ADDRESS         STATE    WRITES   RECEIVES
    m1    10.0.0.11:3306  down     ?        ?
    m2    10.0.0.12:3306  standby  refused  from m1: IO Connecting, SQL No

    ! m1 refuses connections (connection refused)
    ! m2's receiver: error 2003: Can't connect to server on '10.1.0.1'
    ! m2's applier: error 1062: Duplicate entry '7' for key 'PRIMARY'
    ! m2 would not let `old` in: error 1045: denied

    phase       held, for less than a second
    sessions    8 open, no statement held
    last event  2026-09-21 15:13:32.500 UTC, away → standby: m1 is back
    ");
}

#[tokio::test]
async fn events_are_told_in_groups() {
    let admin = Proxy::new(true).open().await;
    let mut console = Client::connect(&admin).await.unwrap();
    let mut timeline = Timeline::new(Paint::new(false));
    let first = timeline.lines(&console.ask("SHOW EVENTS LIMIT 4").await.unwrap());
    insta::assert_snapshot!(first, @r"
    2026-09-21 (UTC)
    15:13:20.500              steady → suspect            a session lost m1
    15:13:20.505     +5.4 ms  suspect → catching up       m1 refuses connections
    15:13:20.521    +21.0 ms  promoting → steady          m2 is active by term 6

    15:13:32.500              away → standby              m1 is back
    ");
    assert_eq!(timeline.seen(), 5);
    // One that follows: it does not matter in how many pieces the events come.
    let mut pieces = Timeline::new(Paint::new(false));
    let mut text = String::new();
    for after in 1..5 {
        let rows = console.ask(&format!("SHOW EVENTS AFTER {after}")).await.unwrap();
        text.push_str(&pieces.lines(&rows[..1]));
    }
    assert_eq!(text, first);
    assert_eq!(pieces.lines(&[]), "");
}

#[tokio::test]
async fn an_order_is_answered_with_the_words_of_the_proxy() {
    let Proxy { handles, mut asked } = Proxy::new(true);
    let admin = Proxy { handles, asked: mpsc::channel(1).1 }.open().await;
    let answering = tokio::spawn(async move {
        let Asked { request, answer } = asked.recv().await.unwrap();
        answer.send(Answer::Refused(format!("no: {request:?}"))).unwrap();
    });
    let refused = order("SWITCHOVER", "m2", true, &admin).await.unwrap_err();
    assert_eq!(refused.to_string(), "no: Switchover { to: ServerId(1), force: true }");
    answering.await.unwrap();
    let unknown = order("FAILOVER", "m3", false, &admin).await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no master `m3`; there are: m1, m2");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = Client::connect(&at("0.0.0.0", port)).await.unwrap_err().to_string();
    let tried =
        format!("no proxy answers at 127.0.0.1:{port} (Connection refused (os error 111)).");
    assert!(error.starts_with(&tried), "{error}");
    let off = Admin { console: None, ..at("127.0.0.1", port) };
    assert!(matches!(Client::connect(&off).await, Err(AskError::Off)));
    let path = "/nonexistent/console.sock".into();
    let unix = Admin { console: Some(ServerAddress::Unix(path)), ..off };
    let error = Client::connect(&unix).await.unwrap_err().to_string();
    assert!(error.starts_with("no proxy answers at unix:/nonexistent/console.sock (No such file"));
}

#[test]
fn colour_is_only_added() {
    let rows = [Row::of(&[
        ("Number", Some("1")),
        ("Time", Some("2026-09-21 14:13:20.500")),
        ("From", Some("starting")),
        ("To", Some("steady")),
    ])];
    let plain = Timeline::new(Paint::new(false)).lines(&rows);
    assert!(!plain.contains('\u{1b}'), "{plain}");
    let painted = Paint::new(true).paint(layout::Tone::Good, "steady");
    // The library leaves colour out by itself where `NO_COLOR` is set.
    assert!(painted.contains("steady"));
}
