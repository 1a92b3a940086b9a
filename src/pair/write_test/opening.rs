//! Writing for a moment on a MySQL server that is closed with `super_read_only`, which stops every
//! account there is.
//!
//! `read_only` stays on all the time, and stops every account that may not write past it; applications
//! have no such accounts (`tandem check` looks for them). `super_read_only` is off for as long as the
//! statements of one packet take, and the packet itself turns it on again.
//!
//! That it is on again must not depend on this process: it may be killed, and its machine may lose its
//! power. So a second connection, the *guard*, has its statements at the server before anything is
//! opened: it waits for a lock that the writing connection holds, and then closes the server. A lock
//! goes with its connection, so whatever ends the writer has the server close itself at once; the
//! server ends a writer that is silent for two seconds.
//!
//! Nobody may be closed who became active meanwhile. The lock is the one of whoever writes a term
//! ([`Term::LOCK`]): nobody is made active here between opening and closing, and
//! closing is `super_read_only = @@read_only`: nothing, on a server that is open.

use std::time::Duration;

use mysql_async::Row;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::WriteTestError;
use super::participant::{OPTION_PREVENTS_STATEMENT, Participant};
use crate::monitor::{Answers, Columns, Connection, ConnectionError, IDLE_SECONDS};
use crate::topology::Term;
use crate::topology::grants::{self, Privilege};

/// How long the holder of the lock may be silent before the server ends its connection.
const LOCK_IDLE_SECONDS: u32 = 2;
/// After so long the guard closes the server although the writer still has the lock.
const GUARD_SECONDS: u32 = 20;
/// For the server to end one connection of two.
const GUARD_PATIENCE: Duration = Duration::from_secs(GUARD_SECONDS as u64 + 10);
/// Between two looks at a connection that is about to wait. There is nothing to subscribe to.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

const CLOSE: &str = "SET GLOBAL super_read_only=@@GLOBAL.read_only";

/// Carries `statements` out on a server that may be closed with `super_read_only`.
pub(super) async fn write(
    participant: &mut Participant,
    doing: &'static str,
    statements: &str,
) -> Result<Vec<Vec<Row>>, WriteTestError> {
    let hello = format!(
        "SET SESSION wait_timeout={LOCK_IDLE_SECONDS}, lock_wait_timeout={LOCK_IDLE_SECONDS}, \
         innodb_lock_wait_timeout={LOCK_IDLE_SECONDS}; \
         SELECT GET_LOCK('{lock}', 2) AS locked; SELECT @@GLOBAL.super_read_only AS closed",
        lock = Term::LOCK,
    );
    let sets = participant.run("take the lock of its terms", &hello).await?;
    let says = |name: &str| sets.iter().flatten().find_map(|row| Columns(row).find(&[name]));
    let (locked, closed) = (says("locked"), says("closed"));
    let outcome = if locked.as_deref() != Some("1") {
        Err(WriteTestError::Busy(participant.name().to_owned()))
    } else if closed.as_deref() == Some("0") {
        participant.run(doing, statements).await
    } else {
        opened(participant, doing, statements).await
    };
    let unlock = format!(
        "DO RELEASE_LOCK('{}'); SET SESSION wait_timeout={IDLE_SECONDS}, lock_wait_timeout=DEFAULT, \
         innodb_lock_wait_timeout=DEFAULT",
        Term::LOCK
    );
    let unlocked = participant.run("release the lock of its terms", &unlock).await;
    let sets = outcome?;
    unlocked.map(|_| sets)
}

async fn opened(
    participant: &mut Participant,
    doing: &'static str,
    statements: &str,
) -> Result<Vec<Vec<Row>>, WriteTestError> {
    let guard = Guard::post(participant).await?;
    let packet = format!("SET GLOBAL super_read_only=0; {statements}; {CLOSE}");
    match participant.run(doing, &packet).await {
        Ok(sets) => guard.dismiss(participant).await.map(|()| sets),
        Err(error) => {
            // The packet may have ended before its last statement.
            match participant.run("close itself again", CLOSE).await {
                Ok(_) => guard.dismiss(participant).await?,
                Err(_) => guard.close(participant).await?,
            }
            Err(error)
        }
    }
}

/// The connection that closes the server when the writer's ends.
struct Guard {
    id: u32,
    waiting: JoinHandle<Result<Answers, ConnectionError>>,
}

impl Guard {
    /// Returns when it waits.
    async fn post(participant: &mut Participant) -> Result<Self, WriteTestError> {
        let mut connection = participant.another().await?;
        let id = connection.id();
        let orders = format!(
            "SET SESSION lock_wait_timeout={GUARD_SECONDS}; \
             DO GET_LOCK('{}', {GUARD_SECONDS}); {CLOSE}",
            Term::LOCK
        );
        let waiting = tokio::spawn(async move { connection.ask(&orders).await });
        let guard = Self { id, waiting };
        let state =
            format!("SELECT state AS state FROM information_schema.processlist WHERE id = {id}");
        loop {
            let sets = participant.run("tell what its connections wait for", &state).await?;
            let state = sets.iter().flatten().find_map(|row| Columns(row).find(&["state"]));
            if state.as_deref() == Some("User lock") {
                return Ok(guard);
            }
            if guard.waiting.is_finished() {
                return Err(WriteTestError::Busy(participant.name().to_owned()));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The server is closed: ends the guard, before the lock is given up.
    async fn dismiss(self, participant: &mut Participant) -> Result<(), WriteTestError> {
        participant.run("end a connection", &format!("KILL {}", self.id)).await?;
        // Killed, as it was to be; or it had done its work before, which is as good.
        let _ = timeout(GUARD_PATIENCE, self.waiting).await;
        Ok(())
    }

    /// The writer can do no more: ends it, and waits until the guard has closed the server.
    async fn close(self, participant: &mut Participant) -> Result<(), WriteTestError> {
        participant.hang_up();
        let reason = match timeout(GUARD_PATIENCE, self.waiting).await {
            Ok(Ok(Ok(answers))) => match answers.all() {
                Ok(_) => return Ok(()),
                Err(reason) => reason,
            },
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(_)) | Err(_) => ConnectionError::Unintelligible(
                "the connection that closes it did not answer".to_owned(),
            ),
        };
        Err(WriteTestError::LeftOpen { server: participant.name().to_owned(), reason })
    }
}

/// The statement that gives the account what the server said it lacks.
pub(super) fn mend(connection: &Connection, reason: &ConnectionError) -> Option<String> {
    let ConnectionError::Server { code, message } = reason else { return None };
    match code {
        &OPTION_PREVENTS_STATEMENT if message.contains("read") => {
            Some(connection.grant(Privilege::ReadOnly))
        }
        // ER_SPECIFIC_ACCESS_DENIED_ERROR
        1227 => Some(connection.grant(Privilege::ReadOnly)),
        // ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR
        1044 | 1142 => {
            Some(grants::grant("CREATE, DROP, SELECT, INSERT", "tandem.*", connection.account()))
        }
        _ => None,
    }
}
