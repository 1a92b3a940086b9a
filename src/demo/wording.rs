//! The words: every event as lines of toned text, for a terminal and for a pipe alike.

use std::time::Duration;

use super::event::{Event, KeysTried, MasterState, SlaveStatus, Stays};
use super::idle::{IdleAnswer, LOCK_WAIT_TIMEOUT, NOTE};
use super::line::{Line, Tone};
use crate::sandbox::Progress;
use crate::topology::Flavor;
use Tone::{Bad, Dim, Good, Master, Plain, Strong};

/// What is said of an event; nothing, of one that only moves what is redrawn.
pub(super) fn lines(event: &Event) -> Vec<Line> {
    match event {
        Event::Doing(_) | Event::Beat(_) => Vec::new(),
        Event::Chapter(title) => vec![Line::bare(), Line::bare().then(Strong, *title)],
        Event::Setup(progress) => setup(progress),
        Event::SlaveStatus(status) => vec![slave_status(status)],
        Event::SemiSync { master, said } => {
            let line = Line::timed().then(Master(*master), name(*master));
            vec![line.then(Good, format!("  {said}"))]
        }
        Event::Promise => vec![Line::timed().then(
            Dim,
            "no commit is acknowledged before both have it: 0 missing is a promise",
        )],
        Event::KeysTried(tried) => keys_tried(tried),
        Event::Listening { url } => {
            vec![Line::timed().then(Plain, "Tandem listens: ").then(Strong, url.as_str())]
        }
        Event::Active { master, term } => {
            vec![Line::timed().then(Master(*master), name(*master)).then(
                Plain,
                format!(" is active (term {term}); the other one is read_only"),
            )]
        }
        Event::IdleConnected => vec![Line::timed().then(Plain, format!(
            "an idle client: SET SESSION lock_wait_timeout = {LOCK_WAIT_TIMEOUT}, @note = '{NOTE}'; \
             one prepared statement"
        ))],
        Event::Writing { writers, pace } => vec![Line::timed().then(
            Plain,
            format!(
                "{writers} writers, an autocommit INSERT every {} each",
                milliseconds(*pace)
            ),
        )],
        Event::Keys { master, keys } => vec![
            Line::timed()
                .then(Plain, "the latest keys, from ")
                .then(Master(*master), name(*master))
                .then(Plain, ": ")
                .then(Master(*master), list(keys)),
        ],
        Event::Killed { master, pid } => vec![Line::timed().then(Bad, format!(
            "kill -9 {} ({}, the active master)",
            pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()),
            name(*master),
        ))],
        Event::Transition { from, to, reason } => vec![
            Line::timed().then(Dim, "tandem: ").then(Strong, format!("{from} → {to}")).then(
                Dim,
                format!("  {reason}"),
            ),
        ],
        Event::WritesAgain { master, gap } => vec![
            Line::timed()
                .then(Good, "writing goes on")
                .then(Plain, " on ")
                .then(Master(*master), name(*master))
                .then(Plain, ", after ")
                .then(Strong, milliseconds(*gap)),
        ],
        Event::Idle { answer, took } => vec![idle(answer, *took)],
        Event::Back { master, took } => vec![
            Line::timed()
                .then(Master(*master), name(*master))
                .then(Plain, format!(" answers again after {}, read_only", seconds(*took))),
        ],
        Event::Stopped { acknowledged } => {
            let rows = grouped(*acknowledged);
            vec![Line::timed().then(Plain, format!("{rows} rows were acknowledged to the writers"))]
        }
        Event::Compared { checksums, rows } => (0..2)
            .map(|master| {
                let checksum =
                    checksums[master].map_or_else(|| "NULL".to_owned(), |sum| sum.to_string());
                Line::timed()
                    .then(Master(master), name(master))
                    .then(Plain, format!("  {} rows, CHECKSUM TABLE {checksum}", grouped(rows[master])))
            })
            .collect(),
        Event::Found(findings) => super::closing::lines(findings),
        Event::Stays(stays) => stays_lines(stays),
        Event::Interrupted => {
            vec![Line::bare(), Line::bare().then(Plain, "Stopped; nothing is left behind.")]
        }
    }
}

fn setup(progress: &Progress) -> Vec<Line> {
    let said = match progress {
        Progress::Initialising { flavor, version, directory } => {
            let flavor = match flavor {
                Flavor::MariaDb => "MariaDB",
                Flavor::MySql => "MySQL",
            };
            return vec![
                Line::timed()
                    .then(Plain, format!("{flavor} {version}"))
                    .then(Dim, format!(" in {}", directory.display())),
            ];
        }
        Progress::Started { server, address, took } => {
            format!("{server} answers at {address} after {}", seconds(*took))
        }
        Progress::Pairing => "each is told to follow the other".to_owned(),
        // Said in the server's own words, later.
        Progress::Replicating { .. } | Progress::Ready { .. } => return Vec::new(),
    };
    vec![Line::timed().then(Plain, said)]
}

fn slave_status(status: &SlaveStatus) -> Line {
    let tone = if status.runs { Good } else { Bad };
    Line::timed()
        .then(Master(status.master), name(status.master))
        .then(tone, format!("  {}   {}", status.io, status.sql))
}

fn keys_tried(tried: &KeysTried) -> Vec<Line> {
    let inserted = |master: usize, keys: &[u64], rows: &str| {
        Line::timed()
            .then(Plain, format!("{rows} on "))
            .then(Master(master), name(master))
            .then(Plain, if keys.len() == 1 { " got the key " } else { " got the keys " })
            .then(Master(master), list(keys))
    };
    let read = format!(
        "both read {}",
        if tried.read[0] == tried.read[1] {
            list(&tried.read[0])
        } else {
            format!("{} and {}", list(&tried.read[0]), list(&tried.read[1]))
        },
    );
    vec![
        inserted(0, &tried.first, "three rows"),
        inserted(1, &tried.second, "then one row")
            .then(Dim, " (the next even one above what it has seen)"),
        Line::timed().then(if tried.right() { Good } else { Bad }, read),
    ]
}

fn idle(answer: &IdleAnswer, took: Duration) -> Line {
    let IdleAnswer { lock_wait_timeout, note, sum, server_id } = answer;
    let note = note.as_deref().unwrap_or("NULL");
    let sum = sum.map_or_else(|| "NULL".to_owned(), |sum| sum.to_string());
    let took = milliseconds(took);
    Line::timed()
        .then(if answer.kept() { Good } else { Bad }, "the idle client, still connected")
        .then(
            Plain,
            format!(
                ": lock_wait_timeout {lock_wait_timeout}, @note '{note}', prepared 20 + 22 = {sum}; \
                 m{server_id} answered in {took}"
            ),
        )
}

fn stays_lines(stays: &Stays) -> Vec<Line> {
    let entry =
        |what: &str, text: &str| Line::bare().then(Dim, format!("  {what:<14}")).then(Strong, text);
    let mut lines = vec![
        Line::bare(),
        Line::bare().then(Strong, "It all stays until Ctrl-C."),
        entry("DSN", &stays.url),
        entry("client", &stays.client),
    ];
    lines.extend(stays.console.as_deref().map(|console| entry("console", console)));
    lines.extend(stays.http.as_deref().map(|http| entry("status page", http)));
    for (master, pid) in stays.pids.iter().enumerate() {
        if let Some(pid) = pid {
            lines.push(entry(&format!("crash {}", name(master)), &format!("kill -9 {pid}")));
        }
    }
    lines
}

/// The word for a state.
pub(super) fn state(state: MasterState) -> &'static str {
    match state {
        MasterState::Active => "active",
        MasterState::Standby => "standby",
        MasterState::Down => "down",
    }
}

pub(super) fn name(master: usize) -> String {
    format!("m{}", master + 1)
}

pub(super) fn list(keys: &[u64]) -> String {
    keys.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

pub(super) fn milliseconds(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1000.0)
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups_of_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
