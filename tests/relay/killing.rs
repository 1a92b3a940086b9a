//! KILL with the id of a greeting: where it goes, and what it ends.

use std::time::Duration;

use tandem::session::Activity;
use tandem::wire::ErrorPacket;

use crate::fake_server::packets::{AUTOCOMMIT, err, ok, query, result, row};
use crate::fake_server::{CLIENT, FakeConnection, RawClient, Stage, within};

const INTERRUPTED: u16 = 1317;

/// The id that the last client was greeted with.
fn last_id(stage: &Stage) -> u32 {
    stage.shared.registry.list().last().expect("a session").id
}

async fn session(stage: &mut Stage, master: u16) -> (RawClient, FakeConnection, u32) {
    let (client, server) = stage.log_in(CLIENT, master).await;
    let id = last_id(stage);
    (client, server, id)
}

async fn await_activity(stage: &Stage, id: u32, activity: Activity) {
    let look = async {
        while stage.shared.registry.get(id).expect("a session").activity() != activity {
            tokio::task::yield_now().await;
        }
    };
    within("an activity", look).await;
}

#[tokio::test]
async fn the_servers_id_takes_the_place_of_the_greetings() {
    let mut stage = Stage::new().await;
    let (mut victim, mut its, id) = session(&mut stage, 0).await;
    let (mut issuer, mut server, _) = session(&mut stage, 0).await;
    victim.query("SELECT SLEEP(100)").await;
    its.expect_query("SELECT SLEEP(100)").await;
    issuer.query(&format!("KILL QUERY {id}")).await;
    let width = id.to_string().len();
    server.expect_query(&format!("KILL QUERY {:<width$}", its.thread_id)).await;
    server.say(&ok(AUTOCOMMIT)).await;
    issuer.expect_ok().await;
    its.say(&err(INTERRUPTED, "70100", "Query execution was interrupted")).await;
    victim.expect_error(INTERRUPTED).await;
    // It goes on, there.
    victim.query("SELECT 1").await;
    its.expect_query("SELECT 1").await;
    // The same as a command; the refusal is the server's.
    issuer.command(&[&b"\x0c"[..], &id.to_le_bytes()].concat()).await;
    server.expect(&[&b"\x0c"[..], &its.thread_id.to_le_bytes()].concat()).await;
    server.say(&err(1095, "HY000", "You are not owner of thread")).await;
    issuer.expect_error(1095).await;
}

#[tokio::test]
async fn what_is_no_id_of_ours_passes_as_it_is() {
    let mut stage = Stage::new().await;
    let (mut issuer, mut server, _) = session(&mut stage, 0).await;
    for sql in ["KILL 57", "KILL QUERY 2147483000", "KILL CONNECTION_ID()", "KILL USER app"] {
        issuer.query(sql).await;
        server.expect_query(sql).await;
        server.say(&err(1094, "HY000", "Unknown thread id")).await;
        issuer.expect_error(1094).await;
    }
}

#[tokio::test]
async fn a_session_whose_connection_was_killed_ends_at_once_and_in_the_servers_words() {
    let mut stage = Stage::new().await;
    let (mut victim, mut its, id) = session(&mut stage, 0).await;
    let (mut issuer, mut server, own) = session(&mut stage, 0).await;
    issuer.query(&format!("KILL {id}")).await;
    server.command().await;
    server.say(&ok(AUTOCOMMIT)).await;
    issuer.expect_ok().await;
    let words = err(1927, "70100", "Connection was killed");
    let words = crate::fake_server::packets::numbered(0, &[words]);
    its.send(&words).await;
    its.close().await;
    assert_eq!(victim.bytes(words.len()).await, words);
    victim.expect_close().await;
    // Itself, with the error that servers answer.
    issuer.query(&format!("KILL CONNECTION {own}")).await;
    server.command().await;
    server.say(&err(INTERRUPTED, "70100", "Query execution was interrupted")).await;
    server.close().await;
    issuer.expect_error(INTERRUPTED).await;
    issuer.expect_close().await;
    assert!(stage.is_unvisited(0), "nobody asks what is known");
}

#[tokio::test]
async fn a_refused_kill_condemns_nobody() {
    let mut stage = Stage::new().await;
    let (mut victim, its, id) = session(&mut stage, 0).await;
    let (mut issuer, mut server, _) = session(&mut stage, 0).await;
    issuer.query(&format!("KILL {id}")).await;
    server.command().await;
    server.say(&err(1095, "HY000", "You are not owner of thread")).await;
    issuer.expect_error(1095).await;
    its.close().await;
    stage.activate(1);
    victim.query("SELECT 1").await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SELECT 1").await;
}

#[tokio::test]
async fn a_session_on_another_server_is_killed_there_by_the_issuer() {
    let mut stage = Stage::new().await;
    let (mut victim, mut its, id) = session(&mut stage, 0).await;
    victim.query("BEGIN").await;
    its.expect_query("BEGIN").await;
    its.say(&ok(3)).await;
    victim.expect_ok().await;
    stage.hold("switching over"); // an open transaction stays where it is
    victim.query("SELECT SLEEP(100)").await;
    its.expect_query("SELECT SLEEP(100)").await;
    let (stream, _) = stage.dial().await;
    let login = tokio::spawn(RawClient::log_in(stream, CLIENT));
    let mut issuer = within("a login that is vouched for", login).await.expect("logged in");
    // The master that becomes active is another than the victim's.
    issuer.query(&format!("KILL QUERY {id}")).await;
    await_activity(&stage, last_id(&stage), Activity::Held).await;
    // The victim's answer has begun and goes on: it stays where it is.
    let thread_id = its.thread_id;
    let answering = tokio::spawn(async move {
        let payloads = result(&[], false, 3);
        for payload in &payloads[..3] {
            its.say(payload).await;
        }
        loop {
            its.say(&row(b"0")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    victim.packet().await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    let m2 = tokio::spawn(async move { m2.expect_query("SELECT 1").await });
    let mut short = stage.accept(0).await;
    let width = id.to_string().len();
    short.expect_query(&format!("KILL QUERY {thread_id:<width$}")).await;
    short.say(&ok(AUTOCOMMIT)).await;
    issuer.expect_ok().await;
    short.await_release().await;
    issuer.query("SELECT 1").await;
    within("the next statement", m2).await.expect("it came");
    answering.abort();
}

#[tokio::test]
async fn a_statement_that_is_held_ends_without_a_server() {
    for (kill, lives) in [("KILL QUERY", true), ("KILL", false)] {
        let mut stage = Stage::new().await;
        let (mut victim, its, id) = session(&mut stage, 0).await;
        its.close().await;
        stage.hold("m1 is gone");
        victim.query("INSERT INTO t VALUES (1)").await;
        await_activity(&stage, id, Activity::Held).await;
        // A new connection, as a command line makes it for Ctrl-C: somebody who logged in the same
        // way is in, so that no master need be asked.
        let (stream, _) = stage.dial().await;
        let mut issuer = RawClient::log_in(stream, CLIENT).await;
        issuer.query(&format!("{kill} {id}")).await;
        issuer.expect_ok().await;
        if !lives {
            victim.expect_close().await;
            continue;
        }
        assert_eq!(victim.expect_error(INTERRUPTED).await, "Query execution was interrupted");
        victim.query("SELECT 1").await;
        await_activity(&stage, id, Activity::Held).await;
        assert!(victim.has_heard_nothing(), "the KILL was for the statement before");
        stage.activate(1);
        let mut m2 = stage.accept(1).await;
        m2.expect_query("SELECT 1").await;
    }
}

#[tokio::test]
async fn whoever_is_let_in_without_a_master_waits_with_everything_else() {
    let mut stage = Stage::new().await;
    let (_other, its, _) = session(&mut stage, 0).await;
    its.close().await;
    stage.hold("m1 is gone");
    let (stream, _) = stage.dial().await;
    let mut client = RawClient::log_in(stream, CLIENT).await;
    client.query("SELECT 1").await;
    await_activity(&stage, last_id(&stage), Activity::Held).await;
    stage.activate(1);
    let mut m2 = stage.meet(1).await;
    m2.greet(crate::fake_server::OFFERED).await;
    m2.say(&err(1045, "28000", "Access denied for user 'app'")).await;
    let text = client.expect_error(1927).await;
    assert!(text.contains("Access denied for user 'app'"), "{text}");
    client.expect_close().await;
}

#[tokio::test]
async fn nobody_is_let_in_whom_nobody_vouches_for() {
    let mut stage = Stage::with_hold(Duration::from_millis(50)).await;
    let (one, its, _) = session(&mut stage, 0).await;
    stage.hold("m1 is gone");
    drop((one, its));
    within("the end of the session", async {
        while !stage.shared.registry.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (stream, _) = stage.dial().await;
    let mut client = RawClient::new(stream);
    client.answer_greeting(CLIENT, "app", |_| Vec::new()).await;
    client.expect_error(1927).await;
}

#[tokio::test]
async fn another_user_may_not_end_what_no_server_knows() {
    let mut stage = Stage::new().await;
    let (_idle, its, id) = session(&mut stage, 0).await;
    let (stream, _) = stage.dial().await;
    let mut other = RawClient::new(stream);
    let (_, mut server) =
        tokio::join!(other.answer_greeting(CLIENT, "other", |_| Vec::new()), stage.accept(0));
    other.expect_ok().await;
    its.close().await;
    within("the idle session has noticed", async {
        while stage.shared.registry.get(id).expect("a session").server().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    other.query(&format!("KILL {id}")).await;
    let payload = other.packet().await;
    let error = ErrorPacket::parse(&payload).expect("an error");
    assert_eq!(error.code, 1095, "{}", error.message);
    other.query("SELECT 1").await;
    server.expect(&query("SELECT 1")).await;
}
