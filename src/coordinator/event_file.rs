//! The journal as a file: one JSON object a line, for whoever collects such files.
//!
//! ```text
//! {"number":3,"time":"2026-09-21T15:13:20.005Z","milliseconds":5.4,"from":"suspect",
//!  "to":"catching up","server":"m1","reason":"m1 refuses connections"}
//! ```
//!
//! (On one line.) The fields are those of `SHOW EVENTS`; numbers begin again with each start of
//! Tandem. A line is written as soon as the event is recorded, by a task of its own, so that a disk
//! that hangs holds up nothing. A file that was moved away is left alone, and a new one begun.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::journal::{Journal, JournalRow};
use crate::topology::Servers;

/// After a failure it is tried again after this long, or with the next event.
const RETRY: Duration = Duration::from_secs(10);

/// The file and what is in it already.
#[derive(Debug)]
pub struct EventFile {
    path: Arc<PathBuf>,
    servers: Servers,
    /// The number of the last row that was written.
    written: u64,
    failing: bool,
    file: Option<File>,
}

impl EventFile {
    /// The file at `path`, which is made if there is none; what is in it stays.
    #[must_use]
    pub fn new(path: PathBuf, servers: Servers) -> Self {
        Self { path: Arc::new(path), servers, written: 0, failing: false, file: None }
    }

    /// Writes down what `journal` has and gets. Never ends.
    pub async fn follow(mut self, journal: Arc<Journal>) {
        let mut changes = journal.changes();
        loop {
            changes.borrow_and_update();
            self.write_down(&journal).await;
            let changed = changes.changed();
            if self.failing {
                // Whether there is something new or not, it is tried again.
                let _ = tokio::time::timeout(RETRY, changed).await;
            } else if changed.await.is_err() {
                return;
            }
        }
    }

    /// Writes down what `journal` has and the file has not.
    async fn write_down(&mut self, journal: &Journal) {
        let rows = journal.rows_after(self.written);
        let (text, path, file) = (self.lines(&rows), Arc::clone(&self.path), self.file.take());
        let Some(last) = rows.last() else { return };
        let appending = tokio::task::spawn_blocking(move || append(file, &path, &text));
        let panicked = |error| (None, Err(io::Error::other(error)));
        let (file, result) = appending.await.unwrap_or_else(panicked);
        self.file = file;
        self.note(&rows, last, result);
    }

    fn note(&mut self, rows: &[JournalRow], last: &JournalRow, result: io::Result<()>) {
        let path = self.path.display();
        match result {
            Ok(()) => {
                let lost = rows[0].number - self.written - 1;
                if lost > 0 {
                    warn!(%path, lost, "events are missing in the file: it could not be written for too long");
                }
                if std::mem::take(&mut self.failing) {
                    info!(%path, "events are written again");
                }
                self.written = last.number;
            }
            Err(error) if !self.failing => {
                self.failing = true;
                error!(%path, %error, "events cannot be written; what the journal keeps is written later");
            }
            Err(_) => {}
        }
    }

    fn lines(&self, rows: &[JournalRow]) -> String {
        // Texts and numbers cannot fail to become JSON.
        let line = |row: &JournalRow| serde_json::to_string(&row.told(&self.servers));
        rows.iter().flat_map(line).map(|line| line + "\n").collect()
    }
}

/// Appends `text` to the file at `path`, through `file` if that is still the one there.
fn append(file: Option<File>, path: &PathBuf, text: &str) -> (Option<File>, io::Result<()>) {
    let mut file = match file.filter(|file| is_at(file, path).unwrap_or(false)) {
        Some(file) => file,
        None => match OpenOptions::new().append(true).create(true).open(path) {
            Ok(file) => file,
            Err(error) => return (None, Err(error)),
        },
    };
    // A file is not buffered: what is written has left the process.
    let result = file.write_all(text.as_bytes());
    (Some(file), result)
}

fn is_at(file: &File, path: &PathBuf) -> io::Result<bool> {
    let (open, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((open.dev(), open.ino()) == (there.dev(), there.ino()))
}

#[cfg(test)]
#[path = "event_file_tests.rs"]
mod tests;
