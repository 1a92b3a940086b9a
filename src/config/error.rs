//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Place;
use crate::topology::ServerAddress;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where it stops being TOML.
        place: Place,
        /// What the parser says.
        reason: String,
    },
    /// There is no such key.
    #[error("{place}: unknown key `{key}`{}", nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?")))]
    UnknownKey {
        /// Where.
        place: Place,
        /// What was written.
        key: String,
        /// The known key that is most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type, or one that makes no sense.
    #[error("{place}: `{key}` must be {expected}, not {found}")]
    BadValue {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What would be right.
        expected: String,
        /// What was written.
        found: String,
    },
    /// A key that has no default is not there.
    #[error("{place}: `{key}` is missing")]
    Missing {
        /// What it is missing from.
        place: Place,
        /// The key.
        key: String,
    },
    /// A secret was given as itself and as a file.
    #[error("{first}: `{key}` and `{key}_file` ({second}) are both given; keep one of them")]
    SecretTwice {
        /// Where the secret is.
        first: Place,
        /// Where the file is named.
        second: Place,
        /// The key without `_file`.
        key: String,
    },
    /// The file of a secret cannot be read.
    #[error("{place}: `{key}`: {}: {reason}", path.display())]
    SecretUnreadable {
        /// Where the file is named.
        place: Place,
        /// The key, with `_file`.
        key: String,
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// No master at all.
    #[error(
        "no masters: name the two servers of the pair as [[masters]] in {file}, or in \
         TANDEM_MASTERS{}",
        if *exists { "" } else { " (there is no such file here)" }
    )]
    NoMasters {
        /// The file that was looked for.
        file: PathBuf,
        /// Whether it is there.
        exists: bool,
    },
    /// One master is no pair.
    #[error(
        "{place}: there is only one master, `{name}`; Tandem needs a pair: add the second one as \
         another [[masters]]"
    )]
    OneMaster {
        /// Where it is.
        place: Place,
        /// Its name.
        name: String,
    },
    /// Two servers of one name.
    #[error("{place}: the name `{name}` is taken already ({first})")]
    NameTwice {
        /// The later one.
        place: Place,
        /// The earlier one.
        first: Place,
        /// The name.
        name: String,
    },
    /// One address in two places. Two masters would be one; a listener on a master's address would
    /// talk to itself.
    #[error("{place}: `{key}` has the address {address} of `{other}` ({first})")]
    AddressTwice {
        /// The later one.
        place: Place,
        /// The earlier one.
        first: Place,
        /// The later key.
        key: String,
        /// The earlier key.
        other: String,
        /// The address.
        address: Box<ServerAddress>,
    },
    /// A key that means nothing without another.
    #[error("{place}: `{key}` needs `{needs}` as well")]
    Needs {
        /// Where it is.
        place: Place,
        /// The key.
        key: String,
        /// The other one.
        needs: String,
    },
    /// Statements would give up before the switchover that they wait for.
    #[error(
        "{place}: `failover.hold` ({}) must be longer than `switchover.drain` ({}): while a \
         switchover waits that long for open transactions, all other statements wait, and would \
         fail before it ends",
        humantime::format_duration(*hold),
        humantime::format_duration(*drain)
    )]
    HoldTooShort {
        /// Where the one of the two is that was written.
        place: Place,
        /// `failover.hold`
        hold: Duration,
        /// `switchover.drain`
        drain: Duration,
    },
    /// The console could be used by strangers.
    #[error(
        "{place}: `{key}` is {address}, which others can reach: set `admin.password` or \
         `admin.password_file`"
    )]
    PasswordRequired {
        /// Where the address is.
        place: Place,
        /// Its key.
        key: String,
        /// The address.
        address: ServerAddress,
    },
}

/// Every mistake that was found; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl ConfigError {
    /// Where the mistake is; what concerns the whole comes first.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Unreadable { .. } | Self::NoMasters { .. } => Place::Default,
            Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::BadValue { place, .. }
            | Self::Missing { place, .. }
            | Self::SecretUnreadable { place, .. }
            | Self::OneMaster { place, .. }
            | Self::NameTwice { place, .. }
            | Self::AddressTwice { place, .. }
            | Self::Needs { place, .. }
            | Self::HoldTooShort { place, .. }
            | Self::PasswordRequired { place, .. }
            | Self::SecretTwice { first: place, .. } => place.clone(),
        }
    }
}
