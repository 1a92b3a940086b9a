//! OK packets: the server's last words about a statement and about the session.
//!
//! ```text
//! 00 | FE   affected rows(lenenc)  last insert id(lenenc)  status(2)  warnings(2)
//!           [info(lenenc)  [session state(lenenc)  if status has SESSION_STATE_CHANGED]]
//! ```
//!
//! The info stands there, possibly empty, whenever session state follows. MariaDB and MySQL write
//! it length-encoded with and without CLIENT_SESSION_TRACK, so that taking the session state away
//! is: clear the flag, cut behind the info (MySQL source, `sql/protocol_classic.cc`, `net_send_ok`;
//! tried on MariaDB 10.11).
//!
//! Session state is a list of `type(1) data(lenenc)` (MySQL source, `session_tracker.cc`).

use super::auth::is_certificate_proof;
use super::codec::{Cursor, Malformed, put_lenenc_bytes, put_lenenc_int};
use super::packet::Header;

/// Status flags of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusFlags(pub u16);

impl StatusFlags {
    /// A transaction is open.
    pub const IN_TRANSACTION: Self = Self(0x0001);
    /// Autocommit is on.
    pub const AUTOCOMMIT: Self = Self(0x0002);
    /// Another result follows.
    pub const MORE_RESULTS: Self = Self(0x0008);
    /// A cursor is open; rows come by COM_STMT_FETCH.
    pub const CURSOR_EXISTS: Self = Self(0x0040);
    /// The cursor has delivered its last row.
    pub const LAST_ROW_SENT: Self = Self(0x0080);
    /// The result is the OUT parameters of a procedure.
    pub const OUT_PARAMETERS: Self = Self(0x1000);
    /// Session state follows in the OK packet.
    pub const SESSION_STATE_CHANGED: Self = Self(0x4000);

    /// Whether all bits of `other` are set.
    #[must_use]
    #[inline]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An OK packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OkPacket<'a> {
    /// Rows that changed.
    pub affected_rows: u64,
    /// The key that was generated; 0 for none.
    pub last_insert_id: u64,
    /// The session now.
    pub status: StatusFlags,
    /// How many warnings there are.
    pub warnings: u16,
    /// What changed in the session, undecoded.
    state: &'a [u8],
}

impl<'a> OkPacket<'a> {
    /// Reads a payload that starts with 0x00 or 0xFE.
    ///
    /// # Errors
    /// When it is cut off.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.u8()?;
        let affected_rows = cursor.lenenc_int()?;
        let last_insert_id = cursor.lenenc_int()?;
        let status = StatusFlags(cursor.u16()?);
        let warnings = cursor.u16()?;
        let mut state: &[u8] = &[];
        if status.has(StatusFlags::SESSION_STATE_CHANGED) {
            cursor.lenenc_bytes()?;
            state = cursor.lenenc_bytes()?;
        }
        Ok(Self { affected_rows, last_insert_id, status, warnings, state })
    }

    /// What changed in the session.
    #[must_use]
    pub fn session_changes(&self) -> SessionChanges<'a> {
        SessionChanges { cursor: Cursor::new(self.state) }
    }

    /// A payload without info and session state.
    #[must_use]
    pub fn plain(status: StatusFlags) -> Vec<u8> {
        let mut out = vec![0];
        put_lenenc_int(&mut out, 0);
        put_lenenc_int(&mut out, 0);
        out.extend_from_slice(&status.0.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out
    }
}

/// One entry of an OK packet's session state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange<'a> {
    /// A system variable has a new value.
    SystemVariable {
        /// Its name.
        name: &'a [u8],
        /// Its value as text.
        value: &'a [u8],
    },
    /// The current schema; empty when there is none any more.
    Schema(&'a [u8]),
    /// Something changed: a user variable, a temporary table, a statement prepared by SQL, ...
    State,
    /// The characteristics of the next or the open transaction, as SQL.
    TransactionCharacteristics(&'a [u8]),
    /// GTIDs as MySQL writes a set of them: with `session_track_gtids=OWN_GTID` those of what the
    /// statement committed, with `ALL_GTIDS` all that the server has executed. Behind a byte that says
    /// how they are encoded, which is 0 for text (MySQL source, `Session_gtids_tracker`; tried on 9.7).
    Gtids(&'a [u8]),
    /// Another kind: transaction state, or one that came later.
    Other(u8),
}

/// Iterates over an OK packet's session state. A malformed rest ends it.
#[derive(Clone, Debug)]
pub struct SessionChanges<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for SessionChanges<'a> {
    type Item = SessionChange<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        let kind = self.cursor.u8().ok()?;
        let mut data = Cursor::new(self.cursor.lenenc_bytes().ok()?);
        Some(match kind {
            0 => SessionChange::SystemVariable {
                name: data.lenenc_bytes().ok()?,
                value: data.lenenc_bytes().ok()?,
            },
            1 => SessionChange::Schema(data.lenenc_bytes().ok()?),
            2 => SessionChange::State,
            3 if data.rest().first() == Some(&0) => {
                data.u8().ok()?;
                SessionChange::Gtids(data.lenenc_bytes().ok()?)
            }
            4 => SessionChange::TransactionCharacteristics(data.lenenc_bytes().ok()?),
            other => SessionChange::Other(other),
        })
    }
}

/// Takes the session state out of the OK packet at the front of `packet` (header and payload), in
/// place, for a client that did not ask for session tracking. Returns the length that is left.
///
/// # Errors
/// When the packet is not what it says.
pub fn strip_session_state(packet: &mut [u8]) -> Result<usize, Malformed> {
    retain_session_state(packet, |_| false)
}

/// Leaves only those entries of session state in the OK packet at the front of `packet` (header and
/// payload) that `keep` is true of. Where none is left the packet is that of a session in which
/// nothing changed. Works in place; returns the length that is left.
///
/// # Errors
/// When the packet is not what it says.
pub fn retain_session_state(
    packet: &mut [u8],
    keep: impl Fn(SessionChange<'_>) -> bool,
) -> Result<usize, Malformed> {
    let header = Header::read(packet).ok_or(Malformed("it has no header"))?;
    let payload = packet.get(Header::LEN..header.total()).ok_or(Malformed("it is cut off"))?;
    let mut cursor = Cursor::new(payload);
    cursor.u8()?;
    cursor.lenenc_int()?;
    cursor.lenenc_int()?;
    let status_at = header.total() - cursor.rest().len();
    let status = StatusFlags(cursor.u16()?);
    if !status.has(StatusFlags::SESSION_STATE_CHANGED) {
        return Ok(header.total());
    }
    cursor.u16()?;
    let before_info = header.total() - cursor.rest().len();
    let has_info = !cursor.lenenc_bytes()?.is_empty();
    let behind_info = header.total() - cursor.rest().len();
    let state = cursor.lenenc_bytes()?.len();
    let from = header.total() - cursor.rest().len() - state;
    let kept = retain_entries(&mut packet[from..from + state], keep);
    let end = if kept > 0 {
        let (prefix, prefix_len) = lenenc_prefix(kept);
        let at = behind_info + prefix_len;
        packet.copy_within(from..from + kept, at);
        packet[behind_info..at].copy_from_slice(&prefix[..prefix_len]);
        at + kept
    } else {
        let status = status.0 & !StatusFlags::SESSION_STATE_CHANGED.0;
        packet[status_at..status_at + 2].copy_from_slice(&status.to_le_bytes());
        if has_info { behind_info } else { before_info }
    };
    let header = Header { len: end - Header::LEN, seq: header.seq };
    packet[..Header::LEN].copy_from_slice(&header.to_bytes());
    Ok(end)
}

/// The payload of a login's OK with our own proof of our own certificate, or none: a server's is about
/// its certificate, which the client does not see.
///
/// # Errors
/// When it is not what it says.
pub fn with_certificate_proof(ok: &[u8], proof: Option<&[u8]>) -> Result<Vec<u8>, Malformed> {
    let mut cursor = Cursor::new(ok);
    cursor.u8()?;
    cursor.lenenc_int()?;
    cursor.lenenc_int()?;
    let status = StatusFlags(cursor.u16()?);
    cursor.u16()?;
    let mut out = ok[..ok.len() - cursor.rest().len()].to_vec();
    let info = if cursor.is_empty() { &[][..] } else { cursor.lenenc_bytes()? };
    let theirs = if is_certificate_proof(info) { &[][..] } else { info };
    let info = proof.unwrap_or(theirs);
    // With nothing behind it an empty info is left out, unless session state is promised.
    let followed = !cursor.is_empty() || status.has(StatusFlags::SESSION_STATE_CHANGED);
    if !info.is_empty() || followed {
        put_lenenc_bytes(&mut out, info);
    }
    out.extend_from_slice(cursor.rest());
    Ok(out)
}

/// Moves the entries that stay to the front. Returns how many bytes they are.
fn retain_entries(state: &mut [u8], keep: impl Fn(SessionChange<'_>) -> bool) -> usize {
    let (mut at, mut kept) = (0, 0);
    loop {
        let mut entry = SessionChanges { cursor: Cursor::new(&state[at..]) };
        let Some(change) = entry.next() else { return kept };
        let len = state.len() - at - entry.cursor.rest().len();
        if keep(change) {
            state.copy_within(at..at + len, kept);
            kept += len;
        }
        at += len;
    }
}

/// `int<lenenc>` and how many bytes it has.
fn lenenc_prefix(value: usize) -> ([u8; 9], usize) {
    let bytes = (value as u64).to_le_bytes();
    let (first, len) = match value {
        0..=0xFA => return ([bytes[0], 0, 0, 0, 0, 0, 0, 0, 0], 1),
        0xFB..=0xFFFF => (0xFC, 2),
        0x1_0000..=0xFF_FFFF => (0xFD, 3),
        _ => (0xFE, 8),
    };
    let mut out = [0; 9];
    out[0] = first;
    out[1..=len].copy_from_slice(&bytes[..len]);
    (out, len + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::put_packet;
    use proptest::prelude::*;

    fn with_state(info: &[u8], state: &[u8]) -> Vec<u8> {
        let mut payload = vec![0, 1];
        put_lenenc_int(&mut payload, 300);
        payload.extend_from_slice(&0x4002u16.to_le_bytes());
        payload.extend_from_slice(&[0, 0]);
        put_lenenc_bytes(&mut payload, info);
        put_lenenc_bytes(&mut payload, state);
        payload
    }

    #[test]
    fn a_proof_takes_the_place_of_another() {
        let theirs = [&[1][..], &[b'A'; 64]].concat();
        let ours = [&[1][..], &[b'F'; 64]].concat();
        let state = b"\x01\x05\x04shop";
        for info in [&b""[..], &theirs] {
            let ok = with_state(info, state);
            let with = with_certificate_proof(&ok, Some(&ours)).expect("readable");
            assert_eq!(with, with_state(&ours, state));
            let without = with_certificate_proof(&ok, None).expect("readable");
            assert_eq!(without, with_state(b"", state));
        }
        let plain = OkPacket::plain(StatusFlags::AUTOCOMMIT);
        assert_eq!(with_certificate_proof(&plain, None).expect("readable"), plain);
        let with = with_certificate_proof(&plain, Some(&ours)).expect("readable");
        assert_eq!(with_certificate_proof(&with, None).expect("readable"), plain);
        // Something behind an empty info stays behind it.
        let trailed = [&plain[..], &[0, 9, 9]].concat();
        assert_eq!(with_certificate_proof(&trailed, None).expect("readable"), trailed);
        let words = with_state(b"words", state);
        assert_eq!(with_certificate_proof(&words, None).expect("readable"), words);
    }

    #[test]
    fn changes_are_read_one_by_one() {
        let state = b"\x00\x0b\x0aautocommit"; // cut off on purpose
        let payload = with_state(b"", state);
        let ok = OkPacket::parse(&payload).expect("readable");
        assert_eq!(ok.session_changes().count(), 0);

        let state = b"\x01\x05\x04shop\x02\x02\x011\x00\x06\x02tz\x02+1\x03\x02\x00\x00";
        let payload = with_state(b"hi", state);
        let ok = OkPacket::parse(&payload).expect("readable");
        assert_eq!(ok.last_insert_id, 300);
        let changes: Vec<_> = ok.session_changes().collect();
        assert_eq!(
            changes,
            [
                SessionChange::Schema(b"shop"),
                SessionChange::State,
                SessionChange::SystemVariable { name: b"tz", value: b"+1" },
                SessionChange::Gtids(b""),
            ]
        );
    }

    #[test]
    fn stripped_packets_are_what_a_client_without_tracking_gets() {
        for info in [&b""[..], b"Rows matched: 1"] {
            let mut packet = Vec::new();
            put_packet(&mut packet, 1, &with_state(info, b"\x02\x02\x011"));
            packet.extend_from_slice(b"next");
            let len = strip_session_state(&mut packet).expect("an OK packet");
            let header = Header::read(&packet).expect("a header");
            assert_eq!(header.total(), len);
            let ok = OkPacket::parse(&packet[4..len]).expect("still an OK packet");
            assert_eq!((ok.status, ok.last_insert_id), (StatusFlags::AUTOCOMMIT, 300));
            let tail = &packet[len - info.len()..len];
            assert_eq!(tail, info);
        }
    }

    /// A changed variable, as an entry.
    fn variable(name: &str, value: &str) -> Vec<u8> {
        let (mut data, mut entry) = (Vec::new(), vec![0]);
        put_lenenc_bytes(&mut data, name.as_bytes());
        put_lenenc_bytes(&mut data, value.as_bytes());
        put_lenenc_bytes(&mut entry, &data);
        entry
    }

    fn retained(state: &[u8], names: &[&str]) -> Vec<u8> {
        let mut packet = Vec::new();
        put_packet(&mut packet, 1, &with_state(b"hi", state));
        let len = retain_session_state(&mut packet, |change| match change {
            SessionChange::SystemVariable { name, .. } => {
                names.iter().any(|known| known.as_bytes() == name)
            }
            SessionChange::Schema(_) => true,
            _ => false,
        });
        packet.truncate(len.expect("an OK packet"));
        assert_eq!(Header::read(&packet).map(Header::total), Some(packet.len()));
        packet.split_off(Header::LEN)
    }

    #[test]
    fn what_a_client_asked_for_stays() {
        let long = "x".repeat(300);
        let entries = [
            variable("sql_mode", &long),
            variable("b", "1"),
            variable("a", ""),
            b"\x01\x05\x04shop".to_vec(),
            b"\x02\x02\x011".to_vec(),
        ];
        let expected = [&entries[1][..], &entries[2], &entries[3]].concat();
        assert_eq!(retained(&entries.concat(), &["a", "b"]), with_state(b"hi", &expected));
        assert_eq!(retained(&entries[0], &["sql_mode"]), with_state(b"hi", &entries[0]));
    }

    proptest! {
        #[test]
        fn a_filter_that_keeps_all_changes_nothing(
            info: Vec<u8>, values in prop::collection::vec("[a-z]{0,300}", 1..6)
        ) {
            let state: Vec<u8> = values.iter().flat_map(|value| variable("v", value)).collect();
            let mut packet = Vec::new();
            put_packet(&mut packet, 3, &with_state(&info, &state));
            let before = packet.clone();
            let len = retain_session_state(&mut packet, |_| true);
            prop_assert_eq!(len, Ok(before.len()));
            prop_assert_eq!(packet, before);
        }

        #[test]
        fn nothing_panics(mut bytes: Vec<u8>) {
            if let Ok(ok) = OkPacket::parse(&bytes) {
                let _ = ok.session_changes().count();
            }
            let _ = strip_session_state(&mut bytes);
        }
    }
}
