//! The threads that sessions live on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::session::{Acknowledgements, Shared, serve};
use crate::wire::Stream;

/// A client on its way to a worker, and what its session shares with others.
#[derive(Debug)]
struct Arrival {
    socket: Socket,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

/// One thread.
#[derive(Debug)]
struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    sessions: Arc<AtomicUsize>,
}

/// All of them. Cheap to clone; when the last clone is dropped the threads end with their sessions.
#[derive(Clone, Debug)]
pub struct Workers {
    workers: Arc<[Worker]>,
    shared: Arc<Shared>,
}

/// How long sessions may take to end once nobody new can come.
const LEAVE: Duration = Duration::from_secs(10);

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(count: usize, shared: &Arc<Shared>) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        for number in 0..count.max(1) {
            let (arrivals, receiver) = mpsc::unbounded_channel();
            let sessions = Arc::new(AtomicUsize::new(0));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = work(receiver, Arc::clone(&sessions), shared.open_book());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(work))?;
            workers.push(Worker { arrivals, sessions });
            threads.push(thread);
        }
        Ok((Self { workers: workers.into(), shared: Arc::clone(shared) }, threads))
    }

    /// The same threads, for clients whose sessions share something else.
    #[must_use]
    pub fn sharing(&self, shared: &Arc<Shared>) -> Self {
        Self { workers: Arc::clone(&self.workers), shared: Arc::clone(shared) }
    }

    pub(super) fn place_tcp(&self, stream: std::net::TcpStream, peer: SocketAddr) {
        self.place(Socket::Tcp(stream, peer));
    }

    pub(super) fn place_unix(&self, stream: std::os::unix::net::UnixStream) {
        self.place(Socket::Unix(stream));
    }

    fn place(&self, socket: Socket) {
        let fewest = |worker: &&Worker| worker.sessions.load(Ordering::Relaxed);
        if let Some(worker) = self.workers.iter().min_by_key(fewest) {
            worker.sessions.fetch_add(1, Ordering::Relaxed);
            // It only fails while the process ends; then the client is closed.
            let _ = worker.arrivals.send(Arrival { socket, shared: Arc::clone(&self.shared) });
        }
    }
}

/// Leaves the worker's count right however a session ends.
struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn work(
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    sessions: Arc<AtomicUsize>,
    book: Arc<Acknowledgements>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            arrival = arrivals.recv() => {
                let Some(Arrival { socket, shared }) = arrival else { break };
                let leaving = Leaving(Arc::clone(&sessions));
                let (stream, peer) = match adopt(socket) {
                    Ok(adopted) => adopted,
                    Err(error) => {
                        tracing::warn!(%error, "a client could not be taken in");
                        continue;
                    }
                };
                let book = Arc::clone(&book);
                tasks.spawn(async move {
                    serve(stream, peer, shared, book).await;
                    drop(leaving);
                });
            }
            // A session that panicked has said so; the others go on.
            Some(_) = tasks.join_next() => {}
        }
    }
    let everybody = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LEAVE, everybody).await.is_err() {
        tracing::warn!(sessions = sessions.load(Ordering::Relaxed), "sessions cut off at the end");
    }
}

fn adopt(socket: Socket) -> io::Result<(Stream, Option<SocketAddr>)> {
    Ok(match socket {
        Socket::Tcp(stream, peer) => {
            stream.set_nonblocking(true)?;
            (Stream::Tcp(TcpStream::from_std(stream)?), Some(peer))
        }
        Socket::Unix(stream) => {
            stream.set_nonblocking(true)?;
            (Stream::Unix(UnixStream::from_std(stream)?), None)
        }
    })
}
