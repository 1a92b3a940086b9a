//! What a client answers to the greeting, and the packets in which a login goes on.
//!
//! ```text
//! HandshakeResponse41:
//!   capabilities(4)  max packet(4)  collation(1)  reserved(19)  MariaDB extended capabilities(4)
//!   user NUL
//!   token: lenenc (PLUGIN_AUTH_LENENC), length byte (SECURE_CONNECTION), or NUL-terminated
//!   [schema NUL]       CONNECT_WITH_DB
//!   [plugin NUL]       PLUGIN_AUTH
//!   [attributes]       CONNECT_ATTRS: lenenc length, then lenenc key, lenenc value, ...
//!   [zstd level(1)]    CLIENT_ZSTD_COMPRESSION_ALGORITHM
//! SSLRequest:          the first line alone; TLS begins behind it, and the whole follows in it
//! AuthSwitchRequest:   FE  plugin NUL  salt(20) NUL
//! COM_CHANGE_USER:     11  user NUL  token length(1) token  schema NUL  collation(2)
//!                      [plugin NUL]  [attributes]
//! ```
//!
//! Sources: MySQL source documentation, "Protocol::HandshakeResponse41",
//! "Protocol::AuthSwitchRequest", "COM_CHANGE_USER"; MariaDB, "Connecting".

use super::auth::Salt;
use super::capabilities::Capabilities;
use super::codec::{Cursor, Malformed, put_lenenc_bytes};
use super::compression::ZSTD_LEVEL;

/// A client's answer to the greeting.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// What both sides can do.
    pub capabilities: Capabilities,
    /// The longest packet it takes.
    pub max_packet: u32,
    /// The collation the session starts with.
    pub collation: u8,
    /// Who.
    pub user: Vec<u8>,
    /// The plugin's first answer.
    pub token: Vec<u8>,
    /// The schema to start in.
    pub schema: Option<Vec<u8>>,
    /// The plugin that made `token`.
    pub plugin: Option<String>,
    /// The connection attributes as they came, without their total length.
    pub attributes: Vec<u8>,
    /// The level at which to compress with zstd; sent with that capability only.
    pub zstd_level: Option<u8>,
}

impl std::fmt::Debug for HandshakeResponse {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandshakeResponse")
            .field("capabilities", &self.capabilities)
            .field("user", &String::from_utf8_lossy(&self.user))
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}

impl HandshakeResponse {
    /// Whether the payload is an SSLRequest: the first 32 bytes of a response, and no more.
    #[must_use]
    pub fn is_ssl_request(payload: &[u8]) -> bool {
        payload.len() == 32
            && payload.first_chunk().is_some_and(|low| {
                Capabilities(u64::from(u32::from_le_bytes(*low))).has(Capabilities::SSL)
            })
    }

    /// An SSLRequest: says that TLS begins, and what follows in it will say again.
    #[must_use]
    pub fn ssl_request(capabilities: Capabilities, max_packet: u32, collation: u8) -> Vec<u8> {
        let capabilities = capabilities.with(Capabilities::SSL);
        let mut out = Vec::with_capacity(32);
        out.extend_from_slice(&capabilities.low().to_le_bytes());
        out.extend_from_slice(&max_packet.to_le_bytes());
        out.push(collation);
        out.extend_from_slice(&[0; 19]);
        out.extend_from_slice(&capabilities.extended().to_le_bytes());
        out
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not of protocol 4.1, or cut off.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let low = cursor.u32()?;
        if !Capabilities(u64::from(low)).has(Capabilities::PROTOCOL_41) {
            return Err(Malformed("the client does not speak protocol 4.1"));
        }
        let max_packet = cursor.u32()?;
        let collation = cursor.u8()?;
        cursor.bytes(19)?;
        let capabilities = Capabilities::from_halves(low, cursor.u32()?);
        let user = cursor.nul_bytes()?.to_vec();
        let token = if capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            cursor.lenenc_bytes()?
        } else if capabilities.has(Capabilities::SECURE_CONNECTION) {
            let len = cursor.u8()?;
            cursor.bytes(usize::from(len))?
        } else {
            cursor.nul_bytes()?
        };
        let token = token.to_vec();
        let schema = if capabilities.has(Capabilities::CONNECT_WITH_DB) {
            Some(cursor.nul_or_rest().to_vec()).filter(|schema| !schema.is_empty())
        } else {
            None
        };
        let (plugin, attributes) = plugin_and_attributes(&mut cursor, capabilities)?;
        let zstd_level = if capabilities.has(Capabilities::ZSTD) { cursor.u8().ok() } else { None };
        Ok(Self {
            capabilities,
            max_packet,
            collation,
            user,
            token,
            schema,
            plugin,
            attributes,
            zstd_level,
        })
    }

    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        let capabilities = self.capabilities;
        let mut out = Vec::with_capacity(128 + self.attributes.len());
        out.extend_from_slice(&capabilities.low().to_le_bytes());
        out.extend_from_slice(&self.max_packet.to_le_bytes());
        out.push(self.collation);
        out.extend_from_slice(&[0; 19]);
        out.extend_from_slice(&capabilities.extended().to_le_bytes());
        out.extend_from_slice(&self.user);
        out.push(0);
        if capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            put_lenenc_bytes(&mut out, &self.token);
        } else {
            out.push(self.token.len() as u8);
            out.extend_from_slice(&self.token);
        }
        if capabilities.has(Capabilities::CONNECT_WITH_DB) {
            out.extend_from_slice(self.schema.as_deref().unwrap_or_default());
            out.push(0);
        }
        if capabilities.has(Capabilities::PLUGIN_AUTH) {
            out.extend_from_slice(self.plugin.as_deref().unwrap_or_default().as_bytes());
            out.push(0);
        }
        if capabilities.has(Capabilities::CONNECT_ATTRS) {
            put_lenenc_bytes(&mut out, &self.attributes);
        }
        if capabilities.has(Capabilities::ZSTD) {
            out.push(self.zstd_level.unwrap_or(ZSTD_LEVEL));
        }
        out
    }
}

fn plugin_and_attributes(
    cursor: &mut Cursor<'_>,
    capabilities: Capabilities,
) -> Result<(Option<String>, Vec<u8>), Malformed> {
    let plugin = if capabilities.has(Capabilities::PLUGIN_AUTH) && !cursor.is_empty() {
        Some(String::from_utf8_lossy(cursor.nul_or_rest()).into_owned())
    } else {
        None
    };
    let attributes = if capabilities.has(Capabilities::CONNECT_ATTRS) && !cursor.is_empty() {
        cursor.lenenc_bytes()?.to_vec()
    } else {
        Vec::new()
    };
    Ok((plugin.filter(|plugin| !plugin.is_empty()), attributes))
}

/// "Answer with this plugin instead", as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthRequest<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// What the plugin is told: random bytes and a NUL, a question, or nothing.
    pub data: &'a [u8],
}

impl<'a> AuthRequest<'a> {
    /// Reads a payload that starts with 0xFE.
    ///
    /// # Errors
    /// When it is something else, the form of protocol 4.0 (a lone 0xFE) included.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != 0xFE || cursor.is_empty() {
            return Err(Malformed("not an AuthSwitchRequest"));
        }
        let plugin = std::str::from_utf8(cursor.nul_or_rest())
            .map_err(|_| Malformed("the name of a plugin is no text"))?;
        Ok(Self { plugin, data: cursor.rest() })
    }

    /// The first `N` bytes of the data, filled with zeroes: plugins that take none send none.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut random = [0; N];
        let len = self.data.len().min(N);
        random[..len].copy_from_slice(&self.data[..len]);
        random
    }
}

/// "Answer with this plugin instead.", for a plugin with a salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSwitch {
    /// The plugin.
    pub plugin: String,
    /// What to scramble with.
    pub salt: Salt,
}

impl AuthSwitch {
    /// Reads a payload that starts with 0xFE. A salt that is shorter than 20 bytes is filled with
    /// zeroes: plugins that take none send none.
    ///
    /// # Errors
    /// When it is something else, the form of protocol 4.0 (a lone 0xFE) included.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let request = AuthRequest::parse(payload)?;
        Ok(Self { plugin: request.plugin.to_owned(), salt: request.random() })
    }

    /// The payload. The NUL behind the salt is expected by clients.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        let mut out = vec![0xFE];
        out.extend_from_slice(self.plugin.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.salt);
        out.push(0);
        out
    }
}

/// COM_CHANGE_USER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeUser {
    /// Who.
    pub user: Vec<u8>,
    /// The schema to start in.
    pub schema: Option<Vec<u8>>,
    /// The collation to start with, if it was sent.
    pub collation: Option<u16>,
    /// The plugin of the token, if it was sent.
    pub plugin: Option<String>,
    /// The connection attributes, without their total length.
    pub attributes: Vec<u8>,
}

impl ChangeUser {
    /// Reads a payload that starts with 0x11. The token is skipped: clients scramble it with a salt
    /// that servers no longer accept here, and answer a switch request instead.
    ///
    /// # Errors
    /// When it is cut off.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != 0x11 {
            return Err(Malformed("not COM_CHANGE_USER"));
        }
        let user = cursor.nul_bytes()?.to_vec();
        let token_len = usize::from(cursor.u8()?);
        cursor.bytes(token_len)?;
        let schema = Some(cursor.nul_or_rest().to_vec()).filter(|schema| !schema.is_empty());
        let collation = cursor.u16().ok();
        let (plugin, attributes) = plugin_and_attributes(&mut cursor, capabilities)?;
        Ok(Self { user, schema, collation, plugin, attributes })
    }

    /// The payload, with an empty token: the server asks for the right one. `capabilities` are those
    /// of the login.
    #[must_use]
    pub fn to_payload(&self, capabilities: Capabilities) -> Vec<u8> {
        let mut out = vec![0x11];
        out.extend_from_slice(&self.user);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(self.schema.as_deref().unwrap_or_default());
        out.push(0);
        out.extend_from_slice(&self.collation.unwrap_or_default().to_le_bytes());
        if capabilities.has(Capabilities::PLUGIN_AUTH) {
            out.extend_from_slice(self.plugin.as_deref().unwrap_or_default().as_bytes());
            out.push(0);
        }
        if capabilities.has(Capabilities::CONNECT_ATTRS) {
            put_lenenc_bytes(&mut out, &self.attributes);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(capabilities: Capabilities) -> HandshakeResponse {
        HandshakeResponse {
            capabilities,
            max_packet: 1 << 24,
            collation: 45,
            user: b"app".to_vec(),
            token: vec![9; 20],
            schema: Some(b"shop".to_vec()),
            plugin: Some("mysql_native_password".into()),
            attributes: b"\x03_os\x05Linux".to_vec(),
            zstd_level: capabilities.has(Capabilities::ZSTD).then_some(7),
        }
    }

    fn all() -> Capabilities {
        Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::PLUGIN_AUTH_LENENC
            | Capabilities::CONNECT_WITH_DB
            | Capabilities::CONNECT_ATTRS
    }

    #[test]
    fn round_trip_in_every_form() {
        for capabilities in [
            all(),
            all().with(Capabilities::STMT_BULK),
            all().with(Capabilities::ZSTD),
            all().without(Capabilities::PLUGIN_AUTH_LENENC),
        ] {
            let response = sample(capabilities);
            assert_eq!(HandshakeResponse::parse(&response.to_payload()), Ok(response));
        }
    }

    #[test]
    fn mysql_common_reads_the_same() {
        use mysql_common::io::ParseBuf;
        use mysql_common::packets::HandshakeResponse as Theirs;
        use mysql_common::proto::MyDeserialize;
        let payload = sample(all()).to_payload();
        let theirs = Theirs::deserialize((), &mut ParseBuf(&payload)).expect("readable");
        assert_eq!(theirs.user(), b"app");
        assert_eq!(theirs.db_name(), Some(&b"shop"[..]));
        assert_eq!(theirs.scramble_buf(), [9; 20]);
        assert_eq!(theirs.collation(), 45);
    }

    #[test]
    fn an_auth_switch_round_trips() {
        let switch =
            AuthSwitch { plugin: "caching_sha2_password".into(), salt: *b"abcdefghijklmnopqrst" };
        assert_eq!(AuthSwitch::parse(&switch.to_payload()), Ok(switch));
        assert!(AuthSwitch::parse(&[0xFE]).is_err());
    }

    #[test]
    fn change_user_round_trips() {
        let change = ChangeUser {
            user: b"bob".to_vec(),
            schema: Some(b"shop".to_vec()),
            collation: Some(2053),
            plugin: Some("mysql_native_password".into()),
            attributes: b"\x03_os\x05Linux".to_vec(),
        };
        assert_eq!(ChangeUser::parse(&change.to_payload(all()), all()).as_ref(), Ok(&change));
        let bare = all().without(Capabilities::CONNECT_ATTRS).without(Capabilities::PLUGIN_AUTH);
        let short = ChangeUser::parse(&change.to_payload(bare), bare).expect("readable");
        assert_eq!((short.collation, short.plugin), (Some(2053), None));
    }

    #[test]
    fn change_user_with_and_without_its_tail() {
        let mut payload = b"\x11bob\0\x03tokshop\0".to_vec();
        let short = ChangeUser::parse(&payload, all()).expect("readable");
        assert_eq!((short.user.as_slice(), short.collation), (&b"bob"[..], None));
        payload.extend_from_slice(b"\x2d\x00mysql_native_password\0\x00");
        let long = ChangeUser::parse(&payload, all()).expect("readable");
        assert_eq!(long.schema.as_deref(), Some(&b"shop"[..]));
        assert_eq!(long.collation, Some(45));
        assert_eq!(long.plugin.as_deref(), Some("mysql_native_password"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(payload: Vec<u8>) {
            let _ = HandshakeResponse::parse(&payload);
            let _ = ChangeUser::parse(&payload, all());
            let _ = AuthSwitch::parse(&payload);
            let _ = AuthRequest::parse(&payload).map(|request| request.random::<32>());
        }
    }
}
