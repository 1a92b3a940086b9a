//! Runs the clients of `tests/clients`: each directly and through the proxy, and all of them at once
//! across the death of the active master.
//!
//! ```text
//! cargo run --example clients -- [CLIENT…]
//! ```
//!
//! A client is a small program in its own language that prints a line for everything it hears. What it
//! hears through the proxy, without TLS and with it, must be what it hears directly, line by line. Then
//! every client opens a session that is idle and one in a transaction, the active master is killed, and
//! each must find what it left on the other one.
//!
//! `tests/clients/prepare.sh` makes the clients and lists them in `target/clients/commands.tsv`; one that
//! cannot be had on this machine is named in the last lines.

mod client;
mod failover;
mod round;
#[path = "../../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use client::Client;
use round::Round;
use tandem::sandbox::ServerBinaries;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/commands.tsv");
    let clients = match Client::list(&list) {
        Ok(clients) => clients,
        Err(error) => {
            eprintln!("{}: {error}; tests/clients/prepare.sh writes it", list.display());
            return ExitCode::from(2);
        }
    };
    let (clients, missing): (Vec<_>, Vec<_>) = clients
        .into_iter()
        .filter(|client| wanted.is_empty() || wanted.contains(&client.name))
        .partition(|client| client.missing.is_none());
    let mut notes: Vec<String> = missing
        .iter()
        .map(|client| {
            format!("NOT TESTED: {}: {}", client.name, client.missing.as_deref().unwrap_or("?"))
        })
        .collect();
    let (mut passed, mut failed, mut skipped) = (0, 0, missing.len());
    for binaries in servers(&mut notes) {
        let mut round = Round::start(binaries).await;
        let results = round.run(&clients).await;
        passed += results.iter().filter(|result| result.is_ok()).count();
        failed += results.iter().filter(|result| result.has_failed()).count();
        skipped += usize::from(results.is_empty());
        let unfit = results.into_iter().filter(|result| !result.has_failed());
        let unfit: Vec<String> = unfit.filter_map(|result| result.unfit).collect();
        skipped += unfit.len();
        notes.extend(unfit);
        notes.extend(round.notes());
    }
    println!();
    notes.iter().for_each(|note| println!("{note}"));
    println!("clients: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The server of this machine, or the one that `TANDEM_SERVER` names; and MySQL 9 if it was fetched.
fn servers(notes: &mut Vec<String>) -> Vec<ServerBinaries> {
    let mut servers = vec![ServerBinaries::find().expect("a server")];
    if std::env::var_os("TANDEM_SERVER").is_some() {
        return servers;
    }
    let root = std::env::var_os("TANDEM_MYSQL_ROOT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers/mysql-9"),
        PathBuf::from,
    );
    match ServerBinaries::in_root(&root) {
        Ok(mysql) => servers.push(mysql),
        Err(_) => notes.push(
            "NOT TESTED: clients before MySQL 9, which is not at hand \
             (scripts/fetch-server.sh mysql-9)"
                .to_owned(),
        ),
    }
    servers
}
