use super::*;
use crate::wire::packet::{MAX_PAYLOAD, put_packet};
use proptest::prelude::*;

const DEFINITION: &[u8] =
    b"\x03def\x00\x00\x00\x01a\x00\x0c\x3f\x00\x01\x00\x00\x00\x03\x81\x00\x00\x00\x00";

/// Builds responses packet by packet.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    seq: u8,
}

impl Script {
    fn new() -> Self {
        Self { bytes: Vec::new(), seq: 1 }
    }

    fn packet(mut self, payload: &[u8]) -> Self {
        self.seq = put_packet(&mut self.bytes, self.seq, payload);
        self
    }

    fn ok(self, status: u16) -> Self {
        let mut payload = vec![0, 1, 0];
        payload.extend_from_slice(&status.to_le_bytes());
        payload.extend_from_slice(&[0, 0]);
        self.packet(&payload)
    }

    /// The end of definitions (`old` form only) or rows.
    fn eof(self, deprecate: bool, status: u16) -> Self {
        let [low, high] = status.to_le_bytes();
        if deprecate {
            self.packet(&[0xFE, 0, 0, low, high, 0, 0])
        } else {
            self.packet(&[0xFE, 0, 0, low, high])
        }
    }

    fn result(self, deprecate: bool, columns: u8, rows: &[&[u8]], status: u16) -> Self {
        let mut script = self.packet(&[columns]);
        for _ in 0..columns {
            script = script.packet(DEFINITION);
        }
        if !deprecate {
            script = script.eof(false, 2);
        }
        for row in rows {
            script = script.packet(row);
        }
        script.eof(deprecate, status)
    }
}

fn capabilities(deprecate: bool) -> Capabilities {
    if deprecate { Capabilities::DEPRECATE_EOF } else { Capabilities::default() }
}

/// Feeds `bytes` in chunks of the given lengths (repeated), carrying what waits, and returns what
/// was told. Panics unless every byte is accounted for and the response ends with the last one.
fn follow(tracker: &mut ResponseTracker, bytes: &[u8], chunks: &[usize]) -> Vec<Told> {
    let mut told = Vec::new();
    let (mut start, mut end) = (0, 0);
    let mut sizes = chunks.iter().cycle();
    while end < bytes.len() {
        end = bytes.len().min(end + sizes.next().expect("a size"));
        while start < end {
            match tracker.step(&bytes[start..end]).expect("a good response") {
                Step::Wait(need) => {
                    assert!(need > end - start, "waits for what is there");
                    break;
                }
                Step::Pass(len) => start += len,
                Step::Packet { total, told: what } => {
                    told.push(what);
                    start += total;
                }
            }
            assert_eq!(
                tracker.is_done(),
                start == bytes.len(),
                "ends at {start} of {}",
                bytes.len()
            );
        }
    }
    assert_eq!(start, bytes.len());
    told
}

fn statuses(told: &[Told]) -> Vec<u16> {
    told.iter()
        .filter_map(|told| match told {
            Told::Ok { status, .. } | Told::Eof(status) => Some(status.0),
            _ => None,
        })
        .collect()
}

#[test]
fn an_ok_ends_and_an_error_ends() {
    let mut tracker = ResponseTracker::new(capabilities(false));
    tracker.start(Command::Query, false);
    let told = follow(&mut tracker, &Script::new().ok(3).bytes, &[64]);
    assert_eq!(told, [Told::Ok { status: StatusFlags(3), last_insert_id: 0 }]);
    tracker.start(Command::Query, false);
    let told = follow(&mut tracker, &Script::new().packet(b"\xff\x28\x04#42000no").bytes, &[64]);
    assert_eq!(told, [Told::Error(1064)]);
}

#[test]
fn results_of_every_shape_end_where_they_end() {
    for deprecate in [false, true] {
        let rows: &[&[u8]] = &[b"\x01a", b"\xfb", b"\x00\x00\x01"];
        let bytes = Script::new()
            .result(deprecate, 3, rows, 0x0A)
            .ok(0x0A)
            .result(deprecate, 1, &[], 0x02)
            .bytes;
        for chunk in [1, 2, 3, 5, 7, 64, 4096] {
            let mut tracker = ResponseTracker::new(capabilities(deprecate));
            tracker.start(Command::Query, false);
            let told = follow(&mut tracker, &bytes, &[chunk]);
            assert_eq!(statuses(&told).last(), Some(&2), "chunks of {chunk}");
        }
    }
}

#[test]
fn an_error_may_come_in_the_middle_of_rows() {
    let bytes = Script::new()
        .packet(&[1])
        .packet(DEFINITION)
        .packet(b"\x01a")
        .packet(b"\xff\x25\x05#70100x")
        .bytes;
    let mut tracker = ResponseTracker::new(capabilities(true));
    tracker.start(Command::Query, false);
    assert_eq!(follow(&mut tracker, &bytes, &[9]).last(), Some(&Told::Error(1317)));
}

#[test]
fn a_row_of_16_mib_is_no_end_and_its_continuation_is_not_read() {
    let mut row = vec![0xFE];
    row.extend_from_slice(&(MAX_PAYLOAD as u64 + 1).to_le_bytes());
    row.resize(MAX_PAYLOAD, b'x');
    row.extend_from_slice(&[0xFE, 0, 0, 2, 0]); // the continuation looks like an EOF
    for deprecate in [false, true] {
        let bytes = Script::new().result(deprecate, 1, &[&row], 2).bytes;
        let mut tracker = ResponseTracker::new(capabilities(deprecate));
        tracker.start(Command::Query, false);
        follow(&mut tracker, &bytes, &[65536]);
    }
}

#[test]
fn a_row_of_exactly_the_maximum_is_followed_by_an_empty_continuation() {
    let row = vec![b'x'; MAX_PAYLOAD];
    let bytes = Script::new().result(true, 1, &[&row], 2).bytes;
    let mut tracker = ResponseTracker::new(capabilities(true));
    tracker.start(Command::Query, false);
    follow(&mut tracker, &bytes, &[1 << 20]);
}

#[test]
fn prepared_statements() {
    for deprecate in [false, true] {
        for (columns, parameters) in [(0u16, 0u16), (2, 0), (0, 3), (2, 3)] {
            let mut ok = vec![0, 9, 0, 0, 0];
            ok.extend_from_slice(&columns.to_le_bytes());
            ok.extend_from_slice(&parameters.to_le_bytes());
            ok.extend_from_slice(&[0, 0, 0]);
            let mut script = Script::new().packet(&ok);
            for count in [parameters, columns] {
                for _ in 0..count {
                    script = script.packet(DEFINITION);
                }
                if count > 0 && !deprecate {
                    script = script.eof(false, 2);
                }
            }
            let mut tracker = ResponseTracker::new(capabilities(deprecate));
            tracker.start(Command::StmtPrepare, false);
            let told = follow(&mut tracker, &script.bytes, &[11]);
            assert_eq!(told[0], Told::Prepared(Prepared { id: 9, columns, parameters }));
        }
    }
}

#[test]
fn a_cursor_sends_no_rows_until_they_are_fetched() {
    let open = Script::new().packet(&[1]).packet(DEFINITION).eof(false, 0x42).bytes;
    let mut tracker = ResponseTracker::new(capabilities(false));
    tracker.start(Command::StmtExecute, true);
    follow(&mut tracker, &open, &[8]);
    tracker.start(Command::StmtFetch, false);
    let rows = Script::new().packet(b"\x00\x00\x01").eof(false, 0x82).bytes;
    assert_eq!(statuses(&follow(&mut tracker, &rows, &[8])), [0x82]);
    // With DEPRECATE_EOF there is one terminator only, and no rows before it.
    let open = Script::new().packet(&[1]).packet(DEFINITION).eof(true, 0x62).bytes;
    let mut tracker = ResponseTracker::new(capabilities(true));
    tracker.start(Command::StmtExecute, true);
    follow(&mut tracker, &open, &[8]);
}

#[test]
fn metadata_may_be_left_out_by_mariadb() {
    let capabilities = Capabilities::DEPRECATE_EOF | Capabilities::CACHE_METADATA;
    let bytes = Script::new().packet(&[2, 0]).packet(b"\x00\x00\x01\x01").eof(true, 2).bytes;
    let mut tracker = ResponseTracker::new(capabilities);
    tracker.start(Command::StmtExecute, false);
    follow(&mut tracker, &bytes, &[6]);
}

#[test]
fn behind_out_parameters_comes_an_ok_whatever_their_end_says() {
    for end in [0x02, 0x0A] {
        let bytes = Script::new()
            .packet(&[1])
            .packet(DEFINITION)
            .eof(false, 0x100A)
            .packet(b"\x00\x00\x01")
            .eof(false, end)
            .ok(2)
            .bytes;
        let mut tracker = ResponseTracker::new(capabilities(false));
        tracker.start(Command::StmtExecute, false);
        assert_eq!(statuses(&follow(&mut tracker, &bytes, &[7])), [0x100A, end, 2]);
    }
}

#[test]
fn metadata_may_be_left_out_by_mysql() {
    for deprecate in [false, true] {
        let mut both = Capabilities::OPTIONAL_RESULTSET_METADATA;
        if deprecate {
            both = both | Capabilities::DEPRECATE_EOF;
        }
        let with_eof = |script: Script| if deprecate { script } else { script.eof(false, 2) };
        let mut tracker = ResponseTracker::new(both);
        for follows in [0, 1] {
            // A result of two columns.
            let mut script = Script::new().packet(&[2, follows]);
            for _ in 0..2 * follows {
                script = script.packet(DEFINITION);
            }
            let bytes = with_eof(script).packet(b"\x01a\x01b").eof(deprecate, 2).bytes;
            tracker.start(Command::Query, false);
            follow(&mut tracker, &bytes, &[6]);
            // A statement with a parameter and a column.
            let told = [0, 9, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, follows];
            let mut script = Script::new().packet(&told);
            for _ in 0..2 {
                if follows == 1 {
                    script = script.packet(DEFINITION);
                }
                script = with_eof(script);
            }
            tracker.start(Command::StmtPrepare, false);
            follow(&mut tracker, &script.bytes, &[6]);
        }
    }
}

#[test]
fn field_lists_statistics_and_options() {
    let mut tracker = ResponseTracker::new(capabilities(false));
    tracker.start(Command::FieldList, false);
    follow(
        &mut tracker,
        &Script::new().packet(DEFINITION).packet(DEFINITION).eof(false, 2).bytes,
        &[9],
    );
    tracker.start(Command::Statistics, false);
    follow(&mut tracker, &Script::new().packet(b"Uptime: 5  Threads: 1").bytes, &[9]);
    tracker.start(Command::SetOption, false);
    follow(&mut tracker, &Script::new().eof(false, 2).bytes, &[9]);
}

#[test]
fn a_local_file_is_waited_for() {
    let mut tracker = ResponseTracker::new(capabilities(true));
    tracker.start(Command::Query, false);
    let ask = Script::new().packet(b"\xfb/tmp/x").bytes;
    let step = tracker.step(&ask).expect("good");
    assert_eq!(step, Step::Packet { total: ask.len(), told: Told::LocalInfile });
    assert!(tracker.wants_file() && !tracker.is_done());
    tracker.file_sent(3);
    assert_eq!(tracker.next_seq(), 4);
    follow(&mut tracker, &Script::new().ok(2).bytes, &[64]);
}

#[test]
fn progress_reports_change_nothing() {
    let progress = b"\xff\xff\xff\x01\x01\x02\x05\x0d\x00\x04copy";
    let bytes = Script::new().packet(progress).packet(progress).ok(2).bytes;
    let mut tracker = ResponseTracker::new(capabilities(true));
    tracker.start(Command::Query, false);
    follow(&mut tracker, &bytes, &[10]);
}

#[test]
fn what_comes_unasked_is_an_error() {
    let mut tracker = ResponseTracker::new(capabilities(true));
    assert!(tracker.step(&Script::new().ok(2).bytes).is_err());
}

#[test]
fn an_error_of_our_own_fits_between_two_rows() {
    let bytes =
        Script::new().packet(&[1]).packet(DEFINITION).packet(b"\x01a").packet(b"\x05hello").bytes;
    let mut tracker = ResponseTracker::new(capabilities(true));
    tracker.start(Command::Query, false);
    let mut at = 0;
    while at < bytes.len() {
        match tracker.step(&bytes[at..]).expect("good") {
            Step::Pass(len) | Step::Packet { total: len, .. } => at += len,
            Step::Wait(_) => panic!("everything is there"),
        }
    }
    assert!(tracker.at_boundary());
    assert_eq!(tracker.next_seq(), 5);
    // Cut inside the last row there is no place for it.
    let mut tracker = ResponseTracker::new(capabilities(true));
    tracker.start(Command::Query, false);
    let mut at = 0;
    while let Step::Pass(len) | Step::Packet { total: len, .. } =
        tracker.step(&bytes[at..bytes.len() - 2]).expect("good")
    {
        at += len;
    }
    assert!(!tracker.at_boundary());
}

/// One of several results to one command.
#[derive(Clone, Debug)]
enum Part {
    Ok(Vec<u8>),
    Rows {
        columns: u8,
        told: bool,
        rows: Vec<Vec<u8>>,
        progress: bool,
    },
    /// The last one: an error instead of a result, or behind so many rows.
    Error(Option<Vec<Vec<u8>>>),
}

fn part() -> impl Strategy<Value = Part> {
    let rows = || {
        let row = (0u8..0xFC, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(first, rest)| [&[first], &rest[..]].concat());
        prop::collection::vec(row, 0..6)
    };
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Part::Ok),
        (1u8..5, any::<bool>(), rows(), any::<bool>()).prop_map(
            |(columns, told, rows, progress)| Part::Rows { columns, told, rows, progress }
        ),
        prop::option::of(rows()).prop_map(Part::Error),
    ]
}

/// The answer that consists of these, up to the first error.
fn transcript(parts: &[Part], deprecate: bool, metadata_told: bool) -> Vec<u8> {
    let count = |columns: u8, told: bool| {
        if metadata_told { vec![columns, u8::from(told)] } else { vec![columns] }
    };
    let mut script = Script::new();
    for (index, part) in parts.iter().enumerate() {
        let status = if index + 1 < parts.len() { 0x0A } else { 0x02 };
        script = match part {
            Part::Ok(info) => {
                let mut payload = vec![0, 1, 0, status, 0, 0, 0, info.len() as u8];
                payload.extend_from_slice(info);
                script.packet(&payload)
            }
            Part::Rows { columns, told, rows, progress } => {
                script = script.packet(&count(*columns, *told));
                for _ in 0..if metadata_told && !told { 0 } else { *columns } {
                    script = script.packet(DEFINITION);
                }
                if !deprecate {
                    script = script.eof(false, 2);
                }
                for row in rows {
                    script = script.packet(row);
                    if *progress {
                        script = script.packet(b"\xff\xff\xff\x01\x01\x02\x05\x0d\x00\x04copy");
                    }
                }
                script.eof(deprecate, u16::from(status))
            }
            Part::Error(rows) => {
                if let Some(rows) = rows {
                    script = script.packet(&count(1, true)).packet(DEFINITION);
                    if !deprecate {
                        script = script.eof(false, 2);
                    }
                    for row in rows {
                        script = script.packet(row);
                    }
                }
                return script.packet(b"\xff\x25\x05#70100x").bytes;
            }
        };
    }
    script.bytes
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_end(
        deprecate: bool,
        results in prop::collection::vec((1u8..5, prop::collection::vec(prop::collection::vec(0u8..0xFB, 1..40), 0..6)), 1..4),
        chunks in prop::collection::vec(1usize..50, 1..20),
    ) {
        let mut script = Script::new();
        for (index, (columns, rows)) in results.iter().enumerate() {
            let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            let more = if index + 1 < results.len() { 0x0A } else { 0x02 };
            script = script.result(deprecate, *columns, &rows, more);
        }
        let mut tracker = ResponseTracker::new(capabilities(deprecate));
        tracker.start(Command::Query, false);
        follow(&mut tracker, &script.bytes, &chunks);
        prop_assert!(tracker.at_boundary());
    }

    #[test]
    fn any_cutting_of_any_answer_tells_the_same(
        deprecate: bool,
        metadata in 0u8..3,
        parts in prop::collection::vec(part(), 1..5),
        chunks in prop::collection::vec(1usize..50, 1..20),
    ) {
        let mut capabilities = capabilities(deprecate);
        capabilities = capabilities
            | [
                Capabilities::default(),
                Capabilities::CACHE_METADATA,
                Capabilities::OPTIONAL_RESULTSET_METADATA,
            ][usize::from(metadata)];
        let bytes = transcript(&parts, deprecate, metadata > 0);
        let mut whole = ResponseTracker::new(capabilities);
        whole.start(Command::Query, false);
        let expected = follow(&mut whole, &bytes, &[bytes.len()]);
        let mut cut = ResponseTracker::new(capabilities);
        cut.start(Command::Query, false);
        prop_assert_eq!(follow(&mut cut, &bytes, &chunks), expected);
        prop_assert_eq!((cut.status(), cut.next_seq()), (whole.status(), whole.next_seq()));
    }

    #[test]
    fn rubbish_never_panics_and_never_loops(bytes: Vec<u8>, deprecate: bool, command: u8) {
        let mut tracker = ResponseTracker::new(capabilities(deprecate));
        tracker.start(Command::from_byte(command), false);
        let mut at = 0;
        while at < bytes.len() {
            match tracker.step(&bytes[at..]) {
                Ok(Step::Pass(len) | Step::Packet { total: len, .. }) => {
                    prop_assert!(len > 0);
                    at += len;
                }
                Ok(Step::Wait(need)) => {
                    prop_assert!(need > bytes.len() - at);
                    break;
                }
                Err(_) => break,
            }
        }
    }
}
