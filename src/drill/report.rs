//! What a drill came to: figures of each run, their distributions, and what is wrong.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::spread::{SHARES, Spread};
use super::transfers::Transferred;
use crate::checker::Verdict;

/// For names. With the figures behind it no line is longer than 78 columns.
const NAME_OF_TIME: usize = 38;
const NAME_OF_COUNT: usize = 30;

/// Something that is measured in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    /// For machines.
    pub(super) key: &'static str,
    /// For people, indented if it is a part of the one above.
    pub(super) name: &'static str,
}

/// What clients were told, or had to do, in one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) acknowledged: usize,
    /// Statements that waited.
    pub(super) held: u64,
    /// Statements that were sent to another master again.
    pub(super) retried: u64,
    /// Errors that say that a statement was not executed.
    pub(super) failed: usize,
    /// Errors after which nobody knows.
    pub(super) unknown: usize,
    /// Acknowledged, and not there.
    pub(super) lost: usize,
    /// Transfers that were committed, and are not there.
    pub(super) lost_transfers: usize,
    /// Transactions that the proxy names as lost.
    pub(super) named: u64,
    /// Keys that two statements got, and statements that made two rows.
    pub(super) duplicated: usize,
}

impl Counts {
    const NAMES: [&'static str; 9] = [
        "acknowledged",
        "held",
        "retried",
        "failed",
        "unknown",
        "lost",
        "lost transfers",
        "named as lost by the proxy",
        "duplicated",
    ];

    /// What the account says; the proxy says the rest.
    pub(super) fn of(verdict: &Verdict) -> Self {
        Self {
            acknowledged: verdict.acknowledged,
            failed: verdict.needless_errors(),
            unknown: verdict.unknown,
            lost: verdict.missing.iter().copied().max().unwrap_or_default(),
            duplicated: verdict.twice(),
            ..Self::default()
        }
    }

    fn values(&self) -> [f64; 9] {
        let Self {
            acknowledged,
            held,
            retried,
            failed,
            unknown,
            lost,
            lost_transfers,
            named,
            duplicated,
        } = *self;
        let many = |number: usize| number as f64;
        [
            many(acknowledged),
            held as f64,
            retried as f64,
            many(failed),
            many(unknown),
            many(lost),
            many(lost_transfers),
            named as f64,
            many(duplicated),
        ]
    }
}

/// One run.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// Milliseconds, by [`Measure::key`]; several where several clients were measured.
    pub(super) times: Vec<(&'static str, Vec<f64>)>,
    /// What the load was before, by [`Measure::key`], in units that their names say.
    pub(super) loads: Vec<(&'static str, f64)>,
    pub(super) counts: Counts,
    /// From which master to which, where that is the point.
    pub(super) masters: Option<(String, String)>,
}

impl Run {
    pub(super) fn time(&mut self, measure: Measure, value: f64) {
        self.times.push((measure.key, vec![value]));
    }

    pub(super) fn load(&mut self, measure: Measure, value: f64) {
        self.loads.push((measure.key, value));
    }

    /// The one value of this; NaN if there is none.
    pub(super) fn value(&self, measure: Measure) -> f64 {
        let found = self.times.iter().find(|(key, _)| *key == measure.key);
        found.and_then(|(_, values)| values.first().copied()).unwrap_or(f64::NAN)
    }

    fn json(&self) -> Map<String, Value> {
        let times = self.times.iter().map(|(key, values)| {
            let value = match values.as_slice() {
                [one] => number(*one),
                several => several.iter().copied().map(number).collect(),
            };
            ((*key).to_owned(), value)
        });
        let counts = Counts::NAMES.iter().zip(self.counts.values());
        let mut run = Map::new();
        if let Some((from, to)) = &self.masters {
            run.insert("from".to_owned(), json!(from));
            run.insert("to".to_owned(), json!(to));
        }
        run.insert("milliseconds".to_owned(), times.collect::<Map<_, _>>().into());
        if !self.loads.is_empty() {
            let loads = self.loads.iter().map(|(key, value)| ((*key).to_owned(), number(*value)));
            run.insert("load".to_owned(), loads.collect::<Map<_, _>>().into());
        }
        let counts: Map<_, _> =
            counts.map(|(name, count)| ((*name).to_owned(), number(count))).collect();
        run.insert("counts".to_owned(), counts.into());
        run
    }
}

/// All runs of one drill.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// Its name on the command line.
    pub(super) drill: &'static str,
    /// What it does to which servers under which load; the first is the title.
    pub(super) setting: Vec<String>,
    measures: &'static [Measure],
    times: HashMap<&'static str, Spread>,
    /// Of the load before what is done: not in milliseconds.
    load_measures: &'static [Measure],
    loads: HashMap<&'static str, Spread>,
    counts: [Spread; Counts::NAMES.len()],
    /// Those whose times are known.
    timed: u32,
    /// Those whose account is closed as well.
    pub(super) runs: u32,
    interrupted: bool,
    /// What is worth knowing.
    pub(super) remarks: Vec<String>,
    /// What no slow machine excuses.
    pub(super) faults: Vec<String>,
}

impl Report {
    pub(super) fn new(
        drill: &'static str,
        measures: &'static [Measure],
        setting: Vec<String>,
    ) -> Self {
        Self {
            drill,
            setting,
            measures,
            times: HashMap::new(),
            load_measures: &[],
            loads: HashMap::new(),
            counts: Default::default(),
            timed: 0,
            runs: 0,
            interrupted: false,
            remarks: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// What else is measured, of the load before.
    pub(super) fn with_load(self, load_measures: &'static [Measure]) -> Self {
        Self { load_measures, ..self }
    }

    pub(super) fn add(&mut self, run: &Run) {
        self.add_times(run);
        self.add_counts(run);
    }

    /// Of a run whose account has been closed since its times were added.
    pub(super) fn add_counts(&mut self, run: &Run) {
        self.runs += 1;
        for (spread, count) in self.counts.iter_mut().zip(run.counts.values()) {
            spread.add(count);
        }
    }

    /// Of a run in which nothing is counted, or not yet.
    pub(super) fn add_times(&mut self, run: &Run) {
        self.timed += 1;
        for (key, value) in &run.loads {
            self.loads.entry(key).or_default().add(*value);
        }
        for (key, values) in &run.times {
            let spread = self.times.entry(key).or_default();
            values.iter().for_each(|value| spread.add(*value));
        }
    }

    /// A fault, if there is any of it.
    pub(super) fn fault(&mut self, number: usize, what: &str) {
        if number > 0 {
            self.faults.push(format!("{number} {what}"));
        }
    }

    /// What became of transfers, and of rows that an asynchronous standby had not received.
    pub(super) fn remark_on(&mut self, transferred: &Transferred) {
        self.remarks.push(transferred.to_string());
        let lost = Counts::NAMES.iter().zip(&self.counts).find(|(name, _)| **name == "lost");
        let lost = lost.map_or(0.0, |(_, spread)| spread.sum());
        if lost > 0.0 && self.is_sound() {
            self.remarks.push(format!("the {lost} lost rows came back with the old master"));
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// It ends here. Whether there is anything to show of it.
    pub(super) fn interrupt(&mut self) -> bool {
        self.interrupted = true;
        self.timed > 0
    }

    /// What can be said of what was not found wrong.
    fn conclusion(&self) -> Option<String> {
        let runs = match self.timed {
            1 => "1 run".to_owned(),
            many => format!("{many} runs"),
        };
        match (self.interrupted, self.is_sound()) {
            (false, true) => Some("Nothing is wrong.".to_owned()),
            (false, false) => None,
            (true, false) => Some(format!("Interrupted after {runs}.")),
            (true, true) if self.runs < self.timed => Some(format!(
                "Interrupted after {runs}, before anything was compared with the tables."
            )),
            (true, true) => Some(format!("Interrupted after {runs}; nothing is wrong so far.")),
        }
    }

    /// The tables, in lines of at most 80 columns, and the conclusion.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if !self.measures.is_empty() {
            head(&mut text, "milliseconds", NAME_OF_TIME, false);
        }
        for measure in self.measures {
            let spread = self.times.get(measure.key).cloned().unwrap_or_default();
            row(&mut text, measure.name, NAME_OF_TIME, &spread, 1);
            text.push('\n');
        }
        if !self.load_measures.is_empty() {
            text.push('\n');
            head(&mut text, "in the second before", NAME_OF_TIME, false);
        }
        for measure in self.load_measures {
            let spread = self.loads.get(measure.key).cloned().unwrap_or_default();
            row(&mut text, measure.name, NAME_OF_TIME, &spread, 1);
            text.push('\n');
        }
        if self.runs > 0 {
            text.push('\n');
            head(&mut text, "in each run", NAME_OF_COUNT, true);
        }
        for (name, spread) in Counts::NAMES.iter().zip(&self.counts).filter(|_| self.runs > 0) {
            row(&mut text, name, NAME_OF_COUNT, spread, 0);
            let _ = writeln!(text, "{:>8}", spread.sum());
        }
        text.push('\n');
        for remark in &self.remarks {
            let _ = writeln!(text, "{remark}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "WRONG: {fault}");
        }
        if let Some(conclusion) = self.conclusion() {
            let _ = writeln!(text, "{conclusion}");
        }
        text
    }

    /// One run, for machines.
    pub(super) fn run_json(&self, run: &Run) -> Value {
        let mut object = Map::new();
        object.insert("drill".to_owned(), json!(self.drill));
        object.extend(run.json());
        object.into()
    }

    /// The sum of it, for machines.
    pub(super) fn json(&self) -> Value {
        let all = |spreads: &HashMap<&str, Spread>| -> Map<String, Value> {
            spreads.iter().map(|(key, spread)| ((*key).to_owned(), shares(spread).into())).collect()
        };
        // Nobody knows that nothing is wrong in what was not done.
        let sound = (!self.interrupted || !self.is_sound()).then(|| self.is_sound());
        let counts: Map<String, Value> = Counts::NAMES
            .iter()
            .zip(&self.counts)
            .map(|(name, spread)| {
                let mut object = shares(spread);
                object.insert("sum".to_owned(), number(spread.sum()));
                ((*name).to_owned(), object.into())
            })
            .collect();
        json!({
            "drill": self.drill,
            "summary": {
                "setting": self.setting,
                "runs": self.timed,
                "milliseconds": all(&self.times),
                "load": all(&self.loads),
                "counts": counts,
                "remarks": self.remarks,
                "faults": self.faults,
                "interrupted": self.interrupted,
                "sound": sound,
            },
        })
    }
}

fn head(text: &mut String, what: &str, width: usize, sum: bool) {
    let _ = write!(text, "{what:<width$}");
    for (name, _) in SHARES {
        let _ = write!(text, "{name:>8}");
    }
    text.push_str(if sum { "     sum\n" } else { "\n" });
}

fn row(text: &mut String, name: &str, width: usize, spread: &Spread, digits: usize) {
    let _ = write!(text, "{name:<width$}");
    for (_, share) in SHARES {
        let _ = match spread.at(share) {
            Some(value) => write!(text, "{value:>8.digits$}"),
            None => write!(text, "{:>8}", "-"),
        };
    }
}

fn shares(spread: &Spread) -> Map<String, Value> {
    let share = |(name, share): &(&str, f64)| {
        ((*name).to_owned(), spread.at(*share).map_or(Value::Null, number))
    };
    SHARES.iter().map(share).collect()
}

/// To the microsecond; whole numbers without a point. What was not measured is null.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number that fits")]
        return json!(value as i64);
    }
    json!((value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Measure = Measure { key: "gap", name: "gap: last acknowledged to first after" };
    const REST: Measure = Measure { key: "rest", name: "  never measured" };

    fn report() -> Report {
        let mut report = Report::new("crash", &[GAP, REST], vec!["kill -9".to_owned()]);
        for (gap, held) in [(20.25, 7), (1234.5, 16), (18.0, 0)] {
            let mut run = Run::default();
            run.time(GAP, gap);
            run.counts = Counts { acknowledged: 1000, held, ..Counts::default() };
            report.add(&run);
        }
        report
    }

    #[test]
    fn people_get_tables_that_fit_a_terminal() {
        let mut report = report();
        report.remarks.push("12 transfers committed".to_owned());
        let text = report.text();
        let lines: Vec<&str> = text.lines().collect();
        let (gap, rest) = (lines[1], lines[2]);
        assert!(gap.starts_with("gap: last acknowledged to first after"), "{text}");
        assert_eq!(
            gap[NAME_OF_TIME..].split_whitespace().collect::<Vec<_>>(),
            ["18.0", "20.2", "1234.5", "1234.5", "1234.5"]
        );
        assert_eq!(rest.split_whitespace().rev().take(5).collect::<Vec<_>>(), ["-"; 5]);
        let held = lines.iter().find(|line| line.starts_with("held ")).unwrap();
        assert_eq!(
            held.split_whitespace().collect::<Vec<_>>(),
            ["held", "0", "7", "16", "16", "16", "23"]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.ends_with("\n12 transfers committed\nNothing is wrong.\n"), "{text}");
        report.fault(0, "of nothing");
        assert!(report.is_sound());
        report.fault(3, "acknowledged rows are missing");
        assert!(report.text().ends_with("\nWRONG: 3 acknowledged rows are missing\n"));
    }

    #[test]
    fn what_was_broken_off_is_not_called_sound() {
        let conclusion = |mut report: Report| {
            assert!(report.interrupt(), "there is something to show");
            let words = report.text().lines().last().unwrap().to_owned();
            (words, report.json()["summary"]["sound"].clone())
        };
        let (words, sound) = conclusion(report());
        assert_eq!(words, "Interrupted after 3 runs; nothing is wrong so far.");
        assert_eq!(sound, Value::Null);
        let mut not_compared = report();
        let mut run = Run::default();
        run.time(GAP, 7.0);
        not_compared.add_times(&run);
        let (words, _) = conclusion(not_compared);
        assert_eq!(
            words,
            "Interrupted after 4 runs, before anything was compared with the tables."
        );
        let mut wrong = report();
        wrong.fault(1, "rows are missing");
        let (words, sound) = conclusion(wrong);
        assert_eq!((words.as_str(), sound), ("Interrupted after 3 runs.", json!(false)));
        assert!(!Report::new("crash", &[], Vec::new()).interrupt());
    }

    #[test]
    fn the_load_is_shown_in_its_own_units() {
        const WRITES: Measure = Measure { key: "writes_a_second", name: "writes" };
        let mut report = Report::new("crash", &[GAP], Vec::new()).with_load(&[WRITES]);
        let mut run = Run::default();
        run.load(WRITES, 11_200.25);
        report.add(&run);
        let text = report.text();
        let mut lines = text.lines().skip_while(|line| !line.starts_with("in the second before"));
        let figures = lines.nth(1).unwrap().split_whitespace();
        assert_eq!(
            figures.collect::<Vec<_>>(),
            ["writes", "11200.2", "11200.2", "11200.2", "11200.2", "11200.2"]
        );
        assert_eq!(report.run_json(&run)["load"]["writes_a_second"], 11_200.25);
        assert_eq!(report.json()["summary"]["load"]["writes_a_second"]["median"], 11_200.25);
    }

    #[test]
    fn machines_get_the_same_figures() {
        let report = report();
        let json = report.json();
        assert_eq!(json["summary"]["milliseconds"]["gap"]["median"], 20.25);
        assert_eq!(json["summary"]["counts"]["held"]["sum"], 23);
        assert_eq!(json["summary"]["sound"], true);
        let mut run = Run::default();
        run.time(GAP, 2.000_04);
        run.time(REST, f64::NAN);
        run.times.push(("statement", vec![1.0, 2.5]));
        let run = report.run_json(&run);
        assert_eq!(run["milliseconds"], json!({"gap": 2.0, "rest": null, "statement": [1, 2.5]}));
        assert_eq!(run["drill"], "crash");
    }
}
