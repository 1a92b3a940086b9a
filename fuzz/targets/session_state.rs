//! What a session has become, from its statements and the servers' answers, and the SQL that makes it
//! again.
//!
//! Input: statements with what the OK packets say behind, each with its length before it. What must hold:
//! nothing panics, and every statement that restores a session which may move is one statement: what a
//! client wrote into a SET never becomes another command.

use tandem::session::inspect::{Followed, classify};
use tandem::wire::OkPacket;

use super::input::Input;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut session = Followed::default();
    while !input.is_empty() {
        let sql = input.text();
        let payload = input.text();
        let plain = OkPacket::plain(tandem::wire::StatusFlags::AUTOCOMMIT);
        let ok = OkPacket::parse(payload)
            .unwrap_or_else(|_| OkPacket::parse(&plain).expect("an OK packet"));
        session.answered(sql, &ok);
    }
    if session.is_blocked() {
        let _ = session.restoring_sql();
        return;
    }
    for sql in session.restoring_sql() {
        let said = classify(&sql, session.backslash_escapes());
        assert!(!said.is_several(), "{:?}", String::from_utf8_lossy(&sql));
    }
}
