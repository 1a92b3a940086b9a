//! Whom a server follows, with everything that its status says of it.

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::Row;

use super::{Seen, Unseen};
use crate::monitor::{Columns, Connection, ConnectionError, ReplicationChannel, read_channels};
use crate::topology::grants::Privilege;
use crate::topology::{Channel, Flavor};

/// Columns of the status that say what is not replicated, the same in both families.
const FILTERS: [&str; 9] = [
    "replicate_do_db",
    "replicate_ignore_db",
    "replicate_do_table",
    "replicate_ignore_table",
    "replicate_wild_do_table",
    "replicate_wild_ignore_table",
    "replicate_rewrite_db",
    "replicate_do_domain_ids",
    "replicate_ignore_domain_ids",
];

/// One replication channel.
#[derive(Clone, Debug)]
pub struct Following {
    /// What every part of Tandem knows of a channel.
    pub replication: ReplicationChannel,
    /// The whole row of the status, by the names of its columns in lower case; NULL is left out.
    pub status: BTreeMap<String, String>,
}

impl Following {
    /// What every part of Tandem knows of a channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.replication.channel
    }

    /// The text under the first of these columns that the status has.
    #[must_use]
    pub fn text(&self, columns: &[&str]) -> &str {
        columns.iter().find_map(|name| self.status.get(*name)).map_or("", String::as_str)
    }

    /// As whom it logs in at its source.
    #[must_use]
    pub fn user(&self) -> &str {
        self.text(&["master_user", "source_user"])
    }

    /// Whether it may encrypt what it receives (`Master_SSL_Allowed`).
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        self.text(&["master_ssl_allowed", "source_ssl_allowed"]) == "Yes"
    }

    /// By how much it is delayed on purpose.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_secs(self.text(&["sql_delay"]).parse().unwrap_or(0))
    }

    /// How many events it is about to skip (`Skip_Counter`).
    #[must_use]
    pub fn skips(&self) -> u64 {
        self.text(&["skip_counter"]).parse().unwrap_or(0)
    }

    /// What it does not replicate, or under another name: column and value.
    pub fn filters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        FILTERS
            .into_iter()
            .map(|name| (name, self.text(&[name])))
            .filter(|(_, value)| !value.is_empty())
    }

    /// The server ids whose events it ignores (`CHANGE MASTER … IGNORE_SERVER_IDS`).
    #[must_use]
    pub fn ignored_servers(&self) -> &str {
        self.text(&["replicate_ignore_server_ids"])
    }
}

/// MySQL has the heartbeat's period in another place than in its status.
const HEARTBEAT_PERIOD: &str = "SELECT CHANNEL_NAME, HEARTBEAT_INTERVAL \
     FROM performance_schema.replication_connection_configuration";

pub(super) async fn read(
    connection: &mut Connection,
) -> Result<Seen<Vec<Following>>, ConnectionError> {
    let dialect = connection.dialect();
    let answers = connection.ask(dialect.replication_status()).await?;
    if let Some((code, message)) = answers.error {
        let grant = || Some(connection.grant(Privilege::ReplicationStatus));
        return Ok(Err(Unseen::refused(code, message, grant)));
    }
    let rows: Vec<Row> = answers.sets.into_iter().flatten().collect();
    let channels = match read_channels(dialect, &rows) {
        Ok(channels) => channels,
        Err(error) => return Ok(Err(Unseen::because(error.to_string()))),
    };
    let mut channels: Vec<Following> = channels
        .into_iter()
        .zip(&rows)
        .map(|(replication, row)| Following { replication, status: whole(row) })
        .collect();
    if dialect.flavor == Flavor::MySql {
        // Without the privilege the period stays unknown, as in the probes.
        let periods = connection.ask(HEARTBEAT_PERIOD).await?;
        for row in periods.sets.iter().flatten().map(Columns) {
            let name = row.text_or_empty(&["CHANNEL_NAME"]);
            let of = channels.iter_mut().find(|following| following.channel().name == name);
            if let Some(following) = of {
                following.replication.channel.heartbeat_period =
                    row.seconds(&["HEARTBEAT_INTERVAL"]);
            }
        }
    }
    Ok(Ok(channels))
}

fn whole(row: &Row) -> BTreeMap<String, String> {
    let names = row.columns_ref().iter().map(|column| column.name_str().into_owned());
    names
        .filter_map(|name| {
            let value = Columns(row).find(&[&name])?;
            Some((name.to_ascii_lowercase(), value))
        })
        .collect()
}
