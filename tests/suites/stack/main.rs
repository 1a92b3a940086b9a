//! A pair of servers and a proxy for programs that are not written in Rust.
//!
//! ```text
//! cargo run --example stack -- [SERVER ARGUMENT…]
//! ```
//!
//! Prints one line of JSON when everything is ready (what it holds is in [`ready`]), and ends with
//! everything that it started when its standard input does: no shell that dies leaves servers behind.

#[path = "../../support/mod.rs"]
mod support;

use std::process::ExitCode;

use serde_json::json;
use support::Stack;
use tandem::sandbox::SandboxOptions;
use tokio::io::AsyncReadExt as _;

/// What suites expect of a server that is not one of two masters: its keys are 1, 2, 3, and root may
/// log in over TCP, from `localhost`. No write waits for the disk. Nothing writes to the second server
/// here.
const ARGUMENTS: [&str; 4] = [
    "--auto-increment-increment=1",
    "--auto-increment-offset=1",
    "--skip-name-resolve=OFF",
    "--loose-debug-no-sync",
];

/// For the suites that want a password or another user than root.
const ACCOUNT: [&str; 3] = [
    "SET SESSION sql_log_bin = 0",
    "CREATE USER 'suite'@'%' IDENTIFIED BY 'suite'",
    "GRANT ALL ON *.* TO 'suite'@'%' WITH GRANT OPTION",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    // The last word on an argument is the caller's.
    let arguments = ARGUMENTS.map(str::to_owned).into_iter().chain(std::env::args().skip(1));
    let options = SandboxOptions {
        durable: false,
        arguments: arguments.collect(),
        ..SandboxOptions::default()
    };
    let stack = Stack::start_with(options, |_| {}).await;
    for server in stack.sandbox.servers() {
        if let Err(error) = server.execute(&ACCOUNT).await {
            eprintln!("stack: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!("{}", ready(&stack));
    // Whatever is written there is not for us; what counts is the end.
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    ExitCode::SUCCESS
}

/// What the line says.
fn ready(stack: &Stack) -> serde_json::Value {
    let routes = stack.app.handles().routes.borrow().clone();
    let active = routes.active().map_or(0, |active| active.index());
    let server = stack.sandbox.server(active);
    json!({
        "flavor": format!("{:?}", stack.sandbox.binaries().flavor()).to_lowercase(),
        "version": stack.sandbox.binaries().version(),
        // Where the active master listens, and where the proxy does.
        "direct": server.port(),
        "proxy": stack.port(),
        "socket": server.socket(),
        "directory": stack.sandbox.directory(),
    })
}
