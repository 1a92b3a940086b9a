//! Waiting for what must come, and reading what came.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::sandbox::SandboxServer;
use tandem::session::Activity;

use crate::support::Stack;
pub(crate) use crate::support::eventually;

/// Bounds what has gone wrong; nothing waits for it otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must end.
pub(crate) async fn within<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, waiting).await;
    ended.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Waits until so many sessions are at this.
pub(crate) async fn await_activity(stack: &Stack, activity: Activity, count: usize) {
    let sessions = &stack.app.handles().sessions;
    eventually("sessions at work", async || {
        let list = sessions.registry.list();
        (list.iter().filter(|entry| entry.activity() == activity).count() >= count).then_some(())
    })
    .await;
}

/// Waits until a server is executing a statement that begins like this.
pub(crate) async fn await_statement(server: &SandboxServer, beginning: &str) {
    let mut connection = server.root_connection().await.expect("root's login");
    let question = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{beginning}%'"
    );
    eventually(beginning, async || {
        let count: Option<u64> = connection.query_first(&question).await.expect("asked");
        count.filter(|count| *count > 0)
    })
    .await;
}

/// One value, asked of a server as root.
pub(crate) async fn ask<T: FromValue + Send + Sync + 'static>(
    server: &SandboxServer,
    question: &str,
) -> T {
    let mut connection = server.root_connection().await.expect("root's login");
    let answer: Option<T> = connection.query_first(question).await.expect(question);
    answer.unwrap_or_else(|| panic!("no row for {question}"))
}

/// Code, SQLSTATE and words of an error that a client was told.
pub(crate) fn told<T: std::fmt::Debug>(
    result: Result<T, mysql_async::Error>,
) -> (u16, String, String) {
    match result {
        Err(mysql_async::Error::Server(error)) => (error.code, error.state, error.message),
        other => panic!("not an error of the server's: {other:?}"),
    }
}

/// Whether the connection was closed under the client.
pub(crate) fn is_closed<T>(result: &Result<T, mysql_async::Error>) -> bool {
    matches!(result, Err(mysql_async::Error::Io(_) | mysql_async::Error::Driver(_)))
}
