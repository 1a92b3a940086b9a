//! Both counts, as servers and clients are seen to keep them.

use super::*;
use crate::wire::put_packet;

/// Ordinary packets with these numbers, one byte each.
fn packets(numbers: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in numbers {
        put_packet(&mut out, *number, b"x");
    }
    out
}

/// The numbers of the packets in `bytes`.
fn numbers_in(mut bytes: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::new();
    while let Some(header) = Header::read(bytes) {
        numbers.push(header.seq);
        bytes = &bytes[header.total()..];
    }
    numbers
}

/// A compressed packet comes in; returns what it is handed out as.
fn take(numbers: &mut CompressedNumbers, seq: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = packets(inner);
    numbers.received(seq);
    numbers.hand_out(&mut bytes);
    numbers_in(&bytes)
}

/// Packets go out, each write as it is cut; returns the compressed number and those inside.
fn say(numbers: &mut CompressedNumbers, inner: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut bytes = packets(inner);
    let mut said = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (len, seq) = numbers.send(&mut bytes[at..]);
        said.push((seq, numbers_in(&bytes[at..at + len])));
        at += len;
    }
    said
}

#[test]
fn an_answer_counts_on_from_the_last_packet_of_its_command() {
    let mut numbers = CompressedNumbers::new(Peer::Client);
    for _ in 0..2 {
        assert_eq!(take(&mut numbers, 0, &[0]), [0]);
        assert_eq!(say(&mut numbers, &[1, 2, 3]), [(1, vec![1, 2, 3])]);
        assert_eq!(say(&mut numbers, &[4]), [(2, vec![4])]);
    }
    // A command in three compressed packets, the answer to which the other hop numbers 1.
    let mut command = Vec::new();
    put_packet(&mut command, 0, &[7; 100]);
    for (seq, part) in (0..).zip(command.chunks_mut(40)) {
        numbers.received(seq);
        numbers.hand_out(part);
    }
    assert_eq!(say(&mut numbers, &[1, 2]), [(3, vec![3, 4])]);
}

#[test]
fn commands_sent_ahead_do_not_change_the_count() {
    let mut numbers = CompressedNumbers::new(Peer::Client);
    take(&mut numbers, 0, &[0]);
    let first = packets(&[0]).len();
    let mut long = Vec::new();
    put_packet(&mut long, 0, &[7; 100]);
    for (seq, part) in (0..).zip(long.chunks_mut(40)) {
        numbers.received(seq);
        numbers.hand_out(part);
    }
    let second = long.len();
    numbers.answer_all_but(second);
    assert_eq!(say(&mut numbers, &[1, 2]), [(1, vec![1, 2])]);
    take(&mut numbers, 0, &[0, 0]); // and two more in one packet
    numbers.answer_all_but(2 * first);
    assert_eq!(say(&mut numbers, &[1]), [(3, vec![3])]);
    numbers.answer_all_but(first);
    assert_eq!(say(&mut numbers, &[1, 2, 3]), [(1, vec![1, 2, 3])]);
    numbers.answer_all_but(0);
    assert_eq!(say(&mut numbers, &[1]), [(2, vec![2])], "there was no packet in between");
}

#[test]
fn a_file_counts_on_from_what_the_other_hop_asked_with() {
    let mut numbers = CompressedNumbers::new(Peer::Client);
    take(&mut numbers, 0, &[0]);
    say(&mut numbers, &[1, 2, 3]); // the third asks for a file
    let mut expected = 4u8;
    let mut seq = 2u8;
    for _ in 0..600 {
        let handed = take(&mut numbers, seq, &[seq, seq.wrapping_add(1)]);
        assert_eq!(handed, [expected, expected.wrapping_add(1)]);
        expected = expected.wrapping_add(2);
        seq = seq.wrapping_add(1);
    }
    numbers.received(seq);
    let mut end = [0, 0, 0, 99];
    numbers.hand_out(&mut end);
    assert_eq!(end[3], expected);
    let answer = seq.wrapping_add(1);
    assert_eq!(say(&mut numbers, &[expected.wrapping_add(1)]), [(answer, vec![answer])]);
    assert_eq!(take(&mut numbers, 0, &[0]), [0], "and then a command");
}

#[test]
fn the_parts_of_a_long_command_are_numbered_whatever_they_say() {
    let mut numbers = CompressedNumbers::new(Peer::Client);
    let mut command = Vec::new();
    put_packet(&mut command, 0, &vec![7; MAX_PAYLOAD + 5]);
    command[MAX_PAYLOAD + 7] = 0; // as libmariadb does
    numbers.received(0);
    for part in command.chunks_mut(1000) {
        numbers.hand_out(part);
    }
    assert_eq!(numbers_in(&command), [0, 1]);
    assert_eq!(say(&mut numbers, &[2]), [(1, vec![1])]);
}

#[test]
fn towards_a_server_every_command_is_a_packet_of_its_own() {
    let mut numbers = CompressedNumbers::new(Peer::Server);
    assert_eq!(say(&mut numbers, &[0, 0]), [(0, vec![0]), (0, vec![0])]);
    assert_eq!(take(&mut numbers, 1, &[1]), [1]);
    assert_eq!(take(&mut numbers, 1, &[1, 2]), [1, 2]);
    assert_eq!(take(&mut numbers, 2, &[3]), [3]);
    // A command in several pieces: the server's answer counts on from the compressed ones.
    let mut command = Vec::new();
    put_packet(&mut command, 0, &[7; 100]);
    let sent: Vec<u8> = command.chunks_mut(40).map(|part| numbers.send(part).1).collect();
    assert_eq!(sent, [0, 1, 2]);
    assert_eq!(take(&mut numbers, 3, &[3, 4]), [1, 2]);
    assert_eq!(take(&mut numbers, 4, &[5]), [3]);
}

#[test]
fn towards_a_server_a_file_counts_on() {
    let mut numbers = CompressedNumbers::new(Peer::Server);
    say(&mut numbers, &[0]);
    take(&mut numbers, 1, &[1]);
    let mut inner = 2u8;
    for compressed in 2..600u16 {
        let said = say(&mut numbers, &[inner, inner.wrapping_add(1)]);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].0, compressed as u8);
        inner = inner.wrapping_add(2);
    }
    take(&mut numbers, 88, &[88]);
    assert_eq!(say(&mut numbers, &[0])[0].0, 0);
}

#[test]
fn no_header_is_cut_in_two() {
    let mut numbers = CompressedNumbers::new(Peer::Server);
    let mut bytes = packets(&[0, 0]);
    let first = bytes.len() / 2;
    assert_eq!(numbers.send(&mut bytes[..first + 2]), (first, 0));
    assert_eq!(numbers.send(&mut bytes[first..]), (first, 0));
}
