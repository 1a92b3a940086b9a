//! From what servers are like to what is done to them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::Credentials;
use crate::pair::facts::{Facts, Origin, Unseen, Variable, Variables};
use crate::pair::setup::request::Wishes;
use crate::pair::setup::state::{Data, MonitorAccount, ReplicationAccount};
use crate::topology::{Dialect, Flavor, GtidSet, Role, ServerAddress};

const MARIADB: &str = "10.11.19-MariaDB";
const MYSQL: &str = "9.7.4";

fn variables(flavor: Flavor) -> Variables {
    let common = [
        ("server_id", "1"),
        ("log_bin", "ON"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("auto_increment_increment", "1"),
        ("auto_increment_offset", "1"),
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("read_only", "OFF"),
    ];
    let own: &[(&str, &str)] = match flavor {
        Flavor::MariaDb => &[
            ("log_slave_updates", "ON"),
            ("gtid_domain_id", "0"),
            ("gtid_ignore_duplicates", "OFF"),
            ("slave_parallel_threads", "0"),
            ("slave_parallel_mode", "optimistic"),
            ("slave_net_timeout", "60"),
        ],
        Flavor::MySql => &[
            ("log_replica_updates", "ON"),
            ("gtid_mode", "OFF"),
            ("enforce_gtid_consistency", "OFF"),
            ("replica_parallel_workers", "4"),
            ("replica_preserve_commit_order", "ON"),
            ("replica_net_timeout", "60"),
            ("innodb_log_writer_threads", "OFF"),
            ("super_read_only", "OFF"),
        ],
    };
    let variable = |value: &str| Variable {
        value: value.to_owned(),
        origin: Origin::Default,
        persisted: None,
    };
    let all = common.iter().chain(own);
    Variables::new(all.map(|(name, value)| ((*name).to_owned(), variable(value))))
}

/// A server as it is after its installation, but for MariaDB's log.
fn fresh(name: &str, version: &str) -> State {
    let dialect = Dialect::of_version(version);
    State {
        facts: Facts {
            name: name.to_owned(),
            address: ServerAddress::Tcp { host: "10.0.0.1".to_owned(), port: 3306 },
            role: if name.starts_with('r') { Role::Replica } else { Role::Master },
            version: version.to_owned(),
            account: "root@%".to_owned(),
            variables: variables(dialect.flavor),
            channels: Ok(Vec::new()),
            executed: Ok(GtidSet::empty()),
            purged: Ok(GtidSet::empty()),
            dialect,
            clock: Err(Unseen::NotAsked),
            status: Err(Unseen::NotAsked),
            term: Err(Unseen::NotAsked),
            beats: Err(Unseen::NotAsked),
            tables: Err(Unseen::NotAsked),
            accounts: Err(Unseen::NotAsked),
            grants: Err(Unseen::NotAsked),
            events: Err(Unseen::NotAsked),
            certificate: Err(Unseen::NotAsked),
            disks: Err(Unseen::NotAsked),
            log_filters: Err(Unseen::NotAsked),
        },
        sources: Vec::new(),
        data: Data::default(),
        lacks: Vec::new(),
        monitor: MonitorAccount::Refused,
        replication: ReplicationAccount { exists: false, fits: None },
        has_schema: false,
        term: None,
        events: BTreeMap::new(),
        plugins: BTreeSet::new(),
        slave_position: GtidSet::empty(),
        log_position: String::new(),
        followers: 0,
    }
}

fn with(mut state: State, changes: &[(&str, &str)]) -> State {
    let all = state.facts.variables.iter().map(|(name, variable)| {
        let changed = changes.iter().find(|(changed, _)| *changed == name);
        let value = changed.map_or(variable.value.as_str(), |(_, value)| value).to_owned();
        (name.to_owned(), Variable { value, ..variable.clone() })
    });
    state.facts.variables = Variables::new(all.collect::<Vec<_>>());
    state
}

fn holding(mut state: State, schema: &str, table: &str) -> State {
    state.data.0.entry(schema.to_owned()).or_default().insert(table.to_owned());
    state
}

fn request() -> Request {
    let secret = |text: &str| Secret::new(text.to_owned());
    Request {
        wishes: Wishes::default(),
        monitor: Credentials { user: "tandem".to_owned(), password: secret("of-tandem") },
        replication_user: None,
        replication_password: secret("of-replication"),
        rotating: false,
    }
}

fn shown(plan: &Plan, place: usize) -> Vec<String> {
    let shown = |step: &Step| match &step.action {
        Action::Sql { shown, .. } => shown.clone(),
        Action::CopyFrom(from) => format!("copy from {from}"),
    };
    plan.servers[place].steps.iter().map(shown).collect()
}

/// The statements that set something.
fn set(plan: &Plan, place: usize) -> Vec<String> {
    let set = |sql: &String| sql.starts_with("SET ") && !sql.contains("sql_log_bin");
    shown(plan, place).into_iter().filter(set).collect()
}

fn told(refused: Result<Plan, Vec<Refusal>>) -> String {
    let refusals = refused.expect_err("this was not refused");
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn mysql_is_set_persistently_and_step_by_step() {
    let plan = plan(&[fresh("m1", MYSQL), fresh("m2", MYSQL)], &[], &request()).unwrap();
    assert_eq!(
        set(&plan, 1),
        [
            "SET PERSIST server_id = 2",
            "SET PERSIST enforce_gtid_consistency = ON",
            "SET PERSIST auto_increment_increment = 2",
            "SET PERSIST auto_increment_offset = 2",
            "SET PERSIST innodb_log_writer_threads = ON",
            "SET PERSIST replica_net_timeout = 4",
            "SET PERSIST gtid_mode = OFF_PERMISSIVE",
            "SET PERSIST gtid_mode = ON_PERMISSIVE",
            "SET PERSIST gtid_mode = ON",
            "SET PERSIST read_only = ON",
            "SET PERSIST super_read_only = ON",
        ]
    );
    let first = set(&plan, 0);
    assert!(!first.iter().any(|sql| sql.contains("server_id")), "1 is kept by one: {first:?}");
    assert_eq!(first.last().unwrap(), "SET PERSIST_ONLY super_read_only = ON", "it goes on");
    assert!(plan.servers.iter().all(|server| server.lines.is_empty() && server.restart.is_empty()));
}

#[test]
fn mariadb_needs_lines_and_for_its_log_a_restart() {
    let without_log =
        |name| with(fresh(name, MARIADB), &[("log_bin", "OFF"), ("log_slave_updates", "OFF")]);
    let plan = plan(&[without_log("m1"), without_log("m2")], &[], &request()).unwrap();
    let lines: Vec<String> = plan.servers[1]
        .lines
        .iter()
        .map(|line| format!("{} = {}", line.name, line.value))
        .collect();
    for line in ["server_id = 2", "gtid_domain_id = 2", "log_bin = binlog", "read_only = ON"] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
    assert_eq!(plan.servers[1].restart, ["log_bin", "log_slave_updates"]);
    assert!(set(&plan, 1).is_empty(), "it will have them from its file");
}

#[test]
fn no_password_is_shown_and_both_are_sent() {
    for version in [MARIADB, MYSQL] {
        let plan = plan(&[fresh("m1", version), fresh("m2", version)], &[], &request()).unwrap();
        let mut sent = String::new();
        for step in plan.servers.iter().flat_map(|server| &server.steps) {
            let Action::Sql { sql, shown } = &step.action else { continue };
            assert!(!shown.contains("of-"), "{shown}");
            sent.push_str(sql.reveal());
        }
        assert!(sent.contains("PASSWORD='of-replication'") && sent.contains("BY 'of-tandem'"));
        assert!(plan.rotates);
    }
}

#[test]
fn a_larger_increment_is_kept_where_it_is_alike() {
    let own = |name, increment, offset| {
        with(
            fresh(name, MYSQL),
            &[("auto_increment_increment", increment), ("auto_increment_offset", offset)],
        )
    };
    let keys = |states: &[State]| -> Vec<String> {
        let plan = plan(states, &[], &request()).unwrap();
        (0..2).flat_map(|place| set(&plan, place)).filter(|sql| sql.contains("auto_inc")).collect()
    };
    assert!(keys(&[own("m1", "10", "3"), own("m2", "10", "7")]).is_empty());
    assert_eq!(
        keys(&[own("m1", "10", "3"), own("m2", "5", "3")]),
        [
            "SET PERSIST auto_increment_increment = 2",
            "SET PERSIST auto_increment_offset = 1",
            "SET PERSIST auto_increment_increment = 2",
            "SET PERSIST auto_increment_offset = 2",
        ]
    );
}

#[test]
fn replicas_receive_from_every_master_and_hand_out_no_keys() {
    let states = ["m1", "m2", "r1"].map(|name| fresh(name, MARIADB));
    let plan = plan(&states, &[], &request()).unwrap();
    let replica = shown(&plan, 2);
    let follows: Vec<&String> =
        replica.iter().filter(|sql| sql.contains("CHANGE MASTER")).collect();
    assert!(follows[0].starts_with("CHANGE MASTER 'm1'"), "{follows:?}");
    assert!(follows[1].starts_with("CHANGE MASTER 'm2'"), "{follows:?}");
    let settings = set(&plan, 2);
    for setting in [
        "SET GLOBAL gtid_ignore_duplicates = ON",
        "SET GLOBAL read_only = ON",
        "SET GLOBAL server_id = 3",
    ] {
        assert!(settings.iter().any(|sql| sql == setting), "{setting}: {settings:?}");
    }
    assert!(!settings.iter().any(|sql| sql.contains("auto_increment")), "{settings:?}");
    assert!(!set(&plan, 0).iter().any(|sql| sql.contains("duplicates")), "one way leads there");
}

#[test]
fn the_active_master_is_never_closed() {
    let states = |terms: Option<&str>, closed: &[&str]| {
        ["m1", "m2"].map(|name| {
            let mut state = fresh(name, MARIADB);
            state.term = terms.map(|active| (7, active.to_owned()));
            if closed.contains(&name) { with(state, &[("read_only", "ON")]) } else { state }
        })
    };
    assert_eq!(active(&states(None, &[]), None), 0, "the preferred one");
    assert_eq!(active(&states(None, &["m1"]), None), 1, "the open one");
    assert_eq!(active(&states(Some("m2"), &[]), None), 1, "that of the highest term");
    assert_eq!(active(&states(Some("m2"), &["m2"]), None), 1, "also while it is fenced");
    let [first, second] = states(None, &[]);
    assert_eq!(active(&[first, holding(second, "app", "t")], None), 1, "the one with data");
}

#[test]
fn an_administrator_gets_past_super_read_only_for_a_moment() {
    let closed = with(fresh("m2", MYSQL), &[("read_only", "ON"), ("super_read_only", "ON")]);
    let plan = plan(&[fresh("m1", MYSQL), closed], &[], &request()).unwrap();
    let second = shown(&plan, 1);
    assert_eq!(second[0], "SET GLOBAL super_read_only = OFF");
    let at = |text: &str| second.iter().position(|sql| sql.starts_with(text)).unwrap();
    assert!(at("CREATE USER") < at("SET GLOBAL super_read_only = ON"));
}

#[test]
fn servers_of_two_families_are_refused() {
    let said = told(plan(&[fresh("m1", MARIADB), fresh("m2", MYSQL)], &[], &request()));
    assert!(said.contains("m1 is MariaDB 10.11.19 and m2 is MySQL 9.7.4"), "{said}");
}

#[test]
fn data_comes_from_where_somebody_says() {
    let states = [holding(fresh("m1", MARIADB), "app", "t"), fresh("m2", MARIADB)];
    let said = told(plan(&states, &[], &request()));
    assert!(said.contains("m1 holds data (1 table in app), and m2 holds none"), "{said}");
    let mut request = request();
    request.wishes.copy_from = Some("m1".to_owned());
    let copied = plan(&states, &[], &request).unwrap();
    assert!(shown(&copied, 1).contains(&"copy from 0".to_owned()));
    assert!(!shown(&copied, 0).iter().any(|sql| sql.starts_with("copy")));
    assert_eq!(copied.first_part(), Some(Part::Prepare));
}

#[test]
fn what_the_same_data_came_from_is_not_executed_again() {
    let mut states = ["m1", "m2"].map(|name| holding(fresh(name, MYSQL), "app", "t"));
    let gtids = "8a0f7fd1-0000-0000-0000-000000000001:1-7";
    states[0].facts.executed = Ok(GtidSet::parse(Flavor::MySql, gtids).unwrap());
    assert_eq!(joining::to_compare(&states), [(0, 1)]);
    let same = Comparison { places: (0, 1), differences: Vec::new(), written: None };
    let joined = plan(&states, std::slice::from_ref(&same), &request()).unwrap();
    assert!(shown(&joined, 1).contains(&format!("SET GLOBAL gtid_purged = '+{gtids}'")));
    assert!(!shown(&joined, 0).iter().any(|sql| sql.contains("gtid_purged")));
    // A former state of the other one catches up instead.
    let earlier = "8a0f7fd1-0000-0000-0000-000000000001:1-3";
    states[1].facts.executed = Ok(GtidSet::parse(Flavor::MySql, earlier).unwrap());
    assert!(joining::to_compare(&states).is_empty());
    let joined = plan(&states, &[], &request()).unwrap();
    assert!(!shown(&joined, 1).iter().any(|sql| sql.contains("gtid_purged")));

    let written = Comparison { written: Some(0), ..same };
    let said = told(plan(&states, &[written], &request()));
    assert!(said.contains("m1 was written to while it was compared"), "{said}");
}

#[test]
fn mariadb_takes_the_position_of_whom_it_receives_from() {
    let mut states = ["m1", "m2"].map(|name| holding(fresh(name, MARIADB), "app", "t"));
    states[0].log_position = "0-1-100,1-1-5".to_owned();
    states[1].log_position = "0-1-57".to_owned();
    // The same server id and domain on both: the numbers prove nothing.
    assert_eq!(joining::to_compare(&states), [(0, 1)]);
    let same = Comparison { places: (0, 1), differences: Vec::new(), written: None };
    let joined = plan(&states, &[same], &request()).unwrap();
    assert!(shown(&joined, 1).contains(&"SET GLOBAL gtid_slave_pos = '0-1-100,1-1-5'".to_owned()));
    assert!(shown(&joined, 0).contains(&"SET GLOBAL gtid_slave_pos = '0-1-57'".to_owned()));
}

#[test]
fn an_empty_log_begins_anew_unless_somebody_receives_it() {
    let mut states = ["m1", "m2"].map(|name| fresh(name, MARIADB));
    states[1].log_position = "0-1-4".to_owned();
    let joined = plan(&states, &[], &request()).unwrap();
    assert!(shown(&joined, 1).contains(&"RESET MASTER".to_owned()));
    assert!(!shown(&joined, 0).contains(&"RESET MASTER".to_owned()));
    states[1].followers = 1;
    let said = told(plan(&states, &[], &request()));
    assert!(said.contains("Stop who receives from m2"), "{said}");
}
