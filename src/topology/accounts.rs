//! The accounts of the masters, as far as logging in on a user's behalf needs them.
//!
//! Tandem keeps no user list: the master decides who may log in. What it reads here is the stored
//! hash of `mysql_native_password` accounts, which turns a client's token into one for the master,
//! and the plugin of each account, to ask the client for the right kind of answer.

use std::collections::HashMap;
use std::fmt;

/// Which plugin an account authenticates with.
#[derive(Clone, PartialEq, Eq)]
pub enum AccountPlugin {
    /// `mysql_native_password`, with `SHA1(SHA1(password))`; `None` for an empty password.
    Native(Option<[u8; 20]>),
    /// `caching_sha2_password`.
    CachingSha2,
    /// Another one, by name.
    Other(String),
}

impl fmt::Debug for AccountPlugin {
    /// Never prints a hash: it is enough to verify guesses against.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native(_) => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Other(name) => name,
        })
    }
}

/// One row of the masters' account table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The host pattern. Tandem matches no hosts; it tries each row of the user.
    pub host: String,
    /// How it authenticates.
    pub plugin: AccountPlugin,
}

/// The accounts by user name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    by_user: HashMap<String, Vec<Account>>,
    /// Why they could not be read: the server's words and the GRANT that mends it.
    pub unreadable: Option<String>,
}

impl Accounts {
    /// Collects rows of `(user, account)`.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = (String, Account)>) -> Self {
        let mut by_user: HashMap<String, Vec<Account>> = HashMap::new();
        for (user, account) in rows {
            by_user.entry(user).or_default().push(account);
        }
        Self { by_user, unreadable: None }
    }

    /// The rows of `user`; empty when there are none.
    #[must_use]
    pub fn of(&self, user: &str) -> &[Account] {
        self.by_user.get(user).map_or(&[], Vec::as_slice)
    }
}
