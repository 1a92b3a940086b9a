//! `tandem demo`, run as a user runs it.

#![allow(clippy::unwrap_used, reason = "what a test calls may panic as the test may")]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// For what must happen; it bounds a failing test and nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A demo whose output goes to a pipe.
struct Demo {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    heard: Vec<String>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tandem"))
            .arg("demo")
            .args(arguments)
            .env_remove("TANDEM_LOG")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines, heard: Vec::new() }
    }

    /// Reads until a line with these words, or to the end for `None`.
    fn hear(&mut self, words: Option<&str>) {
        for line in self.lines.by_ref() {
            self.heard.push(line.unwrap());
            let line = self.heard.last().unwrap();
            if words.is_some_and(|words| line.contains(words)) {
                return;
            }
        }
        assert!(words.is_none(), "`{}` was never said:\n{}", words.unwrap(), self.all());
    }

    fn all(&self) -> String {
        self.heard.join("\n")
    }

    /// Where the servers lie, as the first lines say.
    fn directory(&self) -> PathBuf {
        let line = self.heard.iter().find(|line| line.contains("tandem-sandbox-")).unwrap();
        line.rsplit(' ').next().unwrap().into()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn status(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    /// The figure of a row of the closing table, and whether it is as promised.
    fn figure(&self, what: &str) -> (String, bool) {
        let rows = self.heard.iter().filter_map(|line| line.trim_start().split_once(' '));
        let mut rows = rows.filter(|(mark, _)| ["✓", "✗"].contains(mark));
        let found = rows.find_map(|(mark, rest)| {
            let figure = rest.trim_start().strip_prefix(what)?.trim_start();
            Some((figure.split("   ").next()?.to_owned(), mark == "✓"))
        });
        found.unwrap_or_else(|| panic!("no row `{what}`:\n{}", self.all()))
    }
}

impl Drop for Demo {
    /// A test that failed early.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn leaves_nothing(directory: &Path) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = processes_of(directory);
        if left.is_empty() && !directory.exists() {
            return;
        }
        assert!(Instant::now() < deadline, "{} and {left:?} remain", directory.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn processes_of(directory: &Path) -> Vec<String> {
    let name = directory.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .filter(|command| command.contains(name))
        .collect()
}

#[test]
fn every_promise_is_kept_and_counted() {
    let mut demo = Demo::start(&[]);
    demo.hear(None);
    assert_eq!(demo.status(), Some(0), "{}", demo.all());
    let right = |figure: &str| (figure.to_owned(), true);
    for nothing in [
        "missing on m1",
        "missing on m2",
        "keys handed out twice",
        "keys out of turn",
        "statements run twice",
        "rows nobody sent",
    ] {
        assert_eq!(demo.figure(nothing), right("0"), "{nothing}");
    }
    assert_eq!(demo.figure("tables"), right("equal"));
    assert_eq!(demo.figure("both threads, both boxes"), right("Yes"));
    assert_eq!(demo.figure("idle client"), right("kept"));
    assert!(demo.figure("gap").0.ends_with(" ms"), "{}", demo.all());
    assert!(demo.figure("errors seen").1, "{}", demo.all());
    let rows: u64 = demo.figure("rows acknowledged").0.replace(',', "").parse().unwrap();
    assert!(rows > 0);
    for said in [
        "three rows on m1 got the keys 1, 3, 5",
        "then one row on m2 got the key 6",
        "both read 1, 3, 5, 6",
        "tandem: promoting → steady",
    ] {
        assert!(demo.all().contains(said), "`{said}` was never said:\n{}", demo.all());
    }
    // At the start and after the return, on both: in the words of whichever server it is.
    for thread in ["_IO_Running: Yes", "_SQL_Running: Yes"] {
        assert_eq!(demo.all().matches(thread).count(), 4, "{}", demo.all());
    }
    assert!(!demo.all().contains('\u{1b}'), "no escape sequences in a pipe");
    leaves_nothing(&demo.directory());
}

#[test]
fn ctrl_c_in_the_middle_leaves_nothing() {
    let mut demo = Demo::start(&[]);
    demo.hear(Some("writers"));
    let directory = demo.directory();
    assert_eq!(processes_of(&directory).iter().filter(|p| p.contains("my.cnf")).count(), 2);
    demo.signal(Signal::INT);
    demo.hear(None);
    assert_eq!(demo.status(), Some(130), "{}", demo.all());
    // At once: it says so itself, and waits for the end of it.
    assert!(demo.all().ends_with("nothing is left behind."), "{}", demo.all());
    assert_eq!(processes_of(&directory), [""; 0]);
    assert!(!directory.exists());
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let mut demo = Demo::start(&[]);
    demo.hear(Some("tandem-sandbox-"));
    let directory = demo.directory();
    // As `head` does: it goes, and the reader's end of the pipe with it.
    let nothing = Command::new("true").stdout(Stdio::piped()).spawn().unwrap().stdout.take();
    demo.lines = BufReader::new(nothing.unwrap()).lines();
    assert_ne!(demo.status(), Some(0));
    leaves_nothing(&directory);
}

#[test]
fn what_stays_can_be_used_and_goes_with_ctrl_c() {
    let mut demo = Demo::start(&["--stay"]);
    demo.hear(Some("until Ctrl-C"));
    demo.hear(Some("DSN"));
    let url = demo.heard.last().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let count = async {
        use mysql_async::prelude::Queryable;
        let opts = mysql_async::Opts::from_url(&format!("{url}?prefer_socket=false")).unwrap();
        let mut client = mysql_async::Conn::new(opts).await.unwrap();
        client.query_first::<u64, _>("SELECT COUNT(*) FROM writes").await.unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(count).unwrap() > 0);
    demo.signal(Signal::INT);
    demo.hear(None);
    assert_eq!(demo.status(), Some(0), "{}", demo.all());
    leaves_nothing(&demo.directory());
}
