//! Reads the masters' accounts: who authenticates how.
//!
//! Tandem judges no login; it needs the stored hash of `mysql_native_password` accounts to turn a
//! client's token into one for the master (`protocol.md` 1.1), and the plugin's name to ask the
//! client for the right thing. The table is read again every ten seconds, and when another master
//! becomes active. A login that fits nothing in it asks for the rows of its user alone: an account or
//! a password that was made a moment ago works at once. All such questions of ten milliseconds are
//! one statement, so that a flood of wrong names costs the master less than their logins do.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::columns::Columns;
use super::connection::{Connection, ConnectionError, Dialer};
use crate::routing::RoutingTable;
use crate::topology::grants::Privilege;
use crate::topology::{Account, AccountPlugin, Accounts, Dialect, Flavor, ServerId};

const INTERVAL: Duration = Duration::from_secs(10);
/// Between two statements for users that logins asked for, and how many users one has.
const BATCH_EVERY: Duration = Duration::from_millis(10);
const BATCH: usize = 100;
const READ_WITHIN: Duration = Duration::from_secs(5);

/// A user whose rows are wanted, and who is told when they were read.
pub(super) type Question = (String, oneshot::Sender<()>);

/// Keeps the accounts of the active master, or of another one while nobody is active, published.
pub struct AccountReader {
    dialer: Dialer,
    routes: watch::Receiver<Arc<RoutingTable>>,
    questions: mpsc::Receiver<Question>,
    accounts: watch::Sender<Arc<Accounts>>,
    connection: Option<(ServerId, Connection)>,
}

impl AccountReader {
    /// A reader, and where its result is to be had. The rows of the users that come through
    /// `questions` are read at once; a question that cannot be answered is dropped.
    #[must_use]
    pub fn new(
        dialer: Dialer,
        routes: watch::Receiver<Arc<RoutingTable>>,
        questions: mpsc::Receiver<Question>,
    ) -> (Self, watch::Receiver<Arc<Accounts>>) {
        let (accounts, published) = watch::channel(Arc::new(Accounts::default()));
        (Self { dialer, routes, questions, accounts, connection: None }, published)
    }

    /// Reads until nobody wants to know any more.
    pub async fn run(mut self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut active = self.routes.borrow_and_update().active();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                asked = self.questions.recv() => {
                    let Some(question) = asked else { return };
                    let next = Instant::now() + BATCH_EVERY;
                    self.look_up(question).await;
                    sleep_until(next).await;
                    continue;
                }
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
            self.refresh().await;
        }
    }

    async fn refresh(&mut self) {
        let read = self.read_from_any(None).await;
        let accounts = match read {
            Some(Ok(rows)) => Accounts::new(rows),
            Some(Err(why)) => {
                let mut accounts = Accounts::clone(&self.accounts.borrow());
                accounts.unreadable = Some(why);
                accounts
            }
            // No master tells: what was read last still holds.
            None => return,
        };
        if self.publish(&accounts) {
            match &accounts.unreadable {
                Some(why) => warn!("the accounts of the masters cannot be read: {why}"),
                None => info!("the accounts of the masters were read"),
            }
        }
    }

    /// Reads the rows of the user that was asked for, and of those that others have asked for by now.
    async fn look_up(&mut self, first: Question) {
        let mut questions = vec![first];
        while questions.len() < BATCH
            && let Ok(question) = self.questions.try_recv()
        {
            questions.push(question);
        }
        let mut users: Vec<String> = questions.iter().map(|(user, _)| user.clone()).collect();
        users.push(String::new()); // stands for everybody who has no account
        users.sort_unstable();
        users.dedup();
        let Some(Ok(rows)) = self.read_from_any(Some(&users)).await else { return };
        let accounts = self.accounts.borrow().with(&users, rows);
        if self.publish(&accounts) {
            debug!(?users, "accounts that logins asked for were read");
        }
        for (_, done) in questions {
            let _ = done.send(()); // who gave up waiting need not know
        }
    }

    /// The rows of `users`, or of all, of the active master or the first other one that tells. The
    /// inner error: the privilege is lacking.
    async fn read_from_any(&mut self, users: Option<&[String]>) -> Option<Result<Rows, String>> {
        let routes = self.routes.borrow().clone();
        let active = routes.active();
        let others = routes.servers.masters().map(|server| server.id);
        for server in active.into_iter().chain(others.filter(|&id| Some(id) != active)) {
            match timeout(READ_WITHIN, self.read(&routes, server, users)).await {
                Ok(Ok(rows)) => return Some(Ok(rows)),
                Ok(Err(Failure::Denied(why))) => return Some(Err(why)),
                // The next master may tell.
                Ok(Err(Failure::Other(error))) => {
                    debug!(server = routes.servers.name(server), %error, "accounts not read");
                }
                Err(_) => debug!(server = routes.servers.name(server), "accounts not read in time"),
            }
        }
        None
    }

    /// Whether they are others than before.
    fn publish(&self, accounts: &Accounts) -> bool {
        self.accounts.send_if_modified(|published| {
            let changed = **published != *accounts;
            if changed {
                *published = Arc::new(accounts.clone());
            }
            changed
        })
    }

    async fn read(
        &mut self,
        routes: &RoutingTable,
        server: ServerId,
        users: Option<&[String]>,
    ) -> Result<Rows, Failure> {
        if let Some((of, mut connection)) = self.connection.take()
            && of == server
            && let Ok(rows) = read_accounts(&mut connection, users).await
        {
            self.connection = Some((server, connection));
            return Ok(rows);
        }
        let address = &routes.servers.get(server).address;
        let mut connection = self.dialer.connect(address, READ_WITHIN).await?;
        let rows = read_accounts(&mut connection, users).await?;
        self.connection = Some((server, connection));
        Ok(rows)
    }
}

/// `(user, account)`
type Rows = Vec<(String, Account)>;

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
    /// MySQL before 8.0.14.
    OldMySqlUser,
    /// MySQL: second passwords and further factors in `User_attributes`.
    User,
}

impl Store {
    fn of(dialect: Dialect) -> Self {
        match dialect.flavor {
            Flavor::MySql if dialect.version >= (8, 0, 14) => Self::User,
            Flavor::MySql => Self::OldMySqlUser,
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
            Self::OldMySqlUser => {
                "SELECT User, Host, plugin, \
                 IF(plugin = 'mysql_native_password', authentication_string, '') AS hash \
                 FROM mysql.user"
            }
            Self::User => {
                "SELECT User, Host, plugin, \
                 IF(plugin = 'mysql_native_password', authentication_string, '') AS hash, \
                 IF(plugin = 'mysql_native_password', \
                    JSON_UNQUOTE(JSON_EXTRACT(User_attributes, '$.additional_password')), NULL) \
                 AS second, \
                 JSON_LENGTH(User_attributes, '$.multi_factor_authentication') AS factors \
                 FROM mysql.user"
            }
        }
    }

    fn read(self, row: Columns<'_>) -> Result<Vec<AccountPlugin>, ConnectionError> {
        if self == Self::GlobalPriv {
            return Ok(read_priv(&row.text(&["Priv"])?));
        }
        if row.find(&["factors"]).is_some_and(|factors| factors != "0") {
            return Ok(vec![AccountPlugin::ManyFactors]);
        }
        let plugin = row.text_or_empty(&["plugin"]);
        let mut ways = vec![plugin_of(&plugin, &row.text_or_empty(&["hash"]))];
        // The password that RETAIN CURRENT PASSWORD kept.
        ways.extend(row.find(&["second"]).map(|hash| plugin_of(&plugin, &hash)));
        Ok(ways)
    }
}

async fn read_accounts(
    connection: &mut Connection,
    users: Option<&[String]>,
) -> Result<Rows, Failure> {
    let store = Store::of(connection.dialect());
    let mut question = store.question().to_owned();
    if let Some(users) = users {
        question.push_str(&of_users(users));
    }
    let sets = match connection.ask(&question).await?.all() {
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
    Ok(rows)
}

/// The names came from clients: they are sent in a form that holds no quote.
fn of_users(users: &[String]) -> String {
    let literal = |user: &String| {
        user.bytes().fold(String::from("X'"), |text, byte| format!("{text}{byte:02X}")) + "'"
    };
    let literals: Vec<String> = users.iter().map(literal).collect();
    format!(" WHERE User IN ({})", literals.join(", "))
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
    fn no_name_ends_the_statement() {
        let users = ["a'b".to_owned(), String::new(), "ä".to_owned()];
        assert_eq!(of_users(&users), " WHERE User IN (X'612762', X'', X'C3A4')");
    }

    #[test]
    fn mysql_has_second_passwords_and_further_factors() {
        let other = HASH.replace('2', "3");
        let two = row(&[
            ("plugin", Some("mysql_native_password")),
            ("hash", Some(HASH)),
            ("second", Some(&other)),
            ("factors", None),
        ]);
        let ways = Store::User.read(Columns(&two)).expect("readable");
        assert!(
            matches!(ways[..], [AccountPlugin::Native(Some(a)), AccountPlugin::Native(Some(b))]
            if a == stage2() && a != b)
        );
        let factors = row(&[("plugin", Some("caching_sha2_password")), ("factors", Some("1"))]);
        assert_eq!(Store::User.read(Columns(&factors)), Ok(vec![AccountPlugin::ManyFactors]));
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
