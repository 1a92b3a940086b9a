//! Shows a drill while it runs: a line that is written over on a terminal, lines in a pipe, objects for
//! machines.

use std::io::{self, IsTerminal as _, Write as _};

use crossterm::terminal;

use super::report::{Report, Run};

/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;

/// Figures go to the standard output. What is going on goes to the standard error, so that it can be
/// watched whatever becomes of the figures.
#[derive(Debug)]
pub(super) struct Output {
    /// JSON, a line for each object.
    objects: bool,
    /// The standard error is a terminal: a line is written over.
    live: bool,
    /// There is a line that is to be written over.
    pending: bool,
}

impl Output {
    /// What suits. Log lines on the same terminal would spoil one that is written over.
    pub(super) fn choose(json: bool, logs: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        let live = io::stderr().is_terminal() && !dumb && !logs;
        Self { objects: json, live, pending: false }
    }

    /// What takes a while now: on terminals only.
    pub(super) fn doing(&mut self, what: &str) -> io::Result<()> {
        if self.live { self.over(what) } else { Ok(()) }
    }

    /// For people; machines do not hear it.
    pub(super) fn say(&mut self, what: &str) -> io::Result<()> {
        if self.objects { Ok(()) } else { self.line(what) }
    }

    /// A drill begins.
    pub(super) fn begin(&mut self, report: &Report) -> io::Result<()> {
        for line in &report.setting {
            self.say(line)?;
        }
        Ok(())
    }

    /// A run has ended: how it was, for people who watch.
    pub(super) fn run(&mut self, number: u32, of: u32, how: &str) -> io::Result<()> {
        let line = format!("run {number} of {of}: {how}");
        if self.live { self.over(&line) } else { writeln!(io::stderr(), "{line}") }
    }

    /// The figures of a run are complete.
    pub(super) fn figures(&mut self, report: &Report, run: &Run) -> io::Result<()> {
        if self.objects {
            self.line(&report.run_json(run).to_string())?;
        }
        Ok(())
    }

    /// A drill has ended.
    pub(super) fn end(&mut self, report: &Report) -> io::Result<()> {
        if self.objects {
            self.line(&report.json().to_string())
        } else {
            self.line(&format!("\n{}", report.text()))
        }
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        self.wipe()?;
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    fn over(&mut self, text: &str) -> io::Result<()> {
        // What fills the last column would begin a new line.
        let columns = terminal::size().map_or(COLUMNS, |(columns, _)| columns.max(2)) - 1;
        let text: String = text.chars().take(columns.into()).collect();
        self.pending = true;
        write!(io::stderr(), "\r\x1b[K{text}")
    }

    /// Both may be the same terminal.
    fn wipe(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.pending) { write!(io::stderr(), "\r\x1b[K") } else { Ok(()) }
    }
}

impl Drop for Output {
    /// What comes next begins a line of its own.
    fn drop(&mut self) {
        let _ = self.wipe();
    }
}
