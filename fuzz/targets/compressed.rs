//! The compressed hop.
//!
//! Input: flags, a byte that decides the pieces, then what comes in. What must hold: the same bytes unpack
//! to the same, with the same end, however they are cut; and what is packed unpacks to what it was.

use futures_util::FutureExt as _;
use tandem::wire::{Compressed, Compression, Header, Peer, put_packet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::input::{Input, lengths};
use super::pieces::Pieces;

/// Of a kilobyte that unpacks to gigabytes, enough is seen after this.
const ENOUGH: usize = 1 << 20;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (flags, seed) = (input.byte(), input.byte());
    let compression = if flags & 1 != 0 { Compression::Zlib } else { Compression::Zstd(1) };
    let peer = if flags & 2 != 0 { Peer::Client } else { Peer::Server };
    let (whole, end) = unpack(input.0, compression, peer, std::iter::repeat(usize::MAX));
    let (cut, other_end) = unpack(input.0, compression, peer, lengths(seed));
    assert_eq!(end, other_end, "another end");
    if end.is_ok() {
        assert_eq!(cut, whole);
    } else {
        // How much was seen before the bytes stopped making sense depends on what came at once.
        assert!(whole.starts_with(&cut) || cut.starts_with(&whole), "another beginning");
    }
    round_trip(input.0, compression, seed);
}

fn unpack(
    bytes: &[u8],
    compression: Compression,
    peer: Peer,
    lengths: impl Iterator<Item = usize> + Unpin,
) -> (Vec<u8>, Result<(), std::io::ErrorKind>) {
    let mut stream = Compressed::new(Pieces::new(bytes, lengths), compression, peer, Vec::new());
    let mut out = Vec::new();
    let mut room = [0; 1024];
    while out.len() < ENOUGH {
        let read = stream.read(&mut room).now_or_never().expect("nothing is waited for");
        match read {
            Ok(0) => return (out, Ok(())),
            Ok(len) => out.extend_from_slice(&room[..len]),
            Err(error) => return (out, Err(error.kind())),
        }
    }
    out.truncate(ENOUGH);
    (out, Ok(()))
}

/// As a command goes to a server.
fn round_trip(payload: &[u8], compression: Compression, seed: u8) {
    let mut packet = Vec::new();
    put_packet(&mut packet, 0, payload);
    let nothing = Pieces::new(&[], std::iter::repeat(1));
    let mut stream = Compressed::new(nothing, compression, Peer::Server, Vec::new());
    let sent = async {
        stream.write_all(&packet).await?;
        stream.flush().await
    };
    sent.now_or_never().expect("at once").expect("taken");
    let packed = stream.get_ref().written.clone();
    let (unpacked, end) = unpack(&packed, compression, Peer::Client, lengths(seed));
    assert_eq!(end, Ok(()));
    assert_eq!(Header::read(&unpacked), Some(Header { len: payload.len(), seq: 0 }));
    assert_eq!(&unpacked[Header::LEN..], payload);
}
