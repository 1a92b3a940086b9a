//! Prepared statements across servers, commands without an answer, and what Tandem says by itself.

use std::time::Duration;

use crate::fake_server::packets::{
    AUTOCOMMIT, IN_TRANSACTION, err, execute, numbered, ok, prepare, prepared, query, statement,
};
use crate::fake_server::{FakeConnection, RawClient, Stage};

const LAST: u32 = u32::MAX;

async fn prepare_on(
    client: &mut RawClient,
    server: &mut FakeConnection,
    sql: &str,
    id: u32,
) -> u32 {
    client.command(&prepare(sql)).await;
    server.expect(&prepare(sql)).await;
    server.answer(&prepared(id, 1)).await;
    let first = client.packet().await;
    for payload in &prepared(id, 1)[1..] {
        client.expect(payload).await;
    }
    u32::from_le_bytes(first[1..5].try_into().expect("an id"))
}

async fn run(client: &mut RawClient, server: &mut FakeConnection, sent: &[u8], heard: &[u8]) {
    client.command(sent).await;
    server.expect(heard).await;
    server.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

/// A session that moved from m1 to m2.
async fn moved(stage: &Stage, m1: FakeConnection) {
    m1.close().await;
    stage.activate(1);
}

#[tokio::test]
async fn ids_stay_and_types_are_sent_again() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    let first = prepare_on(&mut client, &mut m1, "SELECT ?", 1).await;
    let second = prepare_on(&mut client, &mut m1, "SELECT ? + 1", 2).await;
    assert_eq!((first, second), (1, 2));
    run(&mut client, &mut m1, &execute(2, 7, true), &execute(2, 7, true)).await;
    moved(&stage, m1).await;

    // On the new server the second statement gets the first one's number.
    client.command(&execute(2, 8, false)).await;
    let mut m2 = stage.accept(1).await;
    m2.expect(&prepare("SELECT ? + 1")).await;
    m2.answer(&prepared(1, 1)).await;
    m2.expect(&execute(1, 8, true)).await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;

    // A new statement collides with the client's own second one, and gets another number.
    let third = prepare_on(&mut client, &mut m2, "SELECT ? + 2", 2).await;
    assert!(third >= 1 << 31);
    run(&mut client, &mut m2, &execute(third, 9, true), &execute(2, 9, true)).await;
    // The statement prepared last, by its alias.
    run(&mut client, &mut m2, &execute(LAST, 9, true), &execute(2, 9, true)).await;

    // The first one was never known here: closing it is nobody's business but ours.
    client.command(&statement(0x19, 1, &[])).await;
    run(&mut client, &mut m2, &[0x0e], &[0x0e]).await;
    client.command(&execute(1, 1, true)).await;
    client.expect_error(1243).await;
    // The second one is known, by its other number.
    client.command(&statement(0x19, 2, &[])).await;
    m2.expect(&statement(0x19, 1, &[])).await;
}

#[tokio::test]
async fn the_last_statement_is_none_after_a_refusal() {
    // MariaDB's connector pipelines a preparation and an execution of "the last one".
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    prepare_on(&mut client, &mut m1, "DELETE FROM t WHERE a = ?", 1).await;
    let syntax = err(1064, "42000", "You have an error");
    client.pipeline(&[prepare("SELCT ?"), execute(LAST, 1, true)]).await;
    m1.expect(&prepare("SELCT ?")).await;
    m1.say(&syntax).await;
    client.expect(&syntax).await;
    // Before the first move the server itself says what it knows.
    m1.expect(&execute(LAST, 1, true)).await;
    m1.say(&err(1243, "HY000", "Unknown prepared statement handler")).await;
    client.next_answer();
    client.expect_error(1243).await;
    moved(&stage, m1).await;
    client.command(&execute(LAST, 1, true)).await;
    // On another server an id may be another statement's: there Tandem says it.
    let mut m2 = stage.accept(1).await;
    tokio::select! {
        command = m2.command() => panic!("m2 heard {}", command.escape_ascii()),
        _ = client.expect_error(1243) => {}
    }
}

#[tokio::test]
async fn a_statement_that_the_new_server_refuses_ends_the_session_with_its_words() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    prepare_on(&mut client, &mut m1, "SELECT ?", 1).await;
    moved(&stage, m1).await;
    client.command(&execute(1, 8, true)).await;
    let mut m2 = stage.accept(1).await;
    m2.expect(&prepare("SELECT ?")).await;
    m2.say(&err(1146, "42S02", "Table 't' doesn't exist")).await;
    client.expect_error(1146).await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_write_whose_preparation_broke_off_was_not_executed() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    prepare_on(&mut client, &mut m1, "INSERT INTO t VALUES (?)", 1).await;
    moved(&stage, m1).await;
    client.command(&execute(1, 8, true)).await;
    let mut m2 = stage.accept(1).await;
    m2.expect(&prepare("INSERT INTO t VALUES (?)")).await;
    m2.close().await;
    stage.activate(0);
    let mut m1 = stage.accept(0).await;
    m1.expect(&prepare("INSERT INTO t VALUES (?)")).await;
    m1.answer(&prepared(5, 1)).await;
    m1.expect(&execute(5, 8, true)).await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn a_long_execution_is_translated_however_its_first_bytes_come() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    let id = prepare_on(&mut client, &mut m1, "INSERT INTO t VALUES (?)", 1).await;
    run(&mut client, &mut m1, &execute(id, 7, true), &execute(id, 7, true)).await;
    moved(&stage, m1).await;
    let mut long = execute(id, 8, false);
    long.resize(2 << 20, b'x');
    let bytes = numbered(0, &[long.clone()]);
    client.raw(&bytes[..6]).await; // the command, and one byte of the id
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    client.next_answer();
    let mut m2 = {
        let sending = client.raw(&bytes[6..]);
        let serving = async {
            let mut m2 = stage.accept(1).await;
            m2.expect(&prepare("INSERT INTO t VALUES (?)")).await;
            m2.answer(&prepared(9, 1)).await;
            let mut expected = execute(9, 8, true);
            expected.resize(long.len() + 2, b'x');
            let expected = numbered(0, &[expected]);
            assert!(m2.raw(expected.len()).await == expected, "another execution");
            m2
        };
        tokio::join!(sending, serving).1
    };
    m2.send(&numbered(1, &[ok(AUTOCOMMIT)])).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn long_data_binds_a_session_until_it_is_executed() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    prepare_on(&mut client, &mut m1, "SELECT ?", 1).await;
    let data = statement(0x18, 1, b"\0\0some");
    client.command(&data).await;
    m1.expect(&data).await;
    moved(&stage, m1).await;
    client.expect_close().await;
}

#[tokio::test]
async fn commands_without_an_answer_get_none_when_nobody_is_active() {
    let mut stage = Stage::with_hold(Duration::from_millis(50)).await;
    let (mut client, mut m1) = stage.session().await;
    prepare_on(&mut client, &mut m1, "SELECT ?", 1).await;
    stage.hold("nobody");
    client.command(&statement(0x19, 1, &[])).await;
    client.query("SELECT 1").await;
    let text = client.expect_error(1927).await;
    assert!(text.contains("nobody"), "{text}");
    // Data that no server will have must not be missing from an execution: that is an end.
    stage.activate(0);
    let id = {
        client.command(&prepare("SELECT ?")).await;
        m1.expect(&prepare("SELECT ?")).await;
        m1.answer(&prepared(2, 1)).await;
        for payload in prepared(2, 1) {
            client.expect(&payload).await;
        }
        2
    };
    stage.hold("nobody");
    client.command(&statement(0x18, id, b"\0\0some")).await;
    client.expect_close().await;
}

#[tokio::test]
async fn the_wish_for_tracking_goes_before_the_first_command_and_after_each_reset() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    // A command without an answer is the first; the wish and it are answered with the second.
    client.command(&statement(0x19, 77, &[])).await;
    m1.expect(&statement(0x19, 77, &[])).await;
    run(&mut client, &mut m1, &query("SELECT 1"), &query("SELECT 1")).await;
    assert_eq!(m1.tracked, 1);
    run(&mut client, &mut m1, &[0x1f], &[0x1f]).await;
    assert_eq!(m1.tracked, 1);
    run(&mut client, &mut m1, &query("SELECT 2"), &query("SELECT 2")).await;
    assert_eq!(m1.tracked, 2);
}

#[tokio::test]
async fn a_refused_wish_makes_the_session_immovable_but_harms_no_answer() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT 1").await;
    let wish = m1.packet().await;
    assert!(wish.starts_with(b"\x03SET SESSION"));
    m1.say(&err(1193, "HY000", "Unknown system variable")).await;
    m1.expect_query("SELECT 1").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    moved(&stage, m1).await;
    client.expect_close().await;
}

#[tokio::test]
async fn an_empty_packet_is_a_command_whatever_follows_it() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    let unknown = err(1047, "08S01", "Unknown command");
    // The length of the next packet stands where a command would.
    client.pipeline(&[vec![], b"\x03ab".to_vec()]).await;
    m1.expect(&[]).await;
    m1.say(&unknown).await;
    client.expect(&unknown).await;
    m1.expect(b"\x03ab").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.next_answer();
    client.expect_ok().await;
}

#[tokio::test]
async fn commands_that_are_not_carried_are_refused_at_any_length() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    for len in [20, 2 << 20] {
        let mut clone = vec![0x20];
        clone.resize(len, b'x');
        client.command(&clone).await;
        client.expect_error(1235).await;
    }
    run(&mut client, &mut m1, &[0x0e], &[0x0e]).await;
    let mut change = vec![0x11];
    change.resize(2 << 20, b'x');
    let mut packet = Vec::new();
    tandem::wire::put_packet(&mut packet, 0, &change);
    use tokio::io::AsyncWriteExt as _;
    let _ = client.stream.write_all(&packet).await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_long_batch_may_have_ended_with_a_commit() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    run(&mut client, &mut m1, &[0x0e], &[0x0e]).await;
    client.query("BEGIN").await;
    m1.expect_query("BEGIN").await;
    m1.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
    client.expect_ok().await;
    let mut batch = query("INSERT INTO t VALUES ('");
    batch.resize(2 << 20, b'x');
    batch.extend_from_slice(b"'); COMMIT");
    let bytes = numbered(0, &[batch]);
    client.next_answer();
    let (heard, ()) = tokio::join!(m1.raw(bytes.len()), client.raw(&bytes));
    assert!(heard == bytes);
    m1.reset();
    let text = client.expect_error(1927).await;
    assert!(text.starts_with("Outcome unknown"), "{text}");
}

#[tokio::test]
async fn an_error_behind_a_command_of_several_packets_has_the_number_behind_its_last() {
    let mut stage = Stage::with_hold(Duration::from_millis(20)).await;
    let (mut client, m1) = stage.session().await;
    stage.hold("nobody");
    drop(m1);
    // 0xFFFFFF bytes and an empty packet; the second one has number 1, the error 2.
    let mut insert = query("INSERT INTO t VALUES ('");
    insert.resize(0xff_ffff, b'x');
    client.command(&insert).await;
    client.expect_error(1927).await;
}
