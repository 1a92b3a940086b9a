//! From what a connection says to why an order failed.

use crate::failover::OrderFailure;
use crate::monitor::{Connection, ConnectionError};
use crate::topology::grants::Privilege;

/// The failure of a statement that needed `privilege`.
pub(super) fn failure(
    error: ConnectionError,
    connection: &Connection,
    privilege: Privilege,
) -> OrderFailure {
    match error {
        // Access denied to a database, to a table or column, for want of a global privilege; and
        // 1290, which a server under read_only says to whom READ_ONLY ADMIN would exempt.
        ConnectionError::Server { code: 1044 | 1142 | 1143 | 1227, message } => {
            let grant = connection.grant(privilege);
            OrderFailure::Denied { message, grant }
        }
        ConnectionError::Server { code: 1290 | 1836, message } => {
            let grant = connection.grant(Privilege::ReadOnly);
            OrderFailure::Denied { message, grant }
        }
        // A lock that did not come free.
        ConnectionError::Server { code: 1205, message } => OrderFailure::TimedOut(message),
        other => general(other),
    }
}

/// The failure to get a connection at all, as `user`.
pub(super) fn not_connected(error: ConnectionError, user: &str) -> OrderFailure {
    match error {
        ConnectionError::Server { code: 1044 | 1045 | 1698, message } => OrderFailure::Denied {
            message,
            grant: format!(
                "ALTER USER '{0}' IDENTIFIED BY '<the password of [monitor]>', or CREATE USER if \
                 there is no '{0}' that may log in from this host",
                user.replace('\'', "''")
            ),
        },
        other => general(other),
    }
}

fn general(error: ConnectionError) -> OrderFailure {
    match error {
        ConnectionError::Server { code, message } => OrderFailure::Refused { code, message },
        ConnectionError::Unintelligible(message) => OrderFailure::Refused { code: 0, message },
        unreachable => OrderFailure::Unreachable(unreachable.to_string()),
    }
}
