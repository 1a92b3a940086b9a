//! GTID sets of both families.

use std::fmt;

use super::Flavor;

/// A set of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet(String);

/// Why a text is not a GTID set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a GTID set")]
pub struct GtidError(pub String);

impl GtidSet {
    /// Reads the server's text.
    ///
    /// # Errors
    /// When the text does not have the family's form.
    pub fn parse(_flavor: Flavor, text: &str) -> Result<Self, GtidError> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
