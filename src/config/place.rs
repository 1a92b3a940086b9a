//! Where a value was written down.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What set a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nobody: the default holds.
    Default,
    /// A line of the file, counted from 1.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// What set each key, by its path (`monitor.interval`, `masters[0].name`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, Place>);

impl Origins {
    /// What set `key`.
    #[must_use]
    pub fn of(&self, key: &str) -> &Place {
        self.0.get(key).unwrap_or(&Place::Default)
    }

    pub(super) fn insert(&mut self, key: &str, place: Place) {
        self.0.insert(key.to_owned(), place);
    }
}
