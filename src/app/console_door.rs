//! The way to the console: Tandem's own front half, then the console's library behind it.
//!
//! The console speaks over a stream in memory. This door reads the console's greeting there, greets
//! the client with it (and with a plugin that clients have), hears the login, repeats it inwards,
//! and from then on copies bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Handles;
use crate::config::Admin;
use crate::console::{self, SessionList, SessionRow};
use crate::listener::Listener;
use crate::session::{Activity, Admitted, Entry, Shared, admit};
use crate::tls::Offer;
use crate::wire::{
    Capabilities, Greeting, HandshakeResponse, PacketStream, Stream, StreamError, put_packet,
};

/// The present offer of TLS.
type Offers = watch::Receiver<Option<Arc<Offer>>>;

/// Bytes on their way between the client and the console.
const PIPE: usize = 64 * 1024;

/// Lets clients in to the console.
pub(super) struct ConsoleDoor {
    admin: Admin,
    timeout: Duration,
    handles: console::Handles,
    offers: Offers,
    next: AtomicU32,
}

impl ConsoleDoor {
    pub(super) fn new(
        admin: Admin,
        timeout: Duration,
        handles: console::Handles,
        offers: Offers,
    ) -> Self {
        Self { admin, timeout, handles, offers, next: AtomicU32::new(1) }
    }

    /// Takes clients in until the process ends.
    pub(super) async fn run(self, listener: Listener) {
        let door = Arc::new(self);
        if let Err(error) = accept(&door, listener).await {
            tracing::error!(%error, "the console ended");
        }
    }

    async fn serve(&self, stream: Stream) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (near, far) = duplex(PIPE);
        let console = console::serve(far, id, self.handles.clone());
        let (told, ended) = tokio::join!(self.let_in(stream, near), console);
        if let Err(error) = told {
            tracing::info!(%error, "console login");
        }
        if let Err(error) = ended {
            tracing::debug!(%error, "console session ended");
        }
    }

    async fn let_in(&self, stream: Stream, near: DuplexStream) -> Result<(), DoorError> {
        let mut inner = PacketStream::new(near);
        let greeting = Greeting::parse(&inner.read().await?).map_err(StreamError::from)?;
        let (user, password) = (&self.admin.user, self.admin.password.reveal());
        let tls = self.offers.borrow().as_ref().map(|offer| Arc::clone(&offer.console));
        let admitted = admit(stream, &greeting, user, password, tls, self.timeout).await?;
        let Admitted { mut stream, response, seq } = admitted;
        // The console accepts any login; what counts are the capabilities.
        let response = HandshakeResponse {
            capabilities: (response.capabilities & greeting.capabilities)
                .without(Capabilities::PLUGIN_AUTH_LENENC)
                .without(Capabilities::CONNECT_ATTRS),
            token: Vec::new(),
            plugin: Some(greeting.plugin.clone()),
            attributes: Vec::new(),
            ..response
        };
        inner.write(&response.to_payload()).await?;
        let ok = inner.read().await?;
        let mut packet = Vec::new();
        put_packet(&mut packet, seq, &ok);
        stream.write_all(&packet).await.map_err(StreamError::from)?;
        let (mut near, ahead) = inner.into_parts();
        stream.write_all(&ahead).await.map_err(StreamError::from)?;
        stream.flush().await.map_err(StreamError::from)?;
        copy_bidirectional(&mut stream, &mut near).await.map_err(StreamError::from)?;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum DoorError {
    #[error("{0}")]
    Stream(#[from] StreamError),
    #[error("{0}")]
    NotAdmitted(#[from] crate::session::NotAdmitted),
}

async fn accept(door: &Arc<ConsoleDoor>, listener: Listener) -> io::Result<()> {
    let mut sessions = JoinSet::new();
    let serve = |stream| {
        let door = Arc::clone(door);
        async move { door.serve(stream).await }
    };
    match listener {
        Listener::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        sessions.spawn(serve(Stream::Tcp(accepted?.0)));
                    }
                    Some(_) = sessions.join_next() => {}
                }
            }
        }
        Listener::Unix(listener, _file) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        sessions.spawn(serve(Stream::Unix(accepted?.0)));
                    }
                    Some(_) = sessions.join_next() => {}
                }
            }
        }
    }
}

/// The sessions, for `SHOW SESSIONS` and `KILL`.
pub(super) struct Sessions(pub(super) Handles);

impl Sessions {
    /// Those of each listener, with its name.
    fn all(&self) -> impl Iterator<Item = (&'static str, &Shared)> {
        let main = ("main", &*self.0.sessions);
        std::iter::once(main).chain(self.0.reads.iter().map(|reads| ("reads", &*reads.sessions)))
    }
}

impl SessionList for Sessions {
    fn sessions(&self) -> Vec<SessionRow> {
        let servers = self.0.routes.borrow().servers.clone();
        let row = |port, entry: Arc<Entry>| SessionRow {
            port,
            id: u64::from(entry.id),
            user: entry.user(),
            client: entry.client().map_or_else(|| "unix".to_owned(), |peer| peer.to_string()),
            server: entry.server().map_or_else(String::new, |id| servers.name(id).to_owned()),
            state: match entry.activity() {
                Activity::LoggingIn => "logging in",
                Activity::Idle => "idle",
                Activity::Running => "running",
                Activity::Held => "held",
            }
            .to_owned(),
            tied_by: entry.tied_by().map(str::to_owned),
            since: entry.since,
        };
        let sessions = self.all().flat_map(|(port, shared)| {
            shared.registry.list().into_iter().map(move |entry| (port, entry))
        });
        sessions.map(|(port, entry)| row(port, entry)).collect()
    }

    fn kill(&self, id: u64) -> bool {
        let id = u32::try_from(id).ok();
        let entry = id.and_then(|id| self.all().find_map(|(_, shared)| shared.registry.get(id)));
        entry.inspect(|entry| entry.kill()).is_some()
    }
}
