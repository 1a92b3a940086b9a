//! ERR packets.
//!
//! ```text
//! FF  code(2)  '#' sqlstate(5)  message
//! ```
//!
//! Before the handshake is through (too many connections, host blocked) there is no `#sqlstate`
//! (MySQL source documentation, "ERR_Packet").

use std::borrow::Cow;

use super::codec::{Cursor, Malformed};

/// An SQLSTATE: five characters.
pub type SqlState = [u8; 5];

/// An ERR packet's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPacket<'a> {
    /// The server's error code.
    pub code: u16,
    /// The SQLSTATE; `None` before the handshake is through.
    pub state: Option<SqlState>,
    /// The text.
    pub message: Cow<'a, str>,
}

impl<'a> ErrorPacket<'a> {
    /// Reads a payload that starts with 0xFF.
    ///
    /// # Errors
    /// When it is something else, or cut off.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != 0xFF {
            return Err(Malformed("not an ERR packet"));
        }
        let code = cursor.u16()?;
        let mut state = None;
        if cursor.rest().first() == Some(&b'#') && cursor.rest().len() >= 6 {
            cursor.u8()?;
            state = Some(cursor.array()?);
        }
        Ok(Self { code, state, message: String::from_utf8_lossy(cursor.rest()) })
    }

    /// The code of a payload that starts with 0xFF, without reading the rest.
    #[must_use]
    pub fn code_of(payload: &[u8]) -> Option<u16> {
        match payload {
            [0xFF, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
            _ => None,
        }
    }

    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        let mut out = vec![0xFF];
        out.extend_from_slice(&self.code.to_le_bytes());
        if let Some(state) = self.state {
            out.push(b'#');
            out.extend_from_slice(&state);
        }
        out.extend_from_slice(self.message.as_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_round_trip() {
        for state in [None, Some(*b"08S01")] {
            let packet = ErrorPacket { code: 1927, state, message: "gone".into() };
            assert_eq!(ErrorPacket::parse(&packet.to_payload()), Ok(packet));
        }
    }

    #[test]
    fn other_packets_are_refused() {
        assert!(ErrorPacket::parse(&[0, 0, 0]).is_err());
        assert!(ErrorPacket::parse(&[0xFF, 1]).is_err());
        assert!(ErrorPacket::parse(&[]).is_err());
    }
}
