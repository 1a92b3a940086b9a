//! The end of the story: a chart of the moments around the kill, and the table of figures.

use super::findings::{Findings, Pulse};
use super::line::{Line, Tone};
use super::wording::{grouped, milliseconds, name, seconds};
use crate::checker::{Cause, Gap, Verdict};
use Tone::{Bad, Dim, Good, Master, Plain, Strong};

/// From nothing to as much as in no other cell.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Everything that is said at the end.
pub(super) fn lines(findings: &Findings) -> Vec<Line> {
    let mut lines = vec![Line::bare()];
    lines.extend(chart(&findings.pulse, findings.killed));
    lines.push(Line::bare());
    lines.extend(table(findings));
    lines.push(Line::bare());
    let faults = findings.faults();
    if faults.is_empty() {
        let took = seconds(findings.took);
        let line = Line::bare().then(Good, "Every promise was kept");
        lines.push(line.then(Dim, format!("; the demo took {took}.")));
    }
    let wrong = |fault: &String| Line::bare().then(Bad, format!("Not as promised: {fault}."));
    lines.extend(faults.iter().map(wrong));
    lines
}

fn chart(pulse: &Pulse, killed: usize) -> Vec<Line> {
    let mut bars = Line::bare().then(Plain, "  ");
    let most = pulse.cells.iter().map(|cell| cell[0] + cell[1]).max().unwrap_or(0);
    for cell in &pulse.cells {
        bars = bars.then(Master(usize::from(cell[1] > cell[0])), bar(cell[0] + cell[1], most));
    }
    let step = milliseconds(pulse.step);
    let mark = format!("↑ kill -9 of {}", name(killed));
    vec![
        Line::bare()
            .then(Dim, format!("  rows acknowledged per {step}, by "))
            .then(Master(0), "m1")
            .then(Dim, " and ")
            .then(Master(1), "m2"),
        bars,
        Line::bare().then(Bad, format!("  {}{mark}", " ".repeat(pulse.kill))),
    ]
}

/// One column; anything at all is seen.
pub(super) fn bar(number: u32, most: u32) -> char {
    let levels = BARS.len() - 1;
    let (number, most) = (number as usize, (most as usize).max(1));
    BARS[(number * levels).div_ceil(most).min(levels)]
}

fn table(findings: &Findings) -> Vec<Line> {
    let Findings { verdict, killed, .. } = findings;
    let (old, new) = (name(*killed), name(1 - killed));
    let zero =
        |what: &str, number: usize, means: &str| row(what, grouped(number), number == 0, means);
    let gap = verdict.gap.map_or_else(|| "none".to_owned(), |gap| milliseconds(Gap::length(gap)));
    let held = usize::try_from(findings.held).unwrap_or(usize::MAX);
    let replicates = findings.replication.iter().all(|status| status.runs);
    let equal = findings.checksums[0].is_some() && findings.checksums[0] == findings.checksums[1];
    let kept = findings.idle.kept();
    let answer = |right: bool, yes: &str, no: &str| if right { yes } else { no }.to_owned();
    vec![
        row("gap", gap, verdict.gap.is_some(), &format!("from {old}'s last row to {new}'s first")),
        row("statements held", grouped(held), true, &format!("waited, then went to {new}")),
        row(
            "errors seen",
            grouped(verdict.errors_seen()),
            verdict.needless_errors() == 0,
            &errors(verdict),
        ),
        row("rows acknowledged", grouped(verdict.acknowledged), true, ""),
        zero("  missing on m1", verdict.missing[0], ""),
        zero("  missing on m2", verdict.missing[1], ""),
        zero("keys handed out twice", verdict.keys_twice, ""),
        zero("keys out of turn", verdict.out_of_turn, "never two writers at a time"),
        zero("statements run twice", verdict.statements_twice, ""),
        zero("rows nobody sent", verdict.strays, ""),
        row("tables", answer(equal, "equal", "differ"), equal, "by CHECKSUM TABLE"),
        row("both threads, both boxes", answer(replicates, "Yes", "No"), replicates, ""),
        row("idle client", answer(kept, "kept", "lost"), kept, "its connection and its session"),
    ]
}

fn row(what: &str, figure: String, right: bool, means: &str) -> Line {
    let (tone, mark) = if right { (Good, "✓") } else { (Bad, "✗") };
    let line = Line::bare()
        .then(tone, format!("  {mark} "))
        .then(Plain, format!("{what:<25}"))
        .then(if right { Strong } else { Bad }, format!("{figure:>9}"));
    if means.is_empty() { line } else { line.then(Dim, format!("   {means}")) }
}

/// What the errors were, and what became of the rows behind them.
fn errors(verdict: &Verdict) -> String {
    if verdict.errors.is_empty() {
        return String::new();
    }
    let cause = |(cause, count): (&Cause, &usize)| match cause {
        Cause::Error(code) => format!("{count} × {code}"),
        Cause::Broken => format!("{count} × connection lost"),
        Cause::NoLogin => format!("{count} × no login"),
    };
    let mut said = verdict.errors.iter().map(cause).collect::<Vec<_>>().join(", ");
    if verdict.unknown > 0 {
        let found = verdict.unknown_found;
        said.push_str(&format!(", outcome unknown; {found} of them there"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_anything_that_is_not_nothing() {
        assert_eq!(
            [(0, 9), (1, 900), (900, 900), (0, 0)].map(|(n, most)| bar(n, most)),
            [' ', '▁', '█', ' ']
        );
    }
}
