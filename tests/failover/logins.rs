//! Who may log in is the masters' word.

use std::time::Duration;

use mysql_async::prelude::*;
use mysql_async::{Conn, OptsBuilder};

use crate::patience::told;
use crate::support::Stack;

fn opts(stack: &Stack, user: &str, password: &str, schema: Option<&str>) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(stack.port())
        .prefer_socket(Some(false))
        .user(Some(user))
        .pass(Some(password))
        .db_name(schema)
}

#[tokio::test]
async fn the_masters_answer_logins_in_their_own_words() {
    let stack = Stack::start().await;
    let new = ["CREATE USER late@'%' IDENTIFIED BY 'secret'", "GRANT SELECT ON app.* TO late@'%'"];
    stack.sandbox.server(0).execute(&new).await.expect("made after the proxy started");
    let mut late = Conn::new(opts(&stack, "late", "secret", Some("app"))).await.expect("a login");
    let name: Option<String> = late.query_first("SELECT CURRENT_USER()").await.expect("asked");
    assert_eq!(name.as_deref(), Some("late@%"));
    let (code, state, words) = told(Conn::new(opts(&stack, "late", "wrong", None)).await);
    assert_eq!((code, state.as_str()), (1045, "28000"), "{words}");
    assert!(words.contains("using password: YES"), "the server's own words: {words}");
    let (code, _, words) = told(Conn::new(opts(&stack, "nobody", "x", None)).await);
    assert_eq!(code, 1045, "{words}");
    // "app" may do everything in its own database only, so that others are denied, not unknown.
    let root = ["CREATE USER most@'%' IDENTIFIED BY 'most'", "GRANT ALL ON *.* TO most@'%'"];
    stack.sandbox.server(0).execute(&root).await.expect("made");
    let (code, state, words) = told(Conn::new(opts(&stack, "most", "most", Some("none"))).await);
    assert_eq!((code, state.as_str()), (1049, "42000"), "{words}");
}

/// A full master may have room in a moment; when it has none, the client hears it from the master.
#[tokio::test]
async fn a_master_without_room_says_so_itself() {
    let hold = Duration::from_millis(200);
    let stack = Stack::start_with(Default::default(), |config| config.failover.hold = hold).await;
    let alone = ["CREATE USER one@'%' IDENTIFIED BY 'one' WITH MAX_USER_CONNECTIONS 1"];
    stack.sandbox.server(0).execute(&alone).await.expect("made");
    let first = Conn::new(opts(&stack, "one", "one", None)).await.expect("a login");
    let (code, state, words) = told(Conn::new(opts(&stack, "one", "one", None)).await);
    assert_eq!((code, state.as_str()), (1226, "42000"), "{words}");
    assert!(words.contains("max_user_connections"), "the server's own words: {words}");
    drop(first);
    crate::patience::eventually("there is room again", async || {
        Conn::new(opts(&stack, "one", "one", None)).await.ok()
    })
    .await;
}

/// On MySQL the survivor has never heard these passwords: its cache is cold.
#[tokio::test]
async fn sessions_of_several_users_follow_to_the_other_master() {
    let mut stack = Stack::start().await;
    let mut statements = vec![];
    for user in ["ann", "bob", "eve"] {
        statements.push(format!("CREATE USER {user}@'%' IDENTIFIED BY '{user}s secret'"));
        statements.push(format!("GRANT SELECT ON app.* TO {user}@'%'"));
    }
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    stack.sandbox.server(0).execute(&statements).await.expect("made");
    let mut clients = vec![];
    for user in ["ann", "bob", "eve"] {
        let password = format!("{user}s secret");
        let client = Conn::new(opts(&stack, user, &password, Some("app"))).await.expect("a login");
        clients.push((user, client));
    }
    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    for (user, client) in &mut clients {
        let row: Option<(String, u32)> =
            client.query_first("SELECT CURRENT_USER(), @@server_id").await.expect("served");
        assert_eq!(row, Some((format!("{user}@%"), 2)));
    }
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let stack =
        Stack::start_with(Default::default(), |config| config.limits.max_connections = 2).await;
    let first = stack.connect().await;
    let mut second = stack.connect().await;
    let (code, _, words) = told(Conn::new(stack.opts()).await);
    assert_eq!(code, 1040, "{words}");
    assert!(words.contains("limits.max_connections"), "{words}");
    second.query_drop("SELECT 1").await.expect("not disturbed");
    drop(first);
    crate::patience::eventually("there is room again", async || Conn::new(stack.opts()).await.ok())
        .await;
}
