//! What each path answers, over real connections.

use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::failover::Transition;
use crate::topology::Term;
use crate::topology::fixture::{self, M1, M2};

fn held(now: Instant) -> RoutingTable {
    let reason = "m1 refused connections, m2's applier stopped with error 1062".into();
    RoutingTable {
        generation: 4,
        term: Term(5),
        writer: Writer::Held { since: now, reason },
        ..RoutingTable::starting(fixture::servers(), now)
    }
}

fn active(now: Instant) -> RoutingTable {
    RoutingTable { generation: 5, writer: Writer::Active(M1), ..held(now) }
}

fn login(user: &str, refusal: Option<&str>, asked: Instant) -> StandbyLogin {
    let refusal = refusal.map(Into::into);
    StandbyLogin {
        user: user.into(),
        schema: String::new(),
        server: M2,
        refusal,
        unfenced: None,
        asked,
    }
}

#[test]
fn the_document_says_who_is_active_and_why_not() {
    let start = Instant::now();
    let (gone, now) = (start + Duration::from_secs(2), start + Duration::from_secs(5));
    let healthy = Status::of(&active(start), &fixture::healthy(start), &[], now);
    insta::assert_snapshot!(serde_json::to_string_pretty(&healthy).unwrap());
    let logins = [
        login("app", None, start),
        login("old", Some("error 1045: Access denied for user 'old'"), start),
    ];
    let half_gone = Status::of(&held(gone), &fixture::half_gone(start, gone), &logins, now);
    insta::assert_snapshot!(serde_json::to_string_pretty(&half_gone).unwrap());
}

/// The status line, the headers and the body of `path`.
async fn get(address: std::net::SocketAddr, path: &str) -> (String, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: tandem\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn each_path_answers_from_the_latest_data() {
    let now = Instant::now();
    let (routing_sender, routing) = watch::channel(Arc::new(held(now)));
    let (_topology_sender, topology) = watch::channel(Arc::new(fixture::healthy(now)));
    let metrics = Arc::new(Metrics::new(["m1", "m2"]));
    metrics.session.commands.inc_by(42);
    let journal = Arc::new(Journal::new(100, now));
    for number in 1..=25 {
        let reason = format!("event {number}");
        let transition = Transition { from: "steady", to: "suspect", reason, server: Some(M1) };
        journal.record(now, SystemTime::UNIX_EPOCH, transition);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        stopped.await.ok();
    };
    let server = tokio::spawn(serve(
        listener,
        Handles {
            routing,
            topology,
            metrics,
            logins: watch::channel(Arc::default()).1,
            reads: None,
            journal,
            accounts: watch::channel(Arc::default()).1,
            checks: watch::channel(Arc::default()).1,
        },
        shutdown,
    ));

    let (status, _, body) = get(address, "/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, "m1 refused connections, m2's applier stopped with error 1062\n");
    routing_sender.send(Arc::new(active(now))).unwrap();
    let (status, _, body) = get(address, "/readyz").await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "m1 is active\n"));

    let (status, _, body) = get(address, "/livez").await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "alive\n"));

    let (_, headers, body) = get(address, "/metrics").await;
    assert!(headers.contains("application/openmetrics-text"), "{headers}");
    assert!(body.contains("tandem_session_commands_total 42"), "{body}");
    assert!(body.ends_with("# EOF\n"), "{body}");

    let (_, headers, body) = get(address, "/status").await;
    assert!(headers.contains("cache-control: no-store"), "{headers}");
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["active"], "m1");
    let events = document["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[19]["number"]), (20, &25.into()));
    assert_eq!((&events[19]["reason"], &events[19]["server"]), (&"event 25".into(), &"m1".into()));

    let (_, headers, body) = get(address, "/").await;
    assert!(headers.contains("text/html") && headers.contains("default-src 'none'"), "{headers}");
    assert!(!body.contains("http://") && !body.contains("https://"), "the page loads from outside");

    let (status, ..) = get(address, "/nothing").await;
    assert_eq!(status, "HTTP/1.1 404 Not Found");

    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
