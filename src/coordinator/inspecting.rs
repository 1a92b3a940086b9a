//! Having a returned master's log read: on connections of its own, because a log is read for longer
//! than a failover may wait for a warm one.

use std::time::Duration;

use crate::failover::OrderFailure;
use crate::monitor::{Connection, ConnectionError, Dialer};
use crate::stranded::{self, End, InspectError};
use crate::topology::grants::Privilege;
use crate::topology::{ServerAddress, Stranded};

/// For each of the two connections.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The master whose log is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Returned<'a> {
    /// A warm connection, which knows what to grant.
    pub(super) connection: &'a Connection,
    pub(super) address: &'a ServerAddress,
}

/// Reads and judges what the returned master has and the active one lacks.
pub(super) async fn inspect(
    dialer: &Dialer,
    returned: Returned<'_>,
    active: &ServerAddress,
) -> Result<Stranded, OrderFailure> {
    let dialer = dialer.clone().for_logs();
    let connect = async |address| connect_for_logs(&dialer, address).await.map(end);
    let ends = (connect(returned.address).await?, connect(active).await?);
    // A task, so that a log which the driver's decoder cannot stand ends that and not the coordinator's
    // lane.
    let reading = tokio::spawn(stranded::inspect(ends.0, ends.1));
    let found = reading.await.map_err(|ended| OrderFailure::Refused {
        code: 0,
        message: format!("the binary log could not be decoded: {ended}"),
    })?;
    found.map_err(|error| match error {
        InspectError::Denied(message) => {
            let grant = returned.connection.grant(Privilege::BinaryLog);
            OrderFailure::Denied { message, grant }
        }
        InspectError::Server { code, message } => OrderFailure::Refused { code, message },
        InspectError::Broken(message) => OrderFailure::Unreachable(message),
        other => OrderFailure::Refused { code: 0, message: other.to_string() },
    })
}

/// A connection of `dialer`'s, which is one for logs.
pub(super) async fn connect_for_logs(
    dialer: &Dialer,
    address: &ServerAddress,
) -> Result<Connection, OrderFailure> {
    dialer.connect(address, CONNECT_WITHIN).await.map_err(not_connected)
}

pub(super) fn end(connection: Connection) -> End {
    let (dialect, account) = (connection.dialect(), connection.account().to_owned());
    End { conn: connection.into_conn(), dialect, account }
}

fn not_connected(error: ConnectionError) -> OrderFailure {
    match error {
        ConnectionError::Server { code, message } => OrderFailure::Refused { code, message },
        other => OrderFailure::Unreachable(other.to_string()),
    }
}
