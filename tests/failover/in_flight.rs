//! Statements that are under way when their master dies.

use mysql_async::prelude::*;
use tandem::sandbox::SandboxOptions;
use tandem::session::Activity;

use crate::patience::{ask, await_activity, await_statement, eventually, is_closed, told, within};
use crate::support::Stack;

/// Keeps m1 busy for longer than it lives, and is answered at once by m2.
const SLOW_ON_M1: &str = "SELECT /* slow */ @@server_id, COUNT(*) FROM n a, n b, n c, n d, n e, n f \
                          WHERE @@server_id = 1 AND a.a + b.a + c.a + d.a + e.a + f.a < 0";

async fn with_numbers() -> Stack {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE n (a INT PRIMARY KEY)").await.expect("made");
    let values: Vec<String> = (0..200).map(|number| format!("({number})")).collect();
    let insert = format!("INSERT INTO n VALUES {}", values.join(","));
    client.query_drop(insert).await.expect("filled");
    client
        .query_drop("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)")
        .await
        .expect("made");
    stack.await_replicated(0).await;
    stack
}

#[tokio::test]
async fn a_read_is_run_again_and_a_write_is_not() {
    let mut stack = with_numbers().await;
    let mut reader = stack.connect().await;
    let mut writer = stack.connect().await;
    let mut temporary = stack.connect().await;
    temporary.query_drop("CREATE TEMPORARY TABLE x (a INT)").await.expect("made");
    let mut inside = stack.connect().await;
    inside.query_drop("BEGIN").await.expect("begun");
    inside.query_drop("INSERT INTO t (a) VALUES (1)").await.expect("inserted");
    let read = tokio::spawn(async move { reader.query_first::<(u32, u64), _>(SLOW_ON_M1).await });
    let write = tokio::spawn(async move {
        let first = writer.query_drop("INSERT INTO t (a) SELECT SLEEP(600)").await;
        (first, writer.query_drop("SELECT 1").await)
    });
    let with_table = tokio::spawn(async move {
        let first = temporary.query_drop(format!("{SLOW_ON_M1} /* x */")).await;
        (first, temporary.query_drop("SELECT 1").await)
    });
    let in_transaction = tokio::spawn(async move {
        let first = inside.query_drop(SLOW_ON_M1).await;
        (first, inside.query_first::<u64, _>("SELECT COUNT(*) FROM t").await)
    });
    await_statement(stack.sandbox.server(0), "INSERT INTO t (a) SELECT SLEEP").await;
    await_activity(&stack, Activity::Running, 4).await;
    await_statement(stack.sandbox.server(0), "SELECT /* slow").await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");

    let row = within("the read", read).await.expect("ran").expect("answered");
    assert_eq!(row, Some((2, 0)), "by the new active");
    let (first, then) = within("the write", write).await.expect("ran");
    let (code, state, words) = told(first);
    assert_eq!((code, state.as_str()), (1927, "08S01"), "{words}");
    assert!(words.contains("Outcome unknown") && words.contains("m1"), "{words}");
    assert!(is_closed(&then), "{then:?}");
    let (first, then) = within("the read beside a table", with_table).await.expect("ran");
    let (code, state, words) = told(first);
    assert_eq!((code, state.as_str()), (1927, "08S01"), "{words}");
    assert!(words.contains("temporary tables"), "{words}");
    assert!(is_closed(&then), "{then:?}");
    let (first, then) = within("the transaction", in_transaction).await.expect("ran");
    let (code, state, words) = told(first);
    assert_eq!((code, state.as_str()), (1213, "40001"), "{words}");
    assert_eq!(then.expect("the session lives"), Some(0), "rolled back, and nothing run twice");
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unknown() {
    let mut stack = with_numbers().await;
    let mut client = stack.connect().await;
    client.query_drop("BEGIN").await.expect("begun");
    client.query_drop("INSERT INTO t (a) VALUES (1)").await.expect("inserted");
    // Commits wait behind this.
    let mut lock = stack.sandbox.server(0).root_connection().await.expect("root's login");
    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("locked");
    let commit = tokio::spawn(async move {
        let first = client.query_drop("COMMIT").await;
        (first, client.query_drop("SELECT 1").await)
    });
    await_statement(stack.sandbox.server(0), "COMMIT").await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let (first, then) = within("the commit", commit).await.expect("ran");
    let (code, state, words) = told(first);
    assert_eq!((code, state.as_str()), (1927, "08S01"), "{words}");
    assert!(words.contains("Outcome unknown"), "{words}");
    assert!(is_closed(&then), "{then:?}");
    stack.await_active(Some("m2")).await;
    assert_eq!(ask::<u64>(stack.sandbox.server(1), "SELECT COUNT(*) FROM app.t").await, 0);
}

#[tokio::test]
async fn a_result_that_breaks_off_ends_in_an_error() {
    let mut stack = with_numbers().await;
    let mut client = stack.connect().await;
    let mut result = client
        .query_iter("SELECT REPEAT('x', 100000) FROM n a, n b")
        .await
        .expect("the beginning of a result");
    let first: Option<mysql_async::Row> = result.next().await.expect("a row");
    assert!(first.is_some());
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let rest = within("the end of the result", async {
        loop {
            match result.next().await {
                Ok(Some(_)) => {}
                end => return end.map(drop),
            }
        }
    });
    let end = rest.await;
    drop(result);
    match end {
        Err(mysql_async::Error::Server(error)) => {
            assert_eq!((error.code, error.state.as_str()), (1927, "08S01"), "{error}");
            assert!(error.message.contains("m1"), "{error}");
            let next: Option<u32> =
                client.query_first("SELECT @@server_id").await.expect("the session lives");
            assert_eq!(next, Some(2));
        }
        end => assert!(is_closed(&end), "{end:?}"),
    }
}

#[tokio::test]
async fn a_fenced_write_is_held_and_run_on_the_new_active() {
    let mut stack = with_numbers().await;
    let mut client = stack.connect().await;
    let read_only = match stack.sandbox.binaries().flavor() {
        tandem::topology::Flavor::MariaDb => "SET GLOBAL read_only=1",
        tandem::topology::Flavor::MySql => "SET GLOBAL super_read_only=1",
    };
    stack.sandbox.server(0).execute(&[read_only]).await.expect("fenced");
    let write = tokio::spawn(async move {
        client.query_drop("INSERT INTO t (a) VALUES (1)").await?;
        Ok::<_, mysql_async::Error>(client.last_insert_id())
    });
    await_activity(&stack, Activity::Held, 1).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let key = within("the write", write).await.expect("ran").expect("no error");
    assert_eq!(key.map(|key| key % 2), Some(0), "a key of m2's");
    assert_eq!(ask::<u64>(stack.sandbox.server(1), "SELECT COUNT(*) FROM app.t").await, 1);
}

/// Both masters of a semi-synchronous pair wait for each other's acknowledgement. Neither the
/// survivor's applier nor its clients may wait for the dead one's.
#[tokio::test]
async fn a_semi_synchronous_survivor_does_not_wait_for_the_dead() {
    let options = SandboxOptions { semi_sync: true, ..SandboxOptions::default() };
    let mut stack = Stack::start_with(options, |_| {}).await;
    let timeout = match stack.sandbox.binaries().flavor() {
        tandem::topology::Flavor::MariaDb => "rpl_semi_sync_master_timeout",
        tandem::topology::Flavor::MySql => "rpl_semi_sync_source_timeout",
    };
    let forever = format!("SET GLOBAL {timeout}=3600000");
    for server in stack.sandbox.servers() {
        server.execute(&[&forever]).await.expect("set");
    }
    let mut client = stack.connect().await;
    client
        .query_drop("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)")
        .await
        .expect("made");
    // Something to catch up with when m1 dies: acknowledged, and not applied yet.
    let mut lock = stack.sandbox.server(1).root_connection().await.expect("root's login");
    eventually("m2 has the table", async || lock.query_drop("LOCK TABLES app.t READ").await.ok())
        .await;
    for a in 0..20 {
        client.query_drop(format!("INSERT INTO t (a) VALUES ({a})")).await.expect("acknowledged");
    }
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let mut routes = stack.app.handles().routes.clone();
    within("held", routes.wait_for(|table| table.active().is_none())).await.expect("it runs");
    lock.query_drop("UNLOCK TABLES").await.expect("unlocked");
    within("a write", client.query_drop("INSERT INTO t (a) VALUES (99)")).await.expect("written");
    let count = ask::<u64>(stack.sandbox.server(1), "SELECT COUNT(*) FROM app.t").await;
    assert_eq!(count, 21, "all that was acknowledged, and the new one");
}
