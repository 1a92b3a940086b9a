//! `tandem events`: a failover as a timeline.
//!
//! A group begins when something befalls the active master, or after a pause; the time of each event is
//! told from the first of its group.

use super::layout::{Paint, Tone, aligned, cell};
use crate::console::Row;

/// A pause that ends a group, in milliseconds.
const PAUSE: f64 = 10_000.0;

/// Milliseconds up to which a time is told in them.
const LONG: f64 = 10_000.0;

/// The phase in which all is well; whatever leaves it is the beginning of something.
const SERVED: &str = "steady";

/// What was told so far.
#[derive(Debug)]
pub(super) struct Timeline {
    paint: Paint,
    seen: u64,
    /// The day of the last event.
    day: String,
    /// Milliseconds since the first event of the group.
    since: f64,
}

impl Timeline {
    pub(super) fn new(paint: Paint) -> Self {
        Self { paint, seen: 0, day: String::new(), since: 0.0 }
    }

    /// The number of the last event that was told; 0 before the first.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Lines for these rows of `SHOW EVENTS`.
    pub(super) fn lines(&mut self, rows: &[Row]) -> String {
        let mut text = String::new();
        let mut group = Vec::new();
        for row in rows {
            let pause: Option<f64> = row.value("Milliseconds").and_then(|text| text.parse().ok());
            let begins = self.seen == 0
                || row.text("From") == SERVED
                || pause.is_none_or(|pause| pause > PAUSE);
            let (day, time) = row.text("Time").split_once(' ').unwrap_or_default();
            if begins {
                text.push_str(&aligned(&std::mem::take(&mut group), self.paint));
                if self.seen != 0 {
                    text.push('\n');
                }
                self.since = 0.0;
            } else {
                self.since += pause.unwrap_or_default();
            }
            if day != self.day {
                text.push_str(&aligned(&std::mem::take(&mut group), self.paint));
                text.push_str(&self.paint.paint(Tone::Dim, &format!("{day} (UTC)")));
                text.push('\n');
                self.day = day.to_owned();
            }
            let since = if begins { String::new() } else { after(self.since) };
            let step = format!("{} → {}", row.text("From"), row.text("To"));
            group.push(vec![
                cell(Tone::Dim, time),
                cell(Tone::Dim, format!("{since:>10}")),
                cell(tone(row.text("To")), format!("{step:<26}")),
                cell(Tone::Plain, row.text("Reason")),
            ]);
            self.seen = row.text("Number").parse().unwrap_or(self.seen);
        }
        text.push_str(&aligned(&group, self.paint));
        text
    }
}

/// Phases in which nobody is served, or may soon be, stand out.
fn tone(to: &str) -> Tone {
    match to {
        "steady" | "standby" | "connected" | "nothing lost" | "semi-synchronous" => Tone::Good,
        "held" | "lost" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn after(milliseconds: f64) -> String {
    if milliseconds < LONG {
        format!("+{milliseconds:.1} ms")
    } else {
        format!("+{:.1} s", milliseconds / 1000.0)
    }
}
