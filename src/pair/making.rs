//! Carries the statements of the dialect out.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};

use super::dialect::{self, Source};
use super::{PairError, await_running};
use crate::config::Credentials;
use crate::topology::{Dialect, ServerAddress, grants};

/// A server that is, or becomes, part of a pair.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name, for messages.
    pub name: String,
    /// Where its administrator logs in.
    pub control: ServerAddress,
    /// The administrator: may create users and set replication up.
    pub login: Credentials,
    /// Where the other masters reach it.
    pub address: ServerAddress,
}

/// Who receives from whom. Of two members both are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Each from the one before it, the first from the last, over a channel without a name. What the
    /// others write comes by way of those in between.
    #[default]
    Ring,
    /// Each from every other one, over channels that have the others' names. Everything arrives by
    /// several ways: MariaDB needs `gtid_ignore_duplicates` for that, MySQL executes no GTID twice.
    Mesh,
}

impl Shape {
    /// The channels of the member at `place`: their names, and the members at their other ends.
    fn channels(self, members: &[Member], place: usize) -> Vec<(&str, &Member)> {
        let before = (place + members.len() - 1) % members.len();
        if self == Self::Ring || members.len() == 2 {
            return vec![("", &members[before])];
        }
        let others = members.iter().enumerate().filter(|(other, _)| *other != place);
        others.map(|(_, other)| (other.name.as_str(), other)).collect()
    }
}

/// What the members are to become.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who receives from whom.
    pub shape: Shape,
    /// The account with which the members receive from each other.
    pub replication: Credentials,
    /// The account with which Tandem watches and orders.
    pub monitor: Credentials,
    /// How often a silent source says that it lives.
    pub heartbeat: Duration,
    /// How long replication may take to come up.
    pub timeout: Duration,
}

/// Makes the members slaves of each other.
///
/// Returns when both threads of every channel run. Carried out again it changes the passwords and
/// restarts replication, and nothing else.
///
/// # Errors
/// When a member cannot be reached, is too old, refuses a statement or does not replicate in time.
/// Members that were told whom to follow before that go on trying.
pub async fn make(members: &[Member], plan: &Plan) -> Result<(), PairError> {
    if members.len() < 2 {
        return Err(PairError::TooFew(members.len()));
    }
    let mut connected = Vec::with_capacity(members.len());
    for member in members {
        let mut server = Connected::to(member, plan.timeout).await?;
        server.create_accounts(plan).await?;
        connected.push(server);
    }
    // Only now: a member that starts before the other has the account would be refused, and wait.
    for (place, server) in connected.iter_mut().enumerate() {
        server.follow(&plan.shape.channels(members, place), plan).await?;
    }
    await_running(members, plan.timeout).await
}

/// A member with a connection to it.
pub(super) struct Connected<'a> {
    pub(super) member: &'a Member,
    pub(super) dialect: Dialect,
    pub(super) connection: Conn,
}

impl<'a> Connected<'a> {
    pub(super) async fn to(member: &'a Member, timeout: Duration) -> Result<Self, PairError> {
        let refused = |reason: String| PairError::Connect {
            member: member.name.clone(),
            address: member.control.clone(),
            reason,
        };
        let attempt = Conn::new(options(&member.control, &member.login));
        let mut connection = tokio::time::timeout(timeout, attempt)
            .await
            .map_err(|_| refused(format!("no answer within {timeout:?}")))?
            .map_err(|error| refused(error.to_string()))?;
        let version: Option<String> = connection
            .query_first("SELECT VERSION()")
            .await
            .map_err(|error| refused(error.to_string()))?;
        let dialect = dialect::dialect_of(&version.unwrap_or_default())
            .map_err(|source| PairError::Version { member: member.name.clone(), source })?;
        Ok(Self { member, dialect, connection })
    }

    /// Makes the accounts on this server only. Were they replicated, each server would get them
    /// from itself and from the other, and the first transaction of a pair would be ours.
    pub(super) async fn create_accounts(&mut self, plan: &Plan) -> Result<(), PairError> {
        const DOING: &str = "create the accounts";
        self.run(DOING, "SET SESSION sql_log_bin = 0").await?;
        for account in [&plan.replication, &plan.monitor] {
            for statement in dialect::create_user(&account.user, account.password.reveal()) {
                self.run(DOING, &statement).await?;
            }
        }
        self.run(DOING, &dialect::grant_replication(&plan.replication.user)).await?;
        for statement in grants::monitor_grants(self.dialect, &plan.monitor.user) {
            self.run(DOING, &statement).await?;
        }
        self.run(DOING, "SET SESSION sql_log_bin = 1").await
    }

    pub(super) async fn follow(
        &mut self,
        channels: &[(&str, &Member)],
        plan: &Plan,
    ) -> Result<(), PairError> {
        let flavor = self.dialect.flavor;
        self.run("stop replicating", dialect::stop(flavor)).await?;
        for (channel, source) in channels {
            let ServerAddress::Tcp { host, port } = &source.address else {
                return Err(PairError::NotTcp {
                    member: source.name.clone(),
                    address: source.address.clone(),
                });
            };
            let source = Source {
                channel,
                host,
                port: *port,
                user: &plan.replication.user,
                password: plan.replication.password.reveal(),
                heartbeat: plan.heartbeat,
                tls: false,
            };
            self.run("follow another master", &dialect::follow(flavor, &source)).await?;
        }
        self.run("start replicating", dialect::start(flavor)).await
    }

    async fn run(&mut self, doing: &'static str, statement: &str) -> Result<(), PairError> {
        self.connection.query_drop(statement).await.map_err(|error| self.refused(doing, &error))
    }

    pub(super) fn refused(&self, doing: &'static str, error: &mysql_async::Error) -> PairError {
        PairError::Refused { member: self.member.name.clone(), doing, reason: error.to_string() }
    }
}

fn options(address: &ServerAddress, login: &Credentials) -> Opts {
    // mysql_async would leave a TCP connection for the Unix socket that the server names.
    let options = OptsBuilder::default()
        .prefer_socket(false)
        .user(Some(&login.user))
        .pass(Some(login.password.reveal()));
    match address {
        ServerAddress::Tcp { host, port } => options.ip_or_hostname(host).tcp_port(*port),
        ServerAddress::Unix(path) => options.socket(Some(path.to_string_lossy())),
    }
    .into()
}
