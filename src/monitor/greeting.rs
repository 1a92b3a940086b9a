//! Reading a server's greeting, which the driver does not show.
//!
//! Tandem greets clients as the masters would, so it has to see the greeting itself: a second
//! connection, from which the first packet is taken. A handshake that is not finished counts
//! against this host on the server (`max_connect_errors`, after 100 of which the host is blocked),
//! and any successful login sets that count back to nothing. So the caller reads the greeting only
//! right after it has logged in on another connection, once for each new control connection: the
//! count never exceeds one.

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{ErrPacket, HandshakePacket};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};

use super::connection::{ConnectionError, Target};
use crate::topology::{Flavor, Identity};

/// The largest greeting worth reading; real ones have about a hundred bytes.
const LONGEST: usize = 4096;

/// Takes the first packet that the server at `target` sends to a new connection.
pub(super) async fn read_identity(target: &Target) -> Result<Identity, ConnectionError> {
    let payload = match target {
        Target::Tcp(address) => first_packet(TcpStream::connect(address).await?).await?,
        Target::Unix(path) => first_packet(UnixStream::connect(path).await?).await?,
    };
    parse(&payload)
}

async fn first_packet(mut stream: impl AsyncRead + Unpin) -> Result<Vec<u8>, ConnectionError> {
    let header = stream.read_u32_le().await?;
    let length = usize::try_from(header & 0x00ff_ffff).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(ConnectionError::Unintelligible(format!(
            "the first packet says that it has {length} bytes, which is no greeting"
        )));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

fn parse(payload: &[u8]) -> Result<Identity, ConnectionError> {
    // A server that is full answers with an error in the place of the greeting (1040, without an
    // SQLSTATE because nothing has been negotiated yet).
    if payload.first() == Some(&0xff) {
        let parsed = ParseBuf(payload).parse::<ErrPacket<'_>>(CapabilityFlags::empty());
        return Err(match parsed {
            Ok(ErrPacket::Error(error)) => ConnectionError::Server {
                code: error.error_code(),
                message: error.message_str().into_owned(),
            },
            _ => ConnectionError::Unintelligible(
                "an unreadable error in place of the greeting".into(),
            ),
        });
    }
    let greeting = ParseBuf(payload).parse::<HandshakePacket<'_>>(()).map_err(|error| {
        ConnectionError::Unintelligible(format!("unreadable greeting: {error}"))
    })?;
    let capabilities = greeting.capabilities();
    // MariaDB's own bits are only there when the bit that once meant "LONG_PASSWORD" is clear.
    let extended = if capabilities.contains(CapabilityFlags::CLIENT_LONG_PASSWORD) {
        0
    } else {
        greeting.mariadb_ext_capabilities().bits()
    };
    let version = greeting.server_version_str().into_owned();
    Ok(Identity {
        flavor: if version.contains("MariaDB") { Flavor::MariaDb } else { Flavor::MySql },
        version,
        capabilities: u64::from(capabilities.bits()) | u64::from(extended) << 32,
        collation: greeting.default_collation(),
        plugin: greeting
            .auth_plugin_name_str()
            .map_or_else(|| "mysql_native_password".to_owned(), std::borrow::Cow::into_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The greeting of MariaDB 10.11.19 without TLS, as captured (`protocol.md` 2.1).
    fn mariadb() -> Vec<u8> {
        let mut packet = vec![10];
        packet.extend_from_slice(b"5.5.5-10.11.19-MariaDB-0+deb12u1-log\0");
        packet.extend_from_slice(&7u32.to_le_bytes());
        packet.extend_from_slice(b"abcdefgh\0");
        packet.extend_from_slice(&0xf7feu16.to_le_bytes());
        packet.push(8);
        packet.extend_from_slice(&2u16.to_le_bytes());
        packet.extend_from_slice(&0x81ffu16.to_le_bytes());
        packet.push(21);
        packet.extend_from_slice(&[0; 6]);
        packet.extend_from_slice(&0x1du32.to_le_bytes());
        packet.extend_from_slice(b"ijklmnopqrst\0mysql_native_password\0");
        packet
    }

    #[test]
    fn mariadb_has_bits_of_its_own() {
        let identity = parse(&mariadb()).expect("a greeting");
        assert_eq!(identity.flavor, Flavor::MariaDb);
        assert_eq!(identity.version, "5.5.5-10.11.19-MariaDB-0+deb12u1-log");
        assert_eq!(identity.capabilities, 0x1d_81ff_f7fe);
        assert_eq!((identity.collation, identity.plugin.as_str()), (8, "mysql_native_password"));
    }

    #[test]
    fn where_the_bit_is_set_the_filler_means_nothing() {
        let mut packet = mariadb();
        let low = 1 + "5.5.5-10.11.19-MariaDB-0+deb12u1-log\0".len() + 4 + 9;
        packet[low] |= 1;
        assert_eq!(parse(&packet).expect("a greeting").capabilities, 0x81ff_f7ff);
    }

    #[test]
    fn a_full_server_says_so_without_sqlstate() {
        let mut packet = vec![0xff];
        packet.extend_from_slice(&1040u16.to_le_bytes());
        packet.extend_from_slice(b"Too many connections");
        assert_eq!(
            parse(&packet),
            Err(ConnectionError::Server { code: 1040, message: "Too many connections".to_owned() })
        );
    }

    #[tokio::test]
    async fn what_lies_about_its_length_is_not_read() {
        let error = first_packet(&b"HTTP/1.1 400 Bad Request"[..]).await.expect_err("no greeting");
        assert!(matches!(error, ConnectionError::Unintelligible(_)), "{error:?}");
        let error = first_packet(&[0x10, 0, 0, 0, 10][..]).await.expect_err("cut short");
        assert!(matches!(error, ConnectionError::Unreachable { .. }), "{error:?}");
    }
}
