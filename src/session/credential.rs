//! What logs a session in to a master: learnt from the client's own login, kept in memory for as
//! long as the session lives, wiped afterwards.

use zeroize::Zeroizing;

use super::plugin::{CACHING_SHA2, NATIVE};
use crate::wire::{NativeSecret, Salt, native_token, native_token_of_password, sha2_token};

/// A secret that answers a server's salt.
#[derive(Clone)]
pub(super) enum Credential {
    /// No password.
    Empty,
    /// Learnt from a token and the stored hash: good for `mysql_native_password`.
    Native(NativeSecret),
    /// The password itself: good for every plugin that asks for one.
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

impl Credential {
    /// The plugin to begin a login with: the server's own where it can be answered, which saves a
    /// round trip for most accounts. Nothing that carries a password in clear begins a login.
    pub(super) fn plugin(&self, servers_own: &str) -> &'static str {
        match self {
            Self::Native(_) | Self::Wrong => NATIVE,
            Self::Empty | Self::Password(_) if servers_own == CACHING_SHA2 => CACHING_SHA2,
            Self::Empty | Self::Password(_) => NATIVE,
        }
    }

    /// The password, where it is known; none is one as well.
    pub(super) fn password(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => Some(&[]),
            Self::Password(password) => Some(password),
            Self::Native(_) | Self::Wrong => None,
        }
    }

    /// The same bytes for the same password, however it was learnt; `None` where that cannot be said.
    pub(super) fn proof(&self, salt: &Salt) -> Option<Vec<u8>> {
        match self {
            Self::Wrong => None,
            known => Some(known.native_token(salt)),
        }
    }

    /// The answer of `mysql_native_password` to `salt`; a wrong one from a secret that knows none.
    pub(super) fn native_token(&self, salt: &Salt) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Native(secret) => native_token(secret, salt).to_vec(),
            Self::Password(password) => native_token_of_password(password, salt).to_vec(),
            // Right for no password at all.
            Self::Wrong => vec![b'?'; 20],
        }
    }

    /// The first answer of `caching_sha2_password` to `salt`; a wrong one from a secret that knows
    /// none.
    pub(super) fn sha2_token(&self, salt: &Salt) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Password(password) => sha2_token(password, salt).to_vec(),
            Self::Native(_) | Self::Wrong => vec![b'?'; 32],
        }
    }
}
