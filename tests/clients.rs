//! Clients that people use, through the proxy. One that is not at hand is named in the last lines.

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::Stack;
use tandem::sandbox::{SandboxOptions, ServerBinaries};

/// Runs a client to its end, away from the runtime's thread.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("it ran")
        .expect("it can be run")
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn missing(what: &str) {
    // Not by `println!`, which the harness keeps to itself when a test ends well.
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {what} is not at hand");
}

/// The root that MySQL 9 was unpacked to.
fn mysql_root() -> Option<PathBuf> {
    let named = std::env::var_os("TANDEM_MYSQL_ROOT").map(PathBuf::from);
    let root = named
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers/mysql-9"));
    root.join("usr/bin/mysql").is_file().then_some(root)
}

/// The `mysql` program of that root, through the loader of that root.
fn mysql(root: &Path, port: u16) -> Command {
    let libraries =
        format!("{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/mysql/private", root.display());
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(root.join("usr/bin/mysql"));
    command.args(["--no-defaults", "--protocol=TCP", "-h127.0.0.1", "--ssl-mode=DISABLED", "-N"]);
    command.arg(format!("-P{port}"));
    command
}

#[tokio::test]
async fn the_mariadb_command_line() {
    if Command::new("mariadb").arg("--version").output().is_err() {
        return missing("the `mariadb` command line");
    }
    let stack = Stack::start().await;
    let port = stack.port();
    let files = tempfile::tempdir().expect("a directory");
    let data = files.path().join("data.tsv");
    std::fs::write(&data, "1\tone\n2\ttwo\n").expect("written");
    let script = files.path().join("script.sql");
    let load = format!(
        "CREATE TABLE c (id INT, a TEXT);\nLOAD DATA LOCAL INFILE '{}' INTO TABLE c;\n",
        data.display()
    );
    std::fs::write(&script, load).expect("written");
    let client = |sql: &str, user: &str, password: &str| {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "--protocol=TCP", "-h127.0.0.1", "--local-infile=1", "-N"]);
        command.args([&format!("-P{port}"), &format!("-u{user}"), &format!("-p{password}")]);
        command.args(["app", "-e", sql]);
        command
    };
    let sourced = format!("source {}; SELECT CONCAT(COUNT(*), MAX(a)) FROM c;", script.display());
    let output = run(client(&sourced, "app", "app")).await;
    assert!(output.status.success() && text(&output).contains("2two"), "{}", text(&output));
    let output = run(client("\\s", "app", "app")).await;
    assert!(text(&output).contains("Server version:"), "{}", text(&output));
    let output = run(client("SELECT 1", "app", "wrong")).await;
    assert!(text(&output).contains("ERROR 1045 (28000): Access denied"), "{}", text(&output));
}

/// A virtual environment with this package; made once, under `target`.
async fn python_with(package: &str, module: &str) -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv");
    let python = place.join("bin/python");
    if !python.is_file() {
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&place);
        run(make).await;
    }
    let has = || {
        let mut import = Command::new(&python);
        import.args(["-c", &format!("import {module}")]);
        import
    };
    if !python.is_file() || !run(has()).await.status.success() {
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "-q", package, "cryptography"]);
        if !python.is_file() || !run(install).await.status.success() {
            return None;
        }
    }
    Some(python)
}

const PYMYSQL: &str = r#"
import sys, pymysql
def connect(user, password):
    return pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user=user, password=password,
                           database="app", autocommit=True, local_infile=True)
c = connect("app", "app")
k = c.cursor()
k.execute("CREATE TABLE IF NOT EXISTS py (id INT AUTO_INCREMENT PRIMARY KEY, a LONGBLOB)")
blob = b"x" * 5_000_000
k.execute("INSERT INTO py (a) VALUES (%s)", (blob,))
k.execute("SELECT a FROM py WHERE id = %s", (k.lastrowid,))
assert k.fetchone()[0] == blob
c.begin(); k.execute("DELETE FROM py"); c.rollback()
k.execute("SELECT COUNT(*) FROM py"); assert k.fetchone()[0] >= 1
c.ping(reconnect=False); c.select_db("app")
try:
    connect("app", "wrong"); raise SystemExit("let in with a wrong password")
except pymysql.err.OperationalError as error:
    assert error.args[0] == 1045, error
print("fine")
"#;

const CONNECTOR: &str = r#"
import sys, mysql.connector
def connect(**more):
    return mysql.connector.connect(host="127.0.0.1", port=int(sys.argv[1]), user="app",
        password="app", database="app", ssl_disabled=True, use_pure=True, autocommit=True, **more)
c = connect()
k = c.cursor(prepared=True)
k.execute("SELECT ? + 1", (41,)); assert int(k.fetchone()[0]) == 42
k.execute("SELECT ? + 1", (1,)); assert int(k.fetchone()[0]) == 2
k.close()
c.cmd_change_user("app", "app", "app")
k = c.cursor(); k.execute("SELECT CURRENT_USER()"); assert k.fetchone()[0].startswith("app@")
c.cmd_reset_connection(); c.cmd_ping()
try:
    c.cmd_change_user("app", "wrong", "app"); raise SystemExit("changed with a wrong password")
except mysql.connector.Error as error:
    assert error.errno == 1045, error
print("fine")
"#;

async fn python_clients(port: u16) {
    for (package, module, script) in
        [("PyMySQL", "pymysql", PYMYSQL), ("mysql-connector-python", "mysql.connector", CONNECTOR)]
    {
        let Some(python) = python_with(package, module).await else {
            missing(package);
            continue;
        };
        let mut command = Command::new(python);
        command.args(["-c", script, &port.to_string()]);
        let output = run(command).await;
        assert!(text(&output).trim() == "fine", "{package}: {}", text(&output));
    }
}

#[tokio::test]
async fn python_before_mariadb() {
    let stack = Stack::start().await;
    python_clients(stack.port()).await;
}

#[tokio::test]
async fn mysql_9_before_mysql_9() {
    let Some(root) = mysql_root() else {
        return missing("MySQL 9 (TANDEM_MYSQL_ROOT or .cache/servers/mysql-9)");
    };
    let binaries = ServerBinaries::in_root(&root).expect("a server");
    let options = SandboxOptions { binaries: Some(binaries), ..Default::default() };
    let stack = Stack::start_with(options, |_| {}).await;
    let port = stack.port();
    // The password asked for with the proxy's key; then known by its token. Without asking for the
    // key the first login is refused by the client itself.
    let login = |more: &[&str], user: &str, password: &str| {
        let mut command = mysql(&root, port);
        command.args([&format!("-u{user}"), &format!("--password={password}")]);
        command.args(more).args(["-e", "SELECT CONCAT(CURRENT_USER(), '!')"]);
        command
    };
    let output = run(login(&[], "app", "app")).await;
    assert!(text(&output).contains("ERROR 2061"), "{}", text(&output));
    let output = run(login(&["--get-server-public-key"], "app", "app")).await;
    assert!(text(&output).contains("app@%!"), "{}", text(&output));
    let output = run(login(&[], "app", "app")).await;
    assert!(text(&output).contains("app@%!"), "fast: {}", text(&output));
    let output = run(login(&["--get-server-public-key"], "app", "wrong")).await;
    assert!(text(&output).contains("ERROR 1045 (28000)"), "{}", text(&output));
    let server = stack.sandbox.server(0);
    server.execute(&["CREATE USER nobody@'%'"]).await.expect("made");
    let output = run(login(&[], "nobody", "")).await;
    assert!(text(&output).contains("nobody@%!"), "{}", text(&output));
    python_clients(port).await;
}
