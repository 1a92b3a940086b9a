//! `tandem check`: looks, prints, and says by its exit status how it is.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use super::{Looker, Looks, Severity, Verdict, report};
use crate::config::{Administrators, Config};
use crate::monitor::Dialer;
use crate::pair::facts::Wanted;
use crate::pair::write_test::{self, Proof, WriteTestError};
use crate::tls::MasterTls;
use crate::topology::Server;

/// Something is wrong.
const FOUND: u8 = 1;

/// Nothing can be said.
pub const COULD_NOT: u8 = 2;

/// Lines longer than this are hard to read on any terminal.
const WIDEST: usize = 100;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errand {
    /// JSON instead of a text for people.
    pub json: bool,
    /// The write test, too.
    pub write_test: bool,
}

/// Checks the servers of `config` and prints what was found, and after that what the write test came to,
/// if it is wanted. Exit status 0: nothing but notices, and the write test passed. 1: errors or warnings, or it
/// failed. 2: no server could be looked at, or nothing be printed.
#[must_use]
pub fn run(config: Config, administrators: Administrators, errand: Errand) -> ExitCode {
    let tls = match MasterTls::load(&config.server_tls) {
        Ok(tls) => tls,
        Err(error) => return could_not(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return could_not(&error),
    };
    let dialers =
        Dialers { config: config.clone(), logins: administrators.clone(), tls: tls.clone() };
    let looker = Looker::new(config, administrators, tls, Wanted::ALL);
    let verdict = runtime.block_on(looker.verdict());
    let print_now = !errand.json || !errand.write_test;
    if let Err(error) = if print_now { print(&verdict, errand.json) } else { Ok(()) } {
        return could_not(&error);
    }
    let proven = errand.write_test.then(|| runtime.block_on(dialers.write_test()));
    if let Some(proven) = &proven
        && let Err(error) = print_proof(&verdict, proven, errand.json)
    {
        return could_not(&error);
    }
    ExitCode::from(match verdict.worst() {
        _ if verdict.servers.is_empty() => COULD_NOT,
        Some(Severity::Error | Severity::Warning) => FOUND,
        _ if matches!(proven, Some(Err(_))) => FOUND,
        Some(Severity::Notice) | None => 0,
    })
}

/// How the servers are reached for the write test.
struct Dialers {
    config: Config,
    logins: Administrators,
    tls: MasterTls,
}

impl Dialers {
    /// As the administrator where he is given, who may drop tables.
    fn dialer(&self, server: &Server) -> Dialer {
        let dialer = match self.logins.of(server) {
            Some(login) => Dialer::for_login(&login),
            None => Dialer::new(&self.config.monitor),
        };
        dialer.with_tls(self.tls.clone())
    }

    async fn write_test(&self) -> Result<Proof, WriteTestError> {
        let dialer_of = |server: &Server| self.dialer(server);
        write_test::prove(&self.config.servers, dialer_of, write_test::WITHIN).await
    }
}

/// The verdict and what the write test came to, as one document.
#[derive(Serialize)]
struct Proven<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    write_test: Test<'a>,
}

/// The write test, for machines.
#[derive(Serialize)]
struct Test<'a> {
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    proof: Option<&'a Proof>,
}

fn print_proof(
    verdict: &Verdict,
    proven: &Result<Proof, WriteTestError>,
    json: bool,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        let error = proven.as_ref().err().map(ToString::to_string);
        let write_test = Test { passed: proven.is_ok(), error, proof: proven.as_ref().ok() };
        writeln!(out, "{}", serde_json::to_string_pretty(&Proven { verdict, write_test })?)?;
    } else {
        match proven {
            Ok(proof) => write!(out, "\n{proof}")?,
            Err(error) => writeln!(out, "\nwrite test: failed\n  {error}")?,
        }
    }
    out.flush()
}

fn could_not(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("tandem: {error}");
    ExitCode::from(COULD_NOT)
}

fn print(verdict: &Verdict, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(verdict)?)?;
    } else {
        out.write_all(report(verdict, looks()).as_bytes())?;
    }
    out.flush()
}

/// Colour goes to terminals only, and never where `NO_COLOR` asks for none.
fn looks() -> Looks {
    let terminal = io::stdout().is_terminal();
    let width = if terminal { crossterm::terminal::size().ok() } else { None };
    Looks {
        colour: terminal && std::env::var_os("NO_COLOR").is_none(),
        width: width.map_or(WIDEST, |(columns, _)| usize::from(columns).min(WIDEST)),
    }
}
