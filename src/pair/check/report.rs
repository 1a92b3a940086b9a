//! A verdict for people: the gravest first, what is so, why it matters, and what to type.

use std::fmt::Write as _;

use crossterm::style::{Attribute, Color, ContentStyle, Stylize as _};

use super::pair::{counted, listed};
use super::{Blind, Finding, Mend, Severity, Verdict};

/// How the text is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Whether there is colour.
    pub colour: bool,
    /// How many characters fit on a line; statements are never broken.
    pub width: usize,
}

/// What a text is meant to say by its looks.
#[derive(Clone, Copy)]
enum Tone {
    Bad,
    Warn,
    Good,
    Strong,
    Dim,
}

impl Looks {
    fn paint(self, tone: Tone, text: &str) -> String {
        let style = ContentStyle::new();
        let style = match tone {
            Tone::Bad => style.with(Color::Red).attribute(Attribute::Bold),
            Tone::Warn => style.with(Color::Yellow).attribute(Attribute::Bold),
            Tone::Good => style.with(Color::Green).attribute(Attribute::Bold),
            Tone::Strong => style.attribute(Attribute::Bold),
            Tone::Dim => style.attribute(Attribute::Dim),
        };
        if self.colour { style.apply(text).to_string() } else { text.to_owned() }
    }

    /// `text` in lines of this width, each begun by so many blanks.
    fn wrapped(self, tone: Option<Tone>, indent: usize, text: &str) -> String {
        let most = self.width.saturating_sub(indent).max(40);
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines.iter().fold(String::new(), |mut all, line| {
            let line = tone.map_or_else(|| line.clone(), |tone| self.paint(tone, line));
            // Writing to a String cannot fail.
            let _ = writeln!(all, "{:indent$}{line}", "");
            all
        })
    }
}

/// Where the text of a finding begins.
const INDENT: usize = 4;

/// The whole verdict.
#[must_use]
pub fn report(verdict: &Verdict, looks: Looks) -> String {
    let mut text = String::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Notice] {
        let (tone, heading) = match severity {
            Severity::Error => {
                (Tone::Bad, "ERRORS: a failover would fail now, or lose or corrupt data")
            }
            Severity::Warning => (Tone::Warn, "WARNINGS: they will cost something some day"),
            Severity::Notice => (Tone::Strong, "NOTICES: good to know"),
        };
        let findings = verdict.findings.iter().filter(|finding| finding.severity == severity);
        let findings: Vec<&Finding> = findings.collect();
        let findings: Vec<String> = findings
            .chunk_by(|one, next| (one.check, &one.why) == (next.check, &next.why))
            .map(|alike| told(alike, looks, tone))
            .collect();
        if !findings.is_empty() {
            let _ = writeln!(text, "{}\n\n{}", looks.paint(tone, heading), findings.join("\n"));
        }
    }
    if !verdict.not_seen.is_empty() {
        let heading = "NOT SEEN: what may be wrong there is not known";
        let _ = writeln!(text, "{}\n", looks.paint(Tone::Strong, heading));
        for blind in blind(&verdict.not_seen) {
            text.push_str(&unseen(&blind, looks));
        }
        text.push('\n');
    }
    text.push_str(&last_line(verdict, looks));
    text
}

/// Findings of one check with one reason: the reason is told once.
fn told(alike: &[&Finding], looks: Looks, tone: Tone) -> String {
    let Some(first) = alike.first() else { return String::new() };
    let mut servers: Vec<&str> = Vec::new();
    for name in alike.iter().flat_map(|finding| &finding.servers) {
        if !servers.contains(&name.as_str()) {
            servers.push(name);
        }
    }
    let name = looks.paint(tone, first.check);
    let servers = looks.paint(Tone::Dim, &servers.join(", "));
    let mut text = format!("  {name}  {servers}\n");
    for finding in alike {
        text.push_str(&looks.wrapped(None, INDENT, &finding.what));
    }
    text.push_str(&looks.wrapped(Some(Tone::Dim), INDENT, &first.why));
    let steps: Vec<&Mend> = alike.iter().flat_map(|finding| &finding.mend).collect();
    text.push_str(&mending(&steps, looks));
    text
}

/// Statements stand alone on their lines, to be copied; where they go stands above them once.
fn mending(steps: &[&Mend], looks: Looks) -> String {
    let mut text = String::new();
    let mut place = String::new();
    let mut advised: Vec<&str> = Vec::new();
    for step in steps {
        let (at, lines) = match step {
            Mend::Sql { on, sql } => (format!("on {on}:"), vec![sql.clone()]),
            Mend::Config { on, my_cnf } => {
                (format!("in my.cnf of {on}, under [mysqld]:"), vec![my_cnf.clone()])
            }
            Mend::Copy { from, show, to } => {
                text.push_str(&format!("{:INDENT$}on {from}:\n{:8}{show}\n", "", ""));
                let at =
                    format!("on {to}, in one session, with what {from} answered in the middle:");
                let lines = ["SET SESSION sql_log_bin = 0;", "…", "SET SESSION sql_log_bin = 1;"];
                (at, lines.map(str::to_owned).to_vec())
            }
            // The same for several servers is said once.
            Mend::Advice { advice } if advised.contains(&advice.as_str()) => continue,
            Mend::Advice { advice } => {
                advised.push(advice);
                place.clear();
                text.push_str(&looks.wrapped(None, INDENT, &format!("→ {advice}")));
                continue;
            }
        };
        if at != place {
            text.push_str(&format!("{:INDENT$}{at}\n", ""));
            place = at;
        }
        for line in lines {
            text.push_str(&format!("{:8}{}\n", "", looks.paint(Tone::Strong, &line)));
        }
    }
    text
}

/// The same on several servers is told once.
fn blind(all: &[Blind]) -> Vec<(Vec<&str>, &Blind)> {
    let mut groups: Vec<(Vec<&str>, &Blind)> = Vec::new();
    for one in all {
        let same = |other: &Blind| {
            (&other.what, &other.why, &other.grant) == (&one.what, &one.why, &one.grant)
        };
        match groups.iter_mut().find(|(_, first)| same(first)) {
            Some((servers, _)) => servers.push(&one.server),
            None => groups.push((vec![&one.server], one)),
        }
    }
    groups
}

fn unseen((servers, blind): &(Vec<&str>, &Blind), looks: Looks) -> String {
    let what = format!(
        "{} of {}: {} (so nothing is said about {})",
        blind.what,
        listed(servers),
        blind.why,
        listed(&blind.checks)
    );
    let mut text = looks.wrapped(None, INDENT, &what);
    if let Some(grant) = &blind.grant {
        text.push_str(&format!("{:8}{}\n", "", looks.paint(Tone::Strong, grant)));
    }
    text
}

fn last_line(verdict: &Verdict, looks: Looks) -> String {
    let count =
        |severity| verdict.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notices) =
        (count(Severity::Error), count(Severity::Warning), count(Severity::Notice));
    let mut parts = Vec::new();
    if errors > 0 {
        parts.push(looks.paint(Tone::Bad, &counted(errors, "error", "errors")));
    }
    if warnings > 0 {
        parts.push(looks.paint(Tone::Warn, &counted(warnings, "warning", "warnings")));
    }
    if errors + warnings == 0 {
        parts.push(looks.paint(Tone::Good, "nothing is wrong"));
    }
    if notices > 0 {
        parts.push(counted(notices, "notice", "notices"));
    }
    if !verdict.not_seen.is_empty() {
        let parts_unseen = blind(&verdict.not_seen).len();
        parts.push(counted(parts_unseen, "thing was not seen", "things were not seen"));
    }
    let servers = listed(&verdict.servers);
    format!("{} checks on {servers}: {}\n", verdict.checks, parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOKS: Looks = Looks { colour: false, width: 80 };

    fn verdict() -> Verdict {
        let why = "Two rows get one key when both masters are written to, as in a split or around a failover.";
        let finding =
            Finding::new(Severity::Error, ["m1", "m2"], "m1 and m2 hand out the same keys", why)
                .mended_by([
                    Mend::sql("m2", "SET GLOBAL auto_increment_offset = 2"),
                    Mend::config("m2", "auto_increment_offset = 2"),
                    Mend::advice(
                        "sessions that are open keep the old values until they connect again",
                    ),
                ]);
        let blind = |server: &str| Blind {
            server: server.to_owned(),
            what: "tables".to_owned(),
            why: "the server does not show them".to_owned(),
            grant: Some("GRANT REFERENCES ON *.* TO 'tandem'@'%';".to_owned()),
            checks: vec!["primary-key", "unique-keys"],
        };
        Verdict {
            checks: 40,
            servers: vec!["m1".to_owned(), "m2".to_owned()],
            findings: vec![Finding { check: "auto-increment", ..finding }],
            not_seen: vec![blind("m1"), blind("m2")],
        }
    }

    #[test]
    fn people_read_it_from_the_top() {
        insta::assert_snapshot!(report(&verdict(), LOOKS));
    }

    #[test]
    fn machines_get_the_same() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&verdict()).expect("plain data"));
    }

    #[test]
    fn a_well_pair_is_one_line() {
        let verdict = Verdict { findings: Vec::new(), not_seen: Vec::new(), ..verdict() };
        assert_eq!(report(&verdict, LOOKS), "40 checks on m1 and m2: nothing is wrong\n");
    }

    #[test]
    fn colour_changes_no_letter() {
        let colourful = report(&verdict(), Looks { colour: true, ..LOOKS });
        assert!(colourful.contains("\u{1b}["));
        let mut plain = String::new();
        let mut letters = colourful.chars();
        while let Some(letter) = letters.next() {
            if letter == '\u{1b}' {
                letters.by_ref().find(|letter| *letter == 'm');
            } else {
                plain.push(letter);
            }
        }
        assert_eq!(plain, report(&verdict(), LOOKS));
    }
}
