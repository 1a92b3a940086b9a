//! Knowing where a response ends, without decoding it.
//!
//! The tracker is fed the bytes of a response as they come, cut anywhere. It says how many of them
//! may be forwarded unread ([`Step::Pass`]: column definitions and rows, however large, whole or in
//! part) and stops at the few small packets that mean something ([`Step::Packet`]), which it wants
//! whole. It keeps no bytes.
//!
//! ```text
//! First ──OK──▶ done, or First when MORE_RESULTS     First ──ERR──▶ done
//!   │ column count                                   First ──0xFB──▶ Infile ──▶ First
//!   ▼
//! Columns(n) ──▶ ColumnsEof (without DEPRECATE_EOF) ──▶ Rows ──EOF/OK──▶ done, or First
//! ```
//!
//! First bytes mean different things in different states (0xFE is an EOF, an OK, a row with a huge
//! first column, or a switch of plugins), and continuation packets mean nothing at all. Sources:
//! MySQL source documentation, "Text Resultset", "COM_STMT_PREPARE Response", "COM_STMT_FETCH";
//! MariaDB, "Result Set Packets"; each shape tried on MariaDB 10.11.

use super::capabilities::Capabilities;
use super::codec::{Cursor, Malformed};
use super::command::Command;
use super::error_packet::ErrorPacket;
use super::ok_packet::{OkPacket, StatusFlags};
use super::packet::Header;

/// What to do with the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet: at least this many bytes, counted from the front, are needed to go on.
    Wait(usize),
    /// Forward this many bytes unread.
    Pass(usize),
    /// A packet that means something stands whole at the front.
    Packet {
        /// Its length with its header.
        total: usize,
        /// What it says.
        told: Told,
    },
}

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// An OK packet, whatever its first byte.
    Ok {
        /// Its status flags.
        status: StatusFlags,
        /// The key that was generated; 0 for none.
        last_insert_id: u64,
    },
    /// An EOF packet of the old form.
    Eof(StatusFlags),
    /// An ERR packet with this code.
    Error(u16),
    /// A statement was prepared.
    Prepared(Prepared),
    /// The server wants a file of the client's.
    LocalInfile,
    /// A packet that needs nobody's attention.
    Other,
}

/// The answer to COM_STMT_PREPARE:
/// `00  statement id(4)  columns(2)  parameters(2)  00  warnings(2)  [metadata follows(1)]`, the last
/// with OPTIONAL_RESULTSET_METADATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The server's id of the statement, at bytes 1 to 4 of the payload.
    pub id: u32,
    /// How many columns its result has.
    pub columns: u16,
    /// How many parameters it takes.
    pub parameters: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First,
    Columns(u64),
    ColumnsEof,
    Rows,
    /// Definitions behind a PREPARE_OK that are still to come. Without DEPRECATE_EOF each of the
    /// two groups ends with an EOF packet, which counts as one more.
    PreparedDefinitions(u32),
    /// Column definitions up to an EOF: the answer to COM_FIELD_LIST.
    FieldList,
    /// One packet of any form: the answer to COM_STATISTICS.
    One,
    /// The client is sending a file.
    Infile,
    Done,
}

/// Follows one response.
#[derive(Clone, Debug)]
pub struct ResponseTracker {
    state: State,
    preparing: bool,
    with_cursor: bool,
    /// The result is the OUT parameters of a procedure, and another one follows. The EOF behind the
    /// definitions says so; MySQL's behind the row does not (MySQL source, `Protocol_binary::
    /// send_parameters`; tried on 9.7).
    out_parameters: bool,
    deprecate_eof: bool,
    /// The column count is followed by a byte that says whether the definitions are: with MariaDB's
    /// CACHE_METADATA, and with MySQL's OPTIONAL_RESULTSET_METADATA (whose documentation has the two
    /// the other way round; MySQL source, `Protocol_classic::start_result_metadata`).
    metadata_told: bool,
    /// The same byte stands behind a PREPARE_OK: with OPTIONAL_RESULTSET_METADATA only.
    metadata_told_prepared: bool,
    /// Payload bytes of a passed packet that have not come yet.
    missing: usize,
    /// The next packet continues the last one.
    continued: bool,
    /// The sequence number of the last packet that was passed or told.
    seq: u8,
    status: StatusFlags,
}

impl ResponseTracker {
    /// A tracker for sessions with these capabilities; between commands.
    #[must_use]
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            state: State::Done,
            preparing: false,
            with_cursor: false,
            out_parameters: false,
            deprecate_eof: capabilities.has(Capabilities::DEPRECATE_EOF),
            metadata_told: capabilities.has(Capabilities::CACHE_METADATA)
                || capabilities.has(Capabilities::OPTIONAL_RESULTSET_METADATA),
            metadata_told_prepared: capabilities.has(Capabilities::OPTIONAL_RESULTSET_METADATA),
            missing: 0,
            continued: false,
            seq: 0,
            status: StatusFlags::AUTOCOMMIT,
        }
    }

    /// Expects the response to `command`. `cursor` tells that COM_STMT_EXECUTE asks for a cursor.
    #[inline]
    pub fn start(&mut self, command: Command, cursor: bool) {
        self.preparing = command == Command::StmtPrepare;
        self.with_cursor = cursor;
        self.out_parameters = false;
        self.seq = 0;
        self.state = match command {
            command if command.is_silent() => State::Done,
            Command::StmtFetch => State::Rows,
            Command::FieldList => State::FieldList,
            Command::Statistics => State::One,
            _ => State::First,
        };
    }

    /// Whether the response is over.
    #[must_use]
    #[inline]
    pub fn is_done(&self) -> bool {
        self.state == State::Done && self.at_boundary()
    }

    /// Whether the server waits for the client's file.
    #[must_use]
    #[inline]
    pub fn wants_file(&self) -> bool {
        self.state == State::Infile
    }

    /// The client has sent its file to the end; `seq` is the number of the last packet of it.
    pub fn file_sent(&mut self, seq: u8) {
        debug_assert_eq!(self.state, State::Infile);
        self.seq = seq;
        self.state = State::First;
    }

    /// The command was more than one packet; `seq` is the number of its last one.
    pub fn begin_after(&mut self, seq: u8) {
        self.seq = seq;
    }

    /// Whether the response stands between two packets, so that a packet of our own may follow.
    #[must_use]
    #[inline]
    pub fn at_boundary(&self) -> bool {
        self.missing == 0 && !self.continued
    }

    /// The sequence number that comes next.
    #[must_use]
    pub fn next_seq(&self) -> u8 {
        self.seq.wrapping_add(1)
    }

    /// The status flags that the server sent last.
    #[must_use]
    #[inline]
    pub fn status(&self) -> StatusFlags {
        self.status
    }

    /// Looks at the bytes at hand, from where the last step ended.
    ///
    /// # Errors
    /// When the server sends what no state allows. The connection is of no use afterwards.
    #[inline]
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Malformed> {
        if self.missing > 0 && !bytes.is_empty() {
            let len = self.missing.min(bytes.len());
            self.missing -= len;
            return Ok(Step::Pass(len));
        }
        let passed = self.pass(bytes);
        if passed > 0 {
            return Ok(Step::Pass(passed));
        }
        // Without its first byte nobody can tell whether a packet must be waited for.
        let Some(header) = Header::read(bytes) else {
            return Ok(Step::Wait(Header::LEN + 1));
        };
        if bytes.len() < header.total() {
            let seen_first = bytes.len() > Header::LEN;
            return Ok(Step::Wait(if seen_first { header.total() } else { Header::LEN + 1 }));
        }
        if header.is_continued() {
            return Err(Malformed("a packet that must be small is not"));
        }
        self.seq = header.seq;
        let told = self.read(&bytes[Header::LEN..header.total()])?;
        Ok(Step::Packet { total: header.total(), told })
    }

    /// How many bytes at the front are packets, or the beginning of one, that nobody needs to read.
    #[inline]
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let Some(header) = Header::read(rest) else { return at };
            if !self.continued && !self.is_opaque(header, rest) {
                return at;
            }
            if !self.continued {
                self.count_definition();
            }
            self.seq = header.seq;
            self.continued = header.is_continued();
            let len = header.total().min(rest.len());
            self.missing = header.total() - len;
            at += len;
            if self.missing > 0 {
                return at;
            }
        }
    }

    /// Whether the packet at the front is a definition or a row.
    #[inline]
    fn is_opaque(&self, header: Header, packet: &[u8]) -> bool {
        let Some(&first) = packet.get(Header::LEN) else { return false };
        match self.state {
            State::Rows => match first {
                0xFF => false,
                0xFE => !self.ends_rows(header.len),
                _ => header.len > 0,
            },
            State::Columns(_) | State::FieldList | State::PreparedDefinitions(_) => {
                header.len > 0 && first != 0xFF && !(first == 0xFE && self.ends_rows(header.len))
            }
            _ => false,
        }
    }

    /// Whether a packet of this length that starts with 0xFE ends rows or definitions. A row may
    /// start with 0xFE too: then its first column has at least 16 MiB, and the packet is full.
    #[inline]
    fn ends_rows(&self, len: usize) -> bool {
        if self.deprecate_eof { len < super::packet::MAX_PAYLOAD } else { len < 9 }
    }

    #[inline]
    fn count_definition(&mut self) {
        match &mut self.state {
            State::Columns(left) => {
                *left -= 1;
                if *left == 0 {
                    self.state = self.after_columns();
                }
            }
            // Without DEPRECATE_EOF the EOF packets are counted, when they are read.
            State::PreparedDefinitions(left) if self.deprecate_eof => {
                *left -= 1;
                if *left == 0 {
                    self.state = State::Done;
                }
            }
            _ => {}
        }
    }

    fn after_columns(&self) -> State {
        if self.deprecate_eof { State::Rows } else { State::ColumnsEof }
    }

    /// Reads a packet that means something and takes the step that it causes.
    fn read(&mut self, payload: &[u8]) -> Result<Told, Malformed> {
        let first = *payload.first().ok_or(Malformed("an empty packet where none may be"))?;
        if first == 0xFF {
            let code = ErrorPacket::code_of(payload).ok_or(Malformed("an ERR without a code"))?;
            if code == 0xFFFF {
                return Ok(Told::Other); // a progress report of MariaDB; the response goes on
            }
            self.state = State::Done;
            return Ok(Told::Error(code));
        }
        match self.state {
            State::First => self.read_first(first, payload),
            State::ColumnsEof => self.read_columns_eof(first, payload),
            State::Rows if first == 0xFE => self.read_end(payload),
            State::FieldList if first == 0xFE => {
                self.state = State::Done;
                self.read_status(payload)
            }
            State::PreparedDefinitions(left) if first == 0xFE => {
                self.state =
                    if left > 1 { State::PreparedDefinitions(left - 1) } else { State::Done };
                Ok(Told::Other)
            }
            State::One => {
                self.state = State::Done;
                Ok(Told::Other)
            }
            State::Done => Err(Malformed("the server speaks unasked")),
            State::Infile => Err(Malformed("the server does not wait for the file")),
            _ => Err(Malformed("a packet that no state allows")),
        }
    }

    fn read_first(&mut self, first: u8, payload: &[u8]) -> Result<Told, Malformed> {
        match first {
            0x00 if self.preparing => self.read_prepared(payload),
            0x00 | 0xFE => self.read_end(payload),
            0xFB => {
                self.state = State::Infile;
                Ok(Told::LocalInfile)
            }
            _ => {
                let mut cursor = Cursor::new(payload);
                let columns = cursor.lenenc_int()?;
                let definitions_follow = !self.metadata_told || cursor.u8()? != 0;
                self.state = if definitions_follow && columns > 0 {
                    State::Columns(columns)
                } else {
                    self.after_columns()
                };
                Ok(Told::Other)
            }
        }
    }

    fn read_prepared(&mut self, payload: &[u8]) -> Result<Told, Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.u8()?;
        let prepared =
            Prepared { id: cursor.u32()?, columns: cursor.u16()?, parameters: cursor.u16()? };
        // Behind a filler and the number of warnings.
        let definitions_follow =
            !self.metadata_told_prepared || payload.get(12).is_none_or(|told| *told != 0);
        let packets = match (self.deprecate_eof, definitions_follow) {
            (true, true) => u32::from(prepared.columns) + u32::from(prepared.parameters),
            (true, false) => 0,
            // The EOF packets come in any case.
            (false, _) => u32::from(prepared.columns > 0) + u32::from(prepared.parameters > 0),
        };
        self.state = if packets == 0 { State::Done } else { State::PreparedDefinitions(packets) };
        Ok(Told::Prepared(prepared))
    }

    fn read_columns_eof(&mut self, first: u8, payload: &[u8]) -> Result<Told, Malformed> {
        if first != 0xFE {
            return Err(Malformed("no EOF behind the column definitions"));
        }
        let told = self.read_status(payload)?;
        self.out_parameters = self.status.has(StatusFlags::OUT_PARAMETERS)
            && self.status.has(StatusFlags::MORE_RESULTS);
        let opened = self.with_cursor && self.status.has(StatusFlags::CURSOR_EXISTS);
        self.state = if opened { State::Done } else { State::Rows };
        Ok(told)
    }

    /// An OK or EOF that ends a result.
    fn read_end(&mut self, payload: &[u8]) -> Result<Told, Malformed> {
        let told = self.read_status(payload)?;
        let announced = std::mem::take(&mut self.out_parameters);
        let more = announced || self.status.has(StatusFlags::MORE_RESULTS);
        self.state = if more { State::First } else { State::Done };
        Ok(told)
    }

    /// The status flags of an OK, or of an EOF (`FE  warnings(2)  status(2)`): told apart by the
    /// length, for an OK has at least seven bytes.
    fn read_status(&mut self, payload: &[u8]) -> Result<Told, Malformed> {
        if let [0xFE, _, _, low, high] = *payload {
            self.status = StatusFlags(u16::from_le_bytes([low, high]));
            return Ok(Told::Eof(self.status));
        }
        let OkPacket { status, last_insert_id, .. } = OkPacket::parse(payload)?;
        self.status = status;
        Ok(Told::Ok { status, last_insert_id })
    }
}

#[cfg(test)]
#[path = "response_tracker_tests.rs"]
mod tests;
