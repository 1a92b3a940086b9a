//! For pipes, files and whoever asks for it: lines.

use std::io::{self, Write};
use std::time::Duration;

use super::event::{Beat, Event, Told};
use super::stage::Audience;
use super::wording::{self, grouped};

/// Between two words about how the writers are doing.
const PROGRESS: Duration = Duration::from_secs(1);

/// Prints lines.
#[derive(Debug)]
pub(super) struct Plain<W> {
    out: W,
    /// When the last word about the writers was said, and how many rows there were.
    progress: (Duration, u64),
}

impl<W: Write> Plain<W> {
    /// Prints to `out`.
    pub(super) fn new(out: W) -> Self {
        Self { out, progress: (Duration::ZERO, 0) }
    }

    fn progress(&mut self, at: Duration, beat: &Beat) -> io::Result<()> {
        let (last, before) = self.progress;
        let total: u64 = beat.total.iter().sum();
        if total == before || at < last + PROGRESS {
            return Ok(());
        }
        let rate = (total - before) as f64 / (at - last).as_secs_f64();
        let first = before == 0;
        self.progress = (at, total);
        if first {
            // Since when is not known.
            return Ok(());
        }
        let rows = grouped(usize::try_from(total).unwrap_or(usize::MAX));
        let line = format!("{rows} rows acknowledged, {rate:.0} a second");
        writeln!(self.out, "{} {line}", moment(at))
    }
}

impl<W: Write + Send> Audience for Plain<W> {
    fn hear(&mut self, told: Vec<Told>) -> io::Result<()> {
        for Told { at, event } in told {
            if let Event::Beat(beat) = &event {
                self.progress(at, beat)?;
            }
            for line in wording::lines(&event) {
                let text = line.text();
                let moment = if line.timed { moment(at) + " " } else { String::new() };
                writeln!(self.out, "{}", format!("{moment}{text}").trim_end())?;
            }
        }
        self.out.flush()
    }

    fn leave(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn moment(at: Duration) -> String {
    format!("{:>8}", format!("+{:.3} s", at.as_secs_f64()))
}
