//! Drills: real servers are hurt while clients write, and what it cost is printed.
//!
//! ```text
//! cargo run --example drill -- [kill] [freeze] [stop] [both-down] [switchover] [--runs N]
//!     [--rate WRITES] [--async] [--durable]
//! ```
//!
//! Tests say what must hold on any machine; a drill says how long it took on this one. It ends with
//! status 1 only when something is wrong that no slow machine excuses: a row or a key twice, an
//! acknowledged row missing although replication is semi-synchronous, a false acknowledgement.

mod both_down;
mod freeze;
mod kill;
mod ledger;
mod spread;
mod stage;
mod stop;
#[path = "../tests/support/mod.rs"]
mod support;
mod switchover;
mod transfers;
mod writers;

use std::process::ExitCode;

use stage::Kind;

const USAGE: &str = "usage: drill [kill] [freeze] [stop] [both-down] [switchover] [--runs N] [--rate WRITES] [--async] [--durable]";

/// What was asked for.
struct Asked {
    drills: Vec<String>,
    runs: Option<u32>,
    /// Writes a second, of all clients together.
    rate: Option<u32>,
    kind: Kind,
}

fn asked() -> Option<Asked> {
    let mut asked = Asked {
        drills: Vec::new(),
        runs: None,
        rate: None,
        kind: Kind { semi_sync: true, durable: false },
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "kill" | "freeze" | "stop" | "both-down" | "switchover" => asked.drills.push(word),
            "--rate" => asked.rate = Some(words.next()?.parse().ok()?),
            "--runs" => asked.runs = Some(words.next()?.parse().ok()?),
            "--async" => asked.kind.semi_sync = false,
            "--durable" => asked.kind.durable = true,
            _ => return None,
        }
    }
    if asked.drills.is_empty() {
        asked.drills =
            ["kill", "freeze", "stop", "both-down", "switchover"].map(str::to_owned).to_vec();
    }
    Some(asked)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(asked) = asked() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    let mut sound = true;
    for drill in &asked.drills {
        sound &= match drill.as_str() {
            "kill" => kill::drill(asked.kind, asked.runs.unwrap_or(20)).await,
            "freeze" => freeze::drill(asked.kind, asked.runs.unwrap_or(5)).await,
            "switchover" => {
                switchover::drill(asked.kind, asked.runs.unwrap_or(100), asked.rate).await
            }
            "stop" => stop::drill(asked.kind, asked.runs.unwrap_or(5)).await,
            _ => both_down::drill(asked.kind).await,
        };
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
