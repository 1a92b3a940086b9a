//! What ties a session to the server where it is: why it cannot be told to let go of it just now.
//!
//! A switchover waits for sessions that have something open on the master that is left. The session
//! itself says what that is, in a byte of its [`Entry`](super::registry::Entry) that others read.

use super::state::{MigrationBlocker, SessionState};

/// What a session has open on its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tie {
    /// The server has a statement and has not answered it.
    Statement,
    /// An error left it open whether there is a transaction.
    Doubt,
    /// A part of its state that cannot be moved.
    State(MigrationBlocker),
}

/// All of them; the place of one, counted from 1, is its code. 0 stands for none.
const ALL: [Tie; 14] = [
    Tie::Statement,
    Tie::Doubt,
    Tie::State(MigrationBlocker::OpenTransaction),
    Tie::State(MigrationBlocker::TemporaryTables),
    Tie::State(MigrationBlocker::LockedTables),
    Tie::State(MigrationBlocker::UserLocks),
    Tie::State(MigrationBlocker::ReadLock),
    Tie::State(MigrationBlocker::Handler),
    Tie::State(MigrationBlocker::Xa),
    Tie::State(MigrationBlocker::OpenCursor),
    Tie::State(MigrationBlocker::LongData),
    Tie::State(MigrationBlocker::UserVariables),
    Tie::State(MigrationBlocker::Replication),
    Tie::State(MigrationBlocker::UnknownState),
];

impl Tie {
    /// A number for it, 1 to 14; 0 for none.
    #[inline]
    pub(super) fn code(tie: Option<Self>) -> u8 {
        match tie {
            None => 0,
            Some(Self::Statement) => 1,
            Some(Self::Doubt) => 2,
            // In the order in which they are declared.
            Some(Self::State(blocker)) => 3 + blocker as u8,
        }
    }

    /// The tie of this number.
    pub(super) fn of_code(code: u8) -> Option<Self> {
        ALL.get(usize::from(code.checked_sub(1)?)).copied()
    }

    /// Why it cannot let go, to follow "it".
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Statement => "is executing a statement",
            Self::Doubt => "had an error that may have left a transaction open",
            Self::State(blocker) => match blocker {
                MigrationBlocker::OpenTransaction => "is in a transaction",
                MigrationBlocker::TemporaryTables => "has temporary tables",
                MigrationBlocker::LockedTables => "has tables locked by LOCK TABLES",
                MigrationBlocker::UserLocks => "has locks taken by GET_LOCK()",
                MigrationBlocker::ReadLock => "has a lock taken by FLUSH TABLES",
                MigrationBlocker::Handler => "has an open HANDLER",
                MigrationBlocker::Xa => "is in an XA transaction",
                MigrationBlocker::OpenCursor => "has an open cursor",
                MigrationBlocker::LongData => "has sent parameter data that is not executed yet",
                MigrationBlocker::UserVariables => {
                    "has user variables whose values the proxy cannot know"
                }
                MigrationBlocker::Replication => "is a slave with a place in the binary log",
                MigrationBlocker::UnknownState => "has state that the proxy does not follow",
            },
        }
    }
}

impl SessionState {
    /// What ties the session to its server between two statements.
    #[inline]
    pub(super) fn tie(&self) -> Option<Tie> {
        if self.is_uncertain() {
            return Some(Tie::Doubt);
        }
        self.migration_blocker().map(Tie::State)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tie_has_a_number_of_its_own_and_words() {
        assert_eq!((Tie::code(None), Tie::of_code(0), Tie::of_code(15)), (0, None, None));
        for tie in ALL {
            let code = Tie::code(Some(tie));
            assert_eq!(Tie::of_code(code), Some(tie));
            assert!(code < 1 << 6 && tie.why().contains(' '));
        }
    }
}
