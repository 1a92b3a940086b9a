//! What the words of a statement say of it, wherever they stand.

use super::statement::Keyword;

/// What occurs anywhere in a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits(pub(super) u16);

impl Traits {
    /// None of them.
    pub(crate) const NONE: Self = Self(0);
    /// `:=`: assigns a user variable.
    pub(crate) const ASSIGNS: Self = Self(1);
    /// GET_LOCK.
    pub(crate) const TAKES_LOCK: Self = Self(1 << 1);
    /// RELEASE_ALL_LOCKS.
    pub(crate) const RELEASES_LOCKS: Self = Self(1 << 2);
    /// A function that is not known to have no consequence, or NEXT VALUE FOR.
    pub(crate) const ACTS: Self = Self(1 << 3);
    /// Another statement follows behind a semicolon.
    pub(crate) const SEVERAL: Self = Self(1 << 4);
    /// INSERT, UPDATE, DELETE or REPLACE occurs.
    pub(crate) const WRITES: Self = Self(1 << 5);
    /// READ LOCK or FOR EXPORT behind FLUSH.
    pub(crate) const LOCKS: Self = Self(1 << 6);
    /// INTO: behind SELECT it assigns variables or writes a file.
    pub(crate) const INTO: Self = Self(1 << 7);
    /// A setting of session tracking is named.
    pub(crate) const TRACKING: Self = Self(1 << 8);
    /// READ WRITE, or the variable of it: whether a transaction may write is set.
    pub(crate) const ACCESS_MODE: Self = Self(1 << 9);
    /// What the statement before left to be asked for: FOUND_ROWS, ROW_COUNT, warnings, errors.
    pub(crate) const DIAGNOSES: Self = Self(1 << 10);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// What a word says by itself.
    #[inline]
    pub(super) fn of_word(word: &[u8]) -> Self {
        let word = Keyword(word);
        // Most words are told apart by their length and first letter.
        match (word.0.len(), word.0[0] | 0x20) {
            (4, b'i') if word.is("INTO") => Self::INTO,
            (8, b'g') if word.is("GET_LOCK") => Self::TAKES_LOCK,
            (17, b'r') if word.is("RELEASE_ALL_LOCKS") => Self::RELEASES_LOCKS,
            // NEXT VALUE FOR; functions are found by their parenthesis.
            (4, b'n') if word.is("NEXT") => Self::ACTS,
            (6, b'i') if word.is("INSERT") => Self::WRITES,
            (6, b'd') if word.is("DELETE") => Self::WRITES,
            (6, b'u') if word.is("UPDATE") => Self::WRITES,
            (7, b'r') if word.is("REPLACE") => Self::WRITES,
            (4, b'l') if word.is("LOCK") => Self::LOCKS,
            (6, b'e') if word.is("EXPORT") => Self::LOCKS,
            (6, b'e') if word.is("ERRORS") => Self::DIAGNOSES,
            (8, b'w') if word.is("WARNINGS") => Self::DIAGNOSES,
            (9, b'r') if word.is("ROW_COUNT") => Self::DIAGNOSES,
            (10, b'f') if word.is("FOUND_ROWS") => Self::DIAGNOSES,
            (11, b'e') if word.is("ERROR_COUNT") => Self::DIAGNOSES,
            (13, b'w') if word.is("WARNING_COUNT") => Self::DIAGNOSES,
            (5, b'w') if word.is("WRITE") => Self::ACCESS_MODE,
            (12, b't') if word.is("TX_READ_ONLY") => Self::ACCESS_MODE,
            (21, b't') if word.is("TRANSACTION_READ_ONLY") => Self::ACCESS_MODE,
            (19.., b's') if word.begins_with("SESSION_TRACK_") => Self::TRACKING,
            _ => Self::default(),
        }
    }
}
