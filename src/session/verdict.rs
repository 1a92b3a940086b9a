//! What becomes of a statement whose master went before it had answered.
//!
//! The promise is: nothing is executed twice, and nobody is told something that is not known. A
//! server acts on a command only when it has all of it, and forgets an open transaction when its
//! connection ends; everything else follows from what was sent, what came back and what the
//! statement is.

use super::state::MigrationBlocker;
use super::statement::{Statement, Verb};

/// A statement without its whole answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    /// What it is.
    pub(super) statement: Statement,
    /// A transaction was open when it was sent.
    pub(super) in_transaction: bool,
    /// The server may have all of it.
    pub(super) delivered: bool,
    /// Part of the answer is with the client already.
    pub(super) forwarded: bool,
    /// What of the session cannot be moved, an open transaction apart.
    pub(super) blocker: Option<MigrationBlocker>,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was not executed, or executing it twice is as good as once: run it on the new active.
    RunAgain,
    /// It was a ROLLBACK, and so it is: say OK.
    Done,
    /// Its transaction is certainly rolled back, and so is it.
    RolledBack,
    /// Nobody knows.
    Unknown,
    /// The client has part of a result and will not get the rest.
    CutOff,
    /// The session cannot go on elsewhere.
    StateLost(MigrationBlocker),
}

impl InFlight {
    /// The verdict.
    pub(super) fn verdict(self) -> Verdict {
        let outcome = match (self.forwarded, self.in_transaction) {
            (false, true) => self.inside(),
            (false, false) => self.outside(),
            // An answer that began cannot be begun again, and says nothing of how it would have ended.
            (true, true) if self.statement.may_commit() => Verdict::Unknown,
            (true, false) if !self.statement.is_repeatable() => Verdict::Unknown,
            (true, _) => Verdict::CutOff,
        };
        match (outcome, self.blocker) {
            // Not knowing weighs more than what was lost besides.
            (Verdict::Unknown, _) | (_, None) => outcome,
            (_, Some(blocker)) => Verdict::StateLost(blocker),
        }
    }

    fn inside(self) -> Verdict {
        match self.statement.verb {
            Verb::Rollback => Verdict::Done,
            _ if self.delivered && self.statement.may_commit() => Verdict::Unknown,
            _ => Verdict::RolledBack,
        }
    }

    fn outside(self) -> Verdict {
        let harmless = self.statement.is_repeatable()
            // Without a transaction there is nothing for these to end.
            || matches!(self.statement.verb, Verb::Commit | Verb::Rollback);
        if !self.delivered || harmless { Verdict::RunAgain } else { Verdict::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_flight(sql: &str) -> InFlight {
        InFlight {
            statement: Statement::classify(sql.as_bytes(), true),
            in_transaction: false,
            delivered: true,
            forwarded: false,
            blocker: None,
        }
    }

    #[test]
    fn outside_a_transaction() {
        for (sql, verdict) in [
            ("select 1", Verdict::RunAgain),
            ("set names utf8mb4", Verdict::RunAgain),
            ("begin", Verdict::RunAgain),
            ("rollback", Verdict::RunAgain),
            ("insert into t values (1)", Verdict::Unknown),
            ("create table t (a int)", Verdict::Unknown),
            ("call p()", Verdict::Unknown),
        ] {
            assert_eq!(in_flight(sql).verdict(), verdict, "{sql}");
            let unsent = InFlight { delivered: false, ..in_flight(sql) };
            assert_eq!(unsent.verdict(), Verdict::RunAgain, "{sql}, not delivered");
        }
    }

    #[test]
    fn inside_a_transaction() {
        for (sql, verdict) in [
            ("select 1", Verdict::RolledBack),
            ("insert into t values (1)", Verdict::RolledBack),
            ("rollback", Verdict::Done),
            ("commit", Verdict::Unknown),
            ("alter table t add b int", Verdict::Unknown),
            ("insert into t values (1); commit", Verdict::Unknown),
        ] {
            let inside = InFlight { in_transaction: true, ..in_flight(sql) };
            assert_eq!(inside.verdict(), verdict, "{sql}");
        }
        let unsent = InFlight { in_transaction: true, delivered: false, ..in_flight("commit") };
        assert_eq!(unsent.verdict(), Verdict::RolledBack);
    }

    #[test]
    fn what_was_lost_besides_is_named_unless_the_outcome_is_unknown() {
        let blocker = Some(MigrationBlocker::TemporaryTables);
        let read = InFlight { blocker, ..in_flight("select 1") };
        assert_eq!(read.verdict(), Verdict::StateLost(MigrationBlocker::TemporaryTables));
        let write = InFlight { blocker, ..in_flight("delete from t") };
        assert_eq!(write.verdict(), Verdict::Unknown);
    }

    #[test]
    fn a_result_that_began_is_never_begun_again() {
        for in_transaction in [false, true] {
            let read = InFlight { forwarded: true, in_transaction, ..in_flight("select 1") };
            assert_eq!(read.verdict(), Verdict::CutOff);
            let batch = "insert into t values (1); commit";
            let batch = InFlight { forwarded: true, in_transaction, ..in_flight(batch) };
            assert_eq!(batch.verdict(), Verdict::Unknown);
        }
        let blocker = Some(MigrationBlocker::TemporaryTables);
        let read = InFlight { forwarded: true, blocker, ..in_flight("select 1") };
        assert_eq!(read.verdict(), Verdict::StateLost(MigrationBlocker::TemporaryTables));
    }
}
