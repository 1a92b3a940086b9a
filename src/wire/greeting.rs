//! The server's greeting (`HandshakeV10`), read from masters and written to clients.
//!
//! ```text
//! 0A  version NUL  connection id(4)  salt 1(8)  00
//! capabilities low(2)  collation(1)  status(2)  capabilities high(2)
//! salt length(1)  reserved(6)  MariaDB extended capabilities(4)
//! salt 2(max(13, length - 8))  plugin NUL
//! ```
//!
//! Sources: MySQL source documentation, "Protocol::HandshakeV10"; MariaDB, "Connecting".

use super::auth::{SALT_LEN, Salt};
use super::capabilities::Capabilities;
use super::codec::{Cursor, Malformed};
use super::ok_packet::StatusFlags;

/// A greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The version string, byte for byte.
    pub version: String,
    /// The id by which KILL would name the connection.
    pub connection_id: u32,
    /// The random bytes that a password is scrambled with.
    pub salt: Salt,
    /// What the server can do.
    pub capabilities: Capabilities,
    /// Its default collation.
    pub collation: u8,
    /// Its status flags.
    pub status: StatusFlags,
    /// The plugin that the salt is for.
    pub plugin: String,
}

impl Greeting {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is no greeting of protocol 10, or its salt is not 20 bytes long.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != 0x0A {
            return Err(Malformed("the greeting is not of protocol 10"));
        }
        let version = String::from_utf8_lossy(cursor.nul_bytes()?).into_owned();
        let connection_id = cursor.u32()?;
        let salt_1: [u8; 8] = cursor.array()?;
        cursor.u8()?;
        let low = cursor.u16()?;
        let collation = cursor.u8()?;
        let status = StatusFlags(cursor.u16()?);
        let high = cursor.u16()?;
        let salt_len = usize::from(cursor.u8()?);
        cursor.bytes(6)?;
        let extended = cursor.u32()?;
        let capabilities =
            Capabilities::from_halves(u32::from(low) | u32::from(high) << 16, extended);
        let salt_2 = cursor.bytes(salt_len.saturating_sub(8).max(13))?;
        let mut salt = [0; SALT_LEN];
        salt[..8].copy_from_slice(&salt_1);
        salt[8..].copy_from_slice(&salt_2[..SALT_LEN - 8]);
        let plugin = String::from_utf8_lossy(cursor.nul_or_rest()).into_owned();
        Ok(Self { version, connection_id, salt, capabilities, collation, status, plugin })
    }

    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        let low = self.capabilities.low().to_le_bytes();
        let mut out = Vec::with_capacity(96);
        out.push(0x0A);
        out.extend_from_slice(self.version.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.connection_id.to_le_bytes());
        out.extend_from_slice(&self.salt[..8]);
        out.push(0);
        out.extend_from_slice(&low[..2]);
        out.push(self.collation);
        out.extend_from_slice(&self.status.0.to_le_bytes());
        out.extend_from_slice(&low[2..]);
        out.push(SALT_LEN as u8 + 1);
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.capabilities.extended().to_le_bytes());
        out.extend_from_slice(&self.salt[8..]);
        out.push(0);
        out.extend_from_slice(self.plugin.as_bytes());
        out.push(0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::io::ParseBuf;
    use mysql_common::packets::HandshakePacket;
    use mysql_common::proto::MyDeserialize;

    fn sample() -> Greeting {
        Greeting {
            version: "5.5.5-10.11.19-MariaDB-log".into(),
            connection_id: 77,
            salt: *b"abcdefghijklmnopqrst",
            capabilities: Capabilities(0x81FF_F7FE | 0x1D << 32),
            collation: 8,
            status: StatusFlags(2),
            plugin: "mysql_native_password".into(),
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(Greeting::parse(&sample().to_payload()), Ok(sample()));
    }

    #[test]
    fn mysql_common_reads_the_same() {
        let payload = sample().to_payload();
        let theirs = HandshakePacket::deserialize((), &mut ParseBuf(&payload)).expect("readable");
        assert_eq!(theirs.server_version_ref(), sample().version.as_bytes());
        assert_eq!(theirs.connection_id(), 77);
        assert_eq!(theirs.scramble_1_ref(), b"abcdefgh");
        assert_eq!(theirs.scramble_2_ref().map(|s| &s[..12]), Some(&b"ijklmnopqrst"[..]));
        assert_eq!(theirs.capabilities().bits(), 0x81FF_F7FE);
        assert_eq!(theirs.auth_plugin_name_ref(), Some(&b"mysql_native_password"[..]));
    }

    #[test]
    fn anything_shorter_is_refused() {
        let payload = sample().to_payload();
        let plugin = payload.len() - sample().plugin.len() - 1;
        for len in 0..plugin {
            assert!(Greeting::parse(&payload[..len]).is_err(), "{len} bytes were enough");
        }
    }
}
