//! One round: every client before servers of one kind.

use std::io;
use std::time::Duration;

use tandem::config::Config;
use tandem::sandbox::{SandboxOptions, ServerBinaries};
use tandem::topology::Flavor;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::client::{Client, Place, Transcript};
use super::failover;
use super::support::Stack;

/// CLIENT_SSL in the low half of the capabilities (MySQL internals, "Capabilities Flags").
const CLIENT_SSL: u16 = 1 << 11;

/// A pair, a proxy before it, and what they can.
pub(crate) struct Round {
    stack: Stack,
    server: String,
    flavor: Flavor,
    tls: bool,
}

/// What became of a client.
pub(crate) struct Verdict {
    name: String,
    checks: usize,
    faults: Vec<String>,
    /// Why it says nothing about the proxy: it fails directly.
    pub(crate) unfit: Option<String>,
}

impl Verdict {
    pub(crate) fn is_ok(&self) -> bool {
        self.faults.is_empty() && self.unfit.is_none()
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.faults.is_empty()
    }
}

impl Round {
    pub(crate) async fn start(binaries: ServerBinaries) -> Self {
        let flavor = binaries.flavor();
        let server = format!("{:?} {}", binaries.flavor(), binaries.version());
        let options =
            SandboxOptions { binaries: Some(binaries), durable: false, ..Default::default() };
        // A machine that is busy with the clients must not be taken for a master that is down: what the
        // clients do directly would meet a fenced one. A killed one refuses connections at once.
        let patient = |config: &mut Config| {
            config.monitor.timeout = Duration::from_secs(30);
            config.monitor.fall = 5;
            config.failover.hold = Duration::from_secs(60);
        };
        let stack = Stack::start_with(options, patient).await;
        let tls = offers_tls(stack.port()).await.expect("a greeting of the proxy");
        Self { stack, server, flavor, tls }
    }

    /// What was left out.
    pub(crate) fn notes(&self) -> Option<String> {
        let text = format!("NOT TESTED: TLS before {}: the proxy does not offer it", self.server);
        (!self.tls).then_some(text)
    }

    /// Whether the client can log in to this server at all. MySQL 9's own program has no
    /// `mysql_native_password` any more, which is all that MariaDB's accounts of a password have.
    fn suits(&self, client: &Client) -> bool {
        self.flavor == Flavor::MySql || client.name != "mysql-cli"
    }

    /// Runs every client, two at a time, then all of them across a failover.
    pub(crate) async fn run(&mut self, clients: &[Client]) -> Vec<Verdict> {
        println!("\n{}{}", self.server, if self.tls { ", with and without TLS" } else { "" });
        let clients: Vec<&Client> = clients.iter().filter(|client| self.suits(client)).collect();
        self.make_databases(&clients).await;
        let half = clients.len().div_ceil(2);
        let (one, other) = clients.split_at(half);
        let (mut verdicts, others) =
            tokio::join!(self.run_one_by_one(one), self.run_one_by_one(other));
        verdicts.extend(others);
        let survived = failover::across(&mut self.stack, &clients).await;
        for (verdict, survived) in verdicts.iter_mut().zip(survived) {
            match survived {
                Ok(()) => {}
                Err(fault) => verdict.faults.push(format!("failover: {fault}")),
            }
        }
        for verdict in &verdicts {
            let Verdict { name, checks, faults, unfit: _ } = verdict;
            let word = match verdict {
                _ if verdict.is_ok() => "ok",
                _ if verdict.has_failed() => "FAILED",
                _ => "unfit",
            };
            println!("  {name:24} {word:6} {checks:5} lines equal");
            faults.iter().for_each(|fault| println!("    {fault}"));
        }
        verdicts
    }

    async fn run_one_by_one(&self, clients: &[&Client]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for client in clients {
            verdicts.push(self.compare(client).await);
        }
        verdicts
    }

    /// A client directly, through the proxy, and through the proxy with TLS.
    async fn compare(&self, client: &Client) -> Verdict {
        let direct = self.stack.sandbox.server(0).direct().port();
        let heard = client.run(Place { port: direct, tls: false }).await;
        let mut verdict = Verdict {
            name: client.name.clone(),
            checks: heard.lines.len(),
            faults: Vec::new(),
            unfit: None,
        };
        if let Some(failure) = &heard.failure {
            let last = heard.lines.last().map_or("(nothing)", String::as_str);
            println!("  {} fails directly, after {last}: {failure}", client.name);
            verdict.unfit = Some(format!(
                "NOT TESTED: {} before {}: it fails directly",
                client.name, self.server
            ));
            return verdict;
        }
        if heard.lines.is_empty() {
            verdict.faults.push("directly: it said nothing".to_owned());
        }
        for tls in [false, true] {
            if tls && !self.tls {
                continue;
            }
            let port = self.stack.port();
            let proxied: Transcript = client.run(Place { port, tls }).await;
            if let Some(difference) = proxied.differs_from(&heard) {
                let how = if tls { "with TLS" } else { "without TLS" };
                verdict.faults.push(format!("{how}, {difference}"));
            }
        }
        verdict
    }

    /// A database for each, so that they stay out of each other's way.
    async fn make_databases(&self, clients: &[&Client]) {
        let mut statements = Vec::new();
        for client in clients {
            let name = client.database();
            statements.push(format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
            statements.push(format!("GRANT ALL ON {name}.* TO 'app'@'%'"));
        }
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        self.stack.sandbox.server(0).execute(&statements).await.expect("databases");
    }
}

/// Whether what listens there offers TLS in its greeting (Protocol::HandshakeV10).
async fn offers_tls(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let mut greeting = vec![0; usize::from(u16::from_le_bytes([header[0], header[1]]))];
    stream.read_exact(&mut greeting).await?;
    let version = greeting.iter().skip(1).position(|byte| *byte == 0).unwrap_or(0);
    // Behind the version: its NUL, the connection id, eight bytes of salt, a filler.
    let at = 1 + version + 1 + 4 + 8 + 1;
    let low = greeting.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    Ok(low & CLIENT_SSL != 0)
}
