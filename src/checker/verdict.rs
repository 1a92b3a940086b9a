//! The judgement: the writers' ledger against the tables of the masters.
//!
//! A pure function of what was written down, so that it can be tested against ledgers in which
//! something did go wrong; a demo that cannot fail would show nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::ledger::{Cause, Gap, Kill, Ledger, Row, Token, master_of};

/// What the account came to.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// `None` when writing never went on, or nobody was killed.
    pub(crate) gap: Option<Gap>,
    pub(crate) acknowledged: usize,
    /// Acknowledged rows that are not in each of the tables as they were acknowledged.
    pub(crate) missing: Vec<usize>,
    /// Keys that two statements got.
    pub(crate) keys_twice: usize,
    /// Statements that made two rows.
    pub(crate) statements_twice: usize,
    /// Keys of the killed master's class for statements that were sent after the other had taken
    /// over, and the reverse: two writers at a time.
    pub(crate) out_of_turn: usize,
    /// Statements that nobody can know the outcome of, and was so told.
    pub(crate) unknown: usize,
    /// Those of them whose row is there.
    pub(crate) unknown_found: usize,
    /// Rows of statements that failed for certain, or that nobody sent.
    pub(crate) strays: usize,
    /// Rows that not all of the tables have.
    pub(crate) different: usize,
    /// By code.
    pub(crate) errors: BTreeMap<Cause, usize>,
}

impl Verdict {
    /// Judges by the tables of as many masters as were read.
    pub(crate) fn of(ledger: &Ledger, kill: Option<Kill>, tables: &[Vec<Row>]) -> Self {
        let sets: Vec<HashSet<Row>> =
            tables.iter().map(|rows| rows.iter().copied().collect()).collect();
        let acknowledged: HashSet<Row> =
            ledger.acknowledged.iter().map(|entry| entry.row).collect();
        let there: BTreeSet<Row> = sets.iter().flatten().copied().collect();
        let unknown: HashSet<Token> = ledger
            .failed
            .iter()
            .filter(|failed| failed.cause.leaves_unknown())
            .map(|failed| failed.token)
            .collect();
        let unacknowledged = || there.iter().filter(|row| !acknowledged.contains(row));
        Self {
            gap: kill.and_then(|kill| ledger.gap(kill)),
            acknowledged: ledger.acknowledged.len(),
            missing: sets.iter().map(|set| acknowledged.difference(set).count()).collect(),
            keys_twice: shared(acknowledged.iter().chain(&there).map(|row| (row.key, row.token))),
            statements_twice: shared(there.iter().map(|row| (row.token, row.key))),
            out_of_turn: kill.map_or(0, |kill| out_of_turn(ledger, kill)),
            unknown: unknown.len(),
            unknown_found: unacknowledged().filter(|row| unknown.contains(&row.token)).count(),
            strays: unacknowledged().filter(|row| !unknown.contains(&row.token)).count(),
            different: there.iter().filter(|row| !sets.iter().all(|set| set.contains(row))).count(),
            errors: ledger.errors(),
        }
    }

    /// How many errors the writers saw.
    pub(crate) fn errors_seen(&self) -> usize {
        self.errors.values().sum()
    }

    /// Errors that a client of a crashed master need not see: an autocommit INSERT either fails with
    /// an unknown outcome or waits.
    pub(crate) fn needless_errors(&self) -> usize {
        self.errors_seen() - self.unknown
    }

    /// Keys that two statements got, and statements that made two rows.
    pub(crate) fn twice(&self) -> usize {
        self.keys_twice + self.statements_twice
    }

    /// Everything that is wrong with the rows, in words; empty when the promise was kept.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut count = |number: usize, what: &str| {
            if number > 0 {
                faults.push(format!("{number} {what}"));
            }
        };
        for (missing, name) in self.missing.iter().zip(1..) {
            count(*missing, &format!("acknowledged rows are missing on m{name}"));
        }
        count(self.keys_twice, "keys were handed out twice");
        count(self.statements_twice, "statements were executed twice");
        count(self.out_of_turn, "keys came from a master whose turn it was not");
        count(self.strays, "rows come from statements that failed");
        count(self.different, "rows are on one master only");
        faults
    }
}

/// How many of the first halves are seen with more than one second half.
fn shared<A: Eq + std::hash::Hash, B: Eq>(pairs: impl Iterator<Item = (A, B)>) -> usize {
    let mut first: HashMap<A, (B, bool)> = HashMap::new();
    for (a, b) in pairs {
        match first.get_mut(&a) {
            Some((known, twice)) => *twice |= *known != b,
            None => drop(first.insert(a, (b, false))),
        }
    }
    first.values().filter(|(_, twice)| *twice).count()
}

/// What is sent to one master may be acknowledged while the other takes over, so only statements
/// that lie wholly on one side are judged.
fn out_of_turn(ledger: &Ledger, kill: Kill) -> usize {
    let taken_over = ledger.gap(kill).map(|gap| gap.first);
    ledger
        .acknowledged
        .iter()
        .filter(|entry| {
            if master_of(entry.row.key) == kill.master {
                taken_over.is_some_and(|taken_over| entry.sent >= taken_over)
            } else {
                entry.at < kill.at
            }
        })
        .count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checker::ledger::{Acknowledged, Failed, OUTCOME_UNKNOWN};

    const KILL: Kill = Kill { master: 0, at: Duration::from_millis(100) };

    fn row(key: u64, number: u32) -> Row {
        Row { key, token: Token { writer: 1, number } }
    }

    fn entry(key: u64, number: u32, sent: u64, at: u64) -> Acknowledged {
        let (sent, at) = (Duration::from_millis(sent), Duration::from_millis(at));
        Acknowledged { row: row(key, number), sent, at }
    }

    /// Two rows of m1 before the kill, one that got lost on the way, two of m2 after it.
    fn story() -> (Ledger, [Vec<Row>; 2]) {
        let acknowledged = vec![
            entry(1, 1, 10, 20),
            entry(3, 2, 80, 99),
            entry(6, 4, 100, 150),
            entry(8, 5, 150, 160),
        ];
        let token = Token { writer: 1, number: 3 };
        let (at, cause) = (Duration::from_millis(120), Cause::Error(OUTCOME_UNKNOWN));
        let failed = vec![Failed { token, at, cause }];
        let table = vec![row(1, 1), row(3, 2), row(5, 3), row(6, 4), row(8, 5)];
        (Ledger { acknowledged, failed }, [table.clone(), table])
    }

    fn faults(change: impl FnOnce(&mut Ledger, &mut [Vec<Row>; 2])) -> Vec<String> {
        let (mut ledger, mut tables) = story();
        change(&mut ledger, &mut tables);
        Verdict::of(&ledger, Some(KILL), &tables).faults()
    }

    #[test]
    fn a_promise_that_was_kept_has_no_fault() {
        let (ledger, tables) = story();
        let verdict = Verdict::of(&ledger, Some(KILL), &tables);
        assert_eq!(verdict.faults(), [""; 0]);
        assert_eq!(verdict.gap.map(Gap::length), Some(Duration::from_millis(51)));
        assert_eq!((verdict.acknowledged, verdict.unknown, verdict.unknown_found), (4, 1, 1));
        assert_eq!((verdict.errors_seen(), verdict.needless_errors()), (1, 0));
        // Whether the unknown one is there or not, nobody was told anything wrong.
        let without = faults(|_, tables| tables.iter_mut().for_each(|table| _ = table.remove(2)));
        assert_eq!(without, [""; 0]);
        let broken = faults(|ledger, _| ledger.failed[0].cause = Cause::Broken);
        assert_eq!(broken, [""; 0]);
    }

    #[test]
    fn a_lost_row_is_a_fault() {
        let lost = faults(|_, tables| tables.iter_mut().for_each(|table| _ = table.remove(1)));
        assert_eq!(
            lost,
            ["1 acknowledged rows are missing on m1", "1 acknowledged rows are missing on m2"]
        );
        let on_one = faults(|_, tables| _ = tables[1].remove(1));
        assert_eq!(
            on_one,
            ["1 acknowledged rows are missing on m2", "1 rows are on one master only"]
        );
    }

    #[test]
    fn a_key_that_two_statements_got_is_a_fault() {
        // Both were acknowledged; the second row replaced the first.
        let twice = faults(|ledger, _| ledger.acknowledged.push(entry(8, 6, 160, 170)));
        assert!(twice.contains(&"1 keys were handed out twice".to_owned()), "{twice:?}");
        // Each master has its own row under the key.
        let apart = faults(|_, tables| tables[1][2] = row(5, 9));
        assert!(apart.contains(&"1 keys were handed out twice".to_owned()), "{apart:?}");
    }

    #[test]
    fn a_statement_that_ran_twice_is_a_fault() {
        let twice = faults(|_, tables| tables.iter_mut().for_each(|table| table.push(row(10, 4))));
        assert_eq!(
            twice,
            ["1 statements were executed twice", "1 rows come from statements that failed"]
        );
    }

    #[test]
    fn two_writers_at_a_time_are_a_fault() {
        let expected = ["1 keys came from a master whose turn it was not"];
        let add = |entry: Acknowledged| {
            faults(|ledger, tables| {
                tables.iter_mut().for_each(|table| table.push(entry.row));
                ledger.acknowledged.push(entry);
            })
        };
        assert_eq!(add(entry(11, 6, 160, 170)), expected);
        assert_eq!(add(entry(12, 6, 50, 60)), expected);
        // Sent before the kill and answered by the other master: it was held.
        assert_eq!(add(entry(12, 6, 99, 170)), [""; 0]);
    }

    #[test]
    fn a_row_of_a_statement_that_failed_for_certain_is_a_fault() {
        let stray = faults(|ledger, _| ledger.failed[0].cause = Cause::Error(1213));
        assert_eq!(stray, ["1 rows come from statements that failed"]);
    }

    #[test]
    fn writing_that_does_not_go_on_has_no_gap() {
        let (mut ledger, tables) = story();
        ledger.acknowledged.truncate(2);
        assert_eq!(Verdict::of(&ledger, Some(KILL), &tables).gap, None);
    }

    #[test]
    fn one_table_is_judged_by_itself() {
        let (ledger, tables) = story();
        let verdict = Verdict::of(&ledger, None, &tables[..1]);
        assert_eq!((verdict.faults(), verdict.missing), (Vec::new(), vec![0]));
    }
}
