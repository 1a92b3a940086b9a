//! No TCP anywhere: the client's socket, the masters' sockets, and a failover in between.

use std::os::unix::net::UnixListener;
use std::process::Command;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use tandem::app::App;
use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::topology::{ServerAddress, Servers};

use crate::support::{Stack, config_for};

#[tokio::test]
async fn a_client_and_its_masters_by_socket() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("a pair");
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("t.sock");
    // A process that is gone has left its file.
    drop(UnixListener::bind(&socket).expect("bound"));
    let mut config = config_for(&sandbox);
    config.listen = vec![ServerAddress::Unix(socket.clone())];
    let masters = sandbox
        .servers()
        .iter()
        .map(|server| (server.name().to_owned(), ServerAddress::Unix(server.socket())));
    config.servers = Servers::new(masters, []);
    let again = config.clone();
    let mut stack = Stack::of(App::start(config).expect("a proxy"), sandbox);
    stack.await_active(None).await;
    let taken = App::start(again).expect_err("taken").to_string();
    assert!(taken.contains("already in use"), "{taken}");

    let options = OptsBuilder::default()
        .user(Some("app"))
        .pass(Some("app"))
        .db_name(Some("app"))
        .socket(Some(socket.to_string_lossy()));
    let mut client = Conn::new(options).await.expect("a login");
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    client.query_drop("INSERT INTO t VALUES (1)").await.expect("written");
    let row: Option<(String, u32)> =
        client.query_first("SELECT USER(), @@server_id").await.expect("asked");
    assert_eq!(row, Some(("app@localhost".into(), 1)));
    let session = &stack.app.handles().sessions.registry.list()[0];
    assert_eq!((&*session.user(), session.client()), ("app", None));

    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--protocol=SOCKET", "-uapp", "-papp", "-N", "app"]);
    command.arg("-S").arg(&socket).args(["-e", "SELECT CONCAT('a is ', a) FROM t"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ran");
    let output = output.expect("the `mariadb` command line");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a is 1\n", "{output:?}");

    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let row: Option<(u32, u32)> =
        client.query_first("SELECT a, @@server_id FROM t").await.expect("asked elsewhere");
    assert_eq!(row, Some((1, 2)));
    drop(client);
    let Stack { app, sandbox, .. } = stack;
    tokio::task::spawn_blocking(|| app.stop()).await.expect("stopped");
    assert!(!socket.exists(), "the socket was left behind");
    drop(sandbox);
}
