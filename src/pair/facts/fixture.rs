//! A healthy server's facts, for tests that spoil one thing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{
    AccountFacts, Clock, Column, Disk, Event, Facts, Following, Grants, Origin, Table, TableKey,
    Tables, Variable, Variables,
};
use crate::monitor::ReplicationChannel;
use crate::topology::{
    Beats, Channel, Dialect, Flavor, GtidSet, Role, ServerAddress, Term, ThreadState,
};

/// The settings of a healthy master; `#` stands for its number.
const COMMON: &[(&str, &str)] = &[
    ("server_id", "#"),
    ("hostname", "host-#"),
    ("port", "3306"),
    ("read_only", "ON"),
    ("log_bin", "ON"),
    ("binlog_format", "ROW"),
    ("binlog_row_image", "FULL"),
    ("auto_increment_increment", "2"),
    ("auto_increment_offset", "#"),
    ("sync_binlog", "1"),
    ("innodb_flush_log_at_trx_commit", "1"),
    ("event_scheduler", "ON"),
    ("ssl_cert", "/etc/cert.pem"),
];
const MARIADB: &[(&str, &str)] = &[
    ("gtid_domain_id", "#"),
    ("gtid_binlog_state", "1-1-10,2-2-20"),
    ("gtid_ignore_duplicates", "OFF"),
    ("log_slave_updates", "ON"),
    ("slave_parallel_threads", "4"),
    ("slave_parallel_mode", "optimistic"),
    ("slave_skip_errors", "OFF"),
    ("slave_exec_mode", "STRICT"),
    ("rpl_semi_sync_master_enabled", "ON"),
    ("rpl_semi_sync_slave_enabled", "ON"),
    ("rpl_semi_sync_master_wait_point", "AFTER_SYNC"),
];
const MYSQL: &[(&str, &str)] = &[
    ("server_uuid", "0000000#-0000-0000-0000-000000000000"),
    ("gtid_mode", "ON"),
    ("enforce_gtid_consistency", "ON"),
    ("log_replica_updates", "ON"),
    ("replica_parallel_workers", "4"),
    ("replica_preserve_commit_order", "ON"),
    ("replica_skip_errors", "OFF"),
    ("replica_exec_mode", "STRICT"),
    ("innodb_log_writer_threads", "ON"),
    ("rpl_semi_sync_source_enabled", "ON"),
    ("rpl_semi_sync_replica_enabled", "ON"),
    ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
];

/// What both have executed.
pub(crate) fn executed(flavor: Flavor) -> GtidSet {
    let text = match flavor {
        Flavor::MariaDb => "1-1-10,2-2-20",
        Flavor::MySql => {
            "00000001-0000-0000-0000-000000000000:1-10,00000002-0000-0000-0000-000000000000:1-20"
        }
    };
    GtidSet::parse(flavor, text).expect("a set")
}

/// The master of this number in a healthy pair; the first one is active. It follows `of`.
pub(crate) fn healthy(flavor: Flavor, number: u32, of: u32) -> Facts {
    let own = match flavor {
        Flavor::MariaDb => MARIADB,
        Flavor::MySql => MYSQL,
    };
    let number_of = number.to_string();
    let settings = COMMON.iter().chain(own).map(|(name, value)| {
        let value = value.replace('#', &number_of);
        ((*name).to_owned(), variable(&value))
    });
    let version = match flavor {
        Flavor::MariaDb => (10, 11, 19),
        Flavor::MySql => (9, 7, 4),
    };
    let mut facts = Facts {
        name: format!("m{number}"),
        address: address(number),
        role: Role::Master,
        dialect: Dialect { flavor, version },
        version: "as told".to_owned(),
        account: "dba@%".to_owned(),
        variables: Variables::new(settings),
        channels: Ok(vec![following(of)]),
        executed: Ok(executed(flavor)),
        purged: Ok(GtidSet::empty()),
        clock: Ok(Clock { ahead: 0, uncertain: Duration::from_millis(1) }),
        status: Ok(BTreeMap::from([
            ("rpl_semi_sync_master_status".to_owned(), "ON".to_owned()),
            ("rpl_semi_sync_source_status".to_owned(), "ON".to_owned()),
        ])),
        term: Ok(Some((Term(7), "m1".to_owned()))),
        beats: Ok(Beats { clock: 100_000_000, rows: vec![(1, 99_500_000)] }),
        tables: Ok(Tables { tables: BTreeMap::from([(key("app", "t"), table())]) }),
        accounts: Ok(vec![account("app@%"), account("tandem@%")]),
        grants: Ok(Grants::default()),
        events: Ok(vec![Event { schema: "app".into(), name: "e".into(), enabled: number == 1 }]),
        certificate: Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 60))),
        disks: Ok(vec![Disk { path: "/".into(), size: 100_000_000_000, free: 50_000_000_000 }]),
        log_filters: Ok(Vec::new()),
    };
    if number == 1 {
        // The file says ON; Tandem opened it.
        facts.set("read_only", "OFF");
        facts.came_from("read_only", Origin::Statement);
    }
    facts
}

pub(crate) fn key(schema: &str, name: &str) -> (String, String) {
    (schema.to_owned(), name.to_owned())
}

pub(crate) fn address(number: u32) -> ServerAddress {
    ServerAddress::Tcp { host: format!("10.0.0.{number}"), port: 3306 }
}

pub(crate) fn variable(value: &str) -> Variable {
    let origin = Origin::File("/etc/my.cnf".to_owned());
    Variable { value: value.to_owned(), origin, persisted: None }
}

pub(crate) fn account(name: &str) -> AccountFacts {
    AccountFacts { name: name.to_owned(), ..AccountFacts::default() }
}

/// `id INT AUTO_INCREMENT PRIMARY KEY`
pub(crate) fn table() -> Table {
    let id = Column {
        name: "id".to_owned(),
        column_type: "int(11)".to_owned(),
        rest: "not null auto_increment".to_owned(),
        auto_increment: true,
    };
    let primary = TableKey { unique: true, columns: vec!["id".to_owned()] };
    Table {
        engine: "InnoDB".to_owned(),
        columns: vec![id],
        keys: BTreeMap::from([("PRIMARY".to_owned(), primary)]),
        next: Some(5),
    }
}

pub(crate) fn following(of: u32) -> Following {
    let channel = Channel {
        name: String::new(),
        source_host: format!("10.0.0.{of}"),
        source_port: 3306,
        source_server_id: of,
        io: ThreadState::Yes,
        io_error: (0, String::new()),
        sql: ThreadState::Yes,
        sql_error: (0, String::new()),
        received: GtidSet::empty(),
        uses_gtid: true,
        seconds_behind: Some(0),
        heartbeats: Some(1),
        heartbeat_period: Some(Duration::from_secs(1)),
    };
    let position = || ("binlog.000001".to_owned(), 4);
    Following {
        replication: ReplicationChannel {
            channel,
            starts_from_own: false,
            received_position: position(),
            executed_position: position(),
        },
        status: BTreeMap::from(
            [("connect_retry", "1"), ("source_retry_count", "0")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
    }
}

impl Facts {
    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let mut all: BTreeMap<String, Variable> =
            self.variables.iter().map(|(name, it)| (name.to_owned(), it.clone())).collect();
        all.insert(name.to_owned(), variable(value));
        self.variables = Variables::new(all);
    }

    /// Says what set a variable.
    pub(crate) fn came_from(&mut self, name: &str, origin: Origin) {
        let change = |(at, it): (&str, &Variable)| {
            let origin = if at == name { origin.clone() } else { it.origin.clone() };
            (at.to_owned(), Variable { origin, ..it.clone() })
        };
        self.variables = Variables::new(self.variables.iter().map(change).collect::<Vec<_>>());
    }

    /// Its only channel.
    pub(crate) fn follows(&mut self) -> &mut Following {
        &mut self.channels.as_mut().expect("seen")[0]
    }

    /// Its only table.
    pub(crate) fn table(&mut self) -> &mut Table {
        self.tables.as_mut().expect("seen").tables.get_mut(&key("app", "t")).expect("there")
    }
}
