//! Parameters inside commands: where they stand, so that what follows them can be found and their
//! types can be sent again.
//!
//! ```text
//! COM_QUERY with QUERY_ATTRIBUTES:
//!   03  count(lenenc)  sets(lenenc, 1)  [if count > 0: NULL bitmap, 01, types, values]  SQL
//! COM_STMT_EXECUTE:
//!   17  id(4)  flags(1)  iterations(4)
//!   [count(lenenc)                         with QUERY_ATTRIBUTES and flag 8]
//!   [NULL bitmap  types follow(1)  types  values]      where there are parameters
//! COM_STMT_BULK_EXECUTE:
//!   FA  id(4)  flags(2)  [types            with flag 128]  values with indicators
//! ```
//!
//! A type is two bytes; where parameters may have names (query attributes) a name(lenenc) follows
//! each. A bitmap has a bit for each parameter. Sources: MySQL source documentation, "COM_QUERY",
//! "COM_STMT_EXECUTE", "Binary Protocol Value"; MariaDB, "COM_STMT_BULK_EXECUTE".

use super::capabilities::Capabilities;
use super::codec::{Cursor, Malformed};
use super::command::Command;

/// COM_STMT_EXECUTE: the number of parameters is in the packet.
const COUNT_AVAILABLE: u8 = 8;

/// COM_STMT_BULK_EXECUTE: types are in the packet.
const BULK_TYPES: u8 = 128;

/// Where the SQL of a COM_QUERY begins, counted from the front of the payload.
///
/// # Errors
/// When the attributes before it are cut off, or of a type that nobody knows.
#[inline]
pub fn sql_offset(payload: &[u8], capabilities: Capabilities) -> Result<usize, Malformed> {
    if capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
        behind_attributes(payload)
    } else {
        Ok(payload.len().min(1))
    }
}

fn behind_attributes(payload: &[u8]) -> Result<usize, Malformed> {
    let mut cursor = Cursor::new(payload);
    cursor.u8()?;
    let count = length(&mut cursor)?;
    cursor.lenenc_int()?;
    if count > 0 {
        let nulls = cursor.bytes(count.div_ceil(8))?;
        if cursor.u8()? != 1 {
            return Err(Malformed("query attributes without types"));
        }
        let mut kinds = cursor;
        for _ in 0..count {
            cursor.u16()?;
            cursor.lenenc_bytes()?;
        }
        for index in 0..count {
            let [kind, _] = kinds.array()?;
            kinds.lenenc_bytes()?;
            if nulls[index / 8] & (1 << (index % 8)) == 0 {
                skip_value(&mut cursor, kind)?;
            }
        }
    }
    Ok(payload.len() - cursor.rest().len())
}

fn length(cursor: &mut Cursor<'_>) -> Result<usize, Malformed> {
    usize::try_from(cursor.lenenc_int()?).map_err(|_| Malformed("a count overflows"))
}

/// A value in binary form, by the number of its type (MySQL source, `include/field_types.h`).
fn skip_value(cursor: &mut Cursor<'_>, kind: u8) -> Result<(), Malformed> {
    let len = match kind {
        6 => 0,                                        // NULL
        1 | 244 => 1,                                  // TINY, BOOL
        2 | 13 => 2,                                   // SHORT, YEAR
        3 | 4 | 9 => 4,                                // LONG, FLOAT, INT24
        5 | 8 => 8,                                    // DOUBLE, LONGLONG
        7 | 10 | 11 | 12 => usize::from(cursor.u8()?), // dates and times say how long they are
        0 | 15 | 16 | 242 | 245..=255 => length(cursor)?,
        _ => return Err(Malformed("a parameter of a type that is not known")),
    };
    cursor.bytes(len).map(|_| ())
}

/// Where an execution says what types its parameters have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutedTypes {
    command: Command,
    /// Where the byte is that tells whether types follow.
    flag_at: usize,
    /// Where they stand, or would.
    types_at: usize,
    /// How many parameters there are, attributes included.
    count: usize,
    /// Each type is followed by a name.
    named: bool,
}

impl ExecutedTypes {
    /// Looks at an execution of a statement with so many parameters. `None` where there is no
    /// place for types, or the packet is cut off before it.
    #[must_use]
    #[inline]
    pub fn of(
        command: Command,
        payload: &[u8],
        parameters: u16,
        capabilities: Capabilities,
    ) -> Option<Self> {
        let mut count = usize::from(parameters);
        if command == Command::StmtBulkExecute {
            let place = Self { command, flag_at: 5, types_at: 7, count, named: false };
            return (count > 0 && payload.len() >= place.types_at).then_some(place);
        }
        let mut at = 10;
        let named = capabilities.has(Capabilities::QUERY_ATTRIBUTES)
            && payload.get(5).is_some_and(|flags| flags & COUNT_AVAILABLE != 0);
        if named {
            let mut cursor = Cursor::new(payload.get(at..)?);
            count = length(&mut cursor).ok()?;
            at = payload.len() - cursor.rest().len();
        }
        let flag_at = at.checked_add(count.div_ceil(8))?;
        let place = Self { command, flag_at, types_at: flag_at + 1, count, named };
        (count > 0 && payload.len() > flag_at).then_some(place)
    }

    /// Whether the types are in the packet.
    #[must_use]
    #[inline]
    pub fn are_there(&self, payload: &[u8]) -> bool {
        let flag = payload.get(self.flag_at).copied().unwrap_or(0);
        match self.command {
            Command::StmtBulkExecute => flag & BULK_TYPES != 0,
            _ => flag == 1,
        }
    }

    /// The types as they stand in the packet, names included; `None` when they are not there.
    #[must_use]
    #[inline]
    pub fn read<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        if !self.are_there(payload) {
            return None;
        }
        let rest = payload.get(self.types_at..)?;
        let len = if self.named {
            let mut cursor = Cursor::new(rest);
            for _ in 0..self.count {
                cursor.u16().ok()?;
                cursor.lenenc_bytes().ok()?;
            }
            rest.len() - cursor.rest().len()
        } else {
            2 * self.count
        };
        rest.get(..len)
    }

    /// Whether types that were read from another execution fit into this one.
    #[must_use]
    pub fn fit(&self, types: &[u8]) -> bool {
        if !self.named {
            return types.len() == 2 * self.count;
        }
        let mut cursor = Cursor::new(types);
        let whole = (0..self.count).all(|_| cursor.u16().is_ok() && cursor.lenenc_bytes().is_ok());
        whole && cursor.is_empty()
    }

    /// Puts types into a payload that comes without. `before` bytes stand before it in `bytes`.
    pub fn insert(&self, bytes: &mut Vec<u8>, before: usize, types: &[u8]) {
        match self.command {
            Command::StmtBulkExecute => bytes[before + self.flag_at] |= BULK_TYPES,
            _ => bytes[before + self.flag_at] = 1,
        }
        let at = before + self.types_at;
        bytes.splice(at..at, types.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{put_lenenc_bytes, put_lenenc_int};
    use proptest::prelude::*;

    const WITH: Capabilities = Capabilities::QUERY_ATTRIBUTES;

    /// A COM_QUERY with an attribute of each kind and a NULL.
    fn attributed(sql: &str) -> Vec<u8> {
        let values: [(u8, &[u8]); 9] = [
            (254, b"\x05hello"),
            (8, &[1; 8]),
            (1, &[1]),
            (5, &[2; 8]),
            (12, &[4, 1, 2, 3, 4]),
            (6, &[]),
            (11, &[0]),
            (2, &[7; 2]),
            (4, &[7; 4]),
        ];
        let mut payload = vec![3];
        put_lenenc_int(&mut payload, values.len() as u64 + 1);
        put_lenenc_int(&mut payload, 1);
        payload.extend_from_slice(&[0, 2, 1]); // the tenth is NULL
        for (kind, _) in values.iter().chain([&(253, &b""[..])]) {
            payload.extend_from_slice(&[*kind, 0]);
            put_lenenc_bytes(&mut payload, b"name");
        }
        for (_, value) in values {
            payload.extend_from_slice(value);
        }
        payload.extend_from_slice(sql.as_bytes());
        payload
    }

    #[test]
    fn the_sql_stands_behind_the_attributes() {
        assert_eq!(sql_offset(b"\x03SELECT 1", Capabilities::default()), Ok(1));
        assert_eq!(sql_offset(b"\x03\0\x01SELECT 1", WITH), Ok(3));
        let payload = attributed("SELECT 1");
        let at = sql_offset(&payload, WITH).expect("readable");
        assert_eq!(&payload[at..], b"SELECT 1");
        for len in 0..at {
            assert!(sql_offset(&payload[..len], WITH).is_err(), "{len} bytes were enough");
        }
    }

    #[test]
    fn types_are_found_and_put_in_again() {
        let with = b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\x08\0\xfd\0value".to_vec();
        let place = ExecutedTypes::of(Command::StmtExecute, &with, 2, WITH).expect("a place");
        assert_eq!(place.read(&with), Some(&b"\x08\0\xfd\0"[..]));
        let mut without = b"....\x17\x01\0\0\0\0\x01\0\0\0\0\0value".to_vec();
        assert_eq!(place.read(&without[4..]), None);
        assert!(place.fit(b"\x08\0\xfd\0") && !place.fit(b"\x08\0"));
        place.insert(&mut without, 4, b"\x08\0\xfd\0");
        assert_eq!(without[4..], with);
    }

    #[test]
    fn types_of_attributes_have_names() {
        // One parameter and one attribute `a`; flag 8 says that the count is there.
        let with = b"\x17\x01\0\0\0\x08\x01\0\0\0\x02\0\x01\x08\0\0\xfd\0\x01avalue";
        let place = ExecutedTypes::of(Command::StmtExecute, with, 1, WITH).expect("a place");
        let types = place.read(with).expect("types");
        assert_eq!(types, b"\x08\0\0\xfd\0\x01a");
        assert!(place.fit(types) && !place.fit(b"\x08\0\0"));
        assert!(ExecutedTypes::of(Command::StmtExecute, &with[..11], 1, WITH).is_none());
        // Without the flag the packet is as it ever was.
        let plain = b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\x08\0value";
        let place = ExecutedTypes::of(Command::StmtExecute, plain, 1, WITH).expect("a place");
        assert_eq!(place.read(plain), Some(&b"\x08\0"[..]));
    }

    #[test]
    fn bulk_executions_have_them_behind_a_flag() {
        let with = b"\xfa\x01\0\0\0\x80\0\x08\0\0value";
        let none = Capabilities::default();
        let place = ExecutedTypes::of(Command::StmtBulkExecute, with, 1, none).expect("a place");
        assert_eq!(place.read(with), Some(&b"\x08\0"[..]));
        let mut without = b"\xfa\x01\0\0\0\x40\0\0value".to_vec();
        assert_eq!(place.read(&without), None);
        place.insert(&mut without, 0, b"\x08\0");
        assert_eq!(without, b"\xfa\x01\0\0\0\xc0\0\x08\0\0value");
    }

    proptest! {
        #[test]
        fn nothing_panics(payload: Vec<u8>, parameters: u16, bulk: bool, named: bool) {
            let command = if bulk { Command::StmtBulkExecute } else { Command::StmtExecute };
            let capabilities = if named { WITH } else { Capabilities::default() };
            let _ = sql_offset(&payload, capabilities);
            if let Some(place) = ExecutedTypes::of(command, &payload, parameters, capabilities) {
                let _ = place.read(&payload);
                place.insert(&mut payload.clone(), 0, b"\x08\0");
            }
        }
    }
}
