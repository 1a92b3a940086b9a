//! What cleans up when the owner no longer can.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What the shell does, with the directory as its first argument.
const SCRIPT: &str = include_str!("watchdog.sh");

/// A shell that waits for its owner to go, kills the servers and removes the directory.
///
/// A destructor runs after a panic but not after kill -9, Ctrl-C or `exit`. The kernel closes a
/// process's pipes however it ends, so the shell sits at the reading end of one. It has a process
/// group of its own, out of reach of the terminal's signals. A parent-death signal on the servers
/// would do half of this (no directory is removed) and needs code between fork and exec.
///
/// Dropping it is the same event, and waits for the end of the work.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Sets it on a directory. To be done before anything is started in there.
    pub(super) fn guard(directory: &Path) -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "tandem-sandbox-watchdog"])
            .arg(directory)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(shell))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It can only fail when somebody else reaped the shell: then it has ended.
        let _ = self.0.wait();
    }
}
