//! Answers, cut anywhere, come through as they are.

use proptest::prelude::*;
use tandem::wire::Capabilities;

use crate::fake_server::packets::{
    self, AUTOCOMMIT, CURSOR_EXISTS, IN_TRANSACTION, LAST_ROW_SENT, MORE_RESULTS, SOMETHING,
    column, eof, err, numbered, ok, ok_tracking, ok_with_info, result, row, variable,
};
use crate::fake_server::{CLIENT, Stage, within};

/// An answer: the command, and what the server says with and without session state.
struct Answer {
    command: Vec<u8>,
    said: Vec<u8>,
    /// What a client that tracks no session state gets.
    plain: Vec<u8>,
}

fn answers(deprecate_eof: bool) -> Vec<Answer> {
    let query = || packets::query("SELECT 1");
    let same = |command: Vec<u8>, payloads: &[Vec<u8>]| {
        let said = numbered(1, payloads);
        Answer { command, plain: said.clone(), said }
    };
    let end = |status| if deprecate_eof { ok_with_info(0xfe, status, b"") } else { eof(status) };
    let mut several = result(&["a", ""], deprecate_eof, AUTOCOMMIT | MORE_RESULTS);
    several.push(ok_with_info(0, AUTOCOMMIT | MORE_RESULTS, b"Records: 1"));
    several.extend(result(&[], deprecate_eof, AUTOCOMMIT));
    let broken = vec![vec![1], column("a"), err(1317, "70100", "Query execution was interrupted")];
    let mut late = result(&["a"], deprecate_eof, AUTOCOMMIT);
    let last = late.len() - 1;
    late[last] = err(1317, "70100", "Query execution was interrupted");
    let mut null = result(&["a"], deprecate_eof, AUTOCOMMIT);
    let at = null.len() - 1;
    null.insert(at, vec![0xfb]);
    let mut cursor = vec![vec![1], column("a")];
    cursor.push(end(AUTOCOMMIT | CURSOR_EXISTS));
    let mut out = vec![
        same(vec![0x0e], &[ok(AUTOCOMMIT)]),
        same(query(), &[err(1064, "42000", "You have an error")]),
        same(query(), &result(&["a", "b"], deprecate_eof, AUTOCOMMIT | IN_TRANSACTION)),
        same(query(), &several),
        same(query(), &broken),
        same(query(), &late),
        same(query(), &null),
        same(packets::statement(0x17, 1, &[1, 1, 0, 0, 0]), &cursor),
        same(
            packets::statement(0x1c, 1, &[1, 0, 0, 0]),
            &[row(b"\0x"), end(AUTOCOMMIT | LAST_ROW_SENT)],
        ),
        same(vec![0x09], &[b"Uptime: 1  Threads: 2".to_vec()]),
        same(vec![0x1b, 0, 0], &[end(AUTOCOMMIT)]),
        same(b"\x04t\0".to_vec(), &[column("a"), end(AUTOCOMMIT)]),
    ];
    for info in [&b""[..], b"Rows matched: 1"] {
        let tracked = ok_tracking(0, AUTOCOMMIT, info, &variable("sql_mode", "ANSI"));
        out.push(Answer {
            command: packets::query("SET sql_mode = ANSI"),
            said: numbered(1, &[tracked]),
            plain: numbered(1, &[ok_with_info(0, AUTOCOMMIT, info)]),
        });
    }
    if deprecate_eof {
        let rows = [vec![1], column("a"), row(b"x")];
        let with = |last| numbered(1, &[&rows[..], &[last]].concat());
        out.push(Answer {
            command: packets::query("SET @a = 1"),
            said: with(ok_tracking(0xfe, AUTOCOMMIT, b"", SOMETHING)),
            plain: with(ok_with_info(0xfe, AUTOCOMMIT, b"")),
        });
    }
    out
}

/// Sends every answer in the pieces that `cut` makes of it, one session for all of them.
async fn come_through(deprecate_eof: bool, tracks: bool, mut cut: impl FnMut(usize) -> Vec<usize>) {
    let mut capabilities = CLIENT;
    if deprecate_eof {
        capabilities = capabilities | Capabilities::DEPRECATE_EOF;
    }
    if tracks {
        capabilities = capabilities | Capabilities::SESSION_TRACK;
    }
    let mut stage = Stage::new().await;
    let (mut client, mut m1) = stage.log_in(capabilities, 0).await;
    // The session knows a statement 1.
    client.command(&packets::prepare("SELECT 1")).await;
    m1.expect(&packets::prepare("SELECT 1")).await;
    let prepared = numbered(1, &[b"\0\x01\0\0\0\0\0\0\0\0\0\0".to_vec()]);
    m1.send(&prepared).await;
    assert_eq!(client.bytes(prepared.len()).await, prepared);
    for answer in answers(deprecate_eof) {
        client.command(&answer.command).await;
        m1.expect(&answer.command).await;
        let mut pieces = Vec::new();
        let mut rest = &answer.said[..];
        for len in cut(rest.len()) {
            let (piece, tail) = rest.split_at(len.min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        pieces.push(rest);
        pieces.retain(|piece| !piece.is_empty());
        m1.send_in_pieces(pieces.into_iter()).await;
        let expected = if tracks { &answer.said } else { &answer.plain };
        let came = client.bytes(expected.len()).await;
        assert_eq!(&came, expected, "the answer to {:?}", answer.command);
        assert!(client.has_heard_nothing());
    }
}

#[tokio::test]
async fn answers_come_through_byte_by_byte() {
    for (deprecate_eof, tracks) in [(false, false), (false, true), (true, false), (true, true)] {
        come_through(deprecate_eof, tracks, |len| vec![1; len]).await;
    }
}

#[tokio::test]
async fn answers_come_through_cut_once_anywhere() {
    for at in 1..40 {
        come_through(at % 2 == 0, at % 3 == 0, |_| vec![at]).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn answers_come_through_in_any_pieces(
        sizes in prop::collection::vec(1usize..30, 1..30), deprecate_eof: bool, tracks: bool
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(come_through(deprecate_eof, tracks, |_| sizes.clone()));
    }
}

#[tokio::test]
async fn rows_of_16_mib_come_through_at_every_boundary() {
    const MAX: usize = 0xff_ffff;
    for len in [MAX - 1, MAX, MAX + 1, 2 * MAX] {
        for deprecate_eof in [false, true] {
            let capabilities =
                if deprecate_eof { CLIENT | Capabilities::DEPRECATE_EOF } else { CLIENT };
            let mut stage = Stage::new().await;
            let (mut client, mut m1) = stage.log_in(capabilities, 0).await;
            client.query("SELECT a").await;
            m1.expect_query("SELECT a").await;
            // 0xFE is what a row with a first column of 16 MiB begins with.
            let first = if len >= MAX { 0xfe } else { 0xfd };
            let mut payloads = result(&["x"], deprecate_eof, AUTOCOMMIT);
            let at = payloads.len() - 2;
            payloads[at] = vec![first; len];
            let bytes = numbered(1, &payloads);
            let (came, ()) = tokio::join!(client.bytes(bytes.len()), m1.send(&bytes));
            assert!(came == bytes, "{len} bytes came through changed");
            client.query("SELECT 2").await;
            m1.expect_query("SELECT 2").await;
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_server_and_nobody_else() {
    let mut stage = Stage::new().await;
    let (mut slow, mut m1) = stage.session().await;
    let (mut quick, mut other) = stage.session().await;
    slow.query("SELECT a").await;
    m1.expect_query("SELECT a").await;
    let begun = numbered(1, &result(&[], false, AUTOCOMMIT)[..3]);
    m1.send(&begun).await;
    let mut rows = Vec::new();
    for seq in 0..=255_u8 {
        rows.extend_from_slice(&numbered(seq.wrapping_add(4), &[row(&[b'x'; 200])]));
    }
    // Until the sockets are full: 64 MiB would do on any machine if anybody kept them.
    let mut sent = 0_usize;
    let mut stalled = false;
    while sent < 64 << 20 && !stalled {
        let patience = std::time::Duration::from_millis(500);
        stalled = tokio::time::timeout(patience, m1.send(&rows)).await.is_err();
        sent += rows.len();
    }
    assert!(stalled, "{sent} bytes went to a client that does not read");
    quick.query("SELECT 1").await;
    other.expect_query("SELECT 1").await;
    other.say(&ok(AUTOCOMMIT)).await;
    quick.expect_ok().await;
}

#[tokio::test]
async fn garbage_ends_the_session_and_no_other() {
    for garbage in [&b"\x01\0\0\x01\x00"[..], b"\0\0\0\x01", b"\xff\xff\xff\x01\x00"] {
        let mut stage = Stage::new().await;
        let (mut client, mut m1) = stage.session().await;
        let (mut beside, mut other) = stage.session().await;
        client.query("SELECT 1").await;
        m1.expect_query("SELECT 1").await;
        m1.send(garbage).await;
        if garbage.len() == 5 && garbage[0] == 0xff {
            m1.send(&vec![0; 0xff_ffff]).await;
        }
        client.expect_close().await;
        within("its end", m1.await_release()).await;
        beside.query("SELECT 1").await;
        other.expect_query("SELECT 1").await;
        other.say(&ok(AUTOCOMMIT)).await;
        beside.expect_ok().await;
    }
}
