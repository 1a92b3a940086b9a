//! A master goes, or refuses, while it has a command.

use std::time::Duration;

use tandem::topology::Source;

use crate::fake_server::packets::{
    self, AUTOCOMMIT, IN_TRANSACTION, MORE_RESULTS, eof, err, ok, read_only, result,
};
use crate::fake_server::{CLIENT, FakeConnection, RawClient, Stage};

const ROLLED_BACK: u16 = 1213;
const LOST: u16 = 1927;

/// How a master goes.
#[derive(Clone, Copy, Debug)]
enum Going {
    Closed,
    Reset,
    Replaced,
}

const WAYS: [Going; 3] = [Going::Closed, Going::Reset, Going::Replaced];

/// Lets m1 go in this way, and makes m2 active.
async fn fail_over(stage: &Stage, m1: FakeConnection, way: Going) -> Option<FakeConnection> {
    let kept = match way {
        Going::Closed => {
            m1.close().await;
            None
        }
        Going::Reset => {
            m1.reset();
            None
        }
        Going::Replaced => Some(m1),
    };
    stage.activate(1);
    kept
}

async fn begin(client: &mut RawClient, m1: &mut FakeConnection) {
    client.query("BEGIN").await;
    m1.expect_query("BEGIN").await;
    m1.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn a_read_without_an_answer_runs_on_the_new_active() {
    for way in WAYS {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.query("SELECT 1").await;
        m1.expect_query("SELECT 1").await;
        let _kept = fail_over(&stage, m1, way).await;
        let mut m2 = stage.accept(1).await;
        m2.expect_query("SELECT 1").await;
        m2.answer(&result(&["x"], false, AUTOCOMMIT)).await;
        for payload in result(&["x"], false, AUTOCOMMIT) {
            client.expect(&payload).await;
        }
    }
}

#[tokio::test]
async fn a_read_whose_answer_has_begun_but_not_reached_the_client_runs_again() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    m1.send(&[1, 0, 0]).await; // not even a whole header
    let _kept = fail_over(&stage, m1, Going::Closed).await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SELECT 1").await;
    m2.answer(&[ok(AUTOCOMMIT)]).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_never_sent_again() {
    for sql in ["INSERT INTO t VALUES (1)", "CALL p()", "CREATE TABLE t (a INT)", "DO f()"] {
        for way in WAYS {
            let mut stage = Stage::new().await;
            let (mut client, mut m1) = stage.session().await;
            client.query(sql).await;
            m1.expect_query(sql).await;
            let _kept = fail_over(&stage, m1, way).await;
            let text = client.expect_error(LOST).await;
            assert!(text.starts_with("Outcome unknown: m1"), "{text}");
            client.expect_close().await;
            assert!(stage.is_unvisited(1));
        }
    }
}

/// A frozen master: its clients have waited as long as the probes have, and are told at once. The
/// clock is the test's, so that this counts ticks and not seconds.
#[tokio::test]
async fn a_write_to_a_master_that_was_silent_is_given_up_with_the_table() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("INSERT INTO t VALUES (1)").await;
    m1.expect_query("INSERT INTO t VALUES (1)").await;
    tokio::time::pause();
    let report = stage.observations.recv().await.expect("a report of the silence");
    assert_eq!(report.source, Source::Session);
    tokio::time::advance(Duration::from_millis(500)).await; // five more ticks
    let replaced = tokio::time::Instant::now();
    stage.activate(1);
    let text = client.expect_error(LOST).await;
    assert!(text.starts_with("Outcome unknown: m1"), "{text}");
    let waited = replaced.elapsed();
    assert!(waited < Duration::from_secs(1), "waited another {waited:?} for a silent master");
}

#[tokio::test]
async fn inside_a_transaction_everything_but_a_commit_was_rolled_back() {
    for sql in ["SELECT 1", "INSERT INTO t VALUES (1)", "SAVEPOINT a"] {
        for way in WAYS {
            let mut stage = Stage::new().await;
            let (mut client, mut m1) = stage.session().await;
            begin(&mut client, &mut m1).await;
            client.query(sql).await;
            m1.expect_query(sql).await;
            let _kept = fail_over(&stage, m1, way).await;
            let text = client.expect_error(ROLLED_BACK).await;
            assert!(text.contains("failover from m1"), "{text}");
            // The session lives, outside of a transaction.
            client.query("INSERT INTO t VALUES (2)").await;
            let mut m2 = stage.accept(1).await;
            m2.expect_query("INSERT INTO t VALUES (2)").await;
            m2.say(&ok(AUTOCOMMIT)).await;
            client.expect_ok().await;
        }
    }
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unknown() {
    for sql in ["COMMIT", "ALTER TABLE t ADD b INT", "INSERT INTO t VALUES (1); COMMIT", "BEGIN"] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        begin(&mut client, &mut m1).await;
        client.query(sql).await;
        m1.expect_query(sql).await;
        let _kept = fail_over(&stage, m1, Going::Reset).await;
        client.expect_error(LOST).await;
        client.expect_close().await;
    }
}

#[tokio::test]
async fn a_rollback_without_an_answer_is_done() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    begin(&mut client, &mut m1).await;
    client.query("ROLLBACK").await;
    m1.expect_query("ROLLBACK").await;
    let _kept = fail_over(&stage, m1, Going::Reset).await;
    assert_eq!(client.expect_ok().await.0, AUTOCOMMIT);
}

#[tokio::test]
async fn a_result_that_breaks_off_between_packets_ends_with_an_error() {
    for way in WAYS {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.query("SELECT a FROM t").await;
        m1.expect_query("SELECT a FROM t").await;
        let whole = result(&["x", "y"], false, AUTOCOMMIT);
        m1.answer(&whole[..4]).await;
        for payload in &whole[..4] {
            client.expect(payload).await;
        }
        let _kept = fail_over(&stage, m1, way).await;
        client.expect_error(LOST).await;
        // The session lives.
        client.query("SELECT 2").await;
        let mut m2 = stage.accept(1).await;
        m2.expect_query("SELECT 2").await;
        m2.answer(&[ok(AUTOCOMMIT)]).await;
        client.expect_ok().await;
    }
}

#[tokio::test]
async fn a_result_that_breaks_off_inside_a_packet_closes_the_connection() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT a FROM t").await;
    m1.expect_query("SELECT a FROM t").await;
    let whole = result(&["x"], false, AUTOCOMMIT);
    m1.answer(&whole[..3]).await;
    m1.say_half(4, &packets::row(&[b'z'; 100])).await;
    for payload in &whole[..3] {
        client.expect(payload).await;
    }
    client.bytes(4 + 50).await;
    let _kept = fail_over(&stage, m1, Going::Closed).await;
    client.expect_close().await;
}

#[tokio::test]
async fn part_of_a_packet_that_must_be_whole_is_not_passed_on() {
    // The half EOF stays with the proxy, so that the client is at a boundary.
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT a FROM t").await;
    m1.expect_query("SELECT a FROM t").await;
    let whole = result(&["x"], false, AUTOCOMMIT);
    m1.answer(&whole[..4]).await;
    m1.say_half(5, &eof(AUTOCOMMIT)).await;
    for payload in &whole[..4] {
        client.expect(payload).await;
    }
    let _kept = fail_over(&stage, m1, Going::Closed).await;
    client.expect_error(LOST).await;
}

#[tokio::test]
async fn a_result_that_breaks_off_inside_a_transaction_says_that_it_was_rolled_back() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    begin(&mut client, &mut m1).await;
    client.query("SELECT a FROM t").await;
    m1.expect_query("SELECT a FROM t").await;
    let whole = result(&["x"], false, AUTOCOMMIT | IN_TRANSACTION);
    m1.answer(&whole[..4]).await;
    for payload in &whole[..4] {
        client.expect(payload).await;
    }
    let _kept = fail_over(&stage, m1, Going::Closed).await;
    client.expect_error(ROLLED_BACK).await;
}

#[tokio::test]
async fn what_was_written_before_an_answer_broke_off_is_unknown() {
    // The first of two writes is acknowledged; nobody knows about the second. The same with a
    // COMMIT as the second, where "rolled back" would be a lie.
    for (inside, sql) in [
        (false, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)"),
        (false, "CALL p()"),
        (true, "INSERT INTO t VALUES (1); COMMIT"),
    ] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        if inside {
            begin(&mut client, &mut m1).await;
        }
        client.query(sql).await;
        m1.expect_query(sql).await;
        m1.answer(&[ok(AUTOCOMMIT | MORE_RESULTS)]).await;
        client.expect_ok().await;
        let _kept = fail_over(&stage, m1, Going::Closed).await;
        let text = client.expect_error(LOST).await;
        assert!(text.starts_with("Outcome unknown"), "{sql}: {text}");
        client.expect_close().await;
    }
}

#[tokio::test]
async fn a_broken_off_result_does_not_hide_what_else_was_lost() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("CREATE TEMPORARY TABLE x (a INT)").await;
    m1.expect_query("CREATE TEMPORARY TABLE x (a INT)").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    client.query("SELECT a FROM t").await;
    m1.expect_query("SELECT a FROM t").await;
    let whole = result(&["x"], false, AUTOCOMMIT);
    m1.answer(&whole[..4]).await;
    for payload in &whole[..4] {
        client.expect(payload).await;
    }
    let _kept = fail_over(&stage, m1, Going::Closed).await;
    let text = client.expect_error(LOST).await;
    assert!(text.contains("temporary tables"), "{text}");
    client.expect_close().await;
}

#[tokio::test]
async fn a_fenced_write_runs_on_the_new_active_and_nobody_notices() {
    let read_only_mode = err(1836, "HY000", "Running in read-only mode");
    for refusal in [read_only(), read_only_mode] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.query("INSERT INTO t VALUES (1)").await;
        m1.expect_query("INSERT INTO t VALUES (1)").await;
        m1.say(&refusal).await;
        stage.hold("switching over");
        stage.activate(1);
        let mut m2 = stage.accept(1).await;
        m2.expect_query("INSERT INTO t VALUES (1)").await;
        m2.say(&ok(AUTOCOMMIT)).await;
        client.expect_ok().await;
        m1.await_release().await;
    }
}

#[tokio::test]
async fn what_a_fenced_write_does_on_the_new_active_counts() {
    // With autocommit off it opens a transaction there, which is lost with that master.
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("INSERT INTO t VALUES (1)").await;
    m1.expect_query("INSERT INTO t VALUES (1)").await;
    m1.say(&read_only()).await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    m2.expect_query("INSERT INTO t VALUES (1)").await;
    m2.say(&ok(IN_TRANSACTION)).await;
    client.expect_ok().await;
    m2.close().await;
    stage.activate(0);
    client.query("COMMIT").await;
    client.expect_error(ROLLED_BACK).await;
}

#[tokio::test]
async fn a_transaction_on_a_fenced_master_was_rolled_back() {
    // 1792 counts as a fence only where the master is not the active one.
    let own = err(1792, "25006", "Cannot execute statement in a READ ONLY transaction");
    for (refusal, sql, held) in [
        (read_only(), "INSERT INTO t VALUES (1)", false),
        (read_only(), "COMMIT", false),
        (own, "INSERT INTO t VALUES (1)", true),
    ] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        begin(&mut client, &mut m1).await;
        client.query(sql).await;
        m1.expect_query(sql).await;
        if held {
            stage.hold("switching over");
        }
        m1.say(&refusal).await;
        client.expect_error(ROLLED_BACK).await;
        m1.await_release().await;
        stage.activate(1);
        client.query("SELECT 1").await;
        let mut m2 = stage.accept(1).await;
        m2.expect_query("SELECT 1").await;
        m2.say(&ok(AUTOCOMMIT)).await;
        client.expect_ok().await;
    }
}

#[tokio::test]
async fn errors_that_are_no_fence_reach_the_client() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    for refusal in [
        err(1792, "25006", "Cannot execute statement in a READ ONLY transaction"),
        err(1290, "HY000", "The server is running with the --secure-file-priv option"),
        err(1062, "23000", "Duplicate entry"),
    ] {
        client.query("INSERT INTO t VALUES (1)").await;
        m1.expect_query("INSERT INTO t VALUES (1)").await;
        m1.say(&refusal).await;
        client.expect(&refusal).await;
    }
}

#[tokio::test]
async fn a_fence_that_nobody_lifts_is_reported_in_the_servers_words() {
    let mut stage = Stage::with_hold(Duration::from_millis(50)).await;
    let (mut client, mut m1) = stage.session().await;
    client.query("INSERT INTO t VALUES (1)").await;
    m1.expect_query("INSERT INTO t VALUES (1)").await;
    m1.say(&read_only()).await;
    client.expect(&read_only()).await;
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn a_read_that_a_server_answers_by_closing_is_not_run_there_again() {
    // KILL: the same server, with a later connection.
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    m1.close().await;
    let _again = stage.accept(0).await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_read_runs_again_on_a_server_that_restarted() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    m1.reset();
    stage.restart_numbering();
    let mut again = stage.accept(0).await;
    again.expect_query("SELECT 1").await;
    again.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn what_is_pipelined_behind_a_lost_transaction_is_lost_with_it() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    begin(&mut client, &mut m1).await;
    let pipelined = ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)", "COMMIT", "BEGIN"];
    client.pipeline(&pipelined.map(packets::query)).await;
    m1.expect_query(pipelined[0]).await;
    let _kept = fail_over(&stage, m1, Going::Reset).await;
    for _ in 0..3 {
        client.next_answer();
        client.expect_error(ROLLED_BACK).await;
    }
    let mut m2 = stage.accept(1).await;
    m2.expect_query("BEGIN").await;
    m2.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
    client.next_answer();
    client.expect_ok().await;
    // What comes after the client has read its answers is a statement like any other.
    client.query("INSERT INTO t VALUES (3)").await;
    m2.expect_query("INSERT INTO t VALUES (3)").await;
}

#[tokio::test]
async fn a_transaction_that_a_failed_batch_opened_is_open() {
    // The ERR that ends it carries no status; the OK before it does.
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("BEGIN; SELECT nonsense").await;
    m1.expect_query("BEGIN; SELECT nonsense").await;
    let unknown = err(1054, "42S22", "Unknown column 'nonsense'");
    m1.answer(&[ok(IN_TRANSACTION | AUTOCOMMIT | MORE_RESULTS), unknown.clone()]).await;
    client.expect_ok().await;
    client.expect(&unknown).await;
    client.query("COMMIT").await;
    m1.expect_query("COMMIT").await;
    let _kept = fail_over(&stage, m1, Going::Reset).await;
    client.expect_error(LOST).await;
}

#[tokio::test]
async fn a_transaction_that_was_lost_does_not_come_back_by_a_command_without_status() {
    // COM_STMT_PREPARE is answered without status flags. If those of the lost transaction came back
    // with it, the write behind it would be reported as rolled back, and be run twice.
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    begin(&mut client, &mut m1).await;
    client.query("SELECT 1").await;
    m1.expect_query("SELECT 1").await;
    let _kept = fail_over(&stage, m1, Going::Reset).await;
    client.expect_error(ROLLED_BACK).await;
    client.command(&packets::prepare("INSERT INTO t VALUES (?)")).await;
    let mut m2 = stage.accept(1).await;
    m2.expect(&packets::prepare("INSERT INTO t VALUES (?)")).await;
    m2.answer(&packets::prepared(1, 1)).await;
    for payload in packets::prepared(1, 1) {
        client.expect(&payload).await;
    }
    client.command(&packets::execute(1, 7, true)).await;
    m2.expect(&packets::execute(1, 7, true)).await;
    m2.reset();
    client.expect_error(LOST).await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_write_that_meets_a_closed_connection_was_not_executed() {
    // Both are there when the session looks: the end of the server and the command.
    let mut stage = Stage::new().await;
    let (mut client, m1) = stage.log_in(CLIENT, 0).await;
    stage.close_door(0);
    let m1 = m1.into_std();
    m1.shutdown(std::net::Shutdown::Both).expect("shut down");
    let mut packet = Vec::new();
    tandem::wire::put_packet(&mut packet, 0, &packets::query("INSERT INTO t VALUES (1)"));
    assert_eq!(client.stream.try_write(&packet).expect("sent"), packet.len());
    client.next_answer();
    // The session acts on them before it hears of another master.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    m2.expect_query("INSERT INTO t VALUES (1)").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}
