//! Refusals: the masters' own words where they have some, else why and what to do.

use mysql_async::prelude::*;
use mysql_async::{Conn, DriverError};

use crate::patience::told;
use crate::support::Stack;
use crate::{is_mariadb, make, opts, who_am_i};

#[tokio::test]
async fn the_masters_refuse_in_their_own_words() {
    let stack = Stack::start().await;
    make(
        &stack,
        &[
            ("locked@'%'", "IDENTIFIED BY 'x' ACCOUNT LOCK"),
            ("expired@'%'", "IDENTIFIED BY 'x' PASSWORD EXPIRE"),
            ("few@'%'", "IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 1"),
            ("own@'%'", "IDENTIFIED BY 'x'"),
            ("away@'10.1.2.3'", "IDENTIFIED BY 'x'"),
        ],
    )
    .await;
    let all = ["CREATE USER most@'%' IDENTIFIED BY 'x'", "GRANT ALL ON *.* TO most@'%'"];
    stack.sandbox.server(0).execute(&all).await.expect("made");
    let direct = stack.sandbox.server(0).port();
    let mut first = Conn::new(opts(&stack, "few", "x")).await.expect("room for one");
    for (user, password, schema, code) in [
        ("locked", "x", "app", if is_mariadb(&stack) { 4151 } else { 3118 }),
        ("few", "x", "app", 1226),
        ("own", "x", "mysql", 1044),
        ("most", "x", "nowhere", 1049),
        ("away", "x", "app", 1045),
        ("own", "y", "app", 1045),
        ("own", "", "app", 1045),
        ("nobody", "x", "app", 1045),
        ("nobody", "", "app", 1045),
    ] {
        let asked = opts(&stack, user, password).db_name(Some(schema));
        let proxied = told(Conn::new(asked.clone()).await.map(|_| ()));
        match Conn::new(asked.tcp_port(direct)).await.map(|_| ()) {
            // MySQL asks somebody whom it has no account for for any of its plugins.
            Err(mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { .. })) => {
                assert!(!is_mariadb(&stack) && ["nobody", "away"].contains(&user), "{user}");
            }
            directly => assert_eq!(proxied, told(directly), "{user} {password} {schema}"),
        }
        assert_eq!(proxied.0, code, "{user} {password} {schema}");
    }
    assert_eq!(who_am_i(&mut first).await, "few@%");
    // With or without the capability to be let in for changing it.
    let expired = told(Conn::new(opts(&stack, "expired", "x")).await.map(|_| ()));
    let directly = told(Conn::new(opts(&stack, "expired", "x").tcp_port(direct)).await.map(|_| ()));
    assert_eq!(expired, directly);
    // A wrong password once does not stand in the way of the right one, nor of a new one.
    Conn::new(opts(&stack, "own", "x")).await.expect("a login");
    let change = [
        "ALTER USER own@'%' IDENTIFIED BY 'new'",
        "CREATE USER late@'%' IDENTIFIED BY 'z'",
        "GRANT SELECT ON app.* TO late@'%'",
    ];
    stack.sandbox.server(0).execute(&change).await.expect("changed");
    Conn::new(opts(&stack, "own", "new")).await.expect("the new password, at once");
    Conn::new(opts(&stack, "late", "z")).await.expect("the new account, at once");
    let (code, ..) = told(Conn::new(opts(&stack, "own", "x")).await.map(|_| ()));
    assert_eq!(code, 1045, "the old one is forgotten");
    drop(first);
}

#[tokio::test]
async fn accounts_that_cannot_work_hear_why_and_what_to_do() {
    let stack = Stack::start().await;
    let server = stack.sandbox.server(0);
    let (make, plugin) = if is_mariadb(&stack) {
        ("CREATE USER os@'%' IDENTIFIED VIA unix_socket", "unix_socket")
    } else {
        // It comes with the server, as a library.
        let load = "INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'";
        server.execute(&[load]).await.expect("loaded");
        ("CREATE USER os@'%' IDENTIFIED WITH auth_socket", "auth_socket")
    };
    server.execute(&["SET sql_log_bin = 0", make]).await.expect("made");
    for password in ["x", ""] {
        let (code, state, words) = told(Conn::new(opts(&stack, "os", password)).await.map(|_| ()));
        assert_eq!(state, "28000", "{words}");
        if !password.is_empty() {
            assert_eq!(code, 1045, "{words}");
            assert!(
                words.contains(plugin) && words.contains("an account with a password"),
                "{words}"
            );
        }
    }
    let mut others = Conn::new(stack.opts()).await.expect("nobody else is disturbed");
    others.query_drop("SELECT 1").await.expect("served");
}
