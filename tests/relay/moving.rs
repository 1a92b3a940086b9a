//! Between two statements: tables come and go, masters too.

use std::time::Duration;

use crate::fake_server::packets::{
    AUTOCOMMIT, IN_TRANSACTION, err, ok, ok_tracking, query, result, variable,
};
use crate::fake_server::{CLIENT, Stage};

const LOST: u16 = 1927;

#[tokio::test]
async fn an_idle_session_notices_nothing_and_finds_what_it_left() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SET sort_buffer_size = 300000, @a = 'x'").await;
    m1.expect_query("SET sort_buffer_size = 300000, @a = 'x'").await;
    m1.say(&ok_tracking(0, AUTOCOMMIT, b"", &variable("sort_buffer_size", "300000"))).await;
    client.expect(&ok(AUTOCOMMIT)).await;
    m1.close().await;
    stage.hold("m1 is gone");
    client.query("SELECT 1").await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SET SESSION `sort_buffer_size` = 300000").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    m2.expect_query("SET @a = 'x'").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    m2.expect_query("SELECT 1").await;
    m2.answer(&result(&["1"], false, AUTOCOMMIT)).await;
    for payload in result(&["1"], false, AUTOCOMMIT) {
        client.expect(&payload).await;
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_restored_ends_with_the_servers_words() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SET @a = 1").await;
    m1.expect_query("SET @a = 1").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    m1.close().await;
    stage.activate(1);
    client.query("SELECT 1").await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SET @a = 1").await;
    m2.say(&err(1193, "HY000", "Unknown system variable")).await;
    let text = client.expect_error(LOST).await;
    assert!(text.contains("m2: error 1193: Unknown system variable"), "{text}");
    client.expect_close().await;
}

#[tokio::test]
async fn a_master_that_goes_while_the_session_is_restored_is_left_for_the_next() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SET @a = 1").await;
    m1.expect_query("SET @a = 1").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    m1.close().await;
    stage.activate(1);
    client.query("INSERT INTO t VALUES (1)").await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SET @a = 1").await;
    m2.close().await;
    stage.activate(0);
    let mut m1 = stage.accept(0).await;
    m1.expect_query("SET @a = 1").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    m1.expect_query("INSERT INTO t VALUES (1)").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn a_refused_login_on_the_new_active_is_named() {
    let mut stage = Stage::new().await;
    let (mut client, m1) = stage.session().await;
    m1.close().await;
    stage.activate(1);
    client.query("SELECT 1").await;
    let mut m2 = stage.meet(1).await;
    m2.greet(crate::fake_server::OFFERED).await;
    m2.say(&err(1045, "28000", "Access denied for user 'app'")).await;
    let text = client.expect_error(LOST).await;
    assert!(text.contains("Access denied for user 'app'"), "{text}");
    client.expect_close().await;
}

#[tokio::test]
async fn a_new_active_without_room_is_asked_again() {
    let mut stage = Stage::new().await;
    let (mut client, m1) = stage.session().await;
    m1.close().await;
    stage.activate(1);
    client.query("SELECT 1").await;
    let mut full = stage.meet(1).await;
    full.say(b"\xff\x10\x04Too many connections").await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SELECT 1").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn nobody_active_for_too_long_is_an_error_that_names_the_cause_and_the_session_lives() {
    let mut stage = Stage::with_hold(Duration::from_millis(50)).await;
    let (mut client, m1) = stage.session().await;
    m1.close().await;
    let cause = "m1 refused connections since 12:01:03, m2's applier stopped with error 1062";
    stage.hold(cause);
    client.query("SELECT 1").await;
    let text = client.expect_error(LOST).await;
    assert!(text.contains(cause), "{text}");
    stage.activate(1);
    client.query("SELECT 2").await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SELECT 2").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn an_open_transaction_goes_on_while_new_ones_wait() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    let (mut waiting, mut other) = stage.session().await;
    client.query("BEGIN").await;
    m1.expect_query("BEGIN").await;
    m1.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
    client.expect_ok().await;
    stage.hold("switching over");
    waiting.query("SELECT 1").await;
    for (sql, status) in [("INSERT INTO t VALUES (1)", 3), ("COMMIT", 2)] {
        client.query(sql).await;
        m1.expect_query(sql).await;
        m1.say(&ok(status)).await;
        client.expect_ok().await;
    }
    client.query("SELECT 2").await;
    assert!(waiting.has_heard_nothing() && client.has_heard_nothing());
    stage.activate(1);
    for client in [&mut waiting, &mut client] {
        let mut m2 = stage.accept(1).await;
        let sql = m2.command().await;
        m2.answer(&result(&["x"], false, AUTOCOMMIT)).await;
        assert!(sql == query("SELECT 1") || sql == query("SELECT 2"));
        client.packet().await;
    }
    m1.await_release().await;
    other.await_release().await;
}

#[tokio::test]
async fn a_transaction_that_went_while_idle_is_told_with_the_next_statement() {
    for (sql, executed, answered) in [
        ("INSERT INTO t VALUES (1)", false, Some(1213)),
        ("COMMIT", false, Some(1213)),
        ("SELECT 1", false, Some(1213)),
        ("ROLLBACK", false, None),
        ("BEGIN", true, None),
    ] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.query("BEGIN").await;
        m1.expect_query("BEGIN").await;
        m1.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
        client.expect_ok().await;
        m1.close().await;
        stage.activate(1);
        client.query(sql).await;
        if executed {
            let mut m2 = stage.accept(1).await;
            m2.expect_query(sql).await;
            m2.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
        }
        match answered {
            Some(code) => drop(client.expect_error(code).await),
            None => drop(client.expect_ok().await),
        }
        if !executed {
            client.query("SELECT 2").await;
            let mut m2 = stage.accept(1).await;
            m2.expect_query("SELECT 2").await;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_moved_closes_an_idle_session_and_is_named_to_a_waiting_one() {
    for waiting in [false, true] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.query("SELECT GET_LOCK('a', 1)").await;
        m1.expect_query("SELECT GET_LOCK('a', 1)").await;
        m1.say(&ok(AUTOCOMMIT)).await;
        client.expect_ok().await;
        if waiting {
            stage.hold("switching over");
            client.query("SELECT 1").await;
            while stage.shared.registry.list()[0].activity() != tandem::session::Activity::Held {
                tokio::task::yield_now().await;
            }
        }
        stage.activate(1);
        if waiting {
            let text = client.expect_error(LOST).await;
            assert!(text.contains("GET_LOCK"), "{text}");
        }
        client.expect_close().await;
        m1.await_release().await;
    }
}

/// By itself, and in one breath with the answer before.
async fn speak_unasked(together: bool) -> (Stage, crate::fake_server::RawClient, Vec<u8>) {
    let farewell = err(4031, "HY000", "The client was disconnected by the server");
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    let mut bytes = crate::fake_server::packets::numbered(1, &[ok(AUTOCOMMIT)]);
    let unasked = crate::fake_server::packets::numbered(0, std::slice::from_ref(&farewell));
    if together {
        bytes.extend_from_slice(&unasked);
    }
    m1.send(&bytes).await;
    client.expect_ok().await;
    if !together {
        m1.send(&unasked).await;
    }
    (stage, client, unasked)
}

#[tokio::test]
async fn a_server_that_restarted_and_said_so_is_asked_again() {
    for together in [false, true] {
        let (mut stage, mut client, _) = speak_unasked(together).await;
        stage.restart_numbering();
        let mut again = stage.accept_after(&mut client, "INSERT INTO t VALUES (1)").await;
        again.expect_query("INSERT INTO t VALUES (1)").await;
        again.say(&ok(AUTOCOMMIT)).await;
        client.expect_ok().await;
    }
}

#[tokio::test]
async fn a_session_that_its_server_ended_ends_with_the_servers_words() {
    for (together, waits) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut stage, mut client, words) = speak_unasked(together).await;
        if waits {
            client.query("INSERT INTO t VALUES (1)").await;
        }
        // It is asked within a second, or with the next command.
        let mut again = stage.accept(0).await;
        again.await_release().await;
        assert_eq!(again.asked_uptime, 1);
        assert_eq!(client.bytes(words.len()).await, words);
        client.expect_close().await;
    }
}

#[tokio::test]
async fn a_transaction_whose_session_was_ended_is_not_called_a_failover() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("BEGIN").await;
    m1.expect_query("BEGIN").await;
    m1.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
    client.expect_ok().await;
    m1.close().await;
    client.query("COMMIT").await;
    let mut again = stage.accept(0).await;
    again.await_release().await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_client_that_goes_while_it_is_held_is_gone() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.log_in(CLIENT, 0).await;
    stage.hold("nobody");
    client.query("SELECT 1").await;
    while stage.shared.registry.list()[0].activity() != tandem::session::Activity::Held {
        tokio::task::yield_now().await;
    }
    drop(client);
    m1.await_release().await;
    crate::fake_server::within("the end", async {
        while !stage.shared.registry.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_killed_session_ends_whatever_it_waits_for() {
    for held in [false, true] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.query("SELECT 1").await;
        m1.expect_query("SELECT 1").await;
        if held {
            m1.say(&ok(AUTOCOMMIT)).await;
            client.expect_ok().await;
            stage.hold("nobody");
            client.query("SELECT 2").await;
        }
        stage.shared.registry.list()[0].kill();
        client.expect_close().await;
        m1.await_release().await;
    }
}
