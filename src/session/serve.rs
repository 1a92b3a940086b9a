//! A session from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use super::acknowledgements::Acknowledgements;
use super::acknowledging::Acknowledging;
use super::client::{self, Heard};
use super::client_error::ClientError;
use super::current::{Current, Uncounted};
use super::end::SessionEnd;
use super::login::Towards;
use super::proxied;
use super::registry::Entry;
use super::relay::Relay;
use super::request::Request;
use super::shared::Shared;
use super::state::SessionState;
use super::welcome::Turn;
use crate::routing::Writer;
use crate::topology::Identity;
use crate::wire::{ProxiedEnds, ResponseTracker, Stream, put_packet};

/// How long a client may take to read an error that is said before it is greeted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves a client until it goes or has to. `book` is that of the worker, for the writes that it is told
/// are committed.
pub async fn serve(
    stream: Stream,
    peer: Option<SocketAddr>,
    shared: Arc<Shared>,
    book: Arc<Acknowledgements>,
) {
    if let Stream::Tcp(stream) = &stream {
        super::backend::tune(stream);
    }
    let entry = shared.registry.open(peer, Instant::now());
    shared.metrics().open.inc();
    let listed = Listed { shared: &shared, id: entry.id };
    let end = session(stream, &shared, &entry, book).await;
    drop(listed);
    // No span around the session: entering one costs more at every wake-up than the few events of a
    // session are worth. They carry its fields themselves.
    let (reason, detail) = (end.label(), end.detail());
    let client = entry.client().map(tracing::field::display);
    let (session, user) = (entry.id, entry.user());
    if end.is_noteworthy() {
        tracing::info!(session, user, client, reason, detail, "session ended");
    } else {
        tracing::debug!(session, user, client, reason, detail, "session ended");
    }
    shared.metrics().ended(reason).inc();
}

/// A session's place in the registry, left however the session ends.
struct Listed<'a> {
    shared: &'a Shared,
    id: u32,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.shared.registry.close(self.id);
        self.shared.metrics().open.dec();
    }
}

async fn session(
    mut stream: Stream,
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    book: Arc<Acknowledgements>,
) -> SessionEnd {
    let ends = match hear_ends(&mut stream, shared, entry).await {
        Ok(ends) => ends,
        Err(end) => return end,
    };
    let full = shared.registry.everywhere() > shared.max_connections;
    if full && !shared.registry.push_out_stranger(entry.id) {
        let error = ClientError::TooManyConnections(shared.max_connections);
        return refuse_early(&mut stream, &error).await;
    }
    let identity = match identity(shared).await {
        Ok(identity) => identity,
        Err(error) => return refuse_early(&mut stream, &error).await,
    };
    let hearing = client::hear_login(stream, shared, &identity, entry.id);
    let heard = tokio::select! {
        heard = hearing => heard,
        () = entry.killed() => Err(SessionEnd::PushedOut),
    };
    let Heard { stream, ahead, seq, mut login, salt, recognised, shown, compression } = match heard
    {
        Ok(heard) => heard,
        Err(end) => return end,
    };
    login.towards = Towards {
        preface: proxied::preface(shared, ends),
        compression: shared.compression.servers,
        read_only: shared.reading.is_some(),
    };
    shared.registry.introduce(entry, &login.user);
    let mut relay = Relay {
        shared: Arc::clone(shared),
        entry: Arc::clone(entry),
        client: stream,
        request: Request::new(ahead),
        backend: None,
        unsent: Vec::new(),
        unflushed: false,
        shown,
        salt,
        tracker: ResponseTracker::new(login.capabilities),
        state: SessionState::default(),
        tracking: None,
        generation: 0,
        pace: None,
        owed: Duration::ZERO,
        invitation: None,
        unsettled: false,
        logins: 0,
        closed: None,
        lost_transaction: None,
        pipelined_was_lost: false,
        half_sent: false,
        uncounted: Uncounted::new(shared),
        acknowledging: Acknowledging::new(book),
        foreign_key_at: None,
        reader: shared.reading.as_ref().map(|_| Box::default()),
        splits: None,
        current: Current::none(),
        login,
    };
    let answer = relay.log_in().await;
    let end = match relay.answer_login(answer, Turn { seq, recognised }).await {
        Ok(()) => {
            if let Some(compression) = compression {
                relay = relay.compressed(compression);
            }
            relay.run().await
        }
        Err(end) => end,
    };
    relay.acknowledging.retract();
    relay.decline_invitation();
    relay.say_goodbye().await;
    end
}

/// Where the client is, and what it connected to: as a load balancer tells it, or as it is.
async fn hear_ends(
    stream: &mut Stream,
    shared: &Shared,
    entry: &Entry,
) -> Result<Option<ProxiedEnds>, SessionEnd> {
    if !proxied::is_told(shared, entry.client()) {
        return Ok(proxied::own_ends(stream, entry.client()));
    }
    match proxied::hear(stream, shared.connect_timeout).await {
        Ok(Some(ends)) => {
            entry.set_client(ends.client);
            Ok(Some(ends))
        }
        Ok(None) => Ok(None),
        Err(unheard) => {
            let error = unheard.told()?;
            refuse_early(stream, &error).await;
            Err(SessionEnd::ClientMalformed(error.to_string()))
        }
    }
}

/// What to greet a client with: known as soon as a master has been seen.
async fn identity(shared: &Shared) -> Result<Arc<Identity>, ClientError> {
    let mut routes = shared.routes();
    let since = Instant::now();
    let known = async { routes.wait_for(|table| table.identity.is_some()).await.is_ok() };
    // Whether it came in time or not is seen below.
    let _ = tokio::time::timeout(shared.hold, known).await;
    let table = shared.table();
    if let Some(identity) = &table.identity {
        return Ok(Arc::clone(identity));
    }
    let reason = match &table.writer {
        Writer::Held { reason, .. } => reason.to_string(),
        Writer::Active(_) => "no master has been seen yet".to_owned(),
    };
    Err(ClientError::HoldExpired { waited: since.elapsed(), reason })
}

async fn refuse_early(stream: &mut Stream, error: &ClientError) -> SessionEnd {
    let mut packet = Vec::new();
    put_packet(&mut packet, 0, &error.to_early_payload());
    let telling = async {
        stream.write_all(&packet).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(PATIENCE, telling).await;
    SessionEnd::NobodyActive(error.to_string())
}
