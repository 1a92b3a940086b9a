//! What is packed is unpacked, at whatever pieces; what lies is refused; and mysql_common agrees.

use bytes::BytesMut;
use mysql_common::proto::codec::PacketCodec;
use proptest::prelude::*;

use super::*;

const BOTH: [Compression; 2] = [Compression::Zlib, Compression::Zstd(ZSTD_LEVEL)];

/// Unpacks `input`, handed over in pieces of `step` bytes, into rooms of `room` bytes.
fn unpack(
    compression: Compression,
    input: &[u8],
    step: usize,
    room: usize,
) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
    let mut unpacker = Unpacker::new(compression);
    let (mut plain, mut numbers) = (Vec::new(), Vec::new());
    for piece in input.chunks(step) {
        let mut at = 0;
        loop {
            let mut output = vec![0; room];
            match unpacker.step(&piece[at..], &mut output)? {
                Unpacked::Header { seq, read } => {
                    numbers.push(seq);
                    at += read;
                }
                Unpacked::Bytes { read: 0, written: 0 } => break,
                Unpacked::Bytes { read, written } => {
                    at += read;
                    plain.extend_from_slice(&output[..written]);
                }
            }
        }
        assert_eq!(at, piece.len(), "all of the input is used up");
    }
    assert!(unpacker.is_at_boundary());
    Ok((plain, numbers))
}

fn packed(compression: Compression, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (seq, piece) in (0..).zip(pieces) {
        put_compressed(&mut out, compression, seq, piece);
    }
    out
}

#[test]
fn what_is_short_or_does_not_shrink_is_stored() {
    for compression in BOTH {
        let short = packed(compression, &[&[7; MIN_PACKED - 1]]);
        assert_eq!(short[..HEADER], [49, 0, 0, 0, 0, 0, 0]);
        assert_eq!(short.len(), HEADER + 49);
        let mut state = 1u64;
        let noise: [u8; 1000] = std::array::from_fn(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        assert_eq!(packed(compression, &[&noise])[4..HEADER], [0, 0, 0]);
        let long = packed(compression, &[&[7; PIECE]]);
        assert!(long.len() < 500 && long[4..HEADER] == [0, 0, 1]);
    }
}

#[test]
fn lies_about_lengths_are_refused() {
    for compression in BOTH {
        let honest = packed(compression, &[&[7; 1000]]);
        for (at, change) in [(4, 1), (4, 255), (0, 1), (0, 255)] {
            let mut lying = honest.clone();
            lying[at] = lying[at].wrapping_add(change);
            lying.extend_from_slice(&[0; 8]);
            assert!(
                unpack(compression, &lying, 5000, 5000).is_err(),
                "{compression:?} {at} {change}"
            );
        }
        // 16 MiB of promises and nothing behind them.
        assert!(unpack(compression, &[1, 0, 0, 0, 255, 255, 255, 9, 9], 1, 64).is_err());
        assert!(unpack(compression, &[0, 0, 0, 0, 1, 0, 0], 7, 64).is_err());
    }
}

#[test]
fn a_full_packet_of_zeroes_is_unpacked_in_small_rooms() {
    // 16 MiB in a few kilobytes: no more of it is in memory at once than the room that is given.
    let mut zlib = Compress::new(flate2::Compression::best(), true);
    let plain = vec![0; 0xff_ffff];
    let mut body = Vec::with_capacity(100_000);
    let status = zlib.compress_vec(&plain, &mut body, FlushCompress::Finish).expect("packed");
    assert_eq!(status, Status::StreamEnd);
    let len = (body.len() as u32).to_le_bytes();
    let packet = [&[len[0], len[1], len[2], 0, 255, 255, 255][..], &body].concat();
    let (unpacked, _) = unpack(Compression::Zlib, &packet, 1000, 4096).expect("unpacked");
    assert!(unpacked == plain);
}

/// mysql_common's codec, with compression on.
fn theirs() -> PacketCodec {
    let mut codec = PacketCodec::default();
    codec.compress(mysql_common::proto::codec::Compression::default());
    codec
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(
        pieces in prop::collection::vec(prop::collection::vec(0u8..4, 0..3000), 0..8),
        step in 1usize..200,
        room in 1usize..200,
        zlib: bool,
    ) {
        let compression = BOTH[usize::from(zlib)];
        let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let bytes = packed(compression, &slices);
        let (plain, numbers) = unpack(compression, &bytes, step, room).expect("unpacked");
        prop_assert_eq!(plain, pieces.concat());
        prop_assert_eq!(numbers, (0..pieces.len() as u8).collect::<Vec<_>>());
    }

    #[test]
    fn unpacking_never_panics(bytes: Vec<u8>, plain in 0u8..3, room in 1usize..50, zlib: bool) {
        let head = [bytes.len() as u8, 0, 0, 0, plain, 0, 0];
        let mut unpacker = Unpacker::new(BOTH[usize::from(zlib)]);
        let input = [&head[..], &bytes].concat();
        let (mut at, mut output) = (0, vec![0; room]);
        while let Ok(step) = unpacker.step(&input[at..], &mut output) {
            match step {
                Unpacked::Bytes { read: 0, written: 0 } => break,
                Unpacked::Header { read, .. } | Unpacked::Bytes { read, .. } => at += read,
            }
        }
    }

    #[test]
    fn mysql_common_understands_us_and_we_it(payload in prop::collection::vec(0u8..4, 1..5000)) {
        let mut packet = Vec::new();
        crate::wire::put_packet(&mut packet, 0, &payload);
        let mut wire = BytesMut::from(&packed(Compression::Zlib, &[&packet])[..]);
        let mut read = Vec::new();
        prop_assert!(theirs().decode(&mut wire, &mut read).expect("readable"));
        prop_assert_eq!(&read, &payload);

        let mut wire = BytesMut::new();
        theirs().encode(&mut &payload[..], &mut wire).expect("writable");
        let (plain, _) = unpack(Compression::Zlib, &wire, 100, 100).expect("unpacked");
        prop_assert_eq!(plain, packet);
    }
}
