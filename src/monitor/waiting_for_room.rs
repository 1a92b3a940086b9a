//! Whether writes on a server wait for room on its disk.
//!
//! Both families wait, and try again every minute, when the binary log cannot be written because its
//! file system is full (`MY_WAIT_IF_FULL`: `mysys/my_write.c`, `mysys/my_write.cc`). A commit then
//! hangs, as it does for many reasons that are no fault of the server's; and every other commit hangs
//! behind it. What tells it from them, tried with a log on a full file system:
//!
//! - MariaDB 10.11 and 11.8 name it in the process list: the thread that writes is in the state
//!   `Waiting for someone to free space`, those behind it in `Commit`.
//! - MySQL 9.7 does not: all of them are in `waiting for handler commit`. But the thread that waits
//!   says so in the error log when it begins to, with its connection id (MY-000035, `EE_DISK_FULL`
//!   before it), and the error log is a table since 8.0.22. The line is about now as long as that
//!   connection is still at the statement that it was at then.
//!
//! Nothing is asked that needs a temporary table, as all of `information_schema` does: where the disk
//! is full that fails as well (1021, 1114).

use mysql_async::Row;

use super::columns::Columns;
use super::connection::{Answers, Connection, ConnectionError};
use crate::topology::Flavor;

/// A write that waits for room, and all that waits behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingForRoom {
    /// The server's words.
    pub words: String,
    /// The connections whose commits wait, replication's own apart. Ended by KILL they fail. MySQL, by
    /// `binlog_error_action=ABORT_SERVER`, its default, ends with them.
    pub commits: Vec<u64>,
}

/// MariaDB's state of the thread that writes.
const MARIADB_STATE: &str = "Waiting for someone to free space";

/// A line of the error log is kept for long: `age` tells how old it is. `LOGGED` is in the session's
/// time zone.
const MYSQL: &str = "SHOW PROCESSLIST; SELECT THREAD_ID AS id, DATA AS words, \
     TIMESTAMPDIFF(SECOND, LOGGED, NOW()) AS age FROM performance_schema.error_log \
     WHERE ERROR_CODE IN ('MY-000020', 'MY-000035')";

impl WaitingForRoom {
    /// What waits on the server; `None` when nothing does.
    ///
    /// # Errors
    /// When it could not be asked, or the account may not read it.
    pub async fn on(connection: &mut Connection) -> Result<Option<Self>, ConnectionError> {
        let flavor = connection.dialect().flavor;
        let question = match flavor {
            Flavor::MariaDb => "SHOW PROCESSLIST",
            Flavor::MySql => MYSQL,
        };
        let sets = connection.ask(question).await.and_then(Answers::all)?;
        let rows = |place: usize| sets.get(place).map_or(&[][..], Vec::as_slice);
        Ok(Self::read(flavor, rows(0), rows(1)))
    }

    fn read(flavor: Flavor, processes: &[Row], log: &[Row]) -> Option<Self> {
        let state = |process: Columns<'_>| process.text_or_empty(&["State"]);
        let waits = |process: Columns<'_>| match flavor {
            Flavor::MariaDb => (state(process) == MARIADB_STATE).then(|| MARIADB_STATE.to_owned()),
            Flavor::MySql => logged(process, log),
        };
        let words = processes.iter().map(Columns).find_map(waits)?;
        let behind = match flavor {
            Flavor::MariaDb => "Commit",
            Flavor::MySql => "waiting for handler commit",
        };
        let commits = processes.iter().map(Columns).filter(|process| {
            let of_a_client = process.text_or_empty(&["User"]) != "system user";
            of_a_client && (state(*process) == behind || waits(*process).is_some())
        });
        let commits = commits.filter_map(|process| process.number(&["Id"]).ok()).collect();
        Some(Self { words: words.trim().to_owned(), commits })
    }
}

/// What the process has said in the log since it is at its statement. Both times are in whole seconds.
fn logged(process: Columns<'_>, log: &[Row]) -> Option<String> {
    let id: u64 = process.number(&["Id"]).ok()?;
    let at_it_for: i64 = process.number(&["Time"]).ok()?;
    let idle = process.text_or_empty(&["Command"]) == "Sleep";
    let line = log.iter().map(Columns).find(|line| {
        let age = line.number::<i64>(&["age"]);
        line.number::<u64>(&["id"]) == Ok(id) && age.is_ok_and(|age| age <= at_it_for + 1)
    });
    line.filter(|_| !idle).map(|line| line.text_or_empty(&["words"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::columns::tests::row;

    fn process(id: &str, user: &str, time: &str, state: &str) -> Row {
        let command = if state.is_empty() { "Sleep" } else { "Query" };
        row(&[
            ("Id", Some(id)),
            ("User", Some(user)),
            ("Command", Some(command)),
            ("Time", Some(time)),
            ("State", Some(state)),
        ])
    }

    #[test]
    fn mariadb_names_it() {
        let mut processes = vec![
            process("5", "system user", "9", "Commit"),
            process("7", "app", "3", "Commit"),
            process("8", "app", "3", ""),
        ];
        let read = |processes: &[Row]| WaitingForRoom::read(Flavor::MariaDb, processes, &[]);
        assert_eq!(read(&processes), None, "commits take their time");
        processes.push(process("9", "app", "3", MARIADB_STATE));
        let waiting = read(&processes).expect("one waits");
        assert_eq!((waiting.words.as_str(), waiting.commits), (MARIADB_STATE, vec![7, 9]));
        processes[3] = process("9", "system user", "3", MARIADB_STATE);
        assert_eq!(read(&processes).expect("the applier waits").commits, [7]);
    }

    #[test]
    fn mysql_has_said_it_by_the_statement_that_runs() {
        const COMMIT: &str = "waiting for handler commit";
        let line = |id, age| {
            row(&[("id", Some(id)), ("words", Some("Disk is full writing")), ("age", Some(age))])
        };
        let read = |processes: &[Row], log: &[Row]| {
            WaitingForRoom::read(Flavor::MySql, processes, log).map(|waiting| waiting.commits)
        };
        let processes = [process("7", "app", "3", COMMIT), process("9", "app", "30", COMMIT)];
        assert_eq!(read(&processes, &[]), None);
        assert_eq!(read(&processes, &[line("7", "3")]), Some(vec![7, 9]));
        assert_eq!(read(&processes, &[line("9", "28")]), Some(vec![7, 9]));
        assert_eq!(read(&processes, &[line("7", "3000")]), None, "of a statement before");
        assert_eq!(read(&processes, &[line("8", "1")]), None, "it is gone");
        assert_eq!(read(&[process("7", "app", "3", "")], &[line("7", "1")]), None, "it is done");
    }
}
