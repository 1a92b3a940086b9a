//! The proxy as a process of its own, as an operator runs it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};
use tandem::sandbox::Sandbox;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::patience::eventually;

/// A running `tandem`, on sockets in a directory of its own. Dropping it ends it.
pub(crate) struct Process {
    child: Child,
    directory: TempDir,
}

/// What a `tandem` that ended by itself left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

impl Process {
    /// One in front of these servers; `failover` goes under `[failover]`.
    pub(crate) fn before(sandbox: &Sandbox, failover: &str) -> Self {
        let masters: String = sandbox
            .servers()
            .iter()
            .map(|server| master(server.name(), &server.address().to_string()))
            .collect();
        Self::start(&format!("{masters}{}[failover]\n{failover}\n", monitor(sandbox)))
    }

    /// One with these masters and sections.
    pub(crate) fn start(sections: &str) -> Self {
        Self::start_behind(&[], sections)
    }

    /// One that is started with `enter`, a command that becomes the one that follows it.
    pub(crate) fn start_behind(enter: &[String], sections: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| format!("unix:{}", directory.path().join(name).display());
        let file = format!(
            "listen = [\"{}\"]\n{sections}[admin]\nconsole = \"{}\"\nhttp = \"{}\"\n",
            path("t.sock"),
            path("c.sock"),
            path("h.sock")
        );
        let child = spawn(directory.path(), enter, &file);
        Self { child, directory }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the application logs in with through its socket.
    pub(crate) fn options(&self) -> OptsBuilder {
        OptsBuilder::default()
            .user(Some("app"))
            .pass(Some("app"))
            .db_name(Some("app"))
            .socket(Some(self.directory.path().join("t.sock").to_string_lossy()))
    }

    /// A login to its console.
    pub(crate) async fn console(&self) -> Conn {
        let socket = self.directory.path().join("c.sock");
        eventually("the console", async || {
            let opts =
                OptsBuilder::default().user(Some("admin")).socket(Some(socket.to_string_lossy()));
            Conn::new(opts).await.ok()
        })
        .await
    }

    /// A login of the application's through its socket; tried until the socket is there.
    pub(crate) async fn connect(&self) -> Conn {
        eventually("a login", async || Conn::new(self.options()).await.ok()).await
    }

    /// What it has written to its log.
    pub(crate) fn log(&self) -> String {
        read_log(self.directory.path())
    }

    /// Waits for words in its log.
    pub(crate) async fn await_log(&self, words: &str) -> String {
        eventually(words, async || {
            let log = self.log();
            log.contains(words).then_some(log)
        })
        .await
    }

    /// A page of its status server.
    pub(crate) async fn http(&self, page: &str) -> String {
        let mut stream = UnixStream::connect(self.directory.path().join("h.sock"))
            .await
            .expect("its http socket");
        let request = format!("GET {page} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("answered");
        text
    }

    /// How many probes it has run.
    pub(crate) async fn probes(&self) -> u64 {
        let metrics = self.http("/metrics").await;
        let counts = metrics
            .lines()
            .filter(|line| line.starts_with("tandem_monitor_probes_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    }

    /// utime and stime: proc(5), fields 14 and 15 of `stat`, in ticks of 10 ms.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it runs");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields = after_name.split(' ').skip(12).take(2);
        Duration::from_millis(
            fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10,
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- tandem's log\n{}", self.log());
        }
    }
}

/// A `[[masters]]` section.
pub(crate) fn master(name: &str, address: &str) -> String {
    format!("[[masters]]\nname = \"{name}\"\naddress = \"{address}\"\n")
}

/// The `[monitor]` section with this sandbox's account; more keys may follow it.
pub(crate) fn monitor(sandbox: &Sandbox) -> String {
    let account = sandbox.monitor();
    format!(
        "[monitor]\nuser = \"{}\"\npassword = \"{}\"\n",
        account.user,
        account.password.reveal()
    )
}

/// Runs `tandem` with this file until it ends by itself, as it must.
pub(crate) async fn run_to_its_end(file: &str) -> Ended {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = spawn(directory.path(), &[], file);
    let status = eventually("the end of tandem", async || child.try_wait().expect("a child")).await;
    Ended { status, said: read_log(directory.path()) }
}

fn spawn(directory: &Path, enter: &[String], file: &str) -> Child {
    let path = directory.join("proxy.toml");
    std::fs::File::create(&path).and_then(|mut f| f.write_all(file.as_bytes())).expect("written");
    let log = std::fs::File::create(directory.join("log")).expect("a log");
    let words = enter.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_tandem"), "-c"]);
    let words: Vec<&str> = words.collect();
    Command::new(words[0])
        .args(&words[1..])
        .arg(&path)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("tandem")
}

fn read_log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap_or_default()
}
