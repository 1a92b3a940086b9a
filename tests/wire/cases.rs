//! What clients ask, and in which variants of the protocol.

use tandem::topology::Flavor;
use tandem::wire::Capabilities;

use crate::conversation::{Execution, Step};

/// A few steps that belong together. What they make they remove, or it is temporary.
pub struct Case {
    pub name: &'static str,
    pub steps: Vec<Step>,
    /// Large: not in every variant.
    pub large: bool,
}

/// A set of capabilities that a client may have.
pub struct Variant {
    pub name: String,
    pub capabilities: Capabilities,
}

const BASE: u64 = Capabilities::PROTOCOL_41.0
    | Capabilities::SECURE_CONNECTION.0
    | Capabilities::TRANSACTIONS.0
    | Capabilities::PLUGIN_AUTH.0
    | Capabilities::PLUGIN_AUTH_LENENC.0
    | Capabilities::LOCAL_FILES.0
    | Capabilities::MULTI_RESULTS.0
    | Capabilities::PS_MULTI_RESULTS.0;

/// With and without each: OK instead of EOF, session tracking, several statements, and what only
/// this family has.
pub fn variants(flavor: Flavor, offered: Capabilities) -> Vec<Variant> {
    let own = match flavor {
        Flavor::MariaDb => {
            Capabilities::PROGRESS
                | Capabilities::STMT_BULK
                | Capabilities::EXTENDED_METADATA
                | Capabilities::CACHE_METADATA
                | Capabilities::BULK_UNIT_RESULTS
        }
        Flavor::MySql => Capabilities::QUERY_ATTRIBUTES | Capabilities::OPTIONAL_RESULTSET_METADATA,
    };
    let parts = [
        ("eof", Capabilities::DEPRECATE_EOF),
        ("track", Capabilities::SESSION_TRACK),
        ("multi", Capabilities::MULTI_STATEMENTS),
        ("own", own & offered),
    ];
    (0..16_u8)
        .map(|bits| {
            let mut capabilities = Capabilities(BASE);
            let mut names = Vec::new();
            for (index, (name, part)) in parts.iter().enumerate() {
                if bits & (1 << index) != 0 {
                    capabilities = capabilities | *part;
                    names.push(*name);
                }
            }
            if !capabilities.is_extended() {
                capabilities = capabilities | Capabilities::CLIENT_MYSQL;
            }
            let name = if names.is_empty() { "plain".to_owned() } else { names.join("+") };
            Variant { name, capabilities }
        })
        .collect()
}

fn query(sql: impl Into<String>) -> Step {
    Step::Query(sql.into())
}

fn case(name: &'static str, steps: Vec<Step>) -> Case {
    Case { name, steps, large: false }
}

fn large(name: &'static str, steps: Vec<Step>) -> Case {
    Case { name, steps, large: true }
}

fn prepare(sql: impl Into<String>) -> Step {
    Step::Prepare(sql.into())
}

fn execute(parameters: Vec<(u8, Option<Vec<u8>>)>) -> Step {
    Step::Execute(Execution { parameters, ..Execution::default() })
}

fn open_cursor(parameters: Vec<(u8, Option<Vec<u8>>)>) -> Step {
    Step::Execute(Execution { flags: 1, parameters, ..Execution::default() })
}

fn fetch(rows: u32) -> Step {
    Step::Statement(0x1c, rows.to_le_bytes().to_vec())
}

fn close() -> Step {
    Step::Statement(0x19, Vec::new())
}

/// A temporary table of this kind with these rows, read as text, as binary, and with a cursor.
fn types(name: &'static str, columns: &str, rows: &[&str]) -> Case {
    let mut steps = vec![query(format!("CREATE TEMPORARY TABLE w ({columns})"))];
    steps.extend(rows.iter().map(|row| query(format!("INSERT INTO w VALUES ({row})"))));
    steps.extend([
        query("SELECT * FROM w"),
        prepare("SELECT * FROM w"),
        execute(Vec::new()),
        execute(Vec::new()),
        open_cursor(Vec::new()),
        fetch(1),
        fetch(100),
        fetch(1),
        close(),
        query("DROP TEMPORARY TABLE w"),
    ]);
    case(name, steps)
}

/// Ten thousand rows of one number, without a table.
const ROWS: &str = "WITH d AS (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
    UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 \
    UNION ALL SELECT 9) SELECT a.n * 1000 + b.n * 100 + c.n * 10 + d.n AS n \
    FROM d AS a, d AS b, d AS c, d ORDER BY 1";

/// All cases for a server of this family.
pub fn cases(flavor: Flavor, greeting: &str, capabilities: Capabilities) -> Vec<Case> {
    let mut all = column_types(flavor, greeting);
    all.extend(sizes());
    all.extend(results());
    all.extend(statements());
    all.extend(files());
    all.extend(commands(flavor));
    all.extend(tracking(flavor, capabilities));
    all.extend(pipelines(flavor));
    if flavor == Flavor::MariaDb && capabilities.has(Capabilities::STMT_BULK) {
        all.push(bulk(capabilities));
    }
    if capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
        all.push(attributes());
    }
    if capabilities.has(Capabilities::OPTIONAL_RESULTSET_METADATA) {
        all.push(without_metadata());
    }
    all
}

fn column_types(flavor: Flavor, version: &str) -> Vec<Case> {
    let mut all = vec![
        types(
            "integers",
            "a TINYINT, b TINYINT UNSIGNED, c SMALLINT, d SMALLINT UNSIGNED, e MEDIUMINT, \
             f MEDIUMINT UNSIGNED, g INT, h INT UNSIGNED, i BIGINT, j BIGINT UNSIGNED, k BOOL, \
             l INT(5) ZEROFILL, m BIT(1), n BIT(64)",
            &[
                "-128, 255, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, \
                 -9223372036854775808, 18446744073709551615, TRUE, 42, b'1', b'1010'",
                "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, FALSE, 0, b'0', b'0'",
                "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
            ],
        ),
        types(
            "decimals",
            "a DECIMAL(65,30), b DECIMAL(10,0) UNSIGNED, c FLOAT, d DOUBLE, e DOUBLE(10,2)",
            &[
                "-12345678901234567890.123456789012345678901234567890, 9999999999, -3.4e38, 1.7e308, 2.5",
                "0, 0, 0, 0, 0",
                "NULL, NULL, NULL, NULL, NULL",
            ],
        ),
        types(
            "times",
            "a DATE, b TIME, c TIME(6), d DATETIME, e DATETIME(3), f DATETIME(6), \
             g TIMESTAMP(6) NULL, h YEAR",
            &[
                "'9999-12-31', '-838:59:59', '12:34:56.789012', '2026-01-02 03:04:05', \
                 '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.678901', \
                 '2026-01-02 03:04:05.000001', 2155",
                "'1000-01-01', '00:00:00', '00:00:00', '2026-01-02', '2026-01-02', '2026-01-02', \
                 NULL, 1901",
            ],
        ),
        types(
            "strings",
            "a CHAR(0), b CHAR(10), c VARCHAR(300) CHARACTER SET utf8mb4, d TINYTEXT, e TEXT, \
             f MEDIUMTEXT, g LONGTEXT, h BINARY(4), i VARBINARY(300), j TINYBLOB, k BLOB, \
             l MEDIUMBLOB, m LONGBLOB, n ENUM('x', 'y'), o SET('p', 'q', 'r')",
            &[
                "'', 'padded', 'größer als ä, 日本, 🐬', 'd', 'e', 'f', 'g', x'00ff', x'fb', \
                 x'fe', x'ff', x'00', x'fc', 'y', 'p,r'",
                "NULL, '', '', '', '', '', '', '', '', '', '', '', '', 'x', ''",
                "'', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
            ],
        ),
        types("json", "a JSON", &["'{\"a\": [1, 2.5, null, \"ü\"]}'", "NULL"]),
        types(
            "geometry",
            "a GEOMETRY, b POINT, c POLYGON",
            &[
                "ST_GeomFromText('LINESTRING(0 0, 1 1)'), ST_GeomFromText('POINT(1 2)'), \
                 ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0))')",
                "NULL, NULL, NULL",
            ],
        ),
    ];
    if flavor == Flavor::MariaDb {
        all.push(types(
            "uuid and addresses",
            "a UUID, b INET6, c INET4",
            &[
                "'123e4567-e89b-12d3-a456-426655440000', '2001:db8::1', '10.1.2.3'",
                "NULL, NULL, NULL",
            ],
        ));
    }
    let has_vectors = flavor == Flavor::MySql || version.starts_with("11.8");
    if has_vectors {
        let from = if flavor == Flavor::MySql { "TO_VECTOR" } else { "VEC_FromText" };
        all.push(types("vectors", "a VECTOR(3)", &[&format!("{from}('[1, 2.5, -3]')"), "NULL"]));
    }
    all
}

fn sizes() -> Vec<Case> {
    let lengths = [0, 1, 250, 251, 252, 255, 256, 65_535, 65_536, 65_537, 1 << 20];
    let mut steps: Vec<Step> = Vec::new();
    for length in lengths {
        steps.push(query(format!("SELECT REPEAT('x', {length}), {length}")));
        steps.push(prepare(format!("SELECT REPEAT('x', {length}) AS a, NULL, 'b'")));
        steps.push(execute(Vec::new()));
        steps.push(close());
    }
    // A row's payload is its text and a length of four or nine bytes before it.
    const MAX: usize = 0xff_ffff;
    let borders = [MAX - 5, MAX - 4, MAX - 3, MAX, MAX + 1, 2 * MAX - 10, 2 * MAX - 9, 2 * MAX];
    let borders = borders.into_iter().map(|length| query(format!("SELECT REPEAT('x', {length})")));
    let statements = [MAX - 1, MAX, MAX + 1, 2 * MAX].into_iter().map(|length| {
        // The byte of the command counts as well.
        let around = "SELECT LENGTH('')".len() + 1;
        query(format!("SELECT LENGTH('{}')", "z".repeat(length - around)))
    });
    let columns: Vec<_> = (0..4096).map(|n| n.to_string()).collect();
    vec![
        case("lengths", steps),
        large("rows of 16 MiB", borders.collect()),
        large("statements of 16 MiB", statements.collect()),
        case("no rows", vec![query("SELECT 1 FROM (SELECT 1 AS a) AS t WHERE a = 2")]),
        case("many rows", vec![query(ROWS), prepare(ROWS), execute(Vec::new()), close()]),
        case(
            "4096 columns",
            vec![
                query(format!("SELECT {}", columns.join(","))),
                prepare(format!("SELECT {}", columns.join(","))),
                execute(Vec::new()),
                close(),
            ],
        ),
    ]
}

fn results() -> Vec<Case> {
    vec![
        case(
            "several results",
            vec![
                query(
                    "SELECT 1; SELECT 2, 3; DO 1; SELECT 4 FROM (SELECT 1 AS a) AS t WHERE a = 2",
                ),
                query("DO 1; SELECT nonsense; SELECT 2"),
                query("SELECT 1;"),
                query(";"),
                query(""),
            ],
        ),
        case(
            "procedures",
            vec![
                query("DROP PROCEDURE IF EXISTS wire_p"),
                query(
                    "CREATE PROCEDURE wire_p(IN a INT, OUT b INT, INOUT c TEXT) \
                     BEGIN SET b = a * 2; SELECT a, c; SELECT 'two'; SET c = CONCAT(c, '!'); END",
                ),
                query("SET @c = 'x'"),
                query("CALL wire_p(1, @b, @c)"),
                query("SELECT @b, @c"),
                prepare("CALL wire_p(?, ?, ?)"),
                execute(vec![Execution::number(4), (8, None), Execution::text("in")]),
                Step::Statement(0x1a, Vec::new()),
                close(),
                query("DROP PROCEDURE wire_p"),
                query("CALL wire_p(1, @b, @c)"),
            ],
        ),
        case(
            "procedures that fail",
            vec![
                query("DROP PROCEDURE IF EXISTS wire_f"),
                query(
                    "CREATE PROCEDURE wire_f() BEGIN SELECT 1; \
                     SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'on purpose'; SELECT 2; END",
                ),
                query("CALL wire_f()"),
                prepare("CALL wire_f()"),
                execute(Vec::new()),
                close(),
                query("DROP PROCEDURE wire_f"),
            ],
        ),
        case(
            "OK with a text",
            vec![
                query("CREATE TEMPORARY TABLE w (id INT AUTO_INCREMENT PRIMARY KEY, a INT)"),
                query("INSERT INTO w (a) VALUES (1), (2), (3)"),
                query("INSERT INTO w (a) SELECT a FROM w"),
                query("UPDATE w SET a = 7 WHERE a < 3"),
                query("ALTER TABLE w ADD b INT"),
                query("DELETE FROM w WHERE a = 7"),
                query("SELECT LAST_INSERT_ID(), ROW_COUNT()"),
                query("DROP TEMPORARY TABLE w"),
            ],
        ),
        case(
            "warnings",
            vec![
                query("SELECT 1 / 0, CAST('x' AS SIGNED)"),
                query("SHOW WARNINGS"),
                query("SHOW COUNT(*) WARNINGS"),
                query("DROP TABLE IF EXISTS nothing"),
                prepare("SELECT 1 / 0"),
                execute(Vec::new()),
                close(),
            ],
        ),
        case(
            "errors",
            vec![
                query("SELCT 1"),
                query("SELECT * FROM nothing"),
                query("SELECT 'unclosed"),
                query("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'größer'"),
                // Behind some rows.
                query(format!(
                    "SELECT n, (SELECT 1 UNION SELECT 2 + 0 * n FROM (SELECT 1) AS o WHERE t.n = 9000) \
                     FROM ({ROWS} LIMIT 10000) AS t"
                )),
                prepare("SELECT nonsense"),
                prepare("SELECT ? FROM nothing"),
            ],
        ),
        case(
            "transactions",
            vec![
                query("BEGIN"),
                query("SELECT 1"),
                query("COMMIT"),
                query("SET autocommit = 0"),
                query("SELECT 1"),
                query("ROLLBACK"),
                query("SET autocommit = 1"),
                query("START TRANSACTION READ ONLY"),
                query("ROLLBACK"),
            ],
        ),
    ]
}

fn statements() -> Vec<Case> {
    let many = vec!["?"; 2000].join(",");
    let numbers: Vec<_> = (0..2000).map(Execution::number).collect();
    let typed = vec![
        (1, Some(vec![255])),
        (2, Some(vec![1, 2])),
        (3, Some(vec![1, 2, 3, 4])),
        Execution::number(-1),
        (4, Some(1.5_f32.to_le_bytes().to_vec())),
        (5, Some(2.5_f64.to_le_bytes().to_vec())),
        (10, Some(vec![4, 0xea, 0x07, 1, 2])),
        (12, Some(vec![11, 0xea, 0x07, 1, 2, 3, 4, 5, 1, 0, 0, 0])),
        (11, Some(vec![8, 0, 0, 0, 0, 0, 1, 2, 3])),
        Execution::text("text"),
        (0xfc, Some(b"\x03\x00\xff\xfe".to_vec())),
        (6, None),
    ];
    let list = vec!["?"; typed.len()].join(", ");
    vec![
        case(
            "parameters",
            vec![
                prepare(format!("SELECT {list}")),
                execute(typed.clone()),
                Step::Execute(Execution { parameters: typed, bound: true, ..Execution::default() }),
                close(),
                prepare(format!("SELECT 1 WHERE 1 IN ({many})")),
                execute(numbers),
                close(),
                prepare("DO ?"),
                execute(vec![Execution::number(1)]),
                close(),
            ],
        ),
        case(
            "cursors",
            vec![
                prepare(format!("{ROWS} LIMIT 5")),
                open_cursor(Vec::new()),
                fetch(2),
                fetch(2),
                fetch(2),
                fetch(2),
                open_cursor(Vec::new()),
                fetch(1),
                Step::Statement(0x1a, Vec::new()),
                fetch(1),
                close(),
                prepare("SELECT 1 FROM (SELECT 1 AS a) AS t WHERE a = 2"),
                open_cursor(Vec::new()),
                fetch(1),
                close(),
                prepare("DO 1"),
                open_cursor(Vec::new()),
                close(),
            ],
        ),
        case(
            "long data",
            vec![
                prepare("SELECT LENGTH(?), ?"),
                Step::Statement(0x18, b"\0\0some".to_vec()),
                Step::Statement(0x18, [&b"\0\0"[..], &vec![b'x'; 100_000]].concat()),
                execute(vec![(0xfc, Some(Vec::new())), Execution::number(5)]),
                Step::Statement(0x18, b"\0\0more".to_vec()),
                Step::Statement(0x1a, Vec::new()),
                execute(vec![Execution::text("short"), Execution::number(5)]),
                close(),
            ],
        ),
        case(
            "statements that are none",
            vec![
                prepare("SELECT 1"),
                close(),
                execute(Vec::new()),
                fetch(1),
                Step::Statement(0x1a, Vec::new()),
                Step::Statement(0x18, b"\0\0some".to_vec()),
                close(),
                Step::Command(b"\x0e".to_vec()),
            ],
        ),
    ]
}

fn files() -> Vec<Case> {
    let load = |sql: &str, pieces: &[&[u8]]| {
        Step::Load(sql.to_owned(), pieces.iter().map(|piece| piece.to_vec()).collect())
    };
    let rows = b"1\tone\n2\ttwo\n";
    let many: Vec<u8> = (0..200_000).flat_map(|n| format!("{n}\trow\n").into_bytes()).collect();
    vec![
        case(
            "LOCAL INFILE",
            vec![
                query("CREATE TEMPORARY TABLE w (id INT, a VARCHAR(3))"),
                load("LOAD DATA LOCAL INFILE 'x' INTO TABLE w", &[&rows[..5], &rows[5..]]),
                load("LOAD DATA LOCAL INFILE 'refused' INTO TABLE w", &[]),
                load("LOAD DATA LOCAL INFILE 'x' INTO TABLE w", &[b"x\ttoo long\n"]),
                query("SHOW WARNINGS"),
                load("LOAD DATA LOCAL INFILE 'x' INTO TABLE nothing", &[rows]),
                load("SELECT 1; LOAD DATA LOCAL INFILE 'x' INTO TABLE w; SELECT 2", &[rows]),
                query("SELECT COUNT(*), MAX(a) FROM w"),
                query("DROP TEMPORARY TABLE w"),
            ],
        ),
        large(
            "LOCAL INFILE of 2 MB",
            vec![
                query("CREATE TEMPORARY TABLE w (id INT, a VARCHAR(3))"),
                load(
                    "LOAD DATA LOCAL INFILE 'x' INTO TABLE w",
                    &[&many[..1_000_000], &many[1_000_000..]],
                ),
                query("SELECT COUNT(*), SUM(id) FROM w"),
                query("DROP TEMPORARY TABLE w"),
            ],
        ),
    ]
}

fn commands(flavor: Flavor) -> Vec<Case> {
    let command = |bytes: &[u8]| Step::Command(bytes.to_vec());
    let mut steps = vec![
        command(b"\x0e"),
        command(b"\x02app"),
        command(b"\x02nothing"),
        query("CREATE TEMPORARY TABLE w (id INT DEFAULT 7, a TEXT)"),
        command(b"\x04w\0"),
        command(b"\x04w\0i%"),
        command(b"\x04nothing\0"),
        query("DROP TEMPORARY TABLE w"),
        command(b"\x1b\0\0"),
        query("SELECT 1; SELECT 2"),
        command(b"\x1b\x01\0"),
        query("SELECT 1; SELECT 2"),
        command(b"\x1b\x07\0"),
        command(b"\x0d"),
        command(b"\x07\x04"),
        // Unknown, removed, and none at all.
        command(b"\x77"),
        command(b"\x13"),
        command(b"\x05x"),
        command(b"\0"),
        command(b""),
        Step::Changing(b"\x09".to_vec()),
        Step::Changing(b"\x0a".to_vec()),
        command(b"\x0e"),
    ];
    if flavor == Flavor::MySql {
        // COM_DEBUG writes into the error log only; MySQL's tells of its memory. No difference here.
        steps.retain(|step| !matches!(step, Step::Command(bytes) if bytes == b"\x0d"));
    }
    let reset = vec![
        query("SET @a = 1, NAMES latin1"),
        query("SET sql_mode = 'ANSI'"),
        command(b"\x1f"),
        query("SELECT @a, @@sql_mode = 'ANSI', @@character_set_client, DATABASE()"),
        query("SET time_zone = '+01:00'"),
        command(b"\x1f"),
        command(b"\x0e"),
    ];
    vec![case("commands", steps), case("reset", reset)]
}

fn tracking(flavor: Flavor, capabilities: Capabilities) -> Vec<Case> {
    let mut settings = vec![
        query("SELECT @@session_track_system_variables, @@session_track_schema"),
        query("SELECT @@SESSION.session_track_state_change"),
        query("SET session_track_state_change = ON"),
        query("SET @a = 1"),
        query("SET session_track_schema = OFF, sql_mode = 'ANSI'"),
        query("USE app"),
        query(
            "SET session_track_system_variables = CONCAT(@@session_track_system_variables, ',sql_mode')",
        ),
        query("SET sql_mode = ''"),
        query("SELECT @@session_track_system_variables"),
        query("SET session_track_system_variables = 'nonsense'"),
        query("SET session_track_system_variables = 'wait_timeout,autocommit', autocommit = 1"),
        query("SET wait_timeout = 100, time_zone = '+02:00'"),
        query("SET session_track_system_variables = DEFAULT"),
        query("SET time_zone = '+03:00'"),
        prepare("SELECT @@session_track_schema"),
        execute(Vec::new()),
        close(),
        Step::Command(b"\x1f".to_vec()),
        query("SELECT @@session_track_system_variables, @@session_track_schema"),
    ];
    // To a client that cannot be told MariaDB goes on to say, in EOF packets, that something is.
    if capabilities.has(Capabilities::SESSION_TRACK) {
        settings.push(query("SET session_track_transaction_info = 'CHARACTERISTICS'"));
        settings.push(query("START TRANSACTION READ ONLY"));
        settings.push(query("COMMIT"));
    }
    if flavor == Flavor::MySql {
        settings.push(query("SELECT @@session_track_gtids"));
        settings.push(query("SET session_track_gtids = OWN_GTID"));
        settings.push(query("DO 1"));
        settings.push(query("SELECT @@session_track_gtids"));
        settings.push(query("SET session_track_gtids = DEFAULT, time_zone = '+04:00'"));
        settings.push(query("SELECT @@session_track_gtids, @@time_zone"));
    }
    vec![
        case(
            "changes of the session",
            vec![
                query("SET NAMES utf8mb4"),
                query("SET NAMES latin1 COLLATE latin1_bin"),
                query("SET autocommit = 0"),
                query("SET autocommit = 1, time_zone = '+01:00', sql_mode = 'ANSI'"),
                query("SET sql_mode = 'TRADITIONAL'"),
                query("USE mysql"),
                query("USE app"),
                query("SET @a = 1"),
                query("CREATE TEMPORARY TABLE w (a INT)"),
                query("DROP TEMPORARY TABLE w"),
                query("PREPARE s FROM 'SELECT 1'"),
                query("EXECUTE s"),
                query("DEALLOCATE PREPARE s"),
                query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"),
                query("SELECT 1; SET time_zone = '+02:00'; SET @a = 2; SELECT 2"),
                Step::Command(b"\x02mysql".to_vec()),
                Step::Command(b"\x02app".to_vec()),
            ],
        ),
        case("settings of session tracking", settings),
    ]
}

fn pipelines(flavor: Flavor) -> Vec<Case> {
    let mut all = vec![case(
        "pipelines",
        vec![
            Step::Pipelined(vec![
                query("SELECT 1"),
                Step::Command(b"\x0e".to_vec()),
                query("SELCT"),
                query("SELECT 2"),
            ]),
            Step::Pipelined(vec![query(ROWS), query("DO 1"), query(ROWS)]),
            prepare("SELECT LENGTH(?)"),
            Step::Pipelined(vec![
                Step::Statement(0x18, b"\0\0some".to_vec()),
                Step::Statement(0x18, b"\0\0more".to_vec()),
                execute(vec![(0xfc, Some(Vec::new()))]),
                close(),
                query("SELECT 3"),
            ]),
        ],
    )];
    if flavor == Flavor::MariaDb {
        let last = |command: u8, rest: &[u8]| {
            Step::Command([&[command, 0xff, 0xff, 0xff, 0xff], rest].concat())
        };
        let run = last(0x17, &[0, 1, 0, 0, 0]);
        all.push(case(
            "the statement prepared last",
            vec![
                Step::Pipelined(vec![prepare("SELECT 'last'"), run.clone(), last(0x19, &[])]),
                Step::Pipelined(vec![prepare("SELCT"), run.clone()]),
                run,
            ],
        ));
    }
    all
}

/// COM_STMT_BULK_EXECUTE: with types, without, and a result for each row.
fn bulk(capabilities: Capabilities) -> Case {
    let row = |text: &str, number: i64| {
        let mut bytes = vec![0];
        tandem::wire::put_lenenc_bytes(&mut bytes, text.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes
    };
    let rows = [row("a", 1), row("b", 2), vec![1, 1]].concat();
    let with_types = |flags: u8| [&[128 | flags, 0, 0xfd, 0, 8, 0][..], &rows].concat();
    let mut steps = vec![
        query("CREATE TEMPORARY TABLE w (id INT AUTO_INCREMENT PRIMARY KEY, a TEXT, b BIGINT)"),
        prepare("INSERT INTO w (a, b) VALUES (?, ?)"),
        Step::Statement(0xfa, with_types(0)),
        Step::Statement(0xfa, [&[0, 0][..], &rows].concat()),
        close(),
        query("SELECT * FROM w"),
        prepare("INSERT INTO w (a, b) VALUES (?, ?) RETURNING id"),
        Step::Statement(0xfa, with_types(0)),
        close(),
    ];
    if capabilities.has(Capabilities::BULK_UNIT_RESULTS) {
        steps.push(prepare("INSERT INTO w (a, b) VALUES (?, ?)"));
        steps.push(Step::Statement(0xfa, with_types(64)));
        steps.push(close());
    }
    steps.push(query("DROP TEMPORARY TABLE w"));
    case("bulk execution", steps)
}

/// Attributes with and without a value, on queries and executions.
fn attributes() -> Case {
    let with = |sql: &str| {
        let front = b"\x03\x03\x01\x02\x01\xfe\0\x01a\xfe\0\x01b\x08\0\x01c\x01x\x01\0\0\0\0\0\0\0";
        Step::Command([&front[..], sql.as_bytes()].concat())
    };
    // A parameter without a name and an attribute with one.
    let executed = b"\x08\x01\0\0\0\x02\0\x01\xfe\0\0\xfe\0\x01a\x01x\x01y";
    let bound = b"\x08\x01\0\0\0\x02\0\0\x01x\x01y";
    case(
        "query attributes",
        vec![
            with("SELECT 1"),
            with("SET @a = 1"),
            with("SELCT"),
            prepare("SELECT ?"),
            Step::Statement(0x17, executed.to_vec()),
            Step::Statement(0x17, bound.to_vec()),
            close(),
            Step::Command(b"\x0e".to_vec()),
        ],
    )
}

/// `resultset_metadata = NONE`.
fn without_metadata() -> Case {
    case(
        "results without metadata",
        vec![
            query("SET resultset_metadata = NONE"),
            query("SELECT 1, 2"),
            query(ROWS),
            query("SELECT 1; SELECT 2"),
            prepare("SELECT ?, ?"),
            execute(vec![Execution::number(1), Execution::text("x")]),
            open_cursor(vec![Execution::number(1), Execution::text("x")]),
            fetch(1),
            close(),
            Step::Command(b"\x04nothing\0".to_vec()),
            query("SET resultset_metadata = FULL"),
            query("SELECT 1, 2"),
        ],
    )
}
