//! A user that the standby does not let in is found before the failover that would end its sessions.

use mysql_async::Conn;
use mysql_async::prelude::*;
use mysql_async::{OptsBuilder, Row};
use tandem::topology::ServerAddress;

use crate::patience::eventually;
use crate::support::Stack;
use crate::{make, opts};

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
    let Some(ServerAddress::Tcp { port, .. }) = stack.app.console() else { panic!("a console") };
    let console = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(*port);
    let mut console = Conn::new(console.user(Some("admin"))).await.expect("the console");
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
