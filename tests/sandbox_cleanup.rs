//! Servers and directory of a sandbox never outlive their owner, however it ends.
//!
//! The owner is this test binary again, running only [`owner`], in a process of its own.

#![allow(clippy::unwrap_used, reason = "what a test calls may panic as the test may")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tandem::sandbox::{Progress, Sandbox, SandboxOptions};

/// Tells the owner how to end.
const ENDING: &str = "TANDEM_TEST_ENDING";

/// For what must happen; it bounds a failing test and nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "no test: the owner whose end the tests watch"]
fn owner() {
    let ending = std::env::var(ENDING).expect("started by a test");
    let (progress, mut listener) = tokio::sync::mpsc::unbounded_channel();
    // A thread: the runtime is busy starting servers.
    let printer = std::thread::spawn(move || {
        while let Some(progress) = listener.blocking_recv() {
            match progress {
                Progress::Initialising { directory, .. } => println!("in {}", directory.display()),
                Progress::Started { server, .. } => println!("started {server}"),
                Progress::Ready { took } => println!("ready after {took:?}"),
                Progress::Pairing | Progress::Replicating { .. } => {}
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = SandboxOptions { progress: Some(progress), ..SandboxOptions::default() };
    let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
    printer.join().unwrap();
    match ending.as_str() {
        "return" => {}
        "panic" => panic!("the owner panics, as it was told"),
        "exit" => std::process::exit(0),
        "freeze" => {
            runtime.block_on(sandbox.server(0).freeze()).unwrap();
            println!("frozen");
            wait_for_ever();
        }
        _ => wait_for_ever(),
    }
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

struct Owner {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    directory: PathBuf,
}

impl Owner {
    fn start(ending: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["owner", "--exact", "--ignored", "--nocapture"])
            .env(ENDING, ending)
            // Its system tables are made, so that it can be killed meanwhile.
            .env_remove("TANDEM_SANDBOX_TEMPLATES")
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut owner = Self { process, lines, directory: PathBuf::new() };
        owner.directory = owner.hear("in ").into();
        assert!(owner.directory.is_dir());
        owner
    }

    /// The rest of the next line that begins with these words.
    fn hear(&mut self, words: &str) -> String {
        for line in self.lines.by_ref() {
            if let Some(rest) = line.unwrap().strip_prefix(words) {
                return rest.to_owned();
            }
        }
        panic!("the owner ended before it said `{words}`; does `cargo test --test sandbox` work?");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Waits until the owner has ended and nothing is left of what was its own.
    fn leaves_nothing(mut self) {
        self.process.wait().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = processes_of(&self.directory);
            if left.is_empty() && !self.directory.exists() {
                return;
            }
            assert!(Instant::now() < deadline, "{} and {left:?} remain", self.directory.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Owner {
    /// A test that failed early: its owner goes too, and the sandbox with it.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The commands of all processes that name the directory: servers and the watchdog.
fn processes_of(directory: &Path) -> Vec<String> {
    let name = directory.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .filter(|command| command.contains(name))
        .collect()
}

fn servers_of(directory: &Path) -> usize {
    let started_with = format!("--defaults-file={}/", directory.display());
    processes_of(directory).iter().filter(|command| command.contains(&started_with)).count()
}

#[test]
fn after_kill_9() {
    let mut owner = Owner::start("wait");
    owner.hear("ready");
    assert_eq!(servers_of(&owner.directory), 2);
    kill_process(owner.pid(), Signal::KILL).unwrap();
    owner.leaves_nothing();
}

#[test]
fn after_kill_9_while_a_server_is_frozen() {
    let mut owner = Owner::start("freeze");
    owner.hear("frozen");
    assert_eq!(servers_of(&owner.directory), 2);
    kill_process(owner.pid(), Signal::KILL).unwrap();
    owner.leaves_nothing();
}

#[test]
fn after_kill_9_while_the_system_tables_are_made() {
    let owner = Owner::start("wait");
    kill_process(owner.pid(), Signal::KILL).unwrap();
    owner.leaves_nothing();
}

#[test]
fn after_kill_9_while_the_servers_start() {
    let mut owner = Owner::start("wait");
    owner.hear("started");
    kill_process(owner.pid(), Signal::KILL).unwrap();
    owner.leaves_nothing();
}

#[test]
fn after_ctrl_c() {
    let mut owner = Owner::start("wait");
    owner.hear("ready");
    // As a terminal does: to everybody in the foreground's process group.
    kill_process_group(owner.pid(), Signal::INT).unwrap();
    owner.leaves_nothing();
}

#[test]
fn after_exit_without_destructors() {
    let mut owner = Owner::start("exit");
    owner.hear("ready");
    owner.leaves_nothing();
}

#[test]
fn after_a_panic_and_after_a_return_nothing_is_left_when_the_owner_is_gone() {
    for ending in ["panic", "return"] {
        let mut owner = Owner::start(ending);
        owner.hear("ready");
        owner.process.wait().unwrap();
        // At once: here the destructor did the work, and it waits for the end of it.
        assert_eq!(processes_of(&owner.directory), [""; 0]);
        assert!(!owner.directory.exists());
    }
}
