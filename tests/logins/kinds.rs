//! Every kind of account, at login and at a failover.

use mysql_async::Conn;
use mysql_async::prelude::*;

use crate::patience::told;
use crate::support::Stack;
use crate::{is_mariadb, make, missing, opts, who_am_i};

/// Loads a plugin on both masters, if they have it.
pub(crate) async fn has_plugin(stack: &Stack, library: &str) -> bool {
    let load = format!("INSTALL SONAME '{library}'");
    for server in stack.sandbox.servers() {
        if server.execute(&[&load]).await.is_err() {
            missing(&format!("{library} of {}", stack.sandbox.binaries().version()));
            return false;
        }
    }
    true
}

/// `(account, how it is identified, user, password)`
type Kind = (&'static str, &'static str, &'static str, &'static str);

async fn kinds(stack: &Stack) -> Vec<Kind> {
    if !is_mariadb(stack) {
        return vec![
            ("sha@'%'", "IDENTIFIED WITH caching_sha2_password BY 'a secret'", "sha", "a secret"),
            ("old@'%'", "IDENTIFIED WITH sha256_password BY 'a secret'", "old", "a secret"),
            ("open@'%'", "IDENTIFIED BY ''", "open", ""),
            ("older@'%'", "IDENTIFIED WITH sha256_password BY ''", "older", ""),
            ("two@'10.%'", "IDENTIFIED WITH sha256_password BY 'elsewhere'", "-", ""),
            ("two@'%'", "IDENTIFIED BY 'here'", "two", "here"),
            ("''@'%'", "IDENTIFIED BY 'anybody'", "stranger", "anybody"),
        ];
    }
    let mut kinds = vec![
        ("nat@'%'", "IDENTIFIED BY 'a secret'", "nat", "a secret"),
        ("open@'%'", "", "open", ""),
        (
            "either@'%'",
            "IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('or this')",
            "either",
            "or this",
        ),
        ("two@'10.%'", "IDENTIFIED BY 'elsewhere'", "-", ""),
        ("two@'%'", "IDENTIFIED BY 'here'", "two", "here"),
        ("''@'%'", "IDENTIFIED BY 'anybody'", "stranger", "anybody"),
    ];
    if has_plugin(stack, "auth_ed25519").await {
        kinds.extend([
            ("ed@'%'", "IDENTIFIED VIA ed25519 USING PASSWORD('a secret')", "ed", "a secret"),
            (
                "choice@'%'",
                "IDENTIFIED VIA ed25519 USING PASSWORD('new') \
                 OR mysql_native_password USING PASSWORD('old')",
                "choice",
                "old",
            ),
            ("hosts@'10.%'", "IDENTIFIED BY 'a secret'", "-", ""),
            (
                "hosts@'%'",
                "IDENTIFIED VIA ed25519 USING PASSWORD('a secret 2')",
                "hosts",
                "a secret 2",
            ),
        ]);
    }
    if has_plugin(stack, "auth_parsec").await {
        let identified = "IDENTIFIED VIA parsec USING PASSWORD('a secret')";
        kinds.push(("curve@'%'", identified, "curve", "a secret"));
    }
    kinds
}

#[tokio::test]
async fn every_kind_of_account_logs_in_and_follows_to_a_master_that_never_heard_of_it() {
    let mut stack = Stack::start().await;
    let kinds = kinds(&stack).await;
    let accounts: Vec<_> = kinds.iter().map(|(name, how, ..)| (*name, *how)).collect();
    make(&stack, &accounts).await;
    let mut clients = Vec::new();
    for (account, how, user, password) in kinds.into_iter().filter(|kind| kind.2 != "-") {
        let client = Conn::new(opts(&stack, user, password)).await;
        let mut client = client.unwrap_or_else(|error| panic!("{account} {how}: {error}"));
        let name = who_am_i(&mut client).await;
        assert_eq!(name, account.replace('\'', ""), "{how}");
        let wrong = Conn::new(opts(&stack, user, "not this")).await;
        let (code, state, words) = told(wrong.map(|_| ()));
        assert_eq!((code, state.as_str()), (1045, "28000"), "{account} {how}: {words}");
        clients.push((name, client));
    }
    // What a server keeps of passwords that it has heard goes with a restart, and with this.
    stack.sandbox.server(1).execute(&["FLUSH PRIVILEGES"]).await.expect("flushed");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    for (name, client) in &mut clients {
        let row: Option<(String, u32)> =
            client.query_first("SELECT CURRENT_USER(), @@server_id").await.expect("served");
        assert_eq!(row, Some((name.clone(), 2)));
    }
}

/// The table of accounts cannot be read: the password is asked for, and nothing else is needed.
#[tokio::test]
async fn without_the_hashes_the_password_itself_will_do() {
    let mut stack = Stack::start().await;
    make(&stack, &[("plain@'%'", "IDENTIFIED BY 'a secret'")]).await;
    let table = if is_mariadb(&stack) { "mysql.global_priv" } else { "mysql.user" };
    let monitor = &stack.sandbox.monitor().user;
    let mut root = stack.sandbox.server(0).root_connection().await.expect("root");
    let hosts: Vec<String> = root
        .query(format!("SELECT Host FROM mysql.user WHERE User = '{monitor}'"))
        .await
        .expect("asked");
    for host in hosts {
        let revoke = format!("REVOKE SELECT ON {table} FROM '{monitor}'@'{host}'");
        if root.query_drop(&revoke).await.is_err() {
            // It holds SELECT on everything.
            let revoke = format!("REVOKE SELECT ON *.* FROM '{monitor}'@'{host}'");
            root.query_drop(revoke).await.expect("revoked");
        }
    }
    stack.await_replicated(0).await;
    // A proxy that has never read them.
    let config = crate::support::config_for(&stack.sandbox);
    stack.app = tandem::app::App::start(config).expect("another proxy");
    stack.await_active(Some("m1")).await;
    let mut client = Conn::new(opts(&stack, "plain", "a secret")).await.expect("a login");
    assert_eq!(who_am_i(&mut client).await, "plain@%");
    let wrong = Conn::new(opts(&stack, "plain", "not this")).await;
    let (code, _, words) = told(wrong.map(|_| ()));
    assert_eq!(code, 1045, "{words}");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let server: Option<u32> = client.query_first("SELECT @@server_id").await.expect("served");
    assert_eq!(server, Some(2));
}
