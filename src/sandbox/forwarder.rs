//! A network that can fail: a TCP forwarder in front of a server.
//!
//! Dropping packets is the firewall's business and needs root, so the sandbox puts itself between
//! the server and everybody who talks to it. Cut off, it swallows: what one side says does not
//! arrive, closing a connection included, and new connections are accepted (a kernel does that by
//! itself) but lead nowhere. When the network heals, everything that was under way arrives, as TCP
//! would see to it. Refusing, it is a machine that is up with nothing listening on the port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::port::ReservedPort;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Everything arrives.
    Clear,
    /// Nothing arrives.
    Silent,
    /// Connections are reset, and new ones refused.
    Refusing,
}

/// Stands in front of one server.
#[derive(Debug)]
pub(super) struct Forwarder {
    port: ReservedPort,
    target: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Accepts, and owns the connections; `None` while refusing.
    accepting: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Listens, and forwards to `target`.
    pub(super) fn start(target: SocketAddr) -> io::Result<Self> {
        let mut forwarder = Self {
            port: ReservedPort::take()?,
            target,
            weather: watch::Sender::new(Weather::Refusing),
            accepting: None,
        };
        forwarder.clear()?;
        Ok(forwarder)
    }

    /// Where to connect to instead of the server.
    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Everything arrives again, what was swallowed included.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.listen()?;
        self.weather.send_replace(Weather::Clear);
        Ok(())
    }

    /// From now on nothing arrives.
    pub(super) fn silence(&mut self) -> io::Result<()> {
        self.listen()?;
        self.weather.send_replace(Weather::Silent);
        Ok(())
    }

    /// Resets all connections and refuses new ones; returns when that is so.
    pub(super) async fn refuse(&mut self) {
        self.weather.send_replace(Weather::Refusing);
        if let Some(accepting) = self.accepting.take() {
            // It ends by itself; if it panicked, its socket is closed as well.
            let _ = accepting.await;
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        if self.accepting.is_some() {
            return Ok(());
        }
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&self.address().into())?;
        socket.listen(1024)?;
        let listener = TcpListener::from_std(socket.into())?;
        // Before the task looks at it, or it would still see `Refusing` and end.
        self.weather.send_replace(Weather::Silent);
        let task = accept(listener, self.target, self.weather.subscribe());
        self.accepting = Some(tokio::spawn(task));
        Ok(())
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    let mut refusing = weather.clone();
    loop {
        tokio::select! {
            _ = refusing.wait_for(|weather| *weather == Weather::Refusing) => break,
            // Out of file descriptors, or gone before it was accepted: the next one may do.
            Ok((client, _)) = listener.accept() => {
                connections.spawn(connection(client, target, weather.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Forwards one connection until both sides have closed it, or the network resets it.
async fn connection(
    mut client: TcpStream,
    target: SocketAddr,
    mut weather: watch::Receiver<Weather>,
) {
    let mut refusing = weather.clone();
    let refused = refusing.wait_for(|weather| *weather == Weather::Refusing);
    let forwarded = async {
        clear(&mut weather).await?;
        let mut server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = pump(from_client, to_server, weather.clone());
        let back = pump(from_server, to_client, weather.clone());
        tokio::try_join!(there, back).map(drop)
    };
    let reset = tokio::select! {
        _ = refused => true,
        ended = forwarded => ended.is_err(),
    };
    if reset {
        // With no time to linger, closing a socket resets the connection (socket(7)).
        let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
}

/// Forwards one direction to its end.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        clear(&mut weather).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

async fn clear(weather: &mut watch::Receiver<Weather>) -> io::Result<()> {
    let cleared = weather.wait_for(|weather| *weather == Weather::Clear).await;
    cleared.map(drop).map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    /// A server that says everything back.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn says_back(client: &mut TcpStream, word: &[u8]) -> io::Result<bool> {
        client.write_all(word).await?;
        let mut heard = vec![0; word.len()];
        client.read_exact(&mut heard).await?;
        Ok(heard == word)
    }

    #[tokio::test]
    async fn what_was_swallowed_arrives_when_the_network_heals() {
        let mut network = Forwarder::start(echo().await).unwrap();
        let mut client = TcpStream::connect(network.address()).await.unwrap();
        assert!(says_back(&mut client, b"before").await.unwrap());

        network.silence().unwrap();
        let mut late = TcpStream::connect(network.address()).await.unwrap();
        let mut old = pin!(says_back(&mut client, b"during"));
        let mut new = pin!(says_back(&mut late, b"hello"));
        // A third connection, which is clear, takes far more turns than an answer would need.
        let mut other = Forwarder::start(echo().await).unwrap();
        let mut witness = TcpStream::connect(other.address()).await.unwrap();
        for _ in 0..100 {
            assert!(says_back(&mut witness, b"meanwhile").await.unwrap());
            std::future::poll_fn(|context| {
                assert!(old.as_mut().poll(context).is_pending(), "an old connection was heard");
                assert!(new.as_mut().poll(context).is_pending(), "a new connection was heard");
                Poll::Ready(())
            })
            .await;
        }
        other.refuse().await;

        network.clear().unwrap();
        assert!(old.await.unwrap());
        assert!(new.await.unwrap());
    }

    #[tokio::test]
    async fn refusing_resets_the_old_and_refuses_the_new_until_it_clears() {
        let mut network = Forwarder::start(echo().await).unwrap();
        let mut client = TcpStream::connect(network.address()).await.unwrap();
        assert!(says_back(&mut client, b"before").await.unwrap());

        network.refuse().await;
        let reset = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        let refused = TcpStream::connect(network.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        network.clear().unwrap();
        let mut client = TcpStream::connect(network.address()).await.unwrap();
        assert!(says_back(&mut client, b"after").await.unwrap());
    }

    #[tokio::test]
    async fn a_closed_half_is_passed_on_and_the_other_half_still_works() {
        let network = Forwarder::start(echo().await).unwrap();
        let mut client = TcpStream::connect(network.address()).await.unwrap();
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"last words");
    }
}
