//! Physical packets: a 4 byte header and a payload.
//!
//! ```text
//! 3 bytes  payload length, little endian
//! 1 byte   sequence number, 0 for the first packet of a command, counting on through its response
//! n bytes  payload
//! ```
//!
//! A payload of 0xFFFFFF bytes is continued by the next packet; a logical packet whose length is a
//! multiple of 0xFFFFFF ends with an empty one (MySQL source documentation, "MySQL Packets").

/// The longest payload of one packet; a payload of exactly this length is continued.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// A packet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload that follows.
    pub len: usize,
    /// Sequence number.
    pub seq: u8,
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 4;

    /// The header at the front of `bytes`, if four bytes are there.
    #[must_use]
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; 4] = bytes.first_chunk()?;
        Some(Self {
            len: u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize,
            seq: head[3],
        })
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        debug_assert!(self.len <= MAX_PAYLOAD);
        let len = u32::try_from(self.len).unwrap_or(u32::MAX).to_le_bytes();
        [len[0], len[1], len[2], self.seq]
    }

    /// Header and payload together.
    #[must_use]
    pub fn total(self) -> usize {
        Self::LEN + self.len
    }

    /// Whether the next packet continues this one.
    #[must_use]
    pub fn is_continued(self) -> bool {
        self.len == MAX_PAYLOAD
    }
}

/// Appends `payload` to `out` as one logical packet, split where it must be, starting with sequence
/// number `seq`. Returns the sequence number that comes next.
pub fn put_packet(out: &mut Vec<u8>, mut seq: u8, payload: &[u8]) -> u8 {
    let mut rest = payload;
    loop {
        let (part, tail) = rest.split_at(rest.len().min(MAX_PAYLOAD));
        out.extend_from_slice(&Header { len: part.len(), seq }.to_bytes());
        out.extend_from_slice(part);
        seq = seq.wrapping_add(1);
        if part.len() < MAX_PAYLOAD {
            return seq;
        }
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written() {
        let header = Header { len: 0x01_02_03, seq: 250 };
        assert_eq!(header.to_bytes(), [3, 2, 1, 250]);
        assert_eq!(Header::read(&header.to_bytes()), Some(header));
        assert_eq!(Header::read(&[0, 0, 0]), None);
    }

    #[test]
    fn a_payload_of_exactly_the_maximum_is_followed_by_an_empty_packet() {
        let mut out = Vec::new();
        let next = put_packet(&mut out, 255, &vec![7; MAX_PAYLOAD]);
        assert_eq!(next, 1);
        assert_eq!(out.len(), 4 + MAX_PAYLOAD + 4);
        assert_eq!(&out[4 + MAX_PAYLOAD..], [0, 0, 0, 0]);
    }
}
