//! The two masters, asked directly and as root: past the proxy, so that it cannot flatter itself.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::DemoError;
use super::event::{KeysTried, SlaveStatus};
use crate::checker::{Row, read_rows};
use crate::pair::dialect::Columns;
use crate::sandbox::Sandbox;

/// Where the writers write.
pub(super) const WRITES: &str = "app.writes";

/// For what must happen; it bounds what has gone wrong and nothing else.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a table that another server fills. There is nothing to subscribe to.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What the masters say of their replication now.
pub(super) async fn slave_status(sandbox: &Sandbox) -> Result<[SlaveStatus; 2], DemoError> {
    Ok([one_status(sandbox, 0).await?, one_status(sandbox, 1).await?])
}

async fn one_status(sandbox: &Sandbox, master: usize) -> Result<SlaveStatus, DemoError> {
    let columns = Columns::of(sandbox.binaries().flavor());
    let channels = sandbox.replication(sandbox.server(master)).await?;
    let status = channels.first();
    let (io, sql) = status.map_or_else(
        || ("(none)".to_owned(), "(none)".to_owned()),
        |status| (status.io.to_string(), status.sql.to_string()),
    );
    Ok(SlaveStatus {
        master,
        io: format!("{}: {io}", columns.io_running),
        sql: format!("{}: {sql}", columns.sql_running),
        runs: status.is_some_and(|status| status.runs()),
    })
}

/// Waits until a master waits for acknowledgements; returns the line in which it says so.
pub(super) async fn await_semi_sync(sandbox: &Sandbox, master: usize) -> Result<String, DemoError> {
    const QUESTION: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN \
         ('Rpl_semi_sync_master_status', 'Rpl_semi_sync_source_status')";
    let mut server = sandbox.server(master).root_connection().await?;
    let on = async {
        loop {
            let said: Option<(String, String)> = server.query_first(QUESTION).await?;
            if let Some((variable, _)) = said.filter(|(_, value)| value == "ON") {
                return Ok(format!("{variable}: ON"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    within("semi-synchronous replication", on).await
}

/// Three rows on m1, then one on m2, then a look at both.
pub(super) async fn try_keys(sandbox: &Sandbox) -> Result<KeysTried, DemoError> {
    const KEYS: &str = "SELECT id FROM app.tried ORDER BY id";
    let mut m1 = sandbox.server(0).root_connection().await?;
    let mut m2 = sandbox.server(1).root_connection().await?;
    m1.query_drop("CREATE TABLE app.tried (id INT AUTO_INCREMENT PRIMARY KEY, said TEXT)").await?;
    let mut first = Vec::new();
    for said in ["one", "three", "five"] {
        m1.exec_drop("INSERT INTO app.tried (said) VALUES (?)", (said,)).await?;
        first.extend(m1.last_insert_id());
    }
    let there = async {
        // Until the table is there, the answer is an error.
        while m2.query::<u64, _>(KEYS).await.unwrap_or_default().len() < first.len() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    };
    within("m1's rows on m2", there).await?;
    m2.query_drop("INSERT INTO app.tried (said) VALUES ('six')").await?;
    let second: Vec<u64> = m2.last_insert_id().into_iter().collect();
    let all = first.len() + second.len();
    let read = async {
        loop {
            let read: [Vec<u64>; 2] = [m1.query(KEYS).await?, m2.query(KEYS).await?];
            if read.iter().all(|keys| keys.len() >= all) {
                return Ok(read);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let read = within("m2's row on m1", read).await?;
    Ok(KeysTried { first, second, read })
}

/// The writers' table on both masters.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) rows: [Vec<Row>; 2],
    pub(super) checksums: [Option<u64>; 2],
}

/// Reads the writers' table on both masters, when they have caught up with each other. If they never
/// do, that is what is read.
pub(super) async fn read_tables(sandbox: &Sandbox) -> Result<Tables, DemoError> {
    let mut servers =
        [sandbox.server(0).root_connection().await?, sandbox.server(1).root_connection().await?];
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut checksums = [None; 2];
        for (server, checksum) in servers.iter_mut().zip(&mut checksums) {
            let said: Option<(String, Option<u64>)> =
                server.query_first(format!("CHECKSUM TABLE {WRITES}")).await?;
            *checksum = said.and_then(|(_, checksum)| checksum);
        }
        let equal = checksums[0].is_some() && checksums[0] == checksums[1];
        if equal || tokio::time::Instant::now() > deadline {
            let [m1, m2] = &mut servers;
            return Ok(Tables {
                rows: [read_rows(m1, WRITES).await?, read_rows(m2, WRITES).await?],
                checksums,
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Waits for something that must happen.
pub(super) async fn within<T>(
    what: &'static str,
    happens: impl Future<Output = Result<T, DemoError>>,
) -> Result<T, DemoError> {
    tokio::time::timeout(PATIENCE, happens)
        .await
        .unwrap_or(Err(DemoError::NeverHappened { what, within: PATIENCE }))
}
