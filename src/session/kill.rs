//! What a KILL names, read from a command's bytes.
//!
//! A client knows its session by the id of its greeting, which Tandem gave out; the server knows
//! another. Drivers and command lines put the greeting's id into `KILL QUERY` when a user presses
//! Ctrl-C. Here is found where that number stands; [`super::killing`] puts the server's in its place.
//!
//! ```text
//! KILL [HARD | SOFT] [CONNECTION | QUERY [ID]] { id | expression }
//! KILL [HARD | SOFT] [CONNECTION | QUERY] USER name
//! COM_PROCESS_KILL:  0C  id(4)
//! ```
//!
//! Only a plain number is looked at, and CONNECTION_ID(), by which a session ends itself. Other
//! expressions, users and MariaDB's QUERY ID are the server's to understand: nothing in them is an id of
//! Tandem's. (MySQL manual, "KILL Statement"; MariaDB, "KILL".)

use std::ops::Range;

use super::statement::{Keyword, Token, Tokens};
use crate::wire::Command;

/// What is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// What the session is executing.
    Query,
    /// The session.
    Connection,
}

/// A KILL of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kill {
    pub(super) victim: Victim,
    /// The connection, as the issuer knows it.
    pub(super) id: u32,
    /// Where in the payload the id stands.
    place: Range<usize>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Digits,
    LittleEndian,
    /// CONNECTION_ID(): the server knows which that is.
    Itself,
}

impl Kill {
    /// Reads a command's payload. `None` when it kills nothing, or says in another way what. Numbers
    /// of more than 32 bits are no id of Tandem's.
    pub(super) fn read(command: Command, payload: &[u8], backslash_escapes: bool) -> Option<Self> {
        match command {
            Command::ProcessKill => {
                let id = u32::from_le_bytes(*payload.get(1..)?.first_chunk()?);
                let (place, form) = (1..5, Form::LittleEndian);
                Some(Self { victim: Victim::Connection, id, place, form })
            }
            Command::Query => Self::read_text(payload, backslash_escapes),
            _ => None,
        }
    }

    fn read_text(payload: &[u8], backslash_escapes: bool) -> Option<Self> {
        let sql = payload.get(1..)?;
        let mut tokens = Tokens::new(sql, backslash_escapes);
        if !word(&mut tokens)?.is("KILL") {
            return None;
        }
        let mut next = word(&mut tokens)?;
        if next.is("HARD") || next.is("SOFT") {
            next = word(&mut tokens)?;
        }
        let mut victim = Victim::Connection;
        if next.is("CONNECTION") || next.is("QUERY") {
            if next.is("QUERY") {
                victim = Victim::Query;
            }
            next = word(&mut tokens)?;
        }
        let kill = if next.is("CONNECTION_ID") {
            if tokens.next() != Some(Token::Symbol(b'('))
                || tokens.next() != Some(Token::Symbol(b')'))
            {
                return None;
            }
            Self { victim, id: 0, place: 0..0, form: Form::Itself }
        } else {
            let id = std::str::from_utf8(next.0).ok()?.parse().ok()?;
            let end = 1 + tokens.position();
            Self { victim, id, place: end - next.0.len()..end, form: Form::Digits }
        };
        // Something behind it makes it part of an expression.
        matches!(tokens.next(), None | Some(Token::Symbol(b';'))).then_some(kill)
    }

    /// Whether it names the issuer itself, without an id.
    pub(super) fn is_of_issuer(&self) -> bool {
        self.form == Form::Itself
    }

    /// Puts a server's id in the place of the issuer's. The payload keeps its length: an id of
    /// Tandem's has ten digits, and no id of 32 bits has more. False when there is no room.
    pub(super) fn aim(&self, payload: &mut [u8], thread_id: u32) -> bool {
        let Some(place) = payload.get_mut(self.place.clone()) else { return false };
        match self.form {
            Form::Itself => {}
            Form::LittleEndian => place.copy_from_slice(&thread_id.to_le_bytes()),
            Form::Digits => {
                let digits = thread_id.to_string();
                if digits.len() > place.len() {
                    return false;
                }
                place.fill(b' ');
                place[..digits.len()].copy_from_slice(digits.as_bytes());
            }
        }
        true
    }
}

fn word<'a>(tokens: &mut Tokens<'a>) -> Option<Keyword<'a>> {
    match tokens.next()? {
        Token::Word(word) => Some(Keyword(word)),
        Token::Text(_) | Token::Symbol(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Option<Kill> {
        Kill::read(Command::Query, &[b"\x03", sql.as_bytes()].concat(), true)
    }

    #[test]
    fn every_way_to_name_a_connection() {
        for (sql, victim) in [
            ("KILL 1073741830", Victim::Connection),
            ("kill query 1073741830", Victim::Query),
            ("KILL CONNECTION 1073741830;", Victim::Connection),
            ("KILL HARD QUERY 1073741830", Victim::Query),
            ("KILL SOFT 1073741830", Victim::Connection),
            ("/* cancel */ KILL /*!50000 QUERY */ 1073741830 ; -- now", Victim::Query),
            ("/*!50000 KILL QUERY 1073741830 */", Victim::Query),
            ("# why\nKILL\tQUERY\n1073741830", Victim::Query),
        ] {
            let kill = read(sql).unwrap_or_else(|| panic!("{sql}"));
            assert_eq!((kill.victim, kill.id), (victim, 1_073_741_830), "{sql}");
        }
    }

    #[test]
    fn what_the_server_alone_understands() {
        for sql in [
            "KILL",
            "KILL CONNECTION_ID() + 1",
            "KILL QUERY CONNECTION_ID",
            "KILL USER app",
            "KILL HARD QUERY USER 'app'@'%'",
            "KILL QUERY ID 12",
            "KILL @id",
            "KILL ?",
            "KILL '12'",
            "KILL 12 + 1",
            "KILL (SELECT 12)",
            "KILL 99999999999",
            "KILL 12a",
            "KILL -- 12",
            "SELECT 1; KILL 12",
            "KILLER 12",
            "",
        ] {
            assert_eq!(read(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_session_may_end_itself() {
        for (sql, victim) in [
            ("KILL CONNECTION_ID()", Victim::Connection),
            ("kill query connection_id ( );", Victim::Query),
        ] {
            let kill = read(sql).expect(sql);
            assert!(kill.is_of_issuer() && kill.victim == victim, "{sql}");
            let mut payload = sql.as_bytes().to_vec();
            assert!(kill.aim(&mut payload, 57));
            assert_eq!(payload, sql.as_bytes());
        }
    }

    #[test]
    fn the_servers_id_takes_the_place_of_ours() {
        for (sql, aimed) in [
            ("KILL QUERY 1073741830", "KILL QUERY 57        "),
            ("KILL 1073741830; SELECT 2", "KILL 57        ; SELECT 2"),
            ("/*!50000 KILL QUERY 1073741830*/", "/*!50000 KILL QUERY 57        */"),
        ] {
            let mut payload = [b"\x03", sql.as_bytes()].concat();
            let kill = Kill::read(Command::Query, &payload, true).expect(sql);
            assert!(kill.aim(&mut payload, u32::MAX) && kill.aim(&mut payload, 57));
            assert_eq!(String::from_utf8_lossy(&payload[1..]), aimed);
        }
        let mut payload = b"\x0c\x06\x00\x00\x40".to_vec();
        let kill = Kill::read(Command::ProcessKill, &payload, true).expect("an id");
        assert_eq!((kill.victim, kill.id), (Victim::Connection, 0x4000_0006));
        assert!(kill.aim(&mut payload, 57));
        assert_eq!(payload, b"\x0c\x39\0\0\0");
        assert_eq!(Kill::read(Command::ProcessKill, b"\x0c\x06\0", true), None);
    }

    #[test]
    fn a_number_without_room_is_left_alone() {
        let mut payload = b"\x03KILL 7".to_vec();
        let kill = Kill::read(Command::Query, &payload, true).expect("an id");
        assert!(!kill.aim(&mut payload, 57));
        assert_eq!(payload, b"\x03KILL 7");
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(payload: Vec<u8>) {
            let _ = Kill::read(Command::Query, &payload, true);
            let _ = Kill::read(Command::ProcessKill, &payload, false);
        }
    }
}
