//! Capability bits: what client and server agree on in the handshake.
//!
//! The low 32 bits are the protocol's; the high half holds MariaDB's extended capabilities, which
//! travel in bytes that are otherwise reserved and count only while bit 0 (`CLIENT_MYSQL`) is clear
//! (MariaDB, "Connecting": Capabilities).

use std::ops::{BitAnd, BitOr};

/// A set of capability bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Bit 0: set by MySQL and by MariaDB clients that want no extended capabilities.
    pub const CLIENT_MYSQL: Self = Self(1);
    /// Affected rows counts found ones.
    pub const FOUND_ROWS: Self = Self(1 << 1);
    /// A schema is named in the handshake response.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// zlib compression.
    pub const COMPRESS: Self = Self(1 << 5);
    /// LOAD DATA LOCAL.
    pub const LOCAL_FILES: Self = Self(1 << 7);
    /// `sql_mode` gets `IGNORE_SPACE` at the login.
    pub const IGNORE_SPACE: Self = Self(1 << 8);
    /// The protocol of MySQL 4.1.
    pub const PROTOCOL_41: Self = Self(1 << 9);
    /// TLS.
    pub const SSL: Self = Self(1 << 11);
    /// Status flags in OK and EOF.
    pub const TRANSACTIONS: Self = Self(1 << 13);
    /// The 20 byte salt.
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    /// Several statements in one COM_QUERY.
    pub const MULTI_STATEMENTS: Self = Self(1 << 16);
    /// Several results to one COM_QUERY.
    pub const MULTI_RESULTS: Self = Self(1 << 17);
    /// Several results to one COM_STMT_EXECUTE.
    pub const PS_MULTI_RESULTS: Self = Self(1 << 18);
    /// Authentication plugins.
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    /// Connection attributes.
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// The authentication response has a length-encoded length.
    pub const PLUGIN_AUTH_LENENC: Self = Self(1 << 21);
    /// OK packets may carry session state.
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// OK packets instead of EOF packets.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// Results may come without metadata (MySQL).
    pub const OPTIONAL_RESULTSET_METADATA: Self = Self(1 << 25);
    /// zstd compression.
    pub const ZSTD: Self = Self(1 << 26);
    /// Query attributes (MySQL).
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);
    /// Several factors.
    pub const MULTI_FACTOR: Self = Self(1 << 28);
    /// MariaDB: reports of how far a long statement has come, as ERR packets with code 0xFFFF.
    pub const PROGRESS: Self = Self(1 << 32);
    /// MariaDB: bulk execution of prepared statements.
    pub const STMT_BULK: Self = Self(1 << 34);
    /// MariaDB: more type information in column definitions.
    pub const EXTENDED_METADATA: Self = Self(1 << 35);
    /// MariaDB: column definitions may be left out when they did not change.
    pub const CACHE_METADATA: Self = Self(1 << 36);
    /// MariaDB: a result for each row of a bulk execution.
    pub const BULK_UNIT_RESULTS: Self = Self(1 << 37);

    /// Every MariaDB extended capability.
    const EXTENDED: Self = Self(0xFFFF_FFFF_0000_0000);

    /// What Tandem can carry between a client and a server. The rest is never offered: a feature
    /// that one side believes in and the other does not know corrupts data silently.
    ///
    /// Left out: compression and TLS (each hop by itself), `MULTI_FACTOR`, and MariaDB's `COM_MULTI`.
    pub const RELAYED: Self = Self(
        // LONG_PASSWORD .. IGNORE_SPACE without COMPRESS and with PROTOCOL_41 ..
        // CLIENT_PLUGIN_AUTH_LENENC, EXPIRED_PASSWORDS, SESSION_TRACK, DEPRECATE_EOF
        0x01FF_F7DF
            | Self::OPTIONAL_RESULTSET_METADATA.0
            | Self::QUERY_ATTRIBUTES.0
            | Self::PROGRESS.0
            | Self::STMT_BULK.0
            | Self::EXTENDED_METADATA.0
            | Self::CACHE_METADATA.0
            | Self::BULK_UNIT_RESULTS.0,
    );

    /// Compression of a hop: never relayed, for each hop has its own.
    pub const COMPRESSION: Self = Self(Self::COMPRESS.0 | Self::ZSTD.0);

    /// What decides the shape of packets: both hops must agree on it.
    pub const SHAPING: Self = Self(
        Self::MULTI_STATEMENTS.0
            | Self::MULTI_RESULTS.0
            | Self::PS_MULTI_RESULTS.0
            | Self::DEPRECATE_EOF.0
            | Self::OPTIONAL_RESULTSET_METADATA.0
            | Self::QUERY_ATTRIBUTES.0
            | Self::STMT_BULK.0
            | Self::EXTENDED_METADATA.0
            | Self::CACHE_METADATA.0
            | Self::BULK_UNIT_RESULTS.0,
    );

    /// Whether all bits of `other` are set.
    #[must_use]
    #[inline]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These bits but not those.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The protocol's 32 bits.
    #[must_use]
    pub fn low(self) -> u32 {
        (self.0 & 0xFFFF_FFFF) as u32
    }

    /// MariaDB's extended bits, as they stand in the handshake packets.
    #[must_use]
    pub fn extended(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Puts the two halves of a handshake packet together. The extended ones count only when bit 0
    /// is clear.
    #[must_use]
    pub fn from_halves(low: u32, extended: u32) -> Self {
        let low = Self(u64::from(low));
        if low.has(Self::CLIENT_MYSQL) { low } else { Self(low.0 | u64::from(extended) << 32) }
    }

    /// Whether any MariaDB extended capability is set.
    #[must_use]
    pub fn is_extended(self) -> bool {
        self.0 & Self::EXTENDED.0 != 0
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_bits_count_only_without_bit_0() {
        assert!(!Capabilities::from_halves(1, 4).has(Capabilities::STMT_BULK));
        assert!(Capabilities::from_halves(0, 4).has(Capabilities::STMT_BULK));
    }

    #[test]
    fn what_is_not_carried_is_not_offered() {
        for refused in [
            Capabilities::COMPRESS,
            Capabilities::SSL,
            Capabilities::ZSTD,
            Capabilities::MULTI_FACTOR,
            Capabilities(1 << 33), // MariaDB's COM_MULTI
        ] {
            assert!(!Capabilities::RELAYED.has(refused), "{refused:?}");
        }
        for carried in [
            Capabilities::FOUND_ROWS,
            Capabilities::MULTI_STATEMENTS,
            Capabilities::DEPRECATE_EOF,
            Capabilities::SESSION_TRACK,
            Capabilities::CONNECT_ATTRS,
            Capabilities::LOCAL_FILES,
        ] {
            assert!(Capabilities::RELAYED.has(carried), "{carried:?}");
        }
    }

    #[test]
    fn bits_agree_with_mysql_common() {
        use mysql_common::constants::CapabilityFlags as C;
        for (ours, theirs) in [
            (Capabilities::PROTOCOL_41, C::CLIENT_PROTOCOL_41),
            (Capabilities::PLUGIN_AUTH, C::CLIENT_PLUGIN_AUTH),
            (Capabilities::PLUGIN_AUTH_LENENC, C::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA),
            (Capabilities::SESSION_TRACK, C::CLIENT_SESSION_TRACK),
            (Capabilities::DEPRECATE_EOF, C::CLIENT_DEPRECATE_EOF),
            (Capabilities::CONNECT_WITH_DB, C::CLIENT_CONNECT_WITH_DB),
            (Capabilities::CONNECT_ATTRS, C::CLIENT_CONNECT_ATTRS),
            (Capabilities::MULTI_STATEMENTS, C::CLIENT_MULTI_STATEMENTS),
            (Capabilities::SECURE_CONNECTION, C::CLIENT_SECURE_CONNECTION),
        ] {
            assert_eq!(ours.low(), theirs.bits());
        }
    }
}
