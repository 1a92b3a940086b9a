//! A port that nobody else gets: of loopback, or in a network of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A loopback port, held from when it is found until it is dropped.
///
/// To pick a free port and let go of it, as is common, is a race that a test suite with several
/// sandboxes at once loses now and then, and a server that is down for a while loses its port to
/// any outgoing connection. So the socket stays bound. The kernel lets a second socket listen on the
/// port all the same as long as this one does not listen itself and both say `SO_REUSEADDR`
/// (socket(7)), which servers do; it hands the port to nobody who asks for just any.
#[derive(Debug)]
pub(super) struct ReservedPort {
    /// `None` where there is nobody else.
    _bound: Option<Socket>,
    address: SocketAddr,
}

impl ReservedPort {
    /// Takes a free one.
    pub(super) fn take() -> io::Result<Self> {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        // After the bind, so that the bind itself was exclusive.
        bound.set_reuse_address(true)?;
        let address = bound.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { _bound: Some(bound), address })
    }

    /// One in a network that the server has for itself: every port is free there.
    pub(super) fn alone_at(address: IpAddr) -> Self {
        Self { _bound: None, address: SocketAddr::new(address, 3306) }
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_server_may_listen_on_a_reserved_port_again_and_again() {
        let port = ReservedPort::take().unwrap();
        for _ in 0..2 {
            let refused = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(port.address()).unwrap();
            let client = TcpStream::connect(port.address()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            drop((accepted, client));
        }
    }

    #[test]
    fn no_two_reservations_are_the_same() {
        let ports: Vec<ReservedPort> = (0..200).map(|_| ReservedPort::take().unwrap()).collect();
        let distinct: std::collections::HashSet<_> =
            ports.iter().map(ReservedPort::address).collect();
        assert_eq!(distinct.len(), ports.len());
    }
}
