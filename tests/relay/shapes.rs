//! Shapes of commands that few clients use, and what session tracking shows to whom.

use tandem::wire::Capabilities;

use crate::fake_server::packets::{
    AUTOCOMMIT, SOMETHING, eof, err, numbered, ok, ok_tracking, ok_with_info, prepare, prepared,
    query, row, statement, variable,
};
use crate::fake_server::{CLIENT, FakeConnection, OFFERED, RawClient, Stage};

const TRACKING: Capabilities = Capabilities(CLIENT.0 | Capabilities::SESSION_TRACK.0);

/// A client that wants to be told of its session, before a server with the usual settings.
async fn tracked(stage: &mut Stage) -> (RawClient, FakeConnection) {
    let (client, mut m1) = stage.log_in(TRACKING, 0).await;
    m1.tracking = ("autocommit, time_zone", false);
    (client, m1)
}

#[tokio::test]
async fn a_client_hears_of_its_session_what_its_server_would_tell_it() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = tracked(&mut stage).await;
    let schema = b"\x01\x05\x04shop";
    for (told, heard) in [
        (
            [
                &variable("time_zone", "+1")[..],
                &variable("sql_mode", ""),
                &variable("autocommit", "1"),
            ]
            .concat(),
            [&variable("time_zone", "+1")[..], &variable("autocommit", "1")].concat(),
        ),
        ([&schema[..], SOMETHING].concat(), schema.to_vec()),
        (b"\x05\x09\x08T_______".to_vec(), b"\x05\x09\x08T_______".to_vec()),
    ] {
        client.query("SET x = 1").await;
        m1.expect_query("SET x = 1").await;
        m1.say(&ok_tracking(0, AUTOCOMMIT, b"", &told)).await;
        client.expect(&ok_tracking(0, AUTOCOMMIT, b"", &heard)).await;
    }
    client.query("SET @a = 1").await;
    m1.expect_query("SET @a = 1").await;
    m1.say(&ok_tracking(0, AUTOCOMMIT, b"hi", SOMETHING)).await;
    client.expect(&ok_with_info(0, AUTOCOMMIT, b"hi")).await;
    // It is the same on another server, which is not asked again.
    m1.close().await;
    stage.activate(1);
    client.query("SET sql_mode = ''").await;
    let mut m2 = stage.accept(1).await;
    let restored = m2.packet().await;
    let restored = String::from_utf8_lossy(&restored);
    assert!(restored.contains("`time_zone` = '+1'"), "{restored}");
}

#[tokio::test]
async fn a_statement_that_names_tracking_runs_under_the_clients_settings() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = tracked(&mut stage).await;
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;

    let sql = "SET session_track_system_variables = 'sql_mode', @@sql_mode = 'ANSI'";
    client.query(sql).await;
    let back = "SET SESSION session_track_system_variables = 'autocommit, time_zone', \
                session_track_state_change = OFF, session_track_schema = ON \
                /*!50706 , session_track_gtids = OFF */";
    assert_eq!(m1.packet().await, query(back));
    m1.say(&ok(AUTOCOMMIT)).await;
    m1.expect_query(sql).await;
    let told = ok_tracking(0, AUTOCOMMIT, b"", &variable("sql_mode", "ANSI"));
    m1.say(&told).await;
    client.expect(&told).await;

    client.query("SELECT 2").await;
    let question = m1.packet().await;
    assert!(question.ends_with(b", @@SESSION.`sql_mode`"), "{}", question.escape_ascii());
    m1.tracking = ("sql_mode", false);
    m1.tell_tracking(b"\x04ANSI").await;
    m1.expect_query("SELECT 2").await;
    m1.say(&ok_tracking(0, AUTOCOMMIT, b"", &variable("autocommit", "0"))).await;
    client.expect(&ok(AUTOCOMMIT)).await;
    assert_eq!(m1.tracked, 2, "once at first, and again");

    // What the statement set besides is known: it is set on another server.
    m1.close().await;
    stage.activate(1);
    client.query("SELECT 3").await;
    let mut m2 = stage.accept(1).await;
    let restored = m2.packet().await;
    let restored = String::from_utf8_lossy(&restored);
    assert!(restored.contains("`sql_mode` = 'ANSI'"), "{restored}");
}

#[tokio::test]
async fn a_statement_that_names_tracking_comes_first_or_fails() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = tracked(&mut stage).await;
    // The client's settings are still in force: nothing goes before it.
    client.query("SET session_track_schema = 7").await;
    assert_eq!(m1.packet().await, query("SET session_track_schema = 7"));
    let refusal = err(1231, "42000", "Variable can't be set to the value of '7'");
    m1.say(&refusal).await;
    client.expect(&refusal).await;
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    assert_eq!(m1.tracked, 1);
}

#[tokio::test]
async fn the_binary_log_and_its_acknowledgements_pass_both_ways() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    let register = b"\x15\x63\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    client.command(register).await;
    m1.expect(register).await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    let dump = b"\x12\x04\0\0\0\0\0\x63\0\0\0binlog.000001";
    client.command(dump).await;
    m1.expect(dump).await;
    // Events of any kind; an end or an error would be followed by the end of the connection.
    for round in 1..=3_u8 {
        let events = numbered(round, &[b"\0\xef\x01event".to_vec(), vec![0xff; 70_000]]);
        m1.send(&events).await;
        assert!(client.bytes(events.len()).await == events);
        let acknowledgement = numbered(0, &[b"\xef\x04\0\0\0\0\0\0\0binlog.000001".to_vec()]);
        client.raw(&acknowledgement).await;
        assert_eq!(m1.raw(acknowledgement.len()).await, acknowledgement);
    }
    stage.hold("nobody");
    let event = numbered(9, &[b"\0event".to_vec()]);
    m1.send(&event).await;
    assert_eq!(client.bytes(event.len()).await, event);
    stage.activate(1);
    client.expect_close().await;
}

#[tokio::test]
async fn a_dump_ends_with_its_master() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.command(b"\x1e\0\0").await;
    m1.expect(b"\x1e\0\0").await;
    let refusal = numbered(1, &[err(1236, "HY000", "Could not find first log file name")]);
    m1.send(&refusal).await;
    m1.close().await;
    assert_eq!(client.bytes(refusal.len()).await, refusal);
    client.expect_close().await;
}

const WITH_ATTRIBUTES: Capabilities =
    Capabilities((OFFERED.0 & 0xffff_ffff) | 1 | Capabilities::QUERY_ATTRIBUTES.0);

/// COM_QUERY with the attribute `a` = `b`.
fn attributed(sql: &str) -> Vec<u8> {
    [b"\x03\x01\x01\x00\x01\xfe\x00\x01a\x01b", sql.as_bytes()].concat()
}

#[tokio::test]
async fn a_statement_is_found_behind_its_attributes() {
    let mut stage = Stage::offering(WITH_ATTRIBUTES).await;
    let capabilities = CLIENT | Capabilities::QUERY_ATTRIBUTES;
    let (mut client, mut m1) = stage.log_in(capabilities, 0).await;
    client.command(&attributed("SET @a = 'x'")).await;
    m1.expect(&attributed("SET @a = 'x'")).await;
    assert_eq!(m1.tracked, 1);
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    // A read is run again, and what was set before it is set there, without attributes.
    client.command(&attributed("SELECT @a")).await;
    m1.expect(&attributed("SELECT @a")).await;
    m1.close().await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    m2.expect(b"\x03\x00\x01SET @a = 'x'").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    m2.expect(&attributed("SELECT @a")).await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    // A write is not.
    client.command(&attributed("INSERT INTO t VALUES (1)")).await;
    m2.expect(&attributed("INSERT INTO t VALUES (1)")).await;
    m2.close().await;
    client.expect_error(1927).await;
    client.expect_close().await;
}

#[tokio::test]
async fn attributes_are_not_offered_unless_all_masters_know_them() {
    let mut stage = Stage::new().await;
    let capabilities = CLIENT | Capabilities::QUERY_ATTRIBUTES;
    let (mut client, mut m1) = stage.log_in(capabilities, 0).await;
    let login = m1.login.take().expect("a login");
    assert!(!login.capabilities.has(Capabilities::QUERY_ATTRIBUTES));
    // A client that believes in them all the same is not believed.
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
}

/// Prepares `INSERT ... ?` as statement 1 on m1, and loses m1.
async fn prepared_and_moved(
    stage: &mut Stage,
    capabilities: Capabilities,
    first: Vec<u8>,
) -> RawClient {
    let (mut client, mut m1) = stage.log_in(capabilities, 0).await;
    client.command(&prepare("INSERT INTO t VALUES (?)")).await;
    m1.expect(&prepare("INSERT INTO t VALUES (?)")).await;
    m1.answer(&prepared(1, 1)).await;
    for payload in prepared(1, 1) {
        client.expect(&payload).await;
    }
    client.command(&first).await;
    m1.expect(&first).await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    m1.close().await;
    stage.activate(1);
    client
}

/// What comes second gets an id and types on m2.
async fn becomes(stage: &mut Stage, mut client: RawClient, second: Vec<u8>, expected: Vec<u8>) {
    client.command(&second).await;
    let mut m2 = stage.accept(1).await;
    m2.expect(&prepare("INSERT INTO t VALUES (?)")).await;
    m2.answer(&prepared(9, 1)).await;
    m2.expect(&expected).await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn types_of_executions_with_attributes_are_sent_again() {
    let mut stage = Stage::offering(WITH_ATTRIBUTES).await;
    let capabilities = CLIENT | Capabilities::QUERY_ATTRIBUTES;
    let values = b"\x01x\x02yy";
    let types = b"\xfe\0\0\xfe\0\x04name";
    let first = statement(0x17, 1, &[&b"\x08\x01\0\0\0\x02\0\x01"[..], types, values].concat());
    let client = prepared_and_moved(&mut stage, capabilities, first).await;
    let second = statement(0x17, 1, &[&b"\x08\x01\0\0\0\x02\0\0"[..], values].concat());
    let expected = statement(0x17, 9, &[&b"\x08\x01\0\0\0\x02\0\x01"[..], types, values].concat());
    becomes(&mut stage, client, second, expected).await;
}

#[tokio::test]
async fn types_of_bulk_executions_are_sent_again() {
    let mut stage = Stage::new().await;
    let capabilities =
        Capabilities(CLIENT.0 & !1) | Capabilities::STMT_BULK | Capabilities::CACHE_METADATA;
    let first = statement(0xfa, 1, b"\x80\0\xfe\0\0\x01x\0\x01y");
    let client = prepared_and_moved(&mut stage, capabilities, first).await;
    let second = statement(0xfa, 1, b"\0\0\0\x01z");
    let expected = statement(0xfa, 9, b"\x80\0\xfe\0\0\x01z");
    becomes(&mut stage, client, second, expected).await;
}

#[tokio::test]
async fn reports_of_progress_reach_whoever_asked_for_them() {
    let mut stage = Stage::new().await;
    let capabilities = Capabilities(CLIENT.0 & !1) | Capabilities::PROGRESS;
    let (mut client, mut m1) = stage.log_in(capabilities, 0).await;
    let login = m1.login.take().expect("a login");
    assert!(login.capabilities.has(Capabilities::PROGRESS));
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    let report = b"\xff\xff\xff\x01\x01\x02\x05\x0d\x00\x04copy".to_vec();
    let answer = [
        report.clone(),
        vec![1],
        crate::fake_server::packets::column("a"),
        eof(AUTOCOMMIT),
        report.clone(),
        row(b"x"),
        report,
        eof(AUTOCOMMIT),
    ];
    m1.answer(&answer).await;
    for payload in &answer {
        client.expect(payload).await;
    }
    client.query("SELECT 2").await;
    m1.expect_query("SELECT 2").await;
}
