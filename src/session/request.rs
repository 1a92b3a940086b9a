//! What a client has sent and has no answer to yet.
//!
//! A command is kept until it is answered: one that was provably not executed when its master went
//! is sent again to the next. Commands above [`KEPT`] bytes are passed on as they come instead, and
//! cannot be sent again. Between commands nothing is kept but a small buffer.

use crate::wire::{Header, MAX_PAYLOAD};

/// The largest command that is kept.
pub(super) const KEPT: usize = 1 << 20;

/// What has to be there of a command that is not kept: enough to know the statement that it names,
/// and where an execution says whether parameter types follow.
const LOOK: usize = 16 * 1024;

/// A buffer that an idle session may hold on to.
const IDLE_CAPACITY: usize = 4096;

/// Bytes from the client, from the first command that is not answered.
#[derive(Debug, Default)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

/// What stands at the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// Not enough of a command.
    Incomplete,
    /// A whole command of this many bytes, header included.
    Whole(usize),
    /// The beginning of a command that is too large to be kept.
    Long,
}

impl Request {
    /// Begins with what was read ahead.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// What is at the front.
    #[inline]
    pub(super) fn front(&self) -> Front {
        match Header::read(&self.bytes) {
            None => Front::Incomplete,
            Some(header) if header.len < MAX_PAYLOAD && header.total() <= KEPT => {
                if self.bytes.len() >= header.total() {
                    Front::Whole(header.total())
                } else {
                    Front::Incomplete
                }
            }
            Some(_) if self.bytes.len() >= LOOK => Front::Long,
            Some(_) => Front::Incomplete,
        }
    }

    /// Everything that is there.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Adds what the client sent.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops `len` bytes from the front: they are answered, or passed on.
    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        if len == self.bytes.len() {
            self.bytes.clear();
            if self.bytes.capacity() > IDLE_CAPACITY {
                self.bytes = Vec::new();
            }
        } else {
            self.bytes.drain(..len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts() {
        let mut request = Request::default();
        assert_eq!(request.front(), Front::Incomplete);
        request.append(&[2, 0, 0, 0, 3]);
        assert_eq!(request.front(), Front::Incomplete);
        request.append(b"x\x01\x00\x00\x00\x0e");
        assert_eq!(request.front(), Front::Whole(6));
        request.consume(6);
        assert_eq!(request.front(), Front::Whole(5));
        request.consume(5);
        request.append(&[0, 0, 0, 0]);
        assert_eq!(request.front(), Front::Whole(4), "an empty command is one");
    }

    #[test]
    fn a_long_command_is_known_by_its_first_bytes() {
        for header in [[0xFF, 0xFF, 0xFF, 0], [0, 0, 0x10, 0]] {
            let mut request = Request::new(header.to_vec());
            request.append(&[3; 100]);
            assert_eq!(request.front(), Front::Incomplete);
            request.append(&[3; LOOK]);
            assert_eq!(request.front(), Front::Long);
        }
    }

    #[test]
    fn an_idle_session_keeps_no_large_buffer() {
        let mut request = Request::new(vec![0; 100_000]);
        request.consume(100_000);
        assert_eq!(request.bytes_mut().capacity(), 0);
    }
}
