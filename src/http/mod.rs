//! Metrics, health and status over HTTP, and one page for people.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | all metrics, OpenMetrics text |
//! | `/livez` | 200 while the process can answer at all |
//! | `/readyz` | 200 while some master is active, else 503 and the reason |
//! | `/status` | everything below as JSON |
//! | `/` | the same, for people; it refreshes itself |
//!
//! Everything is read only and computed from the latest routing table and topology at the moment of
//! the request, so that nothing here has to be kept up to date. A readiness check that fails does not
//! mean that clients are refused: their statements wait. Orders are the console's business.

mod status;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::serve::Listener;
use tokio::sync::watch;

use crate::coordinator::{Accounts, Journal};
use crate::metrics::{self, Metrics};
use crate::pair::check::Checked;
use crate::routing::{Decision, RoutingTable, Writer};
use crate::session::StandbyLogin;
use crate::topology::Topology;

pub use status::{
    AutoIncrement, ChannelStatus, ChecksStatus, HeldStatus, ProbeStatus, ReadsStatus, RefusedLogin,
    ServerState, ServerStatus, Status, WritesAtRisk,
};

/// What the answers are made from.
#[derive(Clone, Debug)]
pub struct Handles {
    /// The latest routing table.
    pub routing: watch::Receiver<Arc<RoutingTable>>,
    /// The latest picture of the servers.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// How the users fare on the standby masters.
    pub logins: watch::Receiver<Arc<[StandbyLogin]>>,
    /// Who serves reads; `None` without a reads listener.
    pub reads: Option<watch::Receiver<Arc<Decision>>>,
    /// What happened.
    pub journal: Arc<Journal>,
    /// The acknowledged writes, and what became of them.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// What the checks of the servers came to.
    pub checks: watch::Receiver<Arc<Checked>>,
}

/// So many of the last events are told.
const EVENTS: usize = 20;

impl Handles {
    fn status(&self) -> Status {
        let routing = self.routing.borrow().clone();
        let topology = self.topology.borrow().clone();
        let logins = self.logins.borrow().clone();
        let mut status = Status::of(&routing, &topology, &logins, Instant::now());
        if let Some(reads) = &self.reads {
            status.add_reads(&reads.borrow(), &routing.servers);
        }
        let rows = self.journal.rows_after(0);
        let last = rows.len().saturating_sub(EVENTS);
        status.add_accounts(&self.accounts.borrow(), &routing.servers);
        status.checks = ChecksStatus::of(&self.checks.borrow(), SystemTime::now());
        status.events = rows[last..].iter().map(|row| row.told(&routing.servers)).collect();
        status
    }
}

/// Serves on `listener` (TCP or Unix) until `shutdown` is done, then finishes what it is answering.
///
/// # Errors
/// When the listener fails.
pub async fn serve<L>(
    listener: L,
    handles: Handles,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    L: Listener,
    L::Addr: Debug,
{
    axum::serve(listener, router(handles)).with_graceful_shutdown(shutdown).await
}

fn router(handles: Handles) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/metrics", get(all_metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "there are: / /status /metrics /livez /readyz\n")
        })
        .with_state(handles)
}

async fn page() -> impl IntoResponse {
    // The page brings its own style and script, and loads nothing but /status.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  connect-src 'self'; frame-ancestors 'none'";
    ([(CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page.html")))
}

async fn status(State(handles): State<Handles>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Json(handles.status()))
}

async fn all_metrics(State(handles): State<Handles>) -> impl IntoResponse {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, format)], metrics::encode(&handles.metrics.registry))
}

async fn ready(State(handles): State<Handles>) -> (StatusCode, String) {
    let routing = handles.routing.borrow().clone();
    match &routing.writer {
        Writer::Active(server) => {
            (StatusCode::OK, format!("{} is active\n", routing.servers.name(*server)))
        }
        Writer::Held { reason, .. } => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests;
