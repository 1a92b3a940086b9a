//! Clients as programs, and mysql_async.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mysql_async::{Conn, OptsBuilder, SslOpts};

/// What a client said, and whether it was content.
#[derive(Debug)]
pub struct Said {
    pub fine: bool,
    pub text: String,
}

/// Runs a client to its end, away from the runtime's thread.
pub async fn run(mut command: Command) -> Said {
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = running.await.expect("it ran").expect("it can be run");
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    Said { fine: output.status.success(), text: String::from_utf8_lossy(&both).into_owned() }
}

pub fn missing(what: &str) {
    // Not by `println!`, which the harness keeps to itself when a test ends well.
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {what} is not at hand");
}

/// The root that a server of this name was unpacked to.
pub fn root(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers");
    let root = named.unwrap_or_else(|| cache.join(name));
    root.join("usr/bin").is_dir().then_some(root)
}

/// A program of such a root, through the loader of that root.
pub fn in_root(root: &Path, program: &str) -> Command {
    let libraries =
        format!("{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/mysql/private", root.display());
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(root.join("usr/bin").join(program));
    command
}

/// The options that every client gets: where, who, and what to do.
pub fn asking(mut command: Command, host: &str, port: u16, tls: &[&str], sql: &str) -> Command {
    command.args(["--no-defaults", "--protocol=TCP", "-N", &format!("-h{host}")]);
    command.args([&format!("-P{port}"), "-uapp", "--password=app"]);
    command.args(tls).args(["-e", sql]);
    command
}

/// The `mariadb` program of this machine.
pub async fn mariadb(port: u16, tls: &[&str], sql: &str) -> Said {
    run(asking(Command::new("mariadb"), "127.0.0.1", port, tls, sql)).await
}

/// A connection of mysql_async over TLS that trusts whatever is shown.
pub async fn trusting(opts: mysql_async::Opts) -> Conn {
    let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
    let opts = OptsBuilder::from_opts(opts).ssl_opts(tls).max_allowed_packet(Some(1 << 30));
    Conn::new(opts).await.expect("a login over TLS")
}
