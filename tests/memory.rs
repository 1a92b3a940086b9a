//! What the process itself takes: it runs as a child, as it does for its users.

#[path = "fake_server/mod.rs"]
mod fake_server;
mod support;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fake_server::{CLIENT, RawClient, within};
use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::wire::native_token_of_password;
use tokio::net::TcpStream;

/// The program before a sandbox, configured by its environment. Ends with its test.
struct Tandem {
    child: Child,
    port: u16,
}

impl Drop for Tandem {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tandem {
    async fn start(sandbox: &Sandbox) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let masters: Vec<String> = sandbox
            .configured()
            .iter()
            .map(|server| format!(r#"{{name="{}",address="{}"}}"#, server.name, server.address))
            .collect();
        let child = Command::new(env!("CARGO_BIN_EXE_tandem"))
            .current_dir(sandbox.directory())
            .env("TANDEM_LISTEN", format!("127.0.0.1:{port}"))
            .env("TANDEM_MASTERS", format!("[{}]", masters.join(",")))
            .env("TANDEM_MONITOR__USER", &sandbox.monitor().user)
            .env("TANDEM_MONITOR__PASSWORD", sandbox.monitor().password.reveal())
            .env("TANDEM_ADMIN__CONSOLE", "off")
            .env("TANDEM_ADMIN__HTTP", "off")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let tandem = Self { child, port };
        within("a listening proxy", async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await; // nobody tells us
            }
        })
        .await;
        tandem
    }

    /// A client of the application's.
    async fn log_in(&self) -> RawClient {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("connected");
        let mut client = RawClient::new(stream);
        let token = |salt: &_| native_token_of_password(b"app", salt).to_vec();
        client.answer_greeting(CLIENT, "app", |greeting| token(&greeting.salt)).await;
        client.expect_ok().await;
        client
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        self.kib("VmRSS:")
    }

    /// The most that it ever was.
    fn peak(&self) -> u64 {
        self.kib("VmHWM:")
    }

    fn kib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[tokio::test]
async fn results_of_any_size_and_idle_clients_take_little() {
    let arguments = vec!["--max_connections=3000".into()];
    let options = SandboxOptions { arguments, ..Default::default() };
    let sandbox = Sandbox::start(options).await.expect("a pair");
    let tandem = Tandem::start(&sandbox).await;

    let mut client = tandem.log_in().await;
    let before = tandem.resident();
    client.query("SELECT REPEAT('x', 1000000) FROM app.seq_1_to_300").await;
    for _ in 0..3 {
        client.packet().await;
    }
    let mut most = 0;
    for _ in 0..300 {
        assert_eq!(client.packet().await.len(), 1_000_004);
        most = most.max(tandem.resident());
    }
    client.packet().await;
    say(&format!("300 MB result: {before} KiB before, {most} KiB at most"));
    assert!(most < before + 8 * 1024, "a result of 300 MB took {} KiB", most - before);

    let before = tandem.resident();
    let mut clients = Vec::new();
    for _ in 0..2000 {
        clients.push(tandem.log_in().await);
    }
    let taken = tandem.resident() - before;
    say(&format!("2000 idle clients: {:.1} KiB each", taken as f64 / 2000.0));
    assert!(taken < 2000 * 24, "2000 idle clients took {taken} KiB");
}

/// Megabytes each way: `TANDEM_VOLUME=1000 cargo test --test memory volumes` for a gigabyte.
fn volume() -> usize {
    std::env::var("TANDEM_VOLUME").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

#[tokio::test]
async fn volumes_in_and_out_leave_the_memory_flat() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("a pair");
    let tandem = Tandem::start(&sandbox).await;
    let mut client = tandem.log_in().await;
    client.query("CREATE TEMPORARY TABLE app.v (a INT)").await;
    client.expect_ok().await;
    let (megabytes, before) = (volume(), tandem.peak());

    // The server reads every line and keeps none.
    let lines = 1000 * megabytes;
    client
        .query(&format!("LOAD DATA LOCAL INFILE 'v' INTO TABLE app.v IGNORE {lines} LINES"))
        .await;
    let asked = client.packet().await;
    assert_eq!(asked[0], 0xfb, "no request for the file: {}", asked.escape_ascii());
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let piece = line.repeat(1000);
    for _ in 0..megabytes {
        client.reply(&piece).await;
    }
    client.reply(&[]).await;
    client.expect_ok().await;
    let loaded = tandem.peak();

    let digits = "(SELECT 0 UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION \
                  SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    let rows = format!("{digits} AS a, {digits} AS b, {digits} AS c, {digits} AS d");
    client.query(&format!("SELECT REPEAT('x', 1000000) FROM {rows} LIMIT {megabytes}")).await;
    for _ in 0..3 {
        client.packet().await;
    }
    for _ in 0..megabytes {
        assert_eq!(client.packet().await.len(), 1_000_004);
    }
    client.packet().await;
    let selected = tandem.peak();
    say(&format!(
        "peak memory: {before} KiB after the login, {loaded} KiB after {megabytes} MB of LOAD DATA \
         LOCAL, {selected} KiB after a SELECT of {megabytes} MB"
    ));
    assert!(selected < before + 8 * 1024, "{} KiB more than before", selected - before);
}

/// Lets this process hold as many connections.
fn allow_files(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let raised = Rlimit { current: Some(count), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("the hard limit allows it");
    }
}

#[tokio::test]
async fn clients_that_say_nothing_or_read_nothing_take_little_and_starve_nobody() {
    const SILENT: usize = 5000;
    allow_files(SILENT as u64 + 1000);
    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("a pair");
    let tandem = Tandem::start(&sandbox).await;
    drop(tandem.log_in().await);
    let before = tandem.resident();
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let stream = TcpStream::connect(("127.0.0.1", tandem.port)).await.expect("connected");
        let mut client = RawClient::new(stream);
        client.packet().await;
        silent.push(client);
    }
    let began = std::time::Instant::now();
    let mut client = tandem.log_in().await;
    let took = began.elapsed();
    let taken = tandem.resident() - before;
    say(&format!(
        "{SILENT} clients that do not log in: {:.1} KiB each; another one logged in within {took:?}",
        taken as f64 / SILENT as f64
    ));
    assert!(taken < SILENT as u64 * 24, "{SILENT} silent clients took {taken} KiB");
    drop(silent);

    let before = tandem.resident();
    client.query("SELECT REPEAT('x', 1000000) FROM app.seq_1_to_3000").await;
    let mut root = sandbox.server(0).root_connection().await.expect("root's login");
    within("the server waits for its client", async {
        let ask = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app' AND \
                   (state LIKE 'Writing to net%' OR state LIKE 'Sending to client%')";
        let mut waits = 0;
        // What it is at between two packets looks the same: it has to be there for a while.
        while waits < 20 {
            let count: Option<u64> =
                mysql_async::prelude::Queryable::query_first(&mut root, ask).await.expect("asked");
            waits = if count == Some(1) { waits + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let taken = tandem.resident().saturating_sub(before);
    say(&format!("a client that does not read its 3 GB: {taken} KiB"));
    assert!(taken < 8 * 1024, "a client that does not read took {taken} KiB");
    tandem.log_in().await;
}
