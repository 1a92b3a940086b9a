use super::*;
use crate::session::restoring::literal;
use crate::wire::put_lenenc_bytes;

fn fresh() -> SessionState {
    SessionState::new(None, StatusFlags::AUTOCOMMIT)
}

fn run(state: &mut SessionState, sql: &str) {
    let statement = Statement::classify(sql.as_bytes(), state.backslash_escapes());
    state.executed(statement, sql.as_bytes());
}

/// Runs `sql` and lets the server report `variables` and, with `state_changed`, a state change.
fn run_told(state: &mut SessionState, sql: &str, variables: &[(&str, &str)], state_changed: bool) {
    let mut changes = Vec::new();
    for (name, value) in variables {
        let mut data = Vec::new();
        put_lenenc_bytes(&mut data, name.as_bytes());
        put_lenenc_bytes(&mut data, value.as_bytes());
        changes.push(0);
        put_lenenc_bytes(&mut changes, &data);
    }
    if state_changed {
        changes.extend_from_slice(b"\x02\x02\x011");
    }
    let mut payload = b"\x00\x00\x00\x02\x40\x00\x00\x00".to_vec();
    put_lenenc_bytes(&mut payload, &changes);
    let ok = OkPacket::parse(&payload).expect("an OK packet");
    let statement = Statement::classify(sql.as_bytes(), state.backslash_escapes());
    state.told(&ok, statement);
    state.executed(statement, sql.as_bytes());
}

fn restoring(state: &SessionState) -> Vec<String> {
    state.restoring_sql().into_iter().map(|sql| String::from_utf8(sql).expect("text")).collect()
}

#[test]
fn what_a_session_set_is_set_again_in_an_order_that_gives_the_same() {
    let mut state = SessionState::new(Some(b"shop".to_vec()), StatusFlags::AUTOCOMMIT);
    run_told(
        &mut state,
        "SET sql_mode = 'ANSI'",
        &[("sql_mode", "ANSI"), ("wait_timeout", "60")],
        true,
    );
    run_told(
        &mut state,
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        &[("character_set_client", "utf8mb4"), ("character_set_connection", "utf8mb4")],
        true,
    );
    run_told(&mut state, "SET @a = 'it''s', @b = 2", &[], true);
    run(&mut state, "PREPARE s FROM 'select ?'");
    assert_eq!(state.migration_blocker(), None);
    assert_eq!(
        restoring(&state),
        [
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET SESSION `sql_mode` = 'ANSI', SESSION `wait_timeout` = 60",
            "SET @a = 'it''s'",
            "SET @b = 2",
            "PREPARE s FROM 'select ?'",
        ]
    );
}

#[test]
fn a_variable_set_after_set_names_wins() {
    let mut state = fresh();
    run_told(&mut state, "SET NAMES utf8mb4", &[("character_set_results", "utf8mb4")], false);
    run_told(
        &mut state,
        "SET character_set_results = latin1",
        &[("character_set_results", "latin1")],
        true,
    );
    assert_eq!(
        restoring(&state),
        ["SET NAMES utf8mb4", "SET SESSION `character_set_results` = 'latin1'"]
    );
}

#[test]
fn one_shot_characteristics_last_until_the_next_transaction() {
    let mut state = fresh();
    run(&mut state, "SET TRANSACTION READ ONLY");
    assert_eq!(restoring(&state), ["SET TRANSACTION READ ONLY"]);
    run(&mut state, "SELECT * FROM t");
    assert!(restoring(&state).is_empty());
}

#[test]
fn what_cannot_be_carried_has_a_reason_and_some_reasons_end() {
    use MigrationBlocker as B;
    for (sql, blocker, end) in [
        ("CREATE TEMPORARY TABLE t (a INT)", B::TemporaryTables, Some("DROP TABLE T")),
        ("LOCK TABLES t READ", B::LockedTables, Some("UNLOCK TABLES")),
        ("SELECT GET_LOCK('a', 1)", B::UserLocks, Some("SELECT RELEASE_ALL_LOCKS()")),
        ("SELECT GET_LOCK('a', 1)", B::UserLocks, Some("SELECT RELEASE_LOCK('a')")),
        ("DO GET_LOCK('a', 1)", B::UserLocks, Some("DO RELEASE_LOCK('a')")),
        ("FLUSH TABLES WITH READ LOCK", B::ReadLock, Some("UNLOCK TABLES")),
        ("HANDLER t OPEN", B::Handler, Some("HANDLER t CLOSE")),
        ("XA START 'a'", B::Xa, Some("XA COMMIT 'a' ONE PHASE")),
        ("SET @a = NOW()", B::UserVariables, None),
        ("SELECT @a := 1", B::UserVariables, None),
        ("SELECT a INTO @b FROM t", B::UserVariables, None),
    ] {
        let mut state = fresh();
        run(&mut state, sql);
        assert_eq!(state.migration_blocker(), Some(blocker), "{sql}");
        if let Some(end) = end {
            run(&mut state, end);
            assert_eq!(state.migration_blocker(), None, "{end}");
        }
        run(&mut state, sql);
        state.reset();
        assert_eq!(state.migration_blocker(), None, "reset after {sql}");
    }
}

#[test]
fn usual_statements_block_nothing() {
    let mut state = fresh();
    for sql in [
        "INSERT INTO t SELECT 1",
        "FLUSH TABLES",
        "DROP TABLE other",
        "CREATE TABLE t (a INT)",
        "SELECT 1; INSERT INTO t VALUES (1); COMMIT;",
    ] {
        run(&mut state, sql);
        assert_eq!(state.migration_blocker(), None, "{sql}");
    }
    run(&mut state, "SELECT 1; SET @a = 5");
    assert_eq!(state.migration_blocker(), Some(MigrationBlocker::UnknownState));
}

#[test]
fn a_state_change_that_nobody_understands_blocks() {
    let mut state = fresh();
    run_told(&mut state, "CALL p()", &[], true);
    assert_eq!(state.migration_blocker(), Some(MigrationBlocker::UnknownState));
}

#[test]
fn an_open_transaction_blocks_a_move_but_not_its_loss() {
    let mut state = fresh();
    state.set_status(StatusFlags(0x0003));
    assert_eq!(state.migration_blocker(), Some(MigrationBlocker::OpenTransaction));
    assert_eq!(state.loss_blocker(), None);
    state.transaction_ended();
    assert_eq!(state.migration_blocker(), None);
}

#[test]
fn variables_of_one_statement_and_our_own_are_not_restored() {
    let mut state = fresh();
    let told = [("last_gtid", "0-1-5"), ("session_track_schema", "OFF"), ("insert_id", "7")];
    run_told(&mut state, "INSERT INTO t VALUES (1)", &told, false);
    assert!(restoring(&state).is_empty());
}

#[test]
fn values_are_quoted_so_that_any_sql_mode_reads_them_alike() {
    assert_eq!(literal(b"28800"), b"28800");
    assert_eq!(literal(b"-1.5"), b"-1.5");
    assert_eq!(literal(b"ON"), b"'ON'");
    assert_eq!(literal(b"it's"), b"'it''s'");
    assert_eq!(literal(br"a\b"), b"_utf8mb4 x'615c62'");
    assert_eq!(literal(b""), b"''");
}

#[test]
fn autocommit_is_restored_whatever_was_told() {
    let mut state = fresh();
    state.set_status(StatusFlags::default());
    assert_eq!(restoring(&state), ["SET SESSION autocommit = 0"]);
}

#[test]
fn what_an_error_leaves_open_is_uncertain_until_the_next_status() {
    let statement = |sql: &str| Statement::classify(sql.as_bytes(), true);
    for (in_transaction, sql, code, uncertain) in [
        (true, "insert into t values (1)", 1062, false),
        (true, "create table t (a int)", 1050, true), // it has committed what was open
        (true, "insert into t values (1)", 1205, true),
        (false, "insert into t values (1)", 1062, false),
        (false, "call p()", 1305, true),
    ] {
        let mut state = fresh();
        state.set_status(StatusFlags(if in_transaction { 3 } else { 2 }));
        state.failed(statement(sql), code);
        assert_eq!(state.is_uncertain(), uncertain, "{sql} {code}");
        state.set_status(StatusFlags(2));
        assert!(!state.is_uncertain());
    }
    let mut state = fresh();
    state.set_status(StatusFlags(3));
    state.failed(statement("update t set a = 1"), 1213);
    assert!(!state.in_transaction() && !state.is_uncertain());
}

#[test]
fn a_statement_prepared_by_name_is_followed() {
    use MigrationBlocker as B;
    for (sql, blocker) in [
        (["PREPARE s FROM 'select 1'", "EXECUTE s"], None),
        (["PREPARE s FROM 'select 1 into @k'", "EXECUTE s"], Some(B::UnknownState)),
        (["PREPARE s FROM \"select get_lock('a', 1)\"", "EXECUTE s"], Some(B::UserLocks)),
        (["PREPARE s FROM @text", "SELECT 1"], Some(B::UnknownState)),
        (["SELECT 1", "EXECUTE IMMEDIATE 'select 1 into @k'"], Some(B::UnknownState)),
        (["SELECT 1", "CALL p(@out)"], Some(B::UserVariables)),
        (["SELECT 1", "LOAD DATA INFILE 'x' INTO TABLE t (a, @b)"], Some(B::UserVariables)),
        (["SELECT 1", "INSERT INTO t VALUES (@b)"], None),
    ] {
        let mut state = fresh();
        sql.into_iter().for_each(|sql| run(&mut state, sql));
        assert_eq!(state.migration_blocker(), blocker, "{sql:?}");
    }
}

#[test]
fn a_statement_prepared_in_another_schema_is_prepared_there_again() {
    let mut state = SessionState::new(Some(b"a".to_vec()), StatusFlags::AUTOCOMMIT);
    run(&mut state, "PREPARE s FROM 'select * from t'");
    state.set_schema(b"b`c");
    assert_eq!(restoring(&state), ["USE `a`", "PREPARE s FROM 'select * from t'", "USE `b``c`"]);
}

#[test]
fn values_that_are_not_what_they_are_told_as() {
    let mut state = fresh();
    run_told(
        &mut state,
        "SET character_set_results = NULL",
        &[("character_set_results", "")],
        true,
    );
    assert_eq!(restoring(&state), ["SET SESSION `character_set_results` = NULL"]);
    let mut state = fresh();
    run_told(&mut state, "SET timestamp = DEFAULT", &[("timestamp", "1700000000.5")], true);
    assert!(restoring(&state).is_empty());
    run_told(&mut state, "SET timestamp = 1500000000", &[("timestamp", "1500000000")], true);
    assert_eq!(restoring(&state), ["SET SESSION `timestamp` = 1500000000"]);
    let told = [("max_statement_time", "1")];
    let mut state = fresh();
    run_told(&mut state, "SET STATEMENT max_statement_time = 1 FOR SELECT 1", &told, true);
    assert!(restoring(&state).is_empty() && state.migration_blocker().is_none());
}

#[test]
fn a_text_that_would_be_read_otherwise_now_is_not_set_again() {
    let mut state = fresh();
    run(&mut state, "SET @a = 'plain', @A = 'second'");
    run(&mut state, "SET NAMES latin1");
    assert_eq!(state.migration_blocker(), None);
    assert_eq!(restoring(&state), ["SET NAMES latin1", "SET @a = 'second'"]);
    run(&mut state, "SET @b = 'café'");
    run(&mut state, "SET NAMES utf8mb4");
    assert_eq!(state.migration_blocker(), Some(MigrationBlocker::UserVariables));
}
