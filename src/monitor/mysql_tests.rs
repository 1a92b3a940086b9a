use mysql_async::Row;

use super::*;
use crate::monitor::columns::tests::row;

const MARIADB: Dialect = Dialect { flavor: Flavor::MariaDb, version: (10, 11, 19) };
const MYSQL: Dialect = Dialect { flavor: Flavor::MySql, version: (9, 7, 4) };

fn identity() -> Arc<Identity> {
    Arc::new(Identity {
        flavor: Flavor::MariaDb,
        version: "5.5.5-10.11.19-MariaDB".to_owned(),
        capabilities: 0,
        collation: 8,
        plugin: "mysql_native_password".to_owned(),
    })
}

fn variables(read_only: &str) -> Vec<Row> {
    vec![row(&[
        ("server_id", Some("7")),
        ("read_only", Some(read_only)),
        ("step", Some("2")),
        ("start", Some("1")),
        ("executed", Some("")),
        ("log_bin", Some("1")),
        ("numbering", Some("3")),
        ("claimed", Some("0")),
        ("draining", None),
        ("connection", Some("17")),
    ])]
}

fn uptime() -> Vec<Row> {
    vec![row(&[("Variable_name", Some("Uptime")), ("Value", Some("42"))])]
}

fn mysql_channel(name: &str) -> Row {
    row(&[
        ("Channel_Name", Some(name)),
        ("Source_Host", Some("b")),
        ("Source_Port", Some("3306")),
        ("Source_Server_Id", Some("2")),
        ("Read_Source_Log_Pos", Some("4")),
        ("Exec_Source_Log_Pos", Some("4")),
        ("Replica_IO_Running", Some("Yes")),
        ("Replica_SQL_Running", Some("Yes")),
        ("Last_IO_Errno", Some("0")),
        ("Last_SQL_Errno", Some("0")),
    ])
}

fn facts_of(sets: Vec<Vec<Row>>, error: Option<(u16, &str)>) -> Result<Facts, ConnectionError> {
    let error = error.map(|(code, message)| (code, message.to_owned()));
    read_facts(MARIADB, Heartbeats::Unknown, identity(), Answers { sets, error })
}

#[test]
fn the_term_is_the_highest_row() {
    let term = vec![row(&[("term", Some("9")), ("active", Some("m2"))])];
    let facts =
        facts_of(vec![variables("1"), uptime(), vec![], vec![], term], None).expect("all there");
    assert_eq!(facts.terms, TermStore::Present(Some((Term(9), "m2".to_owned()))));
    assert!(!facts.planned, "a table of an older version");
    for (value, planned) in [("1", true), ("0", false)] {
        let term =
            vec![row(&[("term", Some("9")), ("active", Some("m2")), ("planned", Some(value))])];
        let sets = vec![variables("1"), uptime(), vec![], vec![], term];
        assert_eq!(facts_of(sets, None).expect("all there").planned, planned);
    }
    assert_eq!((facts.server_id, facts.uptime), (7, Duration::from_secs(42)));
    assert_eq!((facts.auto_increment_increment, facts.auto_increment_offset), (2, 1));
    assert!(facts.read_only);
    assert!(facts.channels.is_empty());
}

#[test]
fn an_empty_table_is_there() {
    let facts =
        facts_of(vec![variables("0"), uptime(), vec![], vec![], vec![]], None).expect("all there");
    assert_eq!(facts.terms, TermStore::Present(None));
    assert!(!facts.read_only);
}

#[test]
fn read_only_may_be_a_word() {
    for (text, expected) in [("OFF", false), ("ON", true), ("NO_LOCK_NO_ADMIN", true)] {
        let sets = vec![variables(text), uptime(), vec![], vec![], vec![]];
        assert_eq!(facts_of(sets, None).expect("all there").read_only, expected, "{text}");
    }
}

#[test]
fn only_the_term_table_may_be_missing_or_denied() {
    let answered = || vec![variables("0"), uptime(), vec![], vec![]];
    for (code, expected) in [
        (1146, TermStore::Missing),
        (1049, TermStore::Missing),
        (1142, TermStore::Denied("words".to_owned())),
        (1044, TermStore::Denied("words".to_owned())),
    ] {
        let facts = facts_of(answered(), Some((code, "words"))).expect("good enough");
        assert_eq!(facts.terms, expected, "{code}");
        // The same code about the replication status leaves nothing to judge by.
        let error =
            facts_of(answered().split_off(1), Some((code, "words"))).expect_err("no status");
        assert_eq!(error, ConnectionError::Server { code, message: "words".to_owned() });
    }
    let error = facts_of(answered(), Some((1317, "interrupted"))).expect_err("not about the table");
    assert!(matches!(error, ConnectionError::Server { code: 1317, .. }));
}

#[test]
fn heartbeats_are_there_or_not() {
    let answered = || vec![variables("0"), uptime(), vec![], vec![], vec![]];
    let facts = facts_of(answered(), Some((1146, "no such table"))).expect("good enough");
    assert_eq!((facts.terms, facts.beats), (TermStore::Present(None), None));
    let beat = row(&[("server_id", Some("7")), ("at", Some("5")), ("clock", Some("9"))]);
    let sets = answered().into_iter().chain([vec![beat]]).collect();
    let beats = facts_of(sets, None).expect("all there").beats.expect("a table");
    assert_eq!((beats.clock, beats.of(7), beats.of(8)), (9, Some(5), None));
    facts_of(answered(), Some((1317, "interrupted"))).expect_err("not about the table");
}

#[test]
fn mysql_counts_heartbeats_elsewhere() {
    let counts = vec![
        row(&[("CHANNEL_NAME", Some("other")), ("COUNT_RECEIVED_HEARTBEATS", Some("3"))]),
        row(&[
            ("CHANNEL_NAME", Some("")),
            ("COUNT_RECEIVED_HEARTBEATS", Some("17")),
            ("HEARTBEAT_INTERVAL", Some("1.500")),
        ]),
    ];
    let channels = || vec![mysql_channel(""), mysql_channel("third")];
    let answers = Answers {
        sets: vec![variables("0"), uptime(), vec![], channels(), counts, vec![]],
        error: None,
    };
    let facts = read_facts(MYSQL, Heartbeats::WithPeriod, identity(), answers).expect("all there");
    assert_eq!(facts.channels[0].heartbeats, Some(17));
    assert_eq!(facts.channels[0].heartbeat_period, Some(Duration::from_millis(1500)));
    assert_eq!(facts.channels[1].heartbeats, None);
    let answers =
        Answers { sets: vec![variables("0"), uptime(), vec![], channels(), vec![]], error: None };
    let facts =
        read_facts(MYSQL, Heartbeats::Unknown, identity(), answers).expect("without heartbeats");
    assert_eq!(facts.terms, TermStore::Present(None));
}

#[test]
fn semi_synchronous_replication_is_on_only_while_it_works() {
    let status =
        |name: &str, value: &str| row(&[("Variable_name", Some(name)), ("Value", Some(value))]);
    for (enabled, works, expected) in [
        ("OFF", "OFF", SemiSync::Off),
        ("ON", "ON", SemiSync::Waiting),
        ("ON", "OFF", SemiSync::FellBack),
    ] {
        for word in ["master", "source"] {
            let mut up = uptime();
            up.push(status(&format!("Rpl_semi_sync_{word}_status"), works));
            let switches = vec![
                status(&format!("rpl_semi_sync_{word}_enabled"), enabled),
                // The receiver's side says nothing of it.
                status("rpl_semi_sync_slave_enabled", "ON"),
                status("rpl_semi_sync_replica_enabled", "ON"),
            ];
            let sets = vec![variables("0"), up, switches, vec![], vec![]];
            let facts = facts_of(sets, None).expect("all there");
            assert_eq!(facts.sending.semi_sync, expected, "{word} {enabled} {works}");
            assert_eq!(facts.uptime, Duration::from_secs(42));
        }
    }
}

#[test]
fn who_numbers_transactions_depends_on_the_family() {
    let of = |flavor, log: &str, numbering: &str| {
        let variables = row(&[("log_bin", Some(log)), ("numbering", Some(numbering))]);
        read_numbering(flavor, Columns(&variables)).expect("readable")
    };
    assert_eq!(of(Flavor::MariaDb, "1", "7"), Numbering::Domain(7));
    assert_eq!(of(Flavor::MariaDb, "0", "7"), Numbering::NoLog);
    assert_eq!(of(Flavor::MySql, "1", "ON"), Numbering::Own);
    assert_eq!(of(Flavor::MySql, "1", "ON_PERMISSIVE"), Numbering::Own);
    assert_eq!(of(Flavor::MySql, "1", "OFF_PERMISSIVE"), Numbering::NoGtids);
    assert_eq!(of(Flavor::MySql, "OFF", "ON"), Numbering::NoLog);
}

#[test]
fn tandems_own_tables_are_asked_last() {
    for dialect in [MARIADB, MYSQL] {
        let questions = questions(dialect, Heartbeats::WithPeriod);
        let mut last = questions.rsplit(';');
        assert!(last.next().is_some_and(|beats| beats.contains("tandem.heartbeat")));
        assert!(last.next().is_some_and(|term| term.contains("tandem.term")), "{questions}");
    }
}

/// Its kernel accepts, and it says nothing: a frozen server. The second probe is another connection,
/// which was begun when the first had been silent for half of its time.
#[tokio::test(start_paused = true)]
async fn a_silent_server_is_asked_again_before_the_first_question_has_failed() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let address = crate::topology::ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port };
    let servers = crate::topology::Servers::new([("m1".to_owned(), address)], []);
    let server = servers.iter().next().expect("it is configured").clone();
    let account = crate::config::Monitor { user: "tandem".to_owned(), ..Default::default() };
    let mut probe = MysqlProbe::new(server, Dialer::new(&account), TIMEOUT);
    let began = Instant::now();
    assert!(tokio::time::timeout(TIMEOUT, probe.probe()).await.is_err());
    let asked = probe.asked_since().expect("a question is out");
    assert!(asked - began >= TIMEOUT / 2 && asked - began < TIMEOUT);
    // It is the first one of the next look, which has a second one beside it in turn.
    assert!(timeout_at(asked + TIMEOUT, probe.probe()).await.is_err());
    assert!(probe.asked_since().expect("a question is out") >= asked + TIMEOUT / 2);
    probe.forget();
    assert_eq!(probe.asked_since(), None);
}
