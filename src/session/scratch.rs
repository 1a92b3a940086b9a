//! The buffer that all sessions of a worker share.
//!
//! A session reads into it, handles what it read and passes it on before it gives up the thread, so
//! that one buffer serves any number of sessions, stays warm in the cache, and idle sessions hold
//! none. What cannot be passed on at once is copied out, and only then.

use std::cell::RefCell;

/// Bytes that are read at once.
pub(super) const CHUNK: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the worker's buffer, at least [`CHUNK`] bytes long.
#[inline]
pub(super) fn with<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < CHUNK {
            scratch.resize(CHUNK, 0);
        }
        work(scratch)
    })
}

/// Gives back what a large packet made the buffer grow to.
pub(super) fn shrink(scratch: &mut Vec<u8>) {
    if scratch.len() > CHUNK {
        scratch.truncate(CHUNK);
        scratch.shrink_to_fit();
    }
}
