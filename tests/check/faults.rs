//! The faults, as data.

use tandem::topology::Flavor;

/// Something that is done to a healthy pair.
pub(crate) struct Fault {
    /// The check that has to find it.
    pub check: &'static str,
    /// Where it is possible at all; `None`: everywhere.
    pub only: Option<Flavor>,
    /// Statements of root, on servers: 0 is m1. One session for each line.
    pub make: &'static [(usize, &'static str)],
    /// Lines for a server's my.cnf, which is started anew with them.
    pub configure: Option<(usize, &'static str)>,
    /// Words that have to be in the finding.
    pub says: &'static str,
    /// What the finding leaves to people: done before its commands.
    pub by_hand: &'static [(usize, &'static str)],
    /// Whether the finding is a notice without commands: there is nothing to mend.
    pub stays: bool,
    /// What takes the rest of it back.
    pub undo: &'static [(usize, &'static str)],
}

/// A fault of both families that its commands mend whole.
const NONE: Fault = Fault {
    check: "",
    only: None,
    make: &[],
    configure: None,
    says: "",
    by_hand: &[],
    stays: false,
    undo: &[],
};

const MARIADB: Fault = Fault { only: Some(Flavor::MariaDb), ..NONE };
const MYSQL: Fault = Fault { only: Some(Flavor::MySql), ..NONE };

pub(crate) const FAULTS: &[Fault] = &[
    // The servers.
    Fault {
        check: "server-id",
        make: &[(1, "STOP SLAVE; SET GLOBAL server_id = 1; START SLAVE")],
        says: "m1 and m2 both have server_id 1",
        ..MARIADB
    },
    Fault {
        check: "server-id",
        make: &[(1, "STOP REPLICA; SET GLOBAL server_id = 1; START REPLICA")],
        says: "m1 and m2 both have server_id 1",
        ..MYSQL
    },
    Fault {
        check: "gtid-domain",
        make: &[(1, "SET GLOBAL gtid_domain_id = 1")],
        says: "in one gtid_domain_id, 1",
        ..MARIADB
    },
    Fault {
        check: "monitor-privileges",
        make: &[(1, "SET sql_log_bin = 0; REVOKE REPLICATION SLAVE ADMIN ON *.* FROM tandem@'%'")],
        says: "on m2 the account of [monitor], tandem, may not stop and start replication",
        ..MARIADB
    },
    Fault {
        check: "monitor-privileges",
        make: &[(1, "SET sql_log_bin = 0; REVOKE REPLICATION_SLAVE_ADMIN ON *.* FROM tandem@'%'")],
        says: "on m2 the account of [monitor], tandem, may not stop and start replication",
        ..MYSQL
    },
    Fault {
        check: "monitor-login",
        make: &[(1, "SET sql_log_bin = 0; RENAME USER tandem@'%' TO tandem@'10.9.9.9'")],
        says: "m2 does not let tandem in",
        by_hand: &[(1, "SET sql_log_bin = 0; RENAME USER tandem@'10.9.9.9' TO tandem@'%'")],
        ..NONE
    },
    // Replication.
    Fault {
        check: "replication-receiver",
        make: &[(1, "STOP SLAVE IO_THREAD")],
        says: "m2 does not receive what m1 writes (Slave_IO_Running: No)",
        ..MARIADB
    },
    Fault {
        check: "replication-receiver",
        make: &[(0, "STOP REPLICA IO_THREAD")],
        says: "m1 does not receive what m2 writes (Replica_IO_Running: No)",
        ..MYSQL
    },
    Fault {
        check: "replication-applier",
        make: &[(0, "STOP SLAVE SQL_THREAD")],
        says: "m1 does not execute what m2 writes (Slave_SQL_Running: No)",
        ..MARIADB
    },
    Fault {
        check: "replication-applier",
        make: &[(1, "STOP REPLICA SQL_THREAD")],
        says: "m2 does not execute what m1 writes (Replica_SQL_Running: No)",
        ..MYSQL
    },
    Fault {
        check: "replication-applier",
        make: &[
            (0, "CREATE TABLE app.clash (id INT PRIMARY KEY)"),
            (
                1,
                "DO await_table('app.clash'); SET sql_log_bin = 0; INSERT INTO app.clash VALUES (7)",
            ),
            (0, "INSERT INTO app.clash VALUES (7)"),
        ],
        says: "error 1062",
        by_hand: &[(1, "SET sql_log_bin = 0; DELETE FROM app.clash WHERE id = 7")],
        undo: &[(0, "DROP TABLE app.clash")],
        ..NONE
    },
    Fault {
        check: "replication-delay",
        make: &[(1, "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 3600; START SLAVE")],
        says: "m2 executes what m1 writes 1h later, on purpose",
        ..MARIADB
    },
    Fault {
        check: "replication-delay",
        make: &[(
            1,
            "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 3600; \
             START REPLICA SQL_THREAD",
        )],
        says: "m2 executes what m1 writes 1h later, on purpose",
        ..MYSQL
    },
    Fault {
        check: "replication-heartbeat",
        make: &[(1, "STOP SLAVE; CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 30; START SLAVE")],
        says: "a heartbeat every 30s",
        ..MARIADB
    },
    Fault {
        check: "replication-heartbeat",
        make: &[(
            1,
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HEARTBEAT_PERIOD = 0; START REPLICA",
        )],
        says: "m2 asks m1 for no heartbeats",
        ..MYSQL
    },
    Fault {
        check: "replication-retries",
        make: &[(
            1,
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT = 10, \
             SOURCE_CONNECT_RETRY = 60; START REPLICA",
        )],
        says: "m2 gives m1 up when that is away for 10m",
        ..MYSQL
    },
    Fault {
        check: "replication-gtid",
        make: &[(1, "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = no; START SLAVE")],
        says: "m2 follows m1 by file and position",
        ..MARIADB
    },
    Fault {
        check: "replication-gtid",
        make: &[(
            1,
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0; START REPLICA",
        )],
        says: "m2 follows m1 by file and position",
        ..MYSQL
    },
    Fault {
        check: "replication-lag",
        make: &[
            (0, "SET GLOBAL read_only = OFF"),
            (
                0,
                "CREATE DATABASE tandem; CREATE TABLE tandem.heartbeat \
                 (server_id INT UNSIGNED NOT NULL PRIMARY KEY, at DATETIME(6) NOT NULL)",
            ),
            (0, "INSERT INTO tandem.heartbeat VALUES (1, UTC_TIMESTAMP(6) - INTERVAL 40 SECOND)"),
            (1, "DO await_rows('tandem.heartbeat'); STOP SLAVE SQL_THREAD"),
            (0, "UPDATE tandem.heartbeat SET at = UTC_TIMESTAMP(6)"),
        ],
        says: "behind m1 (by the heartbeat row)",
        by_hand: &[(1, "START SLAVE SQL_THREAD")],
        undo: &[(0, "DROP DATABASE tandem"), (0, "SET GLOBAL read_only = ON")],
        ..MARIADB
    },
    // Who writes.
    Fault {
        check: "standby-writable",
        make: &[(0, "SET GLOBAL read_only = OFF"), (1, "SET GLOBAL read_only = OFF")],
        says: "m1 and m2 take writes",
        undo: &[(0, "SET GLOBAL read_only = ON")],
        ..NONE
    },
    Fault {
        check: "read-only-at-start",
        configure: Some((1, "read_only = OFF")),
        says: "m2 takes writes as soon as it is started",
        undo: &[(1, "SET GLOBAL read_only = ON")],
        ..NONE
    },
    Fault {
        check: "writes-past-read-only",
        make: &[(0, "CREATE USER shop@'%'; GRANT READ_ONLY ADMIN ON *.* TO shop@'%'")],
        says: "'shop'@'%' may write past read_only on m1 and m2 (it has READ_ONLY ADMIN)",
        undo: &[(0, "DROP USER shop@'%'")],
        ..MARIADB
    },
    Fault {
        check: "writes-past-read-only",
        make: &[(
            0,
            "CREATE ROLE powers; GRANT READ_ONLY ADMIN ON *.* TO powers; CREATE USER shop@'%'; \
             GRANT powers TO shop@'%'",
        )],
        says: "on m1 and m2 (it has READ_ONLY ADMIN, through the role 'powers')",
        undo: &[(0, "DROP USER shop@'%'; DROP ROLE powers")],
        ..MARIADB
    },
    Fault {
        check: "writes-past-read-only",
        make: &[(0, "CREATE USER shop@'%'; GRANT CONNECTION_ADMIN ON *.* TO shop@'%'")],
        says: "'shop'@'%' may write past read_only on m1 and m2 (it has CONNECTION_ADMIN)",
        undo: &[(0, "DROP USER shop@'%'")],
        ..MYSQL
    },
    Fault {
        check: "writes-past-read-only",
        make: &[(
            0,
            "CREATE ROLE powers; GRANT SUPER ON *.* TO powers; CREATE USER shop@'%'; \
             GRANT powers TO shop@'%'",
        )],
        says: "on m1 and m2 (it has SUPER, through the role 'powers'@'%')",
        undo: &[(0, "DROP USER shop@'%'; DROP ROLE powers")],
        ..MYSQL
    },
    Fault {
        check: "writes-past-read-only",
        make: &[(0, "CREATE USER boss@'%'; GRANT ALL ON *.* TO boss@'%' WITH GRANT OPTION")],
        says: "'boss'@'%' may write past read_only on m1 and m2, as administrators do",
        stays: true,
        undo: &[(0, "DROP USER boss@'%'")],
        ..NONE
    },
    Fault {
        check: "events-twice",
        make: &[
            (0, "SET GLOBAL event_scheduler = ON"),
            (1, "SET GLOBAL event_scheduler = ON"),
            (
                0,
                "CREATE EVENT app.tick ON SCHEDULE EVERY 1 DAY STARTS NOW() + INTERVAL 1 DAY DO DO 1",
            ),
            (1, "DO await_event('tick'); SET sql_log_bin = 0; ALTER EVENT app.tick ENABLE"),
        ],
        says: "the event app.tick is enabled on m1 and m2",
        undo: &[(0, "DROP EVENT app.tick")],
        ..NONE
    },
    // Keys.
    Fault {
        check: "auto-increment",
        make: &[(1, "SET GLOBAL auto_increment_offset = 1")],
        says: "m1 and m2 hand out the same keys: m1: 1, 3, 5, … (increment 2, offset 1); \
               m2: 1, 3, 5, … (increment 2, offset 1)",
        ..NONE
    },
    Fault {
        check: "auto-increment",
        make: &[
            (0, "SET GLOBAL auto_increment_increment = 1"),
            (1, "SET GLOBAL auto_increment_increment = 1"),
        ],
        says: "m1: 1, 2, 3, …",
        ..NONE
    },
    Fault {
        check: "auto-increment-after-restart",
        make: &[(1, "SET PERSIST_ONLY auto_increment_offset = 1")],
        says: "hand out the same keys after a restart",
        ..MYSQL
    },
    Fault {
        check: "auto-increment-after-restart",
        make: &[(1, "RESET PERSIST auto_increment_offset; SET GLOBAL auto_increment_offset = 2")],
        says: "auto_increment_offset of m2 was set by a statement",
        ..MYSQL
    },
    Fault {
        check: "auto-increment-after-restart",
        make: &[(1, "SET GLOBAL auto_increment_offset = 2")],
        says: "of m2 were set by a statement: what my.cnf says shows after the next restart",
        ..MARIADB
    },
    Fault {
        check: "auto-increment-end",
        make: &[(
            0,
            "CREATE TABLE app.small (id TINYINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, t TEXT); \
             INSERT INTO app.small (id) VALUES (245)",
        )],
        says: "app.small.id has used 96",
        undo: &[(0, "DROP TABLE app.small")],
        ..NONE
    },
    Fault {
        check: "primary-key",
        make: &[(
            0,
            "CREATE TABLE app.heap (a INT, b VARCHAR(10)); INSERT INTO app.heap VALUES (1, 'x'), (1, 'x')",
        )],
        says: "1 table has no primary key: app.heap",
        undo: &[(0, "DROP TABLE app.heap")],
        ..NONE
    },
    Fault {
        check: "primary-key",
        make: &[(0, "CREATE TABLE app.half (a INT NOT NULL, b INT NOT NULL, UNIQUE KEY (a, b))")],
        says: "1 table has no primary key: app.half",
        undo: &[(0, "DROP TABLE app.half")],
        ..NONE
    },
    Fault {
        check: "unique-keys",
        make: &[(
            0,
            "CREATE TABLE app.login (id INT AUTO_INCREMENT PRIMARY KEY, mail VARCHAR(50) UNIQUE)",
        )],
        says: "app.login (mail)",
        stays: true,
        undo: &[(0, "DROP TABLE app.login")],
        ..NONE
    },
    Fault {
        check: "table-engine",
        make: &[(0, "CREATE TABLE app.old (id INT PRIMARY KEY) ENGINE = MyISAM")],
        says: "app.old (MyISAM)",
        undo: &[(0, "DROP TABLE app.old")],
        ..NONE
    },
    // The binary log.
    Fault {
        check: "row-format",
        make: &[(1, "SET GLOBAL binlog_format = MIXED")],
        says: "binlog_format of m2 is MIXED",
        ..MARIADB
    },
    Fault {
        check: "row-format",
        make: &[(
            1,
            "STOP REPLICA SQL_THREAD; SET GLOBAL binlog_format = MIXED; START REPLICA SQL_THREAD",
        )],
        says: "binlog_format of m2 is MIXED",
        ..MYSQL
    },
    Fault {
        check: "row-image",
        make: &[(1, "SET GLOBAL binlog_row_image = MINIMAL")],
        says: "binlog_row_image of m2 is MINIMAL",
        ..NONE
    },
    Fault {
        check: "log-received",
        configure: Some((1, "log_slave_updates = OFF")),
        says: "m2 does not log what it receives",
        ..NONE
    },
    Fault {
        check: "gtid-mode",
        make: &[(
            1,
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0; START REPLICA; \
             SET GLOBAL gtid_mode = ON_PERMISSIVE",
        )],
        says: "gtid_mode of m2 is ON_PERMISSIVE",
        undo: &[(
            1,
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1; START REPLICA",
        )],
        ..MYSQL
    },
    // Appliers.
    Fault {
        check: "parallel-appliers",
        make: &[(1, "STOP ALL SLAVES; SET GLOBAL slave_parallel_threads = 0; START ALL SLAVES")],
        says: "slave_parallel_threads is 0",
        ..MARIADB
    },
    Fault {
        check: "parallel-appliers",
        make: &[(1, "STOP ALL SLAVES; SET GLOBAL slave_parallel_mode = minimal; START ALL SLAVES")],
        says: "slave_parallel_mode is minimal",
        ..MARIADB
    },
    Fault {
        check: "parallel-appliers",
        make: &[(
            1,
            "STOP REPLICA SQL_THREAD; SET GLOBAL replica_parallel_workers = 1; START REPLICA SQL_THREAD",
        )],
        says: "replica_parallel_workers is 1",
        ..MYSQL
    },
    Fault {
        check: "commit-order",
        make: &[(
            1,
            "STOP REPLICA SQL_THREAD; SET GLOBAL replica_preserve_commit_order = OFF; \
             START REPLICA SQL_THREAD",
        )],
        says: "replica_preserve_commit_order is OFF",
        ..MYSQL
    },
    Fault {
        check: "replication-filters",
        make: &[(1, "STOP SLAVE; SET GLOBAL replicate_ignore_db = 'junk'; START SLAVE")],
        says: "replicate_ignore_db = junk",
        ..MARIADB
    },
    Fault {
        check: "replication-filters",
        make: &[(
            1,
            "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER REPLICATE_WILD_IGNORE_TABLE = \
             ('junk.%') FOR CHANNEL ''; START REPLICA SQL_THREAD",
        )],
        says: "replicate_wild_ignore_table = junk.%",
        ..MYSQL
    },
    Fault {
        check: "ignored-servers",
        make: &[(1, "STOP SLAVE; CHANGE MASTER TO IGNORE_SERVER_IDS = (1); START SLAVE")],
        says: "m2 ignores what m1 wrote",
        ..MARIADB
    },
    Fault {
        check: "skipped-errors",
        make: &[(1, "SET GLOBAL slave_exec_mode = IDEMPOTENT")],
        says: "exec_mode = IDEMPOTENT",
        ..NONE
    },
    Fault {
        check: "skipped-errors",
        configure: Some((1, "slave_skip_errors = 1062")),
        says: "skip_errors = 1062",
        ..NONE
    },
    // What a crash takes along.
    Fault {
        check: "sync-binlog",
        make: &[(0, "SET GLOBAL sync_binlog = 0")],
        says: "sync_binlog of m1 is 0",
        ..NONE
    },
    Fault {
        check: "flush-at-commit",
        make: &[(0, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")],
        says: "innodb_flush_log_at_trx_commit of m1 is 2",
        ..NONE
    },
    Fault {
        check: "log-writer-threads",
        make: &[(0, "SET GLOBAL innodb_log_writer_threads = OFF")],
        says: "innodb_log_writer_threads of m1 is OFF",
        ..MYSQL
    },
    // Two masters alike.
    Fault {
        check: "schemas-equal",
        make: &[(
            1,
            "SET sql_log_bin = 0; CREATE DATABASE lone; CREATE TABLE lone.t (id INT PRIMARY KEY, \
             d VARCHAR(20) NOT NULL DEFAULT 'it''s')",
        )],
        says: "m1 lacks lone.t, which m2 has",
        undo: &[(0, "DROP DATABASE lone")],
        ..NONE
    },
    Fault {
        check: "schemas-equal",
        make: &[
            (0, "CREATE TABLE app.pair (id INT PRIMARY KEY)"),
            (
                1,
                "DO await_table('app.pair'); SET sql_log_bin = 0; ALTER TABLE app.pair ADD COLUMN x INT",
            ),
        ],
        says: "app.pair (m1 has no column x)",
        by_hand: &[(1, "SET sql_log_bin = 0; ALTER TABLE app.pair DROP COLUMN x")],
        undo: &[(0, "DROP TABLE app.pair")],
        ..NONE
    },
    Fault {
        check: "accounts-equal",
        make: &[(
            1,
            "SET sql_log_bin = 0; CREATE USER lone@'%' IDENTIFIED BY 'secret'; \
             GRANT SELECT, INSERT ON app.* TO lone@'%'",
        )],
        says: "m1 has no account 'lone'@'%', which m2 has",
        undo: &[(0, "DROP USER lone@'%'")],
        ..NONE
    },
    Fault {
        check: "grants-equal",
        make: &[(1, "SET sql_log_bin = 0; GRANT SELECT ON tandem2.* TO app@'%'")],
        says: "'app'@'%' (grants)",
        ..NONE
    },
    Fault {
        check: "grants-equal",
        make: &[(1, "SET sql_log_bin = 0; GRANT PROCESS ON *.* TO app@'%'")],
        says: "'app'@'%' (p",
        ..NONE
    },
    Fault {
        check: "stranded-transactions",
        make: &[(0, "STOP SLAVE IO_THREAD"), (1, "CREATE TABLE app.late (id INT PRIMARY KEY)")],
        says: "m1 does not have, and does not receive, 1 transaction that m2 committed",
        undo: &[(0, "DO await_table('app.late'); DROP TABLE app.late")],
        ..MARIADB
    },
    Fault {
        check: "stranded-transactions",
        make: &[(0, "STOP REPLICA IO_THREAD"), (1, "CREATE TABLE app.late (id INT PRIMARY KEY)")],
        says: "m1 does not have, and does not receive, 1 transaction that m2 committed",
        undo: &[(0, "DO await_table('app.late'); DROP TABLE app.late")],
        ..MYSQL
    },
    // Semi-synchronous replication: a choice that both must have made. Its plugins are taken out again last.
    Fault {
        check: "semi-sync-half",
        make: &[
            (0, "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC"),
            (1, "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC"),
            (0, "SET GLOBAL rpl_semi_sync_master_enabled = ON"),
        ],
        says: "semi-synchronous replication is switched on, but m",
        ..MARIADB
    },
    Fault {
        check: "semi-sync-wait-point",
        make: &[(0, "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_COMMIT")],
        says: "rpl_semi_sync_master_wait_point of m1 is AFTER_COMMIT",
        ..MARIADB
    },
    Fault {
        check: "semi-sync-half",
        make: &[(
            0,
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'; \
             SET GLOBAL rpl_semi_sync_source_enabled = ON",
        )],
        says: "semi-synchronous replication is switched on, but m",
        ..MYSQL
    },
];
