//! That real clients can read what the console shows, and what becomes of their orders.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use tokio::net::TcpListener;

use super::*;
use crate::failover::{Answer as Outcome, Release, Request};

/// The console behind a loopback port, for clients that need one.
struct Port {
    port: u16,
    served: tokio::task::JoinHandle<Result<(), ConsoleError>>,
    asked: mpsc::Receiver<Asked>,
    shutdown: Arc<Notify>,
}

impl Port {
    async fn open() -> Self {
        let Picture { routing, topology, settings, sessions, logins, status, .. } = picture(true);
        let (ask, asked) = mpsc::channel(1);
        let shutdown = Arc::new(Notify::new());
        let handles = Handles {
            routing: watch::channel(routing).1,
            topology: watch::channel(topology).1,
            metrics: Arc::new(Metrics::new(["m1", "m2"])),
            settings,
            admin: "admin".into(),
            sessions: Arc::new(Fixed(sessions)),
            logins: watch::channel(logins).1,
            reads: None,
            status: watch::channel(status).1,
            journal: Arc::new(journal(Instant::now())),
            accounts: watch::channel(Arc::default()).1,
            checks: watch::channel(Arc::default()).1,
            ask,
            shutdown: Arc::clone(&shutdown),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            serve(stream, 7, handles).await
        });
        Self { port, served, asked, shutdown }
    }

    async fn connect(&self) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some("anybody"))
            .pass(Some("anything"))
            .db_name(Some("whatever"));
        Conn::new(options).await.unwrap()
    }
}

#[tokio::test]
async fn a_real_client_reads_the_tables() {
    let console = Port::open().await;
    let mut client = console.connect().await;
    assert_eq!(client.id(), 7);
    let masters: Vec<Row> = client.query("SHOW MASTERS").await.unwrap();
    let names: Vec<String> = masters.iter().map(|row| row.get("Name").unwrap()).collect();
    assert_eq!(names, ["m1", "m2"]);
    assert_eq!(masters[0].get::<String, _>("State").unwrap(), "active");
    let none: Vec<Row> = client.query("SHOW REPLICAS").await.unwrap();
    assert!(none.is_empty());
    let error = client.query_drop("RELOAD").await.unwrap_err();
    assert!(error.to_string().contains("not built yet"), "{error}");
    let error = client.query_drop("SELECT @@nothing").await.unwrap_err();
    assert!(error.to_string().contains("1193"), "{error}");
    assert!(client.prep("SHOW MASTERS").await.is_err());
    client.query_drop("SET NAMES utf8mb4").await.unwrap();
    client.query_drop("USE anything").await.unwrap();
    client.ping().await.unwrap();
    let picked: Option<(String, Option<String>, u32)> =
        client.query_first("SELECT USER(), DATABASE(), CONNECTION_ID()").await.unwrap();
    assert_eq!(picked, Some(("admin".into(), None, 7)));
    client.disconnect().await.unwrap();
    console.served.await.unwrap().unwrap();
}

/// The code and the words of the error that `order` is answered with.
async fn refusal(client: &mut Conn, order: &str) -> (u16, String) {
    match client.query_drop(order).await {
        Err(mysql_async::Error::Server(error)) => (error.code, error.message),
        other => panic!("{order}: {other:?}"),
    }
}

/// Gives `order`, and answers it in the coordinator's place; what was asked, and what came of it.
async fn ordered(
    console: &mut Port,
    client: &mut Conn,
    order: &str,
    outcome: Outcome,
) -> (Request, Result<Option<(String,)>, mysql_async::Error>) {
    let answering = async {
        let Asked { request, answer } = console.asked.recv().await.unwrap();
        answer.send(outcome).unwrap();
        request
    };
    tokio::join!(answering, client.query_first(order))
}

#[tokio::test]
async fn an_order_is_answered_when_it_is_carried_out() {
    let mut console = Port::open().await;
    let mut client = console.connect().await;
    for (order, request) in [
        ("SWITCHOVER TO m2", Request::Switchover { to: M2, force: false }),
        ("SWITCHOVER TO `M2` FORCE", Request::Switchover { to: M2, force: true }),
        ("FAILOVER TO m1", Request::Failover { to: M1, force: false }),
        ("failover to 'm1' force;", Request::Failover { to: M1, force: true }),
        ("RELEASE m2", Request::Release { server: M2, how: Release::Merge { force: false } }),
        ("RELEASE m1 DISCARD", Request::Release { server: M1, how: Release::Discard }),
        ("PAUSE", Request::Pause),
        ("RESUME", Request::Resume),
    ] {
        let done = Outcome::Done(format!("{order} took 4 ms"));
        let (asked, answered) = ordered(&mut console, &mut client, order, done).await;
        assert_eq!(asked, request);
        assert_eq!(answered.unwrap(), Some((format!("{order} took 4 ms"),)));
        let words = "m2's applier is stopped: error 1062, 'Duplicate entry'; all is as it was";
        let refused = Outcome::Refused(words.to_owned());
        let (_, answered) = ordered(&mut console, &mut client, order, refused).await;
        match answered {
            Err(mysql_async::Error::Server(error)) => {
                assert_eq!((error.code, error.message.as_str()), (1105, words));
            }
            other => panic!("{order}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_order_that_makes_no_sense_reaches_nobody() {
    let mut console = Port::open().await;
    let mut client = console.connect().await;
    assert_eq!(
        refusal(&mut client, "SWITCHOVER TO m3").await,
        (1210, "there is no master `m3`; there are: m1, m2".to_owned())
    );
    assert_eq!(
        refusal(&mut client, "SWITCHOVER m2").await,
        (1064, "this is written: SWITCHOVER TO name [FORCE]".to_owned())
    );
    assert_eq!(refusal(&mut client, "KILL 99").await, (1094, "Unknown thread id: 99".to_owned()));
    let ended: Option<(String,)> = client.query_first("KILL 11").await.unwrap();
    assert_eq!(ended, Some(("session 11 is being ended".to_owned(),)));
    assert!(console.asked.try_recv().is_err());
    // Nobody is there any more to carry anything out.
    console.asked.close();
    let stopping = "Tandem is stopping, and answers no more".to_owned();
    assert_eq!(refusal(&mut client, "PAUSE").await, (1105, stopping));
}

#[tokio::test]
async fn whoever_leaves_takes_no_order_back() {
    let mut console = Port::open().await;
    let mut client = console.connect().await;
    let Asked { request, answer } = tokio::select! {
        asked = console.asked.recv() => asked.unwrap(),
        answered = client.query_drop("SWITCHOVER TO m2") => panic!("{answered:?}"),
    };
    drop(client);
    assert_eq!(request, Request::Switchover { to: M2, force: false });
    assert!(answer.send(Outcome::Done("done".to_owned())).is_ok(), "it was taken back");
    // Only the answer finds nobody.
    let _ = console.served.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_is_answered_and_passed_on() {
    let console = Port::open().await;
    let mut client = console.connect().await;
    let answer: Option<(String,)> = client.query_first("SHUTDOWN").await.unwrap();
    assert!(answer.unwrap().0.starts_with("Tandem stops"));
    console.shutdown.notified().await;
}

#[tokio::test]
async fn two_greetings_have_two_salts() {
    use tokio::io::AsyncReadExt;
    let mut greetings = Vec::new();
    for _ in 0..2 {
        let Port { port, served, .. } = Port::open().await;
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut greeting = vec![0; 4];
        stream.read_exact(&mut greeting).await.unwrap();
        let mut rest = vec![0; usize::from(greeting[0])];
        stream.read_exact(&mut rest).await.unwrap();
        drop(stream);
        assert!(served.await.unwrap().is_err(), "a client that leaves in the login is an error");
        greetings.push(rest);
    }
    assert_ne!(greetings[0], greetings[1]);
    assert_eq!(greetings[0].len(), greetings[1].len());
}
