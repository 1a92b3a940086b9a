//! A session's state as the SQL that makes it again.

use super::state::{SessionState, SqlPrepared};
use crate::wire::StatusFlags;

impl SessionState {
    /// The statements that make a fresh login what this session is, in order. Each is harmless by
    /// itself and answered with OK.
    pub(super) fn restoring_sql(&self) -> Vec<Vec<u8>> {
        let mut out = self.settings_sql();
        let mut set = |text: &[u8]| out.push([b"SET ", text].concat());
        if self.last_insert_id != 0 {
            set(format!("last_insert_id = {}", self.last_insert_id).as_bytes());
        }
        if let Some(next) = &self.next_transaction {
            set(next);
        }
        for SqlPrepared { schema, sql } in self.sql_prepared.values() {
            if *schema != self.schema {
                out.extend(schema.as_ref().map(|schema| use_schema(schema)));
            }
            out.push(sql.to_vec());
            if *schema != self.schema {
                out.extend(self.schema.as_ref().map(|schema| use_schema(schema)));
            }
        }
        out
    }

    /// Those of them by which any later statement may be understood otherwise.
    pub(super) fn settings_sql(&self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let mut set = |text: &[u8]| out.push([b"SET ", text].concat());
        if let Some(names) = &self.names {
            set(names);
        }
        if !self.variables.is_empty() || !self.status.has(StatusFlags::AUTOCOMMIT) {
            let mut list = Vec::new();
            if !self.status.has(StatusFlags::AUTOCOMMIT) {
                list.extend_from_slice(b"SESSION autocommit = 0");
            }
            for (name, value) in &self.variables {
                list.extend_from_slice(if list.is_empty() { b"SESSION " } else { b", SESSION " });
                put_name(&mut list, name);
                list.extend_from_slice(b" = ");
                // NULL is told as nothing, and only here it is a value that can be set.
                let null = value.is_empty() && **name == *b"character_set_results";
                list.extend_from_slice(&if null { b"NULL".to_vec() } else { literal(value) });
            }
            set(&list);
        }
        if let Some(role) = &self.role {
            set(role);
        }
        for (name, value) in &self.user_variables {
            set(&[name, &b" = "[..], value].concat());
        }
        out
    }
}

fn use_schema(schema: &[u8]) -> Vec<u8> {
    let mut out = b"USE ".to_vec();
    put_name(&mut out, schema);
    out
}

/// A name in quotes, from which it does not get out.
fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(b'`');
    for &byte in name {
        if byte == b'`' {
            out.push(b'`');
        }
        out.push(byte);
    }
    out.push(b'`');
}

/// A system variable's value as SQL: bare when it is a number (a quoted one is refused for numeric
/// variables), else in hexadecimal when quoting could depend on sql_mode, else quoted.
pub(super) fn literal(value: &[u8]) -> Vec<u8> {
    let numeric = !value.is_empty()
        && value
            .strip_prefix(b"-")
            .unwrap_or(value)
            .iter()
            .all(|&b| b.is_ascii_digit() || b == b'.')
        && value.iter().any(u8::is_ascii_digit);
    if numeric {
        return value.to_vec();
    }
    if value.contains(&b'\\') {
        let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        return format!("_utf8mb4 x'{digits}'").into_bytes();
    }
    let mut out = vec![b'\''];
    for &byte in value {
        if byte == b'\'' {
            out.push(b'\'');
        }
        out.push(byte);
    }
    out.push(b'\'');
    out
}
