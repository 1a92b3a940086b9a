//! `PacketStream` over a stream that delivers what it likes at a time, and the codec underneath.
//!
//! Input: a byte that decides the pieces, then the stream. What must hold: the packets are those that a
//! reader of the whole stream finds, however it is cut; a length above the limit is refused at its header.

use futures_util::FutureExt as _;
use tandem::wire::{
    Cursor, Header, PacketStream, StreamError, put_lenenc_bytes, put_lenenc_int, put_packet,
};

use super::input::{Input, lengths};
use super::pieces::Pieces;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let seed = input.byte();
    read_whole_packets(seed, input.0);
    codec(input.0);
}

fn read_whole_packets(seed: u8, mut rest: &[u8]) {
    const LONGEST: usize = PacketStream::<tokio::io::Empty>::MAX_PACKET;
    let pieces = Pieces::new(rest, lengths(seed));
    let mut stream = PacketStream::new(pieces);
    loop {
        let read = stream.read().now_or_never().expect("nothing is waited for");
        let header = Header::read(rest);
        match (read, header) {
            (Ok(payload), Some(header)) => {
                assert_eq!(payload, rest[Header::LEN..header.total()]);
                assert_eq!(stream.next_seq(), header.seq.wrapping_add(1));
                rest = &rest[header.total()..];
                // What is written back is the same packet, with the next number.
                stream.write(&payload).now_or_never().expect("at once").expect("taken");
            }
            (Err(StreamError::Malformed(_)), Some(header)) => {
                assert!(header.len > LONGEST);
                return;
            }
            (Err(StreamError::Closed), header) => {
                let missing = header.is_none_or(|header| header.total() > rest.len());
                assert!(missing, "a whole packet was not read");
                break;
            }
            (read, header) => panic!("{read:?} where the header is {header:?}"),
        }
    }
    let (pieces, ahead) = stream.into_parts();
    assert_eq!(ahead, rest, "what was read ahead");
    let mut written = &pieces.written[..];
    while let Some(header) = Header::read(written) {
        written = &written[header.total()..];
    }
    assert!(written.is_empty());
}

fn codec(bytes: &[u8]) {
    let mut cursor = Cursor::new(bytes);
    let mut again = Vec::new();
    while let Ok(number) = cursor.lenenc_int() {
        again.clear();
        put_lenenc_int(&mut again, number);
        assert_eq!(Cursor::new(&again).lenenc_int(), Ok(number));
    }
    let mut cursor = Cursor::new(bytes);
    while let Ok(text) = cursor.lenenc_bytes() {
        again.clear();
        put_lenenc_bytes(&mut again, text);
        assert_eq!(Cursor::new(&again).lenenc_bytes(), Ok(text));
    }
    again.clear();
    put_packet(&mut again, 7, bytes);
    assert_eq!(Header::read(&again), Some(Header { len: bytes.len(), seq: 7 }));
    assert_eq!(&again[Header::LEN..], bytes);
    let rest = Cursor::new(bytes).nul_or_rest();
    assert!(!rest.contains(&0));
}
