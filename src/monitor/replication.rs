//! The rows of `SHOW ALL SLAVES STATUS`, `SHOW REPLICA STATUS` and `SHOW SLAVE STATUS`.
//!
//! Columns are found by name, in either spelling, never by place: MySQL 8.0.22 renamed Master to
//! Source and Slave to Replica, MariaDB kept the old names under the new statement, and both add
//! columns between versions (`protocol.md` 6.1).

use mysql_async::Row;

use super::columns::Columns;
use super::connection::ConnectionError;
use crate::topology::{Channel, Dialect, Flavor, GtidSet, ThreadState};

/// One replication channel, with what only waiting for it needs.
#[derive(Clone, Debug)]
pub struct ReplicationChannel {
    /// What the rest of the process is told.
    pub channel: Channel,
    /// MariaDB: the receiver started from `gtid_current_pos`, so that `received` has this server's
    /// own events from its binary log in it.
    pub starts_from_own: bool,
    /// `Master_Log_File`, `Read_Master_Log_Pos`: received up to here.
    pub received_position: (String, u64),
    /// `Relay_Master_Log_File`, `Exec_Master_Log_Pos`: executed up to here.
    pub executed_position: (String, u64),
}

/// Reads the rows of the status statement.
///
/// # Errors
/// [`ConnectionError::Unintelligible`] when a column is missing or is not what it should be.
pub fn read_channels(
    dialect: Dialect,
    rows: &[Row],
) -> Result<Vec<ReplicationChannel>, ConnectionError> {
    rows.iter().map(|row| read_channel(dialect, Columns(row))).collect()
}

fn read_channel(dialect: Dialect, row: Columns<'_>) -> Result<ReplicationChannel, ConnectionError> {
    let (received, uses_gtid) = match dialect.flavor {
        Flavor::MariaDb => {
            (row.text_or_empty(&["Gtid_IO_Pos"]), row.text(&["Using_Gtid"])? != "No")
        }
        Flavor::MySql => (
            row.text_or_empty(&["Retrieved_Gtid_Set"]),
            row.text_or_empty(&["Auto_Position"]) == "1",
        ),
    };
    let channel = Channel {
        name: row.text_or_empty(&["Connection_name", "Channel_Name"]),
        source_host: row.text_or_empty(&["Master_Host", "Source_Host"]),
        source_port: row.number(&["Master_Port", "Source_Port"])?,
        source_server_id: row.number(&["Master_Server_Id", "Source_Server_Id"])?,
        io: thread_state(row, &["Slave_IO_Running", "Replica_IO_Running"])?,
        io_error: (row.number(&["Last_IO_Errno"])?, row.text_or_empty(&["Last_IO_Error"])),
        sql: thread_state(row, &["Slave_SQL_Running", "Replica_SQL_Running"])?,
        sql_error: (row.number(&["Last_SQL_Errno"])?, row.text_or_empty(&["Last_SQL_Error"])),
        received: GtidSet::parse(dialect.flavor, &received)
            .map_err(|error| ConnectionError::Unintelligible(error.to_string()))?,
        uses_gtid,
        seconds_behind: row
            .find(&["Seconds_Behind_Master", "Seconds_Behind_Source"])
            .and_then(|text| text.parse().ok()),
        heartbeats: row.find(&["Slave_received_heartbeats"]).and_then(|text| text.parse().ok()),
        // Seconds with three decimals.
        heartbeat_period: row.seconds(&["Slave_heartbeat_period"]),
    };
    Ok(ReplicationChannel {
        channel,
        starts_from_own: row.text_or_empty(&["Using_Gtid"]) == "Current_Pos",
        received_position: (
            row.text_or_empty(&["Master_Log_File", "Source_Log_File"]),
            row.number(&["Read_Master_Log_Pos", "Read_Source_Log_Pos"])?,
        ),
        executed_position: (
            row.text_or_empty(&["Relay_Master_Log_File", "Relay_Source_Log_File"]),
            row.number(&["Exec_Master_Log_Pos", "Exec_Source_Log_Pos"])?,
        ),
    })
}

fn thread_state(row: Columns<'_>, names: &[&str]) -> Result<ThreadState, ConnectionError> {
    match row.text(names)?.as_str() {
        "Yes" => Ok(ThreadState::Yes),
        // MariaDB says `Preparing` while the thread logs in.
        "Connecting" | "Preparing" => Ok(ThreadState::Connecting),
        "No" => Ok(ThreadState::No),
        other => Err(ConnectionError::Unintelligible(format!(
            "column {} is `{other}`",
            names.join(" or ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::monitor::columns::tests::row;

    const MARIADB: Dialect = Dialect { flavor: Flavor::MariaDb, version: (10, 11, 19) };
    const MYSQL: Dialect = Dialect { flavor: Flavor::MySql, version: (9, 7, 4) };

    #[test]
    fn mariadb_keeps_the_old_names() {
        let row = row(&[
            ("Connection_name", Some("")),
            ("Master_Host", Some("10.0.0.12")),
            ("Master_Port", Some("3306")),
            ("Master_Log_File", Some("b.000002")),
            ("Read_Master_Log_Pos", Some("2840")),
            ("Relay_Master_Log_File", Some("b.000002")),
            ("Slave_IO_Running", Some("Connecting")),
            ("Slave_SQL_Running", Some("Yes")),
            ("Exec_Master_Log_Pos", Some("1835")),
            ("Seconds_Behind_Master", None),
            ("Last_IO_Errno", Some("2003")),
            ("Last_IO_Error", Some("error connecting")),
            ("Last_SQL_Errno", Some("0")),
            ("Last_SQL_Error", Some("")),
            ("Master_Server_Id", Some("2")),
            ("Using_Gtid", Some("Slave_Pos")),
            ("Gtid_IO_Pos", Some("1-1-10,2-2-3")),
            ("Slave_received_heartbeats", Some("17")),
            ("Slave_heartbeat_period", Some("1.500")),
        ]);
        let channels = read_channels(MARIADB, &[row]).expect("readable");
        let ReplicationChannel { channel, received_position, executed_position, .. } = &channels[0];
        assert_eq!(channel.source_host, "10.0.0.12");
        assert_eq!((channel.source_port, channel.source_server_id), (3306, 2));
        assert_eq!((channel.io, channel.sql), (ThreadState::Connecting, ThreadState::Yes));
        assert_eq!(channel.io_error, (2003, "error connecting".to_owned()));
        assert_eq!(channel.received.to_string(), "1-1-10,2-2-3");
        assert!(channel.uses_gtid);
        assert_eq!(channel.seconds_behind, None, "NULL is not zero");
        assert_eq!(channel.heartbeats, Some(17));
        assert_eq!(channel.heartbeat_period, Some(Duration::from_millis(1500)));
        assert_eq!(received_position, &("b.000002".to_owned(), 2840));
        assert_eq!(executed_position, &("b.000002".to_owned(), 1835));
    }

    #[test]
    fn mysql_renamed_them_and_has_others_in_between() {
        let row = row(&[
            ("Replica_IO_State", Some("Waiting for source to send event")),
            ("Source_Host", Some("b")),
            ("Source_Port", Some("3307")),
            ("Source_Log_File", Some("binlog.000004")),
            ("Read_Source_Log_Pos", Some("157")),
            ("Relay_Source_Log_File", Some("binlog.000004")),
            ("Replica_IO_Running", Some("Yes")),
            ("Replica_SQL_Running", Some("No")),
            ("Exec_Source_Log_Pos", Some("157")),
            ("Seconds_Behind_Source", Some("3")),
            ("Last_IO_Errno", Some("0")),
            ("Last_IO_Error", Some("")),
            ("Last_SQL_Errno", Some("1062")),
            ("Last_SQL_Error", Some("Duplicate entry '1' for key 't.PRIMARY'")),
            ("Source_Server_Id", Some("2")),
            ("Retrieved_Gtid_Set", Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")),
            ("Auto_Position", Some("1")),
            ("Channel_Name", Some("pair")),
        ]);
        let channels = read_channels(MYSQL, &[row]).expect("readable");
        let channel = &channels[0].channel;
        assert_eq!(channel.name, "pair");
        assert_eq!(channel.sql, ThreadState::No);
        assert_eq!(channel.sql_error.0, 1062);
        assert_eq!(channel.seconds_behind, Some(3));
        assert!(channel.uses_gtid);
        assert_eq!(channel.heartbeats, None, "MySQL counts them elsewhere");
        assert_eq!(channel.heartbeat_period, None);
    }

    #[test]
    fn a_missing_column_is_named() {
        let error = read_channels(MARIADB, &[row(&[("Using_Gtid", Some("No"))])])
            .expect_err("nothing in it");
        assert!(error.to_string().contains("Master_Port or Source_Port"), "{error}");
    }
}
