//! Reads the masters' accounts: who authenticates how.
//!
//! Tandem judges no login; it needs the stored hash of `mysql_native_password` accounts to turn a
//! client's token into one for the master (`protocol.md` 1.1), and the plugin's name to ask the
//! client for the right thing. The table is read again every ten seconds, when another master
//! becomes active, and when a login meets a user that is not in it: then at most once a second, so
//! that a flood of wrong names costs the master nothing.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::columns::Columns;
use super::connection::{Connection, ConnectionError, Dialer};
use crate::routing::RoutingTable;
use crate::topology::grants::Privilege;
use crate::topology::{Account, AccountPlugin, Accounts, Dialect, Flavor, ServerId};

const INTERVAL: Duration = Duration::from_secs(10);
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Keeps the accounts of the active master, or of another one while nobody is active, published.
pub struct AccountReader {
    dialer: Dialer,
    routes: watch::Receiver<Arc<RoutingTable>>,
    requested: Arc<Notify>,
    accounts: watch::Sender<Arc<Accounts>>,
    connection: Option<(ServerId, Connection)>,
}

impl AccountReader {
    /// A reader, and where its result is to be had. Notify `requested` to have the accounts read
    /// again.
    #[must_use]
    pub fn new(
        dialer: Dialer,
        routes: watch::Receiver<Arc<RoutingTable>>,
        requested: Arc<Notify>,
    ) -> (Self, watch::Receiver<Arc<Accounts>>) {
        let (accounts, published) = watch::channel(Arc::new(Accounts::default()));
        (Self { dialer, routes, requested, accounts, connection: None }, published)
    }

    /// Reads until nobody wants to know any more.
    pub async fn run(mut self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut active = self.routes.borrow_and_update().active();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.requested.notified() => {}
                changed = self.routes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now_active = self.routes.borrow_and_update().active();
                    if now_active.is_none() || now_active == active {
                        continue;
                    }
                    active = now_active;
                }
                () = self.accounts.closed() => return,
            }
            let began = Instant::now();
            self.refresh().await;
            sleep_until(began + AT_MOST_EVERY).await;
        }
    }

    async fn refresh(&mut self) {
        let routes = self.routes.borrow().clone();
        let active = routes.active();
        let others = routes.servers.masters().map(|server| server.id);
        for server in active.into_iter().chain(others.filter(|&id| Some(id) != active)) {
            match timeout(READ_WITHIN, self.read(&routes, server)).await {
                Ok(Ok(accounts)) => return self.publish(accounts),
                Ok(Err(Failure::Denied(why))) => {
                    let mut accounts = Accounts::clone(&self.accounts.borrow());
                    accounts.unreadable = Some(why);
                    return self.publish(accounts);
                }
                // The next master may tell; if none does, what was read last still holds.
                Ok(Err(Failure::Other(error))) => {
                    debug!(server = routes.servers.name(server), %error, "accounts not read");
                }
                Err(_) => debug!(server = routes.servers.name(server), "accounts not read in time"),
            }
        }
    }

    fn publish(&self, accounts: Accounts) {
        self.accounts.send_if_modified(|published| {
            if **published == accounts {
                return false;
            }
            match &accounts.unreadable {
                Some(why) => warn!("the accounts of the masters cannot be read: {why}"),
                None => info!("the accounts of the masters were read"),
            }
            *published = Arc::new(accounts);
            true
        });
    }

    async fn read(&mut self, routes: &RoutingTable, server: ServerId) -> Result<Accounts, Failure> {
        if let Some((of, mut connection)) = self.connection.take()
            && of == server
            && let Ok(accounts) = read_accounts(&mut connection).await
        {
            self.connection = Some((server, connection));
            return Ok(accounts);
        }
        let address = &routes.servers.get(server).address;
        let mut connection = self.dialer.connect(address, READ_WITHIN).await?;
        let accounts = read_accounts(&mut connection).await?;
        self.connection = Some((server, connection));
        Ok(accounts)
    }
}

enum Failure {
    /// The account lacks the privilege: the server's words and the GRANT.
    Denied(String),
    Other(ConnectionError),
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Self::Other(error)
    }
}

/// Where the accounts are kept, which is a matter of version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    /// MariaDB 10.4 and above: JSON in `mysql.global_priv`; `mysql.user` is a view that shows one
    /// of several ways to authenticate.
    GlobalPriv,
    /// Older MariaDB: `mysql.user`, the hash in `Password` unless a plugin is named.
    OldMariaDbUser,
    /// MySQL.
    User,
}

impl Store {
    fn of(dialect: Dialect) -> Self {
        match dialect.flavor {
            Flavor::MySql => Self::User,
            Flavor::MariaDb if dialect.version >= (10, 4, 0) => Self::GlobalPriv,
            Flavor::MariaDb => Self::OldMariaDbUser,
        }
    }

    /// Hashes of other plugins are left where they are.
    fn question(self) -> &'static str {
        match self {
            Self::GlobalPriv => "SELECT User, Host, Priv FROM mysql.global_priv",
            Self::OldMariaDbUser => {
                "SELECT User, Host, IF(plugin = '', 'mysql_native_password', plugin) AS plugin, \
                 IF(Password = '', authentication_string, Password) AS hash FROM mysql.user"
            }
            Self::User => {
                "SELECT User, Host, plugin, \
                 IF(plugin = 'mysql_native_password', authentication_string, '') AS hash \
                 FROM mysql.user"
            }
        }
    }

    fn read(self, row: Columns<'_>) -> Result<Vec<AccountPlugin>, ConnectionError> {
        if self == Self::GlobalPriv {
            return Ok(read_priv(&row.text(&["Priv"])?));
        }
        let plugin = row.text_or_empty(&["plugin"]);
        Ok(vec![plugin_of(&plugin, &row.text_or_empty(&["hash"]))])
    }
}

async fn read_accounts(connection: &mut Connection) -> Result<Accounts, Failure> {
    let store = Store::of(connection.dialect());
    let sets = match connection.ask(store.question()).await?.all() {
        Ok(sets) => sets,
        Err(ConnectionError::Server { code: 1142 | 1143 | 1044, message }) => {
            let grant = connection.grant(Privilege::Accounts);
            return Err(Failure::Denied(format!("{message}; mend it with: {grant}")));
        }
        Err(error) => return Err(error.into()),
    };
    let mut rows = Vec::new();
    for row in sets.iter().flatten().map(Columns) {
        let (user, host) = (row.text_or_empty(&["User"]), row.text_or_empty(&["Host"]));
        for plugin in store.read(row)? {
            rows.push((user.clone(), Account { host: host.clone(), plugin }));
        }
    }
    Ok(Accounts::new(rows))
}

/// `mysql.global_priv.Priv`, as far as it is about authentication.
#[derive(Deserialize)]
struct GlobalPriv {
    #[serde(flatten)]
    own: Authentication,
    /// Alternatives; an empty object stands for the outer pair.
    #[serde(default)]
    auth_or: Vec<Authentication>,
    #[serde(default)]
    is_role: bool,
}

#[derive(Deserialize)]
struct Authentication {
    plugin: Option<String>,
    #[serde(default)]
    authentication_string: String,
}

fn read_priv(json: &str) -> Vec<AccountPlugin> {
    // What MariaDB itself cannot read is no account that anybody can use.
    let Ok(GlobalPriv { own, auth_or, is_role }) = serde_json::from_str(json) else {
        return Vec::new();
    };
    if is_role {
        return Vec::new();
    }
    let of = |authentication: &Authentication| {
        let plugin = authentication.plugin.as_deref().unwrap_or("mysql_native_password");
        plugin_of(plugin, &authentication.authentication_string)
    };
    if auth_or.is_empty() {
        return vec![of(&own)];
    }
    auth_or
        .iter()
        .map(|choice| if choice.plugin.is_some() { of(choice) } else { of(&own) })
        .collect()
}

fn plugin_of(plugin: &str, hash: &str) -> AccountPlugin {
    match plugin {
        "mysql_native_password" | "" => match native_hash(hash) {
            Ok(hash) => AccountPlugin::Native(hash),
            // `invalid`, and the like: nobody logs in with it.
            Err(()) => AccountPlugin::Other("mysql_native_password".to_owned()),
        },
        "caching_sha2_password" => AccountPlugin::CachingSha2,
        other => AccountPlugin::Other(other.to_owned()),
    }
}

/// `*` and forty hexadecimal digits, or nothing for an empty password.
fn native_hash(text: &str) -> Result<Option<[u8; 20]>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix('*').ok_or(())?.as_bytes();
    let mut hash = [0; 20];
    if digits.len() != 2 * hash.len() {
        return Err(());
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(());
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).map_err(|_| ())?;
    }
    Ok(Some(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::columns::tests::row;

    const HASH: &str = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19";

    fn stage2() -> [u8; 20] {
        native_hash(HASH).expect("a hash").expect("of a password")
    }

    #[test]
    fn a_hash_is_forty_digits_after_a_star() {
        assert_eq!(stage2()[..3], [0x24, 0x70, 0xc0]);
        assert_eq!(native_hash(&HASH.to_lowercase()), Ok(Some(stage2())));
        assert_eq!(native_hash(""), Ok(None));
        for bad in ["invalid", "*", "*2470", &HASH[1..], &HASH.replace('C', "x")] {
            assert_eq!(native_hash(bad), Err(()), "{bad}");
        }
    }

    #[test]
    fn mariadb_alternatives_are_rows_of_their_own() {
        let one = format!(
            r#"{{"access":0,"plugin":"mysql_native_password","authentication_string":"{HASH}"}}"#
        );
        assert_eq!(read_priv(&one), [AccountPlugin::Native(Some(stage2()))]);
        let root = r#"{"plugin":"mysql_native_password","authentication_string":"invalid",
            "auth_or":[{},{"plugin":"unix_socket"}]}"#;
        assert_eq!(
            read_priv(root),
            [
                AccountPlugin::Other("mysql_native_password".to_owned()),
                AccountPlugin::Other("unix_socket".to_owned())
            ]
        );
        let two = format!(
            r#"{{"plugin":"ed25519","authentication_string":"x","auth_or":[
                {{"plugin":"mysql_native_password","authentication_string":"{HASH}"}},{{}}]}}"#
        );
        assert_eq!(
            read_priv(&two),
            [AccountPlugin::Native(Some(stage2())), AccountPlugin::Other("ed25519".to_owned())]
        );
    }

    #[test]
    fn roles_are_no_accounts_and_no_password_is_one() {
        assert_eq!(read_priv(r#"{"access":0,"is_role":true}"#), []);
        assert_eq!(read_priv(r#"{"access":1}"#), [AccountPlugin::Native(None)]);
        assert_eq!(read_priv("not json"), []);
    }

    #[test]
    fn mysql_has_one_plugin_each() {
        let sha2 = row(&[("plugin", Some("caching_sha2_password")), ("hash", Some(""))]);
        assert_eq!(Store::User.read(Columns(&sha2)), Ok(vec![AccountPlugin::CachingSha2]));
        let native = row(&[("plugin", Some("mysql_native_password")), ("hash", Some(HASH))]);
        assert_eq!(
            Store::User.read(Columns(&native)),
            Ok(vec![AccountPlugin::Native(Some(stage2()))])
        );
    }
}
