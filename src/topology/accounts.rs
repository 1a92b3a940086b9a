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
    /// Several factors, one after the other (MySQL 8.0.27 and above).
    ManyFactors,
    /// Another one, by name.
    Other(String),
}

impl fmt::Debug for AccountPlugin {
    /// Never prints a hash: it is enough to verify guesses against.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native(_) => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::ManyFactors => "several factors",
            Self::Other(name) => name,
        })
    }
}

/// One way into a row of the masters' account table: a row with alternatives is several of these,
/// with the same host, one behind the other.
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

    /// These accounts, with the rows of `users` replaced by `rows`.
    #[must_use]
    pub fn with(
        &self,
        users: &[String],
        rows: impl IntoIterator<Item = (String, Account)>,
    ) -> Self {
        let mut by_user = self.by_user.clone();
        for user in users {
            by_user.remove(user);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_some_users_are_replaced_whole() {
        let row = |host: &str, plugin| Account { host: host.into(), plugin };
        let before = Accounts::new([
            ("ann".into(), row("%", AccountPlugin::CachingSha2)),
            ("ann".into(), row("10.%", AccountPlugin::CachingSha2)),
            ("bob".into(), row("%", AccountPlugin::Native(None))),
        ]);
        let ann = ("ann".into(), row("%", AccountPlugin::Other("ed25519".into())));
        let after = before.with(&["ann".into(), "eve".into()], [ann.clone()]);
        assert_eq!(after.of("ann"), [ann.1]);
        assert_eq!(after.of("bob"), before.of("bob"));
        assert_eq!(after.of("eve"), []);
        assert_eq!(after.with(&["ann".into()], []).of("ann"), []);
    }
}
