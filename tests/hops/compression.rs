//! Compression of the client's hop, of the masters', and of both, against real servers with real
//! clients; and numbers as strict clients want them.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder, WhiteListFsHandler};
use tandem::sandbox::{SandboxOptions, ServerBinaries};
use tandem::wire::{
    Capabilities, Compression, Header, ZSTD_LEVEL, native_token_of_password, put_packet,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fake_server::{CLIENT, RawClient, packets, within};
use crate::support::Stack;

/// Runs a client to its end with this on its standard input, away from the runtime's thread.
async fn run(mut command: Command, input: Vec<u8>) -> Output {
    tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be run");
        let mut stdin = child.stdin.take().expect("its input");
        let feeding = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("it ran");
        feeding.join().expect("fed").expect("taken");
        output
    })
    .await
    .expect("it ran")
}

/// A statement above 16 MiB, a result above 16 MiB, a file, an error, and what `\s` says.
async fn a_command_line(command: impl Fn() -> Command, directory: &Path) {
    let file = directory.join("data.tsv");
    let rows: String =
        (0..200_000).map(|i| format!("{i}\tthe same words for every row\n")).collect();
    std::fs::write(&file, rows).expect("written");
    let blob = "z".repeat(20_000_000);
    let script = format!(
        "CREATE OR REPLACE TABLE big (a LONGBLOB);\nINSERT INTO big VALUES ('{blob}');\n\
         CREATE OR REPLACE TABLE f (id INT, a TEXT);\n\
         LOAD DATA LOCAL INFILE '{}' INTO TABLE f;\n\
         SELECT nonsense;\n\
         SELECT CONCAT('rows ', COUNT(*), ' last ', MAX(id)) FROM f;\nSELECT a FROM big;\n\\s\n",
        file.display()
    )
    .replace("CREATE OR REPLACE TABLE big", "DROP TABLE IF EXISTS big;\nCREATE TABLE big")
    .replace("CREATE OR REPLACE TABLE f", "DROP TABLE IF EXISTS f;\nCREATE TABLE f");
    let mut command = command();
    command.args(["-uapp", "-papp", "-N", "--force", "--local-infile=1"]);
    command.args(["--max-allowed-packet=64M", "app"]);
    let output = run(command, script.into_bytes()).await;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("rows 200000 last 199999"), "{errors}");
    assert!(said.lines().any(|line| line.len() == blob.len()), "another length: {errors}");
    assert!(errors.contains("ERROR 1054"), "{errors}");
    assert!(said.contains("Compressed"), "not compressed: {}", &said[said.len() - 1000..]);
}

fn mariadb(port: u16) -> Command {
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--protocol=TCP", "-h127.0.0.1", "--compress"]);
    command.arg(format!("-P{port}"));
    command
}

/// What mysql_async does over a compressed connection, a failover included.
async fn a_driver(stack: &mut Stack) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("data.tsv");
    let rows: String = (0..300_000).map(|i| format!("{i}\n")).collect();
    std::fs::write(&file, rows).expect("written");
    let options = OptsBuilder::from_opts(stack.opts())
        .compression(mysql_async::Compression::default())
        .local_infile_handler(Some(WhiteListFsHandler::new(&[file.clone()][..])));
    let mut client = Conn::new(options).await.expect("a login");
    client.query_drop("DROP TABLE IF EXISTS d").await.expect("dropped");
    client.query_drop("CREATE TABLE d (id INT, a LONGBLOB)").await.expect("made");
    for len in [10, 0xff_ffff - 40, 40_000_000] {
        let blob: Vec<u8> = (0..len).map(|i| (i % 7 * (i >> 16)) as u8).collect();
        let statement = client.prep("INSERT INTO d VALUES (?, ?)").await.expect("prepared");
        client.exec_drop(&statement, (1, &blob)).await.expect("inserted");
        let read: Option<Vec<u8>> =
            client.exec_first("SELECT a FROM d WHERE id = ?", (1,)).await.expect("read");
        assert!(read.as_deref() == Some(&blob[..]), "{len} bytes came back changed");
        client.query_drop("DELETE FROM d").await.expect("deleted");
    }
    let load = format!("LOAD DATA LOCAL INFILE '{}' INTO TABLE d (id)", file.display());
    client.query_drop(load).await.expect("loaded");
    let broken = "SELECT REPEAT('x', 100), (SELECT seq FROM app.seq_1_to_1 WHERE 1 UNION \
                  SELECT IF(s.seq = 5000, 2, 1)) FROM app.seq_1_to_10000 s";
    let error = client.query_drop(broken).await.expect_err("two rows");
    assert!(error.to_string().contains("1242"), "{error}");
    let statement = client.prep("SELECT COUNT(*) + ? FROM d").await.expect("prepared");
    let active = stack.sandbox.servers().iter().position(|s| s.pid().is_some()).expect("one");
    let here: Option<u32> = client.query_first("SELECT @@server_id").await.expect("asked");
    assert_eq!(here, Some(active as u32 + 1));
    stack.await_replicated(active).await;
    stack.sandbox.server_mut(active).kill().await.expect("killed");
    let counted: Option<u64> = client.exec_first(&statement, (1,)).await.expect("elsewhere");
    assert_eq!(counted, Some(300_001));
}

#[tokio::test]
async fn clients_before_mariadb() {
    let mut stack = Stack::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let port = stack.port();
    a_command_line(|| mariadb(port), directory.path()).await;
    pipelined(port).await;
    lies(port).await;
    a_driver(&mut stack).await;
}

#[tokio::test]
async fn masters_are_asked_for_it_where_configured() {
    let mut stack = Stack::start_with(SandboxOptions::default(), |config| {
        config.compression.servers = Some(Compression::Zlib);
    })
    .await;
    let mut plain = stack.connect().await;
    let on: Option<(String, String)> =
        plain.query_first("SHOW SESSION STATUS LIKE 'Compression'").await.expect("asked");
    assert_eq!(on, Some(("Compression".into(), "ON".into())));
    let blob: Vec<u8> = (0..40_000_000u32).map(|i| (i % 7 * (i >> 16)) as u8).collect();
    let read: Option<Vec<u8>> = plain.exec_first("SELECT ?", (&blob,)).await.expect("echoed");
    assert!(read.as_deref() == Some(&blob[..]), "it came back changed");
    // Compressed on both hops; the sums of a file's packets pass 255 on either.
    let directory = tempfile::tempdir().expect("a directory");
    let port = stack.port();
    a_command_line(|| mariadb(port), directory.path()).await;
    a_driver(&mut stack).await;
}

/// The root that MySQL 9 was unpacked to.
fn mysql_root() -> Option<PathBuf> {
    let named = std::env::var_os("TANDEM_MYSQL_ROOT").map(PathBuf::from);
    let root = named
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers/mysql-9"));
    root.join("usr/bin/mysql").is_file().then_some(root)
}

#[tokio::test]
async fn clients_before_mysql_9() {
    let Some(root) = mysql_root() else {
        // Not by `println!`, which the harness keeps to itself when a test ends well.
        let missing =
            "NOT TESTED: MySQL 9 (TANDEM_MYSQL_ROOT or .cache/servers/mysql-9) is not at hand";
        let _ = writeln!(std::io::stderr(), "{missing}");
        return;
    };
    let binaries = ServerBinaries::in_root(&root).expect("a server");
    let options = SandboxOptions { binaries: Some(binaries), ..Default::default() };
    let stack = Stack::start_with(options, |config| {
        config.compression.servers = Some(Compression::Zstd(ZSTD_LEVEL));
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    for algorithm in ["zlib", "zstd", "zlib,zstd"] {
        let command = || {
            let libraries =
                format!("{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/mysql/private", root.display());
            let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
            command.arg("--library-path").arg(libraries).arg(root.join("usr/bin/mysql"));
            command.args(["--no-defaults", "--protocol=TCP", "-h127.0.0.1"]);
            command.args(["--ssl-mode=DISABLED", "--get-server-public-key"]);
            command.arg(format!("-P{}", stack.port()));
            command.args([&format!("--compression-algorithms={algorithm}"), "--commands"]);
            command
        };
        a_command_line(command, directory.path()).await;
    }
}

/// A login that goes over to zlib.
async fn log_in(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    let mut client = RawClient::new(stream);
    let capabilities = CLIENT | Capabilities::COMPRESS;
    let token = |salt: &_| native_token_of_password(b"app", salt).to_vec();
    let greeting =
        client.answer_greeting(capabilities, "app", |greeting| token(&greeting.salt)).await;
    assert!(greeting.capabilities.has(Capabilities::COMPRESSION));
    client.expect_ok().await;
    client.stream
}

/// A compressed packet whose body is stored.
fn stored(seq: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_le_bytes();
    [&[len[0], len[1], len[2], seq, 0, 0, 0][..], body].concat()
}

/// The next compressed packet: its number, and what is in it.
async fn compressed(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 7];
    within("a header", stream.read_exact(&mut head)).await.expect("read");
    let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    within("a body", stream.read_exact(&mut body)).await.expect("read");
    if head[4..] == [0, 0, 0] {
        return (head[3], body);
    }
    let mut plain = Vec::new();
    flate2::read::ZlibDecoder::new(&body[..]).read_to_end(&mut plain).expect("unpacked");
    (head[3], plain)
}

/// Reads one answer of five packets. Returns the first number of either count, and the row.
async fn answer(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut first = None;
    let mut last = None;
    let mut plain = Vec::new();
    loop {
        let (seq, bytes) = compressed(stream).await;
        assert!(last.is_none_or(|last: u8| seq == last.wrapping_add(1)), "out of order");
        last = Some(seq);
        first.get_or_insert(seq);
        plain.extend(bytes);
        let mut rest = &plain[..];
        let mut seen = Vec::new();
        while let Some(header) = Header::read(rest).filter(|header| rest.len() >= header.total()) {
            seen.push((header.seq, rest[Header::LEN..header.total()].to_vec()));
            rest = &rest[header.total()..];
        }
        if seen.len() == 5 {
            assert!(rest.is_empty());
            assert!(seen.windows(2).all(|two| two[1].0 == two[0].0 + 1), "packets out of order");
            return (first.expect("one"), seen[0].0, seen[3].1.clone());
        }
    }
}

/// Commands sent ahead, in one packet or in several: each answer counts on from its own command.
async fn pipelined(port: u16) {
    let mut stream = log_in(port).await;
    let mut commands = Vec::new();
    let packet = |sql: &str| {
        let mut out = Vec::new();
        put_packet(&mut out, 0, &packets::query(sql));
        out
    };
    commands.extend(stored(0, &packet("SELECT 1")));
    let long = packet(&format!("SELECT 2 /*{}*/", "x".repeat(150)));
    for (seq, part) in (0..).zip(long.chunks(60)) {
        commands.extend(stored(seq, part));
    }
    commands.extend(stored(0, &[packet("SELECT 3"), packet("SELECT 4")].concat()));
    commands.extend(stored(0, &packet("SELECT 5")));
    stream.write_all(&commands).await.expect("sent");
    for (number, first) in [(1, 1), (2, 3), (3, 1), (4, 2), (5, 1)] {
        let (compressed, inner, row) = answer(&mut stream).await;
        assert_eq!(row, [1, b'0' + number]);
        assert_eq!((compressed, inner), (first, first), "SELECT {number}");
    }
}

/// What does not unpack to what it says ends the session, and only that.
async fn lies(port: u16) {
    let mut query = Vec::new();
    put_packet(&mut query, 0, &packets::query("SELECT 1"));
    let promise = [20, 0, 0, 0, 255, 255, 255];
    for garbage in
        [[&promise[..], &[7; 20]].concat(), [&[0, 0, 0, 0, 9, 0, 0][..], &[0; 9]].concat()]
    {
        let mut stream = log_in(port).await;
        stream.write_all(&stored(0, &query)).await.expect("sent");
        assert_eq!(answer(&mut stream).await.2, b"\x011");
        stream.write_all(&garbage).await.expect("sent");
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = within("the end", stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
}
