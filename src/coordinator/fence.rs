//! Making a master refuse writes.
//!
//! `SET GLOBAL read_only=1` returns although transactions are open; their next write and their
//! COMMIT fail with 1290, and their work is rolled back. Only a `LOCK TABLES` or a commit that hangs
//! stands in its way, and `lock_wait_timeout` bounds that (`DESIGN.md` 5).

use super::failure::failure;
use crate::failover::OrderFailure;
use crate::monitor::Connection;
use crate::topology::Flavor;
use crate::topology::grants::Privilege;

/// Makes the server refuse writes.
pub(super) async fn fence(connection: &mut Connection) -> Result<(), OrderFailure> {
    let statement = match connection.dialect().flavor {
        Flavor::MariaDb => "SET SESSION lock_wait_timeout=2; SET GLOBAL read_only=1",
        // Sets read_only too, and stops even those whom read_only lets write.
        Flavor::MySql => "SET SESSION lock_wait_timeout=2; SET GLOBAL super_read_only=1",
    };
    match connection.ask(statement).await.and_then(crate::monitor::Answers::all) {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(error, connection, Privilege::ReadOnly)),
    }
}
