//! What the first byte of a request says.

/// A command of the protocol (MySQL source documentation, "Command Phase"; MariaDB, "Commands").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the protocol's own names, COM_ left out
pub enum Command {
    Quit,
    InitDb,
    Query,
    FieldList,
    Refresh,
    Statistics,
    ProcessInfo,
    ProcessKill,
    Debug,
    Ping,
    ChangeUser,
    BinlogDump,
    TableDump,
    RegisterSlave,
    StmtPrepare,
    StmtExecute,
    StmtSendLongData,
    StmtClose,
    StmtReset,
    SetOption,
    StmtFetch,
    BinlogDumpGtid,
    ResetConnection,
    Clone,
    SubscribeGroupReplication,
    StmtBulkExecute,
    Multi,
    /// Any other byte, and the empty packet (as 0, which servers refuse as well).
    Other(u8),
}

impl Command {
    /// The command of a request whose first byte is `byte`.
    #[must_use]
    #[inline]
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0x01 => Self::Quit,
            0x02 => Self::InitDb,
            0x03 => Self::Query,
            0x04 => Self::FieldList,
            0x07 => Self::Refresh,
            0x09 => Self::Statistics,
            0x0A => Self::ProcessInfo,
            0x0C => Self::ProcessKill,
            0x0D => Self::Debug,
            0x0E => Self::Ping,
            0x11 => Self::ChangeUser,
            0x12 => Self::BinlogDump,
            0x13 => Self::TableDump,
            0x15 => Self::RegisterSlave,
            0x16 => Self::StmtPrepare,
            0x17 => Self::StmtExecute,
            0x18 => Self::StmtSendLongData,
            0x19 => Self::StmtClose,
            0x1A => Self::StmtReset,
            0x1B => Self::SetOption,
            0x1C => Self::StmtFetch,
            0x1E => Self::BinlogDumpGtid,
            0x1F => Self::ResetConnection,
            0x20 => Self::Clone,
            0x21 => Self::SubscribeGroupReplication,
            0xFA => Self::StmtBulkExecute,
            0xFE => Self::Multi,
            other => Self::Other(other),
        }
    }

    /// Whether the answer is the binary log: it has no end, and the client may speak in between
    /// (the acknowledgements of a semi-synchronous slave).
    #[must_use]
    pub fn is_dump(self) -> bool {
        matches!(self, Self::BinlogDump | Self::BinlogDumpGtid)
    }

    /// Whether the server sends nothing back.
    #[must_use]
    #[inline]
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Quit | Self::StmtClose | Self::StmtSendLongData)
    }
}
