//! A user that the standby does not let in is found before the failover that would end its sessions.

use mysql_async::Conn;
use mysql_async::prelude::*;
use mysql_async::{OptsBuilder, Row};

use crate::patience::eventually;
use crate::support::Stack;
use crate::{make, opts};

/// `read_only` does not stop everybody, also not one whose role may write.
#[tokio::test]
async fn users_whom_no_fence_stops_are_found_and_shown() {
    let stack = Stack::start().await;
    let accounts = [("boss@'%'", "IDENTIFIED BY 'x'"), ("clerk@'%'", "IDENTIFIED BY 'x'")];
    make(&stack, &accounts).await;
    let mariadb = stack.sandbox.binaries().flavor() == tandem::topology::Flavor::MariaDb;
    let grants = if mariadb {
        [
            "CREATE ROLE bosses",
            "GRANT READ_ONLY ADMIN ON *.* TO bosses",
            "GRANT bosses TO boss@'%'",
            "SET DEFAULT ROLE bosses FOR boss@'%'",
            "GRANT ALL PRIVILEGES ON app.* TO boss@'%'",
        ]
        .as_slice()
    } else {
        // Whatever it may: super_read_only stops it.
        &["GRANT ALL PRIVILEGES ON *.* TO boss@'%'"]
    };
    stack.sandbox.server(0).execute(grants).await.expect("granted");
    eventually("m2 has the grants", async || {
        let mut root = stack.sandbox.server(1).root_connection().await.ok()?;
        let grants: Vec<String> = root.query("SHOW GRANTS FOR boss@'%'").await.ok()?;
        let all = grants.concat();
        let last = if mariadb { "ALL PRIVILEGES ON `app`.*" } else { "SHUTDOWN" };
        all.contains(last).then_some(())
    })
    .await;
    let mut clients = Vec::new();
    for user in ["boss", "clerk"] {
        clients.push(Conn::new(opts(&stack, user, "x")).await.expect("the active one lets it in"));
    }
    let logins = stack.app.handles().sessions.standby_logins();
    let found = eventually("both were asked", async || {
        let found = logins.borrow().clone();
        (found.len() >= 2).then_some(found)
    })
    .await;
    if !mariadb {
        // As Tandem fences it; its my.cnf says read_only alone.
        let fence = ["SET GLOBAL super_read_only = 1"];
        stack.sandbox.server(1).execute(&fence).await.expect("fenced");
    }
    // What is said is true: it is let past the fence, or stopped by it.
    let direct = OptsBuilder::from_opts(opts(&stack, "boss", "x"))
        .tcp_port(stack.sandbox.server(1).port())
        .db_name(Some("app"));
    let mut direct = Conn::new(direct).await.expect("the standby lets it in");
    let written = direct.query_drop("CREATE TABLE past_the_fence (a INT)").await;
    for login in found.iter() {
        assert_eq!(login.refusal, None);
        let unfenced = login.unfenced.as_ref();
        let expected = (mariadb && login.user == "boss").then_some("READ_ONLY ADMIN");
        assert_eq!(unfenced.map(|unfenced| unfenced.privilege), expected, "{login:?}");
        if login.user == "boss" {
            assert_eq!(unfenced.is_some(), written.is_ok(), "{written:?}");
        }
    }
    if !mariadb {
        return;
    }
    let mut console = stack.console().await;
    let row: Row = console.query_first("SHOW LOGINS").await.expect("shown").expect("a row");
    let mend: String = row.get("Mend").expect("the faulty one comes first");
    assert_eq!(mend, "REVOKE READ_ONLY ADMIN ON *.* FROM `bosses`");
    stack.sandbox.server(0).execute(&[&mend]).await.expect("mended");
}

#[tokio::test]
async fn users_that_the_standby_refuses_are_found_and_shown() {
    let stack = Stack::start().await;
    make(&stack, &[("pair@'%'", "IDENTIFIED BY 'x'"), ("other@'%'", "IDENTIFIED BY 'x'")]).await;
    let elsewhere = ["SET sql_log_bin = 0", "ALTER USER other@'%' IDENTIFIED BY 'y'"];
    stack.sandbox.server(1).execute(&elsewhere).await.expect("another password there");
    let only_here = [
        "SET sql_log_bin = 0",
        "CREATE USER one@'%' IDENTIFIED BY 'x'",
        "GRANT SELECT ON app.* TO one@'%'",
    ];
    stack.sandbox.server(0).execute(&only_here).await.expect("made on one master");
    let mut clients = Vec::new();
    for user in ["pair", "other", "one"] {
        clients.push(Conn::new(opts(&stack, user, "x")).await.expect("the active one lets it in"));
    }
    let logins = stack.app.handles().sessions.standby_logins();
    let found = eventually("all three were asked", async || {
        let found = logins.borrow().clone();
        (found.len() >= 3).then_some(found)
    })
    .await;
    for login in found.iter() {
        let refusal = login.refusal.as_deref();
        assert_eq!(refusal.is_none(), login.user == "pair", "{login:?}");
        assert!(refusal.is_none_or(|words| words.starts_with("error 1045: ")), "{login:?}");
        assert_eq!((login.schema.as_str(), login.server.index()), ("app", 1));
    }
    let mut console = stack.console().await;
    let rows: Vec<Row> = console.query("SHOW LOGINS").await.expect("shown");
    let shown: Vec<(String, String)> =
        rows.iter().map(|row| (row.get("User").unwrap(), row.get("Accepted").unwrap())).collect();
    assert_eq!(shown[0].1, "No", "those come first: {shown:?}");
    assert_eq!(shown[2], ("pair".to_owned(), "Yes".to_owned()), "{shown:?}");
    let stats: Vec<(String, Option<String>)> = console.query("SHOW STATS").await.expect("shown");
    let counted =
        stats.iter().find(|(name, _)| name.contains("standby_refusals") && name.contains("m2"));
    assert_eq!(counted.and_then(|(_, value)| value.as_deref()), Some("2"), "{stats:?}");
}
