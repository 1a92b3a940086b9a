//! Session tracking: on towards the server whatever the client asked for, and invisible to the client.
//!
//! Tandem has to hear of every variable that changes ([`TRACK`]). A client that did not ask for
//! session tracking gets no session state at all. One that asked gets what the server would have
//! told it: at its login the server is first asked how tracking is set there ([`QUESTION`]), and
//! what goes beyond that is taken out of OK packets ([`Tracking::filter`]).
//!
//! A statement that names one of these settings is run under the client's own: they are put back
//! before it, so that it reads, appends to or changes what it expects to find. After it the server
//! is asked again, and then Tandem's settings are made anew. While they were not in force nothing
//! was told of other variables that the same SET gave values; those are asked for along the way.
//!
//! With it comes which transaction a write became (`acknowledging.rs`): MariaDB tells that as a
//! variable like any other, MySQL where `session_track_gtids` asks for it ([`GTIDS`]). MySQL does not
//! let that one be set in a transaction; there it stays as it is whatever a statement names.

use super::assignment;
use super::backend::Backend;
use super::login::Login;
use super::reading::READ_ONLY;
use super::relay::Relay;
use super::restoring::literal;
use super::statement::{Traits, Verb};
use crate::wire::{
    Capabilities, Command, Cursor, Header, Malformed, OkPacket, SessionChange, put_packet,
    retain_session_state, strip_session_state,
};

/// What Tandem wants to be told of every session: which system variables changed, and that
/// something else did.
const TRACK: &[u8] = b"SET SESSION session_track_system_variables = '*', \
      session_track_state_change = ON, session_track_schema = ON";

/// And which transactions its statements became. Of comments with these numbers MySQL takes the text,
/// from 5.7.6 on, and MariaDB does not (knowledge base, "Comment Syntax"; tried on 10.11 and 11.8), so
/// that it need not be known who is asked. A client's own wish for more than that is left.
const GTIDS: &[u8] = b" /*!50706 , session_track_gtids = \
      IF(@@SESSION.session_track_gtids = 'ALL_GTIDS', 'ALL_GTIDS', 'OWN_GTID') */";

/// How the session's tracking is set.
const QUESTION: &[u8] = b"SELECT @@SESSION.session_track_system_variables, \
      @@SESSION.session_track_state_change, @@SESSION.session_track_schema, \
      CONCAT(/*!50706 @@SESSION.session_track_gtids, */ '')";

/// What the question asks for anyway.
const OURS: [&str; 4] = [
    "session_track_system_variables",
    "session_track_state_change",
    "session_track_schema",
    "session_track_gtids",
];

/// The settings back to what the server begins a session with.
const DEFAULTS: &[u8] = b"SET SESSION session_track_system_variables = DEFAULT, \
      session_track_state_change = DEFAULT, session_track_schema = DEFAULT";
/// The same of [`GTIDS`].
const DEFAULT_GTIDS: &[u8] = b" /*!50706 , session_track_gtids = DEFAULT */";

/// More variables than a SET that is worth following gives values.
const MANY: usize = 100;

/// What the client asked to be told of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tracking {
    /// Names of variables, separated by commas; `None` for SQL's NULL.
    variables: Option<Box<[u8]>>,
    /// That something changed.
    state_change: bool,
    /// The schema.
    schema: bool,
    /// GTIDs, in MySQL.
    gtids: Gtids,
}

/// `session_track_gtids`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gtids {
    #[default]
    Off,
    Own,
    All,
}

impl Gtids {
    fn named(name: &[u8]) -> Self {
        match name {
            b"OWN_GTID" => Self::Own,
            b"ALL_GTIDS" => Self::All,
            _ => Self::Off,
        }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Self::Off => b"OFF",
            Self::Own => b"OWN_GTID",
            Self::All => b"ALL_GTIDS",
        }
    }
}

impl Default for Tracking {
    /// What both families begin with, unless somebody configured it otherwise.
    fn default() -> Self {
        let variables = b"autocommit,character_set_client,character_set_connection,\
              character_set_results,time_zone";
        let variables = Some(variables.as_slice().into());
        Self { variables, state_change: false, schema: true, gtids: Gtids::Off }
    }
}

/// A variable's name and value.
type Value<'a> = (&'a [u8], &'a [u8]);

/// The question of how tracking is set, on its way.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// The names of further variables that are asked for.
    names: Vec<Box<[u8]>>,
    /// What came of the answer.
    heard: Vec<u8>,
}

impl Question {
    /// Takes note of a part of the answer.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
    }

    /// The client's settings, and the values of the further variables.
    fn read(&self) -> Option<(Tracking, Vec<Value<'_>>)> {
        let mut row = Cursor::new(row_of(&self.heard)?);
        let tracking = Tracking {
            variables: value(&mut row)?.map(Into::into),
            state_change: value(&mut row)? == Some(b"1"),
            schema: value(&mut row)? == Some(b"1"),
            gtids: Gtids::named(value(&mut row)?.unwrap_or_default()),
        };
        let mut values = Vec::new();
        for name in &self.names {
            // NULL is told as nothing elsewhere too.
            values.push((&**name, value(&mut row)?.unwrap_or_default()));
        }
        Some((tracking, values))
    }
}

/// The one row of a result: the last packet but its end.
fn row_of(result: &[u8]) -> Option<&[u8]> {
    let (mut at, mut row, mut last) = (0, None, None);
    while let Some(header) = Header::read(&result[at..]) {
        let payload = result.get(at + Header::LEN..at + header.total())?;
        (row, last) = (last, Some(payload));
        at += header.total();
    }
    last.filter(|end| end.first() == Some(&0xFE)).and(row)
}

/// A value of a text row; NULL is 0xFB. `None` when there is none.
#[allow(clippy::option_option)] // NULL is a value
fn value<'a>(row: &mut Cursor<'a>) -> Option<Option<&'a [u8]>> {
    if row.rest().first() == Some(&0xFB) {
        return row.u8().ok().map(|_| None);
    }
    row.lenenc_bytes().ok().map(Some)
}

impl Tracking {
    /// Takes out of the OK packet at the front of `packet` what the server would not have told the
    /// client. The rest stays in the server's order: MySQL sorts variables by name; MariaDB's order
    /// depends on what else is tracked, and means nothing.
    fn filter(&self, packet: &mut [u8]) -> Result<usize, Malformed> {
        retain_session_state(packet, |change| match change {
            SessionChange::SystemVariable { name, .. } => self.lists(name),
            SessionChange::Schema(_) => self.schema,
            SessionChange::State => self.state_change,
            SessionChange::Gtids(_) => self.gtids != Gtids::Off,
            // These are set by the client alone.
            _ => true,
        })
    }

    fn lists(&self, name: &[u8]) -> bool {
        let list = self.variables.as_deref().unwrap_or_default();
        let mut names = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names.any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name))
    }

    /// Whether the client is told all that a server has executed, so that nobody is told what of it
    /// is the session's.
    pub(super) fn hides_own_gtids(&self) -> bool {
        self.gtids == Gtids::All
    }

    /// The SQL of what has to be said before Tandem's settings are made in a new session.
    pub(super) fn beforehand(&self) -> Option<&'static [u8]> {
        (self.gtids == Gtids::All).then_some(b"SET SESSION session_track_gtids = ALL_GTIDS")
    }

    /// The SQL that makes a session's settings these, but for those of GTIDs.
    fn to_sql(&self) -> Vec<u8> {
        let on = |on: bool| if on { &b"ON"[..] } else { b"OFF" };
        let variables = self.variables.as_ref().map_or_else(|| b"NULL".to_vec(), |v| literal(v));
        [
            b"SET SESSION session_track_system_variables = ",
            &variables[..],
            b", session_track_state_change = ",
            on(self.state_change),
            b", session_track_schema = ",
            on(self.schema),
        ]
        .concat()
    }
}

impl Login {
    /// A statement of Tandem's own as the payload of a COM_QUERY: without attributes, which has to
    /// be said where there may be some.
    pub(super) fn query(&self, sql: &[u8]) -> Vec<u8> {
        let attributes = self.capabilities.has(Capabilities::QUERY_ATTRIBUTES);
        let front: &[u8] = if attributes { &[3, 0, 1] } else { &[3] };
        [front, sql].concat()
    }

    /// Whether the client wants to be told of its session.
    #[inline]
    pub(super) fn tracks(&self) -> bool {
        self.capabilities.has(Capabilities::SESSION_TRACK)
    }

    /// Tandem's own settings, as a payload, for a session without a transaction.
    pub(super) fn track(&self) -> Vec<u8> {
        let read_only = if self.towards.read_only { READ_ONLY } else { b"" };
        self.query(&[TRACK, GTIDS, read_only].concat())
    }
}

/// Lets Tandem's settings go out before the next command; where the client's are needed and not
/// known, the question for them before that.
pub(super) fn ask_for_tracking(backend: &mut Backend, login: &Login, known: bool) {
    if login.tracks() && !known {
        ask(backend, login, Vec::new());
    }
    put_packet(&mut backend.preamble, 0, &login.track());
    backend.swallow += 1;
}

fn ask(backend: &mut Backend, login: &Login, names: Vec<Box<[u8]>>) {
    let mut sql = QUESTION.to_vec();
    for name in &names {
        sql.extend_from_slice(b", @@SESSION.`");
        sql.extend_from_slice(name);
        sql.push(b'`');
    }
    put_packet(&mut backend.preamble, 0, &login.query(&sql));
    backend.swallow += 1;
    backend.question = Some(Question { names, heard: Vec::new() });
}

impl Relay {
    /// Whether the command names settings of session tracking.
    #[inline]
    pub(super) fn names_tracking(&self) -> bool {
        self.current.statement.traits.has(Traits::TRACKING)
    }

    /// Puts the client's own settings back, before a statement that names them.
    pub(super) async fn give_back_tracking(&mut self) {
        let in_flight = |backend: &Backend| backend.swallow > 0 && backend.preamble.is_empty();
        if self.backend.as_ref().is_some_and(in_flight) {
            self.flush_preamble().await;
        }
        let Some(backend) = self.backend.as_mut() else { return };
        if backend.swallow > 0 {
            // Tandem's have not gone out yet: the client's are in force.
            backend.preamble.clear();
            backend.swallow = 0;
            backend.question = None;
            return self.set_read_only();
        }
        let mut own = self.tracking.as_ref().map_or_else(|| DEFAULTS.to_vec(), Tracking::to_sql);
        match &self.tracking {
            _ if self.current.in_transaction => {}
            None => own.extend_from_slice(DEFAULT_GTIDS),
            Some(tracking) => own.extend_from_slice(
                &[b" /*!50706 , session_track_gtids = ", tracking.gtids.name(), b" */"].concat(),
            ),
        }
        put_packet(&mut backend.preamble, 0, &self.login.query(&own));
        backend.swallow = 1;
    }

    /// Asks how they are set now, and makes Tandem's anew, after such a statement.
    pub(super) fn take_back_tracking(&mut self) {
        let mut names = Vec::new();
        if self.current.statement.verb == Verb::Set && !self.current.failed {
            names = self.named_variables();
            if names.len() > MANY {
                self.state.not_tracked();
                names.clear();
            }
        }
        let in_transaction = self.state.in_transaction();
        if in_transaction && !self.current.in_transaction {
            // Until it ends nothing can be asked for.
            self.write_untold();
        }
        let Some(backend) = self.backend.as_mut() else { return };
        ask(backend, &self.login, names);
        let track = if in_transaction { self.login.query(TRACK) } else { self.login.track() };
        put_packet(&mut backend.preamble, 0, &track);
        backend.swallow += 1;
    }

    /// The system variables that the SET gave values.
    fn named_variables(&self) -> Vec<Box<[u8]>> {
        let sql = match self.current.command {
            Command::Query if self.current.kept => {
                &self.request.bytes()[Header::LEN + self.current.sql_at..self.front_len()]
            }
            _ => {
                let id = self.current.statement_id;
                match id.and_then(|id| self.state.prepared.get(id)) {
                    Some(prepared) => &*prepared.sql,
                    None => return Vec::new(),
                }
            }
        };
        assignment::variables(sql, self.state.backslash_escapes())
            .into_iter()
            .filter(|name| !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes())))
            .map(Into::into)
            .collect()
    }

    /// The answer to the question is here, whole.
    pub(super) fn tracking_told(&mut self, question: &Question) {
        let Some((mut tracking, values)) = question.read() else {
            return self.state.not_tracked();
        };
        if self.state.in_transaction() {
            // Tandem's own setting is in force, which cannot be changed here by anybody.
            tracking.gtids = self.tracking.as_ref().map_or(Gtids::Off, |known| known.gtids);
        }
        for (name, value) in values {
            self.state.variable_changed(name, value);
        }
        self.tracking = Some(tracking);
    }

    /// Session state in an OK packet: taken in, and taken out as far as the client did not ask for
    /// it.
    pub(super) fn read_session_state(&mut self, packet: &mut [u8]) -> Result<usize, Malformed> {
        let ok = OkPacket::parse(&packet[Header::LEN..])?;
        self.note_write(&ok);
        self.state.told(&ok, self.current.statement);
        if !self.login.tracks() {
            return strip_session_state(packet);
        }
        // Under the client's own settings the server says what it is to hear.
        if self.names_tracking() || self.current.command == Command::ResetConnection {
            let wanted = self.tracking.as_ref().is_some_and(|known| known.gtids != Gtids::Off);
            if !self.current.in_transaction || wanted {
                return Ok(packet.len());
            }
            return retain_session_state(packet, |change| {
                !matches!(change, SessionChange::Gtids(_))
            });
        }
        match &self.tracking {
            Some(tracking) => tracking.filter(packet),
            None => Tracking::default().filter(packet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(row: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut seq = 1;
        for payload in
            [&[3][..], b"\x03def", b"\x03def", b"\x03def", row, &[0xFE, 0, 0, 2, 0, 0, 0]]
        {
            seq = put_packet(&mut bytes, seq, payload);
        }
        bytes
    }

    #[test]
    fn the_answer_is_read_from_its_row() {
        let mut question = Question { names: vec![b"sql_mode"[..].into()], heard: Vec::new() };
        let bytes = result(b"\x0aautocommit\x010\x011\x08OWN_GTID\x04ANSI");
        question.hear(&bytes[..7]);
        assert_eq!(question.read(), None);
        question.hear(&bytes[7..]);
        let (tracking, values) = question.read().expect("an answer");
        assert_eq!(tracking.variables.as_deref(), Some(&b"autocommit"[..]));
        assert!(!tracking.state_change && tracking.schema);
        assert_eq!(tracking.gtids, Gtids::Own);
        assert_eq!(values, [(&b"sql_mode"[..], &b"ANSI"[..])]);
        let null = Question { names: Vec::new(), heard: result(b"\xfb\x011\x010\x00") };
        let (tracking, _) = null.read().expect("an answer");
        assert_eq!(tracking.variables, None);
        assert_eq!(
            tracking.to_sql(),
            b"SET SESSION session_track_system_variables = NULL, session_track_state_change = ON, \
              session_track_schema = OFF"
        );
    }

    #[test]
    fn an_error_is_no_answer() {
        let mut bytes = Vec::new();
        put_packet(&mut bytes, 1, b"\xff\x01\x02#HY000no");
        assert_eq!(Question { names: Vec::new(), heard: bytes }.read(), None);
    }

    #[test]
    fn lists_know_no_case_and_a_star_is_everything() {
        let listing = |list: &[u8]| Tracking {
            variables: Some(list.into()),
            state_change: false,
            schema: false,
            gtids: Gtids::Off,
        };
        assert!(listing(b"sql_mode, Time_Zone").lists(b"time_zone"));
        assert!(!listing(b"sql_mode").lists(b"time_zone"));
        assert!(listing(b"a,*").lists(b"time_zone"));
        assert!(!Tracking::default().lists(b"last_gtid"));
    }
}
