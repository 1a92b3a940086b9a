//! What logs a session in to a master: learnt from the client's own login, kept in memory for as
//! long as the session lives, wiped afterwards.

use zeroize::Zeroizing;

use crate::wire::{NativeSecret, Salt, native_token, native_token_of_password, sha2_token};

/// A secret that answers a server's salt.
#[derive(Clone)]
pub(super) enum Credential {
    /// No password.
    Empty,
    /// Learnt from a token and the stored hash: good for `mysql_native_password`.
    Native(NativeSecret),
    /// The password itself: good for every plugin.
    Password(Zeroizing<Vec<u8>>),
    /// A token that matches nothing known: the master shall refuse it in its own words.
    Wrong,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Native(_) => "Native(***)",
            Self::Password(_) => "Password(***)",
            Self::Wrong => "Wrong",
        })
    }
}

/// The plugins that Tandem can answer.
pub(super) const NATIVE: &str = "mysql_native_password";
pub(super) const CACHING_SHA2: &str = "caching_sha2_password";

impl Credential {
    /// The plugin to begin a login with.
    pub(super) fn plugin(&self, servers_own: &str) -> &'static str {
        match self {
            Self::Native(_) | Self::Wrong => NATIVE,
            Self::Empty | Self::Password(_) if servers_own == CACHING_SHA2 => CACHING_SHA2,
            Self::Empty | Self::Password(_) => NATIVE,
        }
    }

    /// The same bytes for the same password, however it was learnt; `None` where that cannot be said.
    pub(super) fn proof(&self, salt: &Salt) -> Option<Vec<u8>> {
        match self {
            Self::Wrong => None,
            known => known.token(NATIVE, salt),
        }
    }

    /// The answer of `plugin` to `salt`; `None` when the secret is of no use to that plugin.
    pub(super) fn token(&self, plugin: &str, salt: &Salt) -> Option<Vec<u8>> {
        match (self, plugin) {
            (Self::Empty, NATIVE | CACHING_SHA2) => Some(Vec::new()),
            (Self::Native(secret), NATIVE) => Some(native_token(secret, salt).to_vec()),
            (Self::Password(password), NATIVE) => {
                Some(native_token_of_password(password, salt).to_vec())
            }
            (Self::Password(password), CACHING_SHA2) => Some(sha2_token(password, salt).to_vec()),
            // Right for no password at all.
            (Self::Wrong, NATIVE) => Some(vec![b'?'; 20]),
            (Self::Wrong, CACHING_SHA2) => Some(vec![b'?'; 32]),
            _ => None,
        }
    }
}
