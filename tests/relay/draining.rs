//! A switchover: who may go on on the master that is left, who waits, and what is told of it.

use std::time::Duration;

use crate::fake_server::packets::{
    self, AUTOCOMMIT, CURSOR_EXISTS, IN_TRANSACTION, MORE_RESULTS, err, ok, prepare, prepared,
    query, read_only, result, statement,
};
use crate::fake_server::{CLIENT, FakeConnection, RawClient, Stage};

const EXECUTING: &str = "is executing a statement";
const TRANSACTION: &str = "is in a transaction";

/// The client says `sql`, m1 answers OK with these flags.
async fn run(client: &mut RawClient, master: &mut FakeConnection, sql: &str, status: u16) {
    client.query(sql).await;
    master.expect_query(sql).await;
    master.say(&ok(status)).await;
    client.expect_ok().await;
}

/// The client's statement waits, then m2 is active and executes it.
async fn moves_to_m2(stage: &mut Stage, client: &mut RawClient, sql: &str) -> FakeConnection {
    client.query(sql).await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    m2.expect_query(sql).await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    m2
}

#[tokio::test]
async fn nothing_open_is_reported_at_once_and_what_comes_waits() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    run(&mut client, &mut m1, "INSERT INTO t VALUES (1)", AUTOCOMMIT).await;
    let generation = stage.drain(0);
    let report = stage.report().await;
    assert_eq!((report.generation, report.open.len()), (generation, 0));
    client.query("INSERT INTO t VALUES (2)").await;
    stage.until_held(1).await;
    stage.activate(1);
    m1.await_release().await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("INSERT INTO t VALUES (2)").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn an_open_transaction_is_finished_and_what_follows_waits() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    let id = stage.shared.registry.list()[0].id;
    run(&mut client, &mut m1, "BEGIN", IN_TRANSACTION | AUTOCOMMIT).await;
    stage.drain(0);
    let report = stage.report().await;
    assert_eq!(report.open.iter().map(|o| (o.id, o.why)).collect::<Vec<_>>(), [(id, TRANSACTION)]);
    run(&mut client, &mut m1, "INSERT INTO t VALUES (1)", IN_TRANSACTION | AUTOCOMMIT).await;
    run(&mut client, &mut m1, "COMMIT", AUTOCOMMIT).await;
    stage.until_open(&[]).await;
    moves_to_m2(&mut stage, &mut client, "BEGIN").await;
    m1.await_release().await;
}

#[tokio::test]
async fn a_transaction_that_stays_is_listed_until_the_drain_is_undone_and_nobody_notices() {
    let mut stage = Stage::new().await;
    let (mut silent, mut m1) = stage.session().await;
    let (mut other, mut m1_too) = stage.session().await;
    run(&mut silent, &mut m1, "BEGIN", IN_TRANSACTION | AUTOCOMMIT).await;
    stage.drain(0);
    assert_eq!(stage.whys().await, [TRANSACTION]);
    other.query("INSERT INTO t VALUES (1)").await;
    stage.until_held(1).await;
    stage.activate(0);
    m1_too.expect_query("INSERT INTO t VALUES (1)").await;
    m1_too.say(&ok(AUTOCOMMIT)).await;
    other.expect_ok().await;
    run(&mut silent, &mut m1, "COMMIT", AUTOCOMMIT).await;
    // And again: the next drain is another one.
    let generation = stage.drain(0);
    let report = stage.report().await;
    assert_eq!((report.generation, report.open.len()), (generation, 0));
}

#[tokio::test]
async fn a_forced_switchover_rolls_back_and_names_what_is_lost() {
    let mut stage = Stage::new().await;
    let (mut transaction, mut m1) = stage.session().await;
    run(&mut transaction, &mut m1, "BEGIN", IN_TRANSACTION | AUTOCOMMIT).await;
    let (mut locks, mut m1) = stage.session().await;
    run(&mut locks, &mut m1, "LOCK TABLES t WRITE", AUTOCOMMIT).await;
    stage.drain(0);
    let mut whys = stage.whys().await;
    whys.sort_unstable();
    assert_eq!(whys, ["has tables locked by LOCK TABLES", TRANSACTION]);
    stage.hold("switching over, whatever is open");
    locks.query("INSERT INTO t VALUES (1)").await;
    stage.until_held(1).await;
    stage.activate(1);
    let text = locks.expect_error(1927).await;
    assert!(text.contains("LOCK TABLES"), "{text}");
    locks.expect_close().await;
    transaction.query("COMMIT").await;
    transaction.expect_error(1213).await;
    moves_to_m2(&mut stage, &mut transaction, "INSERT INTO t VALUES (2)").await;
}

#[tokio::test]
async fn whatever_cannot_be_moved_goes_on_until_it_is_gone() {
    for (begins, ends, why) in [
        ("CREATE TEMPORARY TABLE x (a INT)", "DROP TABLE x", "has temporary tables"),
        ("LOCK TABLES t WRITE", "UNLOCK TABLES", "has tables locked by LOCK TABLES"),
        ("SELECT GET_LOCK('a', 1)", "DO RELEASE_ALL_LOCKS()", "has locks taken by GET_LOCK()"),
        ("FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES", "has a lock taken by FLUSH TABLES"),
    ] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        run(&mut client, &mut m1, begins, AUTOCOMMIT).await;
        stage.drain(0);
        assert_eq!(stage.whys().await, [why]);
        run(&mut client, &mut m1, "INSERT INTO t VALUES (1)", AUTOCOMMIT).await;
        run(&mut client, &mut m1, ends, AUTOCOMMIT).await;
        stage.until_open(&[]).await;
        moves_to_m2(&mut stage, &mut client, "INSERT INTO t VALUES (2)").await;
    }
}

#[tokio::test]
async fn a_session_that_ends_is_not_waited_for() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    run(&mut client, &mut m1, "BEGIN", IN_TRANSACTION | AUTOCOMMIT).await;
    stage.drain(0);
    assert_eq!(stage.whys().await, [TRANSACTION]);
    drop(client);
    stage.until_open(&[]).await;
    let (mut client, mut m1) = stage.session_during(0).await;
    run(&mut client, &mut m1, "BEGIN", IN_TRANSACTION | AUTOCOMMIT).await;
    stage.drain(0);
    assert_eq!(stage.whys().await, [TRANSACTION]);
    m1.close().await;
    stage.until_open(&[]).await;
}

#[tokio::test]
async fn a_write_in_flight_is_answered_first() {
    for sql in ["INSERT INTO t VALUES (1)", "BEGIN", "SET @a = 1", "SELECT f()", "CALL p()"] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.query(sql).await;
        m1.expect_query(sql).await;
        stage.drain(0);
        assert_eq!(stage.whys().await, [EXECUTING], "{sql}");
        m1.say(&ok(AUTOCOMMIT)).await;
        client.expect_ok().await;
        stage.until_open(&[]).await;
    }
}

#[tokio::test]
async fn a_transaction_that_begins_in_flight_is_waited_for_to_its_end() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("BEGIN").await;
    m1.expect_query("BEGIN").await;
    stage.drain(0);
    assert_eq!(stage.whys().await, [EXECUTING]);
    m1.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
    client.expect_ok().await;
    stage.until_open(&[TRANSACTION]).await;
    run(&mut client, &mut m1, "ROLLBACK", AUTOCOMMIT).await;
    stage.until_open(&[]).await;
}

/// A result in pieces: its head, two rows, and the rest.
fn pieces() -> Vec<Vec<u8>> {
    let payloads = result(&["x", "y", "z"], false, AUTOCOMMIT);
    let mut pieces = Vec::new();
    for (seq, payload) in payloads.iter().enumerate() {
        pieces.push(packets::numbered(seq as u8 + 1, std::slice::from_ref(payload)));
    }
    pieces
}

#[tokio::test]
async fn a_long_read_is_not_waited_for_and_gets_its_whole_answer_once() {
    for sent_before in [0, 4] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.pipeline(&[query("SELECT a FROM t"), query("SELECT 2")]).await;
        m1.expect_query("SELECT a FROM t").await;
        let pieces = pieces();
        let mut heard = 0;
        for piece in &pieces[..sent_before] {
            m1.send(piece).await;
            heard += client.bytes(piece.len()).await.len();
        }
        stage.drain(0);
        stage.until_open(&[]).await;
        stage.hold("fencing");
        stage.activate(1);
        // It is silent for longer than a dead master would be listened to.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(stage.is_unvisited(1) && client.has_heard_nothing());
        for piece in &pieces[sent_before..] {
            m1.send(piece).await;
            heard += client.bytes(piece.len()).await.len();
        }
        assert_eq!(heard, pieces.concat().len());
        m1.await_release().await;
        let mut m2 = stage.accept(1).await;
        m2.expect_query("SELECT 2").await;
        m2.say(&ok(AUTOCOMMIT)).await;
        client.next_answer();
        client.expect_ok().await;
    }
}

#[tokio::test]
async fn a_read_whose_old_master_goes_after_all_is_run_on_the_new_one() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT a FROM t").await;
    m1.expect_query("SELECT a FROM t").await;
    stage.drain(0);
    stage.until_open(&[]).await;
    stage.activate(1);
    m1.close().await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SELECT a FROM t").await;
    m2.answer(&result(&["x"], false, AUTOCOMMIT)).await;
    for payload in result(&["x"], false, AUTOCOMMIT) {
        client.expect(&payload).await;
    }
}

#[tokio::test]
async fn a_read_that_leaves_something_behind_is_waited_for() {
    // Without autocommit every read begins a transaction.
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    run(&mut client, &mut m1, "SET autocommit = 0", 0).await;
    client.query("SELECT a FROM t").await;
    m1.expect_query("SELECT a FROM t").await;
    stage.drain(0);
    assert_eq!(stage.whys().await, [EXECUTING]);
    m1.answer(&result(&["x"], false, IN_TRANSACTION)).await;
    stage.until_open(&[TRANSACTION]).await;
    for payload in result(&["x"], false, IN_TRANSACTION) {
        client.expect(&payload).await;
    }
    run(&mut client, &mut m1, "COMMIT", 0).await;
    stage.until_open(&[]).await;
}

#[tokio::test]
async fn a_client_that_takes_its_time_with_a_read_holds_nobody_up() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("SELECT a FROM t").await;
    m1.expect_query("SELECT a FROM t").await;
    // More than sockets hold, so that the end of it waits in the proxy.
    let rows: Vec<String> = (0..200_000).map(|n| format!("{n:0>200}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let bytes = packets::numbered(1, &result(&rows, false, AUTOCOMMIT));
    let len = bytes.len();
    let saying = tokio::spawn(async move {
        m1.send(&bytes).await;
        m1
    });
    client.bytes(1).await;
    stage.drain(0);
    stage.until_open(&[]).await;
    stage.activate(1);
    client.bytes(len - 1).await;
    drop(saying.await.expect("sent"));
    moves_to_m2(&mut stage, &mut client, "SELECT 2").await;
}

#[tokio::test]
async fn pipelined_commands_go_on_for_as_long_as_their_transaction() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    let all = ["BEGIN", "INSERT INTO t VALUES (1)", "COMMIT", "INSERT INTO t VALUES (2)"];
    client.pipeline(&all.map(query)).await;
    m1.expect_query("BEGIN").await;
    stage.drain(0);
    assert_eq!(stage.whys().await, [EXECUTING]);
    m1.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
    m1.expect_query("INSERT INTO t VALUES (1)").await;
    m1.say(&ok(IN_TRANSACTION | AUTOCOMMIT)).await;
    m1.expect_query("COMMIT").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    stage.until_open(&[]).await;
    stage.activate(1);
    m1.await_release().await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("INSERT INTO t VALUES (2)").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    for _ in all {
        client.next_answer();
        client.expect_ok().await;
    }
}

#[tokio::test]
async fn a_batch_of_results_is_waited_for_to_its_last() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.query("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)").await;
    m1.command().await;
    m1.say(&ok(AUTOCOMMIT | MORE_RESULTS)).await;
    client.expect_ok().await;
    stage.drain(0);
    assert_eq!(stage.whys().await, [EXECUTING]);
    m1.send(&packets::numbered(2, &[ok(AUTOCOMMIT)])).await;
    client.expect_ok().await;
    stage.until_open(&[]).await;
}

#[tokio::test]
async fn long_data_and_cursors_are_finished_where_they_are() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    client.command(&prepare("SELECT ?")).await;
    m1.expect(&prepare("SELECT ?")).await;
    m1.answer(&prepared(7, 1)).await;
    for payload in prepared(7, 1) {
        client.expect(&payload).await;
    }
    let long_data = statement(0x18, 7, &[0, 0, b'x']);
    client.command(&long_data).await;
    m1.expect(&long_data).await;
    stage.drain(0);
    stage.until_open(&["has sent parameter data that is not executed yet"]).await;
    let execution = statement(0x17, 7, &[1, 1, 0, 0, 0, 0, 1, 252, 0]);
    client.command(&execution).await;
    m1.expect(&execution).await;
    let mut head = result(&[], false, AUTOCOMMIT | CURSOR_EXISTS);
    head.pop(); // rows come with COM_STMT_FETCH
    m1.answer(&head).await;
    for payload in &head {
        client.expect(payload).await;
    }
    stage.until_open(&["has an open cursor"]).await;
    let reset = statement(0x1A, 7, &[]);
    client.command(&reset).await;
    m1.expect(&reset).await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    stage.until_open(&[]).await;
    // What is prepared there goes along.
    let execution = statement(0x17, 7, &[0, 1, 0, 0, 0, 0, 1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    client.command(&execution).await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    m2.expect(&prepare("SELECT ?")).await;
    m2.answer(&prepared(3, 1)).await;
    assert_eq!(m2.command().await[..5], statement(0x17, 3, &[])[..]);
}

#[tokio::test]
async fn a_login_on_the_way_counts_for_nothing_and_its_first_statement_waits() {
    let mut stage = Stage::new().await;
    let (stream, _) = stage.dial().await;
    let client = tokio::spawn(RawClient::log_in(stream, CLIENT));
    let mut m1 = stage.meet(0).await;
    m1.greet(crate::fake_server::OFFERED).await;
    stage.drain(0);
    assert_eq!(stage.whys().await, Vec::<&str>::new());
    // It begins again where it can.
    m1.await_release().await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    let mut client = client.await.expect("logged in");
    run(&mut client, &mut m2, "INSERT INTO t VALUES (1)", AUTOCOMMIT).await;
}

#[tokio::test]
async fn a_doubt_is_resolved_with_the_server_while_the_client_is_silent() {
    for (status, whys) in [(AUTOCOMMIT, &[][..]), (IN_TRANSACTION | AUTOCOMMIT, &[TRANSACTION][..])]
    {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        client.query("SELEC 1").await;
        m1.expect_query("SELEC 1").await;
        m1.say(&err(1064, "42000", "You have an error in your SQL syntax")).await;
        client.expect_error(1064).await;
        stage.drain(0);
        m1.expect(&[0x0E]).await;
        m1.say(&ok(status)).await;
        stage.until_open(whys).await;
        if whys.is_empty() {
            moves_to_m2(&mut stage, &mut client, "SELECT 1").await;
        } else {
            run(&mut client, &mut m1, "COMMIT", AUTOCOMMIT).await;
            stage.until_open(&[]).await;
        }
    }
}

#[tokio::test]
async fn another_proxys_fence_loses_nothing() {
    // This one has heard nothing of a switchover.
    let mut stage = Stage::new().await;
    let (mut writer, mut m1) = stage.session().await;
    writer.query("INSERT INTO t VALUES (1)").await;
    m1.expect_query("INSERT INTO t VALUES (1)").await;
    m1.say(&read_only()).await;
    let (mut transaction, mut m1_too) = stage.session().await;
    run(&mut transaction, &mut m1_too, "BEGIN", IN_TRANSACTION | AUTOCOMMIT).await;
    transaction.query("INSERT INTO t VALUES (2)").await;
    m1_too.expect_query("INSERT INTO t VALUES (2)").await;
    m1_too.say(&read_only()).await;
    transaction.expect_error(1213).await;
    m1_too.await_release().await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    m2.expect_query("INSERT INTO t VALUES (1)").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    writer.expect_ok().await;
    m1.await_release().await;
}

/// A session with a variable, whose statement waits for m2 and which is there already.
async fn waiting_ahead() -> (Stage, RawClient, FakeConnection, FakeConnection) {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    run(&mut client, &mut m1, "SET @a = 1", AUTOCOMMIT).await;
    stage.drain_towards(0, 1);
    assert_eq!(stage.whys().await, Vec::<&str>::new());
    assert!(stage.is_unvisited(1), "who has nothing to say has nothing to do there");
    client.query("INSERT INTO t VALUES (1)").await;
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SET @a = 1").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    m2.grant_tracking().await;
    stage.until_held(1).await;
    (stage, client, m1, m2)
}

#[tokio::test]
async fn a_session_that_waits_is_on_the_next_master_before_that_is_active() {
    let (stage, mut client, mut m1, mut m2) = waiting_ahead().await;
    stage.hold("fencing"); // says nothing of who is next
    stage.activate(1);
    m2.expect_query("INSERT INTO t VALUES (1)").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    m1.await_release().await;
    run(&mut client, &mut m2, "INSERT INTO t VALUES (2)", AUTOCOMMIT).await;
}

#[tokio::test]
async fn a_login_ahead_is_taken_back_when_the_drain_is_undone() {
    let (stage, mut client, mut m1, mut m2) = waiting_ahead().await;
    stage.activate(0);
    m1.expect_query("INSERT INTO t VALUES (1)").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    m2.await_release().await;
    run(&mut client, &mut m1, "INSERT INTO t VALUES (2)", AUTOCOMMIT).await;
}

#[tokio::test]
async fn a_login_ahead_that_broke_is_made_again() {
    let (mut stage, mut client, _m1, m2) = waiting_ahead().await;
    m2.close().await;
    stage.activate(1);
    let mut m2 = stage.accept(1).await;
    m2.expect_query("SET @a = 1").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    m2.expect_query("INSERT INTO t VALUES (1)").await;
    m2.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn a_login_ahead_that_is_refused_is_nobodys_business() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    stage.drain_towards(0, 1);
    client.query("INSERT INTO t VALUES (1)").await;
    let mut m2 = stage.meet(1).await;
    m2.greet(crate::fake_server::OFFERED).await;
    m2.say(&err(1045, "28000", "Access denied for user 'app'")).await;
    m2.await_release().await;
    stage.activate(0);
    m1.expect_query("INSERT INTO t VALUES (1)").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn writers_wait_for_the_pace_and_nobody_else() {
    let mut stage = Stage::new().await;
    let (mut inside, mut m1) = stage.session().await;
    run(&mut inside, &mut m1, "BEGIN", IN_TRANSACTION | AUTOCOMMIT).await;
    stage.activate_at(0, Duration::from_secs(600));
    run(&mut inside, &mut m1, "INSERT INTO t VALUES (1)", IN_TRANSACTION | AUTOCOMMIT).await;
    run(&mut inside, &mut m1, "COMMIT", AUTOCOMMIT).await;
    run(&mut inside, &mut m1, "SELECT 1", AUTOCOMMIT).await;
    let mut waiting = Vec::new();
    for sql in ["INSERT INTO t VALUES (2)", "BEGIN", "CREATE TABLE x (a INT)"] {
        let (mut client, m1) = stage.session().await;
        client.query(sql).await;
        waiting.push((client, m1, sql));
    }
    stage.until_held(3).await;
    // What waits for the pace has nothing open, and is not sent while a master is drained.
    stage.drain(0);
    stage.until_open(&[]).await;
    stage.until_held(3).await;
    stage.activate(0);
    for (mut client, mut m1, sql) in waiting {
        m1.expect_query(sql).await;
        m1.say(&ok(AUTOCOMMIT)).await;
        client.expect_ok().await;
    }
}

#[tokio::test]
async fn a_pace_is_waited_for_once_and_then_the_statement_runs() {
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.session().await;
    stage.activate_at(0, Duration::from_millis(20));
    for sql in ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"] {
        run(&mut client, &mut m1, sql, AUTOCOMMIT).await;
    }
}
