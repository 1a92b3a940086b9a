//! COM_CHANGE_USER: what the server does, the proxy does.

use tandem::wire::{Salt, native_token_of_password, sha2_token};

use crate::raw::{CACHING_SHA2, NATIVE, Raw, USUAL};
use crate::support::Stack;
use crate::{is_mariadb, make};

/// Answers the request for a plugin, as a client that has `password`. `proxied`: it may be recognised.
async fn answer(raw: &mut Raw, password: &str) {
    let plugin = raw.greeting.plugin.clone();
    let salt: Salt = raw.switched_to(&plugin).await;
    if plugin == NATIVE {
        return raw.send(&native_token_of_password(password.as_bytes(), &salt)).await;
    }
    raw.send(&sha2_token(password.as_bytes(), &salt)).await;
    raw.finish_sha2(password, &salt).await;
}

async fn log_in(port: u16, user: &str, password: &str) -> Raw {
    let mut raw = Raw::greeted(port).await;
    let salt = raw.greeting.salt;
    if raw.greeting.plugin == NATIVE {
        let token = native_token_of_password(password.as_bytes(), &salt);
        raw.respond(USUAL, user, NATIVE, &token).await;
    } else {
        let token = sha2_token(password.as_bytes(), &salt);
        raw.respond(USUAL, user, CACHING_SHA2, &token).await;
        raw.finish_sha2(password, &salt).await;
    }
    raw.expect_ok().await;
    raw
}

#[tokio::test]
async fn another_user_on_the_same_connection() {
    let mut stack = Stack::start().await;
    make(&stack, &[("ann@'%'", "IDENTIFIED BY 'a'"), ("bob@'%'", "IDENTIFIED BY 'b'")]).await;
    // A collation whose number does not fit the first login.
    let (number, name) = if is_mariadb(&stack) {
        (2053, "utf8mb3_uca1400_nopad_ai_cs")
    } else {
        (309, "utf8mb4_0900_bin")
    };
    let direct = stack.sandbox.server(0).port();
    for port in [direct, stack.port()] {
        let mut raw = log_in(port, "ann", "a").await;
        let id = raw.ask("SELECT CONNECTION_ID()").await;
        raw.run("SET @a = 5").await;
        raw.run("SET SESSION wait_timeout = 77").await;
        raw.change_user("bob", Some("app"), 45).await;
        answer(&mut raw, "b").await;
        raw.expect_ok().await;
        assert_eq!(raw.ask("SELECT CURRENT_USER()").await, "bob@%");
        assert_eq!(raw.ask("SELECT IFNULL(@a, 'gone')").await, "gone");
        assert_ne!(raw.ask("SELECT @@wait_timeout").await, "77");
        assert_eq!(raw.ask("SELECT CONNECTION_ID()").await, id, "the connection is the same");
        // The same user again, without a schema, in another collation.
        raw.change_user("bob", None, number).await;
        answer(&mut raw, "b").await;
        raw.expect_ok().await;
        assert_eq!(raw.ask("SELECT IFNULL(DATABASE(), 'none')").await, "none");
        assert_eq!(raw.ask("SELECT @@collation_connection").await, name);
        // Refused: MariaDB goes on as before, with a session that is cleared; MySQL closes.
        raw.run("SET @a = 6").await;
        raw.run("USE app").await;
        raw.change_user("ann", Some("app"), 45).await;
        answer(&mut raw, "wrong").await;
        assert_eq!(raw.expect_error().await.0, 1045);
        if is_mariadb(&stack) {
            assert_eq!(raw.ask("SELECT CURRENT_USER()").await, "bob@%");
            assert_eq!(raw.ask("SELECT IFNULL(@a, 'gone')").await, "gone");
            assert_eq!(raw.ask("SELECT DATABASE()").await, "app");
        } else {
            assert!(raw.is_closed().await);
        }
    }
    // The session list knows who it is now, and a failover finds the right user and collation.
    let mut raw = log_in(stack.port(), "ann", "a").await;
    raw.change_user("bob", Some("app"), number).await;
    answer(&mut raw, "b").await;
    raw.expect_ok().await;
    let sessions = stack.app.handles().sessions.registry.list();
    assert!(sessions.iter().any(|entry| &*entry.user() == "bob"));
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    assert_eq!(raw.ask("SELECT @@server_id").await, "2");
    assert_eq!(raw.ask("SELECT CURRENT_USER()").await, "bob@%");
    assert_eq!(raw.ask("SELECT @@collation_connection").await, name);
}
