//! The response tracker.
//!
//! Input: flags, a command, a byte that decides the pieces, then what a server answers. What must hold: every
//! step goes forward, and the same bytes in other pieces are the same packets, with the same end.

use tandem::wire::{
    Capabilities, Command, Header, MAX_PAYLOAD, Malformed, ResponseTracker, StatusFlags, Step, Told,
};

use super::input::{Input, lengths};

/// How one reading of a response went.
#[derive(Debug, PartialEq, Eq)]
struct Course {
    /// The packets that were shown, with their places.
    told: Vec<(usize, Told)>,
    /// Bytes that were passed or shown.
    taken: usize,
    end: Result<(), Malformed>,
    is_done: bool,
    at_boundary: bool,
    next_seq: u8,
    status: StatusFlags,
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (flags, command, seed) = (input.byte(), input.byte(), input.byte());
    let mut capabilities = Capabilities::PROTOCOL_41;
    for (bit, capability) in [(1, Capabilities::DEPRECATE_EOF), (2, Capabilities::CACHE_METADATA)] {
        if flags & bit != 0 {
            capabilities = capabilities | capability;
        }
    }
    let mut tracker = ResponseTracker::new(capabilities);
    tracker.start(Command::from_byte(command), flags & 4 != 0);
    let expanded;
    // Bytes by the million do not come one by one.
    let (bytes, scale) = if flags & 8 != 0 {
        expanded = expand(input.0);
        (&expanded[..], 997)
    } else {
        (input.0, 1)
    };
    let whole = follow(tracker.clone(), bytes, std::iter::repeat(usize::MAX));
    assert!(whole.taken <= bytes.len());
    let pieces = lengths(seed).map(|len| len * scale);
    assert_eq!(follow(tracker, bytes, pieces), whole);
}

/// Reads a response as `lengths` bring its bytes.
fn follow(
    mut tracker: ResponseTracker,
    bytes: &[u8],
    mut lengths: impl Iterator<Item = usize>,
) -> Course {
    let (mut at, mut here) = (0, 0);
    let mut told_all = Vec::new();
    let mut end = Ok(());
    while !tracker.is_done() {
        match tracker.step(&bytes[at..here]) {
            Ok(Step::Wait(wanted)) => {
                assert!(wanted > here - at, "it waits for what is there");
                if here == bytes.len() {
                    break;
                }
                here = here.saturating_add(lengths.next().unwrap_or(1)).min(bytes.len());
            }
            Ok(Step::Pass(len)) => {
                assert!(len > 0 && len <= here - at, "{len} of {} bytes", here - at);
                at += len;
            }
            Ok(Step::Packet { total, told }) => {
                assert!(total > Header::LEN && total <= here - at, "{total}");
                told_all.push((at, told));
                at += total;
                if tracker.wants_file() {
                    tracker.file_sent(7);
                }
            }
            Err(malformed) => {
                end = Err(malformed);
                break;
            }
        }
    }
    Course {
        told: told_all,
        taken: at,
        end,
        is_done: tracker.is_done(),
        at_boundary: tracker.at_boundary(),
        next_seq: tracker.next_seq(),
        status: tracker.status(),
    }
}

/// Fills up packets of the greatest length, which no input has room for: two of them at most.
fn expand(bytes: &[u8]) -> Vec<u8> {
    const BEGINNING: usize = 8;
    let mut input = Input(bytes);
    let mut out = Vec::new();
    let mut filled = 0;
    while let Some(header) = Header::read(input.0) {
        out.extend_from_slice(input.bytes(Header::LEN));
        if header.len == MAX_PAYLOAD && filled < 2 {
            filled += 1;
            let beginning = input.bytes(BEGINNING);
            out.extend_from_slice(beginning);
            out.resize(out.len() + MAX_PAYLOAD - beginning.len(), 0);
        } else {
            out.extend_from_slice(input.bytes(header.len));
        }
    }
    out.extend_from_slice(input.0);
    out
}
