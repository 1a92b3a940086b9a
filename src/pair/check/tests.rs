//! Each check, with one thing spoilt in a healthy pair. What can be done to real servers is done to them
//! in `tests/check/`, with the commands that mend it.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::config::Config;
use crate::pair::facts::fixture::{account, address, executed, following, healthy, key, table};
use crate::pair::facts::{Disk, Facts, Origin, Unseen};
use crate::topology::Flavor::{self, MariaDb, MySql};
use crate::topology::{GtidSet, Role, Servers, ThreadState};

/// The time of the tests: sixty years before the healthy certificate expires, but one day.
const NOW: Duration = Duration::from_hours(24);

fn expected(masters: u32) -> Expectations {
    let named = |number: u32| (format!("m{number}"), address(number));
    let config = Config::new(Servers::new((1..=masters).map(named), []));
    Expectations::of(&config, UNIX_EPOCH + NOW)
}

fn pair(flavor: Flavor) -> Vec<Facts> {
    vec![healthy(flavor, 1, 2), healthy(flavor, 2, 1)]
}

/// What is done to a pair of a family.
type Spoil = fn(&mut [Facts], &mut Expectations);

/// What is spoilt, by the check that has to say so, and words that it has to say.
#[rustfmt::skip]
const SPOILT: &[(&str, Flavor, Spoil, &str)] = &[
    ("server-reachable", MariaDb, |_, e| e.silent.push(silent("m2", "refuses connections (x)")), "m2 refuses connections (x)"),
    ("monitor-login", MariaDb, |_, e| e.locked_out.push(silent("m2", "does not let tandem in")), "m2 does not let tandem in"),
    ("monitor-privileges", MySql, |_, e| e.lacking.push(lack(false)), "tandem, may not see tables"),
    ("monitor-privileges", MySql, |_, e| e.lacking.push(lack(true)), "tandem, may not see tables"),
    ("server-family", MariaDb, |f, _| f[1].dialect.flavor = MySql, "m1 is a MariaDB"),
    ("server-version", MariaDb, |f, _| f[1].dialect.version = (11, 8, 6), "m1 10.11.19, m2 11.8.6"),
    ("server-version", MySql, |f, _| f[1].dialect.version = (9, 7, 5), "m2 9.7.5"),
    ("server-id", MariaDb, |f, _| f[1].set("server_id", "1"), "m1 and m2 both have server_id 1"),
    ("server-id", MySql, |f, _| f[1].set("server_id", "0"), "m2 has no server_id"),
    ("server-uuid", MySql, |f, _| f[1].set("server_uuid", "00000001-0000-0000-0000-000000000000"), "the same server_uuid"),
    ("gtid-domain", MariaDb, |f, _| f[1].set("gtid_domain_id", "1"), "one gtid_domain_id, 1"),
    ("replication-source", MySql, |f, _| f[1].channels = Ok(Vec::new()), "m2 follows nobody"),
    ("replication-ring", MySql, |f, _| { f[1].channels = Ok(Vec::new()); stranger(&mut f[1]); }, "nothing that m1 writes comes to m2"),
    ("replication-stranger", MySql, |f, _| stranger(&mut f[1]), "m2 follows 10.9.9.9:3306, which is no server"),
    ("replication-receiver", MariaDb, |f, _| f[1].follows().replication.channel.io = ThreadState::Connecting, "Slave_IO_Running: Connecting"),
    ("replication-receiver", MySql, |f, _| failed(&mut f[1]), "error 1236: purged"),
    ("replication-applier", MySql, |f, _| f[1].follows().replication.channel.sql = ThreadState::No, "Replica_SQL_Running: No"),
    ("replication-lag", MariaDb, |f, _| f[1].beats.as_mut().unwrap().rows[0].1 -= 7_000_000, "m2 is 7s behind m1 (by the heartbeat row)"),
    ("replication-lag", MariaDb, |f, _| f[1].beats.as_mut().unwrap().rows[0].1 -= 31_000_000, "31s"),
    ("replication-lag", MySql, |f, _| silent_beats(f), "m2 is 2m behind m1 (by Seconds_Behind_Master)"),
    ("replication-delay", MySql, |f, _| status(&mut f[1], "sql_delay", "60"), "1m later"),
    ("replication-heartbeat", MariaDb, |f, _| f[1].follows().replication.channel.heartbeat_period = Some(Duration::ZERO), "no heartbeats"),
    ("replication-retries", MySql, |f, _| status(&mut f[1], "source_retry_count", "10"), "away for 10s"),
    ("replication-retries", MariaDb, |f, _| f[1].set("master_retry_count", "100"), "away for 1m 40s"),
    ("replication-gtid", MariaDb, |f, _| f[1].follows().replication.channel.uses_gtid = false, "by file and position"),
    ("standby-writable", MySql, |f, _| f[1].set("read_only", "OFF"), "m2 takes writes although m1 is active"),
    ("replica-writable", MariaDb, |f, _| { f[1].role = Role::Replica; f[1].set("read_only", "OFF"); }, "the replica m2 takes writes"),
    ("nobody-writable", MariaDb, |f, _| f[0].set("read_only", "ON"), "m1 and m2 are all read_only"),
    ("read-only-at-start", MariaDb, |f, _| { f[0].set("read_only", "OFF"); f[0].came_from("read_only", Origin::Default); }, "m1 takes writes as soon as it is started"),
    ("writes-past-read-only", MariaDb, |f, _| f[0].accounts.as_mut().unwrap()[0].past_read_only = Some("SUPER"), "'app'@'%' may write past read_only on m1"),
    ("writes-past-read-only", MySql, |f, _| { let app = &mut f[1].accounts.as_mut().unwrap()[0]; app.past_read_only = Some("SUPER"); app.administers = true; }, "on m2, as administrators do"),
    ("events-twice", MySql, |f, _| f[1].events.as_mut().unwrap()[0].enabled = true, "app.e is enabled on m1 and m2"),
    ("stranded-transactions", MariaDb, |f, _| cut(f), "m1 does not have, and does not receive, 3 transactions that m2 committed: 2-2-18..20"),
    ("stranded-transactions", MySql, |f, _| purged(f), "no longer has in its log"),
    ("errant-transactions", MySql, |f, _| { f[1].role = Role::Replica; f[0].executed = Ok(GtidSet::empty()); }, "the replica m2 has 20 transactions that no master has"),
    ("errant-transactions", MariaDb, |f, _| { f[1].role = Role::Replica; f[1].set("gtid_binlog_state", "1-1-10,1-2-11"); }, "1 transaction that no master has: 1-2-11"),
    ("auto-increment", MariaDb, |f, _| f[1].set("auto_increment_offset", "1"), "m1: 1, 3, 5, …"),
    ("auto-increment-after-restart", MariaDb, |f, _| f[1].came_from("auto_increment_offset", Origin::Statement), "of m2 was set by a statement"),
    ("auto-increment-after-restart", MySql, |f, _| f[1].came_from("auto_increment_offset", Origin::Statement), "written down nowhere"),
    ("auto-increment-end", MariaDb, |f, _| f[1].table().next = Some(2_100_000_000), "app.t.id has used 97.8 % of its numbers"),
    ("primary-key", MariaDb, |f, _| f.iter_mut().for_each(|f| f.table().keys.clear()), "1 table has no primary key: app.t"),
    ("unique-keys", MySql, |f, _| f.iter_mut().for_each(|f| f.table().columns[0].auto_increment = false), "app.t (id)"),
    ("table-engine", MySql, |f, _| f.iter_mut().for_each(|f| f.table().engine = "MyISAM".into()), "app.t (MyISAM)"),
    ("binary-log", MariaDb, |f, _| f[1].set("log_bin", "OFF"), "m2 has no binary log"),
    ("log-received", MySql, |f, _| f[1].set("log_replica_updates", "OFF"), "log_replica_updates is OFF"),
    ("row-format", MySql, |f, _| f[1].set("binlog_format", "STATEMENT"), "binlog_format of m2 is STATEMENT"),
    ("row-image", MySql, |f, _| f[1].set("binlog_row_image", "MINIMAL"), "binlog_row_image of m2 is MINIMAL"),
    ("log-filters", MariaDb, |f, _| f[1].log_filters = Ok(vec![("binlog_ignore_db", "junk".into())]), "binlog_ignore_db = junk"),
    ("gtid-mode", MySql, |f, _| f[1].set("gtid_mode", "OFF"), "gtid_mode of m2 is OFF"),
    ("parallel-appliers", MariaDb, |f, _| f[1].set("slave_parallel_threads", "0"), "slave_parallel_threads is 0"),
    ("commit-order", MySql, |f, _| f[1].set("replica_preserve_commit_order", "OFF"), "replica_preserve_commit_order is OFF"),
    ("replication-filters", MySql, |f, _| status(&mut f[1], "replicate_do_db", "shop"), "replicate_do_db = shop"),
    ("ignored-servers", MySql, |f, _| status(&mut f[1], "replicate_ignore_server_ids", "1, 7"), "m2 ignores what m1 wrote"),
    ("skipped-errors", MySql, |f, _| f[1].set("replica_skip_errors", "1062"), "replica_skip_errors = 1062"),
    ("skip-counter", MariaDb, |f, _| status(&mut f[1], "skip_counter", "3"), "about to pass over 3 events"),
    ("gtid-ignore-duplicates", MariaDb, |f, _| f[1].channels.as_mut().unwrap().push(following(1)), "what m1 writes comes to m2 by several ways"),
    ("sync-binlog", MariaDb, |f, _| f[0].set("sync_binlog", "0"), "sync_binlog of m1 is 0"),
    ("flush-at-commit", MySql, |f, _| f[0].set("innodb_flush_log_at_trx_commit", "2"), "of m1 is 2"),
    ("log-writer-threads", MySql, |f, _| f[0].set("innodb_log_writer_threads", "OFF"), "of m1 is OFF"),
    ("semi-sync-off", MariaDb, |f, _| f.iter_mut().for_each(asynchronous), "m1 and m2 replicate asynchronously"),
    ("semi-sync-half", MariaDb, |f, _| asynchronous(&mut f[1]), "m2 does not wait for acknowledgements and does not give any"),
    ("semi-sync-fell-back", MySql, |f, _| { f[0].status.as_mut().unwrap().insert("rpl_semi_sync_source_status".into(), "OFF".into()); }, "m1 is to wait for acknowledgements"),
    ("semi-sync-wait-point", MySql, |f, _| f[0].set("rpl_semi_sync_source_wait_point", "AFTER_COMMIT"), "is AFTER_COMMIT"),
    ("schemas-equal", MySql, |f, _| { f[0].tables.as_mut().unwrap().tables.insert(key("app", "u"), table()); }, "m2 lacks app.u, which m1 has"),
    ("schemas-equal", MySql, |f, _| f[1].table().columns[0].column_type = "bigint".into(), "id: int(11) not null auto_increment / bigint"),
    ("accounts-equal", MariaDb, |f, _| f[0].accounts.as_mut().unwrap().push(account("new@%")), "m2 has no account 'new'@'%'"),
    ("grants-equal", MariaDb, |f, _| { f[0].accounts.as_mut().unwrap()[0].attributes.insert("access".into(), "1".into()); }, "'app'@'%' (privileges)"),
    ("clock-skew", MariaDb, |f, _| f[1].clock.as_mut().unwrap().ahead = -2_500_000, "the clock of m1 is 2.5 s ahead of m2's"),
    ("certificate", MySql, |f, _| f[1].certificate = Ok(Some(UNIX_EPOCH + NOW * 5)), "expires in 4 days, on 1970-01-06"),
    ("certificate", MySql, |f, _| f[1].certificate = Ok(Some(UNIX_EPOCH)), "the certificate of m2 expired on 1970-01-01"),
    ("disk", MariaDb, |f, _| f[1].disks = Ok(vec![Disk { path: "/var".into(), size: 50_000_000_000, free: 1_000_000_000 }]), "m2 has 2 % left on /var (1.0 GB of 50.0 GB)"),
];

fn silent(name: &str, reason: &str) -> Silent {
    Silent { name: name.to_owned(), reason: reason.to_owned() }
}

fn lack(optional: bool) -> Lack {
    let (server, purpose) = ("m2".to_owned(), "see tables".to_owned());
    Lack { server, purpose, grant: "GRANT REFERENCES ON *.* TO 'tandem'@'%'".to_owned(), optional }
}

fn status(facts: &mut Facts, column: &str, value: &str) {
    facts.follows().status.insert(column.to_owned(), value.to_owned());
}

fn stranger(facts: &mut Facts) {
    let mut one = following(9);
    one.replication.channel.source_host = "10.9.9.9".to_owned();
    facts.channels.as_mut().expect("seen").push(one);
}

fn failed(facts: &mut Facts) {
    let channel = &mut facts.follows().replication.channel;
    (channel.io, channel.io_error) = (ThreadState::No, (1236, "purged".to_owned()));
}

fn silent_beats(facts: &mut [Facts]) {
    for one in &mut *facts {
        one.beats = Ok(crate::topology::Beats::default());
    }
    facts[1].follows().replication.channel.seconds_behind = Some(120);
}

/// m1 receives nothing any more, and m2 has written.
fn cut(facts: &mut [Facts]) {
    facts[0].follows().replication.channel.io = ThreadState::No;
    facts[0].executed = GtidSet::parse(MariaDb, "1-1-10,2-2-17").map_err(|_| Unseen::NotAsked);
}

/// m2 has thrown its log away before m1 had it.
fn purged(facts: &mut [Facts]) {
    facts[0].executed = Ok(GtidSet::empty());
    facts[1].purged = Ok(executed(MySql));
}

fn asynchronous(facts: &mut Facts) {
    for name in ["rpl_semi_sync_master_enabled", "rpl_semi_sync_slave_enabled"] {
        facts.set(name, "OFF");
    }
}

fn told(findings: &[Finding]) -> Vec<(&'static str, &str)> {
    findings.iter().map(|finding| (finding.check, finding.what.as_str())).collect()
}

#[test]
fn a_healthy_pair_has_nothing() {
    for flavor in [MariaDb, MySql] {
        assert_eq!(told(&findings(&pair(flavor), &expected(2))), [], "{flavor:?}");
        let verdict = check(&pair(flavor), &expected(2));
        assert_eq!((verdict.not_seen, verdict.checks), (Vec::new(), all().count()));
    }
}

#[test]
fn what_is_spoilt_is_found_by_its_check() {
    for (name, flavor, spoil, says) in SPOILT {
        let (mut facts, mut expected) = (pair(*flavor), expected(2));
        spoil(&mut facts, &mut expected);
        let found = findings(&facts, &expected);
        let seen = found.iter().find(|finding| finding.check == *name);
        let seen = seen.unwrap_or_else(|| panic!("{name}: {:?}", told(&found)));
        assert!(seen.what.contains(says), "{name}: {}", seen.what);
        assert!(seen.why.ends_with('.') && !seen.servers.is_empty(), "{seen:?}");
        let worst = by_name(name).expect("a check").worst;
        assert!(seen.severity <= worst, "{name} says {} and promises {worst}", seen.severity);
    }
}

#[test]
fn every_check_is_tried() {
    let tried: BTreeSet<&str> = SPOILT.iter().map(|(name, ..)| *name).collect();
    let all: BTreeSet<&str> = all().map(|check| check.name).collect();
    assert_eq!(tried, all);
}

#[test]
fn what_was_not_seen_is_told_and_not_taken_for_well() {
    let mut facts = pair(MariaDb);
    facts[1].tables = Err(Unseen::Denied {
        reason: "not shown".to_owned(),
        grant: Some("GRANT REFERENCES ON *.* TO 'tandem'@'%'".to_owned()),
    });
    facts[0].disks = Err(Unseen::NotAsked);
    let verdict = check(&facts, &expected(2));
    let [blind] = &verdict.not_seen[..] else { panic!("{:?}", verdict.not_seen) };
    assert_eq!((blind.server.as_str(), blind.what.as_str()), ("m2", "tables"));
    assert_eq!(blind.grant.as_deref(), Some("GRANT REFERENCES ON *.* TO 'tandem'@'%';"));
    assert!(blind.checks.contains(&"primary-key") && blind.checks.contains(&"schemas-equal"));
    // No table at all is something else than tables that were not seen.
    assert_eq!(told(&verdict.findings), []);
}

#[test]
fn a_ring_of_three_is_complete_and_a_chain_is_not() {
    let ring = |flavor| {
        let mut all = vec![healthy(flavor, 1, 3), healthy(flavor, 2, 1), healthy(flavor, 3, 2)];
        for facts in &mut all {
            facts.set("auto_increment_increment", "3");
        }
        all
    };
    for flavor in [MariaDb, MySql] {
        assert_eq!(told(&findings(&ring(flavor), &expected(3))), []);
        let mut chain = ring(flavor);
        // m1 follows m2: m3 is behind the two, and nobody follows it.
        chain[0].channels = Ok(vec![following(2)]);
        let found = findings(&chain, &expected(3));
        let broken = |name: &str| {
            format!("nothing that m3 writes comes to {name}, directly or by way of others")
        };
        assert_eq!(
            told(&found),
            [
                ("replication-ring", broken("m1").as_str()),
                ("replication-ring", broken("m2").as_str())
            ]
        );
    }
}

#[test]
fn a_second_look_confirms_what_may_have_been_on_its_way() {
    let mut facts = pair(MySql);
    facts[0].tables.as_mut().expect("seen").tables.insert(key("app", "u"), table());
    let first = check(&facts, &expected(2));
    assert!(first.is_passing());
    let arrived = check(&pair(MySql), &expected(2));
    assert_eq!(arrived.confirming(&first).findings, []);
    let again = check(&facts, &expected(2));
    assert_eq!(again.clone().confirming(&first), again);
    assert_eq!(again.confirming(&check(&pair(MySql), &expected(2))).findings, []);
    // A setting is what it is at the first sight.
    let mut set = pair(MySql);
    set[0].set("sync_binlog", "0");
    let seen = check(&set, &expected(2));
    assert!(!seen.is_passing());
    assert_eq!(seen.confirming(&first).findings.len(), 1);
}
