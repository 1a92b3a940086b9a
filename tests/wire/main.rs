//! Every result type, in every variant of the protocol, packet for packet against a direct
//! connection: what a client gets through the proxy is what the server would have sent it.
//!
//! A table of cases and variants is printed at the end. `TANDEM_SERVER` chooses the server.

#![allow(unreachable_pub)] // the modules of a suite are its own

#[path = "../fake_server/mod.rs"]
mod fake_server;
#[path = "../support/mod.rs"]
mod support;

mod cases;
mod conversation;
mod dump;
mod equality;
mod moved;

use support::Stack;

/// Makes the account `wire` on both servers: without a password, so that every plugin lets it in
/// with an empty token, and allowed to do what the cases do.
async fn make_account(stack: &Stack) {
    for server in stack.sandbox.servers() {
        server
            .execute(&[
                "SET SESSION sql_log_bin = 0",
                "CREATE USER 'wire'@'%' IDENTIFIED BY ''",
                "GRANT ALL PRIVILEGES ON *.* TO 'wire'@'%'",
            ])
            .await
            .expect("an account");
    }
}
