//! Payloads, by hand: nothing of the code under test makes them.

pub const IN_TRANSACTION: u16 = 1;
pub const AUTOCOMMIT: u16 = 2;
pub const MORE_RESULTS: u16 = 8;
pub const CURSOR_EXISTS: u16 = 0x40;
pub const LAST_ROW_SENT: u16 = 0x80;
pub const STATE_CHANGED: u16 = 0x4000;

/// COM_QUERY.
pub fn query(sql: &str) -> Vec<u8> {
    [b"\x03", sql.as_bytes()].concat()
}

/// COM_STMT_PREPARE.
pub fn prepare(sql: &str) -> Vec<u8> {
    [b"\x16", sql.as_bytes()].concat()
}

/// A command that names a statement, and what follows the name.
pub fn statement(command: u8, id: u32, rest: &[u8]) -> Vec<u8> {
    [&[command][..], &id.to_le_bytes(), rest].concat()
}

/// COM_STMT_EXECUTE with one parameter of type LONGLONG, or with the type left out.
pub fn execute(id: u32, value: u64, with_type: bool) -> Vec<u8> {
    let mut rest = vec![0, 1, 0, 0, 0, 0]; // no cursor, one iteration, no NULL
    rest.push(u8::from(with_type));
    if with_type {
        rest.extend_from_slice(&[8, 0]);
    }
    rest.extend_from_slice(&value.to_le_bytes());
    statement(0x17, id, &rest)
}

/// OK without a text.
pub fn ok(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0, 0, 0, low, high, 0, 0]
}

/// OK with session state, as a server sends it to a client that tracks it.
pub fn ok_tracking(first: u8, status: u16, info: &[u8], state: &[u8]) -> Vec<u8> {
    let [low, high] = (status | STATE_CHANGED).to_le_bytes();
    let mut payload = vec![first, 0, 0, low, high, 0, 0, info.len() as u8];
    payload.extend_from_slice(info);
    payload.push(state.len() as u8);
    payload.extend_from_slice(state);
    payload
}

/// OK with a text and no session state.
pub fn ok_with_info(first: u8, status: u16, info: &[u8]) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    let mut payload = vec![first, 0, 0, low, high, 0, 0];
    if !info.is_empty() {
        payload.push(info.len() as u8);
        payload.extend_from_slice(info);
    }
    payload
}

/// A changed system variable, as session state.
pub fn variable(name: &str, value: &str) -> Vec<u8> {
    let mut data = vec![name.len() as u8];
    data.extend_from_slice(name.as_bytes());
    data.push(value.len() as u8);
    data.extend_from_slice(value.as_bytes());
    let mut state = vec![0, data.len() as u8];
    state.append(&mut data);
    state
}

/// "Something changed", as session state.
pub const SOMETHING: &[u8] = b"\x02\x02\x011";

/// ERR.
pub fn err(code: u16, state: &str, text: &str) -> Vec<u8> {
    [b"\xff", &code.to_le_bytes()[..], b"#", state.as_bytes(), text.as_bytes()].concat()
}

/// What a read-only MariaDB says to a write.
pub fn read_only() -> Vec<u8> {
    let text = "The MariaDB server is running with the --read-only option so it cannot execute this \
                statement";
    err(1290, "HY000", text)
}

/// EOF of the old form.
pub fn eof(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0xfe, 0, 0, low, high]
}

/// A column's definition.
pub fn column(name: &str) -> Vec<u8> {
    let mut payload = b"\x03def\0\0\0".to_vec();
    payload.push(name.len() as u8);
    payload.extend_from_slice(name.as_bytes());
    payload.extend_from_slice(b"\0\x0c\x3f\0\x0b\0\0\0\x08\x81\0\0\0\0");
    payload
}

/// A row of one text column.
pub fn row(text: &[u8]) -> Vec<u8> {
    let len = u8::try_from(text.len()).expect("short");
    assert!(len < 0xfb);
    [&[len], text].concat()
}

/// A whole result of one column.
pub fn result(rows: &[&str], deprecate_eof: bool, status: u16) -> Vec<Vec<u8>> {
    let mut payloads = vec![vec![1], column("a")];
    if !deprecate_eof {
        payloads.push(eof(status));
    }
    payloads.extend(rows.iter().map(|text| row(text.as_bytes())));
    payloads.push(if deprecate_eof { ok_with_info(0xfe, status, b"") } else { eof(status) });
    payloads
}

/// The answer to COM_STMT_PREPARE of a statement with one column and so many parameters.
pub fn prepared(id: u32, parameters: u16) -> Vec<Vec<u8>> {
    let mut first = vec![0];
    first.extend_from_slice(&id.to_le_bytes());
    first.extend_from_slice(&1u16.to_le_bytes());
    first.extend_from_slice(&parameters.to_le_bytes());
    first.extend_from_slice(&[0, 0, 0]);
    let mut payloads = vec![first];
    if parameters > 0 {
        payloads.extend((0..parameters).map(|_| column("?")));
        payloads.push(eof(AUTOCOMMIT));
    }
    payloads.push(column("a"));
    payloads.push(eof(AUTOCOMMIT));
    payloads
}

/// These payloads as packets, numbered from `seq`, split where they must be.
pub fn numbered(mut seq: u8, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        let mut rest = &payload[..];
        loop {
            let (part, tail) = rest.split_at(rest.len().min(0xff_ffff));
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes()[..3]);
            bytes.push(seq);
            seq = seq.wrapping_add(1);
            bytes.extend_from_slice(part);
            if part.len() < 0xff_ffff {
                break;
            }
            rest = tail;
        }
    }
    bytes
}
