//! Shows a drill while it runs: a line that is written over on a terminal, lines in a pipe, objects for
//! machines.

use std::io::{self, IsTerminal as _, Write as _};

use super::report::{Report, Run};

/// Columns of the line that is written over: one less than any terminal has.
const COLUMNS: usize = 79;

/// Writes to the standard output.
#[derive(Debug)]
pub(super) struct Output {
    manner: Manner,
    /// There is a line that is to be written over.
    pending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// JSON, a line for each object.
    Objects,
    Lines,
    /// A terminal.
    Live,
}

impl Output {
    /// What suits the standard output. Log lines on the same terminal would spoil one that is written over.
    pub(super) fn choose(json: bool, logs: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        let logs_in_the_way = logs && io::stderr().is_terminal();
        let manner = match io::stdout().is_terminal() && !dumb && !logs_in_the_way {
            _ if json => Manner::Objects,
            true => Manner::Live,
            false => Manner::Lines,
        };
        Self { manner, pending: false }
    }

    /// What takes a while now: on terminals only.
    pub(super) fn doing(&mut self, what: &str) -> io::Result<()> {
        if self.manner == Manner::Live { self.over(what) } else { Ok(()) }
    }

    /// For people; machines do not hear it.
    pub(super) fn say(&mut self, what: &str) -> io::Result<()> {
        if self.manner == Manner::Objects {
            return Ok(());
        }
        self.line(what)
    }

    /// A drill begins.
    pub(super) fn begin(&mut self, report: &Report) -> io::Result<()> {
        for line in &report.setting {
            self.say(line)?;
        }
        Ok(())
    }

    /// A run has ended: how it was, for people who watch.
    pub(super) fn run(&mut self, line: &str) -> io::Result<()> {
        match self.manner {
            Manner::Objects => Ok(()),
            Manner::Lines => self.line(line),
            Manner::Live => self.over(line),
        }
    }

    /// The figures of a run are complete.
    pub(super) fn figures(&mut self, report: &Report, run: &Run) -> io::Result<()> {
        if self.manner == Manner::Objects {
            self.line(&report.run_json(run).to_string())?;
        }
        Ok(())
    }

    /// A drill has ended.
    pub(super) fn end(&mut self, report: &Report) -> io::Result<()> {
        match self.manner {
            Manner::Objects => self.line(&report.json().to_string()),
            Manner::Lines | Manner::Live => self.line(&format!("\n{}", report.text())),
        }
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if std::mem::take(&mut self.pending) {
            out.write_all(b"\r\x1b[K")?;
        }
        writeln!(out, "{text}")?;
        out.flush()
    }

    fn over(&mut self, text: &str) -> io::Result<()> {
        let text: String = text.chars().take(COLUMNS).collect();
        let mut out = io::stdout().lock();
        write!(out, "\r\x1b[K{text}")?;
        self.pending = true;
        out.flush()
    }
}

impl Drop for Output {
    /// What comes next begins a line of its own.
    fn drop(&mut self) {
        if self.pending {
            let _ = io::stdout().write_all(b"\r\x1b[K");
        }
    }
}
