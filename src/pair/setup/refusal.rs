//! Every reason for which servers are not joined, in words that say what to do.

use std::fmt;

use super::data::Difference;
use crate::pair::dialect::VersionError;
use crate::topology::ServerAddress;

/// Why nothing is done. Nothing has been changed anywhere then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Servers of MySQL do not receive from MariaDB by GTID, nor the other way round.
    TwoFamilies {
        /// Each server's name and version.
        versions: Vec<(String, String)>,
    },
    /// A version that Tandem does not speak.
    Version {
        /// The server.
        server: String,
        /// What is wrong with it.
        reason: VersionError,
    },
    /// Two names of one server.
    OneServerTwice {
        /// The first name and its address.
        first: (String, ServerAddress),
        /// The second.
        second: (String, ServerAddress),
    },
    /// Two servers of one identity: a copied data directory.
    OneIdentity {
        /// The first.
        first: String,
        /// The second.
        second: String,
        /// What both say that they are.
        uuid: String,
    },
    /// The others could not reach it.
    NotTcp {
        /// The server.
        server: String,
        /// Its address.
        address: ServerAddress,
    },
    /// The administrator may not do what is needed.
    Privileges {
        /// The server.
        server: String,
        /// His account there, `user@host`.
        account: String,
        /// What he lacks.
        lacks: Vec<String>,
    },
    /// It receives from a server that is not one of the configured.
    FollowsStranger {
        /// The server.
        server: String,
        /// The channel.
        channel: String,
        /// Whom it follows.
        source: String,
        /// The statement that ends it.
        ends: String,
    },
    /// It receives from a configured server from which it is not to.
    FollowsAnother {
        /// The server.
        server: String,
        /// The channel.
        channel: String,
        /// Whom it follows.
        source: String,
        /// The shape that was asked for.
        shape: &'static str,
        /// The statement that ends it.
        ends: String,
    },
    /// Servers that do not replicate to each other hold different data.
    OtherData {
        /// The first.
        first: String,
        /// The second.
        second: String,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// They were written to while they were compared.
    Busy {
        /// Who.
        server: String,
    },
    /// Servers without data beside one that has some.
    NeedsCopy {
        /// Who holds what.
        full: (String, String),
        /// Who holds nothing.
        empty: Vec<String>,
    },
    /// `--copy-from` names no configured server.
    NoSuchServer {
        /// What it names.
        name: String,
    },
    /// `--copy-from` names a server that holds nothing, and another one holds data.
    NothingToCopy {
        /// What it names.
        name: String,
        /// Who holds data.
        full: String,
    },
    /// An empty server, whose log would have to be begun anew, has followers.
    EmptyWithFollowers {
        /// The server.
        server: String,
    },
    /// Logs of several sources that use one domain for different histories (MariaDB).
    OneDomain {
        /// Who would receive them.
        server: String,
        /// The domain.
        domain: u32,
    },
    /// An account with such privileges needs a password.
    MonitorWithoutPassword,
}

/// `m1, m2 and m3`
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

fn channel_name(name: &str) -> String {
    if name.is_empty() {
        "its channel without a name".to_owned()
    } else {
        format!("channel `{name}`")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoFamilies { versions } => {
                let all: Vec<String> =
                    versions.iter().map(|(name, version)| format!("{name} is {version}")).collect();
                write!(
                    f,
                    "servers of two families do not replicate to each other: {}. Name servers of one \
                     family",
                    listed(&all)
                )
            }
            Self::Version { server, reason } => write!(f, "{server}: {reason}"),
            Self::OneServerTwice { first, second } => write!(
                f,
                "{} ({}) and {} ({}) are one and the same server. Give each its own address",
                first.0, first.1, second.0, second.1
            ),
            Self::OneIdentity { first, second, uuid } => write!(
                f,
                "{first} and {second} are two servers that both say server_uuid {uuid}: the data directory \
                 of one is a copy of the other's. Remove auto.cnf from the data directory of {second}, and \
                 start it again"
            ),
            Self::NotTcp { server, address } => write!(
                f,
                "{server} is named by {address}, where the other servers cannot reach it. Name its host \
                 and port"
            ),
            Self::Privileges { server, account, lacks } => {
                let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
                write!(
                    f,
                    "{server}: the administrator {account} lacks {}. Log in as somebody who may, or let \
                     him:\n    GRANT ALL PRIVILEGES ON *.* TO '{user}'@'{host}' WITH GRANT OPTION",
                    lacks.join(", ")
                )
            }
            Self::FollowsStranger { server, channel, source, ends } => write!(
                f,
                "{server} receives from {source} over {}, which is none of the configured servers. Add \
                 that server to the configuration, or end it:\n    {ends}",
                channel_name(channel)
            ),
            Self::FollowsAnother { server, channel, source, shape, ends } => write!(
                f,
                "{server} receives from {source} over {}, which it does not in a {shape}. Ask for the \
                 other shape (--shape), or end it:\n    {ends}",
                channel_name(channel)
            ),
            Self::OtherData { first, second, differences } => {
                write!(f, "{first} and {second} hold different data:")?;
                const SHOWN: usize = 20;
                for difference in differences.iter().take(SHOWN) {
                    write!(f, "\n    {}", difference.told(first, second))?;
                }
                if let Some(more @ 1..) = differences.len().checked_sub(SHOWN) {
                    write!(f, "\n    and {more} more")?;
                }
                write!(
                    f,
                    "\n  Decide which of them is right. Drop the schemas of the other one, and let it have \
                     a copy:\n    tandem setup --apply --copy-from {first}"
                )
            }
            Self::Busy { server } => write!(
                f,
                "{server} was written to while it was compared with the others. Stop what writes there and \
                 run this again, or empty the others and use --copy-from {server}, which needs no pause"
            ),
            Self::NeedsCopy { full: (name, data), empty } => write!(
                f,
                "{name} holds data ({data}), and {} none. Let {name} be copied:\n    \
                 tandem setup --apply --copy-from {name}",
                if empty.len() == 1 {
                    format!("{} holds", empty[0])
                } else {
                    format!("{} hold", listed(empty))
                }
            ),
            Self::NoSuchServer { name } => {
                write!(f, "--copy-from {name}: the configuration has no server of this name")
            }
            Self::NothingToCopy { name, full } => {
                write!(f, "--copy-from {name}: it holds no data, and {full} does")
            }
            Self::EmptyWithFollowers { server } => write!(
                f,
                "{server} holds no data, but its binary log has transactions that the others would execute, \
                 so it would have to be begun anew (RESET MASTER); and somebody receives that log. Stop \
                 who receives from {server}, and run this again"
            ),
            Self::OneDomain { server, domain } => write!(
                f,
                "{server} would receive different histories of GTID domain {domain} from several \
                 servers. Empty all servers but one, and use --copy-from"
            ),
            Self::MonitorWithoutPassword => f.write_str(
                "[monitor] has no password, and its account may stop and open masters. Give it one in \
                 proxy.toml (password_file) or in TANDEM_MONITOR__PASSWORD",
            ),
        }
    }
}
