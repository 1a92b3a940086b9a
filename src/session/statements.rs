//! Prepared statements on their way: from the client's id to the server's, and prepared again where
//! they are not known yet.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::client_error::ClientError;
use super::end::SessionEnd;
use super::prepared::PreparedStatement;
use super::relay::Relay;
use super::statement::Statement;
use crate::wire::{
    Command, ExecutedTypes, Header, MAX_PAYLOAD, PacketStream, Prepared, ResponseTracker,
    StatusFlags, Step, StreamError, Told, put_packet,
};

/// The number of a session's first login.
const FIRST_LOGIN: u64 = 1;

impl Relay {
    /// Whether the server knows the statement that the command names, by the client's id.
    #[inline]
    pub(super) fn statement_is_ready(&self) -> bool {
        let (Some(id), Some(backend)) = (self.current.statement_id, self.backend.as_ref()) else {
            return self.current.statement_id.is_none();
        };
        match self.state.prepared.get(id) {
            Some(known) => known.prepared == (backend.login, id),
            // Before the first migration ids are the server's own, and it says what it knows.
            None => backend.login == FIRST_LOGIN,
        }
    }

    /// Sees to it that the server knows the statement that the command names, and by which id.
    /// False when the client has no such statement, or the server need not hear of it.
    pub(super) async fn make_statement_ready(&mut self) -> Result<bool, SessionEnd> {
        let Some(id) = self.current.statement_id else { return Ok(false) };
        let Some(backend) = self.backend.as_ref() else { return Ok(true) };
        let Some(statement) = self.state.prepared.get(id) else { return Ok(false) };
        let mut server_id = statement.prepared.1;
        if statement.prepared.0 != backend.login {
            if self.current.command == Command::StmtClose {
                return Ok(false); // the server that knew it is gone
            }
            match self.prepare_again(id).await? {
                Ok(fresh) => server_id = fresh,
                Err(StreamError::Io(_) | StreamError::Closed) => {
                    // Nothing more goes this way, so that sending the command finds out that it was
                    // not sent.
                    if let Some(backend) = self.backend.as_mut() {
                        let _ = backend.stream.shutdown().await;
                    }
                    return Ok(true);
                }
                Err(StreamError::Malformed(error)) => {
                    return Err(SessionEnd::ServerMalformed(error.to_string()));
                }
            }
        }
        if self.rewrite(id, server_id) {
            return Ok(true);
        }
        let lacking = "an execution of 16 MiB came without the types of its parameters";
        Err(SessionEnd::NotRestored(lacking.to_owned()))
    }

    /// Prepares a statement of the client's on the server where the session is now.
    async fn prepare_again(&mut self, id: u32) -> Result<Result<u32, StreamError>, SessionEnd> {
        self.flush_preamble().await;
        let Some(statement) = self.state.prepared.get(id) else {
            return Ok(Err(StreamError::Closed));
        };
        let sql = [&[0x16], &*statement.sql].concat();
        // Its names mean what they meant in the schema of then.
        let elsewhere = statement.schema.as_deref() != self.state.schema.as_deref();
        let (there, here) = match (elsewhere, &statement.schema, &self.state.schema) {
            (false, ..) => (None, None),
            (true, Some(there), Some(here)) => (Some(init_db(there)), Some(init_db(here))),
            // There is no command that leaves a session without a schema.
            (true, ..) => {
                return Err(SessionEnd::NotRestored(
                    "a statement was prepared while there was no schema, or for one, and now there \
                     is another"
                        .to_owned(),
                ));
            }
        };
        let Some(backend) = self.backend.as_mut() else { return Ok(Err(StreamError::Closed)) };
        let mut packets = Vec::new();
        let mut tracker = ResponseTracker::new(self.login.capabilities);
        for payload in [there.as_deref(), Some(&sql), here.as_deref()].into_iter().flatten() {
            put_packet(&mut packets, 0, payload);
        }
        let aside = u32::from(there.is_some());
        let carry = std::mem::take(&mut backend.carry);
        let mut stream = PacketStream::resume(&mut backend.stream, carry);
        let exchange = async {
            stream.write_raw(&packets).await?;
            for _ in 0..aside {
                let payload = stream.read().await?;
                if payload.first() == Some(&0xFF) {
                    return Ok(Some(Err(payload)));
                }
            }
            tracker.start(Command::StmtPrepare, false);
            let mut answer = None;
            while !tracker.is_done() {
                let payload = stream.read().await?;
                let mut packet = Vec::new();
                put_packet(&mut packet, 0, &payload);
                if let Step::Packet { told, .. } = tracker.step(&packet)? {
                    match told {
                        Told::Prepared(prepared) => answer = Some(Ok(prepared)),
                        Told::Error(_) => answer = Some(Err(payload)),
                        _ => {}
                    }
                }
            }
            for _ in 0..aside {
                stream.read().await?;
            }
            Ok(answer)
        };
        let answer = match tokio::time::timeout(self.shared.connect_timeout, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Ok(Err(error)),
            Err(_) => return Ok(Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())),
        };
        match answer {
            Some(Ok(Prepared { id: fresh, parameters, .. })) => {
                let login = backend.login;
                if let Some(statement) = self.state.prepared.get_mut(id) {
                    statement.prepared = (login, fresh);
                    statement.parameters = parameters;
                }
                Ok(Ok(fresh))
            }
            // It was a statement there and is none here: the session is not what it was.
            Some(Err(refusal)) => {
                let packet = self.as_answer(&refusal);
                self.tell_client(&packet).await?;
                Err(SessionEnd::NotRestored("a prepared statement was refused".to_owned()))
            }
            None => Ok(Err(StreamError::Closed)),
        }
    }

    /// Puts the server's id into the command, and into an execution the types of its parameters,
    /// which a client sends with the first one only. False when there is no room for them.
    fn rewrite(&mut self, id: u32, server_id: u32) -> bool {
        let Some(statement) = self.state.prepared.get(id) else { return true };
        let (parameters, types) = (statement.parameters, statement.types.clone());
        let bytes = self.request.bytes_mut();
        let Some(mut header) = Header::read(bytes) else { return true };
        if let Some(place) = bytes.get_mut(Header::LEN + 1..Header::LEN + 5) {
            place.copy_from_slice(&server_id.to_le_bytes());
        }
        let command = self.current.command;
        if !matches!(command, Command::StmtExecute | Command::StmtBulkExecute) {
            return true;
        }
        // Of a command that is not kept only the front is there; of others, no more than it.
        let end = header.total().min(bytes.len());
        let payload = &bytes[Header::LEN..end];
        let place = ExecutedTypes::of(command, payload, parameters, self.login.capabilities);
        if let Some(place) = place
            && !place.are_there(payload)
            && place.fit(&types)
        {
            header.len += types.len();
            if header.len >= MAX_PAYLOAD {
                return false; // it would have to be cut into other packets
            }
            place.insert(bytes, Header::LEN, &types);
            bytes[..Header::LEN].copy_from_slice(&header.to_bytes());
        }
        true
    }

    /// A statement was prepared: remembers it. Returns the client's id for it.
    pub(super) fn statement_prepared(&mut self, prepared: Prepared) -> u32 {
        let Some(backend) = self.backend.as_ref() else { return prepared.id };
        let total = Header::read(self.request.bytes()).map_or(0, Header::total);
        let mut sql = &[][..];
        if self.current.kept {
            sql = &self.request.bytes()[Header::LEN + 1..total];
        } else {
            self.state.not_tracked(); // too large to be kept, so it cannot be prepared again
        }
        let statement = PreparedStatement {
            sql: sql.into(),
            schema: self.state.schema.as_deref().map(Into::into),
            statement: Statement::classify(sql, self.state.backslash_escapes()),
            parameters: prepared.parameters,
            types: Box::default(),
            prepared: (backend.login, prepared.id),
            cursor: false,
            long_data: false,
        };
        self.state.prepared.insert(statement)
    }

    /// An execution was answered: what it leaves behind.
    #[inline]
    pub(super) fn executed_prepared(&mut self) {
        let status = self.tracker.status();
        let has_cursor = self.current.cursor
            && status.has(StatusFlags::CURSOR_EXISTS)
            && !status.has(StatusFlags::LAST_ROW_SENT);
        self.change_statement(|statement| {
            statement.cursor = has_cursor;
            statement.long_data = false;
        });
        let Some(prepared) = self.current.statement_id.and_then(|id| self.state.prepared.get(id))
        else {
            return;
        };
        let statement = prepared.statement;
        if !statement.is_plain() || self.state.has_next_transaction() {
            let sql = prepared.sql.clone();
            self.state.executed(statement, &sql);
        }
    }

    /// Changes what is known of the statement that the command names.
    pub(super) fn change_statement(&mut self, change: impl FnOnce(&mut PreparedStatement)) {
        if let Some(id) = self.current.statement_id {
            self.state.prepared.change(id, change);
        }
    }

    /// A command without an answer went to the server.
    pub(super) fn silent_done(&mut self) {
        self.entry.set_waiting_since(0);
        match (self.current.command, self.current.statement_id) {
            (Command::StmtClose, Some(id)) => {
                self.state.prepared.remove(id);
            }
            (Command::StmtSendLongData, _) => {
                self.change_statement(|statement| statement.long_data = true);
            }
            _ => {}
        }
    }

    /// Answers a command that names a statement that there is not: silently, where it has no answer.
    pub(super) async fn answer_unknown_statement(&mut self) -> Result<(), SessionEnd> {
        let id = self.current.statement_id.unwrap_or(0);
        if self.current.command.is_silent() {
            self.state.prepared.remove(id);
            let total = Header::read(self.request.bytes()).map_or(0, Header::total);
            self.request.consume(total);
            return Ok(());
        }
        self.answer_error(&self.unknown_statement()).await
    }

    /// What a server says to a statement id that it does not know.
    pub(super) fn unknown_statement(&self) -> ClientError {
        let place = match self.current.command {
            Command::StmtReset => "mysqld_stmt_reset",
            Command::StmtFetch => "mysqld_stmt_fetch",
            Command::StmtBulkExecute => "mysqld_stmt_bulk_execute",
            _ => "mysqld_stmt_execute",
        };
        ClientError::UnknownStatement(self.current.statement_id.unwrap_or(0), place)
    }

    /// Ends both connections in good order.
    pub(super) async fn say_goodbye(&mut self) {
        self.release_backend().await;
        self.leave_reader().await;
        // What TLS has kept back leaves first, if the client takes it.
        let leaving = self.client.shutdown();
        let _ = tokio::time::timeout(Duration::from_secs(1), leaving).await;
    }
}

fn init_db(schema: &[u8]) -> Vec<u8> {
    [&[0x02], schema].concat()
}

/// The statement id of a COM_STMT_ command: four bytes behind the first.
#[inline]
pub(super) fn statement_id(payload: &[u8]) -> Option<u32> {
    payload.get(1..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
