//! The authentication plugins, and what a proxy can do with each.
//!
//! A proxy that ends the client's login and begins one of its own needs something from the client
//! that answers *another* server's random bytes. Three kinds of accounts follow from that: those of
//! `mysql_native_password`, where a token and the stored hash reveal what the master wants; those
//! that a password logs in to, however the master has it proved; and those that prove something
//! which ends with the connection: a process's user, a ticket, a key in somebody's pocket.

use crate::topology::{Account, AccountPlugin};

/// A plugin that Tandem can answer to a master, by the client's half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugin {
    /// `mysql_native_password`
    Native,
    /// `caching_sha2_password`
    CachingSha2,
    /// `sha256_password`
    Sha256,
    /// `mysql_clear_password`: PAM and LDAP of MySQL, PAM of MariaDB when told so.
    Clear,
    /// `dialog`: PAM of MariaDB asks questions; the first one is for the password.
    Dialog,
    /// `client_ed25519`: MariaDB's `ed25519` accounts.
    Ed25519,
    /// `parsec`, of MariaDB 11.6 and above.
    Parsec,
}

pub(super) const NATIVE: &str = "mysql_native_password";
pub(super) const CACHING_SHA2: &str = "caching_sha2_password";
pub(super) const SHA256: &str = "sha256_password";
pub(super) const CLEAR: &str = "mysql_clear_password";

impl Plugin {
    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            NATIVE => Self::Native,
            CACHING_SHA2 => Self::CachingSha2,
            SHA256 => Self::Sha256,
            CLEAR => Self::Clear,
            "dialog" => Self::Dialog,
            "client_ed25519" => Self::Ed25519,
            "parsec" => Self::Parsec,
            _ => return None,
        })
    }
}

/// What has to be learnt from a client for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A token of `mysql_native_password` will do.
    Token,
    /// A token will do for some rows of the user, others need the password; which row it is depends
    /// on the host, which is the master's business.
    Either,
    /// The password itself.
    Password,
    /// Nothing that a client could send. Why, and what to do.
    Impossible(String),
}

/// What has to be learnt for a user with these rows; there is at least one.
pub(super) fn wanted(accounts: &[Account]) -> Wanted {
    let (mut token, mut password, mut impossible) = (false, false, None);
    // The alternatives of a row stand one behind the other: any of them lets the user in.
    for row in accounts.chunk_by(|one, other| one.host == other.host) {
        if row.iter().any(|way| matches!(way.plugin, AccountPlugin::Native(_))) {
            token = true;
            continue;
        }
        match row.iter().map(|way| obstacle(&way.plugin)).collect::<Option<Vec<_>>>() {
            Some(obstacles) => impossible = impossible.or_else(|| obstacles.into_iter().next()),
            None => password = true,
        }
    }
    match (token, password, impossible) {
        (true, false, _) => Wanted::Token,
        (true, true, _) => Wanted::Either,
        (false, false, Some(reason)) => Wanted::Impossible(reason),
        (false, ..) => Wanted::Password,
    }
}

/// Why nobody logs in through a proxy with this plugin, and what to do; `None` where a password may
/// do.
fn obstacle(plugin: &AccountPlugin) -> Option<String> {
    let name = match plugin {
        AccountPlugin::Native(_) | AccountPlugin::CachingSha2 => return None,
        AccountPlugin::ManyFactors => {
            return Some(format!(
                "its account asks for several factors, and a proxy could not give them again after \
                 a failover; {ADVICE}"
            ));
        }
        AccountPlugin::Other(name) => name.as_str(),
    };
    let why = match name {
        "unix_socket" | "auth_socket" => {
            "which believes the operating system's word on the process that connects, and for the \
             master that is the proxy"
        }
        "gssapi" | "authentication_kerberos" | "authentication_windows" | "named_pipe" => {
            "whose ticket is made for one connection to the master, and a proxy cannot pass it on"
        }
        "authentication_ldap_sasl" => {
            "whose answer is made for one connection to the master, and a proxy cannot pass it on \
             (authentication_ldap_simple works)"
        }
        "authentication_webauthn" | "authentication_fido" => {
            "which needs a device for every login, and a proxy could not log in again after a \
             failover"
        }
        "authentication_openid_connect" => {
            "whose token runs out, and a proxy could not log in again after a failover"
        }
        "mysql_old_password" => "which is of a time before MySQL 4.1 and safe nowhere",
        "mysql_no_login" => "which lets nobody in",
        NATIVE => "and what is stored as its hash fits no password",
        _ => return None,
    };
    Some(format!("its account authenticates with {name}, {why}; {ADVICE}"))
}

/// What to do about an account that cannot work.
pub(super) const ADVICE: &str = "give the application an account with a password \
     (mysql_native_password, caching_sha2_password, sha256_password, ed25519, parsec, pam)";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(host: &str, plugin: AccountPlugin) -> Account {
        Account { host: host.into(), plugin }
    }

    fn other(name: &str) -> AccountPlugin {
        AccountPlugin::Other(name.into())
    }

    #[test]
    fn a_token_is_enough_where_each_row_takes_one() {
        let native = || AccountPlugin::Native(Some([1; 20]));
        assert_eq!(wanted(&[row("%", native()), row("10.%", native())]), Wanted::Token);
        let alternatives = [row("%", other("unix_socket")), row("%", native())];
        assert_eq!(wanted(&alternatives), Wanted::Token);
        let hosts = [row("localhost", other("unix_socket")), row("%", native())];
        assert_eq!(wanted(&hosts), Wanted::Token);
        let mixed = [row("%", AccountPlugin::CachingSha2), row("10.%", native())];
        assert_eq!(wanted(&mixed), Wanted::Either);
    }

    #[test]
    fn a_password_does_for_what_is_not_known_to_refuse_it() {
        for plugin in ["sha256_password", "ed25519", "parsec", "pam", "somebodys_own"] {
            assert_eq!(wanted(&[row("%", other(plugin))]), Wanted::Password, "{plugin}");
        }
        let one_way = [row("%", other("gssapi")), row("%", other("ed25519"))];
        assert_eq!(wanted(&one_way), Wanted::Password);
    }

    #[test]
    fn what_cannot_work_says_why_and_what_to_do() {
        for plugin in ["unix_socket", "auth_socket", "gssapi", "authentication_webauthn", NATIVE] {
            let Wanted::Impossible(reason) = wanted(&[row("%", other(plugin))]) else {
                panic!("{plugin} is thought to work");
            };
            assert!(reason.contains(plugin) && reason.contains(ADVICE), "{reason}");
        }
        let factors = wanted(&[row("%", AccountPlugin::ManyFactors)]);
        assert!(matches!(factors, Wanted::Impossible(_)));
    }
}
