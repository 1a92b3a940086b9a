//! Compressed packets, as bytes: the layer below the ordinary packets once both sides have agreed on
//! an algorithm.
//!
//! ```text
//! 3 bytes  length of the body, little endian
//! 1 byte   sequence number, of a count of its own
//! 3 bytes  length of the body once it is unpacked; 0 for a body that is stored as it is
//! n bytes  body
//! ```
//!
//! A body is any piece of the stream of ordinary packets: neither begins or ends have to agree
//! (MySQL source documentation, "Compressed Packet"; the algorithms: sql-common/net_serv.cc and
//! mysys/my_compress.cc). What is shorter than [`MIN_PACKED`] is stored, and so is what does not get
//! shorter.
//!
//! Packing is done at once, for pieces of bounded size. Unpacking is done as the bytes come in: what
//! a header promises is never allocated, and a body that unpacks to more or less than that is an
//! error.

use std::cell::RefCell;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, Operation as _};
use zstd::zstd_safe::ResetDirective;

use super::capabilities::Capabilities;
use super::codec::Malformed;

/// What is shorter is stored (MIN_COMPRESS_LENGTH).
pub(super) const MIN_PACKED: usize = 50;

/// The largest piece that is packed at once.
pub(super) const PIECE: usize = 64 * 1024;

/// Bytes of a compressed packet's header.
pub(super) const HEADER: usize = 7;

/// The highest level at which zstd packs for a client that asks for more: a worker thread has other
/// sessions to serve, and above this a piece takes several milliseconds.
const HIGHEST_LEVEL: i32 = 9;

/// What zstd is asked to do by a client that does not say.
pub const ZSTD_LEVEL: u8 = 3;

/// The largest window that a zstd frame may ask for: no packet unpacks to more than 16 MiB.
const WINDOW_LOG: u32 = 24;

/// How a hop is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Deflate in the zlib format (`CLIENT_COMPRESS`).
    Zlib,
    /// Zstandard (`CLIENT_ZSTD_COMPRESSION_ALGORITHM`), packing at this level.
    Zstd(u8),
}

impl Compression {
    /// What both sides have agreed on. Where they can do both, zlib: that is what MySQL's clients
    /// and servers take then (sql-common/client.cc, `csm_prep_select_database`).
    #[must_use]
    pub fn agreed(both: Capabilities, zstd_level: Option<u8>) -> Option<Self> {
        if both.has(Capabilities::COMPRESS) {
            Some(Self::Zlib)
        } else if both.has(Capabilities::ZSTD) {
            Some(Self::Zstd(zstd_level.unwrap_or(ZSTD_LEVEL)))
        } else {
            None
        }
    }

    /// The capability that offers it.
    #[must_use]
    pub fn capability(self) -> Capabilities {
        match self {
            Self::Zlib => Capabilities::COMPRESS,
            Self::Zstd(_) => Capabilities::ZSTD,
        }
    }
}

thread_local! {
    /// What packs for all sessions of a worker: it is large, and of no use between two packets.
    static PACKER: RefCell<Packer> = RefCell::new(Packer::default());
}

#[derive(Default)]
struct Packer {
    zlib: Option<Compress>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

/// Appends `piece`, at most [`PIECE`] bytes, to `out` as one compressed packet.
pub(super) fn put_compressed(out: &mut Vec<u8>, compression: Compression, seq: u8, piece: &[u8]) {
    debug_assert!(piece.len() <= PIECE);
    let start = out.len();
    out.resize(start + HEADER + piece.len(), 0);
    let room = &mut out[start + HEADER..];
    let packed = if piece.len() < MIN_PACKED {
        None
    } else {
        PACKER.with_borrow_mut(|packer| packer.pack(compression, piece, room))
    };
    let (body, plain) = match packed {
        Some(len) => (len, piece.len()),
        None => {
            room.copy_from_slice(piece);
            (piece.len(), 0)
        }
    };
    out.truncate(start + HEADER + body);
    let three = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    let (body, plain) = (three(body), three(plain));
    let header = [body[0], body[1], body[2], seq, plain[0], plain[1], plain[2]];
    out[start..start + HEADER].copy_from_slice(&header);
}

impl Packer {
    /// The length of `piece` packed into `room`, which is as long; `None` when it does not fit.
    fn pack(&mut self, compression: Compression, piece: &[u8], room: &mut [u8]) -> Option<usize> {
        match compression {
            Compression::Zlib => {
                let zlib = self
                    .zlib
                    .get_or_insert_with(|| Compress::new(flate2::Compression::default(), true));
                zlib.reset();
                let status = zlib.compress(piece, room, FlushCompress::Finish).ok()?;
                let len = usize::try_from(zlib.total_out()).ok()?;
                (status == Status::StreamEnd && len < piece.len()).then_some(len)
            }
            Compression::Zstd(level) => {
                let level = i32::from(level).clamp(1, HIGHEST_LEVEL);
                let zstd = match &mut self.zstd {
                    Some(zstd) => {
                        // A piece that did not fit has left it in the middle of a frame, where it
                        // takes no level.
                        zstd.context_mut().reset(ResetDirective::SessionOnly).ok()?;
                        zstd.set_compression_level(level).ok()?;
                        zstd
                    }
                    none => none.insert(zstd::bulk::Compressor::new(level).ok()?),
                };
                // It fails when the room is too short.
                zstd.compress_to_buffer(piece, room).ok().filter(|len| *len < piece.len())
            }
        }
    }
}

/// Unpacks compressed packets as they come in.
pub(super) struct Unpacker {
    compression: Compression,
    head: [u8; HEADER],
    have: usize,
    body: Body,
}

enum Body {
    /// A header is being read.
    None,
    /// So many bytes are still to come, stored as they are.
    Stored(usize),
    /// So many packed bytes are still to come, for so many unpacked ones.
    Packed { left: usize, plain: usize, engine: Box<Engine> },
}

/// Holds a window of what was unpacked, so that it lives only as long as its packet.
enum Engine {
    Zlib(Decompress),
    Zstd(Decoder<'static>),
}

/// How far one step has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// A header was read whole, with this number. So many bytes of the input are used up.
    Header { seq: u8, read: usize },
    /// So many bytes of the input are used up, and so many of the output are filled. Both are 0
    /// when more has to come.
    Bytes { read: usize, written: usize },
}

impl Unpacker {
    pub(super) fn new(compression: Compression) -> Self {
        Self { compression, head: [0; HEADER], have: 0, body: Body::None }
    }

    /// Whether the input may end here.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.have == 0 && matches!(self.body, Body::None)
    }

    /// Unpacks what it can. As long as the output is not full, all of the input is used up by steps
    /// that follow on each other.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Unpacked, Malformed> {
        let (read, written) = match &mut self.body {
            Body::None => return self.read_header(input),
            Body::Stored(left) => {
                let len = input.len().min(output.len()).min(*left);
                output[..len].copy_from_slice(&input[..len]);
                *left -= len;
                if *left == 0 {
                    self.body = Body::None;
                }
                (len, len)
            }
            Body::Packed { left, plain, engine } => {
                let input = &input[..input.len().min(*left)];
                // One byte too many shows a body that is longer than it said.
                let mut spare = [0];
                let len = output.len().min(*plain);
                let room = if *plain == 0 { &mut spare[..] } else { &mut output[..len] };
                let (read, written, ended) = engine.run(input, room)?;
                if written > *plain {
                    return Err(Malformed("a compressed packet unpacks to more than it says"));
                }
                *left -= read;
                *plain -= written;
                let stuck = *left == 0 && read == 0 && written == 0 && !room.is_empty();
                if ended && (*left > 0 || *plain > 0) || !ended && stuck {
                    return Err(Malformed("a compressed packet is not as long as it says"));
                }
                if ended {
                    self.body = Body::None;
                }
                (read, written)
            }
        };
        Ok(Unpacked::Bytes { read, written })
    }

    fn read_header(&mut self, input: &[u8]) -> Result<Unpacked, Malformed> {
        let read = input.len().min(HEADER - self.have);
        self.head[self.have..self.have + read].copy_from_slice(&input[..read]);
        self.have += read;
        if self.have < HEADER {
            return Ok(Unpacked::Bytes { read, written: 0 });
        }
        self.have = 0;
        let head = self.head;
        let three =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], 0]) as usize;
        let (left, plain) = (three(0), three(4));
        self.body = match (left, plain) {
            (0, 0) => Body::None,
            (0, _) => return Err(Malformed("a compressed packet without a body")),
            (_, 0) => Body::Stored(left),
            _ => Body::Packed { left, plain, engine: Box::new(Engine::new(self.compression)?) },
        };
        Ok(Unpacked::Header { seq: head[3], read })
    }
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl Engine {
    fn new(compression: Compression) -> Result<Self, Malformed> {
        match compression {
            Compression::Zlib => Ok(Self::Zlib(Decompress::new(true))),
            Compression::Zstd(_) => {
                let unusable = |_| Malformed("zstd cannot be used");
                let mut decoder = Decoder::new().map_err(unusable)?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(unusable)?;
                Ok(Self::Zstd(decoder))
            }
        }
    }

    /// Bytes read, bytes written, and whether that was all.
    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize, bool), Malformed> {
        let garbled = Malformed("a compressed packet cannot be unpacked");
        match self {
            Self::Zlib(zlib) => {
                let (read, written) = (zlib.total_in(), zlib.total_out());
                let status =
                    zlib.decompress(input, output, FlushDecompress::None).map_err(|_| garbled)?;
                // They are no more than the lengths of the slices.
                let (read, written) = (zlib.total_in() - read, zlib.total_out() - written);
                Ok((read as usize, written as usize, status == Status::StreamEnd))
            }
            Self::Zstd(zstd) => {
                let done = zstd.run_on_buffers(input, output).map_err(|_| garbled)?;
                Ok((done.bytes_read, done.bytes_written, done.remaining == 0))
            }
        }
    }
}

#[cfg(test)]
#[path = "compression_tests.rs"]
mod tests;
