//! A login to the next active master, made while a statement waits for it.
//!
//! A switchover says beforehand who will be active. Sessions whose statements are held log in there
//! meanwhile and make the connection what the session is; when the master becomes active, the
//! statement goes out at once. If it does not after all, nothing has happened: the session still has
//! the connection that it had. Whatever goes wrong here is left to the login that follows then.

use std::future::poll_fn;
use std::task::Poll;

use super::backend::{Accepted, Backend, ConnectFailure};
use super::client_error::ClientError;
use super::end::SessionEnd;
use super::relay::Relay;
use crate::routing::RoutingTable;
use crate::topology::ServerId;

/// The connection, if there is one yet.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    tried: bool,
    backend: Option<Backend>,
}

impl Ahead {
    /// It is not needed any more.
    pub(super) async fn leave(self) {
        if let Some(backend) = self.backend {
            backend.leave().await;
        }
    }
}

impl Relay {
    /// Logs in where the session is to be next, once for each statement that is held. The inner error
    /// answers the statement.
    pub(super) async fn log_in_ahead(
        &mut self,
        ahead: &mut Ahead,
        table: &RoutingTable,
    ) -> Result<Result<(), ClientError>, SessionEnd> {
        // Whether a server closed the last connection on purpose is to be found out first.
        let Some(next) = table.next.filter(|_| !ahead.tried && self.closed.is_none()) else {
            return Ok(Ok(()));
        };
        ahead.tried = true;
        let left = self.begin_hold();
        self.login.schema = self.state.schema.clone();
        let connecting = tokio::time::timeout(left, self.connect(table.servers.get(next)));
        let mut backend = match connecting.await {
            Ok(connected) => match connected? {
                Ok(Accepted { backend, .. }) => backend,
                Err(ConnectFailure::Interrupted) => return Ok(Err(ClientError::Interrupted)),
                Err(_) => return Ok(Ok(())),
            },
            Err(_) => return Ok(Ok(())),
        };
        let mut routes = self.shared.routes();
        let restored = tokio::select! {
            restored = self.restore(&mut backend) => restored.is_ok(),
            _ = routes.wait_for(|table| !table.leads_to(next)) => false,
        };
        ahead.backend = Some(backend).filter(|_| restored);
        Ok(Ok(()))
    }

    /// Takes the connection that was made ahead, if it is one to `active` and still open.
    pub(super) async fn adopt(&mut self, ahead: &mut Ahead, active: ServerId) -> bool {
        let Some(backend) = ahead.backend.take_if(|backend| backend.server == active) else {
            return false;
        };
        let place = (active, backend.thread_id);
        self.backend = Some(backend);
        if poll_fn(|cx| Poll::Ready(self.poll_idle_backend(cx))).await.is_some() {
            self.backend = None;
            return false;
        }
        self.entry.set_place(Some(place));
        self.shared.metrics().migrations_done.inc();
        true
    }
}
