//! Which plugin a client is asked for, packet by packet.

use tandem::wire::{Capabilities, Salt, native_token_of_password, sha2_token};

use crate::raw::{CACHING_SHA2, NATIVE, Raw, USUAL};
use crate::support::Stack;
use crate::{is_mariadb, make};

fn token(plugin: &str, password: &str, salt: &Salt) -> Vec<u8> {
    match plugin {
        NATIVE => native_token_of_password(password.as_bytes(), salt).to_vec(),
        _ => sha2_token(password.as_bytes(), salt).to_vec(),
    }
}

#[tokio::test]
async fn clients_are_asked_for_what_their_account_wants() {
    let stack = Stack::start().await;
    make(&stack, &[("ann@'%'", "IDENTIFIED BY 'secret'"), ("open@'%'", "")]).await;
    let port = stack.port();
    if is_mariadb(&stack) {
        a_native_account(port).await;
        without_plugins(port).await;
    } else {
        a_sha2_account(port).await;
    }
    for user in ["open", "ann"] {
        names_that_nobody_knows(&stack, port, user).await;
    }
    before_4_1(port).await;
}

async fn a_native_account(port: u16) {
    // As greeted: not one packet more.
    let mut raw = Raw::greeted(port).await;
    assert_eq!(raw.greeting.plugin, NATIVE);
    let answer = token(NATIVE, "secret", &raw.greeting.salt);
    raw.respond(USUAL, "ann", NATIVE, &answer).await;
    raw.expect_ok().await;
    // A client that insists on the newer plugin has no older one: it keeps what it has. An empty
    // answer for another plugin than the greeting's asks for a salt.
    for first in [Vec::new(), token(CACHING_SHA2, "secret", &Salt::default())] {
        let mut raw = Raw::greeted(port).await;
        let greeted = raw.greeting.salt;
        raw.respond(USUAL, "ann", CACHING_SHA2, &first).await;
        let salt = if first.is_empty() {
            let salt = raw.switched_to(CACHING_SHA2).await;
            raw.send(&token(CACHING_SHA2, "not known yet", &salt)).await;
            salt
        } else {
            greeted
        };
        raw.show_password("secret", &salt).await;
        raw.expect_ok().await;
        assert_eq!(raw.ask("SELECT CURRENT_USER()").await, "ann@%");
    }
    // Known by now.
    let mut raw = Raw::greeted(port).await;
    let answer = token(CACHING_SHA2, "secret", &raw.greeting.salt);
    raw.respond(USUAL, "ann", CACHING_SHA2, &answer).await;
    assert_eq!(raw.packet().await, [1, 3]);
    raw.expect_ok().await;
}

async fn a_sha2_account(port: u16) {
    let mut raw = Raw::greeted(port).await;
    assert_eq!(raw.greeting.plugin, CACHING_SHA2);
    let salt = raw.greeting.salt;
    raw.respond(USUAL, "ann", CACHING_SHA2, &token(CACHING_SHA2, "secret", &salt)).await;
    raw.show_password("secret", &salt).await;
    raw.expect_ok().await;
    // A client that always begins with the older plugin is asked to switch, and is known by now.
    let mut raw = Raw::greeted(port).await;
    let answer = token(NATIVE, "secret", &raw.greeting.salt);
    raw.respond(USUAL, "ann", NATIVE, &answer).await;
    let salt = raw.switched_to(CACHING_SHA2).await;
    raw.send(&token(CACHING_SHA2, "secret", &salt)).await;
    assert_eq!(raw.packet().await, [1, 3]);
    raw.expect_ok().await;
    // One that cannot switch hears what the server would say.
    let mut raw = Raw::greeted(port).await;
    let bare = USUAL.without(Capabilities::PLUGIN_AUTH);
    let answer = token(NATIVE, "secret", &raw.greeting.salt);
    raw.respond(bare, "ann", NATIVE, &answer).await;
    let (code, words) = raw.expect_error().await;
    assert_eq!(code, 1251, "{words}");
    assert!(words.contains("consider upgrading MySQL client"), "{words}");
}

async fn without_plugins(port: u16) {
    let mut raw = Raw::greeted(port).await;
    let bare = USUAL.without(Capabilities::PLUGIN_AUTH);
    let bare = bare.without(Capabilities::PLUGIN_AUTH_LENENC);
    let answer = token(NATIVE, "secret", &raw.greeting.salt);
    raw.respond(bare, "ann", NATIVE, &answer).await;
    raw.expect_ok().await;
    assert_eq!(raw.ask("SELECT CURRENT_USER()").await, "ann@%");
}

/// A plugin that the proxy has never heard of: the client is asked for the account's.
async fn names_that_nobody_knows(stack: &Stack, port: u16, user: &str) {
    let mut raw = Raw::greeted(port).await;
    let plugin = raw.greeting.plugin.clone();
    raw.respond(USUAL, user, "somebodys_own", b"abc").await;
    let salt = raw.switched_to(&plugin).await;
    if user == "open" {
        raw.send(&[]).await;
    } else {
        raw.send(&token(&plugin, "secret", &salt)).await;
        if !is_mariadb(stack) {
            assert_eq!(raw.packet().await, [1, 3], "known by now");
        }
    }
    raw.expect_ok().await;
}

async fn before_4_1(port: u16) {
    let mut raw = Raw::greeted(port).await;
    let old = USUAL
        .without(Capabilities::SECURE_CONNECTION)
        .without(Capabilities::PLUGIN_AUTH)
        .without(Capabilities::PLUGIN_AUTH_LENENC);
    // The form of that time: the token ends with a NUL.
    raw.respond_old(old, "ann").await;
    assert_eq!(raw.expect_error().await.0, 1251);
}
