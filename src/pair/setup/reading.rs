//! Reads one server: everything that the plan must know of it. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::data;
use super::planner::REPLICATION;
use super::request::Request;
use super::state::{Data, MonitorAccount, ReplicationAccount, State};
use super::survey::Access;
use crate::config::{Credentials, Secret};
use crate::monitor::{Columns, Connection, ConnectionError, missing_privileges};
use crate::pair::dialect::quoted;
use crate::pair::facts::{Facts, Wanted};
use crate::topology::grants::Privilege;
use crate::topology::{Flavor, GtidSet, ServerAddress};

/// For a host name to be resolved.
const RESOLVE: Duration = Duration::from_secs(3);

/// Schemas that are nobody's data.
const OWN_SCHEMAS: &str = "'mysql', 'information_schema', 'performance_schema', 'sys', 'ndbinfo', 'tandem', '#mysql50#lost+found'";

/// What an administrator must be allowed everywhere, by the names of `information_schema`.
const NEEDED: [&str; 8] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "CREATE",
    "CREATE USER",
    "PROCESS",
    "RELOAD",
    "REPLICATION SLAVE",
];
const NEEDED_OF_MARIADB: [&str; 6] = [
    "SUPER",
    "BINLOG ADMIN",
    "CONNECTION ADMIN",
    "READ_ONLY ADMIN",
    "REPLICATION SLAVE ADMIN",
    "REPLICATION MASTER ADMIN",
];
const NEEDED_OF_MYSQL: [&str; 5] = [
    "REPLICATION CLIENT",
    "SYSTEM_VARIABLES_ADMIN",
    "PERSIST_RO_VARIABLES_ADMIN",
    "CONNECTION_ADMIN",
    "REPLICATION_SLAVE_ADMIN",
];

/// One server, being read.
pub(super) struct Reading<'a> {
    pub(super) access: &'a Access,
    /// Its place.
    pub(super) place: usize,
    pub(super) request: &'a Request,
    /// Whether some server may have the password of the replication account.
    pub(super) try_password: bool,
    /// Of each server's host.
    pub(super) addresses: &'a [BTreeSet<IpAddr>],
}

impl Reading<'_> {
    pub(super) async fn state(
        &self,
        connection: &mut Connection,
    ) -> Result<State, ConnectionError> {
        let server = &self.access.servers[self.place];
        let facts = Facts::read(connection, server, Wanted::BASE).await?;
        let flavor = facts.flavor();
        let mut sources = Vec::new();
        for following in facts.channels.as_deref().unwrap_or_default() {
            let channel = following.channel();
            sources.push(self.source(&channel.source_host, channel.source_port).await);
        }
        let lacks = lacks(connection).await?;
        let (has_schema, term) = terms(connection).await?;
        let mut data = data_of(connection).await?;
        if term.is_some() {
            data.0.insert("tandem".to_owned(), BTreeSet::from(["term".to_owned()]));
        }
        let positions = match flavor {
            Flavor::MariaDb => texts(
                connection,
                "SELECT @@GLOBAL.gtid_slave_pos AS text UNION ALL SELECT @@GLOBAL.gtid_binlog_pos",
            )
            .await?,
            Flavor::MySql => Vec::new(),
        };
        let plugins = "SELECT PLUGIN_NAME AS text FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'";
        let dumps = "SELECT COUNT(*) AS text FROM information_schema.PROCESSLIST \
                     WHERE COMMAND LIKE 'Binlog Dump%'";
        let position = |place: usize| positions.get(place).cloned().unwrap_or_default();
        Ok(State {
            sources,
            data,
            lacks,
            monitor: self.monitor(connection).await?,
            replication: self.replication(connection, &facts).await?,
            has_schema,
            term,
            events: events(connection).await?,
            plugins: texts(connection, plugins).await?.into_iter().collect(),
            slave_position: GtidSet::parse(flavor, &position(0)).unwrap_or_default(),
            log_position: position(1),
            followers: first(texts(connection, dumps).await?),
            facts,
        })
    }

    /// The configured server at this address.
    async fn source(&self, host: &str, port: u16) -> Option<usize> {
        let there = addresses(host).await;
        self.access.servers.iter().zip(self.addresses).position(|(server, own)| {
            match &server.address {
                ServerAddress::Tcp { host: own_host, port: own_port } => {
                    *own_port == port
                        && (own_host.eq_ignore_ascii_case(host) || !own.is_disjoint(&there))
                }
                ServerAddress::Unix(_) => false,
            }
        })
    }

    async fn monitor(
        &self,
        connection: &mut Connection,
    ) -> Result<MonitorAccount, ConnectionError> {
        let user = quoted(&self.request.monitor.user);
        let question = format!("SELECT COUNT(*) AS text FROM mysql.user WHERE User = {user}");
        if first(texts(connection, &question).await?) == 0 {
            return Ok(MonitorAccount::Refused);
        }
        let server = &self.access.servers[self.place];
        match self.access.log_in(server, &self.request.monitor).await {
            Ok(mut connection) => {
                let missing = missing_privileges(&mut connection).await?;
                Ok(MonitorAccount::LogsIn(missing.into_iter().map(|(_, grant)| grant).collect()))
            }
            Err(ConnectionError::Server { code, .. }) if is_denial(code) => {
                Ok(MonitorAccount::Refused)
            }
            Err(error) => Err(error),
        }
    }

    async fn replication(
        &self,
        connection: &mut Connection,
        facts: &Facts,
    ) -> Result<ReplicationAccount, ConnectionError> {
        let in_use = facts.channels.as_deref().unwrap_or_default().iter();
        let user = self.request.replication_user.clone();
        let user = user
            .or_else(|| {
                in_use.map(|channel| channel.user().to_owned()).find(|user| !user.is_empty())
            })
            .unwrap_or_else(|| REPLICATION.to_owned());
        let question = format!(
            "SELECT COUNT(*) AS text FROM mysql.user WHERE User = {} AND Repl_slave_priv = 'Y'",
            quoted(&user)
        );
        let exists = first(texts(connection, &question).await?) > 0;
        if !self.try_password || !exists {
            return Ok(ReplicationAccount { exists, fits: None });
        }
        let password: Secret = self.request.replication_password.clone();
        let login = Credentials { user, password };
        let fits = match self.access.log_in(&self.access.servers[self.place], &login).await {
            Ok(_) => true,
            Err(ConnectionError::Server { code, .. }) if is_denial(code) => false,
            Err(error) => return Err(error),
        };
        Ok(ReplicationAccount { exists, fits: Some(fits) })
    }
}

/// A login that is refused because of the account: `ER_ACCESS_DENIED_ERROR`,
/// `ER_ACCESS_DENIED_NO_PASSWORD_ERROR`, `ER_HOST_NOT_PRIVILEGED`, `ER_MUST_CHANGE_PASSWORD`,
/// `ER_MUST_CHANGE_PASSWORD_LOGIN`, `ER_ACCOUNT_HAS_BEEN_LOCKED` of either family.
fn is_denial(code: u16) -> bool {
    matches!(code, 1045 | 1698 | 1130 | 1820 | 1862 | 3118 | 4151)
}

/// The column `text` of all rows.
async fn texts(
    connection: &mut Connection,
    question: &str,
) -> Result<Vec<String>, ConnectionError> {
    let sets = connection.ask(question).await?.all()?;
    Ok(sets.iter().flatten().map(|row| Columns(row).text_or_empty(&["text"])).collect())
}

fn first(texts: Vec<String>) -> u64 {
    texts.first().and_then(|text| text.parse().ok()).unwrap_or(0)
}

async fn data_of(connection: &mut Connection) -> Result<Data, ConnectionError> {
    let question = format!(
        "SELECT SCHEMA_NAME AS s, NULL AS t FROM information_schema.SCHEMATA \
         WHERE SCHEMA_NAME NOT IN ({OWN_SCHEMAS}) UNION ALL \
         SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA NOT IN ({OWN_SCHEMAS})"
    );
    let sets = connection.ask(&question).await?.all()?;
    let mut data: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in sets.iter().flatten().map(Columns) {
        let tables = data.entry(row.text_or_empty(&["s"])).or_default();
        tables.extend(row.find(&["t"]));
    }
    Ok(Data(data))
}

async fn events(connection: &mut Connection) -> Result<BTreeMap<String, String>, ConnectionError> {
    let question = "SELECT EVENT_SCHEMA AS s, EVENT_NAME AS e, DEFINER AS definer \
                    FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'";
    let sets = connection.ask(question).await?.all()?;
    let event = |row: Columns<'_>| {
        let name = |column: &str| data::identifier(&row.text_or_empty(&[column]));
        let definer = row.text_or_empty(&["definer"]);
        let (user, host) = definer.rsplit_once('@').unwrap_or((&definer, "%"));
        let definer = format!("{}@{}", quoted(user), quoted(host));
        (format!("{}.{}", name("s"), name("e")), definer)
    };
    Ok(sets.iter().flatten().map(Columns).map(event).collect())
}

/// Whether Tandem's tables are there, and the highest term.
async fn terms(
    connection: &mut Connection,
) -> Result<(bool, Option<(u64, String)>), ConnectionError> {
    let tables = texts(
        connection,
        "SELECT TABLE_NAME AS text FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'tandem' \
         AND TABLE_NAME IN ('term', 'heartbeat')",
    )
    .await?;
    if !tables.iter().any(|table| table == "term") {
        return Ok((false, None));
    }
    let question = "SELECT term, active FROM tandem.term ORDER BY term DESC LIMIT 1";
    let sets = connection.ask(question).await?.all()?;
    let row = sets.iter().flatten().next().map(Columns);
    let term = row.and_then(|row| Some((row.number(&["term"]).ok()?, row.find(&["active"])?)));
    Ok((tables.len() == 2, term))
}

/// What the administrator may not do. What he has through a role does not show: then he is not judged.
async fn lacks(connection: &mut Connection) -> Result<Vec<String>, ConnectionError> {
    let question = "SELECT COALESCE(CURRENT_ROLE(), 'NONE') AS text; \
         SELECT PRIVILEGE_TYPE AS text, IS_GRANTABLE AS grantable FROM \
         information_schema.USER_PRIVILEGES \
         WHERE GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";
    let sets = connection.ask(question).await?.all()?;
    let column = |set: usize, name: &str| -> Vec<String> {
        let rows = sets.get(set).map(Vec::as_slice).unwrap_or_default();
        rows.iter().map(|row| Columns(row).text_or_empty(&[name])).collect()
    };
    if column(0, "text").iter().any(|role| role != "NONE") {
        return Ok(Vec::new());
    }
    let held = column(1, "text");
    let own: &[&str] = match connection.dialect().flavor {
        Flavor::MariaDb => &NEEDED_OF_MARIADB,
        Flavor::MySql => &NEEDED_OF_MYSQL,
    };
    // Nobody can grant what he has not got.
    let granted = Privilege::all(connection.dialect())
        .map(|privilege| privilege.needs(connection.dialect()))
        .filter(|(_, object)| *object == "*.*")
        .flat_map(|(names, _)| names.split(", "));
    let needed: BTreeSet<&str> = NEEDED.iter().chain(own).copied().chain(granted).collect();
    let missing = needed.into_iter().filter(|name| !held.iter().any(|held| held == name));
    let mut lacks: Vec<String> = missing.map(str::to_owned).collect();
    if lacks.is_empty() && !column(1, "grantable").iter().any(|grantable| grantable == "YES") {
        lacks.push("GRANT OPTION".to_owned());
    }
    Ok(lacks)
}

/// The addresses of a host; none where the resolver does not know it, or does not answer.
pub(super) async fn addresses(host: &str) -> BTreeSet<IpAddr> {
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, 0))).await;
    let found = found.ok().and_then(Result::ok);
    found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
}
