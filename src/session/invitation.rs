//! A login to the master that is to be active next, made while the present one still serves.
//!
//! A login costs a server more than most statements do. If all sessions logged in to the new master
//! while their statements wait for it, these logins would be most of the wait, and would compete with
//! the very orders that it is waited for. So a switchover names the next master a little before it
//! holds anything. Sessions that were busy of late log in there, a few at a time and beside what
//! they do; those that are idle can do so later without anybody waiting.
//!
//! Only the login is made ahead. What the session is by then is restored when it moves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::backend::{Accepted, Backend};
use super::relay::Relay;
use crate::routing::RoutingTable;
use crate::topology::ServerId;

/// The longest rest between two of these logins.
const REST: Duration = Duration::from_millis(10);

/// A login under way, or done.
#[derive(Debug)]
pub(super) struct Invitation {
    server: ServerId,
    schema: Option<Vec<u8>>,
    login: JoinHandle<Option<Accepted>>,
}

impl Invitation {
    /// Whether it is good for a session on `server` with this schema.
    fn suits(&self, server: ServerId, schema: Option<&[u8]>) -> bool {
        self.server == server && self.schema.as_deref() == schema
    }

    /// The connection, when it is there; `None` if it did not come about.
    pub(super) async fn accepted(self) -> Option<Accepted> {
        self.login.await.ok().flatten()
    }

    /// It is not needed: says goodbye when it is there.
    fn decline(self) {
        tokio::spawn(async move {
            if let Some(Accepted { backend, .. }) = self.accepted().await {
                backend.leave().await;
            }
        });
    }
}

impl Relay {
    /// Begins the login if `table` invites to one, and gives it up if that came to nothing.
    pub(super) fn heed_invitation(&mut self, table: &RoutingTable) {
        let is_moot = |invitation: &mut Box<Invitation>| !table.leads_to(invitation.server);
        if let Some(invitation) = self.invitation.take_if(is_moot) {
            invitation.decline();
        }
        let here = self.backend.as_ref().map(|backend| backend.server);
        let Some(next) = table.next.filter(|_| here.is_some() && table.active() == here) else {
            return;
        };
        let busy = self.uncounted.is_fresh(self.shared.registry.tick());
        if self.invitation.is_some() || self.closed.is_some() || !busy {
            return;
        }
        self.logins += 1;
        let (shared, number) = (Arc::clone(&self.shared), self.logins);
        let mut login = self.login_to_send();
        login.schema.clone_from(&self.state.schema);
        let (server, schema) = (table.servers.get(next).clone(), login.schema.clone());
        let logging_in = async move {
            let permit = shared.early_logins().acquire_owned().await.ok()?;
            // Once statements wait, those come first.
            let is_early = {
                let table = shared.table();
                table.active().is_some() && table.next == Some(server.id)
            };
            if !is_early {
                return None;
            }
            let (tls, timeout) = (&shared.master_tls, shared.connect_timeout);
            let began = Instant::now();
            let accepted = Backend::connect(&server, &login, number, tls, timeout).await.ok();
            // Before the next one whoever has work to do gets as much time as this took.
            let rest = began.elapsed().min(REST);
            tokio::spawn(async move {
                tokio::time::sleep(rest).await;
                drop(permit);
            });
            accepted
        };
        let login = tokio::spawn(logging_in);
        self.invitation = Some(Box::new(Invitation { server: next, schema, login }));
    }

    /// The login to `server` that was begun ahead, if it is still what the session needs.
    pub(super) fn take_invitation(&mut self, server: ServerId) -> Option<Box<Invitation>> {
        let invitation = self.invitation.take()?;
        if invitation.suits(server, self.login.schema.as_deref()) {
            return Some(invitation);
        }
        invitation.decline();
        None
    }

    /// Another login is of no use to the session any more.
    pub(super) fn decline_invitation(&mut self) {
        if let Some(invitation) = self.invitation.take() {
            invitation.decline();
        }
    }

    /// An idle session moves to the active master if it is logged in there already, so that its next
    /// statement finds all in place. If that fails, the next statement sees to it.
    pub(super) async fn accept_invitation(&mut self, active: ServerId) {
        if self.lost_transaction.is_some() || self.closed.is_some() {
            return;
        }
        self.login.schema = self.state.schema.clone();
        let Some(invitation) = self.take_invitation(active) else { return };
        let Some(Accepted { mut backend, .. }) = invitation.accepted().await else { return };
        if self.restore(&mut backend).await.is_ok() {
            self.shared.metrics().migrations_done.inc();
            self.entry.set_place(Some((active, backend.thread_id)));
            self.backend = Some(backend);
        }
    }
}
