//! Who may log in is the masters' word, and everybody whom they let in stays in at a failover:
//! every kind of account that a proxy can carry, against real masters. `TANDEM_SERVER` chooses which.
//!
//! What a server at hand does not have (a plugin that is packaged elsewhere) is named.

#[path = "../failover/patience.rs"]
#[allow(dead_code)] // shared with another suite
mod patience;
mod raw;
#[path = "../support/mod.rs"]
mod support;

mod changing;
mod command_line;
mod kinds;
mod refusals;
mod standby;
mod switching;

use std::io::Write as _;

use mysql_async::prelude::*;
use mysql_async::{Conn, OptsBuilder};
use support::Stack;
use tandem::topology::Flavor;

fn missing(what: &str) {
    // Not by `println!`, which the harness keeps to itself when a test ends well.
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {what} is not at hand");
}

fn opts(stack: &Stack, user: &str, password: &str) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(stack.port())
        .prefer_socket(Some(false))
        .user(Some(user))
        .pass(Some(password))
        .db_name(Some("app"))
}

fn is_mariadb(stack: &Stack) -> bool {
    stack.sandbox.binaries().flavor() == Flavor::MariaDb
}

/// Makes accounts on the first master, lets them use `app`, and waits until the second has them.
async fn make(stack: &Stack, accounts: &[(&str, &str)]) {
    let mut statements = Vec::new();
    for (name, identified) in accounts {
        statements.push(format!("CREATE USER {name} {identified}"));
        statements.push(format!("GRANT SELECT ON app.* TO {name}"));
    }
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    stack.sandbox.server(0).execute(&statements).await.expect("made");
    stack.await_replicated(0).await;
}

async fn who_am_i(connection: &mut Conn) -> String {
    let name: Option<String> =
        connection.query_first("SELECT CURRENT_USER()").await.expect("asked");
    name.expect("somebody")
}
